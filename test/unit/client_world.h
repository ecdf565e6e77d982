/*
 * client_world.h - the world of test_client_h1.c: a connection, an exchange and routes that are played by the test. The codec's sources are
 * compiled into the program, with stand-ins for what they call; so only one program can have it.
 */
#ifndef CLIENT_WORLD_H
#define CLIENT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

/* the real ones may be in this program too, for others' helpers */
#define loop_slot played_loop_slot
#define loop_now played_loop_now
#define loop_defer played_loop_defer
#define exchange_client played_exchange_client
#define exchange_pool played_exchange_pool
#define exchange_env played_exchange_env
#define exchange_begin played_exchange_begin
#define exchange_body played_exchange_body
#define exchange_body_end played_exchange_body_end
#define exchange_body_bad played_exchange_body_bad
#define exchange_body_malformed played_exchange_body_malformed
#define exchange_writable played_exchange_writable
#define exchange_gone played_exchange_gone
#define exchange_end played_exchange_end

#include "client_h1.c"
#include "client_h1_read.c"
#include "client_h1_tell.c"

/* ---- the world ----------------------------------------------------------------------------------------------------------------- */

struct exchange {
    client_t *client;
    const client_ops_t *ops;
    apr_pool_t *pool;
    int ended;
    exchange_t *next;           /* all there were, to be freed at the end */
};

static struct {
    apr_pool_t *pool;
    server_rec server;
    conn_rec c;
    conn_t conn;
    char out[65536];            /* to the client, flushed or not */
    size_t out_len, flushed;
    char in[65536];             /* from the client, not taken yet */
    size_t in_len;
    int paused, resumed, lent, closed, eof, in_codec;
    conn_phase_e phase;
    char classic[256];          /* the last one, in words */
    char said[1024];            /* what the exchange was told */
    size_t takes;               /* of a body, at once */
    exchange_t *x, *all;        /* x: the last begun and not ended */
    int begun, ended, counted, unroutable;
    const char *type;           /* what routes say of answers without one */
    const char *at_once;        /* every exchange is answered with this as it begins */
    loop_job_t *job;
    void *slot;
    size_t welcome;
} w;

static void say(const char *format, ...)
{
    size_t len = strlen(w.said);
    va_list args;

    va_start(args, format);
    vsnprintf(w.said + len, sizeof w.said - len, format, args);
    va_end(args);
}

const char *ap_get_server_banner(void)
{
    return "Apache";
}

void **loop_slot(loop_t *loop, int which)
{
    (void)loop;
    (void)which;
    return &w.slot;
}

int64_t loop_now(const loop_t *loop)
{
    (void)loop;
    return 1000000;
}

void loop_defer(loop_t *loop, loop_job_t *job)
{
    (void)loop;
    assert_null(w.job);
    w.job = job;
}

void conn_pause(conn_t *conn)
{
    (void)conn;
    w.paused = 1;
}

void conn_resume(conn_t *conn)
{
    (void)conn;
    w.paused = 0;
    w.resumed = 1;
}

size_t conn_unread(const conn_t *conn)
{
    (void)conn;
    return w.in_len;
}

size_t conn_send(conn_t *conn, const struct iovec *parts, int count)
{
    (void)conn;
    assert_int_equal(w.closed, 0);
    for (int i = 0; i < count; i++) {
        assert_true(w.out_len + parts[i].iov_len < sizeof w.out);
        memcpy(w.out + w.out_len, parts[i].iov_base, parts[i].iov_len);
        w.out_len += parts[i].iov_len;
    }
    return w.welcome;
}

void conn_flush(conn_t *conn)
{
    (void)conn;
    assert_int_equal(w.lent, 0);
    w.flushed = w.out_len;
}

void conn_phase(conn_t *conn, conn_phase_e phase, server_rec *server)
{
    (void)conn;
    assert_ptr_equal(server, &w.server);
    w.phase = phase;
}

