/*
 * door.c - where errands and httpd meet: what this process's errands stand on, GateSelect and keys (httpd's expressions), the error log;
 * and the door through which other modules have errands run (gate_upstream.h).
 */
#include <httpd.h>
#include <http_log.h>

#include "upstream.h"

static errand_house_t house;

void upstream_door_init(apr_pool_t *pchild)
{
    upstream_rosters = gate_rosters_create(pchild, gate_core()->registry);
    gate_rosters_on_end(upstream_rosters, upstream_worker_let_go);
    house.registry = gate_core()->registry;
    house.seats = gate_core()->seats;
    house.seat = gate_core()->seat;
    house.rosters = upstream_rosters;
    house.queue = upstream_queue;
    house.key = upstream_sticky_key();
    house.say = upstream_door_log;
}

/* ---- the error log -------------------------------------------------------------------------------------------------------- */

static void log_try(request_rec *r, const gate_errand_t *e, errand_news_e news)
{
    const char *group = e->group->name, *member = errand_member_id(e);

    if (news == ERRAND_SAYS_BROKEN) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, GATE_LOGNO(0222)
                      "group %s: member %s: %s after %" APR_UINT64_T_FMT " bytes had been passed on: the client's connection is aborted",
                      group, member, e->now.why, (apr_uint64_t)e->now.passed_bytes);
    }
    else {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, GATE_LOGNO(0223) "group %s: member %s: %s: %s", group, member, e->now.why,
                      news == ERRAND_SAYS_OTHER ? "another member is tried" : "tried again on a new connection");
    }
}

static void log_failure(request_rec *r, const gate_errand_t *e, errand_news_e news, int status)
{
    if (news == ERRAND_SAYS_NOBODY) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0225) "group %s: %s: the client gets %d", e->group->name,
                      e->full ? "every usable member is at its connections=" : "no member is usable", status);
    }
    else {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0226) "group %s: %s (%s): the client gets %d", e->group->name,
                      *e->tried_words ? e->tried_words : e->now.why ? e->now.why : "failed", e->give_up ? e->give_up : "given up", status);
    }
}

void upstream_door_log(const gate_errand_t *e, errand_news_e news, int detail)
{
    const gate_view_t *view = e->ask.view;
    request_rec *r = view->request ? view->request(view) : NULL;

    if (!r) {
        return;
    }
    switch (news) {
    case ERRAND_SAYS_BROKEN:
    case ERRAND_SAYS_OTHER:
    case ERRAND_SAYS_FRESH:
        log_try(r, e, news);
        break;
    case ERRAND_SAYS_NOBODY:
    case ERRAND_SAYS_FAILED:
        log_failure(r, e, news, detail);
        break;
    case ERRAND_SAYS_LEFT:
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, GATE_LOGNO(0230)
                      "group %s: the client went away after %" APR_INT64_T_FMT " ms in the queue: its place is given up", e->group->name,
                      e->queued_usec / 1000);
        break;
    case ERRAND_SAYS_COOKIE:
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, GATE_LOGNO(0232) "group %s: the client's cookie %s is %s: it gets a new one",
                      e->group->name, e->group->sticky.cookie, detail == STICKY_STALE ? "out of date" : "not one of ours");
        break;
    }
}

/* ---- beginning ------------------------------------------------------------------------------------------------------------ */

/* 0 when the strategy needs none. */
static uint64_t key_of(const gate_errand_ask_t *ask, const upstream_group_t *group)
{
    const char *err = NULL, *key;
    request_rec *r;

    if (!(group->strategy->needs & GATE_BALANCE_KEY) || !group->key) {
        return 0;
    }
    r = ask->view->request(ask->view);
    key = ap_expr_str_exec(r, group->key, &err);
    if (err) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0221)
                      "group %s: GateBalance: the key could not be evaluated (%s): taken as empty", group->name, err);
    }
    return key ? gate_balance_hash(key, strlen(key)) : 0;
}

gate_errand_t *upstream_errand_begin(const gate_errand_ask_t *ask, const char **why)
{
    const upstream_group_t *group = upstream_select(ask->view, ask->dir_conf, ask->group);

    return errand_begin(&house, ask, group, key_of(ask, group), why);
}

gate_errand_t *upstream_errand_preview(const gate_errand_ask_t *ask)
{
    const upstream_group_t *group = upstream_select(ask->view, ask->dir_conf, ask->group);

    return errand_preview(&house, ask, group, key_of(ask, group));
}

/* ---- the door ------------------------------------------------------------------------------------------------------------- */

static const gate_upstream_group_t *group_named(const char *name, size_t len)
{
    const upstream_group_t *group = upstream_group_named(name, len);

    return group && group->index != GATE_NO_GROUP ? group : NULL;
}

static const char *classic_only(const gate_upstream_group_t *group)
{
    gate_roster_t *roster = gate_roster_hold(house.rosters, group->index);
    const char *why = errand_classic_only(roster);

    gate_roster_release(roster);
    return why;
}

static const gate_upstream_door_t *gate_upstream_door(void)
{
    static const gate_upstream_door_t calls = {
        .group = group_named, .classic_only = classic_only, .begin = upstream_errand_begin, .claim = errand_claim,
        .wait_look = errand_wait_look, .wait_until = errand_wait_until, .wait_leave = errand_wait_leave,
        .hear = upstream_queue_hear, .heard = upstream_queue_heard, .hear_end = upstream_queue_hear_end, .present = errand_present,
        .again = errand_again, .cookie = errand_cookie, .turn = errand_turn, .ended = errand_ended, .fail = errand_fail,
        .log = errand_log, .end = errand_end
    };

    return &calls;
}

void upstream_door_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gate_upstream_door);
}
