/* test_h2_head.c - header lists of HTTP/2 as HTTP/1.1 text, lines as header lists; and who has used up its credit. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h1_parse.h"
#include "h2_abuse.h"
#include "h2_head.h"
#include "h2_websocket.h"

#define MANY 40

static void field(h2_ask_t *ask, const char *name, const char *value)
{
    h2_ask_field(ask, name, strlen(name), value, strlen(value));
}

static void begin(h2_ask_t *ask, const char *method, const char *path)
{
    h2_ask_begin(ask);
    field(ask, ":method", method);
    field(ask, ":scheme", "https");
    field(ask, ":authority", "www.example");
    field(ask, ":path", path);
}

static void assert_text(h2_ask_t *ask, int has_body, const char *text)
{
    size_t room = h2_ask_room(ask), len;
    char *to = malloc(room);

    len = h2_ask_write(ask, has_body, to);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(to, text, len);
    assert_true(len <= room);
    free(to);
}

static void connect(h2_ask_t *ask, const char *protocol)
{
    h2_ask_begin(ask);
    field(ask, ":method", "CONNECT");
    field(ask, ":protocol", protocol);
    field(ask, ":scheme", "https");
    field(ask, ":authority", "www.example");
    field(ask, ":path", "/chat?a");
    ask->key = "dGhlIHNhbXBsZSBub25jZQ==";
}

static void test_websocket(void **state)
{
    field_t accept = { .name = { "Sec-Websocket-Accept", 20 }, .value = { "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28 } };
    fields_t fields = { .field = &accept, .count = 1 };
    char key[H2_WEBSOCKET_KEY + 1], other[H2_WEBSOCKET_KEY + 1], to[512];
    h2_ask_t ask = { 0 };

    (void)state;
    connect(&ask, "websocket");
    field(&ask, "sec-websocket-key", "theirs");
    field(&ask, "content-length", "3");
    field(&ask, "sec-websocket-version", "13");
    assert_int_equal(h2_ask_protocol(&ask), H2_WEBSOCKET);
    assert_text(&ask, 1, "GET /chat?a HTTP/1.1\r\nHost: www.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-Websocket-Version: 13\r\n\r\n");
    connect(&ask, "connect-udp");
    assert_int_equal(h2_ask_protocol(&ask), H2_OTHER_PROTOCOL);
    assert_text(&ask, 1, "GET /chat?a HTTP/1.1\r\nHost: www.example\r\n\r\n");
    connect(&ask, "websocket");
    ask.key = NULL;
    assert_int_equal(h2_ask_write(&ask, 1, to), 0);
    begin(&ask, "GET", "/");
    field(&ask, ":protocol", "websocket");
    ask.key = "k";
    assert_int_equal(h2_ask_write(&ask, 0, to), 0); /* only CONNECT has it */
    h2_ask_end(&ask);

    assert_true(h2_websocket_agrees("dGhlIHNhbXBsZSBub25jZQ==", &fields)); /* RFC 6455, 1.3 */
    assert_true(h2_websocket_key(key) && h2_websocket_key(other));
    assert_int_equal(strlen(key), H2_WEBSOCKET_KEY);
    assert_true(strcmp(key, other) != 0);
    assert_false(h2_websocket_agrees(key, &fields));
    fields.count = 0;
    assert_false(h2_websocket_agrees(key, &fields));
}

static void test_scheme(void **state)
{
    h2_ask_t ask = { 0 };

    (void)state;
    h2_ask_begin(&ask);
    field(&ask, ":method", "GET");
    field(&ask, ":scheme", "ftp");
    field(&ask, ":authority", "a");
    field(&ask, ":path", "/b");
    assert_text(&ask, 0, "GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n");
    h2_ask_end(&ask);
}

