/*
 * gate_cache.h - cache's door for who answers from event loops: is there an answer already?
 * Depends: APR, gate_view.h; httpd's optional functions to find it (APR_RETRIEVE_OPTIONAL_FN in child_init or later). A module that is
 * not loaded gives NULL.
 *
 * A PLACE is what the configuration says about caching where a request leads to: made once for a route. A DESK is one thread's: it remembers
 * what was looked up, so that the next request that looks the same costs no key and no search. What is remembered is used only while nothing
 * in the store has moved (gate_store_epoch), so a desk says what the classic plane would say at that instant.
 * What is fresh is answered; what is known not to be kept passes by; what is not stored is fetched and what is stale validated, by one request
 * for all children. What is left (a range, a condition that fails, a rule) is the classic plane's, whose code does the same by the same logic.
 * Nothing is counted before take() or fetch(): a look has no consequences, but a held body until done().
 *
 * A FETCH is begun where look() says MISS. Its step() says what to do: ask the member, tell an answer that has come meanwhile, read along with
 * somebody else's fetch, or wait: nobody is called, news() is asked every few ms. Who asks the member hands over all that it answers, and
 * goes on to the end without its client as long as storing() says so.
 * Memory:  a place lives in the pool given; a desk in its pool, and with what it remembers (some MB at most) no longer than that.
 * Locking: a desk is its thread's, and so are its hits until done(). Places are read only.
 * CRASH    what a hit holds is in the ledger of the child's seat, and swept with it.
 */
#ifndef GATE_CACHE_H
#define GATE_CACHE_H

#include <stdint.h>
#include <apr_optional.h>
#include <apr_pools.h>
#include <apr_tables.h>

#include "gate_view.h"

typedef struct gate_cache_desk gate_cache_desk_t;
typedef struct gate_cache_place gate_cache_place_t;

/* Borrowed text, not ended by NUL; .at NULL: absent. */
typedef struct {
    const char *at;
    uint32_t len;
} gate_cache_text_t;

#define GATE_CACHE_ODD_MAX 8

/* A GET or HEAD without body, to a URL in origin form. All texts are borrowed until look() returns. */
typedef struct {
    const gate_cache_place_t *place;
    int head_only;                /* HEAD */
    uint16_t local_port;          /* of the connection */
    gate_cache_text_t host;       /* Host as sent */
    gate_cache_text_t target;     /* as sent: path and query */
    gate_cache_text_t file;       /* what of it goes to the member: path and query */
    /* fields of the request, one line each; a request with several lines of one of them, or with Range, If-Range, If-Match or
       If-Unmodified-Since, is the classic plane's: do not ask */
    gate_cache_text_t encoding;   /* Accept-Encoding */
    gate_cache_text_t control;    /* Cache-Control */
    gate_cache_text_t pragma;
    gate_cache_text_t none_match; /* If-None-Match */
    gate_cache_text_t modified_since; /* If-Modified-Since */
    /* fields that unkeyed() names: name, value, name, value, .. */
    gate_cache_text_t odd[2 * GATE_CACHE_ODD_MAX];
    unsigned odd_n;               /* texts in it */
    /* asked for when nothing is remembered */
    void *ctx;
    /** All fields of the request as the client sent them, in p. */
    const apr_table_t *(*headers)(void *ctx, apr_pool_t *p);
    /** scheme, host and port of the URL are taken from it. */
    const gate_view_t *(*view)(void *ctx);
} gate_cache_ask_t;

typedef enum {
    GATE_CACHE_CLASSIC = 0,       /* there is nothing that could be answered with here and now: the classic plane runs the request */
    GATE_CACHE_HIT,
    GATE_CACHE_MISS,              /* there is nothing yet, or nothing fresh enough: fetch() */
    GATE_CACHE_PASS               /* its answers are known not to be kept: the member is asked as ever, and what it says goes by answered() */
} gate_cache_e;

