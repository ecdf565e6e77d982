/*
 * prober.c - who is checked when, and what follows from the results. One child does it for the whole server, as long as it holds
 * the lease. See health.h.
 *
 * Everything that must survive this child lies in the zone: the row of each member says what is known, when its next check is due, and
 * whether one has begun; the verdict itself lies in the registry. Whoever takes over goes on from there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ap_mpm.h>
#include <apr_strings.h>
#include <httpd.h>
#include <http_log.h>

#include "gate_log.h"
#include "gate_roster.h"
#include "gate_time.h"
#include "health.h"

APLOG_USE_MODULE(gate_health);

#define LEASE_USEC INT64_C(1000000)
#define PASS_USEC 50000           /* how long a pass takes at most: then it is asked whether we stop */
#define TEND_USEC INT64_C(500000)
#define GRAIN_USEC 5000           /* checks that are due so soon are started together */
#define CATCH_UP_USEC 200000      /* over which overdue checks are spread after a change of hands */
#define STARTS_PER_PASS 512

/* A member that is checked. */
typedef struct {
    uint32_t slot, incarnation, group;
    const health_check_t *check;
    uint64_t id_hash;
    const char *id;
    gate_url_t url;
    int64_t due_usec;
    int in_flight;
} target_t;

typedef struct {
    apr_pool_t *pool, *targets_pool; /* of the prober; of the present targets */
    const _Atomic int *stop;
    gate_registry_t *reg;
    probe_engine_t *engine;
    target_t *targets;
    uint32_t count;
    uint32_t *by_slot;               /* index + 1 of the target; 0: none */
    uint32_t version;                /* of the membership that targets are of */
    int has_targets;
    int64_t tend_usec;
    int said_full;
} prober_t;

static gate_rosters_t *rosters;

void prober_init(apr_pool_t *pchild)
{
    rosters = gate_rosters_create(pchild, gate_core()->registry);
}

const uint32_t *health_slots(apr_pool_t *p, uint32_t group, uint32_t *n)
{
    uint32_t room = 64, version, *slots;

    for (;;) {
        slots = apr_palloc(p, room * sizeof *slots);
        *n = gate_group_members(gate_core()->registry, group, slots, room, &version);
        if (*n <= room) {
            return slots;
        }
        room = *n + 64;
    }
}

/* ---- verdicts ------------------------------------------------------------------------------------------------------------- */

uint32_t health_others(apr_pool_t *p, uint32_t group, const char **words)
{
    uint32_t in_service, ejected, usable;

    outlier_count(gate_core()->registry, group, &in_service, &ejected, &usable);
    *words = usable == 0 ? "no other member is usable" : apr_psprintf(p, "traffic goes to %u other%s", usable, usable == 1 ? "" : "s");
    return usable;
}

static void log_change(apr_pool_t *p, const target_t *t, health_state_e before, const health_track_t *track, const check_result_t *result)
{
    const char *words, *group = gate_group_name(gate_core()->registry, t->group);

    if (track->state == HEALTH_UP && before == HEALTH_UNKNOWN) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, health_server, GATE_LOGNO(0503)
                     "group %s: member %s: up by its first good check (%s)", group, t->id, result->why);
    } else if (track->state == HEALTH_UP) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, health_server, GATE_LOGNO(0502)
                     "group %s: member %s: up after %u good checks (%s), it gets traffic again", group, t->id, t->check->rule.rise,
                     result->why);
    } else if (health_others(p, t->group, &words) > 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, health_server, GATE_LOGNO(0501)
                     "group %s: member %s: down after %u failed checks (%s), %s", group, t->id, t->check->rule.fall, result->why, words);
    } else {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, health_server, GATE_LOGNO(0504)
                     "group %s: member %s: down after %u failed checks (%s), %s: requests are answered 503 unless GatePanic says otherwise",
                     group, t->id, t->check->rule.fall, result->why, words);
    }
}

static health_state_e state_of(uint32_t verdict)
{
    return verdict & GATE_VERDICT_DOWN ? HEALTH_DOWN : verdict & GATE_VERDICT_UNKNOWN ? HEALTH_UNKNOWN : HEALTH_UP;
}

/* The verdict is what counts; a row that says something else has been overtaken, and its streak means nothing. */
static health_track_t track_of(const prober_t *prober, const target_t *t)
{
    const health_row_t *row = &health_zone.row[t->slot];
    health_track_t track = { .state = state_of(gate_verdict(prober->reg, t->slot)), .streak = atomic_load(&row->streak) };

    if (atomic_load(&row->state) != track.state) {
        track.streak = 0;
    }
    return track;
}

