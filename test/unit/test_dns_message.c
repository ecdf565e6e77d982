/* test_dns_message.c - questions and answers of DNS, byte by byte. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dns_message.h"

#define ID 0x1234

static uint8_t message[4096];
static size_t used;
static dns_answer_t *answer;

static void put(const void *bytes, size_t len)
{
    memcpy(message + used, bytes, len);
    used += len;
}

static void put_u16(unsigned value)
{
    put((uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void put_name(const char *name)
{
    while (*name) {
        size_t label = strcspn(name, ".");

        put((uint8_t[]){ (uint8_t)label }, 1);
        put(name, label);
        name += label + (name[label] == '.');
    }
    put("", 1);
}

/* Head and question; the records are put after. */
static void begin(unsigned flags, unsigned records, const char *name, dns_type_e type)
{
    used = 0;
    put_u16(ID);
    put_u16(flags);
    put_u16(1);
    put_u16(records);
    put_u16(0);
    put_u16(0);
    put_name(name);
    put_u16(type);
    put_u16(1);
}

/* owner NULL: a pointer to the question's name */
static void record(const char *owner, dns_type_e type, unsigned ttl, const void *data, size_t len)
{
    if (owner) {
        put_name(owner);
    }
    else {
        put_u16(0xc00c);
    }
    put_u16(type);
    put_u16(1);
    put_u16(ttl >> 16);
    put_u16(ttl & 0xffff);
    put_u16((unsigned)len);
    put(data, len);
}

static dns_answer_e read_it(const char *name, dns_type_e type)
{
    return dns_answer(message, used, ID, name, type, answer);
}

static void test_question(void **state)
{
    uint8_t out[DNS_QUESTION_MAX];
    static const uint8_t expected[] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 3, 'a', 'p', 'p', 4, 't', 'e', 's', 't', 0, 0, 28, 0, 1,
                                        0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0 };

    (void)state;
    assert_int_equal(dns_question(out, ID, "app.test", DNS_AAAA), sizeof expected);
    assert_memory_equal(out, expected, sizeof expected);
    assert_int_equal(dns_question(out, ID, "app.test.", DNS_AAAA), sizeof expected);
}

static void test_names_that_are_none(void **state)
{
    static const char *const bad[] = { "", ".", "a..b", ".a", "a b", "a/b", "\xc3\xa4", "a\n" };
    char label[80], whole[300] = "";
    uint8_t out[DNS_QUESTION_MAX];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(dns_question(out, ID, bad[i], DNS_A), 0);
    }
    memset(label, 'x', sizeof label);
    label[64] = '\0';
    assert_int_equal(dns_question(out, ID, label, DNS_A), 0);
    label[63] = '\0';
    assert_int_not_equal(dns_question(out, ID, label, DNS_A), 0);
    for (i = 0; i < 128; i++) {
        strcat(whole, "a.");
    }
    assert_int_equal(dns_question(out, ID, whole, DNS_A), 0);
    whole[254] = '\0';
    assert_int_not_equal(dns_question(out, ID, whole, DNS_A), 0);
}

static void test_addresses(void **state)
{
    (void)state;
    begin(0x8180, 2, "App.Test", DNS_A);
    record(NULL, DNS_A, 60, "\x7f\0\0\2", 4);
    record("app.test", DNS_A, 30, "\x7f\0\0\3", 4);
    assert_int_equal(read_it("app.test", DNS_A), DNS_GOOD);
    assert_int_equal(answer->count, 2);
    assert_memory_equal(answer->record[0].address, "\x7f\0\0\2", 4);
    assert_int_equal(answer->record[1].ttl_s, 30);
    assert_int_equal(read_it("app.test.", DNS_A), DNS_GOOD);
}

static void test_service(void **state)
{
    static const char data[] = "\0\12\0\5\x1f\x90\4node\4TEST";

    (void)state;
    begin(0x8180, 1, "_http._tcp.app.test", DNS_SRV);
    record(NULL, DNS_SRV, 60, data, sizeof data);
    assert_int_equal(read_it("_http._tcp.app.test", DNS_SRV), DNS_GOOD);
    assert_int_equal(answer->record[0].priority, 10);
    assert_int_equal(answer->record[0].weight, 5);
    assert_int_equal(answer->record[0].port, 8080);
    assert_string_equal(answer->record[0].target, "node.test");
}

static void test_aliases(void **state)
{
    (void)state;
    begin(0x8180, 4, "app.test", DNS_A);
    record("b.test", DNS_A, 60, "\x7f\0\0\2", 4);
    record("a.test", DNS_CNAME, 5, "\1b\4test", 8);
    record(NULL, DNS_CNAME, 9, "\1a\4test", 8);
    record("other.test", DNS_A, 60, "\x7f\0\0\3", 4); /* nobody asked for that one */
    assert_int_equal(read_it("app.test", DNS_A), DNS_GOOD);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->record[0].ttl_s, 5); /* the shortest on the way */
}

