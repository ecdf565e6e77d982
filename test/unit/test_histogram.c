/*
 * test_histogram.c - buckets without gaps, quantiles within 5 % of the exact ones, nothing lost in merging or between threads.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gate_histogram.h"

#define SAMPLES 50000
#define VALUE_MAX UINT64_C(0xffffffff)

/* ---- buckets ------------------------------------------------------------------------------------------------------------- */

static void test_buckets_leave_no_gap(void **state)
{
    (void)state;
    assert_int_equal(gate_histogram_lower(0), 0);
    for (uint32_t b = 0; b < GATE_HISTOGRAM_BUCKETS; b++) {
        uint64_t lower = gate_histogram_lower(b), upper = gate_histogram_upper(b);

        assert_true(lower <= upper);
        assert_int_equal(gate_histogram_bucket(lower), b);
        assert_int_equal(gate_histogram_bucket(upper), b);
        assert_int_equal(gate_histogram_bucket(lower + (upper - lower) / 2), b);
        if (b + 1 < GATE_HISTOGRAM_BUCKETS) {
            assert_true(gate_histogram_lower(b + 1) == upper + 1);
        }
        if (lower > 0) {
            assert_true((double)(upper - lower) / 2 / (double)lower <= 0.032);
        }
    }
    assert_true(gate_histogram_upper(GATE_HISTOGRAM_BUCKETS - 1) == VALUE_MAX);
}

static void test_larger_values_count_as_the_last(void **state)
{
    gate_histogram_t h = {0};

    (void)state;
    assert_int_equal(gate_histogram_bucket(VALUE_MAX + 1), GATE_HISTOGRAM_BUCKETS - 1);
    assert_int_equal(gate_histogram_bucket(UINT64_MAX), GATE_HISTOGRAM_BUCKETS - 1);
    gate_histogram_record(&h, UINT64_MAX);
    gate_histogram_record(&h, UINT64_MAX);
    assert_int_equal(gate_histogram_count(&h), 2);
    assert_true(h.sum_usec == 2 * VALUE_MAX);
    assert_int_equal(gate_histogram_at_most(&h, VALUE_MAX), 2);
}

/* ---- quantiles ----------------------------------------------------------------------------------------------------------- */

static uint64_t random_state;

/* xorshift64 (G. Marsaglia, 2003): the same numbers in every run */
static double random_unit(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return ((double)(random_state >> 11) + 0.5) / 9007199254740992.0;
}

static uint64_t draw_uniform(void)
{
    return (uint64_t)(100 + random_unit() * 1000000);
}

static uint64_t draw_exponential(void)
{
    return (uint64_t)(-log(random_unit()) * 20000);
}

static uint64_t draw_lognormal(void)
{
    double normal = sqrt(-2 * log(random_unit())) * cos(6.283185307179586 * random_unit());

    return (uint64_t)exp(8 + 1.5 * normal);
}

/* Most from a cache in 300 us, some from a member in 80 ms, a few that ran into a timeout. */
static uint64_t draw_three_humps(void)
{
    double which = random_unit();

    if (which < 0.9) {
        return (uint64_t)(250 + random_unit() * 100);
    }
    return which < 0.985 ? (uint64_t)(70000 + random_unit() * 20000) : (uint64_t)(30000000 + random_unit() * 1000);
}

static uint64_t draw_pareto(void)
{
    return (uint64_t)(500 / pow(random_unit(), 1 / 1.2));
}

static uint64_t draw_tiny(void)
{
    return (uint64_t)(random_unit() * 12);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t exact_quantile(const uint64_t *sorted, double q)
{
    size_t rank = (size_t)ceil(q * SAMPLES);

    return sorted[rank > 0 ? rank - 1 : 0];
}

static void check_distribution(const char *name, uint64_t (*draw)(void))
{
    static const double quantiles[] = {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0};
    gate_histogram_t h = {0};
    uint64_t *values = malloc(SAMPLES * sizeof *values);

    assert_non_null(values);
    random_state = UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < SAMPLES; i++) {
        values[i] = draw();
        gate_histogram_record(&h, values[i]);
    }
    qsort(values, SAMPLES, sizeof *values, by_value);
    assert_int_equal(gate_histogram_count(&h), SAMPLES);
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
        double exact = (double)exact_quantile(values, quantiles[i]);
        double found = (double)gate_histogram_quantile(&h, quantiles[i]);

        if (fabs(found - exact) > exact * 0.05) {
            fail_msg("%s, quantile %g: %g instead of %g", name, quantiles[i], found, exact);
        }
    }
    free(values);
}

