/*
 * store.h - objects in shared memory: who may read, who writes, and what a sudden death leaves behind.
 * Depends: gate_lock.h, APR pools (for the private handle), libc.
 *
 * ZONE "cache": [ header | ledgers, one per seat | tables of purge.h, fill.h, counters | shard 0 .. n-1 ]
 * SHARD:        [ header | buckets | ghost | slots 1 .. n | map | units ]
 * An object is a head (key, headers, times: head.h) and up to three bodies (identity, br, gzip), each a blob: a slot, whose place never
 * becomes anything else, and runs of units, which hold bytes. A head names its bodies by reference; a 304 makes a new head with the same bodies.
 * FROZEN  geometry: computed from the limits into the private handle, never read back from shared memory.
 * LOCK    shard lock: links of buckets, queues, free lists; a slot's change of state; giving memory out. One at a time, never over
 *         I/O or copying of a body.
 * ATOMIC  a slot's state, filled, freq; a head's body references; ledgers.
 * READERS take no lock: they write the reference into their seat's ledger and look again whether it still lives (hazard pointers,
 *         M. Michael, IEEE TPDS 15(6), 2004). A writer marks a slot DEAD first and gives its memory back only when no ledger
 *         names it. The walk of a bucket is checked by the shard's sequence.
 * CRASH   truth is the slots: state, runs, references. Links, queues and free lists follow from them: who gets a shard lock
 *         whose owner died, rebuilds them from the slots. A dead child's ledger is zeroed and its half-filled objects
 *         are dropped by the sweep of its seat.
 * RELOAD  kept. Old children go on in the same memory.
 */
#ifndef GATE_CACHE_STORE_H
#define GATE_CACHE_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <apr_pools.h>

#include "gate_siphash.h"
#include "space.h"

#define GATE_STORE_LAYOUT 1u
#define GATE_STORE_PINS 4096      /* per child: answers on their way to clients */
#define GATE_STORE_SHARDS_MAX 8
#define GATE_STORE_MIN_BYTES (1u << 20)
#define GATE_STORE_URL_MAX 32     /* variants of one URL; the oldest leaves */
#define GATE_LOCK_WAIT_USEC 200000

/* A blob: slot, shard, and the slot's incarnation. 0: none. */
typedef uint64_t gate_ref_t;

typedef enum { GATE_CODING_IDENTITY = 0, GATE_CODING_BR, GATE_CODING_GZIP, GATE_CODINGS } gate_coding_e;

typedef struct {
    uint64_t size_bytes;
    uint64_t max_object;          /* bytes of a body */
    uint32_t seats;
} gate_store_limits_t;

typedef struct gate_store gate_store_t; /* private handle: base address, geometry */

/* A reader's hold on a blob: gate_store_unpin() ends it. */
typedef struct {
    gate_ref_t ref;
    uint32_t place;               /* in the ledger, + 1; 0: nothing held */
} gate_pin_t;

/** Version of the layout for gate_core_zone(): another number of shards or seats is another layout, so another zone. */
uint32_t gate_store_layout(const gate_store_limits_t *limits);

/** What must be left for one body: the largest that limits.max_object may name, given the size. */
uint64_t gate_store_max_object(uint64_t size_bytes);

/**
 * Lays out (fresh) or takes up (kept) a zone of limits->size_bytes. Parent or test; writes a few words per shard only.
 * @param seed  random, used when fresh: of the hash
 * @return the handle, in pool p; NULL when the zone is too small or, when kept, was made for other limits (*why says it)
 */
gate_store_t *gate_store_attach(apr_pool_t *p, void *base, const gate_store_limits_t *limits, int fresh, const gate_seed_t *seed,
                                const char **why);

/** In a child: from now on this process holds what it holds in that seat's name. */
void gate_store_sit(gate_store_t *store, int seat);
int gate_store_seat(const gate_store_t *store);

/** Memory of a table of ours within the zone; offsets are fixed. */
enum { GATE_TABLE_PURGE, GATE_TABLE_FILL, GATE_TABLE_COUNT, GATE_TABLES };
void *gate_store_table(const gate_store_t *store, int table, uint64_t *size_bytes);

/** The hash of a URL key: SipHash-2-4 with the zone's seed. */
uint64_t gate_store_hash(const gate_store_t *store, const void *data, size_t len);

/* ---- reading ------------------------------------------------------------------------------------------------------- */

/** Holds a blob if it lives (or is being filled). @return 1, or 0: gone, or the ledger is full */
int gate_store_pin(gate_store_t *store, gate_ref_t ref, gate_pin_t *pin);
void gate_store_unpin(gate_store_t *store, gate_pin_t *pin);

/** A held blob's memory from `offset` on: the longest piece that lies together. @return its length; 0 past the end */
uint64_t gate_store_piece(const gate_store_t *store, gate_ref_t ref, uint64_t offset, const void **data);

/** Bytes of a held blob that are there to read, and whether more will come. */
typedef enum { GATE_BLOB_FILLING, GATE_BLOB_WHOLE, GATE_BLOB_BROKEN } gate_blob_e;
gate_blob_e gate_store_progress(const gate_store_t *store, gate_ref_t ref, uint64_t *filled);

/** The word that changes when a held, filling blob grows: for who waits for more. NULL: no such blob */
_Atomic uint32_t *gate_store_growth(const gate_store_t *store, gate_ref_t ref);

/** Bytes of a held, whole blob. */
uint64_t gate_store_length(const gate_store_t *store, gate_ref_t ref);

