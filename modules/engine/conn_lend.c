/*
 * conn_lend.c - a client connection goes to the classic plane, with what was read for it, and comes back.
 */
#include "engine.h"

#include <http_core.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

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

    if (client_gone_already(w) || w->wants & WANT_CLASSIC) {
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
    ENGINE_ADD(client_home(w)->row->reason[engine_reason(ask->why)], 1);
    client_act(w, WANT_CLASSIC);
}

int conn_is_lent(const conn_t *conn)
{
    const client_t *w = (const client_t *)conn;

    return w->at != CONN_AT_LOOP || w->wants & WANT_CLASSIC;
}

void conn_exchanges(conn_t *conn, int by)
{
    engine_row_t *row = client_home(client_of(conn))->row;

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
        ENGINE_ADD(client_home(w)->row->classic, 1);
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
        client_drop_input(w, used);
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
            client_ready(&w->watch, LOOP_WRITE);
        }
        break;
    case BACK_WAIT_READ:
    case BACK_WAIT_WRITE:
        client_set_at(w, CONN_AT_ELSEWHERE);
        w->wait_write = h->back == BACK_WAIT_WRITE;
        client_set_limit(w, w->since_usec + w->phase_server->timeout);
        if (is_ready(w)) {
            client_ready(&w->watch, LOOP_READ | LOOP_WRITE);
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
