/*
 * fuzz_h1_answer.c - h1_answer() over any bytes a member may send, and what a client would get of it.
 *
 * Input: one byte that chooses the request's method, then the bytes. Checked besides memory: an accepted head is accepted with nothing behind
 * it; what is written for the client is itself a head that can be read, without line breaks or controls in it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#include "h1_parse.h"
#include "h1_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int holds)
{
    if (!holds) {
        abort();
    }
}

static int same_length(const answer_head_t *a, const answer_head_t *b)
{
    return a->status == b->status && a->body == b->body && a->length == b->length;
}

static void write_and_read(const answer_head_t *head, method_e method)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    h1_reply_t reply = { .method = method, .date = { "Mon, 23 Nov 2026 15:58:41 GMT", 29 }, .server = { "gate", 4 } };
    h1_ending_t ending = { .keep_alive = 1, .frame = head->body == BODY_CHUNKED || head->body == BODY_CLOSE ? H1_FRAME_CHUNKED : H1_FRAME_AS_IS };
    size_t room = head->status < 200 ? h1_interim_room(head) : h1_reply_room(head, &reply), len;
    answer_head_t again;
    char *to = malloc(room + H1_ENDING_ROOM);
    int said;

    if (head->status < 200) {
        len = h1_interim_write(to, head);
        demand(len <= room);
    }
    else {
        len = h1_reply_write(to, head, &reply);
        demand(len <= room);
        len += h1_ending_write(to + len, &ending);
    }
    again.fields.field = fields;
    said = h1_answer(to, len, method, &again);
    if (said < 0) {
        /* Date, Server, framing or what 101 needs is more than there is room for; a date that became longer, likewise */
        demand(head->fields.count > MESSAGE_FIELDS_MAX - 4 || len > H1_ANSWER_LINE_MAX);
    }
    else {
        demand(said == (int)len && again.status == head->status);
        demand(head->status < 200 || same_length(head, &again) || head->body == BODY_CLOSE || head->body == BODY_NONE);
    }
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    answer_head_t head = { .fields.field = fields };
    method_e method;
    size_t len;
    char *copy;
    int said;

    if (size == 0) {
        return 0;
    }
    method = data[0] & 1 ? METHOD_HEAD : METHOD_GET;
    len = size - 1;
    copy = malloc(len ? len : 1);
    memcpy(copy, data + 1, len);
    said = h1_answer(copy, len, method, &head);
    if (said > 0) {
        demand((size_t)said <= len && (uint32_t)said == head.head_bytes && head.status >= 100 && head.status <= 999);
        for (uint32_t i = 0; i < head.fields.count; i++) {
            const field_t *f = &head.fields.field[i];

            demand(f->name.len > 0 && f->name.at >= copy && f->value.at + f->value.len <= copy + said);
            demand(!memchr(f->value.at, '\n', f->value.len) && !memchr(f->value.at, '\r', f->value.len) && !memchr(f->value.at, '\0', f->value.len));
        }
        demand(!head.upgraded || head.status == 101);
        write_and_read(&head, method);
    }
    free(copy);
    copy = malloc(len ? len : 1);
    memcpy(copy, data + 1, len);
    if (said > 0) {
        head.fields.field = fields;
        demand(h1_answer(copy, (size_t)said - 1, method, &head) == H1_MORE);
    }
    free(copy);
    return 0;
}
