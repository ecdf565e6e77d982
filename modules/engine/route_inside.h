/*
 * route_inside.h - what the files of routes share.
 * Depends: route.h.   Memory, locking: see route.h.
 */
#ifndef ENGINE_ROUTE_INSIDE_H
#define ENGINE_ROUTE_INSIDE_H

#include <apr_hash.h>
#include <http_config.h>
#include <http_core.h>

#include "route.h"

#define ROUTE_MATCH_BYTES 8192  /* longer paths are not matched with sections */
#define ROUTE_SET_WORDS 4       /* 64 sections each */
#define ROUTE_SECTIONS_MAX (ROUTE_SET_WORDS * 64)

#define GATE_SCHEME "gate://"

/* ---- ProxyPass lines (route_alias.c) -------------------------------------------------------------------------------------- */

typedef enum { ALIAS_GATE, ALIAS_OTHER /* another URL */, ALIAS_EXCLUDED /* ! */ } alias_e;

typedef struct {
    alias_e kind;
    const char *prefix;         /* slashes in a row are one */
    uint32_t prefix_len;
    ap_regex_t *regex;          /* instead of the prefix; base is empty then */
    const char *real;           /* "gate://app/base"; of a pattern with $1 and the like */
    const char *group, *base;
    int whole;                  /* the URL is to be made and encoded as a whole, whatever the path: route_path_for_member() */
    int raw;                    /* nocanon: the member gets the target as it was sent */
    uint32_t base_len;
    const char *why;            /* matches of it are classic, because; NULL */
    proxy_worker *worker;
    int64_t timeout_usec;
    uint64_t proxies[ROUTE_SET_WORDS]; /* <Proxy> sections that match all it makes */
} alias_t;

/** Reads one line. @param server  for its <Proxy> sections */
void alias_read(apr_pool_t *p, const eligible_server_t *server, const struct proxy_alias *line, alias_t *alias);
/** @return bytes of the path that it covers, all of it for a pattern; 0: it does not match */
uint32_t alias_match(const alias_t *alias, const char *path, uint32_t len);

/** Does a <Location>'s pattern match? */
int route_section_matches(const core_dir_config *section, const char *path, uint32_t len);

/* ---- paths (route_path.c) --------------------------------------------------------------------------------------------------- */

/* A path that is not its own normal form, as httpd has it in r->uri. */
typedef struct {
    uint32_t len;
    int two_slashes;            /* MergeSlashes Off, and there are some: then */
    char merged[ROUTE_MATCH_BYTES]; /* .. it is this that sections without a pattern are held against */
    char uri[ROUTE_MATCH_BYTES]; /* ends in NUL */
} route_path_t;

/** The path of the target, as it was sent. */
span_t route_path_sent(const request_head_t *head);
/** @return 0: the classic plane has to say: it refuses most of these */
int route_path_read(const server_rec *server, const request_head_t *head, route_path_t *path);
/**
 * What a member is asked for, query included, whatever the path and the ProxyPass line are like.
 * @param head    .path is r->uri
 * @param mapped  set to the same without the query and before it was encoded, as it stands in r->filename until fixups
 * @return in p; NULL: the classic plane has to say
 */
const char *route_path_for_member(const route_t *route, const request_head_t *head, apr_pool_t *p, const char **mapped);

/* ---- mod_rewrite (route_rewrite.c) ------------------------------------------------------------------------------------------ */

int route_rewrite_is_told(const server_rec *server);
/**
 * @param conf   server and sections, without <Proxy>
 * @param needs  of the server
 * @param status set to that of their answer, if they give one (a redirect, [F], [G]) whose page is a plain one; else 0
 * @return NULL: the rules leave the request alone, but for variables, or *status says it; or why the classic plane has to run them
 */
const char *route_rewrite(const route_client_t *client, const server_rec *server, ap_conf_vector_t *conf, unsigned needs, const request_head_t *head,
                          int *status);
/** Sets the variables that the rules set, on a request that they leave alone. */
void route_rewrite_env(request_rec *r, const route_t *route);

/* ---- hooks of modules, by name (route_request.c) --------------------------------------------------------------------------- */

typedef int route_hook_fn(request_rec *r);
typedef void route_insert_fn(request_rec *r);

/* What some modules do in some phases, called one by one on requests that run through none. NULL: the module is not loaded. */
typedef struct {
    route_hook_fn *core_create; /* makes what core's own functions rely on */
    route_hook_fn *ssl_read, *remote, *headers_early, *unique_id, *set_env_if_server;
    route_hook_fn *set_env_if_dir;
    route_hook_fn *rewrite;     /* in translate_name */
    route_hook_fn *access_compat, *authz;
    route_hook_fn *mime;
    route_hook_fn *env, *ssl_fixup, *headers;
    struct {
        route_insert_fn *insert;
        unsigned needs;         /* only for routes that have one of these; 0: always */
    } inserts[4];               /* in httpd's order */
    int insert_count;
} route_hooks_t;

extern route_hooks_t route_hooks;
/** In post_config: the lists are sorted then, and there are no threads. */
void route_hooks_find(void);

/**
 * SetEnvIf and its kin, in both phases in which they run, and what mod_rewrite sets in between.
 * @param only_server  not in a section's phase
 * @param route        NULL: no rewriting
 */
