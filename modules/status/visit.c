/* visit.c - see visit.h. */

#include <httpd.h>
#include <ap_mpm.h>
#include <apr_fnmatch.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>

#include "assets.h"
#include "gate_conf.h"
#include "gate_core.h"
#include "gate_log.h"
#include "visit.h"

APLOG_USE_MODULE(gate_status);

static const char PAGE_POLICY[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
static const char DATA_POLICY[] = "default-src 'none'; frame-ancestors 'none'";

/* ---- where ---- */

static int is_leaf(const char *name)
{
    static const char *const leaves[] = { "status.json", "metrics", "events.json", "explain.json" };

    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
        if (strcmp(leaves[i], name) == 0) {
            return 1;
        }
    }
    return asset_find(name) != NULL;
}

/* Is the folder (len characters of uri, with its slash) below the section, and not the section's own? */
static int lies_deeper(const char *section_path, const char *uri, size_t len)
{
    size_t section_len = section_path ? strlen(section_path) : 0;

    while (section_len && section_path[section_len - 1] == '/') {
        section_len--;
    }
    return section_path && len > section_len + 1 && strncmp(section_path, uri, section_len) == 0;
}

/*
 * The path of the location, with a slash: what stands before one of our names. A <Location> within ours (for the API alone, say) is
 * the last that was merged, so its path cannot be taken for ours.
 */
static int split_path(visit_t *visit, const char *section_path)
{
    const char *uri = visit->r->uri, *slash = strrchr(uri, '/'), *api = strstr(uri, "/api/v1/");
    size_t len = strlen(uri);
    int same;

    if (!slash) {
        return HTTP_NOT_FOUND;
    }
    if (api) {
        visit->base = apr_pstrmemdup(visit->r->pool, uri, (apr_size_t)(api - uri) + 1);
        visit->rest = api + 1;
        return OK;
    }
    if (is_leaf(slash + 1) && !lies_deeper(section_path, uri, (size_t)(slash - uri) + 1)) {
        visit->base = apr_pstrmemdup(visit->r->pool, uri, (apr_size_t)(slash - uri) + 1);
        visit->rest = slash + 1;
        return OK;
    }
    same = section_path && strncmp(section_path, uri, len) == 0 && section_path[len] == '\0';
    if (same && slash[1] != '\0') {
        apr_table_setn(visit->r->headers_out, "Location", apr_pstrcat(visit->r->pool, slash + 1, "/", NULL));
        return HTTP_PERMANENT_REDIRECT;
    }
    if (slash[1] == '\0' && (!section_path || same || (strncmp(section_path, uri, len - 1) == 0 && section_path[len - 1] == '\0'))) {
        visit->base = uri;
        visit->rest = "";
        return OK;
    }
    return HTTP_NOT_FOUND;
}

int visit_begin(request_rec *r, visit_t *visit)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    const status_dir_t *dir = ap_get_module_config(r->per_dir_config, &gate_status_module);

    memset(visit, 0, sizeof *visit);
    visit->r = r;
    visit->admin = dir->admin == 1;
    visit->who = r->user && *r->user ? r->user : r->useragent_ip;
    /* of a <LocationMatch> or an <If> there is no path */
    return split_path(visit, core->r || !core->d || core->d[0] != '/' ? NULL : core->d);
}

/* ---- who may ask ---- */

/* A pattern such as "*" answers to every name, so it proves nothing. */
static int proves_something(const char *pattern)
{
    return strspn(pattern, "*?.") != strlen(pattern);
}

