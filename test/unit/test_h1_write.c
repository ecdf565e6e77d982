/*
 * test_h1_write.c - heads as mod_proxy_http and http_header filter write them. The expected texts were taken from the classic plane with the
 * same input.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h1_parse.h"
#include "h1_write.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SPAN(text) ((span_t){ text, sizeof(text) - 1 })

static field_t fields[MESSAGE_FIELDS_MAX];
static char buffer[8192];

static void read_request(const char *text, request_head_t *head)
{
    static const h1_limits_t limits = { 8190, 8190, 100 };

    head->fields.field = fields;
    assert_int_equal(h1_request(text, strlen(text), &limits, head), strlen(text));
}

static void read_answer(const char *text, method_e method, answer_head_t *head)
{
    snprintf(buffer, sizeof buffer, "%s", text);
    head->fields.field = fields;
    assert_int_equal(h1_answer(buffer, strlen(text), method, head), strlen(text));
}

/* Into exactly the room that was asked for. */
static void assert_ask(const member_ask_t *ask, const char *expected)
{
    size_t room = h1_ask_room(ask), len;
    char *to = malloc(room);

    len = h1_ask_write(to, ask);
    assert_true(len <= room);
    if (len != strlen(expected) || memcmp(to, expected, len) != 0) {
        fail_msg("wrote:\n%.*s\nnot:\n%s", (int)len, to, expected);
    }
    free(to);
}

static void assert_reply(const answer_head_t *head, method_e method, const char *expected)
{
    h1_reply_t reply = { SPAN("Mon, 23 Nov 2026 15:58:41 GMT"), SPAN("Apache"), method };
    size_t room = h1_reply_room(head, &reply), len;
    char *to = malloc(room);

    len = h1_reply_write(to, head, &reply);
    assert_true(len <= room);
    if (len != strlen(expected) || memcmp(to, expected, len) != 0) {
        fail_msg("wrote:\n%.*s\nnot:\n%s", (int)len, to, expected);
    }
    free(to);
}

static void test_ask(void **state)
{
    request_head_t head;
    member_ask_t ask;

    (void)state;
    read_request("GET /a?b HTTP/1.1\r\nHost: x.y:99\r\nCookie: a\r\nX-Forwarded-For: 1.1.1.1\r\nCookie: b\r\nVia: 1.0 q\r\nAccept: */*\r\nX-One: 1\r\nx-one: 2\r\n"
                 "Connection: keep-alive\r\nTE: trailers\r\n\r\n", &head);
    ask = (member_ask_t){ .method = head.method, .target = head.target, .fields = &head.fields, .host = SPAN("127.0.0.1:44291"), .via = SPAN("1.1 localhost:99"),
                      .forwarded_for = SPAN("127.0.0.1"), .forwarded_host = head.host, .forwarded_server = SPAN("localhost") };
    assert_ask(&ask, "GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:44291\r\nCookie: a, b\r\nX-Forwarded-For: 1.1.1.1, 127.0.0.1\r\nVia: 1.0 q, 1.1 localhost:99\r\n"
                     "Accept: */*\r\nX-One: 1, 2\r\nX-Forwarded-Host: x.y:99\r\nX-Forwarded-Server: localhost\r\nConnection: Keep-Alive\r\n\r\n");
    ask.via_block = 1;
    ask.via = ask.forwarded_for = ask.forwarded_host = ask.forwarded_server = (span_t){ NULL, 0 };
    ask.close = 1;
    assert_ask(&ask, "GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:44291\r\nCookie: a, b\r\nX-Forwarded-For: 1.1.1.1\r\n"
                     "Accept: */*\r\nX-One: 1, 2\r\nConnection: close\r\n\r\n");
}

static void test_ask_bodies(void **state)
{
    request_head_t head;
    member_ask_t ask;

    (void)state;
    read_request("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nExpect: 100-continue\r\nContent-Type: a/b\r\n\r\n", &head);
    ask = (member_ask_t){ .method = head.method, .target = SPAN("/base/a"), .fields = &head.fields, .host = head.host, .via = SPAN("1.1 localhost"),
                      .forwarded_for = SPAN("127.0.0.1"), .forwarded_host = head.host, .forwarded_server = SPAN("localhost"),
                      .body = BODY_LENGTH, .length = 2 };
    assert_ask(&ask, "POST /base/a HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nVia: 1.1 localhost\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: x\r\n"
                     "X-Forwarded-Server: localhost\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\n");
    ask.body = BODY_CHUNKED;
    ask.expect_continue = 1;
    ask.via.at = NULL;
    assert_ask(&ask, "POST /base/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: a/b\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: x\r\n"
                     "X-Forwarded-Server: localhost\r\nTransfer-Encoding: chunked\r\nConnection: Keep-Alive\r\n\r\n");
}

/* Connection takes away what the client named, what we add is added all the same (CVE-2022-31813). */
static void test_ask_hops(void **state)
{
    request_head_t head;
    member_ask_t ask;

    (void)state;
    read_request("GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Drop, Upgrade\r\nX-Drop: 1\r\nUpgrade: WebSocket\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\n"
                 "Proxy-Authorization: y\r\n\r\n", &head);
    ask = (member_ask_t){ .method = head.method, .target = head.target, .fields = &head.fields, .host = head.host, .forwarded_for = SPAN("::1"),
                      .upgrade = fields_known(&head.fields, FIELD_UPGRADE)->value };
    assert_ask(&ask, "GET / HTTP/1.1\r\nHost: x\r\nProxy-Authorization: y\r\nX-Forwarded-For: ::1\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n");
}

