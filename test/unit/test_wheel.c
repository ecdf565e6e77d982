/*
 * test_wheel.c - timers fire at their time or up to a tick after, never before, once, in whatever order they are set, moved and cleared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wheel.h"

#define MS INT64_C(1000)
#define TIMERS 400

typedef struct {
    wheel_timer_t timer;
    int64_t due_usec;           /* 0: not to fire */
    unsigned fired;
} alarm_t;

static wheel_t wheel;
static int64_t now;

static void ring(wheel_timer_t *timer)
{
    alarm_t *alarm = (alarm_t *)timer;

    assert_true(alarm->due_usec != 0);
    assert_true(now >= alarm->due_usec);
    alarm->due_usec = 0;
    alarm->fired++;
}

static void set(alarm_t *alarm, int64_t due_usec)
{
    alarm->timer.fired = ring;
    alarm->due_usec = due_usec;
    wheel_set(&wheel, &alarm->timer, due_usec);
}

static void go_to(int64_t then)
{
    now = then;
    wheel_run(&wheel, now);
}

static void test_not_before_and_not_late(void **state)
{
    static const int64_t after[] = { 1, 999, 1000, 63 * MS, 64 * MS, 65 * MS, 4095 * MS, 4096 * MS, 4097 * MS, 300000 * MS, 864000000 * MS };

    (void)state;
    for (unsigned i = 0; i < sizeof after / sizeof *after; i++) {
        for (int64_t begin = 5000 * MS; begin < 5400 * MS; begin += 37 * MS + 11) {
            alarm_t alarm;

            memset(&alarm, 0, sizeof alarm);
            wheel_init(&wheel, now = begin);
            set(&alarm, begin + after[i]);
            while (!alarm.fired) {
                int64_t next = wheel_next(&wheel);

                assert_true(next != INT64_MAX && next <= begin + after[i] + MS);
                go_to(next > now ? next : now + 1);
            }
            assert_true(now < begin + after[i] + MS);
            assert_true(wheel_next(&wheel) == INT64_MAX);
        }
    }
}

static void test_cleared_and_moved(void **state)
{
    alarm_t a, b, c;

    (void)state;
    memset(&a, 0, sizeof a), memset(&b, 0, sizeof b), memset(&c, 0, sizeof c);
    wheel_init(&wheel, now = 77 * MS);
    wheel_clear(&wheel, &a.timer); /* was never set */
    set(&a, 100 * MS), set(&b, 100 * MS), set(&c, 100 * MS);
    wheel_clear(&wheel, &b.timer);
    set(&c, 5000 * MS);
    go_to(200 * MS);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    assert_int_equal(c.fired, 0);
    assert_true(a.timer.due_usec == 0 && c.timer.due_usec != 0);
    set(&c, 300 * MS);
    go_to(301 * MS);
    assert_int_equal(c.fired, 1);
    set(&a, 10); /* long past */
    go_to(now);
    assert_int_equal(a.fired, 2);
}

static alarm_t *victim;

static void ring_and_clear(wheel_timer_t *timer)
{
    ((alarm_t *)timer)->fired++;
    wheel_clear(&wheel, &victim->timer);
}

static void ring_and_set_again(wheel_timer_t *timer)
{
    ((alarm_t *)timer)->fired++;
    wheel_set(&wheel, timer, 1);
}

static void test_what_a_callback_may_do(void **state)
{
    alarm_t a, b;

    (void)state;
    memset(&a, 0, sizeof a), memset(&b, 0, sizeof b);
    wheel_init(&wheel, now = 0);
    a.timer.fired = b.timer.fired = ring_and_clear;
    wheel_set(&wheel, &a.timer, 10 * MS), wheel_set(&wheel, &b.timer, 10 * MS);
    victim = &a; /* b was set last and is called first */
    go_to(20 * MS);
    assert_int_equal(a.fired + b.fired, 1);
    assert_true(wheel_next(&wheel) == INT64_MAX);

    a.timer.fired = ring_and_set_again;
    wheel_set(&wheel, &a.timer, 21 * MS);
    a.fired = 0;
    go_to(30 * MS);
    assert_in_range(a.fired, 1, 11); /* once each tick, and an end */
    a.fired = 0;
    go_to(31 * MS);
    assert_in_range(a.fired, 1, 2);
}

static void test_many_at_random(void **state)
{
    static alarm_t alarm[TIMERS];
    unsigned seed = 12345;

    (void)state;
    memset(alarm, 0, sizeof alarm);
    wheel_init(&wheel, now = INT64_C(123456789012));
    for (int turn = 0; turn < 60000; turn++) {
        alarm_t *one = &alarm[rand_r(&seed) % TIMERS];

        switch (rand_r(&seed) % 4) {
        case 0:
        case 1:
            set(one, now + rand_r(&seed) % (1u << (8 + rand_r(&seed) % 20)));
            break;
        case 2:
            wheel_clear(&wheel, &one->timer);
            one->due_usec = 0;
            break;
        default:
            go_to(now + rand_r(&seed) % (1u << rand_r(&seed) % 20));
            for (int i = 0; i < TIMERS; i++) {
                assert_true(!alarm[i].due_usec || alarm[i].due_usec > now - MS);
                assert_true(!alarm[i].due_usec || wheel_next(&wheel) <= alarm[i].due_usec + MS);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_before_and_not_late),
        cmocka_unit_test(test_cleared_and_moved),
        cmocka_unit_test(test_what_a_callback_may_do),
        cmocka_unit_test(test_many_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
