/* test_trial.c - half-open: one request at a time tries an ejected member, whatever happens to its process. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <apr_general.h>
#include <cmocka.h>

#include "gate_group_conf.h"
#include "registry_world.h"

#define SEC INT64_C(1000000)
#define RACERS 8
#define ROUNDS 300

static registry_world_t w;
static uint32_t slot;
static int seat;

static int setup(void **state)
{
    gate_member_spec_t spec = { .id = "m1", .url = "http://m1", .weight = 1 };
    uint32_t app;

    (void)state;
    registry_world_open(&w, 4, 8, 16, &seat);
    gate_group_declare(w.reg, "app", &app);
    return gate_member_add(w.reg, app, GATE_ORIGIN_CONFIG, &spec, "", 1, &slot);
}

static int teardown(void **state)
{
    (void)state;
    registry_world_close(&w);
    return 0;
}

static void test_claim(void **state)
{
    int claimed;

    (void)state;
    gate_trial_set(w.reg, slot, 10 * SEC);
    assert_int_equal(gate_trial_claim(w.reg, slot, seat, 10 * SEC - 1, SEC), 0);
    assert_int_equal(gate_trial_at(w.reg, slot, &claimed), 10 * SEC);
    assert_false(claimed);
    assert_int_equal(gate_trial_claim(w.reg, slot, seat, 10 * SEC, SEC), 1);
    assert_int_equal(gate_trial_at(w.reg, slot, &claimed), 11 * SEC);
    assert_true(claimed);
    assert_int_equal(gate_trial_claim(w.reg, slot, seat, 10 * SEC + 1, SEC), 0);
    /* it never came back */
    assert_int_equal(gate_trial_claim(w.reg, slot, GATE_SEAT_NONE, 11 * SEC, SEC), 1);
    assert_int_equal(gate_trial_claim(w.reg, slot, seat, 12 * SEC - 1, SEC), 0);
    gate_trial_set(w.reg, slot, 0);
    assert_int_equal(gate_trial_claim(w.reg, slot, seat, 1, SEC), 1);
}

/* A reused slot begins anew. */
static void test_new_member(void **state)
{
    gate_member_spec_t spec = { .id = "m2", .url = "http://m2", .weight = 1 };
    gate_member_t m;
    uint32_t again;
    int claimed, i;
    char id[8];

    (void)state;
    gate_trial_set(w.reg, slot, 500 * SEC);
    gate_member_get(w.reg, slot, &m);
    assert_int_equal(gate_member_remove(w.reg, slot, m.incarnation, "", "", 2), APR_SUCCESS);
    for (i = 0, again = GATE_NO_SLOT; i < 8 && again != slot; i++) {
        snprintf(id, sizeof id, "n%d", i);
        spec.id = id;
        assert_int_equal(gate_member_add(w.reg, m.group, GATE_ORIGIN_CONFIG, &spec, "", 3 * GATE_SLOT_REST_USEC, &again), APR_SUCCESS);
    }
    assert_int_equal(again, slot);
    assert_int_equal(gate_trial_at(w.reg, again, &claimed), 0);
}

static void test_dead_child_lets_go(void **state)
{
    int status;
    pid_t child;

    (void)state;
    gate_trial_set(w.reg, slot, SEC);
    child = fork();
    if (child == 0) {
        _exit(gate_trial_claim(w.reg, slot, gate_seat_claim(w.seats), 2 * SEC, 3600 * SEC) == 1 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(gate_trial_claim(w.reg, slot, seat, 3 * SEC, SEC), 0); /* nobody has noticed yet */
    gate_seat_mark_dead(w.seats, 16, (uint32_t)child);
    assert_int_equal(gate_trial_claim(w.reg, slot, seat, 3 * SEC, SEC), 1);
    gate_seats_sweep(w.seats);
    assert_int_equal(gate_trial_claim(w.reg, slot, seat, 3 * SEC, SEC), 0); /* a claim of the living stays */
}

/* The next child gets the same seat; the claim that the last one held from it is not its own. */
static void test_seat_of_another_child(void **state)
{
    int status, again = GATE_SEAT_NONE, i;
    pid_t child;

    (void)state;
    gate_trial_set(w.reg, slot, SEC);
    for (i = 0; i < 2; i++) {
        child = fork();
        if (child == 0) {
            int mine = gate_seat_claim(w.seats);

            _exit(gate_trial_claim(w.reg, slot, mine, 2 * SEC, 3600 * SEC) == 1 ? mine : 200);
        }
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 16);
        assert_true(again == GATE_SEAT_NONE || again == WEXITSTATUS(status));
        again = WEXITSTATUS(status);
        gate_seat_mark_dead(w.seats, 16, (uint32_t)child);
        gate_seats_sweep(w.seats);
    }
}

/* Of many processes that ask at the same moment one gets it. */
static void test_one_of_many(void **state)
{
    typedef struct {
        _Atomic uint32_t clock, got[ROUNDS];
    } race_t;
    race_t *race = mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int i, k, status;

    (void)state;
    gate_trial_set(w.reg, slot, SEC);
    for (i = 0; i < RACERS; i++) {
        if (fork() == 0) {
            uint32_t now;

            while ((now = atomic_load(&race->clock)) < ROUNDS) {
                /* the claim of one second ends when the next begins */
                atomic_fetch_add(&race->got[now], (uint32_t)gate_trial_claim(w.reg, slot, GATE_SEAT_NONE, (now + 1) * SEC, SEC));
            }
            _exit(0);
        }
    }
    for (k = 0; k < ROUNDS; k++) {
        for (i = 0; i < 100000 && !atomic_load(&race->got[k]); i++) {
            usleep(20);
        }
        usleep(50);
        atomic_fetch_add(&race->clock, 1);
    }
    for (i = 0; i < RACERS; i++) {
        wait(&status);
        assert_int_equal(status, 0);
    }
    for (k = 0; k < ROUNDS; k++) {
        assert_int_equal(atomic_load(&race->got[k]), 1);
    }
    munmap(race, sizeof *race);
}

/* The module that ejected it is not loaded any more. */
static void test_disowned(void **state)
{
    gate_member_t m;

    (void)state;
    gate_member_get(w.reg, slot, &m);
    gate_verdict_change(w.reg, slot, m.incarnation, GATE_VERDICT_EJECTED | GATE_VERDICT_DRAIN, 0, "test", "", "", 5);
    assert_int_equal(gate_verdicts_disown(w.reg, GATE_VERDICT_DOWN, "", 6), 0);
    assert_int_equal(gate_verdicts_disown(w.reg, GATE_VERDICT_HEALTH, "", 6), 1);
    assert_int_equal(gate_verdict(w.reg, slot), GATE_VERDICT_DRAIN);
    assert_int_equal(gate_verdicts_disown(w.reg, GATE_VERDICT_HEALTH, "", 6), 0);
}

static void test_block(void **state)
{
    (void)state;
    assert_null(gate_group_conf_name());
    gate_group_conf_begin("app");
    assert_string_equal(gate_group_conf_name(), "app");
    gate_group_conf_end();
    assert_null(gate_group_conf_name());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_child_lets_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seat_of_another_child, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disowned, setup, teardown),
        cmocka_unit_test(test_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
