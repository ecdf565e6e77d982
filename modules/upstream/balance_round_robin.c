/*
 * balance_round_robin.c - members in turn, smoothly by weight, even over all children.
 *
 * Source: the exact cycle of weighted round-robin (M. Dounin's smooth variant in nginx, 2012, keeps a number per member for it,
 * which several processes cannot share without a lock), made from the turn alone by a golden-ratio permutation, as in Fibonacci
 * hashing and Kronecker sequences (D. Knuth, The Art of Computer Programming 3, 6.4; V. Sos, three-distance theorem, 1957).
 *
 * The weights, divided by what they have in common, lie side by side on a circle of W places. Turn t stands at place
 * t * step mod W. As step has no divisor in common with W, each W turns in a row visit every place once: each member gets exactly
 * its weight. As step / W is near the golden ratio (all quotients of its continued fraction are small), the visits to any arc are
 * spread evenly: that is the smoothness. All that is shared is the turn.
 */
#include <stdatomic.h>

#include "balance.h"

/* Slow start goes up in steps of 2 %: each step is another circle, and each circle deserves some turns. */
#define RAMP_STEPS 50

/* Steps found so far, W in the upper half of a word and its step in the lower: private to the process, right or absent. */
#define KNOWN_STEPS 64
static _Atomic uint64_t known_steps[KNOWN_STEPS];

static uint64_t entitled(const gate_candidate_t *c)
{
    uint64_t ramp = c->ramp >= GATE_RAMP_FULL ? RAMP_STEPS : ((uint64_t)c->ramp * RAMP_STEPS) / GATE_RAMP_FULL + 1;

    return (c->weight != 0 ? c->weight : 1) * ramp;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* Largest quotient in the continued fraction of step / width; UINT64_MAX when they have a common divisor. */
static uint64_t worst_quotient(uint64_t step, uint64_t width)
{
    uint64_t a = width, b = step, worst = 0;

    while (b != 0) {
        uint64_t quotient = a / b, rest = a % b;

        if (quotient > worst) {
            worst = quotient;
        }
        a = b;
        b = rest;
    }
    return a == 1 ? worst : UINT64_MAX;
}

/* The step nearest to the golden ratio that is good, or the best that is near. */
static uint64_t find_step(uint64_t width)
{
    uint64_t golden = (uint64_t)((unsigned __int128)width * UINT64_C(0x9e3779b97f4a7c15) >> 64);
    uint64_t best = 1, best_quotient = UINT64_MAX;

    for (uint64_t away = 0; away < 64 && best_quotient > 3; away++) {
        for (int side = 0; side < 2; side++) {
            uint64_t step = side ? golden - away : golden + away;

            if (step > 0 && step < width) {
                uint64_t quotient = worst_quotient(step, width);

                if (quotient < best_quotient) {
                    best_quotient = quotient;
                    best = step;
                }
            }
        }
    }
    return best;
}

static uint64_t step_for(uint64_t width)
{
    _Atomic uint64_t *known = &known_steps[width % KNOWN_STEPS];
    uint64_t entry = atomic_load_explicit(known, memory_order_relaxed);
    uint64_t step;

    if (entry >> 32 == width) {
        return entry & UINT32_MAX;
    }
    step = find_step(width);
    if (width <= UINT32_MAX) {
        atomic_store_explicit(known, width << 32 | step, memory_order_relaxed);
    }
    return step;
}

static uint64_t place_of(uint64_t turn, uint64_t width)
{
    /* 4 and 6 have no step but forwards and backwards; these orders are as smooth as it gets */
    static const uint8_t four[4] = { 0, 2, 1, 3 };
    static const uint8_t six[6] = { 0, 3, 1, 4, 2, 5 };
    uint64_t at = turn % width;

    switch (width) {
    case 4:
        return four[at];
    case 6:
        return six[at];
    default:
        return (uint64_t)((unsigned __int128)at * step_for(width) % width);
    }
}

static uint32_t round_robin_pick(const gate_pick_t *pick)
{
    const gate_candidate_t *c = pick->candidates;
    uint64_t first = entitled(&c[0]), divisor = first, total = first, place;
    int equal = 1;

    for (uint32_t i = 1; i < pick->count; i++) {
        uint64_t mine = entitled(&c[i]);

        equal = equal && mine == first;
        total += mine;
        if (divisor > 1 && mine != divisor) {
            divisor = common_divisor(divisor, mine);
        }
    }
    if (equal) {
        return (uint32_t)(pick->turn % pick->count);
    }
    place = place_of(pick->turn, total / divisor) * divisor;
    for (uint32_t i = 0; i < pick->count; i++) {
        uint64_t mine = entitled(&c[i]);

        if (place < mine) {
            return i;
        }
        place -= mine;
    }
    return 0;
}

const gate_strategy_t balance_round_robin = {
    .name = "round-robin",
    .pick = round_robin_pick,
};
