/*
 * handover_read.c - what a handed over request sees: the bytes that were read of it already, and, where its answer is known, that answer.
 */
#include "engine.h"
#include "exchange.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <string.h>
#include <util_filter.h>

#include "gate_time.h"

static ap_filter_rec_t *given_filter;

/* ---- bytes given back ---------------------------------------------------------------------------------------------------------- */

static void use(client_t *w, size_t len)
{
    handover_t *h = &w->handover;
    size_t counted = h->given_counted < len ? h->given_counted : len;

    h->given_counted -= counted;
    transport_count_in(w->transport, len - counted);
    h->given += len;
    h->given_len -= len;
}

static void put(client_t *w, apr_bucket_brigade *bb, size_t len)
{
    /* the bytes stay where they are until the connection is back on its loop: longer than anybody holds a bucket without copying it */
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_transient_create(w->handover.given, len, bb->bucket_alloc));
}

static apr_status_t give_back(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t readbytes);

/* A line that is not whole yet is read to its end, if whoever reads can wait for that. */
static apr_status_t give_line(ap_filter_t *f, client_t *w, apr_bucket_brigade *bb, apr_read_type_e block)
{
    handover_t *h = &w->handover;
    const char *end = memchr(h->given, '\n', h->given_len);
    size_t len = end ? (size_t)(end - h->given) + 1 : h->given_len;
    apr_bucket_brigade *rest;
    apr_status_t rv;

    if (len >= HUGE_STRING_LEN) {
        len = HUGE_STRING_LEN; /* who reads lines asks again, and has a limit */
        end = h->given;
    }
    put(w, bb, len);
    use(w, len);
    if (end || block != APR_BLOCK_READ) {
        return APR_SUCCESS;
    }
    rest = apr_brigade_create(f->c->pool, f->c->bucket_alloc);
    rv = give_back(f, rest, AP_MODE_GETLINE, block, 0);
    APR_BRIGADE_CONCAT(bb, rest);
    apr_brigade_destroy(rest);
    return rv;
}

static apr_status_t give_bytes(client_t *w, apr_bucket_brigade *bb, apr_off_t most)
{
    handover_t *h = &w->handover;
    size_t len = most > 0 && (apr_off_t)h->given_len > most ? (size_t)most : h->given_len;

    put(w, bb, len);
    use(w, len);
    return APR_SUCCESS;
}

/* Looks, takes nothing: ours first, then what there is behind. */
static apr_status_t show_bytes(ap_filter_t *f, client_t *w, apr_bucket_brigade *bb, apr_read_type_e block, apr_off_t most)
{
    handover_t *h = &w->handover;
    apr_bucket_brigade *more;

    if ((apr_off_t)h->given_len >= most) {
        put(w, bb, (size_t)most);
        return APR_SUCCESS;
    }
    put(w, bb, h->given_len);
    more = apr_brigade_create(f->c->pool, f->c->bucket_alloc);
    (void)block;
    if (ap_get_brigade(f->next, more, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, most - (apr_off_t)h->given_len) == APR_SUCCESS) {
        APR_BRIGADE_CONCAT(bb, more);
    }
    apr_brigade_destroy(more);
    return APR_SUCCESS;
}

static int only_empty_lines(client_t *w)
{
    handover_t *h = &w->handover;

    while (h->given_len > 0) {
        if (*h->given == '\n') {
            use(w, 1);
        } else if (h->given_len > 1 && h->given[0] == '\r' && h->given[1] == '\n') {
            use(w, 2);
        } else {
            return 0;
        }
    }
    return 1;
}

static apr_status_t too_late(client_t *w)
{
    conn_rec *c = w->pub.c;

    ap_log_cerror(APLOG_MARK, APLOG_INFO, 0, c, GATE_LOGNO(1402) "the request was not complete in time (RequestReadTimeout, Timeout)");
    apr_table_setn(c->notes, "short-lingering-close", "1");
    c->keepalive = AP_CONN_CLOSE;
    return APR_TIMEUP;
}

