/*
 * h2_secondary.c - a stream that httpd's own code answers: a worker thread reads its request, as HTTP/1.1 text, from a secondary connection and
 * writes its answer there; the loop turns that into frames.
 *
 * Between the two stand two buffers with one mutex. The worker waits while there is nothing to read, or too much is written; the loop never
 * does. The master connection is held (conn_t.holds) until the worker has let go of it, whatever becomes of the stream.
 */
#include "engine.h"

#include <ap_mpm.h>
#include <apr_optional.h>
#include <apr_portable.h>
#include <apr_strings.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <util_filter.h>

#include "client_h2_inside.h"
#include "gate_time.h"
#include "h1_chunk.h"

#define OUT_MAX 262144          /* bytes of an answer that wait for the loop */
#define IN_MAX 262144           /* bytes of a body that wait for the worker */
#define TELL_AT 16384           /* the loop is told when there is so much, or at a FLUSH */

typedef struct {
    char *at;
    size_t from, len, room;
} bytes_t;

typedef enum { PARSE_HEAD = 0, PARSE_LENGTH, PARSE_CHUNKS, PARSE_CLOSE, PARSE_TRAILERS, PARSE_DONE } parse_e;

struct h2_secondary {
    loop_job_t job;             /* the worker's word to the loop */
    loop_t *loop;
    conn_t *conn;
    h2_t *h;
    h2_stream_t *stream;        /* loop: NULL: gone */
    h2_secondary_t *next;       /* loop: waits for a worker */
    apr_pool_t *pool;           /* for tables; the worker's while it runs */
    conn_rec *master;
    int32_t number;             /* the stream's */
    fields_t trailers;          /* worker, then loop: in the pool */
    handover_t handover;
    method_e method;
    int chunked;                /* the body is put in chunks, as the text says */
    /* loop: the answer as it is read */
    parse_e parse;
    uint64_t left;
    h1_chunk_t chunks;
    bytes_t answer;
    int ended;                  /* the worker has written all, trailers too */
    /* LOCK */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bytes_t in, out;
    size_t taken;               /* of in, since the loop looked */
    int in_ended, out_ended, aborted, posted, done, broken /* the answer is not whole */;
};

APR_DECLARE_OPTIONAL_FN(void, ap_logio_add_bytes_out, (conn_rec *c, apr_off_t bytes));

static ap_filter_rec_t *in_filter, *out_filter;
static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_out) *add_bytes_out;
static const module *mpm;

/* --- bytes --- */

static int append(bytes_t *b, const char *bytes, size_t len)
{
    if (b->from + b->len + len > b->room) {
        if (b->from > 0) {
            memmove(b->at, b->at + b->from, b->len);
            b->from = 0;
        }
        if (b->len + len > b->room) {
            size_t room = (b->len + len) * 2;
            char *grown = realloc(b->at, room);

            if (!grown) {
                return 0;
            }
            b->at = grown;
            b->room = room;
        }
    }
    memcpy(b->at + b->from + b->len, bytes, len);
    b->len += len;
    return 1;
}

static void skip(bytes_t *b, size_t len)
{
    b->len -= len;
    b->from = b->len ? b->from + len : 0;
}

static void post_locked(h2_secondary_t *second)
{
    if (!second->posted) {
        second->posted = 1;
        loop_post(second->loop, &second->job);
    }
}

/* --- the worker's side: filters of the secondary connection --- */

static apr_status_t wait_locked(h2_secondary_t *second, conn_rec *c)
{
    struct timespec until;
    apr_interval_time_t limit = c->base_server->timeout;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += apr_time_sec(limit) + 1;
    return pthread_cond_timedwait(&second->changed, &second->mutex, &until) == 0 ? APR_SUCCESS : APR_TIMEUP;
}

static size_t line_length(const bytes_t *in)
{
    const char *end = memchr(in->at + in->from, '\n', in->len);

    return end ? (size_t)(end - in->at - (ptrdiff_t)in->from) + 1 : 0;
}

