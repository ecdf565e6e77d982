/*
 * cache_worker.c - what is done behind the clients' backs, by a few threads of each child: stale answers fetched anew, codings made.
 * THREADS  FETCHERS fetch, one makes codings (nice 19); they begin in child_init and end with the child. Queues are short: what
 *          does not fit is left, the next request will ask again.
 * SINGLE   over all children: a refresh is a flight (fill.h), which ends with its child; a coding is claimed in the object's head until a
 *          moment of the monotonic clock, which runs out by itself when its owner dies.
 * POOLS    each job has a pool of its own, with its own allocator, and destroys it in the thread that did it.
 */
#include "cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <http_connection.h>
#include <util_filter.h>

#include "compress.h"

APLOG_USE_MODULE(gate_cache);

#define FETCHERS 4
#define QUEUE 64
#define COMPRESS_CLAIM_USEC (INT64_C(300) * 1000000)
#define END_WAIT_USEC (INT64_C(2) * 1000000) /* httpd, told to stop, warns of children after three */

typedef struct job job_t;
struct job {
    apr_pool_t *pool;
    void (*run)(job_t *job, apr_thread_t *thread);
    /* refresh */
    request_rec *r;
    cache_request_t *c;
    const char *handler, *filename, *path_info, *args;
    int proxyreq;
    /* variants */
    uint64_t hash;
    gate_ref_t head;
    cache_compress_t compress;
};

typedef struct {
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *more, *done;
    job_t *jobs[QUEUE];
    int first, count, threads, running;
} crew_t;

static crew_t fetchers, codings;
static _Atomic int stopping;
static ap_filter_rec_t *sink_filter, *dry_filter;
static server_rec *main_server;

/* ---- crews -------------------------------------------------------------------------------------------------------------- */

static int hand_over(crew_t *crew, job_t *job)
{
    int taken = 0;

    if (!crew->mutex || atomic_load(&stopping)) {
        return 0;
    }
    apr_thread_mutex_lock(crew->mutex);
    if (crew->count < QUEUE && crew->threads) {
        crew->jobs[(crew->first + crew->count++) % QUEUE] = job;
        apr_thread_cond_signal(crew->more);
        taken = 1;
    }
    apr_thread_mutex_unlock(crew->mutex);
    return taken;
}

static job_t *next_job(crew_t *crew)
{
    job_t *job = NULL;

    apr_thread_mutex_lock(crew->mutex);
    while (!crew->count && !atomic_load(&stopping)) {
        apr_thread_cond_wait(crew->more, crew->mutex);
    }
    if (crew->count && !atomic_load(&stopping)) {
        job = crew->jobs[crew->first];
        crew->first = (crew->first + 1) % QUEUE;
        crew->count--;
    }
    apr_thread_mutex_unlock(crew->mutex);
    return job;
}

static void *APR_THREAD_FUNC worker(apr_thread_t *thread, void *arg)
{
    crew_t *crew = arg;
    job_t *job;

    if (crew == &codings) {
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    }
    while ((job = next_job(crew)) != NULL) {
        job->run(job, thread);
        apr_pool_destroy(job->pool);
    }
    apr_thread_mutex_lock(crew->mutex);
    crew->running--;
    apr_thread_cond_signal(crew->done);
    apr_thread_mutex_unlock(crew->mutex);
    return NULL;
}

static void crew_start(crew_t *crew, apr_pool_t *p, int threads)
{
    memset(crew, 0, sizeof *crew);
    apr_thread_mutex_create(&crew->mutex, APR_THREAD_MUTEX_DEFAULT, p);
    apr_thread_cond_create(&crew->more, p);
    apr_thread_cond_create(&crew->done, p);
    for (int i = 0; i < threads; i++) {
        apr_threadattr_t *attr;
        apr_thread_t *thread;

        crew->running++;
        apr_threadattr_create(&attr, p);
        apr_threadattr_detach_set(attr, 1);
        if (ap_thread_create(&thread, attr, worker, crew, p) != APR_SUCCESS) {
            crew->running--;
            break;
        }
        crew->threads++;
    }
}

