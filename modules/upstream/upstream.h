/*
 * upstream.h - what the glue of this module shares: the configured group, the exchange, the try.
 * Depends: httpd, mod_proxy, the headers of core, retry.h.
 *
 * An EXCHANGE is one client request for a gate:// URL (dispatch.c). It makes TRIES, each on one member (try.c): the member's own
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

#include "gate_balance.h"
#include "gate_core.h"
#include "gate_log.h"
#include "gate_parse.h"
#include "gate_registry.h"
#include "gate_roster.h"
#include "gate_time.h"
#include "pick.h"
#include "queue.h"
#include "retry.h"
#include "sticky.h"

#ifdef UPSTREAM_MODULE_FILE
extern module AP_MODULE_DECLARE_DATA gate_upstream_module; /* whose file sets the log index itself */
#else
APLOG_USE_MODULE(gate_upstream);
#endif

#define UPSTREAM_SCHEME "gate://"
#define UPSTREAM_TRIES_MAX 10

/* ---- configuration (upstream_config.c, upstream_check.c, select.c) -------------------------------------------------------- */

#define UPSTREAM_UNSET INT64_C(-1)
#define UPSTREAM_CONNECT_USEC INT64_C(1000000)
#define UPSTREAM_FIRST_BYTE_USEC INT64_C(60000000)
#define UPSTREAM_IDLE_USEC INT64_C(60000000)

/* <GateUpstream NAME>, read. */
typedef struct {
    const char *name;
    const char *file;               /* where it stands */
    int line;
    apr_array_header_t *members;    /* of gate_member_spec_t, in the order written */
    const gate_strategy_t *strategy;
    ap_expr_info_t *key;            /* hash: yields a string */
    uint32_t load_factor_milli;
    int64_t connect_usec, first_byte_usec, idle_usec, total_usec; /* UPSTREAM_UNSET where not written; total: none */
    retry_rule_t retry;
    int64_t try_timeout_usec;       /* UPSTREAM_UNSET: none */
    int64_t slow_start_usec;        /* 0: none */
    uint32_t panic_milli;           /* 0: off */
    sticky_rule_t sticky;           /* GateSticky; neither cookie nor header: off */
    uint32_t queue_length;          /* GateQueue; 0: off */
    int64_t queue_timeout_usec;
    apr_array_header_t *discover;   /* of discover_source_t */
    uint32_t index;                 /* in the registry, from post_config on */
} upstream_group_t;

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
/** @return the group that GateSelect gives this request, or the route's own */
const upstream_group_t *upstream_select(request_rec *r, const upstream_group_t *route);

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
/** With a reference that the caller gives back; NULL when mod_proxy refuses (logged). */
upstream_worker_t *upstream_worker_hold(const gate_roster_member_t *member, const upstream_group_t *group);
void upstream_worker_release(upstream_worker_t *w);
/** Lets go of the group's workers that are in the roster no more. */
void upstream_workers_follow(const gate_roster_t *roster);
/** "scheme://host[:port]/base": what a try's URL begins with. */
const char *upstream_worker_prefix(const upstream_worker_t *w);
/** Of all tries; NULL as above. */
proxy_worker *upstream_worker_shared(upstream_worker_t *w, server_rec *s);
upstream_lane_t *upstream_lane_take(upstream_worker_t *w, server_rec *s);
void upstream_lane_give(upstream_worker_t *w, upstream_lane_t *lane);

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
    const gate_roster_member_t *member;
    upstream_worker_t *worker;
    upstream_lane_t *lane;      /* NULL for schemes with a conn_rec */
    request_rec *shadow;
    int multiplexed;            /* h2: bytes from the member need not be the answer's */
    int is_trial;               /* of an ejected member: see gate_trial_claim() */
    int fresh_wanted;           /* no pooled connection: the last one was dead */
    int inflight;               /* counted in the registry */

    /* seen by the connection's filters, or by the lane */
    conn_rec *conn;             /* the connection that this try uses */
    int fresh;                  /* made in this try */
    int reused;                 /* pooled */
    int tls_failed;
    int64_t begun_usec, connected_usec, first_byte_usec, deadline_usec; /* monotonic; 0: not yet, none */
    int64_t waited_usec;        /* exchange->body.waited_usec when it began, and when the connection stood */
    int64_t waited_at_connect_usec;
    uint64_t bytes_out, bytes_in; /* to the member, from it */
    apr_status_t read_status, write_status;
    apr_status_t logged_status; /* of the last error that a handler logged: tells a refusal from a timeout */

    /* seen by the answer filter */
    upstream_answer_e answer;
    int status;
    int whole;                  /* its end came */
    int broke;                  /* the handler said that it ended early */
    int head_held;              /* the answer's head has come, of its body nothing yet: not passed on */
    int own_error;              /* the handler made an error page of its own */
    int refused;                /* by the handler or for it, before the member was asked: its status is for the client */
    apr_off_t length, passed_bytes; /* length: -1 if not announced */
    apr_status_t client_status; /* of passing it on */

    /* what came of it */
    gate_outcome_e outcome;
    const char *why;
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
    int64_t waited_usec;        /* for the client */
} upstream_body_t;

