/*
 * h2_head.h - heads between HTTP/2 and the engine: a request's header list becomes the HTTP/1.1 text that says the same, an answer's lines
 * become a header list.
 * Depends: message.h, libnghttp2, libc.   LOGIC: knows no httpd.
 * Memory:  an h2_ask_t keeps its buffers between requests (h2_ask_end()); an h2_reply_t borrows from the text that it was made of, which it
 *          changes (names in lower case).
 * Locking: none.
 * The text is what h1_request() and, where need be, httpd's own reading judge: so a request means the same whichever way it came, and one
 * that cannot be said in HTTP/1.1 without doubt (a CR, LF or NUL in a value, a space in a path) is refused here.
 * Sources: RFC 9113, 8 (pseudo fields, 8.2.3 cookies); names get capital letters as mod_http2 gives them.
 */
#ifndef ENGINE_H2_HEAD_H
#define ENGINE_H2_HEAD_H

#include <nghttp2/nghttp2.h>

#include "message.h"

#define H2_HEAD_MAX 65536       /* bytes of a request's header list */

typedef enum { H2_HEAD_GOOD = 0, H2_HEAD_LARGE, H2_HEAD_BAD } h2_head_e;

typedef struct {
    uint32_t name, name_len, value, value_len; /* in bytes */
} h2_line_t;

/* A request's header list while it comes in: one at a time per connection. */
typedef struct {
    char *bytes;
    size_t len, room;
    h2_line_t line[MESSAGE_FIELDS_MAX];
    uint32_t count;
    int method, scheme, authority, path, protocol; /* 1 + index of their line; 0: not there */
    h2_head_e state;
    const char *key;            /* of a WebSocket, for h2_ask_write(); the caller's */
} h2_ask_t;

/* CONNECT with :protocol (RFC 8441, 4). */
typedef enum { H2_NO_PROTOCOL = 0, H2_WEBSOCKET, H2_OTHER_PROTOCOL } h2_protocol_e;

void h2_ask_begin(h2_ask_t *ask);
/** One field, in the order it came. */
void h2_ask_field(h2_ask_t *ask, const char *name, size_t name_len, const char *value, size_t value_len);
/** @return the most that h2_ask_write() writes */
size_t h2_ask_room(const h2_ask_t *ask);
/** What a whole header list asks for. */
h2_protocol_e h2_ask_protocol(const h2_ask_t *ask);
/**
 * The request as HTTP/1.1 says it, Host first; a WebSocket is GET with Upgrade and ask->key (another :protocol is GET alone); an absolute target where :scheme is neither http
 * nor https; a body of unknown length is said to be chunked.
 * @param has_body the stream goes on after the head
 * @return its length; 0: it cannot be said (ask->state)
 */
size_t h2_ask_write(h2_ask_t *ask, int has_body, char *to);
/**
 * Trailers as the lines of HTTP/1.1 that follow the last chunk, the empty one among them; without what would frame or route the message
 * (RFC 9110, 6.5.1). Fits into h2_ask_room().
 * @return its length; 0: they cannot be said (ask->state)
 */
size_t h2_ask_write_trailers(h2_ask_t *ask, char *to);
void h2_ask_end(h2_ask_t *ask);

typedef struct {
    nghttp2_nv nv[MESSAGE_FIELDS_MAX + 2];
    size_t count;
    size_t priority;            /* index of the last "priority"; 0: there is none */
    char status[8], length[24];
} h2_reply_t;

/**
 * Status and fields from HTTP/1.1 lines: "HTTP/1.1 200 OK CRLF Name: value CRLF ..", with or without the empty line; what is for an HTTP/1.1
 * connection alone is left out.
 * @param copied nghttp2 copies names and values; else they are borrowed until it has sent them
 */
void h2_reply_lines(h2_reply_t *reply, int status, char *lines, size_t len, int copied);
/** Adds content-length, if it is not there. */
void h2_reply_length(h2_reply_t *reply, uint64_t length, int copied);
void h2_reply_drop(h2_reply_t *reply, const char *name);
/** Date and Server go last, as mod_http2 has them. */
void h2_reply_order(h2_reply_t *reply);
/** Trailers; names are copied into `names`, as large as all of them. */
void h2_reply_trailers(h2_reply_t *reply, const fields_t *trailers, char *names);

#endif
