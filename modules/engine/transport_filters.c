/*
 * transport_filters.c - a client's bytes through httpd's connection filters, without waiting: TLS where it is not ours (client_tls.h), and what core's
 * input filter had read before.
 */
#include "transport_inside.h"

#include <http_connection.h>
#include <http_core.h>
#include <string.h>
#include <strings.h>
#include <util_filter.h>

#define FILTER_BYTES 8192       /* asked of the filters at a time: what mod_ssl gives at most */

static ap_filter_rec_t *wire_filter;

static void make_in(transport_t *t)
{
    if (!t->in) {
        t->in = apr_brigade_create(t->c->pool, t->c->bucket_alloc);
    }
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

/* Everything in the brigade goes to the sink. @return TRANSPORT_OK, or _END where it ends; *got: bytes; *enough: the sink said so */
static transport_e pour(apr_bucket_brigade *bb, transport_sink_fn *sink, void *ctx, size_t *got, int *enough)
{
    transport_e how = TRANSPORT_OK;

    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        const char *bytes;
        apr_size_t len;

        if (APR_BUCKET_IS_EOS(b)) {
            how = TRANSPORT_END;
        } else if (!APR_BUCKET_IS_METADATA(b)) {
            if (apr_bucket_read(b, &bytes, &len, APR_NONBLOCK_READ) != APR_SUCCESS) {
                how = TRANSPORT_DEAD;
            } else if (len > 0) {
                *enough |= sink(ctx, bytes, len);
                *got += len;
            }
        }
        apr_bucket_delete(b);
    }
    return how;
}

/*
 * The end of a connection comes as a read of nothing first, and only the next read says what it was: where the network has told us of an end,
 * nothing is not believed at once.
 */
transport_e transport_filter_read(transport_t *t, ap_filter_t *f, size_t most, transport_sink_fn *sink, void *ctx)
{
    int enough = 0, doubts = t->hung_up ? 2 : 0;

    make_in(t);
    while (!enough && most > 0) {
        apr_off_t room = (apr_off_t)(most < FILTER_BYTES ? most : FILTER_BYTES);
        apr_status_t rv = ap_get_brigade(f, t->in, AP_MODE_READBYTES, APR_NONBLOCK_READ, room);
        size_t got = 0;
        transport_e how;

        if (APR_STATUS_IS_EAGAIN(rv) || (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(t->in))) {
            if (doubts-- > 0) {
                continue;
            }
            return TRANSPORT_AGAIN;
        }
        if (rv != APR_SUCCESS) {
            apr_brigade_cleanup(t->in);
            return APR_STATUS_IS_EOF(rv) ? TRANSPORT_END : TRANSPORT_DEAD;
        }
        how = pour(t->in, sink, ctx, &got, &enough);
        if (how != TRANSPORT_OK) {
            return how;
        }
        if (got == 0 && doubts-- <= 0) {
            return TRANSPORT_AGAIN;
        }
        most = most > got ? most - got : 0;
    }
    return TRANSPORT_OK;
}

int transport_filter_holds(transport_t *t)
{
    apr_status_t rv;
    int empty;

    if (!t->core_in) {
        return -1;
    }
    make_in(t);
    rv = ap_get_brigade(t->core_in, t->in, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, 1);
    empty = APR_BRIGADE_EMPTY(t->in);
    apr_brigade_cleanup(t->in);
    return rv == APR_SUCCESS ? !empty : APR_STATUS_IS_EAGAIN(rv) ? 0 : -1;
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

/* The bytes live until the filters return: whoever keeps them makes a copy. */
int transport_filter_send(transport_t *t, const struct iovec *parts, int count)
{
    apr_status_t rv;

    if (!t->out) {
        t->out = apr_brigade_create(t->c->pool, t->c->bucket_alloc);
    }
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0) {
            APR_BRIGADE_INSERT_TAIL(t->out, apr_bucket_transient_create(parts[i].iov_base, parts[i].iov_len, t->c->bucket_alloc));
        }
    }
    APR_BRIGADE_INSERT_TAIL(t->out, apr_bucket_flush_create(t->c->bucket_alloc));
    t->last = count == 1;
    rv = ap_pass_brigade(t->c->output_filters, t->out);
    t->last = 0;
    apr_brigade_cleanup(t->out);
    return rv == APR_SUCCESS && !t->c->aborted ? 0 : transport_die(t);
}

/* The last filter before core's: what comes down on the loop goes to the socket without waiting for it. */
static apr_status_t to_wire(ap_filter_t *f, apr_bucket_brigade *bb)
{
    transport_t *t = f->ctx;
    int flush = 0;

    if (!t->here) {
        return ap_pass_brigade(f->next, bb);
    }
    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        const char *bytes;
        apr_size_t len;

        if (APR_BUCKET_IS_METADATA(b)) {
            flush |= APR_BUCKET_IS_FLUSH(b);
        } else if (t->dead || apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ) != APR_SUCCESS || transport_put_on_wire(t, bytes, len) != 0) {
            transport_die(t);
            apr_brigade_cleanup(bb);
            return APR_ECONNABORTED;
        }
        apr_bucket_delete(b);
    }
    return flush && transport_flush_wire(t) != 0 ? APR_ECONNABORTED : APR_SUCCESS;
}

/* ---- the chain ----------------------------------------------------------------------------------------------------------------- */

void transport_filter_add(transport_t *t)
{
    ap_add_output_filter_handle(wire_filter, t, NULL, t->c);
}

void transport_filter_skip_reqtimeout(transport_t *t)
{
    for (ap_filter_t **at = &t->c->input_filters; *at; at = &(*at)->next) {
        if (strcasecmp((*at)->frec->name, "reqtimeout") == 0) {
            t->skipped = *at;
            t->skipped_at = at;
            *at = (*at)->next;
            return;
        }
    }
}

void transport_filter_unskip(transport_t *t)
{
    if (t->skipped) {
        *t->skipped_at = t->skipped;
        t->skipped = NULL;
    }
}

/*
 * httpd takes for granted that core's input filter has been asked at least once before a request is refused, which is not so where we have read
 * all that there is of it.
 */
void transport_filter_wake_core(transport_t *t)
{
    if (!t->core_in || (((core_net_rec *)t->core_in->ctx)->in_ctx && transport_waiting(t) == 0)) {
        return;
    }
    make_in(t);
    ap_get_brigade(t->core_in, t->in, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, 1);
    apr_brigade_cleanup(t->in);
}

void transport_filter_register(void)
{
    wire_filter = ap_register_output_filter("GATE_WIRE", to_wire, NULL, AP_FTYPE_NETWORK - 1);
}
