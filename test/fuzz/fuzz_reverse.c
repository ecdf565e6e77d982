/*
 * fuzz_reverse.c - reverse.c over any bytes a member may send in Location, Refresh and Set-Cookie.
 *
 * Input: one byte that chooses map and function, then the value. Checked besides memory: what is public is left alone (a second
 * pass changes nothing), a changed URL begins with the public address and keeps query and fragment, no line break gets in.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "reverse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gate_url_t members[] = {
    { .scheme = "http", .host = "10.0.0.1", .port = 80, .path = "" },
    { .scheme = "http", .host = "m2", .port = 8080, .path = "/base" },
    { .scheme = "https", .host = "2001:db8::1", .port = 443, .path = "" },
    { .scheme = "http", .host = "sock", .port = 0, .path = "/b", .unix_path = "/run/s" },
};

static void demand(int holds)
{
    if (!holds) {
        abort();
    }
}

static void check_url(apr_pool_t *p, const reverse_map_t *map, const char *value)
{
    const char *out = reverse_url(p, map, value);
    const char *tail = value + strcspn(value, "?#");

    demand(strcmp(reverse_url(p, map, out), out) == 0);
    if (out != value) {
        demand(strncmp(out, "https://public", 14) == 0 || strncmp(out, "http://[::9]:81", 15) == 0 ||
               strncmp(out, "//", 2) == 0);
        demand(strlen(out) >= strlen(tail) && strcmp(out + strlen(out) - strlen(tail), tail) == 0);
    }
    if (strpbrk(value, "\r\n") == NULL) {
        demand(strpbrk(out, "\r\n") == NULL);
    }
}

static void check_cookie(apr_pool_t *p, const reverse_map_t *map, const char *value)
{
    const char *out = reverse_cookie(p, map, value);
    size_t name = strcspn(value, ";");

    demand(strncmp(out, value, name) == 0 && (out[name] == '\0' || out[name] == ';'));
    if (strpbrk(value, "\r\n") == NULL) {
        demand(strpbrk(out, "\r\n") == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *parent;
    reverse_map_t map = { .members = members, .stride_bytes = sizeof members[0], .count = 4 };
    const char *value, *refresh, *a, *b;
    apr_pool_t *p;

    if (size == 0) {
        return 0;
    }
    if (parent == NULL) {
        apr_initialize();
        apr_pool_create(&parent, NULL);
    }
    apr_pool_create(&p, parent);
    value = apr_pstrmemdup(p, (const char *)data + 1, size - 1);
    map.answered = data[0] & 1 ? &members[1] : &members[0];
    map.scheme = data[0] & 2 ? "http" : "https";
    map.host = data[0] & 2 ? "::9" : "public";
    map.port = data[0] & 2 ? 81 : 443;
    map.public_prefix = data[0] & 4 ? "/app/" : data[0] & 8 ? value : "";
    map.gate_prefix = data[0] & 16 ? "/x/" : "/";
    check_url(p, &map, value);
    check_cookie(p, &map, value);
    refresh = reverse_refresh(p, &map, value);
    demand(refresh != NULL);
    reverse_prefixes(p, value, data[0] & 32 ? "/x/y/z" : value + strlen(value) / 2, &a, &b);
    demand(strncmp(value, a, strlen(a)) == 0);
    apr_pool_destroy(p);
    return 0;
}
