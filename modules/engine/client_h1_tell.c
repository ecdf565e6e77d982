/*
 * client_h1_tell.c - what the exchange tells the client, as httpd's header and chunk filters would have written it.
 * A head is sent in two parts: its fields at once (they are valid during the call only), framing and Connection when it is known whether
 * there is a body.
 */
#include <httpd.h>
#include <http_core.h>

#include "client_h1_inside.h"

/* Room for a head that is written and sent at once. */
static char *head_room(client_t *client, exchange_t *x, size_t size)
{
    return size <= CLIENT_HEAD_ROOM ? client->shared->head : apr_palloc(exchange_pool(x), size);
}

static void send_bytes(client_t *client, const char *bytes, size_t len)
{
    struct iovec part = { (void *)bytes, len };

    conn_send(client->conn, &part, 1);
}

static void op_interim(exchange_t *x, const answer_head_t *head)
{
    client_t *client = exchange_client(x);
    char *to;

    if (client->minor == 0 || (head->status == 100 && !client->expecting)) {
        return; /* RFC 9110, 10.1.1 and 15.2 */
    }
    if (head->status == 100) {
        client->expecting = 0; /* also if it did not wait: as httpd does */
        if (client->reading != IN_DONE) {
            conn_phase(client->conn, CONN_BODY, client->server);
        }
    }
    to = head_room(client, x, h1_interim_room(head));
    send_bytes(client, to, h1_interim_write(to, head));
}

/* As ap_set_keepalive() decides. */
static int stays(const client_t *client, int length_known)
{
    const server_rec *s = client->server;

    return client->keep_alive && (!client->expecting || client->reading == IN_DONE) && length_known && s->keep_alive && s->keep_alive_timeout > 0
           && (s->keep_alive_max == 0 || s->keep_alive_max > client->conn->c->keepalives) && !ap_status_drops_connection(client->status)
           && !client->conn->draining;
}

/* The last part of a head. @return its length */
static size_t end_head(client_t *client, char to[H1_ENDING_ROOM], h1_frame_e frame, int length_known)
{
    const server_rec *s = client->server;
    h1_ending_t ending = { .frame = frame, .say = client->keep_alive_said };
    conn_rec *c = client->conn->c;

    client->head_open = 0;
    ending.keep_alive = stays(client, length_known);
    client->close_after = !ending.keep_alive;
    if (!ending.keep_alive && c->keepalive != AP_CONN_CLOSE && s->keep_alive_max && s->keep_alive_max == c->keepalives) {
        c->keepalives++; /* for %k, as httpd counts the last one */
    }
    c->keepalive = ending.keep_alive ? AP_CONN_KEEPALIVE : AP_CONN_CLOSE;
    if (ending.keep_alive) {
        ending.timeout_s = (uint32_t)apr_time_sec(s->keep_alive_timeout);
        ending.left = s->keep_alive_max ? s->keep_alive_max - c->keepalives : 0;
        c->keepalives++;
    }
    if (client->late_type) {
        ending.type = (span_t){ client->type, (uint32_t)strlen(client->type) };
    }
    if (frame == H1_FRAME_LENGTH) {
        ending.length = client->told_left == UINT64_MAX ? 0 : client->told_left;
    }
    return h1_ending_write(to, &ending);
}

static int knows_length(const client_t *client)
{
    return client->frame == H1_FRAME_CHUNKED || client->empty || client->told_left != UINT64_MAX;
}

static void op_head(exchange_t *x, const answer_head_t *head)
{
    client_t *client = exchange_client(x);
    h1_reply_t reply = { .method = client->method, .server = client->shared->banner };
    int header_only = client->method == METHOD_HEAD || head->status == 204 || head->status == 304;
    const field_t *type;
    char *to;

    client->status = head->status;
    client->told_left = UINT64_MAX;
    client->frame = H1_FRAME_AS_IS;
    client->empty = 0;
    client->late_type = 0;
    if (head->status == 101) {
        client->empty = 1;
        client->close_after = 1;
        to = head_room(client, x, h1_interim_room(head));
        send_bytes(client, to, h1_interim_write(to, head));
        return;
    }
    if (head->lines.at) {
        client->empty = (uint8_t)header_only;
        client->told_left = header_only ? UINT64_MAX : head->length;
        client->head_open = 1;
        send_bytes(client, head->lines.at, head->lines.len);
        return;
    }
    type = fields_known(&head->fields, FIELD_CONTENT_TYPE);
    if (type && (head->type_late || type->value.at == client->type) && type->value.len <= H1_LATE_TYPE_MAX) {
        client->type = type->value.at;
        client->late_type = 1;
        reply.late = type;
    }
    if (!fields_known(&head->fields, FIELD_DATE)) {
        reply.date = client_date(client);
    }
    if (header_only) {
        client->empty = 1;
    }
    else if (head->body == BODY_LENGTH || head->body == BODY_NONE) {
        client->told_left = head->body == BODY_LENGTH ? head->length : 0;
        client->frame = fields_known(&head->fields, FIELD_CONTENT_LENGTH) ? H1_FRAME_AS_IS : H1_FRAME_LENGTH;
    }
    else if (client->minor > 0) {
        client->frame = H1_FRAME_CHUNKED;
    }
    client->head_open = 1;
    to = head_room(client, x, h1_reply_room(head, &reply));
    send_bytes(client, to, h1_reply_write(to, head, &reply));
}

