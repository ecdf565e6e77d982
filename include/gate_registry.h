/*
 * gate_registry.h - groups and members as all processes see them: who they are, their verdicts, their numbers.
 * Depends: gate_lock.h, gate_seat.h, gate_histogram.h, APR pools.
 *
 * ZONE "registry": [ header | groups | hot rows | member slots | statistics | per-seat rows of groups | two membership lists ]
 * ZONES "inflight.N": [ per-seat rows of members ], each for the slots up to N from where the one before ends. They never change: when
 *         there is to be room for more members, there is one more of them. So old children, whose registry is the smaller one of
 *         before, and new ones count in the same words and see each other's exchanges, and connections= holds over all of them.
 * FROZEN  capacities; group names once declared.
 * LOCK    the registry lock: whoever changes membership (configuration, discovery, admin). Never on a request's path.
 * ATOMIC  verdict, weight, up_since (hot row); counters; in-flight numbers, each in the row of the seat that holds it.
 * READERS membership is kept twice; a writer edits the list that is not in use and switches over in one atomic step that is the new version too, so a reader
 *         sees the set before or the set after, never half; a writer that dies leaves the list in use untouched. A slot is
 *         filled before it is listed and not used again while anything is in flight on it, nor for GATE_SLOT_REST_USEC after.
 * CRASH   in-flight numbers of a dead child's seat do not count from the moment it is marked dead and are zeroed by a sweep.
 * RELOAD  kept; in a larger zone groups and members have the same indexes and incarnations as before. Members are found again by
 *         (group, id): counters, verdicts and histograms go on. Members that were added at run time stay; configured ones that left the
 *         configuration are retired.
 * ROOT    the parent writes here too: it uses capacities of its own private handle and checks every index it reads.
 *
 * A member is named by (slot, incarnation): a slot that was given to another member has another incarnation.
 */
#ifndef GATE_REGISTRY_H
#define GATE_REGISTRY_H

#include <stddef.h>
#include <stdint.h>
#include <apr_errno.h>
#include <apr_pools.h>

#include "gate_event.h"
#include "gate_histogram.h"
#include "gate_seat.h"

#define GATE_NAME_LEN 64   /* group and member names with their NUL */
#define GATE_URL_LEN 320
#define GATE_WHY_LEN 160
#define GATE_REGISTRY_LAYOUT 4u
#define GATE_INFLIGHT_LAYOUT 1u
#define GATE_INFLIGHT_PIECES 12
#define GATE_NO_GROUP UINT32_MAX
#define GATE_NO_SLOT UINT32_MAX
#define GATE_STRIPES 4     /* copies of each member's counters; a child writes the one of its seat modulo this */
#define GATE_SLOT_REST_USEC (60 * INT64_C(1000000))

/* Verdicts: who says a member must not be used. Separate bits; it is usable only if none of GATE_UNUSABLE is set. */
enum {
    GATE_VERDICT_DRAIN = 1u << 0,    /* admin: no new clients, bound sessions go on */
    GATE_VERDICT_DISABLED = 1u << 1, /* admin: nobody */
    GATE_VERDICT_DOWN = 1u << 2,     /* active check */
    GATE_VERDICT_EJECTED = 1u << 3,  /* passive check */
    GATE_VERDICT_GONE = 1u << 4,     /* discovery no longer lists it */
    GATE_VERDICT_UNKNOWN = 1u << 5   /* not yet checked: shown, but used */
};
#define GATE_VERDICT_ADMIN (GATE_VERDICT_DRAIN | GATE_VERDICT_DISABLED)
#define GATE_VERDICT_HEALTH (GATE_VERDICT_DOWN | GATE_VERDICT_EJECTED) /* what panic may overlook */
#define GATE_UNUSABLE (GATE_VERDICT_ADMIN | GATE_VERDICT_HEALTH | GATE_VERDICT_GONE)

typedef enum { GATE_ORIGIN_CONFIG = 1, GATE_ORIGIN_RUNTIME, GATE_ORIGIN_DISCOVERED } gate_origin_e;

#define GATE_MEMBER_BACKUP 1u

/* What makes a member; strings borrowed for the call. */
typedef struct {
    const char *id;
    const char *url;       /* as gate_parse_member_url takes it */
    uint32_t weight;       /* 1..1000 */
    uint32_t flags;        /* GATE_MEMBER_* */
    uint32_t connections;  /* cap over all children; 0: none */
    uint32_t verdict;      /* to begin with: GATE_VERDICT_ADMIN bits, GATE_VERDICT_UNKNOWN */
    uint32_t priority;     /* discovery by SRV: lower is asked first; else 0 */
} gate_member_spec_t;

