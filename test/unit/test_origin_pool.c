/* test_origin_pool.c - which connections are kept, for how long, and for whom; many at once; names, sockets, refusals; users who leave. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <apr_general.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "origin_world.h"

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#ifdef __SANITIZE_THREAD__
#define MANY 100 /* threads are dear there */
#else
#define MANY 1000
#endif

static void hello(member_t *m, int fd, int number)
{
    (void)number;
    while (member_head(fd)) {
        member_say(fd, m->ctx ? m->ctx : HELLO);
    }
}

static void visit_once(world_t *w, member_t *m, int reused)
{
    visit_t v;

    visit_init(&v, w, m);
    assert_true(visit(&v));
    assert_hello(&v);
    assert_int_equal(v.reused, reused);
    assert_int_equal(v.connected, !reused);
    assert_int_equal(v.bytes_in, strlen(m->ctx ? m->ctx : HELLO));
    visit_clear(&v);
}

static void test_reuse(void **state)
{
    world_t w;
    member_t m;
    visit_t v;
    int i;

    (void)state;
    pair_open(&w, &m, NULL, hello, NULL);
    for (i = 0; i < 50; i++) {
        visit_once(&w, &m, i > 0);
    }
    assert_int_equal(m.accepted, 1);
    visit_init(&v, &w, &m); /* not a kept one */
    v.want.fresh = 1;
    assert_true(visit(&v));
    assert_int_equal(v.reused, 0);
    visit_clear(&v);
    assert_int_equal(m.accepted, 2);
    visit_init(&v, &w, &m); /* a look first */
    v.want.careful = 1;
    assert_true(visit(&v));
    assert_int_equal(v.reused, 1);
    visit_clear(&v);
    assert_true(world_wait(&w, 0, 2));
    pair_close(&w, &m);
}

/* The member closes after each answer without having said so. */
static void hello_and_close(member_t *m, int fd, int number)
{
    (void)m;
    (void)number;
    if (member_head(fd)) {
        member_say(fd, HELLO);
        member_sleep_ms(10);
    }
}

static void test_closed_while_idle(void **state)
{
    world_t w;
    member_t m;
    int i;

    (void)state;
    pair_open(&w, &m, NULL, hello_and_close, NULL);
    for (i = 0; i < 5; i++) {
        visit_once(&w, &m, 0);
        assert_true(world_wait(&w, 0, 0));
    }
    pair_close(&w, &m);
}

static void hello_and_more(member_t *m, int fd, int number)
{
    (void)number;
    while (member_head(fd)) {
        member_say(fd, HELLO);
        member_sleep_ms(10);
        member_say(fd, m->ctx);
    }
}

