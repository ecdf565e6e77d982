/*
 * fuzz_h2_member.c - header lists for members that speak HTTP/2, and theirs.
 *
 * Input: one byte (END_STREAM; HEAD), then bytes that are read twice: as an HTTP/1.1 request that is asked of a member, and as lines
 * "name TAB value LF" of a header list that a member sent. Checked besides memory: a request fits into the room asked for, its names are in
 * lower case and none of a connection's, its pseudo fields come first; an answer has its fields in order, each found where it is said to be.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "h1_parse.h"
#include "h2_member.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static field_t fields[MESSAGE_FIELDS_MAX];

static void demand(int holds)
{
    if (!holds) {
        abort();
    }
}

static int is_name(const nghttp2_nv *nv, const char *name)
{
    return nv->namelen == strlen(name) && memcmp(nv->name, name, nv->namelen) == 0;
}

static void check_request(const char *text, size_t len)
{
    static const h1_limits_t limits = { 1 << 20, 1 << 20, 0 };
    static nghttp2_nv nv[H2_REQUEST_NV];
    request_head_t head = { .fields.field = fields };
    member_ask_t ask = { .fields = &head.fields, .host = { "m", 1 }, .via = { "1.1 a", 5 }, .forwarded_for = { "::1", 3 } };
    size_t room, count, i, k;
    char *bytes;

    if (h1_request(text, len, &limits, &head) <= 0) {
        return;
    }
    ask.method = head.method;
    ask.target = head.target;
    ask.expect_continue = head.expect_continue;
    ask.body = head.body;
    ask.length = head.length;
    room = h2_request_room(&ask);
    bytes = malloc(room + 1);
    count = h2_request(&ask, "https", bytes, nv);
    demand(count >= 5 && count <= H2_REQUEST_NV);
    for (i = 0; i < count; i++) {
        demand(nv[i].namelen > 0 && (nv[i].name[0] == ':') == (i < 4));
        for (k = 0; k < nv[i].namelen; k++) {
            demand(nv[i].name[k] < 'A' || nv[i].name[k] > 'Z');
        }
        demand(!is_name(&nv[i], "connection") && !is_name(&nv[i], "transfer-encoding") && !is_name(&nv[i], "upgrade")
               && !is_name(&nv[i], "keep-alive") && !is_name(&nv[i], "host") && !is_name(&nv[i], "expect"));
    }
    demand(is_name(&nv[count - 1], "te"));
    free(bytes);
}

static void fill(h2_block_t *block, const char *at, const char *end)
{
    while (at < end) {
        const char *next = memchr(at, '\n', (size_t)(end - at)), *line_end = next ? next : end;
        const char *tab = memchr(at, '\t', (size_t)(line_end - at));
        const char *value = tab ? tab + 1 : line_end;

        h2_block_add(block, at, (size_t)((tab ? tab : line_end) - at), value, (size_t)(line_end - value));
        at = next ? next + 1 : end;
    }
}

static void check_fields(const h2_block_t *block, const fields_t *found)
{
    uint32_t i;

    demand(found->count == block->count);
    for (i = 0; i < found->count; i++) {
        const field_t *f = &found->field[i];

        demand(f->name.at >= block->bytes && f->value.at + f->value.len <= block->bytes + block->len);
        if (f->known) {
            demand(found->first[f->known] != 0 && found->first[f->known] <= i + 1);
            demand(found->field[found->first[f->known] - 1].known == f->known);
        }
    }
}

static void check_answer(const char *lines, size_t len, int flags)
{
    static h2_block_t block;
    answer_head_t head = { .fields.field = fields };
    void *memory;

    h2_block_begin(&block);
    fill(&block, lines, lines + len);
    if (block.broken) {
        return;
    }
    h2_block_answer(&block, flags & 2 ? METHOD_HEAD : METHOD_GET, flags & 1, &head);
    demand(head.status < 1000);
    demand(head.body == BODY_NONE || (head.body == BODY_LENGTH) == (head.length != UINT64_MAX));
    check_fields(&block, &head.fields);
    memory = malloc(answer_head_size(&head) + 1);
    answer_head_copy(&head, &head, memory);
    free(memory);
    head.fields.field = fields;
    h2_block_trailers(&block, &head.fields);
    check_fields(&block, &head.fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    check_request((const char *)data + 1, size - 1);
    check_answer((const char *)data + 1, size - 1, data[0]);
    return 0;
}
