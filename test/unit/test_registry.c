/* test_registry.c - groups and members: sets, verdicts, numbers, restarts. Processes that are killed: test_registry_kill.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "registry_world.h"

#define SECOND INT64_C(1000000)

static registry_world_t w;
static int seat;
static uint32_t app;

static int setup(void **state)
{
    (void)state;
    registry_world_open(&w, 8, 64, 8, &seat);
    return gate_group_declare(w.reg, "app", &app) != APR_SUCCESS;
}

static int teardown(void **state)
{
    (void)state;
    registry_world_close(&w);
    return 0;
}

static gate_member_spec_t spec(const char *id, const char *url)
{
    return (gate_member_spec_t){ .id = id, .url = url, .weight = 1 };
}

/* The ids of a group's members, in order, joined by blanks. */
static const char *ids(uint32_t group)
{
    static char text[2000];
    uint32_t slots[64], version, n = gate_group_members(w.reg, group, slots, 64, &version), i;

    *text = '\0';
    for (i = 0; i < n; i++) {
        gate_member_t m;

        assert_int_equal(gate_member_get(w.reg, slots[i], &m), 0);
        sprintf(text + strlen(text), "%s%s", i ? " " : "", m.id);
    }
    return text;
}

static void test_groups(void **state)
{
    uint32_t g;
    char name[20];
    int i;

    (void)state;
    assert_int_equal(gate_group_find(w.reg, "app"), app);
    assert_int_equal(gate_group_find(w.reg, "ap"), GATE_NO_GROUP);
    assert_string_equal(gate_group_name(w.reg, app), "app");
    assert_string_equal(gate_group_name(w.reg, 99), "");
    assert_int_equal(gate_group_declare(w.reg, "app", &g), APR_SUCCESS);
    assert_int_equal(g, app);
    for (i = 1; i < 8; i++) {
        sprintf(name, "g%d", i);
        assert_int_equal(gate_group_declare(w.reg, name, &g), APR_SUCCESS);
    }
    assert_int_equal(gate_group_declare(w.reg, "one-too-many", &g), APR_ENOSPC);
    assert_int_equal(gate_groups_keep(w.reg, &app, 1, SECOND), APR_SUCCESS);
    assert_int_equal(gate_group_find(w.reg, "g1"), GATE_NO_GROUP);
    assert_int_equal(gate_group_find(w.reg, "app"), app);
}

static void test_apply_keeps_what_stays(void **state)
{
    gate_member_spec_t first[] = { spec("a", "http://a"), spec("b", "http://b"), spec("c", "http://c") };
    gate_member_spec_t second[] = { spec("c", "http://c"), spec("b", "http://other"), spec("d", "http://d") };
    uint32_t a, b, c, version;
    gate_member_t m;

    (void)state;
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, first, 3, "", SECOND), APR_SUCCESS);
    assert_string_equal(ids(app), "a b c");
    a = gate_member_find(w.reg, app, "a");
    b = gate_member_find(w.reg, app, "b");
    c = gate_member_find(w.reg, app, "c");
    assert_int_equal(gate_up_since(w.reg, a), 0); /* the whole group is new: no slow start */
    gate_inflight_begin(w.reg, seat, c);
    version = gate_group_version(w.reg, app);

    second[0].weight = 7;
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, second, 3, "", 2 * SECOND), APR_SUCCESS);
    assert_string_equal(ids(app), "c b d");
    assert_int_not_equal(gate_group_version(w.reg, app), version);
    assert_int_equal(gate_member_find(w.reg, app, "c"), c); /* the same member: its numbers go on */
    assert_int_equal(gate_inflight(w.reg, c), 1);
    assert_int_equal(gate_weight(w.reg, c), 7);
    assert_int_not_equal(gate_member_find(w.reg, app, "b"), b); /* another server under the same id */
    assert_int_equal(gate_up_since(w.reg, gate_member_find(w.reg, app, "d")), 2 * SECOND);
    assert_int_equal(gate_member_find(w.reg, app, "a"), GATE_NO_SLOT);
    assert_int_equal(gate_member_get(w.reg, c, &m), 0);
    assert_string_equal(m.url, "http://c");
    gate_inflight_end(w.reg, seat, c);
}