/** A held head's body; 0: it has none of this coding. */
gate_ref_t gate_store_body(const gate_store_t *store, gate_ref_t head, gate_coding_e coding);

/**
 * Looks at the heads of a hash.
 * @param rank   called with each held head's bytes: < 0: not this one; else the highest wins, the newest among equals
 * @return 1 with *pin holding the best, 0: none
 */
typedef int64_t (*gate_rank_fn)(void *ctx, const void *head, uint64_t len);
int gate_store_find(gate_store_t *store, uint64_t hash, gate_rank_fn rank, void *ctx, gate_pin_t *pin);

/**
 * A number that is another one whenever what gate_store_find() gives for this hash may have changed since: objects came or went, one got a
 * further body, or was purged softly. While it is being changed it is odd. One atomic load.
 */
uint32_t gate_store_epoch(const gate_store_t *store, uint64_t hash);

/** Notes a use of a head, held or not, for the eviction. */
void gate_store_touch(gate_store_t *store, gate_ref_t head);

/* ---- writing ------------------------------------------------------------------------------------------------------- */

/* An object that this process makes; not visible to look-ups before it is committed. */
typedef struct {
    uint64_t hash;
    gate_ref_t head, body;
    uint64_t length;              /* announced; UINT64_MAX: not known */
    uint64_t filled;
    uint64_t room;                /* bytes that the runs hold */
    uint8_t queue;                /* where eviction begins with it */
    uint8_t broken;
} gate_fill_t;

typedef enum {
    GATE_STORE_OK = 0,
    GATE_STORE_FULL,              /* no room could be made, or it is not let in now */
    GATE_STORE_TOO_BIG,
    GATE_STORE_GONE,              /* what it belonged to is gone (evicted, purged, the fill was swept) */
    GATE_STORE_BUSY               /* a lock could not be had in GATE_LOCK_WAIT_USEC */
} gate_store_e;

/** Begins an object of a URL hash. @param length  of the body, or UINT64_MAX */
gate_store_e gate_store_begin(gate_store_t *store, uint64_t hash, uint64_t length, gate_fill_t *fill);

/** Gives the fill its head's bytes (copied). May be called once. */
gate_store_e gate_store_set_head(gate_store_t *store, gate_fill_t *fill, const void *head, size_t len);

gate_store_e gate_store_append(gate_store_t *store, gate_fill_t *fill, const void *data, size_t len);

/**
 * Makes it visible, in place of heads that `same` says it replaces.
 * @param same  (ctx, old head, len): >0: replaced; called under the shard's lock
 * @param veto  called under the shard's lock just before: non-zero: do not (a purge came in between)
 */
typedef int (*gate_same_fn)(void *ctx, const void *head, uint64_t len);
gate_store_e gate_store_commit(gate_store_t *store, gate_fill_t *fill, gate_same_fn same, int (*veto)(void *ctx), void *ctx);

/** Drops it; followers see it broken. Fine to call on a fill that was committed or dropped. */
void gate_store_abort(gate_store_t *store, gate_fill_t *fill);

/** Gives a living object another head, with the same bodies (a 304). *out is the new head, not held. */
gate_store_e gate_store_rehead(gate_store_t *store, gate_ref_t old, const void *head, size_t len, int (*veto)(void *ctx),
                               void *ctx, gate_ref_t *out);

/** Hangs a finished body of another coding onto a living head; the bytes are copied. */
gate_store_e gate_store_add_body(gate_store_t *store, gate_ref_t head, gate_coding_e coding, const void *data, size_t len);

/** The living head of a hash that has this first body: after a 304 it is another one. 0: none */
gate_ref_t gate_store_head_of(gate_store_t *store, uint64_t hash, gate_ref_t body);

/** Removes a living head and its bodies. @return 1 if it was there */
int gate_store_remove(gate_store_t *store, gate_ref_t head);

/**
 * Shows every living head, shard by shard, some at a time under the lock.
 * @param each  non-zero: remove it. May write to the head's atomics.
 * @return how many were removed
 */
uint64_t gate_store_walk(gate_store_t *store, int (*each)(void *ctx, uint64_t hash, void *head, uint64_t len), void *ctx);

/** The same for the heads of one hash. */
uint64_t gate_store_walk_hash(gate_store_t *store, uint64_t hash, int (*each)(void *ctx, uint64_t hash, void *head, uint64_t len),
                              void *ctx);

/* ---- keeping house --------------------------------------------------------------------------------------------------- */

/** A seat's holder is dead (or leaves): its pins and half-filled objects go. ctx is the store. Repeatable. */
void gate_store_sweep(int seat, void *store);

/** Gives back memory of removed objects whose last reader is done. */
void gate_store_reap(gate_store_t *store);

typedef struct {
    uint64_t size_bytes;          /* for objects */
    uint64_t used_bytes;          /* runs and slots of heads and bodies, half-filled and removed-but-read ones too */
    uint64_t objects;             /* living heads */
    uint64_t bodies;              /* living bodies, all codings */
    uint64_t waiting;             /* removed, a reader still holds them */
    uint64_t evictions;
    uint64_t repairs;
    uint64_t pins;                /* held now, over all seats */
} gate_store_stats_t;
void gate_store_stats(const gate_store_t *store, gate_store_stats_t *out);

/** Walks everything. For the zone; ctx is the store. Takes the shard locks one after the other. @return faults */
int gate_store_validate(const void *base, uint64_t size_bytes, void *store, char *why, size_t why_size);

#endif
