/*
 * errand.c - see errand.h: how an errand begins, goes from try to try, and ends.
 */
#include <string.h>

#include <apr_strings.h>

#include "errand.h"

const char *errand_classic_only(const gate_roster_t *roster)
{
    return roster->others ? "a member of its group speaks another protocol than HTTP" : NULL;
}

const char *errand_unfit(const gate_errand_ask_t *ask, const gate_roster_t *roster)
{
    if (ask->clear_only && roster->tls) {
        return "a member of its group is https or h2, which SSLProxyEngine or another SSLProxy* directive leaves to the classic plane";
    }
    return ask->http_only ? errand_classic_only(roster) : NULL;
}

/* The roster goes: of the last try's member its name is kept. */
void errand_forget_member(gate_errand_t *e)
{
    if (e->now.member) {
        e->last_id = apr_pstrdup(e->ask.pool, e->now.member->id);
        e->now.member = NULL;
        e->now.roster = NULL;
    }
}

const char *errand_member_id(const gate_errand_t *e)
{
    return e->now.member ? e->now.member->id : e->last_id ? e->last_id : "";
}

/* ---- begin and end -------------------------------------------------------------------------------------------------------- */

void errand_end(gate_errand_t *e)
{
    const errand_house_t *house = e->house;

    if (e->waiting) {
        errand_wait_leave(e, e->now_usec);
    }
    if (e->inflight) {
        e->inflight = 0;
        gate_inflight_end(house->registry, house->seat, e->now.member->slot);
        errand_freed(e);
    }
    errand_unclaim(e);
    if (e->retrying) {
        e->retrying = 0;
        gate_group_retrying_add(house->registry, house->seat, e->group->index, -1);
    }
    if (e->active) {
        e->active = 0;
        gate_group_active_add(house->registry, house->seat, e->group->index, -1);
    }
    if (!e->ended_usec) {
        e->ended_usec = e->now_usec;
    }
}

/* The roster is held until now: the log names its member. */
static apr_status_t end_with_pool(void *errand)
{
    gate_errand_t *e = errand;

    errand_end(e);
    gate_roster_release(e->roster);
    return APR_SUCCESS;
}

/* The route's own word, else the group's, else the server's, else ours. */
static int64_t limit_of(const gate_errand_ask_t *ask, int64_t of_group, int64_t usual)
{
    if (ask->route_timeout_usec > 0) {
        return ask->route_timeout_usec;
    }
    if (of_group > 0) {
        return of_group;
    }
    return ask->server_timeout_usec > 0 ? ask->server_timeout_usec : usual;
}

static gate_errand_t *make(const errand_house_t *house, const gate_errand_ask_t *ask, const upstream_group_t *group,
                           gate_roster_t *roster, uint64_t key_hash)
{
    gate_errand_t *e = apr_pcalloc(ask->pool, sizeof *e);

    e->house = house;
    e->ask = *ask;
    e->group = group;
    e->roster = roster;
    e->now_usec = ask->now_usec;
    e->next = -1;
    e->tried_words = "";
    e->key_hash = key_hash;
    e->connect_limit_usec = group->connect_usec > 0 ? group->connect_usec : UPSTREAM_CONNECT_USEC;
    e->first_byte_limit_usec = limit_of(ask, group->first_byte_usec, UPSTREAM_FIRST_BYTE_USEC);
    e->idle_limit_usec = limit_of(ask, group->idle_usec, UPSTREAM_IDLE_USEC);
    e->deadline_usec = group->total_usec > 0 ? ask->now_usec + group->total_usec : 0;
    apr_pool_cleanup_register(ask->pool, e, end_with_pool, apr_pool_cleanup_null);
    if (group->sticky.cookie || group->sticky.header) {
        errand_sticky(e);
    }
    return e;
}

gate_errand_t *errand_begin(const errand_house_t *house, const gate_errand_ask_t *ask, const upstream_group_t *group,
                            uint64_t key_hash, const char **why)
{
    gate_roster_t *roster = gate_roster_hold(house->rosters, group->index);
    gate_errand_t *e;

    *why = errand_unfit(ask, roster);
    if (*why) {
        gate_roster_release(roster);
        return NULL;
    }
    e = make(house, ask, group, roster, key_hash);
    gate_group_active_add(house->registry, house->seat, group->index, 1);
    gate_group_credit_put(house->registry, group->index, group->retry.budget_milli);
    e->active = 1;
    return e;
}