static void test_weight_at_run_time(void **state)
{
    gate_member_spec_t set[] = { spec("a", "http://a") };
    uint32_t a, standing;
    gate_member_t m;

    (void)state;
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 1, "", SECOND);
    a = gate_member_find(w.reg, app, "a");
    gate_member_get(w.reg, a, &m);
    standing = gate_group_standing(w.reg, app);
    assert_int_equal(gate_member_weight(w.reg, a, m.incarnation, 9, "admin"), APR_SUCCESS);
    assert_int_not_equal(gate_group_standing(w.reg, app), standing);
    assert_int_equal(gate_member_weight(w.reg, a, m.incarnation, 0, "admin"), APR_EINVAL);
    assert_int_equal(gate_member_weight(w.reg, a, m.incarnation, 1001, "admin"), APR_EINVAL);
    assert_int_equal(gate_member_weight(w.reg, a, m.incarnation + 1, 5, "admin"), APR_ENOENT);
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 1, "", SECOND);
    assert_int_equal(gate_weight(w.reg, a), 9); /* the configuration says what it said: the admin's word stands */
    set[0].weight = 3;
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 1, "", SECOND);
    assert_int_equal(gate_weight(w.reg, a), 3);
}

static void test_origins(void **state)
{
    gate_member_spec_t conf[] = { spec("a", "http://a") }, found[] = { spec("x", "http://x"), spec("y", "http://y") };
    gate_member_spec_t clash[] = { spec("a", "http://elsewhere") }, taken[] = { spec("a", "http://a"), spec("r", "http://r") };
    uint32_t slot;

    (void)state;
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, conf, 1, "", SECOND);
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_DISCOVERED, found, 2, "dns", SECOND), APR_SUCCESS);
    assert_int_equal(gate_member_add(w.reg, app, GATE_ORIGIN_RUNTIME, &taken[1], "admin", SECOND, &slot), APR_SUCCESS);
    assert_int_equal(gate_member_add(w.reg, app, GATE_ORIGIN_RUNTIME, &taken[1], "admin", SECOND, &slot), APR_EEXIST);
    assert_string_equal(ids(app), "a x y r");
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_DISCOVERED, clash, 1, "dns", SECOND), APR_EEXIST);
    assert_string_equal(ids(app), "a x y r");
    gate_members_apply(w.reg, app, GATE_ORIGIN_DISCOVERED, &found[1], 1, "dns", SECOND);
    assert_string_equal(ids(app), "a r y");
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, taken, 2, "", SECOND); /* r is configured now: the same member */
    assert_string_equal(ids(app), "a r y");
    assert_int_equal(gate_member_find(w.reg, app, "r"), slot);
}

/* Trap 64: a slot that changed hands is not mistaken for the member that was there. */
static void test_remove_and_rest(void **state)
{
    gate_member_spec_t set[] = { spec("a", "http://a"), spec("b", "http://b") };
    uint32_t a, again;
    gate_member_t m;

    (void)state;
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 2, "", SECOND);
    a = gate_member_find(w.reg, app, "a");
    gate_member_get(w.reg, a, &m);
    gate_inflight_begin(w.reg, seat, a);
    assert_int_equal(gate_member_remove(w.reg, a, m.incarnation + 1, "admin", "", SECOND), APR_ENOENT);
    assert_int_equal(gate_member_remove(w.reg, a, m.incarnation, "admin", "", SECOND), APR_SUCCESS);
    assert_int_equal(gate_member_remove(w.reg, a, m.incarnation, "admin", "", SECOND), APR_ENOENT);
    assert_string_equal(ids(app), "b");
    assert_int_equal(gate_verdict_change(w.reg, a, m.incarnation, GATE_VERDICT_DOWN, 0, "health", "", "", SECOND), -1);
    /* long rested, but something is still in flight on it: not used again */
    gate_member_add(w.reg, app, GATE_ORIGIN_RUNTIME, &set[0], "", SECOND + 2 * GATE_SLOT_REST_USEC, &again);
    assert_int_not_equal(again, a);
    gate_inflight_end(w.reg, seat, a);
    set[0].id = "c";
    gate_member_add(w.reg, app, GATE_ORIGIN_RUNTIME, &set[0], "", SECOND + 2 * GATE_SLOT_REST_USEC, &again);
    assert_int_equal(again, a);
    assert_int_equal(gate_member_get(w.reg, again, &m), 0);
    assert_string_equal(m.id, "c");
}

