/*
 * shadow.c - the request that a member's handler is given: a copy of the client's, with tables of its own.
 * A try that fails leaves nothing behind in the client's request: no header, note, status or filter. When the answer is to be passed on,
 * its head is carried over (commit), with what names the member in it replaced (reverse.h).
 * Shared with the client's request: headers_in, the request configuration, the connection. Of the connection, what a handler might
 * take for its own business is put aside while it runs:
 *   keepalives  mod_proxy_http would answer a reset on a kept-alive client connection by closing that, instead of saying so
 *   ErrorDocument  a handler that calls ap_die() on the shadow (mod_proxy_http2) must not start an internal redirect
 */
#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>

#include "reverse.h"
#include "upstream.h"

#define NO_DOCUMENT "\"" /* as ErrorDocument knows it: a text, which is empty */

static char *no_documents[RESPONSE_CODES + 64];

static const char *const names_members[] = { "Location", "Content-Location", "URI", "Destination", NULL };

void upstream_shadow_register(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof no_documents / sizeof no_documents[0]; i++) {
        no_documents[i] = (char *)NO_DOCUMENT;
    }
}

/* ProxyErrorOverride is ours to do (answer_filter.c): handlers of several schemes do it in ways that leave no second try. */
static void without_override(request_rec *shadow, apr_pool_t *pool)
{
    const proxy_dir_conf *conf = ap_get_module_config(shadow->per_dir_config, &proxy_module);

    if (conf->error_override) {
        proxy_dir_conf *copy = apr_pmemdup(pool, conf, sizeof *conf);

        copy->error_override = 0;
        shadow->per_dir_config = ap_merge_per_dir_configs(pool, shadow->per_dir_config, ap_create_per_dir_config(pool));
        ap_set_module_config(shadow->per_dir_config, &proxy_module, copy);
    }
}

static void set_filters(upstream_try_t *t, request_rec *shadow, apr_pool_t *pool)
{
    upstream_exchange_t *x = t->exchange;
    request_rec *r = x->r;

    shadow->output_filters = shadow->proto_output_filters = upstream_answer_filter(t, pool);
    if (!x->body.present) {
        return;
    }
    shadow->input_filters = upstream_replay_filter(x, shadow, pool);
    if (r->input_filters == r->proto_input_filters) {
        /* so that mod_proxy_http trusts the Content-Length and streams */
        shadow->proto_input_filters = shadow->input_filters;
    }
}

/* Most are empty, and handlers mostly put a table of their own in their place. */
static apr_table_t *copy_table(apr_pool_t *pool, const apr_table_t *table)
{
    return apr_is_empty_table(table) ? apr_table_make(pool, 2) : apr_table_copy(pool, table);
}

request_rec *upstream_shadow(upstream_try_t *t, apr_pool_t *pool)
{
    upstream_exchange_t *x = t->exchange;
    request_rec *r = x->r;
    request_rec *shadow = apr_pmemdup(pool, r, sizeof *r);

    shadow->pool = pool;
    shadow->headers_out = copy_table(pool, r->headers_out);
    shadow->err_headers_out = copy_table(pool, r->err_headers_out);
    shadow->trailers_out = apr_table_make(pool, 2);
    shadow->subprocess_env = apr_table_copy(pool, r->subprocess_env);
    shadow->notes = apr_table_copy(pool, r->notes);
    apr_table_unset(shadow->notes, "proxy-status");
    if (x->route == x->conf->reverse) {
        /* mod_proxy's word on its worker without a pool, which is not used here */
        apr_table_unset(shadow->subprocess_env, "proxy-nokeepalive");
    }
    if (t->fresh_wanted) {
        apr_table_setn(shadow->subprocess_env, "proxy-initial-not-pooled", "1");
    }
    without_override(shadow, pool);
    set_filters(t, shadow, pool);
    t->shadow = shadow;
    return shadow;
}

void upstream_shadow_enter(upstream_try_t *t)
{
    upstream_exchange_t *x = t->exchange;
    core_request_config *core = ap_get_core_module_config(x->r->request_config);

    x->keepalives = x->r->connection->keepalives;
    x->keepalive = x->r->connection->keepalive;
    x->r->connection->keepalives = 0;
    x->documents = core->response_code_strings;
    core->response_code_strings = no_documents;
    x->aside = 1;
}

/* The connection is the client's again. */
static void give_back(upstream_exchange_t *x)
{
    core_request_config *core = ap_get_core_module_config(x->r->request_config);

    if (x->aside) {
        x->r->connection->keepalives = x->keepalives;
        core->response_code_strings = x->documents;
        x->aside = 0;
    }
}

void upstream_shadow_end(upstream_try_t *t)
{
    upstream_exchange_t *x = t->exchange;
    request_rec *r = x->r, *shadow = t->shadow;

    give_back(x);
    if (t->own_error) {
        r->connection->keepalive = x->keepalive;
    }
    if (!r->log_id) {
        r->log_id = shadow->log_id;
    }
    r->expecting_100 = shadow->expecting_100;
}

