/*
 * cache_fetch.c - what is not in the store, or not fresh: who goes to the member, who waits, and what becomes of failures.
 * The handlers behind us are run from within ours, so that their failure is seen and a stored answer can take its place.
 */
#include "cache.h"

#include <string.h>
#include <util_filter.h>

APLOG_USE_MODULE(gate_cache);

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

static const char *stored_field(request_rec *r, const cache_request_t *c, const char *name)
{
    apr_table_t *fields = apr_table_make(r->pool, 24);

    gate_head_fields(&c->look.head, fields);
    return apr_table_get(fields, name);
}

/* One of a few forms, so that what comes suits all who ask in it; identity where we make the codings ourselves. */
static void normalise_encoding(request_rec *r, cache_request_t *c)
{
    const char *wanted = c->conf->compress && c->conf->compress->on ? "identity" : gate_accept_class(&c->look.accept);

    if (apr_table_get(r->headers_in, "Accept-Encoding")) {
        cache_change_header(r, c, "Accept-Encoding", wanted);
    }
}

/* The whole answer is wanted, whatever part or condition this client had in mind; that is seen to when it is there. */
static void ask_for_all(request_rec *r, cache_request_t *c)
{
    static const char *const conditions[] = { "If-None-Match", "If-Modified-Since", "If-Range", "Range" };

    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        if (apr_table_get(r->headers_in, conditions[i])) {
            cache_change_header(r, c, conditions[i], NULL);
        }
    }
    normalise_encoding(r, c);
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

/* RFC 9111, 4.3.1. @return 0: the stored answer has nothing to ask about */
static int ask_to_validate(request_rec *r, cache_request_t *c)
{
    const char *etag = stored_field(r, c, "ETag"), *modified = stored_field(r, c, "Last-Modified");

    ask_for_all(r, c);
    if (etag) {
        cache_change_header(r, c, "If-None-Match", etag);
    }
    if (modified) {
        cache_change_header(r, c, "If-Modified-Since", modified);
    }
    return etag || modified;
}

/* ---- failures -------------------------------------------------------------------------------------------------------------- */

/* An error of ours on its way to the client: nobody keeps it (trap 49). */
static void mark_error(request_rec *r, cache_request_t *c, int rc)
{
    c->storing = 0;
    if (!apr_table_get(r->err_headers_out, "Cache-Control")) {
        apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    }
    c->member_status = 0;
    c->detail = apr_psprintf(r->pool, "ERROR-%d", rc);
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
        c->again = c->swallow = c->seen_head = c->ended = 0;
        c->mode = CACHE_FETCHING;
        c->detail = "VALIDATOR-MISMATCH";
        ask_for_all(r, c);
        rc = run_handlers(r, c);
    }
    if (failed(rc) && !c->seen_head && !c->swallow) {
        if (c->look.head.head && gate_stale_on_error(&c->look.head.head->fresh, &c->look.asked, rc, gate_mono_usec()) && !c->background) {
            c->detail = "STALE-IF-ERROR";
            cache_count(GATE_COUNT_stale_error, 1);
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, GATE_LOGNO(0710)
                          "cache: the member failed (%d): a stored answer is served instead, as stale-if-error allows", rc);
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
    if (c->look.head.head) {
        c->mode = ask_to_validate(r, c) ? CACHE_VALIDATING : CACHE_FETCHING;
    }
    else {
        ask_for_all(r, c);
    }
    return go(r, c);
}

/* ---- waiting --------------------------------------------------------------------------------------------------------------------- */

typedef enum { FOLLOW_DONE, FOLLOW_AGAIN, FOLLOW_ALONE } follow_e;

/* What was fetched after we had asked is as good as validated for us. */
static int suits_now(const cache_request_t *c)
{
    const gate_freshness_t *fresh = &c->look.head.head->fresh;

    return gate_freshness_judge(fresh, &c->look.asked, 0, gate_mono_usec()) != GATE_VALIDATE
           || (fresh->received_usec >= c->arrived_usec && !gate_freshness_useless(fresh));
}

/* The fetch that was followed is over, well: is there something for us? */
static follow_e take_result(request_rec *r, cache_request_t *c, int *rc)
{
    if (!gate_look_find(&c->look) || !suits_now(c)) {
        return FOLLOW_ALONE;
    }
    c->collapsed = 1;
    *rc = cache_answer(r, c, r->output_filters);
    c->collapsed = *rc != DECLINED;
    return *rc == DECLINED ? FOLLOW_ALONE : FOLLOW_DONE;
}

