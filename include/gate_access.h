/*
 * gate_access.h - access's doors for other modules: who is let in (counted, for the express plane), a verdict without counting, numbers, and
 * bans by hand.
 * All are optional functions (APR_RETRIEVE_OPTIONAL_FN in post_config or later); a module that is not loaded gives NULL.
 * Locking: children only, any thread; they read shared memory, and the ban calls take the ban table's lock for microseconds.
 */
#ifndef GATE_ACCESS_H
#define GATE_ACCESS_H

#include <stdint.h>
#include <apr_optional.h>
#include <apr_pools.h>

#include "gate_view.h"

struct request_rec;

typedef enum {
    GATE_ACCESS_ADMIT = 0,
    GATE_ACCESS_DELAY,       /* admitted after wait_usec */
    GATE_ACCESS_DROP,        /* its connection would be closed unheard */
    GATE_ACCESS_BANNED,      /* 403 */
    GATE_ACCESS_LIMITED,     /* 429: too often */
    GATE_ACCESS_CONNECTIONS  /* 429: too many at once */
} gate_access_e;

typedef struct {
    gate_access_e verdict;
    int status;              /* of the answer: 0 when admitted */
    int64_t wait_usec;       /* DELAY: how long; LIMITED and BANNED: until it would be admitted */
    char rule[64];           /* limit or set that decided; "" if none */
    char why[160];           /* in words */
} gate_access_verdict_t;

/**
 * What would be decided now about requests like this one: bans, GateDrop, GateLimit. Nothing is counted, logged or changed.
 * (Require is httpd's: ask it by a sub-request.)
 * @param r       with the per-directory configuration that its URL leads to; its headers are used by key=EXPR
 * @param client  who asks; NULL: r's own
 */
APR_DECLARE_OPTIONAL_FN(void, gate_access_explain, (struct request_rec *r, const gate_address_t *client,
                                                    gate_access_verdict_t *out));

/* ---- admit: for who answers from event loops ---------------------------------------------------------------------------------- */

typedef struct gate_access_place gate_access_place_t; /* what stands where a request leads to: limits, rules for bans, GateDrop of the vhost */

typedef struct {
    const gate_access_place_t *place;
    const gate_address_t *client;    /* after mod_remoteip; borrowed during the call */
    void *connection;                /* a conn_rec: for the log, and for what its base server says */
    apr_pool_t *pool;                /* of the exchange: what is said about it lives here */
    /** A request_rec for key=EXPR, made when it is needed; may be called more than once; NULL: none can be made */
    struct request_rec *(*request)(void *ctx);
    void *ctx;
} gate_access_ask_t;

/*
 * What is said to it. Zeroes say that nothing was asked.
 *   ADMIT        goes on; .policy and .state go out with whatever it is answered, before other fields (httpd's err_headers_out)
 *   DELAY        the same, after wait_usec
 *   BANNED, LIMITED, CONNECTIONS  refused with .status; .retry_after, .policy and .state go along
 *   DROP         nothing was asked or counted: a vhost that is chosen by Host has a GateDrop of its own; the classic plane decides
 */
typedef struct {
    gate_access_e verdict;
    int status;
    int64_t wait_usec;
    const char *said;                /* GATE_ACCESS, for the log; NULL: no limit stands there */
    const char *policy, *state;      /* values of RateLimit-Policy and RateLimit; NULL: none */
    const char *retry_after;         /* value of Retry-After; NULL: none */
    void *held;                      /* places among those in flight: until leave() */
} gate_access_pass_t;

typedef struct {
    /**
     * @param server    a server_rec: the vhost
     * @param dir_conf  httpd's merged per-directory vector; both live as long as the place
     * @return in p, never NULL: bans count everywhere
     */
    const gate_access_place_t *(*place)(apr_pool_t *p, void *server, void *dir_conf);
    /** Does anything stand there but bans? If not, admit() is two cache lines, and report() nothing. */
    int (*limits)(const gate_access_place_t *place);
    /** Bans, then limits: all of them or none are charged. What it says is counted and logged. Once for an exchange. */
    void (*admit)(const gate_access_ask_t *ask, int64_t now_usec, gate_access_pass_t *pass);
    /** The exchange was answered with this status (by this plane): it counts for its client's bans. Not for who was refused as banned. */
    void (*report)(const gate_access_place_t *place, const gate_address_t *client, int status);
    /** The exchange has ended, in whatever way. Fine to call twice, and on one of zeroes. */
    void (*leave)(gate_access_pass_t *pass);
} gate_access_door_t;

APR_DECLARE_OPTIONAL_FN(const gate_access_door_t *, gate_access_door, (void));

/* ---- numbers, and bans by hand ----------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t admitted, denied, limited, delayed, connections, banned, dropped, would;
    uint64_t bans_made;
    uint32_t bans;           /* in force now */
} gate_access_counts_t;

/** Sums over all children, since the arena was made. */
APR_DECLARE_OPTIONAL_FN(void, gate_access_counts, (gate_access_counts_t *out));

/* A ban as others see it. */
typedef struct {
    char address[48];        /* IPv6: its /64 */
    int64_t since_wall_usec, until_wall_usec;
    uint32_t level;          /* bans before this one */
    int drop, manual;
    char why[96];
    char who[64];            /* rule or person */
} gate_access_ban_t;

/** @return bans in force; at most max are copied */
APR_DECLARE_OPTIONAL_FN(uint32_t, gate_access_ban_list, (gate_access_ban_t *out, uint32_t max));

/**
 * Bans an address for so long, from now on and on kept-alive connections too.
 * @return NULL, or why not, of pool p
 */
APR_DECLARE_OPTIONAL_FN(const char *, gate_access_ban_add, (apr_pool_t *p, const char *address, int64_t for_usec, int drop,
                                                            const char *why, const char *who));

/** Lifts a ban at once. @return NULL, or why not */
APR_DECLARE_OPTIONAL_FN(const char *, gate_access_ban_lift, (apr_pool_t *p, const char *address, const char *who));

#endif
