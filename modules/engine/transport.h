/*
 * transport.h - the bytes of one client connection: socket or httpd's connection filters (mod_ssl), never waiting for anybody.
 * Depends: httpd, loop.h. For conn.c only; codecs use conn.h.
 * DIRECT: what stands between the socket and us is known (core, mod_reqtimeout, mod_logio): recv() and sendmsg() on the socket itself.
 * FILTERED: anything else: ap_get_brigade() and ap_pass_brigade() without waiting; an output filter of ours, just above core's, writes
 * to the socket what passes and keeps what it does not take.
 * TLS:    FILTERED until there is nothing to read; then mod_ssl's SSL reads and writes through us (client_tls.h), until the classic plane gets the
 * connection or it is closed.
 * Memory:  part of the connection; what is kept unsent lives in blocks of the loop (outbox.h), given back as soon as it is sent.
 * Locking: one loop. While the classic plane has the connection nobody calls here.
 */
#ifndef ENGINE_TRANSPORT_H
#define ENGINE_TRANSPORT_H

#include <httpd.h>
#include <sys/uio.h>

#include "loop.h"

typedef struct transport transport_t;

typedef enum {
    TRANSPORT_OK = 0,
    TRANSPORT_AGAIN,            /* nothing now: `ready` of the watch will tell */
    TRANSPORT_END,              /* the client has ended its sending */
    TRANSPORT_DEAD              /* reset, or not what TLS allows */
} transport_e;

/* Where what was read goes. @return 0: go on reading; 1: enough for now */
typedef int transport_sink_fn(void *ctx, const char *bytes, size_t len);

/** In conn's pool. The socket is set to not wait. */
transport_t *transport_make(loop_t *loop, conn_rec *c);
int transport_is_direct(const transport_t *t);
int transport_fd(const transport_t *t);

/**
 * Reads what is there, piece by piece (each at most 64 KiB, valid during the call of sink), until nothing is, the sink has enough, or `most` bytes.
 * Without a byte passed on, the result says why; TRANSPORT_OK: there may be more.
 */
transport_e transport_read(transport_t *t, size_t most, transport_sink_fn *sink, void *ctx);

/** Takes everything; what the network does not take is kept. hold: may wait for more (until transport_flush() or some 16 KiB). @return 0; -1: dead */
int transport_send(transport_t *t, const struct iovec *parts, int count, int hold);
/** Sends what is kept. @return 0; -1: dead */
int transport_flush(transport_t *t);
/** The network said that there is something to read. */
void transport_readable(transport_t *t);
/** For socket_bucket.c, which reads below the filters. t may be NULL: no. */
int transport_is_here(const transport_t *t);
int transport_is_empty(const transport_t *t);
/** Bytes received that TLS has not taken: transport_receive() gives them first. */
size_t transport_waiting(const transport_t *t);
/** @return APR_SUCCESS, APR_EAGAIN, APR_EOF or the system's error */
apr_status_t transport_receive(transport_t *t, char *to, apr_size_t *len);
/** The network said that the client has ended its sending. */
void transport_hung_up(transport_t *t);
/** The network said that it takes more. */
void transport_unblock(transport_t *t);
/** Bytes kept. */
size_t transport_kept(const transport_t *t);
/** Bytes that the network took, ever: whether it moves. */
uint64_t transport_sent(const transport_t *t);

/** `len` bytes of what was read have been taken (mod_logio's count, where its filter is passed by). */
void transport_count_in(transport_t *t, size_t len);

/** The classic plane gets the connection (nothing may be kept), or has given it back. */
void transport_lend(transport_t *t);
void transport_return(transport_t *t);
/** TLS's last word, if there is one, and FIN. @return 0; -1: nothing more can be said */
int transport_shutdown(transport_t *t);
/** What is kept is thrown away; the socket is its owner's to close. */
void transport_close(transport_t *t);

#endif
