/*
 * test_h1_parse.c - heads of requests and answers: what is accepted, how it is understood, and every trick that is not.
 * Each text is also fed byte by byte: for every beginning of a head the parser must ask for more, and never decide otherwise later.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h1_heads.h"
#include "h1_parse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const h1_limits_t limits = { 8190, 8190, 100 };
static field_t fields[MESSAGE_FIELDS_MAX];

static int request_of(const char *text, size_t len, request_head_t *head, const h1_limits_t *with)
{
    memset(head, 0xee, sizeof *head);
    head->fields.field = fields;
    return h1_request(exact_copy(text, len), len, with, head);
}

/* The head, with a body's first bytes behind it, at every split. */
static void good_request(const char *text, request_head_t *head)
{
    size_t len = strlen(text);
    char *longer = malloc(len + 8);

    for (size_t i = 0; i < len; i++) {
        int said = request_of(text, i, head, &limits);

        if (said != H1_MORE) {
            fail_msg("%d after %zu bytes of '%s'", said, i, text);
        }
    }
    snprintf(longer, len + 8, "%sGET \n\r", text);
    assert_int_equal(request_of(longer, len + 6, head, &limits), len);
    free(longer);
    assert_int_equal(request_of(text, len, head, &limits), len);
    assert_int_equal(head->head_bytes, len);
}

static void not_plain(const char *text, size_t len)
{
    request_head_t head;
    int said = 1;

    for (size_t i = 0; i <= len; i++) {
        said = request_of(text, i, &head, &limits);
        if (said > 0) {
            fail_msg("accepted after %zu bytes: '%.*s'", i, (int)len, text);
        }
        if (said < 0) {
            return;
        }
    }
    fail_msg("%d for '%.*s'", said, (int)len, text);
}

/* ---- requests ---------------------------------------------------------------------------------------------------------------- */

static void test_request(void **state)
{
    request_head_t head;
    const field_t *f;

    (void)state;
    good_request("GET /a/b-c_d.html?x=1&y=%20?/ HTTP/1.1\r\nHost: www.Example.org:8080\r\nUser-Agent:  some \t thing \t\r\nX-Empty:\r\nX-Blank: \t \r\n"
                 "accept-encoding: gzip\r\n\r\n", &head);
    assert_span(head.line, "GET /a/b-c_d.html?x=1&y=%20?/ HTTP/1.1");
    assert_span(head.method, "GET");
    assert_int_equal(head.known, METHOD_GET);
    assert_span(head.target, "/a/b-c_d.html?x=1&y=%20?/");
    assert_span(head.path, "/a/b-c_d.html");
    assert_span(head.query, "x=1&y=%20?/");
    assert_span(head.host, "www.Example.org:8080");
    assert_int_equal(head.major * 10 + head.minor, 11);
    assert_int_equal(head.keep_alive, 1);
    assert_int_equal(head.keep_alive_said, 0);
    assert_int_equal(head.expect_continue | head.upgrade | head.te_trailers, 0);
    assert_int_equal(head.plain_path, 1);
    assert_int_equal(head.body, BODY_NONE);
    assert_int_equal(head.fields.count, 5);
    assert_span(head.fields.field[1].value, "some \t thing");
    assert_span(head.fields.field[2].name, "X-Empty");
    assert_span(head.fields.field[2].value, "");
    assert_span(head.fields.field[3].value, "");
    f = fields_known(&head.fields, FIELD_ACCEPT_ENCODING);
    assert_non_null(f);
    assert_span(f->name, "accept-encoding");
    assert_null(fields_known(&head.fields, FIELD_COOKIE));
}

static void test_methods(void **state)
{
    static const struct {
        const char *name;
        method_e known;
    } methods[] = { {"GET", METHOD_GET}, {"HEAD", METHOD_HEAD}, {"POST", METHOD_POST}, {"PUT", METHOD_PUT}, {"DELETE", METHOD_DELETE},
                    {"OPTIONS", METHOD_OPTIONS}, {"PATCH", METHOD_PATCH}, {"TRACE", METHOD_TRACE}, {"CONNECT", METHOD_CONNECT},
                    {"get", METHOD_OTHER}, {"GETS", METHOD_OTHER}, {"PROPFIND", METHOD_OTHER}, {"M-SEARCH", METHOD_OTHER}, {"X", METHOD_OTHER} };
    request_head_t head;
    char text[64];

    (void)state;
    for (size_t i = 0; i < COUNT(methods); i++) {
        snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", methods[i].name);
        good_request(text, &head);
        assert_int_equal(head.known, methods[i].known);
        assert_span(head.method, methods[i].name);
    }
}

