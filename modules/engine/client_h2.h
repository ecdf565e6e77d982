/*
 * client_h2.h - HTTP/2 spoken with a client: each stream is an exchange, or a request of the classic plane on a secondary connection.
 * Depends: conn.h, libnghttp2.   Locking: one loop.
 */
#ifndef ENGINE_CLIENT_H2_H
#define ENGINE_CLIENT_H2_H

#include "conn.h"

extern const conn_codec_t client_h2_codec;
/** For a connection whose first bytes tell whether it speaks HTTP/2 (h2_may_be_direct()). */
extern const conn_codec_t client_h2_direct_codec;

/** From the module's register_hooks: filters of streams that httpd's own code answers. */
void h2_secondary_register(void);

#endif
