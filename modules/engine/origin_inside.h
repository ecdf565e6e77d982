/*
 * origin_inside.h - what the files of the origin share: the connection's struct, the places of members, the steps between them.
 * Depends: origin.h, origin_names.h, origin_tls.h, h1_parse.h, h1_chunk.h.   LOGIC: knows no httpd.
 * An origin_t is what a user holds. Of HTTP/1.1 it is a connection of its own (origin_h1). Of HTTP/2 it is a stream (origin_h2, its fields in
 * .stream, no socket), and the connection is another origin_t, a link whose user is the session (origin_session.h): bytes both ways.
 * Memory:  malloc'ed. An origin is freed by origin_free_later(): never while a function of its own is on the stack (depth), never while its
 *          job is with the loop (posted).
 * Locking: none; one loop.
 */
#ifndef ORIGIN_INSIDE_H
#define ORIGIN_INSIDE_H

#include <string.h>
#include <sys/uio.h>

#include "h1_chunk.h"
#include "h1_parse.h"
#include "h2_websocket.h"
#include "origin.h"
#include "origin_names.h"
#include "origin_tls.h"
#include "outbox.h"

#define ORIGIN_HEAD_MAX LOOP_SCRATCH_BYTES /* an answer's head; a longer one is bad */
#define ORIGIN_INTERIM_MAX 64              /* interim answers before the answer */
#define ORIGIN_ROUNDS 4                    /* readings of one connection before others have their turn */
#define ORIGIN_NAMES_TTL_USEC INT64_C(30000000)   /* then looked up again, the former addresses serving meanwhile */
#define ORIGIN_NAMES_FAILED_USEC INT64_C(1000000) /* a name without addresses is not asked for more often */


typedef struct origins origins_t;
typedef struct origin_session origin_session_t; /* origin_session.h */
typedef struct origin_place origin_place_t;

typedef enum {
    ORIGIN_NAME,                /* waits for its member's addresses */
    ORIGIN_CONNECT,
    ORIGIN_TLS,                 /* shakes hands */
    ORIGIN_USED,
    ORIGIN_IDLE,                /* kept in its place */
    ORIGIN_DEAD                 /* closed; only its memory is there */
} origin_state_e;

typedef enum {
    READING_NOTHING = 0,        /* no request was sent: bytes are none of ours */
    READING_HEAD,
    READING_LENGTH,
    READING_CHUNKED,
    READING_TRAILERS,
    READING_CLOSE,
    READING_TUNNEL,
    READING_DONE
} origin_reading_e;

enum { LATER_CONNECTED = 1, LATER_FAILED = 2, LATER_READ = 4, LATER_STEP = 8 };

/* A request on its way (origin_write.c). */
typedef struct {
    const char *rest;           /* of the head: not sent yet */
    size_t rest_len;
    char *kept;                 /* where it stands; malloc'ed */
    size_t chunk_left;          /* of the chunk whose size line stands in `frame` */
    char frame[2 + H1_CHUNK_LINE_MAX + sizeof H1_CHUNK_END]; /* of chunks: begun and not yet sent */
    uint32_t frame_len, frame_sent;
    uint8_t chunked;            /* the body goes in chunks; `chunks`: one has begun */
    uint8_t chunks, ended;      /* ended: the last of the body was taken; in chunks: its end stands in `frame` */
    uint8_t asked;              /* all of it is sent */
} origin_writing_t;

/* What a user calls, as each protocol does it. */
typedef struct {
    ssize_t (*ask)(origin_t *o, const member_ask_t *ask, const char *bytes, size_t len, int last);
    ssize_t (*body)(origin_t *o, const char *bytes, size_t len, int last);
    int (*is_asked)(const origin_t *o);
    void (*read)(origin_t *o);  /* LATER_READ: there may be more to tell */
    int (*keep)(origin_t *o);   /* origin_put(). @return 0: it is to be closed */
    void (*leave)(origin_t *o); /* it is being closed */
} origin_protocol_t;

