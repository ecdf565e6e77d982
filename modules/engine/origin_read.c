/*
 * origin_read.c - what a member says: heads (interim ones, then the answer's), the body by its framing, trailers, or a tunnel's bytes.
 * One reading takes what the socket has, up to the loop's scratch buffer, and tells all of it; only a head or trailers that are not whole
 * yet are kept (held) for the next.
 */
#include <errno.h>
#include <stdlib.h>

#include "origin_inside.h"

#define HELD_FIRST 4096 /* bytes: the usual head */
#define USER_LINES 12   /* of the processor's cache: an exchange */

static const h1_limits_t trailer_limits = { H1_ANSWER_LINE_MAX, H1_ANSWER_LINE_MAX, MESSAGE_FIELDS_MAX };

void origin_answer_begin(origin_t *o, method_e method)
{
    o->asked = (uint8_t)method;
    o->reading = READING_HEAD;
    o->interims = 0;
}

/* @return 0: told, nothing more comes */
static int finish(origin_t *o, size_t rest, const fields_t *trailers)
{
    const origin_ops_t *ops = o->ops;

    o->reading = READING_DONE;
    o->unclean |= rest > 0; /* an answer that nobody asked for */
    origin_due(o, 0);
    ops->end(o->user, trailers);
    return 0;
}

static int bad(origin_t *o, const char *why)
{
    origin_fail(o, ORIGIN_BAD, why);
    return 0;
}

/* How long the connection may be kept after this answer. */
static int64_t keep_usec(const origin_t *o, const answer_head_t *head)
{
    int64_t most = o->place->all->rules.idle_usec, said;

    if (!head->keep_alive) {
        return 0;
    }
    said = head->keep_alive_s ? ((int64_t)head->keep_alive_s - 1) * 1000000 : most;
    return said < most ? said : most;
}

static void frame(origin_t *o, const answer_head_t *head)
{
    o->keep_usec = keep_usec(o, head);
    switch (head->body) {
    case BODY_LENGTH:
        o->left = head->length;
        o->reading = o->left ? READING_LENGTH : READING_DONE;
        break;
    case BODY_CHUNKED:
        h1_chunk_init(&o->chunk, H1_ANSWER_LINE_MAX);
        o->reading = READING_CHUNKED;
        break;
    case BODY_CLOSE:
        o->unclean = 1;
        o->reading = READING_CLOSE;
        break;
    default:
        o->reading = READING_DONE;
    }
}

/* @return > 0 bytes used; 0: not whole; -1: stop */
static int take_head(origin_t *o, char *at, size_t len)
{
    answer_head_t head;
    int used;

    head.fields.field = o->place->all->field;
    used = h1_answer(at, len, (method_e)o->asked, &head);
    if (used <= 0) {
        return used == H1_MORE ? 0 : bad(o, "the answer was not HTTP") - 1;
    }
    if (head.status == 101) {
        o->ops->head(o->user, &head);
        if (o->state == ORIGIN_USED && o->reading != READING_TUNNEL) {
            bad(o, "the member changed the protocol without being asked");
            return -1;
        }
    }
    else if (head.status < 200) {
        if (++o->interims > ORIGIN_INTERIM_MAX) {
            return bad(o, "interim answers without end") - 1;
        }
        o->ops->head(o->user, &head);
    }
    else {
        frame(o, &head);
        o->ops->head(o->user, &head);
        if (o->state == ORIGIN_USED && o->reading == READING_DONE) {
            finish(o, len - (size_t)used, NULL);
            return -1;
        }
    }
    return o->state == ORIGIN_USED ? used : -1;
}

static int take_trailers(origin_t *o, char *at, size_t len)
{
    fields_t trailers;
    int used;

    trailers.field = o->place->all->trailer;
    used = h1_trailers(at, len, &trailer_limits, 0, &trailers);
    if (used <= 0) {
        return used == H1_MORE ? 0 : bad(o, "the answer's trailers are no fields") - 1;
    }
    finish(o, len - (size_t)used, trailers.count ? &trailers : NULL);
    return -1;
}

static int take_chunks(origin_t *o, char *at, size_t len)
{
    size_t used = 0, n = 0;
    span_t run;

    while (used < len) {
        switch (h1_chunk_next(&o->chunk, at + used, len - used, &n, &run)) {
        case H1_CHUNK_DATA:
            used += n;
            o->ops->data(o->user, run.at, run.len);
            if (o->state != ORIGIN_USED) {
                return -1;
            }
            break;
        case H1_CHUNK_MORE:
            return (int)len;
        case H1_CHUNK_TRAILERS:
            o->reading = READING_TRAILERS;
            return (int)(used + n);
        default:
            return bad(o, "the answer's chunks are broken") - 1;
        }
    }
    return (int)used;
}

static int take_plain(origin_t *o, char *at, size_t len)
{
    size_t n = o->reading == READING_LENGTH && o->left < len ? (size_t)o->left : len;

    if (o->reading == READING_LENGTH) {
        o->left -= n;
    }
    o->ops->data(o->user, at, n);
    if (o->state != ORIGIN_USED) {
        return -1;
    }
    if (o->reading == READING_LENGTH && !o->left) {
        finish(o, len - n, NULL);
        return -1;
    }
    return (int)n;
}

