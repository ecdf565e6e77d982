/* test_origin_write.c - requests over HTTP/1.1 through a socket that takes little: heads, plain bodies and chunks, cut at every byte. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

/* Its caller and what it calls are played: the socket is a buffer. */
#define origin_h1_ask played_ask
#define origin_h1_body played_body
#define origin_h1_is_asked played_is_asked
#define origin_write_rest played_write_rest
#define origin_write_clear played_write_clear
#define origin_send played_send
#define origin_expect played_expect
#define origin_upload played_upload
#define origin_fail_later played_fail_later

#include "origin_write.c"

static struct {
    char sent[4096];
    size_t len, takes;
    int uploads, dead;
    method_e expected;
} net;

ssize_t origin_send(origin_t *o, const struct iovec *parts, int count)
{
    size_t taken = 0;
    int i;

    (void)o;
    if (net.dead) {
        return -1;
    }
    for (i = 0; i < count; i++) {
        size_t n = parts[i].iov_len < net.takes ? parts[i].iov_len : net.takes;

        assert_true(parts[i].iov_len > 0);
        memcpy(net.sent + net.len, parts[i].iov_base, n);
        net.len += n;
        net.takes -= n;
        taken += n;
    }
    return (ssize_t)taken;
}

void origin_expect(origin_t *o, method_e method)
{
    net.expected = method;
    o->writing.asked = 1;
}

void origin_upload(origin_t *o, int begins)
{
    (void)o;
    net.uploads = begins;
}

void origin_fail_later(origin_t *o, origin_e how, const char *why)
{
    (void)o, (void)how, (void)why;
    fail();
}

#define HEAD "POST /a HTTP/1.1\r\nHost: m\r\n"
#define KEPT "Connection: Keep-Alive\r\n\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n" KEPT

static const fields_t none;

static member_ask_t asked_for(body_e body, uint64_t length)
{
    return (member_ask_t){ .method = { "POST", 4 }, .known = METHOD_POST, .target = { "/a", 2 }, .fields = &none, .host = { "m", 1 },
                           .body = body, .length = length };
}

/* What the exchange does: gives what it has, again and again, until all is taken. The first piece goes with the head. */
static void sends(body_e body, const char *bytes, size_t first, size_t step, const char *expected)
{
    member_ask_t ask = asked_for(body, strlen(bytes));
    size_t len = strlen(bytes), sent = 0, have = first;
    origin_t o = { 0 };
    int turns = 0;
    ssize_t n;

    memset(&net, 0, sizeof net);
    net.takes = step;
    n = origin_h1_ask(&o, &ask, bytes, have, have == len);
    while (n >= 0 && turns++ < 2000) {
        sent += (size_t)n;
        if (origin_h1_is_asked(&o)) {
            break;
        }
        net.takes = step;
        have = sent == have && have < len ? have + 1 : have;
        n = origin_write_rest(&o) ? origin_h1_body(&o, bytes + sent, have - sent, have == len) : 0;
    }
    assert_int_equal(sent, len);
    assert_true(origin_h1_is_asked(&o));
    assert_int_equal(net.len, strlen(expected));
    assert_memory_equal(net.sent, expected, net.len);
    assert_int_equal(net.expected, METHOD_POST);
    origin_write_clear(&o);
}

static void test_in_one_go(void **state)
{
    (void)state;
    sends(BODY_NONE, "", 0, 4096, HEAD KEPT);
    assert_false(net.uploads);
    sends(BODY_LENGTH, "hello", 5, 4096, HEAD "Content-Length: 5\r\n" KEPT "hello");
    assert_false(net.uploads);
    sends(BODY_CHUNKED, "hello", 5, 4096, CHUNKED "5\r\nhello\r\n0\r\n\r\n");
    sends(BODY_CHUNKED, "", 0, 4096, CHUNKED "0\r\n\r\n");
}

static void test_whatever_the_socket_takes(void **state)
{
    size_t step;

    (void)state;
    for (step = 1; step < 120; step++) {
        sends(BODY_NONE, "", 0, step, HEAD KEPT);
        sends(BODY_LENGTH, "hello", 5, step, HEAD "Content-Length: 5\r\n" KEPT "hello");
        sends(BODY_LENGTH, "hello", 2, step, HEAD "Content-Length: 5\r\n" KEPT "hello");
        assert_true(net.uploads);
        sends(BODY_CHUNKED, "hello", 5, step, CHUNKED "5\r\nhello\r\n0\r\n\r\n");
        sends(BODY_STREAM, "hello", 5, step, CHUNKED "5\r\nhello\r\n0\r\n\r\n");
    }
}

/* A chunk is what was there when it began. */
static void test_chunks_as_they_come(void **state)
{
    (void)state;
    sends(BODY_CHUNKED, "abc", 1, 4096, CHUNKED "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n");
    sends(BODY_CHUNKED, "abc", 0, 1, CHUNKED "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n");
}

static void test_a_member_that_is_gone(void **state)
{
    member_ask_t ask = asked_for(BODY_CHUNKED, 0);
    origin_t o = { 0 };

    (void)state;
    memset(&net, 0, sizeof net);
    net.takes = 10;
    assert_int_equal(origin_h1_ask(&o, &ask, "abc", 3, 0), 0);
    net.dead = 1;
    assert_int_equal(origin_write_rest(&o), 0);
    assert_int_equal(origin_h1_body(&o, "abc", 3, 1), -1);
    assert_false(origin_h1_is_asked(&o));
    origin_write_clear(&o);
}

static char long_host[20000];

static void test_a_long_head(void **state)
{
    member_ask_t ask = asked_for(BODY_NONE, 0);
    origin_t o = { 0 };
    size_t all = 0;

    (void)state;
    memset(&net, 0, sizeof net);
    memset(long_host, 'h', sizeof long_host);
    ask.host = (span_t){ long_host, sizeof long_host };
    assert_int_equal(origin_h1_ask(&o, &ask, NULL, 0, 1), 0);
    while (!origin_h1_is_asked(&o)) {
        all += net.len;
        net.len = 0;
        net.takes = 1000;
        origin_write_rest(&o);
    }
    assert_int_equal(all + net.len, sizeof HEAD KEPT - 2 + sizeof long_host);
    origin_write_clear(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_one_go),
        cmocka_unit_test(test_whatever_the_socket_takes),
        cmocka_unit_test(test_chunks_as_they_come),
        cmocka_unit_test(test_a_member_that_is_gone),
        cmocka_unit_test(test_a_long_head),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
