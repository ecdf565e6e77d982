/*
 * keep.h - a request that the store cannot answer at once: who fetches it, what the member is asked, and what becomes of its answer.
 * Knows no plane: on the classic one a request's thread waits and an output filter hands the bytes over (cache_fetch.c, cache_filter.c), on
 * the express one a loop does both (cache_loop.c).
 * Depends: look.h, fill.h, head.h, counts.h, APR tables. Source: RFC 9111 (sections named at each function), RFC 5861, RFC 9213.
 *
 * Order: gate_keep_step() until it says ASK, ANSWER or FLOW; after ASK: gate_keep_asked(), the member, gate_keep_said(), gate_keep_bytes()..,
 * gate_keep_end(). Whoever has begun calls gate_keep_end() and gate_keep_leave() in the end, whatever came of it; both may be repeated.
 * Memory:  a keep lives in the look's pool and what it makes too, but where a pool is named.
 * Locking: one thread. No function waits, but for locks of the store (GATE_LOCK_WAIT_USEC at most).
 * CRASH    a child that dies takes its flight and its half-filled object with it: both are swept with its seat.
 */
#ifndef GATE_CACHE_KEEP_H
#define GATE_CACHE_KEEP_H

#include "counts.h"
#include "fill.h"
#include "look.h"

/* GateCacheCompress */
typedef struct {
    int level[GATE_CODINGS];      /* by gate_coding_e; -1: the default of the size; -2: not this coding */
    const char *const *types;     /* ended by NULL; "text/" at the end of a type's first half stands for all of it */
    uint64_t min_bytes;
    int on;
} gate_compress_rule_t;

/* What a process does for all its keeps. */
typedef struct {
    void (*count)(int which, uint64_t n);
    void (*wake)(_Atomic uint32_t *word); /* NULL is none */
    void (*codings)(const gate_compress_rule_t *rule, uint64_t hash, gate_ref_t head); /* has missing ones made */
} gate_keep_ops_t;

/* What of a location's configuration decides here; what is not in the look's rule. */
typedef struct {
    const gate_keep_ops_t *ops;
    gate_cache_policy_t policy;
    const gate_compress_rule_t *compress; /* NULL: off */
    const char *tags;             /* GateCacheTags; NULL: Surrogate-Key and Cache-Tag */
    int64_t wait_usec;
} gate_keep_rule_t;

typedef struct {
    gate_look_t look;             /* the stored answer, when there is one: its head held, the bytes copied */
    gate_keep_rule_t rule;
    int64_t arrived_usec;         /* monotonic */
    int64_t request_wall;         /* seconds since the epoch */
    uint64_t purge_seq;           /* gate_purge_now() when it arrived */
    int background;               /* a refresh: no client */
    /* for Cache-Status */
    const char *fwd;              /* why it went to the member; NULL: it did not */
    const char *detail;
    int collapsed;
    int member_status;            /* what the member answered a validation with; 0: not yet */
    /* waiting */
    gate_seat_on_t flight;
    int joins;
    _Atomic uint32_t *wait_word;  /* GATE_STEP_WAIT: changes when there is news; NULL: look again in a moment */
    uint32_t wait_value;
    /* the member's answer */
    int validating;               /* it was asked whether the held answer still stands */
    int storing, flowing, useless, ended, head_set;
    gate_fill_t fill;
    gate_head_parts_t parts;
    gate_freshness_t fresh;
} gate_keep_t;

/* ---- before the member (keep_join.c) ---------------------------------------------------------------------------------------- */

typedef enum {
    GATE_STEP_ASK,                /* go to the member, for all (k->flight) or alone */
    GATE_STEP_ANSWER,             /* the look holds what another fetch has brought, or had brought: k->fwd NULL is a hit */
    GATE_STEP_FLOW,               /* a fetch whose body can be read along: *head. When that does not suit: gate_keep_no_flow() */
    GATE_STEP_WAIT                /* until k->wait_word changes, or the wait is over: then step again */
} gate_step_e;

