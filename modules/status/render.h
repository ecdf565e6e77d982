/*
 * render.h - renderings of a snapshot. Each writes the whole document to `out` and reads nothing but the snapshot.
 * Depends: snapshot.h, text_out.h.   Memory: render_metrics takes its index of families from pool p; the others none.
 */
#ifndef RENDER_H
#define RENDER_H

#include "snapshot.h"
#include "text_out.h"

/** status.json: DESIGN.md, section 3. */
void render_json(text_out_t *out, const snapshot_t *snapshot);

/** One member, one group's members, any node, as they stand in status.json. */
void render_json_member(text_out_t *out, const snapshot_member_t *member);
void render_json_members(text_out_t *out, const snapshot_group_t *group);
void render_json_node(text_out_t *out, const gate_node_t *node);

/** events.json, newest first. */
void render_json_events(text_out_t *out, const gate_event_t *events, int count);

/** OpenMetrics text 1.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/), with its # EOF. */
#define RENDER_METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
void render_metrics(text_out_t *out, apr_pool_t *p, const snapshot_t *snapshot);

/* What the page is told besides the snapshot. */
typedef struct {
    const char *token;   /* "" when the page may change nothing */
} render_page_t;

/** The page: complete and readable without any script, which then keeps it up to date. */
void render_html(text_out_t *out, const snapshot_t *snapshot, const render_page_t *page);

#endif
