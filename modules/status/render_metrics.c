/*
 * render_metrics.c - see render.h. OpenMetrics wants all samples of a family together, so each family is a walk over the members;
 * what sections put is sorted into families first. Label values come from names that the configuration or an admin gave and from
 * words in the code: nothing that a client sends becomes one.
 */

#include <string.h>
#include <apr_strings.h>

#include "render.h"

typedef struct {
    text_out_t *out;
    const snapshot_t *snapshot;
    /* per member, in snapshot order: group="..",member=".." */
    const char **labels;
} metrics_t;

static void family(text_out_t *out, const char *name, const char *type, const char *unit, const char *help)
{
    text_put(out, "# TYPE gatehouse_");
    text_put(out, name);
    text_char(out, ' ');
    text_put(out, type);
    if (unit) {
        text_put(out, "\n# UNIT gatehouse_");
        text_put(out, name);
        text_char(out, ' ');
        text_put(out, unit);
    }
    text_put(out, "\n# HELP gatehouse_");
    text_put(out, name);
    text_char(out, ' ');
    text_label(out, help);
    text_char(out, '\n');
}

/* Begins a sample: name{labels,label="value"} and the blank after it; labels are escaped, value is not yet. */
static void sample(text_out_t *out, const char *name, const char *suffix, const char *labels, const char *label, const char *value)
{
    int some = (labels && *labels) || label;

    text_put(out, "gatehouse_");
    text_put(out, name);
    text_put(out, suffix);
    if (some) {
        text_char(out, '{');
        if (labels) {
            text_put(out, labels);
        }
        if (label) {
            text_put(out, labels && *labels ? "," : "");
            text_put(out, label);
            text_put(out, "=\"");
            text_label(out, value);
            text_char(out, '"');
        }
        text_char(out, '}');
    }
    text_char(out, ' ');
}

static void uint_sample(text_out_t *out, const char *name, const char *suffix, const char *labels, const char *label,
                        const char *value, uint64_t number)
{
    sample(out, name, suffix, labels, label, value);
    text_uint(out, number);
    text_char(out, '\n');
}

static void histogram_samples(text_out_t *out, const char *name, const char *labels, const snapshot_latency_t *l)
{
    for (int i = 0; i < SNAPSHOT_EDGES; i++) {
        uint_sample(out, name, "_bucket", labels, "le", snapshot_edges[i], l->at_most[i]);
    }
    uint_sample(out, name, "_bucket", labels, "le", "+Inf", l->count);
    sample(out, name, "_sum", labels, NULL, NULL);
    text_seconds(out, l->sum_usec);
    text_char(out, '\n');
    uint_sample(out, name, "_count", labels, NULL, NULL, l->count);
}

/* ---- what the registry counts ---- */

static int collect_text(void *ctx, const char *bytes, size_t len)
{
    char **at = ctx;

    memcpy(*at, bytes, len);
    *at += len;
    return 0;
}

/* Label pairs, escaped once for all families. Worst case of escaping: three bytes for one. */
static const char *label_pairs(apr_pool_t *p, const char *group, const char *member)
{
    size_t room = 32 + 3 * (strlen(group) + (member ? strlen(member) : 0));
    char *text = apr_palloc(p, room), *at = text;
    text_out_t out;

    text_out_begin(&out, collect_text, &at);
    text_put(&out, "group=\"");
    text_label(&out, group);
    if (member) {
        text_put(&out, "\",member=\"");
        text_label(&out, member);
    }
    text_char(&out, '"');
    text_out_end(&out);
    *at = '\0';
    return text;
}

typedef void (*member_fn)(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m);

static void each_member(const metrics_t *x, const char *name, member_fn fn)
{
    uint32_t at = 0;

    for (uint32_t g = 0; g < x->snapshot->group_count; g++) {
        for (uint32_t i = 0; i < x->snapshot->groups[g].count; i++) {
            fn(x->out, name, x->labels[at++], &x->snapshot->groups[g].members[i]);
        }
    }
}

static void requests(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    static const char *const codes[] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };

    for (int i = 0; i < 6; i++) {
        uint_sample(out, name, "_total", labels, "code", codes[i], m->counts.code_class[i]);
    }
}

static void failures(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    for (int i = GATE_OUTCOME_STATUS; i <= GATE_OUTCOME_BROKEN; i++) {
        uint_sample(out, name, "_total", labels, "reason", gate_outcome_name((gate_outcome_e)i), m->counts.outcome[i]);
    }
}

