/* keep_join.c - see keep.h: one fetch for all, and what it asks */
#include "keep.h"

#include <stdatomic.h>
#include <apr_strings.h>

#include "fields.h"

#define REFRESH_CLAIM_USEC (INT64_C(60) * 1000000)
#define REFRESH_REST_USEC INT64_C(1000000) /* between two tries */
#define JOINS 4                   /* leaders that may be lost before we go alone */

/* ---- one fetch for all ---------------------------------------------------------------------------------------------------- */

/* What was fetched after we had asked is as good as validated for us. */
static int suits_now(const gate_keep_t *k, int64_t now_usec)
{
    const gate_freshness_t *fresh = &k->look.head.head->fresh;
    int soft = (int)atomic_load(&k->look.head.head->soft);

    return gate_freshness_judge(fresh, &k->look.asked, soft, now_usec) != GATE_VALIDATE
           || (fresh->received_usec >= k->arrived_usec && !gate_freshness_useless(fresh));
}

gate_join_e gate_keep_join(gate_keep_t *k, int64_t wait_usec, int64_t now_usec)
{
    gate_wish_t wish = { k->look.flight_hash, k->look.key.hash, k->look.key.url, k->purge_seq };

    return gate_flight_join(k->look.store, &wish, now_usec, wait_usec, &k->flight);
}

void gate_keep_leave(gate_keep_t *k)
{
    if (k->flight.place && !k->flight.leader) {
        gate_flight_leave(k->look.store, &k->flight);
    }
}

/*
 * We are to lead. But the fetch before ours may have ended between our look and our claim, as late as a busy machine lets a thread run on:
 * what it brought is ours then, and nobody has to go.
 */
static gate_step_e lead(gate_keep_t *k, int64_t now_usec)
{
    if (!gate_look_find(&k->look) || !suits_now(k, now_usec)) {
        return GATE_STEP_ASK;
    }
    k->rule.ops->wake(gate_flight_end(k->look.store, &k->flight, GATE_FLIGHT_STORED));
    k->fwd = NULL;
    return GATE_STEP_ANSWER;
}

/* The fetch that was followed is over: is there something for us? */
static int has_result(gate_keep_t *k, int64_t now_usec)
{
    gate_keep_leave(k);
    k->collapsed = gate_look_find(&k->look) && suits_now(k, now_usec);
    return k->collapsed;
}

static gate_step_e alone(gate_keep_t *k)
{
    gate_keep_leave(k);
    k->joins = JOINS;
    return GATE_STEP_ASK;
}

static gate_step_e wait_more(gate_keep_t *k, _Atomic uint32_t *word, uint32_t value)
{
    k->wait_word = word;
    k->wait_value = value;
    return GATE_STEP_WAIT;
}

static gate_step_e join(gate_keep_t *k, int64_t deadline_usec, int64_t now_usec)
{
    if (k->joins >= JOINS) {
        return GATE_STEP_ASK;
    }
    switch (gate_keep_join(k, k->rule.wait_usec, now_usec)) {
    case GATE_LEAD:
        return lead(k, now_usec);
    case GATE_JOIN_BUSY:
        return now_usec < deadline_usec ? wait_more(k, NULL, 0) : alone(k);
    case GATE_FOLLOW:
        k->joins++;
        return GATE_STEP_WAIT;
    default:
        return alone(k);
    }
}

gate_step_e gate_keep_step(gate_keep_t *k, int64_t deadline_usec, int64_t now_usec, gate_ref_t *head)
{
    gate_store_t *store = k->look.store;
    _Atomic uint32_t *word;
    uint32_t value;

    for (;;) {
        if (!k->flight.place) {
            gate_step_e step = join(k, deadline_usec, now_usec);

            if (step != GATE_STEP_WAIT || !k->flight.place) {
                return step;
            }
        }
        word = gate_flight_wait(store, &k->flight, &value);
        *head = word ? gate_flight_head(store, &k->flight, now_usec) : 0;
        if (*head) {
            k->collapsed = 1;
            return GATE_STEP_FLOW;
        }
        if (word && now_usec < deadline_usec) {
            return wait_more(k, word, value);
        }
        if (word) {
            k->rule.ops->count(GATE_COUNT_wait_timeouts, 1);
            gate_flight_give_up(store, &k->flight);
            return alone(k);
        }
        switch (gate_flight_phase(store, &k->flight)) {
        case GATE_FLIGHT_STORED:
            return has_result(k, now_usec) ? GATE_STEP_ANSWER : GATE_STEP_ASK;
        case GATE_FLIGHT_OVER:
            /* somebody leads again already, as when the leader before had died: not all who waited go to the member then */
            if (has_result(k, now_usec)) {
                return GATE_STEP_ANSWER;
            }
            break;
        case GATE_FLIGHT_LOST:
            k->rule.ops->count(GATE_COUNT_leader_lost, 1);
            gate_keep_leave(k);
            break; /* who is first leads */
        default:
            return alone(k);
        }
    }
}

