/*
 * exchange.h - one request of a client and its answer on a loop, whatever codec the client speaks and whatever the member speaks.
 * Depends: message.h, loop.h, route.h, gate_upstream.h. Codecs and fakes need no httpd for it.
 *
 * A client codec (client_h1.c, later client_h2.c) makes an exchange for each request head that it has parsed and that goes express, feeds it
 * the body, and is told by its client_ops_t what to write. exchange.c asks the doors (admit, answer, pick), gets an origin connection
 * (origin.h), moves bytes, decides about tries, reports, writes the log.
 *
 * Order for one exchange: exchange_begin -> ( body.. body_end ) || ( interim* head data* end | abort | refuse ), then exchange_end, once, which
 * the codec calls when all that it was told to write has been written or the client is gone. After exchange_end the exchange does not exist.
 * Ops must not call back; exchange_gone() and exchange_end() from inside one are tolerated.
 * Memory:  an exchange has an apr pool of its own, child of the connection's, made at begin, gone with exchange_end.
 * Locking: belongs to one loop's thread.
 */
#ifndef ENGINE_EXCHANGE_H
#define ENGINE_EXCHANGE_H

#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#include "loop.h"
#include "message.h"

typedef struct exchange exchange_t;
struct route;
struct conn_rec;
struct server_rec;

typedef struct {
    /** 1xx other than 100 and 101, and 100 when the member sends it. */
    void (*interim)(exchange_t *x, const answer_head_t *head);
    /**
     * The head of the answer, ready for the client: hop-by-hop fields are gone, fields are as httpd would have them. The codec adds what is
     * the connection's (framing; h1: Connection, Keep-Alive). fields and spans are valid during the call only.
     */
    void (*head)(exchange_t *x, const answer_head_t *head);
    /** Bytes of the body; valid during the call only: what the network does not take is copied. @return how much more is welcome now; 0:
     *  wait for exchange_writable() */
    size_t (*data)(exchange_t *x, const char *bytes, size_t len);
    /** The answer is whole. */
    void (*end)(exchange_t *x, const fields_t *trailers);
    /** What was told in this turn may go to the network now. */
    void (*flush)(exchange_t *x);
    /** The answer cannot be completed: the client must see that (h1: close without the last chunk; h2: RST_STREAM). */
    void (*abort)(exchange_t *x);
    /**
     * The exchange ends without an answer of a member, with an error of ours (or a refusal): it is turned over to the classic plane, which makes
     * the answer as httpd would have (ErrorDocument, headers, log line). Nothing has been told to the client yet. `headers`: fields for
     * err_headers_out, NULL: none; in the exchange's pool. status 0: not an error, the classic plane runs the request as if it had just come
     * (only when nothing of its body has been consumed).
     */
    void (*classic)(exchange_t *x, int status, const apr_table_t *headers);
    /** The exchange can take more of the body (after exchange_body() took less than it was given). */
    void (*body_room)(exchange_t *x);
    /** 101: from now on both sides are bytes. Called after head(). */
    void (*tunnel)(exchange_t *x);
} client_ops_t;

/* What a codec gives; copied. */
typedef struct {
    loop_t *loop;
    const client_ops_t *ops;
    void *client;               /* the codec's own: exchange_client() */
    apr_pool_t *pool;           /* the connection's */
    struct conn_rec *c;
    struct server_rec *server;  /* the vhost */
    const struct route *route;
    const request_head_t *head; /* borrowed until exchange_begin() returns; what is needed longer is copied by the exchange */
    span_t path;                /* likewise; as route_find() gave it: path and query for the member */
    int refused;                /* route_found_t: it is not let in, or redirected: this status; 0 */
    int refused_in;             /* likewise: route_phase_e */
    const char *content_type;   /* for an answer that has none (route_found_t); lives as long as the route; NULL */
    int64_t begun_usec;         /* monotonic, when the first byte of the head was read */
    apr_time_t begun_wall;
    uint32_t stream;            /* h2: its number, for the log; 0: there is none */
} exchange_ask_t;

/** In post_config: looks for the doors of the modules that are loaded. @return 0: there is no mod_gate_upstream, nothing can be express */
int exchange_doors(void);
/** The loop ends, its last exchange has ended: what was kept of its routes goes. */
void exchange_doors_end(loop_t *loop);

/** The loop ends: what the cache still fetches without a client is given up. Before origins_close(). */
void exchange_fetches_end(loop_t *loop);
/** When a loop ends: what exchanges kept for it. */
void exchange_loop_end(loop_t *loop);
/** What wakes the loop for those that wait in a group's queue: as the loop begins and ends. */
void exchange_queue_begin(loop_t *loop);
void exchange_queue_end(loop_t *loop);

/**
 * Ops may be called before it returns (a hit answers at once): *out is set first, and is good for as long as the codec has not called
 * exchange_end() from within one of them.
 * @return 0; -1 no memory, nothing has begun
 */
int exchange_begin(const exchange_ask_t *ask, exchange_t **out);
void *exchange_client(const exchange_t *x);
apr_pool_t *exchange_pool(const exchange_t *x);
/** After client_ops_t.classic: the GATE_* variables for the request's subprocess_env; NULL: none. In the exchange's pool. */
const apr_table_t *exchange_env(exchange_t *x);

/* Among those variables: the status is what an output filter wants a page for. */
#define ENGINE_REFUSED_BY_FILTER "gate-refused-by-filter"

/** Bytes of the request's body (decoded), or of the tunnel. @return how many were taken; fewer: wait for body_room() */
size_t exchange_body(exchange_t *x, const char *bytes, size_t len);
void exchange_body_end(exchange_t *x, const fields_t *trailers);
/** The client sent something that is no body (bad chunk, ended early). status: what it would have got, if nothing was answered yet. */
void exchange_body_bad(exchange_t *x, int status);
/** The same for framing that is wrong: of that httpd's input filter tells the client, past whoever reads the body. */
void exchange_body_malformed(exchange_t *x, int status);
/** The client can take more. */
void exchange_writable(exchange_t *x);
/**
 * The client has ended its sending. It may still read: only who stands in a queue loses its place by it, as on the classic plane, which cannot
 * tell either whether anybody will read the answer.
 */
void exchange_half_closed(exchange_t *x);
/** The client is gone, or must go (timeout). No op is called from here on; the codec calls exchange_end() next. */
void exchange_gone(exchange_t *x);
/** Sends nothing. Logs, counts, frees. sent_bytes: of the answer's body as written to the client, for the log (%b). */
void exchange_end(exchange_t *x, uint64_t sent_bytes);

#endif
