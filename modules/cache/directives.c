/* directives.c - Cache-Control, Pragma and the targeted fields; see freshness.h */
#include "freshness.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "fields.h"

typedef struct {
    const char *name;
    unsigned flag;                /* 0: it has seconds */
    size_t seconds;               /* offset in gate_cc_t */
} directive_t;

static const directive_t directives[] = {
    { "no-cache", GATE_CC_NO_CACHE, 0 },
    { "no-store", GATE_CC_NO_STORE, 0 },
    { "no-transform", GATE_CC_NO_TRANSFORM, 0 },
    { "must-revalidate", GATE_CC_MUST_REVALIDATE, 0 },
    { "proxy-revalidate", GATE_CC_PROXY_REVALIDATE, 0 },
    { "public", GATE_CC_PUBLIC, 0 },
    { "private", GATE_CC_PRIVATE, 0 },
    { "must-understand", GATE_CC_MUST_UNDERSTAND, 0 },
    { "immutable", GATE_CC_IMMUTABLE, 0 },
    { "only-if-cached", GATE_CC_ONLY_IF_CACHED, 0 },
    { "max-age", 0, offsetof(gate_cc_t, max_age) },
    { "s-maxage", 0, offsetof(gate_cc_t, s_maxage) },
    { "stale-while-revalidate", 0, offsetof(gate_cc_t, stale_while_revalidate) },
    { "stale-if-error", 0, offsetof(gate_cc_t, stale_if_error) },
    { "min-fresh", 0, offsetof(gate_cc_t, min_fresh) },
    { "max-stale", 0, offsetof(gate_cc_t, max_stale) },
};

static void cc_clear(gate_cc_t *cc)
{
    memset(cc, 0, sizeof *cc);
    cc->max_age = cc->s_maxage = cc->stale_while_revalidate = cc->stale_if_error = cc->min_fresh = cc->max_stale = -1;
}

static const directive_t *directive_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof directives / sizeof *directives; i++) {
        if (strlen(directives[i].name) == len && !strncasecmp(directives[i].name, name, len)) {
            return directives + i;
        }
    }
    return NULL;
}

/* The first of several counts; a number that is none counts as 0: stale (RFC 9111, 4.2.1). */
static void set_seconds(gate_cc_t *cc, const directive_t *d, const char *value)
{
    int64_t *field = (int64_t *)(void *)((char *)cc + d->seconds), n = gate_delta_seconds(value);

    if (*field >= 0 || (cc->flags & GATE_CC_MAX_STALE_ANY && field == &cc->max_stale)) {
        return;
    }
    if (field == &cc->max_stale && !value) {
        cc->flags |= GATE_CC_MAX_STALE_ANY;
        return;
    }
    *field = n < 0 ? 0 : n;
}

static const char *join_fields(apr_pool_t *p, const char *a, const char *b)
{
    return a ? apr_pstrcat(p, a, ",", b, NULL) : b;
}

/* no-cache and private with field names speak of these fields only (RFC 9111, 5.2.2.4, 5.2.2.7). */
static void set_flag(apr_pool_t *p, gate_cc_t *cc, const directive_t *d, const char *value)
{
    if (value && *value && d->flag == GATE_CC_NO_CACHE) {
        cc->no_cache_fields = join_fields(p, cc->no_cache_fields, value);
    }
    else if (value && *value && d->flag == GATE_CC_PRIVATE) {
        cc->private_fields = join_fields(p, cc->private_fields, value);
    }
    else {
        cc->flags |= d->flag;
    }
}

void gate_cc_parse(apr_pool_t *p, const char *text, gate_cc_t *out)
{
    const char *member, *value;
    size_t len, name;
    int quoted;

    cc_clear(out);
    while (text && gate_list_next(&text, &member, &len)) {
        const directive_t *d;

        name = gate_pair(p, member, len, &value, &quoted);
        d = directive_find(member, name);
        if (d && d->flag) {
            set_flag(p, out, d, value);
        }
        else if (d) {
            set_seconds(out, d, value);
        }
    }
}

/* ---- RFC 8941 dictionaries, as far as directives need them ---------------------------------------------------------------- */

static const char *skip_sp(const char *c)
{
    while (*c == ' ') {
        c++;
    }
    return c;
}

static const char *skip_ows(const char *c)
{
    while (*c == ' ' || *c == '\t') {
        c++;
    }
    return c;
}

static int key_char(int c, int first)
{
    return (c >= 'a' && c <= 'z') || c == '*' || (!first && (apr_isdigit(c) || c == '_' || c == '-' || c == '.'));
}

static int token_char(int c)
{
    return c > 32 && c < 127 && !strchr("\"(),;<=>?@[\\]{}", c);
}

static const char *skip_string(const char *c)
{
    for (c++; *c && *c != '"'; c++) {
        if (*c == '\\' && *++c != '"' && *c != '\\') {
            return NULL;
        }
        if ((unsigned char)*c < 32 || (unsigned char)*c > 126) {
            return NULL;
        }
    }
    return *c == '"' ? c + 1 : NULL;
}

