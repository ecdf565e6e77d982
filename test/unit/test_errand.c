/*
 * test_errand.c - an exchange's dealings with a group, without a server: from try to try, the queue, cookies, what is turned back, and that
 * everything that was counted ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <apr_strings.h>
#include <cmocka.h>

#include "errand.h"
#include "queue_world.h"

#define NOW INT64_C(1000000000)
#define SECOND INT64_C(1000000)

static queue_world_t w;
static errand_house_t house;
static upstream_group_t group;
static sticky_key_t key;
static gate_view_t view;
static gate_errand_paths_t paths;
static const char *cookie_header;
static errand_news_e news[16];
static int details[16], told;
static gate_report_t reported;

static const char *header(const gate_view_t *v, const char *name)
{
    (void)v;
    return strcmp(name, "Cookie") == 0 || strcmp(name, "X-User") == 0 ? cookie_header : NULL;
}

static void say(const gate_errand_t *e, errand_news_e what, int detail)
{
    (void)e;
    news[told % 16] = what;
    details[told++ % 16] = detail;
}

static void on_report(const gate_report_t *report, void *ctx)
{
    (void)ctx;
    reported = *report;
}

/* members of `cap` connections, a queue of `length` places */
static void open_with(uint32_t members, uint32_t cap, uint32_t length)
{
    queue_world_open(&w, members, cap, length);
    gate_on_report(on_report, NULL);
    house = (errand_house_t){ .registry = w.world.reg, .seats = w.world.seats, .queue = w.queue, .key = &key, .seat = w.seat, .say = say };
    house.rosters = gate_rosters_create(w.world.pool, w.world.reg);
    memset(&group, 0, sizeof group);
    group = (upstream_group_t){ .name = "app", .strategy = gate_strategies[0], .connect_usec = UPSTREAM_UNSET,
                                .first_byte_usec = UPSTREAM_UNSET, .idle_usec = UPSTREAM_UNSET, .total_usec = UPSTREAM_UNSET,
                                .try_timeout_usec = UPSTREAM_UNSET, .queue_length = length, .queue_timeout_usec = SECOND,
                                .index = w.group };
    retry_rule_default(&group.retry);
    assert_int_equal(sticky_key_make(&key), 0);
    view = (gate_view_t){ .method = "GET", .scheme = "https", .host = "www.example.com", .port = 443, .path = "/app/x", .header = header };
    paths = (gate_errand_paths_t){ "/app/x", "/x" };
    cookie_header = NULL;
    told = 0;
}

static void close_all(void)
{
    assert_int_equal(gate_group_active(w.world.reg, w.group), 0);
    assert_int_equal(gate_group_retrying(w.world.reg, w.group), 0);
    for (uint32_t i = 0; i < w.members; i++) {
        assert_int_equal(gate_inflight(w.world.reg, w.slot[i]), 0);
    }
    queue_world_close(&w);
}

static gate_errand_t *begin(void)
{
    gate_errand_ask_t ask = { .pool = w.world.pool, .view = &view, .group = &group, .paths = &paths, .plane = "express", .http_only = 1,
                              .now_usec = NOW };
    const char *why;
    gate_errand_t *e = errand_begin(&house, &ask, &group, 0, &why);

    assert_non_null(e);
    assert_null(why);
    return e;
}

static gate_errand_end_e fails(gate_errand_t *e, gate_outcome_e outcome, int64_t now)
{
    gate_try_t *t = errand_present(e);

    t->outcome = outcome;
    t->why = "as the test says";
    return errand_ended(e, now, 1);
}

static const char *var(const apr_table_t *env, const char *name)
{
    const char *value = apr_table_get(env, name);

    return value ? value : "";
}

