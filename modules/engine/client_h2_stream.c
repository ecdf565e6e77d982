/*
 * client_h2_stream.c - a stream from its head to its end: begun as an exchange, or in the classic plane; its body goes on as far as it is taken.
 */
#include "engine.h"

#include <http_core.h>
#include <stdlib.h>

#include "client_h2_inside.h"
#include "h1_parse.h"

/* Of a head, or of trailers, while they are looked at. */
static _Thread_local field_t fields[MESSAGE_FIELDS_MAX];

/* --- a stream's life --- */

h2_stream_t *h2_stream_open(h2_t *h, int32_t id)
{
    h2_stream_t *s = h->spare;
    char *text = NULL;
    size_t text_room = 0;

    if (s) {
        h->spare = s->next;
        text = s->text;
        text_room = s->text_room;
    }
    else if (!(s = malloc(sizeof *s))) {
        return NULL;
    }
    memset(s, 0, sizeof *s);
    s->text = text;
    s->text_room = text_room;
    s->h = h;
    s->id = id;
    s->server = h->conn->c->base_server;
    s->told_left = UINT64_MAX;
    s->member = H2_PRIORITY_UNSAID;
    s->begun_usec = s->moved_usec = h->conn->read_usec;
    s->next = h->streams;
    s->link = &h->streams;
    if (s->next) {
        s->next->link = &s->next;
    }
    h->streams = s;
    h->open++;
    ENGINE_ADD(engine_loop_of(h->conn->loop)->row->h2_streams, 1);
    return s;
}

/* @return NULL, or why the classic plane has to do it */
static const char *begin_exchange(h2_stream_t *s)
{
    h2_t *h = s->h;
    conn_rec *c = h->conn->c;
    h1_limits_t limits = { (uint32_t)c->base_server->limit_req_line, (uint32_t)c->base_server->limit_req_fieldsize,
                           (uint32_t)c->base_server->limit_req_fields };
    exchange_ask_t ask = { .loop = h->conn->loop, .ops = &h2_stream_ops, .client = s, .pool = c->pool, .c = c };
    route_found_t found = { .why = NULL };
    request_head_t head;
    server_rec *server;

    head.fields.field = fields;
    if (h1_request(s->text, s->text_len, &limits, &head) <= 0) {
        return "not a plain head";
    }
    head.major = 2;
    head.minor = 0;
    head.line = (span_t){ NULL, 0 };
    server = route_server(h->routes, &head);
    if (!server) {
        return "Host names no virtual host that can be told";
    }
    ask.head = &head;
    if (s->protocol == H2_WEBSOCKET && !h2_settings_of(server)->websockets) {
        return "H2WebSockets is off";
    }
    ask.server = server;
    ask.route = route_find(h->routes, server, &head, &found);
    if (!ask.route) {
        return found.why ? found.why : "not express";
    }
    ask.path = found.path;
    ask.refused = found.refused;
    ask.refused_in = (int)found.refused_in;
    ask.content_type = found.content_type;
    ask.begun_usec = s->begun_usec;
    ask.stream = (uint32_t)s->id;
    ask.begun_wall = h2_wall(h, s->begun_usec);
    s->server = server;
    s->method = head.known;
    s->expecting = head.expect_continue;
    conn_exchanges(h->conn, 1);
    if (exchange_begin(&ask, &s->x) != 0) {
        s->x = NULL;
        conn_exchanges(h->conn, -1);
        return "no memory";
    }
    return NULL;
}

void h2_stream_begin(h2_stream_t *s)
{
    h2_classic_t ask = { 0 };

    if (s->closed) {
        return;
    }
    s->begun = 1;
    ask.why = s->protocol == H2_OTHER_PROTOCOL ? "a :protocol that is not websocket" : begin_exchange(s);
    if (ask.why) {
        h2_stream_begin_classic(s, &ask);
    }
}

int h2_stream_in(h2_stream_t *s, const char *bytes, size_t len)
{
    s->moved_usec = loop_now(s->h->conn->loop);
    if (s->over || s->aborted || (s->begun && !s->x && !s->second)) {
        return 0;
    }
    if (s->in_at + s->in_len + len > s->in_room) {
        size_t room = (s->in_len + len) * 2;
        char *grown = malloc(room);

        if (!grown) {
            return 0;
        }
        if (s->in_len) {
            memcpy(grown, s->in + s->in_at, s->in_len);
        }
        free(s->in);
        s->in = grown;
        s->in_at = 0;
        s->in_room = room;
    }
    memcpy(s->in + s->in_at + s->in_len, bytes, len);
    s->in_len += len;
    return 1;
}

static size_t give(h2_stream_t *s)
{
    const char *at = s->in + s->in_at;

    s->body_begun = 1;
    if (s->x) {
        return exchange_body(s->x, at, s->in_len);
    }
    return s->second ? h2_secondary_body(s->second, at, s->in_len) : s->in_len;
}

/* As the HTTP/1.1 codec takes them. */
static void end_exchange_body(h2_stream_t *s)
{
    const server_rec *server = s->h->conn->c->base_server;
    h1_limits_t limits = { (uint32_t)server->limit_req_line, (uint32_t)server->limit_req_fieldsize, (uint32_t)server->limit_req_fields };
    fields_t trailers = { .field = fields };

    if (!s->last) {
        exchange_body_end(s->x, NULL);
    }
    else if (h1_trailers(s->last, s->last_len, &limits, 1, &trailers) > 0) {
        exchange_body_end(s->x, &trailers);
    }
    else {
        exchange_body_bad(s->x, HTTP_BAD_REQUEST);
    }
}

void h2_stream_body(h2_stream_t *s)
{
    size_t taken;

    if (!s->begun || s->closed || (s->protocol == H2_WEBSOCKET && s->x && !s->tunnel)) {
        return;
    }
    if (s->in_len > 0 && (taken = give(s)) > 0) {
        taken = taken < s->in_len ? taken : s->in_len;
        s->in_len -= taken;
        s->in_at = s->in_len ? s->in_at + taken : 0;
        nghttp2_session_consume(s->h->session, s->id, taken);
    }
    if (s->in_len == 0 && s->remote_ended && !s->body_told) {
        s->body_told = 1;
        if (s->x) {
            end_exchange_body(s);
        }
        if (s->second) { /* also one that this has begun */
            h2_secondary_body_end(s->second, s->last, s->last_len);
        }
    }
}

void h2_stream_end(h2_stream_t *s)
{
    h2_t *h = s->h;

    if (!s->closed) {
        nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
        s->closed = 1;
    }
    if (s->in_len > 0) {
        nghttp2_session_consume_connection(h->session, s->in_len);
    }
    if (s->x) {
        if (!s->ended) {
            exchange_gone(s->x);
        }
        h2_stream_leave_exchange(s);
    }
    if (s->second) {
        h2_secondary_leave(s->second);
    }
    free(s->in);
    free(s->kept);
    free(s->last);
    free(s->trailers);
    s->in = s->kept = s->last = NULL;
    s->trailers = NULL;
    if (h->asking == s) {
        h->asking = NULL;
    }
    *s->link = s->next;
    if (s->next) {
        s->next->link = s->link;
    }
    s->next = h->spare;
    h->spare = s;
    h->open--;
}
