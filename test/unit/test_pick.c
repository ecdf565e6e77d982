/*
 * test_pick.c - who is asked next: tiers, health, panic, caps, members already tried, trials.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "pick.h"
#include "registry_world.h"

#define NOW INT64_C(1000000000)

static registry_world_t w;
static gate_rosters_t *rosters;
static gate_roster_t *roster;
static uint32_t app;
static int seat;
static pick_ask_t ask;

static void members(int n, const uint32_t *flags, const uint32_t *priorities, uint32_t connections)
{
    gate_member_spec_t set[64];
    char url[64][40], id[64][10];
    int i;

    for (i = 0; i < n; i++) {
        sprintf(id[i], "m%d", i);
        sprintf(url[i], "http://10.0.0.%d:80", i + 1);
        set[i] = (gate_member_spec_t){ .id = id[i], .url = url[i], .weight = 1, .connections = connections,
                                       .flags = flags ? flags[i] : 0, .priority = priorities ? priorities[i] : 0 };
    }
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, (uint32_t)n, "", 1), APR_SUCCESS);
    if (roster) {
        gate_roster_release(roster);
    }
    roster = gate_roster_hold(rosters, app);
    assert_int_equal(roster->count, n);
    ask = (pick_ask_t){ .registry = w.reg, .roster = roster, .strategy = gate_strategy_find("round-robin"), .now_usec = NOW,
                        .seat = GATE_SEAT_NONE };
}

static void say(int member, uint32_t set, uint32_t clear)
{
    const gate_roster_member_t *m = &roster->members[member];

    assert_true(gate_verdict_change(w.reg, m->slot, m->incarnation, set, clear, "test", "", "", NOW) >= 0);
}

/* Indexes that come out of so many picks, as a bitmap. */
static unsigned seen(int picks)
{
    unsigned map = 0;

    while (picks-- > 0) {
        pick_answer_t answer = pick_member(&ask, w.pool);

        if (answer.index >= 0) {
            map |= 1u << answer.index;
        }
    }
    return map;
}

static void test_backups_come_last(void **state)
{
    const uint32_t flags[] = { 0, GATE_MEMBER_BACKUP, 0 };

    (void)state;
    members(3, flags, NULL, 0);
    assert_int_equal(seen(12), 5);
    assert_int_equal(pick_member(&ask, w.pool).others, 3);
    say(0, GATE_VERDICT_DOWN, 0);
    assert_int_equal(seen(12), 4);
    say(2, GATE_VERDICT_DRAIN, 0);
    assert_int_equal(seen(12), 2);
    say(1, GATE_VERDICT_DISABLED, 0);
    assert_int_equal(pick_member(&ask, w.pool).index, -1);
    assert_int_equal(pick_member(&ask, w.pool).others, 0);
}

static void test_lower_priority_numbers_first(void **state)
{
    const uint32_t priorities[] = { 20, 10, 10, 30 };

    (void)state;
    members(4, NULL, priorities, 0);
    assert_int_equal(seen(12), 6);
    say(1, GATE_VERDICT_DOWN, 0);
    say(2, GATE_VERDICT_GONE, 0);
    assert_int_equal(seen(12), 1);
}

static void test_tried_ones_are_left_out(void **state)
{
    pick_tried_t tried[2];

    (void)state;
    members(3, NULL, NULL, 0);
    tried[0] = (pick_tried_t){ roster->members[0].slot, roster->members[0].incarnation };
    tried[1] = (pick_tried_t){ roster->members[1].slot, roster->members[1].incarnation + 1 }; /* another one that had this slot */
    ask.tried = tried;
    ask.tried_count = 2;
    for (ask.random = 0; ask.random < 8; ask.random++) {
        assert_int_not_equal(pick_member(&ask, w.pool).index, 0);
    }
    assert_int_equal(pick_member(&ask, w.pool).others, 2);
}

