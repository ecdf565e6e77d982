/*
 * engine.h - what mod_gate_engine's own files share: configuration, the loops of a child, counters, connections from the inside.
 * Depends: httpd, gate_core.h, conn.h.
 *
 * LIFE    child_init makes the loops, each with a thread. A connection is accepted and prepared by the MPM and httpd's modules as ever
 *         (pre_connection, TLS handshake, ALPN); our process_connection hook then asks for its suspension, and our suspend_connection
 *         hook posts it to a loop (takeover.c). When the child is to stop, the loops drain: idle connections are closed, the others after
 *         their answer. The MPM waits for them, because it counts some of them: see takeover.c.
 * THREADS A connection belongs to its loop's thread; while a request of it is in the classic plane, to the worker that runs it.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <scoreboard.h>
#include <stdatomic.h>

#include "conn.h"
#include "gate_conf.h"
#include "gate_core.h"
#include "gate_log.h"
#include "gate_section.h"
#include "h2_abuse.h"
#include "loop.h"
#include "outbox.h"
#include "read_limits.h"
#include "transport.h"

extern module AP_MODULE_DECLARE_DATA gate_engine_module;
#ifndef ENGINE_MODULE_FILE
APLOG_USE_MODULE(gate_engine);
#endif

#define ENGINE_LOOPS_MAX 16

/* ---- configuration (engine_config.c) --------------------------------------------------------------------------------------- */

#define ENGINE_SERVER_FIELDS(F)        \
    F(int, on, GATE_UNSET, 0)          \
    F(int, loops, GATE_UNSET, 0)

typedef struct {
    ENGINE_SERVER_FIELDS(GATE_CONF_FIELD_)
    read_limits_t limits;       /* RequestReadTimeout; made in post_config */
    int limited;                /* mod_reqtimeout is loaded */
} engine_server_t;

extern const command_rec engine_directives[];
void *engine_server_create(apr_pool_t *p, server_rec *s);
void *engine_server_merge(apr_pool_t *p, void *outer, void *inner);
engine_server_t *engine_server_of(const server_rec *s);
/** In post_config: resolves what takes the whole configuration. */
void engine_config_finish(apr_pool_t *p, server_rec *s);
/** Some vhost has GateEngine on, and the MPM is one that it works with. */
int engine_is_wanted(void);
/** Loops in each child. */
int engine_loops_wanted(void);

/* ---- counters: one row for each loop of each child, in shared memory (engine_counts.c) --------------------------------------- */

typedef enum { CONN_AT_LOOP, CONN_AT_WORKER, CONN_AT_WRITING, CONN_AT_ELSEWHERE, CONN_AT_CLOSING, CONN_AT_LINGERING, CONN_AT_COUNT } conn_at_e;

#define ENGINE_REASONS 48
#define ENGINE_REASON_LEN 64

/* ATOMIC, written by one loop's thread alone, read by all. CRASH: gauges of a dead child's rows are not counted, counters go on. */
typedef struct {
    _Atomic uint64_t taken, closed, classic, express;
    _Atomic int64_t at[CONN_AT_COUNT];
    _Atomic int64_t exchanges;  /* express, in flight */
    _Atomic uint64_t reason[ENGINE_REASONS];
    _Atomic uint64_t h2_connections, h2_streams;
    _Atomic uint64_t h2_calmed[H2_USELESS_KINDS]; /* connections closed for abuse, by kind */
} engine_row_t;

apr_status_t engine_counts_open(server_rec *s);
engine_row_t *engine_row(int loop);
/** The number of a reason for handing over; the same text has the same number in all children. */
int engine_reason(const char *why);
void engine_section_register(void);

/* One writer: no locked instruction is needed. */
#define ENGINE_ADD(counter, by) \
    atomic_store_explicit(&(counter), atomic_load_explicit(&(counter), memory_order_relaxed) + (by), memory_order_relaxed)

/* ---- one loop of this child ------------------------------------------------------------------------------------------------- */

typedef struct client client_t;

typedef struct engine_loop {
    loop_t *loop;
    apr_pool_t *pool;
    apr_thread_t *thread;
    engine_row_t *row;
    outbox_shelf_t shelf;
    client_t *first;            /* its connections */
    loop_job_t drain, start;
    int draining;
    atomic_int load;            /* connections given to it: any thread */
} engine_loop_t;

static inline engine_loop_t *engine_loop_of(loop_t *loop)
{
    return *(engine_loop_t **)loop_slot(loop, LOOP_SLOT_CLIENTS);
}

/* ---- a connection from the inside (conn*.c, handover.c, takeover.c) ------------------------------------------------------------- */

enum { WANT_PUMP = 1, WANT_CLASSIC = 2, WANT_CLOSE = 4, WANT_GONE = 8, WANT_FREE = 16 };
enum { ACT_NONE, ACT_POSTED, ACT_RUNS, ACT_AGAIN };

/* How the worker leaves a connection. */
typedef enum {
    BACK_KEEP,                  /* the next request may come */
    BACK_WRITE,                 /* what is written waits for the client */
    BACK_WAIT_READ, BACK_WAIT_WRITE, /* another protocol has it (h2 after an upgrade): a worker again when the socket is ready */
    BACK_LINGER,                /* FIN is sent */
    BACK_GONE,                  /* it can be closed at once */
    BACK_LOST                   /* a module has suspended the request and keeps the connection, as under the MPM: for good */
} back_e;

typedef enum { ERRAND_PROCESS, ERRAND_WRITE } errand_e;