/* Copy of a member's identity and standing. */
typedef struct {
    uint32_t slot, incarnation, group;
    gate_origin_e origin;
    uint32_t flags, connections, weight, weight_configured, priority;
    uint32_t verdict;
    uint64_t id_hash;          /* 64-bit hash of the id: the same everywhere, for consistent hashing */
    int64_t up_since_usec;     /* monotonic: when it last became usable; 0: from the beginning of its group (no slow start) */
    int64_t changed_wall_usec; /* when its verdict last changed */
    char id[GATE_NAME_LEN];
    char url[GATE_URL_LEN];
    char why[GATE_WHY_LEN];    /* of the last change; "" if none */
} gate_member_t;

/* How one try on a member ended; who counts as what is decided by upstream's retry.c. */
typedef enum {
    GATE_OUTCOME_OK = 0,         /* an answer below 500, or one that nobody calls an error */
    GATE_OUTCOME_STATUS,         /* an answer with a 5xx */
    GATE_OUTCOME_CONNECT,        /* no connection (refused, unreachable, connect timeout, TLS handshake, name) */
    GATE_OUTCOME_TIMEOUT,        /* connected, no answer in time */
    GATE_OUTCOME_RESET,          /* connected, closed or reset before the answer's head was whole */
    GATE_OUTCOME_BAD,            /* an answer that is not HTTP */
    GATE_OUTCOME_BROKEN,         /* the answer ended early, after bytes of it were passed on */
    GATE_OUTCOME_CLIENT,         /* the client went away: says nothing about the member */
    GATE_OUTCOME_OURS,           /* something of ours failed: says nothing about the member */
    GATE_OUTCOME_COUNT
} gate_outcome_e;

const char *gate_outcome_name(gate_outcome_e outcome); /* "ok", "status", "connect", .. */

/* What is told about one finished try. */
typedef struct {
    uint32_t group, slot, incarnation;
    gate_outcome_e outcome;
    int status;              /* of the member's answer; 0 if none */
    int is_retry;            /* not the exchange's first try */
    int is_trial;            /* the try that gate_trial_claim() was about */
    int64_t connect_usec;    /* -1: an idle connection was used, or not known */
    int64_t first_byte_usec; /* from the try's beginning; -1 if none came */
    int64_t total_usec;
    uint64_t bytes_in, bytes_out; /* from the member's view: what it got, what it sent */
    int64_t now_usec;        /* monotonic, at the end */
    const char *why;         /* words for a failure, borrowed; NULL if none */
} gate_report_t;

/* Sum over stripes. */
typedef struct {
    uint64_t requests;                 /* tries that ended, by any outcome */
    uint64_t outcome[GATE_OUTCOME_COUNT];
    uint64_t code_class[6];            /* [1]..[5]: 1xx..5xx answers; [0]: no answer */
    uint64_t retries;                  /* tries that were not the first */
    uint64_t bytes_in, bytes_out;
    uint64_t picked;                   /* times chosen */
} gate_member_counts_t;

typedef struct gate_registry gate_registry_t; /* private handle: base address and capacities */

typedef struct {
    uint32_t groups, members, seats;
} gate_registry_limits_t;

uint64_t gate_registry_size(const gate_registry_limits_t *limits);

/**
 * Lays out (fresh) or adopts (kept) a zone. The handle lives in pool p; `seats` and `events` are borrowed for as long.
 * When fresh and old_base is not NULL, members' counters and verdicts are copied over from the old zone by (group, id), every index
 * checked; *kept is set to how many.
 */
gate_registry_t *gate_registry_attach(apr_pool_t *p, void *base, const gate_registry_limits_t *limits, int fresh,
                                      gate_seats_t *seats, gate_events_t *events, const void *old_base,
                                      uint64_t old_size_bytes, uint32_t *kept);

/** Bytes of a zone that counts what is in flight on so many slots. */
uint64_t gate_inflight_size(uint32_t slots, uint32_t seats);
/**
 * What is in flight on the next `slots` slots is counted at base (zeroed when it was new), which all children share, old and new. To be
 * called after attach, until every slot has its place: a slot without one is not counted.
 * @return 0, or -1 when there are GATE_INFLIGHT_PIECES already
 */
int gate_inflight_attach(gate_registry_t *reg, void *base, uint32_t slots);

