/*
 * fuzz_h1_request.c - h1_request() over any bytes.
 *
 * Input: one byte that chooses the limits, then what a client sends. Checked besides memory: a head that is accepted is accepted with nothing
 * behind it and is not there a byte earlier; what was read stands within it; writing it down for a member and reading that gives the same
 * method, target and names again, and one way to tell its length.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "h1_parse.h"
#include "h1_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int holds)
{
    if (!holds) {
        abort();
    }
}

static void inside(span_t span, const char *at, size_t len)
{
    demand(span.at >= at && span.at + span.len <= at + len);
}

static int parse(const char *at, size_t len, const h1_limits_t *limits, request_head_t *head, field_t *fields)
{
    char *copy = malloc(len ? len : 1);
    int said;

    /* exactly as long as the input, so that a sanitizer sees a read past it */
    memcpy(copy, at, len);
    head->fields.field = fields;
    said = h1_request(copy, len, limits, head);
    free(copy);
    return said;
}

static void write_and_read(const request_head_t *head)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    static const h1_limits_t limits = { 1 << 20, 1 << 20, 0 };
    member_ask_t ask = { .method = head->method, .target = head->target, .fields = &head->fields, .host = { "member", 6 }, .via = { "1.1 gate", 8 },
                     .forwarded_for = { "::1", 3 }, .forwarded_host = head->host, .forwarded_server = { "gate", 4 }, .body = head->body,
                     .length = head->length, .expect_continue = head->expect_continue };
    size_t room = h1_ask_room(&ask), len;
    request_head_t again;
    char *to = malloc(room);
    int said;

    len = h1_ask_write(to, &ask);
    demand(len <= room);
    again.fields.field = fields;
    said = h1_request(to, len, &limits, &again);
    if (said == H1_CLASSIC && head->fields.count > MESSAGE_FIELDS_MAX - 8) {
        free(to); /* what was added is too much */
        return;
    }
    demand(said == (int)len);
    demand(again.method.len == head->method.len && memcmp(again.method.at, head->method.at, head->method.len) == 0);
    demand(again.target.len == head->target.len && memcmp(again.target.at, head->target.at, head->target.len) == 0);
    demand(again.body == (head->body == BODY_NONE ? BODY_NONE : head->body) && again.length == head->length);
    for (uint32_t i = 0; i < again.fields.count; i++) {
        demand(!again.fields.field[i].hop || again.fields.field[i].known == FIELD_CONNECTION || again.fields.field[i].known == FIELD_TRANSFER_ENCODING);
        demand(!fields_next(&again.fields, &again.fields.field[i]));
    }
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    const char *at = (const char *)data + 1;
    request_head_t head;
    h1_limits_t limits;
    size_t len = size - 1;
    int said;

    if (size == 0) {
        return 0;
    }
    limits = (h1_limits_t){ data[0] & 1 ? 64 : 8190, data[0] & 2 ? 64 : 8190, data[0] & 4 ? 5 : 100 };
    said = parse(at, len, &limits, &head, fields);
    if (said <= 0) {
        return 0;
    }
    demand((size_t)said <= len && (uint32_t)said == head.head_bytes);
    demand(parse(at, (size_t)said - 1, &limits, &head, fields) == H1_MORE);
    head.fields.field = fields;
    demand(h1_request(at, (size_t)said, &limits, &head) == said);
    inside(head.method, at, (size_t)said);
    inside(head.target, at, (size_t)said);
    demand(head.path.at == head.target.at && head.path.len <= head.target.len);
    demand(!head.query.at || head.path.len + 1 + head.query.len == head.target.len);
    demand(head.line.len <= limits.line_bytes && (!limits.fields || head.fields.count <= limits.fields));
    for (uint32_t i = 0; i < head.fields.count; i++) {
        inside(head.fields.field[i].name, at, (size_t)said);
        inside(head.fields.field[i].value, at, (size_t)said);
        demand(head.fields.field[i].known == field_of(head.fields.field[i].name.at, head.fields.field[i].name.len));
    }
    demand(head.body == BODY_NONE || !fields_known(&head.fields, FIELD_CONTENT_LENGTH) || !fields_known(&head.fields, FIELD_TRANSFER_ENCODING));
    write_and_read(&head);
    return 0;
}
