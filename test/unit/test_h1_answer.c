/*
 * test_h1_answer.c - heads of answers and trailers: what mod_proxy_http takes is taken, what leaves length or fields in doubt is bad.
 * Each text is also fed byte by byte.
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

static field_t fields[MESSAGE_FIELDS_MAX];

static int answer_of(const char *text, size_t len, method_e method, answer_head_t *head)
{
    memset(head, 0xee, sizeof *head);
    head->fields.field = fields;
    return h1_answer(exact_copy(text, len), len, method, head);
}

static void good(const char *text, method_e method, answer_head_t *head)
{
    size_t len = strlen(text);
    char *longer = malloc(len + 8);

    for (size_t i = 0; i < len; i++) {
        int said = answer_of(text, i, method, head);

        if (said != H1_MORE) {
            fail_msg("%d after %zu bytes of '%s'", said, i, text);
        }
    }
    snprintf(longer, len + 8, "%sbody\n\r", text);
    assert_int_equal(answer_of(longer, len + 6, method, head), len);
    free(longer);
    assert_int_equal(answer_of(text, len, method, head), len);
}

static void bad(const char *text, size_t len)
{
    answer_head_t head;

    for (size_t i = 0; i <= len; i++) {
        int said = answer_of(text, i, METHOD_GET, &head);

        if (said < 0) {
            return;
        }
        if (said > 0) {
            break;
        }
    }
    fail_msg("not bad: '%.*s'", (int)len, text);
}

static void test_answer(void **state)
{
    answer_head_t head;

    (void)state;
    good("HTTP/1.1 200 All  right\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nKeep-Alive: max=3, timeout=15\r\nX-A: \t b c \r\nX-Latin: caf\xe9\r\n"
         "X-Empty:\r\n\r\n", METHOD_GET, &head);
    assert_int_equal(head.status, 200);
    assert_span(head.reason, "All  right");
    assert_int_equal(head.major * 10 + head.minor, 11);
    assert_int_equal(head.body, BODY_LENGTH);
    assert_int_equal(head.length, 12);
    assert_int_equal(head.keep_alive, 1);
    assert_int_equal(head.keep_alive_s, 15);
    assert_int_equal(head.upgraded, 0);
    assert_int_equal(head.fields.count, 6);
    assert_span(head.fields.field[3].value, "b c");
    assert_span(head.fields.field[4].value, "caf\xe9");
    assert_int_equal(fields_known(&head.fields, FIELD_KEEP_ALIVE)->hop, 1);
    assert_int_equal(head.fields.field[3].hop, 0);
}

static void test_bodies(void **state)
{
    static const struct {
        const char *text;
        method_e method;
        body_e body;
        uint64_t length;
        int keep;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", METHOD_GET, BODY_LENGTH, 0, 1},
        {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", METHOD_HEAD, BODY_NONE, 7, 1},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, BODY_CHUNKED, UINT64_MAX, 1},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, BODY_NONE, UINT64_MAX, 1},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n", METHOD_GET, BODY_CHUNKED, UINT64_MAX, 0},
        {"HTTP/1.1 200 OK\r\n\r\n", METHOD_GET, BODY_CLOSE, UINT64_MAX, 0},
        {"HTTP/1.1 200 OK\r\n\r\n", METHOD_HEAD, BODY_NONE, UINT64_MAX, 1},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", METHOD_GET, BODY_LENGTH, 1, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\n", METHOD_GET, BODY_LENGTH, 1, 0},
        {"HTTP/1.1 204 No Content\r\n\r\n", METHOD_GET, BODY_NONE, UINT64_MAX, 1},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", METHOD_GET, BODY_NONE, 9, 1},
        {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", METHOD_GET, BODY_NONE, UINT64_MAX, 1},
        {"HTTP/1.1 100\r\n\r\n", METHOD_POST, BODY_NONE, UINT64_MAX, 1},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", METHOD_GET, BODY_NONE, UINT64_MAX, 0},
    };
    answer_head_t head;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        good(cases[i].text, cases[i].method, &head);
        if (head.body != cases[i].body || head.length != cases[i].length || head.keep_alive != cases[i].keep) {
            fail_msg("%s", cases[i].text);
        }
        assert_int_equal(head.upgraded, head.status == 101);
    }
}

static void test_status_lines(void **state)
{
    answer_head_t head;

    (void)state;
    good("\r\nHTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", METHOD_GET, &head);
    assert_int_equal(head.reason.len, 0);
    good("\nHTTP/1.9 799 \r\nContent-Length: 0\r\n\r\n", METHOD_GET, &head);
    assert_int_equal(head.status, 799);
    assert_int_equal(head.reason.len, 0);
    assert_int_equal(head.minor, 9);
}

/* As mod_proxy_http joins them; nothing is changed before the head is whole. */
static void test_folded(void **state)
{
    answer_head_t head;

    (void)state;
    good("HTTP/1.1 200 OK\nX-A: 1\n  folded\r\n\t\r\n more \r\nX-B: \r\n 2\nX-C: a \r\n \r\nContent-Length: 0\n\n", METHOD_GET, &head);
    assert_int_equal(head.fields.count, 4);
    assert_span(head.fields.field[0].value, "1  folded\t more");
    assert_span(head.fields.field[1].value, "2");
    assert_span(head.fields.field[2].value, "a");
    assert_int_equal(head.body, BODY_LENGTH);
}

