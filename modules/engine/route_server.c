/* route_server.c - from a Host to its vhost, as httpd and mod_ssl say, remembered; see route.h. */
#include <string.h>
#include <strings.h>

#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <http_ssl.h>
#include <http_vhost.h>

#include "route_inside.h"

/* As httpd would: by asking it. */
static server_rec *ask_for_server(route_client_t *client, const request_head_t *head)
{
    request_rec *r = route_request_bare(client->c->base_server, client->c, head, client->table->scratch);
    server_rec *server;

    r->hostname = NULL;
    ap_update_vhost_from_headers_ex(r, 0);
    server = r->status == HTTP_OK && r->hostname && *r->hostname ? r->server : NULL;
    apr_pool_clear(client->table->scratch);
    return server;
}

static server_rec *server_of_host(route_client_t *client, const request_head_t *head)
{
    const conn_rec *c = client->c;
    apr_port_t port = c->local_addr ? c->local_addr->port : 0;
    route_host_t *memo;

    if (head->host.len > ROUTE_HOST_BYTES) {
        return ask_for_server(client, head);
    }
    memo = &client->table->hosts[route_hash(head->host.at, head->host.len, (uint32_t)(uintptr_t)c->vhost_lookup_data ^ port) % ROUTE_HOSTS];
    if (memo->server && memo->len == head->host.len && memo->names == c->vhost_lookup_data && memo->base == c->base_server
        && memo->port == port && memcmp(memo->host, head->host.at, memo->len) == 0) {
        return memo->server;
    }
    memo->server = ask_for_server(client, head);
    memo->names = c->vhost_lookup_data;
    memo->base = c->base_server;
    memo->port = port;
    memo->len = (uint16_t)head->host.len;
    memcpy(memo->host, head->host.at, head->host.len);
    return memo->server;
}

/*
 * Is the vhost certainly the one of the handshake? Its name is the one that the client asked for there; or it asked for none, and it is the
 * address's first. With another that is as good to mod_ssl, TLS before 1.3 may be asked for the ciphers of that one in a new handshake.
 */
static int is_of_handshake(const route_client_t *client, const server_rec *server, request_rec *r)
{
    const char *asked = ap_ssl_var_lookup(r->pool, client->c->base_server, client->c, r, "SSL_TLS_SNI");

    if (!asked || !*asked) {
        return server == client->c->base_server;
    }
    return r->hostname && strcasecmp(asked, r->hostname) == 0;
}

static int has_no_renegotiation(const route_client_t *client, request_rec *r)
{
    const char *protocol = ap_ssl_var_lookup(r->pool, client->c->base_server, client->c, r, "SSL_PROTOCOL");

    return protocol && strcmp(protocol, "TLSv1.3") == 0;
}

/*
 * mod_ssl may object to a vhost other than the handshake's. It remembers the request that it saw last with the connection, so the first one
 * is kept, and shown to it again after others.
 */
static int tls_agrees(route_client_t *client, server_rec *server, const request_head_t *head)
{
    request_rec *r;
    int agrees;

    if (!route_hooks.ssl_read) {
        return 1;
    }
    r = route_request_bare(server, client->c, head, client->tls_request ? client->table->scratch : client->c->pool);
    agrees = route_hooks.ssl_read(r) == DECLINED && (is_of_handshake(client, server, r) || has_no_renegotiation(client, r));
    if (!client->tls_request) {
        client->tls_request = r;
    }
    else {
        route_hooks.ssl_read(client->tls_request);
        apr_pool_clear(client->table->scratch);
    }
    if (agrees) {
        client->tls_fine[client->tls_next++ % ROUTE_TLS_FINE] = server;
    }
    return agrees;
}

static int is_fine(const route_client_t *client, const server_rec *server)
{
    int i;

    for (i = 0; i < ROUTE_TLS_FINE; i++) {
        if (client->tls_fine[i] == server) {
            return 1;
        }
    }
    return 0;
}

server_rec *route_server(route_client_t *client, const request_head_t *head)
{
    server_rec *server;

    if (!client->table || !head->host.at || !head->host.len || !head->target.len || *head->target.at != '/') {
        return NULL;
    }
    if (client->server && client->host_len == head->host.len && memcmp(client->host, head->host.at, client->host_len) == 0) {
        server = client->server;
    }
    else {
        server = server_of_host(client, head);
        client->server = NULL;
        client->view = NULL;
        if (server && head->host.len <= ROUTE_CLIENT_HOST_BYTES) {
            client->server = server;
            client->host_len = (uint8_t)head->host.len;
            memcpy(client->host, head->host.at, head->host.len);
        }
    }
    if (server && client->tls && !is_fine(client, server) && !tls_agrees(client, server, head)) {
        return NULL;
    }
    return server;
}
