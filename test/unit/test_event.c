/*
 * test_event.c - the ring of events: order, wrap, cut texts, validator, and writers that are killed in the middle of a push.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "event_ring.h"
#include "event_sample.h"

static gate_events_t *ring;
static gate_event_t got[GATE_EVENTS];

static int setup(void **state)
{
    (void)state;
    ring = mmap(NULL, gate_events_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) {
        return -1;
    }
    gate_events_init(ring);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return munmap(ring, gate_events_size());
}

static void assert_valid(void)
{
    char why[200] = "";

    if (gate_events_validate(ring, gate_events_size(), why, sizeof why) != 0) {
        fail_msg("%s", why);
    }
}

static void assert_fault(const char *part)
{
    char why[200] = "";

    assert_true(gate_events_validate(ring, gate_events_size(), why, sizeof why) > 0);
    if (strstr(why, part) == NULL) {
        fail_msg("'%s' does not say '%s'", why, part);
    }
}

static void push(unsigned writer, unsigned turn)
{
    gate_event_t e = sample_event(writer, turn);

    gate_event_push(ring, &e);
}

/* ---- one writer ---------------------------------------------------------------------------------------------------------- */

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(gate_events_read(ring, got, GATE_EVENTS), 0);
    assert_valid();
}

static void test_newest_first(void **state)
{
    (void)state;
    for (unsigned turn = 1; turn <= 10; turn++) {
        push(1, turn);
    }
    assert_int_equal(gate_events_read(ring, got, 3), 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(got[i].number, 10 - i);
        assert_true(sample_is_whole(&got[i]));
        assert_int_equal(got[i].wall_usec % 1000000000, 10 - i);
    }
    assert_int_equal(gate_events_read(ring, got, GATE_EVENTS), 10);
    assert_int_equal(gate_events_read(ring, got, 0), 0);
    assert_valid();
}

static void test_old_ones_make_room(void **state)
{
    (void)state;
    for (unsigned turn = 1; turn <= 3 * GATE_EVENTS + 7; turn++) {
        push(1, turn);
    }
    assert_int_equal(gate_events_read(ring, got, GATE_EVENTS), GATE_EVENTS);
    for (unsigned i = 0; i < GATE_EVENTS; i++) {
        assert_int_equal(got[i].number, 3 * GATE_EVENTS + 7 - i);
        assert_true(sample_is_whole(&got[i]));
    }
    assert_valid();
}

static void test_texts_are_cut(void **state)
{
    gate_event_t e;

    (void)state;
    memset(&e, 'x', sizeof e); /* no text ends */
    gate_event_push(ring, &e);
    assert_valid();
    assert_int_equal(gate_events_read(ring, got, 1), 1);
    assert_int_equal(got[0].number, 1);
    assert_int_equal(strlen(got[0].area), sizeof e.area - 1);
    assert_int_equal(strlen(got[0].why), sizeof e.why - 1);
    assert_int_equal(strlen(got[0].who), sizeof e.who - 1);
    assert_string_equal(got[0].from, "xxxxxxxxxxxxxxxxxxxxxxx");
}

static void test_nothing_behind_a_text_is_published(void **state)
{
    gate_event_t e = sample_event(1, 1);

    (void)state;
    memcpy(e.group + 10, "secret", 6);
    gate_event_push(ring, &e);
    assert_int_equal(gate_events_read(ring, got, 1), 1);
    assert_string_equal(got[0].group, "g1.1");
    for (size_t i = 4; i < sizeof got[0].group; i++) {
        assert_int_equal(got[0].group[i], 0);
    }
}

/* ---- validator ----------------------------------------------------------------------------------------------------------- */

static void test_validator_sees_damage(void **state)
{
    char why[200];
    gate_event_t *stored;

    (void)state;
    push(1, 1);
    push(1, 2);
    assert_true(gate_events_validate(ring, gate_events_size() - 1, why, sizeof why) > 0);
    ring->magic ^= 1;
    assert_fault("header");
    ring->magic ^= 1;
    ring->entry_size++;
    assert_fault("header");
    ring->entry_size--;
    ring->entry[1].state = event_state(3, 0);
    assert_fault("entry 1 has a number that belongs elsewhere");
    ring->entry[1].state = event_state(2 + GATE_EVENTS, 0);
    assert_fault("was not given out");
    ring->entry[1].state = event_state(2, 0) | EVENT_BUSY;
    assert_fault("busy without an owner");
    ring->entry[1].state = event_state(2, 7) & ~EVENT_BUSY;
    assert_fault("owned without being busy");
    ring->entry[1].state = event_state(2, 0);
    assert_valid();
    stored = (gate_event_t *)(void *)ring->entry[1].word;
    stored->number = 1;
    assert_fault("another number");
    stored->number = 2;
    memset(stored->why, 'x', sizeof stored->why);
    assert_fault("does not end");
    assert_int_equal(gate_events_read(ring, got, 1), 1); /* a reader is safe all the same */
    assert_int_equal(strlen(got[0].why), sizeof got[0].why - 1);
    stored->why[3] = '\0';
    assert_valid();
    assert_int_equal(ring->entry[1].state, event_state(2, 0));
}

