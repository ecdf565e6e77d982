/*
 * client_h2.c - see client_h2.h: the life of a connection that speaks HTTP/2, and what libnghttp2 says of it.
 */
#include "engine.h"

#include <http_core.h>
#include <http_log.h>
#include <stdlib.h>

#include "client_h2_inside.h"

/* --- sending --- */

static void send_bytes(h2_t *h, const void *bytes, size_t len)
{
    struct iovec part = { (void *)bytes, len };

    h->room = conn_send(h->conn, &part, 1);
}

void h2_pump(h2_t *h)
{
    const uint8_t *bytes;
    ssize_t n = 0;

    if (h->busy || !h->conn) {
        return;
    }
    h->busy = 1;
    while (h->room > 0 && (n = nghttp2_session_mem_send(h->session, &bytes)) > 0) {
        send_bytes(h, bytes, (size_t)n);
    }
    h->broken |= n < 0;
    h->busy = 0;
}

void h2_reset(h2_stream_t *s, uint32_t code)
{
    nghttp2_submit_rst_stream(s->h->session, NGHTTP2_FLAG_NONE, s->id, code);
    h2_soon(s->h);
}

/* --- the job: what follows from what was noted --- */

static void close_when_over(h2_t *h)
{
    if (h->closing || !h->conn) {
        return;
    }
    if (h->broken || (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
        || (h->draining == DRAIN_LAST && !h->streams)) {
        h->closing = 1;
        h->conn->c->keepalive = AP_CONN_CLOSE;
        conn_close(h->conn);
    }
}

static void settle(h2_t *h)
{
    h2_stream_t *s, *next;

    for (s = h->streams; s; s = next) {
        next = s->next;
        if (s->ready) {
            s->ready = 0;
            h2_stream_begin(s);
        }
        if (s->closed) {
            h2_stream_end(s);
            continue;
        }
        if (s->in_len > 0 || (s->remote_ended && !s->body_told)) {
            h2_stream_body(s);
        }
        if (s->wants_room) {
            h2_stream_writable(s);
        }
    }
}

static void work(h2_t *h)
{
    settle(h);
    h2_pump(h);
    settle(h);
    if (!h->closing) {
        h2_keep_time(h);
        conn_flush(h->conn);
    }
    close_when_over(h);
}

static void run_job(loop_job_t *job)
{
    h2_t *h = (h2_t *)((char *)job - offsetof(h2_t, job));

    h->posted = 0;
    if (h->conn) {
        work(h);
    }
    else if (!h->classics) {
        free(h);
    }

}

void h2_soon(h2_t *h)
{
    if (!h->posted && h->conn) {
        h->posted = 1;
        loop_defer(h->conn->loop, &h->job);
    }
}

/* --- libnghttp2's callbacks: they note, and call nobody --- */

static h2_stream_t *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* That was too much. */
static void calm(h2_t *h)
{
    h2_useless_e worst = h2_abuse_worst(&h->abuse);

    if (h->calmed || h->broken) {
        return;
    }
    h->calmed = 1;
    ENGINE_ADD(engine_loop_of(h->conn->loop)->row->h2_calmed[worst], 1);
    ap_log_cerror(APLOG_MARK, APLOG_INFO, 0, h->conn->c, GATE_LOGNO(1700) "HTTP/2: too many %s without use: the connection is closed",
                  h2_abuse_word(worst));
    nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void useless(h2_t *h, h2_useless_e what)
{
    int64_t now = loop_now(h->conn->loop), seconds = (now - h->rested_usec) / 1000000;

    if (seconds > 0) {
        h->rested_usec = now;
        h2_abuse_rested(&h->abuse, seconds);
    }
    if (what == H2_USELESS_WINDOW ? h2_abuse_update(&h->abuse) : h2_abuse_useless(&h->abuse, what)) {
        calm(h);
    }
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_t *h = user;
    h2_stream_t *s;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        h->asking = stream_of(session, frame->hd.stream_id); /* trailers */
        h2_ask_begin(&h->ask);
        return 0;
    }
    s = h2_stream_open(h, frame->hd.stream_id);
    if (!s) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    h2_ask_begin(&h->ask);
    h->asking = s;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t value_len, uint8_t flags, void *user)
{
    h2_t *h = user;

    (void)session;
    (void)flags;
    if (h->asking && h->asking->id == frame->hd.stream_id) {
        h2_ask_field(&h->ask, (const char *)name, name_len, (const char *)value, value_len);
    }
    return 0;
}

/* @return 0: there is no memory */
static int write_text(h2_t *h, h2_stream_t *s)
{
    size_t room = h2_ask_room(&h->ask);

    s->protocol = (uint8_t)h2_ask_protocol(&h->ask);
    if (s->protocol == H2_WEBSOCKET && h2_websocket_key(s->key)) {
        h->ask.key = s->key;
    }
    if (room > s->text_room) {
        free(s->text);
        s->text = malloc(room);
        s->text_room = s->text ? room : 0;
    }
    s->text_len = s->text ? h2_ask_write(&h->ask, s->has_body, s->text) : 0;
    return s->text != NULL;
}

static void head_whole(h2_t *h, h2_stream_t *s, int has_body)
{
    h->asking = NULL;
    s->has_body = (uint8_t)has_body;
    s->remote_ended = !has_body;
    if (!write_text(h, s)) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (s->text_len == 0) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id,
                                  h->ask.state == H2_HEAD_LARGE ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    s->ready = 1;
}

/* libnghttp2 has done what the client says; what the answer has said goes before it. */
static void reprioritized(h2_t *h, const nghttp2_ext_priority_update *update)
{
    h2_stream_t *s = stream_of(h->session, update->stream_id);

    if (s) {
        s->was_updated = 1;
        s->updated = H2_PRIORITY_UNSAID;
        h2_priority_parse((const char *)update->field_value, update->field_value_len, &s->updated);
        h2_stream_prioritize(s);
    }
}

/* The request ends with them. */
static void trailers_whole(h2_t *h, h2_stream_t *s)
{
    size_t room = h2_ask_room(&h->ask);

    h->asking = NULL;
    s->last = s->last ? s->last : malloc(room);
    s->last_len = s->last ? h2_ask_write_trailers(&h->ask, s->last) : 0;
    if (s->last_len == 0) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id,
                                  h->ask.state == H2_HEAD_LARGE ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_t *h = user;
    h2_stream_t *s = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    int end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    h->noise = 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (s && s == h->asking && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            head_whole(h, s, !end);
        }
        else if (s && s == h->asking) {
            trailers_whole(h, s);
            s->remote_ended |= end != 0;
        }
        break;
    case NGHTTP2_DATA:
        if (s && end) {
            s->remote_ended = 1;
        }
        else if (frame->hd.length == 0) {
            useless(h, H2_USELESS_EMPTY);
        }
        break;
    case NGHTTP2_RST_STREAM:
        if (s && !s->ended) {
            useless(h, H2_USELESS_RESET);
        }
        break;
    case NGHTTP2_WINDOW_UPDATE:
        useless(h, H2_USELESS_WINDOW);
        break;
    case NGHTTP2_PRIORITY_UPDATE:
        useless(h, H2_USELESS_CONTROL);
        reprioritized(h, frame->ext.payload);
        break;
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY:
        useless(h, H2_USELESS_CONTROL);
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *user)
{
    h2_t *h = user;
    h2_stream_t *s = stream_of(session, id);

    (void)flags;
    h->noise = 0;
    h2_abuse_received(&h->abuse, len);
    if (!s || !h2_stream_in(s, (const char *)bytes, len)) {
        nghttp2_session_consume(session, id, len);
    }
    return 0;
}

/* Why we take back a stream, where it is the client's doing. */
static void reset_sent(h2_t *h, uint32_t code)
{
    switch (code) {
    case NGHTTP2_ENHANCE_YOUR_CALM:
        useless(h, H2_USELESS_HEAD);
        break;
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_FLOW_CONTROL_ERROR:
    case NGHTTP2_STREAM_CLOSED:
    case NGHTTP2_FRAME_SIZE_ERROR:
        useless(h, H2_USELESS_BROKEN);
        break;
    case NGHTTP2_REFUSED_STREAM:
        useless(h, H2_USELESS_CONTROL);
        break;
    default:
        break;
    }
}

static void data_sent(h2_t *h, nghttp2_session *session, const nghttp2_frame *frame)
{
    int cut = frame->hd.length < H2_FEW_BYTES && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
              && (nghttp2_session_get_stream_remote_window_size(session, frame->hd.stream_id) <= 0
                  || nghttp2_session_get_remote_window_size(session) <= 0);

    if (h2_abuse_sent(&h->abuse, frame->hd.length, cut)) {
        calm(h);
    }
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_stream_t *s = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    h2_t *h = user;

    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        reset_sent(h, frame->rst_stream.error_code);
    }
    if (frame->hd.type == NGHTTP2_DATA) {
        data_sent(h, session, frame);
    }
    if (!s || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)) {
        return 0;
    }
    s->head_sent |= frame->hd.type == NGHTTP2_HEADERS;
    s->moved_usec = loop_now(h->conn->loop);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        h2_abuse_answered(&h->abuse);
        s->over = 1;
        if (!s->remote_ended) {
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR); /* the rest of the body is not wanted */
        }
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    h2_stream_t *s = stream_of(session, id);

    (void)code;
    if (s) {
        s->closed = 1;
        nghttp2_session_set_stream_user_data(session, id, NULL);
        h2_soon(user);
    }
    return 0;
}