static void test_full(void **state)
{
    gate_member_spec_t set[65];
    char text[65][20];
    uint32_t slot;
    int i;

    (void)state;
    for (i = 0; i < 65; i++) {
        sprintf(text[i], "http://m%d", i);
        set[i] = spec(text[i] + 7, text[i]);
    }
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 65, "", SECOND), APR_ENOSPC);
    assert_string_equal(ids(app), "");
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 64, "", SECOND), APR_SUCCESS);
    assert_int_equal(gate_member_add(w.reg, app, GATE_ORIGIN_RUNTIME, &set[64], "", SECOND, &slot), APR_ENOSPC);
    registry_world_validate(&w);
    /* slots rest before they are used again */
    assert_int_equal(gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 1, "", SECOND), APR_SUCCESS);
    assert_int_equal(gate_member_add(w.reg, app, GATE_ORIGIN_RUNTIME, &set[64], "", SECOND, &slot), APR_ENOSPC);
    assert_int_equal(gate_member_add(w.reg, app, GATE_ORIGIN_RUNTIME, &set[64], "", SECOND + GATE_SLOT_REST_USEC, &slot), APR_SUCCESS);
}

static void test_verdicts(void **state)
{
    gate_member_spec_t set[] = { spec("a", "http://a") };
    gate_event_t e[4];
    gate_member_t m;
    uint32_t a, standing;

    (void)state;
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 1, "", SECOND);
    a = gate_member_find(w.reg, app, "a");
    gate_member_get(w.reg, a, &m);
    standing = gate_group_standing(w.reg, app);
    assert_int_equal(gate_verdict_change(w.reg, a, m.incarnation, GATE_VERDICT_DOWN, 0, "health", "", "status 500", SECOND), 1);
    assert_int_equal(gate_verdict_change(w.reg, a, m.incarnation, GATE_VERDICT_DOWN, 0, "health", "", "again", SECOND), 0);
    assert_int_equal(gate_group_standing(w.reg, app), standing + 1);
    assert_int_equal(gate_verdict_change(w.reg, a, m.incarnation, GATE_VERDICT_DRAIN, 0, "admin", "ann", "", 2 * SECOND), 1);
    assert_int_equal(gate_verdict_change(w.reg, a, m.incarnation, 0, GATE_VERDICT_DOWN, "health", "", "ok", 3 * SECOND), 1);
    assert_int_equal(gate_up_since(w.reg, a), 0); /* still drained: not up */
    assert_string_equal(gate_verdict_word(gate_verdict(w.reg, a)), "drain");
    assert_int_equal(gate_verdict_change(w.reg, a, m.incarnation, 0, GATE_VERDICT_DRAIN, "admin", "ann", "", 4 * SECOND), 1);
    assert_int_equal(gate_up_since(w.reg, a), 4 * SECOND);
    assert_string_equal(gate_verdict_word(gate_verdict(w.reg, a)), "up");
    assert_int_equal(gate_events_read(w.events, e, 4), 4);
    assert_string_equal(e[0].from, "drain");
    assert_string_equal(e[0].to, "up");
    assert_string_equal(e[0].who, "ann");
    assert_string_equal(e[3].group, "app");
    assert_string_equal(e[3].member, "a");
    assert_string_equal(e[3].why, "status 500");
    assert_true(e[3].wall_usec > 0);
    gate_member_get(w.reg, a, &m);
    assert_string_equal(m.why, "");
    assert_string_equal(gate_verdict_word(GATE_VERDICT_DISABLED | GATE_VERDICT_DOWN), "disabled");
    assert_string_equal(gate_verdict_word(GATE_VERDICT_UNKNOWN), "unknown");
}

