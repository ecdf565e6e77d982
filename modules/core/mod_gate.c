/*
 * mod_gate.c - the module that is loaded first: makes the arena before the fork and keeps it over graceful restarts, gives each child
 * its seat, notices dead children. See gate_core.h.
 */

#include <ap_mpm.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <httpd.h>

#include "changes_glue.h"
#include "child_signals.h"
#include "gate_conf.h"
#include "gate_core.h"
#include "gate_group_conf.h"
#include "gate_log.h"
#include "gate_parse.h"
#include "gate_time.h"
#include "gate_section.h"
#include "gate_state_file.h"
#include "gate_upkeep.h"
#include "selfcheck.h"
#include "state_glue.h"

#define MEMORY_DEFAULT (UINT64_C(32) << 20)
#define MEMORY_MIN (UINT64_C(8) << 20)
#define MEMORY_MAX (UINT64_C(64) << 30)
#define MEMBERS_MIN 1024
#define GROUPS_MIN 64
#define SEATS_MIN 64
#define SEATS_MAX 2048

module AP_MODULE_DECLARE_DATA gate_module;

#define CORE_FIELDS(F)                                  \
    F(uint64_t, memory_bytes, UINT64_MAX, MEMORY_DEFAULT) \
    F(const char *, state_path, NULL, "")                 /* "" is off */

GATE_CONF_STRUCT(core_conf_t, CORE_FIELDS);
GATE_CONF_FUNCTIONS(core_conf, core_conf_t, CORE_FIELDS)

/* What outlives a restart, in memory of the process. */
typedef struct {
    gate_arena_t *arena;
    gate_registry_limits_t limits;
    uint32_t groups, members; /* expected by the last configuration */
    uint32_t generation;
    uint32_t vouched;        /* verdicts whose module was loaded in the generation before */
    int64_t started_wall_usec;
} retained_t;

static gate_core_t core = { .seat = GATE_SEAT_NONE };
static uint32_t expected_groups, expected_members;
static uint32_t vouched; /* verdicts whose module is loaded */
static const char *state_path;

gate_core_t *gate_core(void)
{
    return &core;
}

int gate_core_rehearsal(void)
{
    return ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG;
}

void gate_core_expect(uint32_t groups, uint32_t members)
{
    expected_groups += groups;
    expected_members += members;
}

void gate_core_vouch(uint32_t verdicts)
{
    vouched |= verdicts;
}

void gate_core_tend(void)
{
    if (core.seats && core.seat != GATE_SEAT_NONE && gate_seats_need_sweep(core.seats)) {
        gate_seats_sweep(core.seats);
    }
}

const char *gate_core_state_path(void)
{
    return state_path;
}

/* ---- directives ---- */

static void *create_server(apr_pool_t *p, server_rec *s)
{
    (void)s;
    return core_conf_create_at(p);
}

static core_conf_t *main_conf(server_rec *s)
{
    return ap_get_module_config(s->module_config, &gate_module);
}

static const char *set_memory(cmd_parms *cmd, void *dir, const char *arg)
{
    core_conf_t *conf = main_conf(cmd->server);
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    if (err) {
        return err;
    }
    err = gate_parse_size(cmd->temp_pool, arg, MEMORY_MIN, MEMORY_MAX, &conf->memory_bytes);
    return err ? apr_psprintf(cmd->pool, "GateMemory: '%s' %s", arg, err) : NULL;
}

static const char *set_state_file(cmd_parms *cmd, void *dir, const char *arg)
{
    core_conf_t *conf = main_conf(cmd->server);
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    if (err) {
        return err;
    }
    if (ap_cstr_casecmp(arg, "off") == 0) {
        conf->state_path = "";
        return NULL;
    }
    conf->state_path = ap_server_root_relative(cmd->pool, arg);
    if (!*arg || !conf->state_path) {
        return apr_psprintf(cmd->pool, "GateStateFile: '%s' is not a path (a file in a directory that only httpd's user may "
                            "write, such as 'gatehouse/state', or 'off')", arg);
    }
    return NULL;
}

static const command_rec directives[] = {
    AP_INIT_TAKE1("GateMemory", set_memory, NULL, RSRC_CONF,
                  "shared memory for groups, members, counters, limits and bans, without the cache (default 32M)"),
    AP_INIT_TAKE1("GateStateFile", set_state_file, NULL, RSRC_CONF,
                  "file in which changes made at run time outlive a restart, or off (default off)"),
    { .name = NULL }
};

/* ---- the arena ---- */

/* Another layout of it needs another name: a module file may be replaced by a newer one over a graceful restart. */
#define RETAINED "gatehouse core 2"

static retained_t *retained(void)
{
    retained_t *r = ap_retained_data_get(RETAINED);

    if (!r) {
        r = ap_retained_data_create(RETAINED, sizeof *r);
        r->arena = gate_arena_create();
        r->started_wall_usec = apr_time_now();
    }
    return r;
}

