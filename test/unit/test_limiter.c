/*
 * test_limiter.c - rates with a clock of our own: burst, evenness, refunds, floods of keys, long sleeps; and outcome tallies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gate_siphash.h"
#include "limiter.h"
#include "tally.h"

#define SECOND INT64_C(1000000)

static const gate_seed_t seed = { { 1, 2 } };
static gate_lines_t lines;

static void make(uint32_t keys)
{
    free(lines.line);
    lines.count = gate_lines_for(keys);
    lines.line = aligned_alloc(64, lines.count * sizeof *lines.line);
    memset(lines.line, 0, lines.count * sizeof *lines.line);
}

static uint64_t key(uint64_t n)
{
    return gate_siphash(&seed, &n, sizeof n);
}

static int charge(const gate_rate_t *rate, uint64_t hash, int64_t now)
{
    gate_rate_verdict_t v;

    gate_limit_charge(&lines, rate, hash, now, &v);
    return v.admitted;
}

static void check_valid(void)
{
    char why[200] = "";

    if (gate_lines_validate(&lines, why, sizeof why)) {
        fail_msg("%s", why);
    }
}

static void test_burst_then_rate(void **state)
{
    static const struct {
        uint64_t events;
        int64_t period;
        uint64_t burst;
    } cases[] = { { 1000, SECOND, 100 }, { 10, SECOND, 20 }, { 1, SECOND, 0 }, { 1, 60 * SECOND, 5 }, { 3, SECOND, 2 },
                  { 700001, SECOND, 1000 }, { 1000000, SECOND, 0 }, { 1, 86400 * SECOND, 20 }, { 50, 3600 * SECOND, 1000000 } };

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        gate_rate_t rate;
        uint64_t admitted = 0, offered = 20000;
        int64_t begin = 7777777777, interval = cases[c].period / (int64_t)cases[c].events;
        /* twice the rate, as long as it takes for 20000 of them */
        double step = (double)cases[c].period / (double)cases[c].events / 2, span = step * (double)(offered - 1);

        make(100);
        gate_rate_make(&rate, cases[c].events, cases[c].period, cases[c].burst);
        for (uint64_t i = 0; i < offered; i++) {
            admitted += (uint64_t)charge(&rate, key(1), begin + (int64_t)((double)i * step));
        }
        uint64_t most = cases[c].burst + 1 + (uint64_t)(span * (double)cases[c].events / (double)cases[c].period);

        most = most < offered ? most : offered;
        (void)interval;
        if (admitted > most || (double)admitted < (double)most * 0.99 - 1) {
            fail_msg("case %zu: %lu admitted, %lu expected", c, (unsigned long)admitted, (unsigned long)most);
        }
    }
}

static void test_exact_burst(void **state)
{
    gate_rate_t rate;
    gate_rate_verdict_t v;
    int64_t now = 123 * SECOND;

    (void)state;
    make(100);
    gate_rate_make(&rate, 10, SECOND, 20);
    for (int i = 0; i < 21; i++) {
        gate_limit_charge(&lines, &rate, key(1), now, &v);
        assert_true(v.admitted);
        assert_int_equal(v.remaining, 20 - i);
        assert_int_equal(v.wait_usec, i * 100000);
    }
    gate_limit_charge(&lines, &rate, key(1), now, &v);
    assert_false(v.admitted);
    assert_int_equal(v.retry_usec, 100000);
    assert_int_equal(v.reset_usec, 2100000);
    gate_limit_peek(&lines, &rate, key(1), now, &v);
    assert_false(v.admitted);
    assert_true(charge(&rate, key(2), now)); /* another key's business is its own */
    assert_false(charge(&rate, key(1), now + 99999));
    assert_true(charge(&rate, key(1), now + 100000));
    assert_false(charge(&rate, key(1), now + 100001));
}

static void test_peek_counts_nothing(void **state)
{
    gate_rate_t rate;
    gate_rate_verdict_t v;

    (void)state;
    make(100);
    gate_rate_make(&rate, 1, SECOND, 0);
    for (int i = 0; i < 5; i++) {
        gate_limit_peek(&lines, &rate, key(1), SECOND, &v);
        assert_true(v.admitted);
        assert_int_equal(v.remaining, 1);
    }
    assert_true(charge(&rate, key(1), SECOND));
    gate_limit_peek(&lines, &rate, key(1), SECOND, &v);
    assert_false(v.admitted);
}

