/* fields.c - see fields.h */
#include "fields.h"

#include <string.h>
#include <apr_date.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define DELTA_MAX INT64_C(2147483648)

typedef struct {
    apr_pool_t *p;
    const char *first;
    apr_array_header_t *lines;
    int n;
} gather_t;

static int gather(void *ctx, const char *name, const char *value)
{
    gather_t *g = ctx;

    (void)name;
    if (!g->n++) {
        g->first = value;
    }
    else if (g->p) {
        if (!g->lines) {
            g->lines = apr_array_make(g->p, 4, sizeof(const char *));
            APR_ARRAY_PUSH(g->lines, const char *) = g->first;
        }
        APR_ARRAY_PUSH(g->lines, const char *) = ", ";
        APR_ARRAY_PUSH(g->lines, const char *) = value;
    }
    return 1;
}

const char *gate_field(apr_pool_t *p, const apr_table_t *t, const char *name)
{
    gather_t g = { .p = p };

    /* the usual case by the table's own index */
    if (!apr_table_get(t, name)) {
        return NULL;
    }
    apr_table_do(gather, &g, t, name, NULL);
    return g.n > 1 ? apr_array_pstrcat(p, g.lines, 0) : g.first;
}

const char *gate_field_first(const apr_table_t *t, const char *name, int *lines)
{
    gather_t g = { 0 };

    apr_table_do(gather, &g, t, name, NULL);
    if (lines) {
        *lines = g.n;
    }
    return g.first;
}

int gate_list_next(const char **at, const char **member, size_t *len)
{
    const char *c = *at, *end;

    while (*c == ',' || *c == ' ' || *c == '\t') {
        c++;
    }
    if (!*c) {
        *at = c;
        return 0;
    }
    *member = c;
    for (int quoted = 0; *c && (quoted || *c != ','); c++) {
        if (*c == '\\' && quoted && c[1]) {
            c++;
        }
        else if (*c == '"') {
            quoted = !quoted;
        }
    }
    for (end = c; end > *member && (end[-1] == ' ' || end[-1] == '\t'); end--) {
    }
    *len = (size_t)(end - *member);
    *at = c;
    return 1;
}

int gate_list_has(const char *list, const char *word)
{
    const char *member;
    size_t len, n = strlen(word);

    while (list && gate_list_next(&list, &member, &len)) {
        if (len == n && !strncasecmp(member, word, n)) {
            return 1;
        }
    }
    return 0;
}

size_t gate_pair(apr_pool_t *p, const char *member, size_t len, const char **value, int *quoted)
{
    const char *eq = memchr(member, '=', len);
    size_t name = eq ? (size_t)(eq - member) : len, n;
    char *to;

    *value = NULL;
    *quoted = 0;
    while (name && (member[name - 1] == ' ' || member[name - 1] == '\t')) {
        name--;
    }
    if (!eq) {
        return name;
    }
    for (eq++; eq < member + len && (*eq == ' ' || *eq == '\t'); eq++) {
    }
    n = (size_t)(member + len - eq);
    if (n < 2 || *eq != '"' || eq[n - 1] != '"') {
        *value = apr_pstrmemdup(p, eq, n);
        return name;
    }
    *quoted = 1;
    *value = to = apr_palloc(p, n);
    for (size_t i = 1; i + 1 < n; i++) {
        if (eq[i] == '\\' && i + 2 < n) {
            i++;
        }
        *to++ = eq[i];
    }
    *to = '\0';
    return name;
}

/* RFC 9110, 12.4.2; what is not a weight counts as 0: not wanted rather than wanted by mistake */
static int parse_weight(const char *c, const char *end)
{
    int q, scale = 100;

    if (c == end || (*c != '0' && *c != '1')) {
        return 0;
    }
    q = (*c++ - '0') * 1000;
    if (c < end && *c == '.') {
        for (c++; c < end && *c >= '0' && *c <= '9' && scale; c++, scale /= 10) {
            q += (*c - '0') * scale;
        }
    }
    return q > 1000 ? 1000 : q;
}

int gate_qvalue(const char *member, size_t len, size_t *name_len)
{
    const char *end = member + len, *c = memchr(member, ';', len);

    *name_len = c ? (size_t)(c - member) : len;
    while (*name_len && (member[*name_len - 1] == ' ' || member[*name_len - 1] == '\t')) {
        --*name_len;
    }
    while (c && c < end) {
        for (c++; c < end && (*c == ' ' || *c == '\t'); c++) {
        }
        if (end - c >= 2 && (*c == 'q' || *c == 'Q') && c[1] == '=') {
            return parse_weight(c + 2, end);
        }
        c = memchr(c, ';', (size_t)(end - c));
    }
    return 1000;
}

int64_t gate_http_date(const char *text)
{
    apr_time_t t = APR_DATE_BAD;
    size_t len = text ? strlen(text) : 0;

    /* the two forms with a comma end with GMT and nothing else; APR does not look */
    if (len && (!strchr(text, ',') || (len > 4 && !strcmp(text + len - 4, " GMT")))) {
        t = apr_date_parse_http(text);
    }
    return t == APR_DATE_BAD ? -1 : apr_time_sec(t);
}

int64_t gate_delta_seconds(const char *text)
{
    int64_t n = 0;

    if (!text || !*text) {
        return -1;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9') {
            return -1;
        }
        n = n * 10 + (*text - '0');
        n = n > DELTA_MAX ? DELTA_MAX : n;
    }
    return n;
}
