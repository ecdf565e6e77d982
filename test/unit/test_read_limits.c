/* test_read_limits.c - RequestReadTimeout's words as mod_reqtimeout reads them, and the time that bytes buy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "read_limits.h"

#define SECOND INT64_C(1000000)

static int word(read_limits_t *limits, const char *text)
{
    return read_limits_word(limits, text, strlen(text));
}

static void test_words(void **state)
{
    static const char *const bad[] = { "", "header", "header=", "header=x", "header=5x", "header=5-", "header=5,MinRate=", "trailer=5", "header=5,MinRate=1x" };
    read_limits_t limits, outer;

    (void)state;
    read_limits_default(&limits);
    assert_true(limits.stage[READ_HEAD].first_s == 20 && limits.stage[READ_HEAD].most_s == 40 && limits.stage[READ_HEAD].min_rate == 500);
    assert_true(limits.stage[READ_BODY].first_s == 20 && limits.stage[READ_BODY].most_s == 0 && limits.stage[READ_BODY].min_rate == 500);
    assert_int_equal(limits.stage[READ_HANDSHAKE].first_s, 0);
    outer = limits;
    assert_int_equal(word(&outer, "body=0"), 0);
    assert_int_equal(outer.stage[READ_BODY].first_s, 0);
    assert_int_equal(word(&limits, "HEADER=3-9,minrate=100"), 0);
    assert_true(limits.stage[READ_HEAD].first_s == 3 && limits.stage[READ_HEAD].most_s == 9 && limits.stage[READ_HEAD].min_rate == 100);
    assert_int_equal(word(&limits, "handshake=7"), 0);
    assert_int_equal(limits.stage[READ_HANDSHAKE].first_s, 7);
    read_limits_merge(&limits, &outer);
    assert_int_equal(limits.stage[READ_BODY].first_s, 0);
    assert_int_equal(limits.stage[READ_HEAD].first_s, 3);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(word(&limits, bad[i]), -1);
    }
}

static void test_clock(void **state)
{
    read_limit_t limit = { .first_s = 2, .most_s = 4, .min_rate = 100 }, none = { 0, 0, 0 }, flat = { .first_s = 5 };
    read_clock_t clock;

    (void)state;
    read_clock_start(&clock, &limit, 10 * SECOND);
    assert_true(clock.due_usec == 12 * SECOND);
    read_clock_bytes(&clock, 50);
    assert_true(clock.due_usec == 12 * SECOND + SECOND / 2);
    read_clock_bytes(&clock, 5000);
    assert_true(clock.due_usec == 14 * SECOND);
    read_clock_start(&clock, &none, 10 * SECOND);
    read_clock_bytes(&clock, 50);
    assert_true(clock.due_usec == 0);
    read_clock_start(&clock, &flat, 10 * SECOND);
    read_clock_bytes(&clock, 5000);
    assert_true(clock.due_usec == 15 * SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
