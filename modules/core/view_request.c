/* view_request.c - see gate_view_request.h. */

#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>
#include <apr_strings.h>

#include "gate_address.h"
#include "gate_view_request.h"

typedef struct {
    apr_pool_t *pool;
    const char *name, *found;
} lookup_t;

static int join(void *ctx, const char *key, const char *value)
{
    lookup_t *lookup = ctx;

    (void)key;
    lookup->found = lookup->found ? apr_pstrcat(lookup->pool, lookup->found, ", ", value, NULL) : value;
    return 1;
}

/* RFC 9110, 5.3: lines of one name are one list. */
static const char *header(const gate_view_t *view, const char *name)
{
    const request_rec *r = view->ctx;
    lookup_t lookup = { .pool = r->pool };

    apr_table_do(join, &lookup, r->headers_in, name, NULL);
    return lookup.found;
}

static struct request_rec *request(const gate_view_t *view)
{
    return view->ctx;
}

void gate_view_of(request_rec *r, gate_view_t *view)
{
    view->method = r->method ? r->method : "";
    view->scheme = ap_http_scheme(r);
    view->host = r->hostname ? r->hostname : "";
    view->port = (uint16_t)(r->parsed_uri.port_str ? r->parsed_uri.port : ap_get_server_port(r));
    view->path = r->uri && *r->uri ? r->uri : "/";
    view->query = r->args;
    view->protocol = r->protocol ? r->protocol : "";
    view->client = gate_address_of(r->useragent_addr);
    view->header = header;
    view->request = request;
    view->ctx = r;
}
