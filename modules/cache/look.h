/*
 * look.h - one look into the store: what a request asks for, which stored answer suits it, which of its bodies it gets, and the fields
 * that the answer bears. Knows no plane: cache_*.c makes looks for requests in httpd's handler phase, desk.c for the engine's loops.
 * Depends: store.h, head.h, key.h, vary.h, variant.h, APR tables.
 * Memory:  everything is made in the look's pool; `head` is a copy, it stays when the pin is gone.
 * Locking: a look belongs to one thread.
 */
#ifndef GATE_CACHE_LOOK_H
#define GATE_CACHE_LOOK_H

#include "freshness.h"
#include "head.h"
#include "key.h"
#include "store.h"
#include "variant.h"
#include "vary.h"

/* What of a location's configuration decides here. */
typedef struct {
    const gate_key_rule_t *query; /* GateCacheKey; NULL: none */
    int variants;                 /* GateCacheCompress is on */
    int reload;                   /* the client's no-cache and max-age count */
    int mapped;                   /* GateCacheKey has an expression */
} gate_look_rule_t;

typedef struct {
    gate_store_t *store;
    apr_pool_t *pool;
    const apr_table_t *headers;   /* of the request, as the client sent them */
    gate_look_rule_t rule;
    gate_key_t key;
    uint64_t flight_hash;         /* of url and route: what is fetched once, what is known to pass */
    gate_cc_t asked;
    gate_accept_t accept;
    gate_pin_t held;              /* the stored head, when there is one */
    gate_head_view_t head;        /* .head NULL: none */
    int varies;                   /* an object with this key was seen that suits by fields other than Accept-Encoding */
} gate_look_t;

/* Where the configuration has led a request: everything but its headers that its key is made of. */
typedef struct {
    const char *scheme, *host;    /* of the URL that clients name */
    uint16_t port;
    const char *target;           /* as the client sent it */
    const char *server;           /* the vhost's name in keys */
    const char *handler;
    const char *file;             /* what the handler is to serve; "proxy:.." up to '?' */
    const char *path_info;
    const char *args;             /* the query, where it is another than the client's; else "" */
    const char *expression;       /* "=" and the value of GateCacheKey's expression, "" if it has none; NULL: there is no expression */
} gate_spot_t;

/** Fills in what the headers ask for: asked, accept. */
void gate_look_asks(gate_look_t *look);

/** Makes the key. @return 0: the URL cannot be one (too long, no path); key.url is NULL then, or not to be used */
int gate_look_key(gate_look_t *look, const gate_spot_t *spot);

/** Is `name` a field that is no part of a key, but that members are known to answer by? Then it becomes part of the route. */
int gate_unkeyed(const char *name, size_t len);

/** Does a head suit this request? May set look->varies. @return its date, -1: no */
int64_t gate_look_suits(gate_look_t *look, const gate_head_view_t *head);

/** Looks the stored answer up: held and head are set. @return 0: there is none */
int gate_look_find(gate_look_t *look);
void gate_look_drop(gate_look_t *look);

/** The secondary key of a member's answer to this request; as gate_vary_key(). */
const char *gate_look_vary(const gate_look_t *look, const apr_table_t *response, size_t *len);

/** Why a member's answer to this request cannot be stored, in a word of Cache-Status' detail, static; NULL: it can. */
const char *gate_look_refusal(const gate_look_t *look, const gate_storable_t *x, const gate_cache_policy_t *policy,
                              const gate_when_t *when);

/* Which body of the held object goes out. */
typedef struct {
    gate_pin_t pin;
    gate_coding_e coding;         /* of what is sent */
    uint64_t length;
    int unpack;                   /* stored as gzip for one who does not take it */
} gate_body_t;

/** The codings that the held object can be sent in: 1u << gate_coding_e. */
unsigned gate_look_codings(const gate_look_t *look);

/** Holds the body that this client gets. @param etag  stored. @return 0: it went meanwhile */
int gate_look_body(const gate_look_t *look, const char *etag, gate_body_t *body);

/** Changes stored fields into those of the chosen body: ETag, Content-Encoding, Accept-Ranges. */
void gate_look_describe(const gate_look_t *look, const gate_body_t *body, apr_table_t *fields);

/** Age, as of now. */
void gate_look_age(const gate_look_t *look, int64_t now_usec, apr_table_t *fields);

/** Vary: Accept-Encoding on every answer of a location with variants. */
void gate_look_decorate(const gate_look_t *look, apr_table_t *fields);

/** RFC 9110, 13, for an answer with these fields. */
gate_cond_e gate_look_condition(const gate_look_t *look, const apr_table_t *fields);

/* What Cache-Status (RFC 9211) says of us. */
typedef struct {
    const char *fwd;              /* why it went to the member; NULL: a hit */
    int member_status;            /* 0: not told */
    int collapsed, stored;
    int has_ttl;
    int64_t ttl;
    const char *detail;           /* NULL: none */
} gate_status_words_t;

/** Sets Cache-Status: ours behind what others before us have said. */
void gate_status_put(apr_pool_t *p, const gate_status_words_t *words, apr_table_t *fields);

#endif
