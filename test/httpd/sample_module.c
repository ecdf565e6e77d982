/*
 * sample_module.c - a module for tests of mod_gate_status: a section of its own with every kind of value and action, and a group
 * whose names and reasons are as hostile as they can be. Built by test_status.py.
 */

#include <httpd.h>
#include <apr_strings.h>
#include <http_config.h>

#include "gate_core.h"
#include "gate_section.h"
#include "gate_time.h"

#define EVIL "<script>alert(1)</script>"

static uint64_t things = 3;

static void gather(gate_node_t *out, void *ctx)
{
    static const gate_metric_t seen = { "sample_things", "Things \"seen\"", "kind", "good" };
    static const gate_metric_t room = { "sample_room_bytes", "Room", NULL, NULL };
    static const gate_metric_t time = { "sample_time_seconds", "Time", NULL, NULL };
    gate_histogram_t h = { 0 };

    (void)ctx;
    gate_histogram_record(&h, 3000);
    gate_put_count(out, "things", things, &seen);
    gate_put_gauge(out, "room_bytes", 4096, &room);
    gate_put_real(out, "ratio", 0.25, NULL);
    gate_put_text(out, "text", EVIL "\xff\n\"");
    gate_put_flag(out, "on", 1);
    gate_put_time(out, "at", INT64_C(1700000000123456));
    gate_put_time(out, "never", 0);
    gate_put_histogram(out, "time_us", &h, &time);
    gate_put_text(gate_put_list(out, "list"), NULL, "a");
}

static void on_member(gate_node_t *out, uint32_t group, const gate_member_t *member, void *ctx)
{
    static const gate_metric_t size = { "sample_member", "Per member", NULL, NULL };
    gate_node_t *check = gate_put_object(out, "check");

    (void)group, (void)ctx;
    gate_put_time(check, "at", INT64_C(1700000000000000));
    gate_put_flag(check, "ok", !(member->verdict & GATE_VERDICT_DOWN));
    gate_put_text(check, "why", EVIL);
    gate_put_gauge(out, "sample", 7, &size);
}

static void on_group(gate_node_t *out, uint32_t group, void *ctx)
{
    (void)group, (void)ctx;
    gate_put_text(out, "balance", "sample");
}

static void explain(gate_node_t *out, const gate_view_t *view, void *request, void *ctx)
{
    const char *value = view->header(view, "X-Sample");

    (void)ctx;
    gate_put_text(out, "verdict", value ? "marked" : "plain");
    gate_put_textf(out, "why", "%s %s from %s, note %s", view->method, view->path, ((request_rec *)request)->useragent_ip,
                   apr_table_get(((request_rec *)request)->notes, "gate-explain") ? "set" : "not set");
}

static int list_things(gate_call_t *call, void *ctx)
{
    (void)ctx;
    gate_put_count(call->result, "things", things, NULL);
    return 0;
}

static int add_things(gate_call_t *call, void *ctx)
{
    const char *count = apr_table_get(call->params, "count");
    const apr_array_header_t *all = apr_table_elts(call->params);

    (void)ctx;
    if (strcmp(apr_table_get(call->params, "kind"), "bad") == 0) {
        call->said = "bad things are not taken";
        return 409;
    }
    things += count ? (uint64_t)apr_atoi64(count) : 1;
    call->said = apr_psprintf(call->pool, "%d parameters, now %d things", all->nelts, (int)things);
    return 0;
}

static int drop_things(gate_call_t *call, void *ctx)
{
    (void)ctx;
    things = 0;
    call->said = "no things left";
    return 0;
}

static const gate_param_t add_params[] = {
    { "kind", GATE_PARAM_TEXT, 1, "good|bad", "which kind" },
    { "count", GATE_PARAM_NUMBER, 0, NULL, "how many" },
    { "soft", GATE_PARAM_FLAG, 0, NULL, "softly" },
    { "names", GATE_PARAM_TEXTS, 0, NULL, "names" },
    { NULL, 0, 0, NULL, NULL },
};
static const gate_param_t drop_params[] = {
    { "kind", GATE_PARAM_TEXT, 1, NULL, "which" },
    { NULL, 0, 0, NULL, NULL },
};
static const gate_action_t actions[] = {
    { "GET", "sample/things", "Things", "Lists things", NULL, list_things },
    { "POST", "sample/things", "Add things", "Adds things", add_params, add_things },
    { "DELETE", "sample/things", "Drop things", "Drops things", drop_params, drop_things },
    { NULL, NULL, NULL, NULL, NULL, NULL },
};
static const gate_section_t section = { .name = "sample", .title = "Sample " EVIL, .gather = gather, .group = on_group,
                                        .member = on_member, .explain = explain, .actions = actions };

static int start(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    gate_member_spec_t spec = { .id = EVIL, .url = "http://127.0.0.1:9/" EVIL, .weight = 1 };
    gate_registry_t *reg = gate_core()->registry;
    uint32_t group, slot;
    gate_member_t member;

    (void)pconf, (void)plog, (void)ptemp, (void)s;
    if (gate_core_rehearsal()) {
        return OK;
    }
    gate_section_register(&section);
    gate_core_vouch(GATE_VERDICT_DOWN);
    if (gate_group_declare(reg, "evil " EVIL "\"\\", &group) == APR_SUCCESS
        && gate_member_find(reg, group, EVIL) == GATE_NO_SLOT
        && gate_member_add(reg, group, GATE_ORIGIN_RUNTIME, &spec, EVIL, gate_mono_usec(), &slot) == APR_SUCCESS
        && gate_member_get(reg, slot, &member) == 0) {
        gate_verdict_change(reg, slot, member.incarnation, GATE_VERDICT_DOWN, 0, "health", "", "said " EVIL, gate_mono_usec());
    }
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_post_config(start, NULL, NULL, APR_HOOK_LAST);
}

AP_DECLARE_MODULE(gate_sample) = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, AP_MODULE_FLAG_NONE };
