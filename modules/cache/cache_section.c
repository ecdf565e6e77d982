/* cache_section.c - what the cache shows of itself on the status page, and lets an admin do */
#include "cache.h"

#include <string.h>

#include "gate_section.h"

uint64_t cache_counted(int which)
{
    uint64_t bytes, sum = 0;
    const gate_cache_row_t *rows = gate_store_table(cache_store, GATE_TABLE_COUNT, &bytes);

    for (uint32_t seat = 0; seat < gate_seats_count(gate_core()->seats); seat++) {
        sum += atomic_load_explicit(&rows[seat].n[which], memory_order_relaxed);
    }
    return sum;
}

typedef struct {
    const char *key;
    int which;
    gate_metric_t metric;
} shown_t;

#define REQUESTS "cache_requests", "Requests by what the cache did", "result"
#define BYPASSED "cache_bypassed", "Requests that the cache let pass by, by reason", "reason"
#define NOT_STORED "cache_not_stored", "Answers that were not kept, by reason", "reason"

static const shown_t results[] = {
    { "hits", GATE_COUNT_hit, { REQUESTS, "hit" } },
    { "misses", GATE_COUNT_miss, { REQUESTS, "miss" } },
    { "stale", GATE_COUNT_stale, { REQUESTS, "stale" } },
    { "revalidated", GATE_COUNT_revalidated, { REQUESTS, "revalidated" } },
    { "collapsed", GATE_COUNT_followed, { REQUESTS, "collapsed" } },
    { "bypassed", GATE_COUNT_bypass, { REQUESTS, "bypass" } },
};

static const shown_t bypassed[] = {
    { "method", GATE_COUNT_bypass_method, { BYPASSED, "method" } },
    { "request_body", GATE_COUNT_bypass_body, { BYPASSED, "request_body" } },
    { "range", GATE_COUNT_bypass_range, { BYPASSED, "range" } },
    { "authorization", GATE_COUNT_bypass_authorization, { BYPASSED, "authorization" } },
    { "rule", GATE_COUNT_bypass_rule, { BYPASSED, "rule" } },
    { "no_store", GATE_COUNT_bypass_no_store, { BYPASSED, "no_store" } },
    { "only_if_cached", GATE_COUNT_only_if_cached, { BYPASSED, "only_if_cached" } },
};

static const shown_t not_stored[] = {
    { "total", GATE_COUNT_not_stored, { "cache_not_stored_answers", "Answers that were not kept", NULL, NULL } },
    { "full", GATE_COUNT_not_stored_full, { NOT_STORED, "full" } },
    { "too_big", GATE_COUNT_not_stored_big, { NOT_STORED, "too_big" } },
    { "incomplete", GATE_COUNT_not_stored_broken, { NOT_STORED, "incomplete" } },
    { "purged", GATE_COUNT_not_stored_purged, { NOT_STORED, "purged" } },
};

static const shown_t others[] = {
    { "stored", GATE_COUNT_stored, { "cache_stored", "Answers that were kept", NULL, NULL } },
    { "stored_bytes", GATE_COUNT_stored_bytes, { "cache_stored_bytes", "Bytes of answers that were kept", NULL, NULL } },
    { "hit_bytes", GATE_COUNT_hit_bytes, { "cache_served_bytes", "Bytes of bodies served from the store", NULL, NULL } },
    { "not_modified", GATE_COUNT_not_modified, { "cache_not_modified", "Answers 304 given by the cache", NULL, NULL } },
    { "refreshed", GATE_COUNT_refreshed, { "cache_refreshed", "Fetches in the background", NULL, NULL } },
    { "refresh_failed", GATE_COUNT_refresh_failed, { "cache_refresh_failed", "Fetches in the background that failed", NULL, NULL } },
    { "stale_on_error", GATE_COUNT_stale_error, { "cache_stale_on_error", "Stale answers in the place of errors", NULL, NULL } },
    { "invalidated", GATE_COUNT_invalidated, { "cache_invalidated", "Unsafe requests that took their URL out", NULL, NULL } },
    { "purges", GATE_COUNT_purges, { "cache_purges", "Purges", NULL, NULL } },
    { "purged", GATE_COUNT_purged, { "cache_purged", "Objects that purges hit", NULL, NULL } },
    { "codings_made", GATE_COUNT_compressed, { "cache_codings", "Codings made in the background", NULL, NULL } },
    { "codings_useless", GATE_COUNT_compress_useless,
      { "cache_codings_useless", "Codings not kept as they were hardly smaller", NULL, NULL } },
    { "coded_in_bytes", GATE_COUNT_compress_in_bytes, { "cache_coded_in_bytes", "Bytes before coding", NULL, NULL } },
    { "coded_out_bytes", GATE_COUNT_compress_out_bytes, { "cache_coded_out_bytes", "Bytes after coding", NULL, NULL } },
    { "unpacked", GATE_COUNT_unpacked, { "cache_unpacked", "Answers unpacked for a client without gzip", NULL, NULL } },
    { "wait_timeouts", GATE_COUNT_wait_timeouts, { "cache_wait_timeouts", "Waits for another's fetch that ended in vain", NULL, NULL } },
    { "leaders_lost", GATE_COUNT_leader_lost, { "cache_leaders_lost", "Fetches whose child died", NULL, NULL } },
};

