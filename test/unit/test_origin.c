/* test_origin.c - answers of members in every shape, over real sockets: whole, in pieces, broken, too long, too late. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <apr_general.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "origin_world.h"

#define BIG (4 * 1024 * 1024)

static void assert_body(const visit_t *v, const char *body)
{
    assert_int_equal(v->body_len, strlen(body));
    assert_memory_equal(v->body_len ? v->body : "", body, v->body_len);
}

/* The member answers every request with the text in ctx. */
static void say_always(member_t *m, int fd, int number)
{
    (void)number;
    while (member_head(fd)) {
        member_say(fd, m->ctx);
    }
}

static void say_once(member_t *m, int fd, int number)
{
    (void)number;
    if (member_head(fd)) {
        member_say(fd, m->ctx);
    }
}

static void say_once_harshly(member_t *m, int fd, int number)
{
    say_once(m, fd, number);
    member_sleep_ms(30);
    member_harsh(fd);
}

/* One request, answered with `text`; what came of it is in *v. */
static void one(visit_t *v, member_serve_t serve, const char *text, method_e method, int *idle)
{
    world_t w;
    member_t m;

    pair_open(&w, &m, NULL, serve, (void *)text);
    visit_init(v, &w, &m);
    v->method = method;
    assert_true(visit(v));
    *idle = (int)world_counts(&w).idle;
    pair_close(&w, &m);
}

