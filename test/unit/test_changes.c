/* test_changes.c - what an admin does to members: done, remembered, done again; the section of the state file. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "gate_changes.h"
#include "registry_world.h"

#define CAPACITY 16
#define HOUR INT64_C(3600000000)

static registry_world_t w;
static gate_changes_t *changes;
static void *base;
static uint32_t group;
static int told;

static void changed(void)
{
    told++;
}

static const gate_member_spec_t configured[] = {
    { .id = "m1", .url = "http://127.0.0.1:9001", .weight = 5 },
    { .id = "m2", .url = "http://127.0.0.1:9002", .weight = 5 },
    { .id = "m3", .url = "http://127.0.0.1:9003", .weight = 5 },
};

/* As a start of the server does. `table`: of the server before, or NULL. */
static void apply_config(void)
{
    gate_member_spec_t specs[3];
    uint32_t n;

    memcpy(specs, configured, sizeof specs);
    assert_int_equal(gate_group_declare(w.reg, "app", &group), APR_SUCCESS);
    n = gate_changes_dress(changes, group, GATE_ORIGIN_CONFIG, specs, 3, 1);
    assert_int_equal(gate_members_apply(w.reg, group, GATE_ORIGIN_CONFIG, specs, n, "", 0), APR_SUCCESS);
}

static void start(void)
{
    registry_world_open(&w, 4, 32, 4, NULL);
    base = mmap(NULL, gate_changes_size(CAPACITY), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    gate_changes_init(base, CAPACITY);
    changes = gate_changes_attach(w.pool, base, CAPACITY, w.reg, changed);
    apply_config();
    told = 0;
}

static void stop(void)
{
    char why[200] = "";

    if (gate_changes_validate(base, gate_changes_size(CAPACITY), changes, why, sizeof why)) {
        fail_msg("%s", why);
    }
    munmap(base, gate_changes_size(CAPACITY));
    registry_world_close(&w);
}

/* A stop and a start with a state file between. */
static void restart(void)
{
    size_t len;
    char *text = gate_changes_save(changes, w.pool, &len);
    char *copy = strdup(text);
    const char *said;

    stop();
    start();
    said = gate_changes_load(changes, w.pool, copy, len);
    if (said) {
        fail_msg("%s", said);
    }
    gate_changes_apply(changes, 1);
    free(copy);
}

static gate_member_t member(const char *id)
{
    gate_member_t m = { .slot = GATE_NO_SLOT };
    uint32_t slot = gate_member_find(w.reg, group, id);

    if (slot != GATE_NO_SLOT) {
        assert_int_equal(gate_member_get(w.reg, slot, &m), 0);
    }
    return m;
}

static int is_there(const char *id)
{
    return member(id).slot != GATE_NO_SLOT;
}

static void add(const char *id, const char *url, uint32_t verdict)
{
    gate_member_spec_t spec = { .id = id, .url = url, .weight = 7, .flags = GATE_MEMBER_BACKUP, .connections = 9, .verdict = verdict };
    uint32_t slot;

    assert_int_equal(gate_change_add(changes, group, &spec, "alice", 10, &slot), APR_SUCCESS);
}

static void test_added(void **state)
{
    int i;

    (void)state;
    start();
    add("new", "http://127.0.0.1:9100/base", 0);
    assert_int_equal(told, 1);
    for (i = 0; i < 2; i++) {
        gate_member_t m = member("new");

        assert_int_equal(m.origin, GATE_ORIGIN_RUNTIME);
        assert_int_equal(m.weight, 7);
        assert_int_equal(m.connections, 9);
        assert_int_equal(m.flags, GATE_MEMBER_BACKUP);
        assert_string_equal(m.url, "http://127.0.0.1:9100/base");
        restart();
    }
    assert_int_equal(gate_changes_apply(changes, 2), 0); /* all is as it should be */
    stop();
}

static void test_bad_additions(void **state)
{
    static const gate_member_spec_t bad[] = {
        { .id = "m 1", .url = "http://127.0.0.1:1", .weight = 1 }, { .id = "", .url = "http://127.0.0.1:1", .weight = 1 },
        { .id = "x", .url = "gopher://127.0.0.1", .weight = 1 },   { .id = "x", .url = "http://127.0.0.1:1", .weight = 0 },
        { .id = "x", .url = "http://127.0.0.1:1", .weight = 1001 }, { .id = "x", .url = "http://127.0.0.1:1", .weight = 1, .flags = 64 },
    };
    gate_member_spec_t twice = configured[0];
    uint32_t slot;
    size_t i;

    (void)state;
    start();
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(gate_change_add(changes, group, &bad[i], "", 1, &slot), APR_EINVAL);
    }
    assert_int_equal(gate_change_add(changes, group, &twice, "", 1, &slot), APR_EEXIST);
    assert_int_equal(gate_change_add(changes, 3, &twice, "", 1, &slot), APR_ENOENT);
    assert_int_equal(told, 0);
    stop();
}

