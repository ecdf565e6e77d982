/* passive.c - takes in how each try ended, in the child where it ended. See outlier.h. */

#include <apr_strings.h>
#include <httpd.h>
#include <http_log.h>

#include "gate_log.h"
#include "health.h"

APLOG_USE_MODULE(gate_health);

static const char *last_error(apr_pool_t *p, const gate_report_t *report)
{
    if (report->outcome == GATE_OUTCOME_STATUS || report->outcome == GATE_OUTCOME_OK) {
        return apr_psprintf(p, "status %d", report->status);
    }
    return report->why ? report->why : gate_outcome_name(report->outcome);
}

static void log_ejection(apr_pool_t *p, const gate_report_t *report, const outlier_verdict_t *v, const char *group, const char *id)
{
    const char *words;

    health_others(p, report->group, &words);
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, health_server, GATE_LOGNO(0510)
                 "group %s: member %s: ejected for %.1f s after %u errors in a row (%s), ejection %u, %s", group, id,
                 (double)v->length_usec / 1e6, v->errors, last_error(p, report), v->times, words);
}

static void log_verdict(const gate_report_t *report, const outlier_verdict_t *v, const outlier_rule_t *rule)
{
    gate_member_t member = { .id = "?" };
    const char *group = gate_group_name(gate_core()->registry, report->group);
    apr_pool_t *p;

    gate_member_get(gate_core()->registry, report->slot, &member);
    apr_pool_create(&p, NULL);
    switch (v->act) {
    case OUTLIER_EJECTED:
        log_ejection(p, report, v, group, member.id);
        break;
    case OUTLIER_AGAIN:
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, health_server, GATE_LOGNO(0511)
                     "group %s: member %s: a trial request failed (%s), ejected for %.1f s more, ejection %u", group, member.id,
                     last_error(p, report), (double)v->length_usec / 1e6, v->times);
        break;
    case OUTLIER_BACK:
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, health_server, GATE_LOGNO(0512)
                     "group %s: member %s: a trial request went well, it gets traffic again, as do %u others", group, member.id,
                     v->others ? v->others - 1 : 0);
        break;
    case OUTLIER_LAST:
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, health_server, GATE_LOGNO(0513)
                     "group %s: member %s: %u errors in a row (%s), not ejected because no other member is usable", group, member.id,
                     v->errors, last_error(p, report));
        break;
    case OUTLIER_CAP:
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, health_server, GATE_LOGNO(0514)
                     "group %s: member %s: %u errors in a row (%s), not ejected because more than max-eject=%u.%u%% of the members would be",
                     group, member.id, v->errors, last_error(p, report), rule->max_eject_milli / 10, rule->max_eject_milli % 10);
        break;
    default:
        break;
    }
    apr_pool_destroy(p);
}

void passive_report(const gate_report_t *report, void *ctx)
{
    const outlier_rule_t *rule = health_outlier_of(report->group);
    outlier_verdict_t v;
    int new_refusal;

    (void)ctx;
    if (rule->off || report->slot >= health_zone.limits.members || report->group >= health_zone.limits.groups) {
        return;
    }
    v = outlier_take(gate_core()->registry, &health_zone.row[report->slot].outlier, &health_zone.group_lock[report->group], rule, report,
                     &new_refusal);
    if (v.act == OUTLIER_EJECTED || v.act == OUTLIER_AGAIN || v.act == OUTLIER_BACK || new_refusal) {
        log_verdict(report, &v, rule);
    }
}