struct upstream_exchange {
    request_rec *r;
    const upstream_group_t *group;
    gate_roster_t *roster;
    proxy_server_conf *conf;
    proxy_worker *route;        /* mod_proxy's for the gate:// URL: its timeout= counts */
    const char *path;           /* canonical, with the query, from '/' */
    const char *raw_path;       /* as it was before, for handlers that canonicalise themselves */
    const char *file_path;      /* SetHandler: the file that the URL stands for, else NULL */
    int64_t begun_usec, deadline_usec;
    int64_t first_byte_limit_usec, idle_limit_usec;
    uint64_t key_hash;
    pick_tried_t tried[UPSTREAM_TRIES_MAX];
    const char *tried_words;    /* "m1: connection refused; m2: ..", for the log */
    uint32_t tries;             /* counted ones */
    int replaced;               /* the present try has replaced a stale connection */
    uint32_t full;              /* members that were passed over because they are at their `connections` */
    int next;                   /* roster index of the next try, -1: none */
    int peek;                   /* only asked about: nothing is taken or counted */
    int claimed;                /* that member is counted in flight already, in the next try's name */
    uint32_t claimed_slot;
    int others_full;            /* the last search found members, but none with room */
    int bound;                  /* a good cookie names a member: */
    uint64_t bound_hash;
    uint32_t bound_expires_s;
    int elsewhere;              /* that member had no room: this request goes to another, the client stays bound */
    uint64_t affinity_hash;     /* of the header that GateSticky names; 0: it has none */
    int64_t queued_usec;        /* how long it stood in the queue; 0: it did not */
    int next_is_trial;
    int aside;                  /* a handler runs: these are put aside */
    int keepalives;
    ap_conn_keepalive_e keepalive;
    char **documents;
    upstream_body_t body;
    upstream_try_t *last;
    int active, retrying;       /* counted in the registry */
    int64_t ended_usec;
    const char *last_id;        /* of the last try's member: outlives the roster */
    const char *give_up;        /* why it went on no further */
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

/** Of the exchange's key (GateBalance hash key=); 0 when the strategy needs none. */
uint64_t upstream_key_hash(const upstream_exchange_t *x);
/** Groups' settings and explanations for status (upstream_section.c); in post_config. */
void upstream_section_register(void);

int upstream_canon(request_rec *r, char *url);
int upstream_dispatch(request_rec *r, proxy_worker *worker, proxy_server_conf *conf, char *url, const char *host, apr_port_t port);

/**
 * Runs one try to its end; t->outcome and t->why say how.
 * @return what the member's handler returned
 */
int upstream_try_run(upstream_try_t *t, apr_pool_t *pool);
/** Ends its in-flight count, if it has not been ended. */
void upstream_try_uncount(upstream_try_t *t);

/**
 * Which member would be next, if GateRetry has the exchange go on after this end of its try.
 * Sets x->next. @return the verdict
 */
retry_verdict_t upstream_consider(upstream_exchange_t *x, const upstream_try_t *t, gate_outcome_e outcome, int status);

/** Seconds-free microseconds the next blocking step on the connection may take, <= 0 when time is up. */
int64_t upstream_try_limit(const upstream_try_t *t);

/* ---- discovery (discover_glue.c) ------------------------------------------------------------------------------------------ */

/** In post_config, after the groups are declared: lists in files are read, the rest is for upkeep. */
apr_status_t upstream_discover_open(apr_pool_t *pconf, server_rec *s);

/* ---- who is asked, and when (claim.c, queue_wait.c, sticky_glue.c) -------------------------------------------------------- */

/** Zones and handles, in post_config after the registry knows the groups. */
apr_status_t upstream_queue_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
apr_status_t upstream_sticky_open(server_rec *s);
void upstream_sticky_child(void);
extern queue_t *upstream_queue;

/** A client that has a good cookie is bound by it; called once, as the exchange begins. */
void upstream_sticky_begin(upstream_exchange_t *x);
/** The answer of this try goes to the client: with a new cookie, if it needs one. */
void upstream_sticky_answer(const upstream_try_t *t);

/**
 * Finds the next member, and counts it in flight if the group has caps; does not wait. Gives back what was claimed before.
 * @return 1 x->next is set; 0 nobody: x->full, x->others_full say why
 */
int upstream_claim(upstream_exchange_t *x);
/** The same, waiting in the group's queue if it has one. @return 1; 0 nobody, full, or too late; -1 the client went away */
int upstream_claim_wait(upstream_exchange_t *x);
/** As upstream_claim(), but takes and counts nothing: who would it be? */
int upstream_claim_peek(upstream_exchange_t *x);
/** Gives back what no try has taken over. */
void upstream_unclaim(upstream_exchange_t *x);
/** Something that may have been counted against a cap has ended. */
void upstream_freed(const upstream_exchange_t *x);
/** Is there room for the exchange? Under the queue's lock. @return 1 claimed */
int upstream_claim_admit(void *exchange);
/** Could anybody be asked, if there were room? */
int upstream_claim_hope(upstream_exchange_t *x);
/** The membership moved on while it waited. */
void upstream_claim_follow(upstream_exchange_t *x);

request_rec *upstream_shadow(upstream_try_t *t, apr_pool_t *pool);
void upstream_shadow_enter(upstream_try_t *t);
/** Carries the answer's head over to the client's request, before its first bytes are passed on. */
void upstream_shadow_commit(upstream_try_t *t);
/** The same for what is left of a request after a tunnel (101). */
void upstream_shadow_tunnelled(upstream_try_t *t);
/** After a handler has run. */
void upstream_shadow_end(upstream_try_t *t);
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
void upstream_backend_register(void);
void upstream_replay_register(void);
void upstream_answer_register(void);

/** The exchange ends without an answer of a member: log, Proxy-Status, Retry-After. @return status for mod_proxy */
int upstream_fail(upstream_exchange_t *x, const upstream_try_t *t, gate_outcome_e outcome);
/** log_transaction: GATE_*. */
int upstream_log_vars(request_rec *r);
void upstream_tell_registry(upstream_exchange_t *x, const upstream_try_t *t);
void upstream_tell_failure(const upstream_exchange_t *x, const upstream_try_t *t, const retry_verdict_t *verdict);
/** Adds to the words about what was tried. */
void upstream_tell_tried(upstream_exchange_t *x, const upstream_try_t *t);
void upstream_dispatch_init(apr_pool_t *pchild);

#endif