static void test_drain_disable_enable(void **state)
{
    static const uint32_t words[] = { GATE_VERDICT_DRAIN, GATE_VERDICT_DISABLED, GATE_VERDICT_DRAIN, 0 };
    size_t i;

    (void)state;
    start();
    for (i = 0; i < sizeof words / sizeof words[0]; i++) {
        gate_member_t m = member("m2");

        assert_int_equal(gate_change_admin(changes, m.slot, m.incarnation, words[i], 0, "bob", "why not", 10), APR_SUCCESS);
        assert_int_equal(member("m2").verdict & GATE_VERDICT_ADMIN, words[i]);
        restart();
        assert_int_equal(member("m2").verdict & GATE_VERDICT_ADMIN, words[i]);
        assert_int_equal(member("m1").verdict, 0);
        apply_config(); /* a graceful restart */
        assert_int_equal(member("m2").verdict & GATE_VERDICT_ADMIN, words[i]);
    }
    stop();
}

static void test_weight(void **state)
{
    gate_member_t m;

    (void)state;
    start();
    m = member("m1");
    assert_int_equal(gate_change_weight(changes, m.slot, m.incarnation, 77, "bob"), APR_SUCCESS);
    assert_int_equal(gate_change_weight(changes, m.slot, m.incarnation, 0, "bob"), APR_EINVAL);
    assert_int_equal(gate_change_weight(changes, m.slot, m.incarnation + 1, 8, "bob"), APR_ENOENT);
    restart();
    assert_int_equal(member("m1").weight, 77);
    assert_int_equal(member("m1").weight_configured, 5);
    stop();
}

static void test_removed_stays_away(void **state)
{
    gate_member_t m;
    gate_change_t c;

    (void)state;
    start();
    m = member("m3");
    assert_int_equal(gate_change_remove(changes, m.slot, m.incarnation, "bob", "old", 10), APR_SUCCESS);
    assert_false(is_there("m3"));
    assert_int_equal(gate_change_remove(changes, m.slot, m.incarnation, "bob", "old", 10), APR_ENOENT);
    apply_config();
    assert_false(is_there("m3")); /* a graceful restart does not bring it back */
    restart();
    assert_false(is_there("m3")); /* nor does a stop */
    assert_true(is_there("m1"));
    assert_int_equal(gate_change_get(changes, "app", "m3", &c), 0);
    assert_int_equal(c.what, GATE_CHANGE_REMOVED);
    assert_string_equal(c.who, "bob");
    stop();
}

static void test_removed_is_forgotten(void **state)
{
    gate_member_spec_t specs[3];
    gate_member_t m;

    (void)state;
    start();
    m = member("m3");
    gate_change_remove(changes, m.slot, m.incarnation, "bob", "old", 10);
    memcpy(specs, configured, sizeof specs);
    assert_int_equal(gate_changes_dress(changes, group, GATE_ORIGIN_DISCOVERED, specs, 0, 1), 0); /* not discovery's business */
    assert_int_equal(gate_changes_dress(changes, group, GATE_ORIGIN_CONFIG, specs, 3, 1), 2);
    assert_int_equal(gate_changes_dress(changes, group, GATE_ORIGIN_CONFIG, specs, 2, 0), 2); /* not all there is: says nothing */
    memcpy(specs, configured, sizeof specs);
    assert_int_equal(gate_changes_dress(changes, group, GATE_ORIGIN_CONFIG, specs, 3, 1), 2);
    assert_int_equal(gate_changes_dress(changes, group, GATE_ORIGIN_CONFIG, specs, 2, 1), 2); /* the configuration has lost it too */
    memcpy(specs, configured, sizeof specs);
    assert_int_equal(gate_changes_dress(changes, group, GATE_ORIGIN_CONFIG, specs, 3, 1), 3); /* there again: a member like others */
    m = member("m2");
    gate_change_remove(changes, m.slot, m.incarnation, "bob", "old", 10);
    specs[1].url = "http://127.0.0.1:9999";
    assert_int_equal(gate_changes_dress(changes, group, GATE_ORIGIN_CONFIG, specs, 3, 1), 3); /* another server under that id */
    stop();
}