/* How many bytes may be given now; 0: wait. */
static size_t givable(const h2_secondary_t *second, ap_input_mode_t mode, apr_off_t most)
{
    const bytes_t *in = &second->in;
    size_t len = in->len;

    if (len == 0) {
        return 0;
    }
    if (mode == AP_MODE_GETLINE) {
        size_t line = line_length(in);

        return line ? line : second->in_ended || len >= HUGE_STRING_LEN ? len : 0;
    }
    return mode != AP_MODE_EXHAUSTIVE && most > 0 && (apr_off_t)len > most ? (size_t)most : len;
}

static apr_status_t secondary_in(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t most)
{
    h2_secondary_t *second = f->ctx;
    apr_status_t rv = APR_SUCCESS;
    size_t len;

    if (mode == AP_MODE_INIT || mode == AP_MODE_EATCRLF) {
        return APR_SUCCESS;
    }
    pthread_mutex_lock(&second->mutex);
    while ((len = givable(second, mode, most)) == 0 && rv == APR_SUCCESS) {
        if (second->aborted) {
            rv = APR_ECONNABORTED;
        }
        else if (second->in_ended) {
            rv = APR_EOF;
        }
        else {
            rv = block == APR_NONBLOCK_READ ? APR_EAGAIN : wait_locked(second, f->c);
        }
    }
    if (rv == APR_SUCCESS) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_heap_create(second->in.at + second->in.from, len, NULL, bb->bucket_alloc));
        if (mode != AP_MODE_SPECULATIVE) {
            skip(&second->in, len);
            second->taken += len;
            post_locked(second);
        }
    }
    pthread_mutex_unlock(&second->mutex);
    return rv;
}

static apr_status_t put_out(h2_secondary_t *second, conn_rec *c, const char *bytes, size_t len)
{
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&second->mutex);
    while (!second->aborted && second->out.len >= OUT_MAX && rv == APR_SUCCESS) {
        post_locked(second);
        rv = wait_locked(second, c);
    }
    if (second->aborted) {
        rv = APR_ECONNABORTED;
    }
    else if (rv == APR_SUCCESS && !append(&second->out, bytes, len)) {
        rv = APR_ENOMEM;
    }
    if (second->out.len >= TELL_AT) {
        post_locked(second);
    }
    pthread_mutex_unlock(&second->mutex);
    return rv;
}

static apr_status_t secondary_out(ap_filter_t *f, apr_bucket_brigade *bb)
{
    h2_secondary_t *second = f->ctx;
    apr_status_t rv = APR_SUCCESS;

    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        const char *bytes;
        apr_size_t len;

        if (!APR_BUCKET_IS_METADATA(b) && rv == APR_SUCCESS) {
            rv = apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ);
            if (rv == APR_SUCCESS) {
                rv = put_out(second, f->c, bytes, len);
            }
            if (rv == APR_SUCCESS && add_bytes_out) {
                add_bytes_out(f->c, (apr_off_t)len);
            }
        }
        else if (APR_BUCKET_IS_FLUSH(b)) {
            pthread_mutex_lock(&second->mutex);
            post_locked(second);
            pthread_mutex_unlock(&second->mutex);
        }
        else if (AP_BUCKET_IS_EOC(b) || AP_BUCKET_IS_ERROR(b)) {
            f->c->aborted = 1; /* the answer ends early: run() says so */
        }
        apr_bucket_delete(b); /* the end of the request is among them */
    }
    if (rv != APR_SUCCESS) {
        f->c->aborted = 1;
    }
    return rv;
}

/* --- the worker's side: a connection and its only request --- */

static apr_socket_t *dummy_socket(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static apr_socket_t *dummy;
    static apr_pool_t *pool;

    pthread_mutex_lock(&mutex);
    if (!dummy && (pool || apr_pool_create_unmanaged_ex(&pool, NULL, NULL) == APR_SUCCESS)) {
        apr_socket_create(&dummy, APR_INET, SOCK_STREAM, APR_PROTO_TCP, pool);
    }
    pthread_mutex_unlock(&mutex);
    return dummy;
}

