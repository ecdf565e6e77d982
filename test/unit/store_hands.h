/*
 * store_hands.h - what children and threads do to a store in the tests of its soundness; see store_world.h.
 */
#ifndef STORE_HANDS_H
#define STORE_HANDS_H

#include <stdatomic.h>

#include "store_world.h"

typedef struct {
    _Atomic uint32_t rounds, wrong, reads, writes, heads, codings;
} tally_t;

extern store_world_t hands_world;
extern tally_t *hands_tally;

uint32_t hands_random(uint32_t *x);

/** Reads, writes, revalidates, adds codings, purges, `rounds` times, in that seat's name. */
void hands_work(int seat, uint32_t seed, uint32_t rounds);

int hands_setup(void **state, uint32_t seats);
int hands_teardown(void **state);

/** Valid; nothing held; after a purge of everything no memory in use. */
void hands_assert_nothing_lost(void);

#endif