static void test_hops(void **state)
{
    static const char *const kept[] = { "Date", "X-Keep" };
    answer_head_t head;
    size_t n = 0;

    (void)state;
    good("HTTP/1.1 200 OK\r\nDate: x\r\nConnection: X-Drop;x-also,close\r\nX-Also: 1\r\nx-drop: 2\r\nX-Keep: 1\r\nTransfer-Encoding: chunked\r\nTrailer: q\r\n"
         "Upgrade: h2c\r\nProxy-Authenticate: x\r\nTE: x\r\nX-DROP: 3\r\nConnection: \t,;\r\n\r\n", METHOD_GET, &head);
    for (uint32_t i = 0; i < head.fields.count; i++) {
        if (!head.fields.field[i].hop) {
            assert_true(n < COUNT(kept));
            assert_span(head.fields.field[i].name, kept[n++]);
        }
    }
    assert_int_equal(n, COUNT(kept));
    assert_int_equal(head.keep_alive, 0);
    good("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, &head);
    assert_int_equal(head.fields.field[0].hop, 0);
}

#define TRICK(text) { text, sizeof(text) - 1 }
#define OK "HTTP/1.1 200 OK\r\n"

static void test_tricks(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } tricks[] = {
        TRICK(OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), TRICK(OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        TRICK(OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), TRICK(OK "Content-Length: 1, 1\r\n\r\n"), TRICK(OK "Content-Length: -1\r\n\r\n"),
        TRICK(OK "Content-Length: 0x1\r\n\r\n"), TRICK(OK "Content-Length: 1 2\r\n\r\n"), TRICK(OK "Content-Length:\r\n\r\n"),
        TRICK(OK "Content-Length: 99999999999999999999\r\n\r\n"), TRICK(OK "Content-Length: 1\r\n 2\r\n\r\n"),
        TRICK(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"), TRICK(OK "Transfer-Encoding: identity\r\n\r\n"),
        TRICK(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), TRICK(OK "Transfer-Encoding: chunked, chunked\r\n\r\n"),
        TRICK("hello\r\n\r\n"), TRICK("HTTP/2.0 200 OK\r\n\r\n"), TRICK("HTTP/0.9 200 OK\r\n\r\n"), TRICK("HTTP/1.x 200 OK\r\n\r\n"),
        TRICK("HTTP/1.1  200 OK\r\n\r\n"), TRICK("HTTP/1.1 20 OK\r\n\r\n"), TRICK("HTTP/1.1 2000 OK\r\n\r\n"), TRICK("HTTP/1.1 2x0 OK\r\n\r\n"),
        TRICK("HTTP/1.1 099 OK\r\n\r\n"), TRICK("HTTP/1.1 200OK\r\n\r\n"), TRICK("HTTP/1.10 200 OK\r\n\r\n"), TRICK("HTTP/1.1\r\n\r\n"),
        TRICK("HTTP/1.1 200 O\x02K\r\n\r\n"), TRICK("HTTP/1.1 200 O\0K\r\n\r\n"), TRICK("HTTP/1.1 200 OK\r\r\n\r\n"), TRICK(" HTTP/1.1 200 OK\r\n\r\n"),
        TRICK("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), TRICK("http/1.1 200 OK\r\n\r\n"),
        TRICK(OK "X-A: b\x01" "c\r\n\r\n"), TRICK(OK "X-A: b\rX-Evil: yes\r\n\r\n"), TRICK(OK "X A: b\r\n\r\n"), TRICK(OK "X-A : b\r\n\r\n"),
        TRICK(OK ": b\r\n\r\n"), TRICK(OK "X-\x7f: b\r\n\r\n"), TRICK(OK "X-A: b\x7f\r\n\r\n"), TRICK(OK "X-A\r\n\r\n"), TRICK(OK "X-A: b\0c\r\n\r\n"),
        TRICK(OK " folded: first\r\n\r\n"), TRICK(OK "X-\xc3\xa9: b\r\n\r\n"), TRICK(OK "\r\r\n"),
        TRICK("HTTP/1.1 101 Switching\r\n\r\n"), TRICK("HTTP/1.0 101 Switching\r\nUpgrade: websocket\r\n\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(tricks); i++) {
        bad(tricks[i].text, tricks[i].len);
    }
}

static void test_limits(void **state)
{
    size_t size = 2 * H1_ANSWER_LINE_MAX + 100, n;
    char *text = malloc(size);
    answer_head_t head;

    (void)state;
    for (int more = 0; more < 2; more++) {
        n = (size_t)snprintf(text, size, OK "X:");
        memset(text + n, 'x', H1_ANSWER_LINE_MAX - 2 + more);
        n += (size_t)(H1_ANSWER_LINE_MAX - 2 + more);
        assert_int_equal(answer_of(text, n, METHOD_GET, &head), more ? H1_BAD : H1_MORE);
        memcpy(text + n, "\r\n\r\n", 4);
        assert_int_equal(answer_of(text, n + 4, METHOD_GET, &head), more ? H1_BAD : (int)n + 4);
    }
    free(text);
}

/* ---- trailers ---------------------------------------------------------------------------------------------------------------- */

static int trailers_of(const char *text, size_t len, int strict, fields_t *trailers)
{
    static char *copy;
    h1_limits_t limits = { 100, 20, 3 };

    free(copy);
    copy = malloc(len ? len : 1);
    memcpy(copy, text, len);
    trailers->field = fields;
    return h1_trailers(copy, len, &limits, strict, trailers);
}

static void test_trailers(void **state)
{
    static const struct {
        const char *text;
        int strict, lenient;        /* 1: taken */
        uint32_t count;
    } cases[] = {
        {"\r\n", 1, 1, 0}, {"\n", 0, 1, 0}, {"A: b\r\nC:d\r\n\r\n", 1, 1, 2}, {"A: b\nC:d\n\n", 0, 1, 2}, {"A: b\r\n c\r\n\r\n", 1, 1, 1},
        {"A: 1\r\nB: 2\r\nC: 3\r\n\r\n", 1, 1, 3}, {"A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", 0, 0, 0}, {"A: 456789012345678901\r\n\r\n", 0, 0, 0},
        {"A b: c\r\n\r\n", 0, 0, 0}, {"A: b\x01\r\n\r\n", 0, 0, 0}, {" A: b\r\n\r\n", 0, 0, 0}, {"A: b\r\r\n\r\n", 0, 0, 0}, {"\rA: b\r\n\r\n", 0, 0, 0},
    };
    fields_t trailers;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int strict = 0; strict < 2; strict++) {
            int taken = strict ? cases[i].strict : cases[i].lenient, said = 0;
            size_t len = strlen(cases[i].text), at;

            for (at = 0; at <= len && said == 0; at++) {
                said = trailers_of(cases[i].text, at, strict, &trailers);
            }
            if (taken ? said != (int)len || trailers.count != cases[i].count : said != H1_BAD) {
                fail_msg("%d (strict %d): %s", said, strict, cases[i].text);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer), cmocka_unit_test(test_bodies), cmocka_unit_test(test_status_lines), cmocka_unit_test(test_folded),
        cmocka_unit_test(test_hops),   cmocka_unit_test(test_tricks), cmocka_unit_test(test_limits),       cmocka_unit_test(test_trailers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
