/*
 * mod_gate_cache.c - answers from shared memory, in the handler phase: access, authentication and every other phase have run by
 * then, as for any other request. Manual: README beside this file.
 */
#include "cache.h"

#include <string.h>
#include <mpm_common.h>

gate_store_t *cache_store;
static gate_cache_row_t *own_row;

void cache_count(int which, uint64_t n)
{
    if (own_row) {
        atomic_fetch_add_explicit(&own_row->n[which], n, memory_order_relaxed);
    }
}

cache_request_t *cache_request_of(const request_rec *r)
{
    return ap_get_module_config(r->request_config, &gate_cache_module);
}

static apr_status_t request_gone(void *c)
{
    cache_request_t *request = c;

    /* whatever way the request ended, nothing of it stays held (trap 31) */
    gate_store_unpin(cache_store, &request->keep.look.held);
    gate_store_unpin(cache_store, &request->back);
    gate_keep_leave(&request->keep);
    return APR_SUCCESS;
}

cache_request_t *cache_request_make(request_rec *r, const cache_dir_conf_t *conf)
{
    cache_request_t *c = apr_pcalloc(r->pool, sizeof *c);

    c->conf = conf;
    cache_look_begin(&c->keep.look, r, conf);
    c->keep.rule = cache_keep_rule(conf);
    c->keep.request_wall = apr_time_sec(apr_time_now());
    c->keep.arrived_usec = gate_mono_usec();
    c->keep.purge_seq = gate_purge_now(cache_store);
    ap_set_module_config(r->request_config, &gate_cache_module, c);
    apr_pool_cleanup_register(r->pool, c, request_gone, apr_pool_cleanup_null);
    return c;
}

/* ---- the handler -------------------------------------------------------------------------------------------------------- */

/* Not ours at all: parts of other answers, error pages, tunnels, forward proxying. */
static int none_of_ours(const request_rec *r)
{
    const char *redirected = apr_table_get(r->subprocess_env, "REDIRECT_STATUS");

    return r->main || r->proxyreq == PROXYREQ_PROXY || r->assbackwards || r->status != HTTP_OK
           || (redirected && strcmp(redirected, "200"))
           || (apr_table_get(r->headers_in, "Upgrade")
               && gate_list_has(apr_table_get(r->headers_in, "Connection"), "upgrade"));
}

int cache_method_safe(const char *method)
{
    static const char *const safe[] = { "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH" };

    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) {
        if (!strcmp(method, safe[i])) {
            return 1;
        }
    }
    return 0;
}

static int answer_stored(request_rec *r, cache_request_t *c)
{
    switch (gate_freshness_judge(&c->keep.look.head.head->fresh, &c->keep.look.asked, (int)atomic_load(&c->keep.look.head.head->soft), gate_mono_usec())) {
    case GATE_SERVE:
        return cache_answer(r, c, r->output_filters);
    case GATE_SERVE_STALE:
        c->keep.detail = "MAX-STALE";
        return cache_answer(r, c, r->output_filters);
    case GATE_SERVE_REFRESH:
        c->keep.detail = "STALE-WHILE-REVALIDATE";
        cache_refresh(r, c);
        return cache_answer(r, c, r->output_filters);
    default:
        return cache_fetch(r, c);
    }
}

static int get_or_head(request_rec *r, cache_request_t *c)
{
    for (int tries = 0; tries < 3; tries++) {
        int rc;

        if (!gate_look_find(&c->keep.look)) {
            break;
        }
        rc = answer_stored(r, c);
        if (rc != DECLINED || c->inside) {
            return rc;
        }
        /* its body went between two looks */
    }
    gate_look_drop(&c->keep.look);
    return cache_fetch(r, c);
}

static int bypass(request_rec *r, cache_request_t *c, const char *why)
{
    cache_count(GATE_COUNT_bypass, 1);
    c->keep.fwd = "bypass";
    c->keep.detail = why;
    return cache_pass_by(r, c);
}

static int write_through(request_rec *r, cache_request_t *c)
{
    cache_count(GATE_COUNT_bypass_method, 1);
    cache_request_read(r, c);
    c->keep.fwd = "method";
    c->keep.detail = NULL;
    if (c->keep.look.key.url && !cache_method_safe(r->method)) {
        cache_invalidate_add(r, c);
    }
    return cache_pass_by(r, c);
}

static int handler(request_rec *r)
{
    const cache_dir_conf_t *conf;
    cache_request_t *c;
    const char *why;

    if (!cache_store || gate_store_seat(cache_store) < 0 || cache_request_of(r) || none_of_ours(r) || !(conf = cache_conf(r))) {
        return DECLINED;
    }
    if (conf->purge && !strcmp(r->method, "PURGE")) {
        return cache_purge_request(r);
    }
    if (!conf->on) {
        return DECLINED;
    }
    if (cache_direct(r, conf)) {
        return OK;
    }
    c = cache_request_make(r, conf);
    if (r->method_number != M_GET) {
        return write_through(r, c);
    }
    why = cache_request_read(r, c);
    return why ? bypass(r, c, why) : get_or_head(r, c);
}

