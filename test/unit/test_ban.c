/*
 * test_ban.c - bans: earned, longer each time, lifted, remembered, kept in text, never pushed out; writers killed at any place.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ban.h"

#define SECOND INT64_C(1000000)
#define NOW (1000 * SECOND)
#define WALL (INT64_C(1700000000) * SECOND)

static const gate_seed_t seed = { { 3, 4 } };
static const gate_ban_term_t term = { 10 * SECOND, 2000, 60 * SECOND };
static gate_bans_t *bans;
static uint64_t size;

static int setup(void **state)
{
    (void)state;
    size = gate_bans_size(1000);
    bans = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bans == MAP_FAILED) {
        return -1;
    }
    gate_bans_init(bans, 1000, &seed);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return munmap(bans, size);
}

static gate_address_t client(const char *text)
{
    gate_address_t a;

    assert_int_equal(gate_address_parse(text, strlen(text), &a), 0);
    return a;
}

static gate_address_t number(uint32_t n)
{
    char text[40];

    snprintf(text, sizeof text, "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
    return client(text);
}

static void check_valid(void)
{
    char why[200] = "";

    if (gate_bans_validate(bans, size, why, sizeof why)) {
        fail_msg("%s", why);
    }
}

static gate_ban_result_e earn(const char *who, int64_t now, gate_ban_t *out)
{
    gate_address_t a = client(who);

    return gate_ban_earn(bans, &a, &term, 0, "20 times 401", "GateBan", now, out);
}

static int banned(const char *who, int64_t now)
{
    gate_address_t a = client(who);

    return gate_ban_check(bans, &a, now, NULL) != 0;
}

/* FIELD trap 17 */
static void test_both_forms(void **state)
{
    (void)state;
    assert_int_equal(earn("192.0.2.1", NOW, NULL), GATE_BAN_MADE);
    assert_true(banned("::ffff:192.0.2.1", NOW));
    assert_false(banned("192.0.2.2", NOW));
    assert_int_equal(earn("2001:db8::1", NOW, NULL), GATE_BAN_MADE);
    assert_true(banned("2001:db8::ffff", NOW));
    assert_true(banned("2001:db8::2%eth0", NOW));
    assert_false(banned("2001:db8:0:1::1", NOW));
    gate_address_t none = gate_address_none();

    assert_int_equal(gate_ban_earn(bans, &none, &term, 0, "", "", NOW, NULL), GATE_BAN_UNKNOWN);
    assert_int_equal(gate_ban_check(bans, &none, NOW, NULL), 0);
    check_valid();
}

static void test_longer_each_time(void **state)
{
    static const int64_t lengths[] = { 10, 20, 40, 60, 60 };
    int64_t now = NOW;
    gate_ban_t ban;

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(earn("192.0.2.1", now, &ban), GATE_BAN_MADE);
        assert_int_equal(ban.until_usec - now, lengths[i] * SECOND);
        assert_int_equal(ban.level, i);
        assert_int_equal(earn("192.0.2.1", now + 1, NULL), GATE_BAN_STANDS);
        assert_true(banned("192.0.2.1", ban.until_usec - 1));
        assert_false(banned("192.0.2.1", ban.until_usec));
        now = ban.until_usec + SECOND;
    }
    now += 61 * SECOND; /* good for as long as the longest ban: forgotten */
    assert_int_equal(earn("192.0.2.1", now, &ban), GATE_BAN_MADE);
    assert_int_equal(ban.level, 0);
}

static void test_lift(void **state)
{
    gate_address_t a = client("192.0.2.1");
    gate_ban_t ban;

    (void)state;
    earn("192.0.2.1", NOW, NULL);
    assert_int_equal(gate_ban_get(bans, &a, NOW, &ban), 1);
    assert_string_equal(ban.why, "20 times 401");
    assert_int_equal(gate_ban_lift(bans, &a, NOW), 1);
    assert_false(banned("192.0.2.1", NOW));
    assert_int_equal(gate_ban_get(bans, &a, NOW, &ban), 0);
    assert_int_equal(gate_ban_lift(bans, &a, NOW), 0);
    earn("192.0.2.1", NOW, &ban);
    assert_int_equal(ban.level, 0); /* forgiven and forgotten */
}

static void test_by_hand(void **state)
{
    gate_address_t a = client("192.0.2.1");
    gate_ban_t list[4];

    (void)state;
    assert_int_equal(gate_ban_set(bans, &a, NOW + 50 * SECOND, 0, GATE_BAN_MANUAL | GATE_BAN_DROP, "abuse\ncase", "admin", NOW, NOW),
                     GATE_BAN_MADE);
    assert_int_equal(gate_ban_set(bans, &a, NOW + 40 * SECOND, 0, 0, "", "", NOW, NOW), GATE_BAN_STANDS);
    assert_int_equal(gate_ban_check(bans, &a, NOW, NULL), 1 | (GATE_BAN_MANUAL | GATE_BAN_DROP) << 1);
    earn("192.0.2.7", NOW, NULL);
    assert_int_equal(gate_bans_list(bans, NOW, list, 4), 2);
    assert_int_equal(gate_bans_count(bans, NOW), 2);
    assert_int_equal(gate_bans_list(bans, NOW, list, 1), 2);
    assert_int_equal(gate_bans_count(bans, NOW + 20 * SECOND), 1);
    gate_ban_get(bans, &a, NOW, list);
    assert_string_equal(list[0].why, "abuse?case");
}

