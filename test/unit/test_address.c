/*
 * test_address.c - one form for every spelling of an address; prefixes, host bits, what is refused. And SipHash's own vectors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_network_io.h>
#include <cmocka.h>

#include "gate_address.h"
#include "gate_siphash.h"

static gate_address_t parsed(const char *text)
{
    gate_address_t a;

    if (gate_address_parse(text, strlen(text), &a) != 0) {
        fail_msg("'%s' was refused", text);
    }
    return a;
}

static void same(const char *one, const char *other)
{
    gate_address_t a = parsed(one), b = parsed(other);

    if (!gate_address_equal(&a, &b)) {
        fail_msg("'%s' and '%s' differ", one, other);
    }
}

/* FIELD trap 17 */
static void test_one_form(void **state)
{
    (void)state;
    same("192.0.2.1", "::ffff:192.0.2.1");
    same("192.0.2.1", "::FFFF:C000:201");
    same("fe80::1", "fe80::1%eth0");
    same("fe80::1%1", "[fe80::1%eth0]");
    same("2001:db8::1", "2001:0DB8:0:0::0:1");
    same("[2001:db8::1]", "2001:db8::1");
}

static void test_text(void **state)
{
    static const char *const cases[][2] = {
        { "::ffff:10.1.2.3", "10.1.2.3" }, { "2001:DB8:0:0:0:0:0:1", "2001:db8::1" }, { "::", "::" },
        { "255.255.255.255", "255.255.255.255" }, { "fe80::1%lo", "fe80::1" }
    };
    char out[GATE_ADDRESS_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gate_address_t a = parsed(cases[i][0]);

        assert_string_equal(gate_address_text(&a, out), cases[i][1]);
    }
    gate_address_t none = gate_address_none();

    assert_string_equal(gate_address_text(&none, out), "unknown");
}

static void test_refused(void **state)
{
    static const char *const cases[] = {
        "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4", "0x1.2.3.4", "1.2.3.-4", "1..2.3", "fe80::1%",
        ":::", "1:2:3", "g::1", "[::1", "::1]", "[1.2.3.4", "::ffff:1.2.3.256", "2001:db8::1/64", "localhost",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd"
    };
    gate_address_t a;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (gate_address_parse(cases[i], strlen(cases[i]), &a) == 0) {
            fail_msg("'%s' was taken", cases[i]);
        }
        assert_int_equal(a.known, 0);
    }
    assert_int_equal(gate_address_parse("::\0", 3, &a), -1);
}

static void test_unknown_equals_nothing(void **state)
{
    gate_address_t none = gate_address_none(), zero = parsed("::");

    (void)state;
    assert_false(gate_address_equal(&none, &none));
    assert_false(gate_address_equal(&none, &zero));
    assert_false(gate_address_is_v4(&none));
}

static void test_from_apr(void **state)
{
    apr_pool_t *p;
    apr_sockaddr_t *sa;
    gate_address_t a, want = parsed("192.0.2.7"), want6 = parsed("2001:db8::7");

    (void)state;
    apr_pool_create(&p, NULL);
    assert_int_equal(apr_sockaddr_info_get(&sa, "192.0.2.7", APR_INET, 80, 0, p), APR_SUCCESS);
    a = gate_address_of(sa);
    assert_true(gate_address_equal(&a, &want));
    assert_int_equal(apr_sockaddr_info_get(&sa, "::ffff:192.0.2.7", APR_INET6, 80, 0, p), APR_SUCCESS);
    a = gate_address_of(sa);
    assert_true(gate_address_equal(&a, &want));
    assert_int_equal(apr_sockaddr_info_get(&sa, "2001:db8::7", APR_INET6, 80, 0, p), APR_SUCCESS);
    a = gate_address_of(sa);
    assert_true(gate_address_equal(&a, &want6));
    assert_int_equal(gate_address_of(NULL).known, 0);
    sa->family = 1; /* a unix socket's */
    assert_int_equal(gate_address_of(sa).known, 0);
    apr_pool_destroy(p);
}

