/* h2_head.c - see h2_head.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "h1_scan.h"
#include "h2_head.h"

/* --- requests --- */

void h2_ask_begin(h2_ask_t *ask)
{
    ask->len = 0;
    ask->count = 0;
    ask->method = ask->scheme = ask->authority = ask->path = ask->protocol = 0;
    ask->key = NULL;
    ask->state = H2_HEAD_GOOD;
}

void h2_ask_end(h2_ask_t *ask)
{
    free(ask->bytes);
    ask->bytes = NULL;
    ask->room = 0;
}

static int make_room(h2_ask_t *ask, size_t more)
{
    size_t want = ask->len + more;
    char *grown;

    if (want > H2_HEAD_MAX) {
        return 0;
    }
    if (want <= ask->room) {
        return 1;
    }
    want = want < 2048 ? 2048 : want * 2;
    grown = realloc(ask->bytes, want);
    if (!grown) {
        return 0;
    }
    ask->bytes = grown;
    ask->room = want;
    return 1;
}

/* No control character but HTAB; in a target and the like no space either. */
static int is_text(const char *at, size_t len, int spaces)
{
    return scan_text(at, at + len) == at + len && (spaces || (!memchr(at, ' ', len) && !memchr(at, '\t', len)));
}

static int is_name(const char *at, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (!(scan_class[(unsigned char)at[i]] & SCAN_TOKEN) || (at[i] >= 'A' && at[i] <= 'Z')) {
            return 0;
        }
    }
    return len > 0;
}

static int *place_of(h2_ask_t *ask, const char *name, size_t len)
{
    switch (len) {
    case 5:
        return memcmp(name, ":path", 5) == 0 ? &ask->path : NULL;
    case 7:
        return memcmp(name, ":method", 7) == 0 ? &ask->method : memcmp(name, ":scheme", 7) == 0 ? &ask->scheme : NULL;
    case 9:
        return memcmp(name, ":protocol", 9) == 0 ? &ask->protocol : NULL;
    case 10:
        return memcmp(name, ":authority", 10) == 0 ? &ask->authority : NULL;
    default:
        return NULL;
    }
}

static void note_pseudo(h2_ask_t *ask, const char *name, size_t len, const char *value, size_t value_len)
{
    int *place = place_of(ask, name, len);

    if (place && !*place && value_len > 0 && is_text(value, value_len, 0)) {
        *place = (int)ask->count + 1;
        return;
    }
    ask->state = H2_HEAD_BAD;
}

void h2_ask_field(h2_ask_t *ask, const char *name, size_t name_len, const char *value, size_t value_len)
{
    h2_line_t *line;

    if (ask->state != H2_HEAD_GOOD) {
        return;
    }
    if (ask->count == MESSAGE_FIELDS_MAX || !make_room(ask, name_len + value_len)) {
        ask->state = H2_HEAD_LARGE;
        return;
    }
    if (name_len > 0 && name[0] == ':') {
        note_pseudo(ask, name, name_len, value, value_len);
    }
    else if (!is_name(name, name_len) || !is_text(value, value_len, 1)) {
        ask->state = H2_HEAD_BAD;
    }
    line = &ask->line[ask->count++];
    *line = (h2_line_t){ (uint32_t)ask->len, (uint32_t)name_len, (uint32_t)(ask->len + name_len), (uint32_t)value_len };
    memcpy(ask->bytes + line->name, name, name_len);
    memcpy(ask->bytes + line->value, value, value_len);
    ask->len += name_len + value_len;
}

size_t h2_ask_room(const h2_ask_t *ask)
{
    /* the authority may be written twice: in the target, and as Host */
    return ask->len + 4 * (size_t)ask->count + (ask->authority ? ask->line[ask->authority - 1].value_len : 0) + 192;
}

static inline __attribute__((always_inline)) int is_line(const h2_ask_t *ask, const h2_line_t *line, const char *name)
{
    return line->name_len == strlen(name) && memcmp(ask->bytes + line->name, name, line->name_len) == 0;
}

static char *put(char *to, const char *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

static char *put_value(char *to, const h2_ask_t *ask, int place)
{
    const h2_line_t *line = &ask->line[place - 1];

    return put(to, ask->bytes + line->value, line->value_len);
}

static inline __attribute__((always_inline)) int value_is(const h2_ask_t *ask, int place, const char *value)
{
    const h2_line_t *line = place > 0 ? &ask->line[place - 1] : NULL;

    return line && line->value_len == strlen(value) && memcmp(ask->bytes + line->value, value, line->value_len) == 0;
}

h2_protocol_e h2_ask_protocol(const h2_ask_t *ask)
{
    if (!ask->protocol) {
        return H2_NO_PROTOCOL;
    }
    return value_is(ask, ask->protocol, "websocket") ? H2_WEBSOCKET : H2_OTHER_PROTOCOL;
}

static char *put_name(char *to, const char *name, size_t len)
{
    int first = 1;
    size_t i;

    for (i = 0; i < len; i++) {
        *to++ = first && name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 32) : name[i];
        first = name[i] == '-';
    }
    return put(to, ": ", 2);
}

