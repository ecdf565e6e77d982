/* test_queue.c - caps and the queue behind them: who is let in, in which order, and what becomes of those who go. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "queue_world.h"


static uint32_t waiting(queue_world_t *w)
{
    queue_counts_t counts;

    queue_counts(w->queue, w->group, &counts);
    return counts.waiting;
}

static void test_cap_and_full_queue(void **state)
{
    queue_world_t w;
    queue_guest_t g[6];
    queue_counts_t counts;
    int i;

    (void)state;
    queue_world_open(&w, 1, 2, 3);
    for (i = 0; i < 6; i++) {
        g[i] = queue_guest(&w);
        assert_int_equal(queue_guest_enter(&g[i], 0), i < 2 ? QUEUE_ADMITTED : i < 5 ? QUEUE_WAITING : QUEUE_FULL);
    }
    assert_int_equal(gate_inflight(w.world.reg, w.slot[0]), 2);
    queue_counts(w.queue, w.group, &counts);
    assert_int_equal(counts.length, 3);
    assert_int_equal(counts.waiting, 3);
    assert_int_equal(counts.refused, 1);
    queue_world_close(&w);
}

static void test_no_queue(void **state)
{
    queue_world_t w;
    queue_guest_t a, b;

    (void)state;
    queue_world_open(&w, 1, 1, 0);
    a = queue_guest(&w);
    b = queue_guest(&w);
    assert_int_equal(queue_guest_enter(&a, 0), QUEUE_ADMITTED);
    assert_int_equal(queue_guest_enter(&b, 0), QUEUE_FULL);
    queue_guest_done(&a);
    assert_int_equal(queue_guest_enter(&b, 0), QUEUE_ADMITTED);
    queue_world_close(&w);
}

static void test_first_come_first_served(void **state)
{
    queue_world_t w;
    queue_guest_t in, g[5], late;
    int i;

    (void)state;
    queue_world_open(&w, 1, 1, 10);
    in = queue_guest(&w);
    late = queue_guest(&w);
    queue_guest_enter(&in, 0);
    for (i = 0; i < 5; i++) {
        g[i] = queue_guest(&w);
        assert_int_equal(queue_guest_enter(&g[i], 0), QUEUE_WAITING);
    }
    for (i = 0; i < 5; i++) {
        uint32_t before = atomic_load(queue_word(w.queue, &g[i].stay));

        queue_guest_done(i ? &g[i - 1] : &in);
        assert_int_not_equal(atomic_load(queue_word(w.queue, &g[i].stay)), before); /* the one in front was called */
        if (i == 0) {
            assert_int_equal(queue_guest_enter(&late, 0), QUEUE_WAITING); /* there is room, but not for the one who came last */
        }
        if (i < 4) {
            assert_int_equal(queue_guest_look(&g[i + 1], 0), QUEUE_WAITING); /* nor for who comes next */
            assert_true(g[i + 1].stay.blocked);
        }
        assert_int_equal(queue_guest_look(&g[i], 0), QUEUE_ADMITTED);
    }
    queue_guest_done(&g[4]);
    assert_int_equal(queue_guest_look(&late, 0), QUEUE_ADMITTED);
    assert_int_equal(waiting(&w), 0);
    queue_world_close(&w);
}

/* Two places become free, the first is called twice: it calls the second. */
static void test_the_call_is_passed_on(void **state)
{
    queue_world_t w;
    queue_guest_t in[2], g[2];
    uint32_t before;
    int i;

    (void)state;
    queue_world_open(&w, 1, 2, 10);
    for (i = 0; i < 2; i++) {
        in[i] = queue_guest(&w);
        assert_int_equal(queue_guest_enter(&in[i], 0), QUEUE_ADMITTED);
    }
    for (i = 0; i < 2; i++) {
        g[i] = queue_guest(&w);
        assert_int_equal(queue_guest_enter(&g[i], 0), QUEUE_WAITING);
    }
    before = atomic_load(queue_word(w.queue, &g[1].stay));
    queue_guest_done(&in[0]);
    queue_guest_done(&in[1]);
    assert_int_equal(atomic_load(queue_word(w.queue, &g[1].stay)), before);
    assert_int_equal(queue_guest_look(&g[0], 0), QUEUE_ADMITTED);
    assert_int_not_equal(atomic_load(queue_word(w.queue, &g[1].stay)), before);
    assert_int_equal(queue_guest_look(&g[1], 0), QUEUE_ADMITTED);
    queue_world_close(&w);
}

