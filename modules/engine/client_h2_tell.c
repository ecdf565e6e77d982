/*
 * client_h2_tell.c - what exchanges and secondaries answer, as frames: heads at once (their fields are borrowed), DATA as libnghttp2 asks for it.
 */
#include <stdlib.h>

#include <httpd.h>
#include <http_core.h>
#include <http_log.h>

#include "gate_log.h"
#include "client_h2_inside.h"
#include "h1_write.h"

APLOG_USE_MODULE(gate_engine);

#define HEAD_SCRATCH 32768

/* What all connections of a loop's thread use one after the other. */
static _Thread_local struct {
    h2_reply_t reply;
    char head[HEAD_SCRATCH];
    char date[APR_RFC822_DATE_LEN];
    apr_int64_t date_sec;
    int64_t wall_at, wall_ahead;
} here;

apr_time_t h2_wall(const h2_t *h, int64_t usec)
{
    int64_t now = loop_now(h->conn->loop);

    if (!here.wall_at || now - here.wall_at > 500000) {
        here.wall_at = now;
        here.wall_ahead = apr_time_now() - now;
    }
    return usec + here.wall_ahead;
}

static span_t date(const h2_t *h)
{
    apr_time_t now = h2_wall(h, loop_now(h->conn->loop));

    if (apr_time_sec(now) != here.date_sec) {
        here.date_sec = apr_time_sec(now);
        apr_rfc822_date(here.date, now);
    }
    return (span_t){ here.date, APR_RFC822_DATE_LEN - 1 };
}

/* --- telling: what exchanges and secondaries answer --- */

static void submit_head(h2_stream_t *s, int has_body)
{
    h2_t *h = s->h;
    nghttp2_data_provider provider = { .source = { .ptr = s }, .read_callback = h2_read };
    const uint8_t *bytes;
    ssize_t n;

    if (nghttp2_submit_response(h->session, s->id, here.reply.nv, here.reply.count, has_body ? &provider : NULL) != 0) {
        h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    /* names and values are borrowed: they are written at once */
    h->busy = 1;
    while (!s->head_sent && !s->closed && (n = nghttp2_session_mem_send(h->session, &bytes)) > 0) {
        struct iovec part = { (void *)bytes, (size_t)n };

        h->room = conn_send(h->conn, &part, 1);
    }
    h->busy = 0;
}

void h2_tell_interim(h2_stream_t *s, int status, char *lines, size_t len)
{
    if (s->aborted || s->closed || (status == HTTP_EARLY_HINTS && !s->h->settings->hints)) {
        return;
    }
    h2_reply_lines(&here.reply, status, lines, len, 1);
    nghttp2_submit_headers(s->h->session, NGHTTP2_FLAG_NONE, s->id, NULL, here.reply.nv, here.reply.count, NULL);
    h2_soon(s->h);
}

void h2_stream_prioritize(h2_stream_t *s)
{
    h2_priority_t merged;
    nghttp2_extpri to;

    if (s->member.urgency < 0 && s->member.incremental < 0) {
        return;
    }
    merged = h2_priority_merge(s->was_updated ? s->updated : h2_priority_of_head(s->text, s->text_len), s->member);
    to = (nghttp2_extpri){ (uint32_t)merged.urgency, merged.incremental };
    nghttp2_session_change_extpri_stream_priority(s->h->session, s->id, &to, 1);
}

void h2_tell_head(h2_stream_t *s, int status, char *lines, size_t len, int has_body, uint64_t length)
{
    if (s->aborted || s->closed) {
        return;
    }
    s->head_told = 1;
    s->no_body = (uint8_t)!has_body;
    s->told_left = has_body ? length : UINT64_MAX;
    s->head_sent = 0; /* an interim one may have been */
    h2_reply_lines(&here.reply, status, lines, len, 0);
    if (here.reply.priority) {
        const nghttp2_nv *nv = &here.reply.nv[here.reply.priority];

        h2_priority_parse((const char *)nv->value, nv->valuelen, &s->member);
        h2_stream_prioritize(s);
    }
    if (has_body && length != UINT64_MAX) {
        h2_reply_length(&here.reply, length, 0);
    }
    h2_reply_order(&here.reply);
    submit_head(s, has_body);
    h2_soon(s->h);
}

/* @return 0: no memory */
static int keep(h2_stream_t *s, const char *bytes, size_t len)
{
    char *grown;

    if (s->kept_at > 0) {
        memmove(s->kept, s->kept + s->kept_at, s->kept_len);
        s->kept_at = 0;
    }
    if (s->kept_len + len > s->kept_room) {
        size_t room = (s->kept_len + len) * 2;

        grown = realloc(s->kept, room);
        if (!grown) {
            return 0;
        }
        s->kept = grown;
        s->kept_room = room;
    }
    memcpy(s->kept + s->kept_len, bytes, len);
    s->kept_len += len;
    return 1;
}

static void go_on(h2_stream_t *s)
{
    if (s->deferred) {
        s->deferred = 0;
        nghttp2_session_resume_data(s->h->session, s->id);
    }
}

size_t h2_tell_data(h2_stream_t *s, const char *bytes, size_t len)
{
    if (s->aborted || s->closed || s->no_body) {
        return H2_STREAM_KEEP;
    }
    len = s->told_left != UINT64_MAX && s->told_left < len ? (size_t)s->told_left : len;
    s->told_left -= s->told_left == UINT64_MAX ? 0 : len;
    if (len > 0) {
        s->now = bytes;
        s->now_len = len;
        go_on(s);
        h2_pump(s->h);
        if (s->now_len > 0 && !keep(s, s->now, s->now_len)) {
            h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        }
        s->now_len = 0;
        s->now = NULL;
    }
    h2_soon(s->h);
    if (s->kept_len >= H2_STREAM_KEEP) {
        s->wants_room = 1;
        return 0;
    }
    return H2_STREAM_KEEP - s->kept_len;
}

static void keep_trailers(h2_stream_t *s, const fields_t *trailers)
{
    size_t names = 0, values = 0, i;
    char *at;

    for (i = 0; i < trailers->count; i++) {
        names += trailers->field[i].name.len;
        values += trailers->field[i].value.len;
    }
    if (names > HEAD_SCRATCH) {
        return;
    }
    h2_reply_trailers(&here.reply, trailers, here.head);
    s->trailers = malloc(here.reply.count * sizeof(nghttp2_nv) + names + values + 1);
    if (!s->trailers) {
        return;
    }
    s->trailers_count = here.reply.count;
    at = (char *)(s->trailers + s->trailers_count);
    for (i = 0; i < s->trailers_count; i++) {
        nghttp2_nv *nv = &s->trailers[i];

        *nv = here.reply.nv[i];
        nv->name = memcpy(at, nv->name, nv->namelen);
        at += nv->namelen;
        nv->value = memcpy(at, nv->value, nv->valuelen);
        at += nv->valuelen;
    }
}

void h2_tell_end(h2_stream_t *s, const fields_t *trailers)
{
    int before = s->ended;

    s->ended = 1;
    if (s->aborted || s->closed || before || s->no_body) {
        h2_soon(s->h);
        return;
    }
    if (s->told_left != UINT64_MAX && s->told_left > 0) {
        h2_reset(s, NGHTTP2_INTERNAL_ERROR); /* less than announced */
        return;
    }
    if (trailers && trailers->count) {
        keep_trailers(s, trailers);
    }
    go_on(s);
    h2_soon(s->h);
}

/* --- libnghttp2 wants bytes --- */

ssize_t h2_stream_read(h2_stream_t *s, size_t most, uint32_t *flags)
{
    size_t have = s->kept_len + s->now_len, n = have < most ? have : most;
    int last = n == have && (s->ended || (s->told_left == 0 && !s->trails));

    if (n == 0 && !last) {
        s->deferred = 1;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->trailers_count) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(s->h->session, s->id, s->trailers, s->trailers_count);
        }
    }
    return (ssize_t)n;
}

