/*
 * balance_least_connections.c - the member that would have the fewest exchanges in flight for its weight.
 *
 * Source: weighted least-connection scheduling (W. Zhang, "Linux Virtual Server for Scalable Network Services", 2000), with the
 * exchange to be placed counted in, so that a heavy idle member goes before a light idle one.
 *
 * When nothing is in flight anywhere that rule would give every exchange to the heaviest; then the turn decides, by weight.
 */
#include "balance.h"

/* Is a's load, with one more, below (-1), equal to (0) or above (1) b's? Cross-multiplied: 2^33 * 2^30 fits. */
static int compare_load(const gate_candidate_t *a, const gate_candidate_t *b)
{
    uint64_t left = ((uint64_t)a->inflight + 1) * balance_share(b);
    uint64_t right = ((uint64_t)b->inflight + 1) * balance_share(a);

    return left < right ? -1 : left > right;
}

static uint32_t least_connections_pick(const gate_pick_t *pick)
{
    const gate_candidate_t *c = pick->candidates;
    uint32_t best = 0, ties = 1, skip;
    int idle = c[0].inflight == 0;

    for (uint32_t i = 1; i < pick->count; i++) {
        int order = compare_load(&c[i], &c[best]);

        idle = idle && c[i].inflight == 0;
        if (order < 0) {
            best = i;
            ties = 1;
        }
        else if (order == 0) {
            ties++;
        }
    }
    if (idle) {
        return balance_round_robin.pick(pick);
    }
    for (skip = (uint32_t)(pick->turn % ties); skip > 0; skip--) {
        uint32_t next = best + 1;

        while (next < pick->count && compare_load(&c[next], &c[best]) != 0) {
            next++;
        }
        if (next == pick->count) {
            break;
        }
        best = next;
    }
    return best;
}

const gate_strategy_t balance_least_connections = {
    .name = "least-connections",
    .needs = GATE_BALANCE_INFLIGHT,
    .pick = least_connections_pick,
};
