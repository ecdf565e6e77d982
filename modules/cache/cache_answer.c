/*
 * cache_answer.c - an answer out of the store: which coding, which headers, 304 or whole. Filters that the configuration has put in
 * run on it as on an answer of the member. Ranges of it are cut by httpd's own byte range filter (MaxRanges and its kin).
 */
#include "cache.h"

#include <stdlib.h>
#include <string.h>
#include <apr_buckets.h>
#include <util_filter.h>

#include "compress.h"

/* ---- what every answer of a route bears ----------------------------------------------------------------------------------- */

void cache_status(request_rec *r, cache_request_t *c, apr_table_t *headers, const char *word)
{
    const char *theirs = gate_field(r->pool, headers, "Cache-Status"), *ttl = "", *status = "";
    int ours = c->head.head && (!c->fwd || c->member_status == HTTP_NOT_MODIFIED || c->collapsed);

    if (ours) {
        ttl = apr_pstrcat(r->pool, "; ttl=", apr_ltoa(r->pool, (long)gate_ttl(&c->head.head->fresh, gate_mono_usec())), NULL);
    }
    if (c->fwd && c->member_status) {
        status = apr_pstrcat(r->pool, "; fwd-status=", apr_itoa(r->pool, c->member_status), NULL);
    }
    apr_table_setn(headers, "Cache-Status",
                   apr_pstrcat(r->pool, theirs ? theirs : "", theirs ? ", " : "", "gatehouse", c->fwd ? "; fwd=" : "; hit",
                               c->fwd ? c->fwd : "", status, c->fwd && c->collapsed ? "; collapsed" : "",
                               c->fwd && c->storing ? "; stored" : "", ttl, c->detail ? "; detail=" : "",
                               c->detail ? c->detail : "", NULL));
    apr_table_setn(r->subprocess_env, "GATE_CACHE", word);
}

static void add_vary(request_rec *r, apr_table_t *headers)
{
    const char *vary = gate_field(r->pool, headers, "Vary");

    if (!gate_list_has(vary, "Accept-Encoding") && !gate_list_has(vary, "*")) {
        apr_table_setn(headers, "Vary", vary && *vary ? apr_pstrcat(r->pool, vary, ", Accept-Encoding", NULL) : "Accept-Encoding");
    }
}

void cache_decorate(request_rec *r, cache_request_t *c, apr_table_t *headers, int wants_variants)
{
    if (c->conf->compress && c->conf->compress->on) {
        add_vary(r, headers);
    }
    if (wants_variants) {
        /* the codings of this answer are made once, by us */
        apr_table_setn(r->subprocess_env, "no-gzip", "1");
        apr_table_setn(r->subprocess_env, "no-brotli", "1");
    }
}

static int type_listed(const cache_compress_t *compress, const char *type)
{
    size_t len = type ? strcspn(type, "; \t") : 0;

    for (const char *const *t = compress->types; len && *t; t++) {
        size_t n = strlen(*t);

        if (n && (*t)[n - 1] == '/' ? len > n && !strncasecmp(type, *t, n) : n == len && !strncasecmp(type, *t, n)) {
            return len != 17 || strncasecmp(type, "text/event-stream", 17);
        }
    }
    return 0;
}

int cache_wants_variants(const cache_request_t *c, int status, const apr_table_t *headers, uint64_t length)
{
    static const char *const about_bytes[] = { "Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Content-Encoding",
                                               "Content-Range" };
    const cache_compress_t *compress = c->conf->compress;
    gate_cc_t cc;

    if (!compress || !compress->on || status != HTTP_OK || (length != UINT64_MAX && length < compress->min_bytes)
        || !type_listed(compress, apr_table_get(headers, "Content-Type"))) {
        return 0;
    }
    for (size_t i = 0; i < sizeof about_bytes / sizeof *about_bytes; i++) {
        if (apr_table_get(headers, about_bytes[i])) {
            return 0;
        }
    }
    gate_cc_parse(apr_table_elts(headers)->pool, apr_table_get(headers, "Cache-Control"), &cc);
    return !(cc.flags & GATE_CC_NO_TRANSFORM);
}

