/* key.c - see key.h */
#include "key.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_tables.h>

static int unreserved(int c)
{
    return apr_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static int hex(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 3986, 6.2.2.1 and 6.2.2.2 */
static char *normal_escapes(apr_pool_t *p, const char *text, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = apr_palloc(p, 3 * len + 1), *to = out;

    for (size_t i = 0; i < len; i++) {
        int high = i + 2 < len && text[i] == '%' ? hex((unsigned char)text[i + 1]) : -1;
        int low = high >= 0 ? hex((unsigned char)text[i + 2]) : -1;

        if (low < 0 && text[i] == '%') {
            /* no escape: it must not become one with what follows */
            memcpy(to, "%25", 3);
            to += 3;
        }
        else if (low < 0) {
            *to++ = text[i];
        }
        else if (unreserved(high << 4 | low)) {
            *to++ = (char)(high << 4 | low);
            i += 2;
        }
        else {
            *to++ = '%';
            *to++ = digits[high];
            *to++ = digits[low];
            i += 2;
        }
    }
    *to = '\0';
    return out;
}

/* RFC 3986, 5.2.4, in place */
static void remove_dot_segments(char *path)
{
    char *to = path;

    for (const char *at = path; *at == '/';) {
        const char *end = strchr(at + 1, '/');
        size_t len = end ? (size_t)(end - at - 1) : strlen(at + 1);

        if (len == 1 && at[1] == '.') {
            if (!end) {
                *to++ = '/';
            }
        }
        else if (len == 2 && at[1] == '.' && at[2] == '.') {
            while (to > path && *--to != '/') {
            }
            if (!end) {
                *to++ = '/';
            }
        }
        else {
            memmove(to, at, len + 1);
            to += len + 1;
        }
        if (!end) {
            break;
        }
        at = end;
    }
    if (to == path) {
        *to++ = '/';
    }
    *to = '\0';
}

static int ignored(const char *param, const gate_key_rule_t *rule)
{
    size_t len = strcspn(param, "=");

    for (const char *const *name = rule->ignore; name && *name; name++) {
        size_t n = strlen(*name);

        if (n && (*name)[n - 1] == '*' ? len >= n - 1 && !strncmp(param, *name, n - 1) : n == len && !strncmp(param, *name, n)) {
            return 1;
        }
    }
    return 0;
}

static int name_order(const char *a, const char *b)
{
    size_t la = strcspn(a, "="), lb = strcspn(b, "=");
    int d = strncmp(a, b, la < lb ? la : lb);

    return d ? d : la < lb ? -1 : la > lb;
}

/* Insertion sort: stable, and queries are short. Past a bound the order is left as it is: a client pays for nothing here. */
static void sort_params(const char **params, int n)
{
    if (n > 256) {
        return;
    }
    for (int i = 1; i < n; i++) {
        const char *param = params[i];
        int k = i;

        for (; k && name_order(params[k - 1], param) > 0; k--) {
            params[k] = params[k - 1];
        }
        params[k] = param;
    }
}

const char *gate_key_query(apr_pool_t *p, const char *query, const gate_key_rule_t *rule)
{
    apr_array_header_t *params;
    char *rest, *param, *last;

    if (!query || !*query) {
        return NULL;
    }
    if (!rule || (!rule->sort && (!rule->ignore || !*rule->ignore))) {
        return query;
    }
    params = apr_array_make(p, 8, sizeof(const char *));
    rest = apr_pstrdup(p, query);
    for (param = apr_strtok(rest, "&", &last); param; param = apr_strtok(NULL, "&", &last)) {
        if (!ignored(param, rule)) {
            APR_ARRAY_PUSH(params, const char *) = param;
        }
    }
    if (rule->sort) {
        sort_params((const char **)(void *)params->elts, params->nelts);
    }
    return params->nelts ? apr_array_pstrcat(p, params, '&') : NULL;
}

static const char *lower(apr_pool_t *p, const char *text, size_t len)
{
    char *s = apr_pstrmemdup(p, text, len);

    for (char *c = s; *c; c++) {
        *c = (char)apr_tolower(*c);
    }
    return s;
}

const char *gate_key_url(apr_pool_t *p, const char *scheme, const char *host, uint16_t port, const char *target,
                         const gate_key_rule_t *rule)
{
    const char *query, *url, *name = lower(p, host, strlen(host));
    size_t len, name_len = strlen(name);
    char *path;

    if (*target != '/') {
        const char *authority = strstr(target, "://");

        if (!authority) {
            return NULL;
        }
        target = authority + 3 + strcspn(authority + 3, "/?#");
    }
    if (strlen(target) > GATE_KEY_MAX) {
        return NULL;
    }
    len = strcspn(target, "?#");
    path = normal_escapes(p, len ? target : "/", len ? len : 1);
    remove_dot_segments(path);
    query = target[len] == '?' ? apr_pstrmemdup(p, target + len + 1, strcspn(target + len + 1, "#")) : NULL;
    query = gate_key_query(p, query, rule);
    if (name_len && name[name_len - 1] == '.') {
        name = apr_pstrmemdup(p, name, name_len - 1);
    }
    if (strchr(name, ':') && *name != '[') {
        name = apr_pstrcat(p, "[", name, "]", NULL);
    }
    url = apr_pstrcat(p, lower(p, scheme, strlen(scheme)), "://", name, ":", apr_itoa(p, port), path, query ? "?" : "",
                      query ? query : "", NULL);
    return strlen(url) <= GATE_KEY_MAX ? url : NULL;
}

/* Authority of "scheme://host:port..." : where the path begins. */
static const char *path_of(const char *url)
{
    const char *authority = strstr(url, "://");

    return authority ? authority + 3 + strcspn(authority + 3, "/?#") : NULL;
}

static int parse_port(const char *text, size_t len, uint16_t *port)
{
    uint32_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || (n = n * 10 + (uint32_t)(text[i] - '0')) > 65535) {
            return 0;
        }
    }
    if (len) {
        *port = (uint16_t)n;
    }
    return 1;
}

