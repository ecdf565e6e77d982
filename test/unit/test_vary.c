/*
 * test_vary.c - which requests an answer suits: RFC 9111, 4.1; Accept-Encoding: RFC 9110, 12.5.3.
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

#include "fields.h"
#include "unit_pool.h"
#include "vary.h"

/* 1 suits, 0 does not, -1 suits nobody else */
static int suits_by(const char *vary, const char *stored_for, const char *request, int ignore_encoding, int mapped)
{
    gate_vary_rule_t rule = { ignore_encoding, mapped };
    size_t len;
    const char *key = gate_vary_key(pool, headers(vary), headers(stored_for), &rule, &len);

    return key ? gate_vary_suits(pool, key, len, headers(request)) : -1;
}

static int suits(const char *vary, const char *stored_for, const char *request)
{
    return suits_by(vary, stored_for, request, 0, 0);
}

static void test_rfc9111_4_1_named_fields_must_match(void **state)
{
    (void)state;
    assert_int_equal(suits("", "X-A: 1", "X-A: 2"), 1);
    assert_int_equal(suits("Vary: X-A", "X-A: 1", "X-A: 1"), 1);
    assert_int_equal(suits("Vary: X-A", "X-A: 1", "X-A: 2"), 0);
    assert_int_equal(suits("Vary: x-a", "X-A: 1", "x-a: 1|X-B: 5"), 1);
    assert_int_equal(suits("Vary: X-A, X-B", "X-A: 1|X-B: 1", "X-A: 1|X-B: 2"), 0);
}

static void test_rfc9111_4_1_absent_matches_absent_only(void **state)
{
    (void)state;
    assert_int_equal(suits("Vary: X-A", "X-B: 1", "X-B: 2"), 1);
    assert_int_equal(suits("Vary: X-A", "X-B: 1", "X-A: 1"), 0);
    assert_int_equal(suits("Vary: X-A", "X-A: 1", "X-B: 1"), 0);
    assert_int_equal(suits("Vary: X-A", "X-A:", "X-B: 1"), 0);
}

static void test_rfc9111_4_1_lines_and_blanks_mean_the_same(void **state)
{
    (void)state;
    assert_int_equal(suits("Vary: X-A", "X-A: 1, 2", "X-A: 1|X-A: 2"), 1);
    assert_int_equal(suits("Vary: X-A", "X-A: 1,2", "X-A:  1 ,  2 "), 1);
    assert_int_equal(suits("Vary: X-A", "X-A: 1, 2", "X-A: 2, 1"), 0);
}

static void test_rfc9111_4_1_star_suits_nobody(void **state)
{
    (void)state;
    assert_int_equal(suits("Vary: *", "", ""), -1);
    assert_int_equal(suits("Vary: X-A, *", "", ""), -1);
    assert_int_equal(suits("Vary: X-A|Vary: *", "", ""), -1);
}

static void test_trap_40_empty_members_and_lines(void **state)
{
    (void)state;
    assert_int_equal(suits("Vary: , X-A,,", "X-A: 1", "X-A: 2"), 0);
    assert_int_equal(suits("Vary: ,, *", "", ""), -1);
    assert_int_equal(suits("Vary:|Vary: *", "", ""), -1);
    assert_int_equal(suits("Vary: X-B|Vary: X-A", "X-A: 1", "X-A: 2"), 0);
}

static void test_trap_40_user_agent_and_cookie_suit_nobody_unless_mapped(void **state)
{
    (void)state;
    assert_int_equal(suits("Vary: User-Agent", "", ""), -1);
    assert_int_equal(suits("Vary: Accept, cookie", "", ""), -1);
    assert_int_equal(suits_by("Vary: User-Agent, X-A", "X-A: 1", "X-A: 1|User-Agent: u", 0, 1), 1);
}

static void test_trap_40_accept_encoding_has_few_forms(void **state)
{
    (void)state;
    assert_int_equal(suits("Vary: Accept-Encoding", "Accept-Encoding: gzip, deflate, br", "Accept-Encoding: br;q=1.0, gzip;q=0.8, zstd"), 1);
    assert_int_equal(suits("Vary: Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: br, gzip"), 0);
    assert_int_equal(suits("Vary: Accept-Encoding", "Accept-Encoding: gzip;q=0", "X-A: 1"), 1);
    assert_int_equal(suits_by("Vary: Accept-Encoding", "Accept-Encoding: gzip", "X-A: 1", 1, 0), 1);
}

static unsigned takes(const char *text)
{
    gate_accept_t a;

    gate_accept_parse(text, &a);
    return a.takes;
}

static void test_trap_41_qvalues(void **state)
{
    (void)state;
    assert_int_equal(takes(NULL), GATE_TAKES_IDENTITY);
    assert_int_equal(takes(""), GATE_TAKES_IDENTITY);
    assert_int_equal(takes("br;q=0, gzip"), GATE_TAKES_GZIP | GATE_TAKES_IDENTITY);
    assert_int_equal(takes("br ; q=0.000, gzip;Q=0.1"), GATE_TAKES_GZIP | GATE_TAKES_IDENTITY);
    assert_int_equal(takes("*"), GATE_TAKES_BR | GATE_TAKES_GZIP | GATE_TAKES_IDENTITY);
    assert_int_equal(takes("*;q=0"), 0);
    assert_int_equal(takes("*;q=0, gzip"), GATE_TAKES_GZIP);
    assert_int_equal(takes("identity;q=0, br"), GATE_TAKES_BR);
    assert_int_equal(takes("*;q=0, identity"), GATE_TAKES_IDENTITY);
    assert_int_equal(takes("x-gzip"), GATE_TAKES_GZIP | GATE_TAKES_IDENTITY);
    assert_int_equal(takes("gzip;q=abc"), GATE_TAKES_IDENTITY);
    assert_int_equal(takes("brotli, gzipped"), GATE_TAKES_IDENTITY);
}

static void test_trap_41_repeated_lines_are_joined(void **state)
{
    apr_table_t *t = headers("Accept-Encoding: gzip|Accept-Encoding: br;q=0");

    (void)state;
    assert_string_equal(gate_field(pool, t, "Accept-Encoding"), "gzip, br;q=0");
    assert_int_equal(takes(gate_field(pool, t, "Accept-Encoding")), GATE_TAKES_GZIP | GATE_TAKES_IDENTITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc9111_4_1_named_fields_must_match),
        cmocka_unit_test(test_rfc9111_4_1_absent_matches_absent_only),
        cmocka_unit_test(test_rfc9111_4_1_lines_and_blanks_mean_the_same),
        cmocka_unit_test(test_rfc9111_4_1_star_suits_nobody),
        cmocka_unit_test(test_trap_40_empty_members_and_lines),
        cmocka_unit_test(test_trap_40_user_agent_and_cookie_suit_nobody_unless_mapped),
        cmocka_unit_test(test_trap_40_accept_encoding_has_few_forms),
        cmocka_unit_test(test_trap_41_qvalues),
        cmocka_unit_test(test_trap_41_repeated_lines_are_joined),
    };

    return cmocka_run_group_tests_name("vary", tests, pool_open, pool_close);
}
