/* test_sticky.c - the token of a client's member: read back, opaque, not to be forged; cookies; who may stay. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "gate_registry.h"
#include "sticky.h"
#include "unit_pool.h"

#define NOW 1800000000u

static const sticky_key_t key = { { 1, 2, 3, 4, 5, 6, 7, 8, 9 } };
static const unsigned char nonce[8] = { 9, 8, 7, 6, 5, 4, 3, 2 };

static sticky_read_e read_it(const char *group, const char *token, uint32_t now, uint64_t *id)
{
    uint32_t expires;

    return sticky_token_read(&key, group, token, strlen(token), now, id, &expires);
}

static void test_read_back(void **state)
{
    char token[STICKY_TOKEN_CHARS + 1];
    uint64_t id = 0;
    uint32_t expires = 0;

    (void)state;
    sticky_token_write(&key, "app", UINT64_C(0xfedcba9876543210), NOW + 60, nonce, token);
    assert_int_equal(strlen(token), STICKY_TOKEN_CHARS);
    assert_int_equal(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), STICKY_TOKEN_CHARS);
    assert_int_equal(sticky_token_read(&key, "app", token, strlen(token), NOW, &id, &expires), STICKY_GOOD);
    assert_true(id == UINT64_C(0xfedcba9876543210));
    assert_int_equal(expires, NOW + 60);
    assert_int_equal(read_it("app", token, NOW + 60, &id), STICKY_STALE);
}

static void test_no_end(void **state)
{
    char token[STICKY_TOKEN_CHARS + 1];
    uint64_t id = 0;

    (void)state;
    sticky_token_write(&key, "app", 7, 0, nonce, token);
    assert_int_equal(read_it("app", token, UINT32_MAX, &id), STICKY_GOOD);
    assert_int_equal(id, 7);
}

static void test_every_changed_character_is_noticed(void **state)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char token[STICKY_TOKEN_CHARS + 1], changed[STICKY_TOKEN_CHARS + 1];
    uint64_t id = 0;
    int i, k;

    (void)state;
    sticky_token_write(&key, "app", 12345, NOW + 60, nonce, token);
    for (i = 0; i < STICKY_TOKEN_CHARS; i++) {
        for (k = 0; k < 64; k++) {
            strcpy(changed, token);
            changed[i] = letters[k];
            assert_int_equal(read_it("app", changed, NOW, &id), changed[i] == token[i] ? STICKY_GOOD : STICKY_FORGED);
        }
    }
}

static void test_other_key_group_length(void **state)
{
    char token[STICKY_TOKEN_CHARS + 1];
    sticky_key_t other = key;
    uint64_t id = 0;
    uint32_t expires;
    size_t len;

    (void)state;
    sticky_token_write(&key, "app", 12345, 0, nonce, token);
    assert_int_equal(read_it("app2", token, NOW, &id), STICKY_FORGED);
    assert_int_equal(read_it("ap", token, NOW, &id), STICKY_FORGED);
    other.bytes[31] ^= 1;
    assert_int_equal(sticky_token_read(&other, "app", token, strlen(token), NOW, &id, &expires), STICKY_FORGED);
    for (len = 0; len < STICKY_TOKEN_CHARS; len++) {
        assert_int_equal(sticky_token_read(&key, "app", token, len, NOW, &id, &expires), STICKY_FORGED);
    }
    assert_int_equal(id, 0);
}

static void test_opaque(void **state)
{
    char one[STICKY_TOKEN_CHARS + 1], two[STICKY_TOKEN_CHARS + 1];
    unsigned char other[8] = { 1 };
    int i, same = 0;

    (void)state;
    sticky_token_write(&key, "app", 12345, 0, nonce, one);
    sticky_token_write(&key, "app", 12345, 0, other, two);
    for (i = 0; i < STICKY_TOKEN_CHARS; i++) {
        same += one[i] == two[i];
    }
    assert_true(same < 20); /* version and expiry, and what falls together by chance */
}

