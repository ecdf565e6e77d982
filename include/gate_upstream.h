/*
 * gate_upstream.h - upstream's door: which member, again or not, and how it went. Both planes knock here; what moves the bytes is theirs.
 * Depends: gate_view.h, gate_roster.h, gate_registry.h, httpd's optional functions to find it.
 *
 * An ERRAND is one exchange's dealings with a group. Begin it, claim a member, move bytes while filling in what was seen of the try, say how it
 * ended, and either claim again or give up; then end it. All calls return at once; GATE_ERRAND_WAIT says that the exchange stands in the
 * group's queue and is to ask again (gate_upstream_door_t.wait_look) when woken or after a tick.
 *
 *   begin -> claim -> MEMBER -> (bytes) -> [again] -> ended -> OVER -> [fail] -> log -> end
 *              |        ^                               |
 *              v        |                               +-> ON -> claim        another member
 *            WAIT -> wait_look -> NOBODY -> fail        +-> FRESH -> claim     the same member, on a new connection
 *
 * Memory:  an errand lives in the pool given, and ends with it at the latest.
 * Locking: an errand belongs to one thread at a time.
 */
#ifndef GATE_UPSTREAM_H
#define GATE_UPSTREAM_H

#include <apr_optional.h>
#include <apr_pools.h>
#include <apr_tables.h>

#include "gate_registry.h"
#include "gate_roster.h"
#include "gate_view.h"

typedef struct gate_errand gate_errand_t;
typedef struct upstream_group gate_upstream_group_t; /* upstream's own */

/* Where the route leads, for what turn() turns back. */
typedef struct {
    const char *public_path;         /* as the client asked, not decoded, without the query */
    const char *gate_path;           /* of the gate:// URL, without the query */
} gate_errand_paths_t;

/* Copied; what it points to is borrowed for as long as the errand. */
typedef struct {
    apr_pool_t *pool;
    const gate_view_t *view;         /* for keys, cookies, GateSelect; scheme, host and port also for turn() */
    const gate_upstream_group_t *group; /* of the route; GateSelect may choose another */
    void *dir_conf;                  /* httpd's merged per-directory vector of the request */
    const gate_errand_paths_t *paths; /* looked at by turn() only: may be filled in until then. NULL: only addresses are turned */
    int http_only;                   /* the plane speaks HTTP/1.1 and HTTP/2 to members and nothing else: see begin() */
    int clear_only;                  /* .. and that not over TLS */
    int loop;                        /* the plane's loop + 1: called in the queue by hear()'s wake; 0: a thread waits */
    void *owner;                     /* what heard() names then */
    const char *plane;               /* "express", "classic": GATE_PLANE; static */
    int64_t route_timeout_usec;      /* ProxyPass timeout=; 0 */
    int64_t server_timeout_usec;     /* ProxyTimeout; 0 */
    int64_t now_usec;                /* monotonic */
} gate_errand_ask_t;

/* One try, filled in by who moves the bytes. Times are monotonic microseconds; 0: not yet. */
typedef struct {
    const gate_roster_t *roster;     /* the member is of; for pools that follow the membership */
    const gate_roster_member_t *member;
    int fresh;                       /* wanted: no kept connection, the last one was dead */
    int64_t connect_limit_usec, first_byte_limit_usec, idle_limit_usec; /* durations */
    int64_t deadline_usec;           /* of the whole exchange (a tunnel has none): no wait goes past it; 0: none */
    int64_t head_deadline_usec;      /* the answer's head must be there (GateRetry try-timeout=); 0: none */
    int64_t begun_usec;
    /* to be filled in */
    int64_t connected_usec /* a new connection stood, TLS included */, first_byte_usec;
    int reused;                      /* a kept connection was used */
    int tls_failed;
    int sent;                        /* something of the request may have reached the member although bytes_out does not say so */
    int untouched;                   /* the member has said that it did nothing with the request: it may be sent again, whatever it is */
    uint64_t bytes_out, bytes_in;    /* to and from the member */
    int status;                      /* of the answer; 0: none */
    int passed_on;                   /* a byte of the answer went to the client */
    uint64_t passed_bytes;           /* of its body; for the log */
    int body_lost;                   /* what of the client's body was sent cannot be sent again */
    int64_t waited_usec;             /* for the client while sending its body: not the member's time */
    int64_t waited_connect_usec;     /* of that, before the connection stood */
    gate_outcome_e outcome;          /* an answer that came whole: GATE_OUTCOME_OK, whatever its status: ended() knows which are failures */
    apr_status_t cause;              /* what the system said about it, for Proxy-Status; 0: not known */
    const char *why;                 /* in words, for a failure; static or in the errand's pool */
} gate_try_t;

