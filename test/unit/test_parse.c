/*
 * test_parse.c - the strict parsers: what is taken, what is refused, and what the refusal says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>

#include "gate_parse.h"
#include "gate_registry.h"
#include "unit_pool.h"

_Static_assert(GATE_URL_MAX_CHARS + 1 == GATE_URL_LEN, "a URL that the parser takes fits into the registry");

static void assert_says(const char *message, const char *part)
{
    assert_non_null(message);
    if (strstr(message, part) == NULL) {
        fail_msg("'%s' does not say '%s'", message, part);
    }
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- numbers ------------------------------------------------------------------------------------------------------------- */

static void test_uint_takes_whole_numbers(void **state)
{
    uint64_t n = 0;

    (void)state;
    assert_null(gate_parse_uint(pool, "1", 1, 1000, &n));
    assert_int_equal(n, 1);
    assert_null(gate_parse_uint(pool, "1000", 1, 1000, &n));
    assert_int_equal(n, 1000);
    assert_null(gate_parse_uint(pool, "0", 0, 0, &n));
    assert_int_equal(n, 0);
    assert_null(gate_parse_uint(pool, "18446744073709551615", 0, UINT64_MAX, &n));
    assert_true(n == UINT64_MAX);
    assert_null(gate_parse_uint(pool, "010", 1, 10, &n)); /* decimal, never octal */
    assert_int_equal(n, 10);
}

static void test_uint_refuses_the_rest(void **state)
{
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "3x", "x3", "0x10", "1.0", "1e3", "1,000", "1\n", "0", "1001",
                                      "18446744073709551616", "99999999999999999999999999"};
    uint64_t n = 42;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_string_equal(gate_parse_uint(pool, bad[i], 1, 1000, &n), "is not a whole number from 1 to 1000");
    }
    assert_string_equal(gate_parse_uint(pool, "x", 3, UINT64_MAX, &n), "is not a whole number of at least 3");
    assert_int_equal(n, 42); /* untouched */
}

static void test_milli(void **state)
{
    static const char *const bad[] = {"", ".5", "1.", "1.2345", "1.25x", "-1", "1,5", "1..5", "0.999", "10.001",
                                      "18446744073709551615", "18446744073709551.616"};
    uint64_t n = 0;

    (void)state;
    assert_null(gate_parse_milli(pool, "1.25", 1000, 10000, &n));
    assert_int_equal(n, 1250);
    assert_null(gate_parse_milli(pool, "2", 1000, 10000, &n));
    assert_int_equal(n, 2000);
    assert_null(gate_parse_milli(pool, "1.005", 1000, 10000, &n));
    assert_int_equal(n, 1005);
    assert_null(gate_parse_milli(pool, "18446744073709551.615", 0, UINT64_MAX, &n));
    assert_true(n == UINT64_MAX);
    n = 42;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_says(gate_parse_milli(pool, bad[i], 1000, 10000, &n), "is not a number from 1 to 10 (at most three digits");
    }
    assert_int_equal(n, 42);
    assert_says(gate_parse_milli(pool, "x", 1050, 20500, &n), "from 1.05 to 20.5 ");
    assert_says(gate_parse_milli(pool, "x", 0, 100000, &n), "from 0 to 100 ");
}

/* ---- units --------------------------------------------------------------------------------------------------------------- */

static void test_duration_units(void **state)
{
    static const struct {
        const char *text;
        int64_t usec;
    } good[] = {{"0", 0}, {"5", 5000000}, {"250ms", 250000}, {"30s", 30000000}, {"5m", 300000000}, {"5min", 300000000},
                {"2h", INT64_C(7200000000)}, {"1d", INT64_C(86400000000)}, {"106751991d", INT64_C(106751991) * 86400000000}};
    int64_t usec;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_null(gate_parse_duration(pool, good[i].text, 0, INT64_MAX, &usec));
        assert_true(usec == good[i].usec);
    }
}

static void test_duration_refuses_the_rest(void **state)
{
    static const char *const bad[] = {"", "s", "30 s", "30S", "30sec", "-1s", "1.5s", "1w", "5mi", "ms", "30s ", "999ms", "301s",
                                      "6m", "106751992d", "9223372036854775807d", "18446744073709551616ms"};
    int64_t usec = 42;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_says(gate_parse_duration(pool, bad[i], 1000000, 300000000, &usec), "is not a duration from 1s to 5m (");
    }
    assert_true(usec == 42);
    assert_says(gate_parse_duration(pool, "106751992d", 0, INT64_MAX, &usec), "of at least 0");
    assert_true(usec == 42);
    assert_says(gate_parse_duration(pool, "x", 1500000, INT64_C(90000000), &usec), "from 1500ms to 90s");
    assert_says(gate_parse_duration(pool, "x", 0, INT64_C(86400000000), &usec), "from 0 to 1d");
    assert_says(gate_parse_duration(pool, "x", 1, INT64_C(3600000000), &usec), "from 1us to 1h");
}

