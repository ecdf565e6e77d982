/*
 * exchange_queue.c - exchanges that wait in a group's queue on a loop: the loop is woken when the turn of one of them may have come.
 * The ear lives as long as the process: who calls may be late.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "exchange_inside.h"

typedef struct {
    loop_job_t job; /* first: it is the ear */
    loop_t *loop;
    atomic_int posted;
} ear_t;

static void called(void *owner)
{
    exchange_t *x = owner;

    if (x->state == EXCHANGE_QUEUE && x->errand) {
        exchange_try_look(x);
    }
}

static void hear(loop_job_t *job)
{
    ear_t *ear = (ear_t *)job;

    atomic_store(&ear->posted, 0); /* before the calls are read: a later one posts again */
    exchange_upstream->heard(loop_index(ear->loop), called);
}

static void wake(void *ctx)
{
    ear_t *ear = ctx;

    if (!atomic_exchange(&ear->posted, 1)) {
        loop_post(ear->loop, &ear->job);
    }
}

void exchange_queue_begin(loop_t *loop)
{
    ear_t *ear;

    if (!exchange_upstream || !exchange_upstream->hear || !(ear = calloc(1, sizeof *ear))) {
        return; /* those who wait then look now and then */
    }
    ear->job.run = hear;
    ear->loop = loop;
    *loop_slot(loop, LOOP_SLOT_QUEUE) = ear;
    exchange_upstream->hear(loop_index(loop), wake, ear);
}

void exchange_queue_end(loop_t *loop)
{
    if (*loop_slot(loop, LOOP_SLOT_QUEUE)) {
        exchange_upstream->hear_end(loop_index(loop));
    }
}