static void test_keys_differ(void **state)
{
    sticky_key_t one, two;

    (void)state;
    assert_int_equal(sticky_key_make(&one), 0);
    assert_int_equal(sticky_key_make(&two), 0);
    assert_memory_not_equal(&one, &two, sizeof one);
}

static void cookie(const char *header, const char *name, unsigned nth, const char *expected)
{
    size_t len = 0;
    const char *value = sticky_cookie_value(header, name, nth, &len);

    if (!expected) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(value, expected, len);
}

static void test_cookie_values(void **state)
{
    (void)state;
    cookie("gate=abc", "gate", 0, "abc");
    cookie("a=b; gate=abc; c=d", "gate", 0, "abc");
    cookie("a=b;gate=abc", "gate", 0, "abc");
    cookie("gate=abc ; x=y", "gate", 0, "abc");
    cookie("gate=1; gate=2", "gate", 1, "2");
    cookie("gate=1, gate=2", "gate", 1, "2");
    cookie("gate=1; gate=2", "gate", 2, NULL);
    cookie("gate=", "gate", 0, "");
    cookie("gate=\"abc\"", "gate", 0, "\"abc\"");
    cookie("gate", "gate", 0, NULL);
    cookie("xgate=abc", "gate", 0, NULL);
    cookie("gatex=abc", "gate", 0, NULL);
    cookie("Gate=abc", "gate", 0, NULL);
    cookie("gate =abc", "gate", 0, NULL);
    cookie("a=gate=abc", "gate", 0, NULL);
    cookie("", "gate", 0, NULL);
    cookie(";;;,,,  ; ", "gate", 0, NULL);
    cookie("   ", "gate", 0, NULL);
}

static void test_first_good_cookie_counts(void **state)
{
    char token[STICKY_TOKEN_CHARS + 1], header[200];
    uint64_t id = 0;
    uint32_t expires = 0;

    (void)state;
    sticky_token_write(&key, "app", 12345, 0, nonce, token);
    snprintf(header, sizeof header, "gate=rubbish; other=%s; gate=%s", token, token);
    assert_int_equal(sticky_cookie_read(&key, "app", header, "gate", NOW, &id, &expires), STICKY_GOOD);
    assert_int_equal(id, 12345);
    assert_int_equal(sticky_cookie_read(&key, "app", "gate=rubbish", "gate", NOW, &id, &expires), STICKY_FORGED);
    assert_int_equal(sticky_cookie_read(&key, "app", "x=y", "gate", NOW, &id, &expires), STICKY_ABSENT);
}

static void test_set_cookie(void **state)
{
    sticky_rule_t rule = { .cookie = "gate", .path = "/" };

    (void)state;
    assert_string_equal(sticky_set_cookie(pool, &rule, "T"), "gate=T; Path=/");
    rule = (sticky_rule_t){ .cookie = "gate", .path = "/app", .domain = "example.com", .ttl_s = 3600, .secure = 1, .httponly = 1,
                            .samesite = STICKY_SAMESITE_NONE };
    assert_string_equal(sticky_set_cookie(pool, &rule, "T"),
                        "gate=T; Path=/app; Domain=example.com; Max-Age=3600; Secure; HttpOnly; SameSite=None");
}

static void test_renewal(void **state)
{
    sticky_rule_t rule = { .cookie = "gate", .ttl_s = 100 }, session = { .cookie = "gate" };

    (void)state;
    assert_false(sticky_renew(&rule, NOW + 100, NOW));
    assert_false(sticky_renew(&rule, NOW + 51, NOW));
    assert_true(sticky_renew(&rule, NOW + 49, NOW));
    assert_true(sticky_renew(&rule, NOW + 1, NOW));
    assert_true(sticky_renew(&rule, NOW + 1000, NOW)); /* the ttl was longer when it was written */
    assert_true(sticky_renew(&rule, 0, NOW));
    assert_false(sticky_renew(&session, 0, NOW));
    assert_true(sticky_renew(&session, NOW + 1, NOW));
}

