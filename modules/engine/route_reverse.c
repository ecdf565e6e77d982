/* route_reverse.c - ProxyPassReverse and its kin; see route.h. */
#include <strings.h>

#include <httpd.h>

#include "route_inside.h"

const char *route_reverse(const route_t *route, request_rec *r, const char *name, const char *value)
{
    static const char *const urls[] = { "Location", "Content-Location", "URI", "Destination" };
    size_t i;

    for (i = 0; i < sizeof urls / sizeof *urls; i++) {
        if (strcasecmp(name, urls[i]) == 0) {
            return ap_proxy_location_reverse_map(r, route->proxy_dir, value);
        }
    }
    return strcasecmp(name, "Set-Cookie") == 0 ? ap_proxy_cookie_reverse_map(r, route->proxy_dir, value) : value;
}
