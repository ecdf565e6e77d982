/* section.c - what health shows: its prober, and of each member the last check, the strip of results, and ejections. */

#include <apr_strings.h>
#include <string.h>

#include "gate_section.h"
#include "gate_time.h"
#include "health.h"

static void gather(gate_node_t *out, void *ctx)
{
    static const gate_metric_t checks = { "health_checks", "Checks that have been finished", NULL, NULL };
    static const gate_metric_t age = { "health_prober_age_seconds", "Seconds since the prober was last at work", NULL, NULL };
    const health_head_t *head = health_zone.head;
    int64_t silent = gate_mono_usec() - atomic_load(&((health_head_t *)head)->beat_usec);

    (void)ctx;
    gate_put_gauge(out, "prober_pid", atomic_load(&((health_head_t *)head)->lease.pid), NULL);
    gate_put_real(out, "prober_age_s", health_checked_groups() ? (double)silent / 1e6 : 0, health_checked_groups() ? &age : NULL);
    gate_put_flag(out, "trusted", !atomic_load(&((health_head_t *)head)->alarm));
    gate_put_gauge(out, "in_flight", atomic_load(&((health_head_t *)head)->in_flight), NULL);
    gate_put_count(out, "checks", atomic_load(&((health_head_t *)head)->checks), &checks);
}

static const char *kind_of(const health_check_t *check, apr_pool_t *p)
{
    return check->kind == CHECK_KIND_TCP ? "tcp" : check->kind == CHECK_KIND_GRPC ? "grpc" : apr_pstrcat(p, check->method, " ", check->path, NULL);
}

static void put_group(gate_node_t *out, uint32_t group, void *ctx)
{
    const health_check_t *check = health_check_of(group);
    const outlier_rule_t *rule = health_outlier_of(group);
    gate_node_t *object;

    (void)ctx;
    if (check) {
        object = gate_put_object(out, "health_check");
        gate_put_text(object, "kind", kind_of(check, out->pool));
        gate_put_gauge(object, "interval_ms", check->rule.interval_usec / 1000, NULL);
        gate_put_gauge(object, "fast_ms", check->rule.fast_usec / 1000, NULL);
        gate_put_gauge(object, "timeout_ms", check->rule.timeout_usec / 1000, NULL);
        gate_put_gauge(object, "rise", check->rule.rise, NULL);
        gate_put_gauge(object, "fall", check->rule.fall, NULL);
    }
    object = gate_put_object(out, "outlier");
    gate_put_flag(object, "on", !rule->off);
    if (!rule->off) {
        gate_put_gauge(object, "errors", rule->errors, NULL);
        gate_put_gauge(object, "window_ms", rule->window_usec / 1000, NULL);
        gate_put_gauge(object, "eject_ms", rule->eject_usec / 1000, NULL);
        gate_put_real(object, "max_eject", rule->max_eject_milli / 1000.0, NULL);
    }
}

/* One character for each of the last results, oldest first: '+' good, else the first letter of what went wrong. */
static void put_strip(gate_node_t *check, const health_view_t *view)
{
    char marks[HEALTH_STRIP + 1];
    uint32_t i;

    for (i = 0; i < view->strip_count; i++) {
        uint32_t code = (view->strip[i] & 0xff) - 1;

        marks[i] = code == CHECK_OK ? '+' : *check_code_name((check_code_e)code);
    }
    marks[view->strip_count] = '\0';
    gate_put_text(check, "strip", marks);
}

static void put_check(gate_node_t *out, const gate_member_t *member, int64_t now_usec)
{
    static const gate_metric_t passed = { "member_checks", "Checks of a member by result", "result", "ok" };
    static const gate_metric_t failed = { "member_checks", "Checks of a member by result", "result", "failed" };
    static const gate_metric_t age = { "member_check_age_seconds", "Seconds since a member's last check ended", NULL, NULL };
    gate_node_t *check = gate_put_object(out, "check");
    health_view_t view;

    if (health_row_view(&health_zone.row[member->slot], member->incarnation, &view) != 0 || !view.known) {
        gate_put_time(check, "at", 0);
        return;
    }
    gate_put_time(check, "at", view.last.wall_usec);
    gate_put_flag(check, "ok", view.last.code == CHECK_OK);
    gate_put_text(check, "why", view.last.why);
    gate_put_text(check, "result", check_code_name(view.last.code));
    gate_put_gauge(check, "took_us", view.last.took_usec, NULL);
    gate_put_real(check, "age_s", (double)(now_usec - view.last_usec) / 1e6, &age);
    gate_put_gauge(check, "next_ms", view.due_usec > now_usec ? (view.due_usec - now_usec) / 1000 : 0, NULL);
    gate_put_gauge(check, "streak", view.track.streak, NULL);
    gate_put_count(check, "passed", view.passed, &passed);
    gate_put_count(check, "failed", view.failed, &failed);
    put_strip(check, &view);
}

static void put_outlier(gate_node_t *out, const gate_member_t *member, int64_t now_usec)
{
    static const gate_metric_t ejections = { "member_ejections", "Times a member was ejected for its errors", NULL, NULL };
    const outlier_row_t *row = &health_zone.row[member->slot].outlier;
    int mine = atomic_load(&((outlier_row_t *)row)->incarnation) == member->incarnation, claimed;
    gate_node_t *object = gate_put_object(out, "outlier");
    int64_t at;

    gate_put_count(object, "ejections", mine ? atomic_load(&((outlier_row_t *)row)->ejections) : 0, &ejections);
    gate_put_gauge(object, "errors_in_a_row", mine ? (int64_t)(atomic_load(&((outlier_row_t *)row)->run) & 0xffff) : 0, NULL);
    gate_put_count(object, "refused", mine ? atomic_load(&((outlier_row_t *)row)->refused) : 0, NULL);
    if (member->verdict & GATE_VERDICT_EJECTED) {
        at = gate_trial_at(gate_core()->registry, member->slot, &claimed);
        gate_put_flag(object, "trial_running", claimed && at > now_usec);
        gate_put_gauge(object, "trial_in_ms", !claimed && at > now_usec ? (at - now_usec) / 1000 : 0, NULL);
    }
}

static void put_member(gate_node_t *out, uint32_t group, const gate_member_t *member, void *ctx)
{
    int64_t now_usec = gate_mono_usec();

    (void)ctx;
    if (member->slot >= health_zone.limits.members) {
        return;
    }
    if (health_check_of(group)) {
        put_check(out, member, now_usec);
    }
    if (!health_outlier_of(group)->off) {
        put_outlier(out, member, now_usec);
    }
}

void health_section_register(void)
{
    static const gate_section_t section = { .name = "health", .title = "Health", .gather = gather, .group = put_group, .member = put_member };

    gate_section_register(&section);
}