static void test_who_leaves_stands_in_nobodys_way(void **state)
{
    queue_world_t w;
    queue_guest_t in, a, b;
    queue_counts_t counts;
    uint32_t before;

    (void)state;
    queue_world_open(&w, 1, 1, 10);
    in = queue_guest(&w);
    a = queue_guest(&w);
    b = queue_guest(&w);
    queue_guest_enter(&in, 0);
    queue_guest_enter(&a, 0);
    queue_guest_enter(&b, 0);
    before = atomic_load(queue_word(w.queue, &b.stay));
    queue_guest_done(&in); /* calls a, which goes instead */
    queue_leave(w.queue, &a.stay, QUEUE_LEFT_CLIENT, 0);
    assert_null(queue_word(w.queue, &a.stay));
    assert_int_not_equal(atomic_load(queue_word(w.queue, &b.stay)), before);
    assert_int_equal(queue_guest_look(&b, 0), QUEUE_ADMITTED);
    queue_counts(w.queue, w.group, &counts);
    assert_int_equal(counts.left, 1);
    assert_int_equal(counts.entered, 2);
    assert_int_equal(counts.served, 1);
    queue_world_close(&w);
}

/* One that has tried m1 cannot use the room there; the one behind it can. */
static void test_picky_ones_let_others_pass(void **state)
{
    queue_world_t w;
    queue_guest_t in[2], picky, plain, late;
    uint32_t before;
    int i;

    (void)state;
    queue_world_open(&w, 2, 1, 10);
    for (i = 0; i < 2; i++) {
        in[i] = queue_guest(&w);
        queue_guest_enter(&in[i], 0);
        assert_int_equal(in[i].got, i);
    }
    picky = queue_guest(&w);
    plain = queue_guest(&w);
    late = queue_guest(&w);
    picky.not_these = 1;
    assert_int_equal(queue_guest_enter(&picky, 0), QUEUE_WAITING);
    assert_int_equal(queue_guest_enter(&plain, 0), QUEUE_WAITING);
    queue_guest_done(&in[0]);
    before = atomic_load(queue_word(w.queue, &plain.stay));
    assert_int_equal(queue_guest_look(&picky, 0), QUEUE_WAITING);
    assert_int_not_equal(atomic_load(queue_word(w.queue, &plain.stay)), before);
    assert_int_equal(queue_guest_look(&plain, 0), QUEUE_ADMITTED);
    assert_int_equal(plain.got, 0);
    assert_int_equal(queue_guest_enter(&late, 0), QUEUE_WAITING);
    queue_guest_done(&in[1]);
    assert_int_equal(queue_guest_look(&picky, 0), QUEUE_ADMITTED);
    assert_int_equal(picky.got, 1);
    queue_world_close(&w);
}

/* A verdict that changes is a reason to look, though nothing has ended. */
static void test_changes_of_standing_count(void **state)
{
    queue_world_t w;
    queue_guest_t in, a;
    gate_member_t m;

    (void)state;
    queue_world_open(&w, 1, 1, 10);
    in = queue_guest(&w);
    a = queue_guest(&w);
    queue_guest_enter(&in, 0);
    queue_guest_enter(&a, 0);
    assert_int_equal(queue_guest_look(&a, 0), QUEUE_WAITING);
    assert_int_equal(gate_member_get(w.world.reg, w.slot[0], &m), 0);
    gate_verdict_change(w.world.reg, m.slot, m.incarnation, GATE_VERDICT_DOWN, 0, "test", "", "", 1);
    w.cap = 2;
    assert_int_equal(queue_guest_look(&a, 0), QUEUE_ADMITTED);
    queue_world_close(&w);
}

/* A holder that was called and does not come (it is stopped, or very slow) blocks the others for a moment only. */
static void test_one_that_does_not_come(void **state)
{
    queue_world_t w;
    queue_guest_t in, a, b;

    (void)state;
    queue_world_open(&w, 1, 1, 10);
    in = queue_guest(&w);
    a = queue_guest(&w);
    b = queue_guest(&w);
    queue_guest_enter(&in, 0);
    queue_guest_enter(&a, 0);
    queue_guest_enter(&b, 0);
    queue_guest_done(&in);
    assert_int_equal(queue_guest_look(&b, 1000), QUEUE_WAITING);
    assert_int_equal(queue_guest_look(&b, 1000 + QUEUE_BLOCKED_USEC - 1), QUEUE_WAITING);
    assert_int_equal(queue_guest_look(&b, 1000 + QUEUE_BLOCKED_USEC), QUEUE_ADMITTED);
    queue_guest_done(&b);
    assert_int_equal(queue_guest_look(&a, 2000 + QUEUE_BLOCKED_USEC), QUEUE_ADMITTED);
    queue_world_close(&w);
}