static void put_all(gate_node_t *out, const shown_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gate_put_count(out, list[i].key, cache_counted(list[i].which), &list[i].metric);
    }
}

#define PUT_ALL(out, list) put_all(out, list, sizeof list / sizeof *list)

static void gather(gate_node_t *out, void *ctx)
{
    static const gate_metric_t size = { "cache_size_bytes", "Shared memory for objects", NULL, NULL };
    static const gate_metric_t used = { "cache_bytes", "Memory in use, keys, headers and codings with it", NULL, NULL };
    static const gate_metric_t objects = { "cache_objects", "Objects in the store", NULL, NULL };
    static const gate_metric_t evictions = { "cache_evictions", "Objects that left for lack of room", NULL, NULL };
    gate_store_stats_t stats;

    (void)ctx;
    gate_store_reap(cache_store);
    gate_store_stats(cache_store, &stats);
    gate_put_gauge(out, "size", (int64_t)stats.size_bytes, &size);
    gate_put_gauge(out, "used", (int64_t)stats.used_bytes, &used);
    gate_put_gauge(out, "objects", (int64_t)stats.objects, &objects);
    PUT_ALL(out, results);
    gate_put_count(out, "evictions", stats.evictions, &evictions);
    PUT_ALL(out, others);
    PUT_ALL(gate_put_object(out, "bypassed_by"), bypassed);
    PUT_ALL(gate_put_object(out, "not_stored"), not_stored);
    gate_put_gauge(out, "bodies", (int64_t)stats.bodies, NULL);
    gate_put_gauge(out, "being_read", (int64_t)stats.pins, NULL);
    gate_put_gauge(out, "fetches", gate_flights(cache_store), NULL);
    gate_put_gauge(out, "repairs", (int64_t)stats.repairs, NULL);
}

/* ---- explain ---------------------------------------------------------------------------------------------------------------- */

static void explain_object(gate_node_t *out, const cache_request_t *c)
{
    int64_t now = gate_mono_usec();

    gate_put_gauge(out, "age_s", gate_age(&c->keep.look.head.head->fresh, now), NULL);
    gate_put_gauge(out, "ttl_s", gate_ttl(&c->keep.look.head.head->fresh, now), NULL);
    gate_put_gauge(out, "bytes", (int64_t)c->keep.look.head.head->body_len, NULL);
    gate_put_flag(out, "br", gate_store_body(cache_store, c->keep.look.held.ref, GATE_CODING_BR) != 0);
    gate_put_flag(out, "gzip", gate_store_body(cache_store, c->keep.look.held.ref, GATE_CODING_GZIP) != 0);
}

