/*
 * test_registry_kill.c - children that choose, count, report, change sets and verdicts, killed with -9 at any instruction. Readers
 * never see half a set; at the end nothing is in flight and every part is valid.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_time.h"
#include "rounds.h"
#include "registry_world.h"

#define KILLS ROUNDS(400)
#define CHILDREN 4

typedef struct {
    _Atomic uint32_t rounds;
    _Atomic uint32_t wrong;
} tally_t;

static registry_world_t w;
static uint32_t app;

/* Two sets with nothing in common but `a`: a reader that sees a member of each has seen half a change. */
static const gate_member_spec_t odd[] = { { .id = "a", .url = "http://a", .weight = 1 },
                                          { .id = "o1", .url = "http://o1", .weight = 1 },
                                          { .id = "o2", .url = "http://o2", .weight = 2 } };
static const gate_member_spec_t even[] = { { .id = "a", .url = "http://a", .weight = 1 },
                                           { .id = "e1", .url = "http://e1", .weight = 1 } };

static int set_is_whole(void)
{
    uint32_t slots[16], version, n = gate_group_members(w.reg, app, slots, 16, &version), i;
    char seen[16 * GATE_NAME_LEN] = "";

    for (i = 0; i < n && i < 16; i++) {
        gate_member_t m;

        if (gate_member_get(w.reg, slots[i], &m) != 0) {
            return 1; /* it moved on while we looked */
        }
        strcat(seen, m.id);
    }
    /* with time running so fast, slots do not rest: what changed meanwhile may have been used again already */
    return gate_group_version(w.reg, app) != version || strcmp(seen, "ao1o2") == 0 || strcmp(seen, "ae1") == 0;
}

static void read_and_count(tally_t *tally, int seat, uint32_t turn)
{
    uint32_t slots[16], version, n = gate_group_members(w.reg, app, slots, 16, &version), slot;
    gate_member_t m;

    if (!n || gate_member_get(w.reg, (slot = slots[turn % n]), &m) != 0) {
        return;
    }
    gate_group_active_add(w.reg, seat, app, 1);
    gate_inflight_begin(w.reg, seat, slot);
    gate_verdict_change(w.reg, slot, m.incarnation, turn & 1 ? GATE_VERDICT_EJECTED : 0, turn & 1 ? 0 : GATE_VERDICT_EJECTED, "test", "",
                        "turns", gate_mono_usec());
    gate_report(w.reg, seat, &(gate_report_t){ .group = app, .slot = slot, .incarnation = m.incarnation, .status = 200,
                                               .total_usec = turn % 1000 });
    gate_inflight_end(w.reg, seat, slot);
    gate_group_active_add(w.reg, seat, app, -1);
    if (!set_is_whole()) {
        atomic_fetch_add(&tally->wrong, 1);
    }
}

static void change_set(tally_t *tally, uint32_t turn)
{
    /* far in the future each time, so that slots are used again and again */
    int64_t now = gate_mono_usec() + (int64_t)atomic_load(&tally->rounds) * GATE_SLOT_REST_USEC;
    apr_status_t rv = turn & 1 ? gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, odd, 3, "", now)
                               : gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, even, 2, "", now);

    if (rv != APR_SUCCESS && rv != APR_ENOSPC) {
        atomic_fetch_add(&tally->wrong, 1);
    }
}

static void child_works(tally_t *tally, uint32_t turn)
{
    int seat = gate_seat_claim(w.seats);

    if (seat < 0) {
        _exit(1);
    }
    for (;; turn++) {
        if (gate_seats_need_sweep(w.seats)) {
            gate_seats_sweep(w.seats);
        }
        if (turn % 7 == 0) {
            change_set(tally, turn / 7);
        }
        read_and_count(tally, seat, turn);
        atomic_fetch_add(&tally->rounds, 1);
    }
}

static void test_kill(void **state)
{
    tally_t *tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child[CHILDREN] = { 0 };
    uint32_t slot;
    int i, k, status;

    (void)state;
    registry_world_open(&w, 4, 32, 16, NULL);
    gate_group_declare(w.reg, "app", &app);
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, odd, 3, "", gate_mono_usec());
    for (i = 0; i < KILLS; i++) {
        pid_t *p = &child[i % CHILDREN];
        uint32_t seen = atomic_load(&tally->rounds);

        if (*p) {
            kill(*p, SIGKILL);
            waitpid(*p, &status, 0);
            assert_true(WIFSIGNALED(status));
            gate_seat_mark_dead(w.seats, 16, (uint32_t)*p);
        }
        *p = fork();
        if (*p == 0) {
            child_works(tally, (uint32_t)i * 13);
        }
        for (k = 0; k < 20000 && atomic_load(&tally->rounds) < seen + 20; k++) {
            usleep(100);
        }
        assert_true(k < 20000); /* a dead lock holder holds nobody up */
        assert_int_equal(atomic_load(&tally->wrong), 0);
    }
    for (i = 0; i < CHILDREN; i++) {
        kill(child[i], SIGKILL);
        waitpid(child[i], &status, 0);
        assert_true(WIFSIGNALED(status));
        gate_seat_mark_dead(w.seats, 16, (uint32_t)child[i]);
    }
    for (slot = 0; slot < 32; slot++) {
        assert_int_equal(gate_inflight(w.reg, slot), 0);
    }
    assert_int_equal(gate_group_active(w.reg, app), 0);
    gate_seats_sweep(w.seats);
    /* taking the lock once more mends what the last holder left */
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, even, 2, "", INT64_MAX / 2), APR_SUCCESS);
    assert_true(set_is_whole());
    registry_world_close(&w);
    munmap(tally, sizeof *tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_kill) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
