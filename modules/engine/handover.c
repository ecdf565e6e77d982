/*
 * handover.c - requests that run in httpd's own code: a queue that the MPM's worker threads empty, and what a worker does with a connection.
 *
 * A RUNNER is a worker thread that the MPM lends us through a timed callback. It takes connections from the queue until there are none, waits
 * for a moment whether another comes (that spares the way through the MPM's listener), and goes back. The MPM takes a thread in a timed
 * callback for an idle one; so there are always some left to it, for connections that it accepts meanwhile.
 */
#include "engine.h"

#include <apr_portable.h>
#include <ap_mpm.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate_time.h"

#define LINGER_USEC 2000        /* a runner waits so long for more */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    client_t *first, **end;     /* LOCK */
    int waiting, runners, parked, most; /* LOCK */
    client_t **busy;            /* LOCK: what each runner has in hand */
    int cut;                    /* LOCK */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER };

typedef struct {
    int child, thread;          /* in the scoreboard; -1: not found */
    long id;
} worker_t;

/* ---- as the MPM's worker ------------------------------------------------------------------------------------------------------ */

static const worker_t *this_worker(void)
{
    static __thread worker_t worker;
    static __thread int known;
    int daemons = 0, threads = 0;
    pid_t pid = getpid();

    if (known) {
        return &worker;
    }
    known = 1;
    worker.child = worker.thread = -1;
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &daemons);
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_THREADS, &threads);
    for (int i = 0; i < daemons; i++) {
        for (int j = 0; j < threads; j++) {
            const worker_score *score = &ap_scoreboard_image->servers[i][j];

            if (score->pid == pid && apr_os_thread_equal(score->tid, apr_os_thread_current())) {
                worker = (worker_t){ .child = i, .thread = j, .id = (long)i * threads + j };
                return &worker;
            }
        }
    }
    return &worker;
}

/* The last filter is core's; asked for nothing it writes what it has, without waiting. */
static apr_status_t write_more(conn_rec *c)
{
    ap_filter_t *f = c->output_filters;

    while (f->next) {
        f = f->next;
    }
    return f->frec->filter_func.out_func(f, NULL);
}

static back_e start_close(conn_rec *c)
{
    apr_socket_timeout_set(ap_get_conn_socket(c), apr_time_from_sec(2)); /* as the MPM does: for what is still to be flushed */
    c->cs->state = CONN_STATE_LINGER;
    return ap_start_lingering_close(c) ? BACK_GONE : BACK_LINGER;
}

static int is_elsewhere(conn_rec *c)
{
    return strcmp(ap_get_protocol(c), AP_PROTOCOL_HTTP1) != 0;
}

/* As the MPM goes on from CONN_STATE_WRITE_COMPLETION. *again: there is more to process at once */
static back_e complete(conn_rec *c, int *again)
{
    *again = 0;
    ap_update_child_status(c->sbh, SERVER_BUSY_WRITE, NULL);
    if (write_more(c) != APR_SUCCESS) {
        return start_close(c);
    }
    if (c->data_in_output_filters) {
        return BACK_WRITE;
    }
    if (c->cs->sense == CONN_SENSE_WANT_READ) {
        return BACK_WAIT_READ;
    }
    if (c->keepalive != AP_CONN_KEEPALIVE || c->aborted) {
        return start_close(c);
    }
    if (!is_elsewhere(c)) {
        return BACK_KEEP;
    }
    *again = c->data_in_input_filters;
    return BACK_WAIT_READ;
}

/* As the MPM's process_socket(): what the hooks leave the connection in. */
static back_e process(conn_rec *c, int *again)
{
    int rc, state;

    *again = 0;
    c->cs->state = CONN_STATE_PROCESSING;
    c->cs->sense = CONN_SENSE_DEFAULT;
    rc = ap_run_process_connection(c);
    state = c->cs->state;
    if ((rc != OK && rc != DONE) || c->aborted) {
        return start_close(c);
    }
    switch (state) {
    case CONN_STATE_KEEPALIVE:
    case CONN_STATE_WRITE_COMPLETION:
        return complete(c, again);
    case CONN_STATE_ASYNC_WAITIO:
        return c->cs->sense == CONN_SENSE_WANT_WRITE ? BACK_WAIT_WRITE : BACK_WAIT_READ;
    case CONN_STATE_SUSPENDED:
        return BACK_LOST;
    default:
        return start_close(c);
    }
}

