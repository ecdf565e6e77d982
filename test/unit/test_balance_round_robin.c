/*
 * test_balance_round_robin.c - strict rotation, exact cycles, smoothness, slow start.
 */
#include "balance_fixture.h"

#define PICK (&balance_round_robin)

static void test_equal_weights_rotate_strictly(void **state)
{
    fixture_t *f = malloc(sizeof *f);

    (void)state;
    for (uint32_t count = 1; count <= 30; count++) {
        fixture_init(f, count, NULL);
        for (uint32_t i = 0; i < count; i++) {
            f->c[i].weight = 7;
        }
        f->pick.turn = (uint64_t)count * 1000;
        for (uint32_t n = 0; n < 3 * count; n++) {
            assert_int_equal(fixture_pick(f, PICK), n % count);
        }
    }
    free(f);
}

/* Any W turns in a row, wherever they begin. */
static void assert_cycle_exact(fixture_t *f, uint64_t divisor, uint64_t begin)
{
    uint64_t width = fixture_weights(f) / divisor;
    uint32_t hits[FIXTURE_MAX] = { 0 };

    f->pick.turn = begin;
    for (uint64_t n = 0; n < width; n++) {
        hits[fixture_pick(f, PICK)]++;
    }
    for (uint32_t i = 0; i < f->pick.count; i++) {
        assert_int_equal(hits[i], f->c[i].weight / divisor);
    }
}

static void test_every_cycle_is_exact(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t small[] = { 1, 2, 3 }, common[] = { 100, 300, 200, 400 }, large[] = { 1000, 999, 1, 500 };

    (void)state;
    fixture_init(f, 3, small);
    for (uint64_t begin = 0; begin < 20; begin++) {
        assert_cycle_exact(f, 1, begin);
    }
    fixture_init(f, 4, common);
    assert_cycle_exact(f, 100, 12345);
    fixture_init(f, 4, large);
    assert_cycle_exact(f, 1, 0);
    assert_cycle_exact(f, 1, 777);
    for (int n = 0; n < 300; n++) {
        fixture_init(f, 2 + (uint32_t)n % 7, NULL);
        for (uint32_t i = 0; i < f->pick.count; i++) {
            f->seed += (uint64_t)n * 100;
            f->c[i].weight = 1 + fixture_random(f) % 40;
        }
        f->c[0].weight = 1;
        assert_cycle_exact(f, 1, (uint64_t)n * 31);
    }
    free(f);
}

static void test_turn_and_weights_may_be_as_large_as_they_get(void **state)
{
    fixture_t *f = malloc(sizeof *f);

    (void)state;
    fixture_init(f, FIXTURE_MAX, NULL);
    for (uint32_t i = 0; i < FIXTURE_MAX; i++) {
        f->c[i].weight = 1000 - i % 3;
        f->c[i].ramp = i % 2 ? 999 : GATE_RAMP_FULL;
    }
    f->pick.turn = UINT64_MAX - 50;
    for (int n = 0; n < 100; n++) {
        fixture_pick(f, PICK);
    }
    free(f);
}

/* Over any stretch a member is never further from its due than `most` picks. */
static double worst_distance(fixture_t *f)
{
    uint64_t width = fixture_weights(f);
    double due[FIXTURE_MAX] = { 0 }, low[FIXTURE_MAX] = { 0 }, high[FIXTURE_MAX] = { 0 }, worst = 0;

    f->pick.turn = 0;
    for (uint64_t n = 0; n < 2 * width; n++) {
        uint32_t chosen = fixture_pick(f, PICK);

        for (uint32_t i = 0; i < f->pick.count; i++) {
            due[i] += (chosen == i) - (double)f->c[i].weight / (double)width;
            low[i] = due[i] < low[i] ? due[i] : low[i];
            high[i] = due[i] > high[i] ? due[i] : high[i];
            worst = high[i] - low[i] > worst ? high[i] - low[i] : worst;
        }
    }
    return worst;
}

