/* origin_world.c - see origin_world.h. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <apr_general.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "gate_time.h"
#include "origin_world.h"

/* --- the loop --- */

static void *loop_thread(void *ctx)
{
    loop_run(((world_t *)ctx)->loop, NULL, NULL);
    return NULL;
}

void world_open(world_t *w, const origins_rules_t *rules)
{
    static const origins_rules_t usual = { 0 };

    memset(w, 0, sizeof *w);
    assert_int_equal(apr_pool_create(&w->pool, NULL), APR_SUCCESS);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->loop = loop_create(w->pool, 0);
    assert_non_null(w->loop);
    assert_int_equal(origins_open(w->loop, rules ? rules : &usual), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, loop_thread, w), 0);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

void world_close(world_t *w)
{
    origins_counts_t counts = world_counts(w);

    assert_int_equal(counts.used, 0);
    world_do(w, nothing, NULL); /* what was deferred has run */
    world_do(w, nothing, NULL);
    loop_stop(w->loop);
    pthread_join(w->thread, NULL);
    origins_close(w->loop);
    loop_destroy(w->loop);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    apr_pool_destroy(w->pool);
}

typedef struct {
    loop_job_t job;
    world_t *w;
    void (*what)(void *ctx);
    void *ctx;
    int done;
} errand_t;

static void errand_run(loop_job_t *job)
{
    errand_t *e = (errand_t *)job;

    e->what(e->ctx);
    pthread_mutex_lock(&e->w->mutex);
    e->done = 1;
    pthread_cond_broadcast(&e->w->changed);
    pthread_mutex_unlock(&e->w->mutex);
}

void world_do(world_t *w, void (*what)(void *ctx), void *ctx)
{
    errand_t e = { { errand_run, NULL }, w, what, ctx, 0 };

    loop_post(w->loop, &e.job);
    pthread_mutex_lock(&w->mutex);
    while (!e.done) {
        pthread_cond_wait(&w->changed, &w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
}

typedef struct {
    world_t *w;
    origins_counts_t counts;
} count_t;

static void count(void *ctx)
{
    count_t *c = ctx;

    c->counts = origins_counts(c->w->loop);
}

origins_counts_t world_counts(world_t *w)
{
    count_t c = { w, { 0, 0 } };

    world_do(w, count, &c);
    return c.counts;
}

int world_wait(world_t *w, uint32_t used, uint32_t idle)
{
    int64_t until = gate_mono_usec() + 2000000;

    while (gate_mono_usec() < until) {
        origins_counts_t counts = world_counts(w);

        if (counts.used == used && counts.idle == idle) {
            return 1;
        }
        member_sleep_ms(2);
    }
    return 0;
}

/* --- members --- */

typedef struct {
    member_t *m;
    int fd, number;
} guest_t;

static void *guest_thread(void *ctx)
{
    guest_t *g = ctx;
    member_t *m = g->m;

    m->serve(m, g->fd, g->number);
    close(g->fd);
    pthread_mutex_lock(&m->world->mutex);
    m->open--;
    pthread_cond_broadcast(&m->world->changed);
    pthread_mutex_unlock(&m->world->mutex);
    free(g);
    return NULL;
}

static void *member_thread(void *ctx)
{
    member_t *m = ctx;
    pthread_attr_t attr;
    int fd;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    while ((fd = accept(m->listener, NULL, NULL)) >= 0) {
        guest_t *g = malloc(sizeof *g);
        pthread_t thread;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); /* what is said in pieces goes out in pieces, at once */
        pthread_mutex_lock(&m->world->mutex);
        *g = (guest_t){ m, fd, m->accepted++ };
        m->open++;
        pthread_mutex_unlock(&m->world->mutex);
        if (pthread_create(&thread, &attr, guest_thread, g) != 0) {
            abort();
        }
    }
    pthread_attr_destroy(&attr);
    return NULL;
}

static void begin(member_t *m, world_t *w, member_serve_t serve, void *ctx)
{
    m->world = w;
    m->serve = serve;
    m->ctx = ctx;
    m->at.slot = 3;
    m->at.incarnation = 7;
    m->at.id = "m1";
    m->at.parts.scheme = "http";
    m->at.parts.host = "127.0.0.1";
    m->at.parts.path = "";
    assert_int_equal(listen(m->listener, 1024), 0);
    assert_int_equal(pthread_create(&m->thread, NULL, member_thread, m), 0);
}

void member_open(member_t *m, world_t *w, member_serve_t serve, void *ctx)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;

    memset(m, 0, sizeof *m);
    m->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(m->listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(m->listener, (struct sockaddr *)&at, &len), 0);
    m->port = ntohs(at.sin_port);
    m->at.parts.port = (uint16_t)m->port;
    begin(m, w, serve, ctx);
}