int h2_stream_send(h2_stream_t *s, const uint8_t *frame_head, size_t len)
{
    struct iovec parts[3] = { { (void *)frame_head, 9 } };
    size_t kept = s->kept_len < len ? s->kept_len : len;
    int n = 1;

    if (kept > 0) {
        parts[n++] = (struct iovec){ s->kept + s->kept_at, kept };
        s->kept_at += kept;
        s->kept_len -= kept;
    }
    if (len > kept) {
        parts[n++] = (struct iovec){ (void *)s->now, len - kept };
        s->now += len - kept;
        s->now_len -= len - kept;
    }
    s->kept_at = s->kept_len ? s->kept_at : 0;
    s->sent_bytes += len;
    s->h->room = conn_send(s->h->conn, parts, n);
    return 0;
}

void h2_stream_writable(h2_stream_t *s)
{
    if (!s->wants_room || s->kept_len > H2_STREAM_KEEP / 2) {
        return;
    }
    s->wants_room = 0;
    if (s->x) {
        exchange_writable(s->x);
    }
    else if (s->second) {
        h2_secondary_more(s->second);
    }
}

/* --- what the exchange tells --- */

static void op_interim(exchange_t *x, const answer_head_t *head)
{
    h2_stream_t *s = exchange_client(x);

    if ((head->status == 100 && !s->expecting) || h1_interim_room(head) > sizeof here.head) {
        return;
    }
    s->expecting &= head->status != 100;
    h2_tell_interim(s, head->status, here.head, h1_interim_write(here.head, head));
}

static char *head_room(exchange_t *x, size_t size)
{
    return size <= sizeof here.head ? here.head : apr_palloc(exchange_pool(x), size);
}

/* 101 is 200 in HTTP/2 (RFC 8441, 5.1). */
static void tell_tunnel(h2_stream_t *s, char *lines, size_t len)
{
    s->head_told = 1;
    s->head_sent = 0;
    h2_reply_lines(&here.reply, HTTP_OK, lines, len, 0);
    h2_reply_drop(&here.reply, "sec-websocket-accept");
    submit_head(s, 1);
    h2_soon(s->h);
}

