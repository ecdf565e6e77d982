/*
 * cache_filter.c - stands right behind the handler, before every filter of the configuration, and sees what the member sent.
 * Hands it to keep.h while it passes; puts a stored answer in the place of a 304 or an error; forgets what an unsafe method changed.
 * A client that leaves does not end a fetch that is being stored: it goes on, and nothing is passed further.
 */
#include "cache.h"

#include <string.h>
#include <apr_buckets.h>
#include <util_filter.h>

static ap_filter_rec_t *store_filter, *invalidate_filter;

/* ---- the client's headers, while the member is asked with others ------------------------------------------------------------------ */

void cache_change_header(request_rec *r, cache_request_t *c, const char *name, const char *value)
{
    if (!c->asked_headers) {
        c->asked_headers = r->headers_in;
        r->headers_in = apr_table_copy(r->pool, r->headers_in);
    }
    if (value) {
        apr_table_setn(r->headers_in, name, value);
    }
    else {
        apr_table_unset(r->headers_in, name);
    }
}

void cache_change_headers(request_rec *r, cache_request_t *c, apr_table_t *headers)
{
    c->asked_headers = c->asked_headers ? c->asked_headers : r->headers_in;
    r->headers_in = headers;
}

void cache_restore_headers(request_rec *r, cache_request_t *c)
{
    if (c->asked_headers) {
        r->headers_in = c->asked_headers;
        c->asked_headers = NULL;
    }
}

/* ---- the end of a fetch ---------------------------------------------------------------------------------------------------------- */

static void end(request_rec *r, cache_request_t *c, int whole)
{
    if (c->keep.ended) {
        return;
    }
    gate_keep_end(&c->keep, whole, gate_mono_usec());
    if (c->was_aborted) {
        r->connection->aborted = 1;
    }
}

void cache_filter_end(request_rec *r, cache_request_t *c)
{
    cache_restore_headers(r, c);
    if (!c->again) {
        end(r, c, 0);
    }
    c->over = 1;
}

/* ---- the head of the answer ----------------------------------------------------------------------------------------------------------- */

static uint64_t length_of(request_rec *r, apr_bucket_brigade *bb)
{
    const char *text = apr_table_get(r->headers_out, "Content-Length");
    int64_t n = text ? gate_delta_seconds(text) : -1;
    apr_off_t len = 0;

    if (n >= 0 && n < INT32_MAX) {
        return (uint64_t)n;
    }
    if (!r->header_only && !APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb))
        && apr_brigade_length(bb, 0, &len) == APR_SUCCESS && len >= 0) {
        return (uint64_t)len;
    }
    return text ? UINT64_MAX - 1 : UINT64_MAX; /* announced, but larger than anything here */
}

static gate_said_t said_of(request_rec *r, cache_request_t *c, apr_bucket_brigade *bb)
{
    return (gate_said_t){ .method = r->method, .head_only = r->header_only, .no_cache = r->no_cache, .status = r->status,
                          .fields = cache_member_fields(r, c), .length = length_of(r, bb), .wall = apr_time_sec(apr_time_now()),
                          .now_usec = gate_mono_usec() };
}

/* Puts the stored answer in the place of the member's. */
static void answer_instead(ap_filter_t *f, cache_request_t *c)
{
    int rc;

    c->swallow = 1;
    if (c->keep.background) {
        return;
    }
    rc = cache_answer(f->r, c, f->next);
    if (rc == HTTP_PRECONDITION_FAILED || rc == DECLINED) {
        f->r->status = rc == DECLINED ? HTTP_BAD_GATEWAY : rc;
        apr_bucket_brigade *bb = apr_brigade_create(f->r->pool, f->c->bucket_alloc);
        APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(f->r->status, NULL, f->r->pool, bb->bucket_alloc));
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
        ap_pass_brigade(f->next, bb);
    }
}