ssize_t h2_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t most, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session, (void)id, (void)to, (void)user;
    return h2_stream_read(source->ptr, most, flags);
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len, nghttp2_data_source *source, void *user)
{
    (void)session, (void)frame, (void)user;
    return h2_stream_send(source->ptr, head, len);
}

static nghttp2_session_callbacks *callbacks(void)
{
    nghttp2_session_callbacks *cb = NULL;

    if (nghttp2_session_callbacks_new(&cb) == 0) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
        nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    }
    return cb;
}

/* --- the codec --- */

static int make_session(h2_t *h)
{
    nghttp2_session_callbacks *cb = callbacks();
    nghttp2_option *option = NULL;
    nghttp2_settings_entry said[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->settings->streams },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h->settings->window },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEAD_MAX },
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
        { NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 }, /* RFC 8441, 3: not to be taken back, so 0 is said by leaving it out */
    };
    size_t says = sizeof said / sizeof said[0] - (h->settings->websockets ? 0 : 1);
    int rv = -1;

    if (cb && nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_builtin_recv_extension_type(option, NGHTTP2_PRIORITY_UPDATE);
        rv = nghttp2_session_server_new2(&h->session, cb, h, option);
    }
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(option);
    if (rv == 0) {
        rv = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, said, says);
    }
    if (rv == 0) {
        rv = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW);
    }
    return rv;
}

