/*
 * exchange_doors.h - what access and cache say about a route, asked once for each loop; and the stages' own state.
 * Depends: exchange_inside.h, gate_access.h, gate_cache.h.
 * Memory:  a door_route_t lives as long as its loop's routes.   Locking: one loop's thread.
 */
#ifndef ENGINE_EXCHANGE_DOORS_H
#define ENGINE_EXCHANGE_DOORS_H

#include "exchange_inside.h"
#include "gate_access.h"
#include "gate_cache.h"

typedef struct {
    const gate_access_place_t *access; /* NULL: mod_gate_access is not loaded */
    const gate_cache_place_t *cache;   /* NULL: GateCache is not on there */
    uint8_t limits;                    /* something stands there but bans */
    uint8_t early;                     /* who asks, and for what, is known before the request is copied: no RequestHeader, no RemoteIPHeader */
    uint8_t plain;                     /* a stored head may be sent as it is: no directive changes requests' or answers' fields */
} door_route_t;

/* Of the modules that are loaded; NULL: not. Set by exchange_doors(). */
extern const gate_access_door_t *exchange_access;
extern const gate_cache_door_t *exchange_cache;

const door_route_t *exchange_door_route(exchange_t *x);
/** The loop's desk; NULL: the cache is not in use. */
gate_cache_desk_t *exchange_desk(exchange_t *x);

/* What the stage of access keeps in x->admit. */
typedef struct {
    gate_access_pass_t pass;
    uint8_t waited;
} exchange_pass_t;

/* What the stage keeps in x->answer. */
typedef struct {
    gate_cache_e how;             /* HIT, MISS, PASS */
    gate_cache_hit_t hit;
    uint64_t told;
    gate_cache_pass_t pass;
} exchange_stored_t;

/** The verdict for this exchange; asked once, kept. NULL: there is nobody to ask */
exchange_pass_t *exchange_admit_ask(exchange_t *x);
/** Refuses it, or leaves it to the classic plane, as the verdict says. @return 0: it is admitted, perhaps after a wait */
int exchange_admit_refuse(exchange_t *x, const exchange_pass_t *pass);

/** A pass goes to the member: in what form it is asked for. */
void exchange_pass_ask(exchange_t *x, const gate_cache_pass_t *pass);
/** All fields of the request as they are now, in p. */
const apr_table_t *exchange_headers(void *x, apr_pool_t *p);
/** A fetch of what it asks for; NULL: the classic plane has to do it. */
gate_cache_fetch_t *exchange_answer_fetch(exchange_t *x);
/** A table's lines as fields, in x->pool, borrowed from the table. */
void exchange_fields_from(exchange_t *x, const apr_table_t *t, fields_t *out);
/** The lines but hop-by-hop ones as a table, in p. */
apr_table_t *exchange_table_of(apr_pool_t *p, const fields_t *fields);
/** What output filters look at: GATE_CACHE, and whether the cache makes the answer's codings. */
void exchange_answer_prepare(exchange_t *x, int coded);
/** One more line; there is room. */
void exchange_field_add(fields_t *fields, span_t name, span_t value);
/** What an error bears on an exchange that passed by the cache. */
void exchange_answer_failed(exchange_t *x, int status, apr_table_t *headers);
/** Has the cache a say in this route's requests, and nothing to answer this one with? Then it is the classic plane's. Nothing is counted. */
int exchange_answer_none(exchange_t *x);

#endif