static void run(client_t *w)
{
    conn_rec *c = w->pub.c;
    const worker_t *worker = this_worker();
    int again = w->handover.errand == ERRAND_PROCESS;
    back_e back;

    if (worker->child >= 0) {
        ap_update_sb_handle(w->sbh, worker->child, worker->thread);
        c->id = worker->id;
    }
    c->sbh = w->sbh;
    c->current_thread = ap_thread_current();
    back = again ? BACK_KEEP : complete(c, &again);
    while (again) {
        back = process(c, &again);
    }
    c->current_thread = NULL;
    c->sbh = NULL;
    w->handover.back = back;
}

/* ---- the queue ---------------------------------------------------------------------------------------------------------------- */

static client_t *take_locked(void)
{
    client_t *w = queue.first;

    if (w) {
        queue.first = w->queue_next;
        if (!queue.first) {
            queue.end = &queue.first;
        }
        queue.waiting--;
    }
    return w;
}

static int wait_locked(void)
{
    struct timespec until;
    int rc;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LINGER_USEC * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    queue.parked++;
    rc = pthread_cond_timedwait(&queue.more, &queue.lock, &until);
    queue.parked--;
    return rc == 0;
}

static int free_place_locked(void)
{
    int i = 0;

    while (queue.busy[i]) {
        i++;
    }
    return i;
}

static void runner(void *unused)
{
    client_t *w;

    (void)unused;
    pthread_mutex_lock(&queue.lock);
    do {
        while (!queue.cut && (w = take_locked()) != NULL) { /* the loops go too: who still waits ends with the process */
            int place = free_place_locked();

            queue.busy[place] = w;
            pthread_mutex_unlock(&queue.lock);
            run(w);
            pthread_mutex_lock(&queue.lock);
            queue.busy[place] = NULL;
            if (w->handover.back != BACK_LOST) {
                loop_post(w->pub.loop, &w->job); /* with the lock: handover_cut() may be looking at it */
            }
        }
    } while (!engine_is_draining() && (wait_locked() || queue.first));
    queue.runners--;
    pthread_mutex_unlock(&queue.lock);
}

void handover_post(client_t *w)
{
    int start = 0;

    pthread_mutex_lock(&queue.lock);
    w->queue_next = NULL;
    *queue.end = w;
    queue.end = &w->queue_next;
    queue.waiting++;
    if (queue.parked >= queue.waiting) {
        pthread_cond_signal(&queue.more);
    } else if (queue.runners < queue.most) {
        queue.runners++;
        start = 1;
    }
    pthread_mutex_unlock(&queue.lock);
    if (start && ap_mpm_register_timed_callback(HANDOVER_AT_ONCE_USEC, runner, NULL) != APR_SUCCESS) {
        pthread_mutex_lock(&queue.lock);
        queue.runners--; /* those that run take it */
        pthread_mutex_unlock(&queue.lock);
    }
}

void handover_cut(void)
{
    pthread_mutex_lock(&queue.lock);
    queue.cut = 1;
    for (int i = 0; queue.busy && i < queue.most; i++) {
        if (queue.busy[i]) {
            shutdown(queue.busy[i]->watch.fd, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&queue.lock);
}

int handover_waiting(void)
{
    int waiting;

    pthread_mutex_lock(&queue.lock);
    waiting = queue.waiting;
    pthread_mutex_unlock(&queue.lock);
    return waiting;
}

void handover_child(apr_pool_t *pchild, int threads)
{
    pthread_condattr_t monotonic;
    int spare = threads / 8 > 0 ? threads / 8 : 1;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue.more, &monotonic);
    pthread_condattr_destroy(&monotonic);
    queue.first = NULL;
    queue.end = &queue.first;
    queue.waiting = queue.runners = queue.parked = queue.cut = 0;
    queue.most = threads > spare ? threads - spare : 1;
    queue.busy = apr_pcalloc(pchild, (apr_size_t)queue.most * sizeof *queue.busy);
}
