/*
 * answer_filter.c - the only output filter of a shadow: decides, on the first bytes of an answer, what becomes of it.
 * Passed on: the head is carried over to the client's request and everything goes down its filters, which see the answer for the first
 * time. Not passed on: an answer whose status GateRetry lists while another member is left, one that ProxyErrorOverride replaces, one
 * that is not HTTP, a handler's own error page, and the sequence by which handlers say that a member fell silent.
 * An answer that ends early after it was begun ends as an abort for the client (error bucket, RFC 9112, 8), never as a whole one.
 */
#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>
#include <util_filter.h>

#include "upstream.h"

#define SWALLOW_BYTES 65536 /* of an answer that nobody gets: more is not read, the connection is closed instead */

static ap_filter_rec_t *answer_handle;

static int is_http1(const upstream_try_t *t)
{
    const char *scheme = t->seen->member->parts.scheme;

    return strncmp(scheme, "http", 4) == 0 || strncmp(scheme, "ws", 2) == 0;
}

static int has_error_bucket(apr_bucket_brigade *bb)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b)) {
            return 1;
        }
    }
    return 0;
}

/* An answer that may be cut short unnoticed: these handlers hand on a Content-Length without counting. */
static apr_off_t announced_length(const upstream_try_t *t)
{
    const char *text = apr_table_get(t->shadow->headers_out, "Content-Length");
    apr_off_t length;

    if (is_http1(t) || t->multiplexed || !text || t->shadow->header_only || AP_STATUS_IS_HEADER_ONLY(t->seen->status)
        || !ap_parse_strict_length(&length, text)) {
        return -1;
    }
    return length;
}

static int is_good_header(void *unused, const char *name, const char *value)
{
    (void)unused;
    return *name && !*ap_scan_http_token(name) && !*ap_scan_http_field_content(value);
}

/* @return 0 from the second line on */
static int is_only_one(void *seen, const char *name, const char *value)
{
    (void)name;
    (void)value;
    return (*(int *)seen)++ == 0;
}

/* Names are tokens, values and the reason have no control characters, one length: RFC 9110, 5.1 and 5.5; RFC 9112, 4 and 6.3. */
static int is_good_head(const request_rec *shadow)
{
    int lengths = 0;

    return apr_table_do(is_only_one, &lengths, shadow->headers_out, "Content-Length", NULL)
           && (!shadow->status_line || !*ap_scan_http_field_content(shadow->status_line))
           && apr_table_do(is_good_header, NULL, shadow->headers_out, NULL)
           && apr_table_do(is_good_header, NULL, shadow->err_headers_out, NULL);
}

/* mod_proxy_http takes anything for HTTP/0.9, and its note may still be that of an interim answer before. */
static int has_status_line(const request_rec *shadow)
{
    const char *noted = apr_table_get(shadow->notes, "proxy-status");

    return noted && atoi(noted) == shadow->status;
}

static upstream_answer_e decide(upstream_try_t *t)
{
    upstream_exchange_t *x = t->exchange;
    proxy_dir_conf *conf = ap_get_module_config(x->r->per_dir_config, &proxy_module);
    int status = t->seen->status = t->shadow->status;

    if (status < 200 || (is_http1(t) && !has_status_line(t->shadow))) {
        return ANSWER_BAD;
    }
    if (!is_good_head(t->shadow)) {
        return ANSWER_BAD;
    }
    if (errand_again(x->errand, t->seen->first_byte_usec)) {
        return ANSWER_AGAIN;
    }
    return ap_proxy_should_override(conf, status) ? ANSWER_OVERRIDE : ANSWER_PASSED;
}

static void begin(upstream_try_t *t)
{
    if (!t->seen->first_byte_usec || t->multiplexed) {
        t->seen->first_byte_usec = gate_mono_usec();
    }
    t->answer = decide(t);
    if (t->lane && t->lane->conn && t->lane->conn->sock) {
        apr_socket_timeout_set(t->lane->conn->sock, upstream_try_limit(t));
    }
    if (t->answer == ANSWER_PASSED) {
        t->seen->passed_on = 1;
        t->length = announced_length(t);
        upstream_shadow_commit(t);
    }
}

static apr_status_t swallow(upstream_try_t *t, apr_bucket_brigade *bb)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_EOS(b)) {
            t->whole = 1;
        }
        else if (!APR_BUCKET_IS_METADATA(b)) {
            t->seen->passed_bytes += b->length == (apr_size_t)-1 ? SWALLOW_BYTES : b->length;
        }
    }
    apr_brigade_cleanup(bb);
    return t->seen->passed_bytes > SWALLOW_BYTES ? APR_ECONNABORTED : APR_SUCCESS;
}

