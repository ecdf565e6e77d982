/* test_health_zone.c - rows of the zone "health": written by one, read by all, and by the next one when the writer is killed. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "health_zone.h"

#define SEC INT64_C(1000000)
#define KILLS 200

static health_limits_t limits = { .groups = 4, .members = 16 };
static health_zone_t zone;
static void *base;

static int setup(void **state)
{
    (void)state;
    base = mmap(NULL, health_zone_size(&limits), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    health_zone_attach(&zone, base, &limits, 1);
    return base == MAP_FAILED;
}

static int faults(void)
{
    char why[200] = "";

    return health_zone_validate(base, health_zone_size(&limits), &limits, why, sizeof why);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(faults(), 0);
    return munmap(base, health_zone_size(&limits));
}

static check_result_t result_of(check_code_e code, int64_t took_usec, const char *why)
{
    check_result_t result = { .code = code, .status = code == CHECK_OK ? 200 : 500, .took_usec = took_usec, .wall_usec = 7 };

    snprintf(result.why, sizeof result.why, "%s", why);
    return result;
}

static void test_results(void **state)
{
    health_track_t track = { .state = HEALTH_UP, .streak = 1 };
    health_row_t *row = &zone.row[3];
    health_view_t view;
    int i;

    (void)state;
    assert_int_equal(health_row_view(row, 5, &view), -1);
    assert_int_equal(health_row_own(row, 5, SEC), 1);
    assert_int_equal(health_row_own(row, 5, SEC), 0);
    assert_int_equal(health_row_view(row, 5, &view), 0);
    assert_false(view.known);
    for (i = 0; i < HEALTH_STRIP + 7; i++) {
        check_result_t result = result_of(i % 2 ? CHECK_STATUS : CHECK_OK, 1000 * i, i % 2 ? "status 500" : "status 200");

        health_row_result(row, &track, &result, SEC + i);
    }
    assert_int_equal(health_row_view(row, 5, &view), 0);
    assert_true(view.known);
    assert_int_equal(view.track.streak, 1);
    assert_int_equal(view.turns, HEALTH_STRIP + 7);
    assert_string_equal(view.last.why, "status 200");
    assert_int_equal(view.passed + view.failed, HEALTH_STRIP + 7);
    assert_int_equal(view.strip_count, HEALTH_STRIP);
    for (i = 0; i < HEALTH_STRIP; i++) {
        assert_int_equal(view.strip[i] & 0xff, (i + 7) % 2 ? CHECK_STATUS + 1 : CHECK_OK + 1);
        assert_int_equal(view.strip[i] >> 8, i + 7);
    }
}

static void test_next_member_of_the_slot(void **state)
{
    health_track_t track = { .state = HEALTH_DOWN };
    check_result_t result = result_of(CHECK_CONNECT, 1, "refused");
    health_view_t view;

    (void)state;
    health_row_own(&zone.row[0], 5, SEC);
    health_row_result(&zone.row[0], &track, &result, SEC);
    assert_int_equal(health_row_own(&zone.row[0], 6, 2 * SEC), 1);
    assert_int_equal(health_row_view(&zone.row[0], 5, &view), -1);
    assert_int_equal(health_row_view(&zone.row[0], 6, &view), 0);
    assert_false(view.known);
    assert_int_equal(view.strip_count, 0);
    assert_int_equal(view.track.state, HEALTH_UNKNOWN);
}

static void test_validator(void **state)
{
    (void)state;
    health_row_own(&zone.row[2], 1, SEC);
    atomic_store(&zone.row[2].state, 9);
    assert_int_equal(faults(), 1);
    atomic_store(&zone.row[2].state, HEALTH_UP);
    atomic_store(&zone.row[2].strip[4], 200);
    assert_int_equal(faults(), 1);
    atomic_store(&zone.row[2].strip[4], 0);
    zone.head->groups++;
    assert_int_equal(faults(), 1);
    zone.head->groups--;
}

/* A writer of rows: texts whose every character is the same. */
static void write_rows(uint32_t turn)
{
    health_track_t track = { 0 };

    for (;; turn++) {
        health_row_t *row = &zone.row[turn % 16];
        check_result_t result = { .code = (check_code_e)(turn % 9), .status = (int)turn % 500, .took_usec = turn };

        memset(result.why, 'a' + (int)(turn % 26), sizeof result.why - 1);
        health_row_own(row, 1 + turn % 3, turn);
        track.state = (health_state_e)(turn % 3);
        health_row_result(row, &track, &result, turn + 1);
    }
}

static void test_killed_writers(void **state)
{
    int i, k, status;

    (void)state;
    for (i = 0; i < KILLS; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            write_rows((uint32_t)i * 7);
        }
        for (k = 0; k < 40; k++) {
            health_view_t view;

            if (health_row_view(&zone.row[k % 16], 1 + k % 3, &view) == 0 && view.last.why[0]) {
                assert_int_equal(strspn(view.last.why, (char[]){ view.last.why[0], 0 }), strlen(view.last.why));
            }
            usleep(20);
        }
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        assert_int_equal(faults(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_results, setup, teardown),
        cmocka_unit_test_setup_teardown(test_next_member_of_the_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validator, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_writers, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
