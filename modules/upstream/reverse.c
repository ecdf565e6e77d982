/*
 * reverse.c - see reverse.h.
 */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "reverse.h"

/* A piece of a text, not terminated. */
typedef struct {
    const char *at;
    size_t len;
} span_t;

static span_t span(const char *at, size_t len)
{
    return (span_t){ at, len };
}

static int span_is(span_t s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.at, word, s.len) == 0;
}

static span_t span_trim(span_t s)
{
    while (s.len > 0 && (*s.at == ' ' || *s.at == '\t')) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

static span_t without_final(span_t s, char c)
{
    if (s.len > 0 && s.at[s.len - 1] == c) {
        s.len--;
    }
    return s;
}

/* ---- authorities ------------------------------------------------------------------------------------------------------------- */

static uint16_t default_port(const char *scheme)
{
    if (strcmp(scheme, "https") == 0 || strcmp(scheme, "h2") == 0 || strcmp(scheme, "wss") == 0) {
        return 443;
    }
    if (strcmp(scheme, "http") == 0 || strcmp(scheme, "h2c") == 0 || strcmp(scheme, "ws") == 0) {
        return 80;
    }
    return 0;
}

/* Reads an IPv6 address without brackets. @return 1 if it is one */
static int read_ipv6(span_t text, unsigned char bytes[16])
{
    char copy[INET6_ADDRSTRLEN];

    if (text.len >= sizeof copy || memchr(text.at, ':', text.len) == NULL) {
        return 0;
    }
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    return inet_pton(AF_INET6, copy, bytes) == 1;
}

static int same_host(span_t host, const char *known)
{
    span_t other = without_final(span(known, strlen(known)), '.');
    unsigned char a[16], b[16];

    host = without_final(host, '.');
    if (host.len == other.len && strncasecmp(host.at, other.at, host.len) == 0) {
        return host.len > 0;
    }
    return read_ipv6(host, a) && read_ipv6(other, b) && memcmp(a, b, sizeof a) == 0;
}

/* @return the port, 0 when none is given ("" too: RFC 3986, 3.2.3), -1 when it is not one */
static int read_port(span_t text)
{
    int port = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return -1;
        }
        port = port * 10 + (text.at[i] - '0');
        if (port > 65535) {
            return -1;
        }
    }
    return text.len > 0 && port == 0 ? -1 : port;
}

/* Nothing in it but what hosts, ports and brackets are made of? No user info, no escapes, nothing that browsers read otherwise. */
static int is_plain_authority(span_t text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];

        if (c <= ' ' || c >= 127 || strchr("/?#@\\<>\"'`^{|}%,;", c) != NULL) {
            return 0;
        }
    }
    return text.len > 0;
}

/* Takes host[:port] apart; the host without brackets. @return 1 if it is plainly that and no more */
static int read_authority(span_t text, span_t *host, int *port)
{
    const char *colon;

    if (!is_plain_authority(text)) {
        return 0;
    }
    if (*text.at == '[') {
        const char *end = memchr(text.at, ']', text.len);

        if (end == NULL) {
            return 0;
        }
        *host = span(text.at + 1, (size_t)(end - text.at) - 1);
        text.len -= (size_t)(end + 1 - text.at);
        text.at = end + 1;
        if (text.len > 0 && *text.at != ':') {
            return 0;
        }
        *port = text.len > 0 ? read_port(span(text.at + 1, text.len - 1)) : 0;
        return *port >= 0 && host->len > 0;
    }
    colon = memchr(text.at, ':', text.len);
    *host = span(text.at, colon != NULL ? (size_t)(colon - text.at) : text.len);
    *port = colon != NULL ? read_port(span(colon + 1, text.len - host->len - 1)) : 0;
    return *port >= 0 && host->len > 0;
}

static const gate_url_t *member_at(const reverse_map_t *map, uint32_t i)
{
    return (const gate_url_t *)(const void *)((const char *)map->members + (size_t)i * map->stride_bytes);
}

/* scheme: "http" or "https"; NULL for a scheme-relative URL */
static int names_member(const reverse_map_t *map, const gate_url_t *member, const char *scheme, span_t host, int port)
{
    uint16_t own_default = default_port(member->scheme);
    /* a unix member has no port: it goes by its name alone */
    uint16_t member_port = member->port != 0 ? member->port : own_default;

    if (!same_host(host, member->host)) {
        return 0;
    }
    if (port == 0 && (scheme == NULL || strcmp(scheme, map->scheme) == 0) && own_default != 0 && member_port == own_default) {
        return 1;
    }
    if (port == 0) {
        port = default_port(scheme != NULL ? scheme : member->scheme);
    }
    return port == member_port;
}

static const gate_url_t *find_member(const reverse_map_t *map, const char *scheme, span_t host, int port)
{
    const gate_url_t *found = NULL;

    /* several members may share an address and differ in their base: the one that answered speaks of itself */
    if (map->answered != NULL && names_member(map, map->answered, scheme, host, port)) {
        return map->answered;
    }
    for (uint32_t i = 0; i < map->count && found == NULL; i++) {
        if (names_member(map, member_at(map, i), scheme, host, port)) {
            found = member_at(map, i);
        }
    }
    return found;
}

