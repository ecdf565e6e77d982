/* origin_session.c - see origin_session.h: the life of a connection that speaks HTTP/2. */

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "origin_session.h"

#define PATIENCE_MIN_USEC INT64_C(1000000)
#define OUT_PARTS 8
#define MOVES_MAX 2             /* from connections that go before a stream began on them */
#define MOVES_COUNTED 250       /* from those that were full, each of which took others */

static void hold(origin_session_t *s)
{
    s->held++;
}

static void free_if_over(origin_session_t *s)
{
    if (s->link || s->open || s->posted || s->held || s->inside) {
        return;
    }
    nghttp2_session_del(s->ngh);
    outbox_clear(&s->out);
    h2_block_end(&s->block);
    free(s);
}

static void release(origin_session_t *s)
{
    s->held--;
    free_if_over(s);
}

/* --- among the place's --- */

static void unlink_session(origin_session_t *s)
{
    origin_session_t **link = &s->place->sessions;

    while (*link && *link != s) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = s->next;
    }
    s->next = NULL;
}

/* A connection without streams is an idle one. */
static void count_idle(origin_session_t *s, int idle)
{
    origins_t *all = s->place->all;

    if (s->idle != idle) {
        s->idle = (uint8_t)idle;
        all->idle += idle ? 1 : -1u;
        all->used += idle ? -1u : 1;
    }
}

static int64_t patience_usec(const origin_session_t *s)
{
    return s->link->connect_usec > PATIENCE_MIN_USEC ? s->link->connect_usec : PATIENCE_MIN_USEC;
}

/* The timer of one that idled, or has just been connected. */
static void be_patient(origin_session_t *s)
{
    if (s->stands && !s->settled) {
        loop_timer_set(s->link->loop, &s->timer, loop_now(s->link->loop) + patience_usec(s));
    }
    else if (s->timer.due_usec) {
        loop_timer_clear(s->link->loop, &s->timer);
    }
}