static conn_rec *make_connection(h2_secondary_t *second, apr_pool_t *pool)
{
    conn_rec *c = apr_pmemdup(pool, second->master, sizeof *c);

    c->master = second->master;
    c->pool = pool;
    c->conn_config = ap_create_conn_config(pool);
    c->notes = apr_table_make(pool, 5);
    c->input_filters = NULL;
    c->output_filters = NULL;
    c->data_in_input_filters = c->data_in_output_filters = 0;
    c->bucket_alloc = apr_bucket_alloc_create(pool);
    c->clogging_input_filters = 1;
    c->log = NULL;
    c->log_id = NULL;
    c->aborted = 0;
    c->sbh = NULL;
    c->id = (second->master->id << 8) ^ (long)second->number; /* as mod_http2 tells them apart */
    c->keepalive = AP_CONN_CLOSE;
    c->current_thread = ap_thread_current();
    ap_set_module_config(c->conn_config, &core_module, dummy_socket());
    if (mpm) {
        ap_set_module_config(c->conn_config, mpm, ap_get_module_config(second->master->conn_config, mpm));
    }
    ap_set_module_config(c->conn_config, &gate_engine_module, second);
    ap_add_input_filter_handle(in_filter, second, NULL, c);
    ap_add_output_filter_handle(out_filter, second, NULL, c);
    ap_run_pre_connection(c, dummy_socket());
    return c;
}

static void run(void *baton)
{
    h2_secondary_t *second = baton;
    apr_pool_t *pool = NULL;
    request_rec *r;
    conn_rec *c;
    int broken = 1;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) == APR_SUCCESS) {
        apr_pool_tag(pool, "gate_h2_secondary");
        c = make_connection(second, pool);
        r = ap_read_request(c);
        if (r) {
            ap_process_request(r);
        }
        broken = c->aborted;
        apr_pool_destroy(pool);
    }
    pthread_mutex_lock(&second->mutex);
    second->broken = broken;
    second->out_ended = second->done = 1;
    post_locked(second);
    pthread_mutex_unlock(&second->mutex);
}

static h2_secondary_t *secondary_of(const request_rec *r)
{
    return r->connection->master && !r->main ? ap_get_module_config(r->connection->conn_config, &gate_engine_module) : NULL;
}

/* It is a request of HTTP/2 after all; and its answer may be known. */
static int post_read_request(request_rec *r)
{
    h2_secondary_t *second = secondary_of(r);
    handover_t *h = second ? &second->handover : NULL;

    if (!second || r->prev) {
        return DECLINED;
    }
    r->protocol = apr_pstrdup(r->pool, "HTTP/2.0");
    r->proto_num = HTTP_VERSION(2, 0);
    r->the_request = apr_psprintf(r->pool, "%s %s HTTP/2.0", r->method, r->unparsed_uri);
    apr_table_setn(r->subprocess_env, "HTTP2", "on");
    apr_table_setn(r->subprocess_env, "H2_STREAM_ID", apr_itoa(r->pool, (int)second->number));
    r->connection->keepalive = AP_CONN_CLOSE; /* nobody waits for a body only to throw it away */
    r->request_time = apr_time_now() - (gate_mono_usec() - h->begun_usec);
    if (h->env) {
        apr_table_overlap(r->subprocess_env, h->env, APR_OVERLAP_TABLES_SET);
    }
    if (h->status) {
        ap_set_module_config(r->request_config, &gate_engine_module, h);
        apr_table_setn(r->notes, "gate-preset", apr_itoa(r->pool, h->status));
        if (h->headers) {
            r->err_headers_out = apr_table_overlay(r->pool, r->err_headers_out, apr_table_clone(r->pool, h->headers));
        }
    }
    return DECLINED;
}

static int add_trailer(void *ctx, const char *name, const char *value)
{
    h2_secondary_t *second = ctx;
    field_t *to = &second->trailers.field[second->trailers.count++];

    to->name = (span_t){ apr_pstrdup(second->pool, name), (uint32_t)strlen(name) };
    to->value = (span_t){ apr_pstrdup(second->pool, value), (uint32_t)strlen(value) };
    return second->trailers.count < MESSAGE_FIELDS_MAX;
}

