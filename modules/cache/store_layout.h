/*
 * store_layout.h - what lies where in the zone "cache"; for store*.c only. The words are in store.h.
 */
#ifndef GATE_CACHE_STORE_LAYOUT_H
#define GATE_CACHE_STORE_LAYOUT_H

#include <stdatomic.h>
#include <string.h>

#include "evict.h"
#include "gate_lock.h"
#include "store.h"

#define STORE_MAGIC UINT64_C(0x3168636163746167)
#define INLINE_RUNS 4u
#define MORE_UNITS 4u
#define MORE_RUNS (MORE_UNITS * GATE_UNIT / sizeof(gate_run_t))
#define RUNS_MAX (INLINE_RUNS + MORE_RUNS)
#define SLOT_BYTES 128u
#define BYTES_PER_SLOT 1536u /* a slot for so many bytes of the shard's units */
#define HEAD_BYTES_MAX (64u * 1024)
#define GROW_FIRST (16u * 1024)
#define GROW_MAX (512u * 1024)

/* The states of a slot; in the low byte of its state word, the incarnation in the upper half. */
enum { SLOT_FREE = 0, SLOT_FILLING, SLOT_LIVE, SLOT_DEAD };
enum { BLOB_HEAD = 1, BLOB_BODY };

typedef struct {
    _Atomic uint64_t state;       /* incarnation << 32 | SLOT_* */
    uint64_t hash;
    uint32_t next;                /* head: in its bucket. FREE: in the free list. DEAD: in the list of the waiting */
    _Atomic uint32_t runs_n;
    gate_evict_node_t node;       /* heads only */
    uint64_t length;              /* set when it becomes LIVE */
    _Atomic uint64_t filled;
    uint64_t stamp;               /* order of becoming LIVE within the shard */
    uint32_t more;                /* first unit of the table of further runs, + 1 */
    uint16_t seat;                /* FILLING: who fills it */
    uint8_t kind;
    uint8_t spare;
    gate_run_t runs[INLINE_RUNS];
    _Atomic uint64_t body[GATE_CODINGS]; /* head: gate_ref_t */
} gate_slot_t;
_Static_assert(sizeof(gate_slot_t) == SLOT_BYTES, "a slot is two cache lines");

typedef struct {
    gate_lock_t lock;
    _Atomic uint32_t seq;         /* odd: links are being changed; moves on also when a head got a body or was marked */
    uint32_t free_slot;
    uint32_t high_slot;           /* 1 .. high_slot were ever used */
    uint32_t waiting;             /* list of DEAD slots that somebody reads */
    uint64_t stamp;
    uint32_t slots_used;
    uint32_t objects, bodies, waiting_n;
    uint64_t repairs;
    gate_space_t space;
    gate_evict_t evict;
} gate_shard_t;

typedef struct {
    uint64_t magic;
    uint32_t layout, shards;
    uint64_t size_bytes;
    uint32_t seats, spare;
    gate_seed_t seed;
} gate_store_header_t;

typedef struct {
    _Atomic uint32_t high;        /* places ever used */
    uint32_t spare[15];
    _Atomic uint64_t pin[GATE_STORE_PINS];
} gate_ledger_t;

/* Offsets within a shard, the same in all. */
typedef struct {
    uint64_t buckets, ghost, slots, map, units;
    uint32_t bucket_count, ghost_count, slot_count, unit_count; /* slots 1 .. slot_count */
} gate_geometry_t;

struct gate_store {
    unsigned char *base;
    uint64_t size_bytes;
    gate_geometry_t geo;
    uint64_t ledgers, tables[GATE_TABLES + 1], shards_at, shard_bytes;
    uint32_t shards, seats;
    uint64_t max_object;
    int seat;
    gate_seed_t seed;             /* copy */
};

static inline gate_ref_t ref_make(uint32_t shard, uint32_t slot, uint64_t state)
{
    return (state & UINT64_C(0xffffffff00000000)) | (gate_ref_t)shard << 28 | slot;
}

static inline uint32_t ref_slot(gate_ref_t ref)
{
    return (uint32_t)ref & 0xfffffff;
}

static inline uint32_t ref_shard(gate_ref_t ref)
{
    return (uint32_t)ref >> 28;
}

/* Links are read by walkers without the lock. */
static inline void link_set(uint32_t *link, uint32_t to)
{
    __atomic_store_n(link, to, __ATOMIC_RELEASE);
}

static inline uint32_t state_of(uint64_t word)
{
    return (uint32_t)word & 0xff;
}

static inline gate_shard_t *shard_at(const gate_store_t *s, uint32_t shard)
{
    return (gate_shard_t *)(void *)(s->base + s->shards_at + shard * s->shard_bytes);
}