static void retries(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    uint_sample(out, name, "_total", labels, NULL, NULL, m->counts.retries);
}

static void received(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    uint_sample(out, name, "_total", labels, NULL, NULL, m->counts.bytes_in);
}

static void sent(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    uint_sample(out, name, "_total", labels, NULL, NULL, m->counts.bytes_out);
}

static void up(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    uint_sample(out, name, "", labels, NULL, NULL, !(m->is.verdict & GATE_UNUSABLE));
}

static void inflight(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    uint_sample(out, name, "", labels, NULL, NULL, m->inflight);
}

static void weight(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    uint_sample(out, name, "", labels, NULL, NULL, m->is.weight);
}

static void duration(text_out_t *out, const char *name, const char *labels, const snapshot_member_t *m)
{
    histogram_samples(out, name, labels, &m->latency);
}

static const struct {
    const char *name, *type, *unit, *help;
    member_fn fn;
} member_families[] = {
    { "requests", "counter", NULL, "Tries that ended, by class of the member's answer (none: there was no answer)", requests },
    { "failures", "counter", NULL, "Tries that ended in a way that speaks against the member", failures },
    { "retries", "counter", NULL, "Tries on this member that were not the first of their exchange", retries },
    { "request_duration_seconds", "histogram", "seconds", "Time of tries that got an answer, to its last byte", duration },
    { "member_received_bytes", "counter", "bytes", "Bytes that the member was sent", received },
    { "member_sent_bytes", "counter", "bytes", "Bytes that the member answered with", sent },
    { "member_up", "gauge", NULL, "1 when the member may be chosen, else 0", up },
    { "member_inflight", "gauge", NULL, "Exchanges in flight on the member", inflight },
    { "member_weight", "gauge", NULL, "Weight of the member", weight },
};

static void group_families(const metrics_t *x, apr_pool_t *p)
{
    static const char *const names[] = { "group_active", "group_retrying", "group_members", "group_usable_members" };
    static const char *const helps[] = { "Exchanges in flight in the group", "Those of them that are on a second or later try",
                                         "Members of the group", "Members that may be chosen" };

    for (int f = 0; f < 4; f++) {
        family(x->out, names[f], "gauge", NULL, helps[f]);
        for (uint32_t i = 0; i < x->snapshot->group_count; i++) {
            const snapshot_group_t *g = &x->snapshot->groups[i];
            uint32_t values[] = { g->active, g->retrying, g->count, g->usable };

            uint_sample(x->out, names[f], "", label_pairs(p, g->name, NULL), NULL, NULL, values[f]);
        }
    }
}

static void server_families(text_out_t *out, const snapshot_server_t *server)
{
    int64_t up_usec = server->now_wall_usec - server->started_wall_usec;

    family(out, "build", "info", NULL, "Version of the suite");
    sample(out, "build", "_info", NULL, "version", server->version);
    text_put(out, "1\n");
    family(out, "uptime_seconds", "gauge", "seconds", "Time since the server was started; graceful restarts do not count");
    sample(out, "uptime_seconds", "", NULL, NULL, NULL);
    text_seconds(out, up_usec > 0 ? (uint64_t)up_usec : 0);
    text_char(out, '\n');
    family(out, "generation", "gauge", NULL, "The how-manieth configuration this is: graceful restarts and 1");
    uint_sample(out, "generation", "", NULL, NULL, NULL, server->generation);
    family(out, "admin_requests", "counter", NULL, "Requests to the admin API that would change something");
    uint_sample(out, "admin_requests", "_total", NULL, "result", "done", server->admin_done);
    uint_sample(out, "admin_requests", "_total", NULL, "result", "failed", server->admin_failed);
    uint_sample(out, "admin_requests", "_total", NULL, "result", "refused", server->admin_refused);
}

/* ---- what sections put ---- */

typedef struct found found_t;
struct found {
    const gate_node_t *node;
    const char *labels; /* of the member or group; NULL: the server's */
    found_t *next;
};

typedef struct family_of {
    const gate_metric_t *metric;
    gate_node_e kind;
    found_t *first, *last;
    struct family_of *next;
} family_of_t;

typedef struct {
    apr_pool_t *p;
    family_of_t *first, *last;
} index_t;