static void test_it_is_smooth(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t one_two_three[] = { 1, 2, 3 }, five[] = { 5, 1, 1 }, two[] = { 1, 1, 2 }, half[] = { 3, 1, 1, 1 };
    const char *order = "ACBCBC";
    double worst = 0;

    (void)state;
    fixture_init(f, 3, one_two_three);
    for (int n = 0; n < 12; n++) {
        assert_int_equal(fixture_pick(f, PICK), order[n % 6] - 'A');
    }
    fixture_init(f, 3, five);
    assert_true(worst_distance(f) < 2.0);
    fixture_init(f, 3, two);
    assert_true(worst_distance(f) < 1.6);
    fixture_init(f, 4, half);
    assert_true(worst_distance(f) < 1.6);
    /* ten to one: in blocks the distance would be near 9 */
    for (uint32_t a = 1; a <= 24; a++) {
        for (uint32_t b = 1; b <= 24; b++) {
            const uint32_t three[] = { a, b, 1 };
            double distance;

            fixture_init(f, 3, three);
            distance = worst_distance(f);
            worst = distance > worst ? distance : worst;
        }
    }
    print_message("worst distance over weights 1..24: %.2f picks\n", worst);
    assert_true(worst < 3.0);
    for (uint32_t n = 0; n < 60; n++) {
        const uint32_t heavy[] = { 1000 - n, 611 + n, 17 * n + 1, 1 };
        double distance;

        fixture_init(f, 4, heavy);
        distance = worst_distance(f);
        worst = distance > worst ? distance : worst;
    }
    print_message("worst distance over heavy weights: %.2f picks\n", worst);
    assert_true(worst < 6.0);
    free(f);
}

static void test_slow_start_takes_its_growing_share(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t hits[3] = { 0, 0, 0 }, before = 0, stage[10] = { 0 };

    (void)state;
    fixture_init(f, 3, NULL);
    for (uint32_t n = 0; n < 100000; n++) {
        uint32_t chosen;

        f->c[1].ramp = gate_balance_ramp(1, 100000, n + 1);
        chosen = fixture_pick(f, PICK);
        hits[chosen]++;
        stage[n / 10000] += chosen == 1;
    }
    /* the others share the rest evenly */
    assert_in_range(hits[0], hits[2] - hits[2] / 50, hits[2] + hits[2] / 50);
    for (int i = 0; i < 10; i++) {
        assert_true(stage[i] > before);
        before = stage[i];
    }
    /* integral of r / (2 + r) for r from 0 to 1: 1 - 2 ln(3/2) = 0.189 */
    assert_in_range(hits[1], 18500, 19800);
    free(f);
}

/* A candidate that is out now and then (full, draining) leaves the others even. */
static void test_even_without_one_of_them(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t hits[4] = { 0, 0, 0, 0 };

    (void)state;
    fixture_init(f, 4, NULL);
    for (uint32_t n = 0; n < 60000; n++) {
        f->pick.count = fixture_random(f) % 3 == 0 ? 3 : 4;
        hits[fixture_pick(f, PICK)]++;
    }
    assert_in_range(hits[3], 9600, 10400);
    for (int i = 0; i < 3; i++) {
        assert_in_range(hits[i], 16300, 17000);
    }
    free(f);
}

/* A dead member's exchanges go evenly to all others, not to its neighbour. */
static void test_second_tries_spread_evenly(void **state)
{
    fixture_t *f = malloc(sizeof *f);

    (void)state;
    for (uint32_t count = 3; count <= 10; count++) {
        uint32_t hits[10] = { 0 };

        fixture_init(f, count, NULL);
        for (uint64_t turn = 0; turn < 60000; turn++) {
            uint32_t chosen;

            f->pick.candidates = f->c;
            f->pick.count = count;
            f->pick.turn = turn;
            chosen = balance_round_robin.pick(&f->pick);
            if (chosen == 0) {
                f->pick.candidates = f->c + 1;
                f->pick.count = count - 1;
                f->pick.turn = gate_balance_turn_again(turn, 1);
                chosen = 1 + balance_round_robin.pick(&f->pick);
            }
            hits[chosen]++;
        }
        for (uint32_t i = 1; i < count; i++) {
            assert_in_range(hits[i], 60000 / (count - 1) * 98 / 100, 60000 / (count - 1) * 102 / 100);
        }
    }
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_weights_rotate_strictly),
        cmocka_unit_test(test_every_cycle_is_exact),
        cmocka_unit_test(test_turn_and_weights_may_be_as_large_as_they_get),
        cmocka_unit_test(test_it_is_smooth),
        cmocka_unit_test(test_slow_start_takes_its_growing_share),
        cmocka_unit_test(test_even_without_one_of_them),
        cmocka_unit_test(test_second_tries_spread_evenly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
