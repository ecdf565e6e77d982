/*
 * pick_bench.c - nanoseconds per pick of each strategy at 3, 30 and 1000 members, equal and different weights.
 *
 *     make -f apxs.mk bench_programs && build/bench/pick_bench
 *
 * One thread, candidates in the processor's cache: what the strategy itself costs. Gathering the candidates is not in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance.h"
#include "gate_time.h"

#define MEMBERS_MAX 1000
#define ROUND_USEC 50000
#define ROUNDS 5

static gate_candidate_t candidates[MEMBERS_MAX];
static gate_learned_t learned[MEMBERS_MAX];
static volatile uint32_t sink;

static void prepare(uint32_t count, int weighted, int64_t now_usec)
{
    memset(learned, 0, sizeof learned);
    for (uint32_t i = 0; i < count; i++) {
        candidates[i] = (gate_candidate_t){ .slot = i, .weight = weighted ? 1 + i % 3 : 1, .ramp = GATE_RAMP_FULL,
                                            .inflight = 3 + i % 5, .id_hash = balance_mix(i), .learned = &learned[i] };
        balance_least_time.learn(&learned[i], 1000 + i, now_usec - 1000);
    }
}

/* Best of some rounds: the others were disturbed. */
static double measure(const gate_strategy_t *s, uint32_t count)
{
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = gate_mono_usec(), end;
        uint64_t picks = 0;
        double ns;

        do {
            for (int n = 0; n < 100; n++, picks++) {
                gate_pick_t pick = { .candidates = candidates, .count = count, .turn = picks, .key_hash = balance_mix(picks),
                                     .random = balance_mix(~picks), .load_factor_milli = 1250, .now_usec = begin };

                sink = s->pick(&pick);
            }
            end = gate_mono_usec();
        } while (end - begin < ROUND_USEC);
        ns = (double)(end - begin) * 1000 / (double)picks;
        best = ns < best ? ns : best;
    }
    return best;
}

int main(void)
{
    const uint32_t counts[] = { 3, 30, MEMBERS_MAX };

    printf("ns per pick          3 members       30 members     1000 members   (equal / different weights)\n");
    for (int s = 0; gate_strategies[s] != NULL; s++) {
        printf("%-18s", gate_strategies[s]->name);
        for (int c = 0; c < 3; c++) {
            double ns[2];

            for (int weighted = 0; weighted < 2; weighted++) {
                prepare(counts[c], weighted, gate_mono_usec());
                ns[weighted] = measure(gate_strategies[s], counts[c]);
            }
            printf(" %7.0f /%7.0f", ns[0], ns[1]);
        }
        printf("\n");
    }
    return 0;
}
