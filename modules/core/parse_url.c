/*
 * parse_url.c - URL of a member (RFC 3986, narrowed to what can be proxied). Contract: gate_parse.h.
 */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include <apr_strings.h>

#include "gate_parse.h"
#include "parse_text.h"

#define HOST_MAX_CHARS 253  /* RFC 1035, 2.3.4, less the length bytes */
#define LABEL_MAX_CHARS 63

typedef struct {
    const char *name;
    uint16_t port; /* 0: there is no usual one, it must be written */
} url_scheme_t;

static const url_scheme_t url_schemes[] = {
    {"http", 80}, {"https", 443}, {"h2", 443}, {"h2c", 80}, {"ws", 80}, {"wss", 443}, {"fcgi", 0}, {"ajp", 8009},
    {"scgi", 0}, {"uwsgi", 0}
};
#define URL_SCHEMES ((int)(sizeof url_schemes / sizeof url_schemes[0]))

static int hex_value(char c)
{
    if (text_is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *to_lower(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        *c = text_lower(*c);
    }
    return text;
}

/* What no part of it may contain; told apart so that the message can say what was seen. */
static const char *check_bytes(apr_pool_t *p, const char *text)
{
    size_t len = strlen(text);

    if (len > GATE_URL_MAX_CHARS) {
        return apr_psprintf(p, "is too long (%d characters at most)", GATE_URL_MAX_CHARS);
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == ' ') {
            return "has a space in it";
        }
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f) {
            return apr_psprintf(p, "has the byte 0x%02x in it (only printable ASCII works; write others as %%XX)",
                                (unsigned)(unsigned char)*c);
        }
    }
    return NULL;
}

static const char *take_scheme(apr_pool_t *p, const char **at, const url_scheme_t **out)
{
    const char *colon = strstr(*at, "://");
    const char *names[URL_SCHEMES];
    const char *scheme;

    if (colon == NULL) {
        return "is not a URL such as http://10.0.0.1:8080 or unix:/run/app.sock|http://app";
    }
    scheme = apr_pstrmemdup(p, *at, (apr_size_t)(colon - *at));
    for (int i = 0; i < URL_SCHEMES; i++) {
        if (strcasecmp(scheme, url_schemes[i].name) == 0) {
            *out = &url_schemes[i];
            *at = colon + 3;
            return NULL;
        }
        names[i] = url_schemes[i].name;
    }
    return apr_psprintf(p, "begins with none of the schemes %s%s", gate_parse_list(p, names, URL_SCHEMES),
                        gate_parse_hint(p, scheme, names, URL_SCHEMES));
}

/* ---- host and port ------------------------------------------------------------------------------------------------------- */

static const char *check_host_name(apr_pool_t *p, const char *host)
{
    static const char form[] = "is not a host name (labels of letters, digits, '-' and '_', joined by '.')";
    const char *label = host;
    unsigned char address[4];

    if (strlen(host) > HOST_MAX_CHARS) {
        return apr_psprintf(p, "has a host name of more than %d characters", HOST_MAX_CHARS);
    }
    for (;;) {
        size_t len = 0;

        while (text_is_alnum(label[len]) || label[len] == '-' || label[len] == '_') {
            len++;
        }
        if (len == 0 || len > LABEL_MAX_CHARS || label[0] == '-' || label[len - 1] == '-' ||
            (label[len] != '\0' && label[len] != '.')) {
            return apr_psprintf(p, "has the host '%s', which %s", host, form);
        }
        if (label[len] == '\0') {
            break;
        }
        label += len + 1;
    }
    /* As browsers have it: what ends in a number is meant as an address, and resolvers read odd ones in odd ways. */
    if (label[strspn(label, "0123456789")] == '\0' && inet_pton(AF_INET, host, address) != 1) {
        return apr_psprintf(p, "has the host '%s', which is not an IPv4 address such as 10.0.0.1", host);
    }
    return NULL;
}

