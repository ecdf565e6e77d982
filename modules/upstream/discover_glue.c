/*
 * discover_glue.c - GateDiscover at run time: one child at a time, by a lease, watches all sources and applies each group's set in one
 * step. The thread is upkeep's; nothing here waits.
 *
 * ZONE "discover": [ lease | a row for each source, in the configuration's order ]. What was found is in the registry; a child that takes over asks all sources anew and takes nobody out of
 *                  a group before each of its sources has spoken once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "discover.h"
#include "discover_rows.h"
#include "discover_run.h"
#include "gate_lease.h"
#include "gate_section.h"
#include "gate_upkeep.h"
#include "upstream.h"

#define DISCOVER_LAYOUT 2u
#define TICK_USEC INT64_C(100000)
#define ASK_USEC INT64_C(500000)   /* how often a child asks whether the lease is to be had */
#define TERM_USEC INT64_C(3000000)
#define SYSTEM_FILE_MAX (256u << 10)

/* One source, as this process knows it. */
typedef struct {
    const upstream_group_t *group;
    const discover_source_t *source;
    discover_row_t *row;            /* NULL: one of too many to be shown */
    int64_t next_usec;
    int spoken;                     /* there is a good set: */
    discover_run_t *good;           /* dns, srv */
    apr_pool_t *file_pool;          /* file: of specs */
    apr_array_header_t *specs;
    struct stat seen;               /* the file as it was when it was last read, well or not */
    int complained;
    discover_run_t *running;
    dns_config_t config;            /* what running borrows */
    char *hosts;
    size_t hosts_len;
} watch_t;

static apr_array_header_t *watches; /* of watch_t *, those of a group side by side */
typedef struct {
    gate_lease_t lease;
    discover_row_t row[DISCOVER_ROWS_MAX];
} discover_zone_t;

static discover_zone_t *zone;
static server_rec *main_server;
static int is_holder;
static int64_t ask_usec;

/* ---- what is told --------------------------------------------------------------------------------------------------------- */

static uint32_t present_members(const watch_t *w)
{
    uint32_t version;

    return gate_group_members(gate_core()->registry, w->group->index, NULL, 0, &version);
}

static void tell_failure(watch_t *w, const char *why)
{
    discover_row_failed(w->row, why, apr_time_now());
    if (!w->complained) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_server, GATE_LOGNO(0240)
                     "group %s: GateDiscover %s: %s: the group's %u members stay as they are; tried again until it works",
                     w->group->name, w->source->text, why, present_members(w));
    }
    w->complained = 1;
}

static uint32_t count_of(const watch_t *w)
{
    uint32_t count = 0;

    if (w->specs) {
        return (uint32_t)w->specs->nelts;
    }
    if (w->good) {
        discover_run_endpoints(w->good, &count);
    }
    return count;
}

static void tell_good(watch_t *w)
{
    discover_view_t before;
    int failed_before = w->complained || (discover_row_view(w->row, w->group->name, w->source->text, &before)
                                          && before.state == DISCOVER_FAILING); /* another child complained */

    discover_row_good(w->row, count_of(w), apr_time_now());
    if (failed_before) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, main_server, GATE_LOGNO(0241) "group %s: GateDiscover %s: works again", w->group->name,
                     w->source->text);
    }
    w->complained = 0;
}

/* ---- a group's set -------------------------------------------------------------------------------------------------------- */

static void add_specs(apr_pool_t *p, const watch_t *w, apr_array_header_t *specs)
{
    const discover_endpoint_t *endpoints;
    uint32_t count;

    if (w->specs) {
        apr_array_cat(specs, w->specs);
    }
    else if (w->good) {
        endpoints = discover_run_endpoints(w->good, &count);
        discover_specs(p, w->source, endpoints, count, specs);
    }
}

static void apply(const watch_t *w, apr_array_header_t *specs, const discover_change_t *change)
{
    apr_status_t rv = gate_members_apply(gate_core()->registry, w->group->index, GATE_ORIGIN_DISCOVERED,
                                         (gate_member_spec_t *)specs->elts, (uint32_t)specs->nelts, "discovery", gate_mono_usec());

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, main_server, GATE_LOGNO(0242)
                     "group %s: %d discovered members could not be entered in the registry: the set stays as it was", w->group->name,
                     specs->nelts);
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, main_server, GATE_LOGNO(0243)
                 "group %s: discovery: %d members, %u came, %u went, %u changed", w->group->name, specs->nelts, change->added,
                 change->removed, change->altered);
}

