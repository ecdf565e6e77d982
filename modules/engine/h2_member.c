/* h2_member.c - see h2_member.h. */

#include <stdlib.h>
#include <string.h>

#include "h1_parse.h"
#include "h1_write.h"
#include "h2_member.h"
#include "member_ask.h"

#define LITERAL(text) (span_t){ text, sizeof(text) - 1 }

/* --- requests --- */

static void add(nghttp2_nv *nv, span_t name, span_t value)
{
    *nv = (nghttp2_nv){ (uint8_t *)name.at, (uint8_t *)(value.at ? value.at : ""), name.len, value.len, NGHTTP2_NV_FLAG_NONE };
}

static span_t lower(span_t name, char **room)
{
    char *to = *room;
    uint32_t i;

    for (i = 0; i < name.len; i++) {
        to[i] = name.at[i] >= 'A' && name.at[i] <= 'Z' ? (char)(name.at[i] + 32) : name.at[i];
    }
    *room += name.len;
    return (span_t){ to, name.len };
}

static void put(char **room, span_t text)
{
    if (text.len) {
        memcpy(*room, text.at, text.len);
        *room += text.len;
    }
}

size_t h2_request_room(const member_ask_t *ask)
{
    size_t room = 20, i; /* a length's digits */

    for (i = 0; i < ask->fields->count; i++) {
        room += ask->fields->field[i].name.len + ask->fields->field[i].value.len + 2;
    }
    for (i = 0; i < MEMBER_ASK_ADDED; i++) {
        room += member_ask_addition(ask, member_ask_added[i]).len + 2 + strlen(field_name(member_ask_added[i]));
    }
    return room;
}

/* One name's value: that of its first line, if there is no other and nothing of ours. */
static span_t joined(const member_ask_t *ask, const field_t *f, char **room)
{
    span_t ours = member_ask_addition(ask, f->known), between = f->known == FIELD_COOKIE ? LITERAL("; ") : LITERAL(", ");
    const field_t *next = fields_next(ask->fields, f);
    char *begin = *room;

    if (!next && !ours.at) {
        return f->value;
    }
    put(room, f->value);
    for (; next; next = fields_next(ask->fields, next)) {
        put(room, between);
        put(room, next->value);
    }
    if (ours.at) {
        put(room, between);
        put(room, ours);
    }
    return (span_t){ begin, (uint32_t)(*room - begin) };
}

/* What of a WebSocket's head HTTP/2 does without (RFC 8441, 5). */
static int is_of_handshake(const member_ask_t *ask, const field_t *f)
{
    return ask->upgrade.at && f->known == FIELD_OTHER && span_is(f->name, "sec-websocket-key");
}

size_t h2_request(const member_ask_t *ask, const char *scheme, char *room, nghttp2_nv *nv)
{
    const fields_t *fields = ask->fields;
    size_t count = 0, i;

    add(&nv[count++], LITERAL(":method"), ask->upgrade.at ? LITERAL("CONNECT") : ask->method);
    if (ask->upgrade.at) {
        add(&nv[count++], LITERAL(":protocol"), LITERAL("websocket"));
    }
    add(&nv[count++], LITERAL(":scheme"), (span_t){ scheme, (uint32_t)strlen(scheme) });
    add(&nv[count++], LITERAL(":authority"), ask->host);
    add(&nv[count++], LITERAL(":path"), ask->target);
    for (i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        if (f->known != FIELD_EXPECT && !is_of_handshake(ask, f) && member_ask_goes(ask, f) && member_ask_is_first(fields, (uint32_t)i)) {
            span_t name = lower(f->name, &room);

            add(&nv[count++], name, joined(ask, f, &room));
        }
    }
    for (i = 0; i < MEMBER_ASK_ADDED; i++) {
        span_t ours = member_ask_addition(ask, member_ask_added[i]);
        const char *name = field_name(member_ask_added[i]);

        if (ours.at && member_ask_is_new(ask, member_ask_added[i])) {
            add(&nv[count++], lower((span_t){ name, (uint32_t)strlen(name) }, &room), ours);
        }
    }
    if (ask->body == BODY_LENGTH && !ask->upgrade.at) {
        add(&nv[count++], LITERAL("content-length"), (span_t){ room, (uint32_t)h1_number(room, ask->length) });
    }
    add(&nv[count++], LITERAL("te"), LITERAL("trailers"));
    return count;
}

/* What must not stand there: RFC 9110, 6.5.1. */
static int is_trailer(const field_t *f)
{
    switch (f->known) {
    case FIELD_AUTHORIZATION:
    case FIELD_CONTENT_ENCODING:
    case FIELD_CONTENT_LENGTH:
    case FIELD_CONTENT_RANGE:
    case FIELD_CONTENT_TYPE:
    case FIELD_EXPECT:
    case FIELD_HOST:
        return 0;
    default:
        return !f->hop && f->name.len > 0 && f->name.at[0] != ':';
    }
}

size_t h2_request_trailers(const fields_t *trailers, char *room, nghttp2_nv *nv)
{
    size_t count = 0;
    uint32_t i;

    for (i = 0; i < trailers->count; i++) {
        if (is_trailer(&trailers->field[i])) {
            add(&nv[count++], lower(trailers->field[i].name, &room), trailers->field[i].value);
        }
    }
    return count;
}