static void test_request_trailers(void **state)
{
    static const char *const bad[][2] = { { ":path", "/" }, { "X-Upper", "1" }, { "x-cr", "a\rb" } };
    h2_ask_t ask = { 0 };
    char to[512];
    size_t i;

    (void)state;
    h2_ask_begin(&ask);
    field(&ask, "x-check", "abc d");
    field(&ask, "content-length", "7");
    field(&ask, "te", "trailers");
    field(&ask, "grpc-status", "0");
    assert_true(h2_ask_room(&ask) <= sizeof to);
    to[h2_ask_write_trailers(&ask, to)] = '\0';
    assert_string_equal(to, "X-Check: abc d\r\nGrpc-Status: 0\r\n\r\n");
    h2_ask_begin(&ask);
    assert_int_equal(h2_ask_write_trailers(&ask, to), 2);
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        h2_ask_begin(&ask);
        field(&ask, bad[i][0], bad[i][1]);
        assert_int_equal(h2_ask_write_trailers(&ask, to), 0);
    }
    h2_ask_end(&ask);
}

static void test_request(void **state)
{
    h2_ask_t ask = { 0 };

    (void)state;
    begin(&ask, "GET", "/a?b");
    field(&ask, "user-agent", "me");
    field(&ask, "cookie", "a=1");
    field(&ask, "x-other-one", "v w");
    field(&ask, "cookie", "b=2");
    field(&ask, "host", "elsewhere");
    assert_text(&ask, 0, "GET /a?b HTTP/1.1\r\nHost: www.example\r\nUser-Agent: me\r\nCookie: a=1; b=2\r\nX-Other-One: v w\r\n\r\n");
    begin(&ask, "POST", "/");
    assert_text(&ask, 1, "POST / HTTP/1.1\r\nHost: www.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    begin(&ask, "POST", "/");
    field(&ask, "content-length", "3");
    assert_text(&ask, 1, "POST / HTTP/1.1\r\nHost: www.example\r\nContent-Length: 3\r\n\r\n");
    h2_ask_begin(&ask);
    field(&ask, ":method", "GET");
    field(&ask, ":path", "/");
    field(&ask, "host", "named");
    assert_text(&ask, 0, "GET / HTTP/1.1\r\nHost: named\r\n\r\n");
    begin(&ask, "CONNECT", "/");
    assert_text(&ask, 0, "CONNECT www.example HTTP/1.1\r\nHost: www.example\r\n\r\n");
    h2_ask_end(&ask);
}

/* What is written is what our own parser reads in one way only. */
static void test_text_is_read(void **state)
{
    static const h1_limits_t limits = { 8190, 8190, 100 };
    field_t fields[MESSAGE_FIELDS_MAX];
    request_head_t head;
    h2_ask_t ask = { 0 };
    char text[1024];
    size_t len;

    (void)state;
    begin(&ask, "PUT", "/x");
    field(&ask, "te", "trailers");
    field(&ask, "accept", "*/*");
    len = h2_ask_write(&ask, 1, text);
    head.fields.field = fields;
    assert_int_equal(h1_request(text, len, &limits, &head), len);
    assert_int_equal(head.known, METHOD_PUT);
    assert_int_equal(head.body, BODY_CHUNKED);
    assert_memory_equal(head.host.at, "www.example", 11);
    h2_ask_end(&ask);
}

static void test_refused(void **state)
{
    static const char *const bad[][2] = {
        { "x-a", "b\r\nHost: evil" }, { "x-a", "b\nc" }, { "x-a", "b\x01" }, { "x a", "b" }, { "X-Upper", "b" }, { "x-a:", "b" }, { "", "b" },
        { ":method", "GET" }, { ":unknown", "b" }, { "x-a\r\ny", "b" },
    };
    static const char *const paths[] = { "/a b", "/a\r\nX: y", "/a\tb", "" };
    h2_ask_t ask = { 0 };
    char to[512];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        begin(&ask, "GET", "/");
        field(&ask, bad[i][0], bad[i][1]);
        assert_int_equal(h2_ask_write(&ask, 0, to), 0);
        assert_int_equal(ask.state, H2_HEAD_BAD);
    }
    for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        begin(&ask, "GET", paths[i]);
        assert_int_equal(h2_ask_write(&ask, 0, to), 0);
    }
    begin(&ask, "GET /x HTTP/1.1\r\nA:", "/");
    assert_int_equal(h2_ask_write(&ask, 0, to), 0);
    h2_ask_begin(&ask);
    field(&ask, ":method", "GET");
    assert_int_equal(h2_ask_write(&ask, 0, to), 0); /* no path */
    begin(&ask, "GET", "/");
    h2_ask_field(&ask, "x-a", 3, "a\0b", 3);
    assert_int_equal(h2_ask_write(&ask, 0, to), 0);
    h2_ask_end(&ask);
}