/* Applies the union of the group's sources, if that changes anything. */
static void settle(const watch_t *changed)
{
    const gate_registry_t *reg = gate_core()->registry;
    apr_array_header_t *specs;
    discover_change_t change;
    apr_pool_t *p;
    int i, all_spoken = 1;

    apr_pool_create(&p, NULL);
    specs = apr_array_make(p, 32, sizeof(gate_member_spec_t));
    for (i = 0; i < watches->nelts; i++) {
        const watch_t *w = APR_ARRAY_IDX(watches, i, watch_t *);

        if (w->group == changed->group) {
            add_specs(p, w, specs);
            all_spoken &= w->spoken;
        }
    }
    discover_unique(reg, changed->group->index, specs);
    if (!all_spoken) {
        discover_keep_present(p, reg, changed->group->index, specs);
    }
    specs->nelts = (int)gate_changes_dress(gate_core()->changes, changed->group->index, GATE_ORIGIN_DISCOVERED,
                                           (gate_member_spec_t *)specs->elts, (uint32_t)specs->nelts, all_spoken);
    if (discover_compare(reg, changed->group->index, specs, &change)) {
        apply(changed, specs, &change);
    }
    apr_pool_destroy(p);
}

/* ---- files ---------------------------------------------------------------------------------------------------------------- */

/* A whole file into malloc'ed memory. @return NULL, or what went wrong (errno's words) */
static const char *read_file(const char *path, size_t max, char **text, size_t *len, struct stat *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *why = NULL;
    ssize_t got;

    *text = NULL;
    *len = 0;
    if (fd < 0 || fstat(fd, info) != 0) {
        why = strerror(errno);
    }
    else if (!S_ISREG(info->st_mode)) {
        why = "is not a file";
    }
    else if ((uint64_t)info->st_size > max) {
        why = "is too long";
    }
    else if ((*text = malloc(max + 1)) == NULL) {
        why = "no memory";
    }
    while (!why && *len <= max && (got = read(fd, *text + *len, max + 1 - *len)) != 0) {
        if (got < 0) {
            why = strerror(errno);
            break;
        }
        *len += (size_t)got;
    }
    if (!why && *len > max) {
        why = "is too long";
    }
    if (fd >= 0) {
        close(fd);
    }
    if (why) {
        free(*text);
        *text = NULL;
        *len = 0;
    }
    return why;
}

static int same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec
           && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec
           && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* A good text replaces the set; any other leaves it. @return non-zero when replaced */
static int take_file(watch_t *w, const char *text, size_t len)
{
    apr_array_header_t *specs;
    const char *why;
    apr_pool_t *p;

    apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    specs = apr_array_make(p, 32, sizeof(gate_member_spec_t));
    why = discover_file_read(p, text, len, specs);
    if (why) {
        tell_failure(w, why);
        apr_pool_destroy(p);
        return 0;
    }
    if (w->file_pool) {
        apr_pool_destroy(w->file_pool);
    }
    w->file_pool = p;
    w->specs = specs;
    w->spoken = 1;
    tell_good(w);
    return 1;
}

/* A file that is written in place may be caught half-written: it counts when it is the same before and after, and its next look sees
 * what came later. */
static int look_at_file(watch_t *w)
{
    struct stat now, after;
    const char *why;
    char *text;
    size_t len;
    int changed = 0;

    if (stat(w->source->name, &now) == 0 && same_file(&now, &w->seen)) {
        discover_row_same(w->row, apr_time_now());
        return 0;
    }
    why = read_file(w->source->name, DISCOVER_FILE_MAX, &text, &len, &now);
    if (why) {
        memset(&w->seen, 0, sizeof w->seen);
        tell_failure(w, why);
        return 0;
    }
    if (stat(w->source->name, &after) == 0 && same_file(&now, &after)) {
        changed = take_file(w, text, len);
        w->seen = now;
    }
    free(text);
    return changed;
}

/* ---- DNS ------------------------------------------------------------------------------------------------------------------ */