static void test_paths(void **state)
{
    static const struct {
        const char *path;
        int plain;
    } paths[] = { {"/", 1}, {"/a", 1}, {"/a/", 1}, {"/a.b/c..d/...", 1}, {"/-._~$+!*'(),;:@&=", 1}, {"/.well-known/x", 1}, {"/a/..b", 1},
                  {"//", 0}, {"/a//b", 0}, {"/a//", 0}, {"/.", 0}, {"/..", 0}, {"/a/./b", 0}, {"/a/../b", 0}, {"/a/..", 0}, {"/%41", 0},
                  {"/a%2fb", 0}, {"/\"", 0}, {"/<>", 0}, {"/[x]", 0}, {"/a\\b", 0}, {"/{|}", 0}, {"/^`", 0}, {"/caf\xc3\xa9", 0} };
    request_head_t head;
    char text[96];

    (void)state;
    for (size_t i = 0; i < COUNT(paths); i++) {
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i].path);
        good_request(text, &head);
        if (head.plain_path != paths[i].plain) {
            fail_msg("%s", paths[i].path);
        }
        assert_span(head.path, paths[i].path);
        assert_span(head.query, NULL);
        snprintf(text, sizeof text, "GET %s?/../%%zz HTTP/1.1\r\nHost: a\r\n\r\n", paths[i].path);
        good_request(text, &head);
        assert_int_equal(head.plain_path, paths[i].plain);
        assert_span(head.query, "/../%zz");
    }
    good_request("GET /? HTTP/1.1\r\nHost: a\r\n\r\n", &head);
    assert_span(head.query, "");
}

static void test_hosts(void **state)
{
    static const char *const good[] = { "a", "localhost", "www.example.com", "A.B.c:1", "a_b.c-d.net:65535", "127.0.0.1", "10.0.0.1:8080",
                                        "1.2.3.com", "1a", "x--y.z9" };
    static const char *const bad[] = { "", ":80", "a:", "a:0", "a:080", "a:65536", "a:123456", "a:8x", "a b", "a,b", "a/b", "a\\b", "user@a",
                                       "a..b", ".a", "a.", "1", "123:80", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.03.4", "a.1b", "a.-b", "[::1]",
                                       "[::1]:80", "a%41", "\xc3\xa9", "a:80:80", "a?b", "a#b", "1.2.3.", "..", "a;b" };
    request_head_t head;
    char text[96];

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        good_request(text, &head);
        assert_span(head.host, good[i]);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        not_plain(text, strlen(text));
    }
}

static void test_connection(void **state)
{
    static const struct {
        const char *head;
        int minor, keep, said;
    } cases[] = {
        {"\r\n", 1, 1, 0}, {"\r\n", 0, 0, 0}, {"\r\nConnection: keep-alive\r\n", 1, 1, 1}, {"\r\nConnection: Keep-Alive\r\n", 0, 1, 1},
        {"\r\nConnection: close\r\n", 1, 0, 0}, {"\r\nConnection: Close, keep-alive\r\n", 1, 0, 1},
        {"\r\nConnection: TE,close\r\nTE: trailers\r\n", 1, 0, 0}, {"\r\nConnection: keep-alive\r\nConnection: close\r\n", 1, 0, 1},
        {"\r\nConnection: closed\r\n", 1, 1, 0},
    };
    request_head_t head;
    char text[160];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof text, "GET / HTTP/1.%d\r\nHost: a%s\r\n", cases[i].minor, cases[i].head);
        good_request(text, &head);
        assert_int_equal(head.keep_alive, cases[i].keep);
        assert_int_equal(head.keep_alive_said, cases[i].said);
        assert_int_equal(head.minor, cases[i].minor);
    }
}

static void test_hops(void **state)
{
    static const char *const forwarded[] = { "Host", "X-Keep", "Accept", "Proxy-Authorization" };
    request_head_t head;
    size_t kept = 0;

    (void)state;
    good_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-drop, TE\r\nX-Drop: 1\r\nX-Keep: 1\r\nTE: gzip, Trailers\r\nx-dROP: 2\r\nKeep-Alive: 5\r\n"
                 "Proxy-Connection: x\r\nTrailer: x\r\nAccept: */*\r\nProxy-Authorization: x\r\n\r\n", &head);
    assert_int_equal(head.te_trailers, 1);
    for (uint32_t i = 0; i < head.fields.count; i++) {
        if (!head.fields.field[i].hop) {
            assert_true(kept < COUNT(forwarded));
            assert_span(head.fields.field[i].name, forwarded[kept++]);
        }
    }
    assert_int_equal(kept, COUNT(forwarded));
}

