/*
 * key.h - what an object is found by.
 * Depends: APR pools.   Locking: none, all pure.   Memory: results live in pool p.
 *
 * A key has two parts, both kept in the object and compared in full:
 *   url    "scheme://host:port/path?query", canonical: what clients name and purges name. Its hash finds the object.
 *   route  everything else that decides what the answer is: which server, handler and target the configuration chose, the
 *          value of GateCacheKey's expression. Never hashed, so that a purge by URL finds all of them.
 */
#ifndef GATE_CACHE_KEY_H
#define GATE_CACHE_KEY_H

#include <stddef.h>
#include <stdint.h>
#include <apr_pools.h>

#define GATE_KEY_MAX 8192         /* longer ones are not cached */

/* GateCacheKey: how the query is brought into one form. */
typedef struct {
    const char *const *ignore;    /* parameter names; a '*' at the end stands for any rest; ended by NULL; may be NULL */
    int sort;                     /* by name; equal names keep their order */
} gate_key_rule_t;

typedef struct {
    const char *url;
    size_t url_len;
    const char *route;
    size_t route_len;
    uint64_t hash;                /* of url */
} gate_key_t;

/**
 * The canonical URL (RFC 3986, 6.2.2): scheme and host in lower case, port always there, escapes of unreserved
 * characters undone, others in upper case, dot segments removed; %2F stays different from '/'.
 * @param target  the request target as sent: origin form or absolute form; a fragment is dropped
 * @param host    without port, any case; IPv6 with or without brackets
 * @return NULL when it is longer than GATE_KEY_MAX or target has no path
 */
const char *gate_key_url(apr_pool_t *p, const char *scheme, const char *host, uint16_t port, const char *target,
                         const gate_key_rule_t *rule);

/**
 * The same from a whole URL, as a purge or a Location names it; a path alone or a relative one is taken from `base`.
 * @param base  a canonical URL, or NULL
 * @return NULL when it is no http(s) URL
 */
const char *gate_key_absolute(apr_pool_t *p, const char *url, const char *base, const gate_key_rule_t *rule);

/** Do two canonical URLs have the same scheme, host and port? */
int gate_key_same_origin(const char *a, const char *b);

/** The query as the rule wants it; "" or NULL is none. @return NULL if nothing is left */
const char *gate_key_query(apr_pool_t *p, const char *query, const gate_key_rule_t *rule);

#endif