typedef struct {
    int status;                   /* as stored, or 304: the client has it */
    /* "HTTP/1.1 200 OK" and the fields, each line with its CRLF, as the classic plane would send them and in that order (Date, Server,
       then what was stored, Age, Cache-Status, .., Content-Length); neither fields of the connection nor the empty line.
       Valid until the desk's next look. */
    const char *head;
    uint32_t head_len, line_len;  /* line_len: of the first line */
    uint32_t fields_at;           /* behind Date and Server: httpd puts there what it always sends (err_headers_out) */
    uint64_t length;              /* of the body (that a GET would get, for HEAD); 0 with 304 */
    int coded;                    /* the cache makes its codings: mod_deflate and mod_brotli leave it alone (no-gzip, no-brotli) */
    const char *word;             /* GATE_CACHE for the log; static */
    /* the cache's own */
    uint64_t object, body;
    uint32_t place;
    uint8_t counted, head_only;
} gate_cache_hit_t;

/* What goes past the cache, for as long as the exchange lasts. */
typedef struct {
    const gate_cache_place_t *place;
    const char *encoding;         /* what the member is asked for where the client sends Accept-Encoding; static; NULL: the same */
    const char *word;             /* GATE_CACHE, set by answered() and failed() */
    /* the cache's own */
    uint64_t flight;              /* 0: a method that is no GET */
    const char *url;              /* to be forgotten when that has succeeded */
} gate_cache_pass_t;

typedef struct gate_cache_fetch gate_cache_fetch_t;

typedef enum {
    GATE_CACHE_ASK,               /* the member: asked(), said(), bytes().., end(), or failed() */
    GATE_CACHE_TELL,              /* the client gets *told; the body is held */
    GATE_CACHE_READ,              /* likewise, while the body comes */
    GATE_CACHE_WAIT,              /* step() again when there is news() */
    GATE_CACHE_AGAIN,             /* by said(): nobody gets this answer; when it is over, the member is asked() once more */
    GATE_CACHE_LEAVE              /* the classic plane runs the request */
} gate_cache_step_e;

/* An answer for the client. */
typedef struct {
    int status;                   /* 304: the client has it, there is no body */
    const char *reason;           /* static */
    apr_table_t *fields;          /* Content-Length too; in the fetch's pool */
    uint64_t length;              /* UINT64_MAX: not known */
    int coded;                    /* as gate_cache_hit_t's */
    const char *word;             /* GATE_CACHE */
    int refresh;                  /* it is stale: refresh() it behind its back */
} gate_cache_told_t;

typedef enum {
    GATE_CACHE_BODY_COMES,        /* there may be more later */
    GATE_CACHE_BODY_WHOLE,
    GATE_CACHE_BODY_BROKEN        /* it ends where it ends */
} gate_cache_body_e;

