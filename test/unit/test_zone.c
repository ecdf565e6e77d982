/* test_zone.c - the arena: zones kept, replaced and dropped over restarts, and its budget. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_zone.h"

static void test_fresh_kept_resized(void **state)
{
    gate_arena_t *arena = gate_arena_create();
    gate_zone_t zone;
    char *first;

    (void)state;
    gate_arena_begin(arena, 1 << 20);
    assert_int_equal(gate_arena_zone(arena, "a", 1, 5000, 0, &zone), APR_SUCCESS);
    assert_int_equal(zone.state, GATE_ZONE_FRESH);
    first = zone.base;
    assert_int_equal(first[4999], 0);
    strcpy(first, "kept");
    gate_arena_settle(arena);

    gate_arena_begin(arena, 1 << 20);
    assert_int_equal(gate_arena_zone(arena, "a", 1, 5000, 0, &zone), APR_SUCCESS);
    assert_int_equal(zone.state, GATE_ZONE_KEPT);
    assert_ptr_equal(zone.base, first);
    assert_string_equal(first, "kept");
    gate_arena_settle(arena);

    gate_arena_begin(arena, 1 << 20);
    assert_int_equal(gate_arena_zone(arena, "a", 1, 9000, 0, &zone), APR_SUCCESS);
    assert_int_equal(zone.state, GATE_ZONE_RESIZED);
    assert_ptr_not_equal(zone.base, first);
    assert_ptr_equal(zone.old_base, first);
    assert_true(zone.old_size_bytes >= 5000);
    assert_string_equal(zone.old_base, "kept");
    assert_int_equal(*(char *)zone.base, 0);
    gate_arena_settle(arena);

    gate_arena_begin(arena, 1 << 20); /* another layout is another zone too */
    assert_int_equal(gate_arena_zone(arena, "a", 2, 9000, 0, &zone), APR_SUCCESS);
    assert_int_equal(zone.state, GATE_ZONE_RESIZED);
    assert_int_equal(zone.old_layout, 1);
    gate_arena_settle(arena);

    gate_arena_begin(arena, 1 << 20); /* not asked for: gone, and fresh the next time */
    gate_arena_settle(arena);
    gate_arena_begin(arena, 1 << 20);
    assert_int_equal(gate_arena_zone(arena, "a", 2, 9000, 0, &zone), APR_SUCCESS);
    assert_int_equal(zone.state, GATE_ZONE_FRESH);
    gate_arena_settle(arena);
    free(arena);
}

static void test_budget(void **state)
{
    gate_arena_t *arena = gate_arena_create();
    gate_zone_t zone;
    char text[100];

    (void)state;
    gate_arena_begin(arena, 100000);
    assert_int_equal(gate_arena_zone(arena, "a", 1, 60000, 0, &zone), APR_SUCCESS);
    assert_int_equal(gate_arena_zone(arena, "c", 1, 1 << 20, GATE_ZONE_OWN_BUDGET, &zone), APR_SUCCESS);
    assert_int_equal(gate_arena_zone(arena, "d", 1, 20000, 0, &zone), APR_SUCCESS);
    assert_int_equal(gate_arena_zone(arena, "e", 1, 20000, 0, &zone), APR_SUCCESS);
    gate_arena_describe(arena, text, sizeof text);
    assert_string_equal(text, "a 60K, d 20K, e 20K");
    assert_false(gate_arena_fits(arena)); /* whole pages: 102400 bytes */
    gate_arena_settle(arena);
    gate_arena_begin(arena, 102400);
    assert_int_equal(gate_arena_zone(arena, "a", 1, 60000, 0, &zone), APR_SUCCESS);
    assert_int_equal(gate_arena_zone(arena, "d", 1, 20000, 0, &zone), APR_SUCCESS);
    assert_int_equal(gate_arena_zone(arena, "e", 1, 20000, 0, &zone), APR_SUCCESS);
    assert_true(gate_arena_fits(arena));
    assert_int_equal(gate_arena_used(arena), 102400);
    assert_int_equal(gate_arena_zone(arena, "", 1, 20, 0, &zone), APR_EINVAL);
    assert_int_equal(gate_arena_zone(arena, "a-name-that-is-longer-than-a-zone-may-have", 1, 20, 0, &zone), APR_EINVAL);
    assert_int_equal(gate_arena_zone(arena, "e", 1, 0, 0, &zone), APR_EINVAL);
    gate_arena_settle(arena);
    free(arena);
}

/* An old child goes on with its own mapping while the parent replaces and drops the zone. */
static void test_old_children_keep_theirs(void **state)
{
    gate_arena_t *arena = gate_arena_create();
    gate_zone_t zone;
    int to_child[2], status;
    char go;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(to_child), 0);
    gate_arena_begin(arena, 1 << 20);
    gate_arena_zone(arena, "a", 1, 5000, 0, &zone);
    strcpy(zone.base, "old");
    gate_arena_settle(arena);
    child = fork();
    if (child == 0) {
        if (read(to_child[0], &go, 1) != 1) {
            _exit(1);
        }
        strcat(zone.base, "er");
        _exit(strcmp(zone.base, "older"));
    }
    gate_arena_begin(arena, 1 << 20);
    gate_arena_zone(arena, "a", 1, 50000, 0, &zone);
    gate_arena_settle(arena);
    assert_int_equal(write(to_child[1], "g", 1), 1);
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(*(char *)zone.base, 0);
    close(to_child[0]);
    close(to_child[1]);
    free(arena);
}

static int two_faults(const void *base, uint64_t size, void *ctx, char *why, size_t why_size)
{
    assert_true(size == 5000 && base && ctx == (void *)7);
    strncpy(why, "bad thing", why_size);
    return 2;
}

static void test_validators(void **state)
{
    gate_arena_t *arena = gate_arena_create();
    gate_zone_t zone;
    char why[100];

    (void)state;
    gate_arena_begin(arena, 1 << 20);
    gate_arena_zone(arena, "a", 1, 5000, 0, &zone);
    assert_int_equal(gate_arena_validate(arena, why, sizeof why), 0);
    gate_arena_on_validate(arena, "a", two_faults, (void *)7);
    assert_int_equal(gate_arena_validate(arena, why, sizeof why), 2);
    assert_string_equal(why, "zone a: bad thing");
    gate_arena_begin(arena, 1 << 20); /* functions of modules that were unloaded are forgotten */
    assert_int_equal(gate_arena_validate(arena, why, sizeof why), 0);
    gate_arena_settle(arena);
    free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_kept_resized),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_old_children_keep_theirs),
        cmocka_unit_test(test_validators),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
