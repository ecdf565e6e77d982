/*
 * test_event_threads.c - many threads push, others read: whole events only, each writer's in its order, nothing invented.
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

#include "event_ring.h"
#include "event_sample.h"

#define WRITERS 4
#define READERS 2
#define TURNS 3000

static gate_events_t *ring;
static atomic_int writing;
static atomic_int torn;
static atomic_int disordered;
static atomic_int looks;

static void *writer(void *number)
{
    unsigned self = *(unsigned *)number;

    for (unsigned turn = 1; turn <= TURNS; turn++) {
        gate_event_t e = sample_event(self, turn);

        gate_event_push(ring, &e);
    }
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

static void check(const gate_event_t *got, int n)
{
    int64_t last[WRITERS];

    for (int w = 0; w < WRITERS; w++) {
        last[w] = TURNS + 1;
    }
    for (int i = 0; i < n; i++) {
        int64_t w = got[i].wall_usec / 1000000000, turn = got[i].wall_usec % 1000000000;

        if (!sample_is_whole(&got[i]) || w < 0 || w >= WRITERS) {
            atomic_fetch_add(&torn, 1);
            continue;
        }
        if (turn >= last[w] || (i > 0 && got[i].number >= got[i - 1].number)) {
            atomic_fetch_add(&disordered, 1);
        }
        last[w] = turn;
    }
}

static void *reader(void *unused)
{
    gate_event_t *got = malloc(GATE_EVENTS * sizeof *got);

    (void)unused;
    while (got != NULL && atomic_load(&writing) > 0) {
        check(got, gate_events_read(ring, got, GATE_EVENTS));
        atomic_fetch_add(&looks, 1);
    }
    free(got);
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[WRITERS + READERS];
    unsigned numbers[WRITERS];
    gate_event_t *got = malloc(GATE_EVENTS * sizeof *got);
    char why[200] = "";
    int n;

    (void)state;
    ring = malloc(gate_events_size());
    assert_non_null(ring);
    assert_non_null(got);
    gate_events_init(ring);
    atomic_store(&writing, WRITERS);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[WRITERS + i], NULL, reader, NULL), 0);
    }
    for (unsigned w = 0; w < WRITERS; w++) {
        numbers[w] = w;
        assert_int_equal(pthread_create(&threads[w], NULL, writer, &numbers[w]), 0);
    }
    for (int i = 0; i < WRITERS + READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&torn), 0);
    assert_int_equal(atomic_load(&disordered), 0);
    assert_true(atomic_load(&looks) > 0);
    assert_true(ring->taken >= WRITERS * TURNS);
    if (gate_events_validate(ring, gate_events_size(), why, sizeof why) != 0) {
        fail_msg("%s", why);
    }
    n = gate_events_read(ring, got, GATE_EVENTS);
    assert_in_range(n, 1, GATE_EVENTS);
    check(got, n);
    assert_int_equal(atomic_load(&torn) + atomic_load(&disordered), 0);
    free(got);
    free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests_name("event_threads", tests, NULL, NULL);
}
