/*
 * balance_first.c - the first member in the order of configuration takes all it may; the next ones take what is left.
 *
 * Source: HAProxy's "balance first" (W. Tarreau, 2012): as few members busy as possible, so that the others can sleep. It lives
 * from `connections`: the caller leaves members out that are full.
 *
 * In slow start a member takes its share of what would be its own and passes on the rest.
 */
#include "balance.h"

static uint32_t first_pick(const gate_pick_t *pick)
{
    const gate_candidate_t *c = pick->candidates;

    for (uint32_t i = 0; i < pick->count; i++) {
        if (c[i].ramp >= GATE_RAMP_FULL ||
            balance_scale(balance_mix(pick->turn + i), GATE_RAMP_FULL) < c[i].ramp) {
            return i;
        }
    }
    /* all are new and passed it on */
    return 0;
}

const gate_strategy_t balance_first = {
    .name = "first",
    .pick = first_pick,
};
