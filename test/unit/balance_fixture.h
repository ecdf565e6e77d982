/*
 * balance_fixture.h - candidates to ask strategies about, and repeatable chance.
 */
#ifndef BALANCE_FIXTURE_H
#define BALANCE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "balance.h"

#define FIXTURE_MAX 1000

typedef struct {
    gate_candidate_t c[FIXTURE_MAX];
    gate_learned_t learned[FIXTURE_MAX];
    gate_pick_t pick;
    uint64_t seed;
} fixture_t;

static inline uint64_t fixture_random(fixture_t *f)
{
    return balance_mix(f->seed++);
}

static inline double fixture_even(fixture_t *f)
{
    return ((double)(fixture_random(f) >> 11) + 0.5) * 0x1p-53;
}

/* weights: NULL for all 1 */
static inline void fixture_init(fixture_t *f, uint32_t count, const uint32_t *weights)
{
    memset(f, 0, sizeof *f);
    f->seed = 4711;
    for (uint32_t i = 0; i < count; i++) {
        char id[16];
        int len = snprintf(id, sizeof id, "m%u", i + 1);

        f->c[i].slot = i;
        f->c[i].weight = weights != NULL ? weights[i] : 1;
        f->c[i].ramp = GATE_RAMP_FULL;
        f->c[i].id_hash = gate_balance_hash(id, (size_t)len);
        f->c[i].learned = &f->learned[i];
    }
    f->pick.candidates = f->c;
    f->pick.count = count;
    f->pick.now_usec = 1000000;
}

/* One pick with a new turn and new chance. */
static inline uint32_t fixture_pick(fixture_t *f, const gate_strategy_t *s)
{
    uint32_t chosen;

    f->pick.random = fixture_random(f);
    chosen = s->pick(&f->pick);
    f->pick.turn++;
    assert_true(chosen < f->pick.count);
    return chosen;
}

static inline uint64_t fixture_weights(const fixture_t *f)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < f->pick.count; i++) {
        sum += f->c[i].weight;
    }
    return sum;
}

/* Each member's part of all picks lies within `milli` thousandths of what its weight demands. */
static inline void fixture_assert_shares(const fixture_t *f, const uint32_t *hits, uint64_t picks, uint32_t milli)
{
    uint64_t sum = fixture_weights(f);

    for (uint32_t i = 0; i < f->pick.count; i++) {
        double ideal = (double)picks * f->c[i].weight / (double)sum;
        double off = (hits[i] - ideal) / ideal * 1000;

        if (off > milli || off < -(double)milli) {
            fail_msg("member %u of weight %u: %u of %llu picks, %.0f expected", i + 1, f->c[i].weight, hits[i],
                     (unsigned long long)picks, ideal);
        }
    }
}

#endif