static void test_all_goes_well(void **state)
{
    gate_errand_t *e;
    gate_try_t *t;
    apr_table_t *env;

    (void)state;
    open_with(2, 0, 0);
    env = apr_table_make(w.world.pool, 8);
    e = begin();
    assert_int_equal(gate_group_active(w.world.reg, w.group), 1);
    assert_int_equal(errand_claim(e, NOW + 1), GATE_ERRAND_MEMBER);
    t = errand_present(e);
    assert_string_equal(t->member->id, "m1");
    assert_int_equal(gate_inflight(w.world.reg, w.slot[0]), 1);
    assert_int_equal(t->connect_limit_usec, SECOND);
    assert_int_equal(t->first_byte_limit_usec, 60 * SECOND);
    assert_int_equal(t->deadline_usec, 0);
    t->connected_usec = NOW + 101;
    t->first_byte_usec = NOW + 301;
    t->bytes_out = 200;
    t->bytes_in = 1200;
    t->status = 200;
    assert_int_equal(errand_again(e, NOW + 301), 0);
    assert_null(errand_cookie(e));
    t->passed_on = 1;
    assert_int_equal(errand_ended(e, NOW + 401, 0), GATE_ERRAND_OVER);
    assert_int_equal(gate_inflight(w.world.reg, w.slot[0]), 0);
    assert_int_equal(reported.outcome, GATE_OUTCOME_OK);
    assert_int_equal(reported.connect_usec, 100);
    assert_int_equal(reported.first_byte_usec, 300);
    assert_int_equal(reported.total_usec, 400);
    assert_int_equal(reported.bytes_in, 200);
    assert_int_equal(reported.bytes_out, 1200);
    errand_end(e);
    errand_end(e);
    errand_log(e, env, w.world.pool, NOW + 999);
    assert_string_equal(var(env, "GATE_GROUP"), "app");
    assert_string_equal(var(env, "GATE_MEMBER"), "m1");
    assert_string_equal(var(env, "GATE_TRIES"), "1");
    assert_string_equal(var(env, "GATE_PLANE"), "express");
    assert_string_equal(var(env, "GATE_CONNECT_US"), "100");
    assert_string_equal(var(env, "GATE_FIRST_BYTE_US"), "300");
    assert_string_equal(var(env, "GATE_TOTAL_US"), "401");
    assert_int_equal(told, 0);
    close_all();
}

static void test_another_member(void **state)
{
    gate_errand_t *e;
    gate_errand_failure_t failure;

    (void)state;
    open_with(2, 0, 0);
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    assert_int_equal(fails(e, GATE_OUTCOME_CONNECT, NOW + 5), GATE_ERRAND_ON);
    assert_int_equal(told, 0);
    assert_int_equal(errand_claim(e, NOW + 6), GATE_ERRAND_MEMBER);
    assert_int_equal(told, 1);
    assert_int_equal(news[0], ERRAND_SAYS_OTHER);
    assert_string_equal(errand_present(e)->member->id, "m2");
    assert_int_equal(gate_group_retrying(w.world.reg, w.group), 0); /* nothing was sent: no load to anybody */
    assert_int_equal(fails(e, GATE_OUTCOME_CONNECT, NOW + 9), GATE_ERRAND_OVER);
    failure = errand_fail(e);
    assert_int_equal(failure.status, 503);
    assert_string_equal(failure.retry_after, "5");
    assert_string_equal(failure.words, "m1: as the test says; m2: as the test says");
    assert_string_equal(failure.proxy_status, "gatehouse; error=destination_unavailable; details=\"group app: no member could be reached\"");
    assert_int_equal(news[1], ERRAND_SAYS_FAILED);
    assert_int_equal(details[1], 503);
    assert_int_equal(reported.is_retry, 1);
    errand_end(e);
    close_all();
}

static void test_listed_status(void **state)
{
    gate_errand_t *e;
    gate_try_t *t;

    (void)state;
    open_with(2, 0, 0);
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    t = errand_present(e);
    t->status = 503;
    t->bytes_out = 100;
    t->bytes_in = 90;
    assert_int_equal(errand_again(e, NOW + 2), 1);
    assert_int_equal(errand_ended(e, NOW + 3, 1), GATE_ERRAND_ON);
    assert_int_equal(reported.outcome, GATE_OUTCOME_STATUS);
    assert_string_equal(reported.why, "status 503");
    assert_int_equal(errand_claim(e, NOW + 4), GATE_ERRAND_MEMBER);
    assert_int_equal(gate_group_retrying(w.world.reg, w.group), 1);
    assert_ptr_equal(errand_present(e), t);
    assert_int_equal(t->status, 0);
    t->status = 503; /* no other is left: the client gets it */
    assert_int_equal(errand_again(e, NOW + 5), 0);
    t->passed_on = 1;
    assert_int_equal(errand_ended(e, NOW + 6, 1), GATE_ERRAND_OVER);
    assert_int_equal(errand_fail(e).status, 0);
    errand_end(e);
    close_all();
}

