/*
 * queue_bell.c - how who holds a place is woken. A thread sleeps on its place's word. A loop sleeps elsewhere, with many that wait: its
 * bell is a ring of calls in shared memory, and who rings it wakes the loop itself if it is of the same process, else a thread of the
 * loop's process that does (queue_bell_listen()).
 * CRASH  a ringer that dies between its two stores leaves a call that does not name its number: the loop then asks all of its places
 *        whether they were called, as it does when more calls came than the ring holds. One that dies before that has called nobody: who
 *        is in front looks by itself after a tick.
 */
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "queue_layout.h"

static void futex_wake(_Atomic uint32_t *word, int how_many)
{
    syscall(SYS_futex, word, FUTEX_WAKE, how_many, NULL, NULL, 0);
}

static void wake_process(porch_t *porch, uint32_t loop)
{
    atomic_fetch_or(&porch->loops, 1u << loop);
    atomic_fetch_add(&porch->word, 1);
    if (atomic_load(&porch->asleep)) {
        futex_wake(&porch->word, 1);
    }
}

static void wake_loop(ear_t *ear)
{
    void (*wake)(void *ctx) = atomic_load(&ear->wake);

    if (wake) {
        wake(ear->ctx);
    }
}

static void ring(queue_t *q, uint32_t seat, uint32_t loop, uint64_t at)
{
    bell_t *bell = &q->porch[seat].bell[loop];
    uint64_t number = atomic_fetch_add(&bell->rung, 1);

    atomic_store(&bell->call[number % BELL_CALLS], number << 32 | (uint32_t)(at + 1));
    if ((int)seat != q->own_seat) {
        wake_process(&q->porch[seat], loop);
    }
    else {
        wake_loop(&q->ear[loop]);
    }
}

void queue_call(queue_t *q, uint64_t at)
{
    place_t *place = &q->place[at];
    uint32_t loop = atomic_load(&place->loop), seat = (uint32_t)atomic_load(&place->owner);

    atomic_fetch_add(&place->word, 1);
    if (!loop) {
        futex_wake(&place->word, INT_MAX);
    }
    else if (loop <= QUEUE_LOOPS_MAX && seat < q->porches) {
        ring(q, seat, loop - 1, at);
    }
}

/* ---- hearing it ----------------------------------------------------------------------------------------------------------- */

int queue_hear(queue_t *q, int seat, int loop, void (*wake)(void *ctx), void *ctx)
{
    ear_t *ear = &q->ear[loop];
    uint64_t places = q->begin[q->groups];

    if (!places || seat < 0 || (uint32_t)seat >= q->porches || loop < 0 || loop >= QUEUE_LOOPS_MAX) {
        return 0;
    }
    if (!ear->waiter && !(ear->waiter = calloc(places, sizeof *ear->waiter))) {
        return 0;
    }
    q->own_seat = seat;
    ear->ctx = ctx;
    ear->heard = atomic_load(&q->porch[seat].bell[loop].rung);
    atomic_store(&ear->wake, wake);
    return 1;
}

void queue_hear_end(queue_t *q, int loop)
{
    atomic_store(&q->ear[loop].wake, NULL);
    free(q->ear[loop].waiter);
    q->ear[loop].waiter = NULL;
}

static void tell(queue_t *q, ear_t *ear, uint64_t at, void (*called)(void *owner))
{
    void *owner = at < q->begin[q->groups] ? ear->waiter[at] : NULL;

    if (owner) {
        called(owner);
    }
}

void queue_heard(queue_t *q, int loop, void (*called)(void *owner))
{
    ear_t *ear = &q->ear[loop];
    bell_t *bell;
    uint64_t rung, i;
    int lost;

    if (!ear->waiter) {
        return;
    }
    bell = &q->porch[q->own_seat].bell[loop];
    rung = atomic_load(&bell->rung);
    lost = rung - ear->heard > BELL_CALLS;
    for (; !lost && ear->heard < rung; ear->heard++) {
        uint64_t call = atomic_load(&bell->call[ear->heard % BELL_CALLS]);

        if (call >> 32 != (uint32_t)ear->heard || !(uint32_t)call) {
            lost = 1;
            break;
        }
        tell(q, ear, (uint32_t)call - UINT64_C(1), called);
    }
    if (lost) {
        ear->heard = rung;
        for (i = 0; i < q->begin[q->groups]; i++) {
            tell(q, ear, i, called);
        }
    }
}

void queue_bell_listen(queue_t *q, int seat, const _Atomic int *stop)
{
    porch_t *porch = &q->porch[seat];
    uint32_t seen, loops, loop;

    while (!atomic_load(stop)) {
        seen = atomic_load(&porch->word); /* before the loops are looked at: who rings later changes it later */
        loops = atomic_exchange(&porch->loops, 0);
        for (loop = 0; loop < QUEUE_LOOPS_MAX; loop++) {
            if (loops >> loop & 1) {
                wake_loop(&q->ear[loop]);
            }
        }
        atomic_store(&porch->asleep, 1);
        if (atomic_load(&porch->word) == seen && !atomic_load(stop)) {
            syscall(SYS_futex, &porch->word, FUTEX_WAIT, seen, NULL, NULL, 0);
        }
        atomic_store(&porch->asleep, 0);
    }
}

void queue_bell_stop(queue_t *q, int seat)
{
    atomic_fetch_add(&q->porch[seat].word, 1);
    futex_wake(&q->porch[seat].word, INT_MAX);
}
