/* test_health_state.c - rise and fall in a row, and when checks are due: a clock of our own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "health_state.h"

#define SEC INT64_C(1000000)

static const health_rule_t rule = { .rise = 2, .fall = 3, .interval_usec = 5 * SEC, .fast_usec = SEC, .timeout_usec = 2 * SEC };

/* Notes '1' for a good check, '0' for a bad one; @return how many of them changed the state */
static int note_all(health_track_t *t, const char *results)
{
    int changes = 0;

    for (; *results; results++) {
        changes += health_note(t, &rule, *results == '1');
    }
    return changes;
}

static void test_fall_and_rise(void **state)
{
    health_track_t t = { 0 };

    (void)state;
    assert_int_equal(note_all(&t, "1"), 1);
    assert_int_equal(t.state, HEALTH_UP);
    assert_int_equal(note_all(&t, "00"), 0);
    assert_int_equal(note_all(&t, "0"), 1);
    assert_int_equal(t.state, HEALTH_DOWN);
    assert_int_equal(note_all(&t, "0001"), 0);
    assert_int_equal(note_all(&t, "1"), 1);
    assert_int_equal(t.state, HEALTH_UP);
}

static void test_only_results_in_a_row_count(void **state)
{
    health_track_t t = { .state = HEALTH_UP };

    (void)state;
    assert_int_equal(note_all(&t, "001001001001"), 0);
    assert_int_equal(t.state, HEALTH_UP);
    t = (health_track_t){ .state = HEALTH_DOWN };
    assert_int_equal(note_all(&t, "10101010"), 0);
    assert_int_equal(t.state, HEALTH_DOWN);
}

static void test_unknown_until_checked(void **state)
{
    health_track_t t = { 0 };

    (void)state;
    assert_true(health_is_changing(&t));
    assert_int_equal(note_all(&t, "00"), 0);
    assert_int_equal(t.state, HEALTH_UNKNOWN);
    assert_int_equal(note_all(&t, "0"), 1);
    assert_int_equal(t.state, HEALTH_DOWN);
    t = (health_track_t){ 0 };
    assert_int_equal(note_all(&t, "001"), 1);
    assert_int_equal(t.state, HEALTH_UP);
}

static void test_fast_while_changing(void **state)
{
    health_track_t t = { .state = HEALTH_UP };
    int64_t due;

    (void)state;
    due = health_next_due(&t, &rule, 7, 1, 100 * SEC, 100 * SEC + 1000);
    assert_in_range(due, 104 * SEC + 750000, 105 * SEC + 250000);
    note_all(&t, "0");
    due = health_next_due(&t, &rule, 7, 2, due, due + 1000) - due;
    assert_in_range(due, 950000, 1050000);
    note_all(&t, "00");
    assert_int_equal(t.state, HEALTH_DOWN);
    assert_false(health_is_changing(&t));
    note_all(&t, "1");
    assert_true(health_is_changing(&t));
}

/* From the first failing answer to the verdict: fall - 1 fast intervals, whatever the jitter. */
static void test_arithmetic(void **state)
{
    uint64_t hash;

    (void)state;
    for (hash = 1; hash < 2000; hash++) {
        health_track_t t = { .state = HEALTH_UP };
        int64_t due = 50 * SEC, first = due;
        uint32_t turn = 0;

        while (!health_note(&t, &rule, 0)) {
            due = health_next_due(&t, &rule, hash, ++turn, due, due);
        }
        assert_int_equal(turn, rule.fall - 1);
        assert_in_range(due - first, 2 * SEC - SEC / 10, 2 * SEC + SEC / 10);
    }
}

static void test_missed_checks_are_not_made_up_for(void **state)
{
    health_track_t t = { .state = HEALTH_UP };

    (void)state;
    assert_int_equal(health_next_due(&t, &rule, 7, 1, 10 * SEC, 500 * SEC), 505 * SEC);
}

/* Trap 27: no herd, neither at the start nor, by the jitter, later. */
static void test_first_checks_are_spread(void **state)
{
    int quarter[4] = { 0 };
    uint64_t hash;

    (void)state;
    for (hash = 0; hash < 4000; hash++) {
        health_track_t t = { 0 };
        int64_t due = health_first_due(&t, &rule, hash, 100 * SEC) - 100 * SEC;

        assert_in_range(due, 0, SEC - 1);
        quarter[due / (SEC / 4)]++;
    }
    for (hash = 0; hash < 4; hash++) {
        assert_in_range(quarter[hash], 800, 1200);
    }
}

static void test_checks_do_not_fall_into_step(void **state)
{
    int64_t due[64], least = INT64_MAX, most = 0;
    uint32_t turn, i;

    (void)state;
    for (i = 0; i < 64; i++) {
        due[i] = 100 * SEC; /* all at once */
    }
    for (turn = 1; turn <= 100; turn++) {
        for (i = 0; i < 64; i++) {
            health_track_t t = { .state = HEALTH_UP };
            int64_t next = health_next_due(&t, &rule, i * UINT64_C(0x9e3779b97f4a7c15), turn, due[i], due[i]);

            assert_in_range(next - due[i], rule.interval_usec * 95 / 100, rule.interval_usec * 105 / 100);
            due[i] = next;
        }
    }
    for (i = 0; i < 64; i++) {
        least = due[i] < least ? due[i] : least;
        most = due[i] > most ? due[i] : most;
    }
    assert_true(most - least > rule.interval_usec / 2);
}

static void test_trust(void **state)
{
    (void)state;
    assert_int_equal(health_trust_usec(&rule), 17 * SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fall_and_rise),
        cmocka_unit_test(test_only_results_in_a_row_count),
        cmocka_unit_test(test_unknown_until_checked),
        cmocka_unit_test(test_fast_while_changing),
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_missed_checks_are_not_made_up_for),
        cmocka_unit_test(test_first_checks_are_spread),
        cmocka_unit_test(test_checks_do_not_fall_into_step),
        cmocka_unit_test(test_trust),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
