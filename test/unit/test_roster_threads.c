/* test_roster_threads.c - rosters: one per change, whole, alive as long as somebody holds them, whoever lets go last. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gate_roster.h"
#include "registry_world.h"

static registry_world_t w;
static gate_rosters_t *rosters;
static uint32_t app;
static _Atomic int done, wrong;

static void apply(int from, int n)
{
    gate_member_spec_t set[8];
    char url[8][40], id[8][10];
    int i;

    for (i = 0; i < n; i++) {
        sprintf(id[i], "m%d", from + i);
        sprintf(url[i], "http://10.0.0.%d:80%02d/base", from + i, from);
        set[i] = (gate_member_spec_t){ .id = id[i], .url = url[i], .weight = 1, .priority = i == 2,
                                       .flags = i == 1 ? GATE_MEMBER_BACKUP : 0 };
    }
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, (uint32_t)n, "", 1), APR_SUCCESS);
}

static void test_contents(void **state)
{
    gate_roster_t *before, *after, *same;

    (void)state;
    apply(1, 3);
    before = gate_roster_hold(rosters, app);
    assert_int_equal(before->count, 3);
    assert_int_equal(before->tiers, 3);
    assert_string_equal(before->members[0].id, "m1");
    assert_string_equal(before->members[0].parts.host, "10.0.0.1");
    assert_int_equal(before->members[0].parts.port, 8001);
    assert_string_equal(before->members[0].parts.path, "/base");
    assert_int_equal(gate_roster_find_id(before, "m3"), 2);
    assert_int_equal(gate_roster_find_id(before, "m4"), -1);
    assert_int_equal(gate_roster_find(before, before->members[1].slot, before->members[1].incarnation), 1);
    assert_int_equal(gate_roster_find(before, before->members[1].slot, before->members[1].incarnation + 1), -1);
    same = gate_roster_hold(rosters, app);
    assert_ptr_equal(same, before);
    gate_roster_release(same);
    apply(4, 2);
    after = gate_roster_hold(rosters, app);
    assert_ptr_not_equal(after, before);
    assert_string_equal(after->members[0].id, "m4");
    assert_string_equal(before->members[0].id, "m1"); /* still whole for who holds it */
    gate_roster_release(before);
    gate_roster_release(after);
}

static void *reader(void *arg)
{
    (void)arg;
    while (!atomic_load(&done)) {
        gate_roster_t *roster = gate_roster_hold(rosters, app);
        uint32_t i;

        for (i = 1; i < roster->count; i++) {
            /* all of one set: ports are the same within it */
            if (roster->members[i].parts.port != roster->members[0].parts.port || !*roster->members[i].id) {
                atomic_fetch_add(&wrong, 1);
            }
        }
        gate_roster_release(roster);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t t[4];
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, reader, NULL), 0);
    }
    for (i = 0; i < 1500; i++) {
        apply(1 + 4 * (i % 5), 2 + i % 3);
    }
    atomic_store(&done, 1);
    for (i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
    assert_int_equal(atomic_load(&wrong), 0);
}

/* ---- what is kept with a roster ---- */

static _Atomic int kept_now, kept_ended;

static void end_kept(void *kept)
{
    atomic_fetch_sub(&kept_now, 1);
    atomic_fetch_add(&kept_ended, *(int *)kept);
}

static void *keeper(void *arg)
{
    static int one = 1;

    (void)arg;
    while (!atomic_load(&done)) {
        gate_roster_t *roster = gate_roster_hold(rosters, app);
        uint32_t i;

        for (i = 0; i < roster->count; i++) {
            int *mine = malloc(sizeof *mine);

            *mine = one;
            atomic_fetch_add(&kept_now, 1);
            if (gate_roster_keep(roster, i, mine) != mine) {
                atomic_fetch_sub(&kept_now, 1); /* somebody was first */
                free(mine);
            }
            if (*(int *)gate_roster_kept(roster, i) != 1) {
                atomic_fetch_add(&wrong, 1);
            }
        }
        gate_roster_release(roster);
    }
    return NULL;
}

static void end_and_free(void *kept)
{
    end_kept(kept);
    free(kept);
}

static void test_kept(void **state)
{
    apr_pool_t *pool;
    gate_rosters_t *usual = rosters;
    pthread_t t[3];
    int i;

    (void)state;
    apr_pool_create(&pool, w.pool);
    rosters = gate_rosters_create(pool, w.reg);
    gate_rosters_on_end(rosters, end_and_free);
    atomic_store(&done, 0);
    for (i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, keeper, NULL), 0);
    }
    for (i = 0; i < 300; i++) {
        apply(1 + 4 * (i % 5), 2 + i % 3);
    }
    atomic_store(&done, 1);
    for (i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
    }
    gate_roster_release(gate_roster_hold(rosters, app));
    apr_pool_destroy(pool);
    rosters = usual;
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&kept_ended) > 0);
    assert_int_equal(atomic_load(&kept_now), 0); /* each that was kept has been ended, once */
}

static int setup(void **state)
{
    (void)state;
    registry_world_open(&w, 4, 8192, 4, NULL); /* room enough that no slot is used twice: they all rest */
    gate_group_declare(w.reg, "app", &app);
    rosters = gate_rosters_create(w.pool, w.reg);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    registry_world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_kept),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
