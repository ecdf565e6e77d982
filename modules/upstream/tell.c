/*
 * tell.c - what is told of an exchange: to the registry (counters, listeners, the strategy), to the error log, to the client when no
 * member answered (Proxy-Status, RFC 9209), and to the access log (GATE_*). Addresses of members appear in the error log only.
 */
#include <httpd.h>
#include <http_protocol.h>

#include "upstream.h"

#define RETRY_AFTER_SEC "5"

/* ---- registry and error log ----------------------------------------------------------------------------------------------- */

void upstream_tell_registry(upstream_exchange_t *x, const upstream_try_t *t)
{
    gate_core_t *core = gate_core();
    int64_t now = gate_mono_usec();
    int64_t waited = x->body.waited_usec - t->waited_usec; /* for the client: not the member's */
    gate_report_t out = {
        .group = x->group->index, .slot = t->member->slot, .incarnation = t->member->incarnation, .outcome = t->outcome,
        .status = t->status, .is_retry = x->tries > 1, .is_trial = t->is_trial, .connect_usec = -1, .first_byte_usec = -1,
        .total_usec = now - t->begun_usec - waited, .bytes_in = t->bytes_out, .bytes_out = t->bytes_in ? t->bytes_in : (uint64_t)t->passed_bytes,
        .now_usec = now, .why = t->why
    };

    if (t->fresh && t->connected_usec) {
        out.connect_usec = t->connected_usec - t->begun_usec - (t->waited_at_connect_usec - t->waited_usec);
    }
    if (t->first_byte_usec) {
        out.first_byte_usec = t->first_byte_usec - t->begun_usec - waited;
    }
    gate_report(core->registry, core->seat, &out);
    if (x->group->strategy->learn && retry_tells_speed(t->outcome)) {
        gate_learned_t *learned = gate_member_learned(core->registry, t->member->slot);

        if (learned) {
            x->group->strategy->learn(learned, out.first_byte_usec > 0 ? out.first_byte_usec : out.total_usec, now);
        }
    }
}

/* A member's failure that the client is told about, or would be if there were no other. */
void upstream_tell_failure(const upstream_exchange_t *x, const upstream_try_t *t, const retry_verdict_t *verdict)
{
    if (!retry_is_member_failure(t->outcome)) {
        return;
    }
    if (t->outcome == GATE_OUTCOME_BROKEN) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, x->r, GATE_LOGNO(0222)
                      "group %s: member %s: %s after %" APR_OFF_T_FMT " bytes had been passed on: the client's connection is aborted",
                      x->group->name, t->member->id, t->why, t->passed_bytes);
    }
    else if (verdict->action != RETRY_GIVE_UP) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, x->r, GATE_LOGNO(0223) "group %s: member %s: %s: %s", x->group->name, t->member->id,
                      t->why, verdict->action == RETRY_OTHER ? "another member is tried" : "tried again on a new connection");
    }
}

void upstream_tell_tried(upstream_exchange_t *x, const upstream_try_t *t)
{
    if (retry_is_member_failure(t->outcome)) {
        x->tried_words = apr_pstrcat(x->r->pool, x->tried_words, *x->tried_words ? "; " : "", t->member->id, ": ", t->why, NULL);
    }
}

/* ---- the client ----------------------------------------------------------------------------------------------------------- */

static void add_proxy_status(request_rec *r, const upstream_exchange_t *x, const char *token, const char *details)
{
    apr_table_setn(r->err_headers_out, "Proxy-Status", apr_psprintf(r->pool, "gatehouse; error=%s; details=\"group %s: %s\"", token,
                                                                   x->group->name, details));
}

/* In words that name no member. */
static const char *details_of(const upstream_exchange_t *x, gate_outcome_e outcome)
{
    switch (outcome) {
    case GATE_OUTCOME_COUNT:
        return x->full ? "all members are at their limit" : "no member is usable";
    case GATE_OUTCOME_CONNECT:
        return "no member could be reached";
    case GATE_OUTCOME_TIMEOUT:
        return "no answer in time";
    case GATE_OUTCOME_RESET:
        return "connection closed without an answer";
    case GATE_OUTCOME_BAD:
        return "the answer was not HTTP";
    default:
        return "internal error";
    }
}

int upstream_fail(upstream_exchange_t *x, const upstream_try_t *t, gate_outcome_e outcome)
{
    request_rec *r = x->r;
    int status = retry_status(outcome);
    const char *token = retry_error_token(outcome, t ? t->logged_status : APR_SUCCESS);

    if (status == 0) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (outcome == GATE_OUTCOME_CONNECT && t->tls_failed) {
        token = "tls_protocol_error";
    }
    else if (outcome == GATE_OUTCOME_COUNT && x->full) {
        token = "connection_limit_reached";
    }
    if (status == HTTP_SERVICE_UNAVAILABLE) {
        apr_table_setn(r->err_headers_out, "Retry-After", RETRY_AFTER_SEC);
    }
    add_proxy_status(r, x, token, details_of(x, outcome));
    if (!t) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0225) "group %s: %s: the client gets %d", x->group->name,
                      x->full ? "every usable member is at its connections=" : "no member is usable", status);
    }
    else {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0226) "group %s: %s (%s): the client gets %d", x->group->name,
                      *x->tried_words ? x->tried_words : t->why, x->give_up ? x->give_up : "given up", status);
    }
    return status;
}

/* ---- log variables -------------------------------------------------------------------------------------------------------- */

static void set_usec(request_rec *r, const char *name, int64_t usec)
{
    if (usec >= 0) {
        apr_table_setn(r->subprocess_env, name, apr_ltoa(r->pool, (long)usec));
    }
}

/* Into the request that the log speaks of, which after an ErrorDocument is another one than ours. */
static void set_vars(request_rec *r, const upstream_exchange_t *x)
{
    const upstream_try_t *t = x->last;

    apr_table_setn(r->subprocess_env, "GATE_GROUP", x->group->name);
    apr_table_setn(r->subprocess_env, "GATE_PLANE", "classic");
    apr_table_setn(r->subprocess_env, "GATE_TRIES", apr_itoa(r->pool, (int)x->tries));
    if (t) {
        apr_table_setn(r->subprocess_env, "GATE_MEMBER", x->last_id);
        set_usec(r, "GATE_CONNECT_US", t->fresh && t->connected_usec ? t->connected_usec - t->begun_usec
                                                                       - (t->waited_at_connect_usec - t->waited_usec) : -1);
        set_usec(r, "GATE_FIRST_BYTE_US", t->first_byte_usec ? t->first_byte_usec - t->begun_usec : -1);
    }
    set_usec(r, "GATE_TOTAL_US", (x->ended_usec ? x->ended_usec : gate_mono_usec()) - x->begun_usec);
}

int upstream_log_vars(request_rec *r)
{
    request_rec *q, *last = r;
    const upstream_exchange_t *x = NULL;

    for (q = r; q; q = q->next) {
        const upstream_request_t *conf = ap_get_module_config(q->request_config, &gate_upstream_module);

        if (conf && conf->exchange && (!x || conf->exchange->last)) {
            x = conf->exchange;
        }
        last = q;
    }
    if (x) {
        set_vars(r, x);
        if (last != r) {
            set_vars(last, x);
        }
    }
    return DECLINED;
}
