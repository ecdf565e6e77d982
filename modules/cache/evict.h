/*
 * evict.h - which object leaves when room is needed: S3-FIFO, counting bytes.
 * Source: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023.
 * Depends: libc.   Memory: none allocated; queue heads, nodes and the ghost table belong to the caller (they live in a shard).
 * Locking: the caller serialises everything but gate_evict_hit(), which any reader may call at any time.
 *
 * Small FIFO (a tenth of the memory) for newcomers, main FIFO for those asked for again, ghost: fingerprints of who was
 * evicted from small lately. A hit only raises a two-bit number. A scan goes through small and out again without touching main.
 * Counting bytes: quotas are in units of memory, and the ghost remembers by bytes evicted, as much as main can hold.
 * An object larger than the small queue would flush it for one request: when there is no free room for it, it is let in only
 * if it was asked for before (ghost), and then into main.
 */
#ifndef GATE_CACHE_EVICT_H
#define GATE_CACHE_EVICT_H

#include <stddef.h>
#include <stdint.h>

typedef enum { GATE_QUEUE_NONE = 0, GATE_QUEUE_SMALL = 1, GATE_QUEUE_MAIN = 2 } gate_queue_e;

/* One cached object; embedded in whatever describes it. Index 0 is no node. */
typedef struct {
    uint32_t prev, next;     /* towards the newer, towards the older */
    uint32_t units;          /* memory of the object with all that hangs on it */
    uint8_t queue;           /* gate_queue_e */
    _Atomic uint8_t freq;    /* 0..3 */
    uint16_t spare;
} gate_evict_node_t;

typedef struct {
    uint32_t newest, oldest; /* node indexes; 0: empty */
    uint32_t count, spare;
    uint64_t units;
} gate_evict_queue_t;

typedef struct {
    uint64_t capacity_units;
    uint64_t small_units;    /* quota of the small queue */
    gate_evict_queue_t small, main;
    uint64_t ghost_clock;    /* units evicted into the ghost so far */
    uint64_t evicted;        /* objects */
} gate_evict_t;

typedef struct {
    uint32_t fingerprint;    /* 0: empty */
    uint32_t clock;          /* low bits of ghost_clock >> GATE_GHOST_SHIFT when it came in */
} gate_ghost_t;
#define GATE_GHOST_WAYS 4

/* The nodes as the policy sees them: node i is at base + i * stride. */
typedef struct {
    gate_evict_t *policy;
    unsigned char *base;     /* address of node 0 */
    size_t stride;
    gate_ghost_t *ghost;     /* ghost_size entries, a power of two and at least GATE_GHOST_WAYS */
    uint32_t ghost_size;
    uint32_t nodes;          /* highest valid index */
} gate_evict_view_t;

void gate_evict_init(gate_evict_t *policy, uint64_t capacity_units);

static inline gate_evict_node_t *gate_evict_node(const gate_evict_view_t *v, uint32_t i)
{
    return (gate_evict_node_t *)(void *)(v->base + (size_t)i * v->stride);
}

/** Notes a use. Relaxed and lossy on purpose: a hot object's number stays at 3 and is only read. */
static inline void gate_evict_hit(gate_evict_node_t *node)
{
    uint8_t freq = __atomic_load_n((uint8_t *)&node->freq, __ATOMIC_RELAXED);

    if (freq < 3) {
        __atomic_store_n((uint8_t *)&node->freq, (uint8_t)(freq + 1), __ATOMIC_RELAXED);
    }
}

/**
 * Decides whether a new object may come in, and where. Takes its fingerprint out of the ghost.
 * @param free_units  memory that is free now
 * @return GATE_QUEUE_NONE: not now
 */
gate_queue_e gate_evict_admit(const gate_evict_view_t *v, uint64_t hash, uint64_t units, uint64_t free_units);

/** Puts node i in as the newest of a queue. Its freq is kept as it is. */
void gate_evict_insert(const gate_evict_view_t *v, uint32_t i, gate_queue_e queue, uint32_t units);

/** Takes node i out of its queue, if it is in one. Leaves no fingerprint. */
void gate_evict_remove(const gate_evict_view_t *v, uint32_t i);

/** The object grew or shrank. */
void gate_evict_resize(const gate_evict_view_t *v, uint32_t i, int64_t delta_units);

/**
 * Picks who leaves, and takes it out of its queue. Work is bounded by the number of nodes.
 * @param hash_of  gives an object's hash, for the ghost
 * @return index, 0 when there is nobody
 */
uint32_t gate_evict_victim(const gate_evict_view_t *v, uint64_t (*hash_of)(const void *ctx, uint32_t i), const void *ctx);

#endif
