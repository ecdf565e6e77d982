/*
 * upstream_check.c - rules between directives, seen by `apachectl -t`, and the registry told.
 * httpd keeps what it read as a tree (ap_conftree): routes are looked up there, so that a gate:// name that no group bears is found
 * with its file and line, whichever module's directive it stands in.
 *
 * RewriteRule makes http://thisserver/gate://.. of a substitution whose scheme it does not know. It knows balancer://, so that is what
 * it is given: before the directives are run, gate://NAME in a RewriteRule with [P] becomes balancer://.gate:NAME (no balancer can be
 * named so), and what comes out of mod_rewrite is turned back before anybody else looks (upstream_unmask).
 */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>

#include "gate_parse.h"
#include "upstream.h"

#define MASK "balancer://.gate:"

typedef void (*visit_fn)(ap_directive_t *directive, void *data);

static void walk_tree(ap_directive_t *directive, visit_fn visit, void *data)
{
    for (; directive; directive = directive->next) {
        visit(directive, data);
        walk_tree(directive->first_child, visit, data);
    }
}

/* ---- RewriteRule ---------------------------------------------------------------------------------------------------------- */

/* Does a RewriteRule have the flag P (or proxy)? */
static int has_proxy_flag(apr_pool_t *p, const char *args)
{
    const char *flags;
    char *rest, *flag;

    (void)ap_getword_conf(p, &args); /* pattern, substitution */
    (void)ap_getword_conf(p, &args);
    flags = ap_getword_conf(p, &args);
    rest = apr_pstrdup(p, *flags == '[' ? flags + 1 : flags);
    while ((flag = strsep(&rest, ",]")) != NULL) {
        apr_collapse_spaces(flag, flag);
        if (ap_cstr_casecmp(flag, "P") == 0 || ap_cstr_casecmp(flag, "proxy") == 0) {
            return 1;
        }
    }
    return 0;
}

static void mask_rewrite(ap_directive_t *directive, void *data)
{
    apr_pool_t *pconf = data;
    const char *at;

    if (ap_cstr_casecmp(directive->directive, "RewriteRule") != 0) {
        return;
    }
    at = ap_strcasestr(directive->args, UPSTREAM_SCHEME);
    /* only where the substitution begins with it */
    if (at && at > directive->args && (apr_isspace(at[-1]) || at[-1] == '"' || at[-1] == '\'')
        && has_proxy_flag(pconf, directive->args)) {
        directive->args = apr_pstrcat(pconf, apr_pstrmemdup(pconf, directive->args, at - directive->args), MASK,
                                      at + strlen(UPSTREAM_SCHEME), NULL);
    }
}

void upstream_check_rewrites(apr_pool_t *pconf)
{
    walk_tree(ap_conftree, mask_rewrite, pconf);
}

int upstream_unmask(request_rec *r)
{
    if (r->proxyreq && r->filename && strncmp(r->filename, "proxy:" MASK, strlen("proxy:" MASK)) == 0) {
        r->filename = apr_pstrcat(r->pool, "proxy:" UPSTREAM_SCHEME, r->filename + strlen("proxy:" MASK), NULL);
    }
    return DECLINED;
}

/* ---- routes --------------------------------------------------------------------------------------------------------------- */

typedef struct {
    apr_pool_t *pool;
    server_rec *s;
    int bad;
} check_t;