static void test_swallowed_but_the_client_is_gone(void **state)
{
    gate_errand_t *e;

    (void)state;
    open_with(2, 1, 0);
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    errand_present(e)->status = 503;
    assert_int_equal(errand_again(e, NOW + 2), 1);
    assert_int_equal(errand_ended(e, NOW + 3, 0), GATE_ERRAND_OVER);
    errand_end(e);
    close_all();
}

static void test_stale_connection(void **state)
{
    gate_errand_t *e;
    gate_try_t *t;

    (void)state;
    open_with(1, 1, 0);
    view.method = "GET";
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    t = errand_present(e);
    assert_int_equal(t->fresh, 0);
    t->reused = 1;
    t->bytes_out = 100;
    assert_int_equal(fails(e, GATE_OUTCOME_RESET, NOW + 5), GATE_ERRAND_FRESH);
    assert_int_equal(news[0], ERRAND_SAYS_FRESH);
    assert_int_equal(gate_inflight(w.world.reg, w.slot[0]), 1); /* its place is kept */
    assert_int_equal(errand_claim(e, NOW + 6), GATE_ERRAND_MEMBER);
    assert_int_equal(t->fresh, 1);
    assert_string_equal(t->member->id, "m1");
    assert_int_equal(gate_inflight(w.world.reg, w.slot[0]), 1);
    t->status = 200;
    t->passed_on = 1;
    assert_int_equal(errand_ended(e, NOW + 7, 0), GATE_ERRAND_OVER);
    errand_end(e);
    close_all();
}

/* HTTP/2: REFUSED_STREAM, GOAWAY. Whatever the method is, and it is no retry; twice, and another member is asked. */
static void test_untouched(void **state)
{
    gate_errand_t *e;
    gate_try_t *t;

    (void)state;
    open_with(2, 1, 0);
    view.method = "POST";
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    t = errand_present(e);
    t->untouched = 1;
    t->bytes_out = 100;
    assert_int_equal(fails(e, GATE_OUTCOME_RESET, NOW + 5), GATE_ERRAND_FRESH);
    assert_int_equal(errand_claim(e, NOW + 6), GATE_ERRAND_MEMBER);
    assert_int_equal(t->untouched, 0);
    assert_int_equal(t->fresh, 1);
    t->untouched = 1;
    t->bytes_out = 100;
    assert_int_equal(fails(e, GATE_OUTCOME_RESET, NOW + 7), GATE_ERRAND_ON);
    assert_int_equal(errand_claim(e, NOW + 8), GATE_ERRAND_MEMBER);
    assert_string_equal(t->member->id, "m2");
    t->bytes_out = 100; /* this one may have acted on it */
    assert_int_equal(fails(e, GATE_OUTCOME_RESET, NOW + 9), GATE_ERRAND_OVER);
    errand_end(e);
    close_all();
}

static void test_unsafe_method(void **state)
{
    gate_errand_t *e;

    (void)state;
    open_with(2, 0, 0);
    view.method = "POST";
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    errand_present(e)->bytes_out = 10;
    assert_int_equal(fails(e, GATE_OUTCOME_TIMEOUT, NOW + 5), GATE_ERRAND_OVER);
    assert_int_equal(errand_fail(e).status, 504);
    errand_end(e);
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    errand_present(e)->body_lost = 1;
    assert_int_equal(fails(e, GATE_OUTCOME_CONNECT, NOW + 5), GATE_ERRAND_OVER);
    errand_end(e);
    close_all();
}

static void test_nobody(void **state)
{
    gate_errand_t *e;

    (void)state;
    open_with(1, 0, 0);
    assert_int_equal(gate_verdict_change(w.world.reg, w.slot[0], 1, GATE_VERDICT_DOWN, 0, "test", "", "", NOW), 1);
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_NOBODY);
    assert_int_equal(errand_fail(e).status, 503);
    assert_int_equal(news[0], ERRAND_SAYS_NOBODY);
    errand_end(e);
    close_all();
}

