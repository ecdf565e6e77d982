/*
 * freshness.h - may this answer be stored, is it still fresh, may it be served stale: RFC 9111 sections 3 to 5, with
 * RFC 5861 (stale-while-revalidate, stale-if-error), RFC 8246 (immutable), RFC 9213 (targeted fields).
 * Depends: APR tables.   Memory: gate_freshness_t is plain and fixed, it may lie in shared memory.   Locking: none, all pure.
 * Time:    seconds of the wall clock for what headers say, microseconds of the monotonic clock for how long we have had it
 *          (a step of the clock ages nothing). Always passed in.
 */
#ifndef GATE_CACHE_FRESHNESS_H
#define GATE_CACHE_FRESHNESS_H

#include <stdint.h>
#include <apr_pools.h>
#include <apr_tables.h>

enum {
    GATE_CC_NO_CACHE = 1u << 0,
    GATE_CC_NO_STORE = 1u << 1,
    GATE_CC_NO_TRANSFORM = 1u << 2,
    GATE_CC_MUST_REVALIDATE = 1u << 3,
    GATE_CC_PROXY_REVALIDATE = 1u << 4,
    GATE_CC_PUBLIC = 1u << 5,
    GATE_CC_PRIVATE = 1u << 6,
    GATE_CC_MUST_UNDERSTAND = 1u << 7,
    GATE_CC_IMMUTABLE = 1u << 8,
    GATE_CC_ONLY_IF_CACHED = 1u << 9,
    GATE_CC_MAX_STALE_ANY = 1u << 10,
    GATE_CC_S_MAXAGE = 1u << 11   /* in gate_freshness_t: forbids stale answers that the member did not itself allow (5.2.2.10) */
};

/* Cache-Control of a request or an answer; seconds, -1 where absent. */
typedef struct {
    unsigned flags;
    int64_t max_age, s_maxage;
    int64_t stale_while_revalidate, stale_if_error;
    int64_t min_fresh, max_stale;
    const char *no_cache_fields;  /* no-cache="...": the flag is not set then; NULL if absent */
    const char *private_fields;   /* private="..." likewise */
} gate_cc_t;

/** Reads Cache-Control; text may be NULL. What cannot be read counts on the side of caution (RFC 9111, 4.2.1). */
void gate_cc_parse(apr_pool_t *p, const char *text, gate_cc_t *out);

/** Reads a targeted field, a structured dictionary (RFC 9213, 2.1). @return 0 when it is empty or no dictionary: then it is ignored */
int gate_cc_parse_targeted(apr_pool_t *p, const char *text, gate_cc_t *out);

/**
 * The directives of an answer that count for us: the first good one of Gatehouse-Cache-Control, CDN-Cache-Control, else
 * Cache-Control. @return 1 when it was a targeted one (Expires does not count then)
 */
int gate_cc_of_response(apr_pool_t *p, const apr_table_t *headers, gate_cc_t *out);

/** The directives of a request; Pragma: no-cache counts when there is no Cache-Control (RFC 9111, 5.4). */
void gate_cc_of_request(apr_pool_t *p, const apr_table_t *headers, gate_cc_t *out);

/* What the configuration says. Seconds; -1: nothing. */
typedef struct {
    int64_t default_ttl, max_ttl;
    int64_t stale_while_revalidate, stale_if_error;
} gate_cache_policy_t;

typedef enum { GATE_LIFETIME_NONE, GATE_LIFETIME_EXPLICIT, GATE_LIFETIME_DEFAULT, GATE_LIFETIME_HEURISTIC } gate_lifetime_e;

/* Everything that is needed to tell an object's age and freshness later. */
typedef struct {
    int64_t lifetime;             /* seconds */
    int64_t initial_age;          /* corrected_initial_age, RFC 9111, 4.2.3 */
    int64_t received_usec;        /* monotonic: response_time */
    int64_t date;                 /* Date, or when it came; seconds since the epoch */
    int64_t stale_while_revalidate, stale_if_error; /* seconds past the lifetime; 0: not at all, or forbidden */
    uint32_t flags;               /* GATE_CC_*: NO_CACHE MUST_REVALIDATE PROXY_REVALIDATE S_MAXAGE IMMUTABLE NO_TRANSFORM */
    uint32_t how;                 /* gate_lifetime_e */
} gate_freshness_t;

/* When the answer came. */
typedef struct {
    int64_t request_wall, response_wall; /* seconds since the epoch */
    int64_t response_usec;        /* monotonic */
} gate_when_t;

void gate_freshness_of(apr_pool_t *p, int status, const apr_table_t *headers, const gate_cache_policy_t *policy,
                       const gate_when_t *when, gate_freshness_t *out);

/** current_age, RFC 9111, 4.2.3; seconds. */
int64_t gate_age(const gate_freshness_t *f, int64_t now_usec);

/** What is left of its freshness; negative when stale. */
static inline int64_t gate_ttl(const gate_freshness_t *f, int64_t now_usec)
{
    return f->lifetime - gate_age(f, now_usec);
}

/** Is the status one that may be stored without explicit freshness (RFC 9110, 15.1)? */
int gate_status_heuristic(int status);

/* A request and its answer, for the question whether it may be stored. */
typedef struct {
    const char *method;
    const apr_table_t *request;
    int status;
    const apr_table_t *response;
    int has_body_in;              /* the request had content */
} gate_storable_t;

/**
 * RFC 9111, 3 and 3.5, and our own refusals: Set-Cookie, partial content, what nobody could reuse, an answer to a request with
 * cookies that does not say itself how long it lives, unless it is of a type that is not made for one person.
 * @return NULL when it may be stored, else the reason in a word of Cache-Status' detail, static
 */
const char *gate_not_storable(apr_pool_t *p, const gate_storable_t *x, const gate_cache_policy_t *policy, const gate_when_t *when);

typedef enum {
    GATE_SERVE,                   /* fresh enough for this request: as it is */
    GATE_SERVE_STALE,             /* the request allows it (max-stale) */
    GATE_SERVE_REFRESH,           /* stale-while-revalidate: as it is, and fetch it anew behind its back */
    GATE_VALIDATE                 /* ask the member first */
} gate_freshness_e;

/**
 * May a stored answer be served to this request now (RFC 9111, 4 and 5.2.1; RFC 5861, 3; RFC 8246)?
 * @param soft  it was purged softly: it counts as stale from then on
 */
gate_freshness_e gate_freshness_judge(const gate_freshness_t *f, const gate_cc_t *request, int soft, int64_t now_usec);

/** May it be served when the member failed (RFC 5861, 4; RFC 9111, 4.2.4)? `status` is what the member said, 0: nothing. */
int gate_stale_on_error(const gate_freshness_t *f, const gate_cc_t *request, int status, int64_t now_usec);

/** Can nobody be served from it without asking? Then it is no use to those who wait for it. */
static inline int gate_freshness_useless(const gate_freshness_t *f)
{
    return (f->flags & GATE_CC_NO_CACHE) || (f->lifetime <= f->initial_age && !f->stale_while_revalidate);
}

#endif
