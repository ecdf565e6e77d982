/*
 * origin.h - ways for a request to a member and its answer back, whatever the member speaks: a connection of HTTP/1.1, or one of many streams
 * of a connection that speaks HTTP/2 (h2c, h2).
 * Depends: loop.h, message.h, h1_parse.h, gate_roster.h, libnghttp2, OpenSSL.   LOGIC: knows no httpd.
 * Memory:  an origin belongs to its loop; from origin_get() until origin_put() or origin_drop() to its user. Strings of a want are copied.
 * Locking: none; one loop.
 * HTTP/1.1: only clean connections are kept: the answer was whole, both sides wanted it, nothing is left to read. A kept one is used at most
 * as long as the member said (Keep-Alive: timeout=, less a second), and closed when the member closes it.
 * HTTP/2: a connection has as many streams as the member lets it have; another one is made when there is no room. It is left when the member
 * says that it goes (GOAWAY), and closed when it was idle for long. What is not taken from a stream holds back that stream alone.
 */
#ifndef ENGINE_ORIGIN_H
#define ENGINE_ORIGIN_H

#include <sys/types.h>
#include <sys/uio.h>

#include "gate_roster.h"
#include "loop.h"
#include "message.h"

typedef struct origin origin_t;
typedef struct origin_tls origin_tls_t; /* origin_tls.h */

typedef enum {
    ORIGIN_OK = 0,
    ORIGIN_REFUSED,             /* no connection: refused, unreachable, connect limit, no address, TLS failed (see origin_tls_failed()) */
    ORIGIN_TIMEOUT,             /* connected, then silent for longer than origin_limit() */
    ORIGIN_RESET,               /* ended or reset before the answer was whole */
    ORIGIN_REJECTED,            /* this request alone was ended (RST_STREAM); `why` has the member's word */
    ORIGIN_UNTOUCHED,           /* likewise, or by GOAWAY: the member has done nothing with the request, which may be sent again */
    ORIGIN_BAD,                 /* not HTTP, or against its rules */
    ORIGIN_UNABLE               /* nothing was asked: a WebSocket, which the member does not offer over HTTP/2 (RFC 8441, 3) */
} origin_e;

/*
 * Whoever uses an origin is called back; from the loop, never from within a call of its own, but for origin_get() on a kept connection,
 * which calls nobody. Any call may be made from within an op; after origin_put() or origin_drop() no op follows.
 * Spans of a head, and bytes, are valid until turn(), end() or failed() of the same reading. After end() and failed() no turn() follows.
 */
typedef struct {
    void (*connected)(void *user);                             /* a new connection stands (TLS too) */
    void (*writable)(void *user);                              /* after origin_ask() or origin_body() took less than all */
    void (*head)(void *user, const answer_head_t *head);       /* interim ones too (1xx but 101) */
    void (*data)(void *user, const char *bytes, size_t len);   /* of the body, decoded; or of the tunnel */
    void (*end)(void *user, const fields_t *trailers);         /* whole; trailers may be NULL. A tunnel: the member's end of sending */
    void (*turn)(void *user);                                  /* after all of the above that one reading gave: flush now */
    void (*failed)(void *user, origin_e how, const char *why); /* why: in words, valid until origin_drop() */
} origin_ops_t;

typedef struct {
    const gate_roster_member_t *member;
    uint32_t group;             /* the roster's: origins_follow() */
    int fresh;                  /* not a kept one */
    int careful;                /* the request cannot be sent twice: a kept connection is looked at first (one more system call) */
    int upgrade;                /* a WebSocket: what a member of HTTP/2 says of those is awaited before it is asked */
    int64_t connect_usec;       /* limit for one address, and for the TLS handshake; 0: none */
    const origin_tls_t *tls;    /* what SSLProxy* says, for https: origin_tls.h; NULL: the member is spoken to in clear */
    const char *tls_host;       /* the name for SNI and the certificate's check; NULL: the member's host (ProxyPreserveHost: the request's) */
} origin_want_t;

