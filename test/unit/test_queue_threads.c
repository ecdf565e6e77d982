/* test_queue_threads.c - many threads on a capped member: never more than the cap, everybody served. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_time.h"
#include "queue_world.h"

#define THREADS 24
#define ROUNDS 40
#define CAP 3

static queue_world_t w;
static _Atomic uint32_t inside, most, unserved;

static void visit(queue_guest_t *g)
{
    uint32_t now = atomic_fetch_add(&inside, 1) + 1, seen = atomic_load(&most);

    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {
    }
    usleep(200);
    atomic_fetch_sub(&inside, 1);
    queue_guest_done(g);
}

static void *client(void *arg)
{
    int i;

    for (i = 0; i < ROUNDS; i++) {
        queue_guest_t g = queue_guest(&w);

        g.stay.until_usec = gate_mono_usec() + 30 * INT64_C(1000000);
        switch (queue_guest_enter(&g, gate_mono_usec())) {
        case QUEUE_ADMITTED:
            visit(&g);
            break;
        case QUEUE_WAITING:
            if (i % 7 == 6) {
                queue_leave(w.queue, &g.stay, QUEUE_LEFT_CLIENT, gate_mono_usec());
            }
            else if (queue_guest_wait(&g)) {
                visit(&g);
            }
            else {
                atomic_fetch_add(&unserved, 1);
            }
            break;
        default:
            atomic_fetch_add(&unserved, 1);
        }
    }
    return arg;
}

static void test_threads(void **state)
{
    pthread_t t[THREADS];
    queue_counts_t counts;
    int i;

    (void)state;
    queue_world_open(&w, 1, CAP, THREADS);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, client, NULL), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
    assert_int_equal(atomic_load(&unserved), 0);
    assert_int_equal(atomic_load(&most), CAP);
    assert_int_equal(gate_inflight(w.world.reg, w.slot[0]), 0);
    queue_counts(w.queue, w.group, &counts);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(counts.entered, counts.served + counts.left);
    queue_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
