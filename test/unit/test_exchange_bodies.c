/*
 * test_exchange_bodies.c - the client's body on its way to a member: kept, in chunks, sent again, held back, or never come. As test_exchange.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "exchange_world.h"

static void test_a_small_body_is_awaited_and_sent_with_its_head(void **state)
{
    exchange_t *x = begins(METHOD_POST, BODY_CHUNKED);

    (void)state;
    happened("");
    assert_int_equal(exchange_body(x, "abc", 3), 3);
    happened("");
    passes(500);
    exchange_body_end(x, NULL);
    happened("get");
    assert_int_equal(world.errand.try.waited_usec, 500);
    assert_int_equal(world.errand.try.waited_connect_usec, 500);
    connects();
    assert_int_equal(world.sent_len, 8);
    assert_memory_equal(world.sent, "HEAD abc", 8);
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("head-200 put [ok passed] end flush logged errand-ends");
}

static char big[40000];

static void test_a_large_body_goes_in_chunks(void **state)
{
    exchange_t *x = begins(METHOD_POST, BODY_CHUNKED);

    (void)state;
    memset(big, 'b', sizeof big);
    assert_int_equal(exchange_body(x, big, 20000), 20000);
    connects();
    assert_int_equal(world.limit_usec, 0); /* the client has to bring more */
    assert_memory_equal(world.sent, "HEAD-chunked bbb", 16);
    passes(700);
    assert_int_equal(exchange_body(x, "xyz", 3), 3);
    assert_int_equal(world.errand.try.waited_usec, 700);
    exchange_body_end(x, NULL);
    assert_int_equal(world.limit_usec, 60);
    assert_memory_equal(world.sent + 13 + 20000, "xyz", 3);
    assert_int_equal(world.sent_len, 13 + 20000 + 3);
    assert_true(world.asked);
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("get head-200 put [ok passed] end flush logged errand-ends");
}

static void test_a_body_that_leaves_a_byte_at_a_time(void **state)
{
    exchange_t *x = begins(METHOD_POST, BODY_CHUNKED);
    int i;

    (void)state;
    assert_int_equal(exchange_body(x, big, 17000), 17000);
    world.takes = 3;
    connects();
    assert_int_equal(exchange_body(x, "xyz", 3), 3);
    exchange_body_end(x, NULL);
    world.takes = 17000 - 10;
    world.ops->writable(world.x);
    for (i = 0; i < 10; i++) {
        assert_false(world.asked);
        world.takes = 1;
        world.ops->writable(world.x);
    }
    assert_true(world.asked);
    assert_int_equal(world.sent_len, 13 + 17003);
    assert_memory_equal(world.sent + world.sent_len - 4, "bxyz", 4);
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("get head-200 put [ok passed] end flush logged errand-ends");
}

static void test_a_body_is_sent_again_while_it_still_comes(void **state)
{
    exchange_t *x;

    (void)state;
    world.ends[0] = GATE_ERRAND_ON;
    x = begins(METHOD_PUT, BODY_LENGTH);
    assert_int_equal(exchange_body(x, big, 20000), 20000);
    connects();
    assert_int_equal(exchange_body(x, "one", 3), 3);
    fails(ORIGIN_RESET);
    happened("get drop [reset go-on?] get");
    assert_int_equal(exchange_body(x, "two", 3), 3);
    connects();
    assert_int_equal(world.sent_len, 5 + 20006);
    assert_memory_equal(world.sent + 5 + 20000, "onetwo", 6);
    exchange_body_end(x, NULL);
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("head-200 put [ok passed] end flush logged errand-ends");
}

static void test_a_body_too_long_to_be_kept(void **state)
{
    exchange_t *x = begins(METHOD_PUT, BODY_LENGTH);
    int i;

    (void)state;
    assert_int_equal(exchange_body(x, big, 20000), 20000);
    connects();
    for (i = 0; i < 3; i++) {
        assert_int_equal(exchange_body(x, big, 20000), 20000);
    }
    assert_int_equal(world.sent_len, 5 + 80000);
    fails(ORIGIN_RESET);
    happened("get drop [reset lost go-on?] classic-502+");
    exchange_end(x, 0);
    happened("logged errand-ends");
}