/* @return 0: the brigade is not to be passed */
static int is_for_client(ap_filter_t *f, cache_request_t *c, const gate_said_t *said)
{
    switch (c->mode) {
    case CACHE_HEADING:
        gate_keep_headed(&c->keep, said);
        return 1;
    case CACHE_PASSING:
        return 1;
    default:
        break;
    }
    switch (gate_keep_said(&c->keep, said)) {
    case GATE_SAID_STORED:
        answer_instead(f, c);
        return 0;
    case GATE_SAID_AGAIN:
        c->again = c->swallow = 1;
        return 0;
    default:
        return 1;
    }
}

static const char *word_of(const cache_request_t *c)
{
    if (c->mode == CACHE_PASSING && c->keep.fwd && !strcmp(c->keep.fwd, "bypass")) {
        return "bypass";
    }
    return c->keep.storing || c->mode != CACHE_FETCHING ? "miss" : "pass";
}

static void on_head(ap_filter_t *f, cache_request_t *c, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    gate_said_t said;

    if (AP_BUCKET_IS_ERROR(APR_BRIGADE_FIRST(bb))) {
        return;
    }
    c->seen_head = 1;
    cache_restore_headers(r, c);
    r->headers_out = cache_strip_cookies(r->pool, c->conf, r->headers_out);
    r->err_headers_out = cache_strip_cookies(r->pool, c->conf, r->err_headers_out);
    said = said_of(r, c, bb);
    gate_keep_drop_tags(&c->keep.rule, r->headers_out);
    gate_keep_drop_tags(&c->keep.rule, r->err_headers_out);
    if (is_for_client(f, c, &said)) {
        cache_status(r, c, r->headers_out, word_of(c));
        cache_decorate(r, c, r->headers_out, c->keep.storing && c->keep.parts.compressible);
    }
}

/* ---- the body ------------------------------------------------------------------------------------------------------------------------- */

static void absorb(request_rec *r, cache_request_t *c, apr_bucket *b)
{
    const char *data;
    apr_size_t len;

    if (AP_BUCKET_IS_ERROR(b)) {
        /* where nothing was sent yet this becomes an error page of ours */
        apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
        end(r, c, 0);
        return;
    }
    if (APR_BUCKET_IS_METADATA(b)) {
        return;
    }
    if (apr_bucket_read(b, &data, &len, APR_BLOCK_READ) != APR_SUCCESS) {
        end(r, c, 0);
        return;
    }
    gate_keep_bytes(&c->keep, data, len, gate_mono_usec());
    if (c->keep.storing && gate_keep_followers(&c->keep) && !c->holds_back && !c->client_gone) {
        c->holds_back = gate_store_pin(cache_store, c->keep.fill.body, &c->back);
    }
}

static uint64_t bytes_of(apr_bucket_brigade *bb)
{
    apr_off_t len = 0;

    apr_brigade_length(bb, 1, &len);
    return len > 0 ? (uint64_t)len : 0;
}

/*
 * Others read along: they must not be held up by how fast this one's client is. It gets nothing more until the member's
 * answer is whole, and the rest at once then, out of the store. @return 1: the brigade was dealt with
 */
static int hold_back(apr_bucket_brigade *bb, cache_request_t *c)
{
    apr_bucket *b, *next;
    int over = c->keep.ended;

    if (!c->holds_back || c->client_gone) {
        c->sent += c->keep.flowing ? bytes_of(bb) : 0;
        return 0;
    }
    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = next) {
        next = APR_BUCKET_NEXT(b);
        if (!APR_BUCKET_IS_METADATA(b) || APR_BUCKET_IS_FLUSH(b)) {
            apr_bucket_delete(b);
        }
    }
    if (over) {
        apr_bucket_brigade *rest = apr_brigade_create(bb->p, bb->bucket_alloc);

        cache_body_append(rest, &c->back, c->sent, c->keep.fill.filled);
        APR_BRIGADE_PREPEND(bb, rest);
        c->holds_back = 0;
    }
    return !over;
}