void conn_close(conn_t *conn)
{
    assert_int_equal(w.closed, 0);
    assert_int_equal(w.lent, 0);
    w.closed = 1;
    conn->codec->closed(conn);
}

void conn_classic(conn_t *conn, const conn_classic_t *ask)
{
    (void)conn;
    assert_int_equal(w.lent, 0);
    w.lent = 1;
    snprintf(w.classic, sizeof w.classic, "%s|%.*s|%d|%s%s", ask->why, (int)ask->again_len, ask->again ? ask->again : "", ask->status,
             ask->body_gone ? "gone" : "", ask->env ? "|env" : "");
}

void conn_takes(conn_t *conn, size_t len)
{
    (void)conn, (void)len;
}

void conn_exchanges(conn_t *conn, int by)
{
    (void)conn;
    w.counted += by;
}

route_client_t *route_client(loop_t *loop, conn_rec *c)
{
    (void)loop;
    (void)c;
    return (route_client_t *)&w;
}

server_rec *route_server(route_client_t *client, const request_head_t *head)
{
    (void)client;
    return head->host.at ? &w.server : NULL;
}

const route_t *route_find(route_client_t *client, server_rec *server, request_head_t *head, route_found_t *found)
{
    static route_t route;

    (void)client;
    (void)server;
    found->path = head->target;
    found->content_type = w.type;
    found->why = "no ProxyPass";
    return w.unroutable ? NULL : &route;
}

void *exchange_client(const exchange_t *x)
{
    return x->client;
}

apr_pool_t *exchange_pool(const exchange_t *x)
{
    return x->pool;
}

const apr_table_t *exchange_env(exchange_t *x)
{
    return apr_table_make(x->pool, 1);
}

/* Tells a whole answer given as text: head, and what follows as data. */
static void tell(exchange_t *x, const char *text, int whole)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    answer_head_t head = { .fields.field = fields };
    char *copy = strdup(text), *body;
    int said = h1_answer(copy, strlen(copy), x->client->method, &head);

    assert_true(said > 0);
    body = copy + said;
    x->ops->head(x, &head);
    if (*body) {
        x->ops->data(x, body, strlen(body));
    }
    if (whole) {
        x->ops->end(x, NULL);
    }
    x->ops->flush(x);
    free(copy);
}

int exchange_begin(const exchange_ask_t *ask, exchange_t **out)
{
    exchange_t *x = calloc(1, sizeof *x);

    assert_null(w.x);
    x->client = ask->client;
    x->ops = ask->ops;
    x->next = w.all;
    w.all = w.x = x;
    apr_pool_create(&x->pool, w.pool);
    w.begun++;
    say("[%.*s %.*s]", (int)ask->head->method.len, ask->head->method.at, (int)ask->path.len, ask->path.at);
    *out = x;
    if (w.at_once) {
        tell(x, w.at_once, 1);
    }
    return 0;
}

size_t exchange_body(exchange_t *x, const char *bytes, size_t len)
{
    assert_int_equal(x->ended, 0);
    len = len < w.takes ? len : w.takes;
    say("%.*s", (int)len, bytes);
    return len;
}

void exchange_body_end(exchange_t *x, const fields_t *trailers)
{
    assert_int_equal(x->ended, 0);
    say("$");
    for (uint32_t i = 0; trailers && i < trailers->count; i++) {
        say("%.*s=%.*s;", (int)trailers->field[i].name.len, trailers->field[i].name.at, (int)trailers->field[i].value.len, trailers->field[i].value.at);
    }
}

void exchange_body_bad(exchange_t *x, int status)
{
    assert_int_equal(x->ended, 0);
    say("(bad %d)", status);
    x->ops->classic(x, status, NULL);
}

void exchange_body_malformed(exchange_t *x, int status)
{
    exchange_body_bad(x, status);
}

