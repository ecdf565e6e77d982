/*
 * exchange_view.c - the request as the exchange keeps it, and as logic sees it.
 */
#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_ssl.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "exchange_inside.h"
#include "origin_tls_conf.h"
#include "gate_address.h"
#include "header_ops.h"
#include "route.h"

exchange_t *exchange_of_view(const gate_view_t *view)
{
    return view->ctx;
}

static const char *text(apr_pool_t *p, span_t span)
{
    return apr_pstrmemdup(p, span.at, span.len);
}

/* RFC 9110, 5.3: lines of one name are one list. */
static const char *header(const gate_view_t *view, const char *name)
{
    const exchange_t *x = view->ctx;
    const fields_t *fields = &x->head->fields;
    field_e known = field_of(name, strlen(name));
    const char *found = NULL;
    uint32_t i = known ? fields->first[known] : 1;

    if (i == 0) {
        return NULL;
    }
    for (i--; i < fields->count; i++) {
        const field_t *field = &fields->field[i];

        if (known ? field->known == known : span_is(field->name, name)) {
            found = found ? apr_pstrcat(x->pool, found, ", ", text(x->pool, field->value), NULL) : text(x->pool, field->value);
            if (!fields->repeated) {
                break;
            }
        }
    }
    return found;
}

static struct request_rec *request(const gate_view_t *view)
{
    return exchange_request(view->ctx);
}

request_rec *exchange_request(exchange_t *x)
{
    if (!x->r) {
        x->r = route_request(x->route, x->c, x->head, x->pool, x->begun_wall, x->ready);
    }
    return x->r;
}

void exchange_errand_ask(exchange_t *x, gate_errand_ask_t *ask)
{
    const route_t *route = x->route;

    ask->group = exchange_upstream->group(route->group_name, strlen(route->group_name));
    ask->dir_conf = route->dir_conf;
    ask->clear_only = origin_tls_of(x->server) == NULL;
    ask->route_timeout_usec = route->timeout_usec;
    ask->server_timeout_usec = route->server_timeout_usec;
}

/* Where "name:80", "[::1]:80" has its colon; NULL: it has no port. */
static const char *colon_of(span_t host)
{
    uint32_t i = host.len;

    while (i > 0 && apr_isdigit(host.at[i - 1])) {
        i--;
    }
    return i > 0 && host.at[i - 1] == ':' && (host.at[0] != '[' || (i > 1 && host.at[i - 2] == ']')) ? host.at + i - 1 : NULL;
}

/* As ap_get_server_port() does: UseCanonicalName and UseCanonicalPhysicalPort say in which order the three are asked. */
static uint16_t port_of(const exchange_t *x, const char *digits, const char *end)
{
    const core_dir_config *core = ap_get_core_module_config(x->route->dir_conf);
    unsigned local = core->use_canonical_phys_port == USE_CANONICAL_PHYS_PORT_ON && x->c->local_addr ? x->c->local_addr->port : 0;
    unsigned port = 0;

    while (digits < end && port <= 65535) {
        port = port * 10 + (unsigned)(*digits++ - '0');
    }
    if (core->use_canonical_name == USE_CANONICAL_NAME_ON) {
        port = x->server->port ? x->server->port : local;
    }
    else if (port == 0 || port > 65535) {
        port = local ? local : x->server->port;
    }
    return (uint16_t)(port ? port : strcmp(x->view.scheme, "https") == 0 ? DEFAULT_HTTPS_PORT : DEFAULT_HTTP_PORT);
}

/* As httpd keeps it in r->hostname: lower case, no brackets, no dot at its end. */
static void set_host(exchange_t *x, gate_view_t *view)
{
    span_t host = x->head->host;
    const char *end = host.at + host.len, *colon = host.at ? colon_of(host) : NULL;
    char *name;
    uint32_t i;

    view->port = port_of(x, colon ? colon + 1 : end, end);
    if (colon) {
        host.len = (uint32_t)(colon - host.at);
    }
    if (host.len > 1 && host.at[0] == '[') {
        host.at++;
        host.len -= 2;
    }
    if (host.len > 1 && host.at[host.len - 1] == '.') {
        host.len--;
    }
    name = apr_palloc(x->pool, host.len + 1);
    for (i = 0; i < host.len; i++) {
        name[i] = (char)apr_tolower(host.at[i]);
    }
    name[host.len] = '\0';
    view->host = name;
}

/* As ap_http_scheme() does for a request of this vhost. */
static const char *scheme_of(const exchange_t *x)
{
    if (ap_ssl_conn_is_ssl(x->c)) {
        return "https";
    }
    return x->server->server_scheme ? x->server->server_scheme : "http";
}

/* As mod_proxy does; the route took it because it is a number above 0. */
static void count_forward(exchange_t *x, field_t *field)
{
    const char *left = apr_psprintf(x->pool, "%" APR_INT64_T_FMT, apr_atoi64(text(x->pool, field->value)) - 1);

    field->value = (span_t){ left, (uint32_t)strlen(left) };
    if (x->r) {
        apr_table_setn(x->r->headers_in, "Max-Forwards", left);
    }
}

static const request_head_t *copy_head(exchange_t *x, const request_head_t *from)
{
    request_head_t *head = apr_palloc(x->pool, sizeof *head);

    request_head_copy(head, from, apr_palloc(x->pool, request_head_size(from)));
    if (x->route->makes_ready) {
        x->ready = route_ready(x->route, x->c, head, x->pool, x->begun_wall);
        x->r = x->ready->r;
        if (x->ready->fields) {
            x->sent_fields = x->ready->r ? (x->ready->before ? x->ready->before : apr_pmemdup(x->pool, &head->fields, sizeof head->fields)) : NULL;
            head->fields = *x->ready->fields;
        }
    }
    if (x->route->request_headers) {
        fields_t changed;

        x->sent_fields = apr_pmemdup(x->pool, &head->fields, sizeof head->fields);
        header_ops_apply(x->route->request_headers, &head->fields, &changed, x->pool);
        head->fields = changed;
    }
    if (head->fields.first[FIELD_MAX_FORWARDS]) {
        count_forward(x, &head->fields.field[head->fields.first[FIELD_MAX_FORWARDS] - 1]);
    }
    return head;
}

void exchange_route_settings(exchange_t *x)
{
    x->logs = x->route->logs != 0;
    x->filters = x->route->output_types != 0;
}

void exchange_view_where(exchange_t *x)
{
    x->view.scheme = scheme_of(x);
    set_host(x, &x->view);
}

void exchange_view_fill(exchange_t *x)
{
    const request_head_t *head = x->head;
    gate_view_t *view = &x->view;

    view->method = text(x->pool, head->method);
    exchange_view_where(x);
    view->path = text(x->pool, head->path); /* the route took it because it is its own normal form */
    view->query = head->query.at ? text(x->pool, head->query) : NULL;
    view->protocol = head->major == 2 ? "HTTP/2.0" : head->minor ? "HTTP/1.1" : "HTTP/1.0";
    view->client = gate_address_of(x->ready ? x->ready->addr : x->c->client_addr);
    view->header = header;
    view->request = request;
    view->ctx = x;
    x->paths.public_path = view->path;
    x->paths.gate_path = apr_pstrmemdup(x->pool, x->path.at, strcspn(x->path.at, "?"));
}

int exchange_view_make(exchange_t *x)
{
    x->head = copy_head(x, x->head);
    exchange_view_fill(x);
    return 1;
}
