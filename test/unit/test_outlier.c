/* test_outlier.c - passive checks on a registry, with a clock of our own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "outlier.h"
#include "registry_world.h"

#define SEC INT64_C(1000000)
#define MEMBERS 12

static registry_world_t w;
static outlier_row_t rows[MEMBERS];
static gate_lock_t lock;
static uint32_t app, slots[MEMBERS];
static int seat, refusal;
static outlier_rule_t rule = { .errors = 3, .window_usec = 10 * SEC, .eject_usec = 10 * SEC, .max_eject_milli = 500 };

static int setup(void **state)
{
    (void)state;
    registry_world_open(&w, 4, MEMBERS, 16, &seat);
    gate_group_declare(w.reg, "app", &app);
    memset(rows, 0, sizeof rows);
    memset(&lock, 0, sizeof lock);
    gate_parse_status_set(w.pool, "502-504", &rule.statuses);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    registry_world_close(&w);
    return 0;
}

static void make_members(uint32_t n)
{
    static char ids[MEMBERS][8];
    gate_member_spec_t specs[MEMBERS] = { { 0 } };
    uint32_t i, version;

    for (i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "m%u", i);
        specs[i] = (gate_member_spec_t){ .id = ids[i], .url = "http://m", .weight = 1 };
    }
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, specs, n, "", 1), APR_SUCCESS);
    assert_int_equal(gate_group_members(w.reg, app, slots, MEMBERS, &version), n);
}

static gate_report_t report_of(uint32_t member, gate_outcome_e outcome, int status, int64_t now)
{
    gate_member_t m;

    gate_member_get(w.reg, slots[member], &m);
    return (gate_report_t){ .group = app, .slot = slots[member], .incarnation = m.incarnation, .outcome = outcome, .status = status,
                            .now_usec = now };
}

static outlier_verdict_t take(uint32_t member, gate_outcome_e outcome, int64_t now)
{
    gate_report_t report = report_of(member, outcome, outcome == GATE_OUTCOME_OK ? 200 : 0, now);

    return outlier_take(w.reg, &rows[slots[member]], &lock, &rule, &report, &refusal);
}

static outlier_verdict_t trial(uint32_t member, gate_outcome_e outcome, int64_t now)
{
    gate_report_t report = report_of(member, outcome, outcome == GATE_OUTCOME_OK ? 200 : 0, now);

    report.is_trial = 1;
    assert_int_equal(gate_trial_claim(w.reg, slots[member], seat, now, SEC), 1);
    assert_int_equal(gate_trial_claim(w.reg, slots[member], seat, now, SEC), 0);
    return outlier_take(w.reg, &rows[slots[member]], &lock, &rule, &report, &refusal);
}

/* n errors, a millisecond apart; @return the last verdict */
static outlier_verdict_t fail_times(uint32_t member, uint32_t n, int64_t now)
{
    outlier_verdict_t v = { 0 };

    while (n-- > 0) {
        v = take(member, GATE_OUTCOME_CONNECT, now);
        now += 1000;
    }
    return v;
}

static int is_ejected(uint32_t member)
{
    return (gate_verdict(w.reg, slots[member]) & GATE_VERDICT_EJECTED) != 0;
}

static void test_errors_in_a_row(void **state)
{
    (void)state;
    make_members(4);
    assert_int_equal(fail_times(0, 2, 100 * SEC).act, OUTLIER_NOTHING);
    take(0, GATE_OUTCOME_OK, 101 * SEC);
    assert_int_equal(fail_times(0, 2, 102 * SEC).act, OUTLIER_NOTHING);
    assert_false(is_ejected(0));
    assert_int_equal(take(0, GATE_OUTCOME_RESET, 103 * SEC).act, OUTLIER_EJECTED);
    assert_true(is_ejected(0));
    assert_int_equal(fail_times(0, 9, 104 * SEC).act, OUTLIER_NOTHING); /* in flight before it was ejected */
}

static void test_window(void **state)
{
    (void)state;
    make_members(4);
    take(0, GATE_OUTCOME_CONNECT, 100 * SEC);
    take(0, GATE_OUTCOME_CONNECT, 109 * SEC);
    assert_int_equal(take(0, GATE_OUTCOME_CONNECT, 111 * SEC).act, OUTLIER_NOTHING);
    take(0, GATE_OUTCOME_CONNECT, 112 * SEC);
    assert_int_equal(take(0, GATE_OUTCOME_CONNECT, 113 * SEC).act, OUTLIER_EJECTED);
}