/* @return how many are still at work */
static int crew_end(crew_t *crew)
{
    int64_t until = gate_mono_usec() + END_WAIT_USEC;
    int left;

    apr_thread_mutex_lock(crew->mutex);
    apr_thread_cond_broadcast(crew->more);
    while (crew->running && gate_mono_usec() < until) {
        apr_thread_cond_timedwait(crew->done, crew->mutex, 100000);
    }
    while (crew->count) {
        apr_pool_destroy(crew->jobs[crew->first]->pool);
        crew->first = (crew->first + 1) % QUEUE;
        crew->count--;
    }
    left = crew->running;
    apr_thread_mutex_unlock(crew->mutex);
    return left;
}

static apr_status_t end_crews(void *unused)
{
    (void)unused;
    atomic_store(&stopping, 1);
    if (crew_end(&codings) + crew_end(&fetchers)) {
        /* a member does not answer: to take the child's memory away under that thread would be a crash */
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, main_server, GATE_LOGNO(0706)
                     "cache: a fetch in the background does not end: this child ends without it");
        _exit(0);
    }
    return APR_SUCCESS;
}

void cache_workers_start(apr_pool_t *pchild, server_rec *s)
{
    atomic_store(&stopping, 0);
    main_server = s;
    crew_start(&fetchers, pchild, FETCHERS);
    crew_start(&codings, pchild, 1);
    if (!fetchers.threads || !codings.threads) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, GATE_LOGNO(0704)
                     "cache: no threads for work in the background: stale answers are fetched anew by clients, codings are not made");
    }
    /* before the pool's own memory goes, and after the MPM's threads have ended */
    apr_pool_pre_cleanup_register(pchild, NULL, end_crews);
}

/* The child will end once its connections have: nothing new is begun, what runs may finish. */
void cache_workers_stopping(void)
{
    atomic_store(&stopping, 1);
    if (fetchers.mutex) {
        apr_thread_mutex_lock(fetchers.mutex);
        apr_thread_cond_broadcast(fetchers.more);
        apr_thread_mutex_unlock(fetchers.mutex);
        apr_thread_mutex_lock(codings.mutex);
        apr_thread_cond_broadcast(codings.more);
        apr_thread_mutex_unlock(codings.mutex);
    }
}

static job_t *job_make(void (*run)(job_t *job, apr_thread_t *thread))
{
    apr_pool_t *pool;
    job_t *job;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        return NULL;
    }
    job = apr_pcalloc(pool, sizeof *job);
    job->pool = pool;
    job->run = run;
    return job;
}

/* ---- a stale answer is fetched anew -------------------------------------------------------------------------------------------- */

/* The ends of a connection that nobody is at. */
static apr_status_t sink(ap_filter_t *f, apr_bucket_brigade *bb)
{
    (void)f;
    apr_brigade_cleanup(bb);
    return APR_SUCCESS;
}

static apr_status_t dry(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t bytes)
{
    (void)mode, (void)block, (void)bytes;
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
    return APR_SUCCESS;
}

void cache_workers_register(void)
{
    sink_filter = ap_register_output_filter("GATE_CACHE_SINK", sink, NULL, AP_FTYPE_NETWORK);
    dry_filter = ap_register_input_filter("GATE_CACHE_DRY", dry, NULL, AP_FTYPE_NETWORK);
}

static conn_rec *make_connection(apr_pool_t *p, const conn_rec *from)
{
    conn_rec *c = apr_pcalloc(p, sizeof *c);

    c->pool = p;
    c->base_server = from->base_server;
    c->vhost_lookup_data = from->vhost_lookup_data;
    c->conn_config = ap_create_conn_config(p);
    c->notes = apr_table_make(p, 4);
    c->bucket_alloc = apr_bucket_alloc_create(p);
    apr_sockaddr_info_copy(&c->local_addr, from->local_addr, p);
    apr_sockaddr_info_copy(&c->client_addr, from->client_addr, p);
    c->client_ip = apr_pstrdup(p, from->client_ip);
    c->local_ip = apr_pstrdup(p, from->local_ip);
    c->id = from->id;
    c->keepalive = AP_CONN_CLOSE;
    ap_add_output_filter_handle(sink_filter, NULL, NULL, c);
    ap_add_input_filter_handle(dry_filter, NULL, NULL, c);
    return c;
}

