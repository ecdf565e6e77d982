/*
 * exchange_ask.c - what a member is asked: the head as mod_proxy_http would send it for the same route, and what else of mod_proxy's
 * settings decides about an exchange.
 */
#include <httpd.h>
#include <http_core.h>
#include <mod_proxy.h>

#include <apr_strings.h>

#include "exchange_inside.h"
#include "origin_tls_conf.h"
#include "route.h"

static int is_tls(const gate_url_t *url)
{
    return strcmp(url->scheme, "https") == 0 || strcmp(url->scheme, "h2") == 0;
}

static span_t span_of(const char *text)
{
    return (span_t){ text, (uint32_t)strlen(text) };
}

/*
 * As mod_proxy_http makes it of the member's URL, in which a port that the scheme implies is not written; mod_proxy_http2 has it that h2c is
 * http and h2 is https.
 */
static span_t host_of_member(exchange_t *x, const gate_url_t *url)
{
    int implied = !url->port_given || url->port == DEFAULT_HTTP_PORT || (url->port == DEFAULT_HTTPS_PORT && is_tls(url));
    int v6 = strchr(url->host, ':') != NULL;

    if (implied) {
        return span_of(v6 ? apr_pstrcat(x->pool, "[", url->host, "]", NULL) : url->host);
    }
    return span_of(url->unix_path ? apr_psprintf(x->pool, "%s:%u", url->host, url->port) : url->authority);
}

static span_t target_of(exchange_t *x, const gate_url_t *url)
{
    return *url->path ? span_of(apr_pstrcat(x->pool, url->path, x->path.at, NULL)) : x->path;
}

static void set_forwarded(exchange_t *x, member_ask_t *ask)
{
    if (!x->route->add_headers) {
        return;
    }
    ask->forwarded_for = span_of(x->ready ? x->ready->ip : x->c->client_ip);
    ask->forwarded_host = x->head->host;
    ask->forwarded_server = span_of(x->server->server_hostname);
}

void exchange_ask_head(exchange_t *x, member_ask_t *ask)
{
    const gate_url_t *url = &x->try->member->parts;
    body_e body = ask->body;
    uint64_t length = ask->length;

    *ask = (member_ask_t){
        .method = x->head->method, .known = x->method, .target = target_of(x, url), .fields = x->ask_instead ? x->ask_instead : &x->head->fields,
        .via_block = x->route->via == via_block, .expect_continue = x->body.held, .body = body, .length = length
    };
    ask->host = x->route->preserve_host && x->head->host.at ? x->head->host : host_of_member(x, url);
    if (x->route->via == via_on || x->route->via == via_full) {
        ask->via = span_of(exchange_via(x));
    }
    set_forwarded(x, ask);
    exchange_websocket_ask(x, ask);
}

const origin_tls_t *exchange_ask_tls(const exchange_t *x)
{
    return is_tls(&x->try->member->parts) ? origin_tls_of(x->server) : NULL;
}

const char *exchange_ask_tls_host(const exchange_t *x)
{
    return x->route->preserve_host && x->head->host.at ? x->view.host : NULL;
}

int exchange_ask_overridden(const exchange_t *x, int status)
{
    proxy_dir_conf *conf = x->route->proxy_dir;

    return conf && conf->error_override && ap_proxy_should_override(conf, status);
}

apr_table_t *exchange_ask_error_fields(exchange_t *x, const answer_head_t *head)
{
    const field_t *authenticate = fields_known(&head->fields, FIELD_WWW_AUTHENTICATE);
    apr_table_t *headers;

    if (head->status != HTTP_UNAUTHORIZED || !authenticate) {
        return NULL;
    }
    headers = apr_table_make(x->pool, 1);
    apr_table_setn(headers, "WWW-Authenticate", apr_pstrmemdup(x->pool, authenticate->value.at, authenticate->value.len));
    return headers;
}
