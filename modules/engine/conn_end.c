/*
 * conn_end.c - how a connection ends: what is kept goes out, FIN, what the client still sends is thrown away for a while, then the socket and
 * the pool go.
 */
#include "engine.h"

#include <errno.h>
#include <http_connection.h>
#include <http_core.h>
#include <stdlib.h>
#include <sys/socket.h>

#define SECOND INT64_C(1000000)
#define LINGER_USEC (30 * SECOND)
#define LINGER_SHORT_USEC (2 * SECOND)
#define THROWN_AT_ONCE 64       /* buffers read in one go: others want to be served too */

/* The codec's last call. Fine to call twice. */
void client_finish(client_t *w)
{
    const conn_codec_t *codec = w->pub.codec;

    w->pub.codec = NULL;
    if (codec) {
        loop_timer_clear(w->pub.loop, &w->codec_timer);
        codec->closed(&w->pub);
    }
}

static int is_short(const client_t *w)
{
    return w->short_linger || w->pub.draining || apr_table_get(w->pub.c->notes, "short-lingering-close") != NULL;
}

int64_t client_end_due(client_t *w)
{
    if (w->at == CONN_AT_CLOSING) {
        return w->sent_at_usec + w->phase_server->timeout;
    }
    return w->since_usec + (is_short(w) ? LINGER_SHORT_USEC : LINGER_USEC);
}

static void fin(client_t *w)
{
    if (transport_shutdown(w->transport) != 0) {
        client_act(w, WANT_FREE);
        return;
    }
    client_set_at(w, CONN_AT_LINGERING);
    client_set_limit(w, client_end_due(w));
    w->readable = 1;
    client_end_ready(w, LOOP_READ);
}

/* On the loop: nothing more is written by the codec; what it wrote goes out first. */
void client_linger(client_t *w)
{
    client_finish(w);
    if (transport_flush(w->transport) != 0 || w->gone) {
        client_act(w, WANT_FREE);
        return;
    }
    if (transport_kept(w->transport) == 0) {
        fin(w);
        return;
    }
    client_set_at(w, CONN_AT_CLOSING);
    w->sent_at_usec = loop_now(w->pub.loop);
    w->sent_seen = transport_sent(w->transport);
    client_set_limit(w, client_end_due(w));
}

static void throw_away(client_t *w)
{
    char *scratch = loop_scratch(w->pub.loop, LOOP_SCRATCH_READ);

    for (int i = 0; i < THROWN_AT_ONCE; i++) {
        ssize_t got = recv(w->watch.fd, scratch, LOOP_SCRATCH_BYTES, MSG_DONTWAIT);

        if (got > 0) {
            continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            w->readable = 0;
            return;
        }
        client_act(w, WANT_FREE);
        return;
    }
    client_set_limit(w, loop_now(w->pub.loop) + 1000); /* goes on in a moment */
}

void client_end_ready(client_t *w, unsigned what)
{
    if (w->wants & WANT_FREE) {
        return;
    }
    if (what & (LOOP_GONE | LOOP_ERROR)) {
        client_act(w, WANT_FREE);
    } else if (w->at == CONN_AT_CLOSING && what & LOOP_WRITE) {
        transport_unblock(w->transport);
        if (transport_flush(w->transport) != 0) {
            client_act(w, WANT_FREE);
        } else if (transport_kept(w->transport) == 0) {
            fin(w);
        }
    } else if (w->at == CONN_AT_LINGERING && what & LOOP_READ) {
        throw_away(w);
    }
}

void client_end_late(client_t *w)
{
    int64_t now = loop_now(w->pub.loop);

    if (w->wants & WANT_FREE) {
        client_act(w, 0);
        return;
    }
    if (w->at == CONN_AT_CLOSING && transport_sent(w->transport) != w->sent_seen) {
        w->sent_seen = transport_sent(w->transport);
        w->sent_at_usec = now;
    }
    if (now >= client_end_due(w)) {
        client_act(w, WANT_FREE);
        return;
    }
    client_set_limit(w, client_end_due(w));
    if (w->at == CONN_AT_LINGERING && w->readable) {
        throw_away(w);
    }
}

/* From the deferred job only: nothing of the loop points to it any more but what is cleared here. @return 1; 0: not yet */
int client_free(client_t *w)
{
    engine_loop_t *el = engine_loop_of(w->pub.loop);

    if (!takeover_settled(w) || w->pub.holds) {
        w->wants |= WANT_FREE;
        loop_timer_clear(w->pub.loop, &w->limit);
        client_set_at(w, CONN_AT_LINGERING);
        loop_timer_set(w->pub.loop, &w->limit, loop_now(w->pub.loop) + 1000);
        return 0;
    }
    loop_watch_remove(w->pub.loop, &w->watch);
    loop_timer_clear(w->pub.loop, &w->limit);
    loop_timer_clear(w->pub.loop, &w->codec_timer);
    transport_close(w->transport);
    free(w->in);
    free(w->again);
    *w->link = w->next;
    if (w->next) {
        w->next->link = w->link;
    }
    ENGINE_ADD(el->row->at[w->at], -1);
    ENGINE_ADD(el->row->closed, 1);
    atomic_fetch_sub_explicit(&el->load, 1, memory_order_relaxed);
    takeover_destroy(w);
    return 1;
}
