/*
 * origin.c - one connection to a member: getting and giving it back, sending, its timer and its job, its end.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "origin_inside.h"

#define FREE_LIST_MAX 256

#define CONTAINER(pointer, member) ((origin_t *)((char *)(pointer) - offsetof(origin_t, member)))

static origins_t *origins_of(loop_t *loop)
{
    return *loop_slot(loop, LOOP_SLOT_ORIGINS);
}

/* --- memory --- */

static void free_now(origin_t *o)
{
    origins_t *all = origins_of(o->loop);

    if (all && all->free_count < FREE_LIST_MAX) {
        o->next = all->free_list;
        all->free_list = o;
        all->free_count++;
        return;
    }
    free(o);
}

/* Not while one of our functions runs on it, nor while the loop has its job. */
static void free_if_possible(origin_t *o)
{
    if (o->state == ORIGIN_DEAD && !o->depth && !o->posted) {
        free_now(o);
    }
}

void origin_enter(origin_t *o)
{
    o->depth++;
}

int origin_leave(origin_t *o)
{
    o->depth--;
    if (o->state == ORIGIN_DEAD) {
        free_if_possible(o);
        return 0;
    }
    return 1;
}

void origin_close(origin_t *o)
{
    origin_place_t *place = o->place;

    if (o->state == ORIGIN_DEAD) {
        return;
    }
    if (o->state == ORIGIN_IDLE) {
        origin_idle_unlink(o);
        place->all->idle--;
    }
    else {
        origin_connect_leave(o);
        place->all->used -= o->connection;
    }
    if (o->speaks->leave) {
        o->speaks->leave(o);
    }
    o->state = ORIGIN_DEAD;
    o->later = 0;
    o->user = NULL;
    o->ops = NULL;
    loop_timer_clear(o->loop, &o->timer);
    if (o->tls) {
        if (o->reading == READING_DONE || o->reading == READING_NOTHING) {
            origin_tls_shutdown(o->tls);
        }
        origin_tls_end(o->tls);
        o->tls = NULL;
    }
    if (o->watched) {
        loop_watch_remove(o->loop, &o->watch);
    }
    if (o->watch.fd >= 0) {
        close(o->watch.fd);
    }
    free(o->held);
    o->held = NULL;
    origin_write_clear(o);
    origin_place_release(place);
    free_if_possible(o);
}

/* --- the timer: moved only when it must fire earlier than it would --- */

void origin_due(origin_t *o, int64_t due_usec)
{
    o->due_usec = due_usec;
    if (due_usec && (!o->timer.due_usec || o->timer.due_usec > due_usec)) {
        loop_timer_set(o->loop, &o->timer, due_usec);
    }
}

void origin_fail(origin_t *o, origin_e how, const char *why)
{
    const origin_ops_t *ops = o->ops;

    if (why != o->why) {
        snprintf(o->why, sizeof o->why, "%s", why);
    }
    o->unclean = 1;
    o->reading = READING_DONE;
    o->later = 0;
    origin_due(o, 0);
    origin_enter(o);
    ops->failed(o->user, how, o->why);
    origin_leave(o);
}

static void silent(origin_t *o)
{
    if (o->paused) {
        origin_due(o, loop_now(o->loop) + o->limit_usec);
        return;
    }
    origin_fail(o, ORIGIN_TIMEOUT, o->in ? "the answer came to a halt" : "no answer in time");
}

static void fired(wheel_timer_t *timer)
{
    origin_t *o = CONTAINER(timer, timer);

    if (!o->due_usec) {
        return;
    }
    if (o->due_usec > loop_now(o->loop)) {
        loop_timer_set(o->loop, &o->timer, o->due_usec);
        return;
    }
    o->due_usec = 0;
    switch (o->state) {
    case ORIGIN_IDLE:
        origin_close(o);
        break;
    case ORIGIN_NAME:
    case ORIGIN_CONNECT:
    case ORIGIN_TLS:
        origin_connect_expired(o);
        break;
    case ORIGIN_USED:
        silent(o);
        break;
    default:
        break;
    }
}

/* --- the job: what must not be done from within the user's call --- */

static void later_run(loop_job_t *job)
{
    origin_t *o = CONTAINER(job, job);
    unsigned what = o->later;

    o->posted = 0;
    o->later = 0;
    if (o->state == ORIGIN_DEAD) {
        free_if_possible(o);
        return;
    }
    if (what & LATER_FAILED) {
        origin_fail(o, o->failure, o->why);
        return;
    }
    origin_enter(o);
    if (what & LATER_STEP) {
        origin_connect(o);
    }
    if (what & LATER_CONNECTED && o->state == ORIGIN_USED) {
        o->ops->connected(o->user);
    }
    if (what & LATER_READ && o->state == ORIGIN_USED && !o->paused) {
        o->speaks->read(o);
    }
    origin_leave(o);
}