static apr_status_t give_back(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t readbytes)
{
    client_t *w = f->ctx;
    handover_t *h = &w->handover;

    if (h->given_len == 0) {
        if (w->at == CONN_AT_WORKER && mode != AP_MODE_INIT && mode != AP_MODE_EATCRLF) {
            if (h->timed_out) {
                return too_late(w);
            }
            if (h->body_gone) {
                return APR_EOF;
            }
        }
        return ap_get_brigade(f->next, bb, mode, block, readbytes);
    }
    switch (mode) {
    case AP_MODE_GETLINE:
        return give_line(f, w, bb, block);
    case AP_MODE_READBYTES:
        return give_bytes(w, bb, readbytes);
    case AP_MODE_SPECULATIVE:
        return show_bytes(f, w, bb, block, readbytes);
    case AP_MODE_EATCRLF:
        return only_empty_lines(w) ? ap_get_brigade(f->next, bb, mode, block, readbytes) : APR_SUCCESS;
    case AP_MODE_EXHAUSTIVE:
        give_bytes(w, bb, 0);
        return ap_get_brigade(f->next, bb, mode, block, readbytes);
    default:
        return ap_get_brigade(f->next, bb, mode, block, readbytes);
    }
}

void handover_filter(client_t *w)
{
    ap_add_input_filter_handle(given_filter, w, NULL, w->pub.c);
}

/* ---- answers that are known already -------------------------------------------------------------------------------------------- */

static handover_t *preset_of(request_rec *r)
{
    return ap_get_module_config(r->request_config, &gate_engine_module);
}

static int post_read_request(request_rec *r)
{
    client_t *w = r->connection->master || r->main ? NULL : takeover_client(r->connection);
    handover_t *h;

    if (!w) {
        return DECLINED;
    }
    h = &w->handover;
    w->phase_server = r->server; /* whose Timeout and KeepAliveTimeout count from now on */
    if (!h->preset) {
        return DECLINED;
    }
    h->preset = 0; /* an ErrorDocument comes by here again */
    r->request_time = apr_time_now() - (gate_mono_usec() - h->begun_usec);
    if (h->env) {
        apr_table_overlap(r->subprocess_env, h->env, APR_OVERLAP_TABLES_SET);
    }
    if (h->status) {
        ap_set_module_config(r->request_config, &gate_engine_module, h);
        apr_table_setn(r->notes, "gate-preset", apr_itoa(r->pool, h->status));
        if (h->headers) {
            apr_table_t *headers = apr_table_clone(r->pool, h->headers);

            r->err_headers_out = apr_table_overlay(r->pool, r->err_headers_out, headers);
        }
        if (h->body_gone) {
            r->connection->keepalive = AP_CONN_CLOSE;
        }
    }
    return DECLINED;
}

static int answer_early(request_rec *r)
{
    const handover_t *h = preset_of(r);

    return h && h->early ? h->status : DECLINED;
}

/* As if the filter had stood in this request's chain: a page that it asks for goes out as it would have. */
static int refuse_as_filter(request_rec *r, int status)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, alloc);

    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(status, NULL, r->pool, alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(alloc));
    ap_pass_brigade(r->proto_output_filters, bb);
    return OK;
}

static int answer_as_handler(request_rec *r)
{
    const handover_t *h = preset_of(r);

    if (!h || h->early) {
        return DECLINED;
    }
    return h->env && apr_table_get(h->env, ENGINE_REFUSED_BY_FILTER) ? refuse_as_filter(r, h->status) : h->status;
}

/* The log speaks of the last request, which after an ErrorDocument is another one than that which was handed over. */
static int log_transaction(request_rec *r)
{
    request_rec *first = r, *q;
    const handover_t *h;

    while (first->prev) {
        first = first->prev;
    }
    h = first->main ? NULL : preset_of(first);
    if (h && h->env) {
        for (q = first->next; q; q = q->next) {
            apr_table_overlap(q->subprocess_env, h->env, APR_OVERLAP_TABLES_SET);
        }
    }
    return DECLINED;
}

void handover_register(apr_pool_t *p)
{
    (void)p;
    given_filter = ap_register_input_filter("GATE_GIVEN", give_back, NULL, AP_FTYPE_CONNECTION);
    ap_hook_log_transaction(log_transaction, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_post_read_request(post_read_request, NULL, NULL, APR_HOOK_REALLY_FIRST - 1);
    ap_hook_translate_name(answer_early, NULL, NULL, APR_HOOK_REALLY_FIRST - 1);
    ap_hook_handler(answer_as_handler, NULL, NULL, APR_HOOK_REALLY_FIRST - 1);
}
