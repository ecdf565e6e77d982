/*
 * h2_negotiate.h - who speaks HTTP/2 with a client: the engine, where GateEngine is on and "Protocols" has h2 (TLS) or h2c (in the clear, by
 * prior knowledge), instead of mod_http2. "Upgrade: h2c", which RFC 9113 (3.1) has given up, is left to mod_http2.
 * Depends: httpd's protocol hooks.   Locking: none; on the thread that has the connection.
 */
#ifndef ENGINE_H2_NEGOTIATE_H
#define ENGINE_H2_NEGOTIATE_H

#include <httpd.h>

typedef struct {
    uint32_t streams;           /* H2MaxSessionStreams */
    uint32_t window;            /* H2WindowSize */
    int64_t timeout_usec;       /* H2StreamTimeout; 0: the server's Timeout */
    int direct;                 /* H2Direct; -1: in the clear yes, over TLS no */
    int hints;                  /* 103 is passed on, but where H2EarlyHints is off */
    int websockets;             /* H2WebSockets */
} h2_settings_t;

/** From the module's register_hooks. */
void h2_negotiate_register(void);
/** In post_config: reads mod_http2's directives. */
void h2_negotiate_configure(apr_pool_t *p, server_rec *s);
/** "h2" was agreed upon and is ours. */
int h2_negotiated(const conn_rec *c);
/** On the thread that has it, for a connection agreed upon as ours that a child which ends cannot take: its client is to come again (GOAWAY). */
void h2_turn_away(conn_rec *c);
/** A client may begin with HTTP/2 at once (prior knowledge). */
int h2_may_be_direct(conn_rec *c);
/** .. and has. */
void h2_begin_direct(conn_rec *c);
const h2_settings_t *h2_settings_of(const server_rec *s);
/** Who speaks HTTP/2 with the clients of a server for which GateEngine is on, in words; in p or static. */
const char *h2_negotiate_tell(apr_pool_t *p, const server_rec *s);
/** Why HTTP/2 is left to mod_http2: "H2Push (file:line)"; NULL: it is not. */
const char *h2_negotiate_refuses(void);

#endif