static void test_prefixes(void **state)
{
    static const struct {
        const char *text, *as;
        gate_prefix_result_e result;
    } cases[] = {
        { "192.0.2.0/24", "192.0.2.0/24", GATE_PREFIX_OK },
        { "192.0.2.7", "192.0.2.7", GATE_PREFIX_OK },
        { "192.0.2.7/32", "192.0.2.7", GATE_PREFIX_OK },
        { "192.0.2.7/24", "192.0.2.0/24", GATE_PREFIX_HOST_BITS },
        { "0.0.0.0/0", "0.0.0.0/0", GATE_PREFIX_OK },
        { "::/0", "::/0", GATE_PREFIX_OK },
        { "2001:db8::/32", "2001:db8::/32", GATE_PREFIX_OK },
        { "2001:db8::1/32", "2001:db8::/32", GATE_PREFIX_HOST_BITS },
        { "::ffff:10.0.0.0/104", "10.0.0.0/8", GATE_PREFIX_OK },
        { "::ffff:0:0/96", "0.0.0.0/0", GATE_PREFIX_OK },
        { "::ffff:10.0.0.1/104", "10.0.0.0/8", GATE_PREFIX_HOST_BITS },
        { "::ffff:10.0.0.0/8", "::/8", GATE_PREFIX_HOST_BITS },
        { "fe80::%eth0/10", "fe80::/10", GATE_PREFIX_OK },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gate_prefix_t prefix;
        const char *why = NULL;
        char text[GATE_ADDRESS_TEXT];

        assert_int_equal(gate_prefix_parse(cases[i].text, strlen(cases[i].text), &prefix, &why), cases[i].result);
        assert_string_equal(gate_prefix_text(&prefix, text), cases[i].as);
    }
}

static void test_bad_prefixes(void **state)
{
    static const char *const cases[] = { "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/8", "::/129", "/8",
                                         "10.0.0.0/255.0.0.0", "10/8", "::1/1 ", "10.0.0.0/1a" };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gate_prefix_t prefix;
        const char *why = NULL;

        if (gate_prefix_parse(cases[i], strlen(cases[i]), &prefix, &why) != GATE_PREFIX_BAD) {
            fail_msg("'%s' was taken", cases[i]);
        }
        assert_non_null(why);
    }
}

static void test_cut(void **state)
{
    gate_address_t a = parsed("2001:db8:1:2:3:4:5:6"), b = parsed("192.0.2.77");
    char out[GATE_ADDRESS_TEXT];

    (void)state;
    gate_address_cut(&a, 32, 64);
    assert_string_equal(gate_address_text(&a, out), "2001:db8:1:2::");
    gate_address_cut(&b, 24, 64);
    assert_string_equal(gate_address_text(&b, out), "192.0.2.0");
    gate_address_cut(&b, 32, 0);
    assert_string_equal(gate_address_text(&b, out), "192.0.2.0");
}

/* Vectors of the SipHash paper's appendix: key 00 01 .. 0f, message 00 01 .. (n - 1). */
static void test_siphash(void **state)
{
    const gate_seed_t seed = { { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) } };
    uint8_t message[15];

    (void)state;
    for (int i = 0; i < 15; i++) {
        message[i] = (uint8_t)i;
    }
    assert_true(gate_siphash(&seed, message, 15) == UINT64_C(0xa129ca6149be45e5));
    assert_true(gate_siphash(&seed, message, 0) == UINT64_C(0x726fdb47dd0e0e31));
    assert_true(gate_siphash(&seed, message, 8) == UINT64_C(0x93f5f5799a932462));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_form), cmocka_unit_test(test_text), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unknown_equals_nothing), cmocka_unit_test(test_from_apr), cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_bad_prefixes), cmocka_unit_test(test_cut), cmocka_unit_test(test_siphash)
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
