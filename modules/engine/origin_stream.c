/*
 * origin_stream.c - see origin_session.h: an origin that is one stream of many on a connection. What came while its user was slow is kept,
 * within its window, and told in order: body, then the end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "origin_session.h"

#define PIECE_BYTES LOOP_SCRATCH_BYTES /* told at a time of what was kept */
#define UPLOAD_BYTES 16384
#define DOUBT_MIN_USEC INT64_C(1000000)

/* All connections of a loop's thread make their requests one after the other. */
static _Thread_local struct {
    nghttp2_nv nv[H2_REQUEST_NV];
    char room[8192];
} here;

/* --- what it is told --- */

static void touch(origin_t *o)
{
    origin_session_t *s = o->stream.session;

    if (s && !o->stream.touched) {
        o->stream.touched = 1;
        o->stream.touched_next = s->touched;
        s->touched = o;
    }
}

void origin_stream_moved(origin_t *o)
{
    if (o->limit_usec) {
        origin_due(o, loop_now(o->loop) + o->limit_usec);
    }
}

void origin_stream_start(origin_t *o)
{
    o->stream.waits = 0;
    o->state = ORIGIN_USED;
    origin_enter(o);
    o->ops->connected(o->user);
    origin_leave(o);
}

static void reset(origin_t *o, uint32_t code)
{
    origin_session_t *s = o->stream.session;

    if (s && s->ngh && o->stream.id && !o->stream.closed) {
        nghttp2_submit_rst_stream(s->ngh, NGHTTP2_FLAG_NONE, o->stream.id, code);
        origin_session_soon(s);
    }
}

/* The member has agreed: from now on bytes are bytes, if the user sees it so too. */
static void tell_tunnel(origin_t *o, const answer_head_t *head)
{
    o->stream.told_head = 1;
    origin_enter(o);
    touch(o);
    o->ops->head(o->user, head);
    if (o->state == ORIGIN_USED && o->reading != READING_TUNNEL) {
        reset(o, NGHTTP2_CANCEL);
    }
    origin_leave(o);
}