void route_set_env_if(request_rec *r, const request_head_t *head, int only_server, const route_t *route);
/** A request_rec of a head, of a server, without a route: for looking at hosts and types. */
request_rec *route_request_bare(server_rec *server, conn_rec *c, const request_head_t *head, apr_pool_t *p);

/* ---- what mod_mime makes of a path (route_type.c) --------------------------------------------------------------------------- */

typedef struct route_types route_types_t;
route_types_t *route_types_create(apr_pool_t *p);
/** @param path  what is behind the group's name, not encoded. @return 1 express, *type may be set; 0 classic, *why */
int route_types_look(route_types_t *types, const route_t *route, conn_rec *c, const request_head_t *head, span_t path, apr_pool_t *scratch,
                     const char **type, const char **why);

/* ---- User-Agents (route_agent.c) --------------------------------------------------------------------------------------------- */

typedef struct route_agents route_agents_t;
route_agents_t *route_agents_create(apr_pool_t *p);
/** Does one of the patterns match? */
int route_agents_match(route_agents_t *agents, const apr_array_header_t *patterns, const span_t *agent);

/** A quick hash of bytes, not kept and not for strangers' tables without a bound. */
static inline uint32_t route_hash(const char *at, uint32_t len, uint32_t seed)
{
    uint64_t h = seed ^ (len * 0x9e3779b97f4a7c15ULL), v;

    while (len >= 8) {
        __builtin_memcpy(&v, at, 8);
        h = (h ^ v) * 0xff51afd7ed558ccdULL;
        h ^= h >> 32;
        at += 8;
        len -= 8;
    }
    v = 0;
    while (len > 0) {
        v = v << 8 | (unsigned char)at[--len];
    }
    h = (h ^ v) * 0xff51afd7ed558ccdULL;
    return (uint32_t)(h ^ h >> 29);
}

/* ---- who the client is (route_ready.c) ------------------------------------------------------------------------------------- */

/** @return 0: mod_remoteip would look up a name, which is not for a loop */
int route_remote_is_plain(const route_t *route, const request_head_t *head);
/** mod_remoteip's word: sets address, notes and fields of ready. */
void route_remote(const server_rec *server, conn_rec *c, const request_head_t *head, apr_pool_t *p, route_ready_t *ready);

/* ---- what a loop remembers ------------------------------------------------------------------------------------------------- */

#define ROUTE_HOSTS 1024        /* a client may make up as many as it likes */
#define ROUTE_VIEWS 64          /* chains of servers */
#define ROUTE_HOST_BYTES 80
#define ROUTE_TLS_FINE 4        /* vhosts, of a connection */
#define ROUTE_CLIENT_HOST_BYTES 48 /* the last one, kept with the connection */
#define ROUTE_PATH_BYTES 16384

typedef struct {
    const void *names;          /* conn_rec.vhost_lookup_data */
    const server_rec *base;
    apr_port_t port;
    uint16_t len;
    server_rec *server;
    char host[ROUTE_HOST_BYTES];
} route_host_t;

typedef struct {
    loop_t *loop;
    apr_pool_t *pool;           /* as long as the loop */
    apr_pool_t *scratch;        /* cleared after use */
    struct route_view *views[ROUTE_VIEWS]; /* by server */
    uint32_t routes;
    route_host_t *hosts;
    route_types_t *types;
    route_agents_t *agents;
    char path[ROUTE_PATH_BYTES];
    char mapped[ROUTE_MATCH_BYTES];
    route_path_t other;         /* the present request's path, when it was not in its normal form */
} route_table_t;

struct route_client {
    route_table_t *table;
    conn_rec *c;
    server_rec *server;         /* of host */
    struct route_view *view;
    server_rec *tls_fine[ROUTE_TLS_FINE]; /* mod_ssl agreed to them: browsers ask for several hosts on one connection */
    request_rec *tls_request;
    const route_t *allowed;     /* by Require, until: */
    int64_t allowed_until_usec;
    uint8_t tls, tls_next;
    uint8_t host_len;
    char host[ROUTE_CLIENT_HOST_BYTES];
};

struct route_env {
    ap_conf_vector_t *rewrite_conf; /* what mod_rewrite sees: dir_conf without <Proxy> */
    const alias_t *alias;
    apr_array_header_t *remote_headers, *request_headers; /* char * */
    apr_array_header_t *browsers; /* ap_regex_t * */
    apr_array_header_t *types;    /* char *: AddOutputFilterByType's; NULL with output_types: whatever the type */
    int any_type;                 /* SetOutputFilter */
};

/** Path for the member, and mapped (route_path_for_member()), borrowed from head or in the table. @return NULL, or why it is classic */
const char *route_path_make(route_table_t *table, const route_t *route, const request_head_t *head, span_t *path, span_t *mapped);

/* ---- single requests that are classic (route_object.c) ---------------------------------------------------------------------- */

/** For its method and fields. @return NULL, or why */
const char *route_odd_request(const request_head_t *head);
/** For its path, which is set to what httpd has in r->uri (in other). */
const char *route_odd_path(const server_rec *server, request_head_t *head, route_path_t *other);
/** For who sends it. */
const char *route_odd_sender(const route_client_t *client, const route_t *route, const request_head_t *head);
/** For what the route asks of it: over what it came, whether it is let in. Sets found->content_type, and found->refused. */
const char *route_object(route_client_t *client, const route_t *route, const request_head_t *head, span_t mapped, route_found_t *found);

#endif
