/*
 * access.h - what the glue files of mod_gate_access share: configuration as written, and where its shared memory is.
 * Depends: httpd, mod_gate, all logic of this module.
 * Memory:  sets, limits and ban rules live in pconf; they are listed in access_conf as they are read, and forgotten in pre_config.
 */
#ifndef GATE_ACCESS_H_PRIVATE
#define GATE_ACCESS_H_PRIVATE

#include <stdatomic.h>

#include <httpd.h>

#include <ap_expr.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_log.h>
#include <http_main.h>

#include "ban.h"
#include "concurrency.h"
#include "gate_access.h"
#include "gate_conf.h"
#include "gate_core.h"
#include "gate_lease.h"
#include "gate_log.h"
#include "gate_parse.h"
#include "gate_siphash.h"
#include "geo.h"
#include "ipset_store.h"
#include "limiter.h"
#include "tally.h"
#include "trial.h"

extern module AP_MODULE_DECLARE_DATA gate_access_module;
#ifndef ACCESS_MODULE_FILE
APLOG_USE_MODULE(gate_access);
#endif

/* ---- sets (access_sets.c) -------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    const char *where;               /* "file:line" of its GateIPSet */
    apr_array_header_t *files;       /* of const char *: absolute paths */
    apr_array_header_t *prefixes;    /* of access_prefix_t: written in the directive */
    gate_ipset_builder_t *builder;   /* finished; until it is published */
    size_t size_bytes;
    uint64_t stamp;                  /* of its files when they were read */
    void *image;                     /* without files: in pconf */
    gate_ipset_store_t store;        /* with files; place is NULL before post_config */
    _Atomic uint64_t *source, *refused; /* in the place: stamps of the files in use, and of those that were no good */
    uint64_t seen;                   /* watcher's, of the last look */
    int trim_in;                     /* watcher's: looks until the old version's memory is given back */
} access_set_t;

typedef struct {
    gate_prefix_t prefix;
    int exclude;
} access_prefix_t;

access_set_t *access_set_named(const char *name);
int access_set_find(const access_set_t *set, const gate_address_t *address, gate_prefix_t *match);
uint32_t access_set_count(const access_set_t *set);
/** Reads its files and builds it. @return NULL or what is wrong, of pool p, naming file and line; warnings are logged */
const char *access_set_load(access_set_t *set, apr_pool_t *p, server_rec *s, int quiet);
apr_status_t access_sets_open(apr_pool_t *pconf, server_rec *s);
/** Looks whether files of sets have changed, and takes the changes up. In the child that has the lease. */
void access_sets_watch(void);

/* Names of sets used somewhere; found again when all of the configuration is read. */
typedef struct {
    const char *directive, *where;
    apr_array_header_t *names;       /* of const char * */
    apr_array_header_t *sets;        /* of access_set_t *, after the check */
} access_names_t;

access_names_t *access_names_create(apr_pool_t *p, const char *directive, const char *where);
/** @return the set that has the address, or NULL */
const access_set_t *access_names_find(const access_names_t *names, const gate_address_t *address, gate_prefix_t *match);

/* ---- limits and bans ------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *where, *text;
    gate_status_set_t statuses;
    int has_status;
    uint64_t count, keys;
    int64_t window_usec;
    gate_ban_term_t term;
    access_names_t *exempt;
    int drop;
    gate_lines_t lines;
} access_rule_t;

typedef struct {
    int limits_off, bans_off;
    apr_array_header_t *limits;      /* of access_limit_t *; NULL: not said here */
    apr_array_header_t *rules;       /* of access_rule_t * */
} access_dir_t;

typedef struct {
    access_names_t *drop;            /* NULL: not said here; no names: off */
    int64_t ban_places;              /* main server */
    const char *geo_path;
} access_server_t;

/* All there is in this configuration. */
typedef struct {
    apr_pool_t *pconf;
    apr_hash_t *sets;                /* name -> access_set_t */
    apr_array_header_t *set_list;    /* of access_set_t *, as written */
    apr_array_header_t *limits;      /* of access_limit_t * */
    apr_array_header_t *rules;       /* of access_rule_t * */
    apr_array_header_t *names;       /* of access_names_t *: to be checked */
    apr_array_header_t *countries;   /* of const char *: where a Require gate-country stands */
    int late_limits;                 /* some limit stands where only the whole walk finds it */
    int drops;                       /* GateDrop is used */
    int requests;                    /* limits, or bans, are used */
} access_world_t;

extern access_world_t access_conf;
extern const command_rec access_directives[];

void access_config_reset(apr_pool_t *pconf);
void *access_dir_create(apr_pool_t *p, char *where);
void *access_dir_merge(apr_pool_t *p, void *outer, void *inner);
void *access_server_create(apr_pool_t *p, server_rec *s);
void *access_server_merge(apr_pool_t *p, void *outer, void *inner);
access_server_t *access_server_of(const server_rec *s);
/** In check_config: rules between directives. @return OK or an error, logged */
int access_config_check(apr_pool_t *ptemp, server_rec *s);

/* ---- shared memory (access_zones.c) ---------------------------------------------------------------------------------------- */