void origin_later(origin_t *o, unsigned what)
{
    o->later |= what;
    if (!o->posted) {
        o->posted = 1;
        o->job.run = later_run;
        loop_defer(o->loop, &o->job);
    }
}

void origin_fail_later(origin_t *o, origin_e how, const char *why)
{
    if (why != o->why) {
        snprintf(o->why, sizeof o->why, "%s", why);
    }
    o->failure = how;
    origin_later(o, LATER_FAILED);
}

/* --- the socket --- */

static void used_ready(origin_t *o, unsigned what)
{
    if (what & (LOOP_READ | LOOP_HUP | LOOP_ERROR)) {
        o->readable = 1;
        o->hup |= (what & (LOOP_HUP | LOOP_ERROR)) != 0;
        if (o->tls) {
            origin_tls_readable(o->tls, o->hup);
        }
        if (o->reading == READING_HEAD && o->reused && o->asked_usec == loop_now(o->loop)) {
            /* these bytes lay there before the request was sent: they answer something else */
            origin_fail(o, ORIGIN_RESET, "the kept-alive connection was not silent");
            return;
        }
    }
    origin_enter(o);
    if (what & LOOP_WRITE && !o->send_dead && (o->blocked || o->tls)) {
        int flushed = o->tls ? origin_tls_flush(o->tls) : 1;

        if (flushed > 0 && o->blocked) {
            o->blocked = 0;
            if (o->limit_usec) {
                origin_due(o, loop_now(o->loop) + o->limit_usec);
            }
            if (origin_write_rest(o)) {
                o->ops->writable(o->user);
            }
        }
    }
    if (o->state == ORIGIN_USED && o->readable && !o->paused) {
        origin_read(o);
    }
    origin_leave(o);
}

static void ready(loop_watch_t *watch, unsigned what)
{
    origin_t *o = CONTAINER(watch, watch);

    switch (o->state) {
    case ORIGIN_USED:
        used_ready(o, what);
        break;
    case ORIGIN_IDLE:
        origin_idle_ready(o, what);
        break;
    case ORIGIN_CONNECT:
    case ORIGIN_TLS:
        origin_enter(o);
        origin_connect_ready(o, what);
        origin_leave(o);
        break;
    default:
        break;
    }
}

