/*
 * tell.c - what the classic plane tells of an exchange: to the client when no member answered, and to the access log (GATE_*).
 */
#include <string.h>

#include <httpd.h>
#include <http_protocol.h>

#include "upstream.h"

int upstream_fail(upstream_exchange_t *x)
{
    request_rec *r = x->r;
    gate_errand_failure_t failure = errand_fail(x->errand);

    if (!failure.status) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (failure.retry_after) {
        apr_table_setn(r->err_headers_out, "Retry-After", failure.retry_after);
    }
    apr_table_setn(r->err_headers_out, "Proxy-Status", failure.proxy_status);
    return failure.status;
}

/* ---- who reads the variables ---------------------------------------------------------------------------------------------- */

static int wanted = 1;

static int is_named(const ap_directive_t *at)
{
    for (; at; at = at->next) {
        if ((at->args && strstr(at->args, "GATE_")) || is_named(at->first_child)) {
            return 1;
        }
    }
    return 0;
}

/* Modules that read a variable at the end of a request only where a directive names it. */
static int is_known(const char *module)
{
    return strcmp(module, "mod_log_config.c") == 0 || strcmp(module, "mod_logio.c") == 0 || strncmp(module, "mod_gate", 8) == 0;
}

void upstream_log_look(void)
{
    const apr_array_header_t *hooks = ap_hook_get_log_transaction();
    int i;

    wanted = is_named(ap_conftree);
    for (i = 0; hooks && i < hooks->nelts; i++) {
        wanted |= !is_known(APR_ARRAY_IDX(hooks, i, ap_LINK_log_transaction_t).szName);
    }
}

#define CUT_NOTE "gate-cut"

static int is_cut(const request_rec *r)
{
    const upstream_request_t *conf;

    for (; r; r = r->next) {
        conf = ap_get_module_config(r->request_config, &gate_upstream_module);
        if (conf && conf->exchange && conf->exchange->last && conf->exchange->last->answer == ANSWER_PASSED && conf->exchange->last->broke) {
            return 1;
        }
    }
    return 0;
}

/* An answer that a member did not end is logged as what it was for the client: aborted (%X), in no other way than the bytes tell. */
int upstream_log_cut(request_rec *r)
{
    if (!r->connection->aborted && is_cut(r)) {
        r->connection->aborted = 1;
        apr_table_setn(r->notes, CUT_NOTE, "1");
    }
    return DECLINED;
}

/* After all who log: how the connection ends is not for the log to say. */
int upstream_log_uncut(request_rec *r)
{
    if (apr_table_get(r->notes, CUT_NOTE)) {
        apr_table_unset(r->notes, CUT_NOTE);
        r->connection->aborted = 0;
    }
    return DECLINED;
}

/* Into the request that the log speaks of too, which after an ErrorDocument is another one than ours. */
int upstream_log_vars(request_rec *r)
{
    request_rec *q, *last = r;
    const upstream_exchange_t *x = NULL;
    int64_t now;

    if (!wanted) {
        return DECLINED;
    }
    for (q = r; q; q = q->next) {
        const upstream_request_t *conf = ap_get_module_config(q->request_config, &gate_upstream_module);

        if (conf && conf->exchange && (!x || conf->exchange->last)) {
            x = conf->exchange;
        }
        last = q;
    }
    if (x) {
        now = x->errand->ended_usec ? x->errand->ended_usec : gate_mono_usec();
        errand_log(x->errand, r->subprocess_env, r->pool, now);
        if (last != r) {
            errand_log(x->errand, last->subprocess_env, last->pool, now);
        }
    }
    return DECLINED;
}
