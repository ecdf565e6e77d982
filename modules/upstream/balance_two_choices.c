/*
 * balance_two_choices.c - two members drawn by lot, the less loaded one gets it.
 *
 * Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 1996 (IEEE TPDS 12(10), 2001): nearly as
 * even as asking all, and without the herd: who looks at all members with numbers a little old runs with everybody else to
 * the one that was emptiest. Draws are weighted, loads are in-flight over weight; between equals the first draw wins, so a group
 * with nothing in flight is used by weight.
 */
#include "balance.h"

static uint32_t draw_one(const gate_pick_t *pick, uint64_t place, uint32_t without)
{
    uint32_t last = 0;

    for (uint32_t i = 0; i < pick->count; i++) {
        uint64_t mine;

        if (i == without) {
            continue;
        }
        mine = balance_share(&pick->candidates[i]);
        if (place < mine) {
            return i;
        }
        place -= mine;
        last = i;
    }
    return last;
}

void balance_draw_two(const gate_pick_t *pick, uint32_t draw[2])
{
    uint64_t total = 0;

    draw[0] = draw[1] = 0;
    if (pick->count < 2) {
        return;
    }
    for (uint32_t i = 0; i < pick->count; i++) {
        total += balance_share(&pick->candidates[i]);
    }
    draw[0] = draw_one(pick, balance_scale(pick->random, total), UINT32_MAX);
    total -= balance_share(&pick->candidates[draw[0]]);
    draw[1] = draw_one(pick, balance_scale(balance_mix(pick->random), total), draw[0]);
}

static uint32_t two_choices_pick(const gate_pick_t *pick)
{
    uint32_t draw[2];
    const gate_candidate_t *a, *b;

    balance_draw_two(pick, draw);
    a = &pick->candidates[draw[0]];
    b = &pick->candidates[draw[1]];
    return b->inflight * balance_share(a) < a->inflight * balance_share(b) ? draw[1] : draw[0];
}

const gate_strategy_t balance_two_choices = {
    .name = "two-choices",
    .needs = GATE_BALANCE_INFLIGHT | GATE_BALANCE_RANDOM,
    .pick = two_choices_pick,
};
