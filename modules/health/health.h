/*
 * health.h - what the glue of this module shares: checks as configured, the zone, the prober's engine.
 * Depends: httpd, the headers of core, health_zone.h; probe.c alone knows libcurl.
 * Pools:   configuration lives in pconf; the prober of a child has a pool of its own.
 * Threads: configuration is read only after post_config. The prober runs on this module's watchdog thread of one child, watch.c on
 *          the upkeep thread of each, passive.c on every thread that finishes a try.
 */
#ifndef HEALTH_H
#define HEALTH_H

#include <httpd.h>
#include <ap_regex.h>
#include <apr_tables.h>
#include <http_config.h>

#include "gate_core.h"
#include "gate_parse.h"
#include "health_zone.h"

extern module AP_MODULE_DECLARE_DATA gate_health_module;

/* ---- configuration (health_config.c) -------------------------------------------------------------------------------------- */

typedef enum { CHECK_KIND_HTTP, CHECK_KIND_TCP, CHECK_KIND_GRPC } check_kind_e;
typedef enum { CHECK_VERIFY_OFF, CHECK_VERIFY_SYSTEM, CHECK_VERIFY_FILE } check_verify_e;

/* GateHealthCheck, read. */
typedef struct health_check {
    check_kind_e kind;
    health_rule_t rule;
    const char *method, *path;     /* http */
    const char *host;              /* NULL: the member's */
    uint16_t port;                 /* 0: the member's */
    apr_array_header_t *headers;   /* of const char *: "Name: value" */
    gate_status_set_t statuses;
    const char *body;              /* regex as written, NULL: none */
    ap_regex_t *body_regex;
    const char *service;           /* grpc; "" is the whole server */
    check_verify_e verify;
    const char *ca_file;
    const struct health_check *as_tcp; /* the same by tcp, for members that came at run time and speak no HTTP */
} health_check_t;

/* What a group's block says to us. */
typedef struct {
    const char *name;              /* of the group */
    const char *file;              /* where its GateHealthCheck stands, or the GateOutlier if there is none */
    int line;
    health_check_t *check;         /* NULL: not checked */
    outlier_rule_t *outlier;       /* NULL: as by default */
    uint32_t index;                /* in the registry, from post_config on */
} health_group_t;

extern apr_array_header_t *health_groups; /* of health_group_t * */
extern const command_rec health_directives[];

void health_config_reset(apr_pool_t *pconf);
/** Rules that need the members: after upstream's post_config. Logs what is wrong. @return OK or HTTP_INTERNAL_SERVER_ERROR */
int health_config_check(server_rec *s, apr_pool_t *ptemp);
/** What holds for a group of the registry; never NULL. */
const outlier_rule_t *health_outlier_of(uint32_t group);
/** @return the check of a group of the registry, or NULL */
const health_check_t *health_check_of(uint32_t group);
/** Number of groups that are checked. */
int health_checked_groups(void);

/* ---- the zone (mod_gate_health.c) ----------------------------------------------------------------------------------------- */

extern health_zone_t health_zone;
extern server_rec *health_server;

/* ---- one check (probe.c) -------------------------------------------------------------------------------------------------- */

/* Checks in flight: any number, on the thread that calls. */
typedef struct probe_engine probe_engine_t;

typedef struct {
    uint32_t slot, incarnation;
    const health_check_t *check;
    const gate_url_t *url;         /* of the member, borrowed for the call */
} probe_ask_t;

typedef void (*probe_done_fn)(uint32_t slot, uint32_t incarnation, const check_result_t *result, void *ctx);

/** http, https, h2, h2c, ws or wss. */
int probe_speaks_http(const gate_url_t *url);
/** In child_init, before there are threads. */
void probe_init(apr_pool_t *pchild);
/** NULL when the system refuses (errno says). */
probe_engine_t *probe_engine_create(apr_pool_t *p, probe_done_fn done, void *ctx);
/** Checks in flight are given up without a result. */
void probe_engine_end(probe_engine_t *engine);
/** @return 0: done is called for it later, by probe_run(); -1: there is no room for more now */
int probe_start(probe_engine_t *engine, const probe_ask_t *ask);
/** Serves the checks in flight until then. */
void probe_run(probe_engine_t *engine, int64_t until_usec);
uint32_t probe_in_flight(const probe_engine_t *engine);

/* ---- the prober (prober.c), passive checks (passive.c), the watch over the prober (watch.c) ------------------------------- */

/** Runs in a child while it holds the lease and *stop is 0; returns at once when it does not get it. */
void prober_run(apr_pool_t *p, const _Atomic int *stop);
/** For child_init. */
void prober_init(apr_pool_t *pchild);

void passive_report(const gate_report_t *report, void *ctx);

/** In child_init. */
void watch_begin(int64_t now_usec);
/** An upkeep job: notices a prober that has stopped. */
void watch_look(int64_t now_usec, int ending, void *ctx);
/** The prober is at work: what it says is trusted again. */
void watch_beat(int64_t now_usec);
/** Members whose last result is too old are down by it no longer. @return how many those were */
uint32_t watch_distrust(int64_t now_usec);

/** The slots of a group's members, in pool p. */
const uint32_t *health_slots(apr_pool_t *p, uint32_t group, uint32_t *n);

/** What follows when a member is not used: "traffic goes to 2 others". @return usable members that are left */
uint32_t health_others(apr_pool_t *p, uint32_t group, const char **words);

void health_section_register(void);

#endif
