/* test_origin_h2.c - members that speak HTTP/2, over real sockets: many requests on one connection, windows, members that refuse and leave. */

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

#include "origin_session.h"
#include "origin_world.h"

#define BIG (3 * 1024 * 1024)
#define MANY 60
#define UPLOAD 200000           /* through a window of 1000 bytes */

/* --- a member of libnghttp2's: the path says what it does --- */

typedef struct {
    uint32_t streams, window;   /* of its SETTINGS; 0: not said */
    _Atomic int asked;
    _Atomic size_t taken;       /* bytes of bodies */
} shop_t;

typedef struct {
    char path[32];
    size_t left;
} call_t;

typedef struct {
    shop_t *shop;
    int fd;
    nghttp2_session *session;
    int leave;
} counter_t;

static ssize_t give_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t most, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    static nghttp2_nv sum = { (uint8_t *)"x-sum", (uint8_t *)"1", 5, 1, NGHTTP2_NV_FLAG_NONE };
    call_t *call = source->ptr;
    size_t n = call->left < most ? call->left : most;

    (void)user;
    memset(to, 'b', n);
    call->left -= n;
    if (!call->left) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, id, &sum, 1);
    }
    return (ssize_t)n;
}

static void answer(counter_t *c, int32_t id, call_t *call)
{
    nghttp2_nv ok = { (uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE };
    nghttp2_data_provider body = { .source = { .ptr = call }, .read_callback = give_body };

    call->left = strcmp(call->path, "/big") == 0 ? BIG : 5;
    if (strcmp(call->path, "/refuse") == 0) {
        nghttp2_submit_rst_stream(c->session, 0, id, NGHTTP2_REFUSED_STREAM);
    }
    else if (strcmp(call->path, "/reset") == 0) {
        nghttp2_submit_rst_stream(c->session, 0, id, NGHTTP2_INTERNAL_ERROR);
    }
    else if (strcmp(call->path, "/none") == 0) {
        nghttp2_submit_response(c->session, id, &ok, 1, NULL);
    }
    else if (strcmp(call->path, "/leave") == 0) {
        c->leave = 1;
    }
    else if (strcmp(call->path, "/hang") != 0) {
        if (strcmp(call->path, "/last") == 0) {
            nghttp2_submit_goaway(c->session, 0, id, NGHTTP2_NO_ERROR, NULL, 0);
        }
        nghttp2_submit_response(c->session, id, &ok, 1, &body);
    }
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, calloc(1, sizeof(call_t)));
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t len, uint8_t flags, void *user)
{
    call_t *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags, (void)user;
    if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
        snprintf(call->path, sizeof call->path, "%.*s", (int)len, (const char *)value);
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    counter_t *c = user;
    call_t *call = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;

    if (call && frame->hd.type == NGHTTP2_HEADERS) {
        c->shop->asked++;
    }
    if (call && frame->hd.flags & NGHTTP2_FLAG_END_STREAM && frame->hd.type <= NGHTTP2_HEADERS) {
        answer(c, frame->hd.stream_id, call);
    }
    return 0;
}

static int on_bytes(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *user)
{
    (void)session, (void)flags, (void)id, (void)bytes;
    ((counter_t *)user)->shop->taken += len;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)code, (void)user;
    free(nghttp2_session_get_stream_user_data(session, id));
    nghttp2_session_set_stream_user_data(session, id, NULL);
    return 0;
}

/* Ends with its streams' memory. */
static void close_counter(counter_t *c)
{
    int32_t id;

    for (id = 1; id < 2 * 2000; id += 2) {
        if (nghttp2_session_find_stream(c->session, id)) {
            free(nghttp2_session_get_stream_user_data(c->session, id));
        }
    }
    nghttp2_session_del(c->session);
}

static void send_all(counter_t *c)
{
    const uint8_t *bytes;
    ssize_t n;

    while ((n = nghttp2_session_mem_send(c->session, &bytes)) > 0) {
        member_say_bytes(c->fd, (const char *)bytes, (size_t)n);
    }
}