/* FIELD trap 70: bans in force do not give way, neither to others nor to any number of clients */
static void test_full_table_keeps_bans(void **state)
{
    uint32_t made = 0, refused = 0;
    gate_address_t a;

    (void)state;
    for (uint32_t n = 0; n < 20000; n++) {
        a = number(n);
        switch (gate_ban_earn(bans, &a, &term, 0, "x", "y", NOW, NULL)) {
        case GATE_BAN_MADE:
            made++;
            break;
        case GATE_BAN_FULL:
            refused++;
            break;
        default:
            fail();
        }
    }
    assert_int_equal(made + refused, 20000);
    assert_true(made >= 1000);
    assert_int_equal(gate_bans_count(bans, NOW), made);
    check_valid();
    a = number(0);
    assert_true(gate_ban_check(bans, &a, NOW, NULL)); /* the first one is still there */
    made = 0;
    for (uint32_t n = 50000; n < 50500; n++) { /* when they are over, their places are free again */
        a = number(n);
        made += gate_ban_earn(bans, &a, &term, 0, "x", "y", NOW + 11 * SECOND, NULL) == GATE_BAN_MADE;
    }
    assert_int_equal(made, 500);
    check_valid();
}

/* FIELD trap 73: wall time on disk, monotonic in memory */
static void test_kept_over_a_restart(void **state)
{
    gate_ban_t ban;
    gate_address_t a = client("192.0.2.1"), b = client("2001:db8::1");
    uint32_t taken;
    size_t len;
    char *text;

    (void)state;
    earn("192.0.2.1", NOW, NULL);
    earn("192.0.2.1", NOW + 11 * SECOND, NULL);                 /* level 1: until NOW + 31 s */
    gate_ban_set(bans, &b, NOW + 500 * SECOND, 0, GATE_BAN_DROP, "a|b", "root", NOW, NOW);
    earn("192.0.2.99", NOW, NULL);                              /* over by the time of the restart, but remembered */
    text = gate_bans_save(bans, NOW + 15 * SECOND, WALL, &len);
    gate_bans_init(bans, 1000, &seed);
    /* 10 s later by the wall clock; the monotonic clock began anew */
    assert_int_equal(gate_bans_load(bans, text, len, 5 * SECOND, WALL + 10 * SECOND, &taken), 0);
    assert_int_equal(taken, 2);
    assert_int_equal(gate_ban_get(bans, &a, 5 * SECOND, &ban), 1);
    assert_int_equal(ban.until_usec, 11 * SECOND);
    assert_int_equal(ban.level, 1);
    assert_int_equal(gate_ban_get(bans, &b, 5 * SECOND, &ban), 1);
    assert_string_equal(ban.why, "a|b");
    assert_string_equal(ban.who, "root");
    assert_int_equal(ban.flags, GATE_BAN_DROP);
    assert_int_equal(earn("192.0.2.99", 6 * SECOND, &ban), GATE_BAN_MADE);
    assert_int_equal(ban.level, 1);
    check_valid();
    free(text);
}

static void test_senseless_text(void **state)
{
    static const char *const lines[] = {
        "", "x", "192.0.2.1", "192.0.2.1 1 2 3|a|b", "nobody 1 2 3 4 5|a|b", "192.0.2.1 -1 2 3 4 5|a|b", "192.0.2.1 1 2 3 4 5 6|a|b",
        "192.0.2.1 999999999999999999 2 3 4 5|a|b", "192.0.2.1 1 2 3 4 5|a", "192.0.2.1 1 2 3 4 5", "|| |", "192.0.2.1 a b c d e|a|b"
    };
    uint32_t taken;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char text[200];

        snprintf(text, sizeof text, "%s\n", lines[i]);
        assert_int_equal(gate_bans_load(bans, text, strlen(text), NOW, WALL, &taken), 1);
        assert_int_equal(taken, 0);
    }
    assert_int_equal(gate_bans_count(bans, 0), 0);
    check_valid();
}

static void test_validator_sees(void **state)
{
    char why[200];

    (void)state;
    earn("192.0.2.1", NOW, NULL);
    ((uint32_t *)bans)[2] ^= 4096; /* capacity */
    assert_true(gate_bans_validate(bans, size, why, sizeof why) > 0);
}

static void test_killed_writers(void **state)
{
    gate_address_t steady = client("192.0.2.1");

    (void)state;
    gate_ban_set(bans, &steady, INT64_MAX / 2, 0, 0, "steady", "", NOW, NOW);
    for (int turn = 0; turn < 100; turn++) {
        pid_t pid = fork();

        if (pid == 0) {
            for (uint32_t n = (uint32_t)turn;; n += 7) {
                gate_address_t a = number(n % 3000);

                gate_ban_earn(bans, &a, &term, 0, "x", "y", NOW + n, NULL);
                if (n % 3 == 0) {
                    gate_ban_lift(bans, &a, NOW + n);
                }
            }
        }
        for (int i = 0; i < 20; i++) {
            usleep(100);
            assert_true(gate_ban_check(bans, &steady, NOW, NULL));
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_true(gate_bans_list(bans, NOW, NULL, 0) >= 1); /* takes the lock over */
        check_valid();
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_both_forms), TEST(test_longer_each_time), TEST(test_lift), TEST(test_by_hand), TEST(test_full_table_keeps_bans),
        TEST(test_kept_over_a_restart), TEST(test_senseless_text), TEST(test_validator_sees), TEST(test_killed_writers)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