/* --- header lists that come in --- */

void h2_block_begin(h2_block_t *block)
{
    block->len = 0;
    block->count = 0;
    block->status = 0;
    block->broken = 0;
}

void h2_block_end(h2_block_t *block)
{
    free(block->bytes);
    block->bytes = NULL;
    block->room = 0;
}

static int make_room(h2_block_t *block, size_t more)
{
    size_t want = block->len + more;
    char *grown;

    if (want <= block->room) {
        return 1;
    }
    if (want > H2_BLOCK_MAX) {
        return 0;
    }
    want = want < 1024 ? 1024 : want * 2;
    grown = realloc(block->bytes, want);
    if (!grown) {
        return 0;
    }
    block->bytes = grown;
    block->room = want;
    return 1;
}

static void note_status(h2_block_t *block, const char *value, size_t len)
{
    uint64_t status;

    block->status = 0;
    if (len == 3 && h1_length((span_t){ value, 3 }, &status)) {
        block->status = (uint16_t)status;
    }
}

/* As HTTP/1.1 spells it: clients that look at the case of names are many. */
static void capital(char *name, size_t len)
{
    int first = 1;
    size_t i;

    for (i = 0; i < len; i++) {
        name[i] = first && name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 32) : name[i];
        first = name[i] == '-';
    }
}

void h2_block_add(h2_block_t *block, const char *name, size_t name_len, const char *value, size_t value_len)
{
    h2_block_line_t *line;

    if (block->broken) {
        return;
    }
    if (name_len > 0 && name[0] == ':') {
        if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
            note_status(block, value, value_len);
        }
        return;
    }
    if (block->count == MESSAGE_FIELDS_MAX || !make_room(block, name_len + value_len)) {
        block->broken = 1;
        return;
    }
    line = &block->line[block->count++];
    *line = (h2_block_line_t){ (uint32_t)block->len, (uint32_t)name_len, (uint32_t)(block->len + name_len), (uint32_t)value_len };
    memcpy(block->bytes + line->name, name, name_len);
    capital(block->bytes + line->name, name_len);
    if (value_len) {
        memcpy(block->bytes + line->value, value, value_len);
    }
    block->len += name_len + value_len;
}

/* Of the member's connection, or of its place: where else it listens is not for clients. */
static int is_hop(const field_t *f)
{
    switch (f->known) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
        return 1;
    case FIELD_OTHER:
        return f->name.len == 7 && span_is(f->name, "Alt-Svc");
    default:
        return 0;
    }
}

static int stands(const fields_t *fields, const field_t *f)
{
    uint32_t i;

    if (f->known != FIELD_OTHER) {
        return fields->first[f->known] != 0;
    }
    for (i = 0; i < fields->count; i++) {
        if (fields->field[i].known == FIELD_OTHER && spans_equal(fields->field[i].name, f->name)) {
            return 1;
        }
    }
    return 0;
}

static void fill(const h2_block_t *block, fields_t *fields)
{
    field_t *field = fields->field;
    uint32_t i;

    memset(fields, 0, sizeof *fields);
    fields->field = field;
    for (i = 0; i < block->count; i++) {
        const h2_block_line_t *line = &block->line[i];
        field_t *f = &field[i];

        f->name = (span_t){ block->bytes + line->name, line->name_len };
        f->value = (span_t){ block->bytes + line->value, line->value_len };
        f->known = (uint8_t)field_of(f->name.at, f->name.len);
        f->hop = (uint8_t)is_hop(f);
        fields->repeated |= stands(fields, f);
        if (f->known != FIELD_OTHER && !fields->first[f->known]) {
            fields->first[f->known] = (uint16_t)(i + 1);
        }
        fields->count = i + 1;
    }
}

void h2_block_websocket(h2_block_t *block, const char *accept)
{
    if (block->status >= 200 && block->status < 300) {
        block->status = 101;
        h2_block_add(block, "upgrade", 7, "websocket", 9);
        h2_block_add(block, "sec-websocket-accept", 20, accept, strlen(accept));
    }
}

void h2_block_answer(h2_block_t *block, method_e asked, int ended, answer_head_t *head)
{
    field_t *room = head->fields.field;
    const field_t *length;

    memset(head, 0, sizeof *head);
    head->fields.field = room;
    fill(block, &head->fields);
    head->status = block->status;
    head->major = 2;
    head->keep_alive = 1;
    head->length = UINT64_MAX;
    length = fields_known(&head->fields, FIELD_CONTENT_LENGTH);
    if (length && !h1_length(length->value, &head->length)) {
        head->length = UINT64_MAX;
    }
    if (ended || block->status < 200 || asked == METHOD_HEAD || block->status == 204 || block->status == 304) {
        head->body = BODY_NONE;
    }
    else {
        head->body = head->length == UINT64_MAX ? BODY_STREAM : BODY_LENGTH;
    }
}

void h2_block_trailers(h2_block_t *block, fields_t *trailers)
{
    fill(block, trailers);
}