int cache_condition(request_rec *r, const apr_table_t *headers)
{
    int64_t date = apr_table_get(r->headers_in, "If-Modified-Since") || apr_table_get(r->headers_in, "If-Unmodified-Since")
                       ? gate_http_date(apr_table_get(headers, "Date")) : 0;

    switch (gate_conditions(r->pool, r->headers_in, apr_table_get(headers, "ETag"), apr_table_get(headers, "Last-Modified"), date)) {
    case GATE_COND_NOT_MODIFIED:
        cache_count(GATE_COUNT_not_modified, 1);
        return HTTP_NOT_MODIFIED;
    case GATE_COND_FAILED:
        return HTTP_PRECONDITION_FAILED;
    default:
        return HTTP_OK;
    }
}

/* ---- which body ------------------------------------------------------------------------------------------------------------- */

typedef struct {
    gate_pin_t pin;
    gate_coding_e coding;         /* of what is sent */
    uint64_t length;
    int unpack;                   /* stored as gzip for one who does not take it */
} body_t;

static unsigned codings_there(const cache_request_t *c)
{
    unsigned have = 1u << c->head.head->coding;

    if (c->head.head->coding == GATE_CODING_IDENTITY && c->head.head->compressible && c->conf->compress
        && c->conf->compress->on) {
        for (int i = GATE_CODING_BR; i < GATE_CODINGS; i++) {
            have |= gate_store_body(cache_store, c->held.ref, (gate_coding_e)i) ? 1u << i : 0;
        }
    }
    return have;
}

/* Holds the body that this client gets. @return 0: it went meanwhile */
static int choose_body(request_rec *r, cache_request_t *c, const char *etag, body_t *body)
{
    gate_choice_t choice = { &c->accept, codings_there(c), etag, gate_field(r->pool, r->headers_in, "If-None-Match"),
                             apr_table_get(r->headers_in, "If-Range") };
    int chosen = gate_choose(r->pool, &choice), stored = c->head.head->coding;

    body->unpack = chosen < 0 && stored == GATE_CODING_GZIP;
    body->coding = chosen < 0 ? (gate_coding_e)stored : (gate_coding_e)chosen;
    if (!gate_store_pin(cache_store, gate_store_body(cache_store, c->held.ref,
                                                     (int)body->coding == stored ? GATE_CODING_IDENTITY : body->coding),
                        &body->pin)) {
        return 0;
    }
    body->length = gate_store_length(cache_store, body->pin.ref);
    return 1;
}

static uint64_t piece(void *ctx, uint64_t offset, const void **data)
{
    return gate_store_piece(cache_store, ((body_t *)ctx)->pin.ref, offset, data);
}

/* @return the unpacked bytes in a bucket; NULL: they cannot be unpacked */
static apr_bucket *unpack(body_t *body, apr_bucket_alloc_t *alloc)
{
    gate_source_t from = { piece, body, body->length, NULL };
    size_t len;
    unsigned char *bytes = gate_gunzip(&from, cache_server_values(ap_server_conf).max_object, &len);

    if (!bytes) {
        return NULL;
    }
    cache_count(GATE_COUNT_unpacked, 1);
    body->length = len;
    return apr_bucket_heap_create((char *)bytes, len, free, alloc);
}

/* ---- the answer ----------------------------------------------------------------------------------------------------------------- */

static void set_age(request_rec *r, cache_request_t *c, apr_table_t *headers)
{
    apr_table_setn(headers, "Age", apr_ltoa(r->pool, (long)gate_age(&c->head.head->fresh, gate_mono_usec())));
}

/*
 * httpd writes a Date of its own unless the answer comes through a proxy. A stored one keeps its Date, so for as long as the
 * header is written it counts as proxied.
 */