/* ---- the answer's head ---------------------------------------------------------------------------------------------------- */

static void make_map(upstream_try_t *t, reverse_map_t *map)
{
    const upstream_exchange_t *x = t->exchange;
    request_rec *r = x->r;
    const char *gate_path = apr_pstrmemdup(r->pool, x->path, strcspn(x->path, "?"));

    map->members = &x->roster->members[0].parts;
    map->stride_bytes = sizeof x->roster->members[0];
    map->count = x->roster->count;
    map->answered = &t->member->parts;
    map->scheme = ap_http_scheme(r);
    map->host = r->hostname ? r->hostname : ap_get_server_name(r);
    map->port = ap_get_server_port(r);
    reverse_prefixes(r->pool, r->parsed_uri.path ? r->parsed_uri.path : r->uri, gate_path, &map->public_prefix, &map->gate_prefix);
}

typedef struct {
    apr_pool_t *pool;
    const reverse_map_t *map;
    apr_table_t *into;
} cookies_t;

static int each_cookie(void *data, const char *key, const char *value)
{
    cookies_t *c = data;

    apr_table_addn(c->into, key, reverse_cookie(c->pool, c->map, value));
    return 1;
}

static void turn_cookies(apr_pool_t *pool, const reverse_map_t *map, apr_table_t *headers)
{
    cookies_t c = { pool, map, NULL };

    if (!apr_table_get(headers, "Set-Cookie")) {
        return;
    }
    c.into = apr_table_make(pool, 4);
    apr_table_do(each_cookie, &c, headers, "Set-Cookie", NULL);
    apr_table_unset(headers, "Set-Cookie");
    apr_table_overlap(headers, c.into, APR_OVERLAP_TABLES_ADD);
}

/* Only when there is something to turn: the map costs more than looking. */
static void turn_headers(upstream_try_t *t)
{
    apr_table_t *headers = t->shadow->headers_out;
    apr_pool_t *pool = t->exchange->r->pool;
    reverse_map_t map;
    const char *value;
    int i, made = 0;

    for (i = 0; names_members[i]; i++) {
        if ((value = apr_table_get(headers, names_members[i])) != NULL) {
            if (!made) {
                make_map(t, &map);
                made = 1;
            }
            apr_table_setn(headers, names_members[i], reverse_url(pool, &map, value));
        }
    }
    value = apr_table_get(headers, "Refresh");
    if (!made && (value || apr_table_get(headers, "Set-Cookie") || apr_table_get(t->shadow->err_headers_out, "Set-Cookie"))) {
        make_map(t, &map);
        made = 1;
    }
    if (!made) {
        return;
    }
    if (value) {
        apr_table_setn(headers, "Refresh", reverse_refresh(pool, &map, value));
    }
    turn_cookies(pool, &map, headers);
    turn_cookies(pool, &map, t->shadow->err_headers_out);
}

void upstream_shadow_commit(upstream_try_t *t)
{
    upstream_exchange_t *x = t->exchange;
    request_rec *r = x->r, *shadow = t->shadow;
    const proxy_dir_conf *conf = ap_get_module_config(r->per_dir_config, &proxy_module);

    give_back(x);
    turn_headers(t);
    if (!ap_proxy_should_override((proxy_dir_conf *)conf, r->status)) {
        /* else: this answer is an ErrorDocument, and its status is the error's */
        r->status = shadow->status;
        r->status_line = shadow->status_line;
    }
    r->headers_out = shadow->headers_out;
    r->err_headers_out = shadow->err_headers_out;
    upstream_sticky_answer(t);
    r->trailers_out = shadow->trailers_out;
    r->subprocess_env = shadow->subprocess_env;
    r->notes = shadow->notes;
    r->content_encoding = shadow->content_encoding;
    r->content_languages = shadow->content_languages;
    if (shadow->content_type) {
        ap_set_content_type(r, shadow->content_type);
    }
    r->clength = shadow->clength;
    r->mtime = shadow->mtime;
    r->sent_bodyct = shadow->sent_bodyct;
    r->no_cache = shadow->no_cache;
    r->no_local_copy = shadow->no_local_copy;
    r->path_info = shadow->path_info;
    r->expecting_100 = shadow->expecting_100;
}

void upstream_shadow_tunnelled(upstream_try_t *t)
{
    request_rec *r = t->exchange->r, *shadow = t->shadow;

    r->status = shadow->status;
    r->status_line = shadow->status_line;
    r->headers_out = shadow->headers_out;
    r->notes = shadow->notes;
    r->input_filters = r->proto_input_filters = shadow->input_filters;
    r->output_filters = r->proto_output_filters = shadow->output_filters;
}
