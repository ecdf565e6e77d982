/*
 * test_limit_kill.c - processes on one table, killed at any instruction: rates stay exact, nothing stays in flight, tables are whole.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "concurrency.h"
#include "gate_siphash.h"
#include "gate_time.h"
#include "limiter.h"

#define SEATS 16
#define SECOND INT64_C(1000000)

static const gate_seed_t seed = { { 1, 2 } };

static void *shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(p != MAP_FAILED);
    return p;
}

static uint64_t key(uint64_t n)
{
    return gate_siphash(&seed, &n, sizeof n);
}

/* Eight processes share a second of a clock that goes on by 50 usec with each look: however they are scheduled, none of it is lost. */
static void test_exact_over_processes(void **state)
{
    gate_lines_t lines = { .count = gate_lines_for(100) };
    _Atomic uint64_t *admitted = shared(4096);
    _Atomic int64_t *clock = (_Atomic int64_t *)(void *)(admitted + 8);
    gate_rate_t rate;
    pid_t pids[8];
    int64_t end = 2 * SECOND;
    char why[200];

    (void)state;
    lines.line = shared(lines.count * sizeof *lines.line);
    gate_rate_make(&rate, 1000, SECOND, 100);
    atomic_store(clock, SECOND);
    for (int i = 0; i < 8; i++) {
        if ((pids[i] = fork()) == 0) {
            int64_t now;

            while ((now = atomic_fetch_add(clock, 50)) < end) {
                gate_rate_verdict_t v;

                gate_limit_charge(&lines, &rate, key(1), now, &v);
                if (v.admitted) {
                    atomic_fetch_add(admitted, 1);
                }
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 8; i++) {
        waitpid(pids[i], NULL, 0);
    }
    assert_in_range(*admitted, 1101 * 99 / 100, 1101 * 101 / 100);
    assert_int_equal(gate_lines_validate(&lines, why, sizeof why), 0);
    munmap(lines.line, lines.count * sizeof *lines.line);
    munmap(admitted, 4096);
}

static void fly(gate_seats_t *seats, gate_concurrency_t *flights, gate_lines_t *lines, const gate_rate_t *rate)
{
    int seat = gate_seat_claim(seats);
    int64_t rows[6];
    uint32_t count;

    if (seat < 0) {
        _exit(1);
    }
    for (uint64_t i = 0;; i++) { /* until it is killed */
        gate_rate_verdict_t v;

        for (int n = 0; n < 6; n++) {
            rows[n] = gate_concurrency_begin(flights, seat, key((i + (uint64_t)n * 13) % 97), 5, &count);
        }
        gate_limit_charge(lines, rate, key(i % 300), gate_mono_usec(), &v);
        for (int n = 0; n < 6; n++) {
            gate_concurrency_end(flights, seat, rows[n]);
        }
    }
}

static void test_killed_holders(void **state)
{
    gate_seats_t *seats = shared(gate_seats_size(SEATS));
    gate_lines_t lines = { .count = gate_lines_for(50) };
    gate_concurrency_t flights;
    gate_rate_t rate;
    pid_t pids[3] = { 0, 0, 0 };
    char why[200];

    (void)state;
    gate_seats_init(seats, SEATS);
    gate_concurrency_open(&flights, shared(gate_concurrency_size(20, SEATS)), 20, seats);
    lines.line = shared(lines.count * sizeof *lines.line);
    gate_rate_make(&rate, 10, SECOND, 5);
    gate_seat_sweepers_clear();
    gate_seat_on_sweep(gate_concurrency_sweep, &flights);
    assert_true(gate_seat_claim(seats) >= 0);
    for (int turn = 0; turn < 150; turn++) {
        int i = turn % 3;

        if (pids[i]) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
            gate_seat_mark_dead(seats, SEATS, (uint32_t)pids[i]);
        }
        if ((pids[i] = fork()) == 0) {
            fly(seats, &flights, &lines, &rate);
        }
        usleep(2000);
        if (gate_seats_need_sweep(seats)) {
            gate_seats_sweep(seats);
        }
    }
    for (int i = 0; i < 3; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        gate_seat_mark_dead(seats, SEATS, (uint32_t)pids[i]);
    }
    assert_int_equal(gate_concurrency_total(&flights), 0); /* even before the sweep */
    gate_seats_find_dead(seats);
    gate_seats_sweep(seats);
    for (uint64_t row = 0; row < (uint64_t)flights.count * GATE_CONCURRENCY_KEYS * SEATS; row++) {
        assert_int_equal(flights.cells[row], 0);
    }
    for (uint64_t n = 0; n < 97; n++) { /* and every key has its places again */
        uint32_t count;
        int64_t row = gate_concurrency_begin(&flights, 0, key(n), 1, &count);

        assert_true(row >= 0);
        assert_int_equal(count, 1);
        gate_concurrency_end(&flights, 0, row);
    }
    if (gate_concurrency_validate(&flights, why, sizeof why) || gate_lines_validate(&lines, why, sizeof why)) {
        fail_msg("%s", why);
    }
}

static void test_limit_by_key(void **state)
{
    gate_seats_t *seats = shared(gate_seats_size(SEATS));
    gate_concurrency_t flights;
    int64_t rows[10];
    uint32_t count;
    int seat;

    (void)state;
    gate_seats_init(seats, SEATS);
    gate_concurrency_open(&flights, shared(gate_concurrency_size(20, SEATS)), 20, seats);
    seat = gate_seat_claim(seats);
    for (int i = 0; i < 3; i++) {
        rows[i] = gate_concurrency_begin(&flights, seat, key(1), 3, &count);
        assert_true(rows[i] >= 0);
    }
    assert_int_equal(gate_concurrency_begin(&flights, seat, key(1), 3, &count), GATE_CONCURRENCY_REFUSED);
    assert_int_equal(count, 3);
    assert_int_equal(gate_concurrency_count(&flights, key(1)), 3);
    assert_true((rows[3] = gate_concurrency_begin(&flights, seat, key(2), 3, &count)) >= 0);
    gate_concurrency_end(&flights, seat, rows[0]);
    rows[0] = gate_concurrency_begin(&flights, seat, key(1), 3, &count);
    assert_true(rows[0] >= 0);
    assert_int_equal(gate_concurrency_begin(&flights, GATE_SEAT_NONE, key(1), 3, &count), GATE_CONCURRENCY_UNCOUNTED);
    for (int i = 0; i < 4; i++) {
        gate_concurrency_end(&flights, seat, rows[i]);
    }
    assert_int_equal(gate_concurrency_total(&flights), 0);
    for (uint64_t n = 0; n < 1000; n++) { /* more keys than rows, one after the other: rows go from key to key */
        int64_t row = gate_concurrency_begin(&flights, seat, key(n), 1, &count);

        assert_true(row >= 0);
        gate_concurrency_end(&flights, seat, row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_over_processes), cmocka_unit_test(test_killed_holders), cmocka_unit_test(test_limit_by_key)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
