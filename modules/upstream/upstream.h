/*
 * upstream.h - what the glue of this module shares: the configured group, the exchange, the try.
 * Depends: httpd, mod_proxy, the headers of core, errand.h.
 *
 * An EXCHANGE is one client request for a gate:// URL on the classic plane (dispatch.c). Which member is asked, and whether again, its
 * ERRAND says (errand.h). It makes TRIES, each on one member (try.c): the member's own
 * scheme handler is given a SHADOW of the request (shadow.c), whose input is the replayable body (replay.c) and whose only output
 * filter is ours (answer_filter.c). What a handler does to its request, an ErrorDocument of its own included, stays in the shadow;
 * an answer that is to be passed on is carried over to the client's request when its first bytes come.
 * Connections to members that have a conn_rec carry a filter pair (backend_filter.c) that tells the try of the thread it runs in
 * what was sent and received, and keeps the try's times.
 *
 * Pools:   an exchange and its first try live in r->pool, later tries in a subpool of it; groups in pconf; workers in pools of their own.
 * Threads: an exchange belongs to one thread; groups are read only after post_config; workers.c and GateSelect's look-ups lock.
 */
#ifndef UPSTREAM_H
#define UPSTREAM_H

#include <ap_expr.h>
#include <apr_strings.h>
#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <mod_proxy.h>

#include "gate_core.h"
#include "gate_log.h"
#include "gate_parse.h"
#include "gate_registry.h"
#include "gate_roster.h"
#include "gate_time.h"
#include "gate_view_request.h"
#include "errand.h"
#include "group.h"

#ifdef UPSTREAM_MODULE_FILE
extern module AP_MODULE_DECLARE_DATA gate_upstream_module; /* whose file sets the log index itself */
#else
APLOG_USE_MODULE(gate_upstream);
#endif

#define UPSTREAM_SCHEME "gate://"

/* ---- configuration (upstream_config.c, upstream_check.c, select.c) -------------------------------------------------------- */

/** All groups of this configuration, in order. */
extern apr_array_header_t *upstream_groups; /* of upstream_group_t * */

/** @return the group of that name, or NULL */
upstream_group_t *upstream_group_named(const char *name, apr_size_t len);
/** " (did you mean 'x'?)" for a name that no group bears, or "". */
const char *upstream_group_hint(apr_pool_t *p, const char *name);

extern const command_rec upstream_directives[];
/** The group whose block is being read, or NULL. */
upstream_group_t *upstream_group_open(void);
/** NULL inside a block, else an error. */
const char *upstream_outside(cmd_parms *cmd);
/** All arguments of a directive by one table. */
const char *upstream_read_pairs(cmd_parms *cmd, int argc, char *const argv[], const gate_pair_rule_t *rules, void *target);
/* members_config.c */
const char *upstream_set_sticky(cmd_parms *cmd, void *dir, int argc, char *const argv[]);
const char *upstream_set_queue(cmd_parms *cmd, void *dir, int argc, char *const argv[]);
const char *upstream_set_discover(cmd_parms *cmd, void *dir, int argc, char *const argv[]);
void upstream_config_reset(apr_pool_t *pconf);

/** RewriteRule knows no scheme but httpd's own: gate:// is given a name that it leaves alone. Before directives are read. */
void upstream_check_rewrites(apr_pool_t *pconf);
/** The fixup for it; see there. */
int upstream_unmask(request_rec *r);
/** Rules between directives; logs what is wrong. @return OK or HTTP_INTERNAL_SERVER_ERROR */
int upstream_check(apr_pool_t *ptemp, server_rec *s);
/** Tells the registry. */
apr_status_t upstream_declare(apr_pool_t *ptemp, server_rec *s);

void *upstream_select_create(apr_pool_t *p, char *dir);
void *upstream_select_merge(apr_pool_t *p, void *outer, void *inner);
const char *upstream_select_set(cmd_parms *cmd, void *dir, int argc, char *const argv[]);
int upstream_select_check(server_rec *s);
/** @return the group that GateSelect gives this request, or the route's own. dir_conf: httpd's per-directory vector */
const upstream_group_t *upstream_select(const gate_view_t *view, void *dir_conf, const upstream_group_t *route);

/* ---- workers (workers.c) -------------------------------------------------------------------------------------------------- */

/* mod_proxy's idea of a member in this process, with its pooled connections. */
typedef struct upstream_worker upstream_worker_t;

/* A worker with one connection, for one try at a time: for schemes whose handlers work on the socket itself. */
typedef struct upstream_lane {
    proxy_worker *worker;
    proxy_conn_rec *conn;       /* set by the try that has it */
    struct upstream_lane *next;
} upstream_lane_t;

