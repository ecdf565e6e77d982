/*
 * test_balance_hash.c - shares, what moves when a member goes or ramps, bounded load.
 */
#include "balance_fixture.h"

#define KEYS 20000
#define PICK (&balance_hash)

static uint32_t place_of(fixture_t *f, uint32_t key)
{
    char text[24];

    f->pick.key_hash = gate_balance_hash(text, (size_t)snprintf(text, sizeof text, "/page/%u", key));
    return f->pick.candidates[fixture_pick(f, PICK)].slot;
}

static void place_all(fixture_t *f, uint32_t *places)
{
    for (uint32_t key = 0; key < KEYS; key++) {
        places[key] = place_of(f, key);
    }
}

static void test_shares_follow_the_weights(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t weights[] = { 1, 2, 3, 4 };
    uint32_t hits[10] = { 0 };

    (void)state;
    fixture_init(f, 10, NULL);
    for (uint32_t key = 0; key < 200000; key++) {
        hits[place_of(f, key)]++;
    }
    fixture_assert_shares(f, hits, 200000, 20);
    memset(hits, 0, sizeof hits);
    fixture_init(f, 4, weights);
    for (uint32_t key = 0; key < 200000; key++) {
        hits[place_of(f, key)]++;
    }
    fixture_assert_shares(f, hits, 200000, 20);
    free(f);
}

/* Where a few keys lie: a change of these moves clients' places at an upgrade. */
static void test_places_are_fixed_for_ever(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t weights[] = { 1, 2, 3, 4, 5 };
    const char *equal = "44114220010321124130", *weighted = "44114234314321124130";

    (void)state;
    fixture_init(f, 5, NULL);
    for (uint32_t key = 0; key < 20; key++) {
        assert_int_equal('0' + place_of(f, key), equal[key]);
    }
    fixture_init(f, 5, weights);
    for (uint32_t key = 0; key < 20; key++) {
        assert_int_equal('0' + place_of(f, key), weighted[key]);
    }
    free(f);
}

/* Trap 29. One of n goes: its keys move, and no others. */
static void test_a_lost_member_moves_its_own_keys(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t *before = malloc(KEYS * sizeof *before), *after = malloc(KEYS * sizeof *after);

    (void)state;
    for (uint32_t count = 2; count <= 20; count += 3) {
        uint32_t moved = 0, lost = count / 2;
        gate_candidate_t left[20];

        fixture_init(f, count, NULL);
        place_all(f, before);
        memcpy(left, f->c, lost * sizeof left[0]);
        memcpy(left + lost, f->c + lost + 1, (count - lost - 1) * sizeof left[0]);
        f->pick.candidates = left;
        f->pick.count = count - 1;
        place_all(f, after);
        for (uint32_t key = 0; key < KEYS; key++) {
            if (before[key] != lost) {
                assert_int_equal(after[key], before[key]);
            }
            moved += after[key] != before[key];
        }
        print_message("%u members, one lost: %.2f %% of the keys moved, 1/n is %.2f %%\n", count, moved * 100.0 / KEYS,
                      100.0 / count);
        assert_true(moved <= KEYS / count * 11 / 10);
    }
    free(before);
    free(after);
    free(f);
}

static void test_a_weight_moves_only_what_it_is_worth(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t *before = malloc(KEYS * sizeof *before), moved = 0;
    const uint32_t weights[] = { 10, 10, 10, 11 };

    (void)state;
    fixture_init(f, 4, weights);
    place_all(f, before);
    f->c[1].weight = 20;
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t now = place_of(f, key);

        assert_true(now == before[key] || now == 1);
        moved += now != before[key];
    }
    /* from 10/41 to 20/51 */
    assert_in_range(moved, KEYS * 13 / 100, KEYS * 165 / 1000);
    free(before);
    free(f);
}