const gate_registry_limits_t *gate_registry_limits(const gate_registry_t *reg);

/* ---- groups -------------------------------------------------------------------------------------------------------------- */

/** Finds or makes a group. @return APR_SUCCESS; APR_ENOSPC when the table is full; APR_ETIMEDOUT when the lock was not to be had */
apr_status_t gate_group_declare(gate_registry_t *reg, const char *name, uint32_t *group);

/** After all are declared: groups not among the n named are retired with their members. */
apr_status_t gate_groups_keep(gate_registry_t *reg, const uint32_t *groups, uint32_t n, int64_t now_usec);

/** @return index, or GATE_NO_GROUP */
uint32_t gate_group_find(const gate_registry_t *reg, const char *name);

/** Name of a living group ("" if it is not), borrowed from the zone. */
const char *gate_group_name(const gate_registry_t *reg, uint32_t group);

/** Grows whenever the membership of a group changes: at least of this one. One atomic load. */
uint32_t gate_group_version(const gate_registry_t *reg, uint32_t group);

/** Grows whenever a verdict or weight of one of its members changes. One atomic load. */
uint32_t gate_group_standing(const gate_registry_t *reg, uint32_t group);

/** The group's shared turn: returns it and adds 1. For round-robin and for ties. */
uint64_t gate_group_turn(gate_registry_t *reg, uint32_t group);

/** The one that comes next; takes nothing. */
uint64_t gate_group_turn_next(const gate_registry_t *reg, uint32_t group);

/**
 * Retries that a group has saved up, in thousandths: each exchange puts in its share (the budget, 200 for 20 %), each retry takes 1000
 * out. So a burst of failures (a machine that goes silent ends all connections to it at once) is met, and a lasting one is not: the
 * token bucket of gRPC's retry throttling (A6). Never above GATE_CREDIT_MAX nor below 0.
 */
#define GATE_CREDIT_MAX INT64_C(100000)
void gate_group_credit_put(gate_registry_t *reg, uint32_t group, uint32_t milli);
void gate_group_credit_take(gate_registry_t *reg, uint32_t group);
int64_t gate_group_credit(const gate_registry_t *reg, uint32_t group);

/* ---- membership ---------------------------------------------------------------------------------------------------------- */

/**
 * Makes the group's members of one origin exactly those given, in one step for all readers. A member with the same id and URL
 * stays what it is (weight and flags as given; admin bits as they are); one whose URL changed is a new member.
 * @return APR_SUCCESS; APR_ENOSPC when there is no slot (nothing changed); APR_EEXIST when an id is taken by another origin;
 *         APR_ETIMEDOUT
 */
apr_status_t gate_members_apply(gate_registry_t *reg, uint32_t group, gate_origin_e origin, const gate_member_spec_t *specs,
                                uint32_t n, const char *who, int64_t now_usec);

apr_status_t gate_member_add(gate_registry_t *reg, uint32_t group, gate_origin_e origin, const gate_member_spec_t *spec,
                             const char *who, int64_t now_usec, uint32_t *slot);
/** Takes it out of the set; what is in flight on it goes on. APR_ENOENT when (slot, incarnation) is no longer a member. */
apr_status_t gate_member_remove(gate_registry_t *reg, uint32_t slot, uint32_t incarnation, const char *who, const char *why,
                                int64_t now_usec);
/** Run-time weight, 1..1000. */
apr_status_t gate_member_weight(gate_registry_t *reg, uint32_t slot, uint32_t incarnation, uint32_t weight, const char *who);

/**
 * Copies the slots of a group's members, in the order of configuration; the set is whole.
 * @param version  set to the membership's version that was copied
 * @return how many there are (may be more than max: then ask again with room)
 */
uint32_t gate_group_members(const gate_registry_t *reg, uint32_t group, uint32_t *slots, uint32_t max, uint32_t *version);

/** Copies what a slot says now. @return 0, or -1 when it holds no member */
int gate_member_get(const gate_registry_t *reg, uint32_t slot, gate_member_t *out);
uint32_t gate_member_find(const gate_registry_t *reg, uint32_t group, const char *id);

/* ---- standing ------------------------------------------------------------------------------------------------------------ */

uint32_t gate_verdict(const gate_registry_t *reg, uint32_t slot);
uint32_t gate_weight(const gate_registry_t *reg, uint32_t slot);
/** Its connections=; 0: no cap. */
uint32_t gate_member_cap(const gate_registry_t *reg, uint32_t slot);
int64_t gate_up_since(const gate_registry_t *reg, uint32_t slot);

