/*
 * trial.h - one exchange at the limits that stand where it leads to: several rates and several numbers at once, all or nothing.
 * Depends: limiter.h, concurrency.h, APR pools.
 * Memory:  a trial is its owner's, a kilobyte; what it holds (places among those in flight) goes with access_trial_leave(), or with the
 *          seat of a child that dies.
 * Locking: limiter.h, concurrency.h. Nothing is logged here, nobody waits here.
 */
#ifndef GATE_ACCESS_TRIAL_H
#define GATE_ACCESS_TRIAL_H

#include <stdatomic.h>
#include <stdint.h>
#include <apr_pools.h>

#include "concurrency.h"
#include "limiter.h"

#define ACCESS_TRIAL_LIMITS 16    /* of one place; further ones do not count */

typedef enum { ACCESS_REQUESTS, ACCESS_CONNECTIONS } access_kind_e;

enum { ACCESS_ADMITTED, ACCESS_REFUSED, ACCESS_DELAYED, ACCESS_WOULD, ACCESS_EVICTED, ACCESS_UNCOUNTED, ACCESS_LIMIT_COUNTS };

/* One limit's numbers, before its table in its zone. */
typedef struct {
    _Atomic uint64_t count[ACCESS_LIMIT_COUNTS];
    _Atomic int64_t said_usec;       /* when it last wrote to the log, and how many since */
    _Atomic uint64_t unsaid;
} access_tallies_t;

#define ACCESS_TALLIES_BYTES 128

/* GateLimit. Written while the configuration is read, read only ever after; counts, lines and flights lead into its zone. */
typedef struct {
    const char *name, *where;
    access_kind_e kind;
    uint64_t events, burst;
    int64_t period_usec;
    uint64_t max;                    /* connections */
    uint64_t keys;
    const char *key_text;
    const void *key;                 /* an ap_expr_info_t; NULL: the client address */
    int delay, dry_run, early;
    int64_t delay_usec;              /* longest wait */
    gate_rate_t rate;
    uint64_t window_s;               /* in which the whole burst comes back, rounded up */
    access_tallies_t *counts;
    gate_lines_t lines;
    gate_concurrency_t flights;
} access_limit_t;

typedef struct {
    int count, seat;
    const access_limit_t *limit[ACCESS_TRIAL_LIMITS];
    uint64_t hash[ACCESS_TRIAL_LIMITS];
    int64_t row[ACCESS_TRIAL_LIMITS]; /* connections: the place among those in flight; < 0: none */
    gate_rate_verdict_t verdict[ACCESS_TRIAL_LIMITS];
    const access_limit_t *refused;   /* the one that decided, or NULL */
    uint32_t at_once;                /* connections: how many there are */
    int64_t retry_usec;              /* longest of those that refuse */
    int64_t wait_usec;               /* delay */
    const access_limit_t *delayed;
    const access_limit_t *would;     /* dry run: one that would have refused */
} access_trial_t;

/** @param seat  the child's; it holds what the trial holds */
void access_trial_begin(access_trial_t *trial, int seat);

/** One limit that counts for the exchange, with the hash of its key. */
void access_trial_add(access_trial_t *trial, const access_limit_t *limit, uint64_t hash);

/** Asks all rates without charging: sets refused, retry_usec, would and the verdicts. */
void access_trial_peek(access_trial_t *trial, int64_t now_usec);

/**
 * Charges all limits, or none when one of them refuses. Counts what is the limits' own affair (evicted, uncounted).
 * @return 1 admitted (perhaps after wait_usec); 0: trial->refused says by which, and nothing is held
 */
int access_trial_charge(access_trial_t *trial, int64_t now_usec);

/** Counts as in flight, whatever the limits say: what was admitted on the other plane goes on. Nothing else is asked or counted. */
void access_trial_hold(access_trial_t *trial);

/** No longer in flight. Fine to call twice. */
void access_trial_leave(access_trial_t *trial);

/**
 * RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10): one item for each limit of requests.
 * @return 0: there is none
 */
int access_trial_fields(const access_trial_t *trial, apr_pool_t *p, const char **policy, const char **state);

/** Counts one for a limit. */
static inline void access_bump(const access_limit_t *limit, int what)
{
    atomic_fetch_add_explicit(&limit->counts->count[what], 1, memory_order_relaxed);
}

#endif