typedef struct {
    /** NULL: the cache is not in use, or this child has no seat. */
    gate_cache_desk_t *(*desk)(apr_pool_t *p);
    /**
     * @param server    a server_rec: the vhost
     * @param dir_conf  httpd's merged per-directory vector
     * @param handler   what r->handler would be ("proxy-server")
     * @param base      what r->filename would be up to the path for the member ("proxy:gate://app")
     * @return NULL: GateCache is not on there: requests are proxied past the cache. *classic is set to why the cache asks for the
     *         classic plane at all times here (an expression decides), static; else to NULL
     */
    const gate_cache_place_t *(*place)(apr_pool_t *p, void *server, void *dir_conf, const char *handler, const char *base,
                                       const char **classic);
    /** Is a field one that makes requests differ although it is in no key (X-Forwarded-Host, Forwarded, ..)? */
    int (*unkeyed)(const char *name, size_t len);
    /** @param now_usec  monotonic. HIT: *hit is set, and is given back by done(). PASS: *pass is set */
    gate_cache_e (*look)(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, int64_t now_usec, gate_cache_hit_t *hit,
                         gate_cache_pass_t *pass);
    /**
     * A method that is neither GET nor HEAD; the fields of the ask are not looked at. Requests with If-Match or If-None-Match are the classic
     * plane's: do not ask.
     * @param p  of the exchange
     */
    gate_cache_e (*change)(apr_pool_t *p, const gate_cache_ask_t *ask, const char *method, gate_cache_pass_t *pass);
    /** A request that passes goes to the member: it is counted. */
    void (*passing)(const gate_cache_pass_t *pass);
    /**
     * The member's answer, before anything of it is told: what clients do not see is taken off, Cache-Status and Vary are set, what an
     * unsafe method has changed is forgotten, and whether the next one passes again is noted.
     * @param request  the client's fields
     * @param answer   the member's, in order
     * @return the fields to tell: `answer`, or another table in p
     */
    apr_table_t *(*answered)(gate_cache_pass_t *pass, apr_pool_t *p, const char *method, const apr_table_t *request, int status,
                             apr_table_t *answer);
    /** It ends in an error of ours: fields for err_headers_out. */
    void (*failed)(gate_cache_pass_t *pass, apr_pool_t *p, int status, apr_table_t *headers);
    /** The client gets it: it is counted, and its object is kept the longer for it. */
    void (*take)(gate_cache_hit_t *hit);
    /** Bytes of the body from `offset` on that lie together, in shared memory; good until done(). @return how many; 0: that was all */
    uint64_t (*piece)(const gate_cache_hit_t *hit, uint64_t offset, const char **data);
    /** The last byte was copied or sent, or the client is gone. Fine to call twice, and on one of zeroes. */
    void (*done)(gate_cache_hit_t *hit);

    /* ---- fetches ---- */

    /** Has a pool of its own. @return NULL: the classic plane has to do it */
    gate_cache_fetch_t *(*fetch)(const gate_cache_ask_t *ask, int64_t now_usec);
    apr_pool_t *(*fetch_pool)(const gate_cache_fetch_t *fetch);
    gate_cache_step_e (*step)(gate_cache_fetch_t *fetch, int64_t now_usec, gate_cache_told_t *told);
    /** Since step() said WAIT, or body_state() COMES: anything new? Two atomic loads. */
    int (*news)(const gate_cache_fetch_t *fetch, int64_t now_usec);
    /** The fields to ask the member with; in the fetch's pool, values borrowed from the request's. */
    const apr_table_t *(*asked)(gate_cache_fetch_t *fetch);
    /**
     * The member's answer, before anything of it is told.
     * @param fields  the member's
     * @param told    what its client gets: told->status as the member's, or 304
     * @return READ: its client's body comes out of the store, as it does for others; ASK: it is handed on as it comes; TELL: its client
     *         gets what is stored (or a 304), whatever body the member sends; AGAIN; LEAVE
     */
    gate_cache_step_e (*said)(gate_cache_fetch_t *fetch, int status, const apr_table_t *fields, uint64_t length, int64_t now_usec,
                              gate_cache_told_t *told);
    void (*bytes)(gate_cache_fetch_t *fetch, const char *bytes, size_t len, int64_t now_usec);
    /** Is it wanted although its client has gone? */
    int (*storing)(const gate_cache_fetch_t *fetch);
    /** The member's answer is over; whole: all of it came. Before the client hears of that. Fine to call twice. */
    void (*end)(gate_cache_fetch_t *fetch, int whole, int64_t now_usec);
    /** There is an error of ours. @return TELL: what is stored goes out in its place (stale-if-error); ASK: the error does */
    gate_cache_step_e (*instead)(gate_cache_fetch_t *fetch, int status, int64_t now_usec, gate_cache_told_t *told);
    /** A fetch of its own for what `fetch` told, that nobody waits for. NULL: somebody else does it already */
    gate_cache_fetch_t *(*refresh)(gate_cache_fetch_t *fetch, int64_t now_usec);
    /** It ends in an error of ours: fields for err_headers_out. @return GATE_CACHE */
    const char *(*fetch_failed)(gate_cache_fetch_t *fetch, int status, apr_table_t *headers, int64_t now_usec);
    /** TELL and READ: bytes of the body from `offset` on that lie together and have come. @return how many */
    uint64_t (*body)(const gate_cache_fetch_t *fetch, uint64_t offset, const char **data);
    gate_cache_body_e (*body_state)(gate_cache_fetch_t *fetch);
    /** All that is held is let go, waiting and leading end. */
    void (*over)(gate_cache_fetch_t *fetch);
    /** Once in a while, while somebody waits: what dead children held is given back. */
    void (*tend)(void);
} gate_cache_door_t;

APR_DECLARE_OPTIONAL_FN(const gate_cache_door_t *, gate_cache_door, (void));

#endif