/* Waits for the flight's end, or for a body that can be read along. */
static follow_e follow(request_rec *r, cache_request_t *c, int64_t deadline, int *rc)
{
    for (;;) {
        uint32_t value;
        _Atomic uint32_t *word = gate_flight_wait(cache_store, &c->flight, &value);
        gate_ref_t head = word ? gate_flight_head(cache_store, &c->flight, gate_mono_usec()) : 0;
        int64_t left = deadline - gate_mono_usec();

        if (!word) {
            switch (gate_flight_phase(cache_store, &c->flight)) {
            case GATE_FLIGHT_STORED:
                return take_result(r, c, rc);
            case GATE_FLIGHT_LOST:
                cache_count(GATE_COUNT_leader_lost, 1);
                return FOLLOW_AGAIN;
            default:
                return FOLLOW_ALONE;
            }
        }
        if (head) {
            c->collapsed = 1;
            *rc = cache_answer_flowing(r, c, head);
            c->collapsed = *rc != DECLINED;
            if (*rc != DECLINED) {
                return FOLLOW_DONE;
            }
            /* it may have ended between the two looks; else it is not for us */
            if (gate_flight_phase(cache_store, &c->flight) == GATE_FLIGHT_FLOWING) {
                return FOLLOW_ALONE;
            }
            continue;
        }
        if (left <= 0) {
            cache_count(GATE_COUNT_wait_timeouts, 1);
            gate_flight_give_up(cache_store, &c->flight);
            return FOLLOW_ALONE;
        }
        cache_wait(word, value, left < WAIT_STEP_USEC ? left : WAIT_STEP_USEC);
        gate_core_tend();
    }
}

gate_join_e cache_join(cache_request_t *c, int64_t wait_usec)
{
    gate_wish_t wish = { c->look.flight_hash, c->look.key.hash, c->look.key.url, c->purge_seq };

    return gate_flight_join(cache_store, &wish, gate_mono_usec(), wait_usec, &c->flight);
}

/*
 * We are to lead. But the fetch before ours may have ended between our look and our claim, as late as a busy machine lets a thread run on:
 * what it brought is ours then, and nobody has to go. @return as join()
 */
static int was_fetched_meanwhile(request_rec *r, cache_request_t *c, int *rc)
{
    const char *fwd = c->fwd;

    if (!gate_look_find(&c->look) || !suits_now(c)) {
        return 0;
    }
    cache_wake(gate_flight_end(cache_store, &c->flight, GATE_FLIGHT_STORED));
    c->fwd = NULL;
    *rc = cache_answer(r, c, r->output_filters);
    c->fwd = *rc == DECLINED ? fwd : NULL;
    return *rc != DECLINED;
}

/* One fetch for all: leads, or follows whoever leads. @return 1: answered, *rc is the result */
static int join(request_rec *r, cache_request_t *c, int *rc)
{
    int64_t deadline = c->arrived_usec + c->conf->wait_usec;

    for (int tries = 0; tries < 4; tries++) {
        gate_join_e how = cache_join(c, c->conf->wait_usec);
        follow_e end;

        while (how == GATE_JOIN_BUSY && gate_mono_usec() < deadline) {
            how = cache_join(c, c->conf->wait_usec);
        }
        if (how == GATE_LEAD) {
            return was_fetched_meanwhile(r, c, rc);
        }
        if (how != GATE_FOLLOW) {
            return 0;
        }
        end = follow(r, c, deadline, rc);
        gate_flight_leave(cache_store, &c->flight);
        if (end == FOLLOW_DONE) {
            return 1;
        }
        if (end == FOLLOW_ALONE) {
            return 0;
        }
    }
    return 0;
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
    c->mode = r->header_only && c->look.head.head ? CACHE_HEADING : CACHE_PASSING;
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

    c->fwd = c->look.head.head ? (c->look.asked.flags & GATE_CC_NO_CACHE ? "request" : "stale") : "uri-miss";
    if (c->look.asked.flags & GATE_CC_ONLY_IF_CACHED) {
        cache_count(GATE_COUNT_only_if_cached, 1);
        mark_error(r, c, HTTP_GATEWAY_TIME_OUT);
        return HTTP_GATEWAY_TIME_OUT;
    }
    if (r->header_only) {
        return pass_by(r, c, GATE_COUNT_bypass_method);
    }
    if (c->look.asked.flags & GATE_CC_NO_STORE) {
        gate_look_drop(&c->look);
        return pass_by(r, c, GATE_COUNT_bypass_no_store);
    }
    if (!c->look.head.head && fetch_partly(r)) {
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
    c->fwd = c->look.head.head ? c->fwd : "uri-miss";
    if (!c->look.head.head && !c->flight.place && gate_passed(cache_store, c->look.flight_hash, gate_mono_usec())) {
        /* known not to be storable: conditions are the member's matter again */
        c->mode = CACHE_FETCHING;
        translate_tags(r, c);
        normalise_encoding(r, c);
        return go(r, c);
    }
    return cache_fetch_now(r, c);
}