int gate_keep_flowing(gate_keep_t *k, gate_ref_t head, gate_pin_t *body)
{
    gate_look_t *look = &k->look;
    const void *bytes;
    uint64_t len;

    gate_look_drop(look);
    if (!gate_store_pin(look->store, head, &look->held)) {
        return 0;
    }
    len = gate_store_piece(look->store, head, 0, &bytes);
    if (!len || !gate_head_read(apr_pmemdup(look->pool, bytes, len), len, &look->head) || gate_look_suits(look, &look->head) < 0
        || look->head.head->coding != GATE_CODING_IDENTITY || look->head.head->status == 204 || look->head.head->status == 304
        || !gate_store_pin(look->store, gate_store_body(look->store, head, GATE_CODING_IDENTITY), body)) {
        gate_look_drop(look);
        return 0;
    }
    return 1;
}

int gate_keep_no_flow(gate_keep_t *k)
{
    k->collapsed = 0;
    if (gate_flight_phase(k->look.store, &k->flight) != GATE_FLIGHT_FLOWING) {
        return 1;
    }
    alone(k);
    return 0;
}

/* ---- behind the client's back ------------------------------------------------------------------------------------------------ */

static gate_head_t *shared_head(gate_keep_t *k)
{
    const void *bytes;

    return k->look.held.place && gate_store_piece(k->look.store, k->look.held.ref, 0, &bytes) ? (gate_head_t *)(uintptr_t)bytes : NULL;
}

int gate_keep_claim_refresh(gate_keep_t *k, int64_t now_usec, gate_seat_on_t *flight)
{
    gate_head_t *shared = shared_head(k);
    int64_t until = shared ? atomic_load(&shared->refresh_until) : INT64_MAX;

    *flight = (gate_seat_on_t){ 0 };
    if (until > now_usec || gate_flight_under_way(k->look.store, k->look.flight_hash, now_usec)) {
        return 0;
    }
    switch (gate_keep_join(k, REFRESH_CLAIM_USEC, now_usec)) {
    case GATE_LEAD:
        *flight = k->flight;
        k->flight.place = 0;
        return 1;
    case GATE_ALONE:
        return atomic_compare_exchange_strong(&shared->refresh_until, &until, now_usec + REFRESH_CLAIM_USEC);
    default:
        gate_keep_leave(k);
        return 0;
    }
}

void gate_keep_unclaim_refresh(gate_keep_t *k, gate_seat_on_t *flight)
{
    gate_head_t *shared = shared_head(k);

    if (shared) {
        atomic_store(&shared->refresh_until, 0);
    }
    if (flight->place) {
        k->rule.ops->wake(gate_flight_end(k->look.store, flight, GATE_FLIGHT_PASSED));
    }
}

int gate_keep_begin_refresh(gate_keep_t *k, int64_t now_usec)
{
    if (!gate_look_find(&k->look)) {
        return 0;
    }
    if (gate_freshness_judge(&k->look.head.head->fresh, &k->look.asked, (int)atomic_load(&k->look.head.head->soft), now_usec) != GATE_SERVE) {
        return 1;
    }
    if (k->flight.place) {
        k->rule.ops->wake(gate_flight_end(k->look.store, &k->flight, GATE_FLIGHT_STORED));
    }
    return 0;
}

void gate_keep_end_refresh(gate_keep_t *k, int well, int64_t now_usec)
{
    gate_head_t *shared = shared_head(k);

    gate_keep_end(k, 0, now_usec);
    if (shared) {
        atomic_store(&shared->refresh_until, now_usec + REFRESH_REST_USEC);
    }
    k->rule.ops->count(well ? GATE_COUNT_refreshed : GATE_COUNT_refresh_failed, 1);
}

/* ---- what is asked of the member -------------------------------------------------------------------------------------------- */

apr_table_t *gate_keep_asked(gate_keep_t *k, apr_pool_t *p, int whole)
{
    static const char *const conditions[] = { "If-None-Match", "If-Modified-Since", "If-Range", "Range" };
    apr_table_t *asked = apr_table_copy(p, k->look.headers), *stored;
    const char *etag, *modified;

    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        apr_table_unset(asked, conditions[i]);
    }
    if (apr_table_get(asked, "Accept-Encoding")) {
        /* one of a few forms, so that what comes suits all who ask in it; identity where we make the codings ourselves */
        apr_table_setn(asked, "Accept-Encoding", k->look.rule.variants ? "identity" : gate_accept_class(&k->look.accept));
    }
    k->validating = 0;
    if (whole || !k->look.head.head) {
        return asked;
    }
    stored = apr_table_make(p, 24);
    gate_head_fields(&k->look.head, stored);
    etag = apr_table_get(stored, "ETag");
    modified = apr_table_get(stored, "Last-Modified");
    if (etag) {
        apr_table_setn(asked, "If-None-Match", etag);
    }
    if (modified) {
        apr_table_setn(asked, "If-Modified-Since", modified);
    }
    k->validating = etag || modified;
    return asked;
}
