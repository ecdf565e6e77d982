/* outlier.c - see outlier.h. */

#include <stdio.h>
#include <stdlib.h>

#include "outlier.h"

#define LOCK_WAIT_USEC 2000
#define USUAL 64 /* groups up to this size need no memory */
#define LENGTH_MAX_USEC (INT64_C(86400) * 1000000)

int outlier_judge(const outlier_rule_t *rule, const gate_report_t *report)
{
    switch (report->outcome) {
    case GATE_OUTCOME_RESET:
        /* of an idle connection: that one was closed, which members do; whether it takes new ones is seen next */
        return report->connect_usec < 0 && report->first_byte_usec < 0 ? -1 : 1;
    case GATE_OUTCOME_CONNECT:
    case GATE_OUTCOME_TIMEOUT:
    case GATE_OUTCOME_BAD:
    case GATE_OUTCOME_BROKEN:
        return 1;
    case GATE_OUTCOME_STATUS:
        return gate_status_in(&rule->statuses, report->status) ? 1 : -1;
    case GATE_OUTCOME_OK:
        return gate_status_in(&rule->statuses, report->status);
    default:
        return -1;
    }
}

/* ---- counting ---- */

/* The row of the reported member; numbers of a former holder of the slot are forgotten. */
static void own_row(outlier_row_t *row, uint32_t incarnation)
{
    if (atomic_load(&row->incarnation) == incarnation) {
        return;
    }
    atomic_store(&row->run, 0);
    atomic_store(&row->times, 0);
    atomic_store(&row->length_usec, 0);
    atomic_store(&row->back_usec, 0);
    atomic_store(&row->ejections, 0);
    atomic_store(&row->trials, 0);
    atomic_store(&row->refused, 0);
    atomic_store(&row->incarnation, incarnation);
}

/* @return errors in a row, this one included */
static uint32_t count_error(outlier_row_t *row, const outlier_rule_t *rule, int64_t now_usec)
{
    uint64_t now_ms = (uint64_t)now_usec / 1000, run = atomic_load(&row->run), next;

    do {
        uint64_t since = run >> 16, n = run & 0xffff;

        if (n == 0 || now_ms > since + (uint64_t)rule->window_usec / 1000) {
            since = now_ms;
            n = 0;
        }
        next = since << 16 | (n < 0xffff ? n + 1 : n);
    } while (!atomic_compare_exchange_weak(&row->run, &run, next));
    return (uint32_t)(next & 0xffff);
}

static void end_run(outlier_row_t *row)
{
    /* the usual case writes nothing: a line that all children read stays in all their caches */
    if (atomic_load_explicit(&row->run, memory_order_relaxed) != 0) {
        atomic_store(&row->run, 0);
    }
}

/* ---- ejecting ---- */

/* The slots of a group's members: in usual if there is room, else to be freed. NULL when memory is out. */
static uint32_t *list_slots(const gate_registry_t *reg, uint32_t group, uint32_t *usual, uint32_t room, uint32_t *n)
{
    uint32_t version, *slots;

    *n = gate_group_members(reg, group, usual, room, &version);
    if (*n <= room) {
        return usual;
    }
    room = *n;
    slots = malloc(room * sizeof *slots);
    if (slots) {
        *n = gate_group_members(reg, group, slots, room, &version);
        *n = *n < room ? *n : room;
    }
    return slots;
}

void outlier_count(const gate_registry_t *reg, uint32_t group, uint32_t *in_service, uint32_t *ejected, uint32_t *usable)
{
    uint32_t usual[USUAL], n, i, *slots = list_slots(reg, group, usual, USUAL, &n);

    *in_service = *ejected = *usable = 0; /* memory is out: nobody usable, so nobody is ejected */
    for (i = 0; slots && i < n; i++) {
        uint32_t verdict = gate_verdict(reg, slots[i]);

        *in_service += !(verdict & (GATE_VERDICT_ADMIN | GATE_VERDICT_GONE));
        *ejected += (verdict & GATE_VERDICT_EJECTED) && !(verdict & (GATE_VERDICT_ADMIN | GATE_VERDICT_GONE));
        *usable += !(verdict & GATE_UNUSABLE);
    }
    if (slots != usual) {
        free(slots);
    }
}