static void test_bodies(void **state)
{
    request_head_t head;

    (void)state;
    good_request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &head);
    assert_int_equal(head.body, BODY_LENGTH);
    assert_int_equal(head.length, 0);
    good_request("GET / HTTP/1.0\r\nContent-length: 123456789012345678\r\n\r\n", &head);
    assert_int_equal(head.body, BODY_LENGTH);
    assert_int_equal(head.length, 123456789012345678);
    assert_span(head.host, NULL);
    good_request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n", &head);
    assert_int_equal(head.body, BODY_CHUNKED);
    assert_int_equal(head.expect_continue, 1);
    good_request("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n", &head);
    assert_int_equal(head.upgrade, 1);
    assert_int_equal(head.body, BODY_NONE);
}

static void test_blank_lines(void **state)
{
    request_head_t head;

    (void)state;
    good_request("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &head);
    assert_span(head.method, "GET");
    not_plain("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 28);
    not_plain("\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 30);
    not_plain("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 45);
}

#define TRICK(text) { text, sizeof(text) - 1 }
#define GET_A "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST_A "POST / HTTP/1.1\r\nHost: a\r\n"

static void test_tricks(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } tricks[] = {
        /* framing: two lengths, none that is sure */
        TRICK(POST_A "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), TRICK(POST_A "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        TRICK(POST_A "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), TRICK(POST_A "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        TRICK(POST_A "Content-Length: 5, 5\r\n\r\n"), TRICK(POST_A "Content-Length: +5\r\n\r\n"), TRICK(POST_A "Content-Length: -5\r\n\r\n"),
        TRICK(POST_A "Content-Length: 0x5\r\n\r\n"), TRICK(POST_A "Content-Length: 05\r\n\r\n"), TRICK(POST_A "Content-Length: 5 5\r\n\r\n"),
        TRICK(POST_A "Content-Length: 5.0\r\n\r\n"), TRICK(POST_A "Content-Length:\r\n\r\n"), TRICK(POST_A "Content-Length: 9223372036854775808\r\n\r\n"),
        TRICK(POST_A "Content-Length: 99999999999999999999999\r\n\r\n"),
        TRICK(POST_A "Transfer-Encoding: gzip, chunked\r\n\r\n"), TRICK(POST_A "Transfer-Encoding: chunked, identity\r\n\r\n"),
        TRICK(POST_A "Transfer-Encoding: identity\r\n\r\n"), TRICK(POST_A "Transfer-Encoding: xchunked\r\n\r\n"),
        TRICK(POST_A "Transfer-Encoding: \"chunked\"\r\n\r\n"), TRICK(POST_A "Transfer-Encoding: chunked;q=1\r\n\r\n"),
        TRICK(POST_A "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), TRICK(POST_A "Transfer-Encoding:\r\n\r\n"),
        TRICK(POST_A "Transfer-Encoding:\x0b" "chunked\r\n\r\n"), TRICK(POST_A "Transfer-Encoding: chunked\x0b\r\n\r\n"),
        TRICK(POST_A "Transfer-Encoding : chunked\r\n\r\n"), TRICK(POST_A " Transfer-Encoding: chunked\r\n\r\n"),
        TRICK(POST_A "X: y\r\n Transfer-Encoding: chunked\r\n\r\n"), TRICK(POST_A "Transfer-Encoding:\r\n chunked\r\n\r\n"),
        TRICK(POST_A "Transfer-Encoding: chunked\rX: y\r\n\r\n"), TRICK(POST_A "X: y\rTransfer-Encoding: chunked\r\n\r\n"),
        TRICK("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        /* lines */
        TRICK("GET / HTTP/1.1\nHost: a\n\n"), TRICK("GET / HTTP/1.1\r\nHost: a\n\r\n"), TRICK("GET / HTTP/1.1\r\nHost: a\r\n\n"),
        TRICK("GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n"), TRICK(GET_A "X: a\0b\r\n\r\n"), TRICK(GET_A "X\0: a\r\n\r\n"), TRICK(GET_A "X: a\x7f\r\n\r\n"),
        TRICK(GET_A "X: a\x01\r\n\r\n"), TRICK(GET_A "X: a\r b\r\n\r\n"), TRICK(GET_A "X: y\r\n folded\r\n\r\n"), TRICK(GET_A "X: y\r\n\tfolded\r\n\r\n"),
        TRICK("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), TRICK(GET_A "X y: z\r\n\r\n"), TRICK(GET_A "X\t: z\r\n\r\n"), TRICK(GET_A ": z\r\n\r\n"),
        TRICK(GET_A "X\r\n\r\n"), TRICK(GET_A "X(y): z\r\n\r\n"), TRICK(GET_A "X\xc3\xa9: z\r\n\r\n"), TRICK(GET_A "\"X\": z\r\n\r\n"), TRICK(GET_A "\r\r\n"),
        /* the request line */
        TRICK("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        TRICK(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), TRICK("GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        TRICK("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), TRICK("GET / HTTP/11\r\nHost: a\r\n\r\n"), TRICK("GET / http/1.1\r\nHost: a\r\n\r\n"),
        TRICK("GET / HTTP/1.1x\r\nHost: a\r\n\r\n"), TRICK("GET / HTTP/1.\r\nHost: a\r\n\r\n"), TRICK("GET / HTTPS/1.1\r\nHost: a\r\n\r\n"),
        TRICK("GET /\r\n\r\n"), TRICK("GET / \r\n\r\n"), TRICK("GET\r\n\r\n"), TRICK("G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        TRICK("GET /a\x01" "b HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
        TRICK("GET /?a#b HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
        TRICK("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        TRICK("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("GET ? HTTP/1.1\r\nHost: a\r\n\r\n"), TRICK("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        TRICK("\x16\x03\x01\x02"), TRICK("\x80\x80"), TRICK("GET /\r/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        /* Host */
        TRICK("GET / HTTP/1.1\r\n\r\n"), TRICK(GET_A "Host: a\r\n\r\n"), TRICK(GET_A "Host: b\r\n\r\n"), TRICK("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        /* Connection, Expect, Upgrade */
        TRICK(GET_A "Connection:\r\n\r\n"), TRICK(GET_A "Connection: a,,b\r\n\r\n"), TRICK(GET_A "Connection: a, b,\r\n\r\n"),
        TRICK(GET_A "Connection: \"close\"\r\n\r\n"), TRICK(GET_A "Connection: close; x\r\n\r\n"), TRICK(GET_A "Connection: Host\r\n\r\n"),
        TRICK(GET_A "Connection: close, X-Forwarded-For\r\n\r\n"), TRICK(GET_A "Connection: Content-Length\r\nContent-Length: 1\r\n\r\n"),
        TRICK(GET_A "Connection: Transfer-Encoding\r\n\r\n"), TRICK(GET_A "Connection: Authorization\r\nAuthorization: x\r\n\r\n"),
        TRICK(POST_A "Content-Length: 1\r\nExpect: 200-ok\r\n\r\n"), TRICK(POST_A "Content-Length: 1\r\nExpect: 100-continue, x\r\n\r\n"),
        TRICK(POST_A "Content-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n"), TRICK(GET_A "Expect: 100-continue\r\n\r\n"),
        TRICK("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"),
        TRICK(GET_A "Upgrade: websocket\r\n\r\n"), TRICK(GET_A "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        TRICK(GET_A "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n"), TRICK("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        TRICK(POST_A "Content-Length: 1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(tricks); i++) {
        not_plain(tricks[i].text, tricks[i].len);
    }
}

static void test_limits(void **state)
{
    h1_limits_t small = { 20, 16, 3 };
    request_head_t head;
    int said;
    static const struct {
        const char *text;
        int good;
    } cases[] = {
        {"GET /5678901 HTTP/1.1\r\nHost: a\r\n\r\n", 0}, {"GET /567890 HTTP/1.1\r\nHost: a\r\n\r\n", 1},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 4567890123456\r\n\r\n", 1}, {"GET / HTTP/1.1\r\nHost: a\r\nX: 45678901234567\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 45678901234567  ", 0}, {"GET / HTTP/1.1\r\nHost: a\r\nX234567890123456", 1},
        {"GET / HTTP/1.1\r\nHost: a\r\nX2345678901234567", 0}, {"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n", 1},
        {"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", 0}, {"GET /567890123456789", 1}, {"GET /5678901234567890", 0},
        {"123456789012345678901", 0}, {"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\na: 2\r\n\r\n", 0 /* together longer than one line may be */},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        said = request_of(cases[i].text, strlen(cases[i].text), &head, &small);
        if ((said >= 0) != cases[i].good) {
            fail_msg("%d: '%s'", said, cases[i].text);
        }
    }
}

/* Not more fields than there is room for, whatever LimitRequestFields says. */
static void test_many_fields(void **state)
{
    static char text[8192];
    h1_limits_t none = { 8190, 8190, 0 };
    request_head_t head;

    (void)state;
    for (int count = MESSAGE_FIELDS_MAX - 1; count <= MESSAGE_FIELDS_MAX; count++) {
        size_t len = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");

        for (int i = 0; i < count; i++) {
            len += (size_t)sprintf(text + len, "x%d: %d\r\n", i, i);
        }
        len += (size_t)sprintf(text + len, "\r\n");
        assert_int_equal(request_of(text, len, &head, &none), count < MESSAGE_FIELDS_MAX ? (int)len : H1_CLASSIC);
    }
    assert_span(fields[255].name, "x254");
}

/* Long values cross the steps of 16 at every offset. */
static void test_controls_anywhere(void **state)
{
    char text[160];
    request_head_t head;

    (void)state;
    for (size_t at = 0; at < 80; at++) {
        for (int c = 0; c < 256; c++) {
            size_t len = (size_t)sprintf(text, GET_A "X:");
            int good = c == '\t' || (c >= 0x20 && c != 0x7f);

            memset(text + len, 'v', 80);
            text[len + at] = (char)c;
            len += 80;
            memcpy(text + len, "\r\n\r\n", 4);
            assert_int_equal(request_of(text, len + 4, &head, &limits), good ? (int)len + 4 : H1_CLASSIC);
        }
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    for (int known = 1; known < FIELD_COUNT; known++) {
        const char *name = field_name((field_e)known);
        char other[32];
        size_t len = strlen(name);

        assert_true(len > 0);
        assert_int_equal(field_of(name, len), known);
        for (size_t i = 0; i < len; i++) {
            memcpy(other, name, len + 1);
            other[i] ^= name[i] == '-' ? 0 : 0x20;
            assert_int_equal(field_of(other, len), known);
            other[i] = name[i] == 'q' ? 'p' : 'q';
            assert_int_equal(field_of(other, len), FIELD_OTHER);
            other[i] = '~';
            assert_int_equal(field_of(other, len), FIELD_OTHER);
        }
        assert_int_equal(field_of(name, len - 1), FIELD_OTHER);
    }
    assert_int_equal(field_of("", 0), FIELD_OTHER);
    assert_int_equal(field_of("a", 1), FIELD_OTHER);
    assert_int_equal(field_of("a-name-that-is-longer-than-any", 30), FIELD_OTHER);
    assert_string_equal(field_name(FIELD_OTHER), "");
}

static void test_repeated(void **state)
{
    request_head_t head, copy;
    const field_t *f;
    void *memory;

    (void)state;
    good_request(GET_A "Cookie: a=1\r\nX-One: 1\r\ncookie: b=2\r\nx-one: 2\r\nX-Two: 3\r\nCOOKIE: c=3\r\n\r\n", &head);
    assert_int_equal(head.fields.repeated, 1);
    memory = malloc(request_head_size(&head));
    request_head_copy(&copy, &head, memory);
    memset(fields, 0, sizeof fields);
    f = fields_known(&copy.fields, FIELD_COOKIE);
    assert_span(f->value, "a=1");
    f = fields_next(&copy.fields, f);
    assert_span(f->value, "b=2");
    f = fields_next(&copy.fields, f);
    assert_span(f->value, "c=3");
    assert_null(fields_next(&copy.fields, f));
    f = fields_next(&copy.fields, &copy.fields.field[2]);
    assert_span(f->value, "2");
    assert_null(fields_next(&copy.fields, f));
    assert_span(copy.line, "GET / HTTP/1.1");
    assert_span(copy.path, "/");
    assert_span(copy.host, "a");
    assert_null(copy.query.at);
    /* strings, each */
    assert_string_equal(copy.line.at, "GET / HTTP/1.1");
    assert_string_equal(copy.host.at, "a");
    assert_string_equal(copy.fields.field[1].name.at, "Cookie");
    assert_string_equal(copy.fields.field[1].value.at, "a=1");
    free(memory);
    good_request(GET_A "Cookie: a=1\r\nX-One: 1\r\n\r\n", &head);
    assert_int_equal(head.fields.repeated, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),         cmocka_unit_test(test_methods),     cmocka_unit_test(test_paths),
        cmocka_unit_test(test_hosts),           cmocka_unit_test(test_connection),  cmocka_unit_test(test_hops),
        cmocka_unit_test(test_bodies),          cmocka_unit_test(test_blank_lines), cmocka_unit_test(test_tricks),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_many_fields), cmocka_unit_test(test_controls_anywhere),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
