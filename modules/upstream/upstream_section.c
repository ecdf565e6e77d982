/*
 * upstream_section.c - what status shows of groups beside the registry's own numbers: how each is configured, its queue, and which
 * member a request would go to. See gate_section.h.
 */
#include <string.h>

#include "gate_section.h"
#include "upstream.h"

static const upstream_group_t *configured(uint32_t index)
{
    int i;

    for (i = 0; upstream_groups && i < upstream_groups->nelts; i++) {
        const upstream_group_t *group = APR_ARRAY_IDX(upstream_groups, i, const upstream_group_t *);

        if (group->index == index) {
            return group;
        }
    }
    return NULL;
}

static void put_usec(gate_node_t *out, const char *key, int64_t usec, int64_t unset)
{
    usec = usec == UPSTREAM_UNSET ? unset : usec;
    if (usec > 0) {
        gate_put_gauge(out, key, usec, NULL);
    }
    else {
        gate_put_text(out, key, NULL);
    }
}

static void put_queue(gate_node_t *out, const upstream_group_t *group)
{
    static const char help[] = "Requests that came to the queue, by how they left it";
    static const gate_metric_t waiting = { "queue_waiting", "Requests that wait for a member with room", NULL, NULL };
    static const gate_metric_t ended[] = { { "queue_requests", help, "result", "served" }, { "queue_requests", help, "result", "expired" },
                                           { "queue_requests", help, "result", "left" }, { "queue_requests", help, "result", "refused" } };
    queue_counts_t counts;
    gate_node_t *queue;

    if (!group->queue_length || !upstream_queue) {
        return;
    }
    memset(&counts, 0, sizeof counts);
    queue_counts(upstream_queue, group->index, &counts);
    queue = gate_put_object(out, "queue");
    gate_put_gauge(queue, "length", group->queue_length, NULL);
    gate_put_gauge(queue, "waiting", counts.waiting, &waiting);
    gate_put_count(queue, "served", counts.served, &ended[0]);
    gate_put_count(queue, "expired", counts.expired, &ended[1]);
    gate_put_count(queue, "left", counts.left, &ended[2]);
    gate_put_count(queue, "refused", counts.refused, &ended[3]);
}

static void on_group(gate_node_t *out, uint32_t index, void *ctx)
{
    const upstream_group_t *group = configured(index);
    gate_node_t *timeouts;

    (void)ctx;
    if (!group) {
        return;
    }
    gate_put_text(out, "balance", group->strategy->name);
    gate_put_textf(out, "defined", "%s:%d", group->file ? group->file : "", group->line);
    gate_put_text(out, "sticky", group->sticky.cookie ? "cookie" : group->sticky.header ? "header" : NULL);
    gate_put_real(out, "panic", group->panic_milli / 1000.0, NULL);
    put_usec(out, "slow_start_us", group->slow_start_usec, 0);
    timeouts = gate_put_object(out, "timeouts");
    put_usec(timeouts, "connect_us", group->connect_usec, UPSTREAM_CONNECT_USEC);
    put_usec(timeouts, "first_byte_us", group->first_byte_usec, UPSTREAM_FIRST_BYTE_USEC);
    put_usec(timeouts, "idle_us", group->idle_usec, UPSTREAM_IDLE_USEC);
    put_usec(timeouts, "total_us", group->total_usec, 0);
    put_queue(out, group);
    upstream_discover_put(out, group);
}

/* ---- explain ---- */

/* The group whose gate:// URL the request leads to, by ProxyPass, RewriteRule or SetHandler; NULL when it leads elsewhere. */
static const upstream_group_t *route_of(const request_rec *r)
{
    static const char prefix[] = "proxy:" UPSTREAM_SCHEME;
    const char *places[2] = { r->filename, r->handler };
    int i;

    for (i = 0; i < 2; i++) {
        if (places[i] && strncmp(places[i], prefix, sizeof prefix - 1) == 0) {
            const char *name = places[i] + sizeof prefix - 1;

            return upstream_group_named(name, strcspn(name, "/?"));
        }
    }
    return NULL;
}

static const char *why_chosen(const gate_errand_t *e, const gate_roster_member_t *member)
{
    const gate_strategy_t *strategy = e->group->strategy;

    if (e->bound && member->id_hash == e->bound_hash) {
        return "the client's cookie binds it to this member";
    }
    if (e->affinity_hash) {
        return apr_psprintf(e->ask.pool, "header %s chooses it among the usable members", e->group->sticky.header);
    }
    if (member->flags & GATE_MEMBER_BACKUP) {
        return apr_psprintf(e->ask.pool, "%s among the backup members: no other is usable", strategy->name);
    }
    return apr_psprintf(e->ask.pool, strategy->needs & GATE_BALANCE_KEY ? "%s: its key chooses it among the usable members"
                                                                        : "%s: the next choice at this moment", strategy->name);
}

static const char *why_nobody(const gate_errand_t *e)
{
    return e->roster->count == 0 ? "the group has no members"
        : e->others_full ? "every usable member is at its connections=" : "no member is usable: drained, disabled, down or ejected";
}

static void say_member(gate_node_t *out, gate_errand_t *e)
{
    const gate_roster_member_t *member;

    if (!errand_peek(e)) {
        gate_put_text(out, "verdict", e->others_full && e->group->queue_length ? "queue" : "503");
        gate_put_text(out, "why", why_nobody(e));
        return;
    }
    member = &e->roster->members[e->next];
    gate_put_text(out, "verdict", "member");
    gate_put_text(out, "member", member->id);
    gate_put_text(out, "url", member->url);
    gate_put_text(out, "why", why_chosen(e, member));
}

static void explain(gate_node_t *out, const gate_view_t *view, void *request, void *ctx)
{
    request_rec *r = request;
    const upstream_group_t *route = route_of(r);
    gate_view_t own;
    gate_errand_ask_t ask = { .pool = r->pool, .view = &own, .group = route, .dir_conf = r->per_dir_config, .plane = "classic",
                              .now_usec = gate_mono_usec() };
    gate_errand_t *e;

    (void)view, (void)ctx;
    if (!route) {
        gate_put_text(out, "verdict", "none");
        gate_put_text(out, "why", "the request leads to no group");
        return;
    }
    gate_view_of(r, &own);
    e = upstream_errand_preview(&ask);
    gate_put_text(out, "group", e->group->name);
    if (e->group != route) {
        gate_put_textf(out, "selected", "GateSelect, instead of %s", route->name);
    }
    say_member(out, e);
    errand_end(e);
}

void upstream_section_register(void)
{
    static const gate_section_t section = { .name = "upstream", .title = "Upstream", .group = on_group, .explain = explain };

    gate_section_register(&section);
}
