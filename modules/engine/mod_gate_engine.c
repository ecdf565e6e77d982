/*
 * mod_gate_engine.c - requests served on event loops, without a thread that waits for anybody. Hooks only; see engine.h.
 */
#define ENGINE_MODULE_FILE
#include "engine.h"

#include <ap_mpm.h>
#include <mpm_common.h>
#include <sys/resource.h>

#include "client_h2.h"
#include "client_tls.h"
#include "engine_parts.h"
#include "h2_negotiate.h"
#include "origin_tls_conf.h"

#define FILES_ENOUGH 65536

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    apr_status_t rv;

    (void)plog;
    if (gate_core_rehearsal()) {
        return OK;
    }
    engine_config_finish(ptemp, s);
    rv = engine_counts_open(s);
    if (rv != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    engine_parts_configure(pconf, ptemp, s);
    engine_section_register();
    return OK;
}

/* A connection is a descriptor, and another to the member: what the process may have is taken. */
static void more_files(server_rec *s)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY || files.rlim_cur >= FILES_ENOUGH) {
        return;
    }
    files.rlim_cur = files.rlim_max == RLIM_INFINITY || files.rlim_max > FILES_ENOUGH ? FILES_ENOUGH : files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
        ap_log_error(APLOG_MARK, APLOG_INFO, errno, s, GATE_LOGNO(1404) "GateEngine: the limit of open files stays as it was");
    }
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    int threads = 0;

    if (!engine_is_wanted()) {
        return;
    }
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    more_files(s);
    handover_child(pchild, threads);
    takeover_child(pchild, threads);
    if (engine_loops_start(pchild, s) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, GATE_LOGNO(1405) "GateEngine: this child has no loop: its requests are served by threads");
    }
}

static void child_stopping(apr_pool_t *pchild, int graceful)
{
    (void)pchild;
    if (!engine_is_wanted()) {
        return;
    }
    engine_loops_drain();
    if (!graceful) {
        handover_cut();
        engine_loops_stop();
    }
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const core[] = { "mod_gate.c", NULL };

    ap_hook_post_config(post_config, core, NULL, APR_HOOK_LAST);
    ap_hook_child_init(child_init, core, NULL, APR_HOOK_LAST);
    ap_hook_child_stopping(child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
    transport_register(p);
    socket_bucket_register(p);
    client_tls_register();
    origin_tls_register();
    h2_negotiate_register();
    h2_secondary_register();
    handover_register(p);
    takeover_register(p);
}

AP_DECLARE_MODULE(gate_engine) = {
    STANDARD20_MODULE_STUFF,
    NULL,
    NULL,
    engine_server_create,
    engine_server_merge,
    engine_directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