static void test_reader_survives_a_wild_counter(void **state)
{
    (void)state;
    push(1, 1);
    ring->taken = UINT64_MAX;
    assert_in_range(gate_events_read(ring, got, GATE_EVENTS), 0, 1);
}

/* ---- writers that die ---------------------------------------------------------------------------------------------------- */

static void reap(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
    }
}

/* A child that never outlives the test, however that ends. */
static pid_t start_child(void)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
    }
    return pid;
}

static pid_t start_sleeper(void)
{
    pid_t pid = start_child();

    if (pid == 0) {
        for (;;) {
            pause();
        }
    }
    return pid;
}

static void test_a_busy_entry_waits_for_its_owner(void **state)
{
    pid_t owner = start_sleeper();

    (void)state;
    assert_true(owner > 0);
    ring->taken = 1;
    ring->entry[0].state = event_state(1, (uint32_t)owner);
    for (unsigned turn = 1; turn <= GATE_EVENTS; turn++) {
        push(1, turn);
    }
    /* number GATE_EVENTS + 1 would have gone there */
    assert_int_equal(ring->entry[0].state, event_state(1, (uint32_t)owner));
    assert_int_equal(gate_events_read(ring, got, GATE_EVENTS), GATE_EVENTS - 1);
    assert_int_equal(got[0].wall_usec % 1000000000, GATE_EVENTS); /* and none of the newer ones is lost */
    assert_valid();

    kill(owner, SIGKILL);
    reap(owner);
    for (unsigned turn = 1; turn <= GATE_EVENTS; turn++) {
        push(2, turn);
    }
    assert_int_equal(gate_events_read(ring, got, GATE_EVENTS), GATE_EVENTS);
    assert_valid();
}

static void test_a_death_before_the_entry_is_taken(void **state)
{
    (void)state;
    push(1, 1);
    ring->taken++; /* number 2 was given out, nobody came */
    push(1, 3);
    assert_int_equal(gate_events_read(ring, got, GATE_EVENTS), 2);
    assert_int_equal(got[0].number, 3);
    assert_int_equal(got[1].number, 1);
    assert_valid();
}

static pid_t start_writer(unsigned writer)
{
    pid_t pid = start_child();

    if (pid == 0) {
        for (unsigned turn = 1;; turn++) {
            push(writer, turn % 1000000000);
        }
    }
    return pid;
}

static void check_all_read(void)
{
    int n = gate_events_read(ring, got, GATE_EVENTS);

    for (int i = 0; i < n; i++) {
        assert_true(sample_is_whole(&got[i]));
        if (i > 0) {
            assert_true(got[i].number < got[i - 1].number);
        }
    }
}

/* Two writers all the time; one of them is killed, reaped and replaced again and again, until it was hit in the middle
 * of a push at least once. */
static void test_kill_in_the_middle_of_a_push(void **state)
{
    pid_t writers[2];
    int found_busy = 0;

    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        writers[w] = start_writer(w);
        assert_true(writers[w] > 0);
    }
    for (unsigned round = 0; round < 300 || (found_busy == 0 && round < 3000); round++) {
        unsigned w = round % 2;

        usleep(200 + round * 7 % 900);
        check_all_read();
        kill(writers[w], SIGKILL);
        reap(writers[w]);
        for (int i = 0; i < GATE_EVENTS; i++) {
            found_busy += event_state_tid(ring->entry[i].state) == (uint32_t)writers[w];
        }
        check_all_read();
        writers[w] = start_writer(round % 100 + 2);
        assert_true(writers[w] > 0);
    }
    for (unsigned w = 0; w < 2; w++) {
        kill(writers[w], SIGKILL);
        reap(writers[w]);
    }
    assert_true(found_busy > 0); /* else this did not test what it says */
    assert_valid();
    for (unsigned turn = 1; turn <= 2 * GATE_EVENTS; turn++) {
        push(7, turn);
    }
    assert_int_equal(gate_events_read(ring, got, GATE_EVENTS), GATE_EVENTS);
    check_all_read();
    assert_valid();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_ones_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_texts_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_behind_a_text_is_published, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validator_sees_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reader_survives_a_wild_counter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_busy_entry_waits_for_its_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_death_before_the_entry_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill_in_the_middle_of_a_push, setup, teardown),
    };

    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