static void test_refund(void **state)
{
    gate_rate_t rate;

    (void)state;
    make(100);
    gate_rate_make(&rate, 1, SECOND, 1);
    assert_true(charge(&rate, key(1), SECOND));
    assert_true(charge(&rate, key(1), SECOND));
    assert_false(charge(&rate, key(1), SECOND));
    gate_limit_refund(&lines, &rate, key(1), SECOND);
    assert_true(charge(&rate, key(1), SECOND));
    assert_false(charge(&rate, key(1), SECOND));
    gate_limit_refund(&lines, &rate, key(9), SECOND); /* of nobody */
    for (int i = 0; i < 5; i++) {
        gate_limit_refund(&lines, &rate, key(1), SECOND); /* more than was charged: no credit */
    }
    assert_true(charge(&rate, key(1), SECOND));
    assert_true(charge(&rate, key(1), SECOND));
    assert_false(charge(&rate, key(1), SECOND));
}

/* FIELD trap 70: 100,000 keys on a table for 10,000 */
static void test_flood_of_keys(void **state)
{
    gate_rate_t rate;
    int64_t now = 1000 * SECOND;
    uint64_t honest_refused = 0, bad_admitted = 0;
    const uint64_t bad = key(424242);

    (void)state;
    make(10000);
    gate_rate_make(&rate, 10, SECOND, 20);
    for (uint64_t i = 0; i < 1000000; i++, now += 10) { /* ten seconds */
        charge(&rate, key(1000000 + i % 100000), now);
        if (i % 20000 == 0) { /* an honest client: 5 r/s */
            for (uint64_t h = 0; h < 50; h++) {
                honest_refused += !charge(&rate, key(h), now);
            }
        }
        if (i % 100 == 0) { /* one far over its limit: 1000 r/s */
            bad_admitted += (uint64_t)charge(&rate, bad, now);
        }
    }
    assert_int_equal(honest_refused, 0);
    if (bad_admitted < 119 || bad_admitted > 122) { /* 21 and 10 a second: the flood did not make it forgotten */
        fail_msg("%lu of the bad one's requests were let through", (unsigned long)bad_admitted);
    }
    check_valid();
}

static void test_full_of_busy_keys(void **state)
{
    gate_rate_t rate;
    gate_rate_verdict_t v;
    int evicted = 0;

    (void)state;
    make(10);
    gate_rate_make(&rate, 1, SECOND, 0);
    for (uint64_t i = 0; i < 10000; i++) {
        gate_limit_charge(&lines, &rate, key(i), 50 * SECOND, &v);
        assert_true(v.admitted); /* nobody's first request is refused because of others */
        evicted += v.evicted;
    }
    assert_true(evicted > 9900);
    assert_int_equal(gate_limit_sweep(&lines, &rate, 0, lines.count, 50 * SECOND), lines.count * GATE_LINE_WORDS);
    assert_int_equal(gate_limit_sweep(&lines, &rate, 0, lines.count, 52 * SECOND), 0);
    check_valid();
}

/* Values are 36 bits of a running clock: a key that was away for long, swept or not, begins with a whole burst. */
static void test_long_sleep(void **state)
{
    gate_rate_t rate;
    int64_t now = 5 * SECOND;

    (void)state;
    make(10);
    gate_rate_make(&rate, 1000, SECOND, 100);
    for (int i = 0; i < 200; i++) {
        int admitted = 0;

        for (int n = 0; n < 150; n++) {
            admitted += charge(&rate, key(1), now);
        }
        assert_int_equal(admitted, 101);
        now += 60 * SECOND + i * 7919;
        gate_limit_sweep(&lines, &rate, 0, lines.count, now);
    }
}