static void serve_h2(member_t *m, int fd, int number)
{
    counter_t c = { m->ctx, fd, NULL, 0 };
    nghttp2_settings_entry said[2];
    nghttp2_session_callbacks *cb;
    static _Thread_local uint8_t bytes[65536];
    size_t says = 0;
    ssize_t n;

    (void)number;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_bytes);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_server_new(&c.session, cb, &c);
    nghttp2_session_callbacks_del(cb);
    if (c.shop->streams) {
        said[says++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c.shop->streams };
    }
    if (c.shop->window) {
        said[says++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c.shop->window };
    }
    nghttp2_submit_settings(c.session, 0, said, says);
    send_all(&c);
    while (!c.leave && (n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
        if (nghttp2_session_mem_recv(c.session, bytes, (size_t)n) < 0) {
            break;
        }
        send_all(&c);
    }
    close_counter(&c);
}

/* --- what every test has --- */

static const fields_t no_fields;

static member_ask_t ask_for(const char *path, method_e method, const char *body)
{
    return (member_ask_t){ .method = { method == METHOD_GET ? "GET" : "POST", method == METHOD_GET ? 3 : 4 }, .known = method,
                           .target = { path, (uint32_t)strlen(path) }, .fields = &no_fields, .host = { "m", 1 }, .body = body ? BODY_STREAM : BODY_NONE };
}

typedef struct {
    world_t w;
    member_t m;
    shop_t shop;
    member_ask_t ask;
} scene_t;

static void scene_open(scene_t *s, const origins_rules_t *rules, uint32_t streams, uint32_t window)
{
    memset(s, 0, sizeof *s);
    s->shop.streams = streams;
    s->shop.window = window;
    world_open(&s->w, rules);
    member_open(&s->m, &s->w, serve_h2, &s->shop);
    s->m.at.parts.scheme = "h2c";
}

static void scene_close(scene_t *s)
{
    member_close(&s->m);
    world_close(&s->w);
}

static void visit_for(visit_t *v, scene_t *s, const char *path)
{
    visit_init(v, &s->w, &s->m);
    s->ask = ask_for(path, METHOD_GET, NULL);
    v->ask = &s->ask;
    v->request = NULL;
    v->request_len = 0;
}

static void visit_with(visit_t *v, scene_t *s, const char *path, const char *body, size_t len)
{
    visit_for(v, s, path);
    s->ask = ask_for(path, METHOD_POST, body);
    v->method = METHOD_POST;
    v->request = body;
    v->request_len = len;
}

/* --- tests --- */

static void test_one_after_the_other(void **state)
{
    scene_t s;
    visit_t v;
    int i;

    (void)state;
    scene_open(&s, NULL, 0, 0);
    for (i = 0; i < 5; i++) {
        visit_for(&v, &s, i == 3 ? "/none" : "/");
        assert_true(visit(&v));
        assert_int_equal(v.status, 200);
        assert_int_equal(v.ended, 1);
        assert_int_equal(v.body_len, i == 3 ? 0 : 5);
        assert_int_equal(v.trailers, i == 3 ? 0 : 1);
        assert_int_equal(v.reused, i > 0);
        assert_int_equal(v.connected, i == 0);
        assert_true(v.bytes_in > 0 && v.bytes_out > 0);
        assert_true(world_wait(&s.w, 0, 1));
        visit_clear(&v);
    }
    assert_int_equal(s.m.accepted, 1);
    scene_close(&s);
}

static void test_many_at_once(void **state)
{
    visit_t *v = calloc(MANY, sizeof *v);
    member_ask_t ask;
    scene_t s;
    int i;

    (void)state;
    scene_open(&s, NULL, 0, 0);
    for (i = 0; i < MANY; i++) {
        visit_for(&v[i], &s, "/");
        ask = s.ask;
        v[i].ask = &ask;
        visit_start(&v[i]);
    }
    for (i = 0; i < MANY; i++) {
        assert_true(visit_wait(&v[i]));
        assert_int_equal(v[i].ended, 1);
        visit_clear(&v[i]);
    }
    assert_int_equal(s.m.accepted, 1);
    assert_true(world_wait(&s.w, 0, 1));
    scene_close(&s);
    free(v);
}