ssize_t origin_recv(origin_t *o, char *into, size_t size)
{
    ssize_t n;

    if (o->tls) {
        return origin_tls_recv(o->tls, into, size);
    }
    do {
        n = recv(o->watch.fd, into, size, 0);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* --- what users call --- */

origin_t *origin_make(origin_place_t *place, const origin_protocol_t *speaks, int connection)
{
    origins_t *all = place->all;
    origin_t *o = all->free_list;

    if (o) {
        all->free_list = o->next;
        all->free_count--;
        memset(o, 0, sizeof *o);
    }
    else if (!(o = calloc(1, sizeof *o))) {
        return NULL;
    }
    o->speaks = speaks;
    o->loop = all->loop;
    o->place = place;
    o->watch.fd = -1;
    o->watch.ready = ready;
    o->timer.fired = fired;
    o->connection = (uint8_t)connection;
    all->used += o->connection;
    return o;
}

static void hand_out(origin_t *o, const origin_ops_t *ops, void *user)
{
    o->ops = ops;
    o->user = user;
    o->state = ORIGIN_USED;
    o->reading = READING_NOTHING;
    o->in = o->out = 0;
    o->limit_usec = 0;
    o->due_usec = 0;
    o->blocked = o->paused = 0;
    origin_write_clear(o);
}

origin_t *origin_get(loop_t *loop, const origin_want_t *want, const origin_ops_t *ops, void *user, int *is_ready)
{
    origins_t *all = origins_of(loop);
    origin_place_t *place = all ? origin_place_of(all, want) : NULL;
    origin_t *o = NULL;

    *is_ready = 0;
    if (!place) {
        return NULL;
    }
    if (place->h2) {
        return origin_stream_get(place, want, ops, user, is_ready);
    }
    while (!want->fresh && (o = origin_take_idle(place))) {
        char byte;

        hand_out(o, ops, user);
        if (!want->careful || o->tls || (recv(o->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)) {
            *is_ready = o->reused = 1;
            origin_place_release(place);
            return o;
        }
        origin_close(o);
    }
    o = origin_make(place, &origin_h1, 1);
    if (!o) {
        origin_place_release(place);
        return NULL;
    }
    o->ops = ops;
    o->user = user;
    o->connect_usec = want->connect_usec;
    o->state = ORIGIN_NAME;
    origin_connect(o);
    return o;
}

int origin_is_reused(const origin_t *o)
{
    return o->reused;
}

int origin_is_duplex(const gate_roster_member_t *member)
{
    return member->parts.scheme[0] == 'h' && member->parts.scheme[1] == '2'; /* no other scheme begins so */
}

ssize_t origin_ask(origin_t *o, const member_ask_t *ask, const char *bytes, size_t len, int last)
{
    return o->speaks->ask(o, ask, bytes, len, last);
}

ssize_t origin_body(origin_t *o, const char *bytes, size_t len, int last)
{
    return o->speaks->body(o, bytes, len, last);
}

void origin_trailers(origin_t *o, const fields_t *trailers)
{
    o->stream.trailers = trailers;
}

int origin_is_asked(const origin_t *o)
{
    return o->speaks->is_asked(o);
}

int origin_tls_failed(const origin_t *o)
{
    return o->tls_failed;
}

int origin_cause(const origin_t *o)
{
    return o->cause;
}

void origin_expect(origin_t *o, method_e method)
{
    o->asked_usec = loop_now(o->loop);
    o->writing.asked = 1;
    origin_answer_begin(o, method);
}

static ssize_t send_clear(origin_t *o, const struct iovec *parts, int count)
{
    struct msghdr message = { 0 };
    ssize_t n;

    message.msg_iov = (struct iovec *)parts;
    message.msg_iovlen = (size_t)count;
    do {
        n = count == 1 ? send(o->watch.fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL) : sendmsg(o->watch.fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n;
}

ssize_t origin_send(origin_t *o, const struct iovec *parts, int count)
{
    size_t sum = 0;
    ssize_t n;
    int i;

    if (o->send_dead || o->state != ORIGIN_USED) {
        return -1;
    }
    for (i = 0; i < count; i++) {
        sum += parts[i].iov_len;
    }
    if (o->blocked) {
        return 0;
    }
    n = o->tls ? origin_tls_send(o->tls, parts, count, loop_scratch(o->loop, LOOP_SCRATCH_WRITE), LOOP_SCRATCH_BYTES)
               : send_clear(o, parts, count);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) {
        /* what it may have said before it went is still to be read */
        o->send_dead = o->unclean = 1;
        o->readable = o->hup = 1;
        if (o->tls) {
            origin_tls_readable(o->tls, o->hup);
        }
        origin_later(o, LATER_READ);
        return -1;
    }
    n = n < 0 ? 0 : n;
    o->out += (size_t)n;
    if (n > 0 && o->limit_usec) {
        origin_due(o, loop_now(o->loop) + o->limit_usec);
    }
    if ((size_t)n < sum) {
        o->blocked = 1;
    }
    return n;
}

void origin_pause(origin_t *o)
{
    o->paused = 1;
}

void origin_resume(origin_t *o)
{
    if (!o->paused) {
        return;
    }
    o->paused = 0;
    if (o->limit_usec) {
        origin_due(o, loop_now(o->loop) + o->limit_usec);
    }
    if (o->readable || o->stream.kept_len) {
        origin_later(o, LATER_READ);
    }
}

void origin_tunnel(origin_t *o)
{
    o->reading = READING_TUNNEL;
    o->unclean = 1;
    o->writing.chunked = o->writing.ended = o->writing.asked = 0;
    if (o->connection) {
        origin_upload(o, 1);
    }
}

void origin_shutdown(origin_t *o)
{
    if (o->state != ORIGIN_USED || o->send_dead || !o->connection) {
        return;
    }
    o->unclean = 1;
    if (o->tls) {
        origin_tls_shutdown(o->tls);
    }
    shutdown(o->watch.fd, SHUT_WR);
}

void origin_limit(origin_t *o, int64_t usec)
{
    o->limit_usec = usec;
    if (o->state == ORIGIN_USED) {
        origin_due(o, usec ? loop_now(o->loop) + usec : 0);
    }
}

void origin_put(origin_t *o)
{
    if (!o->speaks->keep(o)) {
        origin_close(o);
    }
}

void origin_drop(origin_t *o)
{
    origin_close(o);
}

static int keep(origin_t *o)
{
    if (o->uploads) {
        origin_upload(o, 0);
    }
    return origin_keep(o);
}

const origin_protocol_t origin_h1 = {
    .ask = origin_h1_ask, .body = origin_h1_body, .is_asked = origin_h1_is_asked, .read = origin_read, .keep = keep
};

uint64_t origin_bytes_in(const origin_t *o)
{
    return o->in;
}

uint64_t origin_bytes_out(const origin_t *o)
{
    return o->out;
}