static void test_a_long_body_while_an_answer_is_swallowed(void **state)
{
    exchange_t *x;
    int i, taken = 0;

    (void)state;
    world.again = 1;
    world.ends[0] = GATE_ERRAND_ON;
    x = begins(METHOD_PUT, BODY_LENGTH);
    taken += exchange_body(x, big, 20000);
    connects();
    answers_with(503, BODY_LENGTH, 4);
    for (i = 0; i < 4; i++) {
        taken += exchange_body(x, big, 20000);
    }
    assert_int_equal(taken, EXCHANGE_KEPT_BYTES);
    gives("busy");
    ends();
    happened("get drop [ok go-on?] get");
    world.again = 0;
    connects();
    assert_int_equal(world.sent_len, 5 + EXCHANGE_KEPT_BYTES); /* all of it, from its first byte */
    happened("room");
    assert_int_equal(exchange_body(x, big, 20000), 20000);
    exchange_body_end(x, NULL);
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("head-200 put [ok passed lost] end flush logged errand-ends");
}

static void test_a_member_that_takes_nothing_holds_the_client(void **state)
{
    exchange_t *x = begins(METHOD_PUT, BODY_LENGTH);
    size_t taken = 0;
    int i;

    (void)state;
    exchange_body(x, big, 20000);
    world.takes = 5;
    connects();
    assert_int_equal(world.limit_usec, 60);
    for (i = 0; i < 5; i++) {
        taken += exchange_body(x, big, 20000);
    }
    assert_int_equal(taken, EXCHANGE_KEPT_BYTES - 20000);
    happened("get");
    world.takes = 50000;
    world.ops->writable(world.x);
    happened("");
    world.takes = 50000;
    world.ops->writable(world.x);
    happened("room");
    assert_int_equal(exchange_body(x, big, 20000), 20000);
    exchange_gone(x);
    happened("drop [client lost]");
    exchange_end(x, 0);
    happened("logged-gone errand-ends");
}

static void test_an_answer_before_the_body_has_been_sent(void **state)
{
    exchange_t *x = begins(METHOD_POST, BODY_LENGTH);

    (void)state;
    exchange_body(x, big, 20000);
    connects();
    answers_with(413, BODY_LENGTH, 3);
    gives("big");
    ends();
    happened("get head-413 'big' drop [ok passed] end flush");
    assert_int_equal(exchange_body(x, big, 20000), 20000); /* goes nowhere */
    exchange_body_end(x, NULL);
    exchange_end(x, 3);
    happened("logged errand-ends");
}

static void test_a_body_that_is_none(void **state)
{
    exchange_t *x = begins(METHOD_POST, BODY_CHUNKED);

    (void)state;
    exchange_body_bad(x, 400);
    happened("[client] classic-400");
    exchange_end(x, 0);
    happened("logged errand-ends");
    x = begins(METHOD_POST, BODY_CHUNKED);
    exchange_body(x, big, 20000);
    connects();
    answers_with(200, BODY_CHUNKED, 0);
    exchange_body_bad(x, 400);
    happened("get head-200 drop [client passed] abort");
    exchange_end(x, 0);
}

static void test_a_body_waits_for_continue(void **state)
{
    exchange_t *x;

    (void)state;
    world.prefetched = 1;
    world.ready = 1;
    x = begins(METHOD_POST, BODY_LENGTH);
    happened("get-kept");
    assert_memory_equal(world.sent, "HEAD-expect ", 12);
    assert_int_equal(world.limit_usec, 60);
    assert_int_equal(exchange_body(x, "early", 5), 5);
    assert_int_equal(world.sent_len, 12);
    answers_with(100, BODY_NONE, 0);
    turns();
    happened("interim-100 flush");
    assert_int_equal(world.sent_len, 17);
    exchange_body_end(x, NULL);
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("head-200 put [ok passed] end flush logged errand-ends");
}

