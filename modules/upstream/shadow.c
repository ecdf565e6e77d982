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

#include "upstream.h"

#define NO_DOCUMENT "\"" /* as ErrorDocument knows it: a text, which is empty */

static char *no_documents[RESPONSE_CODES + 64];

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

/* What is lent of the client's request: bits of upstream_try_t.lent. */
enum { LENT_HEADERS = 1, LENT_ERR_HEADERS = 2, LENT_TRAILERS = 4, LENT_NOTES = 8 };

/*
 * Each try is given tables of its own, but for those that are empty: mod_proxy_http puts others in their place or hardly writes to them, so
 * they are lent, and emptied again when the try was in vain. The other handlers leave in them what we look at after.
 */
static apr_table_t *give_table(upstream_try_t *t, apr_pool_t *pool, apr_table_t *table, int bit)
{
    if (!apr_is_empty_table(table)) {
        return apr_table_copy(pool, table);
    }
    if (strncmp(t->seen->member->parts.scheme, "http", 4) == 0) {
        t->lent |= bit;
        return table;
    }
    return apr_table_make(pool, 2);
}

/* mod_proxy's word on its worker without a pool, which is not used here, goes; ours about this try comes in. */
static apr_table_t *give_environment(const upstream_try_t *t, apr_pool_t *pool)
{
    const upstream_exchange_t *x = t->exchange;
    apr_table_t *environment = x->r->subprocess_env;

    if (x->route != x->conf->reverse && !t->seen->fresh && strncmp(t->seen->member->parts.scheme, "http", 4) == 0) {
        return environment; /* only read by mod_proxy_http */
    }
    environment = apr_table_copy(pool, environment);
    if (x->route == x->conf->reverse) {
        apr_table_unset(environment, "proxy-nokeepalive");
    }
    if (t->seen->fresh) {
        apr_table_setn(environment, "proxy-initial-not-pooled", "1");
    }
    return environment;
}

request_rec *upstream_shadow(upstream_try_t *t, apr_pool_t *pool)
{
    request_rec *r = t->exchange->r;
    request_rec *shadow = apr_pmemdup(pool, r, sizeof *r);

    shadow->pool = pool;
    shadow->headers_out = give_table(t, pool, r->headers_out, LENT_HEADERS);
    shadow->err_headers_out = give_table(t, pool, r->err_headers_out, LENT_ERR_HEADERS);
    shadow->trailers_out = give_table(t, pool, r->trailers_out, LENT_TRAILERS);
    shadow->notes = give_table(t, pool, r->notes, LENT_NOTES);
    if (!(t->lent & LENT_NOTES)) {
        apr_table_unset(shadow->notes, "proxy-status");
    }
    shadow->subprocess_env = give_environment(t, pool);
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

void upstream_shadow_forget(upstream_try_t *t)
{
    request_rec *r = t->exchange->r;

    if (t->lent & LENT_HEADERS) {
        apr_table_clear(r->headers_out);
    }
    if (t->lent & LENT_ERR_HEADERS) {
        apr_table_clear(r->err_headers_out);
    }
    if (t->lent & LENT_TRAILERS) {
        apr_table_clear(r->trailers_out);
    }
    if (t->lent & LENT_NOTES) {
        apr_table_clear(r->notes);
    }
}

/* ---- the answer's head ---------------------------------------------------------------------------------------------------- */

/* The public address as httpd has it for URLs of its own. */
static void prepare_turning(upstream_exchange_t *x)
{
    request_rec *r = x->r;

    if (x->paths.gate_path) {
        return;
    }
    x->view.host = r->hostname ? r->hostname : ap_get_server_name(r);
    x->view.port = ap_get_server_port(r);
    x->paths.public_path = r->parsed_uri.path ? r->parsed_uri.path : r->uri;
    x->paths.gate_path = apr_pstrmemdup(r->pool, x->path, strcspn(x->path, "?"));
}

/* Does a header of that name, in any case, hold a URL or a cookie? Nearly all are told by their length. */
static int names_members(const char *name)
{
    switch (strlen(name)) {
    case 3:
        return ap_cstr_casecmp(name, "URI") == 0;
    case 7:
        return ap_cstr_casecmp(name, "Refresh") == 0;
    case 8:
        return ap_cstr_casecmp(name, "Location") == 0;
    case 10:
        return ap_cstr_casecmp(name, "Set-Cookie") == 0;
    case 11:
        return ap_cstr_casecmp(name, "Destination") == 0;
    case 16:
        return ap_cstr_casecmp(name, "Content-Location") == 0;
    default:
        return 0;
    }
}

static void turn_headers(upstream_exchange_t *x, apr_table_t *headers)
{
    const apr_array_header_t *lines = apr_table_elts(headers);
    int i;

    for (i = 0; i < lines->nelts; i++) {
        apr_table_entry_t *line = &APR_ARRAY_IDX(lines, i, apr_table_entry_t);

        if (line->key && names_members(line->key)) {
            prepare_turning(x);
            line->val = (char *)errand_turn(x->errand, line->key, line->val);
        }
    }
}

void upstream_shadow_commit(upstream_try_t *t)
{
    upstream_exchange_t *x = t->exchange;
    request_rec *r = x->r, *shadow = t->shadow;
    const proxy_dir_conf *conf = ap_get_module_config(r->per_dir_config, &proxy_module);
    const char *cookie;

    give_back(x);
    turn_headers(x, shadow->headers_out);
    turn_headers(x, shadow->err_headers_out);
    if (!ap_proxy_should_override((proxy_dir_conf *)conf, r->status)) {
        /* else: this answer is an ErrorDocument, and its status is the error's */
        r->status = shadow->status;
        r->status_line = shadow->status_line;
    }
    r->headers_out = shadow->headers_out;
    r->err_headers_out = shadow->err_headers_out;
    if ((cookie = errand_cookie(x->errand)) != NULL) {
        apr_table_addn(r->err_headers_out, "Set-Cookie", cookie);
    }
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
