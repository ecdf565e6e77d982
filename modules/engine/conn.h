/*
 * conn.h - a client connection on a loop: what a codec (client_h1.c, ..) sees of it.
 * Depends: loop.h, httpd.
 * Memory:  a conn lives in the pool of its conn_rec (httpd's) and goes with it, after codec->closed() has returned.
 * Locking: one loop's thread calls everything here, but for what happens while the classic plane has the connection: then nobody calls the
 *          codec, and the codec calls nothing of this but conn_is_lent().
 *
 * READING   The codec does not read: it is given bytes (input) and says how many it takes. What it does not take is kept and comes again, in
 *           front of what has been read since. conn_pause() stops that (a request is being answered, the member is slow) and conn_resume() goes
 *           on; while paused at most CONN_READ_AHEAD bytes are in memory and the rest stays in the kernel.
 * WRITING   conn_send() takes everything that it is given, at once or by keeping it; it tells how much more is welcome, and room() is called
 *           when it is welcome again. Small pieces wait for conn_flush() or for larger ones.
 * TIME      The codec says what the connection is about (conn_phase), and conn.c keeps httpd's limits: KeepAliveTimeout, Timeout,
 *           RequestReadTimeout with its MinRate. Those that end in an answer (408) are answered by the classic plane.
 * CLOSING   conn_close() after the last byte: what is kept is sent, then FIN, then what the client still sends is thrown away for 2 or 30 s as httpd
 *           does. conn_abort() at once. After either the codec sends nothing more, and closed() is called, once, by the loop: never from within a
 *           call of the codec's own.
 * CLASSIC   conn_classic() hands one request over to httpd's own code on a worker thread; back() when the connection is here again.
 */
#ifndef ENGINE_CONN_H
#define ENGINE_CONN_H

#include <httpd.h>
#include <sys/uio.h>

#include "loop.h"

#define CONN_READ_AHEAD 65536   /* bytes not taken by the codec: more is not read */
#define CONN_KEEP_MAX 131072    /* bytes kept for a slow client: more is not welcome */

typedef struct conn conn_t;

typedef struct conn_codec {
    const char *name;           /* "http/1.1", for the status page */
    /** The connection is here. @return 0; -1: it is closed at once (closed() is not called) */
    int (*open)(conn_t *conn);
    /**
     * Bytes from the client, valid during the call. May call conn_pause(), conn_classic(), conn_close(): then it is not called again.
     * @return how many of them are taken. What is not taken goes along to the classic plane.
     */
    size_t (*input)(conn_t *conn, const char *bytes, size_t len);
    /** The client has ended its sending (FIN, close_notify); it may still read. All that it sent has been given, or is kept because not taken. */
    void (*ended)(conn_t *conn);
    /** After conn_send() said 0: more is welcome. */
    void (*room)(conn_t *conn);
    /** In CONN_BODY: the client was too slow for RequestReadTimeout or Timeout (408 if nothing was answered yet); conn_close() is the codec's. */
    void (*late)(conn_t *conn);
    /** After conn_timer(). */
    void (*timer)(conn_t *conn);
    /** The classic plane has answered, and the connection goes on. Bytes that came after that request follow by input(). */
    void (*back)(conn_t *conn);
    /** The child is to stop: no more requests after those begun; conn_close() when there are none. */
    void (*drain)(conn_t *conn);
    /** The last call: the client is gone, a limit was over-stepped, or the codec closed it. Exchanges end here. */
    void (*closed)(conn_t *conn);
} conn_codec_t;                 /* none may be NULL */

struct conn {
    loop_t *loop;
    conn_rec *c;
    const conn_codec_t *codec;
    void *client;               /* the codec's own */
    int64_t read_usec;          /* monotonic: when the bytes that input() was last given were read */
    uint32_t holds;             /* the codec's: c is in use by others (workers); the connection is not freed before this is 0 */
    uint8_t draining;           /* drain() was called, or would have been */
};

/* ---- reading --------------------------------------------------------------------------------------------------------------- */

void conn_pause(conn_t *conn);
/**
 * Another codec has it from now on; from within input() (that takes nothing), ended() or drain(). What is kept is given to it.
 * @return 0; -1: it could not begin, and the connection is closed
 */
int conn_become(conn_t *conn, const conn_codec_t *codec);
/** What is kept, and what comes, is given again: not from within this call, but before the loop waits. */
void conn_resume(conn_t *conn);
/** Bytes kept because they were not taken. Not from within input(). */
size_t conn_unread(const conn_t *conn);

/* ---- writing --------------------------------------------------------------------------------------------------------------- */

/** Borrowed during the call. @return how much more is welcome now; 0: wait for room(). A dead connection takes everything, and closed() follows. */
size_t conn_send(conn_t *conn, const struct iovec *parts, int count);
void conn_flush(conn_t *conn);
/** Bytes that have been sent to conn_send() and are not yet with the network. */
size_t conn_kept(const conn_t *conn);

/* ---- time ------------------------------------------------------------------------------------------------------------------ */

typedef enum {
    CONN_IDLE,                  /* between requests: KeepAliveTimeout (before the first: Timeout and RequestReadTimeout header=) */
    CONN_HEAD,                  /* a head has begun: RequestReadTimeout header=, Timeout for each silence */
    CONN_BODY,                  /* a body is read (and not paused): RequestReadTimeout body=, Timeout for each silence */
    CONN_ANSWER                 /* nobody waits for the client's bytes; if bytes are kept and none goes for Timeout, it is gone */
} conn_phase_e;

/** `server`: whose limits count; NULL: the connection's base_server. Cheap: no timer is moved when nothing changes. */
void conn_phase(conn_t *conn, conn_phase_e phase, server_rec *server);
/** One timer for the codec itself; 0: none. */
void conn_timer(conn_t *conn, int64_t due_usec);

/* ---- ending ---------------------------------------------------------------------------------------------------------------- */

void conn_close(conn_t *conn);
void conn_abort(conn_t *conn);

/* ---- the classic plane ------------------------------------------------------------------------------------------------------ */

typedef struct {
    const char *why;            /* static, short, for the status page: "Range", "no ProxyPass to a gate:// group" */
    /* Bytes that input() has taken and that are to be read again before those not taken: a head; copied. NULL: none */
    const char *again;
    size_t again_len;
    /* 0: the request runs as if it had just come. Else it is answered with this status as an error would be: ErrorDocument, log line */
    int status;
    int early;                  /* the status stands before the request has been looked at (access); else where a handler would answer */
    const apr_table_t *headers; /* into err_headers_out; copied; NULL: none */
    const apr_table_t *env;     /* into subprocess_env, after the head was read; copied; NULL: none */
    int body_gone;              /* bytes of the body have been taken: nothing more of it is read, and the connection ends after the answer */
    int64_t begun_usec;         /* monotonic, of the request, for %D; 0: now */
} conn_classic_t;

/**
 * What was sent before goes to the client first. From this call until back() or closed() the codec is not called and calls nothing here.
 * The request's notes have "gate-preset" (the status in words) in the classic plane, so that nobody decides again what was decided.
 */
void conn_classic(conn_t *conn, const conn_classic_t *ask);
int conn_is_lent(const conn_t *conn);
/** The client has closed its side or all of it, as far as the network says; what it sent before may still be unread. */
int conn_hung_up(const conn_t *conn);

/** Counts for the engine's page: an exchange of the express plane begins (+1), ends (-1). */
void conn_exchanges(conn_t *conn, int by);
/** From within input(): so many of the bytes are going to be taken; counted now (mod_logio), for who is logged before input() returns. */
void conn_takes(conn_t *conn, size_t len);

#endif
