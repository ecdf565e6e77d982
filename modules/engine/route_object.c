/*
 * route_object.c - what makes a single request classic although its route is express, and who may come in; see route_inside.h.
 */
#include <string.h>
#include <strings.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_request.h>
#include <mod_core.h>

#include "route_inside.h"

#define AUTHZ_TTL_USEC 1000000  /* sets of addresses may change while a connection lasts */

/* Max-Forwards: one number above 0; others have an answer of mod_proxy's. */
static int goes_on(const fields_t *fields)
{
    const field_t *f = fields_known(fields, FIELD_MAX_FORWARDS);
    int64_t left = 0;
    uint32_t i;

    for (i = 0; i < f->value.len && i < 18; i++) {
        if (f->value.at[i] < '0' || f->value.at[i] > '9') {
            return 0;
        }
        left = left * 10 + (f->value.at[i] - '0');
    }
    return i == f->value.len && left > 0 && !(fields->repeated && fields_next(fields, f));
}

/* Methods and fields that make even an express route's request classic. */
const char *route_odd_request(const request_head_t *head)
{
    const field_t *upgrade;

    switch (head->known) {
    case METHOD_OTHER:
        return "the method is not a common one";
    case METHOD_TRACE:
        return "TRACE";
    case METHOD_CONNECT:
        return "CONNECT";
    default:
        break;
    }
    if (head->fields.first[FIELD_MAX_FORWARDS] && !goes_on(&head->fields)) {
        return "Max-Forwards";
    }
    if (head->path.len >= ROUTE_MATCH_BYTES) {
        return "the path is very long";
    }
    if (head->query.len && memchr(head->query.at, '#', head->query.len)) {
        return "a fragment in the target";
    }
    if (head->upgrade) {
        upgrade = fields_known(&head->fields, FIELD_UPGRADE);
        if (!upgrade || upgrade->value.len != 9 || strncasecmp(upgrade->value.at, "websocket", 9) != 0) {
            return "Upgrade to something else than websocket";
        }
    }
    return NULL;
}

const char *route_odd_path(const server_rec *server, request_head_t *head, route_path_t *other)
{
    if (!head->plain_path) {
        if (!route_path_read(server, head, other)) {
            return "the path is refused, or has none that can be told";
        }
        head->path = (span_t){ other->uri, other->len };
    }
    if (head->path.len >= 13 && memcmp(head->path.at, "/.well-known/", 13) == 0 && ap_find_linked_module("mod_md.c")) {
        return "mod_md may answer for /.well-known/";
    }
    return NULL;
}

/* Require, Allow and Deny, by httpd's own modules. @return 1 admitted; 0: found->refused is the status if its page is a plain one */
static int is_allowed(route_client_t *client, const route_t *route, const request_head_t *head, route_found_t *found)
{
    int64_t now = loop_now(client->table->loop);
    route_ready_t ready = { 0 };
    const char *page;
    request_rec *r;
    int rc;

    if (client->allowed == route && now < client->allowed_until_usec) {
        return 1;
    }
    r = route_request_bare(route->server, client->c, head, client->table->scratch);
    r->per_dir_config = route->dir_conf;
    r->proxyreq = PROXYREQ_REVERSE;
    if (route->needs & ELIGIBLE_REMOTE) {
        route_remote(route->server, client->c, head, client->table->scratch, &ready);
        r->useragent_ip = (char *)ready.ip;
        r->useragent_addr = ready.addr;
    }
    route_set_env_if(r, head, 0, route); /* what Require env can see; SetEnv comes later */
    found->refused_in = ROUTE_PHASE_ACCESS;
    rc = route_request_access(r);
    page = rc == HTTP_FORBIDDEN ? ap_response_code_string(r, ap_index_of_response(rc)) : NULL;
    found->refused = rc == HTTP_FORBIDDEN && (!page || *page == '"') && head->body == BODY_NONE ? rc : 0;
    apr_pool_clear(client->table->scratch);
    if (rc != OK) {
        return 0;
    }
    if (!(route->needs & (ELIGIBLE_AUTHZ_REQUEST | ELIGIBLE_REMOTE))) {
        client->allowed = route;
        client->allowed_until_usec = now + AUTHZ_TTL_USEC;
    }
    return 1;
}

const char *route_odd_sender(const route_client_t *client, const route_t *route, const request_head_t *head)
{
    const field_t *agent;

    if (route->env->browsers) {
        agent = fields_known(&head->fields, FIELD_USER_AGENT);
        if (agent && head->fields.repeated && fields_next(&head->fields, agent)) {
            return "more than one User-Agent";
        }
        if (route_agents_match(client->table->agents, route->env->browsers, agent ? &agent->value : NULL)) {
            return "BrowserMatch knows this User-Agent";
        }
    }
    if (route->needs & ELIGIBLE_REMOTE && !route_remote_is_plain(route, head)) {
        return "RemoteIPHeader's field is no list of addresses";
    }
    return NULL;
}

const char *route_object(route_client_t *client, const route_t *route, const request_head_t *head, span_t mapped, route_found_t *found)
{
    route_table_t *table = client->table;
    const char *why = NULL;

    if (!route_types_look(table->types, route, client->c, head, mapped, table->scratch, &found->content_type, &why)) {
        return why;
    }
    if (route->needs & ELIGIBLE_TLS && !client->tls) {
        return "SSLRequireSSL";
    }
    if (route->needs & ELIGIBLE_AUTHZ && !is_allowed(client, route, head, found) && !found->refused) {
        return "access is not simply granted";
    }
    return NULL;
}