/* Somebody was held up between reading the clock and asking: what others charged meanwhile stands. */
static void test_late_askers(void **state)
{
    gate_rate_t rate;
    int64_t now = 50 * SECOND;

    (void)state;
    make(10);
    gate_rate_make(&rate, 1000, SECOND, 100);
    for (int i = 0; i < 101; i++) {
        assert_true(charge(&rate, key(1), now));
    }
    for (int64_t late = 0; late < 60 * SECOND; late = late * 2 + 1000) {
        assert_false(charge(&rate, key(1), now - (late < now ? late : now)));
    }
    assert_false(charge(&rate, key(1), now));
    make(10);
    for (uint32_t i = 1; i <= 5; i++) { /* the window before the one that others count in */
        assert_int_equal(gate_tally_note(&lines, 10 * SECOND, key(1), 50 * SECOND), i);
    }
    assert_int_equal(gate_tally_note(&lines, 10 * SECOND, key(1), 50 * SECOND - 1), 6);
    assert_int_equal(gate_tally_note(&lines, 10 * SECOND, key(1), 50 * SECOND), 7);
}

static void test_two_rates_differ(void **state)
{
    gate_rate_t slow, fast;

    (void)state;
    gate_rate_make(&slow, 1, 86400 * SECOND, 1000000);
    gate_rate_make(&fast, 1000000, SECOND, 0);
    assert_true(slow.cost >= 1 && slow.room + slow.cost <= UINT64_C(1) << 34);
    assert_true(fast.cost >= 50);
}

static void test_tally_window(void **state)
{
    const int64_t window = 60 * SECOND;
    int64_t now = 600 * SECOND; /* where a fixed window begins */

    (void)state;
    make(100);
    for (uint32_t i = 1; i <= 20; i++) {
        assert_int_equal(gate_tally_note(&lines, window, key(1), now + i), i);
    }
    assert_int_equal(gate_tally_read(&lines, window, key(1), now + window), 20);
    assert_int_equal(gate_tally_read(&lines, window, key(1), now + window + window / 2), 10);
    assert_int_equal(gate_tally_read(&lines, window, key(1), now + 2 * window), 0);
    assert_int_equal(gate_tally_note(&lines, window, key(1), now + 2 * window), 1);
    assert_int_equal(gate_tally_read(&lines, window, key(2), now), 0);
    gate_tally_clear(&lines, key(1));
    assert_int_equal(gate_tally_read(&lines, window, key(1), now + 2 * window), 0);
}

static void test_tally_across_windows(void **state)
{
    const int64_t window = 10 * SECOND;
    int64_t edge = 1000 * SECOND;
    uint32_t n = 0;

    (void)state;
    make(100);
    for (int i = 0; i < 10; i++) { /* ten just before and ten just after a fixed window ends */
        gate_tally_note(&lines, window, key(1), edge - 1000 + i);
    }
    for (int i = 0; i < 10; i++) {
        n = gate_tally_note(&lines, window, key(1), edge + i);
    }
    assert_in_range(n, 19, 20);
    for (int64_t age = 2; age < 600; age++) { /* numbers of windows wrap: what was not swept must not come back within a minute */
        gate_tally_sweep(&lines, window, 0, lines.count, edge + age * window);
        assert_int_equal(gate_tally_read(&lines, window, key(1), edge + age * window), 0);
    }
}

static void test_tally_flood(void **state)
{
    const int64_t window = 60 * SECOND;

    (void)state;
    make(1000);
    for (uint64_t i = 0; i < 100000; i++) {
        gate_tally_note(&lines, window, key(1000 + i), 600 * SECOND + (int64_t)i);
        if (i % 2000 == 0) { /* the one that is after passwords */
            gate_tally_note(&lines, window, key(1), 600 * SECOND + (int64_t)i);
            gate_tally_note(&lines, window, key(1), 600 * SECOND + (int64_t)i);
        }
    }
    assert_int_equal(gate_tally_read(&lines, window, key(1), 601 * SECOND), 100);
    check_valid();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate), cmocka_unit_test(test_exact_burst), cmocka_unit_test(test_peek_counts_nothing),
        cmocka_unit_test(test_refund), cmocka_unit_test(test_flood_of_keys), cmocka_unit_test(test_full_of_busy_keys),
        cmocka_unit_test(test_long_sleep), cmocka_unit_test(test_late_askers),
        cmocka_unit_test(test_two_rates_differ), cmocka_unit_test(test_tally_window),
        cmocka_unit_test(test_tally_across_windows), cmocka_unit_test(test_tally_flood)
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(lines.line);
    return failed;
}
