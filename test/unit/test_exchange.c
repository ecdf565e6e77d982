/*
 * test_exchange.c - every way through an exchange: a codec, a member and upstream's door that are played by the test, and its own clock.
 * Each test reads as a story; what happened is compared as a line of words.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "exchange_world.h"

/* ---- answers ------------------------------------------------------------------------------------------------------------------------------ */

static void test_a_request_on_a_kept_connection(void **state)
{
    exchange_t *x;

    (void)state;
    world.ready = 1;
    x = begins(METHOD_GET, BODY_NONE);
    happened("get-kept");
    assert_string_equal(world.sent, "HEAD ");
    assert_int_equal(world.limit_usec, 60);
    answers_with(200, BODY_LENGTH, 5);
    gives("hello");
    ends();
    happened("head-200 'hello' put [ok passed] end flush");
    exchange_end(x, 5);
    happened("logged errand-ends");
}

static void test_an_exchange_may_end_inside_its_last_op(void **state)
{
    (void)state;
    world.ready = world.end_in_end = 1;
    begins(METHOD_GET, BODY_NONE);
    answers_with(200, BODY_NONE, 0);
    ends();
    happened("get-kept head-200 put [ok passed] end flush logged errand-ends");
}

static void test_a_client_that_leaves_inside_an_op(void **state)
{
    (void)state;
    world.ready = world.gone_in_head = 1;
    begins(METHOD_GET, BODY_NONE);
    answers_with(200, BODY_LENGTH, 5);
    gives("hello");
    happened("get-kept head-200 drop [client passed] logged-gone errand-ends");
}

static void test_a_head_waits_for_its_body(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    connects();
    answers_with(200, BODY_LENGTH, 5);
    turns();
    happened("get");
    assert_int_equal(world.limit_usec, 30);
    gives("hello");
    turns();
    happened("head-200 'hello' flush");
    ends();
    happened("put [ok passed] end flush");
    exchange_end(x, 5);
    happened("logged errand-ends");
}

static void test_a_head_without_a_known_length_does_not_wait(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    connects();
    answers_with(200, BODY_CHUNKED, 0);
    turns();
    happened("get head-200 flush");
    ends();
    exchange_end(x, 0);
    happened("put [ok passed] end flush logged errand-ends");
}

static void test_a_slow_client_holds_the_member(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    connects();
    world.welcome = 0;
    answers_with(200, BODY_CHUNKED, 0);
    gives("much");
    turns();
    happened("get head-200 'much' pause flush");
    assert_int_equal(world.limit_usec, 0);
    exchange_writable(x);
    happened("resume");
    assert_int_equal(world.limit_usec, 30);
    exchange_writable(x);
    happened("");
    ends();
    exchange_end(x, 4);
    happened("put [ok passed] end flush logged errand-ends");
}