static void test_size(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"4096", 4096}, {"4096B", 4096}, {"64k", 65536}, {"64K", 65536}, {"64KB", 65536}, {"64KiB", 65536},
                {"32M", 32u << 20}, {"32mib", 32u << 20}, {"1G", 1u << 30}, {"1gb", 1u << 30}};
    static const char *const bad[] = {"", "M", "32 M", "32MM", "32T", "-1M", "1.5M", "0x10", "32Mb ", "1023", "2G",
                                      "17179869184G", "18446744073709551616", "18446744073709551615K"};
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_null(gate_parse_size(pool, good[i].text, 0, UINT64_MAX, &bytes));
        assert_true(bytes == good[i].bytes);
    }
    bytes = 42;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_says(gate_parse_size(pool, bad[i], 1024, 1u << 30, &bytes), "is not a size from 1K to 1G (");
    }
    assert_int_equal(bytes, 42);
    assert_says(gate_parse_size(pool, "x", 1000, 32u << 20, &bytes), "from 1000B to 32M");
    assert_says(gate_parse_size(pool, "17179869184G", 1, UINT64_MAX, &bytes), "of at least 1B");
}

static void test_percent(void **state)
{
    static const char *const bad[] = {"", "%", "50", "50 %", "101%", "100.1%", "-1%", "12.34%", "50%%", ".5%", "5.%",
                                      "18446744073709551616%"};
    uint32_t milli = 1;

    (void)state;
    assert_null(gate_parse_percent(pool, "0%", &milli));
    assert_int_equal(milli, 0);
    assert_null(gate_parse_percent(pool, "50%", &milli));
    assert_int_equal(milli, 500);
    assert_null(gate_parse_percent(pool, "12.5%", &milli));
    assert_int_equal(milli, 125);
    assert_null(gate_parse_percent(pool, "100.0%", &milli));
    assert_int_equal(milli, 1000);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_says(gate_parse_percent(pool, bad[i], &milli), "from 0% to 100%");
    }
    assert_int_equal(milli, 1000);
}

static void test_rate(void **state)
{
    static const char *const bad[] = {"", "10", "10r", "10r/", "10r/ms", "10r/min", "0r/s", "-1r/s", "10/s", "10 r/s", "10r/s ",
                                      "1.5r/s", "1000000001r/s", "18446744073709551616r/s"};
    uint64_t events = 0;
    int64_t period = 0;

    (void)state;
    assert_null(gate_parse_rate(pool, "10r/s", &events, &period));
    assert_int_equal(events, 10);
    assert_int_equal(period, 1000000);
    assert_null(gate_parse_rate(pool, "1r/m", &events, &period));
    assert_int_equal(period, 60000000);
    assert_null(gate_parse_rate(pool, "1r/h", &events, &period));
    assert_true(period == INT64_C(3600000000));
    assert_null(gate_parse_rate(pool, "1000000000r/d", &events, &period));
    assert_true(period == INT64_C(86400000000));
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_says(gate_parse_rate(pool, bad[i], &events, &period), "is not a rate such as 10r/s");
    }
    assert_int_equal(events, 1000000000);
}

static void test_flag(void **state)
{
    int on = -1;

    (void)state;
    assert_null(gate_parse_flag(pool, "On", &on));
    assert_int_equal(on, 1);
    assert_null(gate_parse_flag(pool, "off", &on));
    assert_int_equal(on, 0);
    assert_string_equal(gate_parse_flag(pool, "yes", &on), "is neither 'on' nor 'off'");
    assert_string_equal(gate_parse_flag(pool, "", &on), "is neither 'on' nor 'off'");
    assert_string_equal(gate_parse_flag(pool, "on ", &on), "is neither 'on' nor 'off'");
    assert_int_equal(on, 0);
}

/* ---- statuses, names, words ---------------------------------------------------------------------------------------------- */