static const char *why_of(apr_pool_t *p, const target_t *t, const health_track_t *track, const check_result_t *result)
{
    return track->state == HEALTH_DOWN ? apr_psprintf(p, "%u failed checks: %s", t->check->rule.fall, result->why)
                                       : apr_psprintf(p, "checks are good: %s", result->why);
}

static void release_last(const prober_t *prober, uint32_t group, int64_t now_usec)
{
    uint32_t slot = outlier_release_last(prober->reg, &health_zone.group_lock[group], group, now_usec);
    gate_member_t member;

    if (slot != GATE_NO_SLOT && gate_member_get(prober->reg, slot, &member) == 0) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, health_server, GATE_LOGNO(0520)
                     "group %s: member %s: was ejected for its errors, and is used again because no other member is usable",
                     gate_group_name(prober->reg, group), member.id);
    }
}

static void change_verdict(const prober_t *prober, const target_t *t, health_state_e before, const health_track_t *track,
                           const check_result_t *result, int64_t now_usec)
{
    uint32_t set = track->state == HEALTH_DOWN ? GATE_VERDICT_DOWN : 0;
    uint32_t clear = (GATE_VERDICT_DOWN | GATE_VERDICT_UNKNOWN) & ~set;
    apr_pool_t *p;

    apr_pool_create(&p, prober->pool);
    if (gate_verdict_change(prober->reg, t->slot, t->incarnation, set, clear, "health", "", why_of(p, t, track, result), now_usec) == 1) {
        log_change(p, t, before, track, result);
    }
    apr_pool_destroy(p);
    if (track->state == HEALTH_DOWN) {
        release_last(prober, t->group, now_usec);
    }
}

static void note(const prober_t *prober, target_t *t, const check_result_t *result, int64_t now_usec)
{
    health_row_t *row = &health_zone.row[t->slot];
    health_track_t track = track_of(prober, t);
    health_state_e before = track.state;
    int changed = 0;

    if (result->code == CHECK_OURS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, health_server, GATE_LOGNO(0506)
                     "group %s: member %s: could not be checked (%s); its verdict stays", gate_group_name(prober->reg, t->group), t->id,
                     result->why);
    } else {
        changed = health_note(&track, &t->check->rule, result->code == CHECK_OK);
        ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, health_server, GATE_LOGNO(0505)
                     "group %s: member %s: check %s (%s, %" APR_INT64_T_FMT " us)", gate_group_name(prober->reg, t->group), t->id,
                     result->code == CHECK_OK ? "good" : "failed", result->why, result->took_usec);
    }
    health_row_result(row, &track, result, now_usec);
    atomic_fetch_add(&health_zone.head->checks, 1);
    if (changed) {
        change_verdict(prober, t, before, &track, result, now_usec);
    }
    t->due_usec = health_next_due(&track, &t->check->rule, t->id_hash, atomic_load(&row->turns), t->due_usec, now_usec);
    atomic_store(&row->due_usec, t->due_usec);
}

static target_t *target_of(const prober_t *prober, uint32_t slot, uint32_t incarnation)
{
    uint32_t at = slot < gate_registry_limits(prober->reg)->members ? prober->by_slot[slot] : 0;

    return at && prober->targets[at - 1].incarnation == incarnation ? &prober->targets[at - 1] : NULL;
}

static void on_done(uint32_t slot, uint32_t incarnation, const check_result_t *result, void *ctx)
{
    prober_t *prober = ctx;
    target_t *t = prober->has_targets ? target_of(prober, slot, incarnation) : NULL;

    if (t) { /* else it has gone meanwhile */
        t->in_flight = 0;
        note(prober, t, result, gate_mono_usec());
    }
}

/* ---- targets -------------------------------------------------------------------------------------------------------------- */

/* When a member that we have just been given is checked first. */
static int64_t first_due(const prober_t *prober, const target_t *t, int is_new, int64_t now_usec)
{
    const health_row_t *row = &health_zone.row[t->slot];
    health_track_t track = track_of(prober, t);
    int64_t due = atomic_load(&row->due_usec), spread = t->check->rule.fast_usec;

    if (is_new || due > now_usec + t->check->rule.interval_usec * 2) {
        return health_first_due(&track, &t->check->rule, t->id_hash, now_usec);
    }
    if (atomic_load(&row->begun_usec) != 0 || due < now_usec) {
        /* it was being checked when its prober ended, or should have been since */
        spread = spread < CATCH_UP_USEC ? spread : CATCH_UP_USEC;
        return now_usec + (int64_t)(t->id_hash % (uint64_t)spread);
    }
    return due;
}