/* ---- start ------------------------------------------------------------------------------------------------------------------ */

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog, (void)ptemp;
    cache_config_reset(pconf);
    cache_store = NULL;
    ap_method_register(pconf, "PURGE");
    return OK;
}

static int check_sizes(server_rec *s, const cache_server_conf_t *conf)
{
    if (conf->max_object > gate_store_max_object(conf->size_bytes)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, GATE_LOGNO(0700)
                     "GateCacheMaxObject: %" APR_UINT64_T_FMT "K is more than a fifth of GateCacheSize (%" APR_UINT64_T_FMT
                     "K): an object of that size would push out too much; raise GateCacheSize to %" APR_UINT64_T_FMT
                     "M or lower GateCacheMaxObject", conf->max_object >> 10, conf->size_bytes >> 10,
                     (conf->max_object * 5 >> 20) + 1);
        return 0;
    }
    return 1;
}

static gate_seed_t random_seed(void)
{
    gate_seed_t seed;

    apr_generate_random_bytes((unsigned char *)&seed, sizeof seed);
    return seed;
}

static void sweep(int seat, void *store)
{
    gate_fill_sweep(store, seat, cache_wake);
    gate_store_sweep(seat, store);
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    cache_server_conf_t conf = cache_server_values(s);
    gate_store_limits_t limits = { conf.size_bytes, conf.max_object, 0 };
    gate_seed_t seed = random_seed();
    const char *why = NULL;
    gate_zone_t zone;

    (void)plog, (void)ptemp;
    if (!cache_config_wanted() || gate_core_rehearsal()) {
        return OK;
    }
    limits.seats = gate_seats_count(gate_core()->seats);
    if (!check_sizes(s, &conf)
        || gate_core_zone(s, "cache", gate_store_layout(&limits), limits.size_bytes, GATE_ZONE_OWN_BUDGET, &zone) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    cache_store = gate_store_attach(pconf, zone.base, &limits, zone.state != GATE_ZONE_KEPT, &seed, &why);
    if (!cache_store && zone.state == GATE_ZONE_KEPT) {
        /* old children may still be at work in it: it must not be laid out anew under them */
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, GATE_LOGNO(0705)
                     "cache: the store's own header is damaged (%s): serving without the cache until httpd is stopped and started",
                     why);
        return OK;
    }
    if (!cache_store) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, GATE_LOGNO(0701) "GateCacheSize: %" APR_UINT64_T_FMT
                     "M is %s; try GateCacheSize %" APR_UINT64_T_FMT "M", conf.size_bytes >> 20, why ? why : "no good",
                     (conf.size_bytes >> 20) * 2);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (zone.state == GATE_ZONE_RESIZED) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, GATE_LOGNO(0702)
                     "cache: the store has a new size or layout: it begins empty; old children go on in theirs");
    }
    /* before the fork: a child that takes a dead one's seat sweeps it before its own child_init hooks run */
    gate_seat_on_sweep(sweep, cache_store);
    cache_name_servers(pconf, s);
    cache_direct_find_filters();
    gate_arena_on_validate(gate_core()->arena, "cache", gate_store_validate, cache_store);
    cache_section_register();
    return OK;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    if (!cache_store) {
        return;
    }
    gate_store_sit(cache_store, gate_core()->seat);
    if (gate_store_seat(cache_store) < 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, GATE_LOGNO(0703)
                     "cache: this child has no seat (more living children than seats): it serves without the cache");
        return;
    }
    own_row = (gate_cache_row_t *)gate_store_table(cache_store, GATE_TABLE_COUNT, NULL) + gate_store_seat(cache_store);
    cache_direct_start(pchild);
    cache_workers_start(pchild, s);
}

static void child_stopping(apr_pool_t *pchild, int graceful)
{
    (void)pchild, (void)graceful;
    cache_workers_stopping();
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const core[] = { "mod_gate.c", NULL };

    (void)p;
    cache_filters_register();
    cache_workers_register();
    cache_door_register();
    ap_hook_pre_config(pre_config, core, NULL, APR_HOOK_FIRST);
    ap_hook_post_config(post_config, core, NULL, APR_HOOK_FIRST);
    ap_hook_child_init(child_init, core, NULL, APR_HOOK_FIRST);
    ap_hook_child_stopping(child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

AP_DECLARE_MODULE(gate_cache) = {
    STANDARD20_MODULE_STUFF, cache_dir_create, cache_dir_merge, cache_server_create, cache_server_merge, cache_directives,
    register_hooks, AP_MODULE_FLAG_NONE
};
