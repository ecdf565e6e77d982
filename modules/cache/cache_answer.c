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
    gate_keep_status(&c->keep, r->pool, gate_mono_usec(), headers);
    apr_table_setn(r->subprocess_env, "GATE_CACHE", word);
}

void cache_decorate(request_rec *r, cache_request_t *c, apr_table_t *headers, int wants_variants)
{
    gate_look_decorate(&c->keep.look, headers);
    if (wants_variants) {
        /* the codings of this answer are made once, by us */
        apr_table_setn(r->subprocess_env, "no-gzip", "1");
        apr_table_setn(r->subprocess_env, "no-brotli", "1");
    }
}

int cache_condition(const cache_request_t *c, const apr_table_t *headers)
{
    switch (gate_look_condition(&c->keep.look, headers)) {
    case GATE_COND_NOT_MODIFIED:
        cache_count(GATE_COUNT_not_modified, 1);
        return HTTP_NOT_MODIFIED;
    case GATE_COND_FAILED:
        return HTTP_PRECONDITION_FAILED;
    default:
        return HTTP_OK;
    }
}

/* ---- a body that has to be unpacked --------------------------------------------------------------------------------------------- */

static uint64_t piece(void *ctx, uint64_t offset, const void **data)
{
    return gate_store_piece(cache_store, ((gate_body_t *)ctx)->pin.ref, offset, data);
}

/* @return the unpacked bytes in a bucket; NULL: they cannot be unpacked */
static apr_bucket *unpack(gate_body_t *body, apr_bucket_alloc_t *alloc)
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

    r->status = c->keep.look.head.head->status;
    r->status_line = NULL;
    r->headers_out = r->proxyreq || apr_is_empty_table(r->headers_out) ? headers
                                                                      : apr_table_overlay(r->pool, r->headers_out, headers);
    if (type) {
        ap_set_content_type(r, type);
    }
    r->no_local_copy = 1;
}

static int send_body(request_rec *r, cache_request_t *c, ap_filter_t *out, gate_body_t *body, apr_bucket *unpacked)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    int condition = cache_condition(c, r->headers_out);

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
    gate_body_t body;

    gate_head_fields(&c->keep.look.head, headers);
    if (!gate_look_body(&c->keep.look, apr_table_get(headers, "ETag"), &body)) {
        return DECLINED;
    }
    if (body.unpack && !(unpacked = unpack(&body, r->connection->bucket_alloc))) {
        body.unpack = 0;
    }
    gate_store_touch(cache_store, c->keep.look.held.ref);
    gate_look_describe(&c->keep.look, &body, headers);
    gate_look_age(&c->keep.look, gate_mono_usec(), headers);
    cache_status(r, c, headers, gate_keep_count_answer(&c->keep, gate_mono_usec()));
    cache_decorate(r, c, headers, c->keep.look.head.head->compressible != 0);
    put_headers(r, c, headers);
    if (c->keep.look.head.head->compressible && !c->keep.background) {
        cache_codings(c->conf->compress, c->keep.look.key.hash, c->keep.look.held.ref);
    }
    gate_look_drop(&c->keep.look);
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
    gate_pin_t body;
    uint64_t len;

    if (!gate_keep_flowing(&c->keep, head, &body)) {
        return DECLINED;
    }
    gate_head_fields(&c->keep.look.head, headers);
    gate_look_age(&c->keep.look, gate_mono_usec(), headers);
    cache_status(r, c, headers, gate_keep_count_answer(&c->keep, gate_mono_usec()));
    cache_decorate(r, c, headers, c->keep.look.head.head->compressible != 0);
    put_headers(r, c, headers);
    ap_set_content_length(r, (apr_off_t)c->keep.look.head.head->body_len);
    len = c->keep.look.head.head->body_len;
    gate_look_drop(&c->keep.look);
    switch (cache_condition(c, r->headers_out)) {
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