gate_errand_t *errand_preview(const errand_house_t *house, const gate_errand_ask_t *ask, const upstream_group_t *group, uint64_t key_hash)
{
    gate_errand_t *e = make(house, ask, group, gate_roster_hold(house->rosters, group->index), key_hash);

    e->peek = 1;
    return e;
}

/* ---- tries ---------------------------------------------------------------------------------------------------------------- */

gate_try_t *errand_present(gate_errand_t *e)
{
    return &e->now;
}

static int was_sent(const gate_try_t *t)
{
    return (t->bytes_out != 0 || t->sent) && !t->untouched;
}

/* See retry_try_t.shut_out. */
static int was_shut_out(const gate_errand_t *e, gate_outcome_e outcome)
{
    const gate_try_t *t = &e->now;

    return outcome == GATE_OUTCOME_RESET && t->connected_usec && !t->bytes_in && e->now_usec - t->connected_usec < e->connect_limit_usec;
}

static void count_try(gate_errand_t *e)
{
    const errand_house_t *house = e->house;
    const gate_roster_member_t *member = e->now.member;

    e->tried[e->tries].slot = member->slot;
    e->tried[e->tries++].incarnation = member->incarnation;
    if (e->reached && !e->retrying) {
        gate_group_retrying_add(house->registry, house->seat, e->group->index, 1);
        gate_group_credit_take(house->registry, e->group->index);
        e->retrying = 1;
    }
}

static gate_errand_e begin_try(gate_errand_t *e)
{
    gate_try_t *t = &e->now;
    int body_lost = t->body_lost;

    memset(t, 0, sizeof *t);
    t->roster = e->roster;
    t->member = &e->roster->members[e->next];
    t->fresh = e->plan == ERRAND_HAS_SAME;
    t->body_lost = body_lost;
    t->connect_limit_usec = e->connect_limit_usec;
    t->first_byte_limit_usec = e->first_byte_limit_usec;
    t->idle_limit_usec = e->idle_limit_usec;
    t->deadline_usec = e->deadline_usec;
    t->begun_usec = e->now_usec;
    t->head_deadline_usec = e->group->try_timeout_usec > 0 ? e->now_usec + e->group->try_timeout_usec : 0;
    e->is_trial = e->next_is_trial;
    e->replaced = t->fresh;
    e->swallowed = 0;
    e->map = NULL;
    if (!t->fresh) {
        count_try(e);
    }
    if (e->claimed) {
        e->claimed = 0; /* counted when it was chosen */
    }
    else {
        gate_inflight_begin(e->house->registry, e->house->seat, t->member->slot);
    }
    e->inflight = 1;
    return GATE_ERRAND_MEMBER;
}

gate_errand_e errand_claim(gate_errand_t *e, int64_t now_usec)
{
    gate_errand_e got = GATE_ERRAND_MEMBER;

    e->now_usec = now_usec;
    if (e->plan == ERRAND_SEARCHES) {
        got = errand_wait_enter(e);
    }
    return got == GATE_ERRAND_MEMBER ? errand_begun(e) : got;
}

gate_errand_e errand_begun(gate_errand_t *e)
{
    if (e->untold) {
        e->untold = 0;
        errand_say(e, ERRAND_SAYS_OTHER, 0);
    }
    return begin_try(e);
}

/* ---- again or not --------------------------------------------------------------------------------------------------------- */

/* Sets e->next when there is another member. */
static retry_verdict_t consider(gate_errand_t *e, gate_outcome_e outcome)
{
    const errand_house_t *house = e->house;
    const gate_try_t *t = &e->now;
    retry_try_t ended = {
        .outcome = outcome, .status = t->status, .request_sent = was_sent(t), .body_whole = !t->body_lost,
        .response_passed_on = t->passed_on, .idle_died = t->untouched || (t->reused && !t->bytes_in), .shut_out = was_shut_out(e, outcome)
    };
    retry_standing_t standing = {
        .method = e->ask.view->method, .tries = (uint32_t)e->tries, .replaced = e->replaced, .others = 1, .counted = e->retrying,
        .active = gate_group_active(house->registry, e->group->index),
        .retrying = gate_group_retrying(house->registry, e->group->index),
        .saved = gate_group_credit(house->registry, e->group->index) >= 1000,
        .deadline_usec = e->deadline_usec, .now_usec = e->now_usec
    };
    retry_verdict_t verdict = retry_decide(&e->group->retry, &ended, &standing);

    if (verdict.action == RETRY_OTHER && !errand_search(e)) {
        standing.others = 0;
        verdict = retry_decide(&e->group->retry, &ended, &standing);
    }
    return verdict;
}

