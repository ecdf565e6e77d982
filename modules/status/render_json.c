/* render_json.c - see render.h. */

#include "render.h"

/* "key": with a comma before it unless it is the first in its object. */
static void key(text_out_t *out, const char *name, int *count)
{
    if ((*count)++) {
        text_char(out, ',');
    }
    text_json(out, name);
    text_char(out, ':');
}

static void put_text(text_out_t *out, const char *name, const char *text, int *count)
{
    key(out, name, count);
    text_json(out, text);
}

static void put_uint(text_out_t *out, const char *name, uint64_t value, int *count)
{
    key(out, name, count);
    text_uint(out, value);
}

static void put_flag(text_out_t *out, const char *name, int value, int *count)
{
    key(out, name, count);
    text_put(out, value ? "true" : "false");
}

static void put_time(text_out_t *out, const char *name, int64_t wall_usec, int *count)
{
    key(out, name, count);
    if (wall_usec <= 0) {
        text_put(out, "null");
        return;
    }
    text_char(out, '"');
    text_time(out, wall_usec);
    text_char(out, '"');
}

static void latency(text_out_t *out, const snapshot_latency_t *l)
{
    int n = 0;

    text_char(out, '{');
    put_uint(out, "p50", l->p50, &n);
    put_uint(out, "p90", l->p90, &n);
    put_uint(out, "p99", l->p99, &n);
    put_uint(out, "count", l->count, &n);
    put_uint(out, "sum", l->sum_usec, &n);
    text_char(out, '}');
}

/* ---- nodes ---- */

static void children(text_out_t *out, const gate_node_t *node, int *count)
{
    for (const gate_node_t *child = node->first; child; child = child->next) {
        if (child->key) {
            key(out, child->key, count);
        }
        else if ((*count)++) {
            text_char(out, ',');
        }
        render_json_node(out, child);
    }
}

static void value(text_out_t *out, const gate_node_t *node)
{
    snapshot_latency_t summary;

    switch (node->kind) {
    case GATE_NODE_COUNT:
        text_uint(out, node->v.count);
        break;
    case GATE_NODE_GAUGE:
        text_int(out, node->v.gauge);
        break;
    case GATE_NODE_REAL:
        text_real(out, node->v.real);
        break;
    case GATE_NODE_TEXT:
        text_json(out, node->v.text);
        break;
    case GATE_NODE_FLAG:
        text_put(out, node->v.gauge ? "true" : "false");
        break;
    case GATE_NODE_TIME:
        if (node->v.gauge > 0) {
            text_char(out, '"');
            text_time(out, node->v.gauge);
            text_char(out, '"');
            break;
        }
        text_put(out, "null");
        break;
    case GATE_NODE_HISTOGRAM:
        snapshot_latency(node->v.histogram, &summary);
        latency(out, &summary);
        break;
    default:
        text_put(out, "null");
    }
}

void render_json_node(text_out_t *out, const gate_node_t *node)
{
    int n = 0;

    if (node->kind != GATE_NODE_OBJECT && node->kind != GATE_NODE_LIST) {
        value(out, node);
        return;
    }
    text_char(out, node->kind == GATE_NODE_OBJECT ? '{' : '[');
    children(out, node, &n);
    text_char(out, node->kind == GATE_NODE_OBJECT ? '}' : ']');
}

/* ---- members and groups ---- */

static void outcomes(text_out_t *out, const gate_member_counts_t *counts)
{
    int n = 0;

    text_char(out, '{');
    for (int i = 0; i < GATE_OUTCOME_COUNT; i++) {
        put_uint(out, gate_outcome_name((gate_outcome_e)i), counts->outcome[i], &n);
    }
    text_char(out, '}');
}

static const char *origin_name(gate_origin_e origin)
{
    return origin == GATE_ORIGIN_CONFIG ? "config" : origin == GATE_ORIGIN_RUNTIME ? "runtime" : "discovered";
}

void render_json_member(text_out_t *out, const snapshot_member_t *m)
{
    char tag[17];
    int n = 0;

    snapshot_member_tag(&m->is, tag);
    text_char(out, '{');
    put_text(out, "id", m->is.id, &n);
    put_text(out, "url", m->is.url, &n);
    put_text(out, "state", m->state, &n);
    put_text(out, "why", m->is.why, &n);
    put_flag(out, "usable", !(m->is.verdict & GATE_UNUSABLE), &n);
    put_time(out, "since", m->is.changed_wall_usec, &n);
    if (m->drain_until_wall_usec) {
        put_time(out, "drain_until", m->drain_until_wall_usec, &n);
    }
    put_text(out, "etag", tag, &n);
    put_text(out, "origin", origin_name(m->is.origin), &n);
    put_flag(out, "backup", (m->is.flags & GATE_MEMBER_BACKUP) != 0, &n);
    put_uint(out, "priority", m->is.priority, &n);
    put_uint(out, "weight", m->is.weight, &n);
    put_uint(out, "weight_configured", m->is.weight_configured, &n);
    put_uint(out, "connections", m->is.connections, &n);
    put_uint(out, "inflight", m->inflight, &n);
    put_uint(out, "requests", m->counts.requests, &n);
    put_uint(out, "failures", m->failures, &n);
    put_uint(out, "retries", m->counts.retries, &n);
    put_uint(out, "bytes_in", m->counts.bytes_in, &n);
    put_uint(out, "bytes_out", m->counts.bytes_out, &n);
    key(out, "latency_us", &n);
    latency(out, &m->latency);
    key(out, "outcomes", &n);
    outcomes(out, &m->counts);
    if (!gate_node_get(m->more, "check")) {
        key(out, "check", &n);
        text_put(out, "{\"at\":null,\"ok\":null,\"why\":\"not checked\"}");
    }
    children(out, m->more, &n);
    text_char(out, '}');
}

