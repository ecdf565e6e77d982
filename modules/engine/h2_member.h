/*
 * h2_member.h - heads between the engine and a member that speaks HTTP/2: what it is asked becomes a header list, the header lists that it
 * sends become heads and trailers.
 * Depends: message.h, member_ask.h, libnghttp2 (types), libc.   LOGIC: knows no httpd.
 * Memory:  a request writes into the caller's room and borrows from what it was made of; a block keeps its bytes between header lists
 *          (h2_block_end()), and what is made of one borrows from it.
 * Locking: none.
 * What is said is what mod_proxy_http2 says: "te: trailers" always, no Expect, fields in lower case; names come back with capital letters.
 * A WebSocket (ask->upgrade) is CONNECT with :protocol.
 * Sources: RFC 9113, 8.1 to 8.3; RFC 8441, 5; libnghttp2 has checked the characters of names and values, and which pseudo fields there are.
 */
#ifndef ENGINE_H2_MEMBER_H
#define ENGINE_H2_MEMBER_H

#include <nghttp2/nghttp2.h>

#include "message.h"

#define H2_BLOCK_MAX 65536      /* bytes of a header list */
#define H2_REQUEST_NV (MESSAGE_FIELDS_MAX + 16)

/** How many bytes h2_request() writes at most. */
size_t h2_request_room(const member_ask_t *ask);
/**
 * @param scheme  "http", "https"
 * @param nv      H2_REQUEST_NV of them; they borrow from `room`, `ask` and what it points to
 * @return how many
 */
size_t h2_request(const member_ask_t *ask, const char *scheme, char *room, nghttp2_nv *nv);
/** Fields that follow the body. @param room as large as their names  @return as h2_request(); 0: there is nothing to be sent */
size_t h2_request_trailers(const fields_t *trailers, char *room, nghttp2_nv *nv);

typedef struct {
    uint32_t name, name_len, value, value_len; /* in bytes */
} h2_block_line_t;

/* A header list while it comes in: one at a time per connection. */
typedef struct {
    char *bytes;
    size_t len, room;
    h2_block_line_t line[MESSAGE_FIELDS_MAX];
    uint32_t count;
    uint16_t status;            /* 0: none */
    uint8_t broken;             /* too large, or no memory */
} h2_block_t;

void h2_block_begin(h2_block_t *block);
void h2_block_add(h2_block_t *block, const char *name, size_t name_len, const char *value, size_t value_len);
/**
 * The head of an answer.
 * @param ended  END_STREAM: no body follows
 * @param head   head->fields.field is set to MESSAGE_FIELDS_MAX of them before
 */
void h2_block_answer(h2_block_t *block, method_e asked, int ended, answer_head_t *head);
/**
 * Before h2_block_answer(): the answer is to a WebSocket. A success becomes what HTTP/1.1 says in its place.
 * @param accept  Sec-WebSocket-Accept
 */
void h2_block_websocket(h2_block_t *block, const char *accept);
void h2_block_trailers(h2_block_t *block, fields_t *trailers);
void h2_block_end(h2_block_t *block);

#endif
