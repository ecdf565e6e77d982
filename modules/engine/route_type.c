/*
 * route_type.c - what mod_mime makes of a path's extensions, remembered; see route_inside.h.
 * mod_mime looks at a proxied request's path as at a file's: its type is an answer's that names none, and a language, an encoding or a filter
 * would be put on any answer. The former the engine does; the latter are left to the classic plane.
 */
#include <string.h>

#include <httpd.h>
#include <http_request.h>
#include <apr_strings.h>

#include "route_inside.h"

#define TYPES 512               /* remembered; a client may make up as many as it likes */
#define EXTENSION_BYTES 46

typedef struct {
    const route_t *route;
    const char *type;           /* one of .names, or NULL */
    uint8_t classic;
    uint8_t len;
    char extensions[EXTENSION_BYTES];
} type_t;

struct route_types {
    apr_pool_t *pool;
    apr_hash_t *names;          /* types as the configuration has them: a bounded number */
    type_t type[TYPES];
};

route_types_t *route_types_create(apr_pool_t *p)
{
    route_types_t *types = apr_pcalloc(p, sizeof *types);

    types->pool = p;
    types->names = apr_hash_make(p);
    return types;
}

/* All after the first dot of the last segment, but for dots that it begins with. @return its length, 0: none */
static uint32_t extensions_of(span_t path, const char **at)
{
    const char *end = path.at + path.len, *slash = memrchr(path.at, '/', path.len), *dot;
    const char *name = slash ? slash + 1 : path.at;

    while (name < end && *name == '.') {
        name++;
    }
    dot = memchr(name, '.', (size_t)(end - name));
    if (!dot) {
        return 0;
    }
    *at = dot + 1;
    return (uint32_t)(end - *at);
}

static const char *keep(route_types_t *types, const char *type)
{
    const char *kept = type ? apr_hash_get(types->names, type, APR_HASH_KEY_STRING) : NULL;

    if (type && !kept) {
        kept = apr_pstrdup(types->pool, type);
        apr_hash_set(types->names, kept, APR_HASH_KEY_STRING, kept);
    }
    return kept;
}

/* @return 0: more than a type */
static int ask(route_types_t *types, const route_t *route, conn_rec *c, const request_head_t *head, span_t path, apr_pool_t *scratch,
               const char **type)
{
    request_rec *r = route_request_bare(route->server, c, head, scratch);
    const ap_filter_t *in, *out;
    int plain;

    r->per_dir_config = route->dir_conf;
    r->proxyreq = PROXYREQ_REVERSE;
    r->handler = "proxy-server";
    r->filename = apr_pstrcat(scratch, "proxy:gate://", route->group_name, apr_pstrmemdup(scratch, path.at, path.len), NULL);
    in = r->input_filters;
    out = r->output_filters;
    route_hooks.mime(r);
    plain = !r->content_languages && !r->content_encoding && r->input_filters == in && r->output_filters == out;
    *type = keep(types, r->content_type);
    apr_pool_clear(scratch);
    return plain;
}

int route_types_look(route_types_t *types, const route_t *route, conn_rec *c, const request_head_t *head, span_t path, apr_pool_t *scratch,
                     const char **type, const char **why)
{
    const char *at = NULL;
    uint32_t len = extensions_of(path, &at);
    type_t *memo;

    *type = NULL;
    if (!len || !route_hooks.mime) {
        return 1;
    }
    if (len > EXTENSION_BYTES) {
        *why = "the path has a very long extension";
        return 0;
    }
    memo = &types->type[route_hash(at, len, route->index) % TYPES];
    if (memo->route != route || memo->len != len || memcmp(memo->extensions, at, len) != 0) {
        memo->classic = (uint8_t)!ask(types, route, c, head, path, scratch, &memo->type);
        memo->route = route;
        memo->len = (uint8_t)len;
        memcpy(memo->extensions, at, len);
    }
    *type = memo->type;
    *why = memo->classic ? "mod_mime gives the path a language, an encoding or a filter" : NULL;
    return !memo->classic;
}
