/*
 * route.h - which requests go express, and what the configuration says about them.
 * Depends: httpd, mod_proxy, message.h, eligible.h.
 * A ROUTE is one ProxyPass of a vhost to a gate:// group together with the <Location> and <Proxy> sections that match a path: all that the
 * configuration says about such a request, merged once and kept for as long as the child lives. Routes are made on demand (first request),
 * found by a short walk (vhost, aliases in order, sections' matches as a bit set). eligible.h says which of them are express.
 * Memory:  routes live in a pool of the loop's; pointers stay valid until the loop ends. A route_client_t lives in its connection's pool.
 * Locking: each loop has its own.
 */
#ifndef ENGINE_ROUTE_H
#define ENGINE_ROUTE_H

#include <httpd.h>
#include <mod_proxy.h>

#include "eligible.h"
#include "gate_view.h"
#include "loop.h"
#include "message.h"

typedef struct route {
    server_rec *server;
    const char *group_name;     /* "app" of gate://app/ */
    const char *prefix;         /* the ProxyPass's first word */
    const char *base;           /* path of its gate:// URL, may be ""; also of a pattern */
    ap_conf_vector_t *dir_conf; /* merged */
    proxy_server_conf *proxy;
    proxy_dir_conf *proxy_dir;
    proxy_worker *worker;       /* of the ProxyPass: its timeout= counts */
    int express;                /* 0: every request of it goes classic, because: */
    const char *why;            /* "Header edit (/etc/apache2/x.conf:12)": for the log, the page and explain; NULL when express */
    /* what is honoured natively, resolved */
    unsigned needs;             /* ELIGIBLE_* bits */
    int preserve_host, add_headers;
    int via;                    /* proxy_server_conf.viaopt */
    int reverses;               /* ProxyPassReverse lines to be asked: route_reverse() */
    int64_t timeout_usec;       /* of the ProxyPass (timeout=); 0: not said */
    int64_t server_timeout_usec; /* ProxyTimeout; 0 */
    int64_t body_limit;         /* LimitRequestBody; 0: none */
    int logs;                   /* somebody listens in log_transaction beside us: a request_rec has to be made at the end */
    int output_types;           /* output filters may have to run: ask output_wanted() for each answer */
    int makes_ready;            /* modules change the request first: route_ready() */
    const header_ops_t *request_headers; /* RequestHeader; NULL: none. The exchange changes its fields by them before all else */
    const header_ops_t *answer_headers;  /* Header, last thing before Date, Server and framing; NULL: none */
    const header_ops_t *always_headers;  /* Header always: on err_headers_out, which go out first; NULL: none */
    struct route_env *env;      /* the rest is route.c's and route_request.c's own */
    uint32_t index;
} route_t;

/* What is the same for all requests of one connection: memo of host, vhost, what mod_ssl and mod_authz_core said. */
typedef struct route_client route_client_t;

/** Once per connection, in c->pool. */
route_client_t *route_client(loop_t *loop, conn_rec *c);

/** Finds the vhost by the Host. @return NULL: the classic plane has to say (bad or missing Host, not an origin-form target, mod_ssl objects) */
server_rec *route_server(route_client_t *client, const request_head_t *head);

/* Phases in which requests are refused. */
typedef enum {
    ROUTE_PHASE_QUICK,          /* quick_handler: nothing but the server is known */
    ROUTE_PHASE_TRANSLATE,      /* before translate_name: its <Location> sections are known */
    ROUTE_PHASE_RULES,          /* translate_name, by mod_rewrite's rules, which redirect too */
    ROUTE_PHASE_ACCESS          /* Require: all is known, fixups have not run */
} route_phase_e;

typedef struct {
    span_t path;                /* for the member, query included: borrowed from head, or from a buffer that the next call changes */
    const char *why;            /* when there is no route: why this request is classic although its route may be express: "Range", .. */
    const char *content_type;   /* for an answer without one: what mod_mime makes of the path; NULL */
    int refused;                /* with a route: it is answered with this status, and its page is a plain one, by: */
    route_phase_e refused_in;   /* .. ROUTE_PHASE_RULES (a redirect, [F], [G]) or ROUTE_PHASE_ACCESS (Require) */
} route_found_t;

/**
 * @param head  its path is changed to what httpd has in r->uri where that differs: decoded, in a buffer that the next call changes
 * @return the route, an express one; NULL: classic (found->why). Allocates nothing from the second request of a kind on.
 */
const route_t *route_find(route_client_t *client, server_rec *server, request_head_t *head, route_found_t *found);

/** The loop ends: all routes go. */
void route_end(loop_t *loop);

/* ---- before a member is asked (route_ready.c) -------------------------------------------------------------------------------- */

/* What modules make of a request: mod_remoteip (who the client is), mod_headers (RequestHeader with computed values). */
typedef struct route_ready {
    const char *ip;             /* the client's */
    apr_sockaddr_t *addr;
    const char *proxies;        /* for r->notes "remoteip-proxy-ip-list"; NULL */
    const fields_t *before;     /* as they are before fixups; NULL: as they were sent. Only where there are others after them */
    const fields_t *fields;     /* the head's, instead of those that the client sent; NULL: they are as they were */
    request_rec *r;             /* with all that: the exchange's; NULL: none was needed */
} route_ready_t;

/** Only for routes with makes_ready. @param head  as the client sent it @return in p */
const route_ready_t *route_ready(const route_t *route, conn_rec *c, const request_head_t *head, apr_pool_t *p, apr_time_t begun);

/* ---- answers that name inner URLs (route_reverse.c) ------------------------------------------------------------------------- */

/**
 * ProxyPassReverse, ProxyPassReverseCookiePath and .._Domain, by mod_proxy itself. Only for routes with reverses.
 * @param name  Location, Content-Location, URI, Destination, Set-Cookie; others are left alone
 * @return value, or another in r->pool
 */
const char *route_reverse(const route_t *route, request_rec *r, const char *name, const char *value);

/* ---- request_rec (route_request.c) ----------------------------------------------------------------------------------------- */

/**
 * A request_rec for what httpd and its modules need one for: expressions, log_transaction, output filters. As post_read_request, translation,
 * sections and fixups would have left it, but made here; it runs through no phase but what sets variables (mod_setenvif, mod_env, mod_ssl).
 * Lives in p. Spans of head need not end in NUL. ready: NULL: the connection's address is the client's. Its output filters are a sink: nothing that is passed to them reaches the client.
 */
request_rec *route_request(const route_t *route, conn_rec *c, const request_head_t *head, apr_pool_t *p, apr_time_t begun,
                           const route_ready_t *ready);

/** As it stands in that phase; for ROUTE_PHASE_RULES before the rules have run. head: as the client sent it */
request_rec *route_request_in_phase(const route_t *route, conn_rec *c, const request_head_t *head, apr_pool_t *p, apr_time_t begun,
                                    const route_ready_t *ready, route_phase_e phase);
/** mod_rewrite's rules. @return DECLINED and the like, or the status; Location is in headers_out */
int route_request_rules(request_rec *r);
/** Order, Allow, Deny and Require, by httpd's modules. @return OK, or the status */
int route_request_access(request_rec *r);

/** The answer, for who reads it from the request_rec: status line, content type, headers_out. */
void route_request_answer(request_rec *r, const answer_head_t *told);
/** The same as it is when it has been sent: before logging. */
void route_request_told(request_rec *r, const answer_head_t *told);

#endif