static void begin_run(watch_t *w, int64_t now_usec)
{
    struct stat info;
    char *text = NULL;
    size_t len = 0;

    free(w->hosts);
    w->hosts = NULL;
    w->hosts_len = 0;
    if (w->source->resolver) {
        w->config = w->source->resolver_config;
    }
    else {
        read_file("/etc/resolv.conf", SYSTEM_FILE_MAX, &text, &len, &info);
        dns_config_read(text ? text : "", len, &w->config);
        free(text);
        read_file("/etc/hosts", SYSTEM_FILE_MAX, &w->hosts, &w->hosts_len, &info);
    }
    w->running = discover_run_begin(w->source, &w->config, w->hosts ? w->hosts : "", w->hosts_len, w->good, now_usec);
}

/* @return non-zero when there is a new good set */
static int end_run(watch_t *w, int64_t now_usec)
{
    discover_run_t *run = w->running;
    const char *why = discover_run_failed(run);

    w->running = NULL;
    w->next_usec = now_usec + discover_next_usec(w->source, discover_run_ttl(run), !why && !discover_run_partial(run));
    if (why) {
        tell_failure(w, why);
        discover_run_end(run);
        return 0;
    }
    if (w->good) {
        discover_run_end(w->good);
    }
    w->good = run;
    w->spoken = 1;
    if (discover_run_partial(run)) {
        tell_failure(w, "a part of it could not be looked up");
    }
    else {
        tell_good(w);
    }
    return 1;
}

static int look(watch_t *w, int64_t now_usec)
{
    if (w->source->kind == DISCOVER_FILE) {
        if (now_usec < w->next_usec) {
            return 0;
        }
        w->next_usec = now_usec + discover_next_usec(w->source, 0, 1);
        return look_at_file(w);
    }
    if (!w->running && now_usec >= w->next_usec) {
        begin_run(w, now_usec);
    }
    return w->running && discover_run_step(w->running, now_usec) ? end_run(w, now_usec) : 0;
}

/* ---- upkeep --------------------------------------------------------------------------------------------------------------- */

/* Another child has it now: what this one knows will be old when it comes back. */
static void forget_all(void)
{
    int i;

    for (i = 0; i < watches->nelts; i++) {
        watch_t *w = APR_ARRAY_IDX(watches, i, watch_t *);

        if (w->running) {
            discover_run_end(w->running);
        }
        if (w->good) {
            discover_run_end(w->good);
        }
        if (w->file_pool) {
            apr_pool_destroy(w->file_pool);
        }
        free(w->hosts);
        *w = (watch_t){ .group = w->group, .source = w->source, .row = w->row };
    }
    is_holder = 0;
}

static void tick(int64_t now_usec, int ending, void *ctx)
{
    int i;

    (void)ctx;
    if (ending) {
        gate_lease_end(&zone->lease);
        return;
    }
    if (now_usec >= ask_usec) {
        ask_usec = now_usec + ASK_USEC;
        switch (gate_lease_ask(&zone->lease, gate_core()->generation, now_usec, TERM_USEC)) {
        case 0:
            if (is_holder) {
                forget_all();
            }
            break;
        default:
            is_holder = 1;
        }
    }
    for (i = 0; is_holder && i < watches->nelts; i++) {
        watch_t *w = APR_ARRAY_IDX(watches, i, watch_t *);

        if (look(w, now_usec)) {
            settle(w);
        }
    }
}

/* ---- what is shown -------------------------------------------------------------------------------------------------------- */

static void put_source(gate_node_t *list, const watch_t *w, const discover_view_t *view)
{
    static const char *const states[] = { [DISCOVER_PENDING] = "pending", [DISCOVER_GOOD] = "good", [DISCOVER_FAILING] = "failing" };
    gate_node_t *out = gate_put_object(list, NULL);

    gate_put_text(out, "source", w->source->text);
    gate_put_text(out, "state", (unsigned)view->state < sizeof states / sizeof states[0] ? states[view->state] : NULL);
    gate_put_text(out, "why", *view->why ? view->why : NULL);
    gate_put_gauge(out, "members", view->members, NULL);
    gate_put_time(out, "last_try", view->tried_wall_usec);
    gate_put_time(out, "last_good", view->good_wall_usec);
    gate_put_count(out, "looks", view->looks, NULL);
    gate_put_count(out, "failures", view->failures, NULL);
}