static void test_queue(void **state)
{
    gate_errand_t *first, *second, *third;

    (void)state;
    open_with(1, 1, 2);
    first = begin();
    second = begin();
    third = begin();
    assert_int_equal(errand_claim(first, NOW), GATE_ERRAND_MEMBER);
    assert_int_equal(errand_claim(second, NOW), GATE_ERRAND_WAIT);
    assert_int_equal(errand_claim(third, NOW), GATE_ERRAND_WAIT);
    assert_int_equal(errand_wait_look(second, NOW + 10), GATE_ERRAND_WAIT);
    assert_true(errand_wait_until(second, NOW + 10) > NOW + 10);
    assert_true(errand_wait_until(second, NOW + SECOND - 1) <= NOW + SECOND);
    errand_present(first)->status = 200;
    errand_present(first)->passed_on = 1;
    errand_ended(first, NOW + 20, 0);
    assert_int_equal(errand_wait_look(third, NOW + 30), GATE_ERRAND_WAIT); /* not its turn */
    assert_int_equal(errand_wait_look(second, NOW + 30), GATE_ERRAND_MEMBER);
    assert_int_equal(second->queued_usec, 30);
    errand_wait_leave(third, NOW + 40);
    assert_int_equal(news[0], ERRAND_SAYS_LEFT);
    errand_end(third);
    third = begin();
    assert_int_equal(errand_claim(third, NOW + 50), GATE_ERRAND_WAIT);
    assert_int_equal(errand_wait_look(third, NOW + 50 + SECOND), GATE_ERRAND_NOBODY);
    assert_int_equal(errand_fail(third).status, 503);
    errand_end(first);
    errand_end(second);
    errand_end(third);
    close_all();
}

static void test_waits_for_another(void **state)
{
    gate_errand_t *busy, *e;

    (void)state;
    open_with(2, 1, 2);
    busy = begin();
    assert_int_equal(errand_claim(busy, NOW), GATE_ERRAND_MEMBER);
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    assert_int_equal(fails(e, GATE_OUTCOME_CONNECT, NOW + 5), GATE_ERRAND_ON);
    assert_int_equal(errand_claim(e, NOW + 6), GATE_ERRAND_WAIT);
    assert_int_equal(told, 0);
    errand_end(busy);
    assert_int_equal(errand_wait_look(e, NOW + 60000), GATE_ERRAND_MEMBER);
    assert_int_equal(news[0], ERRAND_SAYS_OTHER);
    assert_int_equal(fails(e, GATE_OUTCOME_CONNECT, NOW + 60005), GATE_ERRAND_OVER);
    errand_end(e);
    close_all();
}

/* Also a claim and a place that were not given back before the pool ended. */
static void test_ends_with_its_pool(void **state)
{
    gate_errand_t *e;
    apr_pool_t *pool, *whole;

    (void)state;
    open_with(1, 1, 2);
    whole = w.world.pool;
    apr_pool_create(&pool, whole);
    w.world.pool = pool;
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_WAIT);
    apr_pool_destroy(pool);
    w.world.pool = whole;
    close_all();
}

static void test_https_members_where_tls_is_not_spoken(void **state)
{
    const gate_member_spec_t tls = { .id = "tls", .url = "https://127.0.0.1:9001", .weight = 1 };
    gate_errand_ask_t ask = { .pool = NULL, .view = &view, .group = &group, .plane = "express", .http_only = 1, .now_usec = NOW };
    const char *why;
    uint32_t slot;

    (void)state;
    open_with(1, 0, 0);
    ask.pool = w.world.pool;
    ask.clear_only = 1;
    errand_end(errand_begin(&house, &ask, &group, 0, &why));
    assert_null(why);
    assert_int_equal(gate_member_add(w.world.reg, w.group, GATE_ORIGIN_RUNTIME, &tls, "", NOW, &slot), APR_SUCCESS);
    assert_null(errand_begin(&house, &ask, &group, 0, &why));
    assert_non_null(strstr(why, "SSLProxy"));
    ask.clear_only = 0;
    errand_end(errand_begin(&house, &ask, &group, 0, &why));
    assert_null(why);
    close_all();
}

