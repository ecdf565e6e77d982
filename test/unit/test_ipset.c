/*
 * test_ipset.c - sets against a plain list: longest match, exclusions, both families, edges, many shapes; and set files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ipset.h"
#include "set_file.h"

typedef struct {
    void *image;
    size_t size;
} set_t;

static uint64_t dice_state = 88172645463325252u;

static uint64_t dice(void)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return dice_state;
}

static set_t finished(gate_ipset_builder_t *builder)
{
    char why[200] = "";
    set_t set;

    set.size = gate_ipset_builder_finish(builder);
    assert_true(set.size > 0);
    set.image = malloc(set.size);
    gate_ipset_builder_write(builder, set.image);
    gate_ipset_builder_destroy(builder);
    if (gate_ipset_validate(set.image, set.size, why, sizeof why) != 0) {
        fail_msg("%s", why);
    }
    return set;
}

static set_t set_of(const char *text)
{
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    gate_set_file_t said;

    if (gate_set_file_read(builder, text, strlen(text), &said) != 0) {
        fail_msg("line %d: '%s' %s", (int)said.line, said.what, said.why);
    }
    return finished(builder);
}

/* The text of the prefix that decided, "" if the address is not in the set. */
static const char *found(const set_t *set, const char *address)
{
    static char text[GATE_ADDRESS_TEXT];
    gate_address_t a;
    gate_prefix_t match;

    assert_int_equal(gate_address_parse(address, strlen(address), &a), 0);
    if (!gate_ipset_find(set->image, set->size, &a, &match)) {
        return "";
    }
    return gate_prefix_text(&match, text);
}

static void test_longest_match(void **state)
{
    set_t set = set_of("10.0.0.0/8\n10.1.0.0/16\n!10.1.2.0/24\n10.1.2.3\n2001:db8::/32\n!2001:db8:1::/48\n2001:db8:1::5\n");

    (void)state;
    assert_string_equal(found(&set, "10.9.9.9"), "10.0.0.0/8");
    assert_string_equal(found(&set, "10.1.9.9"), "10.1.0.0/16");
    assert_string_equal(found(&set, "10.1.2.2"), "");
    assert_string_equal(found(&set, "10.1.2.3"), "10.1.2.3");
    assert_string_equal(found(&set, "::ffff:10.1.2.3"), "10.1.2.3");
    assert_string_equal(found(&set, "10.1.3.0"), "10.1.0.0/16");
    assert_string_equal(found(&set, "9.255.255.255"), "");
    assert_string_equal(found(&set, "11.0.0.0"), "");
    assert_string_equal(found(&set, "2001:db8:2::1"), "2001:db8::/32");
    assert_string_equal(found(&set, "2001:db8:1::1"), "");
    assert_string_equal(found(&set, "2001:db8:1::5%eth0"), "2001:db8:1::5");
    assert_int_equal(gate_ipset_count(set.image, set.size), 7);
    free(set.image);
}