void upstream_workers_init(apr_pool_t *pchild, uint32_t members);
/** Of a member of that roster, as long as that is held; NULL: no memory, or the child ends. */
upstream_worker_t *upstream_worker_of(const gate_roster_t *roster, const gate_roster_member_t *member, const upstream_group_t *group);
/** gate_rosters_on_end(): a roster that had it has ended. */
void upstream_worker_let_go(void *worker);
/** Lets go of the group's workers that are in the roster no more. */
void upstream_workers_follow(const gate_roster_t *roster);
/** "scheme://host[:port]/base": what a try's URL begins with. */
const char *upstream_worker_prefix(const upstream_worker_t *w);
/** Of all tries; over TLS, of those of this virtual host (member_tls.c). NULL when mod_proxy refuses (logged). */
proxy_worker *upstream_worker_shared(upstream_worker_t *w, server_rec *s);
upstream_lane_t *upstream_lane_take(upstream_worker_t *w, server_rec *s);
void upstream_lane_give(upstream_worker_t *w, upstream_lane_t *lane);

/** In post_config: where SSLProxy* directives stand. */
void upstream_member_tls_read(apr_pool_t *pconf, server_rec *main_server);
/**
 * Whose TLS connections to members a virtual host uses.
 * @param whose  set to the server; NULL: the main server's
 * @return 1 when no connection may be used twice
 */
int upstream_member_tls(const server_rec *s, const server_rec **whose);

/* ---- exchange and try ----------------------------------------------------------------------------------------------------- */

typedef enum {
    ANSWER_NONE = 0,            /* nothing has come */
    ANSWER_PASSED,              /* the client's request has it, or the beginning of it */
    ANSWER_AGAIN,               /* its status is listed in GateRetry, and there is another member: swallowed */
    ANSWER_OVERRIDE,            /* ProxyErrorOverride: its status goes to ErrorDocument, its body is swallowed */
    ANSWER_BAD,                 /* not HTTP: swallowed */
    ANSWER_TUNNEL,              /* 101 */
    ANSWER_ELSEWHERE            /* the handler has left it to mod_proxy's request_status hook: SCGI's internal redirect */
} upstream_answer_e;

typedef struct upstream_exchange upstream_exchange_t;

typedef struct upstream_try {
    upstream_exchange_t *exchange;
    gate_try_t *seen;           /* the errand's, of this try: figures, status, outcome */
    upstream_worker_t *worker;
    upstream_lane_t *lane;      /* NULL for schemes with a conn_rec */
    request_rec *shadow;
    unsigned lent;              /* see shadow.c */
    int multiplexed;            /* h2: bytes from the member need not be the answer's */

    /* seen by the connection's filters, or by the lane */
    conn_rec *conn;             /* the connection that this try uses */
    int fresh;                  /* made in this try */
    int timed;                  /* the socket's timeout stands as it is to be before (1) and after (2) the first byte */
    apr_status_t read_status, write_status;

    /* seen by the answer filter */
    upstream_answer_e answer;
    int whole;                  /* its end came */
    int broke;                  /* the handler said that it ended early */
    int head_held;              /* the answer's head has come, of its body nothing yet: not passed on */
    int own_error;              /* the handler made an error page of its own */
    int refused;                /* by the handler or for it, before the member was asked: its status is for the client */
    apr_off_t length;           /* -1 if not announced */
    apr_status_t client_status; /* of passing it on */
} upstream_try_t;

/* The client's body; see replay.c. */
typedef struct {
    apr_bucket_brigade *kept;
    apr_off_t kept_bytes, served_bytes;
    apr_bucket *next;           /* to be served again; NULL: read on */
    int present;                /* there is a body, or may be */
    int ended;                  /* its end has been read */
    int dropped;                /* longer than what is kept: cannot be sent again */
    int resent;                 /* somebody has begun to read it again */
    apr_status_t failed;        /* of reading from the client */
} upstream_body_t;

struct upstream_exchange {
    request_rec *r;
    gate_view_t view;
    gate_errand_paths_t paths;
    gate_errand_t *errand;
    proxy_server_conf *conf;
    proxy_worker *route;        /* mod_proxy's for the gate:// URL: its timeout= counts */
    const char *path;           /* canonical, with the query, from '/' */
    const char *raw_path;       /* as it was before, for handlers that canonicalise themselves */
    const char *file_path;      /* SetHandler: the file that the URL stands for, else NULL */
    int aside;                  /* a handler runs: these are put aside */
    int keepalives;
    ap_conn_keepalive_e keepalive;
    char **documents;
    upstream_body_t body;
    upstream_try_t *last;
};

/* What canon leaves for the handler phase, and the handler for the log; in the request's configuration. */
typedef struct {
    const char *canonical;      /* "gate://NAME/path?query" */
    const char *raw_path, *file_path;
    upstream_exchange_t *exchange;
} upstream_request_t;

/** This process's rosters. */
extern gate_rosters_t *upstream_rosters;

/** The try of this thread whose handler runs now, or NULL. */
upstream_try_t *upstream_try_now(void);
/** Puts another in its place; returns the former. NULL around calls into the client's filters: what they do is not the member's. */
upstream_try_t *upstream_try_set(upstream_try_t *t);

/* ---- errands (door.c) ----------------------------------------------------------------------------------------------------- */

