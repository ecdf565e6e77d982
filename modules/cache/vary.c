/* vary.c - see vary.h */
#include "vary.h"

#include <stdlib.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "fields.h"

#define VARY_FIELDS_MAX 16

void gate_accept_parse(const char *text, gate_accept_t *out)
{
    static const char *const names[] = { "br", "gzip", "identity" };
    int any = -1, seen[3] = { 0 };
    const char *member;
    size_t len, name;

    memset(out, 0, sizeof *out);
    while (text && gate_list_next(&text, &member, &len)) {
        int q = gate_qvalue(member, len, &name);

        if (name == 1 && *member == '*') {
            any = q;
        }
        else if (name == 6 && !strncasecmp(member, "x-gzip", 6)) {
            out->q[1] = seen[1] ? out->q[1] : q;
            seen[1] = 1;
        }
        for (int i = 0; i < 3; i++) {
            if (name == strlen(names[i]) && !strncasecmp(member, names[i], name)) {
                out->q[i] = q;
                seen[i] = 1;
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        if (!seen[i] && any >= 0) {
            out->q[i] = any;
        }
    }
    if (!seen[2] && any != 0) {
        out->q[2] = any > 0 ? any : 1; /* always acceptable unless refused, but the least wanted */
    }
    for (int i = 0; i < 3; i++) {
        out->takes |= out->q[i] > 0 ? 1u << i : 0;
    }
}

const char *gate_accept_class(const gate_accept_t *accept)
{
    static const char *const classes[8] = { "identity;q=0", "br, identity;q=0", "gzip, identity;q=0", "br, gzip, identity;q=0",
                                            "identity", "br", "gzip", "br, gzip" };

    return classes[accept->takes & 7];
}

/* One form for what means the same: lines joined, blanks around commas gone; codings by class, languages in lower case. */
static const char *normal_value(apr_pool_t *p, const char *name, const apr_table_t *request)
{
    const char *text = gate_field(p, request, name), *member;
    char *out, *to;
    size_t len;

    if (!strcmp(name, "accept-encoding")) {
        gate_accept_t accept;

        gate_accept_parse(text, &accept);
        return gate_accept_class(&accept);
    }
    if (!text) {
        return "\1"; /* absent is not the same as empty */
    }
    out = to = apr_palloc(p, strlen(text) + 2);
    *to = '\0';
    while (gate_list_next(&text, &member, &len)) {
        if (to > out) {
            *to++ = ',';
        }
        memcpy(to, member, len);
        to += len;
        *to = '\0';
    }
    if (!strcmp(name, "accept-language")) {
        for (to = out; *to; to++) {
            *to = (char)apr_tolower(*to);
        }
    }
    return out;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* @return number of different names, -1: uncacheable */
static int vary_names(apr_pool_t *p, const char *vary, const gate_vary_rule_t *rule, const char **names)
{
    const char *member;
    size_t len;
    int n = 0;

    while (vary && gate_list_next(&vary, &member, &len)) {
        char *name = apr_pstrmemdup(p, member, len);

        for (char *c = name; *c; c++) {
            *c = (char)apr_tolower(*c);
        }
        if (!strcmp(name, "*") || n == VARY_FIELDS_MAX) {
            return -1;
        }
        if (!strcmp(name, "user-agent") || !strcmp(name, "cookie")) {
            if (!rule->mapped) {
                return -1;
            }
            continue;
        }
        if (!strcmp(name, "accept-encoding") && rule->ignore_encoding) {
            continue;
        }
        names[n++] = name;
    }
    qsort(names, (size_t)n, sizeof *names, by_name);
    return n;
}

const char *gate_vary_key(apr_pool_t *p, const apr_table_t *response, const apr_table_t *request, const gate_vary_rule_t *rule,
                          size_t *len)
{
    const char *names[VARY_FIELDS_MAX], *values[VARY_FIELDS_MAX];
    int n = vary_names(p, gate_field(p, response, "Vary"), rule, names);
    char *key, *to;

    *len = 0;
    if (n < 0) {
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        values[i] = normal_value(p, names[i], request);
        if (!i || strcmp(names[i], names[i - 1])) {
            *len += strlen(names[i]) + strlen(values[i]) + 2;
        }
    }
    key = to = apr_palloc(p, *len + 1);
    for (int i = 0; i < n; i++) {
        if (!i || strcmp(names[i], names[i - 1])) {
            to = strcpy(to, names[i]) + strlen(names[i]) + 1;
            to = strcpy(to, values[i]) + strlen(values[i]) + 1;
        }
    }
    *to = '\0';
    return key;
}

int gate_vary_suits(apr_pool_t *p, const char *key, size_t len, const apr_table_t *request)
{
    const char *end = key + len;

    while (key < end) {
        const char *value = key + strnlen(key, (size_t)(end - key)) + 1;

        if (value >= end || strcmp(normal_value(p, key, request), value)) {
            return 0;
        }
        key = value + strlen(value) + 1;
    }
    return 1;
}

int gate_vary_by_others(const char *key, size_t len)
{
    const char *end = key + len;

    while (key < end && !strcmp(key, "accept-encoding")) {
        const char *value = key + strlen(key) + 1;

        key = value < end ? value + strlen(value) + 1 : end;
    }
    return key < end;
}
