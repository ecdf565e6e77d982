/*
 * concurrency.h - how many at once: exchanges in flight by key, over all children, never leaking.
 * Depends: gate_lock.h, gate_seat.h.   Memory: the caller's, in a zone; zero-filled to begin with.
 *
 * ZONE:   [ buckets of 7 keys | rows of cells: for each key one cell for each seat ]. Each child counts in the cells of its own
 *         seat; a key's number is the sum over the living seats.
 * ATOMIC  cells and tags.
 * LOCK    the bucket's: only to bring a key in.
 * CRASH   a child that is killed at any instruction takes its cells with it: they do not count from the moment its seat is marked
 *         dead, and a sweep zeroes them. There is no sum that could go wrong.
 * RACE    a child adds itself first and looks then, so `max` is never passed; two that come at the same instant for the last place
 *         may both be sent away.
 * FULL    a key for which there is no row is let through uncounted: rows are only held by keys with something in flight, of
 *         which there are never more than workers.
 */
#ifndef GATE_ACCESS_CONCURRENCY_H
#define GATE_ACCESS_CONCURRENCY_H

#include <stddef.h>
#include <stdint.h>

#include "gate_lock.h"
#include "gate_seat.h"

#define GATE_CONCURRENCY_LAYOUT 1u
#define GATE_CONCURRENCY_REFUSED (-1)
#define GATE_CONCURRENCY_UNCOUNTED (-2)

#define GATE_CONCURRENCY_KEYS 7

typedef struct {
    gate_lock_t lock;
    _Atomic uint64_t tag[GATE_CONCURRENCY_KEYS]; /* 0: free; lowest bit: being taken from its key */
} gate_concurrency_bucket_t;

/* Private handle. */
typedef struct {
    gate_concurrency_bucket_t *buckets;
    _Atomic uint16_t *cells;
    uint32_t count;         /* buckets */
    uint32_t seats;
    const gate_seats_t *table;
} gate_concurrency_t;

uint64_t gate_concurrency_size(uint32_t keys, uint32_t seats);

/** Makes the handle for zeroed or kept memory of that size. */
void gate_concurrency_open(gate_concurrency_t *flights, void *base, uint32_t keys, const gate_seats_t *table);

/**
 * One more in flight for a key.
 * @param count  set to how many there are, this one included when it is admitted
 * @return a row to give back to gate_concurrency_end(), GATE_CONCURRENCY_REFUSED, or GATE_CONCURRENCY_UNCOUNTED (no seat, no row: let through)
 */
int64_t gate_concurrency_begin(gate_concurrency_t *flights, int seat, uint64_t hash, uint32_t max, uint32_t *count);

void gate_concurrency_end(gate_concurrency_t *flights, int seat, int64_t row);

/** How many are in flight for a key. */
uint32_t gate_concurrency_count(const gate_concurrency_t *flights, uint64_t hash);

/** How many are in flight in all. A walk. */
uint64_t gate_concurrency_total(const gate_concurrency_t *flights);

/** A gate_seat_sweep_fn: zeroes a seat's cells. ctx: the handle. */
void gate_concurrency_sweep(int seat, void *flights);

int gate_concurrency_validate(const gate_concurrency_t *flights, char *why, size_t why_size);

#endif
