/*
 * workers.c - mod_proxy's idea of each member in this process: a proxy_worker with its pool of connections.
 * Made when a member is first used, kept with each roster that has it (a try holds its errand's), and by the table as long as a roster
 * of today has it: so a try finds it without a lock. mod_proxy's own error state never interferes:
 * workers without a balancer have PROXY_WORKER_IGNORE_ERRORS.
 * Pools:   each has a pool of its own (no parent, so any thread may end it), which the child's exit ends too.
 * Locking: one mutex for the table, reference counts and lanes; a worker is made under it, and found in its roster without.
 */
#include <arpa/inet.h>
#include <stdatomic.h>
#include <string.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "upstream.h"

#define ADDRESS_TTL_SEC 30 /* for host names: as long as mod_proxy may use an old address */

/* A pool of connections that some virtual hosts share. */
typedef struct pool_of {
    const server_rec *whose;  /* NULL: of all that have no other */
    proxy_worker *worker;
    struct pool_of *next;
} pool_of_t;

struct upstream_worker {
    uint32_t slot, incarnation, group;
    uint32_t references;      /* the table's own included */
    apr_pool_t *pool;
    const char *url, *prefix;
    int64_t connect_usec, timeout_usec;
    int named;                /* the host is a name, not an address */
    int upgrades;             /* WebSocket may pass */
    int tls;
    pool_of_t *_Atomic pools; /* grows at its head, under the mutex */
    upstream_lane_t *lanes;   /* not in use */
};

static struct {
    apr_pool_t *pchild;
    apr_thread_mutex_t *mutex;
    upstream_worker_t **at;   /* by slot */
    uint32_t count;
} table;

static void drop_locked(upstream_worker_t *w)
{
    if (--w->references == 0) {
        apr_pool_destroy(w->pool);
    }
}

static apr_status_t workers_end(void *unused)
{
    uint32_t i;

    (void)unused;
    for (i = 0; i < table.count; i++) {
        if (table.at[i]) {
            drop_locked(table.at[i]);
            table.at[i] = NULL;
        }
    }
    table.count = 0;
    return APR_SUCCESS;
}

void upstream_workers_init(apr_pool_t *pchild, uint32_t members)
{
    table.pchild = pchild;
    table.count = members;
    table.at = apr_pcalloc(pchild, members * sizeof(upstream_worker_t *));
    apr_thread_mutex_create(&table.mutex, APR_THREAD_MUTEX_DEFAULT, pchild);
    /* before mod_proxy's and the mutexes' own cleanups: connections end in good order */
    apr_pool_pre_cleanup_register(pchild, NULL, workers_end);
}

/* What mod_proxy is to do with it: our times, addresses looked up again now and then, WebSocket. */
static void settle(const upstream_worker_t *w, proxy_worker *worker)
{
    proxy_worker_shared *s = worker->s;

    s->conn_timeout = w->connect_usec;
    s->conn_timeout_set = 1;
    s->timeout = w->timeout_usec;
    s->timeout_set = 1;
    s->keepalive = 1;
    s->keepalive_set = 1;
    if (w->named) {
        s->address_ttl = ADDRESS_TTL_SEC;
        s->address_ttl_set = 1;
    }
    if (w->upgrades) {
        apr_cpystrn(s->upgrade, "websocket", sizeof s->upgrade);
    }
}

enum { FOR_ALL, FOR_ONE_TRY_AT_A_TIME, FOR_EACH_TRY_ANEW };

static proxy_worker *make_worker(const upstream_worker_t *w, server_rec *s, int use)
{
    proxy_worker *worker = NULL;
    const char *err = ap_proxy_define_worker_ex(w->pool, &worker, NULL, NULL, w->url, AP_PROXY_WORKER_IS_PREFIX);
    apr_status_t rv = APR_EGENERAL;

    if (!err) {
        settle(w, worker);
        if (use == FOR_ONE_TRY_AT_A_TIME) {
            worker->s->hmax = 1;
        }
        if (use == FOR_EACH_TRY_ANEW) {
            worker->s->disablereuse = worker->s->disablereuse_set = 1;
        }
        rv = ap_proxy_initialize_worker(worker, s, w->pool);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, GATE_LOGNO(0210)
                     "member %s: mod_proxy makes no worker for it (%s): the member is passed over", w->url,
                     err ? err : "not initialised");
        return NULL;
    }
    return worker;
}

/* A port that the scheme implies is left out: Host would name it. */
static const char *prefix_of(apr_pool_t *p, const gate_url_t *url)
{
    const char *host = strchr(url->host, ':') ? apr_psprintf(p, "[%s]", url->host) : url->host;
    int implied = !url->port_given || (url->port == 443 && strcmp(url->scheme, "https") == 0);

    if (implied && strstr("http https ws wss h2 h2c", url->scheme)) {
        return apr_psprintf(p, "%s://%s%s", url->scheme, host, url->path);
    }
    return url->port ? apr_psprintf(p, "%s://%s:%u%s", url->scheme, host, url->port, url->path)
                     : apr_psprintf(p, "%s://%s%s", url->scheme, host, url->path);
}

const char *upstream_worker_prefix(const upstream_worker_t *w)
{
    return w->prefix;
}

