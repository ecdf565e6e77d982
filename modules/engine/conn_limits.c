/*
 * conn_limits.c - a client connection's limits of time: which one holds in which phase, and what happens when it is over.
 */
#include "engine.h"

#include <http_core.h>
#include <string.h>

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

void client_codec_timer_fired(wheel_timer_t *timer)
{
    client_t *w = CLIENT(timer, codec_timer);

    if (!client_gone_already(w)) {
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
    ENGINE_ADD(client_home(w)->row->reason[engine_reason("request not complete in time")], 1);
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

void client_limit_fired(wheel_timer_t *timer)
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
