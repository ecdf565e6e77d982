/*
 * test_store_threads.c - threads that read, write, revalidate, add codings, purge and evict, two in a seat as the threads
 * of a child are. No reader ever sees a wrong byte, no memory is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <cmocka.h>

#include "store_hands.h"

#define CHILDREN 4

static int setup(void **state)
{
    return hands_setup(state, CHILDREN + 1);
}

static void *thread_main(void *arg)
{
    /* two threads share a seat, as the threads of a child do */
    hands_work(1 + (int)((uintptr_t)arg / 2), 12345 + (uint32_t)(uintptr_t)arg * 7, 4000);
    return NULL;
}

static void test_threads_see_no_wrong_byte(void **state)
{
    pthread_t threads[2 * CHILDREN];

    (void)state;
    for (uintptr_t i = 0; i < 2 * CHILDREN; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, thread_main, (void *)i), 0);
    }
    for (int i = 0; i < 2 * CHILDREN; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(hands_tally->wrong, 0);
    assert_true(hands_tally->reads > 1000);
    hands_assert_nothing_lost();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_threads_see_no_wrong_byte, setup, hands_teardown),
    };

    return cmocka_run_group_tests_name("store_threads", tests, NULL, NULL);
}
