/*
 * test_key.c - canonical URLs, query rules, what a Location or a purge names.
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

#include "key.h"
#include "unit_pool.h"

static const char *url(const char *target)
{
    return gate_key_url(pool, "HTTP", "Example.COM", 80, target, NULL);
}

#define ROOT "http://example.com:80"

static void test_trap_39_scheme_host_and_port_are_part_of_it(void **state)
{
    (void)state;
    assert_string_equal(url("/a"), ROOT "/a");
    assert_string_equal(gate_key_url(pool, "https", "example.com.", 443, "/a", NULL), "https://example.com:443/a");
    assert_string_equal(gate_key_url(pool, "http", "::1", 8080, "/", NULL), "http://[::1]:8080/");
    assert_string_equal(gate_key_url(pool, "http", "[::1]", 8080, "/", NULL), "http://[::1]:8080/");
}

static void test_rfc3986_6_2_2_escapes(void **state)
{
    (void)state;
    assert_string_equal(url("/%61%7e%2d"), ROOT "/a~-");
    assert_string_equal(url("/a%2fb"), ROOT "/a%2Fb");
    assert_string_equal(url("/a%3fb"), ROOT "/a%3Fb");
    assert_string_equal(url("/a%"), ROOT "/a%25");
    assert_string_equal(url("/a%4"), ROOT "/a%254");
    assert_string_equal(url("/a%41"), ROOT "/aA");
    assert_string_equal(url("/a%zz"), ROOT "/a%25zz");
}

static void test_rfc3986_5_2_4_dot_segments(void **state)
{
    (void)state;
    assert_string_equal(url("/a/./b/../c"), ROOT "/a/c");
    assert_string_equal(url("/../../a"), ROOT "/a");
    assert_string_equal(url("/a/.."), ROOT "/");
    assert_string_equal(url("/a/b/.."), ROOT "/a/");
    assert_string_equal(url("/a/."), ROOT "/a/");
    assert_string_equal(url("/a/%2e%2e/b"), ROOT "/b");
    assert_string_equal(url("/a/.../b"), ROOT "/a/.../b");
    assert_string_equal(url("/"), ROOT "/");
    assert_string_equal(url("/a//b/"), ROOT "/a//b/");
}

static void test_absolute_form_and_fragments(void **state)
{
    (void)state;
    assert_string_equal(url("http://other/a?b=c"), ROOT "/a?b=c");
    assert_string_equal(url("http://other"), ROOT "/");
    assert_string_equal(url("/a#x"), ROOT "/a");
    assert_string_equal(url("/a?q#x"), ROOT "/a?q");
    assert_string_equal(url("/a?"), ROOT "/a");
    assert_null(url("*"));
    assert_null(url("example.com:443"));
}

static void test_too_long_is_no_key(void **state)
{
    char *target = apr_pcalloc(pool, GATE_KEY_MAX + 10);

    (void)state;
    memset(target, 'a', GATE_KEY_MAX + 8);
    target[0] = '/';
    assert_null(url(target));
}

static void test_query_rules(void **state)
{
    static const char *const ignore[] = { "utm_*", "fbclid", NULL };
    gate_key_rule_t rule = { ignore, 0 }, sorted = { ignore, 1 };

    (void)state;
    assert_string_equal(gate_key_query(pool, "b=1&utm_source=x&a=2&fbclid=3&fbclid2=4", &rule), "b=1&a=2&fbclid2=4");
    assert_string_equal(gate_key_query(pool, "b=1&utm_=&a=2&a=1&b=0", &sorted), "a=2&a=1&b=1&b=0");
    assert_null(gate_key_query(pool, "utm_source=x&fbclid", &rule));
    assert_string_equal(gate_key_query(pool, "b&a", NULL), "b&a");
    assert_null(gate_key_query(pool, "", &rule));
    assert_string_equal(gate_key_url(pool, "http", "h", 80, "/a?utm_id=1", &rule), "http://h:80/a");
}

static void test_rfc9110_10_2_2_what_a_location_names(void **state)
{
    const char *base = ROOT "/dir/page?q=1";

    (void)state;
    assert_string_equal(gate_key_absolute(pool, "/x", base, NULL), ROOT "/x");
    assert_string_equal(gate_key_absolute(pool, "x?y", base, NULL), ROOT "/dir/x?y");
    assert_string_equal(gate_key_absolute(pool, "../x", base, NULL), ROOT "/x");
    assert_string_equal(gate_key_absolute(pool, "?z", base, NULL), ROOT "/dir/page?z");
    assert_string_equal(gate_key_absolute(pool, "//other/x", base, NULL), "http://other:80/x");
    assert_string_equal(gate_key_absolute(pool, "HTTPS://Other/x", base, NULL), "https://other:443/x");
    assert_string_equal(gate_key_absolute(pool, "http://h:81", base, NULL), "http://h:81/");
    assert_null(gate_key_absolute(pool, "ftp://h/", base, NULL));
    assert_null(gate_key_absolute(pool, "http://u@h/", base, NULL));
    assert_null(gate_key_absolute(pool, "http://h:99999/", base, NULL));
    assert_null(gate_key_absolute(pool, "/x", NULL, NULL));
}

static void test_same_origin(void **state)
{
    (void)state;
    assert_true(gate_key_same_origin(ROOT "/a", ROOT "/b?c"));
    assert_false(gate_key_same_origin(ROOT "/a", "http://example.com:81/a"));
    assert_false(gate_key_same_origin(ROOT "/a", "https://example.com:80/a"));
    assert_false(gate_key_same_origin("nonsense", ROOT "/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trap_39_scheme_host_and_port_are_part_of_it),
        cmocka_unit_test(test_rfc3986_6_2_2_escapes),
        cmocka_unit_test(test_rfc3986_5_2_4_dot_segments),
        cmocka_unit_test(test_absolute_form_and_fragments),
        cmocka_unit_test(test_too_long_is_no_key),
        cmocka_unit_test(test_query_rules),
        cmocka_unit_test(test_rfc9110_10_2_2_what_a_location_names),
        cmocka_unit_test(test_same_origin),
    };

    return cmocka_run_group_tests_name("key", tests, pool_open, pool_close);
}
