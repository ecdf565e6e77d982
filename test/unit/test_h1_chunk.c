/*
 * test_h1_chunk.c - the chunked coding: what comes out does not depend on how the bytes came in, and every way of doing it wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h1_chunk.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef struct {
    char data[256];
    size_t len, used;
    h1_chunk_e end;
} result_t;

static void feed(h1_chunk_t *c, result_t *r, const char *at, size_t len)
{
    size_t done = 0;

    while (r->end == H1_CHUNK_MORE) {
        char *copy = malloc(len - done ? len - done : 1);
        size_t used = 0;
        span_t run;
        h1_chunk_e said;

        memcpy(copy, at + done, len - done);
        said = h1_chunk_next(c, copy, len - done, &used, &run);
        assert_true(used <= len - done);
        if (said == H1_CHUNK_DATA) {
            assert_true(run.len > 0 && run.at >= copy && run.at + run.len == copy + used);
            assert_true(r->len + run.len <= sizeof r->data);
            memcpy(r->data + r->len, run.at, run.len);
            r->len += run.len;
        }
        free(copy);
        done += used;
        r->used += used;
        if (said == H1_CHUNK_MORE) {
            assert_int_equal(done, len);
            return;
        }
        if (said != H1_CHUNK_DATA) {
            r->end = said;
        }
    }
}

/* At once, at every split in two, and byte by byte. */
static void decode(const char *text, size_t len, uint32_t line_max, h1_chunk_e end, const char *data, size_t used)
{
    for (size_t split = 0; split <= len + 1; split++) {
        result_t r = { .end = H1_CHUNK_MORE };
        h1_chunk_t c;

        h1_chunk_init(&c, line_max);
        if (split <= len) {
            feed(&c, &r, text, split);
            feed(&c, &r, text + split, len - split);
        }
        else {
            for (size_t i = 0; i < len; i++) {
                feed(&c, &r, text + i, 1);
            }
        }
        if (r.end != end) {
            fail_msg("%d at split %zu of '%s'", r.end, split, text);
        }
        if (data) {
            assert_int_equal(r.len, strlen(data));
            assert_memory_equal(r.data, data, r.len);
            if (r.used != used) {
                fail_msg("%zu used at split %zu of '%s'", r.used, split, text);
            }
        }
    }
}

static void test_good(void **state)
{
    static const struct {
        const char *text, *data;
        size_t used;
    } good[] = {
        {"5\r\nhello\r\n0\r\n\r\nGET", "hello", 13}, {"0\r\nX: y\r\n\r\n", "", 3}, {"000005\r\nhello\r\n000\r\n", "hello", 20},
        {"A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n", "0123456789abcdefghij", 33}, {"2;x=\"y\";z\t\x80\r\n\r\n\r\n0;\r\n", "\r\n", 21},
        {"1 \t\r\nx\r\n1  ;a\r\ny\r\n0 \r\n", "xy", 22}, {"1          \r\nx\r\n0\r\n", "x", 19},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        decode(good[i].text, strlen(good[i].text), 8190, H1_CHUNK_TRAILERS, good[i].data, good[i].used);
    }
    decode("5\r\nhel", 6, 8190, H1_CHUNK_MORE, "hel", 6);
    decode("5\r\nhello\r\n", 10, 8190, H1_CHUNK_MORE, "hello", 10);
}

/* judged when its line is whole */
#define TRICK(text) { text "\n", sizeof(text) }