apr_status_t gate_core_zone(server_rec *s, const char *name, uint32_t layout, uint64_t size_bytes, unsigned flags,
                            gate_zone_t *out)
{
    apr_status_t rv = gate_arena_zone(core.arena, name, layout, size_bytes, flags, out);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, GATE_LOGNO(0002)
                     "arena: no shared memory for zone %s (%" APR_UINT64_T_FMT "K): httpd cannot start with this configuration; "
                     "check the memory limits of this host or container", name, size_bytes >> 10);
    }
    return rv;
}

/* Only after the last zone is it known how much they need together. */
static int check_budget(server_rec *s)
{
    char zones[400];

    if (gate_arena_fits(core.arena)) {
        return OK;
    }
    gate_arena_describe(core.arena, zones, sizeof zones);
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, GATE_LOGNO(0001)
                 "GateMemory: %" APR_UINT64_T_FMT "M is not enough: this configuration needs %" APR_UINT64_T_FMT "K (%s); set "
                 "GateMemory %" APR_UINT64_T_FMT "M or more", main_conf(s)->memory_bytes >> 20, gate_arena_used(core.arena) >> 10,
                 zones, (gate_arena_used(core.arena) + (1 << 20) - 1) >> 20);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/*
 * Twice what is expected, since all may be replaced by others while the former still rest, and never smaller than it was. What there is
 * stays if those of before and those of now fit: a zone that grows is another zone, and what old children still write into theirs
 * (counters, verdicts) the new ones do not see.
 */
static uint32_t room_for(uint32_t expected, uint32_t before, uint32_t least, uint32_t had)
{
    uint32_t room = least;

    if (had > 0 && (uint64_t)expected + before <= had - had / 8) {
        return had;
    }
    while (room < 2 * expected && room < 1u << 18) {
        room *= 2;
    }
    return room > had ? room : had;
}

static uint32_t seats_wanted(void)
{
    int servers = 0;
    uint32_t seats;

    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &servers);
    /* children of old generations that still finish their exchanges hold seats too */
    seats = servers > 0 ? (uint32_t)servers * 4 : SEATS_MIN;
    return seats < SEATS_MIN ? SEATS_MIN : seats > SEATS_MAX ? SEATS_MAX : seats;
}

static int validate_seats(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    (void)ctx;
    return gate_seats_validate(base, size_bytes, why, why_size);
}

static int validate_events(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    (void)ctx;
    return gate_events_validate(base, size_bytes, why, why_size);
}

static apr_status_t open_seats(server_rec *s, uint32_t count)
{
    gate_zone_t zone;
    apr_status_t rv = gate_core_zone(s, "seats", GATE_SEATS_LAYOUT, gate_seats_size(count), 0, &zone);

    if (rv == APR_SUCCESS) {
        core.seats = zone.base;
        if (zone.state != GATE_ZONE_KEPT) {
            gate_seats_init(core.seats, count);
        }
        gate_arena_on_validate(core.arena, "seats", validate_seats, NULL);
    }
    return rv;
}

static apr_status_t open_events(server_rec *s)
{
    gate_zone_t zone;
    apr_status_t rv = gate_core_zone(s, "events", GATE_EVENTS_LAYOUT, gate_events_size(), 0, &zone);

    if (rv == APR_SUCCESS) {
        core.events = zone.base;
        if (zone.state != GATE_ZONE_KEPT) {
            gate_events_init(core.events);
        }
        gate_arena_on_validate(core.arena, "events", validate_events, NULL);
    }
    return rv;
}

/*
 * What is in flight is counted in a zone for the first MEMBERS_MIN slots, one for as many again, one for twice as many, and so on up to the
 * room that there is, which is such a number too: when it grows, those that there were stay.
 */