static void test_removing_what_was_added(void **state)
{
    gate_member_t m;
    gate_change_t c;

    (void)state;
    start();
    add("new", "http://127.0.0.1:9100", GATE_VERDICT_DRAIN);
    m = member("new");
    assert_int_equal(m.verdict, GATE_VERDICT_DRAIN);
    restart();
    m = member("new");
    assert_int_equal(m.verdict, GATE_VERDICT_DRAIN);
    assert_int_equal(gate_change_remove(changes, m.slot, m.incarnation, "bob", "", 10), APR_SUCCESS);
    assert_int_equal(gate_change_get(changes, "app", "new", &c), -1); /* nothing to be remembered */
    restart();
    assert_false(is_there("new"));
    stop();
}

static void test_configuration_takes_over_what_was_added(void **state)
{
    gate_change_t c;

    (void)state;
    start();
    add("m4", "http://127.0.0.1:9004", 0);
    {
        gate_member_spec_t specs[4];
        uint32_t n;

        memcpy(specs, configured, sizeof configured);
        specs[3] = (gate_member_spec_t){ .id = "m4", .url = "http://127.0.0.1:9004", .weight = 2 };
        n = gate_changes_dress(changes, group, GATE_ORIGIN_CONFIG, specs, 4, 1);
        assert_int_equal(n, 4);
        assert_int_equal(gate_members_apply(w.reg, group, GATE_ORIGIN_CONFIG, specs, n, "", 0), APR_SUCCESS);
    }
    assert_int_equal(member("m4").origin, GATE_ORIGIN_CONFIG);
    assert_int_equal(gate_change_get(changes, "app", "m4", &c), -1);
    stop();
}

static uint32_t told_inflight;

static void drained(const gate_change_t *change, uint32_t inflight, void *ctx)
{
    (void)ctx;
    assert_string_equal(change->id, "m1");
    told_inflight = inflight;
}

static void test_drain_with_a_deadline(void **state)
{
    gate_member_t m;
    int seat;

    (void)state;
    start();
    seat = gate_seat_claim(w.seats);
    m = member("m1");
    assert_int_equal(gate_change_admin(changes, m.slot, m.incarnation, GATE_VERDICT_DISABLED, HOUR, "bob", "", 1), APR_EINVAL);
    assert_int_equal(gate_change_admin(changes, m.slot, m.incarnation, GATE_VERDICT_DRAIN, HOUR, "bob", "", 1), APR_SUCCESS);
    gate_inflight_begin(w.reg, seat, m.slot);
    assert_int_equal(gate_changes_tick(changes, 5, HOUR - 1, drained, NULL), 0);
    assert_true(is_there("m1"));
    assert_int_equal(gate_changes_tick(changes, 5, HOUR, drained, NULL), 1);
    assert_int_equal(told_inflight, 1);
    assert_false(is_there("m1"));
    assert_int_equal(gate_inflight(w.reg, m.slot), 1); /* it goes on */
    gate_inflight_end(w.reg, seat, m.slot);
    assert_int_equal(gate_changes_tick(changes, 5, HOUR, drained, NULL), 0);
    stop();
}

static void test_deadline_over_a_restart(void **state)
{
    gate_member_t m;

    (void)state;
    start();
    m = member("m1");
    gate_change_admin(changes, m.slot, m.incarnation, GATE_VERDICT_DRAIN, HOUR, "bob", "", 1);
    restart();
    assert_int_equal(gate_changes_tick(changes, 5, HOUR, drained, NULL), 1);
    assert_false(is_there("m1"));
    restart();
    assert_false(is_there("m1"));
    stop();
}

static void test_enabled_again_has_no_deadline(void **state)
{
    gate_member_t m;

    (void)state;
    start();
    m = member("m1");
    gate_change_admin(changes, m.slot, m.incarnation, GATE_VERDICT_DRAIN, HOUR, "bob", "", 1);
    gate_change_admin(changes, m.slot, m.incarnation, 0, 0, "bob", "", 1);
    assert_int_equal(gate_changes_tick(changes, 5, 2 * HOUR, drained, NULL), 0);
    assert_true(is_there("m1"));
    stop();
}

