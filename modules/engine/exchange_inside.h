/*
 * exchange_inside.h - what the files of the exchange share: its state, its stages, and what each file does for the others.
 * Depends: exchange.h, origin.h, gate_upstream.h.   Memory: see exchange.h; everything here is the exchange's own.
 *
 * STAGES  admit (access), answer (cache), then an errand with tries on members. A stage that has to wait returns STAGE_WAIT and is called
 *         again after exchange_go_on(); STAGE_DONE: it has told the client all, or turned the exchange over.
 * Everything that is told to the client goes through exchange_tell_*(): there the head is made what httpd would have sent, and the
 * answer may be changed by output filters.
 * An entry from outside (codec, origin, timer) is wrapped by exchange_enter() and exchange_leave(): whoever ends the exchange from inside
 * such a call has it freed when the outermost returns.
 */
#ifndef ENGINE_EXCHANGE_INSIDE_H
#define ENGINE_EXCHANGE_INSIDE_H

#include "exchange.h"
#include "gate_upstream.h"
#include "origin.h"

struct request_rec;

typedef enum { STAGE_GO, STAGE_WAIT, STAGE_DONE } stage_e;

typedef enum {
    EXCHANGE_ADMIT,             /* in exchange_admit(), or waiting for it */
    EXCHANGE_ANSWER,            /* in exchange_answer(), likewise */
    EXCHANGE_QUEUE,             /* in the group's queue */
    EXCHANGE_PREFETCH,          /* has a member; its head waits for more of the client's body */
    EXCHANGE_CONNECT,           /* a new connection is being made */
    EXCHANGE_ASKING,            /* the head is being sent, or is sent; no answer yet */
    EXCHANGE_SWALLOW,           /* an answer that is not passed on is read to its end */
    EXCHANGE_PASSING,           /* the answer is passed on */
    EXCHANGE_TUNNEL,            /* 101 */
    EXCHANGE_OVER               /* no origin, no errand that runs: waits for exchange_end() */
} exchange_state_e;

enum { SWALLOW_AGAIN = 1 /* then another member */, SWALLOW_ERROR /* then the error page of its status */ };

#define EXCHANGE_KEPT_BYTES 65536     /* of a body: kept to be sent again, and at most unsent */
#define EXCHANGE_PREFETCH_BYTES 16304 /* of a body: awaited before the head is written, as mod_proxy_http does */
#define EXCHANGE_SWALLOW_BYTES 65536  /* of an answer that nobody gets */

/* The client's body on its way to the member. Unsent bytes are at[sent .. len); the ones before are kept while they may be sent again. */
typedef struct {
    char *at;
    uint32_t len, size, sent;
    uint64_t received;          /* decoded bytes from the client */
    int present;                /* there is one, or may be */
    int ended;                  /* all of it has come */
    int dropped;                /* its beginning is no longer kept */
    int full;                   /* the codec was told to wait */
    int held;                   /* not sent until the member says 100 */
    int looked;                 /* held: what came together with the head is here */
    /* of the present try */
    int told_end;               /* all has been sent: origin_is_asked() */
    const fields_t *trailers;   /* what followed it; a copy in the pool; NULL: nothing */
    int64_t waiting_since_usec; /* everything sent, the client has to bring more; 0: no */
} exchange_body_t;

/* Who is told in the client's place: an exchange that fetches for the cache has no client of its own (exchange_fetch.c). */
typedef struct {
    void (*head)(exchange_t *x, const answer_head_t *head); /* dressed, nothing else done to it */
    size_t (*data)(exchange_t *x, const char *bytes, size_t len);
    void (*end)(exchange_t *x, const fields_t *trailers);
    void (*flush)(exchange_t *x);
    void (*abort)(exchange_t *x);
    void (*classic)(exchange_t *x, int status, apr_table_t *headers);
    void (*freed)(exchange_t *x);       /* it is about to be */
} exchange_hearer_t;

struct exchange_fetch;

struct exchange {
    loop_t *loop;
    const client_ops_t *ops;
    void *client;
    struct conn_rec *c;
    struct server_rec *server;
    const struct route *route;
    apr_pool_t *pool;
    const request_head_t *head; /* a copy, changed by RequestHeader; in exchange_hit() the codec's, as it came */
    span_t path;                /* for the member, query included; ends in NUL */
    const char *content_type;   /* for an answer without one */
    int64_t begun_usec;
    apr_time_t begun_wall;
    uint32_t stream;
    gate_view_t view;
    const struct route_ready *ready; /* what modules made of the request first; NULL: nothing */
    struct request_rec *r;      /* made when somebody needs one: exchange_request() */