static void test_interim_answers_pass(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    connects();
    answers_with(103, BODY_NONE, 0);
    turns();
    answers_with(100, BODY_NONE, 0); /* nobody asked for it */
    turns();
    happened("get interim-103 flush");
    answers_with(204, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("head-204 put [ok passed] end flush logged errand-ends");
}

/* ---- members that fail ------------------------------------------------------------------------------------------------------------------------ */

static void test_a_refused_connection_goes_on(void **state)
{
    exchange_t *x;

    (void)state;
    world.ends[0] = GATE_ERRAND_ON;
    x = begins(METHOD_POST, BODY_NONE);
    fails(ORIGIN_REFUSED);
    happened("get drop [connect go-on?] get");
    connects();
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("head-200 put [ok passed] end flush logged errand-ends");
}

static void test_a_stale_connection_is_replaced(void **state)
{
    exchange_t *x;

    (void)state;
    world.ready = 1;
    world.ends[0] = GATE_ERRAND_FRESH;
    x = begins(METHOD_GET, BODY_NONE);
    fails(ORIGIN_RESET);
    happened("get-kept drop [reset go-on?] get-fresh");
    connects();
    answers_with(200, BODY_NONE, 0);
    ends();
    exchange_end(x, 0);
    happened("head-200 put [ok passed] end flush logged errand-ends");
}

static void test_nobody_answers(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    connects();
    fails(ORIGIN_RESET);
    happened("get drop [reset go-on?] classic-502+");
    exchange_end(x, 0);
    happened("logged errand-ends");
}

static void test_nobody_can_be_asked(void **state)
{
    exchange_t *x;

    (void)state;
    world.claims[0] = GATE_ERRAND_NOBODY;
    x = begins(METHOD_GET, BODY_NONE);
    happened("classic-502+");
    exchange_end(x, 0);
    happened("logged errand-ends");
}

static void test_another_membership_is_told_once(void **state)
{
    exchange_t *x;
    int i;

    (void)state;
    world.ready = 1;
    for (i = 0; i < 2; i++) {
        world.roster = (gate_roster_t){ .group = 20, .version = 7 };
        world.claim = 0;
        x = begins(METHOD_GET, BODY_NONE);
        answers_with(200, BODY_NONE, 0);
        ends();
        exchange_end(x, 0);
        happened(i ? "get-kept head-200 put [ok passed] end flush logged errand-ends"
                   : "follow-7 get-kept head-200 put [ok passed] end flush logged errand-ends");
    }
    exchange_loop_end(NULL);
}

static void test_no_descriptor_left(void **state)
{
    exchange_t *x;

    (void)state;
    world.no_origin = 1;
    x = begins(METHOD_GET, BODY_NONE);
    happened("get-nothing [ours go-on?] classic-502+");
    exchange_end(x, 0);
    happened("logged errand-ends");
}

static void test_an_answer_that_breaks_off_is_an_abort(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    connects();
    answers_with(200, BODY_LENGTH, 10);
    gives("hello");
    turns();
    fails(ORIGIN_RESET);
    happened("get head-200 'hello' flush drop [broken passed] abort");
    exchange_end(x, 5);
    happened("logged errand-ends");
}

static void test_an_answer_that_breaks_off_after_its_head_is_tried_again(void **state)
{
    exchange_t *x;

    (void)state;
    world.ends[0] = GATE_ERRAND_ON;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    answers_with(200, BODY_LENGTH, 10);
    turns();
    fails(ORIGIN_RESET);
    happened("get drop [reset go-on?] get");
    connects();
    answers_with(200, BODY_LENGTH, 2);
    gives("ok");
    ends();
    exchange_end(x, 2);
    happened("head-200 'ok' put [ok passed] end flush logged errand-ends");
}

static void test_a_listed_status_is_swallowed(void **state)
{
    exchange_t *x;

    (void)state;
    world.again = 1;
    world.ends[0] = GATE_ERRAND_ON;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    answers_with(503, BODY_LENGTH, 4);
    gives("busy");
    ends();
    happened("get put [ok go-on?] get");
    connects();
    world.again = 0;
    answers_with(503, BODY_LENGTH, 4);
    gives("busy");
    ends();
    exchange_end(x, 4);
    happened("head-503 'busy' put [ok passed] end flush logged errand-ends");
}

static void test_a_long_unwanted_answer_is_cut_off(void **state)
{
    static char much[EXCHANGE_SWALLOW_BYTES + 2];
    exchange_t *x;

    (void)state;
    memset(much, 'x', sizeof much - 1);
    world.again = 1;
    world.ends[0] = GATE_ERRAND_ON;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    answers_with(503, BODY_CLOSE, 0);
    gives(much);
    happened("get drop [ok go-on?] get");
    exchange_gone(x);
    exchange_end(x, 0);
    happened("drop [client] logged-gone errand-ends");
}

static void test_a_member_that_dies_while_its_answer_is_swallowed(void **state)
{
    exchange_t *x;

    (void)state;
    world.overridden = 404;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    answers_with(404, BODY_LENGTH, 10);
    fails(ORIGIN_RESET);
    happened("get drop [ok] classic-404");
    exchange_end(x, 0);
    happened("logged errand-ends");
}

static void test_an_overridden_error(void **state)
{
    exchange_t *x;

    (void)state;
    world.overridden = 404;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    answers_with(404, BODY_LENGTH, 4);
    gives("page");
    ends();
    happened("get put [ok] classic-404");
    exchange_end(x, 0);
    happened("logged errand-ends");
}

static void test_silence(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    fails(ORIGIN_TIMEOUT);
    happened("get drop [connect go-on?] classic-502+");
    exchange_end(x, 0);
    world.words[0] = '\0';
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    fails(ORIGIN_TIMEOUT);
    happened("get drop [timeout go-on?] classic-502+");
    exchange_end(x, 0);
    world.words[0] = '\0';
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    fails(ORIGIN_BAD);
    happened("get drop [bad go-on?] classic-502+");
    exchange_end(x, 0);
}

static void test_a_try_has_its_time(void **state)
{
    exchange_t *x;

    (void)state;
    world.first_byte_ms = 10;
    world.ends[0] = GATE_ERRAND_ON;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    passes(10000);
    happened("get drop [timeout go-on?] get");
    connects();
    passes(5000);
    answers_with(200, BODY_CHUNKED, 0);
    passes(10000); /* the head is there: its clock has stopped */
    happened("head-200");
    ends();
    exchange_end(x, 0);
    happened("put [ok passed] end flush logged errand-ends");
}

/* ---- the queue --------------------------------------------------------------------------------------------------------------------------------- */

static void test_it_waits_in_the_queue(void **state)
{
    exchange_t *x;

    (void)state;
    world.claims[0] = world.claims[1] = GATE_ERRAND_WAIT;
    x = begins(METHOD_GET, BODY_NONE);
    passes(1000);
    happened("");
    passes(1000);
    happened("get");
    exchange_gone(x);
    exchange_end(x, 0);
    happened("drop [client] logged-gone errand-ends");
}

static void test_it_leaves_the_queue(void **state)
{
    exchange_t *x;

    (void)state;
    world.claims[0] = GATE_ERRAND_WAIT;
    x = begins(METHOD_GET, BODY_NONE);
    exchange_gone(x);
    happened("leaves-queue");
    exchange_end(x, 0);
    happened("logged-gone errand-ends");
}

static void test_who_half_closes_loses_its_place(void **state)
{
    exchange_t *x;

    (void)state;
    world.claims[0] = GATE_ERRAND_WAIT;
    x = begins(METHOD_GET, BODY_NONE);
    exchange_half_closed(x);
    happened("leaves-queue abort");
    exchange_end(x, 0);
    happened("logged errand-ends");
    x = begins(METHOD_GET, BODY_NONE);
    exchange_half_closed(x);
    happened("get"); /* with a member it gets its answer */
    world.ends[0] = GATE_ERRAND_ON;
    world.claims[2] = GATE_ERRAND_WAIT;
    fails(ORIGIN_REFUSED);
    happened("drop [connect go-on?] leaves-queue abort");
    exchange_end(x, 0);
}

/* ---- clients that leave ---------------------------------------------------------------------------------------------------------------------------- */

static void leaves(exchange_t *x, const char *words)
{
    exchange_gone(x);
    happened(words);
    exchange_gone(x);
    assert_int_equal(exchange_body(x, "late", 4), 4);
    exchange_body_end(x, NULL);
    exchange_writable(x);
    exchange_body_bad(x, 400);
    happened("");
    exchange_end(x, 0);
    happened("logged-gone errand-ends");
}

static void test_the_client_leaves_in_every_state(void **state)
{
    exchange_t *x = begins(METHOD_POST, BODY_LENGTH);

    (void)state;
    leaves(x, "[client]"); /* its body is awaited */
    x = begins(METHOD_GET, BODY_NONE);
    leaves(x, "get drop [client]"); /* connecting */
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    leaves(x, "get drop [client]"); /* asking */
    world.claim = 0;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    answers_with(200, BODY_LENGTH, 3);
    turns();
    leaves(x, "get drop [client]"); /* a head is held */
    world.claim = 0;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    answers_with(200, BODY_CHUNKED, 0);
    leaves(x, "get head-200 drop [client passed]"); /* being answered */
    world.overridden = 404;
    world.claim = 0;
    x = begins(METHOD_GET, BODY_NONE);
    connects();
    answers_with(404, BODY_LENGTH, 10);
    leaves(x, "get drop [client]"); /* swallowing */
}

static void test_an_end_without_goodbye_is_a_client_that_left(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    connects();
    exchange_end(x, 0);
    happened("get drop [client] logged-gone errand-ends");
}

/* ---- tunnels ------------------------------------------------------------------------------------------------------------------------------------------- */

static void test_a_101_nobody_asked_for(void **state)
{
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    connects();
    answers_with(101, BODY_NONE, 0);
    happened("get drop [bad go-on?] classic-502+");
    exchange_end(x, 0);
}

static void test_a_tunnel(void **state)
{
    field_t asked = { { "Upgrade", 7 }, { "websocket", 9 }, FIELD_UPGRADE, 1 };
    field_t given = { { "Upgrade", 7 }, { "WebSocket", 9 }, FIELD_UPGRADE, 1 };
    answer_head_t head = { .status = 101, .major = 1, .minor = 1, .upgraded = 1, .fields = { .field = &given, .count = 1 } };
    request_head_t request = { .known = METHOD_GET, .upgrade = 1, .fields = { .field = &asked, .count = 1 } };
    exchange_t *x = begins(METHOD_GET, BODY_NONE);

    (void)state;
    head.fields.first[FIELD_UPGRADE] = request.fields.first[FIELD_UPGRADE] = 1;
    x->head = &request;
    connects();
    x->asked_upgrade = 1;
    world.ops->head(world.x, &head);
    turns();
    happened("get head-101 raw tunnel flush");
    assert_int_equal(exchange_body(x, "ping", 4), 4);
    assert_memory_equal(world.sent + world.sent_len - 4, "ping", 4);
    gives("pong");
    turns();
    happened("'pong' flush");
    exchange_body_end(x, NULL);
    happened("half-close");
    ends();
    happened("drop [ok passed lost] end flush");
    exchange_end(x, 4);
    happened("logged errand-ends");
    world.claim = 0;
    x = begins(METHOD_GET, BODY_NONE);
    x->head = &request;
    connects();
    x->asked_upgrade = 1;
    world.ops->head(world.x, &head);
    turns();
    fails(ORIGIN_RESET); /* no failure of the member */
    happened("get head-101 raw tunnel flush drop [ok passed lost] end flush");
    exchange_end(x, 0);
    world.claim = 0;
    x = begins(METHOD_GET, BODY_NONE);
    x->head = &request;
    connects();
    fails(ORIGIN_UNABLE); /* nor another member's turn */
    happened("logged errand-ends get drop [ours] classic-502");
    exchange_end(x, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(test_a_request_on_a_kept_connection),
        TEST(test_an_exchange_may_end_inside_its_last_op),
        TEST(test_a_client_that_leaves_inside_an_op),
        TEST(test_a_head_waits_for_its_body),
        TEST(test_a_head_without_a_known_length_does_not_wait),
        TEST(test_a_slow_client_holds_the_member),
        TEST(test_interim_answers_pass),
        TEST(test_a_refused_connection_goes_on),
        TEST(test_a_stale_connection_is_replaced),
        TEST(test_nobody_answers),
        TEST(test_nobody_can_be_asked),
        TEST(test_another_membership_is_told_once),
        TEST(test_no_descriptor_left),
        TEST(test_an_answer_that_breaks_off_is_an_abort),
        TEST(test_an_answer_that_breaks_off_after_its_head_is_tried_again),
        TEST(test_a_listed_status_is_swallowed),
        TEST(test_a_long_unwanted_answer_is_cut_off),
        TEST(test_a_member_that_dies_while_its_answer_is_swallowed),
        TEST(test_an_overridden_error),
        TEST(test_silence),
        TEST(test_a_try_has_its_time),
        TEST(test_it_waits_in_the_queue),
        TEST(test_it_leaves_the_queue),
        TEST(test_who_half_closes_loses_its_place),
        TEST(test_the_client_leaves_in_every_state),
        TEST(test_an_end_without_goodbye_is_a_client_that_left),
        TEST(test_a_101_nobody_asked_for),
        TEST(test_a_tunnel),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