/* A stream's part of an origin (origin_stream.c). */
typedef struct {
    origin_session_t *session;  /* NULL: not a stream, or it needs its session no more */
    origin_t *touched_next;     /* among those whose turn() is owed */
    int32_t id;                 /* 0: not asked yet */
    uint8_t waits;              /* for the connection, or for room on it */
    uint8_t moved;              /* how often, from connections without room */
    uint8_t touched, closed;
    uint8_t wants;              /* writable() is owed */
    uint8_t shut;               /* the member has sent its RST_STREAM */
    uint8_t told_head, ended;   /* ended: END_STREAM has come */
    uint8_t asked;
    uint8_t last;               /* of what is given: it ends the body */
    uint8_t patient;            /* it waits for the member's SETTINGS */
    uint8_t websocket;          /* asked for: `accept` is what an answer of HTTP/1.1 has to say */
    char accept[H2_WEBSOCKET_ACCEPT + 1];
    const char *now;            /* being given, within ask() and body() only */
    size_t now_len;
    const fields_t *trailers;   /* of the request */
    char *kept;                 /* of the answer, while the user does not want it: kept_len bytes from kept_at on */
    size_t kept_at, kept_len, kept_room;
    void *trailers_memory;      /* of the answer: `late`, which is to be told after what is kept */
    fields_t late;
} origin_stream_t;

struct origin {
    const origin_protocol_t *speaks;
    loop_watch_t watch;
    wheel_timer_t timer;
    loop_job_t job;
    loop_t *loop;
    origin_place_t *place;
    const origin_ops_t *ops;
    void *user;
    origin_t *next, *prev;      /* among its place's idle or waiting ones */
    origin_tls_session_t *tls;  /* NULL: in clear */

    uint8_t state, reading;     /* origin_state_e, origin_reading_e */
    uint8_t later;              /* LATER_* that the job is to do */
    uint8_t posted;             /* the loop has the job */
    uint8_t depth;              /* functions of ours on the stack that call out */
    uint8_t connection;         /* it is one: it has a socket, or will */
    uint8_t watched;
    uint8_t readable;           /* there may be more to read */
    uint8_t hup;                /* the member has closed its side */
    uint8_t blocked;            /* the socket took less than all: writable() is owed */
    uint8_t paused;
    uint8_t reused, tls_failed;
    uint8_t send_dead;          /* nothing more can be sent; an answer may have come before that */
    uint8_t unclean;            /* must not be used again */
    uint8_t failure;            /* origin_e, for LATER_FAILED */
    uint8_t asked;              /* method_e */
    uint8_t interims;
    uint8_t address, first;     /* how many addresses were tried, and which was the first */

    int64_t due_usec;           /* what the timer is for; 0: nothing. The timer itself may fire earlier */
    int64_t limit_usec;         /* of silence; 0: none */
    int64_t asked_usec;         /* the loop's time when the request began to be sent */
    int64_t keep_usec;          /* how long it may be idle */
    int64_t connect_usec;       /* limit for one address */
    uint8_t uploads;            /* origin_upload() */
    uint64_t left;              /* READING_LENGTH */
    uint64_t in, out;
    origin_writing_t writing;
    h1_chunk_t chunk;           /* READING_CHUNKED */
    origin_stream_t stream;
    char *held;                 /* a head, or trailers, not whole yet: held_len bytes from held_at on. A stream's: the answer's head */
    uint32_t held_at, held_len, held_cap;
    int cause;                  /* errno of a connect that failed; 0: none */
    char why[160];
};

/* A member's corner: its addresses, its idle connections. Lives as long as the roster has the member, or an origin refers to it. */
struct origin_place {
    origin_place_t *next;       /* of the same slot */
    origins_t *all;
    uint32_t slot, incarnation, group;
    uint32_t references;        /* the table's own, and one for each origin */
    uint8_t gone;               /* not in the table any more: nothing is kept */
    const origin_tls_t *tls;
    char *tls_host;
    origin_tls_memory_t memory; /* for resumption */
    char *host, *unix_path;
    uint16_t port;

