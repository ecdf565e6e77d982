/*
 * registry_layout.h - the registry's zone, as core's own files see it. Private to modules/core.
 * What each part is for and who may change it: gate_registry.h.
 */
#ifndef GATE_REGISTRY_LAYOUT_H
#define GATE_REGISTRY_LAYOUT_H

#include <stdatomic.h>

#include "gate_lock.h"
#include "gate_registry.h"

#define REGISTRY_MAGIC UINT32_C(0x47524547) /* "GREG" */
#define LOCK_WAIT_USEC INT64_C(5000000)

enum { SLOT_FREE = 0, SLOT_LISTED, SLOT_RETIRED };
enum { GROUP_FREE = 0, GROUP_LIVING };

typedef struct {
    uint32_t magic, layout;
    uint32_t groups, members, seats, unused;
    gate_lock_t lock;
    _Atomic uint32_t switches; /* how often the membership changed; its last bit says which list is in use: one store does both */
    uint32_t pad[9];
} registry_head_t;

typedef struct {
    _Atomic uint32_t state;
    _Atomic uint32_t standing;
    _Atomic int64_t credit_milli; /* at its limit while all is well: then nobody writes it */
    char name[GATE_NAME_LEN];
    _Alignas(64) _Atomic uint64_t turn; /* a line of its own: every pick writes it */
    uint64_t pad[7];
} group_slot_t;

/* What every pick reads: four to a cache line, written only when something changes. */
typedef struct {
    _Atomic uint32_t verdict;
    _Atomic uint32_t weight;
    _Atomic int64_t up_since_usec;
} hot_t;

/* When an ejected member may be tried: monotonic microseconds << TRIAL_SEAT_BITS | who is at it: seat + 1, or 0 for nobody. */
typedef _Atomic uint64_t trial_t;
#define TRIAL_SEAT_BITS 12
#define TRIAL_NO_SEAT ((1u << TRIAL_SEAT_BITS) - 1)

typedef struct {
    _Atomic uint32_t state;
    _Atomic uint32_t incarnation;
    _Atomic uint32_t group;
    _Atomic uint32_t origin, flags, connections, weight_configured, priority;
    uint64_t id_hash;
    int64_t retired_at_usec;
    char id[GATE_NAME_LEN];
    char url[GATE_URL_LEN];
    gate_lock_t why_lock;            /* writers of why; a reader checks why_turn (odd: being written) */
    _Atomic uint32_t why_turn;
    uint32_t unused;
    _Atomic int64_t changed_wall_usec;
    char why[GATE_WHY_LEN];
} member_slot_t;

typedef struct {
    _Atomic uint64_t requests, picked, retries, bytes_in, bytes_out;
    _Atomic uint64_t outcome[GATE_OUTCOME_COUNT];
    _Atomic uint64_t code_class[6];
    uint64_t pad[4]; /* to three cache lines */
} stripe_t;

typedef struct {
    _Alignas(64) stripe_t stripe[GATE_STRIPES];
    _Alignas(64) gate_learned_t learned;
    _Alignas(64) gate_histogram_t latency;
} member_stats_t;

typedef struct {
    uint32_t group, slot;
} listing_t;

/* Entries are read while a later writer may already be at work on this list (readers then look again): so each is one atomic. */
typedef struct {
    _Atomic uint32_t count;
    uint32_t unused;
    _Atomic uint64_t at[]; /* slot | group << 32 */
} member_list_t;

static inline listing_t list_at(const member_list_t *list, uint32_t i)
{
    uint64_t at = atomic_load_explicit(&((member_list_t *)list)->at[i], memory_order_relaxed);

    return (listing_t){ .group = (uint32_t)(at >> 32), .slot = (uint32_t)at };
}

static inline void list_put(member_list_t *list, uint32_t i, uint32_t group, uint32_t slot)
{
    atomic_store_explicit(&list->at[i], (uint64_t)group << 32 | slot, memory_order_relaxed);
}

/* Tries in flight of each seat on slots from `begin` to before `end`. */
typedef struct {
    char *rows;
    size_t row_size;
    uint32_t begin, end;
} inflight_t;

struct gate_registry {
    gate_registry_limits_t limits; /* private copy: what the zone says is never trusted for bounds */
    registry_head_t *head;
    group_slot_t *group;
    hot_t *hot;
    trial_t *trial;
    member_slot_t *member;
    member_stats_t *stats;
    char *rows;
    size_t row_size;
    member_list_t *list[2];
    inflight_t inflight[GATE_INFLIGHT_PIECES];
    uint32_t pieces;
    gate_seats_t *seats;
    gate_events_t *events;
};

/* A seat's row: exchanges of each group, those of them being tried again. */
static inline _Atomic uint32_t *row_active(const gate_registry_t *reg, uint32_t seat)
{
    return (_Atomic uint32_t *)(void *)(reg->rows + seat * reg->row_size);
}

static inline _Atomic uint32_t *row_retrying(const gate_registry_t *reg, uint32_t seat)
{
    return row_active(reg, seat) + reg->limits.groups;
}

/* Where the slot is counted; NULL: nowhere. */
static inline const inflight_t *inflight_of(const gate_registry_t *reg, uint32_t slot)
{
    uint32_t i;

    for (i = 0; i < reg->pieces; i++) {
        if (slot < reg->inflight[i].end) {
            return &reg->inflight[i];
        }
    }
    return NULL;
}

/* A seat's row of a piece: tries on each of its members. */
static inline _Atomic uint32_t *row_inflight(const inflight_t *piece, uint32_t seat)
{
    return (_Atomic uint32_t *)(void *)(piece->rows + seat * piece->row_size);
}

/* The list in use; its count is cut to what fits. */
static inline const member_list_t *list_in_use(const gate_registry_t *reg)
{
    return reg->list[atomic_load_explicit(&reg->head->switches, memory_order_acquire) & 1];
}

/* The other one, for a writer that holds the lock. */
static inline member_list_t *list_spare_locked(const gate_registry_t *reg)
{
    return reg->list[(atomic_load_explicit(&reg->head->switches, memory_order_acquire) & 1) ^ 1];
}

static inline uint32_t list_count(const gate_registry_t *reg, const member_list_t *list)
{
    uint32_t count = atomic_load_explicit(&((member_list_t *)list)->count, memory_order_relaxed);

    return count <= reg->limits.members ? count : reg->limits.members;
}

/* Takes the registry's lock, mending what a dead holder left. */
apr_status_t registry_lock(gate_registry_t *reg);
void registry_unlock(gate_registry_t *reg);

/* Tells the world: an event about a member of a group. */
void registry_event(gate_registry_t *reg, uint32_t slot, const char *area, const char *from, const char *to, const char *why,
                    const char *who);

/* Wall clock for what people read. */
int64_t registry_wall_usec(void);

/* Claims of trials that a dead seat held are free, before the seat is another process's. */
void trials_let_go(gate_registry_t *reg, uint32_t seat);

/* Sets the reason that a member's standing is shown with. */
void registry_set_why(member_slot_t *member, const char *why);

/* Fills a slot for a new member, not yet listed. _locked: the registry's lock is held. */
void member_fill_locked(gate_registry_t *reg, uint32_t slot, uint32_t group, gate_origin_e origin, const gate_member_spec_t *spec,
                        int64_t up_since_usec);
/* A slot nobody uses, or GATE_NO_SLOT; `after` lets a caller go on behind the last one it got. */
uint32_t member_find_free_locked(gate_registry_t *reg, uint32_t after, int64_t now_usec);
/* Makes the list that is not in use the one in use. */
void list_switch_locked(gate_registry_t *reg);

#endif