void member_open_unix(member_t *m, world_t *w, const char *path, member_serve_t serve, void *ctx)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    memset(m, 0, sizeof *m);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    unlink(path);
    m->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(m->listener, (struct sockaddr *)&at, sizeof at), 0);
    snprintf(m->unix_path, sizeof m->unix_path, "%s", path);
    m->at.parts.unix_path = m->unix_path;
    begin(m, w, serve, ctx);
}

void world_follow(void *ctx)
{
    static const gate_roster_t nobody = { .group = 5 };

    origins_follow(((world_t *)ctx)->loop, &nobody);
}

/* Returns when all its connections have ended; so idle ones are let go of before. */
void member_close(member_t *m)
{
    world_do(m->world, world_follow, m->world);
    shutdown(m->listener, SHUT_RDWR);
    pthread_join(m->thread, NULL);
    close(m->listener);
    pthread_mutex_lock(&m->world->mutex);
    while (m->open > 0) {
        pthread_cond_wait(&m->world->changed, &m->world->mutex);
    }
    pthread_mutex_unlock(&m->world->mutex);
    if (m->unix_path[0]) {
        unlink(m->unix_path);
    }
}

void pair_open(world_t *w, member_t *m, const origins_rules_t *rules, member_serve_t serve, void *ctx)
{
    world_open(w, rules);
    member_open(m, w, serve, ctx);
}

void pair_close(world_t *w, member_t *m)
{
    member_close(m);
    world_close(w);
}

int member_head(int fd)
{
    char last[4] = { 0 }, c;

    while (recv(fd, &c, 1, 0) == 1) {
        memmove(last, last + 1, 3);
        last[3] = c;
        if (memcmp(last, "\r\n\r\n", 4) == 0) {
            return 1;
        }
    }
    return 0;
}

void member_say_bytes(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n <= 0) {
            return;
        }
        bytes += n;
        len -= (size_t)n;
    }
}

void member_say(int fd, const char *text)
{
    member_say_bytes(fd, text, strlen(text));
}