/* Counts, and looks for the end; an end that comes too early is marked as one. */
static void inspect(upstream_try_t *t, apr_bucket_brigade *bb)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b)) {
            t->broke = 1;
        }
        else if (APR_BUCKET_IS_EOS(b)) {
            if (!t->broke && t->length > (apr_off_t)t->seen->passed_bytes) {
                APR_BUCKET_INSERT_BEFORE(b, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, t->exchange->r->pool, bb->bucket_alloc));
                t->broke = 1;
            }
            t->whole = !t->broke;
        }
        else if (!APR_BUCKET_IS_METADATA(b) && b->length != (apr_size_t)-1) {
            t->seen->passed_bytes += b->length;
        }
    }
}

static int is_event_stream(const request_rec *r)
{
    return r->content_type && ap_cstr_casecmpn(r->content_type, "text/event-stream", 17) == 0;
}

static apr_status_t pass_on(upstream_try_t *t, apr_bucket_brigade *bb)
{
    request_rec *r = t->exchange->r;
    upstream_try_t *former;
    apr_status_t rv;

    inspect(t, bb);
    if (t->broke) {
        r->no_cache = 1;
        r->connection->keepalive = AP_CONN_CLOSE;
    }
    else if (is_event_stream(r) && !t->whole) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(bb->bucket_alloc));
    }
    former = upstream_try_set(NULL);
    rv = ap_pass_brigade(r->output_filters, bb);
    upstream_try_set(former);
    if (rv != APR_SUCCESS && t->client_status == APR_SUCCESS) {
        t->client_status = rv;
    }
    return rv;
}

static int has_substance(apr_bucket_brigade *bb)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_EOS(b) || !APR_BUCKET_IS_METADATA(b)) {
            return 1;
        }
    }
    return 0;
}

/*
 * A head without a byte of its body yet, which mod_proxy_http would have flushed: when the body has a length, so that nobody
 * waits for the head alone (event streams, long polls), it is held until the body begins. A member that dies in between can still
 * be replaced by another.
 */
static int holds_head(upstream_try_t *t, apr_bucket_brigade *bb)
{
    const char *length = apr_table_get(t->shadow->headers_out, "Content-Length");

    t->head_held = is_http1(t) && length && strcmp(length, "0") != 0 && !t->shadow->header_only
                   && !AP_STATUS_IS_HEADER_ONLY(t->shadow->status) && !has_substance(bb);
    return t->head_held;
}

static apr_status_t answer(ap_filter_t *f, apr_bucket_brigade *bb)
{
    upstream_try_t *t = f->ctx;

    if (t->own_error) {
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    if (t->answer == ANSWER_NONE) {
        if (has_error_bucket(bb)) {
            t->broke = 1; /* before its head: nothing has come that could be passed on */
            apr_brigade_cleanup(bb);
            return APR_SUCCESS;
        }
        if (holds_head(t, bb)) {
            apr_brigade_cleanup(bb);
            return APR_SUCCESS;
        }
        begin(t);
    }
    return t->answer == ANSWER_PASSED ? pass_on(t, bb) : swallow(t, bb);
}

ap_filter_t *upstream_answer_filter(upstream_try_t *t, apr_pool_t *pool)
{
    request_rec *r = t->exchange->r;
    ap_filter_t *f = apr_pcalloc(pool, sizeof *f);

    f->frec = answer_handle;
    f->ctx = t;
    f->r = t->shadow;
    f->c = r->connection;
    f->next = r->output_filters;
    t->length = -1;
    return f;
}

void upstream_answer_finish(upstream_try_t *t, int handler_status)
{
    request_rec *r = t->exchange->r;
    apr_bucket_brigade *bb;

    if (t->answer != ANSWER_PASSED || t->whole || t->broke || r->connection->aborted || t->client_status != APR_SUCCESS) {
        return;
    }
    bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    if (handler_status == OK || handler_status == DONE) {
        /* an answer that ends with its connection: mod_proxy_http passes no end then */
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    }
    else {
        ap_proxy_backend_broke(r, bb);
    }
    pass_on(t, bb);
}

void upstream_answer_error_page(request_rec *r)
{
    upstream_try_t *t = upstream_try_now();

    if (t && t->shadow == r) {
        t->own_error = 1;
    }
}

void upstream_note_logged(const ap_errorlog_info *info, const char *text)
{
    upstream_try_t *t = upstream_try_now();

    (void)text;
    if (t && info->status != APR_SUCCESS && info->level <= APLOG_ERR) {
        t->seen->cause = info->status;
    }
}

void upstream_answer_register(void)
{
    answer_handle = ap_register_output_filter("GATE_ANSWER", answer, NULL, AP_FTYPE_PROTOCOL);
}