static void test_table_is_full(void **state)
{
    uint32_t slot = 0;
    char id[16];
    int i;

    (void)state;
    start();
    for (i = 0; i < CAPACITY; i++) {
        snprintf(id, sizeof id, "x%d", i);
        add(id, "http://127.0.0.1:9100", 0);
    }
    {
        gate_member_spec_t spec = { .id = "more", .url = "http://127.0.0.1:9100", .weight = 1 };
        gate_member_t m = member("m1");

        assert_int_equal(gate_change_add(changes, group, &spec, "", 1, &slot), APR_ENOSPC);
        assert_false(is_there("more"));
        assert_int_equal(gate_change_remove(changes, m.slot, m.incarnation, "", "", 1), APR_ENOSPC);
        assert_true(is_there("m1"));
    }
    stop();
}

static void test_nonsense_is_refused_and_the_rest_kept(void **state)
{
    static const char *const lines[] = {
        "app", "app\tx", "app\tx\t1\thttp://h:1\t1\t1\t0\t0\t0\t0\t0", "app\tx\t1\thttp://h:1\t1\t1\t0\t0\t0\t0\t0\t\t",
        "a p\tx\t1\thttp://h:1\t1\t1\t0\t0\t0\t0\t0\t", "app\t\t1\thttp://h:1\t1\t1\t0\t0\t0\t0\t0\t",
        "app\tx\t0\thttp://h:1\t1\t1\t0\t0\t0\t0\t0\t", "app\tx\t16\thttp://h:1\t1\t1\t0\t0\t0\t0\t0\t",
        "app\tx\t1\tfile:///etc\t1\t1\t0\t0\t0\t0\t0\t", "app\tx\t1\thttp://h:1\t0\t1\t0\t0\t0\t0\t0\t",
        "app\tx\t1\thttp://h:1\t1\t1001\t0\t0\t0\t0\t0\t", "app\tx\t1\thttp://h:1\t1\t1\t0\t0\t3\t0\t0\t",
        "app\tx\t1\thttp://h:1\t1\t1\t0\t0\t0\t-1\t0\t", "app\tx\t1\thttp://h:1\t1\t1\t4\t0\t0\t0\t0\t",
    };
    char text[600];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *said;

        start();
        snprintf(text, sizeof text, "%s\napp\tgood\t1\thttp://h:1\t3\t3\t0\t0\t0\t0\t0\tbob\n", lines[i]);
        said = gate_changes_load(changes, w.pool, text, strlen(text));
        assert_non_null(said);
        assert_non_null(strstr(said, "1 lines that make no sense (line 1"));
        assert_int_equal(gate_changes_apply(changes, 1), 1);
        assert_true(is_there("good"));
        assert_false(is_there("x"));
        stop();
    }
    start();
    assert_non_null(gate_changes_load(changes, w.pool, "a\0b", 3));
    assert_null(gate_changes_load(changes, w.pool, "", 0));
    stop();
}

static void test_who_cannot_break_the_file(void **state)
{
    gate_member_t m;
    gate_change_t c;

    (void)state;
    start();
    m = member("m1");
    gate_change_weight(changes, m.slot, m.incarnation, 9, "eve\t\napp\tevil\t1");
    restart();
    assert_int_equal(member("m1").weight, 9);
    assert_int_equal(gate_change_get(changes, "app", "m1", &c), 0);
    assert_string_equal(c.who, "eve??app?evil?1");
    stop();
}

static void test_unknown_group_is_kept(void **state)
{
    static const char line[] = "later\tx\t1\thttp://h:1\t3\t3\t0\t0\t0\t0\t0\tbob\n";
    uint32_t index;

    (void)state;
    start();
    assert_null(gate_changes_load(changes, w.pool, line, strlen(line)));
    assert_int_equal(gate_changes_apply(changes, 1), 0);
    assert_int_equal(gate_group_declare(w.reg, "later", &index), APR_SUCCESS);
    assert_int_equal(gate_changes_apply(changes, 1), 1);
    assert_true(gate_member_find(w.reg, index, "x") != GATE_NO_SLOT);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_added), cmocka_unit_test(test_bad_additions), cmocka_unit_test(test_drain_disable_enable),
        cmocka_unit_test(test_weight), cmocka_unit_test(test_removed_stays_away), cmocka_unit_test(test_removed_is_forgotten),
        cmocka_unit_test(test_removing_what_was_added), cmocka_unit_test(test_configuration_takes_over_what_was_added),
        cmocka_unit_test(test_drain_with_a_deadline), cmocka_unit_test(test_deadline_over_a_restart),
        cmocka_unit_test(test_enabled_again_has_no_deadline), cmocka_unit_test(test_table_is_full),
        cmocka_unit_test(test_nonsense_is_refused_and_the_rest_kept), cmocka_unit_test(test_who_cannot_break_the_file),
        cmocka_unit_test(test_unknown_group_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
