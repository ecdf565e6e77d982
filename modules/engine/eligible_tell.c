/* eligible_tell.c - which plane each route has and why: for the error log, the status page and explain.json. */
#include <string.h>

#include <httpd.h>
#include <http_core.h>
#include <http_log.h>
#include <apr_strings.h>
#include <mod_proxy.h>

#include "eligible.h"
#include "gate_log.h"
#include "route_inside.h"

APLOG_USE_MODULE(gate_engine);

typedef struct {
    const eligible_server_t *server;
    const char *what;           /* "ProxyPass / -> gate://app/", "<Location /x> (file:line)" */
    const char *why;            /* NULL: express */
} line_t;

typedef void line_fn(const line_t *line, void *ctx);

/* A section that sends nothing to the classic plane is told only when it has a ProxyPass of its own. */
static void each_section(const eligible_server_t *server, apr_pool_t *p, line_fn *told, void *ctx)
{
    const core_server_config *core = ap_get_core_module_config(server->server->module_config);
    int i;

    for (i = 0; i < server->locations; i++) {
        const eligible_scope_t *scope = &server->location[i];
        ap_conf_vector_t *conf = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);
        const proxy_dir_conf *dir = ap_get_module_config(conf, &proxy_module);
        line_t line = { server, scope->title, scope->why };

        if (dir && dir->alias) {
            alias_t alias;

            alias_read(p, server, dir->alias, &alias);
            if (alias.kind != ALIAS_GATE && !scope->why) {
                continue;
            }
            line.what = apr_psprintf(p, "ProxyPass %s in %s", dir->alias->real, scope->title);
            line.why = server->whole.why ? server->whole.why : scope->why ? scope->why : alias.why;
        }
        else if (!scope->why) {
            continue;
        }
        told(&line, ctx);
    }
    for (i = 0; i < server->proxies; i++) {
        if (server->proxy[i].why) {
            line_t line = { server, server->proxy[i].title, server->proxy[i].why };

            told(&line, ctx);
        }
    }
}

static void each_line(const eligible_server_t *server, apr_pool_t *p, line_fn *told, void *ctx)
{
    const proxy_server_conf *proxy = ap_get_module_config(server->server->module_config, &proxy_module);
    int i;

    for (i = 0; i < proxy->aliases->nelts; i++) {
        const struct proxy_alias *one = &APR_ARRAY_IDX(proxy->aliases, i, struct proxy_alias);
        line_t line = { server, NULL, server->whole.why };
        alias_t alias;

        alias_read(p, server, one, &alias);
        if (alias.kind != ALIAS_GATE) {
            continue;
        }
        line.what = apr_psprintf(p, "ProxyPass%s %s %s", one->regex ? "Match" : "", one->fake, one->real);
        if (!line.why) {
            line.why = proxy->map_encoded_one ? "a ProxyPass has mapping=encoded" : alias.why;
        }
        told(&line, ctx);
    }
    each_section(server, p, told, ctx);
}

/* ---- error log -------------------------------------------------------------------------------------------------------------- */

/* With the ports of its addresses: virtual hosts often differ by them alone. */
static const char *name_of(const server_rec *s, apr_pool_t *p)
{
    const char *name = s->server_hostname ? s->server_hostname : "the main server", *ports = "";
    const server_addr_rec *at, *before;

    for (at = s->addrs; s->is_virtual && at; at = at->next) {
        for (before = s->addrs; before != at && before->host_port != at->host_port; before = before->next) {
        }
        if (before == at && at->host_port) {
            ports = apr_psprintf(p, "%s%c%u", ports, *ports ? ',' : ':', at->host_port);
        }
    }
    return !s->is_virtual && s->port ? apr_psprintf(p, "%s:%u", name, s->port) : apr_pstrcat(p, name, ports, NULL);
}

static void log_line(const line_t *line, void *ctx)
{
    const char *name = name_of(line->server->server, ctx);

    if (line->why) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, line->server->server, GATE_LOGNO(1460) "%s: %s: classic because of %s", name,
                     line->what, line->why);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, line->server->server, GATE_LOGNO(1461) "%s: %s: express", name, line->what);
    }
}

void eligible_tell(const eligible_server_t *server)
{
    apr_pool_t *p = NULL;

    if (apr_pool_create(&p, server->server->process->pool) == APR_SUCCESS) {
        each_line(server, p, log_line, p);
        apr_pool_destroy(p);
    }
}

/* ---- status page ------------------------------------------------------------------------------------------------------------ */

static void put_line(const line_t *line, void *ctx)
{
    gate_node_t *one = gate_put_object(ctx, NULL);

    gate_put_text(one, "server", name_of(line->server->server, one->pool));
    gate_put_text(one, "route", line->what);
    gate_put_text(one, "plane", line->why ? "classic" : "express");
    gate_put_text(one, "why", line->why);
}

void eligible_gather(gate_node_t *out)
{
    gate_node_t *list = gate_put_list(out, "routes");
    server_rec *s;

    for (s = eligible_main_server(); s; s = s->next) {
        const eligible_server_t *server = eligible_of(s);

        if (server) {
            each_line(server, out->pool, put_line, list);
        }
    }
}

/* ---- explain ---------------------------------------------------------------------------------------------------------------- */

static const char *why_of(const eligible_server_t *server, request_rec *r)
{
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    const proxy_server_conf *proxy = ap_get_module_config(r->server->module_config, &proxy_module);
    const proxy_dir_conf *dir = ap_get_module_config(r->per_dir_config, &proxy_module);
    uint32_t len = (uint32_t)strlen(r->uri);
    const struct proxy_alias *line = NULL;
    alias_t alias;
    int i;

    if (server->whole.why) {
        return server->whole.why;
    }
    for (i = 0; i < server->locations; i++) {
        const core_dir_config *one = ap_get_core_module_config(APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *));

        if (server->location[i].why && route_section_matches(one, r->uri, len)) {
            return server->location[i].why;
        }
    }
    if (dir && dir->alias) {
        alias_read(r->pool, server, dir->alias, &alias);
        line = alias_match(&alias, r->uri, len) ? dir->alias : NULL;
    }
    for (i = 0; !line && i < proxy->aliases->nelts; i++) {
        alias_read(r->pool, server, &APR_ARRAY_IDX(proxy->aliases, i, struct proxy_alias), &alias);
        line = alias_match(&alias, r->uri, len) ? &APR_ARRAY_IDX(proxy->aliases, i, struct proxy_alias) : NULL;
    }
    if (!line || alias.kind != ALIAS_GATE) {
        return "no ProxyPass leads it to a gate:// group";
    }
    for (i = 0; i < server->proxies; i++) {
        if (server->proxy[i].why && alias.proxies[i / 64] & UINT64_C(1) << (i % 64)) {
            return server->proxy[i].why;
        }
    }
    return alias.why;
}

void eligible_explain(gate_node_t *out, const gate_view_t *view, request_rec *r)
{
    const eligible_server_t *server = eligible_of(r->server);
    const char *why = server ? why_of(server, r) : "GateEngine is off";

    (void)view;
    gate_put_text(out, "verdict", why ? "classic" : "express");
    gate_put_text(out, "why", why ? why : "nothing in its configuration stands against it");
}