static int count_statuses(const gate_status_set_t *set)
{
    int n = 0;

    for (int status = -1; status < 1000; status++) {
        n += gate_status_in(set, status);
    }
    return n;
}

static void test_status_set(void **state)
{
    static const char *const bad[] = {"", ",", "200,", ",200", "200,,204", "200-", "-200", "20", "2000", "099", "600", "200-600",
                                      "2xx", "200 204", "200-300-400", "200, 204", "00200"};
    gate_status_set_t set;

    (void)state;
    assert_null(gate_parse_status_set(pool, "200-399", &set));
    assert_int_equal(count_statuses(&set), 200);
    assert_true(gate_status_in(&set, 200) && gate_status_in(&set, 399));
    assert_false(gate_status_in(&set, 199) || gate_status_in(&set, 400));
    assert_null(gate_parse_status_set(pool, "200,204,300-301", &set));
    assert_int_equal(count_statuses(&set), 4);
    assert_null(gate_parse_status_set(pool, "100-599", &set));
    assert_int_equal(count_statuses(&set), 500);
    assert_null(gate_parse_status_set(pool, "503", &set));
    assert_int_equal(count_statuses(&set), 1);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_says(gate_parse_status_set(pool, bad[i], &set), "is not a set of statuses such as 200-399");
    }
    assert_says(gate_parse_status_set(pool, "200,399-300", &set), "399-300 the wrong way round; write 300-399");
    assert_int_equal(count_statuses(&set), 1); /* untouched by all of these */
}

static void test_name(void **state)
{
    static const char *const good[] = {"a", "app", "App-1", "10.0.0.1:8080", "a_b.c", "0",
                                       "a23456789012345678901234567890123456789012345678901234567890123"};
    static const char *const bad[] = {"", "-a", ".a", "_a", ":a", "a b", "a/b", "a%b", "a\n", "caf\xc3\xa9", "a;b", "a\"b",
                                      "a234567890123456789012345678901234567890123456789012345678901234"};

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_null(gate_parse_name(pool, good[i]));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_says(gate_parse_name(pool, bad[i]), "is not a name (1 to 63 letters, digits");
    }
}

static const gate_word_t strategies[] = {
    {"round-robin", 1}, {"least-connections", 2}, {"two-choices", 3}, {"first", 0}, {NULL, 0}
};

static void test_word(void **state)
{
    int value = -1;

    (void)state;
    assert_null(gate_parse_word(pool, "first", strategies, &value));
    assert_int_equal(value, 0);
    assert_null(gate_parse_word(pool, "Two-Choices", strategies, &value));
    assert_int_equal(value, 3);
    assert_string_equal(gate_parse_word(pool, "roundrobin", strategies, &value),
                        "is none of: round-robin, least-connections, two-choices, first; did you mean 'round-robin'?");
    assert_string_equal(gate_parse_word(pool, "", strategies, &value),
                        "is none of: round-robin, least-connections, two-choices, first");
    assert_int_equal(value, 3);
}

