/*
 * fuzz_h2_head.c - header lists of HTTP/2 as HTTP/1.1 text, and answers' lines as header lists.
 *
 * Input: one byte (a body follows or not; there is a key for a WebSocket), then lines "name TAB value LF" as a header list in which anything may stand. Checked besides memory:
 * what is written fits into the room asked for, has one empty line, at its end, as many lines as it says, and what h1_request() makes of it
 * has one way to tell its length; as trailers they are read back whole. The same bytes are read as an answer's lines: names come out in lower case, none of a connection's among them.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "h1_parse.h"
#include "h2_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int holds)
{
    if (!holds) {
        abort();
    }
}

static void fill(h2_ask_t *ask, const char *at, const char *end)
{
    while (at < end) {
        const char *next = memchr(at, '\n', (size_t)(end - at)), *line_end = next ? next : end;
        const char *tab = memchr(at, '\t', (size_t)(line_end - at));
        const char *value = tab ? tab + 1 : line_end;

        h2_ask_field(ask, at, (size_t)((tab ? tab : line_end) - at), value, (size_t)(line_end - value));
        at = next ? next + 1 : end;
    }
}

static void check_text(const char *text, size_t len)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    static const h1_limits_t limits = { 1 << 20, 1 << 20, 0 };
    request_head_t head = { .fields.field = fields };
    int said;

    demand(len > 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0);
    demand(memmem(text, len - 1, "\r\n\r\n", 4) == NULL);
    for (size_t i = 0; i < len; i++) {
        demand(text[i] != '\0' && (text[i] != '\n' || (i > 0 && text[i - 1] == '\r')) && (text[i] != '\r' || text[i + 1] == '\n'));
    }
    said = h1_request(text, len, &limits, &head);
    demand(said == H1_CLASSIC || said == (int)len);
    if (said > 0) {
        demand(!fields_known(&head.fields, FIELD_CONTENT_LENGTH) || !fields_known(&head.fields, FIELD_TRANSFER_ENCODING));
    }
}

/* The same fields as trailers: h1_trailers() finds each of them. */
static void check_trailers(h2_ask_t *ask, const uint8_t *data, size_t size)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    static const h1_limits_t limits = { 1 << 20, 1 << 20, 0 };
    fields_t trailers = { .field = fields };
    size_t room, len;
    char *to;

    h2_ask_begin(ask);
    fill(ask, (const char *)data + 1, (const char *)data + size);
    room = h2_ask_room(ask);
    to = malloc(room);
    len = h2_ask_write_trailers(ask, to);
    demand(len <= room && (len > 0) == (ask->state == H2_HEAD_GOOD));
    if (len > 0) {
        demand(h1_trailers(to, len, &limits, 1, &trailers) == (int)len && trailers.count <= ask->count);
    }
    free(to);
}

static void ask(const uint8_t *data, size_t size)
{
    static h2_ask_t ask; /* as a connection uses one again and again */
    size_t room, len;
    char *to;

    h2_ask_begin(&ask);
    fill(&ask, (const char *)data + 1, (const char *)data + size);
    ask.key = data[0] & 4 ? "dGhlIHNhbXBsZSBub25jZQ==" : NULL;
    room = h2_ask_room(&ask);
    to = malloc(room);
    len = h2_ask_write(&ask, data[0] & 1, to);
    demand(len <= room && (len > 0) == (ask.state == H2_HEAD_GOOD));
    if (len > 0) {
        check_text(to, len);
    }
    free(to);
    check_trailers(&ask, data, size);
    if (data[0] & 2) {
        h2_ask_end(&ask);
    }
}

static void reply(const uint8_t *data, size_t size)
{
    static const char *const none[] = { "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade" };
    h2_reply_t reply;
    char *lines = malloc(size);

    memcpy(lines, data, size);
    h2_reply_lines(&reply, data[0] * 4, lines, size, data[0] & 1);
    h2_reply_length(&reply, UINT64_MAX, 1);
    demand(reply.count >= 1 && reply.count <= MESSAGE_FIELDS_MAX + 2 && reply.nv[0].valuelen == 3);
    for (size_t i = 1; i < reply.count; i++) {
        const char *name = (const char *)reply.nv[i].name;

        demand(reply.nv[i].namelen > 0 && memchr(reply.nv[i].value, '\n', reply.nv[i].valuelen) == NULL);
        for (size_t k = 0; k < reply.nv[i].namelen; k++) {
            demand(name[k] < 'A' || name[k] > 'Z');
        }
        for (size_t k = 0; k < sizeof none / sizeof none[0]; k++) {
            demand(reply.nv[i].namelen != strlen(none[k]) || memcmp(name, none[k], strlen(none[k])) != 0);
        }
    }
    free(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0) {
        ask(data, size);
        reply(data, size);
    }
    return 0;
}