/* The request once more, as it was when the handlers were asked: access was checked for the one whose need it is. */
static request_rec *make_request(conn_rec *c, const request_rec *from)
{
    request_rec *r = ap_create_request(c);
    apr_pool_t *p = r->pool;

    r->server = from->server;
    r->per_dir_config = from->server->lookup_defaults;
    r->the_request = apr_pstrdup(p, from->the_request);
    r->protocol = apr_pstrdup(p, from->protocol);
    r->proto_num = from->proto_num;
    r->hostname = apr_pstrdup(p, from->hostname);
    r->request_time = apr_time_now();
    r->method = "GET";
    r->method_number = M_GET;
    r->headers_in = apr_table_clone(p, from->headers_in);
    r->subprocess_env = apr_table_clone(p, from->subprocess_env);
    r->notes = apr_table_clone(p, from->notes);
    r->unparsed_uri = apr_pstrdup(p, from->unparsed_uri);
    r->uri = apr_pstrdup(p, from->uri);
    apr_uri_parse(p, r->unparsed_uri, &r->parsed_uri);
    r->user = apr_pstrdup(p, from->user);
    r->ap_auth_type = apr_pstrdup(p, from->ap_auth_type);
    r->useragent_addr = c->client_addr;
    r->useragent_ip = apr_pstrdup(p, from->useragent_ip);
    if (from->useragent_addr) {
        apr_sockaddr_info_copy(&r->useragent_addr, from->useragent_addr, p);
    }
    return r;
}

/*
 * The sections that count for it are looked up anew, as those of the client's request die with that; what the other phases had
 * made of it (target, handler) is taken over.
 */
static int walk_sections(job_t *job)
{
    request_rec *r = job->r;
    int rc;

    r->filename = apr_pstrdup(r->pool, job->filename);
    r->proxyreq = job->proxyreq;
    rc = ap_location_walk(r);
    rc = rc == OK ? ap_run_map_to_storage(r) : rc;
    rc = rc == OK || rc == DECLINED ? ap_location_walk(r) : rc;
    rc = rc == OK ? ap_if_walk(r) : rc;
    r->handler = job->handler;
    r->filename = apr_pstrdup(r->pool, job->filename);
    r->path_info = apr_pstrdup(r->pool, job->path_info);
    r->args = apr_pstrdup(r->pool, job->args);
    r->proxyreq = job->proxyreq;
    return rc == OK;
}

static void refresh(job_t *job, apr_thread_t *thread)
{
    cache_request_t *c = job->c;
    int rc = OK;

    job->r->connection->current_thread = thread;
    if (!walk_sections(job)) {
        rc = HTTP_INTERNAL_SERVER_ERROR;
    }
    else if (gate_keep_begin_refresh(&c->keep, gate_mono_usec())) {
        rc = cache_fetch_now(job->r, c);
    }
    gate_keep_end_refresh(&c->keep, rc == OK, gate_mono_usec());
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, job->r->server, GATE_LOGNO(0711) "cache: %s was fetched anew in the background: %d",
                 c->keep.look.key.url, rc);
}

void cache_refresh(request_rec *r, cache_request_t *c)
{
    gate_seat_on_t flight;
    job_t *job;

    if (!gate_keep_claim_refresh(&c->keep, gate_mono_usec(), &flight)) {
        return;
    }
    if (!(job = job_make(refresh))) {
        gate_keep_unclaim_refresh(&c->keep, &flight);
        return;
    }
    job->r = make_request(make_connection(job->pool, r->connection), r);
    job->handler = apr_pstrdup(job->pool, r->handler);
    job->filename = apr_pstrdup(job->pool, r->filename);
    job->path_info = apr_pstrdup(job->pool, r->path_info);
    job->args = apr_pstrdup(job->pool, r->args);
    job->proxyreq = r->proxyreq;
    job->c = cache_request_make(job->r, apr_pmemdup(job->pool, c->conf, sizeof *c->conf));
    job->c->keep.background = 1;
    job->c->keep.flight = flight;
    job->c->keep.look.key = c->keep.look.key;
    job->c->keep.look.key.url = apr_pstrdup(job->pool, c->keep.look.key.url);
    job->c->keep.look.key.route = apr_pstrdup(job->pool, c->keep.look.key.route);
    job->c->keep.look.flight_hash = c->keep.look.flight_hash;
    job->c->keep.look.accept = c->keep.look.accept;
    gate_cc_parse(job->pool, NULL, &job->c->keep.look.asked);
    job->c->keep.fwd = "stale";
    if (!hand_over(&fetchers, job)) {
        gate_keep_unclaim_refresh(&c->keep, &flight);
        apr_pool_destroy(job->pool);
    }
}

