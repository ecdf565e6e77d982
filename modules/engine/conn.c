/*
 * conn.c - a client connection on its loop: bytes to the codec and from it, and what was asked for during a call of the codec.
 * What a codec asks for (close, classic, resume) is noted in `wants` and done by a deferred job, when no call of the codec is on the stack.
 */
#include "engine.h"

#include <http_core.h>
#include <stdlib.h>
#include <string.h>

#define IN_STEP 4096u

static void act(loop_job_t *job);

void client_set_at(client_t *w, conn_at_e at)
{
    engine_row_t *row = client_home(w)->row;

    if (w->at != at) {
        ENGINE_ADD(row->at[w->at], -1);
        ENGINE_ADD(row->at[at], 1);
        w->at = (uint8_t)at;
    }
    w->since_usec = loop_now(w->pub.loop);
}

/* At most one of these stands in the loop's list, and none while it runs: it may end with the client's memory. */
void client_act(client_t *w, unsigned wants)
{
    w->wants |= (uint8_t)wants;
    if (w->acting == ACT_NONE) {
        w->acting = ACT_POSTED;
        loop_defer(w->pub.loop, &w->act);
    } else if (w->acting == ACT_RUNS) {
        w->acting = ACT_AGAIN;
    }
}

/* ---- begin ------------------------------------------------------------------------------------------------------------------- */

