/*
 * loops.c - the loops of a child: begin, choice for a new connection, drain, end.
 */
#include "engine.h"

#include <ap_mpm.h>
#include <apr_allocator.h>
#include <apr_thread_proc.h>
#include <http_core.h>
#include <mpm_common.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

static engine_loop_t loops[ENGINE_LOOPS_MAX];
static int count;
static atomic_int draining;

int engine_is_draining(void)
{
    return atomic_load_explicit(&draining, memory_order_relaxed);
}

int engine_is_ending(void)
{
    int state = AP_MPMQ_RUNNING;

    return engine_is_draining() || (ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING);
}

/* A pool that nobody else's end takes along: threads that are still about when a process exits find it as it was. */
static apr_pool_t *own_pool(void)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;

    if (apr_allocator_create(&allocator) != APR_SUCCESS) {
        return NULL;
    }
    if (apr_pool_create_unmanaged_ex(&pool, NULL, allocator) != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, pool);
    if (ap_max_mem_free != APR_ALLOCATOR_MAX_FREE_UNLIMITED) {
        apr_allocator_max_free_set(allocator, ap_max_mem_free);
    }
    apr_pool_tag(pool, "gate_loop");
    return pool;
}

static void *APR_THREAD_FUNC run_loop(apr_thread_t *thread, void *el_)
{
    engine_loop_t *el = el_;
    char name[16];

    snprintf(name, sizeof name, "gate-loop-%d", loop_index(el->loop));
    pthread_setname_np(pthread_self(), name);
    engine_parts_begin(el->loop);
    loop_run(el->loop, NULL, NULL);
    engine_parts_end(el->loop);
    apr_thread_exit(thread, APR_SUCCESS);
    return NULL;
}

static void drain_loop(loop_job_t *job)
{
    engine_loop_t *el = (engine_loop_t *)((char *)job - offsetof(engine_loop_t, drain));
    client_t *w, *next;

    el->draining = 1;
    engine_parts_drain(el->loop);
    for (w = el->first; w; w = next) {
        next = w->next; /* nobody ends here: that is deferred */
        client_drain(w);
    }
}

void engine_loops_drain(void)
{
    if (!atomic_exchange(&draining, 1)) {
        for (int i = 0; i < count; i++) {
            loop_post(loops[i].loop, &loops[i].drain);
        }
    }
}

void engine_loops_stop(void)
{
    apr_status_t rv;

    atomic_store(&draining, 1);
    for (int i = 0; i < count; i++) {
        loop_stop(loops[i].loop);
    }
    for (int i = 0; i < count; i++) {
        if (loops[i].thread) {
            apr_thread_join(&rv, loops[i].thread);
            loops[i].thread = NULL;
        }
    }
}

static apr_status_t stop_cleanup(void *unused)
{
    (void)unused;
    engine_loops_stop();
    return APR_SUCCESS;
}

static apr_status_t start_one(engine_loop_t *el, int index, apr_pool_t *pchild)
{
    apr_threadattr_t *attr;
    apr_status_t rv;

    memset(el, 0, sizeof *el);
    el->pool = own_pool();
    if (!el->pool || !(el->loop = loop_create(el->pool, index))) {
        return el->pool ? apr_get_os_error() : APR_ENOMEM;
    }
    *loop_slot(el->loop, LOOP_SLOT_CLIENTS) = el;
    el->row = engine_row(index);
    el->drain.run = drain_loop;
    rv = apr_threadattr_create(&attr, pchild);
    if (rv == APR_SUCCESS && ap_thread_stacksize != 0) {
        rv = apr_threadattr_stacksize_set(attr, ap_thread_stacksize);
    }
    return rv != APR_SUCCESS ? rv : ap_thread_create(&el->thread, attr, run_loop, el, el->pool);
}

/*
 * zlib and brotli take some 300 KB for each answer that a filter compresses, and give them back at its end. The C library then hands the pages
 * to the kernel and gets them anew for the next answer, a page fault each: three times what it costs to compress 1 KB. What it keeps at
 * the end of a heap goes by the largest piece that was ever mapped by itself and freed (mallopt(3), M_MMAP_THRESHOLD; not where the
 * administrator has set it), so one such piece is shown to it.
 */
#define HEAP_PIECE_BYTES (1u << 20)

static void keep_heaps(void)
{
    char *volatile piece = malloc(HEAP_PIECE_BYTES);

    free(piece);
}

apr_status_t engine_loops_start(apr_pool_t *pchild, server_rec *s)
{
    int wanted = engine_loops_wanted();

    keep_heaps();
    count = 0;
    atomic_store(&draining, 0);
    apr_pool_pre_cleanup_register(pchild, NULL, stop_cleanup);
    while (count < wanted) {
        apr_status_t rv = start_one(&loops[count], count, pchild);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, GATE_LOGNO(1403) "GateEngine: loop %d of %d cannot be started", count + 1, wanted);
            return count > 0 ? APR_SUCCESS : rv;
        }
        count++;
    }
    return APR_SUCCESS;
}

/* The one with the fewest connections. NULL: there is none. */
engine_loop_t *engine_loop_pick(void)
{
    engine_loop_t *best = NULL;
    int least = 0;

    for (int i = 0; i < count; i++) {
        int load = atomic_load_explicit(&loops[i].load, memory_order_relaxed);

        if (!best || load < least) {
            best = &loops[i];
            least = load;
        }
    }
    if (best) {
        atomic_fetch_add_explicit(&best->load, 1, memory_order_relaxed);
    }
    return best;
}

int engine_loops_running(void)
{
    return count;
}