static void meet(const prober_t *prober, target_t *t, int64_t now_usec)
{
    health_row_t *row = &health_zone.row[t->slot];
    int is_new = health_row_own(row, t->incarnation, now_usec);

    if (is_new && !(gate_verdict(prober->reg, t->slot) & GATE_VERDICT_DOWN)) {
        gate_verdict_change(prober->reg, t->slot, t->incarnation, GATE_VERDICT_UNKNOWN, 0, "health", "", "not yet checked", now_usec);
    }
    t->due_usec = first_due(prober, t, is_new, now_usec);
    atomic_store(&row->begun_usec, 0);
    atomic_store(&row->due_usec, t->due_usec);
}

static void add_group(apr_pool_t *p, apr_array_header_t *targets, const health_group_t *group)
{
    gate_roster_t *roster = gate_roster_hold(rosters, group->index);
    uint32_t i;

    for (i = 0; i < roster->count; i++) {
        const gate_roster_member_t *m = &roster->members[i];
        target_t t = { .slot = m->slot, .incarnation = m->incarnation, .group = group->index, .check = group->check, .id_hash = m->id_hash };

        if (gate_parse_member_url(p, apr_pstrdup(p, m->url), &t.url)) {
            continue; /* cannot be: it was parsed when it became a member */
        }
        if (t.check->as_tcp && !t.check->port && !probe_speaks_http(&t.url)) {
            t.check = t.check->as_tcp; /* it came at run time: whether it takes connections is all that can be asked */
        }
        t.id = apr_pstrdup(p, m->id);
        APR_ARRAY_PUSH(targets, target_t) = t;
    }
    gate_roster_release(roster);
}

static int group_is_living(const prober_t *prober, const health_group_t *group)
{
    return group->check && group->index != GATE_NO_GROUP && *gate_group_name(prober->reg, group->index);
}

/* Takes up who is to be checked now; what is known of those that stay is kept. */
static void follow_membership(prober_t *prober, int64_t now_usec)
{
    apr_pool_t *p, *old_pool = prober->targets_pool;
    apr_array_header_t *targets;
    uint32_t i, members = gate_registry_limits(prober->reg)->members, *by_slot;
    int g;

    prober->version = gate_group_version(prober->reg, 0);
    apr_pool_create(&p, prober->pool);
    targets = apr_array_make(p, 64, sizeof(target_t));
    for (g = 0; g < health_groups->nelts; g++) {
        const health_group_t *group = APR_ARRAY_IDX(health_groups, g, health_group_t *);

        if (group_is_living(prober, group)) {
            add_group(p, targets, group);
        }
    }
    by_slot = apr_pcalloc(p, members * sizeof *by_slot);
    for (i = 0; i < (uint32_t)targets->nelts; i++) {
        target_t *t = &APR_ARRAY_IDX(targets, (int)i, target_t);
        const target_t *before = prober->has_targets ? target_of(prober, t->slot, t->incarnation) : NULL;

        by_slot[t->slot] = i + 1;
        if (before) {
            t->due_usec = before->due_usec;
            t->in_flight = before->in_flight;
        } else {
            meet(prober, t, now_usec);
        }
    }
    prober->targets_pool = p;
    prober->targets = (target_t *)(void *)targets->elts;
    prober->count = (uint32_t)targets->nelts;
    prober->by_slot = by_slot;
    prober->has_targets = 1;
    if (old_pool) {
        apr_pool_destroy(old_pool);
    }
}

/* ---- what nobody else clears ---------------------------------------------------------------------------------------------- */

static void tend_member(const prober_t *prober, uint32_t group, uint32_t slot, int64_t now_usec)
{
    uint32_t verdict = gate_verdict(prober->reg, slot), clear = 0;
    gate_member_t member;

    if ((verdict & (GATE_VERDICT_DOWN | GATE_VERDICT_UNKNOWN)) && !health_check_of(group)) {
        clear |= GATE_VERDICT_DOWN | GATE_VERDICT_UNKNOWN;
    }
    if ((verdict & GATE_VERDICT_EJECTED) && health_outlier_of(group)->off) {
        clear |= GATE_VERDICT_EJECTED;
    }
    if (clear && gate_member_get(prober->reg, slot, &member) == 0) {
        gate_verdict_change(prober->reg, slot, member.incarnation, 0, clear, "health", "", "is no longer checked", now_usec);
    }
}

