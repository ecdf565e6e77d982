/*
 * reverse.h - takes the members' addresses out of what they answer, and puts the public one in.
 * Depends: gate_parse.h (gate_url_t), APR pools.   Memory: a changed value lives in pool p; an unchanged one is the argument itself.
 * Locking: none, all pure.   Sources: RFC 3986, 3 (URI syntax); RFC 9110, 10.2.2 (Location); RFC 6265, 5.2 (Set-Cookie);
 * HTML Living Standard, 4.2.5.3 (Refresh).
 *
 * PATHS   A client asks for  public prefix + rest;  the route hands on  gate prefix + rest;  the member sees
 *         base + gate prefix + rest. With  ProxyPass "/app/" "gate://app/x/"  and a member http://10.0.0.1:80/base  the path
 *         /base/x/y is /app/y outside. Prefixes end at a segment: /x is no prefix of /xy. What a member names outside
 *         of its route has no public path: it keeps the path, and only the address is replaced.
 * NAMES   An authority names a member when host and port are the member's: case, a final dot, the spelling of an IPv6 address and
 *         a default port that is written or not make no difference. Without a port, //host and a URL of the public scheme also
 *         name a member at its own scheme's default port: that is how an application behind TLS writes its own address.
 *         User info, a port out of range or rubbish in the authority: not touched.
 */
#ifndef REVERSE_H
#define REVERSE_H

#include <stddef.h>
#include <stdint.h>
#include <apr_pools.h>

#include "gate_parse.h"

/* One exchange's way back; everything borrowed. */
typedef struct {
    const gate_url_t *members;  /* the first; the next lies stride_bytes on (they may be fields of larger structs) */
    size_t stride_bytes;
    uint32_t count;
    const gate_url_t *answered; /* the member that answered: cookies' paths are relative to its base */
    const char *scheme;         /* public: "http" or "https" */
    const char *host;           /* public, as the client wrote it, without port; IPv6 with or without brackets */
    uint16_t port;
    const char *public_prefix;  /* "/app/", "/app", "/" or "": a final '/' makes no difference */
    const char *gate_prefix;    /* "/x/", .. */
} reverse_map_t;

/**
 * The prefixes of a route, from one request of it: what is left of both paths when their longest common tail of whole segments
 * is taken off; escaped or not makes no difference there. For routes whose pattern is not known (RewriteRule, SetHandler,
 * ProxyPassMatch).
 * @param public_path  as the client asked, without query
 * @param gate_path    of the gate:// URL, without query
 */
void reverse_prefixes(apr_pool_t *p, const char *public_path, const char *gate_path, const char **public_prefix,
                      const char **gate_prefix);

/** Value of Location, Content-Location or URI. Only http:, https: and scheme-relative URLs change. */
const char *reverse_url(apr_pool_t *p, const reverse_map_t *map, const char *value);

/** Value of Refresh: "5; url=http://member/". */
const char *reverse_refresh(apr_pool_t *p, const reverse_map_t *map, const char *value);

/**
 * Value of one Set-Cookie: a Domain that names a member goes (the cookie is then the public host's own), a Path inside the member's
 * side of the route becomes the public one, and a Path above it (other than "/") the route's.
 */
const char *reverse_cookie(apr_pool_t *p, const reverse_map_t *map, const char *value);

#endif