/* What is there to be read of an idle one may be its end; the loop will see. */
static int is_silent(const origin_session_t *s)
{
    char byte;

    return s->open || (recv(s->link->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

static origin_session_t *with_room(const origin_place_t *place, int careful)
{
    origin_session_t *s;

    for (s = place->sessions; s; s = s->next) {
        if (!s->retired && !s->doubted && s->open < s->limit && (!careful || !s->stands || is_silent(s))) {
            return s;
        }
    }
    return NULL;
}

/* --- its end --- */

static void lose_link(origin_session_t *s)
{
    origin_t *link = s->link;

    if (link) {
        unlink_session(s);
        count_idle(s, 0);
        loop_timer_clear(link->loop, &s->timer);
        s->link = NULL;
        s->retired = 1;
        origin_drop(link);
    }
}

/* To another connection. @param most how often it may have moved before */
static void move_or_fail(origin_t *o, unsigned most, origin_e how, const char *why)
{
    if (o->stream.moved > most || origin_session_join(o, 0) < 0) {
        origin_fail(o, how, why);
        return;
    }
    o->stream.moved += o->stream.moved < MOVES_COUNTED;
    if (!o->stream.waits) {
        origin_later(o, LATER_CONNECTED);
    }
}

/* The connection is gone, and with it what was under way; what had come whole is still told. */
static void over(origin_session_t *s, origin_e how, const char *why)
{
    int stood = s->stands, cause = s->link->cause, tls_failed = s->link->tls_failed;
    char words[sizeof s->link->why];
    origin_t *o;

    snprintf(words, sizeof words, "%s", why);
    hold(s);
    lose_link(s);
    while ((o = s->first)) {
        origin_enter(o);
        origin_session_leave(o);
        if (o->stream.waits && stood) {
            move_or_fail(o, MOVES_MAX, ORIGIN_REFUSED, words);
        }
        else if (o->stream.waits) {
            o->cause = cause;
            o->tls_failed = (uint8_t)tls_failed;
            origin_fail(o, how, words);
        }
        else if (!o->stream.ended && !(o->later & LATER_FAILED)) {
            origin_fail(o, how, words);
        }
        origin_leave(o);
    }
    release(s);
}

static void say_goodbye(origin_session_t *s)
{
    struct iovec parts[OUT_PARTS];
    int count;

    if (s->ngh && s->stands) {
        nghttp2_submit_goaway(s->ngh, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
        origin_session_gather(s);
        count = outbox_look(&s->out, parts, OUT_PARTS);
        if (count) {
            (void)origin_send(s->link, parts, count);
        }
    }
}

static void leave_member(origin_session_t *s)
{
    hold(s);
    say_goodbye(s);
    lose_link(s);
    release(s);
}

void origin_session_retire(origin_session_t *s)
{
    s->retired = 1;
    if (!s->link || s->open) {
        return;
    }
    if (s->inside || s->held) {
        origin_session_soon(s);
        return;
    }
    leave_member(s);
}

void origin_sessions_retire(origin_place_t *place)
{
    origin_session_t *s, *next;

    for (s = place->sessions; s; s = next) {
        next = s->next;
        origin_session_retire(s);
    }
}

/* --- sending --- */

void origin_session_gather(origin_session_t *s)
{
    const uint8_t *bytes;
    ssize_t n = 0;

    if (s->inside || !s->ngh || !s->link) {
        return;
    }
    s->inside = s->sending = 1;
    while (s->out.kept < H2_OUT_MAX && (n = nghttp2_session_mem_send(s->ngh, &bytes)) > 0) {
        if (outbox_put(&s->out, (const char *)bytes, (size_t)n) != 0) {
            n = -1;
            break;
        }
    }
    s->inside = s->sending = 0;
    if (n < 0) {
        origin_fail_later(s->link, ORIGIN_RESET, "no memory for HTTP/2");
    }
}

static void send_all(origin_session_t *s)
{
    struct iovec parts[OUT_PARTS];

    while (s->link && !s->link->blocked && !s->link->send_dead) {
        size_t sum = 0;
        ssize_t n;
        int i, count;

        origin_session_gather(s);
        count = outbox_look(&s->out, parts, OUT_PARTS);
        if (!count) {
            return;
        }
        for (i = 0; i < count; i++) {
            sum += parts[i].iov_len;
        }
        n = origin_send(s->link, parts, count);
        if (n <= 0) {
            return;
        }
        outbox_drop(&s->out, (size_t)n);
        if ((size_t)n < sum) {
            return;
        }
    }
}

void origin_session_uploads(origin_session_t *s, int more)
{
    uint32_t before = s->uploads;

    s->uploads += (uint32_t)more;
    if (s->link && (before == 0) != (s->uploads == 0)) {
        origin_upload(s->link, s->uploads != 0);
    }
}

/* --- the job --- */

static origin_t *first_that_waits(const origin_session_t *s)
{
    origin_t *o = s->first;

    while (o && !o->stream.waits) {
        o = o->next;
    }
    return o;
}

static uint32_t begun(const origin_session_t *s)
{
    uint32_t count = 0;
    const origin_t *o;

    for (o = s->first; o; o = o->next) {
        count += !o->stream.waits;
    }
    return count;
}

static void begin_waiting(origin_session_t *s)
{
    uint32_t count;
    origin_t *o;

    if (!(o = first_that_waits(s))) {
        return;
    }
    count = begun(s);
    while (s->link && (o = first_that_waits(s))) {
        int may = s->settled ? count < s->limit : count == 0 && !o->stream.patient;

        if (s->retired || (!may && s->settled)) {
            origin_enter(o);
            origin_session_leave(o);
            move_or_fail(o, s->retired ? MOVES_MAX : s->limit ? MOVES_COUNTED : 0, ORIGIN_REFUSED, "the member lets nobody have a stream");
            origin_leave(o);
            continue;
        }
        if (!may) {
            return;
        }
        count++;
        origin_stream_start(o);
    }
}

static void tell_writable(origin_session_t *s)
{
    origin_t *o = s->first;

    while (o && s->link) {
        if (o->stream.wants == 2 && o->state == ORIGIN_USED) {
            o->stream.wants = 0;
            origin_enter(o);
            o->ops->writable(o->user);
            origin_leave(o);
            o = s->first; /* whoever it was may be gone */
            continue;
        }
        o = o->next;
    }
}

static void rest(origin_session_t *s)
{
    if (s->ngh && !nghttp2_session_want_read(s->ngh) && !nghttp2_session_want_write(s->ngh) && !s->out.kept) {
        over(s, ORIGIN_BAD, s->settled ? "the member broke the rules of HTTP/2" : "the member does not speak HTTP/2");
        return;
    }
    if (s->place->gone || s->place->all->draining) {
        s->retired = 1;
    }
    if (s->open) {
        return;
    }
    if (s->retired) {
        leave_member(s);
        return;
    }
    if (!s->idle) {
        count_idle(s, 1);
        loop_timer_set(s->link->loop, &s->timer,
                       loop_now(s->link->loop) + (s->doubted ? patience_usec(s) : s->place->all->rules.idle_usec));
    }
}

static void work(origin_session_t *s)
{
    hold(s);
    if (s->stands) {
        begin_waiting(s);
        send_all(s);
        tell_writable(s);
        send_all(s);
    }
    if (s->link && s->stands) {
        rest(s);
    }
    release(s);
}

static void run_job(loop_job_t *job)
{
    origin_session_t *s = (origin_session_t *)((char *)job - offsetof(origin_session_t, job));

    s->posted = 0;
    if (s->link) {
        work(s);
    }
    else {
        free_if_over(s);
    }
}

void origin_session_soon(origin_session_t *s)
{
    if (!s->posted && s->link) {
        s->posted = 1;
        loop_defer(s->link->loop, &s->job);
    }
}

static void fired(wheel_timer_t *timer)
{
    origin_session_t *s = (origin_session_t *)((char *)timer - offsetof(origin_session_t, timer));

    if (!s->open) {
        origin_session_retire(s);
    }
    else if (!s->settled) {
        s->settled = 1; /* it does not say how many: as many as usual */
        origin_session_soon(s);
    }
}

/* --- the link --- */

static void on_connected(void *user)
{
    origin_session_t *s = user;

    s->link->reading = READING_TUNNEL;
    s->stands = 1;
    s->heard_usec = loop_now(s->link->loop);
    if (origin_session_begin(s) != 0) {
        over(s, ORIGIN_REFUSED, "no memory for HTTP/2");
        return;
    }
    be_patient(s);
    origin_session_soon(s);
}

static void on_writable(void *user)
{
    origin_session_soon(user);
}

static void on_data(void *user, const char *bytes, size_t len)
{
    origin_session_t *s = user;
    const char *wrong;

    hold(s);
    s->heard_usec = loop_now(s->link->loop);
    wrong = origin_session_take(s, bytes, len);
    if (wrong && s->link) {
        say_goodbye(s);
        over(s, ORIGIN_BAD, wrong);
    }
    release(s);
}

static void on_turn(void *user)
{
    origin_session_t *s = user;
    origin_t *o;

    hold(s);
    while ((o = s->touched)) {
        s->touched = o->stream.touched_next;
        o->stream.touched = 0;
        origin_enter(o);
        o->ops->turn(o->user);
        origin_leave(o);
    }
    origin_session_soon(s);
    release(s);
}

static void on_end(void *user, const fields_t *trailers)
{
    (void)trailers;
    over(user, ORIGIN_RESET, "the connection was closed");
}

static void on_failed(void *user, origin_e how, const char *why)
{
    over(user, how, why);
}

static const origin_ops_t link_ops = {
    .connected = on_connected, .writable = on_writable, .data = on_data, .end = on_end, .turn = on_turn, .failed = on_failed
};

static origin_session_t *open_session(origin_place_t *place, int64_t connect_usec)
{
    origin_session_t *s = calloc(1, sizeof *s);

    if (!s) {
        return NULL;
    }
    place->references++;
    s->link = origin_make(place, &origin_h1, 1);
    if (!s->link) {
        origin_place_release(place);
        free(s);
        return NULL;
    }
    s->place = place;
    s->limit = place->streams ? place->streams : H2_STREAMS_USUAL;
    s->out.shelf = &place->all->shelf;
    s->job.run = run_job;
    s->timer.fired = fired;
    s->link->ops = &link_ops;
    s->link->user = s;
    s->link->connect_usec = connect_usec;
    s->link->state = ORIGIN_NAME;
    s->next = place->sessions;
    place->sessions = s;
    origin_connect(s->link);
    return s;
}

/* --- joining and leaving --- */

static void attach(origin_session_t *s, origin_t *o)
{
    count_idle(s, 0);
    if (!s->open) {
        be_patient(s);
    }
    o->stream.session = s;
    o->next = NULL;
    o->prev = s->last;
    if (s->last) {
        s->last->next = o;
    }
    else {
        s->first = o;
    }
    s->last = o;
    s->open++;
}

int origin_session_join(origin_t *o, int careful)
{
    origin_session_t *s = with_room(o->place, careful);

    if (!s && !(s = open_session(o->place, o->connect_usec))) {
        return -1;
    }
    attach(s, o);
    o->stream.waits = !s->settled;
    if (o->stream.waits) {
        o->state = ORIGIN_CONNECT;
        if (s->stands) {
            origin_session_soon(s);
        }
        return 0;
    }
    o->state = ORIGIN_USED;
    return 1;
}

static void untouch(origin_session_t *s, origin_t *o)
{
    origin_t **link = &s->touched;

    while (*link && *link != o) {
        link = &(*link)->stream.touched_next;
    }
    if (*link) {
        *link = o->stream.touched_next;
    }
    o->stream.touched = 0;
}

void origin_session_leave(origin_t *o)
{
    origin_session_t *s = o->stream.session;

    if (!s) {
        return;
    }
    if (o->stream.touched) {
        untouch(s, o);
    }
    if (s->asking == o) {
        s->asking = NULL;
    }
    if (o->uploads) {
        o->uploads = 0;
        origin_session_uploads(s, -1);
    }
    if (o->prev) {
        o->prev->next = o->next;
    }
    else {
        s->first = o->next;
    }
    if (o->next) {
        o->next->prev = o->prev;
    }
    else {
        s->last = o->prev;
    }
    o->next = o->prev = NULL;
    o->stream.session = NULL;
    s->open--;
    if (s->link) {
        origin_session_soon(s);
    }
    else {
        free_if_over(s);
    }
}

void origin_session_doubt(origin_session_t *s)
{
    if (!s->doubted && s->ngh && s->link) {
        s->doubted = 1;
        nghttp2_submit_ping(s->ngh, NGHTTP2_FLAG_NONE, NULL);
        origin_session_soon(s);
    }
}
