/*
 * mod_gate_upstream.c - groups of members for mod_proxy: <GateUpstream>, GateSelect, the gate:// scheme. Hooks only; see upstream.h.
 */
#include <httpd.h>
#include <http_connection.h>
#include <http_protocol.h>
#include <http_request.h>

#define UPSTREAM_MODULE_FILE
#include "upstream.h"

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog, (void)ptemp;
    upstream_config_reset(pconf);
    upstream_check_rewrites(pconf);
    return OK;
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf, (void)plog;
    return upstream_check(ptemp, s);
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog;
    if (gate_core_rehearsal()) {
        return OK;
    }
    if (upstream_declare(ptemp, s) != APR_SUCCESS || upstream_queue_open(pconf, ptemp, s) != APR_SUCCESS
        || upstream_sticky_open(s) != APR_SUCCESS || upstream_discover_open(pconf, s) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    upstream_member_tls_read(pconf, s);
    upstream_section_register();
    upstream_log_look();
    return OK;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    (void)s;
    upstream_workers_init(pchild, gate_registry_limits(gate_core()->registry)->members);
    upstream_dispatch_init(pchild);
    upstream_door_init(pchild);
    upstream_queue_child(pchild);
    upstream_sticky_child();
    upstream_backend_init();
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const rewrite[] = { "mod_rewrite.c", NULL };
    static const char *const proxy[] = { "mod_proxy.c", NULL };
    static const char *const core[] = { "mod_gate.c", NULL };

    (void)p;
    upstream_backend_register();
    upstream_replay_register();
    upstream_answer_register();
    upstream_shadow_register();
    upstream_door_register();
    ap_hook_pre_config(pre_config, core, NULL, APR_HOOK_FIRST);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, core, NULL, APR_HOOK_FIRST);
    ap_hook_child_init(child_init, core, NULL, APR_HOOK_FIRST);
    ap_hook_map_to_storage(upstream_unmask, NULL, proxy, APR_HOOK_REALLY_FIRST);
    ap_hook_fixups(upstream_unmask, rewrite, proxy, APR_HOOK_FIRST);
    ap_hook_pre_connection(upstream_backend_attach, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_error_filter(upstream_answer_error_page, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_error_log(upstream_note_logged, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_log_transaction(upstream_log_vars, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_log_transaction(upstream_log_cut, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_log_transaction(upstream_log_uncut, NULL, NULL, APR_HOOK_REALLY_LAST);
    proxy_hook_canon_handler(upstream_canon, NULL, NULL, APR_HOOK_FIRST);
    proxy_hook_scheme_handler(upstream_dispatch, NULL, NULL, APR_HOOK_FIRST);
}

AP_DECLARE_MODULE(gate_upstream) = {
    STANDARD20_MODULE_STUFF,
    upstream_select_create,
    upstream_select_merge,
    NULL, /* create per-server */
    NULL, /* merge per-server */
    upstream_directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
