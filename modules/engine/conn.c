/*
 * conn.c - a client connection on its loop: bytes to the codec and from it, limits of time, and what was asked for during a call of the codec.
 * What a codec asks for (close, classic, resume) is noted in `wants` and done by a deferred job, when no call of the codec is on the stack.
 */
#include "engine.h"

#include <http_core.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "gate_time.h"

#define SECOND INT64_C(1000000)
#define IN_STEP 4096u

static void act(loop_job_t *job);
static void ready(loop_watch_t *watch, unsigned what);
static void limit_fired(wheel_timer_t *timer);
static void codec_timer_fired(wheel_timer_t *timer);

#define CLIENT(pointer, field) ((client_t *)((char *)(pointer) - offsetof(client_t, field)))

static engine_loop_t *home(const client_t *w)
{
    return engine_loop_of(w->pub.loop);
}

void client_set_at(client_t *w, conn_at_e at)
{
    engine_row_t *row = home(w)->row;

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
    w->watch.ready = ready;
    w->act.run = act;
    w->limit.fired = limit_fired;
    w->codec_timer.fired = codec_timer_fired;
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

static void drop_input(client_t *w, size_t len)
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
        drop_input(w, give(w, w->in, w->in_len));
    }
    return !wants_input(w) || w->in_len >= CONN_READ_AHEAD;
}