/* ---- codings ----------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    gate_pin_t body;
} source_t;

static uint64_t piece(void *ctx, uint64_t offset, const void **data)
{
    return gate_store_piece(cache_store, ((source_t *)ctx)->body.ref, offset, data);
}

static int told_to_stop(void *ctx)
{
    (void)ctx;
    return atomic_load(&stopping);
}

/* Hangs the coding onto the object, whatever head that has by now. */
static gate_store_e hang(const job_t *job, gate_ref_t body, gate_coding_e coding, const void *data, size_t len)
{
    gate_store_e rc = GATE_STORE_GONE;

    for (int tries = 0; rc == GATE_STORE_GONE && tries < 3; tries++) {
        gate_ref_t head = gate_store_head_of(cache_store, job->hash, body);

        if (!head || gate_store_body(cache_store, head, coding)) {
            break;
        }
        rc = gate_store_add_body(cache_store, head, coding, data, len);
    }
    return rc;
}

static void make_coding(const job_t *job, gate_head_t *shared, source_t *from, gate_coding_e coding)
{
    gate_source_t source = { piece, from, gate_store_length(cache_store, from->body.ref), told_to_stop };
    int64_t until = atomic_load(&shared->compress_until[coding]), now = gate_mono_usec();
    unsigned char *data;
    size_t len;
    int useless;

    if (until > now
        || !atomic_compare_exchange_strong(&shared->compress_until[coding], &until, now + COMPRESS_CLAIM_USEC)) {
        return;
    }
    data = gate_compress(coding, job->compress.level[coding], &source, &len, &useless);
    if (data && hang(job, from->body.ref, coding, data, len) == GATE_STORE_OK) {
        cache_count(GATE_COUNT_compressed, 1);
        cache_count(GATE_COUNT_compress_in_bytes, source.length);
        cache_count(GATE_COUNT_compress_out_bytes, len);
    }
    if (useless) {
        cache_count(GATE_COUNT_compress_useless, 1);
    }
    atomic_store(&shared->compress_until[coding], useless ? INT64_MAX : 0);
    free(data);
}

static void make_codings(job_t *job, apr_thread_t *thread)
{
    static const gate_coding_e quick_first[] = { GATE_CODING_GZIP, GATE_CODING_BR };
    source_t from = { { 0 } };
    gate_pin_t head;
    const void *bytes;

    (void)thread;
    if (!gate_store_pin(cache_store, job->head, &head)) {
        return;
    }
    if (gate_store_piece(cache_store, job->head, 0, &bytes)
        && gate_store_pin(cache_store, gate_store_body(cache_store, job->head, GATE_CODING_IDENTITY), &from.body)) {
        for (size_t i = 0; i < 2; i++) {
            gate_coding_e coding = quick_first[i];

            if (job->compress.level[coding] != -2 && !gate_store_body(cache_store, job->head, coding)
                && !atomic_load(&stopping)) {
                make_coding(job, (gate_head_t *)(uintptr_t)bytes, &from, coding);
            }
        }
        gate_store_unpin(cache_store, &from.body);
    }
    gate_store_unpin(cache_store, &head);
}

/* Is there a coding to make that nobody makes? */
static int anything_to_make(const cache_compress_t *compress, gate_ref_t head, const gate_head_t *shared, int64_t now)
{
    for (int i = GATE_CODING_BR; i < GATE_CODINGS; i++) {
        if (compress->level[i] != -2 && !gate_store_body(cache_store, head, (gate_coding_e)i)
            && atomic_load(&shared->compress_until[i]) <= now) {
            return 1;
        }
    }
    return 0;
}

void cache_codings(const cache_compress_t *compress, uint64_t hash, gate_ref_t head)
{
    gate_pin_t pin;
    const void *bytes;
    job_t *job;
    int wanted;

    if (!compress || !compress->on || !gate_store_pin(cache_store, head, &pin)) {
        return;
    }
    wanted = gate_store_piece(cache_store, head, 0, &bytes) && anything_to_make(compress, head, bytes, gate_mono_usec());
    gate_store_unpin(cache_store, &pin);
    if (!wanted || !(job = job_make(make_codings))) {
        return;
    }
    job->hash = hash;
    job->head = head;
    job->compress = *compress;
    if (!hand_over(&codings, job)) {
        apr_pool_destroy(job->pool);
    }
}