static int is_route(const char *directive)
{
    static const char *const routes[] = {
        "ProxyPass", "ProxyPassMatch", "RewriteRule", "SetHandler", "AddHandler", "ProxyPassReverse", "<Proxy", NULL
    };
    int i;

    for (i = 0; routes[i]; i++) {
        if (ap_cstr_casecmp(directive, routes[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* One gate:// name; begins after the scheme. Names that are only known at run time are left to it. */
static void check_name(check_t *check, const ap_directive_t *directive, const char *name)
{
    apr_size_t length = strcspn(name, "/?#\"' \t>");
    const char *text = apr_pstrmemdup(check->pool, name, length);

    if (strpbrk(text, "$%") || upstream_group_named(text, length)) {
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, check->s, GATE_LOGNO(0203)
                 "%s: 'gate://%s' names no group%s; write <GateUpstream %s> with its members, or one of the groups there are; %s line %d",
                 directive->directive, text, upstream_group_hint(check->pool, text), *text ? text : "NAME", directive->filename,
                 directive->line_num);
    check->bad = 1;
}

static void check_route(ap_directive_t *directive, void *data)
{
    int rewrites = ap_cstr_casecmp(directive->directive, "RewriteRule") == 0;
    const char *mark = rewrites ? MASK : UPSTREAM_SCHEME, *at = directive->args;
    check_t *check = data;

    if (!is_route(directive->directive)) {
        return;
    }
    while ((at = ap_strcasestr(at, mark)) != NULL) {
        at += strlen(mark);
        check_name(check, directive, at);
    }
    if (rewrites && ap_strcasestr(directive->args, UPSTREAM_SCHEME)) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, check->s, GATE_LOGNO(0206)
                     "RewriteRule: '%s' has gate:// where it cannot be proxied to: a substitution must begin with it, and have the flag "
                     "[P]; %s line %d", directive->args, directive->filename, directive->line_num);
        check->bad = 1;
    }
}

/* ---- groups --------------------------------------------------------------------------------------------------------------- */

static const char *module_of_scheme(const char *scheme)
{
    static const struct { const char *scheme, *module; } modules[] = {
        { "http", "proxy_http" }, { "https", "proxy_http" }, { "ws", "proxy_http" }, { "wss", "proxy_http" },
        { "h2", "proxy_http2" }, { "h2c", "proxy_http2" }, { "fcgi", "proxy_fcgi" }, { "ajp", "proxy_ajp" },
        { "scgi", "proxy_scgi" }, { "uwsgi", "proxy_uwsgi" }, { NULL, NULL }
    };
    int i;

    for (i = 0; modules[i].scheme; i++) {
        if (strcmp(modules[i].scheme, scheme) == 0) {
            return modules[i].module;
        }
    }
    return NULL;
}

static int is_tls(const char *scheme)
{
    return strcmp(scheme, "https") == 0 || strcmp(scheme, "wss") == 0 || strcmp(scheme, "h2") == 0;
}

static void complain(check_t *check, const upstream_group_t *group, const char *text)
{
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, check->s, GATE_LOGNO(0204) "GateMember: %s (<GateUpstream %s>, %s line %d)",
                 text, group->name, group->file, group->line);
    check->bad = 1;
}

static void check_member(check_t *check, const upstream_group_t *group, const gate_member_spec_t *spec)
{
    gate_url_t url;
    proxy_worker *trial = NULL;
    const char *module, *err;

    if (gate_parse_member_url(check->pool, spec->url, &url)) {
        return; /* said when it was read */
    }
    module = module_of_scheme(url.scheme);
    if (module && !ap_find_linked_module(apr_psprintf(check->pool, "mod_%s.c", module))) {
        complain(check, group, apr_psprintf(check->pool, "'%s' needs mod_%s: load it with LoadModule %s_module", spec->url, module,
                                            module));
        return;
    }
    if (is_tls(url.scheme) && !ap_find_linked_module("mod_ssl.c")) {
        complain(check, group, apr_psprintf(check->pool, "'%s' needs mod_ssl (and SSLProxyEngine on where its route is)", spec->url));
    }
    err = ap_proxy_define_worker_ex(check->pool, &trial, NULL, NULL, spec->url, AP_PROXY_WORKER_IS_PREFIX);
    if (err) {
        complain(check, group, apr_psprintf(check->pool, "'%s' is not taken by mod_proxy: %s", spec->url, err));
    }
}

int upstream_check(apr_pool_t *ptemp, server_rec *s)
{
    check_t check = { ptemp, s, 0 };
    uint32_t members = 0;
    int i, k;

    for (i = 0; i < upstream_groups->nelts; i++) {
        const upstream_group_t *group = APR_ARRAY_IDX(upstream_groups, i, upstream_group_t *);

        members += (uint32_t)(group->members->nelts + 64 * group->discover->nelts);
        for (k = 0; k < group->members->nelts; k++) {
            check_member(&check, group, &APR_ARRAY_IDX(group->members, k, gate_member_spec_t));
        }
    }
    gate_core_expect((uint32_t)upstream_groups->nelts, members);
    walk_tree(ap_conftree, check_route, &check);
    return upstream_select_check(s) != OK || check.bad ? HTTP_INTERNAL_SERVER_ERROR : OK;
}

/* ---- the registry --------------------------------------------------------------------------------------------------------- */

static apr_status_t declare_group(upstream_group_t *group, apr_pool_t *ptemp, server_rec *s)
{
    gate_registry_t *reg = gate_core()->registry;
    apr_status_t rv = gate_group_declare(reg, group->name, &group->index);

    if (rv == APR_SUCCESS) {
        /* without those that were taken out at run time */
        apr_array_header_t *specs = apr_array_copy(ptemp, group->members);
        uint32_t n = gate_changes_dress(gate_core()->changes, group->index, GATE_ORIGIN_CONFIG, (gate_member_spec_t *)specs->elts,
                                        (uint32_t)specs->nelts, 1);

        rv = gate_members_apply(reg, group->index, GATE_ORIGIN_CONFIG, (gate_member_spec_t *)specs->elts, n, "", gate_mono_usec());
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, GATE_LOGNO(0205)
                     "group %s: its %d members could not be entered in the registry: httpd does not start with this configuration%s",
                     group->name, group->members->nelts,
                     rv == APR_EEXIST ? " (an id is taken by a member that was added at run time)" : "");
    }
    return rv;
}

apr_status_t upstream_declare(apr_pool_t *ptemp, server_rec *s)
{
    uint32_t *indexes = apr_palloc(ptemp, (upstream_groups->nelts + 1) * sizeof *indexes);
    int i;

    for (i = 0; i < upstream_groups->nelts; i++) {
        upstream_group_t *group = APR_ARRAY_IDX(upstream_groups, i, upstream_group_t *);
        apr_status_t rv = declare_group(group, ptemp, s);

        if (rv != APR_SUCCESS) {
            return rv;
        }
        indexes[i] = group->index;
    }
    return gate_groups_keep(gate_core()->registry, indexes, (uint32_t)upstream_groups->nelts, gate_mono_usec());
}