/* What a handed over request needs to know; lives in the conn, used by the worker. */
typedef struct {
    errand_e errand;
    const char *given;          /* bytes to be read first */
    size_t given_len, given_counted; /* the first given_counted of them have been counted as read already */
    int timed_out;              /* behind the given bytes: time is up */
    int status, early, body_gone;
    int preset;                 /* not yet used */
    const apr_table_t *headers, *env;
    int64_t begun_usec;
    back_e back;
} handover_t;

struct client {
    conn_t pub;                 /* first */
    transport_t *transport;
    loop_watch_t watch;
    wheel_timer_t limit, codec_timer;
    loop_job_t job;             /* between threads: taken, handed over, returned */
    loop_job_t act;             /* deferred: wants */
    client_t *next, **link;     /* of the loop */
    client_t *queue_next;       /* handover.c */
    server_rec *phase_server;
    read_clock_t clock;
    int64_t since_usec;         /* the phase's, or the state's, begin */
    int64_t read_at_usec, sent_at_usec;
    uint64_t sent_seen;
    char *in;                   /* read, and not taken; malloc */
    uint32_t in_len, in_room;
    size_t in_counted;          /* of the bytes in input(): conn_takes() */
    char *again;                /* bytes that the classic plane reads again; malloc */
    size_t again_len;
    uint8_t at;                 /* conn_at_e */
    uint8_t phase;              /* conn_phase_e */
    uint8_t wants, acting;
    uint8_t paused, readable, room_wanted, hung_up, gone, ended, asked /* bytes came before */, short_linger, counted, wait_write, drain_told;
    apr_pool_t *classic_pool;   /* for tables of a preset status; cleared when back */
    handover_t handover;
    ap_sb_handle_t *sbh;
    struct mpm_thread *mpm;     /* the worker that gave it to us, and its turn then: takeover.c; NULL: settled */
    uint32_t mpm_turn;
    int64_t mpm_since_usec;
};

static inline client_t *client_of(conn_t *conn)
{
    return (client_t *)conn;
}

#define CLIENT(pointer, field) ((client_t *)((char *)(pointer) - offsetof(client_t, field)))

static inline engine_loop_t *client_home(const client_t *w)
{
    return engine_loop_of(w->pub.loop);
}

/* Nothing is to be done for it on the loop any more, or for now. */
static inline int client_gone_already(const client_t *w)
{
    return (w->wants & (WANT_GONE | WANT_FREE)) != 0 || w->at != CONN_AT_LOOP;
}

/** On the loop: the connection has come from the MPM. */
void client_begin(loop_job_t *job);
void client_act(client_t *w, unsigned wants);
void client_set_at(client_t *w, conn_at_e at);
void client_set_limit(client_t *w, int64_t due_usec);
/** conn_end.c: from now on the codec does not exist. */
void client_finish(client_t *w);
void client_linger(client_t *w);
void client_end_ready(client_t *w, unsigned what);
int64_t client_end_due(client_t *w);
void client_end_late(client_t *w);
int client_free(client_t *w);
/** The loop drains: told to each of its connections. */
void client_drain(client_t *w);
/** Of what was read and not taken, the first `len` bytes have been. */
void client_drop_input(client_t *w, size_t len);
/** The loop's watch tells. */
void client_ready(loop_watch_t *watch, unsigned what);
/** conn_limits.c: the two timers. */
void client_limit_fired(wheel_timer_t *timer);
void client_codec_timer_fired(wheel_timer_t *timer);
/** conn_lend.c: to a worker, and back from it. */
void client_returned(loop_job_t *job);
void client_lend(client_t *w, errand_e errand);

/* ---- handover.c --------------------------------------------------------------------------------------------------------------- */

/* For ap_mpm_register_timed_callback(): before now. The MPM's listener passes over what is due this very microsecond, and then waits for any event. */
#define HANDOVER_AT_ONCE_USEC (-1000)

void handover_child(apr_pool_t *pchild, int threads);
void handover_post(client_t *w);
/** The child stops at once: whoever waits for a client does not any longer. */
void handover_cut(void);
void handover_register(apr_pool_t *p);
/** Adds the filter that gives back. */
void handover_filter(client_t *w);
int handover_waiting(void);

/* ---- takeover.c ---------------------------------------------------------------------------------------------------------------- */

void takeover_register(apr_pool_t *p);
void takeover_child(apr_pool_t *pchild, int threads);
/** The connection that a conn_rec belongs to, or NULL. */
client_t *takeover_client(const conn_rec *c);
/** A client's connection with mod_ssl's filters on it. */
int takeover_is_tls(const conn_rec *c);
/** mod_ssl's SSL of it, once its handshake has begun and until it has said goodbye; NULL: none. */
void *takeover_ssl(const conn_rec *c);
void takeover_note_ssl(conn_rec *c, void *ssl);
/** The MPM's thread writes nothing to the connection any more. Once so, it stays so. */
int takeover_settled(client_t *w);
/** On the loop, once, when settled. */
void takeover_uncount(client_t *w);
/** Socket and pool go; or stay for a while as what the MPM counts. */
void takeover_destroy(client_t *w);

/* ---- loops.c ------------------------------------------------------------------------------------------------------------------- */

apr_status_t engine_loops_start(apr_pool_t *pchild, server_rec *s);
engine_loop_t *engine_loop_pick(void);
void engine_loops_drain(void);
void engine_loops_stop(void);
int engine_is_draining(void);
/* .. or will in a moment: the MPM says that it stops before its listener looks, and tells our child_stopping hook only afterwards. */
int engine_is_ending(void);
int engine_loops_running(void);

/** What every connection begins with. */
const conn_codec_t *engine_codec(conn_rec *c);
extern const conn_codec_t client_classic_codec; /* hands over everything */

/* ---- transport.c ---------------------------------------------------------------------------------------------------------------- */

void transport_register(apr_pool_t *p);
void socket_bucket_register(apr_pool_t *p);

#endif
