/*
 * client_h1.h - HTTP/1.1 spoken with a client: requests in order, one exchange at a time, the rest goes to the classic plane.
 * Depends: conn.h, exchange.h, route.h, h1_*.h.
 * Memory:  a codec's state is in the connection's pool; what loops share is made with the first connection and ends with client_h1_end().
 * Locking: one loop.
 */
#ifndef ENGINE_CLIENT_H1_H
#define ENGINE_CLIENT_H1_H

#include "conn.h"

extern const conn_codec_t client_h1_codec;

/** The loop ends: all its connections are closed. */
void client_h1_end(loop_t *loop);

#endif