static int h2_open(conn_t *conn)
{
    h2_t *h = calloc(1, sizeof *h);

    if (!h) {
        return -1;
    }
    h->conn = conn;
    h->job.run = run_job;
    h->routes = route_client(conn->loop, conn->c);
    h->settings = h2_settings_of(conn->c->base_server);
    h->room = CONN_KEEP_MAX;
    h2_abuse_begin(&h->abuse);
    if (!h->routes || make_session(h) != 0) {
        nghttp2_session_del(h->session);
        free(h);
        return -1;
    }
    conn->client = h;
    conn->c->keepalives = 2; /* for %k: streams count as they do with mod_http2 */
    h->rested_usec = loop_now(conn->loop);
    ENGINE_ADD(engine_loop_of(conn->loop)->row->h2_connections, 1);
    conn_phase(conn, CONN_ANSWER, NULL); /* when it is idle for too long is ours to say: with GOAWAY */
    h2_soon(h);
    return 0;
}

static size_t h2_input(conn_t *conn, const char *bytes, size_t len)
{
    h2_t *h = conn->client;
    ssize_t n;

    if (h->closing || h->broken) {
        return len;
    }
    h->busy = 1;
    n = nghttp2_session_mem_recv(h->session, (const uint8_t *)bytes, len);
    h->busy = 0;
    h->idle_usec = 0; /* whatever it was */
    h->noise += len;
    if (h->noise > H2_NOISE_MAX) {
        useless(h, H2_USELESS_FLOOD);
    }
    if (n < 0) {
        if (n != NGHTTP2_ERR_NOMEM && n != NGHTTP2_ERR_BAD_CLIENT_MAGIC && n != NGHTTP2_ERR_CALLBACK_FAILURE) {
            useless(h, H2_USELESS_FLOOD);
        }
        nghttp2_session_terminate_session(h->session, NGHTTP2_PROTOCOL_ERROR);
        h2_pump(h);
        h->broken = 1;
    }
    h2_soon(h);
    return len;
}

static void h2_ended(conn_t *conn)
{
    h2_t *h = conn->client;

    h->broken = 1; /* there is no half of an HTTP/2 connection: window updates cannot come any more */
    h2_soon(h);
}

static void h2_room(conn_t *conn)
{
    h2_t *h = conn->client;

    h->room = CONN_KEEP_MAX;
    h2_soon(h);
}

static void h2_back(conn_t *conn)
{
    (void)conn; /* it is never lent: streams are */
}

static void h2_drain(conn_t *conn)
{
    h2_drain_begin(conn->client);
}

static void h2_closed(conn_t *conn)
{
    h2_t *h = conn->client;

    h->closing = 1;
    while (h->streams) {
        h2_stream_end(h->streams);
    }
    while (h->spare) {
        h2_stream_t *s = h->spare;

        h->spare = s->next;
        free(s->text);
        free(s->in);
        free(s->kept);
        free(s);
    }
    nghttp2_session_del(h->session);
    h2_ask_end(&h->ask);
    h->session = NULL;
    h->conn = NULL;
    conn->client = NULL;
    if (!h->posted && !h->classics) {
        free(h);
    }
}

const conn_codec_t client_h2_codec = {
    .name = "h2", .open = h2_open, .input = h2_input, .ended = h2_ended, .room = h2_room, .timer = h2_time, .back = h2_back, .drain = h2_drain,
    .closed = h2_closed,
};