static int heard;

static void hear(const gate_report_t *report, void *ctx)
{
    assert_ptr_equal(ctx, &heard);
    assert_int_equal(report->status, 503);
    heard++;
}

static void test_reports(void **state)
{
    gate_member_spec_t set[] = { spec("a", "http://a") };
    gate_member_counts_t counts;
    gate_histogram_t latency;
    gate_report_t report;
    gate_member_t m;

    (void)state;
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 1, "", SECOND);
    gate_member_get(w.reg, gate_member_find(w.reg, app, "a"), &m);
    heard = 0;
    assert_int_equal(gate_on_report(hear, &heard), 0);
    report = (gate_report_t){ .group = app, .slot = m.slot, .incarnation = m.incarnation, .outcome = GATE_OUTCOME_STATUS,
                              .status = 503, .is_retry = 1, .total_usec = 1000, .bytes_in = 10, .bytes_out = 20 };
    gate_report(w.reg, seat, &report);
    gate_report(w.reg, seat + 1, &report);
    report.incarnation++;
    gate_report(w.reg, seat, &report); /* somebody else by now: not counted */
    assert_int_equal(heard, 2);
    gate_member_counts(w.reg, m.slot, &counts);
    assert_int_equal(counts.requests, 2);
    assert_int_equal(counts.retries, 2);
    assert_int_equal(counts.outcome[GATE_OUTCOME_STATUS], 2);
    assert_int_equal(counts.code_class[5], 2);
    assert_int_equal(counts.bytes_in, 20);
    assert_int_equal(counts.bytes_out, 40);
    memset(&latency, 0, sizeof latency);
    gate_histogram_merge(&latency, gate_member_histogram(w.reg, m.slot));
    assert_int_equal(gate_histogram_count(&latency), 2);
    gate_report_listeners_clear();
}

static void test_active_and_retrying(void **state)
{
    (void)state;
    gate_group_active_add(w.reg, seat, app, 1);
    gate_group_active_add(w.reg, seat, app, 1);
    gate_group_retrying_add(w.reg, seat, app, 1);
    assert_int_equal(gate_group_active(w.reg, app), 2);
    assert_int_equal(gate_group_retrying(w.reg, app), 1);
    gate_group_active_add(w.reg, seat, app, -1);
    gate_group_active_add(w.reg, seat, app, -1);
    gate_group_active_add(w.reg, seat, app, -1); /* never below zero */
    gate_group_retrying_add(w.reg, seat, app, -1);
    assert_int_equal(gate_group_active(w.reg, app), 0);
    gate_group_active_add(w.reg, GATE_SEAT_NONE, app, 1);
    assert_int_equal(gate_group_active(w.reg, app), 0);
}

static void test_credit(void **state)
{
    int i;

    (void)state;
    assert_int_equal(gate_group_credit(w.reg, app), 0);
    gate_group_credit_take(w.reg, app);
    assert_int_equal(gate_group_credit(w.reg, app), 0); /* never below */
    for (i = 0; i < 10; i++) {
        gate_group_credit_put(w.reg, app, 200);
    }
    assert_int_equal(gate_group_credit(w.reg, app), 2000);
    gate_group_credit_take(w.reg, app);
    assert_int_equal(gate_group_credit(w.reg, app), 1000);
    for (i = 0; i < 1000; i++) {
        gate_group_credit_put(w.reg, app, 200);
    }
    assert_int_equal(gate_group_credit(w.reg, app), GATE_CREDIT_MAX);
}

