/* test_h2_priority.c - RFC 9218: what a Priority field says, and whose word counts. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "h2_priority.h"

static void check(const char *value, int good, int urgency, int incremental)
{
    h2_priority_t said = H2_PRIORITY_UNSAID;

    assert_int_equal(h2_priority_parse(value, strlen(value), &said), good);
    assert_int_equal(said.urgency, urgency);
    assert_int_equal(said.incremental, incremental);
}

static void test_said(void **state)
{
    (void)state;
    check("", 1, -1, -1);
    check("u=0", 1, 0, -1);
    check("u=7, i", 1, 7, 1);
    check("  i=?0 ,\tu=5 ", 1, 5, 0);
    check("i=?1;a;b=2, u=1;c=\"x\\\"y\"", 1, 1, 1);
    check("u=2,u=4", 1, 4, -1);
    check("*x.y-z_1=(a \"b\" 3;q);p, u=1, t=:YWJj:, d=1.25, tok=a/b:c", 1, 1, -1);
}

static void test_says_nothing(void **state)
{
    (void)state;
    check("u=8", 1, -1, -1);
    check("u=-1", 1, -1, -1);
    check("u=2.0", 1, -1, -1);
    check("u", 1, -1, -1);
    check("u=\"1\"", 1, -1, -1);
    check("i=1, u=(1)", 1, -1, -1);
    check("u=999999999999999", 1, -1, -1);
    check("u=2, u=9", 1, -1, -1);
}

static void test_no_dictionary(void **state)
{
    static const char *const bad[] = { "u=1,", ",u=1", "u=", "u=1 i", "U=1", "u=1;", "u=1, i=?2", "u=1, \"a\"", "u=1, a=\"b", "u=1, a=(b", "u=1, a=(b\"c\")",
                                       "u=1, b=1234567890123456", "u=1, d=1.", "u=1, d=1.2345", "u=1, x=:a", "u=1, q=\"\\a\"", "u=-", "u=1\x01", "u=1, \xff=2" };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check(bad[i], 0, -1, -1);
    }
}

static void test_whose_word(void **state)
{
    h2_priority_t none = H2_PRIORITY_UNSAID, client = { 5, 1 }, member = { 0, -1 }, got;
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\nPriority: u=6\r\nX: y\r\nPriority: i\r\n\r\n";

    (void)state;
    got = h2_priority_merge(none, none);
    assert_true(got.urgency == H2_URGENCY_USUAL && got.incremental == 0);
    got = h2_priority_merge(client, member);
    assert_true(got.urgency == 0 && got.incremental == 1);
    got = h2_priority_of_head(head, sizeof head - 1);
    assert_true(got.urgency == 6 && got.incremental == 1);
    got = h2_priority_of_head(head, 40);
    assert_true(got.urgency == -1 || got.urgency == 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_said), cmocka_unit_test(test_says_nothing), cmocka_unit_test(test_no_dictionary),
                                        cmocka_unit_test(test_whose_word) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