/*
 * What a member answers to a WebSocket. Its 101 has to fit our key; a success that is none would be taken for one, so it is 502, as with
 * mod_http2. The stream's end, which follows, ends the exchange.
 * @return 1: the client has been told; 0: an answer like any other
 */
static int told_websocket(exchange_t *x, const answer_head_t *head)
{
    h2_stream_t *s = exchange_client(x);
    size_t room = h1_interim_room(head);
    char *to;

    if (s->aborted || s->closed || head->status >= 300) {
        return s->aborted || s->closed;
    }
    if (head->status == HTTP_SWITCHING_PROTOCOLS && h2_websocket_agrees(s->key, &head->fields)) {
        to = room <= sizeof here.head ? here.head : apr_palloc(exchange_pool(x), room);
        tell_tunnel(s, to, h1_interim_write(to, head));
        return 1;
    }
    ap_log_cerror(APLOG_MARK, APLOG_INFO, 0, s->h->conn->c, GATE_LOGNO(1702) "%s: the member does not agree to a WebSocket (status %d%s): 502",
                  s->server->server_hostname ? s->server->server_hostname : "the main server", (int)head->status,
                  head->status == HTTP_SWITCHING_PROTOCOLS ? ", and Sec-WebSocket-Accept does not fit" : "");
    to = here.head;
    h2_tell_head(s, HTTP_BAD_GATEWAY, to, (size_t)snprintf(to, sizeof here.head, "HTTP/1.1 502\r\nContent-Length: 0\r\n"), 0, UINT64_MAX);
    return 1;
}

static void op_head(exchange_t *x, const answer_head_t *head)
{
    h2_stream_t *s = exchange_client(x);
    const char *banner = ap_get_server_banner();
    h1_reply_t reply = { .method = s->method, .server = { banner, (uint32_t)strlen(banner) } };
    int has_body = s->method != METHOD_HEAD && head->status != 204 && head->status != 304 && head->body != BODY_NONE
                   && !(head->body == BODY_LENGTH && head->length == 0);
    size_t len;
    char *to;

    if (s->protocol == H2_WEBSOCKET && told_websocket(x, head)) {
        return;
    }
    if (head->lines.at) {
        to = head_room(x, head->lines.len);
        memcpy(to, head->lines.at, head->lines.len);
        len = head->lines.len;
        has_body = s->method != METHOD_HEAD && head->status != 204 && head->status != 304 && head->length != 0;
    }
    else {
        if (!fields_known(&head->fields, FIELD_DATE)) {
            reply.date = date(s->h);
        }
        to = head_room(x, h1_reply_room(head, &reply));
        len = h1_reply_write(to, head, &reply);
    }
    s->trails = head->major == 2;
    h2_tell_head(s, head->status, to, len, has_body, head->lines.at || head->body == BODY_LENGTH ? head->length : UINT64_MAX);
}

static size_t op_data(exchange_t *x, const char *bytes, size_t len)
{
    return h2_tell_data(exchange_client(x), bytes, len);
}

static void op_end(exchange_t *x, const fields_t *trailers)
{
    h2_tell_end(exchange_client(x), trailers);
}

static void op_flush(exchange_t *x)
{
    h2_stream_t *s = exchange_client(x);

    h2_soon(s->h);
}

static void op_abort(exchange_t *x)
{
    h2_stream_t *s = exchange_client(x);

    s->aborted = 1;
    h2_reset(s, NGHTTP2_INTERNAL_ERROR);
}

void h2_stream_leave_exchange(h2_stream_t *s)
{
    exchange_t *x = s->x;

    if (x) {
        s->x = NULL;
        conn_exchanges(s->h->conn, -1);
        exchange_end(x, s->sent_bytes);
    }
}

/* A thread that reads HTTP/1.1 cannot tunnel: it says so. */
void h2_stream_begin_classic(h2_stream_t *s, h2_classic_t *ask)
{
    if (s->protocol != H2_NO_PROTOCOL) {
        ask->status = ask->status ? ask->status : HTTP_NOT_IMPLEMENTED;
        ask->body_gone = 1;
    }
    h2_secondary_start(s, ask);
}

static void op_classic(exchange_t *x, int status, const apr_table_t *headers)
{
    h2_stream_t *s = exchange_client(x);
    h2_classic_t ask = { .why = status ? "an error of ours" : "the exchange could not be express", .status = status, .headers = headers,
                         .env = exchange_env(x), .body_gone = s->body_begun };

    h2_stream_begin_classic(s, &ask);
    h2_stream_leave_exchange(s);
}

static void op_body_room(exchange_t *x)
{
    h2_stream_t *s = exchange_client(x);

    h2_soon(s->h);
}

static void op_tunnel(exchange_t *x)
{
    h2_stream_t *s = exchange_client(x);

    s->tunnel = !s->no_body;
    h2_soon(s->h);
}

const client_ops_t h2_stream_ops = {
    .interim = op_interim, .head = op_head, .data = op_data, .end = op_end, .flush = op_flush, .abort = op_abort, .classic = op_classic,
    .body_room = op_body_room, .tunnel = op_tunnel,
};
