/*
 * explain.c - see explain.h. A request is made up from the URL and headers given, its vhost is looked for, and httpd looks it up as a
 * sub-request: translated, mapped, authorized, but never run. Then each section says what it would decide about it.
 */

#include <httpd.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_vhost.h>

#include "explain.h"
#include "gate_core.h"
#include "gate_section.h"
#include "gate_view_request.h"
#include "render.h"
#include "visit.h"

APLOG_USE_MODULE(gate_status);

#define HEADERS_MAX 50

typedef struct {
    const char *url, *method, *client;
    apr_table_t *headers;
    apr_uri_t parts;
} question_t;

int explain_mark(request_rec *r)
{
    if (r->main && r->main->notes && apr_table_get(r->main->notes, EXPLAIN_NOTE)) {
        apr_table_setn(r->notes, EXPLAIN_NOTE, "1");
    }
    return OK;
}

/* ---- the question ---- */

static const char *take_header(apr_pool_t *p, question_t *q, char *text)
{
    char *colon = strchr(text, ':'), *value;

    if (!colon || colon == text || apr_table_elts(q->headers)->nelts >= HEADERS_MAX) {
        return "header must be 'Name: value', at most 50 of them";
    }
    *colon = '\0';
    for (const char *c = text; *c; c++) {
        if (!apr_isalnum(*c) && !strchr("!#$%&'*+-.^_`|~", *c)) {
            return "header has a character that no header name may have";
        }
    }
    value = colon + 1 + strspn(colon + 1, " \t");
    if (strpbrk(value, "\r\n")) {
        return "header must be one line";
    }
    apr_table_mergen(q->headers, apr_pstrdup(p, text), value);
    return NULL;
}

static const char *take_pair(apr_pool_t *p, question_t *q, char *pair)
{
    char *value = strchr(pair, '=');

    if (!value) {
        return "each parameter must be name=value";
    }
    *value++ = '\0';
    if (ap_unescape_urlencoded(pair) != OK || ap_unescape_urlencoded(value) != OK) {
        return "the query has a broken %-escape";
    }
    if (strcmp(pair, "url") == 0) {
        q->url = value;
    }
    else if (strcmp(pair, "method") == 0) {
        q->method = value;
    }
    else if (strcmp(pair, "client") == 0) {
        q->client = value;
    }
    else if (strcmp(pair, "header") == 0) {
        return take_header(p, q, value);
    }
    else {
        return "there are the parameters url, method, client and header (as often as you like)";
    }
    return NULL;
}

static const char *read_question(request_rec *r, question_t *q)
{
    char *rest = apr_pstrdup(r->pool, r->args ? r->args : ""), *pair;
    const char *err;

    memset(q, 0, sizeof *q);
    q->method = "GET";
    q->headers = apr_table_make(r->pool, 8);
    while ((pair = apr_strtok(rest, "&", &rest)) != NULL) {
        if ((err = take_pair(r->pool, q, pair)) != NULL) {
            return err;
        }
    }
    if (!q->url || !*q->url) {
        return "say which URL: explain.json?url=https://www.example.com/path";
    }
    if (apr_uri_parse(r->pool, q->url, &q->parts) != APR_SUCCESS || (q->parts.path && q->parts.path[0] != '/')
        || (!q->parts.path && !q->parts.hostname)
        || (q->parts.scheme && strcmp(q->parts.scheme, "http") != 0 && strcmp(q->parts.scheme, "https") != 0)) {
        return "url must be http://host/path, https://host/path or /path";
    }
    if (ap_method_number_of(q->method) == M_INVALID) {
        return "method is none that this server knows";
    }
    return NULL;
}

/* ---- the request made up from it ---- */

static int listens_on(const server_rec *s, apr_port_t port)
{
    for (const server_addr_rec *a = s->addrs; a; a = a->next) {
        if (a->host_port == port || a->host_port == 0) {
            return 1;
        }
    }
    return 0;
}

/* By port and name, as a client's Host would lead; the first vhost of the port when no name fits. The list begins with the last. */
static server_rec *vhost_for(const char *name, apr_port_t port)
{
    server_rec *by_port = NULL, *by_name = NULL;

    for (server_rec *s = ap_server_conf->next; s; s = s->next) {
        if (listens_on(s, port)) {
            by_port = s;
            by_name = server_has_name(s, name, 1) ? s : by_name;
        }
    }
    return by_name ? by_name : by_port ? by_port : ap_server_conf;
}

static request_rec *make_up(const visit_t *visit, const question_t *q)
{
    request_rec *r = visit->r, *as = ap_create_request(r->connection);
    int https = q->parts.scheme ? strcmp(q->parts.scheme, "https") == 0 : strcmp(ap_http_scheme(r), "https") == 0;
    const char *host = q->parts.hostname;

    as->method = q->method;
    as->method_number = ap_method_number_of(q->method);
    as->protocol = (char *)"HTTP/1.1";
    as->proto_num = HTTP_VERSION(1, 1);
    as->request_time = r->request_time;
    as->the_request = apr_pstrcat(as->pool, q->method, " ", q->url, " HTTP/1.1", NULL);
    as->headers_in = apr_table_copy(as->pool, q->headers);
    as->server = r->server;
    as->useragent_addr = r->useragent_addr;
    as->useragent_ip = r->useragent_ip;
    as->status = HTTP_OK;
    if (host) {
        apr_port_t port = q->parts.port_str ? q->parts.port : https ? 443 : 80;

        as->hostname = host;
        as->server = vhost_for(host, port);
        apr_table_setn(as->headers_in, "Host", q->parts.hostinfo);
    }
    else {
        as->hostname = r->hostname;
        apr_table_setn(as->headers_in, "Host", apr_table_get(r->headers_in, "Host"));
    }
    if (q->client) {
        apr_sockaddr_t *address = NULL;

        if (apr_sockaddr_info_get(&address, q->client, APR_UNSPEC, 0, 0, as->pool) == APR_SUCCESS && address) {
            as->useragent_addr = address;
            as->useragent_ip = apr_pstrdup(as->pool, q->client);
        }
    }
    as->per_dir_config = as->server->lookup_defaults;
    apr_table_setn(as->notes, EXPLAIN_NOTE, "1");
    return as;
}

