/*
 * cache_fetch.c - what is not in the store, or not fresh: who goes to the member, who waits, and what becomes of failures.
 * The handlers behind us are run from within ours, so that their failure is seen and a stored answer can take its place.
 */
#include "cache.h"

#include <string.h>
#include <util_filter.h>

#define WAIT_STEP_USEC 250000

static int run_handlers(request_rec *r, cache_request_t *c)
{
    int rc;

    c->inside = 1;
    cache_filter_add(r, c);
    rc = ap_run_handler(r);
    cache_filter_end(r, c);
    return rc;
}

/* ---- what is asked of the member ---------------------------------------------------------------------------------------- */

/* One of a few forms, so that what comes suits all who ask in it; identity where we make the codings ourselves. */
static void normalise_encoding(request_rec *r, cache_request_t *c)
{
    const char *wanted = c->conf->compress && c->conf->compress->on ? "identity" : gate_accept_class(&c->keep.look.accept);

    if (apr_table_get(r->headers_in, "Accept-Encoding")) {
        cache_change_header(r, c, "Accept-Encoding", wanted);
    }
}

/* Entity tags that name our codings are translated for the member (trap 55). */
static void translate_tags(request_rec *r, cache_request_t *c)
{
    static const char *const names[] = { "If-None-Match", "If-Match", "If-Range" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = gate_field(r->pool, r->headers_in, names[i]);
        const char *back = value ? gate_etags_back(r->pool, value) : NULL;

        if (back && strcmp(back, value)) {
            cache_change_header(r, c, names[i], back);
        }
    }
}

/* ---- failures -------------------------------------------------------------------------------------------------------------- */

/* An error of ours on its way to the client: nobody keeps it (trap 49). */
static void mark_error(request_rec *r, cache_request_t *c, int rc)
{
    c->keep.storing = 0;
    if (!apr_table_get(r->err_headers_out, "Cache-Control")) {
        apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    }
    c->keep.member_status = 0;
    c->keep.detail = apr_psprintf(r->pool, "ERROR-%d", rc);
    cache_status(r, c, r->err_headers_out, "pass");
    if (c->conf->compress && c->conf->compress->on) {
        apr_table_mergen(r->err_headers_out, "Vary", "Accept-Encoding");
    }
}

static int failed(int rc)
{
    return rc >= 400 && rc < 600;
}

/* Asks the member, and serves the stored answer where it failed and that is allowed. */
static int go(request_rec *r, cache_request_t *c)
{
    int rc = run_handlers(r, c);

    if (c->again) {
        c->again = c->swallow = c->seen_head = 0;
        c->keep.detail = "VALIDATOR-MISMATCH";
        cache_change_headers(r, c, gate_keep_asked(&c->keep, r->pool, 1));
        rc = run_handlers(r, c);
    }
    if (failed(rc) && !c->seen_head && !c->swallow) {
        if (gate_keep_failed(&c->keep, rc, gate_mono_usec())) {
            cache_log_instead(r->server, rc);
            rc = cache_answer(r, c, r->output_filters);
            return rc == DECLINED ? HTTP_BAD_GATEWAY : rc;
        }
        mark_error(r, c, rc);
    }
    return rc;
}

int cache_fetch_now(request_rec *r, cache_request_t *c)
{
    c->mode = CACHE_FETCHING;
    cache_change_headers(r, c, gate_keep_asked(&c->keep, r->pool, 0));
    return go(r, c);
}

/* ---- waiting --------------------------------------------------------------------------------------------------------------------- */

static void wait_for_news(const gate_keep_t *k, int64_t left_usec)
{
    if (k->wait_word) {
        cache_wait(k->wait_word, k->wait_value, left_usec < WAIT_STEP_USEC ? left_usec : WAIT_STEP_USEC);
    }
    gate_core_tend();
}

/* One fetch for all: leads, or follows whoever leads. @return 1: answered, *rc is the result */
static int join(request_rec *r, cache_request_t *c, int *rc)
{
    gate_keep_t *k = &c->keep;
    int64_t deadline = k->arrived_usec + c->conf->wait_usec;

    for (;;) {
        int64_t now = gate_mono_usec();
        gate_ref_t head;

        switch (gate_keep_step(k, deadline, now, &head)) {
        case GATE_STEP_WAIT:
            wait_for_news(k, deadline - now);
            break;
        case GATE_STEP_FLOW:
            *rc = cache_answer_flowing(r, c, head);
            if (*rc != DECLINED) {
                gate_keep_leave(k);
                return 1;
            }
            if (!gate_keep_no_flow(k)) {
                return 0;
            }
            break;
        case GATE_STEP_ANSWER:
            *rc = cache_answer(r, c, r->output_filters);
            k->collapsed = k->collapsed && *rc != DECLINED;
            return *rc != DECLINED;
        default:
            return 0;
        }
    }
}

/* ---- GET and HEAD ------------------------------------------------------------------------------------------------------------------ */

static int fetch_partly(const request_rec *r)
{
    return apr_table_get(r->headers_in, "Range") || apr_table_get(r->headers_in, "If-Match")
           || apr_table_get(r->headers_in, "If-Unmodified-Since");
}

/* Goes to the member as it is; nothing is stored of it. */
static int pass_by(request_rec *r, cache_request_t *c, int count)
{
    cache_count(count, 1);
    c->mode = r->header_only && c->keep.look.head.head ? CACHE_HEADING : CACHE_PASSING;
    translate_tags(r, c);
    return go(r, c);
}

int cache_pass_by(request_rec *r, cache_request_t *c)
{
    c->mode = CACHE_PASSING;
    translate_tags(r, c);
    return go(r, c);
}

int cache_fetch(request_rec *r, cache_request_t *c)
{
    int rc = DECLINED;

    c->keep.fwd = c->keep.look.head.head ? (c->keep.look.asked.flags & GATE_CC_NO_CACHE ? "request" : "stale") : "uri-miss";
    if (c->keep.look.asked.flags & GATE_CC_ONLY_IF_CACHED) {
        cache_count(GATE_COUNT_only_if_cached, 1);
        mark_error(r, c, HTTP_GATEWAY_TIME_OUT);
        return HTTP_GATEWAY_TIME_OUT;
    }
    if (r->header_only) {
        return pass_by(r, c, GATE_COUNT_bypass_method);
    }
    if (c->keep.look.asked.flags & GATE_CC_NO_STORE) {
        gate_look_drop(&c->keep.look);
        return pass_by(r, c, GATE_COUNT_bypass_no_store);
    }
    if (!c->keep.look.head.head && fetch_partly(r)) {
        return pass_by(r, c, GATE_COUNT_bypass_range);
    }
    if (apr_table_get(r->headers_in, "Authorization")) {
        /* what it gets may be for its eyes only: nobody waits for it, and it waits for nobody (trap 47) */
        cache_count(GATE_COUNT_bypass_authorization, 1);
    }
    else if (join(r, c, &rc)) {
        return rc;
    }
    cache_count(GATE_COUNT_miss, 1);
    c->keep.fwd = c->keep.look.head.head && c->keep.fwd ? c->keep.fwd : "uri-miss";
    if (!c->keep.look.head.head && !c->keep.flight.place && gate_passed(cache_store, c->keep.look.flight_hash, gate_mono_usec())) {
        /* known not to be storable: conditions are the member's matter again */
        c->mode = CACHE_FETCHING;
        translate_tags(r, c);
        normalise_encoding(r, c);
        return go(r, c);
    }
    return cache_fetch_now(r, c);
}