int errand_again(gate_errand_t *e, int64_t now_usec)
{
    if (!gate_status_in(&e->group->retry.statuses, e->now.status)) {
        return 0;
    }
    e->now_usec = now_usec;
    e->swallowed = consider(e, retry_outcome_of_status(e->now.status)).action == RETRY_OTHER;
    return e->swallowed;
}

/* An answer's status says whether it is a failure. */
static void name_outcome(gate_errand_t *e)
{
    gate_try_t *t = &e->now;

    if (t->outcome == GATE_OUTCOME_OK && (t->outcome = retry_outcome_of_status(t->status)) == GATE_OUTCOME_STATUS) {
        t->why = apr_psprintf(e->ask.pool, "status %d", t->status);
    }
    if (retry_is_member_failure(t->outcome)) {
        if (!t->why) {
            t->why = gate_outcome_name(t->outcome);
        }
        e->tried_words = apr_pstrcat(e->ask.pool, e->tried_words, *e->tried_words ? "; " : "", t->member->id, ": ", t->why, NULL);
    }
}

/* Another member would be asked, but none has room: does one wait for it? */
static int waits_for_another(const gate_errand_t *e, const retry_verdict_t *verdict)
{
    return verdict->action == RETRY_GIVE_UP && e->others_full && e->group->queue_length;
}

/* Has an answer come that the client gets, or part of one? */
static int is_answered(const gate_try_t *t)
{
    return t->passed_on || t->outcome == GATE_OUTCOME_OK || t->outcome == GATE_OUTCOME_STATUS;
}

static gate_errand_end_e plan_next(gate_errand_t *e)
{
    retry_verdict_t verdict = { RETRY_OTHER, NULL };
    int failed = retry_is_member_failure(e->now.outcome);

    if (!e->swallowed) {
        e->others_full = 0;
        verdict = consider(e, e->now.outcome);
        e->give_up = verdict.why;
    }
    if (waits_for_another(e, &verdict)) {
        e->plan = ERRAND_SEARCHES;
        e->untold = failed;
        return GATE_ERRAND_ON;
    }
    switch (verdict.action) {
    case RETRY_OTHER:
        e->plan = ERRAND_HAS_NEXT;
        e->untold = failed;
        return GATE_ERRAND_ON;
    case RETRY_SAME_FRESH:
        errand_say(e, ERRAND_SAYS_FRESH, 0);
        e->plan = ERRAND_HAS_SAME;
        return GATE_ERRAND_FRESH;
    default:
        return GATE_ERRAND_OVER;
    }
}

/* The place on the member is free, but for a try that follows on the same one. */
static void leave_member(gate_errand_t *e, gate_errand_end_e end)
{
    e->inflight = 0;
    if (end == GATE_ERRAND_FRESH) {
        e->claimed = 1;
        e->claimed_slot = e->now.member->slot;
        return;
    }
    gate_inflight_end(e->house->registry, e->house->seat, e->now.member->slot);
    errand_freed(e);
}

gate_errand_end_e errand_ended(gate_errand_t *e, int64_t now_usec, int go_on)
{
    gate_errand_end_e end = GATE_ERRAND_OVER;

    e->now_usec = now_usec;
    name_outcome(e);
    errand_report(e, now_usec);
    if (e->now.outcome == GATE_OUTCOME_BROKEN) {
        errand_say(e, ERRAND_SAYS_BROKEN, 0);
    }
    if (go_on && (e->swallowed || !is_answered(&e->now))) {
        end = plan_next(e);
        e->reached = was_sent(&e->now) && !was_shut_out(e, e->now.outcome);
    }
    if (end == GATE_ERRAND_OVER) {
        e->ended_usec = now_usec;
    }
    leave_member(e, end);
    return end;
}