static void test_no_continue_no_body(void **state)
{
    exchange_t *x;

    (void)state;
    world.prefetched = 1;
    world.ready = 1;
    x = begins(METHOD_POST, BODY_LENGTH);
    answers_with(403, BODY_NONE, 0);
    ends();
    happened("get-kept head-403 drop [ok passed] end flush");
    exchange_end(x, 0);
    happened("logged errand-ends");
}

/* ---- a member that speaks HTTP/2 -------------------------------------------------------------------------------------------------- */

static void test_both_ways_at_once(void **state)
{
    field_t field = { { "x-sum", 5 }, { "1", 1 }, FIELD_OTHER, 0 };
    fields_t trailers = { .field = &field, .count = 1 };
    exchange_t *x;

    (void)state;
    world.duplex = 1;
    x = begins(METHOD_POST, BODY_CHUNKED);
    happened("get"); /* before a byte of the body */
    connects();
    assert_string_equal(world.sent, "HEAD-chunked ");
    answers_with(200, BODY_STREAM, UINT64_MAX);
    gives("first");
    turns();
    happened("head-200 'first' flush");
    assert_int_equal(exchange_body(x, "abc", 3), 3);
    assert_memory_equal(world.sent + 13, "abc", 3);
    gives("second");
    turns();
    happened("'second' flush");
    exchange_body_end(x, &trailers);
    happened("trailers-1");
    assert_true(world.asked);
    ends();
    exchange_end(x, 0);
    happened("put [ok passed] end flush logged errand-ends");
}

static void test_continue_is_ours_to_say(void **state)
{
    exchange_t *x;

    (void)state;
    world.duplex = world.ready = world.prefetched = 1;
    x = begins(METHOD_POST, BODY_LENGTH);
    happened("get-kept interim-100 flush");
    assert_memory_equal(world.sent, "HEAD ", 5);
    assert_int_equal(exchange_body(x, "abc", 3), 3);
    exchange_body_end(x, NULL);
    assert_memory_equal(world.sent, "HEAD abc", 8);
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("head-200 put [ok passed] end flush logged errand-ends");
}

static void test_what_the_member_refused_is_sent_again(void **state)
{
    exchange_t *x;

    (void)state;
    world.duplex = 1;
    world.ends[0] = GATE_ERRAND_FRESH;
    x = begins(METHOD_POST, BODY_CHUNKED);
    connects();
    assert_int_equal(exchange_body(x, "abc", 3), 3);
    fails(ORIGIN_UNTOUCHED);
    happened("get drop [reset untouched go-on?] get-fresh");
    assert_int_equal(exchange_body(x, "def", 3), 3);
    connects();
    assert_memory_equal(world.sent + 13, "abcdef", 6);
    fails(ORIGIN_REJECTED);
    happened("drop [reset go-on?] classic-502+");
    exchange_end(x, 0);
    happened("logged errand-ends");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(test_a_small_body_is_awaited_and_sent_with_its_head),
        TEST(test_a_large_body_goes_in_chunks),
        TEST(test_a_body_that_leaves_a_byte_at_a_time),
        TEST(test_a_body_is_sent_again_while_it_still_comes),
        TEST(test_a_body_too_long_to_be_kept),
        TEST(test_a_long_body_while_an_answer_is_swallowed),
        TEST(test_a_member_that_takes_nothing_holds_the_client),
        TEST(test_an_answer_before_the_body_has_been_sent),
        TEST(test_a_body_that_is_none),
        TEST(test_a_body_waits_for_continue),
        TEST(test_no_continue_no_body),
        TEST(test_both_ways_at_once),
        TEST(test_continue_is_ours_to_say),
        TEST(test_what_the_member_refused_is_sent_again),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
