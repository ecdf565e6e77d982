/*
 * client_h1_inside.h - what the files of the HTTP/1.1 codec share: its state, and what each file does for the others.
 * Depends: client_h1.h.   Memory, locking: see there.
 * Two sides, each with a state of its own: what is read (client_h1_read.c: head, body, tunnel) and what the exchange tells
 * (client_h1_tell.c: head, data, end). A request is over when both are.
 * Calls nest: conn calls input(), that calls the exchange, and the exchange its ops, which may end it. Nothing is closed from within an op
 * (the exchange is still on the stack): closing is noted and done when the outermost call of ours returns, or by a job of the loop.
 */
#ifndef ENGINE_CLIENT_H1_INSIDE_H
#define ENGINE_CLIENT_H1_INSIDE_H

#include <httpd.h>

#include "client_h1.h"
#include "exchange.h"
#include "h1_chunk.h"
#include "h1_write.h"
#include "route.h"

#define CLIENT_HEAD_ROOM 16384  /* of answers' heads; a larger one is written into memory of its own */

typedef enum {
    IN_HEAD,                    /* between requests, or a head has begun */
    IN_LENGTH,                  /* body by length */
    IN_CHUNKS,
    IN_TRAILERS,
    IN_DONE,                    /* the request is read; what comes is the next one, which waits */
    IN_TUNNEL,
    IN_NOTHING                  /* no more is read: the connection closes, or the classic plane has it */
} reading_e;

/* What all connections of a loop use one after the other. */
typedef struct {
    field_t fields[MESSAGE_FIELDS_MAX];
    char head[CLIENT_HEAD_ROOM];
    char date[APR_RFC822_DATE_LEN];
    apr_int64_t date_sec;
    int64_t wall_at, wall_ahead; /* wall clock = monotonic + wall_ahead, as it was at wall_at */
    span_t banner;
} client_shared_t;

struct client;

typedef struct {
    loop_job_t job;
    struct client *client;      /* NULL: it was closed meanwhile */
} client_closer_t;

typedef struct client {
    conn_t *conn;
    client_shared_t *shared;
    route_client_t *routes;
    server_rec *server;         /* of the present request, or the last one */
    exchange_t *x;              /* the present one; NULL: none, or it was answered before all of its body had come */
    client_closer_t *closer;    /* will close it */
    unsigned depth;             /* of calls from conn */
    uint8_t closing;            /* 1: close when the outermost call returns */
    uint8_t lent;               /* to the classic plane, at the latest when the outermost call returns */
    uint8_t paused;
    uint8_t in_input;
    uint8_t ended;              /* the client has ended its sending */
    /* reading */
    uint8_t reading;            /* reading_e */
    uint8_t body_begun;         /* bytes behind the head were taken */
    uint8_t expecting;          /* it asked for 100 (Continue) and has not got it */
    uint8_t keep_alive, keep_alive_said, minor;
    method_e method;
    uint64_t body_left;
    h1_chunk_t chunks;
    size_t head_seen;           /* bytes of an unfinished head, or of trailers, that were looked at */
    int64_t head_usec;          /* when its first byte was read; 0: none is there */
    char *again;                /* the head, for the classic plane */
    size_t again_len, again_room;
    /* telling */
    const char *type;           /* Content-Type that the exchange gives an answer without one; NULL */
    uint8_t late_type;          /* .. which it has done: goes last, as in httpd */
    uint8_t head_open;          /* the head's ending is still to be written */
    uint8_t close_after;        /* as the head said */
    uint8_t frame;              /* h1_frame_e for the case that there is data */
    uint8_t empty;              /* there is no body: data is a mistake */
    uint16_t status;
    uint64_t told_left;         /* of the announced length; UINT64_MAX: none */
    uint64_t sent_bytes;
} client_t;

/* ---- client_h1.c: clocks, closing, from one request to the next --------------------------------------------------------------- */

apr_time_t client_wall(client_t *client, int64_t usec);
/** For an answer that has no Date. */
span_t client_date(client_t *client);

/** As soon as everything that calls us has returned. */
void client_close_soon(client_t *client);
void client_pause(client_t *client);
void client_resume(client_t *client);

/** The exchange is no longer needed. */
void client_end_exchange(client_t *client);
/** Both sides are over, and the connection goes on. */
void client_next_request(client_t *client);
/** @param again 1: the head was taken and has to be read again */
void client_to_classic(client_t *client, const char *why, int again, int status, const apr_table_t *headers, const apr_table_t *env);

/* ---- client_h1_tell.c ---------------------------------------------------------------------------------------------------------- */

extern const client_ops_t client_h1_ops;

/* ---- client_h1_read.c ---------------------------------------------------------------------------------------------------------- */

size_t client_h1_input(client_t *client, const char *bytes, size_t len);
/** The client has ended its sending; `left` bytes of it are kept, or have just been refused. */
void client_h1_input_end(client_t *client, size_t left);
/** The body does not come in time. */
void client_h1_late(client_t *client);

#endif