void origin_stream_head(origin_t *o, h2_block_t *block, int ended)
{
    answer_head_t head, kept;

    head.fields.field = o->place->all->field;
    if (o->stream.websocket && !ended) {
        h2_block_websocket(block, o->stream.accept);
    }
    h2_block_answer(block, (method_e)o->asked, ended, &head);
    if (head.status == 101 && o->stream.websocket) {
        tell_tunnel(o, &head);
        return;
    }
    if (head.status < 200) {
        if (++o->interims > ORIGIN_INTERIM_MAX || head.status == 101 || head.status < 100) {
            reset(o, NGHTTP2_PROTOCOL_ERROR);
            return;
        }
        origin_enter(o);
        touch(o);
        o->ops->head(o->user, &head);
        origin_leave(o);
        return;
    }
    o->stream.told_head = 1;
    o->held = malloc(answer_head_size(&head));
    if (!o->held) {
        reset(o, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    answer_head_copy(&kept, &head, o->held);
    origin_enter(o);
    touch(o);
    o->ops->head(o->user, &kept);
    if (o->state == ORIGIN_USED && ended) {
        origin_stream_ended(o, NULL);
    }
    origin_leave(o);
}

/* @return 0: no memory */
static int keep_bytes(origin_t *o, const char *bytes, size_t len)
{
    origin_stream_t *t = &o->stream;
    char *grown;

    if (t->kept_at) {
        memmove(t->kept, t->kept + t->kept_at, t->kept_len);
        t->kept_at = 0;
    }
    if (t->kept_len + len > t->kept_room) {
        size_t room = (t->kept_len + len) * 2;

        grown = realloc(t->kept, room);
        if (!grown) {
            return 0;
        }
        t->kept = grown;
        t->kept_room = room;
    }
    memcpy(t->kept + t->kept_len, bytes, len);
    t->kept_len += len;
    return 1;
}

/* Told: its place in the window is free. */
static void consumed(origin_t *o, size_t len)
{
    origin_session_t *s = o->stream.session;

    if (s && s->ngh && !o->stream.closed) {
        nghttp2_session_consume_stream(s->ngh, o->stream.id, len);
        origin_session_soon(s);
    }
}

void origin_stream_data(origin_t *o, const char *bytes, size_t len)
{
    if (o->paused || o->stream.kept_len) {
        if (!keep_bytes(o, bytes, len)) {
            reset(o, NGHTTP2_INTERNAL_ERROR);
        }
        return;
    }
    origin_enter(o);
    touch(o);
    o->ops->data(o->user, bytes, len);
    if (o->state == ORIGIN_USED) {
        consumed(o, len);
    }
    origin_leave(o);
}

static void tell_end(origin_t *o, const fields_t *trailers)
{
    origin_due(o, 0);
    origin_enter(o);
    o->ops->end(o->user, trailers && trailers->count ? trailers : NULL);
    origin_leave(o);
}

static void keep_trailers(origin_t *o, const fields_t *trailers)
{
    answer_head_t head = { .fields = *trailers }, copy;

    o->stream.trailers_memory = malloc(answer_head_size(&head) + 1);
    if (o->stream.trailers_memory) {
        answer_head_copy(&copy, &head, o->stream.trailers_memory);
        o->stream.late = copy.fields;
    }
}

void origin_stream_ended(origin_t *o, const fields_t *trailers)
{
    o->stream.ended = 1;
    if (!o->stream.kept_len) {
        tell_end(o, trailers);
    }
    else if (trailers) {
        keep_trailers(o, trailers);
    }
}

/* The user lets go of the stream before it looks at them. */
static void tell_kept_end(origin_t *o)
{
    fields_t late = o->stream.late;
    void *memory = o->stream.trailers_memory;

    o->stream.trailers_memory = NULL;
    tell_end(o, &late);
    free(memory);
}

/* Resumed: what was kept. */
static void read_kept(origin_t *o)
{
    origin_stream_t *t = &o->stream;

    while (t->kept_len && !o->paused) {
        size_t n = t->kept_len < PIECE_BYTES ? t->kept_len : PIECE_BYTES;
        const char *at = t->kept + t->kept_at;

        t->kept_at += n;
        t->kept_len -= n;
        o->ops->data(o->user, at, n);
        if (o->state != ORIGIN_USED) {
            return;
        }
        consumed(o, n);
    }
    if (!t->kept_len) {
        t->kept_at = 0;
        if (t->ended) {
            tell_kept_end(o);
            return;
        }
    }
    o->ops->turn(o->user);
}

static const char *rejected(origin_t *o, uint32_t code)
{
    snprintf(o->why, sizeof o->why, "the member reset the stream (%s)", nghttp2_http2_strerror(code));
    return o->why;
}

void origin_stream_closed(origin_t *o, uint32_t code)
{
    origin_e how = ORIGIN_BAD;
    const char *why = "the answer was not HTTP";

    o->stream.closed = 1;
    if (o->stream.ended) {
        return;
    }
    if (code == NGHTTP2_REFUSED_STREAM) {
        how = ORIGIN_UNTOUCHED;
        why = o->stream.shut ? "the member refused the stream" : "the member is closing the connection";
    }
    else if (o->stream.shut) {
        how = ORIGIN_REJECTED;
        why = rejected(o, code);
    }
    if (o->stream.session->sending) {
        origin_fail_later(o, how, why); /* its user may be on the stack */
    }
    else {
        origin_fail(o, how, why);
    }
}

/* --- what its user gives --- */

ssize_t origin_stream_pull(origin_t *o, uint8_t *to, size_t most, uint32_t *flags)
{
    origin_stream_t *t = &o->stream;
    size_t n = t->now_len < most ? t->now_len : most;

    if (!n && !t->last) {
        if (t->wants) {
            t->wants = 2;
            origin_session_soon(t->session);
        }
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n) {
        memcpy(to, t->now, n);
        t->now += n;
        t->now_len -= n;
    }
    if (!t->now_len && t->last) {
        t->last = 0;
        t->wants = 0;
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (t->trailers) {
            size_t count = h2_request_trailers(t->trailers, here.room, here.nv);

            if (count && nghttp2_submit_trailer(t->session->ngh, t->id, here.nv, count) == 0) {
                *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            }
        }
    }
    return (ssize_t)n;
}

static ssize_t pull(nghttp2_session *ngh, int32_t id, uint8_t *to, size_t most, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    origin_t *o = nghttp2_session_get_stream_user_data(ngh, id);

    (void)source, (void)user;
    return o ? origin_stream_pull(o, to, most, flags) : NGHTTP2_ERR_DEFERRED; /* its RST_STREAM is under way */
}

static ssize_t give(origin_t *o, const char *bytes, size_t len, int last)
{
    origin_stream_t *t = &o->stream;
    origin_session_t *s = t->session;
    int ended;

    if (!s || t->closed || (o->later & LATER_FAILED)) {
        return -1;
    }
    origin_session_soon(s);
    if (s->inside) {
        t->wants = 2;
        return 0;
    }
    t->now = bytes;
    t->now_len = len;
    t->last = last != 0;
    t->wants = 1; /* pulled empty or not: it is told when it may give more */
    ended = t->last;
    nghttp2_session_resume_data(s->ngh, t->id);
    origin_session_gather(s);
    len -= t->now_len;
    t->wants = t->now_len || (ended && t->last) ? t->wants : 0;
    t->now = NULL;
    t->now_len = 0;
    t->last = 0;
    return t->closed ? -1 : (ssize_t)len;
}

static int submit(origin_t *o, const member_ask_t *ask, int has_body)
{
    origin_session_t *s = o->stream.session;
    nghttp2_data_provider provider = { .read_callback = pull };
    size_t room = h2_request_room(ask), count;
    char *to = room <= sizeof here.room ? here.room : malloc(room);

    if (!to) {
        return -1;
    }
    count = h2_request(ask, o->place->tls ? "https" : "http", to, here.nv);
    o->stream.id = nghttp2_submit_request(s->ngh, NULL, here.nv, count, has_body ? &provider : NULL, o);
    if (to != here.room) {
        free(to);
    }
    if (o->stream.id < 0) {
        o->stream.id = 0;
        return -1;
    }
    if (o->stream.id > H2_STREAM_IDS) {
        s->retired = 1;
    }
    return 0;
}

/*
 * The stream stays open both ways (RFC 8441, 5).
 * @return 0: the member does not offer it
 */
static int begin_websocket(origin_t *o, const member_ask_t *ask)
{
    span_t key = h2_websocket_key_of(ask->fields);

    if (!key.at || !nghttp2_session_get_remote_settings(o->stream.session->ngh, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL)) {
        return 0;
    }
    h2_websocket_accept(key.at, o->stream.accept);
    o->stream.websocket = 1;
    return 1;
}

static ssize_t stream_ask(origin_t *o, const member_ask_t *ask, const char *bytes, size_t len, int last)
{
    origin_session_t *s = o->stream.session;
    int has_body;

    if (!s || (o->later & LATER_FAILED)) {
        return -1;
    }
    if (ask->upgrade.at && !begin_websocket(o, ask)) {
        origin_fail_later(o, ORIGIN_UNABLE, "the member does not offer WebSockets over HTTP/2");
        return -1;
    }
    last = last && !o->stream.websocket;
    has_body = !last || len;
    o->asked = (uint8_t)ask->known;
    o->asked_usec = loop_now(o->loop);
    if (submit(o, ask, has_body) != 0) {
        origin_fail_later(o, ORIGIN_UNTOUCHED, "the stream could not be opened");
        return -1;
    }
    if (!last || len > UPLOAD_BYTES) {
        o->uploads = 1;
        origin_session_uploads(s, 1);
    }
    if (!has_body) {
        origin_session_gather(s);
        origin_session_soon(s);
        return 0;
    }
    return give(o, bytes, len, last);
}

static ssize_t stream_body(origin_t *o, const char *bytes, size_t len, int last)
{
    return give(o, bytes, len, last);
}

static int stream_is_asked(const origin_t *o)
{
    return o->stream.asked;
}

/* A whole answer leaves the connection as it was; the rest of a body that nobody wanted is not sent. */
static int stream_keep(origin_t *o)
{
    if (o->stream.asked) {
        o->stream.closed = 1; /* by libnghttp2, when it likes */
    }
    return 0;
}

static void stream_leave(origin_t *o)
{
    origin_stream_t *t = &o->stream;
    origin_session_t *s = t->session;
    int64_t least = o->connect_usec > DOUBT_MIN_USEC ? o->connect_usec : DOUBT_MIN_USEC;

    if (s && s->ngh && t->id) {
        if (!t->closed) {
            nghttp2_submit_rst_stream(s->ngh, NGHTTP2_FLAG_NONE, t->id, t->ended ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        }
        if (!t->ended && s->heard_usec < o->asked_usec && loop_now(o->loop) - o->asked_usec >= least) {
            origin_session_doubt(s);
        }
        nghttp2_session_set_stream_user_data(s->ngh, t->id, NULL);
    }
    origin_session_leave(o);
    free(t->kept);
    free(t->trailers_memory);
    t->kept = NULL;
    t->trailers_memory = NULL;
}

const origin_protocol_t origin_h2 = {
    .ask = stream_ask, .body = stream_body, .is_asked = stream_is_asked, .read = read_kept, .keep = stream_keep, .leave = stream_leave
};

origin_t *origin_stream_get(origin_place_t *place, const origin_want_t *want, const origin_ops_t *ops, void *user, int *ready)
{
    origin_t *o = origin_make(place, &origin_h2, 0);
    int stands;

    if (!o) {
        origin_place_release(place);
        return NULL;
    }
    o->watch.fd = -1;
    o->ops = ops;
    o->user = user;
    o->connect_usec = want->connect_usec;
    o->stream.patient = want->upgrade != 0;
    stands = origin_session_join(o, want->careful);
    if (stands < 0) {
        origin_close(o);
        return NULL;
    }
    *ready = stands;
    o->reused = (uint8_t)stands;
    return o;
}