/* What is said without being asked never answers the next request. */
static void test_not_silent_while_idle(void **state)
{
    world_t w;
    member_t m;

    (void)state;
    pair_open(&w, &m, NULL, hello_and_more, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    {
        visit_t v;

        visit_init(&v, &w, &m);
        assert_true(visit(&v));
        assert_hello(&v);
        visit_clear(&v);
        assert_true(world_wait(&w, 0, 0));
    }
    pair_close(&w, &m);
}

/* The second request on a connection is not answered: the member is just closing. */
static void once_each(member_t *m, int fd, int number)
{
    (void)m;
    (void)number;
    if (member_head(fd)) {
        member_say(fd, HELLO);
        (void)member_head(fd);
        member_harsh(fd);
    }
}

static void test_stale(void **state)
{
    world_t w;
    member_t m;
    visit_t v;

    (void)state;
    pair_open(&w, &m, NULL, once_each, NULL);
    visit_once(&w, &m, 0);
    visit_init(&v, &w, &m);
    assert_true(visit(&v));
    assert_int_equal(v.reused, 1);
    assert_int_equal(v.failed, 1);
    assert_int_equal(v.how, ORIGIN_RESET);
    assert_string_equal(v.why, "the kept-alive connection was closed without an answer");
    visit_clear(&v);
    pair_close(&w, &m);
}

static void sleep_on_loop(void *ctx)
{
    (void)ctx;
    member_sleep_ms(60);
}

typedef struct {
    visit_t *v;
    int careful;
} race_t;

static void start_late(void *ctx)
{
    race_t *race = ctx;
    const origin_want_t *want = &race->v->want;
    static const origin_ops_t nobody;
    int ready = 0;
    origin_t *o;

    sleep_on_loop(NULL); /* the member closes meanwhile, and the loop has not heard of it */
    o = origin_get(race->v->w->loop, want, &nobody, NULL, &ready);
    assert_non_null(o);
    assert_int_equal(ready, !race->careful);
    origin_drop(o);
}

static void hello_and_close_soon(member_t *m, int fd, int number)
{
    (void)m;
    (void)number;
    if (member_head(fd)) {
        member_say(fd, HELLO);
        member_sleep_ms(30);
    }
}

static void test_careful(void **state)
{
    int careful;

    (void)state;
    for (careful = 0; careful < 2; careful++) {
        world_t w;
        member_t m;
        visit_t v;
        race_t race = { &v, careful };

        pair_open(&w, &m, NULL, hello_and_close_soon, NULL);
        visit_once(&w, &m, 0);
        visit_init(&v, &w, &m);
        v.want.careful = careful;
        world_do(&w, start_late, &race);
        assert_true(world_wait(&w, 0, 0));
        pair_close(&w, &m);
    }
}

static void test_ages(void **state)
{
    world_t w;
    member_t m;
    origins_rules_t rules = { .idle_usec = 50000 };

    (void)state;
    pair_open(&w, &m, &rules, hello, NULL);
    visit_once(&w, &m, 0);
    visit_once(&w, &m, 1);
    assert_true(world_wait(&w, 0, 0));
    visit_once(&w, &m, 0);
    pair_close(&w, &m);

    pair_open(&w, &m, NULL, hello, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=2, max=100\r\n\r\nhello");
    visit_once(&w, &m, 0);
    member_sleep_ms(700);
    visit_once(&w, &m, 1);
    member_sleep_ms(700);
    assert_int_equal(world_counts(&w).idle, 1);
    member_sleep_ms(400);
    assert_int_equal(world_counts(&w).idle, 0);
    visit_once(&w, &m, 0);
    pair_close(&w, &m);
}

/* --- the roster --- */

static void drain(void *ctx)
{
    origins_drain(((world_t *)ctx)->loop);
}

static void follow_present(void *ctx)
{
    member_t *m = ctx;
    gate_roster_t roster = { .group = 5, .version = 2, .count = 1, .members = &m->at };

    origins_follow(m->world->loop, &roster);
}

static void test_roster(void **state)
{
    world_t w;
    member_t m;

    (void)state;
    pair_open(&w, &m, NULL, hello, NULL);
    visit_once(&w, &m, 0);
    world_do(&w, follow_present, &m);
    visit_once(&w, &m, 1);
    world_do(&w, world_follow, &w);
    assert_int_equal(world_counts(&w).idle, 0);
    visit_once(&w, &m, 0);
    m.at.incarnation++; /* the slot changed hands */
    visit_once(&w, &m, 0);
    assert_true(world_wait(&w, 0, 1));
    m.at.incarnation--; /* an exchange that began before that */
    visit_once(&w, &m, 0);
    assert_true(world_wait(&w, 0, 1));
    m.at.incarnation++;
    visit_once(&w, &m, 1);
    world_do(&w, drain, &w);
    assert_true(world_wait(&w, 0, 0));
    visit_once(&w, &m, 0);
    visit_once(&w, &m, 0);
    pair_close(&w, &m);
}

static void hello_after_a_while(member_t *m, int fd, int number)
{
    (void)number;
    while (member_head(fd)) {
        member_sleep_ms(100);
        member_say(fd, m->ctx ? m->ctx : HELLO);
    }
}

static void test_removed_while_used(void **state)
{
    world_t w;
    member_t m;
    visit_t v;

    (void)state;
    pair_open(&w, &m, NULL, hello_after_a_while, NULL);
    visit_init(&v, &w, &m);
    visit_start(&v);
    world_do(&w, world_follow, &w);
    assert_true(visit_wait(&v));
    assert_hello(&v);
    assert_int_equal(world_counts(&w).idle, 0);
    visit_clear(&v);
    pair_close(&w, &m);
}

/* --- many --- */

static void many_round(world_t *w, member_t *m, visit_t *v, int reused)
{
    int i, kept = 0;

    for (i = 0; i < MANY; i++) {
        visit_init(&v[i], w, m);
        v[i].limit_usec = 20000000;
        v[i].want.connect_usec = 20000000;
        visit_start(&v[i]);
    }
    for (i = 0; i < MANY; i++) {
        assert_true(visit_wait(&v[i]));
        assert_hello(&v[i]);
        kept += v[i].reused;
        visit_clear(&v[i]);
    }
    assert_int_equal(kept, reused);
}

static int all_are_here(member_t *m)
{
    int here;

    pthread_mutex_lock(&m->world->mutex);
    here = m->accepted >= MANY;
    pthread_mutex_unlock(&m->world->mutex);
    return here;
}

/* Nobody is answered before all have come. */
static void hello_together(member_t *m, int fd, int number)
{
    int patience;

    (void)number;
    while (member_head(fd)) {
        for (patience = 2000; patience && !all_are_here(m); patience--) {
            member_sleep_ms(10);
        }
        member_say(fd, HELLO);
    }
}

static void test_many(void **state)
{
    struct rlimit limit;
    visit_t *v = calloc(MANY, sizeof *v);
    origins_rules_t rules = { .idle_max = MANY };
    world_t w;
    member_t m;

    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 8192 ? limit.rlim_max : 8192;
    setrlimit(RLIMIT_NOFILE, &limit);
    pair_open(&w, &m, &rules, hello_together, NULL);
    many_round(&w, &m, v, 0);
    assert_true(world_wait(&w, 0, MANY));
    many_round(&w, &m, v, MANY);
    assert_int_equal(m.accepted, MANY);
    pair_close(&w, &m);

    rules.idle_max = 10;
    pair_open(&w, &m, &rules, hello_together, NULL);
    many_round(&w, &m, v, 0);
    assert_true(world_wait(&w, 0, 10));
    pair_close(&w, &m);
    free(v);
}

/* --- to get there --- */

static int closed_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void refused(world_t *w, member_t *m, const char *why)
{
    visit_t v;

    visit_init(&v, w, m);
    assert_true(visit(&v));
    assert_int_equal(v.failed, 1);
    assert_int_equal(v.connected, 0);
    assert_int_equal(v.how, ORIGIN_REFUSED);
    assert_int_equal(v.tls_failed, 0);
    assert_non_null(strstr(v.why, why));
    visit_clear(&v);
}

static void test_refused(void **state)
{
    world_t w;
    member_t m;

    (void)state;
    pair_open(&w, &m, NULL, hello, NULL);
    m.at.parts.port = (uint16_t)closed_port();
    refused(&w, &m, "connection refused");
    m.at.incarnation++;
    m.at.parts.host = "::1";
    refused(&w, &m, "");
    m.at.incarnation++;
    m.at.parts.host = "no-such-host.invalid";
    refused(&w, &m, "name");
    refused(&w, &m, "name"); /* remembered */
    m.at.incarnation++;
    m.at.parts.unix_path = "/no/such/socket";
    refused(&w, &m, "there is no such socket");
    pair_close(&w, &m);
}

static void test_names(void **state)
{
    world_t w;
    member_t m;
    visit_t v[3];
    int i;

    (void)state;
    pair_open(&w, &m, NULL, hello, NULL);
    m.at.parts.host = "localhost"; /* may be ::1 and 127.0.0.1: the member listens on one of them */
    for (i = 0; i < 3; i++) {
        visit_init(&v[i], &w, &m);
        visit_start(&v[i]);
    }
    for (i = 0; i < 3; i++) {
        assert_true(visit_wait(&v[i]));
        assert_hello(&v[i]);
        visit_clear(&v[i]);
    }
    visit_once(&w, &m, 1);
    pair_close(&w, &m);
}

static void test_unix(void **state)
{
    world_t w;
    member_t m;
    char path[64];

    (void)state;
    snprintf(path, sizeof path, "/tmp/gate-origin-%d", (int)getpid());
    world_open(&w, NULL);
    member_open_unix(&m, &w, path, hello, NULL);
    visit_once(&w, &m, 0);
    visit_once(&w, &m, 1);
    pair_close(&w, &m);
}

/* A listener that takes nobody: its backlog is full. */
static void test_connect_limit(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), fill[8], i;
    gate_roster_member_t at_member = { .slot = 1, .incarnation = 1, .parts = { .scheme = "http", .host = "127.0.0.1", .path = "" } };
    member_t m = { 0 };
    world_t w;
    visit_t v;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(listen(fd, 0), 0);
    for (i = 0; i < 8; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fill[i], (struct sockaddr *)&at, len);
    }
    m.at = at_member;
    m.at.parts.port = ntohs(at.sin_port);
    world_open(&w, NULL);
    visit_init(&v, &w, &m);
    v.want.connect_usec = 80000;
    assert_true(visit(&v));
    assert_int_equal(v.how, ORIGIN_REFUSED);
    assert_string_equal(v.why, "connect timed out");
    visit_clear(&v);
    world_close(&w);
    for (i = 0; i < 8; i++) {
        close(fill[i]);
    }
    close(fd);
}

