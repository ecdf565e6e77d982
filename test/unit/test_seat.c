/* test_seat.c - seats: taken, left behind by the dead, swept once or more, never lost. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_seat.h"
#include "rounds.h"

#define SEATS 16

typedef struct {
    _Atomic int32_t ledger[SEATS]; /* what the holder of a seat has in flight */
    _Atomic uint32_t sweeps;
    _Atomic uint32_t rounds;
} world_t;

static gate_seats_t *seats;
static world_t *world;

static void sweep(int seat, void *ctx)
{
    world_t *w = ctx;

    atomic_store(&w->ledger[seat], 0);
    atomic_fetch_add(&w->sweeps, 1);
}

static int setup(void **state)
{
    (void)state;
    seats = mmap(NULL, gate_seats_size(SEATS), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    gate_seats_init(seats, SEATS);
    gate_seat_sweepers_clear();
    return gate_seat_on_sweep(sweep, world);
}

static int teardown(void **state)
{
    char why[100];

    (void)state;
    assert_int_equal(gate_seats_validate(seats, gate_seats_size(SEATS), why, sizeof why), 0);
    munmap(seats, gate_seats_size(SEATS));
    munmap(world, sizeof *world);
    return 0;
}

static pid_t child_takes_seat(int *seat)
{
    int out[2];
    pid_t child;

    assert_int_equal(pipe(out), 0);
    child = fork();
    if (child == 0) {
        int mine = gate_seat_claim(seats);

        if (mine >= 0) {
            atomic_store(&world->ledger[mine], 5);
        }
        if (write(out[1], &mine, sizeof mine) != sizeof mine) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    assert_int_equal(read(out[0], seat, sizeof *seat), sizeof *seat);
    close(out[0]);
    close(out[1]);
    return child;
}

static void end(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void test_claim_mark_sweep(void **state)
{
    int seat, mine;
    uint32_t incarnation;
    pid_t child = child_takes_seat(&seat);

    (void)state;
    assert_true(seat >= 0 && gate_seat_live(seats, (uint32_t)seat));
    incarnation = gate_seat_incarnation(seats, (uint32_t)seat);
    assert_int_not_equal(incarnation, 0);
    assert_int_equal(gate_seats_find_dead(seats), 0);
    assert_false(gate_seats_need_sweep(seats));
    end(child);
    assert_int_equal(gate_seat_mark_dead(seats, SEATS, (uint32_t)child), seat);
    assert_false(gate_seat_live(seats, (uint32_t)seat)); /* at once, before any sweep */
    assert_int_equal(gate_seat_incarnation(seats, (uint32_t)seat), 0);
    assert_true(gate_seats_need_sweep(seats));
    assert_int_equal(atomic_load(&world->ledger[seat]), 5);
    mine = gate_seat_claim(seats);
    assert_int_not_equal(mine, seat); /* not free before it is swept */
    assert_int_equal(gate_seats_sweep(seats), 1);
    assert_int_equal(atomic_load(&world->ledger[seat]), 0);
    assert_false(gate_seats_need_sweep(seats));
    assert_int_equal(gate_seats_sweep(seats), 0);
    assert_int_equal(gate_seat_mark_dead(seats, SEATS, (uint32_t)child), GATE_SEAT_NONE);
}

/* Nobody told us (the parent was not asked): a child that looks finds the dead by itself, zombies included. */
static void test_find_dead(void **state)
{
    int seat;
    pid_t child = child_takes_seat(&seat);

    (void)state;
    kill(child, SIGKILL);
    waitid(P_PID, (id_t)child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
    assert_int_equal(gate_seats_find_dead(seats), 1);
    assert_int_equal(gate_seats_sweep(seats), 1);
    waitpid(child, NULL, 0);
}

static void test_full_table_takes_back_the_deads(void **state)
{
    pid_t child[SEATS];
    int seat[SEATS], i;

    (void)state;
    for (i = 0; i < SEATS; i++) {
        child[i] = child_takes_seat(&seat[i]);
        assert_true(seat[i] >= 0);
    }
    assert_int_equal(gate_seat_claim(seats), GATE_SEAT_NONE);
    end(child[3]);
    assert_int_equal(gate_seat_claim(seats), seat[3]);
    assert_int_equal(atomic_load(&world->ledger[seat[3]]), 0);
    for (i = 0; i < SEATS; i++) {
        if (i != 3) {
            end(child[i]);
        }
    }
}

static void slow_sweep(int seat, void *ctx)
{
    (void)seat;
    atomic_fetch_add(&((world_t *)ctx)->rounds, 1);
    pause();
}

/* A sweeper dies in the middle: the next one does it again. */
static void test_sweeper_dies(void **state)
{
    int seat, i;
    pid_t child = child_takes_seat(&seat), sweeper;

    (void)state;
    end(child);
    gate_seat_mark_dead(seats, SEATS, (uint32_t)child);
    sweeper = fork();
    if (sweeper == 0) {
        gate_seat_on_sweep(slow_sweep, world);
        gate_seat_claim(seats);
        gate_seats_sweep(seats);
        _exit(0);
    }
    for (i = 0; i < 5000 && !atomic_load(&world->rounds); i++) {
        usleep(1000);
    }
    assert_int_equal(atomic_load(&world->rounds), 1);
    assert_int_equal(gate_seats_sweep(seats), 0); /* it is being swept by the living */
    end(sweeper);
    gate_seat_mark_dead(seats, SEATS, (uint32_t)sweeper);
    assert_int_equal(gate_seats_sweep(seats), 2);
    assert_int_equal(atomic_load(&world->ledger[seat]), 0);
}

/* Children come, work on their ledger and are killed at any instruction, 300 times; nothing stays behind. */
static void test_killed_children(void **state)
{
    pid_t child[4] = { 0 };
    int i, k;

    (void)state;
    for (i = 0; i < ROUNDS(300); i++) {
        pid_t *p = &child[i % 4];
        uint32_t rounds = atomic_load(&world->rounds);

        if (*p) {
            end(*p);
            gate_seat_mark_dead(seats, SEATS, (uint32_t)*p);
        }
        *p = fork();
        if (*p == 0) {
            int mine = gate_seat_claim(seats);

            if (mine < 0) {
                _exit(1);
            }
            for (;;) {
                atomic_fetch_add(&world->ledger[mine], 1);
                if (gate_seats_need_sweep(seats)) {
                    gate_seats_sweep(seats);
                }
                atomic_fetch_add(&world->rounds, 1);
                if (atomic_fetch_sub(&world->ledger[mine], 1) < 1) {
                    _exit(2); /* somebody swept the living */
                }
            }
        }
        for (k = 0; k < 10000 && atomic_load(&world->rounds) < rounds + 5; k++) {
            usleep(100);
        }
        assert_true(k < 10000);
    }
    for (i = 0; i < 4; i++) {
        int status;

        kill(child[i], SIGKILL);
        waitpid(child[i], &status, 0);
        assert_true(WIFSIGNALED(status));
        gate_seat_mark_dead(seats, SEATS, (uint32_t)child[i]);
    }
    gate_seats_sweep(seats);
    for (i = 0; i < SEATS; i++) {
        assert_false(gate_seat_live(seats, (uint32_t)i));
        assert_int_equal(atomic_load(&world->ledger[i]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_claim_mark_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_find_dead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_table_takes_back_the_deads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweeper_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_children, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
