/*
 * message.h - HTTP messages as the engine's parts hand them to one another: what a codec (h1, h2) has read, and what it is to write.
 * Depends: libc only.
 * Memory:  spans borrow from the buffer that was parsed (or from a pool, where somebody made them); nothing but a copy ends in NUL. A
 *          head is valid until the buffer is read into again: who needs it for longer copies it (request_head_copy(), answer_head_copy()).
 * Locking: none; a message belongs to one loop thread.
 * Sources: RFC 9110 (fields, methods, connection options), RFC 9112, 6 (framing).
 */
#ifndef ENGINE_MESSAGE_H
#define ENGINE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *at;
    uint32_t len;
} span_t;

/* Fields that somebody between client and member looks at: known once when parsed, compared as a number ever after. */
typedef enum {
    FIELD_OTHER = 0,
    FIELD_ACCEPT_ENCODING, FIELD_ACCEPT_RANGES, FIELD_AGE, FIELD_AUTHORIZATION, FIELD_CACHE_CONTROL, FIELD_CONNECTION,
    FIELD_CONTENT_ENCODING, FIELD_CONTENT_LANGUAGE, FIELD_CONTENT_LENGTH, FIELD_CONTENT_LOCATION, FIELD_CONTENT_RANGE, FIELD_CONTENT_TYPE, FIELD_COOKIE,
    FIELD_DATE, FIELD_ETAG, FIELD_EXPECT, FIELD_EXPIRES, FIELD_HOST, FIELD_IF_MATCH, FIELD_IF_MODIFIED_SINCE,
    FIELD_IF_NONE_MATCH, FIELD_IF_RANGE, FIELD_IF_UNMODIFIED_SINCE, FIELD_KEEP_ALIVE, FIELD_LAST_MODIFIED, FIELD_LOCATION,
    FIELD_MAX_FORWARDS, FIELD_PRAGMA, FIELD_PROXY_AUTHENTICATE, FIELD_PROXY_AUTHORIZATION, FIELD_PROXY_CONNECTION, FIELD_RANGE,
    FIELD_REFERER, FIELD_REFRESH, FIELD_SERVER, FIELD_SET_COOKIE, FIELD_TE, FIELD_TRAILER, FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE, FIELD_USER_AGENT, FIELD_VARY, FIELD_VIA, FIELD_WARNING, FIELD_WWW_AUTHENTICATE,
    FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_SERVER, FIELD_X_FORWARDED_PROTO,
    FIELD_COUNT
} field_e;

typedef struct {
    span_t name, value;         /* value: without the white space around it */
    uint8_t known;              /* field_e */
    uint8_t hop;                /* for this connection only (RFC 9110, 7.6.1): Connection, what it names, Keep-Alive, TE, .. */
} field_t;

#define MESSAGE_FIELDS_MAX 256  /* kept; LimitRequestFields may ask for fewer. A request with more goes classic, an answer is bad */

typedef struct {
    field_t *field;             /* in the order they came */
    uint32_t count;
    uint16_t first[FIELD_COUNT]; /* 1 + index of the first line of a known field; 0: there is none */
    uint8_t repeated;           /* some name stands twice */
} fields_t;

/* What of a message is body (RFC 9112, 6.3). */
typedef enum {
    BODY_NONE = 0,
    BODY_LENGTH,                /* .length bytes */
    BODY_CHUNKED,
    BODY_STREAM,                /* h2: until END_STREAM, length unknown */
    BODY_CLOSE                  /* answers only: until the connection ends */
} body_e;

typedef enum { METHOD_OTHER = 0, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_OPTIONS, METHOD_PATCH,
               METHOD_TRACE, METHOD_CONNECT } method_e;