static const char *skip_number(const char *c)
{
    int digits = 0, decimals = 0;

    c += *c == '-';
    for (; apr_isdigit(*c); c++) {
        digits++;
    }
    if (*c == '.') {
        for (c++; apr_isdigit(*c); c++) {
            decimals++;
        }
        return digits && digits <= 12 && decimals && decimals <= 3 ? c : NULL;
    }
    return digits && digits <= 15 ? c : NULL;
}

static const char *skip_bare_item(const char *c)
{
    if (*c == '"') {
        return skip_string(c);
    }
    if (*c == '-' || apr_isdigit(*c)) {
        return skip_number(c);
    }
    if (*c == '?') {
        return c[1] == '0' || c[1] == '1' ? c + 2 : NULL;
    }
    if (*c == ':') {
        c++;
        c += strspn(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
        return *c == ':' ? c + 1 : NULL;
    }
    if (!apr_isalpha(*c) && *c != '*') {
        return NULL;
    }
    while (token_char((unsigned char)*c)) {
        c++;
    }
    return c;
}

static const char *skip_params(const char *c)
{
    while (c && *c == ';') {
        c = skip_sp(c + 1);
        if (!key_char((unsigned char)*c, 1)) {
            return NULL;
        }
        while (key_char((unsigned char)*c, 0)) {
            c++;
        }
        if (*c == '=') {
            c = skip_bare_item(c + 1);
        }
    }
    return c;
}

static const char *skip_inner_list(const char *c)
{
    for (c = skip_sp(c + 1); c && *c && *c != ')';) {
        c = skip_params(skip_bare_item(c) ? skip_bare_item(c) : "\1");
        if (!c || (*c != ' ' && *c != ')')) {
            return NULL;
        }
        c = skip_sp(c);
    }
    return c && *c == ')' ? c + 1 : NULL;
}

/* A member's value means: ?0 as if absent, an Integer is seconds, true a flag; other types do not fit and say nothing. */
static void take_member(apr_pool_t *p, gate_cc_t *cc, const char *key, size_t key_len, const char *value, const char *end)
{
    const directive_t *d = directive_find(key, key_len);
    char *text = value ? apr_pstrmemdup(p, value, (size_t)(end - value)) : NULL;

    if (!d) {
        return;
    }
    if (!d->flag) {
        int64_t n = gate_delta_seconds(text);
        if (n >= 0) {
            *(int64_t *)(void *)((char *)cc + d->seconds) = n; /* the last one counts: RFC 8941, 3.2 */
        }
        else if (!value && d->seconds == offsetof(gate_cc_t, max_stale)) {
            cc->flags |= GATE_CC_MAX_STALE_ANY;
        }
        return;
    }
    if (!text || !strcmp(text, "?1")) {
        cc->flags |= d->flag;
    }
    else if (!strcmp(text, "?0")) {
        cc->flags &= ~d->flag;
    }
    else {
        /* a list of fields: to be as careful as with no list is always right */
        cc->flags |= d->flag & (GATE_CC_NO_CACHE | GATE_CC_PRIVATE);
    }
}

int gate_cc_parse_targeted(apr_pool_t *p, const char *text, gate_cc_t *out)
{
    const char *c = skip_sp(text);

    cc_clear(out);
    if (!*c) {
        return 0;
    }
    for (;;) {
        const char *key = c, *value = NULL, *end = NULL;
        size_t key_len;

        if (!key_char((unsigned char)*c, 1)) {
            return 0;
        }
        while (key_char((unsigned char)*c, 0)) {
            c++;
        }
        key_len = (size_t)(c - key);
        if (*c == '=') {
            value = c + 1;
            end = c = *value == '(' ? skip_inner_list(value) : skip_bare_item(value);
        }
        c = c ? skip_params(c) : NULL;
        if (!c) {
            return 0;
        }
        take_member(p, out, key, key_len, value, end);
        c = skip_ows(c);
        if (!*c) {
            return 1;
        }
        if (*c != ',') {
            return 0;
        }
        c = skip_ows(c + 1);
    }
}

/* ---- whose directives ------------------------------------------------------------------------------------------------------ */

int gate_cc_of_response(apr_pool_t *p, const apr_table_t *headers, gate_cc_t *out)
{
    static const char *const targets[] = { "Gatehouse-Cache-Control", "CDN-Cache-Control" };

    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const char *text = gate_field(p, headers, targets[i]);
        if (text && gate_cc_parse_targeted(p, text, out)) {
            return 1;
        }
    }
    gate_cc_parse(p, gate_field(p, headers, "Cache-Control"), out);
    return 0;
}

void gate_cc_of_request(apr_pool_t *p, const apr_table_t *headers, gate_cc_t *out)
{
    const char *text = gate_field(p, headers, "Cache-Control");

    gate_cc_parse(p, text, out);
    if (!text && gate_list_has(gate_field(p, headers, "Pragma"), "no-cache")) {
        out->flags |= GATE_CC_NO_CACHE;
    }
}