static void test_no_more_than_the_member_lets(void **state)
{
    visit_t v[8];
    scene_t s;
    int i;

    (void)state;
    scene_open(&s, NULL, 2, 0);
    for (i = 0; i < 8; i++) {
        visit_for(&v[i], &s, "/hang");
        v[i].limit_usec = 1500000;
        visit_start(&v[i]);
    }
    assert_true(world_wait(&s.w, 4, 0));
    for (i = 0; i < 8; i++) {
        assert_true(visit_wait(&v[i]));
        assert_int_equal(v[i].how, ORIGIN_TIMEOUT);
        visit_clear(&v[i]);
    }
    assert_int_equal(s.m.accepted, 4);
    assert_true(world_wait(&s.w, 0, 4));
    scene_close(&s);
}

static void go_on(void *ctx)
{
    visit_t *v = ctx;

    origin_limit(v->o, 4000000);
    origin_resume(v->o);
}

static size_t heard(visit_t *v)
{
    size_t len;

    pthread_mutex_lock(&v->w->mutex);
    len = v->body_len;
    pthread_mutex_unlock(&v->w->mutex);
    return len;
}

/* One that is not wanted any more waits; the other goes on; and what was kept comes in order, up to the trailers. */
static void test_a_slow_user(void **state)
{
    visit_t slow, other;
    member_ask_t ask;
    scene_t s;

    (void)state;
    scene_open(&s, NULL, 0, 0);
    visit_for(&slow, &s, "/big");
    ask = s.ask;
    slow.ask = &ask;
    slow.pause_at = 1;
    slow.limit_usec = 250000;
    visit_start(&slow);
    visit_for(&other, &s, "/big");
    assert_true(visit(&other));
    assert_int_equal(other.body_len, BIG);
    member_sleep_ms(300); /* its own silence is no failure */
    assert_true(heard(&slow) < 65536);
    world_do(&s.w, go_on, &slow);
    assert_true(visit_wait(&slow));
    assert_int_equal(slow.ended, 1);
    assert_int_equal(slow.body_len, BIG);
    assert_int_equal(slow.trailers, 1);
    assert_int_equal(s.m.accepted, 1);
    visit_clear(&slow);
    visit_clear(&other);
    scene_close(&s);
}

static void test_an_upload_through_a_small_window(void **state)
{
    char *bytes = malloc(UPLOAD);
    visit_t v;
    scene_t s;

    (void)state;
    memset(bytes, 'u', UPLOAD);
    scene_open(&s, NULL, 0, 1000);
    visit_with(&v, &s, "/", bytes, UPLOAD);
    assert_true(visit(&v));
    assert_int_equal(v.ended, 1);
    assert_false(v.send_failed);
    assert_int_equal(v.sent, UPLOAD);
    assert_int_equal(s.shop.taken, UPLOAD);
    assert_true(v.bytes_out > UPLOAD);
    visit_clear(&v);
    scene_close(&s);
    free(bytes);
}

static void test_how_it_fails(void **state)
{
    static const struct {
        const char *path;
        origin_e how;
        const char *why;
    } each[] = {
        { "/refuse", ORIGIN_UNTOUCHED, "the member refused the stream" },
        { "/reset", ORIGIN_REJECTED, "the member reset the stream (INTERNAL_ERROR)" },
        { "/leave", ORIGIN_RESET, "the connection was closed" },
        { "/hang", ORIGIN_TIMEOUT, "no answer in time" },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof each / sizeof each[0]; i++) {
        visit_t v;
        scene_t s;

        scene_open(&s, NULL, 0, 0);
        visit_for(&v, &s, each[i].path);
        v.limit_usec = strcmp(each[i].path, "/hang") == 0 ? 100000 : 4000000;
        assert_true(visit(&v));
        assert_int_equal(v.failed, 1);
        assert_int_equal(v.how, each[i].how);
        if (strcmp(v.why, "the connection was reset") != 0 || strcmp(each[i].path, "/leave") != 0) { /* what it left unread makes it a reset */
            assert_string_equal(v.why, each[i].why);
        }
        visit_clear(&v);
        visit_for(&v, &s, "/");
        assert_true(visit(&v));
        assert_int_equal(v.ended, 1);
        assert_int_equal(v.reused, strcmp(each[i].path, "/leave") != 0); /* the connection is as good as it was */
        visit_clear(&v);
        scene_close(&s);
    }
}

static void test_a_member_that_goes(void **state)
{
    visit_t v;
    scene_t s;

    (void)state;
    scene_open(&s, NULL, 0, 0);
    visit_for(&v, &s, "/last");
    assert_true(visit(&v));
    assert_int_equal(v.ended, 1);
    visit_clear(&v);
    assert_true(world_wait(&s.w, 0, 0));
    visit_for(&v, &s, "/");
    assert_true(visit(&v));
    assert_int_equal(s.m.accepted, 2);
    visit_clear(&v);
    scene_close(&s);
}