static void test_membership_moves_while_it_waits(void **state)
{
    const gate_member_spec_t odd = { .id = "odd", .url = "fcgi://127.0.0.1:9001", .weight = 1 };
    const gate_member_spec_t plain = { .id = "plain", .url = "http://127.0.0.1:9002", .weight = 1 };
    gate_errand_ask_t ask = { .pool = NULL, .view = &view, .group = &group, .plane = "express", .http_only = 1, .now_usec = NOW };
    gate_errand_t *busy, *e;
    const char *why;
    uint32_t slot;

    (void)state;
    open_with(1, 1, 2);
    ask.pool = w.world.pool;
    busy = begin();
    e = begin();
    assert_int_equal(errand_claim(busy, NOW), GATE_ERRAND_MEMBER);
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_WAIT);
    assert_int_equal(gate_member_add(w.world.reg, w.group, GATE_ORIGIN_RUNTIME, &odd, "", NOW, &slot), APR_SUCCESS);
    assert_int_equal(errand_wait_look(e, NOW + 60000), GATE_ERRAND_WAIT); /* not for this plane */
    assert_null(errand_begin(&house, &ask, &group, 0, &why));
    assert_non_null(why);
    ask.http_only = 0;
    errand_end(errand_begin(&house, &ask, &group, 0, &why));
    assert_int_equal(gate_member_remove(w.world.reg, slot, 1, "", "", NOW), APR_SUCCESS);
    assert_int_equal(gate_member_add(w.world.reg, w.group, GATE_ORIGIN_RUNTIME, &plain, "", NOW, &slot), APR_SUCCESS);
    assert_int_equal(errand_wait_look(e, NOW + 120000), GATE_ERRAND_MEMBER);
    assert_string_equal(errand_present(e)->member->id, "plain");
    errand_end(e);
    errand_end(busy);
    close_all();
}

static void test_cookie(void **state)
{
    const char *set;
    gate_errand_t *e;
    uint64_t bound;

    (void)state;
    open_with(2, 0, 0);
    group.sticky = (sticky_rule_t){ .cookie = "gate", .path = "/" };
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    bound = errand_present(e)->member->id_hash;
    set = errand_cookie(e);
    assert_non_null(set);
    cookie_header = apr_pstrndup(w.world.pool, set, strcspn(set, ";"));
    errand_end(e);
    for (int i = 0; i < 4; i++) {
        e = begin();
        assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
        assert_true(errand_present(e)->member->id_hash == bound);
        assert_null(errand_cookie(e));
        errand_end(e);
    }
    cookie_header = "gate=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    e = begin();
    assert_int_equal(news[0], ERRAND_SAYS_COOKIE);
    errand_end(e);
    group.sticky = (sticky_rule_t){ .header = "X-User" };
    cookie_header = "somebody";
    bound = 0;
    for (int i = 0; i < 4; i++) {
        e = begin();
        assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
        assert_true(!bound || errand_present(e)->member->id_hash == bound);
        bound = errand_present(e)->member->id_hash;
        errand_end(e);
    }
    close_all();
}

static void test_turn(void **state)
{
    gate_errand_t *e;

    (void)state;
    open_with(2, 0, 0);
    e = begin();
    assert_int_equal(errand_claim(e, NOW), GATE_ERRAND_MEMBER);
    assert_string_equal(errand_turn(e, "Location", "http://127.0.0.1:9001/y?z"), "https://www.example.com/app/y?z");
    assert_string_equal(errand_turn(e, "refresh", "5; url=http://127.0.0.1:9000/"), "5; url=https://www.example.com/app/");
    assert_string_equal(errand_turn(e, "Set-Cookie", "a=b; Domain=127.0.0.1; Path=/x"), "a=b; Path=/app/x");
    assert_string_equal(errand_turn(e, "Location", "http://elsewhere.example/"), "http://elsewhere.example/");
    errand_end(e);
    close_all();
}

static void test_preview(void **state)
{
    gate_errand_ask_t ask = { .view = &view, .group = &group, .plane = "classic", .now_usec = NOW };
    gate_errand_t *e;
    uint64_t turn;

    (void)state;
    open_with(2, 0, 0);
    ask.pool = w.world.pool;
    turn = gate_group_turn_next(w.world.reg, w.group);
    e = errand_preview(&house, &ask, &group, 0);
    assert_int_equal(errand_peek(e), 1);
    assert_int_equal(gate_group_active(w.world.reg, w.group), 0);
    assert_int_equal(gate_group_turn_next(w.world.reg, w.group), turn);
    errand_end(e);
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_goes_well),
        cmocka_unit_test(test_another_member),
        cmocka_unit_test(test_listed_status),
        cmocka_unit_test(test_swallowed_but_the_client_is_gone),
        cmocka_unit_test(test_stale_connection),
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_unsafe_method),
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_waits_for_another),
        cmocka_unit_test(test_ends_with_its_pool),
        cmocka_unit_test(test_membership_moves_while_it_waits),
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_https_members_where_tls_is_not_spoken),
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_preview),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