static void test_tricks(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } tricks[] = {
        TRICK("\r\n5\r\nhello"), TRICK("5\nhello\r\n0\r\n"), TRICK("5\r\nhello\n0\r\n"), TRICK("5\r\nhello0\r\n"), TRICK("5\r\nhello\r0\r\n"),
        TRICK("5\r\nhello \r\n0\r\n"), TRICK("5\r\rhello"), TRICK("5\r hello"), TRICK("x\r\n"), TRICK("-5\r\nhello"), TRICK("+5\r\nhello"),
        TRICK("0x5\r\nhello"), TRICK(" 5\r\nhello"), TRICK("5 5\r\nhello"), TRICK("5g\r\nhello"), TRICK("5;x\x01\r\nhello"), TRICK("5;x\ny\r\nhello"),
        TRICK("5;x\ry\r\nhello"), TRICK("5\0\r\nhello"), TRICK("5;\0\r\nhello"), TRICK("5;\x7f\r\n"), TRICK(";\r\n"), TRICK("5           \r\nhello"),
        TRICK("5\x0b\r\nhello"), TRICK("5,5\r\nhello"), TRICK("0\n\r\n"), TRICK("0\r\r\n"), TRICK("\x35\xa0\r\nhello"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(tricks); i++) {
        decode(tricks[i].text, tricks[i].len, 8190, H1_CHUNK_BAD, NULL, 0);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    decode("7fffffffffffffff\r\nx", 19, 8190, H1_CHUNK_MORE, "x", 19);
    decode("8000000000000000\r\nx", 19, 8190, H1_CHUNK_LARGE, NULL, 0);
    decode("ffffffffffffffff\r\nx", 19, 8190, H1_CHUNK_LARGE, NULL, 0);
    decode("10000000000000005\r\nhello", 24, 8190, H1_CHUNK_LARGE, NULL, 0);
    decode("00000000000000000000000000000005\r\nhello", 39, 8190, H1_CHUNK_MORE, "hello", 39);
    /* a line with its end */
    decode("5;345678\r\nhello\r\n1;789012\r\nx", 28, 10, H1_CHUNK_MORE, "hellox", 28);
    decode("5;345678\r\nhello\r\n1;7890123\r\nx", 29, 10, H1_CHUNK_LARGE, NULL, 0);
    decode("5;3456789\r\nhello", 16, 10, H1_CHUNK_LARGE, NULL, 0);
}

/* As httpd's filter, which reads lines: it may be wrong long before that is said. */
static void test_lines_are_judged_whole(void **state)
{
    char text[9000];

    (void)state;
    decode("hello", 5, 8190, H1_CHUNK_MORE, "", 5);
    decode("hello\r", 6, 8190, H1_CHUNK_MORE, "", 6);
    decode("5;3456789012345x\x01\n", 18, 10, H1_CHUNK_BAD, NULL, 0); /* what was found first counts */
    memset(text, 'x', sizeof text);
    for (int bytewise = 0; bytewise < 2; bytewise++) {
        result_t r = { .end = H1_CHUNK_MORE };
        h1_chunk_t c;

        h1_chunk_init(&c, 8190);
        for (size_t i = 0; i < (bytewise ? 8191 : 1); i++) {
            feed(&c, &r, text + i, bytewise ? 1 : 8191);
        }
        assert_int_equal(r.end, H1_CHUNK_MORE);
        feed(&c, &r, text, 1);
        assert_int_equal(r.end, H1_CHUNK_BAD); /* nobody waits for more of it */
    }
}

static void test_back(void **state)
{
    h1_chunk_t c;
    size_t used;
    span_t run;

    (void)state;
    h1_chunk_init(&c, 100);
    assert_int_equal(h1_chunk_next(&c, "5\r\nhello", 8, &used, &run), H1_CHUNK_DATA);
    assert_int_equal(used, 8);
    h1_chunk_back(&c, 3);
    assert_int_equal(h1_chunk_next(&c, "llo\r\n", 5, &used, &run), H1_CHUNK_DATA);
    assert_int_equal(run.len, 3);
    h1_chunk_back(&c, 3);
    assert_int_equal(h1_chunk_next(&c, "ll", 2, &used, &run), H1_CHUNK_DATA);
    assert_int_equal(h1_chunk_next(&c, "o", 1, &used, &run), H1_CHUNK_DATA);
    assert_int_equal(h1_chunk_next(&c, "\r\n0\r\n", 5, &used, &run), H1_CHUNK_TRAILERS);
}

static void test_lines(void **state)
{
    static const uint64_t sizes[] = { 1, 9, 10, 15, 16, 255, 4096, 0xabcdef, UINT64_MAX };
    char line[H1_CHUNK_LINE_MAX + 1], expected[32];

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        line[h1_chunk_line(line, sizes[i])] = '\0';
        snprintf(expected, sizeof expected, "%llx\r\n", (unsigned long long)sizes[i]);
        assert_string_equal(line, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_tricks), cmocka_unit_test(test_sizes), cmocka_unit_test(test_lines_are_judged_whole), cmocka_unit_test(test_back), cmocka_unit_test(test_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
