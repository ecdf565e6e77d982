/*
 * takeover.c - how a connection comes from the MPM, and how it goes.
 *
 * The MPM counts a suspended connection against ThreadsPerChild + AsyncRequestWorkerFactor * idle threads, for which there is no reason when no
 * thread serves it. It counts by a cleanup that it registers on c->pool as soon as create_connection has returned. So we give it a pool of its
 * own there (`tally`), put c->pool right in pre_connection, and end the tally's pool when the connection is ours: then it is not counted any
 * more. As many as there are threads stay counted, for the MPM ends its threads when fewer connections are left than threads, and requests may
 * yet need them. When a counted connection ends while others are there, its pool stays, without a socket, as an ANCHOR in its stead.
 * Should a future MPM count otherwise, connections are counted as long as they live, and nothing else changes.
 *
 * SETTLED: the MPM's thread still writes two fields of the connection after our suspend_connection hook has returned. It is through with that
 * when its scoreboard entry says that it is ready, or when it has come by one of our hooks again.
 */
#include "engine.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_ssl.h>
#include <http_vhost.h>
#include <mpm_common.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "gate_time.h"
#include "h2_negotiate.h"

#define PATIENCE_USEC INT64_C(1000000) /* a thread that is not seen again is taken to have moved on */
#define FILES_SPARE 128

/* An MPM thread that has given us connections; made once, never freed. */
typedef struct mpm_thread {
    _Atomic uint32_t turn;
    worker_score *_Atomic score;
} mpm_thread_t;

/* In the connection's config from create_connection on. */
typedef struct {
    apr_pool_t *pool;           /* what c->pool is to be */
    apr_pool_t *tally;          /* NULL: ended, or never made */
    client_t *client;           /* NULL: not ours */
    int tls;                    /* mod_ssl has put its filters */
    void *ssl;                  /* its SSL, see takeover_ssl() */
    int taken;                  /* we have asked for its suspension */
} life_t;

typedef struct anchor {
    struct anchor *next;
    apr_pool_t *pool;
} anchor_t;

static struct {
    apr_thread_mutex_t *lock;
    int counted, all, want;     /* LOCK: connections (and anchors) that the MPM counts, connections of ours; how many are to be counted */
    int most;                   /* as many files may be open: above that all are counted, so that the MPM stops accepting */
    anchor_t *anchors;          /* LOCK */
} tally;

static __thread int creating;
static __thread mpm_thread_t *this_thread;

static life_t *life_of(const conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &gate_engine_module);
}

client_t *takeover_client(const conn_rec *c)
{
    life_t *life = life_of(c);

    return life ? life->client : NULL;
}

int takeover_is_tls(const conn_rec *c)
{
    const life_t *life = life_of(c);

    return life && life->tls;
}

void takeover_note_ssl(conn_rec *c, void *ssl)
{
    life_t *life = life_of(c);

    if (life) {
        life->ssl = ssl;
    }
}

void *takeover_ssl(const conn_rec *c)
{
    const life_t *life = life_of(c);

    return life && life->tls && ap_ssl_conn_is_ssl((conn_rec *)c) ? life->ssl : NULL;
}

/* ---- before anything is known of it ----------------------------------------------------------------------------------------- */

static conn_rec *create_connection(apr_pool_t *p, server_rec *s, apr_socket_t *socket, long id, void *sbh, apr_bucket_alloc_t *alloc)
{
    conn_rec *c;
    life_t *life;

    if (creating || !sbh || engine_loops_running() == 0) { /* without sbh: to a member, not from a client */
        return NULL;
    }
    creating = 1;
    c = ap_run_create_connection(p, s, socket, id, sbh, alloc);
    creating = 0;
    if (!c || c->pool != p) {
        return c;
    }
    life = apr_pcalloc(p, sizeof *life);
    life->pool = p;
    if (apr_pool_create(&life->tally, p) == APR_SUCCESS) {
        apr_pool_tag(life->tally, "gate_tally");
        c->pool = life->tally;
    }
    ap_set_module_config(c->conn_config, &gate_engine_module, life);
    return c;
}