static apr_status_t pass_as_proxied(request_rec *r, ap_filter_t *out, apr_bucket_brigade *bb)
{
    int proxyreq = r->proxyreq;
    apr_status_t rv;

    r->proxyreq = proxyreq ? proxyreq : PROXYREQ_REVERSE;
    rv = ap_pass_brigade(out, bb);
    r->proxyreq = proxyreq;
    return rv;
}

/* The stored fields become the answer's, beside what other modules had set; Date and Server stay the member's. */
static void put_headers(request_rec *r, cache_request_t *c, apr_table_t *headers)
{
    const char *type = apr_table_get(headers, "Content-Type");

    r->status = c->head.head->status;
    r->status_line = NULL;
    r->headers_out = r->proxyreq || apr_is_empty_table(r->headers_out) ? headers
                                                                      : apr_table_overlay(r->pool, r->headers_out, headers);
    if (type) {
        ap_set_content_type(r, type);
    }
    r->no_local_copy = 1;
}

/* Headers that tell the chosen coding from the stored one. */
static void describe_body(request_rec *r, cache_request_t *c, apr_table_t *headers, const body_t *body)
{
    const char *etag = apr_table_get(headers, "ETag");

    if (body->unpack) {
        apr_table_unset(headers, "Content-Encoding");
        apr_table_unset(headers, "Content-MD5");
        if (etag && strncmp(etag, "W/", 2)) {
            apr_table_setn(headers, "ETag", apr_pstrcat(r->pool, "W/", etag, NULL));
        }
    }
    else if ((int)body->coding != c->head.head->coding) {
        apr_table_setn(headers, "Content-Encoding", gate_coding_name(body->coding));
        etag = gate_etag_for(r->pool, etag, body->coding);
        if (etag) {
            apr_table_setn(headers, "ETag", etag);
        }
    }
    if (c->head.head->status == HTTP_OK) {
        apr_table_setn(headers, "Accept-Ranges", "bytes");
    }
}

static const char *count_answer(cache_request_t *c)
{
    if (c->collapsed) {
        cache_count(GATE_COUNT_followed, 1);
        return "collapsed";
    }
    if (c->member_status == HTTP_NOT_MODIFIED) {
        cache_count(GATE_COUNT_revalidated, 1);
        return "revalidated";
    }
    if (gate_ttl(&c->head.head->fresh, gate_mono_usec()) <= 0 || atomic_load(&c->head.head->soft)) {
        cache_count(GATE_COUNT_stale, 1);
        return "stale";
    }
    cache_count(GATE_COUNT_hit, 1);
    return "hit";
}

static int send_body(request_rec *r, cache_request_t *c, ap_filter_t *out, body_t *body, apr_bucket *unpacked)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    int condition = cache_condition(r, r->headers_out);

    (void)c;
    if (condition == HTTP_PRECONDITION_FAILED) {
        gate_store_unpin(cache_store, &body->pin);
        if (unpacked) {
            apr_bucket_destroy(unpacked);
        }
        return condition;
    }
    if (condition == HTTP_NOT_MODIFIED && (r->status == HTTP_OK || r->status == HTTP_NOT_MODIFIED)) {
        r->status = HTTP_NOT_MODIFIED;
    }
    else if (unpacked) {
        ap_set_content_length(r, (apr_off_t)body->length);
        APR_BRIGADE_INSERT_TAIL(bb, unpacked);
        unpacked = NULL;
    }
    else if (!AP_STATUS_IS_HEADER_ONLY(r->status)) {
        ap_set_content_length(r, (apr_off_t)body->length);
        cache_count(GATE_COUNT_hit_bytes, body->length);
        cache_body_append(bb, &body->pin, 0, body->length);
    }
    gate_store_unpin(cache_store, &body->pin);
    if (unpacked) {
        apr_bucket_destroy(unpacked);
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    pass_as_proxied(r, out, bb);
    return OK;
}

