/*
 * client_h2_inside.h - what the files of the HTTP/2 codec share.
 * Depends: client_h2.h, libnghttp2.
 * Memory:  a session and its streams are malloc'ed. The session is freed when it is closed, its job is not posted and no worker has one of
 *          its streams: by whichever comes last.
 * Locking: one loop; a secondary has a mutex of its own (h2_secondary.h).
 * Nothing calls exchanges or secondaries from within libnghttp2: its callbacks note on the stream, and h2_settle() does what follows. Nothing
 * ends an exchange from within its ops but op_classic; all else is done by the session's job, which runs after the batch and flushes once
 * for all streams that were answered in it.
 */
#ifndef ENGINE_CLIENT_H2_INSIDE_H
#define ENGINE_CLIENT_H2_INSIDE_H

#include <httpd.h>
#include <nghttp2/nghttp2.h>

#include "client_h2.h"
#include "exchange.h"
#include "h2_abuse.h"
#include "h2_head.h"
#include "h2_negotiate.h"
#include "h2_priority.h"
#include "h2_websocket.h"
#include "route.h"

#define H2_STREAM_KEEP 65536    /* of an answer, for a slow client: more is not welcome */
#define H2_CONN_WINDOW (1 << 20)
#define H2_NOISE_MAX (4 * H2_HEAD_MAX)
#define H2_CLASSIC_MAX 8        /* streams of one connection that have a worker thread at a time */

enum { DRAIN_NO, DRAIN_TOLD, DRAIN_LAST /* streams from now on are refused */ };

typedef struct h2 h2_t;
typedef struct h2_stream h2_stream_t;
typedef struct h2_secondary h2_secondary_t;

struct h2_stream {
    h2_t *h;
    int32_t id;
    h2_stream_t *next, **link;  /* all of the session */
    exchange_t *x;
    h2_secondary_t *second;
    server_rec *server;
    char *text;                 /* the head as HTTP/1.1 */
    size_t text_len, text_room;
    char *last;                 /* the request's trailers as HTTP/1.1 lines; NULL: none */
    size_t last_len;
    method_e method;
    uint8_t ready;              /* its head is whole: to be begun */
    uint8_t protocol;           /* h2_protocol_e */
    uint8_t tunnel;             /* a WebSocket that the member has agreed to: bytes go both ways */
    char key[H2_WEBSOCKET_KEY + 1];
    uint8_t begun;
    uint8_t has_body, remote_ended, body_told, body_begun, expecting;
    uint8_t head_told, head_sent, no_body, ended, deferred, closed, aborted, wants_room, waits_worker, over;
    char *in;                   /* of the request's body: not taken yet */
    size_t in_at, in_len, in_room;
    char *kept;                 /* of the answer's body */
    size_t kept_at, kept_len, kept_room;
    const char *now;            /* .. and what is being told, during op_data() */
    size_t now_len;
    uint8_t trails;             /* trailers may follow a body of that length: the member spoke HTTP/2 */
    uint64_t told_left;         /* of the length said; UINT64_MAX: none was */
    uint64_t sent_bytes;
    h2_priority_t updated;      /* by PRIORITY_UPDATE, in place of what the head says */
    h2_priority_t member;       /* as the answer says */
    uint8_t was_updated;
    nghttp2_nv *trailers;       /* one block */
    size_t trailers_count;
    int64_t begun_usec, moved_usec;
};

struct h2 {
    conn_t *conn;               /* NULL: closed */
    nghttp2_session *session;
    route_client_t *routes;
    const h2_settings_t *settings;
    h2_stream_t *streams, *spare;
    h2_ask_t ask;               /* the head that comes in */
    h2_stream_t *asking;
    h2_abuse_t abuse;
    loop_job_t job;
    size_t room;                /* as conn_send() said */
    size_t noise;               /* bytes since the last frame that says something: PRIORITY and unknown ones are told to nobody */
    int64_t due_usec;           /* of the timer; 0: none is set */
    int64_t idle_usec;          /* no stream since then; 0: there is one */
    int64_t told_usec;          /* draining: the notice */
    int64_t rested_usec;        /* when h2_abuse_rested() was last told */
    uint32_t open, classics;
    uint8_t posted, busy, closing, draining, broken, calmed, served /* a stream was there */;
};

/* client_h2.c */
/** Work for the job: settle, send, flush. */
void h2_soon(h2_t *h);
/** Sends what can be sent; not from within libnghttp2. */
void h2_pump(h2_t *h);
void h2_reset(h2_stream_t *s, uint32_t code);

/* client_h2_time.c */
/** After work: what is due next. */
void h2_keep_time(h2_t *h);
/** conn_codec_t.timer */
void h2_time(conn_t *conn);
/** The client is told, and a little later the connection ends with its last stream. */
void h2_drain_begin(h2_t *h);

/* client_h2_tell.c */
extern const client_ops_t h2_stream_ops;
/** Monotonic time as wall clock. */
apr_time_t h2_wall(const h2_t *h, int64_t usec);
/** Without an effect if there is none. */
void h2_stream_leave_exchange(h2_stream_t *s);

/* client_h2_stream.c */
h2_stream_t *h2_stream_open(h2_t *h, int32_t id);
/** Its head is there. */
void h2_stream_begin(h2_stream_t *s);
/** Bytes of the body go on, windows are opened. */
void h2_stream_body(h2_stream_t *s);
/** The client's word and the answer's together; without the latter libnghttp2 keeps to the client's by itself. */
void h2_stream_prioritize(h2_stream_t *s);
/** The client is gone, or the stream is closed: nothing is told any more. */
void h2_stream_end(h2_stream_t *s);
int h2_stream_in(h2_stream_t *s, const char *bytes, size_t len);
void h2_stream_writable(h2_stream_t *s);
/** nghttp2_data_source_read_callback of all answers; source->ptr is the stream. */
ssize_t h2_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t most, uint32_t *flags, nghttp2_data_source *source, void *user);
/** libnghttp2 wants bytes of the answer. */
ssize_t h2_stream_read(h2_stream_t *s, size_t most, uint32_t *flags);
int h2_stream_send(h2_stream_t *s, const uint8_t *frame_head, size_t len);

/* Answers, from exchanges and secondaries alike. */
void h2_tell_interim(h2_stream_t *s, int status, char *lines, size_t len);
/** @param length UINT64_MAX: not known */
void h2_tell_head(h2_stream_t *s, int status, char *lines, size_t len, int has_body, uint64_t length);
size_t h2_tell_data(h2_stream_t *s, const char *bytes, size_t len);
void h2_tell_end(h2_stream_t *s, const fields_t *trailers);

/* h2_secondary.c: a stream's request in httpd's own code, on a worker thread */
typedef struct {
    const char *why;            /* static */
    int status;
    const apr_table_t *headers, *env;
    int body_gone;
} h2_classic_t;

void h2_secondary_start(h2_stream_t *s, const h2_classic_t *ask);
/** The same; CONNECT with a :protocol, which no thread can do, is answered 501. */
void h2_stream_begin_classic(h2_stream_t *s, h2_classic_t *ask);
/** @return how many bytes of the body were taken */
size_t h2_secondary_body(h2_secondary_t *second, const char *bytes, size_t len);
/** @param trailers lines, the empty one among them; NULL: none */
void h2_secondary_body_end(h2_secondary_t *second, const char *trailers, size_t len);
/** The stream takes more of the answer. */
void h2_secondary_more(h2_secondary_t *second);
void h2_secondary_leave(h2_secondary_t *second);

#endif