#define ACCESS_STRIPES 16

enum { ACCESS_V_ADMITTED, ACCESS_V_DENIED, ACCESS_V_LIMITED, ACCESS_V_DELAYED, ACCESS_V_CONNECTIONS, ACCESS_V_BANNED,
       ACCESS_V_DROPPED, ACCESS_V_WOULD, ACCESS_V_BANS_MADE, ACCESS_V_BANS_FULL, ACCESS_V_COUNT };

typedef struct {
    _Atomic uint64_t count[16];      /* by verdict; a child counts in the stripe of its seat */
} access_stripe_t;

/* ZONE "access": frozen: seed. ATOMIC: counters. lease: gate_lease.h */
typedef struct {
    gate_seed_t seed;
    uint64_t sown;
    gate_lease_t lease;
    uint64_t unused[9];
    access_stripe_t stripe[ACCESS_STRIPES];
} access_shared_t;

extern access_shared_t *access_shared;
extern gate_bans_t *access_bans;

apr_status_t access_zones_open(apr_pool_t *pconf, server_rec *s);
/** "set 0123456789abcdef": a zone's name for any text. */
const char *access_zone_name(apr_pool_t *p, const char *kind, const char *text);
uint64_t access_text_hash(const char *text);
void access_sweep_tables(int64_t now_usec);
void access_count(int verdict);
uint64_t access_counted(int verdict);

/* ---- requests ---------------------------------------------------------------------------------------------------------------- */

/* A request's own notes, in its request_config. */
typedef struct {
    const char *said;                /* for GATE_ACCESS; NULL: nothing yet */
    int judged;                      /* limits were asked, here or on the other plane */
    int banned;
    int denied;                      /* a Require of ours said no */
    int holds;                       /* its places among those in flight have been taken */
    int earned;                      /* its status has been counted for its client's bans */
    const char *country;             /* looked up; "" unknown */
} access_note_t;

access_note_t *access_note(request_rec *r);
gate_address_t access_client(const request_rec *r);

int access_ban_hook(request_rec *r, int lookup);
int access_early_limits(request_rec *r);
int access_late_limits(request_rec *r);
int access_log(request_rec *r);
/** An answer begins (insert_filter, insert_error_filter): its status counts for bans before it is passed on. */
void access_watch_answer(request_rec *r);
void access_answers_register(void);
int access_drop_hook(conn_rec *c, void *socket);
void access_requests_child(void);
/** Lets somebody in or not, nothing counted. */
void access_explain_request(request_rec *r, const gate_address_t *client, gate_access_verdict_t *out);

/* ---- both planes (access_judge.c, access_bans.c) ------------------------------------------------------------------------------ */

/* Who asks. */
typedef struct {
    apr_pool_t *pool;                /* what is said to it lives here */
    gate_address_t client;           /* after mod_remoteip */
    conn_rec *c;
    request_rec *r;                  /* NULL: made by request(ctx) when an expression needs one */
    request_rec *(*request)(void *ctx);
    void *ctx;
} access_asker_t;

request_rec *access_asker_request(access_asker_t *asker);

/* What it is told. */
typedef struct {
    gate_access_e verdict;           /* ADMIT DELAY LIMITED CONNECTIONS */
    int64_t wait_usec;               /* DELAY */
    const char *said;                /* GATE_ACCESS; NULL: no limit stands there */
    const char *policy, *state;      /* RateLimit-Policy, RateLimit; NULL: none */
    const char *retry_after;         /* refused: Retry-After */
} access_ruling_t;

/** Puts the limits that count for the asker into a new trial. @return how many */
int access_gather(const access_dir_t *dir, access_asker_t *asker, access_trial_t *trial);

/**
 * Charges the limits of a place. A refusal is counted and logged here; who is admitted (perhaps after a wait) goes on to access_let_in(), and
 * to access_trial_leave() at the end.
 */
void access_judge(const access_dir_t *dir, access_asker_t *asker, int64_t now_usec, access_trial_t *trial, access_ruling_t *out);
/** Counted as admitted; its wait, if there was one, is over or certain. */
void access_let_in(access_asker_t *asker, const access_trial_t *trial, access_ruling_t *out);
/** Counted as refused by trial->refused. */
void access_refuse(access_asker_t *asker, const access_trial_t *trial, int64_t now_usec, access_ruling_t *out);

/** Is a client out? Then that is counted. */
int access_banned(conn_rec *c, const gate_address_t *client);
/** An answer's status counts for its client's bans. */
void access_outcome(const access_dir_t *dir, server_rec *s, const gate_address_t *client, int status);
/** Log line and event of a ban made (or lifted). */
void access_ban_told(server_rec *s, const gate_ban_t *ban, const char *to, const char *who);

/* Whom mod_remoteip trusts (access_trust.c). */
void access_trust_read(apr_pool_t *pconf, apr_pool_t *ptemp);
int access_trusted(const gate_address_t *address);

void access_authz_register(apr_pool_t *p);
extern gate_geo_t *access_geo;
void access_show_register(void);
void access_doors_register(void);
void access_door_register(void);
void access_state_register(void);

#endif