static void test_place_of_one_who_overstayed(void **state)
{
    queue_world_t w;
    queue_guest_t in, a, b;

    (void)state;
    queue_world_open(&w, 1, 1, 1);
    in = queue_guest(&w);
    a = queue_guest(&w);
    b = queue_guest(&w);
    a.stay.until_usec = 1000;
    queue_guest_enter(&in, 0);
    queue_guest_enter(&a, 0);
    assert_int_equal(queue_guest_enter(&b, 1000 + QUEUE_GRACE_USEC), QUEUE_FULL);
    assert_int_equal(queue_guest_enter(&b, 1000 + QUEUE_GRACE_USEC + QUEUE_TIDY_USEC), QUEUE_WAITING);
    assert_int_equal(queue_guest_look(&a, 1001 + QUEUE_GRACE_USEC + QUEUE_TIDY_USEC), QUEUE_FULL); /* its place is gone, and there is no other */
    assert_null(queue_word(w.queue, &a.stay));
    queue_leave(w.queue, &a.stay, QUEUE_LEFT_EXPIRED, 0); /* does no harm */
    assert_non_null(queue_word(w.queue, &b.stay));
    queue_world_close(&w);
}

static void test_a_child_without_a_seat_does_not_wait(void **state)
{
    queue_world_t w;
    queue_guest_t in, a;

    (void)state;
    queue_world_open(&w, 1, 1, 1);
    in = queue_guest(&w);
    a = queue_guest(&w);
    queue_guest_enter(&in, 0);
    a.seat = GATE_SEAT_NONE;
    assert_int_equal(queue_guest_enter(&a, 0), QUEUE_FULL);
    queue_world_close(&w);
}

static void test_when_to_look_without_a_call(void **state)
{
    queue_world_t w;
    queue_guest_t in, a, b;

    (void)state;
    queue_world_open(&w, 1, 1, 4);
    in = queue_guest(&w);
    a = queue_guest(&w);
    b = queue_guest(&w);
    queue_guest_enter(&in, 0);
    queue_guest_enter(&a, 0);
    queue_guest_enter(&b, 0);
    assert_true(queue_due(w.queue, &a.stay, QUEUE_TICK_USEC));
    assert_false(queue_due(w.queue, &b.stay, QUEUE_TICK_USEC));
    assert_true(queue_due(w.queue, &b.stay, 8 * QUEUE_TICK_USEC));
    queue_world_close(&w);
}

static void test_layout_follows_the_lengths(void **state)
{
    uint32_t one[] = { 10, 20 }, two[] = { 20, 10 };
    queue_plan_t a = { 2, 4, one }, b = { 2, 4, two };

    (void)state;
    assert_int_equal(queue_size(&a), queue_size(&b));
    assert_int_not_equal(queue_layout(&a), queue_layout(&b));
}

static void test_validators_find_damage(void **state)
{
    queue_world_t w;
    queue_guest_t in, a;
    char why[200];
    unsigned char *bytes;
    size_t size, at;
    int found = 0;

    (void)state;
    queue_world_open(&w, 1, 1, 2);
    in = queue_guest(&w);
    a = queue_guest(&w);
    queue_guest_enter(&in, 0);
    queue_guest_enter(&a, 0);
    bytes = w.base;
    size = queue_size(&w.plan);
    for (at = 0; at < size; at++) {
        bytes[at] ^= 0xff;
        found += queue_validate(w.base, size, w.queue, why, sizeof why) != 0;
        bytes[at] ^= 0xff;
    }
    assert_true(found >= 16 + 4 + 8 + 4); /* header, a state, a ticket, a seat */
    bytes = w.caps;
    bytes[0] ^= 1;
    assert_int_equal(queue_caps_validate(w.caps, queue_caps_size(), w.queue, why, sizeof why), 1);
    bytes[0] ^= 1;
    queue_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cap_and_full_queue), cmocka_unit_test(test_no_queue),
        cmocka_unit_test(test_first_come_first_served), cmocka_unit_test(test_the_call_is_passed_on),
        cmocka_unit_test(test_who_leaves_stands_in_nobodys_way), cmocka_unit_test(test_picky_ones_let_others_pass),
        cmocka_unit_test(test_changes_of_standing_count), cmocka_unit_test(test_one_that_does_not_come),
        cmocka_unit_test(test_place_of_one_who_overstayed), cmocka_unit_test(test_a_child_without_a_seat_does_not_wait),
        cmocka_unit_test(test_when_to_look_without_a_call), cmocka_unit_test(test_layout_follows_the_lengths),
        cmocka_unit_test(test_validators_find_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