static apr_status_t pass(ap_filter_t *f, cache_request_t *c, apr_bucket_brigade *bb, int storing)
{
    apr_status_t rv;

    if (c->client_gone) {
        if (f->c->aborted && storing && c->keep.storing && !c->keep.ended) {
            /* one that had its 304 early has hung up meanwhile: mod_proxy would stop reading */
            c->was_aborted = 1;
            f->c->aborted = 0;
        }
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    rv = ap_pass_brigade(f->next, bb);
    if ((rv != APR_SUCCESS || f->c->aborted) && storing && c->keep.storing && !c->keep.ended) {
        /* the client went; the member's answer is still wanted */
        c->client_gone = c->was_aborted = 1;
        f->c->aborted = 0;
        return APR_SUCCESS;
    }
    return rv;
}

/* The client has it already: 304 now, and the rest only into the store. */
static void answer_not_modified(ap_filter_t *f, cache_request_t *c)
{
    apr_bucket_brigade *out = apr_brigade_create(f->r->pool, f->c->bucket_alloc);

    f->r->status = HTTP_NOT_MODIFIED;
    f->r->status_line = NULL;
    APR_BRIGADE_INSERT_TAIL(out, apr_bucket_eos_create(out->bucket_alloc));
    ap_pass_brigade(f->next, out);
    c->client_gone = 1;
}

static apr_status_t store(ap_filter_t *f, apr_bucket_brigade *bb)
{
    cache_request_t *c = f->ctx;
    int storing;

    if (c->over) {
        /* what comes now is ours: a stored answer in the place of an error */
        return ap_pass_brigade(f->next, bb);
    }
    if (APR_BRIGADE_EMPTY(bb)) {
        return APR_SUCCESS;
    }
    if (!c->swallow && !c->seen_head) {
        on_head(f, c, bb);
        if (!c->swallow && c->seen_head && f->r->status == HTTP_OK && c->mode != CACHE_PASSING
            && cache_condition(c, f->r->headers_out) == HTTP_NOT_MODIFIED) {
            answer_not_modified(f, c);
        }
    }
    if (c->swallow) {
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    storing = c->keep.storing;
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb) && !c->keep.ended; b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_EOS(b)) {
            end(f->r, c, 1);
        }
        else if (c->keep.storing || AP_BUCKET_IS_ERROR(b)) {
            absorb(f->r, c, b);
        }
    }
    return hold_back(bb, c) ? APR_SUCCESS : pass(f, c, bb, storing);
}

/* ---- unsafe methods -------------------------------------------------------------------------------------------------------------------- */

/* RFC 9111, 4.4: what a change names is forgotten, before the client hears of it. */
void cache_invalidate(apr_pool_t *p, const char *own, int status, const apr_table_t *answer)
{
    static const char *const names[] = { "Location", "Content-Location" };

    if (status < 200 || status >= 400) {
        return;
    }
    cache_count(GATE_COUNT_invalidated, 1);
    cache_purge(p, GATE_PURGE_URL, own, NULL, 0, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = apr_table_get(answer, names[i]);
        const char *url = value ? gate_key_absolute(p, value, own, NULL) : NULL;

        if (url && gate_key_same_origin(url, own)) {
            cache_purge(p, GATE_PURGE_URL, url, NULL, 0, NULL);
        }
    }
}

static apr_status_t invalidate(ap_filter_t *f, apr_bucket_brigade *bb)
{
    cache_request_t *c = f->ctx;
    request_rec *r = f->r;

    cache_invalidate(r->pool, c->keep.look.key.url, r->status, r->headers_out);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

void cache_filters_register(void)
{
    /* before every filter that works on content, whoever put it in */
    store_filter = ap_register_output_filter("GATE_CACHE_STORE", store, NULL, AP_FTYPE_RESOURCE - 1);
    invalidate_filter = ap_register_output_filter("GATE_CACHE_INVALIDATE", invalidate, NULL, AP_FTYPE_RESOURCE - 1);
}

void cache_filter_add(request_rec *r, cache_request_t *c)
{
    c->over = 0;
    c->out_before = apr_is_empty_table(r->headers_out) ? NULL : apr_table_copy(r->pool, r->headers_out);
    c->err_before = apr_is_empty_table(r->err_headers_out) ? NULL : apr_table_copy(r->pool, r->err_headers_out);
    ap_add_output_filter_handle(store_filter, c, r, r->connection);
}

void cache_invalidate_add(request_rec *r, cache_request_t *c)
{
    ap_add_output_filter_handle(invalidate_filter, c, r, r->connection);
}