static void test_nearest(void **state)
{
    static const char *const words[] = {"app", "api", "static-assets", "weight"};
    char long_word[200];

    (void)state;
    assert_string_equal(gate_nearest("ap", words, 4), "app");         /* one letter missing */
    assert_string_equal(gate_nearest("pai", words, 4), "api");        /* two swapped */
    assert_string_equal(gate_nearest("wieght", words, 4), "weight");
    assert_string_equal(gate_nearest("WEIGHT", words, 4), "weight");
    assert_string_equal(gate_nearest("staticassets", words, 4), "static-assets");
    assert_null(gate_nearest("xyz", words, 4));
    assert_null(gate_nearest("", words, 4));
    assert_null(gate_nearest("a", words, 4));
    assert_null(gate_nearest("app", words, 0));
    memset(long_word, 'a', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    assert_null(gate_nearest(long_word, words, 4));
}

/* ---- key=value ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t weight;
    int backup;
    const char *drain;
} pair_target_t;

static const char *set_weight(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_uint(p, value, 1, 1000, &((pair_target_t *)target)->weight);
}

static const char *set_backup(apr_pool_t *p, void *target, const char *value)
{
    (void)p;
    assert_null(value);
    ((pair_target_t *)target)->backup = 1;
    return NULL;
}

static const char *set_drain(apr_pool_t *p, void *target, const char *value)
{
    if (value != NULL && strcmp(value, "never") == 0) {
        return "is not drainable";
    }
    ((pair_target_t *)target)->drain = value != NULL ? apr_pstrdup(p, value) : "bare";
    return NULL;
}

static const gate_pair_rule_t rules[] = {
    {"weight", 0, set_weight}, {"backup", 1, set_backup}, {"drain", 2, set_drain}, {NULL, 0, NULL}
};

static void test_pair_sets(void **state)
{
    pair_target_t target = {0};
    uint64_t seen = 0;

    (void)state;
    assert_null(gate_parse_pair(pool, "weight=3", rules, &seen, &target));
    assert_null(gate_parse_pair(pool, "Backup", rules, &seen, &target));
    assert_null(gate_parse_pair(pool, "drain=a=b", rules, &seen, &target));
    assert_int_equal(target.weight, 3);
    assert_int_equal(target.backup, 1);
    assert_string_equal(target.drain, "a=b");
    seen = 0;
    assert_null(gate_parse_pair(pool, "drain", rules, &seen, &target));
    assert_string_equal(target.drain, "bare");
}

static void test_pair_errors(void **state)
{
    pair_target_t target = {0};
    uint64_t seen = 0;

    (void)state;
    assert_string_equal(gate_parse_pair(pool, "wieght=3", rules, &seen, &target),
                        "'wieght=3' is not known here; did you mean 'weight='? (known: weight=, backup, drain)");
    assert_string_equal(gate_parse_pair(pool, "color=red", rules, &seen, &target),
                        "'color=red' is not known here (known: weight=, backup, drain)");
    assert_string_equal(gate_parse_pair(pool, "", rules, &seen, &target),
                        "'' is not known here (known: weight=, backup, drain)");
    assert_string_equal(gate_parse_pair(pool, "=3", rules, &seen, &target),
                        "'=3' is not known here (known: weight=, backup, drain)");
    assert_string_equal(gate_parse_pair(pool, "weight", rules, &seen, &target), "'weight' needs a value: weight=...");
    assert_string_equal(gate_parse_pair(pool, "weight=", rules, &seen, &target), "'weight=' has nothing after the '='");
    assert_string_equal(gate_parse_pair(pool, "weight=3x", rules, &seen, &target),
                        "'weight=3x': '3x' is not a whole number from 1 to 1000");
    assert_string_equal(gate_parse_pair(pool, "backup=1", rules, &seen, &target),
                        "'backup=1' takes no value: write 'backup' alone");
    assert_string_equal(gate_parse_pair(pool, "drain=never", rules, &seen, &target),
                        "'drain=never': 'never' is not drainable");
    assert_int_equal(seen, 0);
    assert_null(gate_parse_pair(pool, "weight=3", rules, &seen, &target));
    assert_string_equal(gate_parse_pair(pool, "weight=4", rules, &seen, &target),
                        "'weight=4' gives 'weight' a second time; once is enough");
    assert_int_equal(target.weight, 3);
}

static void assert_words(const char *text, const char *expected)
{
    apr_array_header_t *words;
    char *all = apr_pstrdup(pool, "");
    int i;

    assert_null(gate_parse_args(pool, text, &words));
    for (i = 0; i < words->nelts; i++) {
        all = apr_pstrcat(pool, all, "[", APR_ARRAY_IDX(words, i, char *), "]", NULL);
    }
    assert_string_equal(all, expected);
}

static void test_args(void **state)
{
    apr_array_header_t *words;

    (void)state;
    assert_words("", "");
    assert_words("  a\t b=c  ", "[a][b=c]");
    assert_words("header=\"X-A: b c\" 'one word' x", "[header=X-A: b c][one word][x]");
    assert_words("body=\"a\\.b \\\"q\\\" \\\\\"", "[body=a\\.b \"q\" \\]");
    assert_words("\"\" ''", "[][]");
    assert_words("it\"'\"s", "[it's]");
    assert_non_null(gate_parse_args(pool, "a=\"b c", &words));
    assert_non_null(gate_parse_args(pool, "'", &words));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_args),
        cmocka_unit_test(test_uint_takes_whole_numbers),
        cmocka_unit_test(test_uint_refuses_the_rest),
        cmocka_unit_test(test_milli),
        cmocka_unit_test(test_duration_units),
        cmocka_unit_test(test_duration_refuses_the_rest),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_percent),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_flag),
        cmocka_unit_test(test_status_set),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_word),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_pair_sets),
        cmocka_unit_test(test_pair_errors),
    };

    return cmocka_run_group_tests_name("parse", tests, pool_open, pool_close);
}
