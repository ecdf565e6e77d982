/* forgery.c - see forgery.h. */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "forgery.h"

#define NAME_MAX_LEN 255

static const forgery_verdict_t come_in = { 0, "", "" };

static forgery_verdict_t refuse(int status, const char *rule, const char *why)
{
    forgery_verdict_t verdict = { status, rule, why };

    return verdict;
}

/* Splits "name:port" or "[v6]:port". @return 0; -1 when it is neither. port is "" if none */
static int split_host(const char *host, char *name, const char **port)
{
    size_t len;

    if (*host == '[') {
        const char *end = strchr(host, ']');

        if (!end || (end[1] && end[1] != ':')) {
            return -1;
        }
        len = (size_t)(end - host - 1);
        host++;
        *port = end[1] ? end + 2 : "";
    }
    else {
        len = strcspn(host, ":");
        *port = host[len] ? host + len + 1 : "";
    }
    if (len == 0 || len > NAME_MAX_LEN || strspn(*port, "0123456789") != strlen(*port)) {
        return -1;
    }
    memcpy(name, host, len);
    name[len] = '\0';
    if (name[len - 1] == '.' && len > 1) {
        name[len - 1] = '\0';
    }
    return 0;
}

static int is_address(const char *name)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

forgery_verdict_t forgery_host(const char *host, forgery_name_fn is_name, void *ctx)
{
    char name[NAME_MAX_LEN + 1];
    const char *port;

    if (!host || split_host(host, name, &port) != 0) {
        return refuse(403, "host", "the request has no usable Host");
    }
    if (is_address(name) || strcasecmp(name, "localhost") == 0 || is_name(name, ctx)) {
        return come_in;
    }
    return refuse(403, "host", "the Host is none of this server's names (ServerName, ServerAlias), nor localhost nor an address");
}

static const char *default_port(const char *scheme_end, const char *origin)
{
    return scheme_end - origin == 5 ? "443" : "80"; /* "https" or "http" */
}

/* The origin's authority is that of the Host: RFC 6454, section 4, but for the scheme, which a TLS proxy in front may change. */
static int same_authority(const char *origin, const char *host)
{
    char ours[NAME_MAX_LEN + 1], theirs[NAME_MAX_LEN + 1];
    const char *our_port, *their_port, *end = strstr(origin, "://");

    if (!end || (strncmp(origin, "http://", 7) != 0 && strncmp(origin, "https://", 8) != 0)
        || split_host(end + 3, theirs, &their_port) != 0 || !host || split_host(host, ours, &our_port) != 0) {
        return 0;
    }
    if (!*their_port) {
        their_port = default_port(end, origin);
    }
    if (!*our_port) {
        our_port = default_port(end, origin);
    }
    return strcasecmp(ours, theirs) == 0 && strcmp(our_port, their_port) == 0;
}

static int is_json(const char *type)
{
    size_t len;

    if (!type) {
        return 0;
    }
    len = strcspn(type, "; \t");
    return (len == 16 && strncasecmp(type, "application/json", len) == 0)
        || (len == 28 && strncasecmp(type, "application/merge-patch+json", len) == 0);
}

forgery_verdict_t forgery_check(const forgery_request_t *request)
{
    int browser = request->origin || request->fetch_site;

    if (request->fetch_site && strcmp(request->fetch_site, "same-origin") != 0) {
        return refuse(403, "site", "Sec-Fetch-Site says that another site's page sent this");
    }
    if (request->origin && !same_authority(request->origin, request->host)) {
        return refuse(403, "origin", "Origin is not the origin that this request went to");
    }
    if ((request->has_body || strcmp(request->method, "DELETE") != 0) && !is_json(request->content_type)) {
        return refuse(415, "type", "the body must be JSON, with Content-Type: application/json");
    }
    if (browser && !request->token_good) {
        return refuse(403, "token", "a browser must send the page's token in X-Gate-Token; load the page anew");
    }
    return come_in;
}