static void test_length(void **state)
{
    visit_t v;
    int idle;

    (void)state;
    one(&v, say_always, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", METHOD_GET, &idle);
    assert_int_equal(v.status, 200);
    assert_int_equal(v.connected, 1);
    assert_int_equal(v.ended, 1);
    assert_int_equal(v.failed, 0);
    assert_int_equal(v.turns, 0); /* end() says it all */
    assert_body(&v, "hello");
    assert_int_equal(idle, 1);
    assert_int_equal(v.bytes_out, v.request_len);
    visit_clear(&v);
}

static void test_without_body(void **state)
{
    static const struct {
        const char *text;
        method_e method;
        int status;
    } each[] = {
        { "HTTP/1.1 204 No Content\r\n\r\n", METHOD_GET, 204 },
        { "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", METHOD_GET, 304 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", METHOD_HEAD, 200 },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, 200 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", METHOD_GET, 200 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof each / sizeof each[0]; i++) {
        visit_t v;
        int idle;

        one(&v, say_always, each[i].text, each[i].method, &idle);
        assert_int_equal(v.status, each[i].status);
        assert_int_equal(v.ended, 1);
        assert_int_equal(v.body_len, 0);
        assert_int_equal(idle, 1);
        visit_clear(&v);
    }
}

static void test_until_closed(void **state)
{
    visit_t v;
    int idle;

    (void)state;
    one(&v, say_once, "HTTP/1.1 200 OK\r\n\r\nall of it", METHOD_GET, &idle);
    assert_int_equal(v.ended, 1);
    assert_body(&v, "all of it");
    assert_int_equal(idle, 0);
    visit_clear(&v);
    one(&v, say_once_harshly, "HTTP/1.1 200 OK\r\n\r\nnot all of it", METHOD_GET, &idle);
    assert_int_equal(v.failed, 1);
    assert_int_equal(v.how, ORIGIN_RESET);
    assert_string_equal(v.why, "the answer ended early");
    visit_clear(&v);
}

static void test_not_kept(void **state)
{
    static const char *const each[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=1\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nbody",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof each / sizeof each[0]; i++) {
        visit_t v;
        int idle;

        one(&v, say_always, each[i], METHOD_GET, &idle);
        assert_int_equal(v.ended, 1);
        assert_int_equal(idle, 0);
        visit_clear(&v);
    }
}

static void test_bad_answers(void **state)
{
    char endless[70000], *line;
    const char *each[] = {
        "220 mail.example ESMTP\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", /* nobody wanted that */
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n",
        endless,
    };
    size_t i;

    (void)state;
    strcpy(endless, "HTTP/1.1 200 OK\r\n");
    for (line = endless + strlen(endless); line < endless + sizeof endless - 20; line += strlen(line)) {
        strcpy(line, "X-Many: fields\r\n");
    }
    for (i = 0; i < sizeof each / sizeof each[0]; i++) {
        visit_t v;
        int idle;

        one(&v, say_always, each[i], METHOD_GET, &idle);
        assert_int_equal(v.failed, 1);
        assert_int_equal(v.how, ORIGIN_BAD);
        assert_int_equal(v.ended, 0);
        assert_int_equal(idle, 0);
        visit_clear(&v);
    }
}

static void test_ended_early(void **state)
{
    static const struct {
        const char *text, *why;
    } each[] = {
        { "", "closed without an answer" },
        { "HTTP/1.1 200 OK\r\nContent-", "closed within the answer's head" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "the answer ended early" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", "the answer ended early" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "the answer ended early" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-", "the answer ended early" },
    };
    size_t i;

    (void)state;
    for (i = 0; i < 2 * sizeof each / sizeof each[0]; i++) {
        visit_t v;
        int idle;

        one(&v, i & 1 ? say_once_harshly : say_once, each[i / 2].text, METHOD_GET, &idle);
        assert_int_equal(v.failed, 1);
        assert_int_equal(v.how, ORIGIN_RESET);
        assert_string_equal(v.why, each[i / 2].why);
        assert_int_equal(idle, 0);
        visit_clear(&v);
    }
}

static void test_interim(void **state)
{
    visit_t v;
    int idle, i;
    char many[8192] = "";

    (void)state;
    one(&v, say_always,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", METHOD_GET,
        &idle);
    assert_int_equal(v.interims, 2);
    assert_int_equal(v.status, 200);
    assert_body(&v, "hi");
    assert_int_equal(idle, 1);
    visit_clear(&v);
    for (i = 0; i < 100; i++) {
        strcat(many, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    }
    one(&v, say_always, many, METHOD_GET, &idle);
    assert_int_equal(v.how, ORIGIN_BAD);
    assert_string_equal(v.why, "interim answers without end");
}

/* --- split at each byte --- */

typedef struct {
    const char *text;
    size_t at;
} split_t;

static void say_split(member_t *m, int fd, int number)
{
    split_t *split = m->ctx;

    (void)number;
    while (member_head(fd)) {
        member_say_bytes(fd, split->text, split->at);
        member_sleep_ms(1);
        member_say(fd, split->text + split->at);
    }
}

static void test_each_split(void **state)
{
    static const char *const each[] = {
        "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-T: u\r\nX-V: w\r\n\r\n",
    };
    size_t i;
    world_t w;
    member_t m;
    split_t split;

    (void)state;
    for (i = 0; i < 2; i++) {
        split.text = each[i];
        pair_open(&w, &m, NULL, say_split, &split);
        for (split.at = 1; split.at < strlen(split.text); split.at++) {
            visit_t v;

            visit_init(&v, &w, &m);
            assert_true(visit(&v));
            assert_int_equal(v.ended, 1);
            assert_int_equal(v.status, 200);
            assert_body(&v, "hello");
            assert_int_equal(v.interims, i == 0);
            assert_int_equal(v.trailers, i == 1 ? 2 : 0);
            assert_int_equal(v.reused, split.at > 1);
            visit_clear(&v);
        }
        assert_int_equal(m.accepted, 1);
        pair_close(&w, &m);
    }
}

static void say_bytewise(member_t *m, int fd, int number)
{
    const char *p;
    int i;

    (void)number;
    while (member_head(fd)) {
        for (p = m->ctx, i = 0; *p; p++, i++) {
            member_say_bytes(fd, p, 1);
            if (i % 64 == 0) {
                member_sleep_ms(1);
            }
        }
    }
}

static void test_long_head_in_bytes(void **state)
{
    char text[24000] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n";
    visit_t v;
    int i, idle;

    (void)state;
    for (i = 0; i < 100; i++) {
        sprintf(text + strlen(text), "X-Field-%d: %0*d\r\n", i, 100 + i, 0);
    }
    strcat(text, "\r\nabc");
    one(&v, say_bytewise, text, METHOD_GET, &idle);
    assert_int_equal(v.ended, 1);
    assert_body(&v, "abc");
    assert_int_equal(idle, 1);
    visit_clear(&v);
}

/* --- large ones --- */

static char pattern(size_t i)
{
    return (char)(i * 31 + (i >> 8));
}

static int is_pattern(const char *bytes, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (bytes[i] != pattern(i)) {
            return 0;
        }
    }
    return 1;
}

static char *make_pattern(size_t len)
{
    char *bytes = malloc(len);
    size_t i;

    for (i = 0; i < len; i++) {
        bytes[i] = pattern(i);
    }
    return bytes;
}

static void say_big(member_t *m, int fd, int number)
{
    char head[64];

    (void)number;
    while (member_head(fd)) {
        sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
        member_say(fd, head);
        member_say_bytes(fd, m->ctx, BIG);
    }
}

static void say_big_in_chunks(member_t *m, int fd, int number)
{
    size_t at, len;
    char line[32];

    (void)number;
    while (member_head(fd)) {
        member_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (at = 0, len = 1; at < BIG; at += len, len = (len * 7 + 3) % 40009) {
            len = len < 1 ? 1 : BIG - at < len ? BIG - at : len;
            sprintf(line, "%zx\r\n", len);
            member_say(fd, line);
            member_say_bytes(fd, (char *)m->ctx + at, len);
            member_say(fd, "\r\n");
        }
        member_say(fd, "0\r\n\r\n");
    }
}

static size_t paused_at;

static void resume(void *ctx)
{
    visit_t *v = ctx;

    paused_at = v->body_len;
    if (v->o) {
        origin_resume(v->o);
    }
}

static void test_large(void **state)
{
    char *bytes = make_pattern(BIG);
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        world_t w;
        member_t m;
        visit_t v;

        pair_open(&w, &m, NULL, i & 1 ? say_big_in_chunks : say_big, bytes);
        visit_init(&v, &w, &m);
        v.limit_usec = 400000;
        v.pause_at = i & 2 ? 100000 : 0;
        visit_start(&v);
        if (i & 2) {
            member_sleep_ms(700); /* paused for longer than a silence may last */
            world_do(&w, resume, &v);
            assert_true(paused_at >= 100000 && paused_at < 100000 + LOOP_SCRATCH_BYTES);
        }
        assert_true(visit_wait(&v));
        assert_int_equal(v.ended, 1);
        assert_int_equal(v.body_len, BIG);
        assert_true(is_pattern(v.body, BIG));
        assert_true(world_wait(&w, 0, 1));
        visit_clear(&v);
        pair_close(&w, &m);
    }
    free(bytes);
}

static void take_upload(member_t *m, int fd, int number)
{
    char *got = malloc(BIG);
    size_t len = 0;
    ssize_t n;

    (void)number;
    if (member_head(fd)) {
        member_sleep_ms(50);
        while (len < BIG && (n = recv(fd, got + len, BIG - len, 0)) > 0) {
            len += (size_t)n;
        }
    }
    *(int *)m->ctx = len == BIG && is_pattern(got, BIG);
    free(got);
    member_say(fd, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
}

static char *make_upload(size_t *len)
{
    char *bytes = make_pattern(BIG), *request = malloc(BIG + 100);
    int head = sprintf(request, "POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n", BIG);

    memcpy(request + head, bytes, BIG);
    free(bytes);
    *len = (size_t)head + BIG;
    return request;
}

static void test_upload(void **state)
{
    size_t len;
    char *request = make_upload(&len);
    int whole = 0;
    world_t w;
    member_t m;
    visit_t v;

    (void)state;
    pair_open(&w, &m, NULL, take_upload, &whole);
    visit_init(&v, &w, &m);
    v.method = METHOD_POST;
    v.request = request;
    v.request_len = len;
    assert_true(visit(&v));
    assert_int_equal(v.status, 201);
    assert_int_equal(v.ended, 1);
    assert_int_equal(v.bytes_out, len);
    assert_true(whole);
    visit_clear(&v);
    pair_close(&w, &m);
    free(request);
}

/* The answer comes when the body has hardly begun; then nothing is read any more. */
static void refuse_upload(member_t *m, int fd, int number)
{
    (void)number;
    if (member_head(fd)) {
        member_say(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch");
        member_sleep_ms(*(int *)m->ctx);
    }
}

static void test_early_answer(void **state)
{
    size_t len;
    char *request = make_upload(&len);
    int wait_ms;

    (void)state;
    for (wait_ms = 0; wait_ms <= 60; wait_ms += 60) {
        world_t w;
        member_t m;
        visit_t v;

        pair_open(&w, &m, NULL, refuse_upload, &wait_ms);
        visit_init(&v, &w, &m);
        v.method = METHOD_POST;
        v.request = request;
        v.request_len = len;
        assert_true(visit(&v));
        assert_int_equal(v.status, 413);
        assert_int_equal(v.ended, 1);
        assert_body(&v, "much");
        assert_true(v.sent < len || v.send_failed);
        assert_true(world_wait(&w, 0, 0));
        visit_clear(&v);
        pair_close(&w, &m);
    }
    free(request);
}

/* --- time --- */

static void say_and_stall(member_t *m, int fd, int number)
{
    say_once(m, fd, number);
    (void)member_head(fd); /* until the other side is gone */
}

static void test_silence(void **state)
{
    static const struct {
        const char *text, *why;
    } each[] = {
        { "", "no answer in time" },
        { "HTTP/1.1 200", "the answer came to a halt" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "the answer came to a halt" },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof each / sizeof each[0]; i++) {
        world_t w;
        member_t m;
        visit_t v;

        pair_open(&w, &m, NULL, say_and_stall, (void *)each[i].text);
        visit_init(&v, &w, &m);
        v.limit_usec = 60000;
        assert_true(visit(&v));
        assert_int_equal(v.failed, 1);
        assert_int_equal(v.how, ORIGIN_TIMEOUT);
        assert_string_equal(v.why, each[i].why);
        visit_clear(&v);
        pair_close(&w, &m);
    }
}

static void say_slowly(member_t *m, int fd, int number)
{
    const char *p;

    (void)number;
    if (member_head(fd)) {
        for (p = m->ctx; *p; p++) {
            member_say_bytes(fd, p, 1);
            member_sleep_ms(5);
        }
    }
    (void)member_head(fd);
}

/* Every byte ends a silence: the limit is no deadline. */
static void test_slow_is_not_silent(void **state)
{
    visit_t v;
    int idle;
    world_t w;
    member_t m;

    (void)state;
    pair_open(&w, &m, NULL, say_slowly, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    visit_init(&v, &w, &m);
    v.limit_usec = 100000;
    assert_true(visit(&v));
    idle = (int)world_counts(&w).idle;
    assert_int_equal(v.ended, 1);
    assert_body(&v, "hello");
    assert_int_equal(idle, 1);
    visit_clear(&v);
    pair_close(&w, &m);
}

/* --- tunnel --- */

static void tunnel_echo(member_t *m, int fd, int number)
{
    char bytes[512];
    ssize_t n;

    (void)number;
    if (member_head(fd)) {
        member_say(fd, m->ctx);
        while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
            member_say_bytes(fd, bytes, (size_t)n);
        }
        member_say(fd, "bye");
    }
}

static void say_in_tunnel(void *ctx)
{
    visit_t *v = ctx;
    struct iovec part = { (char *)"HTTP/1.1 200 OK\r\n\r\n", 19 };

    assert_int_equal(origin_send(v->o, &part, 1), 19);
}

static void shut(void *ctx)
{
    visit_t *v = ctx;

    origin_shutdown(v->o);
}

typedef struct {
    visit_t *v;
    size_t len;
} coming_t;

static void look(void *ctx)
{
    coming_t *c = ctx;

    c->len = c->v->body_len;
}

static int came(visit_t *v, size_t len)
{
    coming_t c = { v, 0 };

    world_do(v->w, look, &c);
    return c.len >= len;
}

static void test_tunnel(void **state)
{
    world_t w;
    member_t m;
    visit_t v;
    int patience;

    (void)state;
    pair_open(&w, &m, NULL, tunnel_echo, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst ");
    visit_init(&v, &w, &m);
    v.tunnel = 1;
    visit_start(&v);
    for (patience = 1000; patience && !came(&v, 6); patience--) {
        member_sleep_ms(2);
    }
    assert_int_equal(v.status, 101);
    world_do(&w, say_in_tunnel, &v);
    world_do(&w, shut, &v);
    assert_true(visit_wait(&v));
    assert_int_equal(v.ended, 1);
    assert_body(&v, "first HTTP/1.1 200 OK\r\n\r\nbye");
    assert_true(world_wait(&w, 0, 0));
    visit_clear(&v);
    pair_close(&w, &m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_without_body),
        cmocka_unit_test(test_until_closed),
        cmocka_unit_test(test_not_kept),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_ended_early),
        cmocka_unit_test(test_interim),
        cmocka_unit_test(test_each_split),
        cmocka_unit_test(test_long_head_in_bytes),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_slow_is_not_silent),
        cmocka_unit_test(test_tunnel),
    };
    int rv;

    apr_initialize();
    rv = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rv;
}
