/* upkeep.c - see gate_upkeep.h. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "gate_time.h"
#include "gate_upkeep.h"

#define NAP_USEC INT64_C(50000)

static struct {
    gate_upkeep_fn fn;
    void *ctx;
    int64_t every_usec, next_usec;
} jobs[GATE_UPKEEP_JOBS];
static int job_count;

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t thread;
    int ending;
} upkeep = { .mutex = PTHREAD_MUTEX_INITIALIZER };

int gate_upkeep_add(int64_t every_usec, gate_upkeep_fn fn, void *ctx)
{
    if (job_count == GATE_UPKEEP_JOBS) {
        return -1;
    }
    jobs[job_count].fn = fn;
    jobs[job_count].ctx = ctx;
    jobs[job_count].every_usec = every_usec > NAP_USEC ? every_usec : NAP_USEC;
    jobs[job_count].next_usec = 0;
    job_count++;
    return 0;
}

void gate_upkeep_clear(void)
{
    job_count = 0;
}

/* Waits until something is due or the child ends. Returns non-zero when it ends. */
static int nap(int64_t until_usec)
{
    struct timespec until = { .tv_sec = until_usec / 1000000, .tv_nsec = until_usec % 1000000 * 1000 };
    int ending, rc = 0;

    pthread_mutex_lock(&upkeep.mutex);
    while (!upkeep.ending && rc == 0) {
        rc = pthread_cond_timedwait(&upkeep.wake, &upkeep.mutex, &until);
    }
    ending = upkeep.ending;
    pthread_mutex_unlock(&upkeep.mutex);
    return ending;
}

static void *run(void *unused)
{
    int64_t due;

    (void)unused;
    do {
        int64_t now = gate_mono_usec();

        due = now + 1000000;
        for (int i = 0; i < job_count; i++) {
            if (jobs[i].next_usec <= now) {
                jobs[i].fn(now, 0, jobs[i].ctx);
                jobs[i].next_usec = now + jobs[i].every_usec;
            }
            due = jobs[i].next_usec < due ? jobs[i].next_usec : due;
        }
    } while (!nap(due));
    for (int i = 0; i < job_count; i++) {
        jobs[i].fn(gate_mono_usec(), 1, jobs[i].ctx);
    }
    return NULL;
}

static apr_status_t stop(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&upkeep.mutex);
    upkeep.ending = 1;
    pthread_cond_signal(&upkeep.wake);
    pthread_mutex_unlock(&upkeep.mutex);
    pthread_join(upkeep.thread, NULL);
    return APR_SUCCESS;
}

apr_status_t gate_upkeep_start(apr_pool_t *pchild)
{
    pthread_condattr_t attr;
    sigset_t all, before;
    int rc;

    if (job_count == 0) {
        return APR_SUCCESS;
    }
    upkeep.ending = 0;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&upkeep.wake, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all); /* signals are the MPM's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&upkeep.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        apr_pool_pre_cleanup_register(pchild, &upkeep, stop);
    }
    return rc;
}