/* Of the members that nothing but their ejection keeps out, the one whose trial is due first; GATE_NO_SLOT if somebody is usable. */
static uint32_t first_due(const gate_registry_t *reg, uint32_t group)
{
    uint32_t usual[USUAL], n, i, *slots = list_slots(reg, group, usual, USUAL, &n), found = GATE_NO_SLOT;
    int64_t earliest = INT64_MAX, at;
    int claimed, usable = 0;

    for (i = 0; slots && i < n && !usable; i++) {
        uint32_t verdict = gate_verdict(reg, slots[i]) & GATE_UNUSABLE;

        usable = verdict == 0;
        at = gate_trial_at(reg, slots[i], &claimed);
        if (verdict == GATE_VERDICT_EJECTED && at < earliest) {
            earliest = at;
            found = slots[i];
        }
    }
    if (slots != usual) {
        free(slots);
    }
    return usable ? GATE_NO_SLOT : found;
}

uint32_t outlier_release_last(gate_registry_t *reg, gate_lock_t *lock, uint32_t group, int64_t now_usec)
{
    uint32_t slot = first_due(reg, group); /* without the lock: there is nothing to do nearly always */
    gate_member_t member;

    if (slot == GATE_NO_SLOT || gate_lock_take(lock, LOCK_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return GATE_NO_SLOT;
    }
    slot = first_due(reg, group);
    if (slot != GATE_NO_SLOT && (gate_member_get(reg, slot, &member) != 0
        || gate_verdict_change(reg, slot, member.incarnation, 0, GATE_VERDICT_EJECTED, "health", "", "no other member is usable", now_usec) != 1)) {
        slot = GATE_NO_SLOT;
    }
    gate_lock_release(lock);
    return slot;
}

int64_t outlier_length(const outlier_rule_t *rule, uint32_t times, uint64_t seed)
{
    uint32_t doublings = times > OUTLIER_DOUBLINGS_MAX ? OUTLIER_DOUBLINGS_MAX : times;
    int64_t length = rule->eject_usec << doublings;

    length += (int64_t)((double)length / 10.0 * (double)(seed >> 40) / (double)(1 << 24));
    return length < LENGTH_MAX_USEC ? length : LENGTH_MAX_USEC;
}

/* Repetitions that good conduct has not yet taken back. */
static uint32_t times_now(const outlier_row_t *row, int64_t now_usec)
{
    uint32_t times = atomic_load(&row->times);
    int64_t length = atomic_load(&row->length_usec), good = now_usec - atomic_load(&row->back_usec);
    uint64_t spells = length > 0 && good > 0 ? (uint64_t)(good / length) : 0;

    return spells >= times ? 0 : times - (uint32_t)spells;
}

/* Sets the next ejection's length and when its trial is due. */
static void begin_ejection(gate_registry_t *reg, outlier_row_t *row, const outlier_rule_t *rule, const gate_report_t *report,
                           uint32_t times, outlier_verdict_t *v)
{
    gate_member_t member = { 0 };

    gate_member_get(reg, report->slot, &member);
    v->length_usec = outlier_length(rule, times, member.id_hash ^ ((uint64_t)times << 60));
    v->times = times + 1;
    atomic_store(&row->length_usec, v->length_usec);
    atomic_store(&row->times, times + 1);
    atomic_fetch_add(&row->ejections, 1);
    gate_trial_set(reg, report->slot, report->now_usec + v->length_usec);
}

static void say_why(char *why, size_t size, const gate_report_t *report, uint32_t errors)
{
    if (report->outcome == GATE_OUTCOME_STATUS || report->outcome == GATE_OUTCOME_OK) {
        snprintf(why, size, "%u errors in a row, the last: status %d", errors, report->status);
    } else {
        snprintf(why, size, "%u errors in a row, the last: %s", errors, report->why ? report->why : gate_outcome_name(report->outcome));
    }
}

static void eject_locked(gate_registry_t *reg, outlier_row_t *row, const outlier_rule_t *rule, const gate_report_t *report,
                         outlier_verdict_t *v)
{
    uint32_t in_service, ejected, usable, verdict = gate_verdict(reg, report->slot);
    char why[GATE_WHY_LEN];

    if (verdict & (GATE_VERDICT_EJECTED | GATE_VERDICT_ADMIN | GATE_VERDICT_GONE)) {
        return;
    }
    outlier_count(reg, report->group, &in_service, &ejected, &usable);
    v->others = usable - (usable > 0 && !(verdict & GATE_UNUSABLE));
    if (v->others == 0) {
        v->act = OUTLIER_LAST;
        return;
    }
    if ((uint64_t)(ejected + 1) * 1000 > (uint64_t)in_service * rule->max_eject_milli) {
        v->act = OUTLIER_CAP;
        return;
    }
    begin_ejection(reg, row, rule, report, times_now(row, report->now_usec), v);
    say_why(why, sizeof why, report, v->errors);
    if (gate_verdict_change(reg, report->slot, report->incarnation, GATE_VERDICT_EJECTED, 0, "health", "", why, report->now_usec) == 1) {
        v->act = OUTLIER_EJECTED;
        atomic_store(&row->run, 0);
    }
}

static void eject(gate_registry_t *reg, outlier_row_t *row, gate_lock_t *lock, const outlier_rule_t *rule, const gate_report_t *report,
                  outlier_verdict_t *v)
{
    /* what a dead holder may have left half done is a trial time without its verdict: nothing to mend */
    if (gate_lock_take(lock, LOCK_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return; /* the next error asks again */
    }
    eject_locked(reg, row, rule, report, v);
    gate_lock_release(lock);
}

/* ---- trials ---- */

static void end_trial(gate_registry_t *reg, outlier_row_t *row, const outlier_rule_t *rule, const gate_report_t *report, int judged,
                      outlier_verdict_t *v)
{
    uint32_t in_service, ejected;

    atomic_fetch_add(&row->trials, 1);
    if (!(gate_verdict(reg, report->slot) & GATE_VERDICT_EJECTED)) {
        return; /* brought back by somebody else meanwhile */
    }
    if (report->outcome == GATE_OUTCOME_CLIENT || report->outcome == GATE_OUTCOME_OURS) {
        gate_trial_set(reg, report->slot, report->now_usec); /* it says nothing: the next request is the trial */
        return;
    }
    if (judged == 1) {
        begin_ejection(reg, row, rule, report, atomic_load(&row->times), v);
        v->act = OUTLIER_AGAIN;
        return;
    }
    atomic_store(&row->run, 0);
    atomic_store(&row->back_usec, report->now_usec);
    if (gate_verdict_change(reg, report->slot, report->incarnation, 0, GATE_VERDICT_EJECTED, "health", "", "a trial request went well",
                            report->now_usec) == 1) {
        v->act = OUTLIER_BACK;
        outlier_count(reg, report->group, &in_service, &ejected, &v->others);
    }
}

outlier_verdict_t outlier_take(gate_registry_t *reg, outlier_row_t *row, gate_lock_t *group_lock, const outlier_rule_t *rule,
                               const gate_report_t *report, int *refusals)
{
    outlier_verdict_t v = { .act = OUTLIER_NOTHING };
    int judged = outlier_judge(rule, report);

    *refusals = 0;
    own_row(row, report->incarnation);
    if (report->is_trial) {
        end_trial(reg, row, rule, report, judged, &v);
        return v;
    }
    if (judged == 0) {
        end_run(row);
    }
    if (judged != 1) {
        return v;
    }
    v.errors = count_error(row, rule, report->now_usec);
    if (v.errors >= rule->errors && !(gate_verdict(reg, report->slot) & GATE_VERDICT_EJECTED)) {
        eject(reg, row, group_lock, rule, report, &v);
        if (v.act == OUTLIER_LAST || v.act == OUTLIER_CAP) {
            *refusals = v.errors == rule->errors;
            atomic_fetch_add(&row->refused, (uint64_t)*refusals);
        }
    }
    return v;
}