static void test_edges(void **state)
{
    set_t all = set_of("0.0.0.0/0\n::/0\n"), none = set_of(""), last = set_of("255.255.255.255\nffff::/16\n0.0.0.0\n::\n");

    (void)state;
    assert_string_equal(found(&all, "0.0.0.0"), "0.0.0.0/0");
    assert_string_equal(found(&all, "255.255.255.255"), "0.0.0.0/0");
    assert_string_equal(found(&all, "::"), "::/0");
    assert_string_equal(found(&all, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0");
    assert_string_equal(found(&none, "1.2.3.4"), "");
    assert_string_equal(found(&none, "::1"), "");
    assert_string_equal(found(&last, "255.255.255.255"), "255.255.255.255");
    assert_string_equal(found(&last, "255.255.255.254"), "");
    assert_string_equal(found(&last, "0.0.0.0"), "0.0.0.0");
    assert_string_equal(found(&last, "0.0.0.1"), "");
    assert_string_equal(found(&last, "ffff:ffff::1"), "ffff::/16");
    assert_string_equal(found(&last, "::"), "::");
    assert_string_equal(found(&last, "::1"), "");
    free(all.image);
    free(none.image);
    free(last.image);
}

/* A set for IPv6 only says nothing about IPv4, mapped or not, and an unknown address is in no set. */
static void test_families_apart(void **state)
{
    set_t six = set_of("::/0\n"), four = set_of("0.0.0.0/0\n");
    gate_address_t none = gate_address_none();

    (void)state;
    assert_string_equal(found(&six, "192.0.2.1"), "");
    assert_string_equal(found(&six, "::ffff:192.0.2.1"), "");
    assert_string_equal(found(&four, "2001:db8::1"), "");
    assert_int_equal(gate_ipset_find(six.image, six.size, &none, NULL), 0);
    assert_int_equal(gate_ipset_find(four.image, four.size, &none, NULL), 0);
    free(six.image);
    free(four.image);
}

static void test_twice(void **state)
{
    set_t set = set_of("10.0.0.0/8\n!10.0.0.0/8\n10.0.0.0/8\n10.0.0.0/16\n10.0.0.0/16\n192.0.2.1\n192.0.2.1\n");

    (void)state;
    assert_string_equal(found(&set, "10.200.0.1"), "");
    assert_string_equal(found(&set, "10.0.200.1"), "10.0.0.0/16");
    assert_string_equal(found(&set, "192.0.2.1"), "192.0.2.1");
    free(set.image);
}

/* ---- against a plain list ------------------------------------------------------------------------------------------------ */

#define MANY 700

typedef struct {
    gate_prefix_t prefix[MANY];
    int exclude[MANY];
    int count;
} list_t;

static int list_contains(const gate_prefix_t *prefix, const gate_address_t *address)
{
    gate_address_t cut = *address;

    if (gate_address_is_v4(&prefix->address) != gate_address_is_v4(address)) {
        return 0;
    }
    gate_address_cut(&cut, prefix->bits, prefix->bits);
    return memcmp(cut.bytes, prefix->address.bytes, 16) == 0;
}

/* bits of the deciding prefix, -1 if it is not in the set */
static int list_find(const list_t *list, const gate_address_t *address)
{
    int best = -1, in = 0;

    for (int i = 0; i < list->count; i++) {
        int bits = list->prefix[i].bits;

        if (!list_contains(&list->prefix[i], address) || bits < best) {
            continue;
        }
        in = bits > best ? !list->exclude[i] : in && !list->exclude[i];
        best = bits;
    }
    return in ? best : -1;
}

/* Addresses in few clusters, so that prefixes nest and share long fronts. */
static gate_address_t random_address(int v4, int spread)
{
    gate_address_t a;
    uint64_t mask = spread >= 64 ? UINT64_MAX : (UINT64_C(1) << spread) - 1;
    uint64_t lo = dice() & mask, hi = spread >= 128 ? dice() : spread > 64 ? dice() & ((UINT64_C(1) << (spread - 64)) - 1) : 0;
    uint64_t cluster = dice() % 3;

    memset(&a, 0, sizeof a);
    a.known = 1;
    if (v4) {
        uint32_t word = (uint32_t)lo ^ (uint32_t)(cluster * 0x4a000000u);

        a.bytes[10] = a.bytes[11] = 0xff;
        for (int i = 0; i < 4; i++) {
            a.bytes[12 + i] = (uint8_t)(word >> (24 - 8 * i));
        }
        return a;
    }
    hi ^= UINT64_C(0x20010db800000000) + cluster * UINT64_C(0x0100000000010000);
    for (int i = 0; i < 8; i++) {
        a.bytes[i] = (uint8_t)(hi >> (56 - 8 * i));
        a.bytes[8 + i] = (uint8_t)(lo >> (56 - 8 * i));
    }
    return a;
}

static void compare(const set_t *set, const list_t *list, const gate_address_t *address)
{
    gate_prefix_t match = { .bits = 0 };
    int in = gate_ipset_find(set->image, set->size, address, &match), want = list_find(list, address);
    char text[GATE_ADDRESS_TEXT];

    if ((in ? match.bits : -1) != want) {
        fail_msg("%s: set says %d, list says %d", gate_address_text(address, text), in ? match.bits : -1, want);
    }
}

static void try_shape(int v4, int spread, int min_bits, int count)
{
    static list_t list;
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    int width = v4 ? 32 : 128;
    set_t set;

    list.count = count;
    for (int i = 0; i < count; i++) {
        gate_prefix_t *prefix = &list.prefix[i];

        prefix->address = random_address(v4, spread);
        prefix->bits = (uint8_t)(min_bits + (int)(dice() % (uint64_t)(width - min_bits + 1)));
        gate_address_cut(&prefix->address, prefix->bits, prefix->bits);
        list.exclude[i] = dice() % 5 == 0;
        assert_int_equal(gate_ipset_builder_add(builder, prefix, list.exclude[i]), 0);
    }
    set = finished(builder);
    for (int i = 0; i < 3000; i++) {
        gate_address_t a = random_address(v4, spread);

        compare(&set, &list, &a);
        a = random_address(v4, v4 ? 32 : 128);
        compare(&set, &list, &a);
    }
    for (int i = 0; i < count; i++) { /* the first and last address of each prefix, and their neighbours */
        gate_address_t a = list.prefix[i].address, b = a;

        for (int bit = list.prefix[i].bits + (v4 ? 96 : 0); bit < 128; bit++) {
            b.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
        }
        compare(&set, &list, &a);
        compare(&set, &list, &b);
        for (int at = 15; at >= (v4 ? 12 : 0) && a.bytes[at]-- == 0; at--) { }
        for (int at = 15; at >= (v4 ? 12 : 0) && ++b.bytes[at] == 0; at--) { }
        compare(&set, &list, &a);
        compare(&set, &list, &b);
    }
    free(set.image);
}

static void test_like_a_list(void **state)
{
    static const int spreads4[] = { 4, 8, 12, 20, 32 }, spreads6[] = { 8, 16, 60, 64, 70, 90, 128 };
    static const int counts[] = { 1, 8, 9, 17, 60, 300, MANY };

    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (size_t s = 0; s < sizeof spreads4 / sizeof *spreads4; s++) {
            try_shape(1, spreads4[s], s % 2 ? 0 : 24, counts[c]);
        }
        for (size_t s = 0; s < sizeof spreads6 / sizeof *spreads6; s++) {
            try_shape(0, spreads6[s], s % 2 ? 0 : 100, counts[c]);
        }
    }
}

/* Prefixes of one length side by side, with holes here and there, in a wider one and without: ends that are starts of others. */
static void test_neighbours(void **state)
{
    static list_t list;

    (void)state;
    for (int turn = 0; turn < 24; turn++) {
        gate_ipset_builder_t *builder = gate_ipset_builder_create();
        int v4 = turn & 1, wide = turn & 2, bits = (v4 ? 20 : 80) + turn / 4 * 2;
        set_t set;

        list.count = 0;
        for (unsigned i = 0; i < 400; i++) {
            gate_prefix_t *prefix = &list.prefix[list.count];
            unsigned shift = (unsigned)(128 - (bits + (v4 ? 96 : 0))), value = (i + 7) << shift % 8;

            if (i && dice() % 6 == 0) {
                continue;
            }
            prefix->address = random_address(v4, 0);
            memset(prefix->address.bytes + (v4 ? 12 : 0), 0, v4 ? 4 : 16);
            prefix->address.bytes[v4 ? 12 : 0] = 0x20;
            for (int at = 15 - (int)shift / 8; value; at--, value >>= 8) {
                prefix->address.bytes[at] = (uint8_t)value;
            }
            prefix->bits = (uint8_t)(i ? bits : wide ? bits - 12 : bits);
            gate_address_cut(&prefix->address, prefix->bits, prefix->bits);
            list.exclude[list.count] = i && dice() % 9 == 0;
            gate_ipset_builder_add(builder, prefix, list.exclude[list.count++]);
        }
        set = finished(builder);
        for (int i = 0; i < list.count; i++) {
            gate_address_t a = list.prefix[i].address, b = a;

            compare(&set, &list, &a);
            for (int at = 15; at >= (v4 ? 12 : 0) && a.bytes[at]-- == 0; at--) { }
            compare(&set, &list, &a);
            for (int bit = list.prefix[i].bits + (v4 ? 96 : 0); bit < 128; bit++) {
                b.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
            }
            compare(&set, &list, &b);
            for (int at = 15; at >= (v4 ? 12 : 0) && ++b.bytes[at] == 0; at--) { }
            compare(&set, &list, &b);
        }
        free(set.image);
    }
}

static void test_nested_to_the_end(void **state)
{
    static list_t list;
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    set_t set;

    (void)state;
    list.count = 129;
    for (int i = 0; i < 129; i++) {
        list.prefix[i].address = random_address(0, 0);
        memset(list.prefix[i].address.bytes, 0xab, 16);
        gate_address_cut(&list.prefix[i].address, 0, (unsigned)i);
        list.prefix[i].bits = (uint8_t)i;
        list.exclude[i] = i % 2;
        gate_ipset_builder_add(builder, &list.prefix[i], list.exclude[i]);
    }
    set = finished(builder);
    for (int bit = 0; bit < 128; bit++) {
        gate_address_t a = list.prefix[128].address;

        a.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        compare(&set, &list, &a);
    }
    compare(&set, &list, &list.prefix[128].address);
    free(set.image);
}

/* Bytes that are no image, or an image that changes under the reader: any answer, but never outside the memory given. */
static void test_rubbish_is_harmless(void **state)
{
    set_t set = set_of("10.0.0.0/8\n2001:db8::/32\n2001:db8:1::1\n2001:db8:1::2\n2001:db8:1::3\n2001:db8:1::5\n2001:db8:1::9\n");
    unsigned char *copy = malloc(set.size);
    char why[200];

    (void)state;
    for (int turn = 0; turn < 20000; turn++) {
        gate_address_t a = random_address(turn % 2, 128);

        memcpy(copy, set.image, set.size);
        for (int i = 0; i < 3; i++) {
            copy[dice() % set.size] = (unsigned char)dice();
        }
        gate_ipset_find(copy, set.size, &a, NULL);
        gate_ipset_validate(copy, set.size, why, sizeof why);
    }
    for (size_t size = 0; size < set.size; size += 8) {
        gate_address_t a = random_address(1, 32);
        void *cut = malloc(size ? size : 1);

        memcpy(cut, set.image, size);
        gate_ipset_find(cut, size, &a, NULL);
        free(cut);
    }
    free(copy);
    free(set.image);
}

static void test_validator_sees(void **state)
{
    set_t set = set_of("10.0.0.0/8\n");
    char why[200] = "";

    (void)state;
    ((unsigned char *)set.image)[set.size - 128 + 5] = 250; /* value of the one IPv6 range, in the last block */
    assert_true(gate_ipset_validate(set.image, set.size, why, sizeof why) > 0);
    assert_non_null(strstr(why, "IPv6"));
    assert_true(gate_ipset_validate(set.image, 40, why, sizeof why) > 0);
    free(set.image);
}

/* ---- set files ----------------------------------------------------------------------------------------------------------- */

static gate_set_file_t refused(const char *text)
{
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    gate_set_file_t said;

    if (gate_set_file_read(builder, text, strlen(text), &said) == 0) {
        fail_msg("'%s' was taken", text);
    }
    gate_ipset_builder_destroy(builder);
    return said;
}

static void test_file_forms(void **state)
{
    set_t set = set_of("\xef\xbb\xbf# office\r\n\r\n  192.0.2.0/24 # net\r\n\t198.51.100.7;SBL1\n! 192.0.2.9\n::ffff:203.0.113.1\nfe80::1%eth0");

    (void)state;
    assert_string_equal(found(&set, "192.0.2.1"), "192.0.2.0/24");
    assert_string_equal(found(&set, "198.51.100.7"), "198.51.100.7");
    assert_string_equal(found(&set, "192.0.2.9"), "");
    assert_string_equal(found(&set, "203.0.113.1"), "203.0.113.1");
    assert_string_equal(found(&set, "fe80::1%lo"), "fe80::1");
    free(set.image);
}

static void test_file_errors(void **state)
{
    gate_set_file_t said = refused("10.0.0.0/8\n\n# x\n10.0.0.0/40\n");

    (void)state;
    assert_int_equal(said.line, 4);
    assert_string_equal(said.what, "10.0.0.0/40");
    assert_non_null(strstr(said.why, "0 to 32"));
    said = refused("10.0.0.1 10.0.0.2\n");
    assert_int_equal(said.line, 1);
    said = refused("!\n");
    assert_int_equal(said.line, 1);
    said = refused("\x01\x02very-long-rubbish-very-long-rubbish-very-long-rubbish-very-long-rubbish-very\n");
    assert_int_equal(strncmp(said.what, "??very", 6), 0);
    assert_string_equal(said.what + strlen(said.what) - 3, "...");
}

static void test_file_host_bits(void **state)
{
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    gate_set_file_t said;
    const char *text = "192.0.2.0/24\n192.0.2.5/24\n2001:db8::1/32\n";

    (void)state;
    assert_int_equal(gate_set_file_read(builder, text, strlen(text), &said), 0);
    assert_int_equal(said.odd_lines, 2);
    assert_int_equal(said.odd_line, 2);
    assert_string_equal(said.odd_what, "192.0.2.5/24");
    assert_string_equal(said.odd_as, "192.0.2.0/24");
    gate_ipset_builder_destroy(builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longest_match), cmocka_unit_test(test_edges), cmocka_unit_test(test_families_apart),
        cmocka_unit_test(test_twice), cmocka_unit_test(test_like_a_list), cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_nested_to_the_end),
        cmocka_unit_test(test_rubbish_is_harmless), cmocka_unit_test(test_validator_sees), cmocka_unit_test(test_file_forms),
        cmocka_unit_test(test_file_errors), cmocka_unit_test(test_file_host_bits)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