static apr_status_t open_inflight(server_rec *s, const retained_t *r)
{
    uint32_t begin = 0, end;

    for (end = MEMBERS_MIN; begin < r->limits.members; begin = end, end *= 2) {
        gate_zone_t zone;
        char name[GATE_ZONE_NAME_LEN];
        apr_status_t rv;

        apr_snprintf(name, sizeof name, "inflight.%u", end);
        rv = gate_core_zone(s, name, GATE_INFLIGHT_LAYOUT, gate_inflight_size(end - begin, r->limits.seats), 0, &zone);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (gate_inflight_attach(core.registry, zone.base, end - begin)) {
            return APR_ENOSPC;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t open_registry(server_rec *s, apr_pool_t *pconf, retained_t *r)
{
    gate_zone_t zone;
    uint32_t kept = 0;
    apr_status_t rv = gate_core_zone(s, "registry", GATE_REGISTRY_LAYOUT, gate_registry_size(&r->limits), 0, &zone);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    core.registry = gate_registry_attach(pconf, zone.base, &r->limits, zone.state != GATE_ZONE_KEPT, core.seats, core.events,
                                         zone.old_base, zone.old_size_bytes, &kept);
    gate_arena_on_validate(core.arena, "registry", gate_registry_validate, core.registry);
    if ((rv = open_inflight(s, r)) != APR_SUCCESS) {
        return rv;
    }
    if (zone.state == GATE_ZONE_RESIZED) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, GATE_LOGNO(0003)
                     "arena: the registry has a new size (room for %u groups, %u members): state and counters of %u members were "
                     "kept, what old children still add to counters is not", r->limits.groups, r->limits.members, kept);
    }
    return APR_SUCCESS;
}

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf, (void)plog, (void)ptemp;
    expected_groups = expected_members = 0;
    vouched = 0;
    state_path = NULL;
    gate_report_listeners_clear();
    gate_seat_sweepers_clear();
    gate_sections_clear();
    gate_state_sections_clear();
    gate_upkeep_clear();
    gate_group_conf_end();
    return OK;
}

static int open_arena(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    core_conf_t *conf = main_conf(s);
    retained_t *r;

    (void)plog, (void)ptemp;
    core_conf_defaults(conf);
    state_path = *conf->state_path ? conf->state_path : NULL;
    if (gate_core_rehearsal()) {
        return OK;
    }
    r = retained();
    if (!r->arena) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    r->generation++;
    r->limits.groups = room_for(expected_groups, r->groups, GROUPS_MIN, r->limits.groups);
    r->limits.members = room_for(expected_members, r->members, MEMBERS_MIN, r->limits.members);
    r->groups = expected_groups;
    r->members = expected_members;
    r->limits.seats = seats_wanted();
    core.arena = r->arena;
    core.generation = r->generation;
    core.started_wall_usec = r->started_wall_usec;
    gate_arena_begin(core.arena, conf->memory_bytes);
    if (open_seats(s, r->limits.seats) != APR_SUCCESS || open_events(s) != APR_SUCCESS
        || open_registry(s, pconf, r) != APR_SUCCESS || state_open(s) != APR_SUCCESS
        || changes_open(pconf, s) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    gate_seat_on_sweep(gate_registry_sweep, core.registry);
    ap_add_version_component(pconf, "Gatehouse/" GATE_VERSION);
    return OK;
}

/* Runs after every other module's post_config. */
static int settle_arena(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf, (void)plog, (void)ptemp;
    if (gate_core_rehearsal()) {
        return OK;
    }
    gate_arena_settle(core.arena);
    if (check_budget(s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    gate_verdicts_disown(core.registry, retained()->vouched & ~vouched, "its module is not loaded any more", gate_mono_usec());
    retained()->vouched = vouched;
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, GATE_LOGNO(0004)
                 "arena: generation %u, %" APR_UINT64_T_FMT "K of GateMemory %" APR_UINT64_T_FMT "M in use", core.generation,
                 gate_arena_used(core.arena) >> 10, main_conf(s)->memory_bytes >> 20);
    return OK;
}

/* ---- children ---- */

static void take_seat(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild;
    core.seat = gate_seat_claim(core.seats);
    if (core.seat == GATE_SEAT_NONE) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, GATE_LOGNO(0005)
                     "seats: all %u are held by living children: this one serves, but what it has in flight is not seen by the "
                     "others; let old children end sooner (GracefulShutdownTimeout, MaxConnectionsPerChild) or raise ServerLimit",
                     gate_seats_count(core.seats));
    }
    gate_registry_sweep(core.seat, core.registry);
    gate_core_tend();
}

/* In the parent: the arena is written at one bounded place, nothing in it is followed. */
static void child_ended(server_rec *s, pid_t pid, ap_generation_t gen, int slot, mpm_child_status status)
{
    (void)gen, (void)slot;
    if (status != MPM_CHILD_EXITED || !core.seats) {
        return;
    }
    if (gate_seat_mark_dead(core.seats, retained()->limits.seats, (uint32_t)pid) != GATE_SEAT_NONE) {
        ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s, GATE_LOGNO(0006)
                     "seats: child %" APR_PID_T_FMT " ended: what it had in flight no longer counts", pid);
    }
}

static int tend(request_rec *r)
{
    (void)r;
    gate_core_tend();
    return DECLINED;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_post_config(open_arena, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_post_config(settle_arena, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_child_init(take_seat, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_child_init(state_child, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_child_status(child_ended, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(selfcheck_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_read_request(tend, NULL, NULL, APR_HOOK_REALLY_FIRST);
    child_signals_register();
}

AP_DECLARE_MODULE(gate) = {
    STANDARD20_MODULE_STUFF,
    NULL,          /* create per-directory */
    NULL,          /* merge per-directory */
    create_server,
    core_conf_merge,
    directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