static const char *take_ipv6(apr_pool_t *p, const char **at, const char **out)
{
    const char *close = strchr(*at, ']');
    unsigned char address[16];
    char canonical[INET6_ADDRSTRLEN];
    const char *host;

    if (close == NULL) {
        return "has a '[' without a ']'";
    }
    host = apr_pstrmemdup(p, *at + 1, (apr_size_t)(close - *at - 1));
    if (strchr(host, '%') != NULL) {
        return apr_psprintf(p, "has the host '[%s]': addresses with a zone ('%%') do not work here", host);
    }
    if (inet_pton(AF_INET6, host, address) != 1 || inet_ntop(AF_INET6, address, canonical, sizeof canonical) == NULL) {
        return apr_psprintf(p, "has the host '[%s]', which is not an IPv6 address such as [2001:db8::1]", host);
    }
    *out = apr_pstrdup(p, canonical);
    *at = close + 1;
    return NULL;
}

/* In what is left of the authority: "db8::1/path" */
static int has_two_colons(const char *text)
{
    size_t len = strcspn(text, "/");
    const char *colon = memchr(text, ':', len);

    return colon != NULL && memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)) != NULL;
}

static const char *take_host(apr_pool_t *p, const char **at, const char **out)
{
    size_t len;
    const char *host;

    if (**at == '[') {
        return take_ipv6(p, at, out);
    }
    len = strcspn(*at, ":/");
    if (len == 0) {
        return "names no host";
    }
    host = to_lower(apr_pstrmemdup(p, *at, len));
    if (strspn(host, "0123456789abcdef") == len && has_two_colons(*at + len)) {
        return "looks like an IPv6 address without brackets; write it as http://[2001:db8::1]:8080";
    }
    *out = host;
    *at += len;
    return check_host_name(p, host);
}

static const char *take_port(apr_pool_t *p, const char **at, const url_scheme_t *scheme, gate_url_t *url)
{
    const char *text, *wrong;
    uint64_t port;
    size_t len;

    url->port = scheme->port;
    url->port_given = 0;
    if (**at != ':') {
        if (scheme->port == 0 && url->unix_path == NULL) {
            return apr_psprintf(p, "needs a port: %s://%s:9000", scheme->name, url->host);
        }
        return NULL;
    }
    len = strcspn(*at + 1, "/");
    text = apr_pstrmemdup(p, *at + 1, len);
    wrong = gate_parse_uint(p, text, 1, 65535, &port);
    if (wrong != NULL) {
        return apr_psprintf(p, "has the port '%s', which %s", text, wrong);
    }
    url->port = (uint16_t)port;
    url->port_given = 1;
    *at += 1 + len;
    return NULL;
}

/* ---- path ---------------------------------------------------------------------------------------------------------------- */

/* Is the segment "." or "..", however written? */
static int is_dot_segment(const char *segment, size_t len)
{
    size_t dots = 0, i = 0;

    while (i < len) {
        if (segment[i] == '.') {
            i++;
        }
        else if (len - i >= 3 && strncasecmp(segment + i, "%2e", 3) == 0) {
            i += 3;
        }
        else {
            return 0;
        }
        dots++;
    }
    return dots == 1 || dots == 2;
}

static const char *check_path(apr_pool_t *p, const char *path)
{
    for (const char *c = path; *c != '\0'; c++) {
        if (*c == '%') {
            int high = hex_value(c[1]);
            int low = high < 0 ? -1 : hex_value(c[2]);

            if (low < 0) {
                return "has a '%' in its path that two hexadecimal digits do not follow";
            }
            if (high * 16 + low < 0x20 || high * 16 + low == 0x7f) {
                return apr_psprintf(p, "has the control character %.3s in its path", c);
            }
        }
        else if (strchr("\"<>\\^`{|}[]", *c) != NULL) {
            return apr_psprintf(p, "has a '%c' in its path; write it as %%%02X", *c, (unsigned)*c);
        }
        else if (*c == '/') {
            if (c[1] == '/') {
                return "has '//' in its path";
            }
            if (is_dot_segment(c + 1, strcspn(c + 1, "/"))) {
                return "has a '.' or '..' segment in its path";
            }
        }
    }
    return NULL;
}