static void test_reply(void **state)
{
    answer_head_t head;

    (void)state;
    read_answer("HTTP/1.1 200 OK\r\nX-B: 1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nVary: A, b, a\r\nVary: C\r\nSet-Cookie: a=1\r\nSet-Cookie: b\r\n"
                "Date: Sunday, 06-Nov-94 08:49:37 GMT\r\nServer: me\r\nKeep-Alive: timeout=5\r\nExpires: 0\r\nLast-Modified: Sun Nov  6 08:49:37 1994\r\n\r\n",
                METHOD_GET, &head);
    assert_reply(&head, METHOD_GET, "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: me\r\nX-B: 1\r\nContent-Type: text/plain\r\n"
                 "Content-Length: 2\r\nVary: A,b,C\r\nSet-Cookie: a=1\r\nSet-Cookie: b\r\nExpires: 0\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    read_answer("HTTP/1.1 200\r\nX-Z: 1\r\nVary: ,\r\n\r\n", METHOD_GET, &head);
    assert_reply(&head, METHOD_GET, "HTTP/1.1 200 \r\nDate: Mon, 23 Nov 2026 15:58:41 GMT\r\nServer: Apache\r\nX-Z: 1\r\nVary: ,\r\n");
}

static void test_reply_lengths(void **state)
{
    static const struct {
        const char *answer;
        method_e method;
        const char *line;       /* of its length in the reply */
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", METHOD_GET, "Content-Length: 0\r\n"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", METHOD_HEAD, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_HEAD, "Content-Length: 5\r\n"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, "Transfer-Encoding: chunked\r\n"},
        {"HTTP/1.1 304 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, ""},
        {"HTTP/1.1 304 OK\r\nContent-Length: 5\r\n\r\n", METHOD_GET, ""}, {"HTTP/1.1 204 OK\r\nContent-Length: 5\r\n\r\n", METHOD_GET, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, ""},
    };
    answer_head_t head;
    char expected[256];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        read_answer(cases[i].answer, cases[i].method, &head);
        snprintf(expected, sizeof expected, "%.15s\r\nDate: Mon, 23 Nov 2026 15:58:41 GMT\r\nServer: Apache\r\n%s",
                 head.status == 200 ? "HTTP/1.1 200 OK" : head.status == 204 ? "HTTP/1.1 204 OK" : "HTTP/1.1 304 OK", cases[i].line);
        assert_reply(&head, cases[i].method, expected);
    }
}

static void test_ending(void **state)
{
    static const struct {
        h1_ending_t ending;
        const char *text;
    } cases[] = {
        {{ .keep_alive = 1 }, "\r\n"},
        {{ .keep_alive = 1, .say = 1, .timeout_s = 10 }, "Keep-Alive: timeout=10\r\nConnection: Keep-Alive\r\n\r\n"},
        {{ .keep_alive = 1, .say = 1, .timeout_s = 5, .left = 100, .frame = H1_FRAME_CHUNKED },
         "Keep-Alive: timeout=5, max=100\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {{ .keep_alive = 0, .say = 1, .frame = H1_FRAME_CHUNKED }, "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {{ .keep_alive = 0, .frame = H1_FRAME_CHUNKED, .type = { "text/html", 9 } },
         "Connection: close\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n"},
        {{ .keep_alive = 1, .frame = H1_FRAME_LENGTH, .length = 0 }, "Content-Length: 0\r\n\r\n"},
        {{ .keep_alive = 0, .frame = H1_FRAME_LENGTH, .length = UINT64_MAX }, "Content-Length: 18446744073709551615\r\nConnection: close\r\n\r\n"},
    };
    char to[H1_ENDING_ROOM + 1];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        to[h1_ending_write(to, &cases[i].ending)] = '\0';
        assert_string_equal(to, cases[i].text);
    }
}

static void test_interim(void **state)
{
    static const char *const cases[][2] = {
        {"HTTP/1.1 103 Early Hints\r\nLink: x\r\nDate: q\r\nConnection: X-A\r\nX-A: 1\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\nDate: q\r\n\r\n"},
        {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"},
        {"HTTP/1.1 101 Switching\r\nX-Z: 1\r\nUpgrade: WebSocket\r\nDate: q\r\nConnection: Upgrade\r\n\r\n",
         "HTTP/1.1 101 Switching\r\nX-Z: 1\r\nDate: q\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"},
    };
    answer_head_t head;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t room, len;
        char *to;

        read_answer(cases[i][0], METHOD_GET, &head);
        room = h1_interim_room(&head);
        to = malloc(room);
        len = h1_interim_write(to, &head);
        assert_true(len <= room);
        assert_int_equal(len, strlen(cases[i][1]));
        assert_memory_equal(to, cases[i][1], len);
        free(to);
    }
}

static void test_answer_copy(void **state)
{
    answer_head_t head, copy;
    void *memory;

    (void)state;
    read_answer("HTTP/1.1 200 Fine\r\nA: b\r\nContent-Length: 2\r\n\r\n", METHOD_GET, &head);
    memory = malloc(answer_head_size(&head));
    answer_head_copy(&copy, &head, memory);
    memset(buffer, 'x', sizeof buffer);
    memset(fields, 0, sizeof fields);
    assert_reply(&copy, METHOD_GET, "HTTP/1.1 200 Fine\r\nDate: Mon, 23 Nov 2026 15:58:41 GMT\r\nServer: Apache\r\nA: b\r\nContent-Length: 2\r\n");
    assert_string_equal(copy.fields.field[0].name.at, "A");
    assert_string_equal(copy.fields.field[0].value.at, "b");
    assert_string_equal(copy.reason.at, "Fine");
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask),    cmocka_unit_test(test_ask_bodies),    cmocka_unit_test(test_ask_hops),
        cmocka_unit_test(test_reply),  cmocka_unit_test(test_reply_lengths), cmocka_unit_test(test_ending),
        cmocka_unit_test(test_interim), cmocka_unit_test(test_answer_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
