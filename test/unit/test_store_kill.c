/*
 * test_store_kill.c - children that read, write, revalidate, add codings, purge and evict, killed with -9 at any
 * instruction. No reader ever sees a wrong byte, the store stays valid, no memory is lost.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "store_hands.h"
#include "rounds.h"

#define KILLS ROUNDS(500)
#define CHILDREN 4

static pid_t child(int seat, uint32_t seed)
{
    pid_t pid = fork();

    if (!pid) {
        hands_work(seat, seed, UINT32_MAX);
        _exit(0);
    }
    return pid;
}

static int setup(void **state)
{
    return hands_setup(state, CHILDREN + 1);
}

static void test_children_killed_at_any_instruction(void **state)
{
    pid_t pids[CHILDREN];
    uint32_t seed = 1;
    gate_store_stats_t stats;

    (void)state;
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = child(i + 1, seed += 7919);
    }
    for (int kill_n = 0; kill_n < KILLS; kill_n++) {
        int victim = kill_n % CHILDREN, status;

        usleep(200 + hands_random(&seed) % 4000);
        kill(pids[victim], SIGKILL);
        waitpid(pids[victim], &status, 0);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        gate_store_sweep(victim + 1, hands_world.store);
        if (kill_n % 50 == 0) {
            assert_int_equal(store_faults(&hands_world), 0);
        }
        pids[victim] = child(victim + 1, seed += 7919);
    }
    for (int i = 0; i < CHILDREN; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        gate_store_sweep(i + 1, hands_world.store);
    }
    gate_store_stats(hands_world.store, &stats);
    print_message("%u rounds, %u right reads, %u writes, %u heads, %u codings; %u repairs, %u evictions\n", hands_tally->rounds,
                  hands_tally->reads, hands_tally->writes, hands_tally->heads, hands_tally->codings, (unsigned)stats.repairs, (unsigned)stats.evictions);
    assert_int_equal(hands_tally->wrong, 0);
    assert_true(hands_tally->reads > 1000 && hands_tally->writes > 1000 && hands_tally->heads > 100 && hands_tally->codings > 100);
    assert_true(stats.evictions > 0);
    hands_assert_nothing_lost();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_children_killed_at_any_instruction, setup, hands_teardown),
    };

    return cmocka_run_group_tests_name("store_kill", tests, NULL, NULL);
}