static size_t op_data(exchange_t *x, const char *bytes, size_t len)
{
    client_t *client = exchange_client(x);
    char ending[H1_ENDING_ROOM], line[H1_CHUNK_LINE_MAX];
    struct iovec parts[4];
    int n = 0;

    if (client->reading == IN_TUNNEL) {
        parts[n++] = (struct iovec){ (void *)bytes, len };
        client->sent_bytes += len;
        return conn_send(client->conn, parts, n);
    }
    if (client->empty || len == 0) {
        return CONN_KEEP_MAX;
    }
    if (client->head_open) {
        parts[n++] = (struct iovec){ ending, end_head(client, ending, client->frame, knows_length(client)) };
    }
    if (client->told_left != UINT64_MAX) {
        /* what is more than the head says would be taken for another answer */
        client->close_after |= len > client->told_left;
        len = len > client->told_left ? (size_t)client->told_left : len;
        client->told_left -= len;
    }
    if (client->frame == H1_FRAME_CHUNKED) {
        parts[n++] = (struct iovec){ line, h1_chunk_line(line, len) };
    }
    parts[n++] = (struct iovec){ (void *)bytes, len };
    if (client->frame == H1_FRAME_CHUNKED) {
        parts[n++] = (struct iovec){ (void *)"\r\n", 2 };
    }
    client->sent_bytes += len;
    return conn_send(client->conn, parts, n);
}

/* All was told. What the client still sends of its body is read for nobody. */
static void answered(client_t *client)
{
    client_end_exchange(client);
    if (client->close_after) {
        client_close_soon(client);
    }
    else if (client->reading == IN_DONE) {
        client_next_request(client);
    }
    else {
        client_resume(client);
    }
}

static void op_end(exchange_t *x, const fields_t *trailers)
{
    client_t *client = exchange_client(x);
    char ending[H1_ENDING_ROOM];

    (void)trailers; /* httpd's chunk filter knows none */
    if (client->reading == IN_TUNNEL) {
        client_end_exchange(client);
        client_close_soon(client);
        return;
    }
    if (client->head_open) {
        h1_frame_e frame = client->empty || client->told_left != UINT64_MAX ? client->frame : H1_FRAME_LENGTH;

        send_bytes(client, ending, end_head(client, ending, frame, 1));
    }
    else if (client->frame == H1_FRAME_CHUNKED) {
        send_bytes(client, H1_CHUNK_END, sizeof H1_CHUNK_END - 1);
    }
    if (client->told_left != UINT64_MAX && client->told_left > 0 && !client->empty) {
        client->close_after = 1; /* less than announced */
    }
    answered(client);
}

static void op_flush(exchange_t *x)
{
    client_t *client = exchange_client(x);
    char ending[H1_ENDING_ROOM];

    if (client->x == x && client->head_open) {
        send_bytes(client, ending, end_head(client, ending, client->frame, knows_length(client)));
    }
    if (!client->lent) {
        conn_flush(client->conn);
    }
}

static void op_abort(exchange_t *x)
{
    client_t *client = exchange_client(x);
    char ending[H1_ENDING_ROOM];

    if (client->head_open) {
        client->keep_alive = 0;
        send_bytes(client, ending, end_head(client, ending, client->frame, 0));
    }
    client_end_exchange(client);
    client_close_soon(client);
}

static void op_classic(exchange_t *x, int status, const apr_table_t *headers)
{
    client_t *client = exchange_client(x);

    client_to_classic(client, status ? "an error of ours" : "the exchange could not be express", 1, status, headers, exchange_env(x));
    client_end_exchange(client);
}

static void op_body_room(exchange_t *x)
{
    client_resume(exchange_client(x));
}

static void op_tunnel(exchange_t *x)
{
    client_t *client = exchange_client(x);

    client->reading = IN_TUNNEL;
    conn_phase(client->conn, CONN_ANSWER, client->server);
    client_resume(client);
}

const client_ops_t client_h1_ops = {
    .interim = op_interim, .head = op_head, .data = op_data, .end = op_end, .flush = op_flush, .abort = op_abort, .classic = op_classic,
    .body_room = op_body_room, .tunnel = op_tunnel,
};