/* Crumbs are one line in HTTP/1.1. */
static char *put_cookies(char *to, const h2_ask_t *ask, uint32_t first)
{
    uint32_t i;
    char *begin = put(to, "Cookie: ", 8);

    to = begin;
    for (i = first; i < ask->count; i++) {
        if (is_line(ask, &ask->line[i], "cookie")) {
            to = to == begin ? to : put(to, "; ", 2);
            to = put_value(to, ask, (int)i + 1);
        }
    }
    return put(to, "\r\n", 2);
}

static int is_chunked(const h2_ask_t *ask, int has_body)
{
    uint32_t i;

    for (i = 0; has_body && i < ask->count; i++) {
        if (is_line(ask, &ask->line[i], "content-length")) {
            return 0;
        }
    }
    return has_body;
}

static char *put_field(char *to, const h2_ask_t *ask, const h2_line_t *line)
{
    to = put_name(to, ask->bytes + line->name, line->name_len);
    to = put(to, ask->bytes + line->value, line->value_len);
    return put(to, "\r\n", 2);
}

/* What of a WebSocket's head is ours to say. */
static int is_of_handshake(const h2_ask_t *ask, const h2_line_t *line)
{
    return is_line(ask, line, "sec-websocket-key") || is_line(ask, line, "content-length") || is_line(ask, line, "expect");
}

static char *put_fields(char *to, const h2_ask_t *ask)
{
    int cookies = 0, handshake = h2_ask_protocol(ask) == H2_WEBSOCKET;
    uint32_t i;

    for (i = 0; i < ask->count; i++) {
        const h2_line_t *line = &ask->line[i];
        const char *name = ask->bytes + line->name;

        if (name[0] == ':' || (ask->authority && is_line(ask, line, "host")) || (handshake && is_of_handshake(ask, line))) {
            continue;
        }
        if (is_line(ask, line, "cookie")) {
            to = cookies ? to : put_cookies(to, ask, i);
            cookies = 1;
            continue;
        }
        to = put_field(to, ask, line);
    }
    return to;
}

/* RFC 9113, 8.3.1 and 8.5; RFC 8441, 4. */
static int has_what_it_needs(const h2_ask_t *ask, int connects)
{
    if (!ask->method || (ask->protocol && !connects)) {
        return 0;
    }
    if (ask->protocol) {
        return ask->scheme && ask->authority && ask->path;
    }
    return connects ? ask->authority != 0 : ask->path != 0;
}

static char *put_target(char *to, const h2_ask_t *ask, int connects)
{
    if (connects) {
        return put_value(to, ask, ask->authority);
    }
    if (ask->scheme && ask->authority && !value_is(ask, ask->scheme, "http") && !value_is(ask, ask->scheme, "https")) {
        to = put(put_value(to, ask, ask->scheme), "://", 3);
        to = put_value(to, ask, ask->authority);
    }
    return put_value(to, ask, ask->path);
}

size_t h2_ask_write(h2_ask_t *ask, int has_body, char *to)
{
    static const char handshake[] = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ";
    char *begin = to;
    int connects = value_is(ask, ask->method, "CONNECT");
    h2_protocol_e protocol = h2_ask_protocol(ask);

    if (ask->state == H2_HEAD_GOOD && (!has_what_it_needs(ask, connects) || (protocol == H2_WEBSOCKET && !ask->key))) {
        ask->state = H2_HEAD_BAD;
    }
    if (ask->state != H2_HEAD_GOOD) {
        return 0;
    }
    to = protocol ? put(to, "GET", 3) : put_value(to, ask, ask->method);
    to = put(to, " ", 1);
    to = put_target(to, ask, connects && !protocol);
    to = put(to, " HTTP/1.1\r\n", 11);
    if (ask->authority) {
        to = put(to, "Host: ", 6);
        to = put_value(to, ask, ask->authority);
        to = put(to, "\r\n", 2);
    }
    if (protocol == H2_WEBSOCKET) {
        to = put(to, handshake, sizeof handshake - 1);
        to = put(to, ask->key, strlen(ask->key));
        to = put(to, "\r\n", 2);
    }
    to = put_fields(to, ask);
    if (protocol == H2_NO_PROTOCOL && is_chunked(ask, has_body)) {
        to = put(to, "Transfer-Encoding: chunked\r\n", 28);
    }
    to = put(to, "\r\n", 2);
    return (size_t)(to - begin);
}

size_t h2_ask_write_trailers(h2_ask_t *ask, char *to)
{
    static const char *const not_here[] = { "content-length", "transfer-encoding", "host", "connection", "te", "trailer", NULL };
    char *begin = to;
    uint32_t i;
    int k;

    if (ask->method || ask->scheme || ask->authority || ask->path || ask->protocol) {
        ask->state = H2_HEAD_BAD;
    }
    if (ask->state != H2_HEAD_GOOD) {
        return 0;
    }
    for (i = 0; i < ask->count; i++) {
        for (k = 0; not_here[k] && !is_line(ask, &ask->line[i], not_here[k]); k++) {
        }
        to = not_here[k] ? to : put_field(to, ask, &ask->line[i]);
    }
    to = put(to, "\r\n", 2);
    return (size_t)(to - begin);
}