static int ours_already(const char *name)
{
    static const char *const others[] = { "build", "uptime_seconds", "generation", "admin_requests", "group_active",
                                          "group_retrying", "group_members", "group_usable_members" };

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(others[i], name) == 0) {
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof member_families / sizeof *member_families; i++) {
        if (strcmp(member_families[i].name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static family_of_t *family_for(index_t *index, const gate_node_t *node)
{
    family_of_t *f;

    for (f = index->first; f; f = f->next) {
        if (f->metric == node->metric || strcmp(f->metric->family, node->metric->family) == 0) {
            return f->kind == node->kind ? f : NULL;
        }
    }
    if (ours_already(node->metric->family)) {
        return NULL; /* two families of one name would spoil the whole document */
    }
    f = apr_pcalloc(index->p, sizeof *f);
    f->metric = node->metric;
    f->kind = node->kind;
    if (index->last) {
        index->last->next = f;
    }
    else {
        index->first = f;
    }
    return index->last = f;
}

static void index_nodes(index_t *index, const gate_node_t *node, const char *labels)
{
    for (; node; node = node->next) {
        if (node->metric) {
            family_of_t *f = family_for(index, node);
            found_t *found = f ? apr_pcalloc(index->p, sizeof *found) : NULL;

            if (found) {
                found->node = node;
                found->labels = labels;
                if (f->last) {
                    f->last->next = found;
                }
                else {
                    f->first = found;
                }
                f->last = found;
            }
        }
        index_nodes(index, node->first, labels);
    }
}

static void section_sample(text_out_t *out, const family_of_t *f, const found_t *found)
{
    const gate_metric_t *m = found->node->metric;
    snapshot_latency_t summary;

    switch (f->kind) {
    case GATE_NODE_HISTOGRAM:
        snapshot_latency(found->node->v.histogram, &summary);
        histogram_samples(out, m->family, found->labels, &summary);
        return;
    case GATE_NODE_COUNT:
        uint_sample(out, m->family, "_total", found->labels, m->label, m->value, found->node->v.count);
        return;
    case GATE_NODE_REAL:
        sample(out, m->family, "", found->labels, m->label, m->value);
        text_real(out, found->node->v.real);
        break;
    default:
        sample(out, m->family, "", found->labels, m->label, m->value);
        text_int(out, found->node->v.gauge);
    }
    text_char(out, '\n');
}

static const char *unit_of(const char *name)
{
    size_t len = strlen(name);

    return len > 6 && strcmp(name + len - 6, "_bytes") == 0 ? "bytes"
        : len > 8 && strcmp(name + len - 8, "_seconds") == 0 ? "seconds" : NULL;
}

static void section_families(const metrics_t *x, apr_pool_t *p)
{
    const snapshot_t *s = x->snapshot;
    index_t index = { .p = p };
    uint32_t at = 0;

    for (uint32_t i = 0; i < s->section_count; i++) {
        if (s->sections[i].values) {
            index_nodes(&index, s->sections[i].values->first, NULL);
        }
    }
    for (uint32_t g = 0; g < s->group_count; g++) {
        index_nodes(&index, s->groups[g].more->first, label_pairs(p, s->groups[g].name, NULL));
        for (uint32_t i = 0; i < s->groups[g].count; i++) {
            index_nodes(&index, s->groups[g].members[i].more->first, x->labels[at++]);
        }
    }
    for (const family_of_t *f = index.first; f; f = f->next) {
        family(x->out, f->metric->family,
               f->kind == GATE_NODE_COUNT ? "counter" : f->kind == GATE_NODE_HISTOGRAM ? "histogram" : "gauge",
               unit_of(f->metric->family), f->metric->help);
        for (const found_t *found = f->first; found; found = found->next) {
            section_sample(x->out, f, found);
        }
    }
}

void render_metrics(text_out_t *out, apr_pool_t *p, const snapshot_t *snapshot)
{
    metrics_t x = { .out = out, .snapshot = snapshot };
    uint32_t at = 0;

    x.labels = apr_pcalloc(p, (snapshot->member_count + 1) * sizeof *x.labels);
    for (uint32_t g = 0; g < snapshot->group_count; g++) {
        for (uint32_t i = 0; i < snapshot->groups[g].count; i++) {
            x.labels[at++] = label_pairs(p, snapshot->groups[g].name, snapshot->groups[g].members[i].is.id);
        }
    }
    server_families(out, snapshot->server);
    group_families(&x, p);
    for (size_t i = 0; i < sizeof member_families / sizeof *member_families; i++) {
        family(out, member_families[i].name, member_families[i].type, member_families[i].unit, member_families[i].help);
        each_member(&x, member_families[i].name, member_families[i].fn);
    }
    section_families(&x, p);
    text_put(out, "# EOF\n");
}
