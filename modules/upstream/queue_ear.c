/*
 * queue_ear.c - the engine's loops are woken when it is the turn of an errand that waits on one: here is the thread that hears what other
 * processes call (queue.h). One a child, and only where there are loops and queues.
 */
#include <pthread.h>
#include <signal.h>

#include "upstream.h"

static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    _Atomic int stop;
    int runs;
} ear = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void *run(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "gate-queue");
    queue_bell_listen(upstream_queue, gate_core()->seat, &ear.stop);
    return NULL;
}

static apr_status_t stop(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&ear.mutex);
    atomic_store(&ear.stop, 1);
    if (ear.runs) {
        queue_bell_stop(upstream_queue, gate_core()->seat);
        pthread_join(ear.thread, NULL);
        ear.runs = 0;
    }
    pthread_mutex_unlock(&ear.mutex);
    return APR_SUCCESS;
}

void upstream_queue_child(apr_pool_t *pchild)
{
    atomic_store(&ear.stop, 0);
    apr_pool_pre_cleanup_register(pchild, &ear, stop);
}

static void start_locked(void)
{
    sigset_t all, before;

    sigfillset(&all); /* signals are the MPM's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ear.runs = pthread_create(&ear.thread, NULL, run, NULL) == 0; /* without it those who wait look now and then */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void upstream_queue_hear(int loop, void (*wake)(void *ctx), void *ctx)
{
    if (!queue_hear(upstream_queue, gate_core()->seat, loop, wake, ctx)) {
        return;
    }
    pthread_mutex_lock(&ear.mutex);
    if (!ear.runs && !atomic_load(&ear.stop)) {
        start_locked();
    }
    pthread_mutex_unlock(&ear.mutex);
}

void upstream_queue_heard(int loop, void (*called)(void *owner))
{
    queue_heard(upstream_queue, loop, called);
}

void upstream_queue_hear_end(int loop)
{
    queue_hear_end(upstream_queue, loop);
}
