/*
 * render_html.c - see render.h. The page's file holds marks of the form {{name}}; everything else in it goes out as it is.
 */

#include <stdio.h>
#include <string.h>

#include "assets.h"
#include "render.h"

static void short_duration(text_out_t *out, uint64_t usec)
{
    char text[32];

    if (usec == 0) {
        text_put(out, "-");
        return;
    }
    if (usec < 1000) {
        snprintf(text, sizeof text, "%u \xC2\xB5s", (unsigned)usec);
    }
    else if (usec < 1000000) {
        snprintf(text, sizeof text, "%.1f ms", (double)usec / 1e3);
    }
    else {
        snprintf(text, sizeof text, "%.2f s", (double)usec / 1e6);
    }
    text_put(out, text);
}

static void cell(text_out_t *out, uint64_t value)
{
    text_put(out, "<td class=\"num\">");
    text_uint(out, value);
    text_put(out, "</td>");
}

static void member_row(text_out_t *out, const snapshot_member_t *m)
{
    text_put(out, "<tr data-state=\"");
    text_html(out, m->state);
    text_put(out, "\"><th scope=\"row\">");
    text_html(out, m->is.id);
    text_put(out, "</th><td>");
    text_html(out, m->is.url);
    text_put(out, "</td><td>");
    text_html(out, m->state);
    if (*m->is.why) {
        text_put(out, ": ");
        text_html(out, m->is.why);
    }
    text_put(out, "</td>");
    cell(out, m->is.weight);
    cell(out, m->inflight);
    cell(out, m->counts.requests);
    cell(out, m->failures);
    text_put(out, "<td class=\"num\">");
    short_duration(out, m->latency.p99);
    text_put(out, "</td></tr>\n");
}

static void group_table(text_out_t *out, const snapshot_group_t *g)
{
    text_put(out, "<section class=\"plain\"><h2>");
    text_html(out, g->name);
    text_put(out, "</h2><div class=\"scroll\"><table><caption>");
    text_uint(out, g->usable);
    text_put(out, " of ");
    text_uint(out, g->count);
    text_put(out, " members can be used</caption><thead><tr><th scope=\"col\">Member</th><th scope=\"col\">URL</th>"
                  "<th scope=\"col\">State</th><th scope=\"col\">Weight</th><th scope=\"col\">In flight</th>"
                  "<th scope=\"col\">Requests</th><th scope=\"col\">Failures</th><th scope=\"col\">p99</th></tr></thead><tbody>\n");
    for (uint32_t i = 0; i < g->count; i++) {
        member_row(out, &g->members[i]);
    }
    text_put(out, "</tbody></table></div></section>\n");
}

static void tables(text_out_t *out, const snapshot_t *snapshot)
{
    if (snapshot->group_count == 0) {
        text_put(out, "<p class=\"empty\">No groups are configured.</p>\n");
    }
    for (uint32_t i = 0; i < snapshot->group_count; i++) {
        group_table(out, &snapshot->groups[i]);
    }
}

static void fill(text_out_t *out, const char *mark, size_t len, const snapshot_t *snapshot, const render_page_t *page)
{
    if (len == 5 && memcmp(mark, "token", 5) == 0) {
        text_html(out, page->token);
    }
    else if (len == 4 && memcmp(mark, "host", 4) == 0) {
        text_html(out, snapshot->server->name);
    }
    else if (len == 7 && memcmp(mark, "version", 7) == 0) {
        text_html(out, snapshot->server->version);
    }
    else if (len == 6 && memcmp(mark, "groups", 6) == 0) {
        tables(out, snapshot);
    }
}

void render_html(text_out_t *out, const snapshot_t *snapshot, const render_page_t *page)
{
    const char *at = asset_page.begin, *open;

    while ((open = memmem(at, (size_t)(asset_page.end - at), "{{", 2)) != NULL) {
        const char *close = memmem(open, (size_t)(asset_page.end - open), "}}", 2);

        if (!close) {
            break;
        }
        text_bytes(out, at, (size_t)(open - at));
        fill(out, open + 2, (size_t)(close - open - 2), snapshot, page);
        at = close + 2;
    }
    text_bytes(out, at, (size_t)(asset_page.end - at));
}