static void say_http1(member_t *m, int fd, int number)
{
    char bytes[256];

    (void)m, (void)number;
    if (recv(fd, bytes, sizeof bytes, 0) > 0) {
        member_say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
        recv(fd, bytes, sizeof bytes, 0);
    }
}

static void test_a_member_that_speaks_something_else(void **state)
{
    visit_t v;
    scene_t s;

    (void)state;
    scene_open(&s, NULL, 0, 0);
    s.m.serve = say_http1;
    visit_for(&v, &s, "/");
    assert_true(visit(&v));
    assert_int_equal(v.how, ORIGIN_BAD);
    assert_string_equal(v.why, "the member does not speak HTTP/2");
    visit_clear(&v);
    scene_close(&s);
}

static void test_nobody_there(void **state)
{
    visit_t v[3];
    scene_t s;
    int i;

    (void)state;
    scene_open(&s, NULL, 0, 0);
    s.m.at.parts.port = 1;
    for (i = 0; i < 3; i++) {
        visit_for(&v[i], &s, "/");
        visit_start(&v[i]);
    }
    for (i = 0; i < 3; i++) {
        assert_true(visit_wait(&v[i]));
        assert_int_equal(v[i].how, ORIGIN_REFUSED);
        assert_string_equal(v[i].why, "connection refused");
        visit_clear(&v[i]);
    }
    scene_close(&s);
}

/* A user may leave in whatever it is told. */
static void test_users_that_leave(void **state)
{
    char *bytes = calloc(1, BIG);
    visit_t v;
    scene_t s;
    int i;

    (void)state;
    scene_open(&s, NULL, 0, 1000);
    for (i = 0; i < 4; i++) {
        if (i == 3) {
            visit_with(&v, &s, "/", bytes, BIG);
        }
        else {
            visit_for(&v, &s, "/big");
        }
        v.drop_at_connected = i == 0;
        v.drop_at_head = i == 1;
        v.drop_at_data = i == 2;
        v.drop_at_writable = i == 3;
        assert_true(visit(&v));
        assert_int_equal(v.dropped, 1);
        visit_clear(&v);
    }
    visit_for(&v, &s, "/");
    assert_true(visit(&v));
    assert_int_equal(v.ended, 1);
    visit_clear(&v);
    assert_true(world_wait(&s.w, 0, 1));
    assert_int_equal(s.m.accepted, 1);
    scene_close(&s);
    free(bytes);
}

static void test_idle_ones_go(void **state)
{
    origins_rules_t rules = { .idle_usec = 50000 };
    visit_t v;
    scene_t s;

    (void)state;
    scene_open(&s, &rules, 0, 0);
    visit_for(&v, &s, "/");
    assert_true(visit(&v));
    visit_clear(&v);
    assert_true(world_wait(&s.w, 0, 0));
    scene_close(&s);
}

/* The roster lets go of the member: what is under way is finished, then the connection goes. */
static void test_a_member_that_is_removed(void **state)
{
    visit_t v;
    scene_t s;

    (void)state;
    scene_open(&s, NULL, 0, 0);
    visit_for(&v, &s, "/big");
    v.pause_at = 1;
    visit_start(&v);
    while (!heard(&v)) {
        member_sleep_ms(1);
    }
    world_do(&s.w, world_follow, &s.w);
    assert_true(world_wait(&s.w, 1, 0));
    world_do(&s.w, go_on, &v);
    assert_true(visit_wait(&v));
    assert_int_equal(v.body_len, BIG);
    assert_true(world_wait(&s.w, 0, 0));
    visit_clear(&v);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_no_more_than_the_member_lets),
        cmocka_unit_test(test_a_slow_user),
        cmocka_unit_test(test_an_upload_through_a_small_window),
        cmocka_unit_test(test_how_it_fails),
        cmocka_unit_test(test_a_member_that_goes),
        cmocka_unit_test(test_a_member_that_speaks_something_else),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_users_that_leave),
        cmocka_unit_test(test_idle_ones_go),
        cmocka_unit_test(test_a_member_that_is_removed),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
