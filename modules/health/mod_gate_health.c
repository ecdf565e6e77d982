/*
 * mod_gate_health.c - who is up: active checks by one prober for the whole server, passive ones by what requests meet.
 * Reports come through core, verdicts go there; nobody calls this module.
 */
#include <ap_mpm.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_log.h>
#include <mod_watchdog.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "gate_log.h"
#include "gate_time.h"
#include "gate_upkeep.h"
#include "health.h"

#define WATCHDOG_NAME "_gate_health_"
#define TICK_USEC 100000   /* mod_watchdog does not look more often */
#define LOOK_USEC INT64_C(500000)
#define END_WAIT_SEC 2     /* a pass is 50 ms; only a name that is being looked up takes longer */

health_zone_t health_zone;
server_rec *health_server;

static _Atomic int stopping;
static pthread_mutex_t at_work = PTHREAD_MUTEX_INITIALIZER; /* the prober's thread has it while it stands on this child's memory */
static apr_pool_t *child_pool;  /* AT_WORK; NULL: this child may not check yet, or not any more */

/* ---- shared memory -------------------------------------------------------------------------------------------------------- */

static apr_status_t open_zone(server_rec *s)
{
    static health_limits_t limits;
    const gate_registry_limits_t *registry = gate_registry_limits(gate_core()->registry);
    gate_zone_t zone;
    apr_status_t rv;

    limits = (health_limits_t){ .groups = registry->groups, .members = registry->members };
    rv = gate_core_zone(s, "health", HEALTH_LAYOUT, health_zone_size(&limits), 0, &zone);
    if (rv == APR_SUCCESS) {
        health_zone_attach(&health_zone, zone.base, &limits, zone.state != GATE_ZONE_KEPT);
        gate_arena_on_validate(gate_core()->arena, "health", health_zone_validate, &limits);
        atomic_store(&health_zone.head->beat_usec, gate_mono_usec());
    }
    return rv;
}

/* ---- the prober's thread -------------------------------------------------------------------------------------------------- */

static apr_status_t on_tick(int state, void *data, apr_pool_t *temp)
{
    apr_pool_t *p;

    (void)data, (void)temp;
    if (state == AP_WATCHDOG_STATE_STARTING) {
        prctl(PR_SET_NAME, "gate-health");
    } else if (state == AP_WATCHDOG_STATE_STOPPING) {
        atomic_store(&stopping, 1);
    } else {
        pthread_mutex_lock(&at_work);
        if (child_pool && !atomic_load(&stopping)) {
            apr_pool_create_unmanaged_ex(&p, NULL, NULL);
            prober_run(p, &stopping);
            apr_pool_destroy(p);
        }
        pthread_mutex_unlock(&at_work);
    }
    return APR_SUCCESS;
}

/*
 * mod_watchdog's thread is not joined when a child ends, its pool is not the child's: under prefork, where a child ends within its signal
 * handler, rosters and curl would go while the prober uses them.
 */
static apr_status_t end_prober(void *unused)
{
    struct timespec until;

    (void)unused;
    atomic_store(&stopping, 1);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_WAIT_SEC;
    if (pthread_mutex_timedlock(&at_work, &until) != 0) {
        _exit(0); /* a name does not resolve: to take the child's memory away under that thread would be a crash */
    }
    child_pool = NULL;
    pthread_mutex_unlock(&at_work);
    return APR_SUCCESS;
}

static int register_watchdog(apr_pool_t *pconf, server_rec *s)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *add = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;
    apr_status_t rv = APR_SUCCESS;

    if (!get || !add) {
        if (health_checked_groups() == 0) {
            return OK;
        }
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, GATE_LOGNO(0518) "GateHealthCheck: needs mod_watchdog, which is not loaded");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    rv = get(&watchdog, WATCHDOG_NAME, 0, 0, pconf);
    if (rv == APR_SUCCESS) {
        rv = add(watchdog, TICK_USEC, NULL, on_tick);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s, GATE_LOGNO(0519) "checks: mod_watchdog gives no thread");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    (void)s;
    atomic_store(&stopping, 0);
    probe_init(pchild);
    prober_init(pchild);
    watch_begin(gate_mono_usec());
    apr_pool_pre_cleanup_register(pchild, NULL, end_prober); /* the last one registered is the first one run */
    child_pool = pchild; /* mod_watchdog's thread is not there yet */
}

/* ---- hooks ---------------------------------------------------------------------------------------------------------------- */

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog, (void)ptemp;
    health_config_reset(pconf);
    return OK;
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    int rc;

    (void)plog;
    if (gate_core_rehearsal()) {
        return OK;
    }
    health_server = s;
    if (open_zone(s) != APR_SUCCESS || (rc = health_config_check(s, ptemp)) != OK || (rc = register_watchdog(pconf, s)) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    gate_core_vouch(GATE_VERDICT_DOWN | GATE_VERDICT_EJECTED | GATE_VERDICT_UNKNOWN);
    gate_on_report(passive_report, NULL);
    gate_upkeep_add(LOOK_USEC, watch_look, NULL);
    health_section_register();
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const before[] = { "mod_gate.c", "mod_gate_upstream.c", NULL };
    static const char *const after[] = { "mod_watchdog.c", NULL };

    (void)p;
    ap_hook_pre_config(pre_config, before, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, before, after, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, before, after, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(gate_health) = {
    STANDARD20_MODULE_STUFF,
    NULL, NULL, NULL, NULL,
    health_directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