/* @param at  at the '/' or at the end */
static const char *take_path(apr_pool_t *p, const char *at, gate_url_t *url)
{
    size_t len = strlen(at);
    const char *wrong = check_path(p, at);

    if (wrong != NULL) {
        return wrong;
    }
    if (len > 0 && at[len - 1] == '/') {
        len--;
    }
    url->path = apr_pstrmemdup(p, at, len);
    return NULL;
}

/* ---- unix: --------------------------------------------------------------------------------------------------------------- */

/* mod_proxy reads the socket's path as part of a URL, so what means something there cannot be in it. */
static const char *check_unix_path(apr_pool_t *p, const char *path)
{
    static const char others[] = "/._-+:@,=~";

    for (const char *c = path; *c != '\0'; c++) {
        if (!text_is_alnum(*c) && strchr(others, *c) == NULL) {
            return apr_psprintf(p, "has a '%c' in the path of its socket (letters, digits and %s work)", *c, others);
        }
    }
    return check_path(p, path);
}

static const char *take_unix_path(apr_pool_t *p, const char **at, gate_url_t *url)
{
    const char *path = *at + strlen("unix:");
    const char *bar = strchr(path, '|');
    size_t len;

    if (bar == NULL) {
        return "says no protocol for its socket; write unix:/run/app.sock|http://app";
    }
    len = (size_t)(bar - path);
    if (len < 2 || path[0] != '/' || path[len - 1] == '/') {
        return "has no absolute path of a socket after 'unix:', as in unix:/run/app.sock|http://app";
    }
    if (len >= sizeof ((struct sockaddr_un *)0)->sun_path) {
        return apr_psprintf(p, "has a socket path of more than %d characters, which the system does not take",
                            (int)sizeof ((struct sockaddr_un *)0)->sun_path - 1);
    }
    url->unix_path = apr_pstrmemdup(p, path, len);
    *at = bar + 1;
    return check_unix_path(p, url->unix_path);
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------- */

static const char *authority_of(apr_pool_t *p, const gate_url_t *url)
{
    if (url->unix_path != NULL) {
        return apr_pstrcat(p, "unix:", url->unix_path, NULL);
    }
    return apr_psprintf(p, strchr(url->host, ':') != NULL ? "[%s]:%d" : "%s:%d", url->host, (int)url->port);
}

/* What mod_proxy would take and we do not: each would end in a log, a cookie or a request line where it does not belong. */
static const char *check_parts(const char *after_scheme)
{
    size_t authority = strcspn(after_scheme, "/");

    if (memchr(after_scheme, '@', authority) != NULL) {
        return "has a user name in it; send credentials with RequestHeader instead";
    }
    if (strchr(after_scheme, '?') != NULL) {
        return "has a query ('?'); a member is scheme://host:port/path";
    }
    if (strchr(after_scheme, '#') != NULL) {
        return "has a fragment ('#'); a member is scheme://host:port/path";
    }
    return NULL;
}

const char *gate_parse_member_url(apr_pool_t *p, const char *text, gate_url_t *out)
{
    gate_url_t url = {0};
    const url_scheme_t *scheme = NULL;
    const char *at = text;
    const char *wrong = check_bytes(p, text);

    if (wrong == NULL && strncasecmp(at, "unix:", 5) == 0) {
        wrong = take_unix_path(p, &at, &url);
    }
    if (wrong == NULL) {
        wrong = take_scheme(p, &at, &scheme);
    }
    if (wrong == NULL) {
        wrong = check_parts(at);
    }
    if (wrong == NULL) {
        wrong = take_host(p, &at, &url.host);
    }
    if (wrong == NULL && *at != '\0' && *at != ':' && *at != '/') {
        wrong = "has something between the host and the port";
    }
    if (wrong == NULL) {
        wrong = take_port(p, &at, scheme, &url);
    }
    if (wrong == NULL) {
        wrong = take_path(p, at, &url);
    }
    if (wrong != NULL) {
        return wrong;
    }
    url.scheme = scheme->name;
    url.authority = authority_of(p, &url);
    *out = url;
    return NULL;
}
