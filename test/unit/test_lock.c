/* test_lock.c - the lock of shared memory: exclusion among threads and processes, takeover from the dead. */

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_lock.h"
#include "rounds.h"
#include "gate_time.h"

#define WAIT (INT64_C(10) * 1000000)

typedef struct {
    gate_lock_t lock;
    uint64_t plain[2]; /* equal whenever the lock is free: changed one after the other */
    _Atomic uint32_t ready;
    _Atomic uint32_t dirty;
} shared_t;

static shared_t *shared_new(void)
{
    shared_t *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(s != MAP_FAILED);
    return s;
}

static void *count_up(void *arg)
{
    shared_t *s = arg;
    int i;

    for (i = 0; i < 2000; i++) {
        gate_lock_result_e got = gate_lock_take(&s->lock, WAIT);

        if (got == GATE_LOCK_TIMEOUT) {
            return (void *)1;
        }
        s->plain[0]++;
        s->plain[1]++;
        gate_lock_release(&s->lock);
    }
    return NULL;
}

static void test_threads_exclude_each_other(void **state)
{
    shared_t *s = shared_new();
    pthread_t t[4];
    void *bad;
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, count_up, s), 0);
    }
    for (i = 0; i < 4; i++) {
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    assert_int_equal(s->plain[0], 8000);
    assert_int_equal(s->plain[1], 8000);
    munmap(s, sizeof *s);
}

static void test_living_owner_is_waited_for(void **state)
{
    shared_t *s = shared_new();
    pid_t child = fork();
    int64_t began;

    (void)state;
    if (child == 0) {
        gate_lock_take(&s->lock, 0);
        atomic_store(&s->ready, 1);
        for (;;) {
            pause();
        }
    }
    while (!atomic_load(&s->ready)) {
        usleep(1000);
    }
    began = gate_mono_usec();
    assert_int_equal(gate_lock_take(&s->lock, 30000), GATE_LOCK_TIMEOUT);
    assert_true(gate_mono_usec() - began >= 30000);
    assert_false(gate_lock_mine(&s->lock));
    gate_lock_release(&s->lock); /* not ours: nothing happens */
    assert_int_equal(gate_lock_take(&s->lock, 0), GATE_LOCK_TIMEOUT);

    kill(child, SIGKILL); /* not yet waited for: a zombie counts as gone */
    assert_int_equal(gate_lock_take(&s->lock, WAIT), GATE_LOCKED_DIRTY);
    assert_true(gate_lock_mine(&s->lock));
    gate_lock_release(&s->lock);
    waitpid(child, NULL, 0);
    assert_int_equal(gate_lock_take(&s->lock, 0), GATE_LOCKED);
    munmap(s, sizeof *s);
}

static void child_mends_and_counts(shared_t *s)
{
    for (;;) {
        switch (gate_lock_take(&s->lock, WAIT)) {
        case GATE_LOCKED_DIRTY:
            s->plain[1] = s->plain[0];
            atomic_fetch_add(&s->dirty, 1);
            /* fall through */
        case GATE_LOCKED:
            if (s->plain[0] != s->plain[1]) {
                _exit(3);
            }
            s->plain[0]++;
            atomic_fetch_add(&s->ready, 1);
            s->plain[1]++;
            gate_lock_release(&s->lock);
            break;
        default:
            _exit(4);
        }
    }
}

/* Trap 65. Three processes count under the lock; they are killed at any instruction, 300 times. Whoever takes over finds out and mends. */
static void test_killed_owners(void **state)
{
    shared_t *s = shared_new();
    pid_t child[3] = { 0 };
    int i, status;

    (void)state;
    for (i = 0; i < ROUNDS(300); i++) {
        pid_t *p = &child[i % 3];
        uint32_t seen = atomic_load(&s->ready);

        if (*p) {
            kill(*p, SIGKILL);
            waitpid(*p, &status, 0);
            assert_true(WIFSIGNALED(status)); /* it did not find half a change */
        }
        *p = fork();
        if (*p == 0) {
            child_mends_and_counts(s);
        }
        while (atomic_load(&s->ready) < seen + 3) {
            usleep(100);
        }
    }
    for (i = 0; i < 3; i++) {
        kill(child[i], SIGKILL);
        waitpid(child[i], &status, 0);
        assert_true(WIFSIGNALED(status));
    }
    assert_int_not_equal(gate_lock_take(&s->lock, WAIT), GATE_LOCK_TIMEOUT);
    munmap(s, sizeof *s);
}

static void test_stamp(void **state)
{
    pid_t child;

    (void)state;
    assert_int_not_equal(gate_process_stamp((uint32_t)getpid()), 0);
    assert_int_equal(gate_process_stamp((uint32_t)getpid()), gate_process_stamp((uint32_t)getpid()));
    assert_int_equal(gate_process_stamp(0), 0);
    child = fork();
    if (child == 0) {
        _exit(0);
    }
    waitid(P_PID, (id_t)child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
    assert_int_equal(gate_process_stamp((uint32_t)child), 0); /* a zombie */
    waitpid(child, NULL, 0);
    assert_int_equal(gate_process_stamp((uint32_t)child), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_exclude_each_other),
        cmocka_unit_test(test_living_owner_is_waited_for),
        cmocka_unit_test(test_killed_owners),
        cmocka_unit_test(test_stamp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