void exchange_writable(exchange_t *x)
{
    assert_int_equal(x->ended, 0);
    say("(writable)");
}

void exchange_half_closed(exchange_t *x)
{
    assert_int_equal(x->ended, 0);
}

void exchange_gone(exchange_t *x)
{
    assert_int_equal(x->ended, 0);
    say("(gone)");
}

void exchange_end(exchange_t *x, uint64_t sent_bytes)
{
    assert_int_equal(x->ended, 0);
    x->ended = 1;
    assert_ptr_equal(x, w.x);
    w.x = NULL;
    w.ended++;
    say("(end %d)", (int)sent_bytes);
}

/* As conn.c gives bytes: what was not taken comes again, in front of what is new. */
static void pump(void)
{
    while (!w.paused && !w.lent && !w.closed && (w.in_len > 0) && !w.in_codec) {
        char *copy = malloc(w.in_len);
        size_t used, had = w.in_len;

        memcpy(copy, w.in, w.in_len);
        w.resumed = 0;
        w.in_codec = 1;
        used = w.conn.codec->input(&w.conn, copy, w.in_len);
        w.in_codec = 0;
        free(copy);
        if (w.closed) {
            return;
        }
        assert_true(used <= had);
        memmove(w.in, w.in + used, w.in_len - used);
        w.in_len -= used;
        if (!used && !w.resumed) {
            return;
        }
    }
}

static void feed(const char *text)
{
    size_t len = strlen(text);

    assert_true(w.in_len + len < sizeof w.in);
    memcpy(w.in + w.in_len, text, len);
    w.in_len += len;
    pump();
}

static void run_job(void)
{
    loop_job_t *job = w.job;

    assert_non_null(job);
    w.job = NULL;
    job->run(job);
}

static void answer(const char *text)
{
    assert_non_null(w.x);
    tell(w.x, text, 1);
    pump();
}

static void finish(void)
{
    w.eof = 1;
    w.conn.codec->ended(&w.conn);
    pump();
}

static void give_back(void)
{
    w.lent = 0;
    w.in_codec = 1;
    w.conn.codec->back(&w.conn);
    w.in_codec = 0;
    pump();
}

/* What has come out since the last look. */
static void assert_out(const char *expected)
{
    w.out[w.out_len] = '\0';
    if (strcmp(w.out, expected) != 0) {
        fail_msg("sent:\n%s\nnot:\n%s", w.out, expected);
    }
    assert_int_equal(w.flushed, w.out_len);
    w.out_len = w.flushed = 0;
}

static void assert_said(const char *expected)
{
    assert_string_equal(w.said, expected);
    w.said[0] = '\0';
}

static int set_up(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    apr_initialize();
    apr_pool_create(&w.pool, NULL);
    w.server = (server_rec){ .keep_alive = 1, .keep_alive_timeout = apr_time_from_sec(5), .keep_alive_max = 100, .limit_req_line = 8190,
                             .limit_req_fieldsize = 8190, .limit_req_fields = 100 };
    w.c.pool = w.pool;
    w.c.base_server = &w.server;
    w.conn = (conn_t){ .c = &w.c, .codec = &client_h1_codec, .read_usec = 900000 };
    w.takes = w.welcome = 65536;
    return w.conn.codec->open(&w.conn);
}

static int tear_down(void **state)
{
    (void)state;
    if (!w.closed && !w.lent) {
        w.closed = 1;
        w.conn.codec->closed(&w.conn);
    }
    if (w.job) {
        run_job();
    }
    assert_int_equal(w.begun, w.ended);
    assert_int_equal(w.counted, 0);
    if (w.lent) {
        w.conn.codec->closed(&w.conn);
    }
    while (w.all) {
        exchange_t *next = w.all->next;

        free(w.all);
        w.all = next;
    }
    client_h1_end(NULL);
    apr_pool_destroy(w.pool);
    apr_terminate();
    return 0;
}

#endif