    exchange_state_e state;
    uint16_t depth;             /* of entries */
    uint8_t ended;              /* exchange_end() was called inside an entry */
    uint8_t half_closed;        /* the client's sending has ended */
    uint8_t gone;               /* the client: nothing is told any more */
    uint8_t filters;            /* the route has output filters for some answers */
    uint8_t logs;               /* somebody listens in log_transaction: a request_rec is made at the end */
    uint8_t told_head, told_end, told_classic, told_abort;
    uint8_t earned;             /* its status has been counted for its client's bans */
    uint64_t sent_bytes;        /* of the answer's body, as the codec says at the end */

    const exchange_hearer_t *hearer; /* NULL: the client */
    struct exchange_fetch *fetch; /* whose request is fetched, or who fetches; NULL: neither */
    apr_table_t *fetch_env;     /* what the fetch's errand had for the log, when that is over */
    void *admit, *answer;       /* the stages' own */
    const char *said_of_cache;  /* GATE_CACHE, when the answer is a stored one */
    /* what the answer stage wants changed in what the member is asked: NULL, or fields that replace those of the same name */
    fields_t *ask_instead;

    gate_errand_t *errand;
    gate_errand_paths_t paths;
    gate_try_t *try;            /* NULL: none runs */
    origin_t *origin;
    uint8_t asked_upgrade, asked_continue; /* in the present try's head */
    uint8_t told_continue;
    const char *sticky_cookie;  /* Set-Cookie of GateSticky, for this answer */
    exchange_body_t body;
    wheel_timer_t timer;        /* queue tick, deadline, a stage's delay */
    uint8_t after_swallow;      /* SWALLOW_* */
    uint64_t swallowed_bytes;
    const answer_head_t *held_head; /* the answer's, until its first byte of body comes: */
    answer_head_t held;         /* in the reading that gave it; later a copy in the pool */
    uint8_t paused;             /* the origin waits for the client */
    uint8_t unflushed;
    uint8_t broke;
    uint8_t answer_whole;
    method_e method;
    apr_table_t *env;
    struct output *output;      /* the answer goes through filters */
    uint8_t output_ended, output_cuts; /* .. cuts: Range may be answered there, and Header directives are applied before */
    uint8_t own_page;           /* an error page of httpd's: nothing is added to its head */
    uint16_t refused;           /* Require does not let it in, or RewriteRules answer it: the status; 0 */
    uint8_t refused_in;         /* route_phase_e */
    const fields_t *sent_fields; /* the head's before RequestHeader (or all of mod_headers) changed them; NULL: they are as they were */
    uint8_t output_late;        /* they must not see the whole at once, which the classic plane could not show them */
    uint16_t output_refused;    /* they want an error page of this status; 0 */
    size_t output_room;         /* what the codec said last */
    uint64_t told_bytes, told_length; /* of the body, before filters; length: UINT64_MAX if not known */
    int status;                 /* as told, for the log */
    const answer_head_t *told;  /* a copy of the head, when somebody logs */
    const fields_t *told_trailers; /* likewise */
    apr_table_t *error_headers;
};

/** An exchange in its first state, with what the ask says and nothing copied; NULL: no memory. */
exchange_t *exchange_make(const exchange_ask_t *ask);
void exchange_enter(exchange_t *x);
/** x may be gone afterwards. */
void exchange_leave(exchange_t *x);

/* ---- stages (exchange_admit.c, exchange_answer.c) ------------------------------------------------------------------------- */

stage_e exchange_admit(exchange_t *x);
/** What it has counted ends; called once, with every exchange, when the exchange ends. status: 0 if nothing was answered. */
/** The answer's status is known, and not yet told: it counts for its client's bans, so that a ban stands before the client can ask again. */
void exchange_admit_earn(exchange_t *x, int status);
void exchange_admit_end(exchange_t *x, int status);
/** The limits' fields for whatever it is answered: RateLimit-Policy and RateLimit; NULL: none. @return 0: none */
int exchange_admit_fields(const exchange_t *x, const char **policy, const char **state);
/** The same, and Retry-After, added to err_headers_out for the classic plane. */
void exchange_admit_headers(const exchange_t *x, apr_table_t *headers);

/**
 * Before anything is copied: x->head and x->path are the codec's, there is no view. For what can be decided by them alone.
 * @return 1 the client has been told all; 0 the stages decide
 */
int exchange_hit(exchange_t *x);

