/* test_queue_bell.c - those who wait on a loop are called there, by their own process and by others; and links that a dead holder left. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_time.h"
#include "queue_world.h"
#include "../../modules/upstream/queue_layout.h"

#define GUESTS 40

static queue_world_t w;
static queue_guest_t in, guest[GUESTS];
static atomic_int woken;
static int called[GUESTS], calls;

static void wake(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static void note(void *owner)
{
    called[(queue_guest_t *)owner - guest]++;
    calls++;
}

static int hear_calls(void)
{
    calls = 0;
    queue_heard(w.queue, 0, note);
    return calls;
}

/* One is in, the others wait on loop 0, in order. */
static void setup_guests(void)
{
    int i;

    queue_world_open(&w, 1, 1, GUESTS);
    atomic_store(&woken, 0);
    assert_int_equal(queue_hear(w.queue, w.seat, 0, wake, &woken), 1);
    in = queue_guest(&w);
    assert_int_equal(queue_guest_enter(&in, 0), QUEUE_ADMITTED);
    for (i = 0; i < GUESTS; i++) {
        called[i] = 0;
        guest[i] = queue_guest(&w);
        guest[i].stay.loop = 1;
        guest[i].stay.owner = &guest[i];
        assert_int_equal(queue_guest_enter(&guest[i], 0), QUEUE_WAITING);
    }
}

static void end_guests(void)
{
    queue_hear_end(w.queue, 0);
    queue_world_close(&w);
}

static void test_the_first_is_named(void **state)
{
    (void)state;
    setup_guests();
    assert_int_equal(hear_calls(), 0);
    queue_guest_done(&in);
    assert_int_equal(atomic_load(&woken), 1);
    assert_int_equal(hear_calls(), 1);
    assert_int_equal(called[0], 1);
    assert_int_equal(queue_guest_look(&guest[0], 0), QUEUE_ADMITTED);
    assert_int_equal(hear_calls(), 1); /* it has called the next */
    assert_int_equal(called[1], 1);
    queue_leave(w.queue, &guest[1].stay, QUEUE_LEFT_CLIENT, 0);
    queue_guest_done(&guest[0]);
    hear_calls();
    assert_int_equal(called[1], 1); /* who has left is named no more */
    assert_true(called[2] >= 1);
    end_guests();
}

/* More calls than the ring holds: then all are named, and each looks at its own word. */
static void test_more_calls_than_the_ring_holds(void **state)
{
    int i;

    (void)state;
    setup_guests();
    for (i = 0; i < BELL_CALLS + 1; i++) {
        queue_call(w.queue, guest[i].stay.place);
    }
    assert_int_equal(hear_calls(), GUESTS);
    queue_call(w.queue, guest[7].stay.place);
    assert_int_equal(hear_calls(), 1);
    assert_int_equal(called[7], 2);
    end_guests();
}

/* A ringer that was killed before it had written whom it calls. */
static void test_a_call_that_was_not_finished(void **state)
{
    (void)state;
    setup_guests();
    atomic_fetch_add(&w.queue->porch[w.seat].bell[0].rung, 1);
    assert_int_equal(hear_calls(), GUESTS);
    assert_int_equal(hear_calls(), 0);
    end_guests();
}

static _Atomic int stop;

static void *listen_here(void *unused)
{
    queue_bell_listen(w.queue, w.seat, &stop);
    return unused;
}

static void wait_for_wakes(int n)
{
    int64_t end = gate_mono_usec() + 10 * INT64_C(1000000);

    while (atomic_load(&woken) < n) {
        assert_true(gate_mono_usec() < end);
        usleep(200);
    }
}

/* Another process ends something: the listening thread wakes the loop. */
static void test_another_process_calls(void **state)
{
    pthread_t listener;
    int i, status;

    (void)state;
    setup_guests();
    atomic_store(&stop, 0);
    assert_int_equal(pthread_create(&listener, NULL, listen_here, NULL), 0);
    for (i = 0; i < 5; i++) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            w.queue->own_seat = w.seat + 1;
            queue_released(w.queue, w.group, 0);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        wait_for_wakes(i + 1);
        assert_int_equal(hear_calls(), 1);
        assert_int_equal(called[0], i + 1);
    }
    atomic_store(&stop, 1);
    queue_bell_stop(w.queue, w.seat);
    pthread_join(listener, NULL);
    end_guests();
}

/* A holder of the lock was killed at any point of a change: the order is made anew from the places. */
static void test_links_are_made_anew(void **state)
{
    line_t *line;
    int i;

    (void)state;
    setup_guests();
    line = &w.queue->line[w.group];
    for (i = 0; i < GUESTS; i++) {
        w.queue->place[guest[i].stay.place].next = (uint32_t)(i * 7 % (GUESTS + 3));
        w.queue->place[guest[i].stay.place].before = UINT32_MAX;
    }
    atomic_store(&line->first, 9);
    line->last = 3;
    line->free = 5;
    atomic_store(&line->waiting, 1000);
    line->changing = 1;
    for (i = 0; i < GUESTS; i++) {
        queue_guest_done(i ? &guest[i - 1] : &in);
        if (i + 1 < GUESTS) {
            assert_int_equal(queue_guest_look(&guest[i + 1], 0), QUEUE_WAITING);
        }
        assert_int_equal(queue_guest_look(&guest[i], 0), QUEUE_ADMITTED);
        assert_int_equal(atomic_load(&line->waiting), (uint32_t)(GUESTS - 1 - i));
    }
    end_guests();
}

/* One that is bound to a full member is neither asked nor in the way, and is the first when there is room on it. */
static void test_bound_to_a_member(void **state)
{
    queue_guest_t inside[2], bound, plain;

    (void)state;
    queue_world_open(&w, 2, 1, GUESTS);
    inside[0] = queue_guest(&w);
    inside[1] = queue_guest(&w);
    assert_int_equal(queue_guest_enter(&inside[0], 0), QUEUE_ADMITTED);
    assert_int_equal(queue_guest_enter(&inside[1], 0), QUEUE_ADMITTED);
    bound = queue_guest(&w);
    bound.not_these = 1;
    bound.stay.wants = w.slot[1] + 1;
    plain = queue_guest(&w);
    assert_int_equal(queue_guest_enter(&bound, 0), QUEUE_WAITING);
    assert_int_equal(queue_guest_enter(&plain, 0), QUEUE_WAITING);
    queue_guest_done(&inside[0]);
    assert_int_equal(atomic_load(queue_word(w.queue, &bound.stay)), bound.stay.word);
    assert_int_not_equal(atomic_load(queue_word(w.queue, &plain.stay)), plain.stay.word);
    assert_int_equal(queue_guest_look(&plain, 0), QUEUE_ADMITTED);
    queue_guest_done(&inside[1]);
    assert_int_not_equal(atomic_load(queue_word(w.queue, &bound.stay)), bound.stay.word);
    assert_int_equal(queue_guest_look(&bound, 0), QUEUE_ADMITTED);
    assert_int_equal(bound.got, 1);
    queue_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_is_named), cmocka_unit_test(test_more_calls_than_the_ring_holds),
        cmocka_unit_test(test_a_call_that_was_not_finished), cmocka_unit_test(test_another_process_calls),
        cmocka_unit_test(test_links_are_made_anew), cmocka_unit_test(test_bound_to_a_member),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
