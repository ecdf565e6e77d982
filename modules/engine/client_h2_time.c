/*
 * client_h2_time.c - how long a connection may be idle, a stream wait for its client, and a head take; and its end in two steps (RFC 9113, 6.8).
 * As mod_http2 has it: Timeout before the first stream, KeepAliveTimeout after the last, H2StreamTimeout (or Timeout) for each.
 */
#include <http_core.h>

#include "client_h2_inside.h"

#define TICK_USEC INT64_C(1000000)
#define NOTICE_USEC INT64_C(300000) /* what the client sent before it knew of the end still comes in that time */

/* The timer may stand earlier than it has to: it looks again when it fires. */
static void arm(h2_t *h, int64_t due_usec)
{
    if (!h->due_usec || due_usec < h->due_usec) {
        h->due_usec = due_usec;
        conn_timer(h->conn, due_usec);
    }
}

static int64_t idle_due(const h2_t *h)
{
    const server_rec *s = h->conn->c->base_server;

    return h->idle_usec + (h->served ? s->keep_alive_timeout : s->timeout);
}

void h2_keep_time(h2_t *h)
{
    int64_t now = loop_now(h->conn->loop);

    if (h->draining == DRAIN_TOLD) {
        arm(h, h->told_usec + NOTICE_USEC);
    }
    if (h->streams) {
        h->idle_usec = 0;
        h->served = 1;
        arm(h, now + TICK_USEC);
    }
    else if (h->draining != DRAIN_TOLD) {
        h->idle_usec = h->idle_usec ? h->idle_usec : now;
        arm(h, idle_due(h));
    }
}

/* What the client sent before it knew of the end still comes; then it is told which was the last. */
void h2_drain_begin(h2_t *h)
{
    if (h->draining == DRAIN_NO) {
        h->draining = DRAIN_TOLD;
        h->told_usec = loop_now(h->conn->loop);
        nghttp2_submit_shutdown_notice(h->session);
        h2_soon(h);
    }
}

static void end_drain(h2_t *h)
{
    h->draining = DRAIN_LAST;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR, NULL, 0);
}

/* Nothing comes or goes on it although it should. */
static void look_at_stream(h2_stream_t *s, int64_t now)
{
    h2_t *h = s->h;
    int64_t own = h2_settings_of(s->server)->timeout_usec, limit = own ? own : s->server->timeout;
    int waits_for_client = s->kept_len > 0 || (s->begun && !s->remote_ended && !s->in_len && !s->ended && !s->tunnel);

    if (h->asking == s && !s->begun && now - s->begun_usec > limit) { /* nothing else can come before its head is whole */
        nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
    }
    else if (waits_for_client && now - s->moved_usec > limit) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
    }
}

void h2_time(conn_t *conn)
{
    h2_t *h = conn->client;
    int64_t now = loop_now(conn->loop);
    h2_stream_t *s;

    h->due_usec = 0;
    if (h->draining == DRAIN_TOLD && now >= h->told_usec + NOTICE_USEC) {
        end_drain(h);
    }
    else if (!h->streams && h->idle_usec && now >= idle_due(h)) {
        h2_drain_begin(h);
    }
    for (s = h->streams; s; s = s->next) {
        look_at_stream(s, now);
    }
    h2_soon(h);
}