static inline uint32_t shard_of(const gate_store_t *s, uint64_t hash)
{
    return (uint32_t)(hash >> 56) & (s->shards - 1);
}

static inline unsigned char *shard_part(const gate_shard_t *sh, uint64_t offset)
{
    return (unsigned char *)(uintptr_t)sh + offset;
}

static inline gate_slot_t *slot_at(const gate_store_t *s, const gate_shard_t *sh, uint32_t slot)
{
    return (gate_slot_t *)(void *)shard_part(sh, s->geo.slots) + slot;
}

static inline uint32_t *bucket_of(const gate_store_t *s, const gate_shard_t *sh, uint64_t hash)
{
    return (uint32_t *)(void *)shard_part(sh, s->geo.buckets) + ((uint32_t)hash & (s->geo.bucket_count - 1));
}

static inline gate_ledger_t *ledger_of(const gate_store_t *s, uint32_t seat)
{
    return (gate_ledger_t *)(void *)(s->base + s->ledgers) + seat;
}

/** The slot that a reference names, NULL when it is out of bounds or has another incarnation. */
static inline gate_slot_t *ref_slot_at(const gate_store_t *s, gate_ref_t ref)
{
    gate_slot_t *slot;

    if (ref_shard(ref) >= s->shards || !ref_slot(ref) || ref_slot(ref) > s->geo.slot_count) {
        return NULL;
    }
    slot = slot_at(s, shard_at(s, ref_shard(ref)), ref_slot(ref));
    return atomic_load(&slot->state) >> 32 == ref >> 32 ? slot : NULL;
}

static inline gate_space_view_t space_of(const gate_store_t *s, gate_shard_t *sh)
{
    return (gate_space_view_t){ &sh->space, shard_part(sh, s->geo.map), shard_part(sh, s->geo.units), s->geo.unit_count };
}

static inline gate_evict_view_t evict_of(const gate_store_t *s, gate_shard_t *sh)
{
    return (gate_evict_view_t){ &sh->evict, shard_part(sh, s->geo.slots) + offsetof(gate_slot_t, node), sizeof(gate_slot_t),
                                (gate_ghost_t *)(void *)shard_part(sh, s->geo.ghost), s->geo.ghost_count, s->geo.slot_count };
}

static inline uint32_t units_for(uint64_t bytes)
{
    return (uint32_t)((bytes + GATE_UNIT - 1) / GATE_UNIT);
}

/** Run i of a slot; NULL when the numbers cannot be. The caller holds the blob or the lock. */
static inline const gate_run_t *run_at(const gate_store_t *s, const gate_shard_t *sh, const gate_slot_t *slot, uint32_t i)
{
    const gate_run_t *run;

    if (i < INLINE_RUNS) {
        run = &slot->runs[i];
    }
    else if (i >= RUNS_MAX || !slot->more || slot->more - 1 > s->geo.unit_count - MORE_UNITS) {
        return NULL;
    }
    else {
        run = (const gate_run_t *)(const void *)(shard_part(sh, s->geo.units) + (uint64_t)(slot->more - 1) * GATE_UNIT)
              + (i - INLINE_RUNS);
    }
    return run->count && run->start < s->geo.unit_count && run->count <= s->geo.unit_count - run->start ? run : NULL;
}

/** Who remembers what was found here looks again. The caller holds the lock. */
static inline void shard_moved_locked(gate_shard_t *sh)
{
    atomic_fetch_add(&sh->seq, 2);
}

/* store.c: what the other files of the store share */
int store_lock(gate_store_t *s, gate_shard_t *sh);
int store_lock_firmly(gate_store_t *s, gate_shard_t *sh);
void store_unlock(gate_shard_t *sh);
int store_pinned(const gate_store_t *s, gate_ref_t ref);
void store_kill_locked(gate_store_t *s, gate_shard_t *sh, uint32_t head);
void store_bury_locked(gate_store_t *s, gate_shard_t *sh, uint32_t slot);
void store_reap_locked(gate_store_t *s, gate_shard_t *sh, uint32_t most);
uint32_t store_slot_take_locked(gate_store_t *s, gate_shard_t *sh, uint32_t kind);
uint32_t store_blob_units(const gate_store_t *s, const gate_shard_t *sh, const gate_slot_t *slot);
const void *store_head_bytes(const gate_store_t *s, const gate_shard_t *sh, const gate_slot_t *slot, uint64_t *len);
void store_link_locked(gate_store_t *s, gate_shard_t *sh, uint32_t head);
/* store_repair.c */
void store_repair_locked(gate_store_t *s, gate_shard_t *sh);

#endif