static int pre_connection_first(conn_rec *c, void *socket)
{
    life_t *life = c->master ? NULL : life_of(c);

    (void)socket;
    if (life && life->tally && c->pool == life->tally) {
        c->pool = life->pool;
    }
    return DECLINED;
}

static int pre_connection_last(conn_rec *c, void *socket)
{
    life_t *life = c->master ? NULL : life_of(c);

    (void)socket;
    if (life) {
        for (const ap_filter_t *f = c->input_filters; f; f = f->next) {
            life->tls |= strcasecmp(f->frec->name, "ssl/tls filter") == 0;
        }
    }
    return DECLINED;
}

/* ---- from the MPM ----------------------------------------------------------------------------------------------------------- */

static int is_on(void *unused, conn_rec *c, server_rec *s)
{
    (void)unused, (void)c;
    return engine_server_of(s)->on == 1;
}

/*
 * The MPM's listener may have ended for good when a connection that it accepted last comes by here: it counts none before a worker has it.
 * Nobody then waits for a connection that no thread serves, so none is taken.
 */
static int is_for_us(conn_rec *c)
{
    if (engine_is_ending()) {
        return 0;
    }
    if (h2_negotiated(c)) {
        return 1;
    }
    if (strcmp(ap_get_protocol(c), AP_PROTOCOL_HTTP1) != 0) {
        return 0;
    }
    return engine_server_of(c->base_server)->on == 1 || ap_vhost_iterate_given_conn(c, is_on, NULL) != 0;
}

static int process_connection(conn_rec *c)
{
    life_t *life = c->master ? NULL : life_of(c);

    if (life && life->client) {
        return DECLINED; /* a worker runs a request that was handed over */
    }
    if (!life || c->master || !c->cs || !c->sbh || c->aborted || c->clogging_input_filters || c->keepalives > 0 || engine_loops_running() == 0) {
        return DECLINED;
    }
    if (life->tls && !ap_ssl_conn_is_ssl(c)) {
        return DECLINED; /* the handshake failed, or somebody spoke HTTP: mod_ssl has an answer */
    }
    if (is_for_us(c)) {
        life->taken = 1;
        c->cs->state = CONN_STATE_SUSPENDED;
        return OK;
    }
    if (h2_negotiated(c)) {
        h2_turn_away(c);
        c->cs->state = CONN_STATE_LINGER;
        return OK;
    }
    return DECLINED;
}

static mpm_thread_t *note_thread(ap_sb_handle_t *sbh)
{
    if (!this_thread) {
        this_thread = calloc(1, sizeof *this_thread);
    }
    if (this_thread) {
        atomic_store_explicit(&this_thread->score, ap_get_scoreboard_worker(sbh), memory_order_relaxed);
        atomic_fetch_add_explicit(&this_thread->turn, 1, memory_order_release);
    }
    return this_thread;
}

static void suspend_connection(conn_rec *c, request_rec *r)
{
    life_t *life = c->master ? NULL : life_of(c);
    engine_loop_t *el;
    client_t *w;

    (void)r;
    if (!life || !life->taken || life->client) {
        return;
    }
    el = engine_loop_pick();
    w = apr_pcalloc(c->pool, sizeof *w);
    w->pub.loop = el->loop;
    w->pub.c = c;
    w->sbh = c->sbh;
    ap_update_child_status_from_conn(c->sbh, SERVER_BUSY_READ, c); /* not ready, until the MPM says so */
    w->mpm = note_thread(c->sbh);
    w->mpm_turn = w->mpm ? atomic_load_explicit(&w->mpm->turn, memory_order_relaxed) : 0;
    w->mpm_since_usec = gate_mono_usec();
    life->client = w;
    handover_filter(w);
    w->job.run = client_begin;
    loop_post(el->loop, &w->job);
}

static int is_through(const client_t *w)
{
    if (atomic_load_explicit(&w->mpm->turn, memory_order_acquire) != w->mpm_turn) {
        return 1;
    }
    if (__atomic_load_n(&atomic_load_explicit(&w->mpm->score, memory_order_relaxed)->status, __ATOMIC_ACQUIRE) == SERVER_READY) {
        return 1;
    }
    return gate_mono_usec() - w->mpm_since_usec > PATIENCE_USEC;
}

