/*
 * state_glue.c - the state file and upkeep as httpd runs them: the zone, loading in the first child, saving beside the requests.
 */
#include <stdatomic.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

#include "changes_glue.h"
#include "gate_core.h"
#include "gate_log.h"
#include "gate_state_file.h"
#include "gate_upkeep.h"
#include "state_glue.h"

APLOG_USE_MODULE(gate);

#define SAVE_EVERY_USEC INT64_C(250000)

static gate_state_t *state;
static server_rec *main_server;
static int complained;

void gate_core_changed(void)
{
    if (state && gate_core_state_path()) {
        gate_state_touch(state);
    }
}

apr_status_t state_open(server_rec *s)
{
    gate_zone_t zone;
    apr_status_t rv = gate_core_zone(s, "state", GATE_STATE_LAYOUT, sizeof *state, 0, &zone);

    if (rv == APR_SUCCESS) {
        state = zone.base;
        main_server = s;
        complained = 0;
    }
    return rv;
}

static void save(int64_t now_usec, int ending, void *ctx)
{
    apr_pool_t *p;
    const char *why;
    apr_status_t rv;

    (void)ctx;
    if (atomic_load(&state->changes) == atomic_load(&state->saved)) {
        complained = 0;
        return;
    }
    apr_pool_create(&p, NULL);
    rv = gate_state_save(state, gate_core_state_path(), now_usec, ending, p, &why);
    if (rv != APR_SUCCESS && !complained) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, main_server, GATE_LOGNO(0010)
                     "GateStateFile %s %s: changes made at run time would be lost by a restart; tried again every 30 s",
                     gate_core_state_path(), why);
        complained = 1;
    }
    apr_pool_destroy(p);
}

void state_child(apr_pool_t *pchild, server_rec *s)
{
    const char *path = gate_core_state_path(), *said;
    apr_status_t rv;

    if (path) {
        if (gate_state_load(state, path, pchild, &said) < 0) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, GATE_LOGNO(0011)
                         "GateStateFile %s: %s: begun without that; the next change overwrites it", path, said);
        }
        gate_upkeep_add(SAVE_EVERY_USEC, save, NULL);
    }
    changes_child(s);
    rv = gate_upkeep_start(pchild);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, GATE_LOGNO(0012)
                     "upkeep: no thread for it in this child: it serves, but files are not watched and state is not saved by it");
    }
}
