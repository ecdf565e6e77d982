/*
 * replay.c - the client's request body, kept while it may have to be sent again.
 * An input filter of the shadow, before the client's own filters: it copies what a handler reads, up to REPLAY_BYTES; after a rewind it
 * serves the copy first and then reads on. A longer body, or one that can no longer be sent again (its member has got some of it and
 * GateRetry does not let its method be repeated), is passed through and the copy dropped.
 * `Expect: 100-continue` is the client's filters' business, as it is without us: they answer it when they are first read in blocking
 * mode, once; the shadow is told.
 */
#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>
#include <util_filter.h>

#include "upstream.h"

#define REPLAY_BYTES 65536

static ap_filter_rec_t *replay_handle;

static void drop_kept(upstream_exchange_t *x)
{
    x->body.dropped = 1;
    x->errand->now.body_lost = 1;
    apr_brigade_cleanup(x->body.kept);
    x->body.next = NULL;
}

/* Will nobody ask for the body again? */
static int is_past_repeating(const upstream_exchange_t *x)
{
    const upstream_try_t *t = x->last;

    return t && (t->seen->bytes_out || t->lane) && !x->errand->group->retry.non_idempotent && !retry_method_is_safe(x->r->method);
}

static void keep(upstream_exchange_t *x, apr_bucket_brigade *bb)
{
    upstream_body_t *body = &x->body;
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb) && !body->dropped; b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t length;

        if (APR_BUCKET_IS_EOS(b)) {
            body->ended = 1;
        }
        if (APR_BUCKET_IS_METADATA(b)) {
            continue;
        }
        if (apr_bucket_read(b, &data, &length, APR_BLOCK_READ) != APR_SUCCESS || body->kept_bytes + (apr_off_t)length > REPLAY_BYTES
            || apr_brigade_write(body->kept, NULL, NULL, data, length) != APR_SUCCESS) {
            drop_kept(x);
        }
        body->kept_bytes += length;
    }
}

/* Serves from the copy. @return 0 when that is used up */
static int serve(upstream_body_t *body, apr_bucket_brigade *bb, apr_off_t wanted)
{
    while (body->next && body->next != APR_BRIGADE_SENTINEL(body->kept) && wanted > 0) {
        apr_bucket *copy;

        if ((apr_off_t)body->next->length > wanted) {
            apr_bucket_split(body->next, wanted);
        }
        wanted -= body->next->length;
        if (apr_bucket_copy(body->next, &copy) != APR_SUCCESS) {
            break;
        }
        APR_BRIGADE_INSERT_TAIL(bb, copy);
        body->next = APR_BUCKET_NEXT(body->next);
    }
    if (body->next && body->next != APR_BRIGADE_SENTINEL(body->kept)) {
        return 1;
    }
    body->next = NULL;
    if (body->ended) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    }
    return !APR_BRIGADE_EMPTY(bb);
}

static apr_status_t read_client(upstream_exchange_t *x, ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode,
                                apr_read_type_e block, apr_off_t bytes)
{
    core_request_config *core = ap_get_core_module_config(x->r->request_config);
    char **documents = core->response_code_strings;
    upstream_try_t *t = upstream_try_set(NULL);
    int64_t begun_usec = gate_mono_usec();
    apr_status_t rv;

    if (x->aside) { /* what httpd's input filter says to a client's mistake is no error of a try's: it has its page */
        core->response_code_strings = x->documents;
    }
    rv = ap_get_brigade(f->next, bb, mode, block, bytes);
    core->response_code_strings = documents;
    upstream_try_set(t);
    x->errand->now.waited_usec += gate_mono_usec() - begun_usec;
    f->r->expecting_100 = x->r->expecting_100;
    if (rv != APR_SUCCESS && !(block == APR_NONBLOCK_READ && APR_STATUS_IS_EAGAIN(rv))) {
        x->body.failed = rv;
        x->errand->now.body_lost = 1;
    }
    return rv;
}

static apr_status_t replay(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t bytes)
{
    upstream_exchange_t *x = f->ctx;
    upstream_body_t *body = &x->body;
    apr_status_t rv;

    if (mode != AP_MODE_READBYTES) {
        if (mode != AP_MODE_INIT) {
            body->dropped = 1;
            x->errand->now.body_lost = 1;
        }
        return read_client(x, f, bb, mode, block, bytes);
    }
    if (body->next && serve(body, bb, bytes)) {
        return APR_SUCCESS;
    }
    if (!body->dropped && is_past_repeating(x)) {
        drop_kept(x);
    }
    rv = read_client(x, f, bb, mode, block, bytes);
    if (rv == APR_SUCCESS && !body->dropped) {
        keep(x, bb);
    }
    return rv;
}

ap_filter_t *upstream_replay_filter(upstream_exchange_t *x, request_rec *shadow, apr_pool_t *pool)
{
    ap_filter_t *f = apr_pcalloc(pool, sizeof *f);

    if (!x->body.kept) {
        x->body.kept = apr_brigade_create(x->r->pool, x->r->connection->bucket_alloc);
    }
    f->frec = replay_handle;
    f->ctx = x;
    f->r = shadow;
    f->c = shadow->connection;
    f->next = x->r->input_filters;
    return f;
}

void upstream_replay_rewind(upstream_exchange_t *x)
{
    if (x->body.kept && !x->body.dropped && (x->body.kept_bytes || x->body.ended)) {
        x->body.next = APR_BRIGADE_FIRST(x->body.kept);
        x->body.resent = 1;
    }
}

void upstream_replay_register(void)
{
    replay_handle = ap_register_input_filter("GATE_REPLAY", replay, NULL, AP_FTYPE_PROTOCOL);
}