/* Trap 29 */
static void test_slow_start_moves_only_the_ramping_members_own(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t *full = malloc(KEYS * sizeof *full), *without = malloc(KEYS * sizeof *without);
    unsigned char *kept = calloc(KEYS, 1);
    uint32_t own = 0;

    (void)state;
    fixture_init(f, 5, NULL);
    place_all(f, full);
    f->pick.count = 4;
    place_all(f, without);
    f->pick.count = 5;
    for (uint32_t key = 0; key < KEYS; key++) {
        own += full[key] == 4;
    }
    for (uint32_t ramp = 50; ramp <= GATE_RAMP_FULL; ramp += 50) {
        uint32_t has = 0;

        f->c[4].ramp = ramp;
        for (uint32_t key = 0; key < KEYS; key++) {
            uint32_t now = place_of(f, key);

            if (now == 4) {
                assert_int_equal(full[key], 4);
                kept[key] = 1;
                has++;
            }
            else {
                /* it is where it is without the new member, and once kept it stays kept */
                assert_int_equal(now, without[key]);
                assert_false(kept[key]);
            }
        }
        assert_in_range(has, (uint64_t)own * ramp / 1000 * 9 / 10, (uint64_t)own * ramp / 1000 * 11 / 10);
    }
    free(kept);
    free(without);
    free(full);
    free(f);
}

static void test_where_all_are_new_nobody_passes_on(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t *full = malloc(KEYS * sizeof *full);

    (void)state;
    fixture_init(f, 5, NULL);
    place_all(f, full);
    for (int i = 0; i < 5; i++) {
        f->c[i].ramp = 3;
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_int_equal(place_of(f, key), full[key]);
    }
    free(full);
    free(f);
}

/* A few keys ask for everything: no member gets more than its bound, and with a quiet group keys lie where they belong. */
static void test_bounded_load_holds(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    const uint32_t weights[] = { 1, 2, 3, 4, 5, 6 };
    const uint32_t factors[] = { 1000, 1250, 2000 };

    (void)state;
    for (int k = 0; k < 3; k++) {
        uint32_t total = 0, moved = 0;

        fixture_init(f, 6, weights);
        f->c[2].ramp = 400;
        f->pick.load_factor_milli = factors[k];
        for (; total < 5000; total++) {
            uint64_t shares = 0, bound;
            uint32_t chosen = place_of(f, (uint32_t)(fixture_random(f) % 3));

            for (int i = 0; i < 6; i++) {
                shares += balance_share(&f->c[i]);
            }
            f->c[chosen].inflight++;
            bound = ((uint64_t)factors[k] * (total + 1) * balance_share(&f->c[chosen]) + shares * 1000 - 1) / (shares * 1000);
            assert_true(f->c[chosen].inflight <= bound);
        }
        for (int i = 0; i < 6; i++) {
            f->c[i].inflight = 0;
            f->c[i].ramp = GATE_RAMP_FULL;
        }
        f->pick.load_factor_milli = 0;
        for (uint32_t key = 0; key < 1000; key++) {
            uint32_t free_place = place_of(f, key);

            f->pick.load_factor_milli = factors[k];
            moved += place_of(f, key) != free_place;
            f->pick.load_factor_milli = 0;
        }
        assert_int_equal(moved, 0);
    }
    free(f);
}

/* The overflow of a key goes to the next in that key's own order, not to whoever comes first. */
static void test_overflow_goes_down_the_keys_own_order(void **state)
{
    fixture_t *f = malloc(sizeof *f);

    (void)state;
    fixture_init(f, 8, NULL);
    f->pick.load_factor_milli = 1250;
    for (uint32_t key = 0; key < 500; key++) {
        uint32_t home, next, full;
        gate_candidate_t left[8];

        for (int i = 0; i < 8; i++) {
            f->c[i].inflight = 8;
        }
        f->pick.candidates = f->c;
        f->pick.count = 8;
        home = place_of(f, key);
        f->c[home].inflight = 30;
        full = place_of(f, key);
        memcpy(left, f->c, home * sizeof left[0]);
        memcpy(left + home, f->c + home + 1, (7 - home) * sizeof left[0]);
        f->pick.candidates = left;
        f->pick.count = 7;
        next = place_of(f, key);
        assert_int_equal(full, next);
    }
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_follow_the_weights),
        cmocka_unit_test(test_places_are_fixed_for_ever),
        cmocka_unit_test(test_a_lost_member_moves_its_own_keys),
        cmocka_unit_test(test_a_weight_moves_only_what_it_is_worth),
        cmocka_unit_test(test_slow_start_moves_only_the_ramping_members_own),
        cmocka_unit_test(test_where_all_are_new_nobody_passes_on),
        cmocka_unit_test(test_bounded_load_holds),
        cmocka_unit_test(test_overflow_goes_down_the_keys_own_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
