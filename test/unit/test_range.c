/*
 * test_range.c - RFC 9110, section 14, and If-Range.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_strings.h>
#include <apr_tables.h>

#include "range.h"
#include "unit_pool.h"

static const gate_range_rule_t rule = { 5, 2, 2 };
static const gate_range_t *got;
static int count;

static gate_range_e parse(const char *text, uint64_t length)
{
    return gate_range_parse(pool, text, length, &rule, &got, &count);
}

static void assert_range(int i, uint64_t first, uint64_t last)
{
    assert_true(i < count);
    assert_int_equal(got[i].first, first);
    assert_int_equal(got[i].last, last);
}

static void test_rfc9110_14_1_2_byte_ranges(void **state)
{
    (void)state;
    assert_int_equal(parse("bytes=0-9", 100), GATE_RANGE_PARTS);
    assert_range(0, 0, 9);
    assert_int_equal(parse("bytes=90-", 100), GATE_RANGE_PARTS);
    assert_range(0, 90, 99);
    assert_int_equal(parse("bytes=-10", 100), GATE_RANGE_PARTS);
    assert_range(0, 90, 99);
    assert_int_equal(parse("bytes=-1000", 100), GATE_RANGE_PARTS);
    assert_range(0, 0, 99);
    assert_int_equal(parse("bytes=50-1000", 100), GATE_RANGE_PARTS);
    assert_range(0, 50, 99);
    assert_int_equal(parse("bytes=0-0, -1, , 5-6", 100), GATE_RANGE_PARTS);
    assert_int_equal(count, 3);
    assert_range(1, 99, 99);
    assert_int_equal(parse("bytes=5-99999999999999999999999", 100), GATE_RANGE_PARTS);
    assert_range(0, 5, 99);
}

static void test_rfc9110_15_5_17_unsatisfiable(void **state)
{
    (void)state;
    assert_int_equal(parse("bytes=100-", 100), GATE_RANGE_UNSATISFIABLE);
    assert_int_equal(parse("bytes=-0", 100), GATE_RANGE_UNSATISFIABLE);
    assert_int_equal(parse("bytes=0-", 0), GATE_RANGE_UNSATISFIABLE);
    assert_int_equal(parse("bytes=200-300, 0-1", 100), GATE_RANGE_PARTS);
    assert_int_equal(count, 1);
}

static void test_rfc9110_14_2_what_is_no_range_is_ignored(void **state)
{
    static const char *const bad[] = { "bytes=", "bytes=a-b", "bytes=5", "bytes=9-5", "bytes=--5", "lines=1-2", "bytes 1-2",
                                       "bytes=1-2x", "bytes=-", "bytes=1-2, x" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i], 100), GATE_RANGE_WHOLE);
    }
    assert_int_equal(parse(NULL, 100), GATE_RANGE_WHOLE);
}

static void test_trap_43_ranges_are_capped(void **state)
{
    (void)state;
    assert_int_equal(parse("bytes=0-0,2-2,4-4,6-6,8-8", 100), GATE_RANGE_PARTS);
    assert_int_equal(parse("bytes=0-0,2-2,4-4,6-6,8-8,10-10", 100), GATE_RANGE_WHOLE);
    assert_int_equal(parse("bytes=0-,0-,0-,0-", 100), GATE_RANGE_WHOLE);
    assert_int_equal(parse("bytes=90-91,80-81,70-71,60-61", 100), GATE_RANGE_WHOLE);
}

static void test_rfc9110_13_1_5_if_range(void **state)
{
    const char *modified = "Tue, 14 Nov 2023 22:13:20 GMT";

    (void)state;
    assert_true(gate_range_if(NULL, "\"a\"", NULL, 0));
    assert_true(gate_range_if("\"a\"", "\"a\"", NULL, 0));
    assert_false(gate_range_if("W/\"a\"", "W/\"a\"", NULL, 0));
    assert_false(gate_range_if("\"a\"", "\"a--br\"", NULL, 0));
    assert_true(gate_range_if(modified, NULL, modified, 1700000500));
    assert_false(gate_range_if(modified, NULL, modified, 1700000000));
    assert_false(gate_range_if("Tue, 14 Nov 2023 22:13:21 GMT", NULL, modified, 1700000500));
    assert_false(gate_range_if("garbage", NULL, modified, 1700000500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc9110_14_1_2_byte_ranges),
        cmocka_unit_test(test_rfc9110_15_5_17_unsatisfiable),
        cmocka_unit_test(test_rfc9110_14_2_what_is_no_range_is_ignored),
        cmocka_unit_test(test_trap_43_ranges_are_capped),
        cmocka_unit_test(test_rfc9110_13_1_5_if_range),
    };

    return cmocka_run_group_tests_name("range", tests, pool_open, pool_close);
}