/* @return 0: it has failed */
static int held_room(origin_t *o, size_t want)
{
    char *grown;

    if (want <= o->held_cap) {
        return 1;
    }
    if (want > ORIGIN_HEAD_MAX) {
        return bad(o, "the answer's head is too large");
    }
    want = want < HELD_FIRST ? HELD_FIRST : want * 2 < ORIGIN_HEAD_MAX ? want * 2 : ORIGIN_HEAD_MAX;
    grown = realloc(o->held, want);
    if (!grown) {
        origin_fail(o, ORIGIN_RESET, "no memory for the answer's head");
        return 0;
    }
    o->held = grown;
    o->held_cap = (uint32_t)want;
    return 1;
}

/*
 * Keeps the beginning of a head or of trailers. If it stands in the buffer of held ones already it stays where it is until the next
 * reading: what was told of this one may be looked at until turn().
 */
static int hold(origin_t *o, char *at, size_t len)
{
    if (o->held_len && at >= o->held && at <= o->held + o->held_cap) {
        o->held_at = (uint32_t)(at - o->held);
        o->held_len = (uint32_t)len;
        return 1;
    }
    if (!held_room(o, len + 1)) {
        return 0;
    }
    memcpy(o->held, at, len);
    o->held_at = 0;
    o->held_len = (uint32_t)len;
    return 1;
}

/* Before the next reading: what is held at the beginning, and room behind it. */
static int held_ready(origin_t *o)
{
    if (o->held_at) {
        memmove(o->held, o->held + o->held_at, o->held_len);
        o->held_at = 0;
    }
    return held_room(o, o->held_len + 1);
}

/* Tells all of it. @return 1: more may be read; 0: the user was told the end, or let go of it: nothing of it is to be touched */
static int take(origin_t *o, char *at, size_t len)
{
    int used = 0;

    while (len > 0) {
        switch (o->reading) {
        case READING_HEAD:
            used = take_head(o, at, len);
            break;
        case READING_TRAILERS:
            used = take_trailers(o, at, len);
            break;
        case READING_CHUNKED:
            used = take_chunks(o, at, len);
            break;
        case READING_NOTHING:
            return bad(o, "the member spoke before it was asked");
        default:
            used = take_plain(o, at, len);
        }
        if (used <= 0) {
            return used == 0 && hold(o, at, len);
        }
        at += used;
        len -= (size_t)used;
    }
    o->held_len = 0; /* all used: what was held is told */
    return 1;
}

static void ended(origin_t *o, int failure)
{
    const char *why = "the answer ended early";

    o->readable = 0;
    o->hup = 1;
    if (!failure && (o->reading == READING_CLOSE || o->reading == READING_TUNNEL)) {
        finish(o, 0, NULL);
        return;
    }
    if (failure == ETIMEDOUT) {
        origin_fail(o, ORIGIN_TIMEOUT, o->in ? "the answer came to a halt" : "no answer in time");
        return;
    }
    if (o->reading == READING_TUNNEL) {
        why = "the connection was reset";
    }
    else if (o->reading == READING_HEAD || o->reading == READING_NOTHING) {
        why = o->held_len ? "closed within the answer's head"
              : o->reused ? "the kept-alive connection was closed without an answer"
                          : "closed without an answer";
    }
    origin_fail(o, ORIGIN_RESET, why);
}

/* Who is going to be told was last here when it asked: what it needs is on its way while the kernel copies the answer. */
static void fetch_user(const origin_t *o)
{
    const char *at = o->user;

    for (int i = 0; i < USER_LINES; i++) {
        __builtin_prefetch(at + i * 64);
    }
}

/* @return bytes, all of which are to be told; 0: there is nothing for now, or it has ended */
static size_t fetch(origin_t *o, char *into, size_t room)
{
    ssize_t n;

    fetch_user(o);
    n = origin_recv(o, into, room);

    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            o->readable = 0;
        }
        else {
            ended(o, n < 0 ? errno : 0);
        }
        return 0;
    }
    o->in += (uint64_t)n;
    if (o->limit_usec) {
        origin_due(o, loop_now(o->loop) + o->limit_usec);
    }
    if ((size_t)n < room && !o->hup && !o->tls) {
        o->readable = 0; /* edge-triggered: more would be another event */
    }
    return (size_t)n;
}

/* One reading. @return 0: enough for now */
static int read_once(origin_t *o)
{
    char *scratch = loop_scratch(o->loop, LOOP_SCRATCH_READ);
    size_t n, held = o->held_len;
    int more = 1;

    if (!held) {
        n = fetch(o, scratch, LOOP_SCRATCH_BYTES);
        more = n && take(o, scratch, n);
    }
    else {
        n = held_ready(o) ? fetch(o, o->held + held, o->held_cap - held) : 0;
        o->held_len += (uint32_t)n;
        if (!n) {
            more = 0;
        }
        else if (memchr(o->held + held, '\n', n) || o->held_len == ORIGIN_HEAD_MAX) {
            more = take(o, o->held, held + n); /* without an end of line a head is no more whole than it was */
        }
    }
    if (!more) {
        return 0;
    }
    o->ops->turn(o->user);
    return o->state == ORIGIN_USED && o->readable && !o->paused;
}

void origin_read(origin_t *o)
{
    int round;

    if (o->reading == READING_DONE) {
        return; /* whoever puts it back looks */
    }
    for (round = 0; round < ORIGIN_ROUNDS; round++) {
        if (!read_once(o)) {
            return;
        }
    }
    origin_later(o, LATER_READ);
}