static void explain(gate_node_t *out, const gate_view_t *view, void *request, void *ctx)
{
    static const char *const words[] = { "hit", "stale", "stale", "revalidate" };
    static const char *const reasons[] = { "fresh", "stale, as the request allows", "stale while it is fetched anew",
                                           "not fresh enough: the member is asked" };
    request_rec *r = request;
    const cache_dir_conf_t *conf = cache_conf(r);
    cache_request_t c = { .conf = conf };
    const char *why;

    (void)view, (void)ctx;
    if (!conf || !conf->on) {
        gate_put_text(out, "verdict", "off");
        gate_put_text(out, "why", "GateCache is not on here");
        return;
    }
    cache_look_begin(&c.keep.look, r, conf);
    why = cache_request_read(r, &c);
    if (why) {
        gate_put_text(out, "verdict", "bypass");
        gate_put_text(out, "why", why);
        return;
    }
    gate_put_text(out, "key", c.keep.look.key.url);
    if (!gate_look_find(&c.keep.look)) {
        int passed = gate_passed(cache_store, c.keep.look.flight_hash, gate_mono_usec());

        gate_put_text(out, "verdict", "miss");
        gate_put_text(out, "why", passed ? "not in the store: its last answer could not be kept" : "not in the store");
        return;
    }
    gate_freshness_e judged = gate_freshness_judge(&c.keep.look.head.head->fresh, &c.keep.look.asked,
                                                   (int)atomic_load(&c.keep.look.head.head->soft), gate_mono_usec());
    gate_put_text(out, "verdict", words[judged]);
    gate_put_text(out, "why", reasons[judged]);
    explain_object(out, &c);
    gate_look_drop(&c.keep.look);
}

/* ---- purge -------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    gate_call_t *call;
    gate_purge_e kind;
    int soft, given;
    int64_t n;
    const char *why, *bad;
} purge_all_t;

static int purge_one(void *ctx, const char *name, const char *value)
{
    purge_all_t *p = ctx;
    int64_t n;

    (void)name;
    n = cache_purge(p->call->pool, p->kind, value, NULL, p->soft, &p->why);
    p->given++;
    if (n < 0) {
        p->bad = value;
        return 0;
    }
    p->n += n;
    return 1;
}

static int flag(const apr_table_t *params, const char *name)
{
    const char *value = apr_table_get(params, name);

    return value && !strcmp(value, "1");
}

static int purge_action(gate_call_t *call, void *ctx)
{
    static const struct {
        const char *name;
        gate_purge_e kind;
    } kinds[] = { { "url", GATE_PURGE_URL }, { "prefix", GATE_PURGE_PREFIX }, { "tag", GATE_PURGE_TAG } };
    purge_all_t p = { .call = call, .soft = flag(call->params, "soft") };

    (void)ctx;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !p.bad; i++) {
        p.kind = kinds[i].kind;
        apr_table_do(purge_one, &p, call->params, kinds[i].name, NULL);
    }
    if (p.bad) {
        call->said = apr_psprintf(call->pool, "'%s' %s", p.bad, p.why);
        return 400;
    }
    if (flag(call->params, "all")) {
        p.n += cache_purge(call->pool, GATE_PURGE_ALL, NULL, NULL, p.soft, NULL);
        p.given++;
    }
    if (!p.given) {
        call->said = "nothing named: give url, prefix, tag or all";
        return 400;
    }
    gate_put_gauge(call->result, "purged", p.n, NULL);
    call->said = apr_psprintf(call->pool, "%" APR_INT64_T_FMT " objects purged%s", p.n, p.soft ? " softly" : "");
    return 0;
}

static const gate_param_t purge_params[] = {
    { "url", GATE_PARAM_TEXTS, 0, NULL, "whole URLs, such as https://example.com/a.css: all their variants" },
    { "prefix", GATE_PARAM_TEXTS, 0, NULL, "beginnings of URLs, such as https://example.com/img/" },
    { "tag", GATE_PARAM_TEXTS, 0, NULL, "tags of the Surrogate-Key or Cache-Tag header" },
    { "all", GATE_PARAM_FLAG, 0, NULL, "everything" },
    { "soft", GATE_PARAM_FLAG, 0, NULL, "keep the objects, as stale ones" },
    { NULL, GATE_PARAM_TEXT, 0, NULL, NULL }
};

static const gate_action_t actions[] = {
    { "POST", "cache/purge", "Purge", "Takes objects out of the cache.", purge_params, purge_action },
    { NULL, NULL, NULL, NULL, NULL, NULL }
};

void cache_section_register(void)
{
    static const gate_section_t section = {
        .name = "cache", .title = "Cache", .gather = gather, .explain = explain, .actions = actions
    };

    gate_section_register(&section);
}