    uint8_t h2;                 /* the member speaks HTTP/2 */
    origin_session_t *sessions; /* of h2 */
    uint32_t streams;           /* how many the member lets a connection have, as it said last; 0: not yet, or none */
    origin_t *idle, *oldest;    /* LIFO */
    uint32_t idle_count;
    origin_t *waiting;          /* for addresses */

    origin_address_t *address;
    int count, good;            /* good: where the last connection stood */
    int64_t fresh_until_usec;   /* of the addresses; INT64_MAX: for ever */
    const char *no_address;     /* count 0: why */
    origin_question_t *question; /* being asked */
};

struct origins {
    loop_t *loop;
    origins_rules_t rules;
    origin_place_t **slot;
    uint32_t slots;
    uint32_t used, idle;
    int draining;
    origin_t *free_list;
    uint32_t free_count;
    outbox_shelf_t shelf;
    field_t field[MESSAGE_FIELDS_MAX], trailer[MESSAGE_FIELDS_MAX]; /* of what is being read */
};

/* origin_pool.c */
origin_place_t *origin_place_of(origins_t *all, const origin_want_t *want);
void origin_place_release(origin_place_t *place);
origin_t *origin_take_idle(origin_place_t *place);
/** @return 0: it is not to be kept */
int origin_keep(origin_t *o);
void origin_idle_ready(origin_t *o, unsigned what);
void origin_idle_unlink(origin_t *o);

/* origin_connect.c */
void origin_connect(origin_t *o);
void origin_connect_ready(origin_t *o, unsigned what);
void origin_connect_expired(origin_t *o);
void origin_connect_leave(origin_t *o);
void origin_place_forget_question(origin_place_t *place);

/* origin_stream.c, origin_session.c: HTTP/2 */
/** As origin_get(). Takes the caller's reference on the place. */
origin_t *origin_stream_get(origin_place_t *place, const origin_want_t *want, const origin_ops_t *ops, void *user, int *ready);
/** No new streams on any of them; those without any are closed. */
void origin_sessions_retire(origin_place_t *place);

/* origin_write.c */
ssize_t origin_h1_ask(origin_t *o, const member_ask_t *ask, const char *bytes, size_t len, int last);
ssize_t origin_h1_body(origin_t *o, const char *bytes, size_t len, int last);
int origin_h1_is_asked(const origin_t *o);
/** The member takes bytes again: what is left of the head. @return 1 nothing is left of it */
int origin_write_rest(origin_t *o);
void origin_write_clear(origin_t *o);

/* origin_read.c */
void origin_read(origin_t *o);
void origin_answer_begin(origin_t *o, method_e method);

/* origin.c */
extern const origin_protocol_t origin_h1;
/** @param connection it counts as one  @return one that refers to `place` with the caller's reference; NULL: no memory */
origin_t *origin_make(origin_place_t *place, const origin_protocol_t *speaks, int connection);
void origin_due(origin_t *o, int64_t due_usec);
void origin_later(origin_t *o, unsigned what);
/** failed() now: not from within a call of the user's. */
void origin_fail(origin_t *o, origin_e how, const char *why);
/** failed() follows, from the loop. */
void origin_fail_later(origin_t *o, origin_e how, const char *why);
void origin_close(origin_t *o);
void origin_enter(origin_t *o);
/** @return 0: it is gone */
int origin_leave(origin_t *o);
/**
 * From now on an answer to this method is expected, which its framing depends on: before the first byte of a request. Who sends bytes
 * of his own with origin_send() has asked with that.
 */
void origin_expect(origin_t *o, method_e method);
/** Bytes to the member, as they are. @return taken, 0 .. sum of the parts; -1: as origin_body() */
ssize_t origin_send(origin_t *o, const struct iovec *parts, int count);
/**
 * A long body, or what a tunnel carries, is going to be sent (1): that the member's window is shut for a while is not the silence of a
 * machine that is gone, although TCP_USER_TIMEOUT takes it for that. 0: it has been sent; origin_put() does it too.
 */
void origin_upload(origin_t *o, int begins);
/** @return bytes; 0: the end; -1: errno */
ssize_t origin_recv(origin_t *o, char *into, size_t size);

#endif
