/*
 * client_h1_read.c - what a client sends: heads, which become exchanges or go to the classic plane, and their bodies.
 */
#include <stdlib.h>

#include <httpd.h>
#include <http_core.h>

#include "client_h1_inside.h"

#define HEAD_WAIT_MAX 32768     /* a head that is still not complete: the classic plane has larger buffers */
#define ASK_AGAIN_BYTES 4096    /* of a head without another line's end: looked at all the same, for its limits */

/* For the case that the classic plane has to read it after all. @return 0: no memory */
static int keep_head(client_t *client, const char *bytes, size_t len)
{
    if (len > client->again_room) {
        size_t room = len > 1024 ? len : 1024;

        free(client->again);
        client->again_room = 0;
        client->again = malloc(room);
        if (!client->again) {
            return 0;
        }
        client->again_room = room;
    }
    memcpy(client->again, bytes, len);
    client->again_len = len;
    return 1;
}

static void begin_body(client_t *client, const request_head_t *head)
{
    client->body_begun = 0;
    client->head_seen = 0;
    switch (head->body) {
    case BODY_LENGTH:
        client->reading = IN_LENGTH;
        client->body_left = head->length;
        break;
    case BODY_CHUNKED:
        client->reading = IN_CHUNKS;
        h1_chunk_init(&client->chunks, (uint32_t)client->conn->c->base_server->limit_req_fieldsize);
        break;
    default:
        client->reading = IN_DONE;
    }
    /* who waits for 100 (Continue) is not late */
    conn_phase(client->conn, client->reading == IN_DONE || head->expect_continue ? CONN_ANSWER : CONN_BODY, client->server);
}

/* @return NULL, or why the classic plane has to do it */
static const char *begin_exchange(client_t *client, const char *bytes, request_head_t *head)
{
    conn_t *conn = client->conn;
    exchange_ask_t ask = { .loop = conn->loop, .ops = &client_h1_ops, .client = client, .pool = conn->c->pool, .c = conn->c, .head = head };
    route_found_t found = { .why = NULL };
    server_rec *server = route_server(client->routes, head);

    if (!server) {
        return "Host names no virtual host that can be told";
    }
    ask.server = server;
    ask.route = route_find(client->routes, server, head, &found);
    if (!ask.route) {
        return found.why ? found.why : "not express";
    }
    if (!keep_head(client, bytes, head->head_bytes)) {
        return "no memory";
    }
    ask.path = found.path;
    ask.refused = found.refused;
    ask.refused_in = (int)found.refused_in;
    client->type = ask.content_type = found.content_type;
    ask.begun_usec = client->head_usec;
    ask.begun_wall = client_wall(client, client->head_usec);
    client->server = server;
    client->method = head->known;
    client->minor = head->minor;
    client->keep_alive = head->keep_alive;
    client->keep_alive_said = head->keep_alive_said;
    client->expecting = head->expect_continue;
    client->head_open = client->close_after = 0;
    client->sent_bytes = 0;
    begin_body(client, head);
    conn_exchanges(conn, 1);
    conn_takes(conn, head->head_bytes);
    if (exchange_begin(&ask, &client->x) != 0) {
        client->x = NULL;
        conn_exchanges(conn, -1);
        return "no memory";
    }
    return NULL;
}

/* A head that is not complete. @return 1: it was looked at before, and nothing has come that could change that */
static int seen_before(const client_t *client, const char *bytes, size_t len)
{
    size_t seen = client->head_seen;

    return seen > 0 && len > seen && len - seen < ASK_AGAIN_BYTES && len < HEAD_WAIT_MAX && !memchr(bytes + seen, '\n', len - seen);
}

static int only_blank(const char *bytes, size_t len)
{
    while (len > 0 && (bytes[len - 1] == '\r' || bytes[len - 1] == '\n')) {
        len--;
    }
    return len == 0;
}

/* @return bytes taken; 0: nothing can be done with them now */
static size_t read_head(client_t *client, const char *bytes, size_t len)
{
    const server_rec *s = client->conn->c->base_server;
    h1_limits_t limits = { (uint32_t)s->limit_req_line, (uint32_t)s->limit_req_fieldsize, (uint32_t)s->limit_req_fields };
    request_head_t head;
    const char *why = "not a plain head";
    int said;

    if (!client->head_usec) {
        client->head_usec = client->conn->read_usec;
    }
    if (seen_before(client, bytes, len)) {
        return 0;
    }
    head.fields.field = client->shared->fields;
    said = h1_request(bytes, len, &limits, &head);
    if (said == H1_MORE && len < HEAD_WAIT_MAX) {
        client->head_seen = len;
        conn_phase(client->conn, only_blank(bytes, len) ? CONN_IDLE : CONN_HEAD, client->server);
        return 0;
    }
    if (said > 0) {
        why = begin_exchange(client, bytes, &head);
        if (!why) {
            return (size_t)said;
        }
    }
    client_to_classic(client, why, 0, 0, NULL, NULL);
    return 0;
}

/* The whole request is read. */
static void body_over(client_t *client, const fields_t *trailers)
{
    client->reading = IN_DONE;
    if (!client->x) {
        client_next_request(client); /* answered before */
        return;
    }
    conn_phase(client->conn, CONN_ANSWER, client->server);
    exchange_body_end(client->x, trailers);
}

