/* test_queue_kill.c - children on a capped member are killed at any instruction: the cap holds, the others are served on. */

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

#include "gate_time.h"
#include "queue_world.h"

#define CHILDREN 10
#define CAP 3
#define KILLS 150

typedef struct {
    _Atomic uint32_t inside; /* at the member, a bit for each child: one look sees them all at one moment */
    _Atomic uint64_t served[CHILDREN];
    _Atomic uint32_t over, unserved, stop;
} shared_t;

static queue_world_t w;
static shared_t *s;

static void count_at_the_member(int me)
{
    uint32_t bit = 1u << me;

    if (__builtin_popcount(atomic_fetch_or(&s->inside, bit) | bit) > CAP) {
        atomic_fetch_add(&s->over, 1);
    }
    usleep(100);
    atomic_fetch_and(&s->inside, ~bit);
}

static void be_child(int me)
{
    int seat = gate_seat_claim(w.world.seats);

    while (!atomic_load(&s->stop)) {
        queue_guest_t g = queue_guest(&w);
        queue_result_e result;

        g.seat = seat;
        g.stay.until_usec = gate_mono_usec() + 20 * INT64_C(1000000);
        if (gate_seats_need_sweep(w.world.seats)) {
            gate_seats_sweep(w.world.seats);
        }
        result = queue_guest_enter(&g, gate_mono_usec());
        if (result == QUEUE_ADMITTED || (result == QUEUE_WAITING && queue_guest_wait(&g))) {
            count_at_the_member(me);
            queue_guest_done(&g);
            atomic_fetch_add(&s->served[me], 1);
        }
        else {
            atomic_fetch_add(&s->unserved, 1);
        }
    }
    _exit(0);
}

static pid_t spawn(int me)
{
    pid_t pid = fork();

    if (pid == 0) {
        be_child(me);
    }
    return pid;
}

static uint64_t served_by_all(void)
{
    uint64_t sum = 0;
    int i;

    for (i = 0; i < CHILDREN; i++) {
        sum += atomic_load(&s->served[i]);
    }
    return sum;
}

static void test_killed_children(void **state)
{
    pid_t pid[CHILDREN];
    int i, k, status;

    (void)state;
    queue_world_open(&w, 1, CAP, CHILDREN);
    s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (i = 0; i < CHILDREN; i++) {
        pid[i] = spawn(i);
    }
    srand(7);
    for (k = 0; k < KILLS; k++) {
        uint64_t before = served_by_all();
        int64_t end = gate_mono_usec() + 10 * INT64_C(1000000);

        i = rand() % CHILDREN;
        usleep((useconds_t)(rand() % 3000));
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
        atomic_fetch_and(&s->inside, ~(1u << i));
        gate_seat_mark_dead(w.world.seats, w.world.limits.seats, (uint32_t)pid[i]);
        queue_world_validate(&w);
        pid[i] = spawn(i);
        while (served_by_all() < before + 5) {
            assert_true(gate_mono_usec() < end);
            usleep(500);
        }
    }
    atomic_store(&s->stop, 1);
    for (i = 0; i < CHILDREN; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(atomic_load(&s->over), 0);
    assert_int_equal(atomic_load(&s->unserved), 0);
    gate_seats_find_dead(w.world.seats);
    gate_seats_sweep(w.world.seats);
    assert_int_equal(gate_inflight(w.world.reg, w.slot[0]), 0);
    munmap(s, sizeof *s);
    queue_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_killed_children) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
