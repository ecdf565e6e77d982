/*
 * space.h - memory of a shard in runs of units: a buddy allocator that gives back what a block has too much.
 * Source: K. C. Knowlton, "A fast storage allocator", CACM 8(10), 1965; trimming makes its runs any number of units long.
 * Depends: libc.   Memory: the map (one byte a unit) and the links, which lie in the free blocks themselves.
 * Locking: the caller serialises.
 * CRASH    everything here can be told from who owns what: gate_space_rebuild() makes it anew from a map of used units.
 */
#ifndef GATE_CACHE_SPACE_H
#define GATE_CACHE_SPACE_H

#include <stdint.h>

#define GATE_UNIT 256u            /* bytes */
#define GATE_SPACE_ORDERS 27      /* blocks of 1, 2, 4, .. 2^26 units */

typedef struct {
    uint32_t start, count;        /* units */
} gate_run_t;

typedef struct {
    uint32_t units;               /* all there are */
    uint32_t free_units;
    uint32_t free[GATE_SPACE_ORDERS]; /* first free block of an order, + 1; 0: none */
    uint32_t spare;
} gate_space_t;

typedef struct {
    gate_space_t *space;
    uint8_t *map;                 /* a byte per unit: order + 1 where a free block begins, else 0 */
    unsigned char *data;          /* units * GATE_UNIT bytes */
    uint32_t units;               /* the caller's own copy: what stands in shared memory does not bound an access */
} gate_space_view_t;

/** All units free; the map must be zero. */
void gate_space_init(const gate_space_view_t *v);

/**
 * Takes `units` units in at most max_runs runs, as few as there are to be had.
 * @return number of runs; 0: no room, nothing taken
 */
uint32_t gate_space_take(const gate_space_view_t *v, uint32_t units, gate_run_t *runs, uint32_t max_runs);

void gate_space_give(const gate_space_view_t *v, gate_run_t run);

/** Makes map and lists anew. @param used  a bit per unit, set where somebody owns it */
void gate_space_rebuild(const gate_space_view_t *v, const uint8_t *used);

/**
 * Are the free blocks exactly the units that nobody owns?
 * @param used  as above
 * @return NULL, or what is wrong
 */
const char *gate_space_validate(const gate_space_view_t *v, const uint8_t *used);

#endif
