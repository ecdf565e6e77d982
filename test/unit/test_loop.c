/*
 * test_loop.c - events, timers and jobs of a loop: nothing is delivered for what was removed, jobs of other threads come in their order.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_general.h>
#include <cmocka.h>

#include "gate_time.h"
#include "loop.h"

#define POSTERS 4
#define JOBS 5000

typedef struct {
    loop_watch_t watch;
    int other;                  /* end of the pair that the test keeps */
    unsigned what;
    int calls;
} pair_t;

static apr_pool_t *pool;
static loop_t *loop;
static wheel_timer_t end;

static void stop(wheel_timer_t *timer)
{
    (void)timer;
    loop_stop(loop);
}

static void note(loop_watch_t *watch, unsigned what)
{
    ((pair_t *)watch)->what |= what;
    ((pair_t *)watch)->calls++;
}

static void begin(void)
{
    apr_pool_create(&pool, NULL);
    loop = loop_create(pool, 3);
    assert_non_null(loop);
    assert_int_equal(loop_index(loop), 3);
    memset(&end, 0, sizeof end);
    end.fired = stop;
}

static void finish(void)
{
    loop_destroy(loop);
    apr_pool_destroy(pool);
}

static void run_for(int64_t usec)
{
    loop_timer_set(loop, &end, gate_mono_usec() + usec);
    loop_run(loop, NULL, NULL);
}

static void open_pair(pair_t *pair)
{
    int fd[2];

    memset(pair, 0, sizeof *pair);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    pair->watch.fd = fd[0];
    pair->watch.ready = note;
    pair->other = fd[1];
    assert_int_equal(loop_watch_add(loop, &pair->watch), 0);
}

static void close_pair(pair_t *pair)
{
    loop_watch_remove(loop, &pair->watch);
    close(pair->watch.fd);
    close(pair->other);
}

static void test_readiness(void **state)
{
    pair_t pair;

    (void)state;
    begin();
    open_pair(&pair);
    assert_int_equal(write(pair.other, "x", 1), 1);
    run_for(5000);
    assert_int_equal(pair.what & (LOOP_READ | LOOP_WRITE | LOOP_HUP), LOOP_READ | LOOP_WRITE);
    assert_in_range(pair.calls, 1, 2); /* edges, not levels */
    close_pair(&pair);
    finish();
}

static void test_hang_up(void **state)
{
    pair_t pair;

    (void)state;
    begin();
    open_pair(&pair);
    assert_int_equal(shutdown(pair.other, SHUT_WR), 0);
    run_for(3000);
    assert_true(pair.what & LOOP_HUP && pair.what & LOOP_READ && !(pair.what & LOOP_GONE));
    close_pair(&pair);
    finish();
}

static pair_t both[2];

static void remove_both(loop_watch_t *watch, unsigned what)
{
    note(watch, what);
    for (int i = 0; i < 2; i++) {
        loop_watch_remove(loop, &both[i].watch);
    }
    memset(&both[watch == &both[0].watch].watch, 0xa5, sizeof both[0].watch); /* the other one's owner is freed */
}

/* Two are ready in one batch, and the first one's owner lets go of both: nothing comes for the second. */
static void test_removed_within_a_batch(void **state)
{
    int fd[2];

    (void)state;
    begin();
    for (int i = 0; i < 2; i++) {
        open_pair(&both[i]);
        both[i].watch.ready = remove_both;
        fd[i] = both[i].watch.fd;
    }
    run_for(3000);
    assert_int_equal(both[0].calls + both[1].calls, 1);
    for (int i = 0; i < 2; i++) {
        close(fd[i]);
        close(both[i].other);
    }
    finish();
}

static void test_many_watches(void **state)
{
    static pair_t many[300];

    (void)state;
    begin();
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 300; i++) {
            open_pair(&many[i]);
        }
        loop_destroy(loop);
        loop = loop_create(pool, 0);
        for (int i = 0; i < 300; i++) {
            assert_int_equal(loop_watch_add(loop, &many[i].watch), 0);
        }
        run_for(20000);
        for (int i = 0; i < 300; i++) {
            assert_true(many[i].what & LOOP_WRITE);
            close_pair(&many[i]);
        }
        loop_destroy(loop);
        loop = loop_create(pool, 0);
    }
    finish();
}

typedef struct {
    loop_job_t job;
    int poster, number;
} posted_t;

static posted_t *jobs;
static int last[POSTERS], taken;

static void take(loop_job_t *job)
{
    posted_t *one = (posted_t *)job;

    assert_int_equal(one->number, last[one->poster] + 1);
    last[one->poster] = one->number;
    if (++taken == POSTERS * JOBS) {
        loop_stop(loop);
    }
}

static void *post_all(void *which)
{
    int poster = *(int *)which;

    for (int i = 0; i < JOBS; i++) {
        posted_t *one = &jobs[poster * JOBS + i];

        one->job.run = take;
        one->poster = poster;
        one->number = i + 1;
        loop_post(loop, &one->job);
    }
    return NULL;
}

static void *run_loop(void *unused)
{
    (void)unused;
    loop_run(loop, NULL, NULL);
    return NULL;
}

static void test_jobs_of_other_threads(void **state)
{
    pthread_t thread[POSTERS], runner;
    int number[POSTERS];

    (void)state;
    begin();
    jobs = calloc(POSTERS * JOBS, sizeof *jobs);
    assert_non_null(jobs);
    memset(last, 0, sizeof last);
    taken = 0;
    assert_int_equal(pthread_create(&runner, NULL, run_loop, NULL), 0);
    for (int i = 0; i < POSTERS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&thread[i], NULL, post_all, &number[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(thread[i], NULL);
    }
    pthread_join(runner, NULL);
    assert_int_equal(taken, POSTERS * JOBS);
    free(jobs);
    finish();
}

static loop_job_t deferred[3];
static int order[8], ran;

static void defer_next(loop_job_t *job)
{
    order[ran++] = (int)(job - deferred);
    if (job == &deferred[0]) {
        loop_defer(loop, &deferred[2]);
    } else if (job == &deferred[2]) {
        loop_stop(loop);
    }
}

static void test_deferred(void **state)
{
    int64_t began;

    (void)state;
    begin();
    for (int i = 0; i < 3; i++) {
        deferred[i].run = defer_next;
    }
    ran = 0;
    began = gate_mono_usec();
    loop_defer(loop, &deferred[0]);
    loop_defer(loop, &deferred[1]);
    loop_timer_set(loop, &end, began + 5000000);
    loop_run(loop, NULL, NULL);
    assert_int_equal(ran, 3);
    assert_true(order[0] == 0 && order[1] == 1 && order[2] == 2);
    assert_true(loop_now(loop) >= began && loop_now(loop) < began + 4000000); /* nobody waited for the timer */
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readiness),
        cmocka_unit_test(test_hang_up),
        cmocka_unit_test(test_removed_within_a_batch),
        cmocka_unit_test(test_many_watches),
        cmocka_unit_test(test_jobs_of_other_threads),
        cmocka_unit_test(test_deferred),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