/** State in one word, the strongest reason first: "disabled" "drain" "down" "ejected" "gone" "unknown" "up". */
const char *gate_verdict_word(uint32_t verdict);

/**
 * Changes verdict bits: one atomic step, seen by every process at once. Writes the reason, and an event unless only UNKNOWN changes. A member that becomes
 * usable by it begins its slow start at now_usec.
 * @return 1 if the verdict changed, 0 if it was so already, -1 when (slot, incarnation) is no longer a member
 */
int gate_verdict_change(gate_registry_t *reg, uint32_t slot, uint32_t incarnation, uint32_t set, uint32_t clear,
                        const char *area, const char *who, const char *why, int64_t now_usec);

/** Clears verdicts of all members, because whoever set them is gone. @return how many members had one of them */
uint32_t gate_verdicts_disown(gate_registry_t *reg, uint32_t verdicts, const char *why, int64_t now_usec);

/*
 * Half-open: an EJECTED member whose ejection is due is tried by one request at a time, of all processes. No timer is needed:
 * whoever chooses a member looks at gate_trial_claim() for those that nothing but EJECTED keeps out, and tries the one it got;
 * the report of that try says is_trial, and whoever ejects decides by it. A claim ends with its lease, or with its process.
 */

/** Not before from_usec (monotonic; 0: at once) may the member be tried. To be called before EJECTED is set, and after each trial. */
void gate_trial_set(gate_registry_t *reg, uint32_t slot, int64_t from_usec);

/**
 * @param seat  of the caller; GATE_SEAT_NONE is good too, its claim ends with the lease only
 * @return 1 when this caller, and nobody else until now_usec + lease_usec, is to try the member; else 0
 */
int gate_trial_claim(gate_registry_t *reg, uint32_t slot, int seat, int64_t now_usec, int64_t lease_usec);

/** From when on the next trial is possible, or until when the present one's claim holds: *claimed says which. */
int64_t gate_trial_at(const gate_registry_t *reg, uint32_t slot, int *claimed);

/* ---- numbers ------------------------------------------------------------------------------------------------------------- */

/** A try begins, or ends, on a member: in the caller's own seat row. Counts `picked` too. seat may be GATE_SEAT_NONE (not counted). */
void gate_inflight_begin(gate_registry_t *reg, int seat, uint32_t slot);
void gate_inflight_end(gate_registry_t *reg, int seat, uint32_t slot);
/** Sum over the living seats. */
uint32_t gate_inflight(const gate_registry_t *reg, uint32_t slot);

/** The same for exchanges of a group, and for those of them that are on a second or later try. */
void gate_group_active_add(gate_registry_t *reg, int seat, uint32_t group, int delta);
void gate_group_retrying_add(gate_registry_t *reg, int seat, uint32_t group, int delta);
uint32_t gate_group_active(const gate_registry_t *reg, uint32_t group);
uint32_t gate_group_retrying(const gate_registry_t *reg, uint32_t group);

/** Counts a finished try (counters, histogram of total_usec for answers) and tells the listeners. */
void gate_report(gate_registry_t *reg, int seat, const gate_report_t *report);

typedef void (*gate_report_fn)(const gate_report_t *report, void *ctx);
/** At most 8 listeners in a process; each must be quick and not block. @return 0, or -1 when full */
int gate_on_report(gate_report_fn fn, void *ctx);
void gate_report_listeners_clear(void);

void gate_member_counts(const gate_registry_t *reg, uint32_t slot, gate_member_counts_t *out);
/** The member's latency histogram in shared memory; read it with gate_histogram_merge() into one of your own. */
const gate_histogram_t *gate_member_histogram(const gate_registry_t *reg, uint32_t slot);

/** Shared state of a member for strategies that learn (least-time): two words, meaning is theirs; zero for a new member. */
typedef struct {
    _Atomic uint64_t ewma;     /* see balance_least_time.c */
    _Atomic uint64_t stamp;
} gate_learned_t;
gate_learned_t *gate_member_learned(gate_registry_t *reg, uint32_t slot);

/** Zeroes a dead seat's rows, or those of one just taken: who swept it may have been an old child, which knows only the zones of before. */
void gate_registry_sweep(int seat, void *reg);

int gate_registry_validate(const void *base, uint64_t size_bytes, void *reg, char *why, size_t why_size);

#endif