static upstream_worker_t *make(const gate_roster_member_t *member, const upstream_group_t *group)
{
    apr_pool_t *pool = NULL;
    upstream_worker_t *w;
    struct in6_addr address;
    int64_t first = group->first_byte_usec > 0 ? group->first_byte_usec : UPSTREAM_FIRST_BYTE_USEC;
    int64_t idle = group->idle_usec > 0 ? group->idle_usec : UPSTREAM_IDLE_USEC;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        return NULL;
    }
    apr_pool_tag(pool, "gate_upstream_worker");
    w = apr_pcalloc(pool, sizeof *w);
    w->pool = pool;
    w->slot = member->slot;
    w->incarnation = member->incarnation;
    w->group = group->index;
    w->references = 1;
    w->url = apr_pstrdup(pool, member->url);
    w->prefix = prefix_of(pool, &member->parts);
    w->connect_usec = group->connect_usec > 0 ? group->connect_usec : UPSTREAM_CONNECT_USEC;
    w->timeout_usec = first > idle ? first : idle;
    w->named = !member->parts.unix_path && inet_pton(AF_INET, member->parts.host, &address) != 1
               && inet_pton(AF_INET6, member->parts.host, &address) != 1;
    w->upgrades = strncmp(member->parts.scheme, "http", 4) == 0;
    w->tls = strcmp(member->parts.scheme, "https") == 0 || strcmp(member->parts.scheme, "wss") == 0
             || strcmp(member->parts.scheme, "h2") == 0;
    return w;
}

/* With a reference more. */
static upstream_worker_t *find_locked(const gate_roster_member_t *member, const upstream_group_t *group)
{
    upstream_worker_t *w = table.at[member->slot];

    if (w && w->incarnation > member->incarnation) {
        /* an exchange that began before the slot changed hands: a worker of its own, gone with its roster */
        return make(member, group);
    }
    if (!w || w->incarnation != member->incarnation) {
        upstream_worker_t *old = w;

        w = table.at[member->slot] = make(member, group);
        if (old) {
            drop_locked(old);
        }
    }
    if (w) {
        w->references++;
    }
    return w;
}

void upstream_worker_let_go(void *worker)
{
    apr_thread_mutex_lock(table.mutex);
    drop_locked(worker);
    apr_thread_mutex_unlock(table.mutex);
}

upstream_worker_t *upstream_worker_of(const gate_roster_t *roster, const gate_roster_member_t *member, const upstream_group_t *group)
{
    uint32_t index = (uint32_t)(member - roster->members);
    upstream_worker_t *w = gate_roster_kept(roster, index), *mine;

    if (w || member->slot >= table.count) {
        return w;
    }
    apr_thread_mutex_lock(table.mutex);
    mine = find_locked(member, group);
    w = mine ? gate_roster_keep(roster, index, mine) : NULL;
    if (mine && w != mine) {
        drop_locked(mine);
    }
    apr_thread_mutex_unlock(table.mutex);
    return w;
}

void upstream_workers_follow(const gate_roster_t *roster)
{
    uint32_t i;

    apr_thread_mutex_lock(table.mutex);
    for (i = 0; i < table.count; i++) {
        upstream_worker_t *w = table.at[i];

        if (w && w->group == roster->group && gate_roster_find(roster, w->slot, w->incarnation) < 0) {
            table.at[i] = NULL;
            drop_locked(w);
        }
    }
    apr_thread_mutex_unlock(table.mutex);
}

static proxy_worker *find_pool(const upstream_worker_t *w, const server_rec *whose)
{
    const pool_of_t *pool = atomic_load_explicit(&w->pools, memory_order_acquire);

    while (pool && pool->whose != whose) {
        pool = pool->next;
    }
    return pool ? pool->worker : NULL;
}

proxy_worker *upstream_worker_shared(upstream_worker_t *w, server_rec *s)
{
    const server_rec *whose = NULL;
    int anew = w->tls && upstream_member_tls(s, &whose);
    proxy_worker *worker = find_pool(w, whose);

    if (!worker) {
        apr_thread_mutex_lock(table.mutex);
        worker = find_pool(w, whose);
        if (!worker && (worker = make_worker(w, s, anew ? FOR_EACH_TRY_ANEW : FOR_ALL)) != NULL) {
            pool_of_t *pool = apr_palloc(w->pool, sizeof *pool);

            *pool = (pool_of_t){ .whose = whose, .worker = worker, .next = atomic_load(&w->pools) };
            atomic_store_explicit(&w->pools, pool, memory_order_release);
        }
        apr_thread_mutex_unlock(table.mutex);
    }
    return worker;
}

upstream_lane_t *upstream_lane_take(upstream_worker_t *w, server_rec *s)
{
    upstream_lane_t *lane;

    apr_thread_mutex_lock(table.mutex);
    lane = w->lanes;
    if (lane) {
        w->lanes = lane->next;
    }
    else {
        lane = apr_pcalloc(w->pool, sizeof *lane);
        lane->worker = make_worker(w, s, FOR_ONE_TRY_AT_A_TIME);
        if (!lane->worker) {
            lane = NULL;
        }
    }
    apr_thread_mutex_unlock(table.mutex);
    return lane;
}

void upstream_lane_give(upstream_worker_t *w, upstream_lane_t *lane)
{
    apr_thread_mutex_lock(table.mutex);
    lane->next = w->lanes;
    w->lanes = lane;
    apr_thread_mutex_unlock(table.mutex);
}