static void test_large(void **state)
{
    h2_ask_t ask = { 0 };
    char value[4096], to[16];
    int i;

    (void)state;
    memset(value, 'v', sizeof value);
    begin(&ask, "GET", "/");
    for (i = 0; i < MANY; i++) {
        h2_ask_field(&ask, "x-a", 3, value, sizeof value);
    }
    assert_int_equal(h2_ask_write(&ask, 0, to), 0);
    assert_int_equal(ask.state, H2_HEAD_LARGE);
    begin(&ask, "GET", "/");
    for (i = 0; i < 2 * MESSAGE_FIELDS_MAX; i++) {
        field(&ask, "x", "y");
    }
    assert_int_equal(h2_ask_write(&ask, 0, to), 0);
    assert_int_equal(ask.state, H2_HEAD_LARGE);
    h2_ask_end(&ask);
}

static void assert_nv(const h2_reply_t *reply, size_t i, const char *name, const char *value)
{
    assert_true(i < reply->count);
    assert_int_equal(reply->nv[i].namelen, strlen(name));
    assert_memory_equal(reply->nv[i].name, name, strlen(name));
    assert_int_equal(reply->nv[i].valuelen, strlen(value));
    assert_memory_equal(reply->nv[i].value, value, strlen(value));
}

static void test_reply(void **state)
{
    char text[] = "HTTP/1.1 200 OK\r\nDate: now\r\nConnection: keep-alive\r\nX-A:  b \r\nKeep-Alive: x\r\nTransfer-Encoding: chunked\r\n"
                  "Upgrade: h2\r\nProxy-Connection: x\r\nSet-Cookie: a\r\nbroken\r\nSet-Cookie: b\r\nX-Empty:\r\n\r\nNot: this\r\n";
    static h2_reply_t reply;

    (void)state;
    h2_reply_lines(&reply, 200, text, strlen(text), 0);
    assert_int_equal(reply.count, 6);
    assert_nv(&reply, 0, ":status", "200");
    assert_nv(&reply, 1, "date", "now");
    assert_nv(&reply, 2, "x-a", "b");
    assert_nv(&reply, 3, "set-cookie", "a");
    assert_nv(&reply, 4, "set-cookie", "b");
    assert_nv(&reply, 5, "x-empty", "");
    h2_reply_length(&reply, 12345678901, 0);
    assert_nv(&reply, 6, "content-length", "12345678901");
    h2_reply_order(&reply);
    assert_int_equal(reply.count, 7);
    assert_nv(&reply, 1, "x-a", "b");
    assert_nv(&reply, 5, "content-length", "12345678901");
    assert_nv(&reply, 6, "date", "now");
    h2_reply_length(&reply, 3, 0); /* it is there */
    assert_int_equal(reply.count, 7);
}

static void test_trailers(void **state)
{
    field_t field[2] = { { { "Grpc-Status", 11 }, { "0", 1 }, 0, 0 }, { { "Connection", 10 }, { "x", 1 }, 0, 1 } };
    fields_t trailers = { .field = field, .count = 2 };
    static h2_reply_t reply;
    char names[64];

    (void)state;
    h2_reply_trailers(&reply, &trailers, names);
    assert_int_equal(reply.count, 1);
    assert_nv(&reply, 0, "grpc-status", "0");
}

