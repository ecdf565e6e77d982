/* cache_lookup.c - from a request in httpd's phases to its look into the store */
#include "cache.h"

#include <string.h>
#include <apr_hash.h>

/* The request as the client sent it: internal redirects keep the first one's target. */
static const request_rec *first_of(const request_rec *r)
{
    while (r->prev) {
        r = r->prev;
    }
    return r;
}

/* Each server's own name in keys; made once, as every request needs it. */
static apr_hash_t *server_names;

const char *cache_server_name(const server_rec *s)
{
    const char *name = apr_hash_get(server_names, &s, sizeof s);

    return name ? name : "";
}

void cache_name_servers(apr_pool_t *pconf, server_rec *s)
{
    server_names = apr_hash_make(pconf);
    for (; s; s = s->next) {
        server_rec **key = apr_pmemdup(pconf, &s, sizeof s);
        const char *bound = s->addrs && s->addrs->virthost
                                ? apr_psprintf(pconf, "%s:%u", s->addrs->virthost, s->addrs->host_port) : "";

        apr_hash_set(server_names, key, sizeof *key,
                     apr_psprintf(pconf, "%s:%u/%s", s->server_hostname ? s->server_hostname : "", s->port, bound));
    }
}

void cache_look_begin(gate_look_t *look, request_rec *r, const cache_dir_conf_t *conf)
{
    look->store = cache_store;
    look->pool = r->pool;
    look->headers = r->headers_in;
    look->rule = cache_look_rule(conf);
}

gate_look_rule_t cache_look_rule(const cache_dir_conf_t *conf)
{
    return (gate_look_rule_t){ conf->key ? &conf->key->rule : NULL, conf->compress && conf->compress->on, conf->client_may_reload,
                               conf->key && conf->key->expr };
}

/* GateCacheKey's expression, as it stands in the route. */
static const char *expression_of(request_rec *r, const cache_dir_conf_t *conf)
{
    const char *err = NULL, *value;

    if (!conf->key || !conf->key->expr) {
        return NULL;
    }
    value = ap_expr_str_exec(r, conf->key->expr, &err);
    return err || !value ? "" : apr_pstrcat(r->pool, "=", value, NULL);
}

static int make_key(request_rec *r, cache_request_t *c)
{
    const request_rec *first = first_of(r);
    const char *file = r->filename ? r->filename : "";
    gate_spot_t spot = { .scheme = ap_http_scheme(r), .host = r->hostname ? r->hostname : r->server->server_hostname,
                         .port = ap_get_server_port(r), .target = first->unparsed_uri, .server = cache_server_name(r->server),
                         .handler = r->handler ? r->handler : "", .path_info = r->path_info ? r->path_info : "", .args = "" };

    spot.file = strncmp(file, "proxy:", 6) ? file : apr_pstrmemdup(r->pool, file, strcspn(file, "?"));
    if (r->args && (!first->parsed_uri.query || strcmp(r->args, first->parsed_uri.query))) {
        spot.args = r->args;
    }
    spot.expression = expression_of(r, c->conf);
    return gate_look_key(&c->keep.look, &spot);
}

static int has_body(const request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    return apr_table_get(r->headers_in, "Transfer-Encoding") || (length && strcmp(length, "0"));
}

static int bypassed(request_rec *r, const cache_dir_conf_t *conf)
{
    for (int i = 0; conf->bypass && i < conf->bypass->nelts; i++) {
        const char *err = NULL;
        int rc = ap_expr_exec(r, APR_ARRAY_IDX(conf->bypass, i, const ap_expr_info_t *), &err);

        if (rc > 0 || err) {
            return 1; /* what cannot be decided is not cached */
        }
    }
    return 0;
}

const char *cache_request_read(request_rec *r, cache_request_t *c)
{
    gate_look_asks(&c->keep.look);
    if (!make_key(r, c)) {
        return "uri";
    }
    if (has_body(r)) {
        cache_count(GATE_COUNT_bypass_body, 1);
        return "request-body";
    }
    if (bypassed(r, c->conf)) {
        cache_count(GATE_COUNT_bypass_rule, 1);
        return "rule";
    }
    return NULL;
}