typedef struct {
    uint32_t idle_max;          /* kept ones per member; 0: 1024 */
    int64_t idle_usec;          /* how long a kept one may be idle; 0: 60 s */
} origins_rules_t;

typedef struct {
    uint32_t used, idle;        /* connections, connecting ones included; of HTTP/2: with streams, and without */
} origins_counts_t;

/** Makes the loop's pools, in LOOP_SLOT_ORIGINS. @return 0, or -1: no memory */
int origins_open(loop_t *loop, const origins_rules_t *rules);
/** Loop thread, or after the loop has stopped: closes idle ones and lets go of all. Those in use are dropped by their users before that. */
void origins_close(loop_t *loop);
/** Idle connections to members of this group that the roster does not have are closed, and used ones not kept. */
void origins_follow(loop_t *loop, const gate_roster_t *roster);
/** Nothing is kept any more (the child drains). */
void origins_drain(loop_t *loop);
origins_counts_t origins_counts(loop_t *loop);

/** A kept connection at once (*ready = 1), or a new one that calls connected() or failed(). NULL: no memory (*ready = 0). */
origin_t *origin_get(loop_t *loop, const origin_want_t *want, const origin_ops_t *ops, void *user, int *ready);
int origin_is_reused(const origin_t *o);
/** Does the member take a body while it answers, and answer before it has asked for one? (h2c, h2) */
int origin_is_duplex(const gate_roster_member_t *member);
int origin_tls_failed(const origin_t *o);
/** errno of the last address's connect (ETIMEDOUT: its limit), after failed(); 0: it is not known */
int origin_cause(const origin_t *o);

/**
 * The request, once for each origin_get(): its head, and with it the beginning of its body.
 * @param last  these bytes are all of the body; 1 for BODY_NONE
 * @return as origin_body()
 */
ssize_t origin_ask(origin_t *o, const member_ask_t *ask, const char *bytes, size_t len, int last);
/**
 * More of the body, or its end; or bytes of the tunnel. What was not taken is to be given again, with what has come meanwhile behind it.
 * @return taken, 0 .. len; if that is less than all, or the last of it and origin_is_asked() says 0, writable() follows. -1: nothing more
 *         can be sent; an answer that came before that (413, ..) is told as any other, else failed() follows
 */
ssize_t origin_body(origin_t *o, const char *bytes, size_t len, int last);
/** What follows the body; before its last piece is given; borrowed until origin_is_asked(). HTTP/1.1 drops it, as mod_proxy_http does. */
void origin_trailers(origin_t *o, const fields_t *trailers);
/** All of the request is with the network, to the last byte of its framing. */
int origin_is_asked(const origin_t *o);
/**
 * No more is read from the member until origin_resume(): the client is slow. HTTP/1.1: what has been read is still told (at most
 * LOOP_SCRATCH_BYTES). HTTP/2: what comes within the stream's window is kept and told later.
 */
void origin_pause(origin_t *o);
void origin_resume(origin_t *o);
/** Within head() of a 101: from now on bytes are bytes. Without it a 101 is bad. */
void origin_tunnel(origin_t *o);
/** The tunnel's (or an old client's) end of sending; a stream's has gone with the last bytes (origin_body()). */
void origin_shutdown(origin_t *o);

/** The next silence of the member for longer than this is a failure (ORIGIN_TIMEOUT); 0: none. What the member takes or sends ends a silence. */
void origin_limit(origin_t *o, int64_t usec);

/** The answer was whole, and the request had been sent whole: kept if it may be, else closed. Not its user's any more. */
void origin_put(origin_t *o);
/** Closed. */
void origin_drop(origin_t *o);

uint64_t origin_bytes_in(const origin_t *o);  /* from the member, since origin_get() */
uint64_t origin_bytes_out(const origin_t *o);

#endif