/* Once and for all: the thread may be busy again later, with somebody else's requests. */
int takeover_settled(client_t *w)
{
    if (w->mpm && is_through(w)) {
        w->mpm = NULL;
    }
    return !w->mpm;
}

/* ---- what the MPM counts ------------------------------------------------------------------------------------------------------ */

static void end_tally(client_t *w)
{
    life_t *life = life_of(w->pub.c);
    apr_pool_t *pool = life->tally;

    life->tally = NULL;
    if (pool) {
        w->pub.c->cs->state = CONN_STATE_SUSPENDED; /* as what it is counted */
        apr_pool_destroy(pool);
    }
}

void takeover_uncount(client_t *w)
{
    anchor_t *loose = NULL;
    int counted;

    apr_thread_mutex_lock(tally.lock);
    tally.all++;
    counted = !life_of(w->pub.c)->tally || tally.counted < tally.want || tally.all > tally.most;
    if (!counted && tally.anchors) { /* one that lives, in place of one that has ended */
        loose = tally.anchors;
        tally.anchors = loose->next;
        counted = 1;
    } else if (counted) {
        tally.counted++;
    }
    w->counted = (uint8_t)counted;
    apr_thread_mutex_unlock(tally.lock);
    if (loose) {
        apr_pool_destroy(loose->pool);
    }
    if (!counted) {
        end_tally(w);
    }
}

/* With the lock held. @return an anchor that nobody needs any more */
static anchor_t *spare_anchor_locked(void)
{
    anchor_t *spare = NULL;

    if (tally.anchors && tally.all < tally.counted) {
        spare = tally.anchors;
        tally.anchors = spare->next;
        tally.counted--;
    }
    return spare;
}

void takeover_destroy(client_t *w)
{
    conn_rec *c = w->pub.c;
    apr_pool_t *pool = c->pool;
    apr_socket_t *socket = ap_get_conn_socket(c);
    anchor_t *anchor = NULL, *spare;

    c->cs->state = CONN_STATE_SUSPENDED;
    c->sbh = NULL;
    if (w->counted && life_of(c)->tally) {
        anchor = apr_palloc(pool, sizeof *anchor);
        anchor->pool = pool;
    }
    life_of(c)->client = NULL;
    life_of(c)->taken = 0;
    apr_socket_close(socket);
    apr_thread_mutex_lock(tally.lock);
    tally.all--;
    if (w->counted) {
        if (anchor && tally.all >= tally.counted) {
            anchor->next = tally.anchors;
            tally.anchors = anchor;
            pool = NULL;
        } else {
            tally.counted--;
        }
    }
    spare = spare_anchor_locked();
    apr_thread_mutex_unlock(tally.lock);
    if (pool) {
        apr_pool_destroy(pool);
    }
    if (spare) {
        apr_pool_destroy(spare->pool);
    }
}

void takeover_child(apr_pool_t *pchild, int threads)
{
    struct rlimit files;

    memset(&tally, 0, sizeof tally);
    apr_thread_mutex_create(&tally.lock, APR_THREAD_MUTEX_DEFAULT, pchild);
    tally.want = threads;
    tally.most = 1 << 30;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
        /* each may need a connection to a member as well */
        tally.most = files.rlim_cur > 4 * FILES_SPARE ? (int)(files.rlim_cur - FILES_SPARE) / 2 : (int)files.rlim_cur / 4;
    }
}

void takeover_register(apr_pool_t *p)
{
    static const char *const ssl[] = { "mod_ssl.c", NULL };
    static const char *const http2[] = { "mod_http2.c", NULL }; /* a thread of its own waits for the first bytes where h2c is allowed */

    (void)p;
    ap_hook_create_connection(create_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_connection(pre_connection_first, NULL, NULL, APR_HOOK_REALLY_FIRST - 1);
    ap_hook_pre_connection(pre_connection_last, ssl, NULL, APR_HOOK_LAST);
    ap_hook_process_connection(process_connection, ssl, http2, APR_HOOK_LAST);
    ap_hook_suspend_connection(suspend_connection, NULL, NULL, APR_HOOK_REALLY_LAST);
}