stage_e exchange_answer(exchange_t *x);
/** More is welcome after exchange_tell_data() gave 0. */
void exchange_answer_writable(exchange_t *x);
/** Always, when the exchange ends. */
void exchange_answer_end(exchange_t *x);

/** What goes to the member instead of the client's fields, and what the client is told instead of the member's: the cache's word. */
const answer_head_t *exchange_answer_edit(exchange_t *x, const answer_head_t *head);
/** What an error of ours bears, added to err_headers_out: the limits' fields, Retry-After, the cache's. status 0: no error */
apr_table_t *exchange_stages_headers(exchange_t *x, int status, apr_table_t *headers);
/** What the stages have to say for the log: GATE_ACCESS, GATE_CACHE. */
void exchange_stages_env(const exchange_t *x, apr_table_t *env);

/** A stage that waited may go on: it is called again. From the loop, not from within the stage. */
void exchange_go_on(exchange_t *x);
/** Calls x->timer.fired -> exchange_go_on() after so long; for stages. */
void exchange_delay(exchange_t *x, int64_t usec);

/* ---- fetches for the cache (exchange_fetch.c) ---------------------------------------------------------------------------------- */

/** The answer stage, where the cache has nothing yet. */
stage_e exchange_fetch_step(exchange_t *x);
/** The client takes more. */
void exchange_fetch_writable(exchange_t *x);
/** The exchange ends; what it fetches may go on without it. */
void exchange_fetch_leave(exchange_t *x);
/** What the log is to know of the fetch's errand, if there was one. */
void exchange_fetch_env(exchange_t *x, apr_table_t *env, apr_pool_t *p);
/** GATE_CACHE and fields for an error of ours. */
void exchange_fetch_failed(exchange_t *x, int status, apr_table_t *headers);

/* ---- telling the client (exchange_tell.c) ---------------------------------------------------------------------------------- */

/** `head` is the member's, or the store's: it is made what httpd would send. */
void exchange_tell_head(exchange_t *x, const answer_head_t *head);
/** @return as client_ops_t.data */
size_t exchange_tell_data(exchange_t *x, const char *bytes, size_t len);
void exchange_tell_end(exchange_t *x, const fields_t *trailers);
void exchange_tell_flush(exchange_t *x);
void exchange_tell_abort(exchange_t *x);
/** An error of ours, or (status 0) a request that the classic plane is to run. headers: for err_headers_out, or NULL */
void exchange_tell_classic(exchange_t *x, int status, apr_table_t *headers);

/** After output filters, or without any: straight to the codec. */
void exchange_tell_finished(exchange_t *x, const answer_head_t *head);

/* ---- output filters (exchange_output.c) ------------------------------------------------------------------------------------- */

/** @return 1: the answer goes through filters from here on; 0: it does not */
int exchange_output_begin(exchange_t *x, const answer_head_t *head);
/** @return as client_ops_t.data. last: nothing follows but the end */
size_t exchange_output_data(exchange_t *x, const char *bytes, size_t len, int last);
void exchange_output_flush(exchange_t *x);
/** The codec has been told the end when it returns, or that there is none. */
void exchange_output_end(exchange_t *x);

/** httpd's page of an error, on x->r, to its end. */
void exchange_output_page(exchange_t *x, int status);

/* ---- refusals (exchange_refuse.c) ------------------------------------------------------------------------------------------------- */

/** Instead of the classic plane. @return 1: the client has been told all; 0: it is the classic plane's */
int exchange_refuse(exchange_t *x, int status, apr_table_t *headers);

/* ---- view (exchange_view.c) ------------------------------------------------------------------------------------------------- */

/** x->logs, x->filters, from the route. */
void exchange_route_settings(exchange_t *x);
/** Only what of the view is told by Host: scheme, host, port. For exchange_hit(). */
void exchange_view_where(exchange_t *x);
/** Copies the head into x->pool, changed by RequestHeader, and fills the view. @return 0 no memory */
int exchange_view_make(exchange_t *x);
/** What upstream's door wants to know, from the route. */
void exchange_errand_ask(exchange_t *x, gate_errand_ask_t *ask);
/** The view of x->head, which is the exchange's own by now. */
void exchange_view_fill(exchange_t *x);
/** A request_rec as route_request() makes it, once. */
struct request_rec *exchange_request(exchange_t *x);
/** The exchange of such a view or request, for callbacks. */
exchange_t *exchange_of_view(const gate_view_t *view);

/* ---- the answer's fields (exchange_answer_head.c) -------------------------------------------------------------------------- */

