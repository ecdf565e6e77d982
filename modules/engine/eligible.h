/*
 * eligible.h - may a route go express? Computed at start from what was configured, not promised.
 * Depends: httpd (ap_conftree, hook lists), eligible_table.h, header_ops.h.
 * Every directive that was read is looked up in a table (eligible_table.c): neutral for a proxied request, honoured by the engine, or a reason
 * to leave the route to the classic plane; what the table does not know is such a reason. So is a module that hooks a phase of requests and
 * that the table does not know. Reasons are kept by scope: all of the server, one vhost, one <Location>, one <Proxy>.
 * Memory:  results live in pconf, read only after post_config.
 * Locking: none needed.
 */
#ifndef ENGINE_ELIGIBLE_H
#define ENGINE_ELIGIBLE_H

#include <httpd.h>
#include <http_config.h>

#include "eligible_table.h"
#include "gate_section.h"
#include "header_ops.h"

/* What stands in a scope. */
typedef struct {
    const char *why;            /* classic, because "SetHandler (/etc/apache2/x.conf:12)"; NULL: nothing stands against express */
    const char *rewrite_why;    /* what stands against it where RewriteEngine is on, in which case it is in why too; NULL */
    unsigned needs;             /* ELIGIBLE_*: what the engine has to do */
    header_ops_t *headers;      /* Header and RequestHeader, in order, without computed ones; NULL: none */
    apr_array_header_t *request_headers; /* char *: fields that RequestHeader lines name; NULL: none */
    apr_array_header_t *filtered_types; /* char *: types named by AddOutputFilterByType; NULL: none */
    apr_array_header_t *remote_headers; /* char *: fields that mod_remoteip reads and writes; NULL: none */
    apr_array_header_t *browsers; /* ap_regex_t *: User-Agents that change how HTTP is spoken; NULL: none */
    const char *title;          /* "<Location /x> (/etc/apache2/x.conf:10)"; of sections */
} eligible_scope_t;

typedef struct {
    server_rec *server;
    eligible_scope_t whole;     /* main server and vhost together */
    int locations, proxies;
    eligible_scope_t *location; /* parallel to core's sec_url */
    eligible_scope_t *proxy;    /* parallel to mod_proxy's sec_proxy */
} eligible_server_t;

/**
 * In post_config, not in the rehearsal.
 * @param is_on  whether GateEngine is on in a server
 * Logs one line per route of servers that have the engine on.
 */
void eligible_build(apr_pool_t *pconf, server_rec *main_server, int (*is_on)(server_rec *s));
/** @return NULL: the engine is off in this server */
const eligible_server_t *eligible_of(const server_rec *s);
server_rec *eligible_main_server(void);
/** ELIGIBLE_* of what has a door in this build: LIMIT, CACHE, SELECT. */
unsigned eligible_doors(void);

/* ---- telling (eligible_tell.c) --------------------------------------------------------------------------------------------- */

/** One line per route of this server into the error log. */
void eligible_tell(const eligible_server_t *server);
/** "routes":[{"server":..,"route":..,"plane":"express|classic","why":..}] into the engine's section. */
void eligible_gather(gate_node_t *out);
/** For explain.json: "plane" and "why" of a request (of a lookup sub-request, see gate_section.h). */
void eligible_explain(gate_node_t *out, const gate_view_t *view, request_rec *r);

#endif
