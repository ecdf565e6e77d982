/* test_lease.c - one process at a time checks, and another goes on when it is killed, at any instruction. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_time.h"
#include "lease.h"

#define SEC INT64_C(1000000)
#define KILLS 100
#define CHILDREN 4

typedef struct {
    lease_t lease;
    _Atomic uint64_t passes;    /* by holders */
    _Atomic uint32_t inside;    /* holders at work */
} world_t;

static world_t *map_world(void)
{
    return mmap(NULL, sizeof(world_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void test_take_and_leave(void **state)
{
    world_t *w = map_world();
    uint64_t self = lease_self();

    (void)state;
    assert_int_equal((uint32_t)self, getpid());
    assert_int_equal(lease_take(&w->lease, self, 1, SEC, SEC), LEASE_NEW);
    assert_int_equal(lease_take(&w->lease, self, 1, SEC, SEC), LEASE_MINE);
    assert_true(lease_is_mine(&w->lease, self));
    assert_int_equal(lease_holder(&w->lease), getpid());
    lease_leave(&w->lease, self + 1);
    assert_true(lease_is_mine(&w->lease, self));
    lease_leave(&w->lease, self);
    assert_int_equal(lease_holder(&w->lease), 0);
}

/* A living process that holds nothing but its name. */
static pid_t sleeper(uint64_t *self)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        uint64_t me = lease_self();

        if (write(ends[1], &me, sizeof me) != sizeof me) {
            _exit(1);
        }
        pause();
        _exit(0);
    }
    assert_int_equal(read(ends[0], self, sizeof *self), sizeof *self);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

static void test_stealing(void **state)
{
    world_t *w = map_world();
    uint64_t other, self = lease_self();
    pid_t pid = sleeper(&other);
    int status;

    (void)state;
    assert_int_equal(lease_take(&w->lease, other, 1, SEC, SEC), LEASE_NEW);
    assert_int_equal(lease_take(&w->lease, self, 1, 2 * SEC - 1, SEC), LEASE_OTHER);
    /* it hangs */
    assert_int_equal(lease_take(&w->lease, self, 1, 2 * SEC, SEC), LEASE_NEW);
    assert_false(lease_is_mine(&w->lease, other));
    assert_int_equal(lease_take(&w->lease, other, 1, 3 * SEC, SEC), LEASE_NEW);
    /* it dies */
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    assert_int_equal(lease_take(&w->lease, self, 1, 3 * SEC + 1, SEC), LEASE_NEW);
    assert_int_equal(atomic_load(&w->lease.changes), 4);
}

static void test_generations(void **state)
{
    world_t *w = map_world();
    uint64_t other, self = lease_self();
    pid_t pid = sleeper(&other);
    int status;

    (void)state;
    assert_int_equal(lease_take(&w->lease, other, 3, SEC, 100 * SEC), LEASE_NEW);
    assert_int_equal(lease_take(&w->lease, self, 2, 200 * SEC, SEC), LEASE_OTHER);
    assert_int_equal(lease_take(&w->lease, self, 3, 2 * SEC, SEC), LEASE_OTHER);
    assert_int_equal(lease_take(&w->lease, self, 4, 2 * SEC, SEC), LEASE_NEW);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

static void hold_and_work(world_t *w)
{
    uint64_t self = lease_self();

    for (;;) {
        if (lease_take(&w->lease, self, 1, gate_mono_usec(), SEC) != LEASE_OTHER) {
            atomic_fetch_add(&w->passes, 1);
        } else {
            usleep(200);
        }
    }
}

/* The holder is killed again and again; each time somebody goes on, long before the lease ends by itself. */
static void test_killed_holders(void **state)
{
    world_t *w = map_world();
    pid_t child[CHILDREN] = { 0 };
    int i, k, round, status;

    (void)state;
    for (round = 0; round < KILLS; round++) {
        uint64_t seen;

        for (i = 0; i < CHILDREN; i++) {
            if (!child[i] && (child[i] = fork()) == 0) {
                hold_and_work(w);
            }
        }
        seen = atomic_load(&w->passes);
        for (k = 0; k < 20000 && atomic_load(&w->passes) < seen + 10; k++) {
            usleep(100);
        }
        assert_true(k < 20000);
        for (i = 0; i < CHILDREN; i++) {
            if ((uint32_t)child[i] == lease_holder(&w->lease)) {
                kill(child[i], SIGKILL);
                waitpid(child[i], &status, 0);
                child[i] = 0;
            }
        }
    }
    assert_true(atomic_load(&w->lease.changes) >= KILLS / 2);
    for (i = 0; i < CHILDREN; i++) {
        if (child[i]) {
            kill(child[i], SIGKILL);
            waitpid(child[i], &status, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_and_leave),
        cmocka_unit_test(test_stealing),
        cmocka_unit_test(test_generations),
        cmocka_unit_test(test_killed_holders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
