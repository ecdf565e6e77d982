/* test_h2_member.c - heads for members that speak HTTP/2, and theirs for us. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h1_parse.h"
#include "h2_member.h"

#define SPAN(text) (span_t){ text, sizeof(text) - 1 }

static field_t room_for_fields[MESSAGE_FIELDS_MAX];

/* The request that h1_request() reads of it. */
static request_head_t head_of(const char *text)
{
    static const h1_limits_t limits = { 8190, 8190, 100 };
    request_head_t head;

    head.fields.field = room_for_fields;
    assert_true(h1_request(text, strlen(text), &limits, &head) > 0);
    return head;
}

static member_ask_t ask_of(const request_head_t *head)
{
    return (member_ask_t){ .method = head->method, .known = head->known, .target = head->target, .fields = &head->fields, .host = SPAN("m:50051"),
                           .body = head->body, .length = head->length };
}

/* As lines, in the order they are sent. */
static void says(const member_ask_t *ask, const char *expected)
{
    static nghttp2_nv nv[H2_REQUEST_NV];
    size_t room = h2_request_room(ask), count, i;
    char *bytes = malloc(room + 1), text[4096] = "";

    bytes[room] = 'Q';
    count = h2_request(ask, "http", bytes, nv);
    assert_int_equal(bytes[room], 'Q');
    for (i = 0; i < count; i++) {
        sprintf(text + strlen(text), "%.*s: %.*s\n", (int)nv[i].namelen, (char *)nv[i].name, (int)nv[i].valuelen, (char *)nv[i].value);
    }
    assert_string_equal(text, expected);
    free(bytes);
}

static void test_a_request(void **state)
{
    request_head_t head = head_of("GET /a?b HTTP/1.1\r\nHost: www\r\nX-One: 1\r\nAccept: */*\r\nCookie: a=1\r\nX-one: 2\r\nCookie: b=2\r\n\r\n");
    member_ask_t ask = ask_of(&head);

    (void)state;
    ask.via = SPAN("1.1 gate");
    ask.forwarded_for = SPAN("192.0.2.1");
    says(&ask, ":method: GET\n:scheme: http\n:authority: m:50051\n:path: /a?b\nx-one: 1, 2\naccept: */*\ncookie: a=1; b=2\n"
               "via: 1.1 gate\nx-forwarded-for: 192.0.2.1\nte: trailers\n");
}

static void test_what_is_for_one_connection(void **state)
{
    request_head_t head = head_of("POST / HTTP/1.1\r\nHost: www\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nProxy-Connection: x\r\n"
                                  "Transfer-Encoding: chunked\r\nVia: 1.0 a\r\nX-Forwarded-For: 198.51.100.1\r\nExpect: 100-continue\r\n\r\n");
    member_ask_t ask = ask_of(&head);

    (void)state;
    ask.via = SPAN("1.1 gate");
    ask.forwarded_for = SPAN("192.0.2.1");
    ask.expect_continue = 1;
    says(&ask, ":method: POST\n:scheme: http\n:authority: m:50051\n:path: /\nvia: 1.0 a, 1.1 gate\n"
               "x-forwarded-for: 198.51.100.1, 192.0.2.1\nte: trailers\n");
    ask.via = (span_t){ NULL, 0 };
    ask.via_block = 1;
    ask.forwarded_for = (span_t){ NULL, 0 };
    says(&ask, ":method: POST\n:scheme: http\n:authority: m:50051\n:path: /\nx-forwarded-for: 198.51.100.1\nte: trailers\n");
}

static void test_a_length(void **state)
{
    request_head_t head = head_of("PUT /x HTTP/1.1\r\nHost: www\r\nContent-Length: 12\r\n\r\n");
    member_ask_t ask = ask_of(&head);

    (void)state;
    ask.body = BODY_LENGTH;
    ask.length = 18446744073709551614u;
    says(&ask, ":method: PUT\n:scheme: http\n:authority: m:50051\n:path: /x\ncontent-length: 18446744073709551614\nte: trailers\n");
}