static void test_a_further_try_takes_no_turn(void **state)
{
    pick_tried_t tried;
    int i, first[2] = { 0, 0 };

    (void)state;
    members(2, NULL, NULL, 0);
    for (i = 0; i < 10; i++) {
        int index;

        ask.tried_count = 0;
        index = pick_member(&ask, w.pool).index;
        first[index]++;
        tried = (pick_tried_t){ roster->members[index].slot, roster->members[index].incarnation };
        ask.tried = &tried;
        ask.tried_count = 1;
        ask.random = (uint64_t)i * 77;
        assert_int_equal(pick_member(&ask, w.pool).index, 1 - index);
    }
    assert_int_equal(first[0], 5);
}

static void test_full_members_are_passed_over(void **state)
{
    pick_answer_t answer;

    (void)state;
    members(2, NULL, NULL, 2);
    gate_inflight_begin(w.reg, seat, roster->members[0].slot);
    gate_inflight_begin(w.reg, seat, roster->members[0].slot);
    assert_int_equal(seen(6), 2);
    gate_inflight_begin(w.reg, seat, roster->members[1].slot);
    gate_inflight_begin(w.reg, seat, roster->members[1].slot);
    answer = pick_member(&ask, w.pool);
    assert_int_equal(answer.index, -1);
    assert_int_equal(answer.full, 2);
    assert_int_equal(answer.others, 2);
    gate_inflight_end(w.reg, seat, roster->members[1].slot);
    assert_int_equal(seen(6), 2);
    gate_inflight_end(w.reg, seat, roster->members[0].slot);
    gate_inflight_end(w.reg, seat, roster->members[0].slot);
    gate_inflight_end(w.reg, seat, roster->members[1].slot);
}

static void test_panic_overlooks_health_and_nothing_else(void **state)
{
    (void)state;
    members(4, NULL, NULL, 0);
    ask.panic_milli = 500;
    say(0, GATE_VERDICT_DOWN, 0);
    say(1, GATE_VERDICT_DOWN, 0);
    assert_int_equal(seen(12), 12); /* half of them are well: not below 50 % */
    say(2, GATE_VERDICT_DOWN, 0);
    assert_int_equal(seen(12), 15);
    say(0, GATE_VERDICT_DISABLED, 0);
    assert_int_equal(seen(12), 14); /* one of three that are in service */
    say(1, GATE_VERDICT_GONE, 0);
    say(3, GATE_VERDICT_DRAIN, 0);
    assert_int_equal(seen(12), 4);
}

static void test_an_ejected_member_gets_one_trial(void **state)
{
    pick_answer_t answer;

    (void)state;
    members(3, NULL, NULL, 0);
    gate_trial_set(w.reg, roster->members[1].slot, NOW + 1000);
    say(1, GATE_VERDICT_EJECTED, 0);
    assert_int_equal(seen(9), 5);
    ask.now_usec = NOW + 1000;
    ask.peek = 1;
    assert_false(pick_member(&ask, w.pool).is_trial);
    ask.peek = 0;
    answer = pick_member(&ask, w.pool);
    assert_true(answer.is_trial);
    assert_int_equal(answer.index, 1);
    assert_int_equal(seen(9), 5); /* claimed: nobody else tries it */
    say(1, GATE_VERDICT_DOWN, 0);
    gate_trial_set(w.reg, roster->members[1].slot, 0);
    assert_int_equal(seen(9), 5); /* a check says no as well */
}

static void test_many_members(void **state)
{
    (void)state;
    members(60, NULL, NULL, 0);
    assert_int_equal(pick_member(&ask, w.pool).others, 60);
    assert_true(pick_member(&ask, w.pool).index >= 0);
}

static int make_world(void **state)
{
    (void)state;
    registry_world_open(&w, 4, 256, 4, &seat);
    assert_int_equal(gate_group_declare(w.reg, "app", &app), APR_SUCCESS);
    rosters = gate_rosters_create(w.pool, w.reg);
    return 0;
}

static int end_world(void **state)
{
    (void)state;
    gate_roster_release(roster);
    roster = NULL;
    registry_world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_backups_come_last, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_lower_priority_numbers_first, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_tried_ones_are_left_out, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_a_further_try_takes_no_turn, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_full_members_are_passed_over, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_panic_overlooks_health_and_nothing_else, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_an_ejected_member_gets_one_trial, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_many_members, make_world, end_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
