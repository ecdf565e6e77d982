/*
 * origin_world.h - a loop on a thread of its own, scripted members on threads of theirs, and users of origins that note what they are told.
 * Locking: the world's mutex guards what is noted; every note wakes who waits in visit_wait() or world_wait().
 */
#ifndef ORIGIN_WORLD_H
#define ORIGIN_WORLD_H

#include <pthread.h>

#include "origin_inside.h"

typedef struct world world_t;
typedef struct member member_t;

/* What a member does with a connection, on a thread of its own; `number` counts connections from 0. The socket is closed after it. */
typedef void (*member_serve_t)(member_t *m, int fd, int number);

struct member {
    world_t *world;
    gate_roster_member_t at;
    char unix_path[108];
    int listener, port;
    member_serve_t serve;
    void *ctx;
    pthread_t thread;
    int accepted, open;         /* connections */
    int quit;
};

struct world {
    apr_pool_t *pool;
    loop_t *loop;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

typedef struct {
    world_t *w;
    origin_want_t want;
    method_e method;
    const char *request;        /* sent when the connection stands; with `ask`: the body */
    size_t request_len;
    const member_ask_t *ask;    /* NULL: the request is raw bytes */
    int64_t limit_usec;
    size_t pause_at;            /* the body's byte from which on it pauses; 0: never */
    int keep;                   /* put back at the end; else dropped */
    int tunnel;                 /* follows a 101 */
    int drop_at_head, drop_at_data, drop_at_connected, drop_at_writable;
    /* noted */
    origin_t *o;
    size_t sent;
    int ready, reused, connected, interims, status, head_body, turns, ended, trailers, failed, tls_failed, done, dropped, send_failed;
    origin_e how;
    char why[160];
    char *body;
    size_t body_len, body_room;
    uint64_t bytes_in, bytes_out;
} visit_t;

void world_open(world_t *w, const origins_rules_t *rules);
void world_close(world_t *w);
/** Runs on the loop's thread; returns when it has. */
void world_do(world_t *w, void (*what)(void *ctx), void *ctx);
origins_counts_t world_counts(world_t *w);
/** Waits until so many are idle and used. @return 1, or 0 after two seconds */
int world_wait(world_t *w, uint32_t used, uint32_t idle);
/** For world_do(): the roster has nobody any more. */
void world_follow(void *world);

void member_open(member_t *m, world_t *w, member_serve_t serve, void *ctx);
void member_open_unix(member_t *m, world_t *w, const char *path, member_serve_t serve, void *ctx);
void member_close(member_t *m);
/** A world and its one member, listening on TCP. */
void pair_open(world_t *w, member_t *m, const origins_rules_t *rules, member_serve_t serve, void *ctx);
void pair_close(world_t *w, member_t *m);
/** Reads up to the empty line. @return 0: the connection has ended */
int member_head(int fd);
void member_say(int fd, const char *text);
void member_say_bytes(int fd, const char *bytes, size_t len);
/** So that closing resets. */
void member_harsh(int fd);
void member_sleep_ms(int ms);

void visit_init(visit_t *v, world_t *w, member_t *m);
void visit_start(visit_t *v);
/** Until it is over; drops what was not put back. @return 1, or 0 after five seconds */
int visit_wait(visit_t *v);
/** Both. */
int visit(visit_t *v);
void visit_clear(visit_t *v);
/** It got "hello", whole. */
void assert_hello(const visit_t *v);

#endif
