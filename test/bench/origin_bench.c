/*
 * origin_bench.c - what one request over a kept connection to a member costs the loop's thread: with origin.h, and with nothing but the
 * system calls (the floor: send, recv, a share of epoll_wait).
 *     make -f apxs.mk bench_programs && build/bench/origin_bench [BYTES [CONNECTIONS [REQUESTS]]]
 */
#include <apr_general.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "origin_inside.h"

static const char request[] = "GET /some/path?with=query HTTP/1.1\r\nHost: app.example\r\nUser-Agent: wrk\r\nAccept: */*\r\n"
                              "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: www.example\r\nX-Forwarded-Server: www\r\n"
                              "Connection: Keep-Alive\r\n\r\n";
static char *answer;
static size_t answer_len;
static long wanted = 400000;
static int port;

static double cpu(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* A member that answers whatever comes. */
static void *member(void *ctx)
{
    int listener = *(int *)ctx, ep = epoll_create1(0), one = 1;
    struct epoll_event event[64], add = { EPOLLIN, { .fd = listener } };
    static char in[65536];

    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &add);
    for (;;) {
        int n = epoll_wait(ep, event, 64, -1), i;

        for (i = 0; i < n; i++) {
            int fd = event[i].data.fd;

            if (fd == listener) {
                add.data.fd = accept(fd, NULL, NULL);
                setsockopt(add.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                epoll_ctl(ep, EPOLL_CTL_ADD, add.data.fd, &add);
            }
            else if (recv(fd, in, sizeof in, 0) <= 0 || send(fd, answer, answer_len, MSG_NOSIGNAL) <= 0) {
                close(fd);
            }
        }
    }
    return NULL;
}

/* --- the floor --- */

static double floor_usec(int connections)
{
    int ep = epoll_create1(0), i, one = 1;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event event[64];
    static char in[65536];
    long done = 0;
    double began;
    int *fds = calloc((size_t)connections, sizeof *fds);

    for (i = 0; i < connections; i++) {
        struct epoll_event add = { EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, { .fd = 0 } };

        add.data.fd = fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fds[i], (struct sockaddr *)&at, sizeof at) != 0) {
            perror("connect");
            exit(1);
        }
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &add);
        (void)!send(fds[i], request, sizeof request - 1, MSG_NOSIGNAL);
    }
    began = cpu();
    while (done < wanted) {
        int n = epoll_wait(ep, event, 64, -1);

        for (i = 0; i < n; i++) {
            size_t got = 0;
            ssize_t r;

            if (!(event[i].events & EPOLLIN)) {
                continue;
            }
            while (got < answer_len && (r = recv(event[i].data.fd, in, sizeof in, 0)) > 0) {
                got += (size_t)r;
            }
            (void)!send(event[i].data.fd, request, sizeof request - 1, MSG_NOSIGNAL);
            done++;
        }
    }
    began = (cpu() - began) / (double)done;
    for (i = 0; i < connections; i++) {
        close(fds[i]);
    }
    free(fds);
    close(ep);
    return began;
}

/* --- the origin --- */

typedef struct {
    origin_t *o;
    origin_want_t want;
    loop_t *loop;
} user_t;

static const origin_ops_t ops;
static long done_now;
static double began_usec, took_usec;
static int users_left;

static void go(user_t *u);

static void ask(user_t *u)
{
    struct iovec part = { (char *)request, sizeof request - 1 };

    origin_limit(u->o, 60000000);
    origin_expect(u->o, METHOD_GET);
    origin_send(u->o, &part, 1);
}

static void connected(void *user)
{
    ask(user);
}

static void head(void *user, const answer_head_t *head)
{
    (void)user;
    if (head->status != 200) {
        abort();
    }
}

static void data(void *user, const char *bytes, size_t len)
{
    (void)user;
    (void)bytes;
    (void)len;
}

static void nothing(void *user)
{
    (void)user;
}

static void end(void *user, const fields_t *trailers)
{
    user_t *u = user;

    (void)trailers;
    origin_put(u->o);
    if (++done_now == 1000) {
        began_usec = cpu();
    }
    if (done_now < wanted) {
        go(u);
        return;
    }
    if (took_usec == 0) {
        took_usec = (cpu() - began_usec) / (double)(done_now - 1000);
    }
    if (--users_left == 0) {
        loop_stop(u->loop);
    }
}

static void failed(void *user, origin_e how, const char *why)
{
    (void)user;
    (void)how;
    fprintf(stderr, "failed: %s\n", why);
    exit(1);
}

static const origin_ops_t ops = { connected, nothing, head, data, end, nothing, failed };

static void go(user_t *u)
{
    int ready = 0;

    u->o = origin_get(u->loop, &u->want, &ops, u, &ready);
    if (ready) {
        ask(u);
    }
}

static double origin_usec(int connections)
{
    apr_pool_t *pool;
    loop_t *loop;
    origins_rules_t rules = { 0 };
    user_t *users = calloc((size_t)connections, sizeof *users);
    gate_roster_member_t m = { .slot = 1, .incarnation = 1 };
    int i;

    m.parts.host = "127.0.0.1";
    m.parts.port = (uint16_t)port;
    m.parts.scheme = "http";
    apr_pool_create(&pool, NULL);
    loop = loop_create(pool, 0);
    origins_open(loop, &rules);
    users_left = connections;
    for (i = 0; i < connections; i++) {
        users[i].loop = loop;
        users[i].want.member = &m;
        users[i].want.connect_usec = 1000000;
        go(&users[i]);
    }
    loop_run(loop, NULL, NULL);
    origins_close(loop);
    loop_destroy(loop);
    free(users);
    return took_usec;
}

int main(int argc, char **argv)
{
    size_t body = argc > 1 ? (size_t)atol(argv[1]) : 1024;
    int connections = argc > 2 ? atoi(argv[2]) : 64, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    pthread_t thread;
    double least, ours;

    wanted = argc > 3 ? atol(argv[3]) : wanted;
    answer = malloc(body + 512);
    answer_len = (size_t)sprintf(answer, "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Type: text/html\r\n"
                                         "Content-Length: %zu\r\nLast-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\nConnection: keep-alive\r\n"
                                         "ETag: \"6742-400\"\r\nAccept-Ranges: bytes\r\n\r\n", body);
    memset(answer + answer_len, 'x', body);
    answer_len += body;
    apr_initialize();
    if (bind(listener, (struct sockaddr *)&at, len) != 0 || listen(listener, 4096) != 0
        || getsockname(listener, (struct sockaddr *)&at, &len) != 0) {
        perror("listen");
        return 1;
    }
    port = ntohs(at.sin_port);
    pthread_create(&thread, NULL, member, &listener);
    least = floor_usec(connections);
    ours = origin_usec(connections);
    printf("%zu bytes, %d connections: system calls alone %.2f us, by origin.h %.2f us a request (CPU of the loop's thread)\n", body, connections,
           least, ours);
    return 0;
}