void render_json_members(text_out_t *out, const snapshot_group_t *group)
{
    text_char(out, '[');
    for (uint32_t i = 0; i < group->count; i++) {
        if (i) {
            text_char(out, ',');
        }
        render_json_member(out, &group->members[i]);
    }
    text_char(out, ']');
}

static void one_group(text_out_t *out, const snapshot_group_t *group)
{
    int n = 0;

    text_char(out, '{');
    put_text(out, "name", group->name, &n);
    if (!gate_node_get(group->more, "balance")) {
        put_text(out, "balance", "unknown", &n);
    }
    children(out, group->more, &n);
    put_uint(out, "active", group->active, &n);
    put_uint(out, "retrying", group->retrying, &n);
    put_uint(out, "usable", group->usable, &n);
    key(out, "members", &n);
    render_json_members(out, group);
    text_char(out, '}');
}

/* ---- sections and the whole ---- */

static void params(text_out_t *out, const gate_param_t *param)
{
    static const char *const kinds[] = { "text", "number", "flag", "texts" };

    text_char(out, '[');
    for (int first = 1; param && param->name; param++, first = 0) {
        int n = 0;

        text_put(out, first ? "{" : ",{");
        put_text(out, "name", param->name, &n);
        put_text(out, "kind", kinds[param->kind], &n);
        put_flag(out, "required", param->required, &n);
        if (param->choices) {
            put_text(out, "choices", param->choices, &n);
        }
        put_text(out, "help", param->help ? param->help : "", &n);
        text_char(out, '}');
    }
    text_char(out, ']');
}

static void section_facts(text_out_t *out, const gate_section_t *section)
{
    int n = 0, first = 1;

    text_char(out, '{');
    put_text(out, "name", section->name, &n);
    put_text(out, "title", section->title ? section->title : section->name, &n);
    key(out, "actions", &n);
    text_char(out, '[');
    for (const gate_action_t *a = section->actions; a && a->method; a++, first = 0) {
        int m = 0;

        text_put(out, first ? "{" : ",{");
        put_text(out, "method", a->method, &m);
        put_text(out, "path", a->path, &m);
        put_text(out, "title", a->title, &m);
        put_text(out, "help", a->help ? a->help : "", &m);
        key(out, "params", &m);
        params(out, a->params);
        text_char(out, '}');
    }
    text_put(out, "]}");
}

static void server_facts(text_out_t *out, const snapshot_server_t *server, int *count)
{
    int64_t up_usec = server->now_wall_usec - server->started_wall_usec;
    int n = 0;

    put_text(out, "server", server->server, count);
    put_uint(out, "uptime_s", up_usec > 0 ? (uint64_t)up_usec / 1000000 : 0, count);
    put_time(out, "now", server->now_wall_usec, count);
    put_time(out, "started", server->started_wall_usec, count);
    put_text(out, "host", server->name, count);
    put_text(out, "gatehouse", server->version, count);
    put_text(out, "mpm", server->mpm, count);
    put_uint(out, "generation", server->generation, count);
    key(out, "admin", count);
    text_char(out, '{');
    put_flag(out, "on", server->admin, &n);
    put_uint(out, "done", server->admin_done, &n);
    put_uint(out, "failed", server->admin_failed, &n);
    put_uint(out, "refused", server->admin_refused, &n);
    text_char(out, '}');
}

void render_json(text_out_t *out, const snapshot_t *snapshot)
{
    int n = 0;

    text_char(out, '{');
    put_uint(out, "version", 1, &n);
    server_facts(out, snapshot->server, &n);
    key(out, "groups", &n);
    text_char(out, '[');
    for (uint32_t i = 0; i < snapshot->group_count; i++) {
        if (i) {
            text_char(out, ',');
        }
        one_group(out, &snapshot->groups[i]);
    }
    text_char(out, ']');
    for (uint32_t i = 0; i < snapshot->section_count; i++) {
        if (snapshot->sections[i].values) {
            key(out, snapshot->sections[i].section->name, &n);
            render_json_node(out, snapshot->sections[i].values);
        }
    }
    key(out, "sections", &n);
    text_char(out, '[');
    for (uint32_t i = 0; i < snapshot->section_count; i++) {
        if (i) {
            text_char(out, ',');
        }
        section_facts(out, snapshot->sections[i].section);
    }
    text_put(out, "]}\n");
}

/* ---- events ---- */

void render_json_events(text_out_t *out, const gate_event_t *events, int count)
{
    text_put(out, "{\"version\":1,\"events\":[");
    for (int i = 0; i < count; i++) {
        const gate_event_t *e = &events[i];
        int n = 0;

        text_put(out, i ? ",{" : "{");
        put_uint(out, "number", e->number, &n);
        put_time(out, "at", e->wall_usec, &n);
        put_text(out, "area", e->area, &n);
        put_text(out, "group", e->group, &n);
        put_text(out, "member", e->member, &n);
        put_text(out, "from", e->from, &n);
        put_text(out, "to", e->to, &n);
        put_text(out, "why", e->why, &n);
        put_text(out, "who", e->who, &n);
        text_char(out, '}');
    }
    text_put(out, "]}\n");
}
