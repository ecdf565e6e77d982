/*
 * balance.h - what the strategies share among themselves.
 * Depends: gate_balance.h.   Memory: none.   Locking: none.
 */
#ifndef BALANCE_H
#define BALANCE_H

#include "gate_balance.h"

extern const gate_strategy_t balance_round_robin;
extern const gate_strategy_t balance_least_connections;
extern const gate_strategy_t balance_two_choices;
extern const gate_strategy_t balance_least_time;
extern const gate_strategy_t balance_first;
extern const gate_strategy_t balance_hash;

/** Bijective mixer, "variant 13" of D. Stafford (2011), the finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t balance_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/** 64 even bits to 0 .. bound-1 without a division (D. Lemire, "Fast random integer generation in an interval", 2019). */
static inline uint64_t balance_scale(uint64_t bits, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)bits * bound) >> 64);
}

/** What a candidate is entitled to: weight times ramp, never 0 (both are read from shared memory). */
static inline uint64_t balance_share(const gate_candidate_t *c)
{
    return (uint64_t)(c->weight != 0 ? c->weight : 1) * (c->ramp != 0 ? c->ramp : 1);
}

/**
 * Draws two different candidates, each with a chance in proportion to its share.
 * @param draw  set to their indices; both 0 when there is only one candidate
 */
void balance_draw_two(const gate_pick_t *pick, uint32_t draw[2]);

#endif
