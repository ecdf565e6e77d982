/*
 * mod_gate_status.c - SetHandler gate-status: the page, status.json, metrics, events, explain, and with GateAdmin on the admin API.
 * Loads after mod_gate.so.
 */

#include <httpd.h>
#include <ap_config.h>
#include <apr_general.h>
#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_status.h>

#include "assets.h"
#include "brief.h"
#include "explain.h"
#include "gate_conf.h"
#include "gate_core.h"
#include "gate_log.h"
#include "gate_parse.h"
#include "token.h"
#include "visit.h"

#define HANDLER "gate-status"

module AP_MODULE_DECLARE_DATA gate_status_module;

/* Made by the parent at its first start, in its own memory: children inherit it, nobody can write it. */
typedef struct {
    unsigned char secret[TOKEN_SECRET_LEN];
} retained_t;

static status_shared_t *shared;
static const retained_t *kept;

status_shared_t *status_shared(void)
{
    return shared;
}

const unsigned char *status_secret(void)
{
    return kept->secret;
}

/* ---- directive ---- */

static void *create_dir(apr_pool_t *p, char *path)
{
    status_dir_t *dir = apr_pcalloc(p, sizeof *dir);

    (void)path;
    dir->admin = GATE_UNSET;
    return dir;
}

static void *merge_dir(apr_pool_t *p, void *outer_, void *inner_)
{
    const status_dir_t *outer = outer_, *inner = inner_;
    status_dir_t *dir = apr_pcalloc(p, sizeof *dir);

    dir->admin = inner->admin != GATE_UNSET ? inner->admin : outer->admin;
    return dir;
}

static const char *set_admin(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = gate_parse_flag(cmd->temp_pool, arg, &((status_dir_t *)dir)->admin);

    return err ? apr_psprintf(cmd->pool, "GateAdmin: '%s' %s", arg, err) : NULL;
}

static const command_rec directives[] = {
    AP_INIT_TAKE1("GateAdmin", set_admin, NULL, ACCESS_CONF,
                  "on: members, cache and bans may be changed below this location (default off)"),
    { NULL }
};

/* ---- start ---- */

static int validate_shared(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    const status_shared_t *zone = base;

    (void)ctx;
    if (size_bytes < sizeof *zone || zone->magic != STATUS_SHARED_MAGIC) {
        apr_snprintf(why, why_size, "status: the zone's magic is %08x", zone->magic);
        return 1;
    }
    return 0;
}

static int open_zone(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    gate_zone_t zone;
    retained_t *r;

    (void)pconf, (void)plog, (void)ptemp;
    if (gate_core_rehearsal()) {
        return OK;
    }
    if (gate_core_zone(s, "status", STATUS_SHARED_LAYOUT, sizeof *shared, 0, &zone) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    shared = zone.base;
    if (zone.state != GATE_ZONE_KEPT) {
        shared->magic = STATUS_SHARED_MAGIC;
    }
    gate_arena_on_validate(gate_core()->arena, "status", validate_shared, NULL);
    r = ap_retained_data_get("gatehouse status");
    if (!r) {
        r = ap_retained_data_create("gatehouse status", sizeof *r);
        if (apr_generate_random_bytes(r->secret, sizeof r->secret) != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, GATE_LOGNO(1201)
                         "status: the system gave no random bytes for the page's token: httpd cannot start with mod_gate_status");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    kept = r;
    return OK;
}

/* ---- requests ---- */

static int is_ours(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    return !r->proxyreq && core->handler && strcmp(core->handler, HANDLER) == 0;
}

/* A ProxyPass or RewriteRule for everything around must not carry the location away: it is served here or nowhere. */
static int not_for_proxies_early(request_rec *r)
{
    return is_ours(r) ? OK : DECLINED;
}

static int not_for_proxies(request_rec *r)
{
    return is_ours(r) ? ap_core_translate(r) : DECLINED;
}

static int send_asset(const visit_t *visit, const asset_t *asset)
{
    text_out_t out;

    visit_answer(visit, HTTP_OK, asset->type);
    ap_set_content_length(visit->r, asset->end - asset->begin);
    visit_write(visit, &out);
    text_bytes(&out, asset->begin, (size_t)(asset->end - asset->begin));
    text_out_end(&out);
    return OK;
}

static int answer_read(const visit_t *visit)
{
    static const struct {
        const char *name;
        int (*answer)(const visit_t *visit);
    } names[] = { { "", read_page }, { "status.json", read_status }, { "metrics", read_metrics }, { "events.json", read_events },
                  { "explain.json", explain_answer } };
    const asset_t *asset;
    forgery_verdict_t verdict;

    if (visit_read_only(visit) != OK) {
        return OK;
    }
    /* a scraper reaches the server under whatever name its operator uses; what it reads names no client */
    if (strcmp(visit->rest, "metrics") != 0) {
        verdict = visit_host(visit);
        if (verdict.status) {
            return visit_problem(visit, verdict.status, verdict.rule, verdict.why);
        }
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, visit->rest) == 0) {
            return names[i].answer(visit);
        }
    }
    asset = asset_find(visit->rest);
    return asset ? send_asset(visit, asset) : HTTP_NOT_FOUND;
}

static int handler(request_rec *r)
{
    visit_t visit;
    int rc;

    if (!r->handler || strcmp(r->handler, HANDLER) != 0) {
        return DECLINED;
    }
    rc = visit_begin(r, &visit);
    if (rc != OK) {
        return rc;
    }
    if (strncmp(visit.rest, "api/v1/", 7) == 0) {
        return admin_answer(&visit, visit.rest + 7);
    }
    return answer_read(&visit);
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const after_core[] = { "mod_gate.c", NULL };

    (void)p;
    ap_hook_post_config(open_zone, after_core, NULL, APR_HOOK_MIDDLE);
    ap_hook_create_request(explain_mark, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_translate_name(not_for_proxies_early, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(not_for_proxies, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    APR_OPTIONAL_HOOK(ap, status_hook, brief_for_mod_status, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(gate_status) = {
    STANDARD20_MODULE_STUFF,
    create_dir,
    merge_dir,
    NULL,
    NULL,
    directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