/* A zone of another size takes over members, counters and verdicts; the old one is not believed where it makes no sense. */
static void test_adoption(void **state)
{
    gate_member_spec_t set[] = { spec("a", "http://a"), spec("b", "http://b") };
    gate_registry_limits_t more = { .groups = 16, .members = 128, .seats = 8 };
    void *base = mmap(NULL, gate_registry_size(&more), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    gate_member_counts_t counts;
    gate_registry_t *reg;
    gate_member_t m;
    uint32_t kept, group, i;
    char why[200];

    (void)state;
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 2, "", SECOND);
    gate_member_get(w.reg, gate_member_find(w.reg, app, "b"), &m);
    gate_verdict_change(w.reg, m.slot, m.incarnation, GATE_VERDICT_DISABLED, 0, "admin", "ann", "", SECOND);
    gate_member_weight(w.reg, m.slot, m.incarnation, 42, "ann");
    gate_report(w.reg, seat, &(gate_report_t){ .group = app, .slot = m.slot, .incarnation = m.incarnation, .status = 200 });

    reg = gate_registry_attach(w.pool, base, &more, 1, w.seats, w.events, w.base, gate_registry_size(&w.limits), &kept);
    assert_int_equal(kept, 2);
    group = gate_group_find(reg, "app");
    assert_int_not_equal(group, GATE_NO_GROUP);
    assert_int_equal(gate_member_get(reg, gate_member_find(reg, group, "b"), &m), 0);
    assert_int_equal(m.verdict, GATE_VERDICT_DISABLED);
    assert_int_equal(m.weight, 42);
    gate_member_counts(reg, m.slot, &counts);
    assert_int_equal(counts.requests, 1);
    assert_int_equal(gate_members_apply(reg, group, GATE_ORIGIN_CONFIG, set, 2, "", SECOND), APR_SUCCESS);
    gate_member_get(reg, gate_member_find(reg, group, "b"), &m);
    assert_int_equal(m.weight, 42);
    assert_int_equal(gate_registry_validate(base, gate_registry_size(&more), reg, why, sizeof why), 0);

    /* rubbish in every word of the old zone's beginning, one at a time: taken over or not, but never a crash */
    for (i = 0; i < 3000; i++) {
        uint32_t *word = (uint32_t *)w.base + i, was = *word;

        *word = 0xfffffff0u + i % 16;
        memset(base, 0, 4096);
        gate_registry_attach(w.pool, base, &more, 1, w.seats, w.events, w.base, gate_registry_size(&w.limits), &kept);
        *word = was;
    }
    munmap(base, gate_registry_size(&more));
}