typedef enum {
    GATE_ERRAND_MEMBER,              /* errand's try has a member */
    GATE_ERRAND_WAIT,                /* in the queue */
    GATE_ERRAND_NOBODY               /* fail() tells what the client gets */
} gate_errand_e;

typedef enum {
    GATE_ERRAND_OVER = 0,
    GATE_ERRAND_ON,                  /* claim() gives another member */
    GATE_ERRAND_FRESH                /* claim() gives the same one; try->fresh is set */
} gate_errand_end_e;

typedef struct {
    int status;                      /* for the client: 502, 503, 504, 500 */
    const char *proxy_status;        /* value of Proxy-Status */
    const char *retry_after;         /* or NULL */
    const char *words;               /* naming members: "m1: connection refused; m2: .."; not for the client */
} gate_errand_failure_t;

typedef struct {
    /** @return the group of that name, or NULL */
    const gate_upstream_group_t *(*group)(const char *name, size_t len);
    /** Has the group, as it is now, a member that does not speak HTTP/1.1 or HTTP/2 over TCP, TLS or a unix socket? NULL: no; else why (static) */
    const char *(*classic_only)(const gate_upstream_group_t *group);
    /**
     * @param why  set when the result is NULL: the group that the request goes to needs the classic plane (http_only). Nothing was counted
     * @return an errand, without a member yet
     */
    gate_errand_t *(*begin)(const gate_errand_ask_t *ask, const char **why);
    /** First member, or the next after ended() said so. */
    gate_errand_e (*claim)(gate_errand_t *e, int64_t now_usec);
    /** In the queue: is it our turn? */
    gate_errand_e (*wait_look)(gate_errand_t *e, int64_t now_usec);
    /** When to look again at the latest. */
    int64_t (*wait_until)(const gate_errand_t *e, int64_t now_usec);
    /** The client left while it waited; end() follows. */
    void (*wait_leave)(gate_errand_t *e, int64_t now_usec);
    /**
     * A loop of the engine begins: wake(ctx) is called from any thread, under locks, when the turn of an errand of that loop may have come. It
     * is to make the loop call heard(), which names owners that are to call wait_look(). Without seat or queues it is never called.
     */
    void (*hear)(int loop, void (*wake)(void *ctx), void *ctx);
    void (*heard)(int loop, void (*called)(void *owner));
    void (*hear_end)(int loop);
    /** The try that claim() has begun: the same struct for each try of an errand, made anew. */
    gate_try_t *(*present)(gate_errand_t *e);
    /**
     * A whole head has come, try->status is set, nothing is passed on yet.
     * @return 1: it is not for the client: its status is listed in GateRetry and another member is there. Swallow it (or drop the connection),
     *         then ended(), which will say GATE_ERRAND_ON. 0: it goes to the client
     */
    int (*again)(gate_errand_t *e, int64_t now_usec);
    /**
     * The answer goes to the client: a cookie for GateSticky, or NULL.
     * @return value of a Set-Cookie, in the errand's pool
     */
    const char *(*cookie)(gate_errand_t *e);
    /** Location, Content-Location, URI, Destination, Refresh, Set-Cookie that name a member. @return value, or another in the errand's pool */
    const char *(*turn)(gate_errand_t *e, const char *name, const char *value);
    /**
     * The try is over: outcome, why and the rest are set. Reported, logged, no longer counted in flight.
     * @param go_on  0: the exchange ends here in any case (answered, or the client is gone)
     */
    gate_errand_end_e (*ended)(gate_errand_t *e, int64_t now_usec, int go_on);
    /** After NOBODY, or OVER without an answer: what the client gets, and the line for the error log is written. Status 0: nothing. */
    gate_errand_failure_t (*fail)(gate_errand_t *e);
    /** GATE_GROUP, GATE_MEMBER, GATE_TRIES, GATE_PLANE, GATE_*_US into a table (subprocess_env); values live in p. After end() too. */
    void (*log)(const gate_errand_t *e, apr_table_t *env, apr_pool_t *p, int64_t now_usec);
    /** Everything counted in its name ends. Fine to call twice. The try's member is not to be looked at any more. */
    void (*end)(gate_errand_t *e);
} gate_upstream_door_t;

/** Retrieve it in post_config or later. */
APR_DECLARE_OPTIONAL_FN(const gate_upstream_door_t *, gate_upstream_door, (void));

#endif