/* Verdicts of checks that the configuration no longer has would stay for ever. */
static void tend(prober_t *prober, int64_t now_usec)
{
    uint32_t group, i, n;
    apr_pool_t *p;

    if (now_usec < prober->tend_usec) {
        return;
    }
    prober->tend_usec = now_usec + TEND_USEC;
    apr_pool_create(&p, prober->pool);
    for (group = 0; group < gate_registry_limits(prober->reg)->groups; group++) {
        const uint32_t *slots = *gate_group_name(prober->reg, group) ? health_slots(p, group, &n) : NULL;

        for (i = 0; slots && i < n; i++) {
            tend_member(prober, group, slots[i], now_usec);
        }
        if (slots) {
            release_last(prober, group, now_usec);
        }
    }
    watch_distrust(now_usec);
    apr_pool_destroy(p);
}

/* ---- passes --------------------------------------------------------------------------------------------------------------- */

static int begin_check(prober_t *prober, target_t *t, int64_t now_usec)
{
    health_row_t *row = &health_zone.row[t->slot];
    probe_ask_t ask = { .slot = t->slot, .incarnation = t->incarnation, .check = t->check, .url = &t->url };

    atomic_store(&row->begun_usec, now_usec);
    t->in_flight = 1;
    if (probe_start(prober->engine, &ask) == 0) {
        return 1;
    }
    t->in_flight = 0;
    atomic_store(&row->begun_usec, 0);
    if (!prober->said_full) {
        prober->said_full = 1;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, health_server, GATE_LOGNO(0507)
                     "checks: %u are in flight, which is as many as this process has descriptors for: others wait; raise the limit of open "
                     "files (ulimit -n), or check less often", probe_in_flight(prober->engine));
    }
    return 0;
}

/* Starts what is due; @return when the next one is */
static int64_t start_due(prober_t *prober, int64_t now_usec)
{
    int64_t next = now_usec + PASS_USEC;
    uint32_t i, started = 0;

    for (i = 0; i < prober->count; i++) {
        target_t *t = &prober->targets[i];

        if (t->in_flight) {
            continue;
        }
        if (t->due_usec > now_usec + GRAIN_USEC) {
            next = t->due_usec < next ? t->due_usec : next;
        } else if (started == STARTS_PER_PASS || !begin_check(prober, t, now_usec)) {
            return now_usec + GRAIN_USEC;
        } else {
            started++;
        }
    }
    return next;
}

static int must_stop(const prober_t *prober)
{
    int state = 0;

    return atomic_load(prober->stop) || ap_mpm_query(AP_MPMQ_MPM_STATE, &state) != APR_SUCCESS || state == AP_MPMQ_STOPPING;
}

static void pass(prober_t *prober, int64_t now_usec)
{
    watch_beat(now_usec);
    if (!prober->has_targets || prober->version != gate_group_version(prober->reg, 0)) {
        follow_membership(prober, now_usec);
    }
    tend(prober, now_usec);
    probe_run(prober->engine, start_due(prober, now_usec));
    atomic_store(&health_zone.head->in_flight, probe_in_flight(prober->engine));
}

static int ask_lease(int64_t now_usec)
{
    return gate_lease_ask(&health_zone.head->lease, gate_core()->generation, now_usec, LEASE_USEC);
}

void prober_run(apr_pool_t *p, const _Atomic int *stop)
{
    prober_t prober = { .pool = p, .stop = stop, .reg = gate_core()->registry };

    if (must_stop(&prober) || !ask_lease(gate_mono_usec())) {
        return;
    }
    prober.engine = probe_engine_create(p, on_done, &prober);
    if (!prober.engine) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, health_server, GATE_LOGNO(0508)
                     "checks: this child cannot make any; another one takes over");
        gate_lease_end(&health_zone.head->lease);
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, health_server, GATE_LOGNO(0509) "checks: child %" APR_PID_T_FMT " makes them from now on",
                 getpid());
    while (!must_stop(&prober)) {
        int64_t now = gate_mono_usec();

        if (ask_lease(now) != 1) {
            break; /* we were late, and another has it, or might have begun to */
        }
        pass(&prober, now);
    }
    probe_engine_end(prober.engine);
    gate_lease_end(&health_zone.head->lease);
}
