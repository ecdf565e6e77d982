/*
 * client_h1.c - see client_h1.h: the life of a connection that speaks HTTP/1.1, from one request to the next.
 */
#include <stdlib.h>

#include <httpd.h>
#include <http_core.h>

#include "client_h1_inside.h"

#define AGAIN_KEEP_BYTES 2048   /* a larger copy of a head is not kept between requests */

/* ---- shared by a loop -------------------------------------------------------------------------------------------------------- */

static client_shared_t *shared_of(loop_t *loop)
{
    void **slot = loop_slot(loop, LOOP_SLOT_CODEC);
    client_shared_t *shared = *slot;

    if (!shared) {
        const char *banner = ap_get_server_banner();

        shared = *slot = calloc(1, sizeof *shared);
        if (shared) {
            shared->banner = (span_t){ banner, (uint32_t)strlen(banner) };
            shared->wall_at = INT64_MIN;
        }
    }
    return shared;
}

void client_h1_end(loop_t *loop)
{
    void **slot = loop_slot(loop, LOOP_SLOT_CODEC);

    free(*slot);
    *slot = NULL;
}

apr_time_t client_wall(client_t *client, int64_t usec)
{
    client_shared_t *shared = client->shared;
    int64_t now = loop_now(client->conn->loop);

    if (shared->wall_at == INT64_MIN || now - shared->wall_at > 500000) {
        shared->wall_at = now;
        shared->wall_ahead = apr_time_now() - now;
    }
    return usec + shared->wall_ahead;
}

span_t client_date(client_t *client)
{
    client_shared_t *shared = client->shared;
    apr_time_t now = client_wall(client, loop_now(client->conn->loop));

    if (apr_time_sec(now) != shared->date_sec) {
        shared->date_sec = apr_time_sec(now);
        apr_rfc822_date(shared->date, now);
    }
    return (span_t){ shared->date, APR_RFC822_DATE_LEN - 1 };
}

/* ---- closing ------------------------------------------------------------------------------------------------------------------ */

static void close_now(client_t *client)
{
    client->closing = 0;
    client->reading = IN_NOTHING;
    conn_close(client->conn);
}

static void run_closer(loop_job_t *job)
{
    client_closer_t *closer = (client_closer_t *)(void *)job;
    client_t *client = closer->client;

    free(closer);
    if (client) {
        client->closer = NULL;
        close_now(client);
    }
}

void client_close_soon(client_t *client)
{
    client->reading = IN_NOTHING;
    if (client->depth > 0) {
        client->closing = 1;
        return;
    }
    if (client->closer) {
        return;
    }
    client->closer = calloc(1, sizeof *client->closer);
    if (client->closer) {
        client->closer->job.run = run_closer;
        client->closer->client = client;
        loop_defer(client->conn->loop, &client->closer->job);
    }
}

static void enter(client_t *client)
{
    client->depth++;
}

/* client may be gone afterwards. */
static void leave(client_t *client)
{
    if (--client->depth == 0 && client->closing) {
        close_now(client);
    }
}

void client_pause(client_t *client)
{
    if (!client->paused) {
        client->paused = 1;
        conn_pause(client->conn);
    }
}

void client_resume(client_t *client)
{
    if (client->paused) {
        client->paused = 0;
        conn_resume(client->conn);
    }
}

/* ---- from one request to the next ------------------------------------------------------------------------------------------- */

void client_end_exchange(client_t *client)
{
    exchange_t *x = client->x;

    client->x = NULL;
    conn_exchanges(client->conn, -1);
    exchange_end(x, client->sent_bytes);
}

void client_next_request(client_t *client)
{
    client->reading = IN_HEAD;
    client->head_seen = 0;
    client->head_usec = 0;
    if (client->again_room > AGAIN_KEEP_BYTES) {
        free(client->again);
        client->again = NULL;
        client->again_room = 0;
    }
    conn_phase(client->conn, CONN_IDLE, client->server);
    client_resume(client);
    if (client->ended && !client->in_input && conn_unread(client->conn) == 0) {
        client_close_soon(client);
    }
}

void client_to_classic(client_t *client, const char *why, int again, int status, const apr_table_t *headers, const apr_table_t *env)
{
    conn_classic_t ask = { .why = why, .status = status, .headers = headers, .env = env, .begun_usec = client->head_usec };

    if (again) {
        ask.again = client->again;
        ask.again_len = client->again_len;
        ask.body_gone = client->body_begun;
    }
    client->reading = IN_NOTHING;
    client->lent = 1;
    conn_classic(client->conn, &ask);
}

/* ---- the codec ----------------------------------------------------------------------------------------------------------------- */

static int h1_open(conn_t *conn)
{
    client_t *client = apr_pcalloc(conn->c->pool, sizeof *client);

    client->conn = conn;
    client->shared = shared_of(conn->loop);
    client->routes = route_client(conn->loop, conn->c);
    client->server = conn->c->base_server;
    client->reading = IN_HEAD;
    conn->client = client;
    if (!client->shared || !client->routes) {
        return -1;
    }
    conn_phase(conn, CONN_IDLE, client->server);
    return 0;
}

static size_t h1_input(conn_t *conn, const char *bytes, size_t len)
{
    client_t *client = conn->client;
    size_t used;

    enter(client);
    client->in_input = 1;
    used = client_h1_input(client, bytes, len);
    client->in_input = 0;
    if (client->ended && !client->paused) {
        client_h1_input_end(client, len - used);
    }
    leave(client);
    return used;
}

static void h1_ended(conn_t *conn)
{
    client_t *client = conn->client;

    enter(client);
    client->ended = 1;
    if (client->x) {
        exchange_half_closed(client->x);
    }
    if (!client->paused) { /* else what is kept comes first */
        client_h1_input_end(client, conn_unread(conn));
    }
    leave(client);
}

static void h1_room(conn_t *conn)
{
    client_t *client = conn->client;

    enter(client);
    if (client->x) {
        exchange_writable(client->x);
    }
    leave(client);
}

static void h1_late(conn_t *conn)
{
    client_t *client = conn->client;

    enter(client);
    client_h1_late(client);
    leave(client);
}

static void h1_timer(conn_t *conn)
{
    (void)conn; /* none is set: all limits are conn.c's or the exchange's */
}

static void h1_back(conn_t *conn)
{
    client_t *client = conn->client;

    enter(client);
    client->lent = 0;
    client_next_request(client);
    leave(client);
}

static void h1_drain(conn_t *conn)
{
    client_t *client = conn->client;

    enter(client);
    if (client->reading == IN_HEAD && client->head_seen == 0) {
        client_close_soon(client);
    }
    leave(client);
}

static void h1_closed(conn_t *conn)
{
    client_t *client = conn->client;

    client->reading = IN_NOTHING;
    client->closing = 0;
    if (client->closer) {
        client->closer->client = NULL;
        client->closer = NULL;
    }
    if (client->x) {
        exchange_gone(client->x);
        client_end_exchange(client);
    }
    free(client->again);
    client->again = NULL;
    client->again_room = 0;
}

const conn_codec_t client_h1_codec = {
    .name = "http/1.1", .open = h1_open, .input = h1_input, .ended = h1_ended, .room = h1_room, .late = h1_late, .timer = h1_timer, .back = h1_back,
    .drain = h1_drain, .closed = h1_closed,
};
