/*
 * mod_gate_access.c - who comes in, how often, and who stays out: sets, GateDrop, limits, bans, geo. Hooks only; see access.h.
 */
#include <httpd.h>
#include <http_connection.h>
#include <http_protocol.h>
#include <http_request.h>

#define ACCESS_MODULE_FILE
#include "access.h"
#include "gate_upkeep.h"

#define LOOK_USEC INT64_C(400000)
#define TERM_USEC (5 * INT64_C(1000000))

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog, (void)ptemp;
    access_config_reset(pconf);
    return OK;
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf, (void)plog;
    return access_config_check(ptemp, s);
}

/* In every child, for a file of its own that each maps. */
static void look_at_geo(void)
{
    const char *why;

    switch (access_geo ? gate_geo_refresh(access_geo, &why) : 0) {
    case 1:
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, ap_server_conf, GATE_LOGNO(1017) "GateGeo: the file has changed and was opened again");
        break;
    case -1:
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf, GATE_LOGNO(1018)
                     "GateGeo: the file has changed, but cannot be opened: %s: the one before stays in use", why);
        break;
    default:
        break;
    }
}

/* Files of sets and worn-out words are the business of one child at a time. */
static void upkeep(int64_t now_usec, int ending, void *ctx)
{
    (void)ctx;
    if (ending) {
        gate_lease_end(&access_shared->lease);
        return;
    }
    look_at_geo();
    if (gate_lease_ask(&access_shared->lease, gate_core()->generation, now_usec, TERM_USEC)) {
        access_sets_watch();
        access_sweep_tables(now_usec);
    }
}

static apr_status_t close_geo(void *unused)
{
    (void)unused;
    if (access_geo) {
        gate_geo_close(access_geo);
        access_geo = NULL;
    }
    return APR_SUCCESS;
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const access_server_t *conf = access_server_of(s);
    const char *why;

    (void)plog;
    if (gate_core_rehearsal()) {
        return OK;
    }
    if (access_zones_open(pconf, s) != APR_SUCCESS || access_sets_open(pconf, s) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    access_trust_read(pconf, ptemp);
    if (conf->geo_path) {
        access_geo = gate_geo_open(ptemp, conf->geo_path, &why);
        apr_pool_cleanup_register(pconf, NULL, close_geo, apr_pool_cleanup_null);
    }
    access_show_register();
    access_state_register();
    gate_upkeep_add(LOOK_USEC, upkeep, NULL);
    return OK;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild, (void)s;
    access_requests_child();
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const core[] = { "mod_gate.c", NULL };

    ap_hook_pre_config(pre_config, core, NULL, APR_HOOK_FIRST);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, core, NULL, APR_HOOK_FIRST);
    ap_hook_child_init(child_init, core, NULL, APR_HOOK_FIRST);
    ap_hook_pre_connection(access_drop_hook, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_quick_handler(access_ban_hook, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(access_early_limits, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_header_parser(access_late_limits, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_insert_filter(access_watch_answer, NULL, NULL, APR_HOOK_LAST);
    ap_hook_insert_error_filter(access_watch_answer, NULL, NULL, APR_HOOK_LAST);
    ap_hook_log_transaction(access_log, NULL, NULL, APR_HOOK_REALLY_FIRST);
    access_answers_register();
    access_authz_register(p);
    access_doors_register();
    access_door_register();
}

AP_DECLARE_MODULE(gate_access) = {
    STANDARD20_MODULE_STUFF,
    access_dir_create,
    access_dir_merge,
    access_server_create,
    access_server_merge,
    access_directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
