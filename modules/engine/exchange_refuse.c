/*
 * exchange_refuse.c - refusals (Require, GateBan, GateLimit) and what RewriteRules answer (redirects, [F], [G]), which are told on the loop: httpd's own function makes the page, on a request as
 * it is in the phase in which the classic plane refuses. What more is to be done (an ErrorDocument elsewhere, a body that nobody reads) is
 * the classic plane's.
 */
#include <httpd.h>
#include <http_core.h>
#include <http_request.h>
#include <mod_core.h>

#include "exchange_doors.h"
#include "output.h"
#include "route.h"

/* @return 0: not one of these */
static int phase_of(const exchange_t *x, int status, route_phase_e *phase)
{
    const exchange_pass_t *pass = x->admit;

    if (pass && pass->pass.status == status && pass->pass.verdict == GATE_ACCESS_BANNED) {
        *phase = ROUTE_PHASE_QUICK;
        return 1;
    }
    if (pass && pass->pass.status == status && (pass->pass.verdict == GATE_ACCESS_LIMITED || pass->pass.verdict == GATE_ACCESS_CONNECTIONS)) {
        *phase = ROUTE_PHASE_TRANSLATE;
        return 1;
    }
    *phase = (route_phase_e)x->refused_in;
    return x->refused && x->refused == status;
}

static request_rec *request_in(exchange_t *x, route_phase_e phase)
{
    request_head_t head = *x->head;

    if (x->route->makes_ready && !x->ready) {
        x->ready = route_ready(x->route, x->c, &head, x->pool, x->begun_wall);
    }
    if (x->sent_fields) {
        head.fields = *x->sent_fields;
    }
    return route_request_in_phase(x->route, x->c, &head, x->pool, x->begun_wall, x->ready, phase);
}

/* Errors of httpd's own start anew: only what is kept for them goes along. */
static void tell_page(exchange_t *x, request_rec *r, int status, apr_table_t *headers)
{
    if (headers) {
        r->err_headers_out = apr_table_overlay(r->pool, r->err_headers_out, headers);
    }
    apr_table_setn(r->subprocess_env, "GATE_PLANE", "express");
    x->r = r;
    x->logs = 1; /* mod_gate_access counts there */
    x->own_page = 1;
    exchange_output_page(x, status);
    exchange_tell_flush(x);
}

/* Is it so in that phase? @return 0: the page is for the classic plane */
static int stands(request_rec *r, int status, route_phase_e phase)
{
    const char *page = ap_response_code_string(r, ap_index_of_response(status));

    if (page && *page != '"') {
        return 0;
    }
    return phase == ROUTE_PHASE_ACCESS ? route_request_access(r) == status : phase != ROUTE_PHASE_RULES || route_request_rules(r) == status;
}

int exchange_refuse(exchange_t *x, int status, apr_table_t *headers)
{
    route_phase_e phase;
    request_rec *r;

    if (x->body.present || x->told_head || x->hearer || !phase_of(x, status, &phase)) {
        return 0;
    }
    r = request_in(x, phase);
    if (!stands(r, status, phase)) {
        if (phase == ROUTE_PHASE_RULES) { /* the status alone would not do */
            exchange_tell_classic(x, 0, NULL);
        }
        return phase == ROUTE_PHASE_RULES;
    }
    x->earned |= phase == ROUTE_PHASE_QUICK; /* who is banned already earns nothing by it */
    tell_page(x, r, status, exchange_stages_headers(x, status, headers));
    return 1;
}