/* Trap 23: what the client does, or what we do, is not the member's fault; 4xx, 501 and 505 neither. */
static void test_what_counts(void **state)
{
    static const gate_outcome_e errors[] = { GATE_OUTCOME_CONNECT, GATE_OUTCOME_TIMEOUT, GATE_OUTCOME_RESET, GATE_OUTCOME_BAD,
                                             GATE_OUTCOME_BROKEN };
    static const int neutral[] = { 500, 501, 505 }, good[] = { 200, 304, 400, 404, 429, 499 };
    gate_report_t report;
    size_t i;
    int k;

    (void)state;
    make_members(4);
    for (i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        report = report_of(0, errors[i], 0, SEC);
        assert_int_equal(outlier_judge(&rule, &report), 1);
    }
    for (i = 0; i < sizeof neutral / sizeof neutral[0]; i++) {
        report = report_of(0, GATE_OUTCOME_STATUS, neutral[i], SEC);
        assert_int_equal(outlier_judge(&rule, &report), -1);
    }
    for (i = 0; i < sizeof good / sizeof good[0]; i++) {
        report = report_of(0, GATE_OUTCOME_OK, good[i], SEC);
        assert_int_equal(outlier_judge(&rule, &report), 0);
    }
    /* an idle connection that the member had closed */
    report = report_of(0, GATE_OUTCOME_RESET, 0, SEC);
    report.connect_usec = report.first_byte_usec = -1;
    assert_int_equal(outlier_judge(&rule, &report), -1);
    report = report_of(0, GATE_OUTCOME_STATUS, 503, SEC);
    assert_int_equal(outlier_judge(&rule, &report), 1);
    for (k = 0; k < 100; k++) {
        assert_int_equal(take(0, k & 1 ? GATE_OUTCOME_CLIENT : GATE_OUTCOME_OURS, 100 * SEC + k).act, OUTLIER_NOTHING);
    }
    assert_false(is_ejected(0));
}

static void test_never_the_last(void **state)
{
    outlier_verdict_t v;

    (void)state;
    make_members(1);
    v = fail_times(0, 3, 100 * SEC);
    assert_int_equal(v.act, OUTLIER_LAST);
    assert_true(refusal);
    assert_int_equal(fail_times(0, 10, 101 * SEC).act, OUTLIER_LAST);
    assert_false(refusal); /* said once */
    assert_false(is_ejected(0));
    /* the other is there, but of no use */
    make_members(2);
    gate_verdict_change(w.reg, slots[1], report_of(1, 0, 0, 0).incarnation, GATE_VERDICT_DOWN, 0, "test", "", "", 1);
    assert_int_equal(fail_times(0, 9, 200 * SEC).act, OUTLIER_LAST);
    gate_verdict_change(w.reg, slots[1], report_of(1, 0, 0, 0).incarnation, 0, GATE_VERDICT_DOWN, "test", "", "", 1);
    assert_int_equal(take(0, GATE_OUTCOME_CONNECT, 200 * SEC + 10000).act, OUTLIER_EJECTED);
}

/* Ejected while others were there, which checks then took out: the one whose trial is due first comes back. */
static void test_nobody_else_is_left(void **state)
{
    uint32_t i;

    (void)state;
    make_members(4);
    fail_times(1, 3, 100 * SEC);
    fail_times(0, 3, 105 * SEC);
    assert_int_equal(outlier_release_last(w.reg, &lock, app, 106 * SEC), GATE_NO_SLOT);
    for (i = 2; i < 4; i++) {
        gate_verdict_change(w.reg, slots[i], report_of(i, 0, 0, 0).incarnation, GATE_VERDICT_DOWN, 0, "test", "", "", 1);
    }
    assert_int_equal(outlier_release_last(w.reg, &lock, app, 106 * SEC), slots[1]);
    assert_false(is_ejected(1));
    assert_true(is_ejected(0));
    assert_int_equal(outlier_release_last(w.reg, &lock, app, 106 * SEC), GATE_NO_SLOT);
    assert_int_equal(fail_times(1, 9, 107 * SEC).act, OUTLIER_LAST);
    /* who is down as well stays out */
    gate_verdict_change(w.reg, slots[0], report_of(0, 0, 0, 0).incarnation, GATE_VERDICT_DOWN, 0, "test", "", "", 1);
    gate_verdict_change(w.reg, slots[1], report_of(1, 0, 0, 0).incarnation, GATE_VERDICT_DISABLED, 0, "test", "", "", 1);
    assert_int_equal(outlier_release_last(w.reg, &lock, app, 108 * SEC), GATE_NO_SLOT);
}

/* Trap 24: the share is that after the ejection, of the members in service. */
static void test_max_eject(void **state)
{
    uint32_t i;

    (void)state;
    make_members(3);
    assert_int_equal(fail_times(0, 3, 100 * SEC).act, OUTLIER_EJECTED);
    assert_int_equal(fail_times(1, 3, 100 * SEC).act, OUTLIER_CAP); /* two of three would be 66 % */
    make_members(10);
    for (i = 1; i < 5; i++) {
        assert_int_equal(fail_times(i, 3, 200 * SEC).act, OUTLIER_EJECTED);
    }
    assert_int_equal(fail_times(5, 3, 200 * SEC).act, OUTLIER_CAP);
    assert_true(refusal);
    /* a member that the admin took out is none of those in service: four of nine, five would be too many */
    gate_verdict_change(w.reg, slots[0], report_of(0, 0, 0, 0).incarnation, GATE_VERDICT_DISABLED, 0, "test", "", "", 1);
    assert_int_equal(fail_times(5, 1, 201 * SEC).act, OUTLIER_CAP);
}