/* FIELD trap 22: drain goes on, down re-binds. */
static void test_who_may_stay(void **state)
{
    (void)state;
    assert_true(sticky_may_stay(0, GATE_UNUSABLE));
    assert_true(sticky_may_stay(GATE_VERDICT_UNKNOWN, GATE_UNUSABLE));
    assert_true(sticky_may_stay(GATE_VERDICT_DRAIN, GATE_UNUSABLE));
    assert_false(sticky_may_stay(GATE_VERDICT_DRAIN | GATE_VERDICT_DOWN, GATE_UNUSABLE));
    assert_false(sticky_may_stay(GATE_VERDICT_DISABLED, GATE_UNUSABLE));
    assert_false(sticky_may_stay(GATE_VERDICT_DOWN, GATE_UNUSABLE));
    assert_false(sticky_may_stay(GATE_VERDICT_EJECTED, GATE_UNUSABLE));
    assert_false(sticky_may_stay(GATE_VERDICT_GONE, GATE_UNUSABLE));
    assert_true(sticky_may_stay(GATE_VERDICT_DOWN, GATE_UNUSABLE & ~GATE_VERDICT_HEALTH));
}

static void test_rules_between_parts(void **state)
{
    static const struct {
        sticky_rule_t rule;
        const char *says;
    } rows[] = {
        { { .cookie = "g", .path = "/" }, NULL },
        { { .header = "X-User", .path = "/" }, NULL },
        { { .path = "/" }, "needs cookie=NAME or header=NAME" },
        { { .cookie = "g", .header = "h", .path = "/" }, "exclude one another" },
        { { .header = "h", .path = "/", .secure = 1 }, "header= sets no cookie" },
        { { .cookie = "g", .path = "app" }, "does not begin with '/'" },
        { { .cookie = "g", .path = "/", .samesite = STICKY_SAMESITE_NONE }, "samesite=none needs secure" },
        { { .cookie = "g", .path = "/", .samesite = STICKY_SAMESITE_NONE, .secure = 1 }, NULL },
        { { .cookie = "__Secure-g", .path = "/" }, "needs secure" },
        { { .cookie = "__Host-g", .path = "/", .secure = 1 }, NULL },
        { { .cookie = "__Host-g", .path = "/x", .secure = 1 }, "needs secure, path=/ and no domain" },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *err = sticky_check(pool, &rows[i].rule);

        if (!rows[i].says) {
            assert_null(err);
            continue;
        }
        assert_non_null(err);
        assert_non_null(strstr(err, rows[i].says));
    }
}

static void test_names_and_attributes(void **state)
{
    (void)state;
    assert_null(sticky_parse_cookie_name(pool, "__Host-gate.1"));
    assert_non_null(sticky_parse_cookie_name(pool, ""));
    assert_non_null(sticky_parse_cookie_name(pool, "a b"));
    assert_non_null(sticky_parse_cookie_name(pool, "a=b"));
    assert_non_null(sticky_parse_cookie_name(pool, "a;b"));
    assert_null(sticky_parse_attribute(pool, "/app/x"));
    assert_non_null(sticky_parse_attribute(pool, "/app; Domain=evil"));
    assert_non_null(sticky_parse_attribute(pool, "/a\r\nb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_back), cmocka_unit_test(test_no_end),
        cmocka_unit_test(test_every_changed_character_is_noticed), cmocka_unit_test(test_other_key_group_length),
        cmocka_unit_test(test_opaque), cmocka_unit_test(test_keys_differ), cmocka_unit_test(test_cookie_values),
        cmocka_unit_test(test_first_good_cookie_counts), cmocka_unit_test(test_set_cookie), cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_who_may_stay), cmocka_unit_test(test_rules_between_parts),
        cmocka_unit_test(test_names_and_attributes),
    };

    return cmocka_run_group_tests(tests, pool_open, pool_close);
}
