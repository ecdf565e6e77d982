/*
 * h2_websocket.h - the handshake that HTTP/1.1 wants for a WebSocket and HTTP/2 does without (RFC 8441, 5): we are its client where a client of
 * HTTP/2 meets a member of HTTP/1.1, and its server the other way round.
 * Depends: APR.   LOGIC: knows no httpd.   Memory: the caller's.   Locking: none.
 * Source: RFC 6455, 4.1 (key) and 4.2.2 (accept).
 */
#ifndef ENGINE_H2_WEBSOCKET_H
#define ENGINE_H2_WEBSOCKET_H

#include "message.h"

#define H2_WEBSOCKET_KEY 24
#define H2_WEBSOCKET_ACCEPT 28  /* 20 bytes in base64 */

/** A new key, with a NUL behind it. @return 0: there is nothing random */
int h2_websocket_key(char key[H2_WEBSOCKET_KEY + 1]);
/** A request's key; .at NULL: it has none, or not one alone that may be one. */
span_t h2_websocket_key_of(const fields_t *fields);
/** What the answer to the key has to say, with a NUL behind it. */
void h2_websocket_accept(const char *key, char accept[H2_WEBSOCKET_ACCEPT + 1]);
/** Does an answer's Sec-WebSocket-Accept belong to the key? */
int h2_websocket_agrees(const char key[H2_WEBSOCKET_KEY + 1], const fields_t *answer);

#endif
