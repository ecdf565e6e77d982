/*
 * test_balance_threads.c - many threads pick by one shared turn, and teach one member.
 */
#include <pthread.h>

#include "balance_fixture.h"

#define THREADS 8
#define PICKS 24000

static _Atomic uint64_t turn;
static const uint32_t weights[] = { 1, 2, 3 };
static gate_learned_t learned;
static _Atomic int64_t clock_usec;

static void *pick_many(void *arg)
{
    uint32_t *hits = arg;
    fixture_t *f = malloc(sizeof *f);

    fixture_init(f, 3, weights);
    for (int n = 0; n < PICKS; n++) {
        f->pick.turn = atomic_fetch_add(&turn, 1);
        hits[balance_round_robin.pick(&f->pick)]++;
    }
    free(f);
    return NULL;
}

/* However the threads take turns, all turns together are whole cycles: the shares are exact. */
static void test_threads_share_a_turn_exactly(void **state)
{
    pthread_t threads[THREADS];
    uint32_t hits[THREADS][3] = { { 0 } }, sum[3] = { 0 };

    (void)state;
    for (int t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_create(&threads[t], NULL, pick_many, hits[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        for (int i = 0; i < 3; i++) {
            sum[i] += hits[t][i];
        }
    }
    assert_int_equal(sum[0], THREADS * PICKS / 6);
    assert_int_equal(sum[1], THREADS * PICKS / 3);
    assert_int_equal(sum[2], THREADS * PICKS / 2);
}

static void *teach_many(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;

    for (int n = 0; n < PICKS; n++) {
        int64_t now = atomic_fetch_add(&clock_usec, 1000);

        balance_least_time.learn(&learned, 5000 + (int64_t)(balance_mix(seed + (uint64_t)n) % 1000), now);
    }
    return NULL;
}

static void test_threads_teach_without_a_lock(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    atomic_store(&clock_usec, 1000000);
    for (int t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_create(&threads[t], NULL, teach_many, (void *)(uintptr_t)(t * 1000003 + 1)), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
    }
    assert_in_range(atomic_load(&learned.ewma) >> 20, 5000, 6000);
    assert_true(atomic_load(&learned.stamp) <= (uint64_t)atomic_load(&clock_usec));
    assert_true(atomic_load(&learned.stamp) >= (uint64_t)atomic_load(&clock_usec) - THREADS * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_share_a_turn_exactly),
        cmocka_unit_test(test_threads_teach_without_a_lock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