/* host and port out of an authority; user info makes it none of ours */
static int parse_authority(apr_pool_t *p, const char *text, size_t len, const char **host, uint16_t *port)
{
    const char *end = text + len, *colon;

    if (!len || memchr(text, '@', len)) {
        return 0;
    }
    if (*text == '[') {
        colon = memchr(text, ']', len);
        if (!colon) {
            return 0;
        }
        *host = apr_pstrmemdup(p, text, (size_t)(colon + 1 - text));
        colon++;
        return colon == end || (*colon == ':' && parse_port(colon + 1, (size_t)(end - colon - 1), port));
    }
    colon = memchr(text, ':', len);
    *host = apr_pstrmemdup(p, text, colon ? (size_t)(colon - text) : len);
    return **host && (!colon || parse_port(colon + 1, (size_t)(end - colon - 1), port));
}

/* RFC 3986, 5.2: what a relative reference means; `base` is canonical */
static const char *resolve(apr_pool_t *p, const char *url, const char *base)
{
    const char *path = base ? path_of(base) : NULL, *query, *slash;

    if (!path) {
        return NULL;
    }
    if (url[0] == '/' && url[1] == '/') {
        return apr_pstrcat(p, apr_pstrmemdup(p, base, (size_t)(strstr(base, "://") + 1 - base)), url, NULL);
    }
    if (url[0] == '/') {
        return apr_pstrcat(p, apr_pstrmemdup(p, base, (size_t)(path - base)), url, NULL);
    }
    query = path + strcspn(path, "?");
    if (url[0] == '?' || url[0] == '#' || !url[0]) {
        return apr_pstrcat(p, apr_pstrmemdup(p, base, (size_t)(query - base)), url[0] == '?' ? url : query, NULL);
    }
    for (slash = query; slash > path && slash[-1] != '/'; slash--) {
    }
    return apr_pstrcat(p, apr_pstrmemdup(p, base, (size_t)(slash - base)), slash == path ? "/" : "", url, NULL);
}

const char *gate_key_absolute(apr_pool_t *p, const char *url, const char *base, const gate_key_rule_t *rule)
{
    size_t scheme = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    const char *authority, *path, *host;
    uint16_t port;

    if (!scheme || strncmp(url + scheme, ":", 1)) {
        url = resolve(p, url, base);
        if (!url) {
            return NULL;
        }
        scheme = strcspn(url, ":");
    }
    if (strncmp(url + scheme, "://", 3)) {
        return NULL;
    }
    if (scheme == 4 && !strncasecmp(url, "http", 4)) {
        port = 80;
    }
    else if (scheme == 5 && !strncasecmp(url, "https", 5)) {
        port = 443;
    }
    else {
        return NULL;
    }
    authority = url + scheme + 3;
    path = path_of(url);
    if (!parse_authority(p, authority, (size_t)(path - authority), &host, &port)) {
        return NULL;
    }
    return gate_key_url(p, scheme == 4 ? "http" : "https", host, port, url, rule);
}

int gate_key_same_origin(const char *a, const char *b)
{
    const char *pa = path_of(a), *pb = path_of(b);

    return pa && pb && pa - a == pb - b && !strncmp(a, b, (size_t)(pa - a));
}
