/*
 * watch.c - what checks say is trusted only while there are checks. Every child looks whether the prober is at work, on another
 * thread than the one that it would run on.
 *
 * A member whose last result is older than three intervals and the timeout is down by its checks no longer: it is `unknown`, which
 * is used. That is done by the prober itself when it cannot keep up, and by any child when there is no prober.
 */
#include <apr_strings.h>
#include <httpd.h>
#include <http_log.h>

#include "gate_log.h"
#include "gate_time.h"
#include "health.h"

APLOG_USE_MODULE(gate_health);

#define STOPPED_USEC INT64_C(3000000) /* without a pass: nobody makes checks */

static int64_t begun_usec; /* of this child: before, it could not have seen anything */

void watch_begin(int64_t now_usec)
{
    begun_usec = now_usec;
}

void watch_beat(int64_t now_usec)
{
    atomic_store(&health_zone.head->beat_usec, now_usec);
    if (atomic_load(&health_zone.head->alarm) && atomic_exchange(&health_zone.head->alarm, 0)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, health_server, GATE_LOGNO(0516) "checks: they are made again");
    }
}

/* @return 1 if the member was down by a result that is too old */
static int distrust(const health_group_t *group, uint32_t slot, int64_t now_usec)
{
    gate_registry_t *reg = gate_core()->registry;
    const health_row_t *row = &health_zone.row[slot];
    int64_t last = atomic_load(&row->last_usec), met = atomic_load(&row->met_usec);
    gate_member_t member;
    char why[GATE_WHY_LEN];

    if (!(gate_verdict(reg, slot) & GATE_VERDICT_DOWN) || now_usec - (last > met ? last : met) <= health_trust_usec(&group->check->rule)
        || gate_member_get(reg, slot, &member) != 0 || atomic_load(&row->incarnation) != member.incarnation) {
        return 0;
    }
    apr_snprintf(why, sizeof why, "not checked for %" APR_INT64_T_FMT " s: used until it is", (now_usec - last) / 1000000);
    if (gate_verdict_change(reg, slot, member.incarnation, GATE_VERDICT_UNKNOWN, GATE_VERDICT_DOWN, "health", "", why, now_usec) != 1) {
        return 0;
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, health_server, GATE_LOGNO(0517)
                 "group %s: member %s: was down by a check, %s", group->name, member.id, why);
    return 1;
}

uint32_t watch_distrust(int64_t now_usec)
{
    uint32_t n, i, distrusted = 0;
    apr_pool_t *p;
    int g;

    apr_pool_create(&p, NULL);
    for (g = 0; g < health_groups->nelts; g++) {
        const health_group_t *group = APR_ARRAY_IDX(health_groups, g, health_group_t *);

        const uint32_t *slots = group->check && group->index != GATE_NO_GROUP ? health_slots(p, group->index, &n) : NULL;

        for (i = 0; slots && i < n; i++) {
            distrusted += (uint32_t)distrust(group, slots[i], now_usec);
        }
    }
    apr_pool_destroy(p);
    return distrusted;
}

void watch_look(int64_t now_usec, int ending, void *ctx)
{
    int64_t beat = atomic_load(&health_zone.head->beat_usec), silent = now_usec - (beat > begun_usec ? beat : begun_usec);
    uint32_t quiet = 0;

    (void)ctx;
    if (ending || silent < STOPPED_USEC || health_checked_groups() == 0) {
        return;
    }
    if (atomic_compare_exchange_strong(&health_zone.head->alarm, &quiet, 1)) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, health_server, GATE_LOGNO(0515)
                     "checks: none were made for %.1f s, no child does it: members that are down by a check are used again when their last "
                     "result is older than three intervals", (double)silent / 1e6);
    }
    watch_distrust(now_usec);
}
