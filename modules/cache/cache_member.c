/* cache_member.c - what of an answer's headers the member said, what of it clients see, and whether it is sound */
#include "cache.h"

#include <string.h>

typedef struct {
    const apr_table_t *before;
    apr_table_t *added;
} added_t;

static int is_same(void *ctx, const char *name, const char *value)
{
    (void)name;
    return strcmp(ctx, value) != 0; /* 0 ends the walk: found */
}

static int add_new(void *ctx, const char *name, const char *value)
{
    added_t *a = ctx;

    if (!a->before || apr_table_do(is_same, (void *)(uintptr_t)value, a->before, name, NULL)) {
        apr_table_addn(a->added, name, value);
    }
    return 1;
}

/* The member's own fields: what other modules had put beside before is theirs, of this request. */
apr_table_t *cache_member_fields(request_rec *r, cache_request_t *c)
{
    added_t a = { r->proxyreq ? NULL : c->out_before, apr_table_make(r->pool, 24) };

    apr_table_do(add_new, &a, r->headers_out, NULL);
    a.before = c->err_before;
    apr_table_do(add_new, &a, r->err_headers_out, NULL);
    if (r->content_type) {
        apr_table_setn(a.added, "Content-Type", r->content_type);
    }
    if (r->content_encoding) {
        apr_table_setn(a.added, "Content-Encoding", r->content_encoding);
    }
    if (!apr_table_get(a.added, "Date")) {
        char *date = apr_palloc(r->pool, APR_RFC822_DATE_LEN);
        apr_rfc822_date(date, apr_time_now());
        apr_table_setn(a.added, "Date", date);
    }
    return a.added;
}

static int cookie_named(const char *cookie, const apr_array_header_t *names)
{
    size_t len = strcspn(cookie, "= \t;");

    for (int i = 0; names && i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        if (strlen(name) == len && !strncmp(name, cookie, len)) {
            return 1;
        }
    }
    return 0;
}

typedef struct {
    const apr_array_header_t *names;
    apr_table_t *kept;
} strip_t;

static int strip_one(void *ctx, const char *name, const char *value)
{
    strip_t *s = ctx;

    if (strcasecmp(name, "Set-Cookie") || !cookie_named(value, s->names)) {
        apr_table_addn(s->kept, name, value);
    }
    return 1;
}

apr_table_t *cache_strip_cookies(apr_pool_t *p, const cache_dir_conf_t *conf, apr_table_t *headers)
{
    strip_t s = { conf->strip_cookies, apr_table_make(p, 24) };

    if (!s.names || !apr_table_get(headers, "Set-Cookie")) {
        return headers;
    }
    apr_table_do(strip_one, &s, headers, NULL);
    return s.kept;
}