void member_harsh(int fd)
{
    struct linger linger = { 1, 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

void member_sleep_ms(int ms)
{
    struct timespec ts = { ms / 1000, (ms % 1000) * 1000000L };

    nanosleep(&ts, NULL);
}

/* --- users --- */

static void note(visit_t *v, int done)
{
    if (v->o) {
        v->bytes_in = origin_bytes_in(v->o);
        v->bytes_out = origin_bytes_out(v->o);
    }
    if (done) {
        pthread_mutex_lock(&v->w->mutex);
        v->done = 1;
        pthread_cond_broadcast(&v->w->changed);
        pthread_mutex_unlock(&v->w->mutex);
    }
}

static void drop(visit_t *v)
{
    v->tls_failed = origin_tls_failed(v->o);
    note(v, 0);
    origin_drop(v->o);
    v->o = NULL;
    v->dropped = 1;
    note(v, 1);
}

static void send_body(visit_t *v)
{
    ssize_t n = origin_body(v->o, v->request + v->sent, v->request_len - v->sent, 1);

    v->send_failed |= n < 0;
    v->sent += n > 0 ? (size_t)n : 0;
}

static void send_more(visit_t *v)
{
    /* two parts, as a head and a body are */
    size_t left = v->request_len - v->sent, first = left / 2;
    struct iovec parts[2] = { { (char *)v->request + v->sent, first }, { (char *)v->request + v->sent + first, left - first } };
    ssize_t n;

    if (!left) {
        return;
    }
    n = origin_send(v->o, parts, 2);
    if (n < 0) {
        v->send_failed = 1;
        v->sent = v->request_len;
        return;
    }
    v->sent += (size_t)n;
}

static void begin_request(visit_t *v)
{
    v->reused = origin_is_reused(v->o);
    if (v->limit_usec) {
        origin_limit(v->o, v->limit_usec);
    }
    if (v->ask) {
        ssize_t n = origin_ask(v->o, v->ask, v->request, v->request_len, 1);

        v->send_failed |= n < 0;
        v->sent = n > 0 ? (size_t)n : 0;
        return;
    }
    origin_expect(v->o, v->method);
    send_more(v);
}

static void on_connected(void *user)
{
    visit_t *v = user;

    v->connected++;
    if (v->drop_at_connected) {
        drop(v);
        return;
    }
    begin_request(v);
}

static void on_writable(void *user)
{
    visit_t *v = user;

    if (v->drop_at_writable) {
        drop(v);
        return;
    }
    if (v->ask) {
        send_body(v);
        return;
    }
    send_more(v);
}

static void on_head(void *user, const answer_head_t *head)
{
    visit_t *v = user;

    if (head->status < 200 && head->status != 101) {
        v->interims++;
        return;
    }
    v->status = head->status;
    v->head_body = head->body;
    if (v->drop_at_head) {
        drop(v);
    }
    else if (head->status == 101 && v->tunnel) {
        origin_tunnel(v->o);
    }
}

static void on_data(void *user, const char *bytes, size_t len)
{
    visit_t *v = user;

    if (v->body_len + len > v->body_room) {
        v->body_room = (v->body_len + len) * 2;
        v->body = realloc(v->body, v->body_room);
    }
    memcpy(v->body + v->body_len, bytes, len);
    v->body_len += len;
    if (v->drop_at_data) {
        drop(v);
        return;
    }
    if (v->pause_at && v->body_len >= v->pause_at) {
        v->pause_at = 0;
        origin_pause(v->o);
    }
}

static void on_end(void *user, const fields_t *trailers)
{
    visit_t *v = user;

    v->ended++;
    v->trailers = trailers ? (int)trailers->count : 0;
    note(v, 0);
    if (v->keep) {
        origin_put(v->o);
    }
    else {
        origin_drop(v->o);
    }
    v->o = NULL;
    note(v, 1);
}

static void on_turn(void *user)
{
    visit_t *v = user;

    v->turns++;
}

static void on_failed(void *user, origin_e how, const char *why)
{
    visit_t *v = user;

    v->failed++;
    v->how = how;
    snprintf(v->why, sizeof v->why, "%s", why);
    drop(v);
}

static const origin_ops_t ops = { on_connected, on_writable, on_head, on_data, on_end, on_turn, on_failed };

void visit_init(visit_t *v, world_t *w, member_t *m)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    memset(v, 0, sizeof *v);
    v->w = w;
    v->want.member = &m->at;
    v->want.group = 5;
    v->want.connect_usec = 1000000;
    v->limit_usec = 3000000;
    v->method = METHOD_GET;
    v->request = get;
    v->request_len = sizeof get - 1;
    v->keep = 1;
}

static void start(void *ctx)
{
    visit_t *v = ctx;

    v->o = origin_get(v->w->loop, &v->want, &ops, v, &v->ready);
    if (!v->o) {
        v->failed = 1;
        note(v, 1);
    }
    else if (v->ready) {
        begin_request(v);
    }
}

void visit_start(visit_t *v)
{
    world_do(v->w, start, v);
}

static void give_up(void *ctx)
{
    visit_t *v = ctx;

    if (v->o) {
        drop(v);
    }
}

int visit_wait(visit_t *v)
{
    struct timespec until;
    int rv = 0, done;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 5;
    pthread_mutex_lock(&v->w->mutex);
    while (!v->done && rv == 0) {
        rv = pthread_cond_timedwait(&v->w->changed, &v->w->mutex, &until);
    }
    done = v->done;
    pthread_mutex_unlock(&v->w->mutex);
    world_do(v->w, give_up, v);
    return done;
}

int visit(visit_t *v)
{
    visit_start(v);
    return visit_wait(v);
}

void visit_clear(visit_t *v)
{
    free(v->body);
    v->body = NULL;
}

void assert_hello(const visit_t *v)
{
    assert_int_equal(v->failed, 0);
    assert_int_equal(v->ended, 1);
    assert_int_equal(v->body_len, 5);
    assert_memory_equal(v->body, "hello", 5);
}
