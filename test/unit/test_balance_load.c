/*
 * test_balance_load.c - least-connections and two-choices: ties, weights, slow start.
 */
#include "balance_fixture.h"

/* `level` exchanges always in flight, each ends at random; counts where they went. */
static void run_steady(fixture_t *f, const gate_strategy_t *s, uint32_t level, uint32_t picks, uint32_t *hits)
{
    uint32_t *where = malloc(level * sizeof *where);
    const uint32_t warm = 10 * level;

    for (uint32_t n = 0; n < picks + warm; n++) {
        uint32_t chosen;

        if (n >= level) {
            uint32_t ends = (uint32_t)(fixture_random(f) % level);

            f->c[where[ends]].inflight--;
            chosen = fixture_pick(f, s);
            where[ends] = chosen;
        }
        else {
            chosen = where[n] = fixture_pick(f, s);
        }
        f->c[chosen].inflight++;
        hits[chosen] += n >= warm;
    }
    free(where);
}

static void test_least_connections_takes_the_least(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t weights[] = { 1, 2, 4 };

    (void)state;
    fixture_init(f, 3, weights);
    f->c[0].inflight = 1; /* 2/1 */
    f->c[1].inflight = 2; /* 3/2 */
    f->c[2].inflight = 4; /* 5/4 */
    assert_int_equal(fixture_pick(f, &balance_least_connections), 2);
    f->c[2].inflight = 6;
    assert_int_equal(fixture_pick(f, &balance_least_connections), 1);
    f->c[1].inflight = 9;
    f->c[2].inflight = 9;
    assert_int_equal(fixture_pick(f, &balance_least_connections), 0);
    free(f);
}

static void test_least_connections_ties_rotate(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t hits[6] = { 0 };

    (void)state;
    fixture_init(f, 6, NULL);
    /* four of six are equal, and not next to one another */
    f->c[0].inflight = f->c[1].inflight = f->c[3].inflight = f->c[4].inflight = 2;
    f->c[2].inflight = f->c[5].inflight = 3;
    for (int n = 0; n < 4000; n++) {
        hits[fixture_pick(f, &balance_least_connections)]++;
    }
    assert_int_equal(hits[0], 1000);
    assert_int_equal(hits[1], 1000);
    assert_int_equal(hits[3], 1000);
    assert_int_equal(hits[4], 1000);
    free(f);
}

static void test_weights_hold_when_nothing_is_in_flight(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t weights[] = { 1, 2, 3 };
    uint32_t least[3] = { 0 }, two[3] = { 0 };

    (void)state;
    fixture_init(f, 3, weights);
    for (int n = 0; n < 120000; n++) {
        least[fixture_pick(f, &balance_least_connections)]++;
    }
    for (int n = 0; n < 120000; n++) {
        two[fixture_pick(f, &balance_two_choices)]++;
    }
    fixture_assert_shares(f, least, 120000, 1);
    fixture_assert_shares(f, two, 120000, 20);
    free(f);
}

static void test_weights_hold_under_load(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t weights[] = { 1, 2, 3, 10 }, level = 480;
    const gate_strategy_t *strategies[] = { &balance_least_connections, &balance_two_choices };

    (void)state;
    for (int s = 0; s < 2; s++) {
        uint32_t hits[4] = { 0 };

        fixture_init(f, 4, weights);
        run_steady(f, strategies[s], level, 400000, hits);
        print_message("%s, weights 1 2 3 10: %u %u %u %u\n", strategies[s]->name, hits[0], hits[1], hits[2], hits[3]);
        fixture_assert_shares(f, hits, 400000, 20);
    }
    free(f);
}

static void test_equal_members_are_even(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const gate_strategy_t *strategies[] = { &balance_least_connections, &balance_two_choices };

    (void)state;
    for (int s = 0; s < 2; s++) {
        uint32_t hits[10] = { 0 };

        fixture_init(f, 10, NULL);
        run_steady(f, strategies[s], 64, 400000, hits);
        fixture_assert_shares(f, hits, 400000, 20);
    }
    free(f);
}

static void test_two_choices_draws_two_different(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t weights[] = { 1, 1000, 5 };
    uint32_t draw[2], hits[3] = { 0 };

    (void)state;
    fixture_init(f, 3, weights);
    for (int n = 0; n < 100000; n++) {
        f->pick.random = fixture_random(f);
        balance_draw_two(&f->pick, draw);
        assert_true(draw[0] != draw[1] && draw[0] < 3 && draw[1] < 3);
        hits[draw[0]]++;
    }
    assert_in_range(hits[1], 99000, 99800);
    /* with two members the less loaded one always wins */
    f->pick.count = 2;
    f->c[0].inflight = 0;
    f->c[1].inflight = 1;
    for (int n = 0; n < 1000; n++) {
        assert_int_equal(fixture_pick(f, &balance_two_choices), 0);
    }
    free(f);
}

/* Trap 30: a member that comes back empty is not drowned: it gets its ramp's part, not everything. */
static void test_slow_start_protects_the_empty_one(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const gate_strategy_t *strategies[] = { &balance_least_connections, &balance_two_choices };

    (void)state;
    for (int s = 0; s < 2; s++) {
        uint32_t hits[4] = { 0 };

        fixture_init(f, 4, NULL);
        f->c[3].ramp = 100;
        run_steady(f, strategies[s], 310, 100000, hits);
        print_message("%s, ramp 10 %%: %u of 100000 (3226 is its due)\n", strategies[s]->name, hits[3]);
        assert_in_range(hits[3], 2900, 3550);
    }
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_connections_takes_the_least),
        cmocka_unit_test(test_least_connections_ties_rotate),
        cmocka_unit_test(test_weights_hold_when_nothing_is_in_flight),
        cmocka_unit_test(test_weights_hold_under_load),
        cmocka_unit_test(test_equal_members_are_even),
        cmocka_unit_test(test_two_choices_draws_two_different),
        cmocka_unit_test(test_slow_start_protects_the_empty_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