/* All of the answer has been passed: HTTP/1.1 text as httpd writes it has no trailers, so they go another way (a gRPC answer's status). */
static int take_trailers(request_rec *r)
{
    h2_secondary_t *second = secondary_of(r);

    if (!second) {
        return DECLINED;
    }
    apr_table_setn(r->headers_out, "Server", ap_get_server_banner()); /* mod_http2 has it there; for %{Server}o */
    while (r->next) {
        r = r->next;
    }
    if (!apr_is_empty_table(r->trailers_out)) {
        second->trailers.field = apr_pcalloc(second->pool, MESSAGE_FIELDS_MAX * sizeof(field_t));
        apr_table_do(add_trailer, second, r->trailers_out, NULL);
    }
    return DECLINED;
}

void h2_secondary_register(void)
{
    in_filter = ap_register_input_filter("GATE_H2_IN", secondary_in, NULL, AP_FTYPE_NETWORK);
    out_filter = ap_register_output_filter("GATE_H2_OUT", secondary_out, NULL, AP_FTYPE_NETWORK);
    ap_hook_post_read_request(post_read_request, NULL, NULL, APR_HOOK_REALLY_FIRST - 2);
    ap_hook_log_transaction(take_trailers, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

/* --- the loop's side: the answer's bytes become frames --- */

static void fail(h2_secondary_t *second)
{
    second->parse = PARSE_DONE;
    if (second->stream) {
        second->stream->aborted = 1;
        h2_reset(second->stream, NGHTTP2_INTERNAL_ERROR);
    }
}

static void finish(h2_secondary_t *second)
{
    second->parse = PARSE_DONE;
    h2_tell_end(second->stream, second->ended && second->trailers.count ? &second->trailers : NULL);
}

static void begin_body(h2_secondary_t *second, const answer_head_t *head)
{
    switch (head->body) {
    case BODY_LENGTH:
        second->left = head->length;
        second->parse = second->left ? PARSE_LENGTH : PARSE_DONE;
        break;
    case BODY_CHUNKED:
        h1_chunk_init(&second->chunks, H1_ANSWER_LINE_MAX);
        second->parse = PARSE_CHUNKS;
        break;
    case BODY_CLOSE:
        second->parse = PARSE_CLOSE;
        break;
    default:
        second->parse = PARSE_DONE;
    }
}

/* @return 0: more bytes are needed, or it is over */
static int read_head(h2_secondary_t *second)
{
    static _Thread_local field_t fields[MESSAGE_FIELDS_MAX];
    bytes_t *in = &second->answer;
    answer_head_t head;
    int used, has_body;

    head.fields.field = fields;
    used = h1_answer(in->at + in->from, in->len, second->method, &head);
    if (used == H1_MORE) {
        return 0;
    }
    if (used < 0) {
        fail(second);
        return 0;
    }
    if (head.status < 200) {
        h2_tell_interim(second->stream, head.status, in->at + in->from, (size_t)used);
        skip(in, (size_t)used);
        return 1;
    }
    begin_body(second, &head);
    has_body = second->parse != PARSE_DONE;
    h2_tell_head(second->stream, head.status, in->at + in->from, (size_t)used, has_body, head.body == BODY_LENGTH ? head.length : UINT64_MAX);
    skip(in, (size_t)used);
    if (!has_body) {
        finish(second);
    }
    return has_body;
}

static int read_plain(h2_secondary_t *second)
{
    bytes_t *in = &second->answer;
    size_t n = second->parse == PARSE_LENGTH && second->left < in->len ? (size_t)second->left : in->len;

    h2_tell_data(second->stream, in->at + in->from, n);
    skip(in, n);
    if (second->parse == PARSE_LENGTH && (second->left -= n) == 0) {
        finish(second);
        return 0;
    }
    return 1;
}

static int read_chunk(h2_secondary_t *second)
{
    bytes_t *in = &second->answer;
    size_t used = 0;
    span_t run;

    switch (h1_chunk_next(&second->chunks, in->at + in->from, in->len, &used, &run)) {
    case H1_CHUNK_DATA:
        h2_tell_data(second->stream, run.at, run.len);
        skip(in, used);
        return 1;
    case H1_CHUNK_TRAILERS:
        finish(second);
        return 0;
    case H1_CHUNK_MORE:
        skip(in, used);
        return 0;
    default:
        fail(second);
        return 0;
    }
}

static int read_step(h2_secondary_t *second)
{
    switch (second->parse) {
    case PARSE_HEAD:
        return read_head(second);
    case PARSE_LENGTH:
    case PARSE_CLOSE:
        return read_plain(second);
    case PARSE_CHUNKS:
        return read_chunk(second);
    default:
        second->answer.len = second->answer.from = 0;
        return 0;
    }
}

static void read_answer(h2_secondary_t *second)
{
    int ended, broken;

    if (second->stream && second->stream->kept_len >= H2_STREAM_KEEP) {
        second->stream->wants_room = 1; /* the client first */
        return;
    }
    pthread_mutex_lock(&second->mutex);
    ended = second->ended = second->out_ended;
    broken = second->broken;
    if (second->out.len > 0 && second->stream) {
        append(&second->answer, second->out.at + second->out.from, second->out.len);
    }
    second->out.len = second->out.from = 0;
    pthread_cond_signal(&second->changed);
    pthread_mutex_unlock(&second->mutex);
    while (second->stream && second->answer.len > 0 && read_step(second)) {
    }
    if (ended && second->stream && second->parse != PARSE_DONE) {
        if (second->parse == PARSE_CLOSE && !broken) {
            finish(second);
        }
        else {
            fail(second);
        }
    }
}

/* --- the loop's side: life --- */

static void destroy(h2_secondary_t *second)
{
    if (second->stream) {
        second->stream->second = NULL;
    }
    free(second->in.at);
    free(second->out.at);
    free(second->answer.at);
    pthread_cond_destroy(&second->changed);
    pthread_mutex_destroy(&second->mutex);
    if (second->pool) {
        apr_pool_destroy(second->pool);
    }
    free(second);
}

static void start_worker(h2_secondary_t *second);

/* One that waited has its turn. */
static void next_worker(h2_t *h)
{
    h2_stream_t *s, *oldest = NULL;

    for (s = h->streams; s; s = s->next) {
        if (s->waits_worker && (!oldest || s->id < oldest->id)) {
            oldest = s;
        }
    }
    if (oldest && h->classics < H2_CLASSIC_MAX) {
        start_worker(oldest->second);
    }
}

static void heard(loop_job_t *job)
{
    h2_secondary_t *second = (h2_secondary_t *)(void *)job;
    h2_stream_t *s = second->stream;
    h2_t *h;
    size_t taken;
    int done;

    pthread_mutex_lock(&second->mutex);
    second->posted = 0;
    taken = second->taken;
    second->taken = 0;
    done = second->done;
    pthread_mutex_unlock(&second->mutex);
    if (s && taken) {
        h2_soon(s->h); /* there is room for more of the body */
    }
    read_answer(second);
    if (!done) {
        return;
    }
    if (second->stream && (second->out.len > 0 || second->answer.len > 0)) {
        return; /* the client is slow: h2_secondary_more() */
    }
    second->conn->holds--;
    h = second->h;
    destroy(second);
    h->classics--;
    if (h->conn) {
        next_worker(h);
    }
    else if (!h->classics && !h->posted) {
        free(h);
    }
}

void h2_secondary_more(h2_secondary_t *second)
{
    pthread_mutex_lock(&second->mutex);
    post_locked(second);
    pthread_mutex_unlock(&second->mutex);
}

static void start_worker(h2_secondary_t *second)
{
    second->stream->waits_worker = 0;
    second->h->classics++;
    second->conn->holds++;
    if (ap_mpm_register_timed_callback(HANDOVER_AT_ONCE_USEC, run, second) != APR_SUCCESS) {
        pthread_mutex_lock(&second->mutex);
        second->out_ended = second->done = 1;
        post_locked(second);
        pthread_mutex_unlock(&second->mutex);
    }
}

static apr_table_t *copy_table(h2_secondary_t *second, const apr_table_t *table)
{
    return table ? apr_table_clone(second->pool, table) : NULL;
}

void h2_secondary_start(h2_stream_t *s, const h2_classic_t *ask)
{
    h2_secondary_t *second = calloc(1, sizeof *second);
    engine_row_t *row = engine_loop_of(s->h->conn->loop)->row;

    if (!second || apr_pool_create_unmanaged_ex(&second->pool, NULL, NULL) != APR_SUCCESS) {
        free(second);
        h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    pthread_mutex_init(&second->mutex, NULL);
    pthread_cond_init(&second->changed, NULL);
    second->job.run = heard;
    second->loop = s->h->conn->loop;
    second->conn = s->h->conn;
    second->h = s->h;
    second->master = s->h->conn->c;
    second->stream = s;
    second->number = s->id;
    second->handover = (handover_t){ .status = ask->status, .begun_usec = s->begun_usec };
    second->handover.headers = copy_table(second, ask->headers);
    second->handover.env = copy_table(second, ask->env);
    second->method = s->text_len > 5 && memcmp(s->text, "HEAD ", 5) == 0 ? METHOD_HEAD : METHOD_GET;
    second->chunked = s->has_body && memmem(s->text, s->text_len, "\r\nTransfer-Encoding: chunked\r\n\r\n", 32) != NULL;
    append(&second->in, s->text, s->text_len);
    second->in_ended = ask->body_gone || !s->has_body;
    s->second = second;
    ENGINE_ADD(row->reason[engine_reason(ask->why)], 1);
    ENGINE_ADD(row->classic, 1);
    if (!mpm) {
        mpm = ap_find_linked_module("event.c");
        add_bytes_out = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_out);
    }
    if (s->h->classics < H2_CLASSIC_MAX) {
        start_worker(second);
    }
    else {
        s->waits_worker = 1;
    }
}

size_t h2_secondary_body(h2_secondary_t *second, const char *bytes, size_t len)
{
    char line[H1_CHUNK_LINE_MAX];

    pthread_mutex_lock(&second->mutex);
    if (second->in_ended) {
        pthread_mutex_unlock(&second->mutex);
        return len; /* nobody wants it */
    }
    if (second->in.len >= IN_MAX) {
        pthread_mutex_unlock(&second->mutex);
        return 0;
    }
    if (second->chunked) {
        append(&second->in, line, h1_chunk_line(line, len));
    }
    append(&second->in, bytes, len);
    if (second->chunked) {
        append(&second->in, "\r\n", 2);
    }
    pthread_cond_signal(&second->changed);
    pthread_mutex_unlock(&second->mutex);
    return len;
}

void h2_secondary_body_end(h2_secondary_t *second, const char *trailers, size_t len)
{
    pthread_mutex_lock(&second->mutex);
    if (!second->in_ended && second->chunked) {
        append(&second->in, H1_CHUNK_END, trailers ? sizeof H1_CHUNK_END - 3 : sizeof H1_CHUNK_END - 1);
        append(&second->in, trailers ? trailers : "", len);
    }
    second->in_ended = 1;
    pthread_cond_signal(&second->changed);
    pthread_mutex_unlock(&second->mutex);
}

void h2_secondary_leave(h2_secondary_t *second)
{
    int waits = second->stream->waits_worker;

    second->stream->second = NULL;
    second->stream = NULL;
    if (waits) {
        destroy(second);
        return;
    }
    pthread_mutex_lock(&second->mutex);
    second->aborted = 1;
    pthread_cond_signal(&second->changed);
    post_locked(second);
    pthread_mutex_unlock(&second->mutex);
}