/** @return a head with what mod_proxy changes in a member's answer: `head` itself, or one in x->pool whose fields borrow from it and the pool */
const answer_head_t *exchange_answer_dress(exchange_t *x, const answer_head_t *head);
/** @return the same with GateSticky's cookie and Header directives, which come after output filters */
const answer_head_t *exchange_answer_finish(exchange_t *x, const answer_head_t *head);
/** Our entry of Via, both ways. */
const char *exchange_via(const exchange_t *x);

/* ---- the errand (exchange_try.c) ---------------------------------------------------------------------------------------------- */

extern const gate_upstream_door_t *exchange_upstream; /* set when the child begins */

void exchange_errand_begin(exchange_t *x);
/** Ends it from the client's side, whatever state it is in; tells the client nothing. */
void exchange_errand_drop(exchange_t *x, gate_outcome_e outcome, const char *why);
void exchange_errand_client_gone(exchange_t *x);
/** Out of the queue, and the client's connection is ended. */
void exchange_try_abandon(exchange_t *x);
/** More of the body has come, or its end. */
void exchange_try_body_news(exchange_t *x);
/** The client takes more of the answer. */
void exchange_try_writable(exchange_t *x);
/** Writes what is there of the body as far as the member takes it. @return -1 the connection is dead: origin_ops_t.failed follows */
int exchange_try_send(exchange_t *x);
/** The member failed; x may have another one, or be over, afterwards. */
void exchange_try_failed(exchange_t *x, origin_e how, const char *why);
/**
 * The try is over.
 * @param keep   its connection is clean
 * @param go_on  it has not answered: another try, or the error for the client. 0: the exchange is over
 */
void exchange_try_over(exchange_t *x, gate_outcome_e outcome, const char *why, int keep, int go_on);
/** It waits in the queue: is it its turn? */
void exchange_try_look(exchange_t *x);
void exchange_try_clock(exchange_t *x);
void exchange_try_limit(exchange_t *x);

/* What the member is asked (exchange_ask.c). */
/** For the present try's member; `body` and `length` are exchange_body_announce()'s. */
void exchange_ask_head(exchange_t *x, member_ask_t *ask);
/** See origin_want_t.tls */
const origin_tls_t *exchange_ask_tls(const exchange_t *x);
/** See origin_want_t.tls_host */
const char *exchange_ask_tls_host(const exchange_t *x);
/** ProxyErrorOverride: is the answer of this status replaced by an error page? */
int exchange_ask_overridden(const exchange_t *x, int status);
/** What the error page needs from that answer; NULL: nothing */
apr_table_t *exchange_ask_error_fields(exchange_t *x, const answer_head_t *head);

/* exchange_websocket.c */
/** May the member change the protocol? Then ask->upgrade says to what. */
void exchange_websocket_ask(exchange_t *x, member_ask_t *ask);
/** The member speaks HTTP/2 and offers none (ORIGIN_UNABLE): the try ends, the client is told. */
void exchange_websocket_unable(exchange_t *x);

/* The answer (exchange_pass.c): origin_ops_t. */
void exchange_pass_on_head(void *user, const answer_head_t *head);
void exchange_pass_on_data(void *user, const char *bytes, size_t len);
void exchange_pass_on_end(void *user, const fields_t *trailers);
void exchange_pass_on_turn(void *user);
void exchange_pass_swallowed(exchange_t *x, int whole);
/** The client, which waits for it, may send its body. */
void exchange_pass_continue(exchange_t *x);

/* The body (exchange_body.c). */
/** @return how many bytes it had room for */
size_t exchange_body_keep(exchange_t *x, const char *bytes, size_t len);
/** How the body is told to come: its length, or none; in one go if it is all there and short, as mod_proxy_http does. */
void exchange_body_announce(const exchange_t *x, member_ask_t *ask);
/** The head, and what there is of the body. @return as exchange_body_pump() */
int exchange_body_begin(exchange_t *x, const member_ask_t *ask);
/** Sends what there is. @return -1 dead, 0 there is more and the member does not take it, 1 all sent that has come */
int exchange_body_pump(exchange_t *x);
/** The next try begins with the first byte again. */
void exchange_body_rewind(exchange_t *x);
/** In the pool; spans end in NUL. */
const fields_t *exchange_copy_trailers(exchange_t *x, const fields_t *trailers);
/** Nobody will ask for its beginning again. */
void exchange_body_forget(exchange_t *x);

/* ---- log (exchange_log.c) ---------------------------------------------------------------------------------------------------- */

void exchange_log(exchange_t *x);

#endif
