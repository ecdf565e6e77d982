/* cache_lookup.c - from a request to its key, and from the key to a stored answer */
#include "cache.h"

#include <string.h>
#include <apr_hash.h>

/*
 * What members are known to answer by although it is in no key: it becomes part of the route when it is there, so that nobody
 * can plant an answer for others with it.
 */
static const char *const unkeyed[] = { "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Port",
                                       "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Host", "X-Original-Host", "X-Original-URL",
                                       "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method",
                                       "Forwarded" };

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

static const char *vhost_of(const request_rec *r)
{
    const char *name = apr_hash_get(server_names, &r->server, sizeof r->server);

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

/* Everything but the URL that decides what the answer is. */
static const char *route_of(request_rec *r, const cache_dir_conf_t *conf, const gate_key_rule_t *rule)
{
    const request_rec *first = first_of(r);
    const char *target = r->filename ? r->filename : "", *args = "", *err = NULL;
    apr_array_header_t *parts = apr_array_make(r->pool, 16, sizeof(const char *));

    if (!strncmp(target, "proxy:", 6)) {
        target = apr_pstrmemdup(r->pool, target, strcspn(target, "?"));
    }
    if (r->args && (!first->parsed_uri.query || strcmp(r->args, first->parsed_uri.query))) {
        args = gate_key_query(r->pool, r->args, rule);
    }
    APR_ARRAY_PUSH(parts, const char *) = vhost_of(r);
    APR_ARRAY_PUSH(parts, const char *) = r->handler ? r->handler : "";
    APR_ARRAY_PUSH(parts, const char *) = target;
    APR_ARRAY_PUSH(parts, const char *) = r->path_info ? r->path_info : "";
    APR_ARRAY_PUSH(parts, const char *) = args ? args : "";
    for (size_t i = 0; i < sizeof unkeyed / sizeof *unkeyed; i++) {
        const char *value = gate_field(r->pool, r->headers_in, unkeyed[i]);
        if (value) {
            APR_ARRAY_PUSH(parts, const char *) = apr_pstrcat(r->pool, unkeyed[i], "=", value, NULL);
        }
    }
    if (conf->key && conf->key->expr) {
        const char *value = ap_expr_str_exec(r, conf->key->expr, &err);
        APR_ARRAY_PUSH(parts, const char *) = err || !value ? "" : apr_pstrcat(r->pool, "=", value, NULL);
    }
    return apr_array_pstrcat(r->pool, parts, '\n');
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
    const cache_dir_conf_t *conf = c->conf;
    const gate_key_rule_t *rule = conf->key ? &conf->key->rule : NULL;
    const request_rec *first = first_of(r);

    gate_cc_of_request(r->pool, r->headers_in, &c->asked);
    if (!conf->client_may_reload) {
        c->asked.flags &= ~(unsigned)GATE_CC_NO_CACHE;
        c->asked.max_age = -1;
    }
    gate_accept_parse(gate_field(r->pool, r->headers_in, "Accept-Encoding"), &c->accept);
    c->key.url = gate_key_url(r->pool, ap_http_scheme(r), r->hostname ? r->hostname : r->server->server_hostname,
                              ap_get_server_port(r), first->unparsed_uri, rule);
    if (!c->key.url) {
        return "uri";
    }
    c->key.url_len = strlen(c->key.url);
    c->key.route = route_of(r, conf, rule);
    c->key.route_len = strlen(c->key.route);
    if (c->key.route_len > 2 * GATE_KEY_MAX) {
        return "uri";
    }
    c->key.hash = gate_store_hash(cache_store, c->key.url, c->key.url_len);
    c->flight_hash = c->key.hash ^ gate_store_hash(cache_store, c->key.route, c->key.route_len);
    if (has_body(r)) {
        cache_count(GATE_COUNT_bypass_body, 1);
        return "request-body";
    }
    if (bypassed(r, conf)) {
        cache_count(GATE_COUNT_bypass_rule, 1);
        return "rule";
    }
    return NULL;
}

/* ---- looking up --------------------------------------------------------------------------------------------------------- */

int64_t cache_suits(request_rec *r, cache_request_t *c, const gate_head_view_t *head)
{
    if (!gate_head_has_key(head, &c->key) || !gate_vary_suits(r->pool, head->vary, head->head->vary_len, r->headers_in)) {
        return -1;
    }
    /* never a coding that the client does not take; gzip can be unpacked where the route has variants */
    if (head->head->coding == GATE_CODING_BR && !(c->accept.takes & GATE_TAKES_BR)) {
        return -1;
    }
    if (head->head->coding == GATE_CODING_GZIP && !(c->accept.takes & GATE_TAKES_GZIP)
        && !(c->conf->compress && c->conf->compress->on)) {
        return -1;
    }
    return head->head->fresh.date > 0 ? head->head->fresh.date : 0;
}

typedef struct {
    request_rec *r;
    cache_request_t *c;
} find_t;

static int64_t rank(void *ctx, const void *bytes, uint64_t len)
{
    find_t *f = ctx;
    gate_head_view_t head;

    return gate_head_read(bytes, len, &head) ? cache_suits(f->r, f->c, &head) : -1;
}

int cache_find(request_rec *r, cache_request_t *c)
{
    find_t f = { r, c };
    const void *bytes;
    uint64_t len;

    cache_let_go(c);
    if (!gate_store_find(cache_store, c->key.hash, rank, &f, &c->held)) {
        return 0;
    }
    len = gate_store_piece(cache_store, c->held.ref, 0, &bytes);
    if (!len || !gate_head_read(apr_pmemdup(r->pool, bytes, len), len, &c->head)) {
        cache_let_go(c);
        return 0;
    }
    return 1;
}

void cache_let_go(cache_request_t *c)
{
    gate_store_unpin(cache_store, &c->held);
    c->head.head = NULL;
}

const char *cache_vary_key(request_rec *r, cache_request_t *c, const apr_table_t *response, size_t *len)
{
    gate_vary_rule_t rule = { c->conf->compress && c->conf->compress->on, c->conf->key && c->conf->key->expr };

    return gate_vary_key(r->pool, response, r->headers_in, &rule, len);
}