void upstream_discover_put(gate_node_t *out, const upstream_group_t *group)
{
    static const gate_metric_t failing = { "discovery_failing", "Sources of members whose last look failed", NULL, NULL };
    static const gate_metric_t failures = { "discovery_failures", "Looks at sources of members that failed", NULL, NULL };
    gate_node_t *object, *list;
    discover_view_t view;
    uint64_t failed = 0;
    int i, now_failing = 0;

    if (!group->discover->nelts) {
        return;
    }
    object = gate_put_object(out, "discovery");
    list = gate_put_list(object, "sources");
    for (i = 0; i < watches->nelts; i++) {
        const watch_t *w = APR_ARRAY_IDX(watches, i, watch_t *);

        if (w->group == group && discover_row_view(w->row, group->name, w->source->text, &view)) {
            put_source(list, w, &view);
            failed += view.failures;
            now_failing += view.state == DISCOVER_FAILING;
        }
    }
    gate_put_gauge(object, "failing", now_failing, &failing);
    gate_put_count(object, "failures", failed, &failures);
}

static int validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    (void)ctx;
    return size_bytes < sizeof *zone || gate_lease_validate(&((const discover_zone_t *)base)->lease, why, (uint32_t)why_size);
}

/* Discovered members of a group that discovers no more. */
static void retire_leftovers(const upstream_group_t *group)
{
    apr_pool_t *p;
    apr_array_header_t *none;
    discover_change_t change;

    apr_pool_create(&p, NULL);
    none = apr_array_make(p, 1, sizeof(gate_member_spec_t));
    gate_changes_dress(gate_core()->changes, group->index, GATE_ORIGIN_DISCOVERED, NULL, 0, 1);
    if (discover_compare(gate_core()->registry, group->index, none, &change)) {
        gate_members_apply(gate_core()->registry, group->index, GATE_ORIGIN_DISCOVERED, NULL, 0, "", gate_mono_usec());
    }
    apr_pool_destroy(p);
}

static apr_status_t end_watch(void *watch)
{
    watch_t *w = watch;

    if (w->file_pool) {
        apr_pool_destroy(w->file_pool);
        w->file_pool = NULL;
    }
    return APR_SUCCESS;
}

static void open_group_sources(apr_pool_t *pconf, const upstream_group_t *group)
{
    int i;

    for (i = 0; i < group->discover->nelts; i++) {
        watch_t *w = apr_pcalloc(pconf, sizeof *w);

        w->group = group;
        w->source = &APR_ARRAY_IDX(group->discover, i, discover_source_t);
        if (watches->nelts < DISCOVER_ROWS_MAX) {
            w->row = &zone->row[watches->nelts];
            discover_row_own(w->row, group->name, w->source->text);
        }
        APR_ARRAY_PUSH(watches, watch_t *) = w;
        apr_pool_cleanup_register(pconf, w, end_watch, apr_pool_cleanup_null);
    }
    for (i = watches->nelts - group->discover->nelts; i < watches->nelts; i++) {
        watch_t *w = APR_ARRAY_IDX(watches, i, watch_t *);

        if (w->source->kind == DISCOVER_FILE && look_at_file(w)) {
            settle(w); /* members are there before the first request is */
        }
    }
}

apr_status_t upstream_discover_open(apr_pool_t *pconf, server_rec *s)
{
    gate_zone_t found;
    apr_status_t rv = gate_core_zone(s, "discover", DISCOVER_LAYOUT, sizeof *zone, 0, &found);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    zone = found.base;
    main_server = s;
    is_holder = 0;
    ask_usec = 0;
    watches = apr_array_make(pconf, 8, sizeof(watch_t *));
    gate_arena_on_validate(gate_core()->arena, "discover", validate, NULL);
    for (i = 0; i < upstream_groups->nelts; i++) {
        const upstream_group_t *group = APR_ARRAY_IDX(upstream_groups, i, upstream_group_t *);

        if (group->discover->nelts) {
            open_group_sources(pconf, group);
        }
        else {
            retire_leftovers(group);
        }
    }
    if (watches->nelts) {
        gate_upkeep_add(TICK_USEC, tick, NULL);
    }
    return APR_SUCCESS;
}