static int until(h2_abuse_t *a, h2_useless_e what)
{
    int i = 0;

    h2_abuse_begin(a);
    while (!h2_abuse_useless(a, what)) {
        assert_true(i++ <= H2_CREDIT);
    }
    assert_int_equal(h2_abuse_worst(a), what);
    return i;
}

static void test_credit(void **state)
{
    h2_abuse_t a;
    int i;

    (void)state;
    h2_abuse_begin(&a);
    for (i = 0; i < 100000; i++) { /* who is answered may take back as much */
        assert_int_equal(h2_abuse_useless(&a, H2_USELESS_RESET), 0);
        h2_abuse_answered(&a);
    }
    assert_int_equal(until(&a, H2_USELESS_RESET), 100);
    assert_int_equal(until(&a, H2_USELESS_BROKEN), 100);
    assert_int_equal(until(&a, H2_USELESS_HEAD), 20);
    assert_int_equal(until(&a, H2_USELESS_CONTROL), H2_CREDIT);
    assert_int_equal(until(&a, H2_USELESS_EMPTY), H2_CREDIT);
    assert_int_equal(until(&a, H2_USELESS_FLOOD), 0);
    h2_abuse_begin(&a);
    h2_abuse_received(&a, (size_t)1 << 40);
    h2_abuse_received(&a, 1);
    h2_abuse_received(&a, 0);
    h2_abuse_rested(&a, INT64_MAX);
    h2_abuse_rested(&a, -1);
    assert_int_equal(a.credit, H2_CREDIT);
    for (i = 0; i < 100000; i++) { /* ten a second are nothing */
        assert_int_equal(h2_abuse_useless(&a, H2_USELESS_CONTROL), 0);
        if (i % 10 == 9) {
            h2_abuse_rested(&a, 1);
        }
    }
}

static void test_credit_of_windows(void **state)
{
    h2_abuse_t a;
    int i;

    (void)state;
    h2_abuse_begin(&a);
    for (i = 0; i < 100000; i++) { /* two updates for each frame, and some frames that a window cuts */
        assert_int_equal(h2_abuse_update(&a), 0);
        assert_int_equal(h2_abuse_update(&a), 0);
        assert_int_equal(h2_abuse_sent(&a, i % 5 ? 16384 : 1, i % 5 == 0), 0);
    }
    for (i = 0; !h2_abuse_update(&a); i++) {
        assert_true(i <= 2 * H2_CREDIT);
    }
    assert_int_equal(h2_abuse_worst(&a), H2_USELESS_WINDOW);
    h2_abuse_begin(&a);
    for (i = 0; !h2_abuse_sent(&a, 1, 1); i++) {
        assert_true(i <= H2_CREDIT);
    }
    h2_abuse_begin(&a);
    for (i = 0; i < 100000; i++) { /* small messages into large windows are fine */
        assert_int_equal(h2_abuse_sent(&a, 10, 0), 0);
    }
}

static void test_too_large(void **state)
{
    static char value[3000];
    h2_ask_t ask = { 0 };
    int i;

    (void)state;
    memset(value, 'v', sizeof value);
    begin(&ask, "GET", "/");
    for (i = 0; ask.state == H2_HEAD_GOOD; i++) {
        h2_ask_field(&ask, "x-field", 7, value, sizeof value);
        assert_true(ask.len <= H2_HEAD_MAX);
    }
    assert_int_equal(ask.state, H2_HEAD_LARGE);
    assert_true(i > 20);
    h2_ask_end(&ask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request), cmocka_unit_test(test_request_trailers), cmocka_unit_test(test_websocket),
                                        cmocka_unit_test(test_scheme), cmocka_unit_test(test_text_is_read), cmocka_unit_test(test_refused), cmocka_unit_test(test_large),
        cmocka_unit_test(test_reply),   cmocka_unit_test(test_trailers),     cmocka_unit_test(test_credit),
        cmocka_unit_test(test_credit_of_windows), cmocka_unit_test(test_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
