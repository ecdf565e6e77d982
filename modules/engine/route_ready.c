/* route_ready.c - what modules make of a request before a member is asked, by the modules themselves; see route.h. */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <apr_strings.h>

#include "route_inside.h"

int route_remote_is_plain(const route_t *route, const request_head_t *head)
{
    const apr_array_header_t *names = route->env->remote_headers;
    uint32_t i, at;
    int n;

    for (i = 0; names && i < head->fields.count; i++) {
        const field_t *f = &head->fields.field[i];

        for (n = 0; n < names->nelts; n++) {
            if (!span_is(f->name, APR_ARRAY_IDX(names, n, const char *))) {
                continue;
            }
            for (at = 0; at < f->value.len; at++) {
                if (!memchr("0123456789abcdefABCDEF.:, ", f->value.at[at], 26)) {
                    return 0;
                }
            }
        }
    }
    return 1;
}

typedef struct {
    const fields_t *before;
    fields_t *now;
} lines_t;

static int add_line(void *ctx, const char *name, const char *value)
{
    lines_t *lines = ctx;
    field_t *f;
    uint32_t i;

    if (lines->now->count == MESSAGE_FIELDS_MAX) {
        return 0;
    }
    f = &lines->now->field[lines->now->count++];
    memset(f, 0, sizeof *f);
    f->name = (span_t){ name, (uint32_t)strlen(name) };
    f->value = (span_t){ value, (uint32_t)strlen(value) };
    f->known = (uint8_t)field_of(name, f->name.len);
    if (f->known != FIELD_OTHER && !lines->now->first[f->known]) {
        lines->now->first[f->known] = (uint16_t)lines->now->count;
    }
    for (i = 0; i < lines->before->count && !f->hop; i++) {
        f->hop = spans_equal(lines->before->field[i].name, f->name) ? lines->before->field[i].hop : 0;
    }
    return 1;
}

/* The table's lines as fields; which of them are the connection's alone is as it was. */
static const fields_t *fields_of(const apr_table_t *table, const fields_t *before, apr_pool_t *p)
{
    fields_t *now = apr_pcalloc(p, sizeof *now);
    lines_t lines = { before, now };
    int count = apr_table_elts(table)->nelts;

    now->field = apr_palloc(p, (size_t)(count < MESSAGE_FIELDS_MAX ? count + 1 : MESSAGE_FIELDS_MAX) * sizeof(field_t));
    now->repeated = 1;
    apr_table_do(add_line, &lines, table, NULL);
    return now;
}

void route_remote(const server_rec *server, conn_rec *c, const request_head_t *head, apr_pool_t *p, route_ready_t *ready)
{
    request_rec *r = route_request_bare((server_rec *)server, c, head, p);

    if (route_hooks.remote) {
        route_hooks.remote(r);
    }
    ready->ip = r->useragent_ip;
    ready->addr = r->useragent_addr;
    ready->proxies = apr_table_get(r->notes, "remoteip-proxy-ip-list");
    if (ready->ip != c->client_ip) { /* only then has it changed fields */
        ready->fields = fields_of(r->headers_in, &head->fields, p);
    }
}

const route_ready_t *route_ready(const route_t *route, conn_rec *c, const request_head_t *head, apr_pool_t *p, apr_time_t begun)
{
    route_ready_t *ready = apr_pcalloc(p, sizeof *ready);
    request_head_t now = *head;

    ready->ip = c->client_ip;
    ready->addr = c->client_addr;
    if (route->needs & ELIGIBLE_REMOTE) {
        route_remote(route->server, c, head, p, ready);
    }
    if (route->needs & ELIGIBLE_ASK && route_hooks.headers) {
        if (ready->fields) {
            now.fields = *ready->fields;
        }
        ready->before = ready->fields;
        ready->r = route_request(route, c, &now, p, begun, ready);
        route_hooks.headers(ready->r);
        ready->fields = fields_of(ready->r->headers_in, &head->fields, p);
    }
    return ready;
}