/** After the key of GateSticky is known; sets upstream_rosters. */
void upstream_door_init(apr_pool_t *pchild);
void upstream_door_register(void);
/** The calls of gate_upstream.h that ask httpd for something. */
gate_errand_t *upstream_errand_begin(const gate_errand_ask_t *ask, const char **why);
gate_errand_t *upstream_errand_preview(const gate_errand_ask_t *ask);
/** errand_house_t.say: writes the error log. */
void upstream_door_log(const gate_errand_t *e, errand_news_e news, int detail);

/** Groups' settings and explanations for status (upstream_section.c); in post_config. */
void upstream_section_register(void);

int upstream_canon(request_rec *r, char *url);
int upstream_dispatch(request_rec *r, proxy_worker *worker, proxy_server_conf *conf, char *url, const char *host, apr_port_t port);

/**
 * Runs one try to its end; t->outcome and t->why say how.
 * @return what the member's handler returned
 */
int upstream_try_run(upstream_try_t *t, apr_pool_t *pool);
/** Seconds-free microseconds the next blocking step on the connection may take, <= 0 when time is up. */
int64_t upstream_try_limit(const upstream_try_t *t);

/* ---- discovery (discover_glue.c) ------------------------------------------------------------------------------------------ */

/** In post_config, after the groups are declared: lists in files are read, the rest is for upkeep. */
apr_status_t upstream_discover_open(apr_pool_t *pconf, server_rec *s);

struct gate_node;

/** Puts "discovery" into a group's part of the status: each source with its last look; nothing for a group without sources. */
void upstream_discover_put(struct gate_node *out, const upstream_group_t *group);

/* ---- queue and cookies (queue_wait.c, sticky_glue.c) ---------------------------------------------------------------------- */

/** Zones and handles, in post_config after the registry knows the groups. */
apr_status_t upstream_queue_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/* queue_ear.c: see gate_upstream_door_t.hear */
void upstream_queue_child(apr_pool_t *pchild);
void upstream_queue_hear(int loop, void (*wake)(void *ctx), void *ctx);
void upstream_queue_heard(int loop, void (*called)(void *owner));
void upstream_queue_hear_end(int loop);
apr_status_t upstream_sticky_open(server_rec *s);
void upstream_sticky_child(void);
/** What cookies are signed with. */
const sticky_key_t *upstream_sticky_key(void);
extern queue_t *upstream_queue;

/** errand_claim(), sleeping in the group's queue if it has to. @return 1 the errand's try has begun; 0 nobody; -1 the client went away */
int upstream_claim_wait(upstream_exchange_t *x, int64_t now_usec);

request_rec *upstream_shadow(upstream_try_t *t, apr_pool_t *pool);
void upstream_shadow_enter(upstream_try_t *t);
/** Carries the answer's head over to the client's request, before its first bytes are passed on. */
void upstream_shadow_commit(upstream_try_t *t);
/** The same for what is left of a request after a tunnel (101). */
void upstream_shadow_tunnelled(upstream_try_t *t);
/** After a handler has run. */
void upstream_shadow_end(upstream_try_t *t);
/** It was in vain: nothing of it stays with the client's request. */
void upstream_shadow_forget(upstream_try_t *t);
void upstream_shadow_register(void);

ap_filter_t *upstream_replay_filter(upstream_exchange_t *x, request_rec *shadow, apr_pool_t *pool);
void upstream_replay_rewind(upstream_exchange_t *x);
ap_filter_t *upstream_answer_filter(upstream_try_t *t, apr_pool_t *pool);
/** The handler has returned: an answer that it left unfinished must not look like a whole one. */
void upstream_answer_finish(upstream_try_t *t, int handler_status);
/** insert_error_filter: an error page begins, perhaps on a shadow. */
void upstream_answer_error_page(request_rec *r);
/** error_log: what handlers say goes wrong. */
void upstream_note_logged(const ap_errorlog_info *info, const char *text);

int upstream_backend_attach(conn_rec *c, void *socket);
/** Has the system end a connection over which nothing gets through any more: else a pooled one to a silent machine costs a whole wait. */
void upstream_backend_watch(apr_socket_t *socket, const upstream_group_t *group);
/** A member that is alive may shut its window for as long as it likes (and GateTimeout idle= lets it): not (1) or again (0) taken for silence. */
void upstream_backend_patience(apr_socket_t *socket, const upstream_group_t *group, int patient);
int upstream_has_long_body(const upstream_exchange_t *x);
void upstream_backend_register(void);
/** In each child. */
void upstream_backend_init(void);
void upstream_replay_register(void);
void upstream_answer_register(void);

/** The exchange ends without an answer of a member: log, Proxy-Status, Retry-After. @return status for mod_proxy */
int upstream_fail(upstream_exchange_t *x);
/** In post_config: GATE_* variables are made only if a directive names one, or a module listens that may read any. */
void upstream_log_look(void);
/** log_transaction: GATE_*. */
int upstream_log_vars(request_rec *r);
int upstream_log_cut(request_rec *r);
int upstream_log_uncut(request_rec *r);
void upstream_dispatch_init(apr_pool_t *pchild);

#endif