/* What came is not the body it was to be. */
static void body_ends(client_t *client, int status, void (*tell)(exchange_t *x, int status))
{
    if (client->x) {
        client->keep_alive = 0;
        client->close_after = 1;
        client->body_begun = 1;
        client->reading = IN_NOTHING;
        tell(client->x, status);
        if (client->x) {
            return; /* the answer goes on, and then the connection ends */
        }
    }
    if (!client->lent) {
        client_close_soon(client);
    }
}

static void body_bad(client_t *client, int status)
{
    body_ends(client, status, exchange_body_bad);
}

static void body_malformed(client_t *client, int status)
{
    body_ends(client, status, exchange_body_malformed);
}

/* The rest of the body does not come in time. */
void client_h1_late(client_t *client)
{
    body_bad(client, HTTP_REQUEST_TIME_OUT);
}

/* Decoded bytes. @return how many are taken */
static size_t give_body(client_t *client, const char *bytes, size_t len)
{
    size_t taken;

    if (client->expecting && !client->body_begun) {
        conn_phase(client->conn, CONN_BODY, client->server); /* it does not wait after all */
    }
    client->body_begun = 1;
    if (!client->x) {
        return len;
    }
    taken = exchange_body(client->x, bytes, len);
    if (!client->x) {
        return client->reading == IN_NOTHING ? taken : len; /* the exchange ended by it */
    }
    if (taken < len) {
        client_pause(client);
    }
    return taken;
}

static size_t read_length(client_t *client, const char *bytes, size_t len)
{
    size_t taken = len;

    if (client->body_left < len) {
        len = (size_t)client->body_left;
    }
    if (len > 0) {
        taken = give_body(client, bytes, len);
        client->body_left -= taken;
    }
    else {
        taken = 0;
    }
    if (client->body_left == 0 && client->reading == IN_LENGTH) {
        body_over(client, NULL);
    }
    return taken;
}

static size_t read_chunks(client_t *client, const char *bytes, size_t len)
{
    size_t used = 0, taken;
    span_t run;

    switch (h1_chunk_next(&client->chunks, bytes, len, &used, &run)) {
    case H1_CHUNK_DATA:
        taken = give_body(client, run.at, run.len);
        if (taken < run.len) {
            h1_chunk_back(&client->chunks, (uint32_t)(run.len - taken));
            used -= run.len - taken;
        }
        break;
    case H1_CHUNK_TRAILERS:
        client->reading = IN_TRAILERS;
        break;
    case H1_CHUNK_BAD:
        body_malformed(client, HTTP_BAD_REQUEST);
        break;
    case H1_CHUNK_LARGE:
        body_malformed(client, HTTP_REQUEST_ENTITY_TOO_LARGE);
        break;
    case H1_CHUNK_MORE:
        break;
    }
    client->body_begun |= used > 0;
    return used;
}

static size_t read_trailers(client_t *client, const char *bytes, size_t len)
{
    const server_rec *s = client->conn->c->base_server;
    h1_limits_t limits = { (uint32_t)s->limit_req_line, (uint32_t)s->limit_req_fieldsize, (uint32_t)s->limit_req_fields };
    fields_t trailers = { .field = client->shared->fields };
    /* only bytes that are taken are changed (folded lines), and they are the loop's or the connection's */
    int said = h1_trailers((char *)bytes, len, &limits, 1, &trailers);

    if (said > 0) {
        body_over(client, &trailers);
        return (size_t)said;
    }
    client->head_seen = len;
    if (said < 0 || len >= HEAD_WAIT_MAX) {
        body_bad(client, HTTP_BAD_REQUEST);
    }
    return 0;
}

/* One step. @return bytes taken; 0 ends the turn, unless the state has changed */
static size_t read_some(client_t *client, const char *bytes, size_t len)
{
    switch (client->reading) {
    case IN_HEAD:
        return len > 0 ? read_head(client, bytes, len) : 0;
    case IN_LENGTH:
        return read_length(client, bytes, len);
    case IN_CHUNKS:
        return len > 0 ? read_chunks(client, bytes, len) : 0;
    case IN_TRAILERS:
        return len > 0 ? read_trailers(client, bytes, len) : 0;
    case IN_TUNNEL:
        return len > 0 && client->x ? give_body(client, bytes, len) : 0;
    case IN_DONE:
        if (len > 0) {
            client_pause(client);
        }
        return 0;
    default:
        return len; /* nobody reads them any more */
    }
}

void client_h1_input_end(client_t *client, size_t left)
{
    if (left > 0 && client->head_seen == 0) {
        return; /* they are given again before anything else happens */
    }
    switch (client->reading) {
    case IN_HEAD:
        if (left > 0) {
            client_to_classic(client, "a head that ends early", 0, 0, NULL, NULL); /* which says 400 to some, nothing to others */
        }
        else {
            client_close_soon(client);
        }
        break;
    case IN_LENGTH:
    case IN_CHUNKS:
    case IN_TRAILERS:
        body_bad(client, HTTP_BAD_REQUEST);
        break;
    case IN_TUNNEL:
        if (client->x) {
            exchange_body_end(client->x, NULL);
        }
        break;
    default: /* it may well wait for its answer */
        break;
    }
}

size_t client_h1_input(client_t *client, const char *bytes, size_t len)
{
    size_t used = 0;

    while (!client->paused) {
        uint8_t was = client->reading;
        size_t taken;

        if (was == IN_NOTHING) {
            return client->lent ? used : len;
        }
        taken = read_some(client, bytes + used, len - used);
        used += taken;
        if (taken == 0 && client->reading == was) {
            break;
        }
    }
    return used;
}