int cache_answer(request_rec *r, cache_request_t *c, ap_filter_t *out)
{
    apr_table_t *headers = apr_table_make(r->pool, 24);
    apr_bucket *unpacked = NULL;
    body_t body;

    gate_head_fields(&c->head, headers);
    if (!choose_body(r, c, apr_table_get(headers, "ETag"), &body)) {
        return DECLINED;
    }
    if (body.unpack && !(unpacked = unpack(&body, r->connection->bucket_alloc))) {
        body.unpack = 0;
    }
    gate_store_touch(cache_store, c->held.ref);
    describe_body(r, c, headers, &body);
    set_age(r, c, headers);
    cache_status(r, c, headers, count_answer(c));
    cache_decorate(r, c, headers, c->head.head->compressible != 0);
    put_headers(r, c, headers);
    if (c->head.head->compressible && !c->background) {
        cache_variants(c, &c->key, c->held.ref);
    }
    cache_let_go(c);
    return send_body(r, c, out, &body, unpacked);
}

/* ---- a fetch under way ------------------------------------------------------------------------------------------------------------ */

/* Passes on what has come, as it comes. @return 0: it ended early */
static int stream(request_rec *r, gate_ref_t body, uint64_t length)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    int64_t stalled = gate_mono_usec() + r->server->timeout;
    uint64_t at = 0, filled;

    while (at < length) {
        const void *data;
        gate_blob_e state = gate_store_progress(cache_store, body, &filled);
        uint64_t n = gate_store_piece(cache_store, body, at, &data);

        if (n) {
            /* copied only where the network cannot take it at once; the body is held until we return */
            APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_transient_create(data, n, alloc));
            APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(alloc));
            if (pass_as_proxied(r, r->output_filters, bb) != APR_SUCCESS || r->connection->aborted) {
                return 1;
            }
            apr_brigade_cleanup(bb);
            at += n;
            stalled = gate_mono_usec() + r->server->timeout;
        }
        else if (state != GATE_BLOB_FILLING || gate_mono_usec() > stalled) {
            return 0;
        }
        else {
            cache_wait(gate_store_growth(cache_store, body), (uint32_t)filled, 100000);
            gate_core_tend();
        }
    }
    return 1;
}

static void end_stream(request_rec *r, int whole)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);

    if (!whole) {
        /* the client must see that this was not all (trap 12) */
        r->connection->keepalive = AP_CONN_CLOSE;
        APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, bb->bucket_alloc));
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    pass_as_proxied(r, r->output_filters, bb);
}

int cache_answer_flowing(request_rec *r, cache_request_t *c, gate_ref_t head)
{
    apr_table_t *headers = apr_table_make(r->pool, 24);
    const void *bytes;
    gate_pin_t body;
    uint64_t len;

    if (!gate_store_pin(cache_store, head, &c->held)) {
        return DECLINED;
    }
    len = gate_store_piece(cache_store, head, 0, &bytes);
    if (!len || !gate_head_read(apr_pmemdup(r->pool, bytes, len), len, &c->head) || cache_suits(r, c, &c->head) < 0
        || c->head.head->coding != GATE_CODING_IDENTITY || AP_STATUS_IS_HEADER_ONLY(c->head.head->status)
        || !gate_store_pin(cache_store, gate_store_body(cache_store, head, GATE_CODING_IDENTITY), &body)) {
        cache_let_go(c);
        return DECLINED;
    }
    gate_head_fields(&c->head, headers);
    set_age(r, c, headers);
    cache_status(r, c, headers, count_answer(c));
    cache_decorate(r, c, headers, c->head.head->compressible != 0);
    put_headers(r, c, headers);
    ap_set_content_length(r, (apr_off_t)c->head.head->body_len);
    len = c->head.head->body_len;
    cache_let_go(c);
    switch (cache_condition(r, r->headers_out)) {
    case HTTP_NOT_MODIFIED:
        r->status = HTTP_NOT_MODIFIED;
        end_stream(r, 1);
        break;
    case HTTP_PRECONDITION_FAILED:
        gate_store_unpin(cache_store, &body);
        return HTTP_PRECONDITION_FAILED;
    default:
        end_stream(r, stream(r, body.ref, len));
    }
    gate_store_unpin(cache_store, &body);
    return OK;
}
