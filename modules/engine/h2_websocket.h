/*
 * h2_websocket.h - the handshake that HTTP/1.1 wants for a WebSocket and HTTP/2 does without (RFC 8441, 5): we are the client of it.
 * Depends: APR.   LOGIC: knows no httpd.   Memory: the caller's.   Locking: none.
 * Source: RFC 6455, 4.1 (key) and 4.2.2 (accept).
 */
#ifndef ENGINE_H2_WEBSOCKET_H
#define ENGINE_H2_WEBSOCKET_H

#include "message.h"

#define H2_WEBSOCKET_KEY 24

/** A new key, with a NUL behind it. @return 0: there is nothing random */
int h2_websocket_key(char key[H2_WEBSOCKET_KEY + 1]);
/** Does an answer's Sec-WebSocket-Accept belong to the key? */
int h2_websocket_agrees(const char key[H2_WEBSOCKET_KEY + 1], const fields_t *answer);

#endif
