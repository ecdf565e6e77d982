/*
 * origin_session_in.c - see origin_session.h: what libnghttp2 says of the bytes that came. Its callbacks tell users at once, who may then call
 * whatever they like: what has to be sent for it is only submitted.
 */
#include <string.h>

#include "origin_session.h"

static origin_t *origin_of(nghttp2_session *ngh, int32_t id)
{
    return id ? nghttp2_session_get_stream_user_data(ngh, id) : NULL;
}

static int on_begin_headers(nghttp2_session *ngh, const nghttp2_frame *frame, void *user)
{
    origin_session_t *s = user;

    s->asking = origin_of(ngh, frame->hd.stream_id);
    h2_block_begin(&s->block);
    return 0;
}

static int on_header(nghttp2_session *ngh, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t value_len, uint8_t flags, void *user)
{
    origin_session_t *s = user;

    (void)ngh, (void)frame, (void)flags;
    h2_block_add(&s->block, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

/* As mod_proxy_http2: an answer with a field that is none is no answer. */
static int on_invalid_header(nghttp2_session *ngh, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
                             size_t value_len, uint8_t flags, void *user)
{
    (void)ngh, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len, (void)flags, (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void headers(origin_session_t *s, const nghttp2_frame *frame, origin_t *o, int ended)
{
    fields_t trailers;

    if (!o || s->asking != o) {
        return;
    }
    s->asking = NULL;
    o->in += frame->hd.length + 9;
    origin_stream_moved(o);
    if (s->block.broken) {
        nghttp2_submit_rst_stream(s->ngh, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
    }
    else if (!o->stream.told_head) {
        origin_stream_head(o, &s->block, ended);
    }
    else if (ended) {
        trailers.field = s->place->all->trailer;
        h2_block_trailers(&s->block, &trailers);
        origin_stream_ended(o, &trailers);
    }
}

static void settings(origin_session_t *s)
{
    uint32_t limit = nghttp2_session_get_remote_settings(s->ngh, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    s->limit = s->place->streams = limit;
    s->settled = 1;
    if (s->open && s->timer.due_usec) {
        loop_timer_clear(s->link->loop, &s->timer);
    }
}

static int on_frame_recv(nghttp2_session *ngh, const nghttp2_frame *frame, void *user)
{
    origin_session_t *s = user;
    origin_t *o = origin_of(ngh, frame->hd.stream_id);
    int ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    s->doubted = 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        headers(s, frame, o, ended != 0);
        break;
    case NGHTTP2_DATA:
        if (o && ended) {
            origin_stream_ended(o, NULL);
        }
        break;
    case NGHTTP2_RST_STREAM:
        if (o) {
            o->in += frame->rst_stream.error_code == NGHTTP2_REFUSED_STREAM ? 0 : frame->hd.length + 9; /* it counts as an answer */
            o->stream.shut = 1;
        }
        break;
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
            settings(s);
        }
        break;
    case NGHTTP2_GOAWAY:
        s->retired = 1;
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *ngh, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *user)
{
    origin_t *o = origin_of(ngh, id);

    (void)flags, (void)user;
    nghttp2_session_consume_connection(ngh, len);
    if (o) {
        o->in += len;
        origin_stream_moved(o);
        origin_stream_data(o, (const char *)bytes, len);
    }
    return 0;
}

static int on_frame_send(nghttp2_session *ngh, const nghttp2_frame *frame, void *user)
{
    origin_t *o = origin_of(ngh, frame->hd.stream_id);

    (void)user;
    if (o && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)) {
        o->out += frame->hd.length + 9;
        origin_stream_moved(o);
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
            o->stream.asked = 1;
            if (o->uploads) {
                o->uploads = 0;
                origin_session_uploads(o->stream.session, -1);
            }
        }
    }
    return 0;
}

static int on_close(nghttp2_session *ngh, int32_t id, uint32_t code, void *user)
{
    origin_t *o = origin_of(ngh, id);

    (void)user;
    if (o) {
        nghttp2_session_set_stream_user_data(ngh, id, NULL);
        origin_stream_closed(o, code);
    }
    return 0;
}

static nghttp2_session_callbacks *callbacks(void)
{
    nghttp2_session_callbacks *cb = NULL;

    if (nghttp2_session_callbacks_new(&cb) == 0) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    }
    return cb;
}

int origin_session_begin(origin_session_t *s)
{
    static const nghttp2_settings_entry said[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_BLOCK_MAX },
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
    };
    nghttp2_session_callbacks *cb = callbacks();
    nghttp2_option *option = NULL;
    int rv = -1;

    if (cb && nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_peer_max_concurrent_streams(option, H2_STREAMS_USUAL);
        rv = nghttp2_session_client_new2(&s->ngh, cb, s, option);
    }
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(option);
    if (rv == 0) {
        rv = nghttp2_submit_settings(s->ngh, NGHTTP2_FLAG_NONE, said, sizeof said / sizeof said[0]);
    }
    if (rv == 0) {
        rv = nghttp2_session_set_local_window_size(s->ngh, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW);
    }
    return rv == 0 ? 0 : -1;
}

const char *origin_session_take(origin_session_t *s, const char *bytes, size_t len)
{
    ssize_t n;

    s->inside = 1;
    n = nghttp2_session_mem_recv(s->ngh, (const uint8_t *)bytes, len);
    s->inside = 0;
    if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC || (n < 0 && !s->settled)) {
        return "the member does not speak HTTP/2";
    }
    return n < 0 ? nghttp2_strerror((int)n) : NULL;
}