/* The registry moves to a larger zone while old children live: what each generation has in flight is in the other's sum. */
static void test_inflight_over_a_move(void **state)
{
    gate_member_spec_t set[] = { spec("a", "http://a"), spec("b", "http://b"), spec("c", "http://c") };
    gate_registry_limits_t more = { .groups = 16, .members = 128, .seats = 8 };
    size_t more_size = gate_inflight_size(64, 8);
    void *base = mmap(NULL, gate_registry_size(&more), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void *more_inflight = mmap(NULL, more_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int young = gate_seat_claim(w.seats);
    uint32_t other, a, b, c, i;
    gate_registry_t *reg;
    gate_member_t before, after;
    char why[200];

    (void)state;
    assert_int_equal(gate_group_declare(w.reg, "without", &other), APR_SUCCESS);
    assert_int_equal(gate_group_declare(w.reg, "other", &other), APR_SUCCESS);
    gate_members_apply(w.reg, other, GATE_ORIGIN_CONFIG, set, 3, "", SECOND);
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 3, "", SECOND);
    a = gate_member_find(w.reg, app, "a");
    b = gate_member_find(w.reg, app, "b");
    c = gate_member_find(w.reg, app, "c");
    for (i = 0; i < 3; i++) {
        gate_inflight_begin(w.reg, seat, b);
    }
    gate_inflight_begin(w.reg, seat, c);
    gate_members_apply(w.reg, app, GATE_ORIGIN_CONFIG, set, 2, "", SECOND); /* c goes, with an exchange on it */
    gate_member_get(w.reg, b, &before);

    reg = gate_registry_attach(w.pool, base, &more, 1, w.seats, w.events, w.base, gate_registry_size(&w.limits), NULL);
    assert_int_equal(gate_inflight_attach(reg, w.inflight, 64), 0);
    assert_int_equal(gate_inflight_attach(reg, more_inflight, 64), 0);
    assert_int_equal(gate_group_find(reg, "app"), app);
    assert_int_equal(gate_group_find(reg, "other"), other);
    assert_int_equal(gate_member_find(reg, app, "b"), b);
    assert_int_equal(gate_member_get(reg, b, &after), 0);
    assert_int_equal(after.incarnation, before.incarnation);

    assert_int_equal(gate_inflight(reg, b), 3);
    assert_int_equal(gate_inflight(reg, a), 0);
    gate_inflight_begin(reg, young, b);
    assert_int_equal(gate_inflight(w.reg, b), 4);
    gate_inflight_end(w.reg, seat, b);
    assert_int_equal(gate_inflight(reg, b), 3);
    assert_int_equal(gate_inflight(w.reg, b), 3);

    /* more members than there was room for: none gets the slot of c, however long ago it went, while something is in flight on it */
    for (i = 0; i < 100; i++) {
        gate_member_spec_t one;
        char id[8], url[20];
        uint32_t slot;

        sprintf(id, "n%u", i);
        sprintf(url, "http://n%u", i);
        one = spec(id, url);
        assert_int_equal(gate_member_add(reg, app, GATE_ORIGIN_RUNTIME, &one, "", GATE_SLOT_REST_USEC * 3, &slot), APR_SUCCESS);
        assert_int_not_equal(slot, c);
        if (slot >= 64) {
            gate_inflight_begin(reg, young, slot);
            assert_int_equal(gate_inflight(reg, slot), 1);
            assert_int_equal(gate_inflight(w.reg, slot), 0);
        }
    }
    assert_int_equal(gate_inflight(reg, b), 3);
    assert_int_equal(gate_registry_validate(base, gate_registry_size(&more), reg, why, sizeof why), 0);

    /* an old child dies: its exchanges do not count for anybody; an old one's sweep leaves what it does not know to who takes the seat */
    gate_registry_sweep(seat, reg);
    assert_int_equal(gate_inflight(reg, b), 1);
    assert_int_equal(gate_inflight(w.reg, b), 1);
    gate_registry_sweep(young, w.reg);
    assert_int_equal(gate_inflight(reg, b), 0);
    assert_int_equal(gate_inflight(reg, 100), 1);
    gate_registry_sweep(young, reg);
    assert_int_equal(gate_inflight(reg, 100), 0);
    munmap(base, gate_registry_size(&more));
    munmap(more_inflight, more_size);
}

/* What is counted nowhere is no crash, and there is an end to the pieces. */
static void test_inflight_pieces(void **state)
{
    gate_registry_t *reg = gate_registry_attach(w.pool, w.base, &w.limits, 0, w.seats, w.events, NULL, 0, NULL);
    uint32_t i;

    (void)state;
    gate_inflight_begin(reg, seat, 3);
    assert_int_equal(gate_inflight(reg, 3), 0);
    gate_inflight_end(reg, seat, 3);
    for (i = 0; i < GATE_INFLIGHT_PIECES; i++) {
        assert_int_equal(gate_inflight_attach(reg, w.inflight, 4), 0);
    }
    assert_int_equal(gate_inflight_attach(reg, w.inflight, 4), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(test_apply_keeps_what_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weight_at_run_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_origins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remove_and_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_active_and_retrying, setup, teardown),
        cmocka_unit_test_setup_teardown(test_credit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_adoption, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inflight_over_a_move, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inflight_pieces, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