/* RFC 8441, 5 */
static void test_a_websocket(void **state)
{
    request_head_t head = head_of("GET /chat HTTP/1.1\r\nHost: www\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                  "Sec-WebSocket-Version: 13\r\n\r\n");
    member_ask_t ask = ask_of(&head);
    h2_block_t block = { 0 };
    answer_head_t answer;

    (void)state;
    says(&ask, ":method: GET\n:scheme: http\n:authority: m:50051\n:path: /chat\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n"
               "sec-websocket-version: 13\nte: trailers\n");
    ask.upgrade = SPAN("websocket");
    says(&ask, ":method: CONNECT\n:protocol: websocket\n:scheme: http\n:authority: m:50051\n:path: /chat\nsec-websocket-version: 13\nte: trailers\n");
    for (int status = 200; status < 500; status += 204) {
        char digits[4];

        sprintf(digits, "%d", status);
        h2_block_begin(&block);
        h2_block_add(&block, ":status", 7, digits, 3);
        h2_block_websocket(&block, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        answer.fields.field = room_for_fields;
        h2_block_answer(&block, METHOD_GET, 0, &answer);
        assert_int_equal(answer.status, status == 200 ? 101 : status);
        assert_int_equal(answer.fields.count, status == 200 ? 2 : 0);
        assert_int_equal(answer.fields.first[FIELD_UPGRADE], status == 200);
        assert_int_equal(answer.body, status == 200 ? BODY_NONE : BODY_STREAM);
    }
    assert_memory_equal(room_for_fields[1].name.at, "Sec-Websocket-Accept", 20);
    h2_block_end(&block);
}

static void test_trailers_of_a_request(void **state)
{
    field_t field[] = { { SPAN("X-Sum"), SPAN("1"), FIELD_OTHER, 0 }, { SPAN("Content-Length"), SPAN("5"), FIELD_CONTENT_LENGTH, 0 },
                        { SPAN("Connection"), SPAN("x"), FIELD_CONNECTION, 1 }, { SPAN(":path"), SPAN("/"), FIELD_OTHER, 0 } };
    fields_t trailers = { .field = field, .count = 4 };
    nghttp2_nv nv[8];
    char room[64];

    (void)state;
    assert_int_equal(h2_request_trailers(&trailers, room, nv), 1);
    assert_memory_equal(nv[0].name, "x-sum", 5);
}

/* --- what comes --- */

static void add(h2_block_t *block, const char *name, const char *value)
{
    h2_block_add(block, name, strlen(name), value, strlen(value));
}

static answer_head_t answer_of(h2_block_t *block, method_e asked, int ended)
{
    answer_head_t head;

    head.fields.field = room_for_fields;
    h2_block_answer(block, asked, ended, &head);
    return head;
}

static void test_an_answer(void **state)
{
    h2_block_t block = { 0 };
    answer_head_t head;

    (void)state;
    h2_block_begin(&block);
    add(&block, ":status", "201");
    add(&block, "content-type", "application/grpc");
    add(&block, "x-a-b", "");
    add(&block, "set-cookie", "a");
    add(&block, "set-cookie", "b");
    add(&block, "alt-svc", "h3=\":443\"");
    add(&block, "content-length", "7");
    head = answer_of(&block, METHOD_GET, 0);
    assert_int_equal(head.status, 201);
    assert_int_equal(head.fields.count, 6);
    assert_memory_equal(head.fields.field[0].name.at, "Content-Type", 12);
    assert_memory_equal(head.fields.field[1].name.at, "X-A-B", 5);
    assert_int_equal(head.fields.first[FIELD_SET_COOKIE], 3);
    assert_non_null(fields_next(&head.fields, &head.fields.field[2]));
    assert_true(head.fields.field[4].hop);
    assert_int_equal(head.body, BODY_LENGTH);
    assert_int_equal(head.length, 7);
    assert_int_equal(answer_of(&block, METHOD_HEAD, 0).body, BODY_NONE);
    assert_int_equal(answer_of(&block, METHOD_GET, 1).body, BODY_NONE);
    h2_block_begin(&block);
    add(&block, ":status", "200");
    head = answer_of(&block, METHOD_POST, 0);
    assert_int_equal(head.body, BODY_STREAM);
    assert_true(head.length == UINT64_MAX);
    assert_int_equal(head.fields.count, 0);
    h2_block_end(&block);
}

static void test_lists_without_end(void **state)
{
    char value[1000];
    h2_block_t block = { 0 };
    int i;

    (void)state;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    h2_block_begin(&block);
    for (i = 0; i < 60 && !block.broken; i++) {
        add(&block, "x-many", value);
    }
    assert_int_equal(i, 60);
    for (; i < 100; i++) {
        add(&block, "x-many", value);
    }
    assert_true(block.broken);
    h2_block_begin(&block);
    for (i = 0; i < MESSAGE_FIELDS_MAX; i++) {
        add(&block, "x", "");
    }
    assert_false(block.broken);
    add(&block, "x", "");
    assert_true(block.broken);
    h2_block_end(&block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_what_is_for_one_connection),
        cmocka_unit_test(test_a_length),
        cmocka_unit_test(test_a_websocket),
        cmocka_unit_test(test_trailers_of_a_request),
        cmocka_unit_test(test_an_answer),
        cmocka_unit_test(test_lists_without_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