/* ---- paths ------------------------------------------------------------------------------------------------------------------- */

/*
 * Takes prefix (its final '/' aside) off the front of path, at a segment's end. @return 1 if path began with it; *rest is then "" or
 * begins with '/', '?' or '#'
 */
static int take_prefix(const char *path, span_t prefix, const char **rest)
{
    if (strncmp(path, prefix.at, prefix.len) != 0) {
        return 0;
    }
    *rest = path + prefix.len;
    return **rest == '\0' || strchr("/?#", **rest) != NULL;
}

/* A prefix may come out of the request or be configured as decoded text: nothing in it may end a URL's path, a cookie's attribute
 * or a header. */
static const char *escaped_prefix(apr_pool_t *p, span_t prefix)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = apr_palloc(p, prefix.len * 3 + 1), *to = out;

    for (size_t i = 0; i < prefix.len; i++) {
        unsigned char c = (unsigned char)prefix.at[i];

        if (c <= ' ' || c >= 127 || strchr("\"#;<>?\\^`{|}", c) != NULL) {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
        else {
            *to++ = (char)c;
        }
    }
    *to = '\0';
    return out;
}

/* The public path of what a member calls path (with query and fragment), or NULL when it lies outside of the route. */
static const char *public_path(apr_pool_t *p, const reverse_map_t *map, const gate_url_t *member, const char *path)
{
    span_t base = without_final(span(member->path, strlen(member->path)), '/');
    span_t gate = without_final(span(map->gate_prefix, strlen(map->gate_prefix)), '/');
    span_t outside = without_final(span(map->public_prefix, strlen(map->public_prefix)), '/');
    const char *rest;

    if (*path != '/') {
        /* RFC 3986, 6.2.3: no path is the root */
        path = apr_pstrcat(p, "/", path, NULL);
    }
    if (!take_prefix(path, base, &rest) || !take_prefix(rest, gate, &rest)) {
        return NULL;
    }
    if (outside.len == 0 && *rest != '/') {
        return apr_pstrcat(p, "/", rest, NULL);
    }
    return apr_pstrcat(p, escaped_prefix(p, outside), rest, NULL);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * The last character of text[0..*len), decoded if it is escaped, and takes it off. An escaped '/' is no separator: it is told apart
 * from a plain one by its sign.
 */
static int take_last(const char *text, size_t *len)
{
    const char *at = text + *len - 1;
    int value = (unsigned char)*at;

    if (*len >= 3 && at[-2] == '%' && hex_value(at[-1]) >= 0 && hex_value(at[0]) >= 0) {
        value = hex_value(at[-1]) * 16 + hex_value(at[0]);
        *len -= 3;
        return value == '/' ? -value : value;
    }
    *len -= 1;
    return value;
}

void reverse_prefixes(apr_pool_t *p, const char *public_path, const char *gate_path, const char **public_prefix,
                      const char **gate_prefix)
{
    size_t a = strlen(public_path), b = strlen(gate_path), cut_a = a, cut_b = b;

    while (a > 0 && b > 0) {
        int last = take_last(public_path, &a);

        if (last != take_last(gate_path, &b)) {
            break;
        }
        if (last == '/') {
            cut_a = a;
            cut_b = b;
        }
    }
    *public_prefix = apr_pstrmemdup(p, public_path, cut_a);
    *gate_prefix = apr_pstrmemdup(p, gate_path, cut_b);
}

/* ---- URLs -------------------------------------------------------------------------------------------------------------------- */

/* "host" or "host:port" as the client addresses us; the port only where it is not the scheme's default. */
static const char *public_authority(apr_pool_t *p, const reverse_map_t *map)
{
    int bare_ipv6 = strchr(map->host, ':') != NULL && *map->host != '[';
    const char *host = bare_ipv6 ? apr_pstrcat(p, "[", map->host, "]", NULL) : map->host;

    return map->port == 0 || map->port == default_port(map->scheme) ? host : apr_psprintf(p, "%s:%d", host, (int)map->port);
}

const char *reverse_url(apr_pool_t *p, const reverse_map_t *map, const char *value)
{
    const char *scheme = NULL, *authority, *path, *mapped;
    const gate_url_t *member;
    span_t host;
    int port;

    if (strncasecmp(value, "https:", 6) == 0) {
        scheme = "https";
    }
    else if (strncasecmp(value, "http:", 5) == 0) {
        scheme = "http";
    }
    authority = value + (scheme != NULL ? strlen(scheme) + 1 : 0);
    if (strncmp(authority, "//", 2) != 0 || !is_plain_authority(span(map->host, strlen(map->host)))) {
        return value;
    }
    authority += 2;
    path = authority + strcspn(authority, "/?#");
    if (!read_authority(span(authority, (size_t)(path - authority)), &host, &port) ||
        (member = find_member(map, scheme, host, port)) == NULL) {
        return value;
    }
    mapped = public_path(p, map, member, path);
    return apr_pstrcat(p, scheme != NULL ? map->scheme : "", scheme != NULL ? "://" : "//", public_authority(p, map),
                       mapped != NULL ? mapped : path, NULL);
}

const char *reverse_refresh(apr_pool_t *p, const reverse_map_t *map, const char *value)
{
    const char *at = value + strspn(value, " \t0123456789."), *url, *changed;
    const char *tail = "";

    at += strspn(at, ";, \t");
    if (strncasecmp(at, "url", 3) == 0 && at[3 + strspn(at + 3, " \t")] == '=') {
        at += 3 + strspn(at + 3, " \t") + 1;
        at += strspn(at, " \t");
    }
    if (*at == '"' || *at == '\'') {
        const char *end = strchr(at + 1, *at);

        at++;
        tail = end != NULL ? end : "";
    }
    url = *tail != '\0' ? apr_pstrmemdup(p, at, (size_t)(tail - at)) : at;
    changed = reverse_url(p, map, url);
    if (changed == url) {
        return value;
    }
    return apr_pstrcat(p, apr_pstrmemdup(p, value, (size_t)(at - value)), changed, tail, NULL);
}

/* ---- cookies ----------------------------------------------------------------------------------------------------------------- */

/* Does a Domain attribute name a member, and not also us? */
static int domain_is_members(const reverse_map_t *map, span_t domain)
{
    if (domain.len > 0 && *domain.at == '.') {
        domain.at++;
        domain.len--;
    }
    if (same_host(domain, map->host)) {
        return 0;
    }
    for (uint32_t i = 0; i < map->count; i++) {
        if (same_host(domain, member_at(map, i)->host)) {
            return 1;
        }
    }
    return map->answered != NULL && same_host(domain, map->answered->host);
}

static const char *route_path(apr_pool_t *p, const reverse_map_t *map)
{
    span_t outside = without_final(span(map->public_prefix, strlen(map->public_prefix)), '/');

    return outside.len > 0 ? escaped_prefix(p, outside) : "/";
}

/* @return the path for the client, or NULL when it can stay as it is */
static const char *cookie_path(apr_pool_t *p, const reverse_map_t *map, span_t value)
{
    const char *path = apr_pstrmemdup(p, value.at, value.len), *mapped, *rest, *inside;

    if (map->answered == NULL || *path != '/' || strpbrk(path, "?#") != NULL) {
        return NULL;
    }
    mapped = public_path(p, map, map->answered, path);
    if (mapped == NULL && value.len > 1) {
        /* above the route, as with a member's base path: the route is all the client sees of it */
        inside = apr_pstrcat(p, map->answered->path, map->gate_prefix, NULL);
        mapped = take_prefix(inside, without_final(value, '/'), &rest) ? route_path(p, map) : NULL;
    }
    return mapped != NULL && strcmp(mapped, path) != 0 ? mapped : NULL;
}

/*
 * Looks at one attribute.
 * @param text  set to what replaces it, "" to leave it out
 * @return 1 if it changes
 */
static int change_attribute(apr_pool_t *p, const reverse_map_t *map, span_t attribute, const char **text)
{
    const char *equals = memchr(attribute.at, '=', attribute.len);
    span_t name, value;

    if (equals == NULL) {
        return 0;
    }
    name = span_trim(span(attribute.at, (size_t)(equals - attribute.at)));
    value = span_trim(span(equals + 1, attribute.len - (size_t)(equals + 1 - attribute.at)));
    if (span_is(name, "domain") && domain_is_members(map, value)) {
        *text = "";
        return 1;
    }
    if (span_is(name, "path")) {
        const char *path = cookie_path(p, map, value);

        *text = path != NULL ? apr_pstrcat(p, "; ", apr_pstrmemdup(p, name.at, name.len), "=", path, NULL) : "";
        return path != NULL;
    }
    return 0;
}

static void add_piece(apr_array_header_t *pieces, const char *at, size_t len)
{
    struct iovec *piece = apr_array_push(pieces);

    piece->iov_base = (void *)at;
    piece->iov_len = len;
}

const char *reverse_cookie(apr_pool_t *p, const reverse_map_t *map, const char *value)
{
    apr_array_header_t *pieces = NULL;
    const char *kept = value; /* from here on nothing has been copied yet */
    const char *at = value + strcspn(value, ";"); /* name and value of the cookie itself are not ours */

    while (*at == ';') {
        size_t len = strcspn(at + 1, ";");
        const char *text;

        if (change_attribute(p, map, span(at + 1, len), &text)) {
            if (pieces == NULL) {
                pieces = apr_array_make(p, 6, sizeof(struct iovec));
            }
            add_piece(pieces, kept, (size_t)(at - kept));
            add_piece(pieces, text, strlen(text));
            kept = at + 1 + len;
        }
        at += len + 1;
    }
    if (pieces == NULL) {
        return value;
    }
    add_piece(pieces, kept, strlen(kept));
    return apr_pstrcatv(p, (const struct iovec *)pieces->elts, (apr_size_t)pieces->nelts, NULL);
}
