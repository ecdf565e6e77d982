/*
 * test_balance.c - the table of strategies, the hash, slow start.
 */
#include "balance_fixture.h"

static void test_every_strategy_is_found_by_its_name(void **state)
{
    const char *names[] = { "round-robin", "least-connections", "two-choices", "least-time", "first", "hash" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const gate_strategy_t *s = gate_strategy_find(names[i]);

        assert_non_null(s);
        assert_string_equal(s->name, names[i]);
        assert_ptr_equal(s, gate_strategies[i]);
    }
    assert_null(gate_strategies[6]);
    assert_null(gate_strategy_find("round_robin"));
    assert_null(gate_strategy_find(""));
}

/* From the specification of XXH64: these values must never change. */
static void test_hash_is_what_it_is_for_ever(void **state)
{
    unsigned char bytes[101];

    (void)state;
    assert_true(gate_balance_hash("", 0) == UINT64_C(0xef46db3751d8e999));
    assert_true(gate_balance_hash("a", 1) == UINT64_C(0xd24ec4f1a98c6e5b));
    assert_true(gate_balance_hash("abc", 3) == UINT64_C(0x44bc2cf5ad770999));
    assert_true(gate_balance_hash("xxhash", 6) == UINT64_C(0x32dd38952c4bc720));
    for (int i = 0; i < 101; i++) {
        bytes[i] = (unsigned char)i;
    }
    assert_true(gate_balance_hash(bytes, 32) == UINT64_C(0xcbf59c5116ff32b4));
    assert_true(gate_balance_hash(bytes, 101) == UINT64_C(0xe99038495f85381e));
}

static void test_every_strategy_takes_the_only_one(void **state)
{
    fixture_t *f = malloc(sizeof *f);

    (void)state;
    fixture_init(f, 1, NULL);
    f->pick.load_factor_milli = 1250;
    f->c[0].inflight = UINT32_MAX;
    f->c[0].ramp = 1;
    for (int i = 0; gate_strategies[i] != NULL; i++) {
        for (int n = 0; n < 10; n++) {
            assert_int_equal(fixture_pick(f, gate_strategies[i]), 0);
        }
    }
    free(f);
}

/* What is read from shared memory may be anything: no division by zero, no index out of range. */
static void test_no_number_leads_astray(void **state)
{
    const uint32_t odd[] = { 0, 1, UINT32_MAX, 1000, 0x80000000u };
    fixture_t *f = malloc(sizeof *f);

    (void)state;
    fixture_init(f, 5, NULL);
    for (int n = 0; n < 20000; n++) {
        for (uint32_t i = 0; i < 5; i++) {
            f->c[i].weight = odd[fixture_random(f) % 5];
            f->c[i].ramp = odd[fixture_random(f) % 5];
            f->c[i].inflight = odd[fixture_random(f) % 5];
            atomic_store(&f->learned[i].ewma, fixture_random(f) << (n % 64));
            atomic_store(&f->learned[i].stamp, fixture_random(f) << (n % 64));
        }
        f->pick.load_factor_milli = odd[fixture_random(f) % 5];
        f->pick.turn = fixture_random(f) << (n % 64);
        f->pick.key_hash = fixture_random(f);
        f->pick.now_usec = n % 7 ? (int64_t)(fixture_random(f) >> 1) : -5;
        for (int i = 0; gate_strategies[i] != NULL; i++) {
            fixture_pick(f, gate_strategies[i]);
            if (gate_strategies[i]->learn != NULL) {
                gate_strategies[i]->learn(&f->learned[n % 5], (int64_t)fixture_random(f), f->pick.now_usec);
            }
        }
    }
    free(f);
}

static void test_ramp_grows_steadily(void **state)
{
    uint32_t before = 0;

    (void)state;
    assert_int_equal(gate_balance_ramp(0, 30000000, 5), GATE_RAMP_FULL);
    assert_int_equal(gate_balance_ramp(5, 0, 5), GATE_RAMP_FULL);
    assert_int_equal(gate_balance_ramp(100, 30000000, 50), 1);
    assert_int_equal(gate_balance_ramp(100, 30000000, 100), 1);
    assert_int_equal(gate_balance_ramp(1, 30000000, 15000001), 500);
    assert_int_equal(gate_balance_ramp(1, 30000000, 30000001), GATE_RAMP_FULL);
    assert_int_equal(gate_balance_ramp(1, INT64_MAX, INT64_MAX), 999);
    for (int64_t now = 1; now < 31000000; now += 1000) {
        uint32_t ramp = gate_balance_ramp(1, 30000000, now);

        assert_true(ramp >= before && ramp >= 1 && ramp <= GATE_RAMP_FULL);
        before = ramp;
    }
}

static void test_first_takes_the_first_and_ramps(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t hits[3] = { 0, 0, 0 };

    (void)state;
    fixture_init(f, 3, NULL);
    f->c[0].inflight = 900;
    for (int n = 0; n < 1000; n++) {
        assert_int_equal(fixture_pick(f, &balance_first), 0);
    }
    f->c[0].ramp = 250;
    for (int n = 0; n < 100000; n++) {
        hits[fixture_pick(f, &balance_first)]++;
    }
    assert_in_range(hits[0], 24500, 25500);
    assert_int_equal(hits[0] + hits[1], 100000);
    /* a group that is all new is not without a first */
    f->c[0].ramp = f->c[1].ramp = f->c[2].ramp = 1;
    for (int n = 0; n < 1000; n++) {
        fixture_pick(f, &balance_first);
    }
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_strategy_is_found_by_its_name),
        cmocka_unit_test(test_hash_is_what_it_is_for_ever),
        cmocka_unit_test(test_every_strategy_takes_the_only_one),
        cmocka_unit_test(test_no_number_leads_astray),
        cmocka_unit_test(test_ramp_grows_steadily),
        cmocka_unit_test(test_first_takes_the_first_and_ramps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