static void test_aliases_in_a_circle(void **state)
{
    (void)state;
    begin(0x8180, 2, "app.test", DNS_A);
    record(NULL, DNS_CNAME, 9, "\1a\4test", 8);
    record("a.test", DNS_CNAME, 9, "\3app\4test", 10);
    assert_int_equal(read_it("app.test", DNS_A), DNS_EMPTY);
}

static void test_what_servers_say(void **state)
{
    (void)state;
    begin(0x8183, 0, "app.test", DNS_A);
    assert_int_equal(read_it("app.test", DNS_A), DNS_NO_NAME);
    begin(0x8182, 0, "app.test", DNS_A);
    assert_int_equal(read_it("app.test", DNS_A), DNS_REFUSED);
    begin(0x8180, 0, "app.test", DNS_A);
    assert_int_equal(read_it("app.test", DNS_A), DNS_EMPTY);
    begin(0x8380, 0, "app.test", DNS_A);
    assert_int_equal(read_it("app.test", DNS_A), DNS_TRUNCATED);
}

static void test_answers_to_other_questions(void **state)
{
    (void)state;
    begin(0x8180, 1, "app.test", DNS_A);
    record(NULL, DNS_A, 60, "\x7f\0\0\2", 4);
    assert_int_equal(dns_answer(message, used, ID + 1, "app.test", DNS_A, answer), DNS_BAD);
    assert_int_equal(read_it("app.tes", DNS_A), DNS_BAD);
    assert_int_equal(read_it("app.test", DNS_AAAA), DNS_BAD);
    message[2] &= 0x7f; /* a question, not an answer */
    assert_int_equal(read_it("app.test", DNS_A), DNS_BAD);
}

static void test_addresses_of_a_wrong_length(void **state)
{
    (void)state;
    begin(0x8180, 2, "app.test", DNS_A);
    record(NULL, DNS_A, 60, "\x7f\0\0\2\0", 5);
    record(NULL, DNS_A, 60, "\x7f\0\0\3", 4);
    assert_int_equal(read_it("app.test", DNS_A), DNS_GOOD);
    assert_int_equal(answer->count, 1);
}

static void test_long_ttl_is_none(void **state)
{
    (void)state;
    begin(0x8180, 1, "app.test", DNS_A);
    record(NULL, DNS_A, 0x80000000u, "\x7f\0\0\2", 4);
    assert_int_equal(read_it("app.test", DNS_A), DNS_GOOD);
    assert_int_equal(answer->record[0].ttl_s, 0); /* RFC 2181, section 8 */
}

static void test_pointers_that_go_nowhere(void **state)
{
    (void)state;
    begin(0x8180, 1, "app.test", DNS_A);
    put_u16(0xc000 | (unsigned)used); /* to itself */
    used += 14;
    assert_int_equal(read_it("app.test", DNS_A), DNS_BAD);
    begin(0x8180, 1, "app.test", DNS_A);
    put_u16(0xc000 | (unsigned)(used + 20)); /* forward */
    used += 30;
    assert_int_equal(read_it("app.test", DNS_A), DNS_BAD);
}

static void test_every_cut_is_noticed(void **state)
{
    size_t whole, len;

    (void)state;
    begin(0x8180, 2, "app.test", DNS_A);
    record(NULL, DNS_A, 60, "\x7f\0\0\2", 4);
    record("app.test", DNS_A, 30, "\x7f\0\0\3", 4);
    whole = used;
    for (len = 0; len < whole; len++) {
        uint8_t *copy = malloc(len + 1); /* exactly as long: the sanitizer sees a byte too many */

        memcpy(copy, message, len);
        assert_int_equal(dns_answer(copy, len, ID, "app.test", DNS_A, answer), DNS_BAD);
        free(copy);
    }
}

static void test_more_records_than_we_take(void **state)
{
    static uint8_t big[65536];
    int i;

    (void)state;
    begin(0x8180, 1000, "app.test", DNS_A);
    memcpy(big, message, used);
    for (i = 0; i < 1000; i++) {
        memcpy(big + used, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\1", 16);
        used += 16;
    }
    assert_int_equal(dns_answer(big, used, ID, "app.test", DNS_A, answer), DNS_GOOD);
    assert_int_equal(answer->count, DNS_RECORDS_MAX);
}

static int open_all(void **state)
{
    (void)state;
    answer = calloc(1, sizeof *answer);
    return answer ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    free(answer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question), cmocka_unit_test(test_names_that_are_none), cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_service), cmocka_unit_test(test_aliases), cmocka_unit_test(test_aliases_in_a_circle),
        cmocka_unit_test(test_what_servers_say), cmocka_unit_test(test_answers_to_other_questions),
        cmocka_unit_test(test_addresses_of_a_wrong_length), cmocka_unit_test(test_long_ttl_is_none),
        cmocka_unit_test(test_pointers_that_go_nowhere), cmocka_unit_test(test_every_cut_is_noticed),
        cmocka_unit_test(test_more_records_than_we_take),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