int server_has_name(const server_rec *s, const char *name, int with_any)
{
    char **names;

    if (s->server_hostname && ap_cstr_casecmp(s->server_hostname, name) == 0) {
        return 1;
    }
    names = s->names ? (char **)s->names->elts : NULL;
    for (int i = 0; s->names && i < s->names->nelts; i++) {
        if (names[i] && ap_cstr_casecmp(names[i], name) == 0) {
            return 1;
        }
    }
    names = s->wild_names ? (char **)s->wild_names->elts : NULL;
    for (int i = 0; s->wild_names && i < s->wild_names->nelts; i++) {
        if (names[i] && (with_any || proves_something(names[i])) && ap_strcasecmp_match(name, names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static int is_our_name(const char *name, void *ctx)
{
    return server_has_name(((const visit_t *)ctx)->r->server, name, 0);
}

forgery_verdict_t visit_host(const visit_t *visit)
{
    const char *host = apr_table_get(visit->r->headers_in, "Host");
    forgery_verdict_t verdict = forgery_host(host, is_our_name, (void *)visit);

    if (verdict.status) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, visit->r, GATE_LOGNO(1200)
                      "status: %s %s from %s refused: Host '%s' is no name of this server (a page of another site may have been "
                      "made to ask); if it is a name of yours, add it as ServerAlias", visit->r->method, visit->r->uri, visit->who,
                      host ? ap_escape_logitem(visit->r->pool, host) : "");
    }
    return verdict;
}

/* ---- answers ---- */

void visit_answer(const visit_t *visit, int status, const char *type)
{
    request_rec *r = visit->r;
    apr_table_t *headers = r->err_headers_out;
    int page = strncmp(type, "text/html", 9) == 0;

    r->status = status;
    r->no_cache = 1;
    ap_set_content_type(r, type);
    apr_table_setn(headers, "Cache-Control", "no-store");
    apr_table_setn(headers, "X-Content-Type-Options", "nosniff");
    apr_table_setn(headers, "Referrer-Policy", "same-origin");
    apr_table_setn(headers, "Cross-Origin-Resource-Policy", "same-origin");
    apr_table_setn(headers, "Content-Security-Policy", page ? PAGE_POLICY : DATA_POLICY);
    if (page) {
        apr_table_setn(headers, "Cross-Origin-Opener-Policy", "same-origin");
        apr_table_setn(headers, "X-Frame-Options", "DENY");
    }
}

static int to_client(void *ctx, const char *bytes, size_t len)
{
    return ap_rwrite(bytes, (int)len, ctx) < 0 ? -1 : 0;
}

void visit_write(const visit_t *visit, text_out_t *out)
{
    text_out_begin(out, to_client, visit->r);
}

int visit_problem(const visit_t *visit, int status, const char *rule, const char *detail)
{
    const char *line = ap_get_status_line(status);
    text_out_t out;

    visit_answer(visit, status, "application/problem+json");
    visit_write(visit, &out);
    text_put(&out, "{\"type\":\"about:blank\",\"title\":");
    text_json(&out, strlen(line) > 4 ? line + 4 : line);
    text_put(&out, ",\"status\":");
    text_int(&out, status);
    text_put(&out, ",\"detail\":");
    text_json(&out, detail);
    text_put(&out, ",\"rule\":");
    text_json(&out, rule);
    text_put(&out, ",\"instance\":");
    text_json(&out, visit->r->uri);
    text_put(&out, "}\n");
    text_out_end(&out);
    return OK;
}

int visit_read_only(const visit_t *visit)
{
    if (visit->r->method_number == M_GET) {
        return OK;
    }
    apr_table_setn(visit->r->err_headers_out, "Allow", "GET, HEAD");
    visit_problem(visit, HTTP_METHOD_NOT_ALLOWED, "method", "this can only be read, with GET or HEAD");
    return DONE;
}

/* ---- snapshot ---- */

snapshot_source_t status_source(void)
{
    snapshot_source_t from = { gate_core()->registry, gate_sections(), gate_core()->changes };

    return from;
}

snapshot_t *status_snapshot(request_rec *r, int admin)
{
    snapshot_server_t *server = apr_pcalloc(r->pool, sizeof *server);
    const gate_core_t *core = gate_core();
    const snapshot_source_t from = status_source();
    status_shared_t *shared = status_shared();

    server->server = ap_get_server_banner();
    server->name = r->server->server_hostname ? r->server->server_hostname : "";
    server->version = GATE_VERSION;
    server->mpm = ap_show_mpm();
    server->generation = core->generation;
    server->started_wall_usec = core->started_wall_usec;
    server->now_wall_usec = apr_time_now();
    server->admin = admin;
    server->admin_done = shared->done;
    server->admin_failed = shared->failed;
    server->admin_refused = shared->refused;
    return snapshot_take(r->pool, &from, server);
}

snapshot_t *visit_snapshot(const visit_t *visit)
{
    return status_snapshot(visit->r, visit->admin);
}