typedef struct {
    span_t line;                /* h1: the request line as sent; h2: empty */
    span_t method, target;      /* target as sent */
    span_t path, query;         /* of the target, as sent (but see route_find()); query without '?', .at NULL if there is none */
    span_t host;                /* Host or :authority, port included; .at NULL if there is none */
    method_e known;
    uint8_t major, minor;       /* 1.0, 1.1, 2.0 */
    uint8_t keep_alive;         /* h1: the client wants the connection kept */
    uint8_t keep_alive_said;    /* .. and says so with the word keep-alive: it is told how long */
    uint8_t expect_continue;
    uint8_t upgrade;            /* Connection: upgrade and an Upgrade field */
    uint8_t te_trailers;
    uint8_t plain_path;         /* the path is its own normal form: begins with '/', only characters that httpd neither decodes nor encodes
                                   (ALPHA DIGIT -._~$+!*'(),;:@&=/), no empty, "." or ".." segment */
    body_e body;
    uint64_t length;
    fields_t fields;
    uint32_t head_bytes;        /* how many bytes of the buffer it took */
} request_head_t;

typedef struct {
    uint16_t status;
    uint8_t major, minor;
    uint8_t keep_alive;         /* the member keeps its connection (RFC 9112, 9.3) */
    uint8_t upgraded;           /* 101 */
    uint8_t type_late;          /* Content-Type, which ends in NUL, is httpd's own word: it goes last */
    span_t reason;
    body_e body;                /* as the request's method and the status say: none for HEAD, 204, 304 */
    uint64_t length;            /* announced; UINT64_MAX if not (also set for HEAD) */
    uint32_t keep_alive_s;      /* Keep-Alive: timeout=; 0: not said */
    span_t lines;               /* of an answer that was ready: status line and fields as HTTP/1.1 lines with CRLF, Content-Length among
                                   them if there is a body, nothing of the connection; it is sent as it is. .at NULL: write the fields */
    fields_t fields;            /* with lines: none, or the same */
    uint32_t head_bytes;
} answer_head_t;

/* What a member is asked, for whatever it speaks: its codec leaves out of the fields what is for one connection only. */
typedef struct {
    span_t method;
    method_e known;
    span_t target;              /* path and query for the member */
    const fields_t *fields;     /* the client's */
    span_t host;                /* for Host, :authority: the client's (ProxyPreserveHost) or the member's */
    span_t via;                 /* our entry of Via, "1.1 name"; .at NULL: none */
    int via_block;              /* ProxyVia block: nobody's */
    span_t forwarded_for, forwarded_host, forwarded_server; /* added to X-Forwarded-*; .at NULL: not (ProxyAddHeaders off, no Host) */
    int expect_continue;        /* the client's Expect goes along */
    body_e body;                /* NONE: no framing; LENGTH: of `length`; else as long as it takes */
    uint64_t length;
    span_t upgrade;             /* .at NULL: none */
    int close;                  /* h1: the member is asked to close its connection */
} member_ask_t;

/** The known field of a name in any case; FIELD_OTHER if it is none. */
field_e field_of(const char *name, size_t len);
/** Canonical spelling ("Content-Type"); "" for FIELD_OTHER. */
const char *field_name(field_e known);

/** ASCII letters in any case. */
int span_is(span_t span, const char *word);
int spans_equal(span_t a, span_t b);

/** First line of a known field; NULL if absent. */
static inline const field_t *fields_known(const fields_t *fields, field_e known)
{
    return fields->first[known] ? &fields->field[fields->first[known] - 1] : NULL;
}

/** The next line of the same name after `at`; NULL if there is none. */
const field_t *fields_next(const fields_t *fields, const field_t *at);

/** How many bytes a copy of a head takes, fields included. */
size_t request_head_size(const request_head_t *head);
size_t answer_head_size(const answer_head_t *head);
/** @param memory aligned for pointers, as large as .._size() said; the copy borrows from nothing else, and its spans end in NUL */
void request_head_copy(request_head_t *to, const request_head_t *from, void *memory);
/** Without `lines`. */
void answer_head_copy(answer_head_t *to, const answer_head_t *from, void *memory);

#endif
