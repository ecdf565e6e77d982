/* brief.c - see brief.h. */

#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <mod_status.h>

#include "brief.h"
#include "visit.h"

static uint64_t sum(const snapshot_group_t *g, uint64_t (*of)(const snapshot_member_t *m))
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < g->count; i++) {
        total += of(&g->members[i]);
    }
    return total;
}

static uint64_t requests(const snapshot_member_t *m)
{
    return m->counts.requests;
}

static uint64_t failures(const snapshot_member_t *m)
{
    return m->failures;
}

static void row(text_out_t *out, const snapshot_group_t *g)
{
    uint64_t numbers[] = { g->usable, g->count, g->active, sum(g, requests), sum(g, failures) };

    text_put(out, "<tr><td>");
    text_html(out, g->name);
    text_put(out, "</td>");
    for (int i = 0; i < 5; i++) {
        text_put(out, "<td>");
        text_uint(out, numbers[i]);
        text_put(out, "</td>");
    }
    text_put(out, "</tr>\n");
}

static void line(text_out_t *out, const char *group, const char *what, uint64_t value)
{
    text_put(out, "Gatehouse ");
    text_label(out, group); /* a name with a line break would make a line of its own */
    text_put(out, what);
    text_uint(out, value);
    text_char(out, '\n');
}

static void short_lines(text_out_t *out, const snapshot_group_t *g)
{
    line(out, g->name, " Members: ", g->count);
    line(out, g->name, " Usable: ", g->usable);
    line(out, g->name, " Active: ", g->active);
    line(out, g->name, " Requests: ", sum(g, requests));
    line(out, g->name, " Failures: ", sum(g, failures));
}

int brief_for_mod_status(request_rec *r, int flags)
{
    visit_t visit = { .r = r };
    const snapshot_t *snapshot;
    text_out_t out;

    if (r->header_only || !status_shared()) {
        return DECLINED;
    }
    snapshot = status_snapshot(r, 0);
    visit_write(&visit, &out);
    if (!(flags & AP_STATUS_SHORT)) {
        text_put(&out, "<hr />\n<h2>Gatehouse</h2>\n<table border=\"0\"><tr><th>Group</th><th>Usable</th><th>Members</th>"
                       "<th>Active</th><th>Requests</th><th>Failures</th></tr>\n");
    }
    for (uint32_t i = 0; i < snapshot->group_count; i++) {
        (flags & AP_STATUS_SHORT ? short_lines : row)(&out, &snapshot->groups[i]);
    }
    if (!(flags & AP_STATUS_SHORT)) {
        text_put(&out, "</table>\n");
    }
    text_out_end(&out);
    return OK;
}