/* --- answers --- */

static inline __attribute__((always_inline)) int is_word(const char *at, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(at, word, len) == 0;
}

/* Fields that HTTP/2 does not have (RFC 9113, 8.2.2). */
static int is_of_connection(const char *name, size_t len)
{
    switch (name[0] | 0x20) {
    case 'c':
        return is_word(name, len, "connection");
    case 'k':
        return is_word(name, len, "keep-alive");
    case 'p':
        return is_word(name, len, "proxy-connection");
    case 't':
        return is_word(name, len, "transfer-encoding");
    case 'u':
        return is_word(name, len, "upgrade");
    default:
        return 0;
    }
}

static void add(h2_reply_t *reply, char *name, size_t name_len, char *value, size_t value_len, int copied)
{
    nghttp2_nv *nv = &reply->nv[reply->count++];

    nv->name = (uint8_t *)name;
    nv->namelen = name_len;
    nv->value = (uint8_t *)value;
    nv->valuelen = value_len;
    nv->flags = copied ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
}

static void lower(char *name, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    }
}

static void add_line(h2_reply_t *reply, char *line, size_t len, int copied)
{
    char *colon = memchr(line, ':', len), *value;
    size_t name_len = colon ? (size_t)(colon - line) : 0;

    if (!name_len || is_of_connection(line, name_len) || reply->count >= MESSAGE_FIELDS_MAX) {
        return;
    }
    if (name_len == 8 && (line[0] | 0x20) == 'p' && is_word(line, name_len, "priority")) {
        reply->priority = reply->count;
    }
    value = colon + 1;
    len -= name_len + 1;
    while (len > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        len--;
    }
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
        len--;
    }
    lower(line, name_len);
    add(reply, line, name_len, value, len, copied);
}

static void put_status(char *to, int status)
{
    to[0] = (char)('0' + status / 100 % 10);
    to[1] = (char)('0' + status / 10 % 10);
    to[2] = (char)('0' + status % 10);
}

void h2_reply_lines(h2_reply_t *reply, int status, char *lines, size_t len, int copied)
{
    char *end = lines + len, *line = memchr(lines, '\n', len);

    reply->count = reply->priority = 0;
    put_status(reply->status, status);
    add(reply, ":status", 7, reply->status, 3, copied);
    for (line = line ? line + 1 : end; line < end;) {
        char *next = memchr(line, '\n', (size_t)(end - line));
        size_t n = (size_t)((next ? next : end) - line);

        n -= n > 0 && line[n - 1] == '\r';
        if (n == 0) {
            return;
        }
        add_line(reply, line, n, copied);
        line = next ? next + 1 : end;
    }
}

void h2_reply_length(h2_reply_t *reply, uint64_t length, int copied)
{
    size_t i;

    for (i = 1; i < reply->count; i++) {
        if (reply->nv[i].namelen == 14 && memcmp(reply->nv[i].name, "content-length", 14) == 0) {
            return;
        }
    }
    snprintf(reply->length, sizeof reply->length, "%llu", (unsigned long long)length);
    add(reply, "content-length", 14, reply->length, strlen(reply->length), copied);
}

void h2_reply_drop(h2_reply_t *reply, const char *name)
{
    size_t i, kept = 1, len = strlen(name);

    for (i = 1; i < reply->count; i++) {
        if (reply->nv[i].namelen != len || memcmp(reply->nv[i].name, name, len) != 0) {
            reply->nv[kept++] = reply->nv[i];
        }
    }
    reply->count = kept;
}

static void move_last(h2_reply_t *reply, const char *name)
{
    size_t i, len = strlen(name);

    for (i = 1; i < reply->count; i++) {
        if (reply->nv[i].namelen == len && memcmp(reply->nv[i].name, name, len) == 0) {
            nghttp2_nv moved = reply->nv[i];

            memmove(&reply->nv[i], &reply->nv[i + 1], (reply->count - i - 1) * sizeof moved);
            reply->nv[reply->count - 1] = moved;
            return;
        }
    }
}

void h2_reply_order(h2_reply_t *reply)
{
    move_last(reply, "date");
    move_last(reply, "server");
}

void h2_reply_trailers(h2_reply_t *reply, const fields_t *trailers, char *names)
{
    uint32_t i;

    reply->count = 0;
    for (i = 0; i < trailers->count && i < MESSAGE_FIELDS_MAX; i++) {
        const field_t *f = &trailers->field[i];

        if (f->hop || is_of_connection(f->name.at, f->name.len)) {
            continue;
        }
        memcpy(names, f->name.at, f->name.len);
        lower(names, f->name.len);
        add(reply, names, f->name.len, (char *)f->value.at, f->value.len, 1);
        names += f->name.len;
    }
}