/* --- users who leave --- */

static void speak_first(member_t *m, int fd, int number)
{
    (void)number;
    member_say(fd, m->ctx);
    (void)member_head(fd);
}

static void drop_after(void *ctx)
{
    visit_t *v = ctx;

    if (v->o) {
        origin_drop(v->o);
        v->o = NULL;
    }
}

static void test_leave(void **state)
{
    static const char *const hosts[] = { "127.0.0.1", "localhost", "no-such-host.invalid" };
    world_t w;
    member_t m;
    visit_t v;
    int i;

    (void)state;
    pair_open(&w, &m, NULL, hello_after_a_while, NULL);
    for (i = 0; i < 4; i++) {
        visit_init(&v, &w, &m);
        v.drop_at_connected = i == 0;
        v.drop_at_head = i == 1;
        v.drop_at_data = i == 2;
        assert_true(visit(&v));
        assert_int_equal(v.dropped, i < 3);
        assert_int_equal(v.ended, i == 3);
        visit_clear(&v);
    }
    for (i = 0; i < 3; i++) { /* at once, and while it waits for its answer */
        m.at.incarnation++;
        m.at.parts.host = hosts[i];
        visit_init(&v, &w, &m);
        visit_start(&v);
        world_do(&w, drop_after, &v);
        visit_clear(&v);
        visit_init(&v, &w, &m);
        visit_start(&v);
        member_sleep_ms(20);
        world_do(&w, drop_after, &v);
        visit_clear(&v);
    }
    assert_int_equal(world_counts(&w).used, 0);
    m.at.parts.host = "127.0.0.1";
    member_close(&m);
    member_open(&m, &w, speak_first, "hello, who is there?\r\n");
    visit_init(&v, &w, &m);
    assert_true(visit(&v));
    assert_int_equal(v.how, ORIGIN_BAD);
    visit_clear(&v);
    pair_close(&w, &m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_closed_while_idle),
        cmocka_unit_test(test_not_silent_while_idle),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_careful),
        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_roster),
        cmocka_unit_test(test_removed_while_used),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_connect_limit),
        cmocka_unit_test(test_leave),
    };
    int rv;

    apr_initialize();
    rv = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rv;
}
