/*
 * test_space.c - runs of units: random taking and giving against a plain map, trimming, coalescing, rebuilding.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "space.h"

#define UNITS 5000u
#define HELD 200

static gate_space_t space;
static uint8_t map[UNITS], used[UNITS / 8 + 1];
static unsigned char data[UNITS * GATE_UNIT];
static gate_space_view_t v = { &space, map, data, UNITS };

static void mark(gate_run_t run, int on)
{
    for (uint32_t u = run.start; u < run.start + run.count; u++) {
        assert_true(u < UNITS);
        assert_int_equal(used[u >> 3] >> (u & 7) & 1, !on);
        used[u >> 3] ^= (uint8_t)(1u << (u & 7));
    }
}

static void start(void)
{
    memset(map, 0, sizeof map);
    memset(used, 0, sizeof used);
    gate_space_init(&v);
    assert_null(gate_space_validate(&v, used));
}

static void test_random_taking_and_giving(void **state)
{
    gate_run_t held[HELD][8];
    uint32_t runs[HELD] = { 0 };

    (void)state;
    srand(1);
    start();
    for (int turn = 0; turn < 20000; turn++) {
        int h = rand() % HELD;

        if (runs[h]) {
            while (runs[h]) {
                mark(held[h][--runs[h]], 0);
                gate_space_give(&v, held[h][runs[h]]);
            }
        }
        else {
            uint32_t want = (uint32_t)rand() % (rand() % 10 ? 30 : 600) + 1, got = 0;

            runs[h] = gate_space_take(&v, want, held[h], 8);
            for (uint32_t i = 0; i < runs[h]; i++) {
                mark(held[h][i], 1);
                memset(data + held[h][i].start * GATE_UNIT, 0xee, held[h][i].count * GATE_UNIT);
                got += held[h][i].count;
            }
            assert_true(!runs[h] || got == want);
        }
        if (turn % 500 == 0) {
            assert_null(gate_space_validate(&v, used));
        }
    }
    /* what a repair makes of the same map is as good */
    memset(&space, 0x55, sizeof space);
    gate_space_rebuild(&v, used);
    assert_null(gate_space_validate(&v, used));
    for (int h = 0; h < HELD; h++) {
        while (runs[h]) {
            mark(held[h][--runs[h]], 0);
            gate_space_give(&v, held[h][runs[h]]);
        }
    }
    assert_null(gate_space_validate(&v, used));
    assert_int_equal(space.free_units, UNITS);
}

static void test_what_a_block_has_too_much_goes_back(void **state)
{
    gate_run_t run;

    (void)state;
    start();
    assert_int_equal(gate_space_take(&v, 1025, &run, 1), 1);
    assert_int_equal(run.count, 1025);
    assert_int_equal(space.free_units, UNITS - 1025);
    mark(run, 1);
    assert_null(gate_space_validate(&v, used));
}

static void test_no_room_takes_nothing(void **state)
{
    gate_run_t run[3];

    (void)state;
    start();
    assert_int_equal(gate_space_take(&v, UNITS + 1, run, 3), 0);
    assert_int_equal(gate_space_take(&v, UNITS, run, 1), 0);
    assert_int_equal(space.free_units, UNITS);
    assert_null(gate_space_validate(&v, used));
}

static void test_the_validator_sees_damage(void **state)
{
    gate_run_t run;

    (void)state;
    start();
    assert_int_equal(gate_space_take(&v, 4, &run, 1), 1);
    assert_non_null(gate_space_validate(&v, used));
    mark(run, 1);
    assert_null(gate_space_validate(&v, used));
    space.free_units++;
    assert_string_equal(gate_space_validate(&v, used), "the number of free units is wrong");
    space.free_units--;
    map[run.start] = 1;
    assert_string_equal(gate_space_validate(&v, used), "a free unit is owned");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_taking_and_giving),
        cmocka_unit_test(test_what_a_block_has_too_much_goes_back),
        cmocka_unit_test(test_no_room_takes_nothing),
        cmocka_unit_test(test_the_validator_sees_damage),
    };

    return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
