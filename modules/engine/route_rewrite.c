/*
 * route_rewrite.c - mod_rewrite on the loop: its own function for servers (not for sections) is asked about a request made for the question.
 * Rules that leave a request alone are most of what it does on a proxied site; what they change, or answer, is the classic plane's, which asks
 * again. What they answer with a page of httpd's own (a redirect, [F], [G]) is told on the loop (exchange_refuse.c). What they may look at is checked at start (eligible_table.c): nothing that waits, no sub-requests.
 */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_request.h>
#include <mod_core.h>

#include "route_inside.h"

/* Somebody reads how the rules run: that is told once, by the classic plane. */
int route_rewrite_is_told(const server_rec *server)
{
    const module *m = ap_find_linked_module("mod_rewrite.c");

    return m && ap_get_server_module_loglevel(server, m->module_index) >= APLOG_TRACE1;
}

static int is_special(void *found, const char *name, const char *value)
{
    (void)value;
    *(int *)found |= eligible_special_variable(name);
    return 1;
}

static int same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/*
 * Other pages than canned ones and texts are documents, which have to be asked for; some statuses end the connection; and httpd's header filter
 * makes another page of a Location that cannot be told.
 */
static int is_plain_page(request_rec *r, int status)
{
    const char *page = ap_response_code_string(r, ap_index_of_response(status)), *location = apr_table_get(r->headers_out, "Location");

    return (!page || *page == '"') && !ap_status_drops_connection(status) && !(location && *ap_scan_http_field_content(location));
}

const char *route_rewrite(const route_client_t *client, const server_rec *server, ap_conf_vector_t *conf, unsigned needs, const request_head_t *head,
                          int *status)
{
    apr_pool_t *scratch = client->table->scratch;
    request_rec *r = route_request_bare((server_rec *)server, client->c, head, scratch);
    const char *uri = apr_pstrmemdup(scratch, head->path.at, head->path.len), *args = r->args, *why = NULL;
    route_ready_t ready = { 0 };
    int special = 0, said;

    *status = 0;
    r->per_dir_config = conf;
    if (needs & ELIGIBLE_REMOTE) {
        route_remote(server, client->c, head, scratch, &ready);
        r->useragent_ip = (char *)ready.ip;
        r->useragent_addr = ready.addr;
    }
    if (needs & ELIGIBLE_ENV) {
        route_set_env_if(r, head, 1, NULL);
    }
    said = route_hooks.rewrite(r);
    if (ap_is_HTTP_VALID_RESPONSE(said) && said >= HTTP_MULTIPLE_CHOICES && is_plain_page(r, said) && head->body == BODY_NONE) {
        *status = said;
    }
    else if (said != DECLINED || !same(r->uri, uri) || !same(r->args, args)) {
        why = "RewriteRule";
    }
    else if (!apr_is_empty_table(r->err_headers_out) || apr_table_get(r->notes, "rewrite-forced-mimetype")
             || apr_table_get(r->notes, "rewrite-forced-handler")) {
        why = "RewriteRule sets a cookie, a type or a handler";
    }
    if (!why) {
        apr_table_do(is_special, &special, r->subprocess_env, NULL);
        why = special ? "RewriteRule sets a variable that changes how HTTP is spoken" : NULL;
    }
    apr_pool_clear(scratch);
    return why;
}

void route_rewrite_env(request_rec *r, const route_t *route)
{
    static const struct ap_logconf quiet = { NULL, APLOG_EMERG };
    request_rec was = *r;

    r->log = &quiet;
    r->filename = r->canonical_filename = NULL;
    r->handler = NULL;
    r->proxyreq = PROXYREQ_NONE;
    r->per_dir_config = route->env->rewrite_conf;
    r->notes = apr_table_make(r->pool, 2);
    r->headers_out = apr_table_make(r->pool, 1);
    route_hooks.rewrite(r);
    r->log = was.log;
    r->filename = was.filename;
    r->canonical_filename = was.canonical_filename;
    r->handler = was.handler;
    r->proxyreq = was.proxyreq;
    r->per_dir_config = was.per_dir_config;
    r->notes = was.notes;
    r->headers_out = was.headers_out;
    r->status = was.status;
}
