/*
 * test_access_trial.c - several limits at once: all are charged or none, what is held is given back, and RateLimit fields tell how it stands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_pools.h>

#include "trial.h"
#include "unit_pool.h"

#define NOW (INT64_C(7000) * 1000000)
#define KEYS 100
#define SEATS 4

static gate_seats_t *seats;
static access_tallies_t tallies[4];

static int setup(void **state)
{
    assert_int_equal(pool_open(state), 0);
    seats = calloc(1, gate_seats_size(SEATS));
    gate_seats_init(seats, SEATS);
    assert_int_equal(gate_seat_claim(seats), 0);
    memset(tallies, 0, sizeof tallies);
    return 0;
}

static int teardown(void **state)
{
    free(seats);
    return pool_close(state);
}

static access_limit_t rate_limit(int n, const char *name, uint64_t events, uint64_t burst)
{
    access_limit_t limit = { .name = name, .kind = ACCESS_REQUESTS, .events = events, .burst = burst, .period_usec = 1000000,
                             .window_s = (burst + events) / events, .counts = &tallies[n] };

    gate_rate_make(&limit.rate, events, 1000000, burst);
    limit.lines.count = gate_lines_for(KEYS);
    limit.lines.line = aligned_alloc(64, limit.lines.count * sizeof(gate_line_t));
    memset(limit.lines.line, 0, limit.lines.count * sizeof(gate_line_t));
    return limit;
}

static access_limit_t flight_limit(int n, const char *name, uint64_t max)
{
    access_limit_t limit = { .name = name, .kind = ACCESS_CONNECTIONS, .max = max, .counts = &tallies[n] };

    gate_concurrency_open(&limit.flights, calloc(1, gate_concurrency_size(KEYS, SEATS)), KEYS, seats);
    return limit;
}

static void drop(access_limit_t *limit)
{
    free(limit->lines.line);
    free(limit->flights.buckets);
}

static int charge(access_trial_t *trial, const access_limit_t *const *limits, int count, int64_t now_usec)
{
    access_trial_begin(trial, 0);
    for (int i = 0; i < count; i++) {
        access_trial_add(trial, limits[i], 0x1234567890abcdefull * (uint64_t)(i + 1));
    }
    return access_trial_charge(trial, now_usec);
}

static void test_all_or_none(void **state)
{
    access_limit_t wide = rate_limit(0, "wide", 10, 9), narrow = rate_limit(1, "narrow", 1, 1);
    const access_limit_t *both[] = { &wide, &narrow };
    gate_rate_verdict_t v;
    access_trial_t trial;

    (void)state;
    assert_int_equal(charge(&trial, both, 2, NOW), 1);
    assert_int_equal(charge(&trial, both, 2, NOW), 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(charge(&trial, both, 2, NOW), 0);
        assert_ptr_equal(trial.refused, &narrow);
        assert_in_range(trial.retry_usec, 900000, 1000000);
    }
    /* the wide one was charged for the two that came through */
    gate_limit_peek(&wide.lines, &wide.rate, trial.hash[0], NOW, &v);
    assert_int_equal(v.remaining, 8);
    assert_int_equal(charge(&trial, both, 2, NOW + 1000000), 1);
    drop(&wide);
    drop(&narrow);
}

static void test_a_refused_one_holds_nothing(void **state)
{
    access_limit_t few = flight_limit(0, "few", 1), rate = rate_limit(1, "rate", 1, 0);
    const access_limit_t *both[] = { &few, &rate };
    access_trial_t one, two;

    (void)state;
    assert_int_equal(charge(&one, both, 2, NOW), 1);
    assert_int_equal(gate_concurrency_total(&few.flights), 1);
    /* the rate comes back, the place does not */
    assert_int_equal(charge(&two, both, 2, NOW + 2000000), 0);
    assert_ptr_equal(two.refused, &few);
    assert_int_equal(two.at_once, 1);
    access_trial_leave(&two);
    assert_int_equal(gate_concurrency_total(&few.flights), 1);
    access_trial_leave(&one);
    access_trial_leave(&one);
    assert_int_equal(gate_concurrency_total(&few.flights), 0);
    /* nothing was charged for the refused one */
    assert_int_equal(charge(&two, both, 2, NOW + 2000000), 1);
    /* the rate refuses: no place stays taken */
    access_trial_leave(&two);
    assert_int_equal(charge(&one, both, 2, NOW + 2000000), 0);
    assert_int_equal(gate_concurrency_total(&few.flights), 0);
    drop(&few);
    drop(&rate);
}

static void test_delay_and_its_bound(void **state)
{
    access_limit_t slow = rate_limit(0, "slow", 10, 20);
    const access_limit_t *one[] = { &slow };
    access_trial_t trial;

    (void)state;
    slow.delay = 1;
    slow.delay_usec = 250000;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(charge(&trial, one, 1, NOW), 1);
        assert_int_equal(trial.wait_usec, i * 100000);
        assert_ptr_equal(trial.delayed, i ? &slow : NULL);
    }
    assert_int_equal(charge(&trial, one, 1, NOW), 0);
    assert_int_equal(trial.retry_usec, 50000);
    drop(&slow);
}

static void test_dry_run_lets_through(void **state)
{
    access_limit_t dry = rate_limit(0, "dry", 1, 0), wet = rate_limit(1, "wet", 10, 9);
    const access_limit_t *both[] = { &dry, &wet };
    const char *policy, *told;
    access_trial_t trial;

    (void)state;
    dry.dry_run = 1;
    assert_int_equal(charge(&trial, both, 2, NOW), 1);
    assert_null(trial.would);
    assert_int_equal(charge(&trial, both, 2, NOW), 1);
    assert_ptr_equal(trial.would, &dry);
    assert_int_equal(access_trial_fields(&trial, pool, &policy, &told), 1);
    assert_string_equal(policy, "\"wet\";q=10;w=1");
    drop(&dry);
    drop(&wet);
}

static void test_fields(void **state)
{
    access_limit_t a = rate_limit(0, "a", 10, 19), b = rate_limit(1, "b", 5, 0), c = flight_limit(2, "c", 3);
    const access_limit_t *all[] = { &a, &c, &b };
    const char *policy, *told;
    access_trial_t trial;

    (void)state;
    assert_int_equal(charge(&trial, all, 3, NOW), 1);
    assert_int_equal(access_trial_fields(&trial, pool, &policy, &told), 1);
    assert_string_equal(policy, "\"a\";q=20;w=2, \"b\";q=1;w=1");
    assert_string_equal(told, "\"a\";r=19;t=1, \"b\";r=0;t=1");
    access_trial_leave(&trial);
    access_trial_begin(&trial, 0);
    assert_int_equal(access_trial_fields(&trial, pool, &policy, &told), 0);
    assert_int_equal(access_trial_charge(&trial, NOW), 1);
    drop(&a);
    drop(&b);
    drop(&c);
}

static void test_more_limits_than_count(void **state)
{
    access_limit_t one = rate_limit(0, "one", 10, 100);
    access_trial_t trial;

    (void)state;
    access_trial_begin(&trial, 0);
    for (int i = 0; i < ACCESS_TRIAL_LIMITS + 5; i++) {
        access_trial_add(&trial, &one, (uint64_t)i << 40);
    }
    assert_int_equal(trial.count, ACCESS_TRIAL_LIMITS);
    assert_int_equal(access_trial_charge(&trial, NOW), 1);
    drop(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_refused_one_holds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delay_and_its_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dry_run_lets_through, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_more_limits_than_count, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
