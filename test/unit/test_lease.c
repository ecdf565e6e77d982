/* test_lease.c - one holder at a time; the next one when it dies, hangs, or is of an older generation. */

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_lease.h"
#include "gate_time.h"

#define SECOND INT64_C(1000000)

typedef struct {
    gate_lease_t lease;
    _Atomic uint32_t ready;
    _Atomic uint32_t holders; /* how many think that it is theirs */
    _Atomic uint32_t clashes;
} shared_t;

static shared_t *shared_new(void)
{
    shared_t *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(s != MAP_FAILED);
    return s;
}

static void shared_end(shared_t *s)
{
    char why[100] = "";

    assert_int_equal(gate_lease_validate(&s->lease, why, sizeof why), 0);
    munmap(s, sizeof *s);
}

static pid_t child_holds(shared_t *s, uint32_t generation, int64_t now, int64_t term)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (gate_lease_ask(&s->lease, generation, now, term) == 2) {
            atomic_store(&s->ready, 1);
        }
        for (;;) {
            pause();
        }
    }
    while (!atomic_load(&s->ready)) {
        usleep(1000);
    }
    atomic_store(&s->ready, 0);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_taken_and_renewed(void **state)
{
    shared_t *s = shared_new();

    (void)state;
    assert_int_equal(gate_lease_ask(&s->lease, 1, 100, SECOND), 2);
    assert_int_equal(gate_lease_ask(&s->lease, 1, 200, SECOND), 1);
    assert_int_equal(gate_lease_ask(&s->lease, 1, 200 + SECOND, SECOND), 2); /* too late: somebody might have had it */
    gate_lease_end(&s->lease);
    assert_int_equal(gate_lease_ask(&s->lease, 1, 300 + SECOND, SECOND), 2);
    shared_end(s);
}

static void test_another_has_it(void **state)
{
    shared_t *s = shared_new();
    pid_t child = child_holds(s, 1, 0, SECOND);

    (void)state;
    assert_int_equal(gate_lease_ask(&s->lease, 1, 10, SECOND), 0);
    gate_lease_end(&s->lease); /* not ours: nothing happens */
    assert_int_equal(gate_lease_ask(&s->lease, 1, SECOND - 1, SECOND), 0);
    kill(child, SIGSTOP);
    assert_int_equal(gate_lease_ask(&s->lease, 1, SECOND, SECOND), 2); /* its time is up */
    end(child);
    shared_end(s);
}

static void test_dead_holder(void **state)
{
    shared_t *s = shared_new();
    int i;

    (void)state;
    for (i = 0; i < 100; i++) {
        pid_t child = child_holds(s, 1, i, 1000 * SECOND);

        kill(child, SIGKILL);
        while (gate_process_stamp((uint32_t)child)) {
            usleep(100); /* a zombie counts as gone */
        }
        assert_int_equal(gate_lease_ask(&s->lease, 1, i, SECOND), 2);
        gate_lease_end(&s->lease);
        waitpid(child, NULL, 0);
    }
    assert_int_equal(atomic_load(&s->lease.terms), 200);
    shared_end(s);
}

static void test_later_generation_takes_over(void **state)
{
    shared_t *s = shared_new();
    pid_t child = child_holds(s, 2, 0, SECOND);

    (void)state;
    assert_int_equal(gate_lease_ask(&s->lease, 1, 10, SECOND), 0);
    assert_int_equal(gate_lease_ask(&s->lease, 3, 10, SECOND), 2);
    end(child);
    child = child_holds(s, 4, 20, SECOND);
    assert_int_equal(gate_lease_ask(&s->lease, 3, 30, SECOND), 0); /* ours no more */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(gate_lease_ask(&s->lease, 3, 30, SECOND), 0); /* a child of the later generation is to have it */
    assert_int_equal(gate_lease_ask(&s->lease, 3, 20 + SECOND, SECOND), 2);
    shared_end(s);
}

/* Holders that are killed at any instruction, the lock's included. */
static void test_killed_anywhere(void **state)
{
    shared_t *s = shared_new();
    int i, got = 0;

    (void)state;
    for (i = 0; i < 60; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            for (;;) {
                gate_lease_ask(&s->lease, 1, gate_mono_usec(), SECOND * 1000);
                gate_lease_end(&s->lease);
            }
        }
        usleep(500 + i * 37);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        got = gate_lease_ask(&s->lease, 1, gate_mono_usec(), SECOND);
        if (!got) { /* the lock's dead owner is noticed after a moment */
            usleep(5000);
            got = gate_lease_ask(&s->lease, 1, gate_mono_usec(), SECOND);
        }
        assert_int_equal(got, 2);
        gate_lease_end(&s->lease);
    }
    shared_end(s);
}

static void contend(shared_t *s)
{
    int64_t until = gate_mono_usec() + SECOND / 2;

    while (gate_mono_usec() < until) {
        if (gate_lease_ask(&s->lease, 1, gate_mono_usec(), SECOND * 1000)) {
            if (atomic_fetch_add(&s->holders, 1) != 0) {
                atomic_fetch_add(&s->clashes, 1);
            }
            atomic_fetch_sub(&s->holders, 1);
            gate_lease_end(&s->lease);
        }
        usleep(50);
    }
}

static void test_processes_exclude_each_other(void **state)
{
    shared_t *s = shared_new();
    pid_t pid[4];
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            contend(s);
            _exit(0);
        }
    }
    for (i = 0; i < 4; i++) {
        waitpid(pid[i], NULL, 0);
    }
    assert_int_equal(atomic_load(&s->clashes), 0);
    assert_true(atomic_load(&s->lease.terms) > 4);
    shared_end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_and_renewed), cmocka_unit_test(test_another_has_it),
        cmocka_unit_test(test_dead_holder), cmocka_unit_test(test_later_generation_takes_over),
        cmocka_unit_test(test_killed_anywhere), cmocka_unit_test(test_processes_exclude_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