/* An address, and not a name that would have to be asked for. */
static int is_address(const char *text)
{
    return *text && strspn(text, "0123456789abcdefABCDEF.:") == strlen(text) && strpbrk(text, ".:");
}

/* ---- the answer ---- */

static void say_route(gate_node_t *out, const request_rec *sub)
{
    gate_node_t *route = gate_put_object(out, "route");
    const char *handler = sub->handler ? sub->handler : "default-handler";
    const char *target = sub->filename ? sub->filename : "";

    if (strncmp(handler, "proxy:", 6) == 0) {
        target = handler;
    }
    if (strncmp(target, "proxy:gate://", 13) == 0) {
        gate_put_text(route, "kind", "group");
        gate_put_text(route, "group", apr_pstrmemdup(out->pool, target + 13, strcspn(target + 13, "/?")));
        gate_put_text(route, "target", target + 6);
    }
    else if (strncmp(target, "proxy:", 6) == 0) {
        gate_put_text(route, "kind", "proxy");
        gate_put_text(route, "target", target + 6);
    }
    else if (strcmp(handler, "default-handler") == 0 || strchr(handler, '/')) {
        gate_put_text(route, "kind", "file");
        gate_put_text(route, "target", target);
    }
    else {
        gate_put_text(route, "kind", "handler");
        gate_put_text(route, "target", handler);
    }
}

static void say_lookup(gate_node_t *out, const question_t *q, const request_rec *sub)
{
    gate_node_t *request = gate_put_object(out, "request"), *vhost = gate_put_object(out, "vhost"),
        *lookup = gate_put_object(out, "lookup");
    int refused = sub->status != HTTP_OK;

    gate_put_text(request, "method", q->method);
    gate_put_text(request, "url", q->url);
    gate_put_text(request, "client", sub->useragent_ip);
    gate_put_text(vhost, "name", sub->server->server_hostname);
    gate_put_text(vhost, "file", sub->server->defn_name);
    gate_put_gauge(vhost, "line", sub->server->is_virtual ? (int64_t)sub->server->defn_line_number : 0, NULL);
    gate_put_gauge(lookup, "status", sub->status, NULL);
    gate_put_text(lookup, "why", refused ? "the request would be answered with this status before any handler runs; the rules are "
                                           "those of Require, RewriteRule, Redirect and the like"
                                         : "the request would reach its handler");
    say_route(out, sub);
    gate_put_text(out, "plane", "classic");
    gate_put_text(out, "plane_why", "mod_gate_engine is not loaded or says nothing about this request");
}

static void say_sections(gate_node_t *out, request_rec *sub)
{
    const gate_node_t *plane, *why;
    gate_node_t *said;
    gate_view_t view;

    memset(&view, 0, sizeof view);
    gate_view_of(sub, &view);
    for (const gate_section_t *const *s = gate_sections(); *s; s++) {
        if (!(*s)->explain) {
            continue;
        }
        said = gate_put_object(out, (*s)->name);
        (*s)->explain(said, &view, sub, (*s)->ctx);
        plane = strcmp((*s)->name, "engine") == 0 ? gate_node_get(said, "verdict") : NULL;
        why = plane ? gate_node_get(said, "why") : NULL;
        if (plane && plane->kind == GATE_NODE_TEXT) {
            gate_put_text(out, "plane", plane->v.text);
            gate_put_text(out, "plane_why", why && why->kind == GATE_NODE_TEXT ? why->v.text : NULL);
        }
    }
}

int explain_answer(const visit_t *visit)
{
    gate_node_t *out = gate_node_create(visit->r->pool);
    request_rec *as, *sub;
    const char *err;
    question_t q;
    text_out_t text;

    err = read_question(visit->r, &q);
    if (!err && q.client && !is_address(q.client)) {
        err = "client must be an address";
    }
    if (err) {
        return visit_problem(visit, HTTP_BAD_REQUEST, "query", err);
    }
    as = make_up(visit, &q);
    sub = ap_sub_req_method_uri(q.method, apr_pstrcat(as->pool, q.parts.path ? q.parts.path : "/", q.parts.query ? "?" : NULL,
                                                      q.parts.query, NULL), as, NULL);
    gate_put_gauge(out, "version", 1, NULL);
    say_lookup(out, &q, sub);
    say_sections(out, sub);
    visit_answer(visit, HTTP_OK, "application/json");
    visit_write(visit, &text);
    render_json_node(&text, out);
    text_char(&text, '\n');
    text_out_end(&text);
    ap_destroy_sub_req(sub);
    apr_pool_destroy(as->pool);
    return OK;
}
