/*
 * exchange_log.c - the access log's line.
 */
#include <apr_strings.h>
#include <httpd.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>

#include "exchange_inside.h"
#include "route.h"

/* What mod_http2 leaves with a request, beside HTTP2. */
static void note_stream(const exchange_t *x, request_rec *r)
{
    apr_table_setn(r->subprocess_env, "H2_STREAM_ID", apr_itoa(r->pool, (int)x->stream));
    if (!apr_table_get(r->headers_out, "Server")) {
        apr_table_setn(r->headers_out, "Server", ap_get_server_banner());
    }
}

/* What ap_set_keepalive() leaves with a request: what the codec has decided, for who logs it. */
static void note_connection(const exchange_t *x, request_rec *r)
{
    const conn_rec *c = x->c;
    const server_rec *s = r->server;
    int timeout_s = (int)apr_time_sec(s->keep_alive_timeout);

    if (x->told->body != BODY_NONE && x->told->body != BODY_LENGTH && x->head->minor == 1 && !r->header_only) {
        apr_table_setn(r->headers_out, "Transfer-Encoding", "chunked");
    }
    if (c->keepalive != AP_CONN_KEEPALIVE) {
        apr_table_setn(r->headers_out, "Connection", "close");
        return;
    }
    if (x->head->keep_alive_said) {
        apr_table_setn(r->headers_out, "Connection", "Keep-Alive");
        apr_table_setn(r->headers_out, "Keep-Alive",
                       s->keep_alive_max ? apr_psprintf(r->pool, "timeout=%d, max=%d", timeout_s, s->keep_alive_max - c->keepalives + 1)
                                         : apr_psprintf(r->pool, "timeout=%d", timeout_s));
    }
}

static void note_trailers(apr_table_t *to, const fields_t *trailers)
{
    uint32_t i;

    for (i = 0; trailers && i < trailers->count; i++) {
        const field_t *f = &trailers->field[i]; /* a copy, ends in NUL */

        apr_table_addn(to, f->name.at, f->value.at);
    }
}

void exchange_log(exchange_t *x)
{
    request_rec *r;
    int aborted;

    if (!x->logs || x->told_classic) {
        return; /* the classic plane has written its own */
    }
    r = exchange_request(x);
    if (!r) {
        return;
    }
    if (x->told) {
        route_request_told(r, x->told);
    }
    if (!x->output) { /* filters have counted what came out of them, for HEAD too */
        r->bytes_sent = (apr_off_t)x->sent_bytes;
    }
    if (x->errand) {
        exchange_upstream->log(x->errand, r->subprocess_env, r->pool, loop_now(x->loop));
    }
    else if (x->fetch || x->fetch_env) {
        exchange_fetch_env(x, r->subprocess_env, r->pool);
    }
    exchange_stages_env(x, r->subprocess_env);
    if (x->earned) {
        apr_table_setn(r->notes, "gate-earned", "1"); /* mod_gate_access has counted it */
    }
    note_trailers(r->trailers_in, x->body.trailers);
    note_trailers(r->trailers_out, x->told_trailers);
    if (x->stream) {
        note_stream(x, r);
    }
    else if (x->told && x->told->status != HTTP_SWITCHING_PROTOCOLS) {
        note_connection(x, r);
    }
    aborted = x->c->aborted;
    if (x->gone || x->told_abort) {
        x->c->aborted = 1; /* %X */
    }
    ap_run_log_transaction(r);
    if (x->head->major == 2) {
        x->c->aborted = (unsigned)aborted; /* it was this stream, not the connection */
    }
}