void client_begin(loop_job_t *job)
{
    client_t *w = CLIENT(job, job);
    engine_loop_t *el = engine_loop_of(w->pub.loop);
    int64_t now = loop_now(w->pub.loop);

    w->transport = transport_make(w->pub.loop, w->pub.c);
    w->watch.fd = transport_fd(w->transport);
    w->watch.ready = client_ready;
    w->act.run = act;
    w->limit.fired = client_limit_fired;
    w->codec_timer.fired = client_codec_timer_fired;
    w->next = el->first;
    w->link = &el->first;
    if (w->next) {
        w->next->link = &w->next;
    }
    el->first = w;
    w->at = CONN_AT_LOOP;
    ENGINE_ADD(el->row->at[CONN_AT_LOOP], 1);
    ENGINE_ADD(el->row->taken, 1);
    w->phase_server = w->pub.c->base_server;
    w->read_at_usec = now;
    w->readable = 1;
    w->pub.codec = engine_codec(w->pub.c);
    takeover_uncount(w);
    conn_phase(&w->pub, CONN_IDLE, NULL);
    if (loop_watch_add(w->pub.loop, &w->watch) != 0 || w->pub.codec->open(&w->pub) != 0) {
        w->pub.codec = NULL;
        client_act(w, WANT_FREE);
        return;
    }
    if (el->draining) {
        client_drain(w);
    }
    client_act(w, WANT_PUMP);
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

static int wants_input(const client_t *w)
{
    return w->at == CONN_AT_LOOP && !w->paused && !(w->wants & (WANT_CLASSIC | WANT_CLOSE | WANT_GONE | WANT_FREE));
}

/* @return 0, -1: no memory */
static int keep_input(client_t *w, const char *bytes, size_t len)
{
    if (w->in_len + len > w->in_room) {
        uint32_t room = (uint32_t)((w->in_len + len + IN_STEP - 1) / IN_STEP * IN_STEP);
        char *in = realloc(w->in, room);

        if (!in) {
            return -1;
        }
        w->in = in;
        w->in_room = room;
    }
    memcpy(w->in + w->in_len, bytes, len);
    w->in_len += (uint32_t)len;
    return 0;
}

void client_drop_input(client_t *w, size_t len)
{
    w->in_len -= (uint32_t)len;
    if (w->in_len == 0) {
        free(w->in);
        w->in = NULL;
        w->in_room = 0;
    } else if (len > 0) {
        memmove(w->in, w->in + len, w->in_len);
    }
}

static size_t give(client_t *w, const char *bytes, size_t len)
{
    size_t taken;

    w->in_counted = 0;
    taken = w->pub.codec->input(&w->pub, bytes, len);
    transport_count_in(w->transport, taken > w->in_counted ? taken - w->in_counted : 0);
    return taken;
}

void conn_takes(conn_t *conn, size_t len)
{
    client_t *w = client_of(conn);

    w->in_counted += len;
    transport_count_in(w->transport, len);
}

static int sink(void *ctx, const char *bytes, size_t len)
{
    client_t *w = ctx;

    w->asked = 1;
    w->pub.read_usec = w->read_at_usec = loop_now(w->pub.loop);
    if (w->phase == CONN_HEAD || w->phase == CONN_BODY) {
        read_clock_bytes(&w->clock, len);
    }
    if (w->in_len == 0 && wants_input(w)) {
        size_t taken = give(w, bytes, len);

        bytes += taken;
        len -= taken;
        if (len == 0) {
            return !wants_input(w);
        }
        if (keep_input(w, bytes, len) != 0) {
            client_act(w, WANT_GONE);
        }
        return !wants_input(w) || w->in_len >= CONN_READ_AHEAD;
    }
    if (keep_input(w, bytes, len) != 0) {
        client_act(w, WANT_GONE);
        return 1;
    }
    if (wants_input(w)) {
        client_drop_input(w, give(w, w->in, w->in_len));
    }
    return !wants_input(w) || w->in_len >= CONN_READ_AHEAD;
}

/* What is kept is given again (it had been refused: something has changed), then what there is to read. */
static void pump(client_t *w, int again)
{
    if (again && w->in_len > 0 && wants_input(w)) {
        w->pub.read_usec = w->read_at_usec;
        client_drop_input(w, give(w, w->in, w->in_len));
    }
    while (w->readable && wants_input(w) && w->in_len < CONN_READ_AHEAD) {
        switch (transport_read(w->transport, CONN_READ_AHEAD - w->in_len, sink, w)) {
        case TRANSPORT_OK:
            break;
        case TRANSPORT_AGAIN:
            w->readable = 0;
            break;
        case TRANSPORT_END:
            w->readable = 0;
            if (!w->ended) {
                w->ended = 1;
                w->pub.codec->ended(&w->pub);
            }
            break;
        case TRANSPORT_DEAD:
            w->readable = 0;
            client_act(w, WANT_GONE);
            break;
        }
    }
}

void conn_pause(conn_t *conn)
{
    client_of(conn)->paused = 1;
}

void conn_resume(conn_t *conn)
{
    client_t *w = client_of(conn);

    if (w->paused) {
        w->paused = 0;
        if (w->in_len > 0 || w->readable) {
            client_act(w, WANT_PUMP);
        }
    }
}

int conn_become(conn_t *conn, const conn_codec_t *codec)
{
    client_t *w = client_of(conn);

    conn->codec = codec;
    if (codec->open(conn) != 0) {
        conn->codec = NULL;
        client_act(w, WANT_FREE);
        return -1;
    }
    client_act(w, WANT_PUMP);
    return 0;
}

size_t conn_unread(const conn_t *conn)
{
    return ((const client_t *)conn)->in_len;
}

int conn_hung_up(const conn_t *conn)
{
    return ((const client_t *)conn)->hung_up;
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static void note_kept(client_t *w, size_t before)
{
    if (before == 0 && transport_kept(w->transport) > 0) {
        w->sent_at_usec = loop_now(w->pub.loop);
        w->sent_seen = transport_sent(w->transport);
        client_set_limit(w, w->sent_at_usec + w->phase_server->timeout);
    }
}

size_t conn_send(conn_t *conn, const struct iovec *parts, int count)
{
    client_t *w = client_of(conn);
    size_t before = transport_kept(w->transport), kept;

    if (client_gone_already(w)) {
        return CONN_KEEP_MAX;
    }
    if (transport_send(w->transport, parts, count, 1) != 0) {
        client_act(w, WANT_GONE);
        return CONN_KEEP_MAX;
    }
    note_kept(w, before);
    kept = transport_kept(w->transport);
    if (kept < CONN_KEEP_MAX) {
        return CONN_KEEP_MAX - kept;
    }
    w->room_wanted = 1;
    return 0;
}

void conn_flush(conn_t *conn)
{
    client_t *w = client_of(conn);

    if (!client_gone_already(w) && transport_flush(w->transport) != 0) {
        client_act(w, WANT_GONE);
    }
}

size_t conn_kept(const conn_t *conn)
{
    return transport_kept(((const client_t *)conn)->transport);
}

/* ---- ends ---------------------------------------------------------------------------------------------------------------------- */

void conn_close(conn_t *conn)
{
    client_act(client_of(conn), WANT_CLOSE);
}

void conn_abort(conn_t *conn)
{
    client_act(client_of(conn), WANT_GONE);
}

/* Who has connected and not asked yet is served; who was served and has asked again, too: what lies in the socket counts as asked. */
void client_drain(client_t *w)
{
    w->pub.draining = 1;
    if (w->at == CONN_AT_LOOP && !w->drain_told && wants_input(w)) {
        w->readable = 1;
        pump(w, 0);
    }
    if (w->at == CONN_AT_LOOP && !w->drain_told && w->asked && !(w->wants & (WANT_CLOSE | WANT_CLASSIC | WANT_GONE | WANT_FREE))) {
        w->drain_told = 1;
        w->pub.codec->drain(&w->pub);
    } else if (w->at == CONN_AT_ELSEWHERE) {
        client_lend(w, ERRAND_PROCESS); /* the protocol that has it sees that the server stops */
    } else if (w->at == CONN_AT_LINGERING) {
        w->short_linger = 1;
        client_set_limit(w, client_end_due(w));
    }
}

/* ---- what happens ---------------------------------------------------------------------------------------------------------------- */

static void ready_at_loop(client_t *w, unsigned what)
{
    if (what & (LOOP_GONE | LOOP_ERROR)) {
        client_act(w, WANT_GONE);
        return;
    }
    if (what & LOOP_WRITE) {
        transport_unblock(w->transport);
        if (transport_kept(w->transport) > 0 && transport_flush(w->transport) != 0) {
            client_act(w, WANT_GONE);
            return;
        }
        if (w->room_wanted && transport_kept(w->transport) < CONN_KEEP_MAX / 2) {
            w->room_wanted = 0;
            w->pub.codec->room(&w->pub);
        }
        if (w->wants & (WANT_CLASSIC | WANT_CLOSE)) {
            client_act(w, 0);
        }
    }
    if (what & LOOP_READ) {
        pump(w, 0);
    }
}

void client_ready(loop_watch_t *watch, unsigned what)
{
    client_t *w = CLIENT(watch, watch);

    if (what & LOOP_READ) {
        w->readable = 1;
        transport_readable(w->transport);
    }
    if (what & LOOP_HUP && !w->hung_up) {
        w->hung_up = 1;
        transport_hung_up(w->transport);
    }
    w->gone |= (what & (LOOP_GONE | LOOP_ERROR)) != 0;
    switch (w->at) {
    case CONN_AT_LOOP:
        ready_at_loop(w, what);
        break;
    case CONN_AT_WORKER:
        break; /* it is looked at when the worker is done */
    case CONN_AT_WRITING:
        if (what & (LOOP_WRITE | LOOP_GONE | LOOP_ERROR)) {
            client_lend(w, ERRAND_WRITE);
        }
        break;
    case CONN_AT_ELSEWHERE:
        if (what & ((w->wait_write ? LOOP_WRITE : LOOP_READ) | LOOP_GONE | LOOP_ERROR)) {
            client_lend(w, ERRAND_PROCESS);
        }
        break;
    default:
        client_end_ready(w, what);
        break;
    }
}

/* Everything kept is with the network, so that something else may write now. */
static int all_sent(client_t *w)
{
    if (transport_flush(w->transport) != 0) {
        w->wants |= WANT_GONE;
        return 0;
    }
    return transport_kept(w->transport) == 0;
}

/* @return 1: it is gone */
static int do_wants(client_t *w)
{
    if (w->wants & WANT_CLASSIC && w->at == CONN_AT_LOOP && !(w->wants & (WANT_GONE | WANT_FREE)) && all_sent(w)) {
        client_lend(w, ERRAND_PROCESS);
        return 0;
    }
    if (w->wants & WANT_CLOSE && w->at == CONN_AT_LOOP && !(w->wants & (WANT_GONE | WANT_FREE))) {
        w->wants &= (uint8_t)~WANT_CLOSE;
        client_linger(w);
    }
    if (w->wants & WANT_GONE && w->at != CONN_AT_WORKER) {
        w->wants |= WANT_FREE;
    }
    if (w->wants & WANT_FREE && w->at != CONN_AT_WORKER) {
        client_finish(w);
        return client_free(w);
    }
    if (w->wants & WANT_PUMP) {
        w->wants &= (uint8_t)~WANT_PUMP;
        pump(w, 1);
    }
    return 0;
}

static void act(loop_job_t *job)
{
    client_t *w = CLIENT(job, act);

    w->acting = ACT_RUNS;
    if (do_wants(w)) {
        return;
    }
    if (w->acting == ACT_AGAIN) {
        w->acting = ACT_POSTED;
        loop_defer(w->pub.loop, &w->act);
    } else {
        w->acting = ACT_NONE;
    }
}
