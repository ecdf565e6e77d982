/* changes_glue.c - run-time changes of members as httpd runs them: the zone, the section of the state file, drains that end. */
#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

#include "changes_glue.h"
#include "gate_core.h"
#include "gate_lease.h"
#include "gate_log.h"
#include "gate_state_file.h"
#include "gate_time.h"
#include "gate_upkeep.h"

APLOG_USE_MODULE(gate);

#define TICK_USEC INT64_C(250000)
#define TERM_USEC INT64_C(3000000)

static gate_lease_t *lease; /* who ends drains */
static server_rec *main_server;

static void save(apr_pool_t *p, const void **data, size_t *len, void *ctx)
{
    (void)ctx;
    *data = gate_changes_save(gate_core()->changes, p, len);
}

static const char *load(apr_pool_t *p, uint32_t version, const void *data, size_t len, void *ctx)
{
    (void)version, (void)ctx;
    return gate_changes_load(gate_core()->changes, p, data, len);
}

static void tell(const gate_change_t *change, uint32_t inflight, void *ctx)
{
    (void)ctx;
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, main_server, GATE_LOGNO(0013)
                 "group %s: member %s: its drain is over: removed; %u requests in flight on it go on", change->group, change->id, inflight);
}

static void tick(int64_t now_usec, int ending, void *ctx)
{
    (void)ctx;
    if (ending) {
        gate_lease_end(lease);
    }
    else if (gate_lease_ask(lease, gate_core()->generation, now_usec, TERM_USEC)) {
        gate_changes_tick(gate_core()->changes, now_usec, apr_time_now(), tell, NULL);
    }
}

apr_status_t changes_open(apr_pool_t *pconf, server_rec *s)
{
    static const gate_state_section_t section = { .name = "members", .version = GATE_CHANGES_SECTION, .save = save, .load = load };
    gate_core_t *core = gate_core();
    gate_zone_t zone, drains;
    apr_status_t rv;

    if ((rv = gate_core_zone(s, "changes", GATE_CHANGES_LAYOUT, gate_changes_size(GATE_CHANGES_CAPACITY), 0, &zone)) != APR_SUCCESS
        || (rv = gate_core_zone(s, "drains", GATE_CHANGES_LAYOUT, sizeof *lease, 0, &drains)) != APR_SUCCESS) {
        return rv;
    }
    if (zone.state != GATE_ZONE_KEPT) {
        gate_changes_init(zone.base, GATE_CHANGES_CAPACITY);
    }
    core->changes = gate_changes_attach(pconf, zone.base, GATE_CHANGES_CAPACITY, core->registry, gate_core_changed);
    lease = drains.base;
    main_server = s;
    gate_arena_on_validate(core->arena, "changes", gate_changes_validate, core->changes);
    gate_state_register(&section);
    gate_upkeep_add(TICK_USEC, tick, NULL);
    return APR_SUCCESS;
}

void changes_child(server_rec *s)
{
    uint32_t done = gate_changes_apply(gate_core()->changes, gate_mono_usec());

    if (done) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, GATE_LOGNO(0014)
                     "members: %u changes that were made at run time before the restart are made again", done);
    }
}