/** Never waits itself. @param deadline_usec  when it goes alone */
gate_step_e gate_keep_step(gate_keep_t *k, int64_t deadline_usec, int64_t now_usec, gate_ref_t *head);
/** After FLOW: holds the body, and the head is in the look. @return 0: it is not for this request */
int gate_keep_flowing(gate_keep_t *k, gate_ref_t head, gate_pin_t *body);
/** What flows is not for this request. @return 1: step again (it has ended meanwhile), 0: go alone */
int gate_keep_no_flow(gate_keep_t *k);
/** A hold as a follower ends. */
void gate_keep_leave(gate_keep_t *k);
/**
 * A stale answer was served that may be fetched anew in the background (RFC 5861, 3): one refresh at a time, over all children. The flight is
 * the claim, so it ends with the child that holds it, whatever way that goes. Where there can be no flight (the answer is known not to
 * be kept, no place) a claim in the head keeps others back for a while.
 * @param flight  set: it is the refresh's
 * @return 0: somebody does, or has just done
 */
int gate_keep_claim_refresh(gate_keep_t *k, int64_t now_usec, gate_seat_on_t *flight);
/** The claim was not used. */
void gate_keep_unclaim_refresh(gate_keep_t *k, gate_seat_on_t *flight);
/** For who has the claim: the stored answer is held anew. @return 0: there is nothing to refresh any more, or somebody just has */
int gate_keep_begin_refresh(gate_keep_t *k, int64_t now_usec);
/** A refresh is over, well or not: the next one is some time off. */
void gate_keep_end_refresh(gate_keep_t *k, int well, int64_t now_usec);
/** Joins or begins a flight, no more. */
gate_join_e gate_keep_join(gate_keep_t *k, int64_t wait_usec, int64_t now_usec);

/**
 * The fields that the member is asked with: all of the object is wanted, whatever part or condition this client had in mind; with a stored
 * answer its validators (RFC 9111, 4.3.1), sets k->validating.
 * @param whole  without these: GATE_SAID_AGAIN
 * @return in p; values borrowed
 */
apr_table_t *gate_keep_asked(gate_keep_t *k, apr_pool_t *p, int whole);

/* ---- the member's answer (keep.c) --------------------------------------------------------------------------------------------- */

typedef struct {
    const char *method;
    int head_only, no_cache;      /* HEAD; the handler forbids it */
    int status;
    apr_table_t *fields;          /* the member's own, tags and targeted fields too */
    uint64_t length;              /* of the body; UINT64_MAX: not known; UINT64_MAX - 1: larger than anything here */
    int64_t wall;                 /* now */
    int64_t now_usec;
} gate_said_t;

typedef enum {
    GATE_SAID_NEW,                /* goes to the client; k->storing: and into the store; k->detail: why not */
    GATE_SAID_STORED,             /* the held answer goes to the client in its place (304, or stale-if-error); what the member sends is dropped */
    GATE_SAID_AGAIN               /* its 304 was about something else: ask without conditions */
} gate_said_e;

gate_said_e gate_keep_said(gate_keep_t *k, const gate_said_t *said);
/** RFC 9111, 4.3.5: the answer to a HEAD that went to the member tells whether what is held is still it. */
void gate_keep_headed(gate_keep_t *k, const gate_said_t *said);
/** Without a storing keep nothing happens. */
void gate_keep_bytes(gate_keep_t *k, const void *bytes, size_t len, int64_t now_usec);
/** How many others read along. */
uint32_t gate_keep_followers(const gate_keep_t *k);
/** whole: the answer was. What is stored can be found from here on; those who wait are told. */
void gate_keep_end(gate_keep_t *k, int whole, int64_t now_usec);
/** There is an error of ours. @return may the held answer be served in its place (stale-if-error)? Counted and worded then. */
int gate_keep_failed(gate_keep_t *k, int status, int64_t now_usec);

/** Does the rule want codings of such an answer made? */
int gate_keep_wants_variants(const gate_compress_rule_t *rule, int status, const apr_table_t *fields, uint64_t length);
/** Purge tags and our own directives are between the member and us (trap 53): taken off. */
void gate_keep_drop_tags(const gate_keep_rule_t *rule, apr_table_t *fields);
/** Sets Cache-Status. */
void gate_keep_status(const gate_keep_t *k, apr_pool_t *p, int64_t now_usec, apr_table_t *fields);
/** Counts an answer from the store. @return GATE_CACHE, static */
const char *gate_keep_count_answer(const gate_keep_t *k, int64_t now_usec);

#endif
