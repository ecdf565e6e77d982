/*
 * test_variant.c - which coding a client gets; entity tags of codings, there and back; conditions of RFC 9110, 13.
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

#include "unit_pool.h"
#include "variant.h"

static int choose(const char *accept, unsigned have, const char *if_none_match, const char *if_range)
{
    gate_accept_t a;
    gate_choice_t choice = { &a, have, "\"v1\"", if_none_match, if_range };

    gate_accept_parse(accept, &a);
    return gate_choose(pool, &choice);
}

#define ALL 7u
#define ID GATE_CODING_IDENTITY
#define BR GATE_CODING_BR
#define GZ GATE_CODING_GZIP

static void test_rfc9110_12_5_3_choice(void **state)
{
    (void)state;
    assert_int_equal(choose("gzip, br", ALL, NULL, NULL), BR);
    assert_int_equal(choose("gzip, br;q=0.5", ALL, NULL, NULL), GZ);
    assert_int_equal(choose("gzip;q=0, br;q=0", ALL, NULL, NULL), ID);
    assert_int_equal(choose(NULL, ALL, NULL, NULL), ID);
    assert_int_equal(choose("identity, gzip;q=0.1", ALL, NULL, NULL), ID);
    assert_int_equal(choose("*;q=0", ALL, NULL, NULL), -1);
    assert_int_equal(choose("gzip, identity;q=0", 1u << ID, NULL, NULL), -1);
}

static void test_trap_59_no_br_yet_falls_back_to_gzip(void **state)
{
    (void)state;
    assert_int_equal(choose("gzip, br", 1u << ID | 1u << GZ, NULL, NULL), GZ);
    assert_int_equal(choose("br", 1u << ID | 1u << GZ, NULL, NULL), ID);
    assert_int_equal(choose("br, gzip", 1u << ID, NULL, NULL), ID);
}

static void test_what_the_client_has_already_is_chosen(void **state)
{
    (void)state;
    assert_int_equal(choose("gzip, br", ALL, "\"v1--gzip\"", NULL), GZ);
    assert_int_equal(choose("gzip, br", ALL, "\"v1\"", NULL), ID);
    assert_int_equal(choose("gzip, br", ALL, "W/\"v1\"", NULL), ID);
    assert_int_equal(choose("gzip, br", ALL, "\"v0--gzip\"", NULL), BR);
    assert_int_equal(choose("gzip;q=0, br", ALL, "\"v1--gzip\"", NULL), BR);
    assert_int_equal(choose("gzip, br", ALL, NULL, "\"v1--gzip\""), GZ);
    assert_int_equal(choose("gzip, br", ALL, "*", NULL), BR);
}

static void test_trap_55_tags_per_coding_and_back(void **state)
{
    (void)state;
    assert_string_equal(gate_etag_for(pool, "\"a\"", BR), "\"a--br\"");
    assert_string_equal(gate_etag_for(pool, "W/\"a\"", GZ), "W/\"a--gzip\"");
    assert_string_equal(gate_etag_for(pool, "\"a\"", ID), "\"a\"");
    assert_null(gate_etag_for(pool, NULL, BR));
    assert_null(gate_etag_for(pool, "broken", BR));
    assert_string_equal(gate_etags_back(pool, "\"a--br\", W/\"b--gzip\", \"c\""), "\"a\", W/\"b\", \"c\"");
    assert_string_equal(gate_etags_back(pool, "\"a--br\", \"a--gzip\", \"a\""), "\"a\"");
    assert_string_equal(gate_etags_back(pool, "*"), "*");
    assert_string_equal(gate_etags_back(pool, "\"x, y--br\""), "\"x, y\"");
    assert_string_equal(gate_etags_back(pool, "\"--br\""), "\"--br\"");
}

static void test_rfc9110_8_8_3_2_comparison(void **state)
{
    (void)state;
    assert_true(gate_etag_matches("\"a\", \"b\"", "\"b\"", 1));
    assert_true(gate_etag_matches("W/\"b\"", "\"b\"", 0));
    assert_false(gate_etag_matches("W/\"b\"", "\"b\"", 1));
    assert_false(gate_etag_matches("\"b\"", "W/\"b\"", 1));
    assert_true(gate_etag_matches("*", NULL, 1));
    assert_false(gate_etag_matches("\"ab\"", "\"a\"", 0));
    assert_false(gate_etag_matches("\"a, b\"", "\"b\"", 0));
}

static gate_cond_e cond(const char *name, const char *value)
{
    apr_table_t *t = apr_table_make(pool, 1);

    apr_table_setn(t, name, value);
    return gate_conditions(pool, t, "\"a\"", "Tue, 14 Nov 2023 22:13:20 GMT", 1700000500);
}

static void test_rfc9111_4_3_2_conditions_of_a_request(void **state)
{
    apr_table_t *t = apr_table_make(pool, 2);

    (void)state;
    assert_int_equal(cond("If-None-Match", "\"a\""), GATE_COND_NOT_MODIFIED);
    assert_int_equal(cond("If-None-Match", "W/\"a\""), GATE_COND_NOT_MODIFIED);
    assert_int_equal(cond("If-None-Match", "\"b\""), GATE_COND_NONE);
    assert_int_equal(cond("If-None-Match", "*"), GATE_COND_NOT_MODIFIED);
    assert_int_equal(cond("If-Modified-Since", "Tue, 14 Nov 2023 22:13:20 GMT"), GATE_COND_NOT_MODIFIED);
    assert_int_equal(cond("If-Modified-Since", "Tue, 14 Nov 2023 22:13:19 GMT"), GATE_COND_NONE);
    assert_int_equal(cond("If-Modified-Since", "yesterday"), GATE_COND_NONE);
    assert_int_equal(cond("If-Match", "\"a\""), GATE_COND_NONE);
    assert_int_equal(cond("If-Match", "W/\"a\""), GATE_COND_FAILED);
    assert_int_equal(cond("If-Unmodified-Since", "Tue, 14 Nov 2023 22:13:19 GMT"), GATE_COND_FAILED);
    assert_int_equal(cond("X-None", ""), GATE_COND_NONE);
    /* If-Modified-Since does not count beside If-None-Match */
    apr_table_setn(t, "If-None-Match", "\"b\"");
    apr_table_setn(t, "If-Modified-Since", "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_int_equal(gate_conditions(pool, t, "\"a\"", "Tue, 14 Nov 2023 22:13:20 GMT", 0), GATE_COND_NONE);
    /* no Last-Modified: Date stands in */
    apr_table_unset(t, "If-None-Match");
    assert_int_equal(gate_conditions(pool, t, NULL, NULL, 1700000000), GATE_COND_NOT_MODIFIED);
    assert_int_equal(gate_conditions(pool, t, NULL, NULL, 1700000001), GATE_COND_NONE);
}

static void test_codings_of_the_member(void **state)
{
    (void)state;
    assert_int_equal(gate_coding_of(NULL), ID);
    assert_int_equal(gate_coding_of("gzip"), GZ);
    assert_int_equal(gate_coding_of("X-GZIP"), GZ);
    assert_int_equal(gate_coding_of("br"), BR);
    assert_int_equal(gate_coding_of("identity"), ID);
    assert_int_equal(gate_coding_of("gzip, br"), -1);
    assert_int_equal(gate_coding_of("zstd"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc9110_12_5_3_choice),
        cmocka_unit_test(test_trap_59_no_br_yet_falls_back_to_gzip),
        cmocka_unit_test(test_what_the_client_has_already_is_chosen),
        cmocka_unit_test(test_trap_55_tags_per_coding_and_back),
        cmocka_unit_test(test_rfc9110_8_8_3_2_comparison),
        cmocka_unit_test(test_rfc9111_4_3_2_conditions_of_a_request),
        cmocka_unit_test(test_codings_of_the_member),
    };

    return cmocka_run_group_tests_name("variant", tests, pool_open, pool_close);
}
