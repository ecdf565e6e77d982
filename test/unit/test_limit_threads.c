/*
 * test_limit_threads.c - many threads on one table: exactly what is allowed is let through; in-flight numbers keep their limit.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "concurrency.h"
#include "gate_siphash.h"
#include "limiter.h"

#define THREADS 4
#define SECOND INT64_C(1000000)

static const gate_seed_t seed = { { 1, 2 } };
static gate_lines_t lines;
static gate_concurrency_t flights;
static gate_rate_t rate;
static _Atomic uint64_t admitted, clock_usec, most, at_once;

static uint64_t key(uint64_t n)
{
    return gate_siphash(&seed, &n, sizeof n);
}

static void *charger(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        gate_rate_verdict_t v;

        gate_limit_charge(&lines, &rate, key(1), (int64_t)atomic_fetch_add(&clock_usec, 10), &v);
        atomic_fetch_add(&admitted, (uint64_t)v.admitted);
        gate_limit_charge(&lines, &rate, key(2 + (uint64_t)i % 500), (int64_t)atomic_load(&clock_usec), &v); /* others come and go */
        if (i % 1000 == 0) {
            gate_limit_sweep(&lines, &rate, 0, lines.count, (int64_t)atomic_load(&clock_usec));
        }
    }
    return NULL;
}

static void run(void *(*fn)(void *))
{
    pthread_t thread[THREADS];

    for (long i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, fn, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
}

static void test_exact_over_threads(void **state)
{
    char why[200];

    (void)state;
    lines.count = gate_lines_for(1000);
    lines.line = aligned_alloc(64, lines.count * sizeof *lines.line);
    memset(lines.line, 0, lines.count * sizeof *lines.line);
    gate_rate_make(&rate, 1000, SECOND, 100);
    atomic_store(&clock_usec, 5 * SECOND);
    atomic_store(&admitted, 0);
    run(charger);
    /* 80000 charges, 10 us apart: 0.8 s at twice and more of the rate */
    assert_in_range(admitted, 101 + 799 - 1, 101 + 800);
    assert_int_equal(gate_lines_validate(&lines, why, sizeof why), 0);
    free(lines.line);
}

static void *flyer(void *seat_)
{
    int seat = (int)(long)seat_;

    for (int i = 0; i < 20000; i++) {
        uint32_t count;
        int64_t row = gate_concurrency_begin(&flights, seat, key((uint64_t)(i % 40)), 2, &count);

        if (i % 40 == 0 && row >= 0) {
            uint64_t n = atomic_fetch_add(&at_once, 1) + 1, m = atomic_load(&most);

            while (n > m && !atomic_compare_exchange_weak(&most, &m, n)) { }
            atomic_fetch_sub(&at_once, 1);
        }
        gate_concurrency_end(&flights, seat, row);
    }
    return NULL;
}

static void test_never_more_than_max(void **state)
{
    gate_seats_t *seats = calloc(1, gate_seats_size(THREADS));
    void *memory;
    char why[200];

    (void)state;
    gate_seats_init(seats, THREADS);
    assert_true(gate_seat_claim(seats) == 0);
    memory = calloc(1, gate_concurrency_size(10, THREADS));
    gate_concurrency_open(&flights, memory, 10, seats);
    {
        pthread_t thread[THREADS];

        for (long i = 0; i < THREADS; i++) { /* one process, one seat: its threads share the cells */
            assert_int_equal(pthread_create(&thread[i], NULL, flyer, (void *)0L), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(thread[i], NULL);
        }
    }
    assert_in_range(most, 1, 2);
    assert_int_equal(gate_concurrency_total(&flights), 0);
    assert_int_equal(gate_concurrency_validate(&flights, why, sizeof why), 0);
    free(memory);
    free(seats);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_exact_over_threads), cmocka_unit_test(test_never_more_than_max) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