static void test_ejections_grow(void **state)
{
    int64_t now = 100 * SEC, expected = 10 * SEC;
    outlier_verdict_t v;
    int i;

    (void)state;
    make_members(4);
    v = fail_times(0, 3, now);
    now += 2000;
    for (i = 0; i < 9; i++) {
        assert_in_range(v.length_usec, expected, expected + expected / 10);
        assert_int_equal(v.times, i + 1);
        assert_int_equal(gate_trial_claim(w.reg, slots[0], seat, now + v.length_usec - 1, SEC), 0);
        now += v.length_usec;
        v = trial(0, GATE_OUTCOME_TIMEOUT, now);
        assert_int_equal(v.act, OUTLIER_AGAIN);
        assert_true(is_ejected(0));
        expected = i < OUTLIER_DOUBLINGS_MAX ? expected * 2 : expected;
    }
}

static void test_good_conduct(void **state)
{
    int64_t now = 100 * SEC;
    outlier_verdict_t v;

    (void)state;
    make_members(4);
    v = fail_times(0, 3, now);
    now += 20 * SEC;
    v = trial(0, GATE_OUTCOME_CONNECT, now);
    now += v.length_usec;
    assert_int_equal(v.times, 2);
    assert_int_equal(trial(0, GATE_OUTCOME_OK, now).act, OUTLIER_BACK);
    assert_false(is_ejected(0));
    assert_int_equal(gate_up_since(w.reg, slots[0]), now); /* its slow start begins */
    /* at once bad again: longer than before */
    v = fail_times(0, 3, now + SEC);
    assert_int_equal(v.times, 3);
    now += SEC + 2000 + v.length_usec;
    assert_int_equal(trial(0, GATE_OUTCOME_OK, now).act, OUTLIER_BACK);
    /* one spell as long as the last ejection takes one repetition back, three take all */
    v = fail_times(0, 3, now + v.length_usec + SEC);
    assert_int_equal(v.times, 3);
    now += v.length_usec * 2 + 2 * SEC;
    assert_int_equal(trial(0, GATE_OUTCOME_OK, now).act, OUTLIER_BACK);
    v = fail_times(0, 3, now + 3 * v.length_usec + SEC);
    assert_int_equal(v.times, 1);
}

/* Trap 28: one request at a time; one that says nothing lets the next one try. */
static void test_trial_that_says_nothing(void **state)
{
    int64_t now = 120 * SEC;

    (void)state;
    make_members(4);
    fail_times(0, 3, 100 * SEC);
    assert_int_equal(trial(0, GATE_OUTCOME_CLIENT, now).act, OUTLIER_NOTHING);
    assert_true(is_ejected(0));
    assert_int_equal(trial(0, GATE_OUTCOME_OK, now + 1).act, OUTLIER_BACK);
}

/* What was in flight when it was ejected, or comes by panic, decides nothing. */
static void test_only_the_trial_brings_back(void **state)
{
    (void)state;
    make_members(4);
    fail_times(0, 3, 100 * SEC);
    assert_int_equal(take(0, GATE_OUTCOME_OK, 150 * SEC).act, OUTLIER_NOTHING);
    assert_true(is_ejected(0));
}

static void test_slot_of_another_member(void **state)
{
    outlier_row_t *row;

    (void)state;
    make_members(4);
    fail_times(0, 2, 100 * SEC);
    row = &rows[slots[0]];
    atomic_store(&row->incarnation, 77); /* that was somebody else's */
    assert_int_equal(fail_times(0, 2, 101 * SEC).act, OUTLIER_NOTHING);
    assert_int_equal(fail_times(0, 1, 102 * SEC).act, OUTLIER_EJECTED);
}

/* Children that meet errors on all members at once eject half of them and no more, whoever is first. */
static void test_many_children(void **state)
{
    outlier_row_t *shared = mmap(NULL, MEMBERS * sizeof *shared + sizeof lock, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t in_service, ejected, usable, i, k;
    int status;

    (void)state;
    make_members(8);
    for (i = 0; i < 8; i++) {
        if (fork() == 0) {
            gate_lock_t *one = (void *)(shared + MEMBERS);

            for (k = 0; k < 4000; k++) {
                uint32_t member = (i + k) % 8;
                gate_report_t report = report_of(member, GATE_OUTCOME_CONNECT, 0, 100 * SEC + k);

                outlier_take(w.reg, &shared[slots[member]], one, &rule, &report, &refusal);
            }
            _exit(0);
        }
    }
    for (i = 0; i < 8; i++) {
        wait(&status);
        assert_int_equal(status, 0);
    }
    outlier_count(w.reg, app, &in_service, &ejected, &usable);
    assert_int_equal(in_service, 8);
    assert_int_equal(ejected, 4);
    assert_int_equal(usable, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_errors_in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_window, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_the_last, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_else_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(test_max_eject, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ejections_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_good_conduct, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trial_that_says_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_the_trial_brings_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slot_of_another_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_children, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