static void test_quantiles_are_within_five_percent(void **state)
{
    (void)state;
    check_distribution("uniform", draw_uniform);
    check_distribution("exponential", draw_exponential);
    check_distribution("log-normal", draw_lognormal);
    check_distribution("three humps", draw_three_humps);
    check_distribution("pareto", draw_pareto);
    check_distribution("below 16", draw_tiny);
}

static void test_quantile_of_little(void **state)
{
    gate_histogram_t h = {0};

    (void)state;
    assert_int_equal(gate_histogram_quantile(&h, 0.5), 0);
    gate_histogram_record(&h, 7);
    assert_int_equal(gate_histogram_quantile(&h, 0), 7);
    assert_int_equal(gate_histogram_quantile(&h, 0.5), 7);
    assert_int_equal(gate_histogram_quantile(&h, 1), 7);
    gate_histogram_record(&h, 3);
    assert_int_equal(gate_histogram_quantile(&h, 0.5), 3);
    assert_int_equal(gate_histogram_quantile(&h, 0.51), 7);
    assert_int_equal(gate_histogram_quantile(&h, -1), 3);
    assert_int_equal(gate_histogram_quantile(&h, 2), 7);
    assert_int_equal(gate_histogram_quantile(&h, NAN), 3);
}

static void test_at_most(void **state)
{
    gate_histogram_t h = {0};

    (void)state;
    for (uint64_t v = 1; v <= 1000; v++) {
        gate_histogram_record(&h, v);
    }
    assert_int_equal(gate_histogram_at_most(&h, 0), 0);
    assert_int_equal(gate_histogram_at_most(&h, 10), 10);
    for (uint32_t b = 0; gate_histogram_upper(b) < 1000; b++) {
        assert_int_equal(gate_histogram_at_most(&h, gate_histogram_upper(b)), gate_histogram_upper(b));
    }
    assert_int_equal(gate_histogram_at_most(&h, 515), 515); /* within the bucket 512..543: evenly spread, so exact here */
    assert_int_equal(gate_histogram_at_most(&h, UINT64_MAX), 1000);
    assert_int_equal(h.sum_usec, 500500);
}

static void test_at_most_does_not_overflow(void **state)
{
    gate_histogram_t h = {0};

    (void)state;
    h.bucket[GATE_HISTOGRAM_BUCKETS - 1] = UINT64_MAX / 2;
    assert_true(gate_histogram_at_most(&h, VALUE_MAX) == UINT64_MAX / 2);
    assert_true(gate_histogram_at_most(&h, gate_histogram_lower(GATE_HISTOGRAM_BUCKETS - 1)) < UINT64_MAX / 4);
}

/* ---- merging and threads ------------------------------------------------------------------------------------------------- */

static void test_merged_equals_recorded_into_one(void **state)
{
    gate_histogram_t parts[4] = {0}, merged = {0}, one = {0};

    (void)state;
    random_state = 88172645463325252u;
    for (int i = 0; i < SAMPLES; i++) {
        uint64_t v = draw_lognormal();

        gate_histogram_record(&parts[i % 4], v);
        gate_histogram_record(&one, v);
    }
    for (int i = 0; i < 4; i++) {
        gate_histogram_merge(&merged, &parts[i]);
    }
    assert_memory_equal(&merged, &one, sizeof one);
}

#define THREADS 4
#define EACH 100000

static void *record_many(void *h)
{
    for (uint64_t i = 0; i < EACH; i++) {
        gate_histogram_record(h, i % 5000);
    }
    return NULL;
}

static void test_threads_lose_nothing(void **state)
{
    static gate_histogram_t h;
    gate_histogram_t copy = {0}, expected = {0};
    pthread_t threads[THREADS];
    uint64_t before = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, &h), 0);
    }
    for (int i = 0; i < 100; i++) { /* a reader in between sees counts that only grow */
        uint64_t now;

        memset(&copy, 0, sizeof copy);
        gate_histogram_merge(&copy, &h);
        now = gate_histogram_count(&copy);
        assert_true(now >= before && now <= THREADS * EACH);
        before = now;
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        record_many(&expected);
    }
    assert_int_equal(gate_histogram_count(&h), THREADS * EACH);
    assert_memory_equal(&h, &expected, sizeof h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_leave_no_gap),
        cmocka_unit_test(test_larger_values_count_as_the_last),
        cmocka_unit_test(test_quantiles_are_within_five_percent),
        cmocka_unit_test(test_quantile_of_little),
        cmocka_unit_test(test_at_most),
        cmocka_unit_test(test_at_most_does_not_overflow),
        cmocka_unit_test(test_merged_equals_recorded_into_one),
        cmocka_unit_test(test_threads_lose_nothing),
    };

    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