/* What is kept is given again (it had been refused: something has changed), then what there is to read. */
static void pump(client_t *w, int again)
{
    if (again && w->in_len > 0 && wants_input(w)) {
        w->pub.read_usec = w->read_at_usec;
        drop_input(w, give(w, w->in, w->in_len));
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

static int gone_already(const client_t *w)
{
    return (w->wants & (WANT_GONE | WANT_FREE)) != 0 || w->at != CONN_AT_LOOP;
}

size_t conn_send(conn_t *conn, const struct iovec *parts, int count)
{
    client_t *w = client_of(conn);
    size_t before = transport_kept(w->transport), kept;

    if (gone_already(w)) {
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

    if (!gone_already(w) && transport_flush(w->transport) != 0) {
        client_act(w, WANT_GONE);
    }
}

size_t conn_kept(const conn_t *conn)
{
    return transport_kept(((const client_t *)conn)->transport);
}

/* ---- limits of time ------------------------------------------------------------------------------------------------------------ */

/* The timer may stand earlier than it has to: it looks again when it fires. */
void client_set_limit(client_t *w, int64_t due_usec)
{
    if (due_usec > 0 && (w->limit.due_usec == 0 || due_usec < w->limit.due_usec)) {
        loop_timer_set(w->pub.loop, &w->limit, due_usec);
    }
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

static int64_t phase_due(const client_t *w)
{
    const conn_rec *c = w->pub.c;
    int64_t due = 0;

    switch (w->phase) {
    case CONN_IDLE:
        if (c->keepalives == 0) {
            due = sooner(w->clock.due_usec, w->since_usec + c->base_server->timeout);
        } else {
            due = w->since_usec + (w->phase_server->keep_alive_timeout_set ? w->phase_server : c->base_server)->keep_alive_timeout;
        }
        break;
    case CONN_HEAD:
        due = sooner(w->clock.due_usec, w->read_at_usec + w->phase_server->timeout);
        break;
    case CONN_BODY:
        due = w->paused ? 0 : sooner(w->clock.due_usec, w->read_at_usec + w->phase_server->timeout);
        break;
    case CONN_ANSWER:
        break;
    }
    if (transport_kept(w->transport) > 0) {
        due = sooner(due, w->sent_at_usec + w->phase_server->timeout);
    }
    return due;
}

void conn_phase(conn_t *conn, conn_phase_e phase, server_rec *server)
{
    client_t *w = client_of(conn);
    const engine_server_t *conf;

    w->phase_server = server ? server : conn->c->base_server;
    if (w->phase == phase && phase != CONN_IDLE) {
        return;
    }
    w->phase = (uint8_t)phase;
    w->since_usec = loop_now(conn->loop);
    if (phase == CONN_HEAD || phase == CONN_BODY || conn->c->keepalives == 0) {
        conf = engine_server_of(phase == CONN_BODY ? w->phase_server : conn->c->base_server);
        w->read_at_usec = w->since_usec;
        if (!conf->limited) {
            w->clock.due_usec = 0;
        } else if (phase != CONN_HEAD || w->clock.due_usec == 0 || conn->c->keepalives > 0) { /* the first head's time runs since the connection came */
            read_clock_start(&w->clock, &conf->limits.stage[phase == CONN_BODY ? READ_BODY : READ_HEAD], w->since_usec);
        }
    }
    client_set_limit(w, phase_due(w));
}

void conn_timer(conn_t *conn, int64_t due_usec)
{
    client_t *w = client_of(conn);

    if (due_usec > 0) {
        loop_timer_set(conn->loop, &w->codec_timer, due_usec);
    } else {
        loop_timer_clear(conn->loop, &w->codec_timer);
    }
}

static void codec_timer_fired(wheel_timer_t *timer)
{
    client_t *w = CLIENT(timer, codec_timer);

    if (!gone_already(w)) {
        w->pub.codec->timer(&w->pub);
    }
}

/* Too late for a head: httpd's own code says so, with what has come of it. A kept-alive connection just ends. */
static void late_for_head(client_t *w)
{
    if (w->phase == CONN_IDLE && w->in_len == 0 && w->pub.c->keepalives > 0) {
        w->short_linger = 1;
        client_act(w, WANT_CLOSE);
        return;
    }
    memset(&w->handover, 0, sizeof w->handover);
    w->handover.timed_out = 1;
    ENGINE_ADD(home(w)->row->reason[engine_reason("request not complete in time")], 1);
    client_act(w, WANT_CLASSIC);
}

static void limit_at_loop(client_t *w, int64_t now)
{
    int64_t due;

    if (w->wants & (WANT_CLASSIC | WANT_CLOSE)) {
        client_act(w, 0); /* it waited: for the MPM's thread, or for the client */
    }
    due = phase_due(w);
    if (transport_kept(w->transport) > 0 && transport_sent(w->transport) != w->sent_seen) {
        w->sent_seen = transport_sent(w->transport);
        w->sent_at_usec = now;
        due = phase_due(w);
    }
    if (due == 0 || w->wants & (WANT_GONE | WANT_FREE)) {
        return;
    }
    if (now < due) {
        client_set_limit(w, due);
    } else if (transport_kept(w->transport) > 0 && now >= w->sent_at_usec + w->phase_server->timeout) {
        ap_log_cerror(APLOG_MARK, APLOG_DEBUG, 0, w->pub.c, GATE_LOGNO(1401) "the client has taken no byte of its answer for Timeout: closed");
        client_act(w, WANT_GONE);
    } else if (w->wants & (WANT_CLASSIC | WANT_CLOSE)) {
        return;
    } else if (w->phase == CONN_BODY) {
        w->short_linger = 1; /* as mod_reqtimeout has it: who was late is not waited for at its end */
        w->pub.codec->late(&w->pub);
    } else {
        late_for_head(w);
    }
}

static void limit_fired(wheel_timer_t *timer)
{
    client_t *w = CLIENT(timer, limit);
    int64_t now = loop_now(w->pub.loop);

    switch (w->at) {
    case CONN_AT_LOOP:
        limit_at_loop(w, now);
        break;
    case CONN_AT_WORKER:
        break;
    case CONN_AT_WRITING:
    case CONN_AT_ELSEWHERE:
        if (now < w->since_usec + w->phase_server->timeout) {
            client_set_limit(w, w->since_usec + w->phase_server->timeout);
        } else {
            w->short_linger = 1;
            w->pub.c->aborted |= w->at == CONN_AT_WRITING;
            client_linger(w);
        }
        break;
    default:
        client_end_late(w);
        break;
    }
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

/* ---- classic ------------------------------------------------------------------------------------------------------------------- */

static apr_table_t *copy_table(client_t *w, const apr_table_t *table)
{
    if (!table) {
        return NULL;
    }
    if (!w->classic_pool) {
        apr_pool_create(&w->classic_pool, w->pub.c->pool);
        apr_pool_tag(w->classic_pool, "gate_classic");
    }
    return apr_table_clone(w->classic_pool, table);
}

void conn_classic(conn_t *conn, const conn_classic_t *ask)
{
    client_t *w = client_of(conn);
    handover_t *h = &w->handover;

    if (gone_already(w) || w->wants & WANT_CLASSIC) {
        return;
    }
    memset(h, 0, sizeof *h);
    h->errand = ERRAND_PROCESS;
    h->status = ask->status;
    h->early = ask->early;
    h->headers = copy_table(w, ask->headers);
    h->env = copy_table(w, ask->env);
    h->body_gone = ask->body_gone;
    h->begun_usec = ask->begun_usec ? ask->begun_usec : loop_now(conn->loop);
    h->preset = ask->status != 0 || ask->env != NULL;
    if (ask->again && ask->again_len > 0) {
        w->again = malloc(ask->again_len);
        if (!w->again) {
            client_act(w, WANT_GONE);
            return;
        }
        memcpy(w->again, ask->again, ask->again_len);
        w->again_len = ask->again_len;
    }
    ENGINE_ADD(home(w)->row->reason[engine_reason(ask->why)], 1);
    client_act(w, WANT_CLASSIC);
}

int conn_is_lent(const conn_t *conn)
{
    const client_t *w = (const client_t *)conn;

    return w->at != CONN_AT_LOOP || w->wants & WANT_CLASSIC;
}

void conn_exchanges(conn_t *conn, int by)
{
    engine_row_t *row = home(client_of(conn))->row;

    ENGINE_ADD(row->exchanges, by);
    if (by > 0) {
        ENGINE_ADD(row->express, (uint64_t)by);
    }
}

/* Bytes to be read again stand before those that were not taken. */
static int join_again(client_t *w)
{
    char *in;

    if (!w->again) {
        return 0;
    }
    w->handover.given_counted = w->again_len;
    in = realloc(w->again, w->again_len + w->in_len);
    if (!in) {
        return -1;
    }
    if (w->in_len > 0) {
        memcpy(in + w->again_len, w->in, w->in_len);
    }
    free(w->in);
    w->in = in;
    w->in_len += (uint32_t)w->again_len;
    w->in_room = w->in_len;
    w->again = NULL;
    w->again_len = 0;
    return 0;
}

void client_lend(client_t *w, errand_e errand)
{
    handover_t *h = &w->handover;

    if (!takeover_settled(w)) { /* the first request of a connection that came this moment */
        sched_yield();
        if (!takeover_settled(w)) {
            w->wants |= WANT_CLASSIC;
            client_set_limit(w, loop_now(w->pub.loop) + 1000);
            return;
        }
    }
    if (join_again(w) != 0) {
        client_act(w, WANT_GONE);
        return;
    }
    h->errand = errand;
    h->given = w->in;
    h->given_len = w->in_len;
    h->back = BACK_GONE;
    w->phase_server = w->pub.c->base_server;
    w->wants &= (uint8_t)~WANT_CLASSIC;
    loop_timer_clear(w->pub.loop, &w->limit);
    loop_timer_clear(w->pub.loop, &w->codec_timer);
    client_set_at(w, CONN_AT_WORKER);
    if (errand == ERRAND_PROCESS) {
        ENGINE_ADD(home(w)->row->classic, 1);
    }
    transport_lend(w->transport);
    w->job.run = client_returned;
    handover_post(w);
}

static void back_to_codec(client_t *w)
{
    client_set_at(w, CONN_AT_LOOP);
    w->paused = 0;
    w->room_wanted = 0;
    w->asked = 1;
    w->phase = CONN_ANSWER;
    w->readable |= w->pub.c->data_in_input_filters != 0;
    conn_phase(&w->pub, CONN_IDLE, w->phase_server);
    w->pub.codec->back(&w->pub);
    if (w->pub.draining && !w->drain_told) {
        client_drain(w);
    }
    if (w->gone) {
        client_act(w, WANT_GONE);
    } else if (w->in_len > 0 || w->readable) {
        client_act(w, WANT_PUMP);
    }
}

/* Who waits for httpd's own filters counts on being told as long as something can be done, not only when that changes. */
static int is_ready(const client_t *w)
{
    struct pollfd fd = { .fd = w->watch.fd, .events = w->wait_write ? POLLOUT : POLLIN };

    return poll(&fd, 1, 0) > 0;
}

void client_returned(loop_job_t *job)
{
    client_t *w = CLIENT(job, job);
    handover_t *h = &w->handover;
    size_t used = w->in_len - h->given_len;

    if (used > 0) {
        drop_input(w, used);
    }
    h->given = NULL;
    h->given_len = 0;
    if (w->classic_pool) {
        apr_pool_clear(w->classic_pool);
    }
    transport_return(w->transport);
    switch (h->back) {
    case BACK_KEEP:
        back_to_codec(w);
        break;
    case BACK_WRITE:
        client_set_at(w, CONN_AT_WRITING);
        client_set_limit(w, w->since_usec + w->phase_server->timeout);
        w->wait_write = 1;
        if (is_ready(w)) { /* a file is sent in pieces that need not fill the socket: no event would come */
            ready(&w->watch, LOOP_WRITE);
        }
        break;
    case BACK_WAIT_READ:
    case BACK_WAIT_WRITE:
        client_set_at(w, CONN_AT_ELSEWHERE);
        w->wait_write = h->back == BACK_WAIT_WRITE;
        client_set_limit(w, w->since_usec + w->phase_server->timeout);
        if (is_ready(w)) {
            ready(&w->watch, LOOP_READ | LOOP_WRITE);
        }
        break;
    case BACK_LINGER:
        client_finish(w);
        client_set_at(w, CONN_AT_LINGERING);
        client_set_limit(w, client_end_due(w));
        w->readable = 1;
        client_end_ready(w, LOOP_READ);
        break;
    case BACK_GONE:
    case BACK_LOST:
        client_set_at(w, CONN_AT_LINGERING);
        client_act(w, WANT_FREE);
        break;
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

static void ready(loop_watch_t *watch, unsigned what)
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
