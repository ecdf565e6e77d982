/*
 * test_retry.c - what is tried again, where, and what the client is told otherwise.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "retry.h"

static retry_rule_t rule;
static retry_try_t ended;
static retry_standing_t standing;

/* A GET whose first try on one of three members ended so; the request was sent. */
static void given(gate_outcome_e outcome, int status)
{
    retry_rule_default(&rule);
    memset(&ended, 0, sizeof ended);
    memset(&standing, 0, sizeof standing);
    ended.outcome = outcome;
    ended.status = status;
    ended.request_sent = outcome != GATE_OUTCOME_CONNECT;
    ended.body_whole = 1;
    standing.method = "GET";
    standing.tries = 1;
    standing.others = 2;
    standing.active = 10;
    standing.now_usec = 5000000;
}

static void expect(retry_action_e action, const char *why)
{
    retry_verdict_t verdict = retry_decide(&rule, &ended, &standing);

    assert_string_equal(verdict.why, why);
    assert_int_equal(verdict.action, action);
}

static void test_default_rule(void **state)
{
    (void)state;
    given(GATE_OUTCOME_CONNECT, 0);
    expect(RETRY_OTHER, "no connection");
    given(GATE_OUTCOME_TIMEOUT, 0);
    expect(RETRY_OTHER, "no answer in time");
    given(GATE_OUTCOME_RESET, 0);
    expect(RETRY_OTHER, "closed without an answer");
    given(GATE_OUTCOME_BAD, 0);
    expect(RETRY_OTHER, "the answer was not HTTP");
    given(GATE_OUTCOME_STATUS, 503);
    expect(RETRY_OTHER, "the answer's status is listed");
    given(GATE_OUTCOME_STATUS, 502);
    expect(RETRY_GIVE_UP, "GateRetry does not list this");
    given(GATE_OUTCOME_STATUS, 500);
    expect(RETRY_GIVE_UP, "GateRetry does not list this");
    given(GATE_OUTCOME_OK, 404);
    expect(RETRY_GIVE_UP, "answered");
}

static void test_what_is_not_listed_is_not_tried_again(void **state)
{
    const gate_outcome_e outcomes[] = { GATE_OUTCOME_CONNECT, GATE_OUTCOME_TIMEOUT, GATE_OUTCOME_RESET };
    const unsigned bits[] = { RETRY_ON_CONNECT, RETRY_ON_TIMEOUT, RETRY_ON_RESET };

    (void)state;
    for (int i = 0; i < 3; i++) {
        given(outcomes[i], 0);
        rule.on &= ~bits[i];
        expect(RETRY_GIVE_UP, "GateRetry does not list this");
        rule.on = bits[i];
        assert_int_equal(retry_decide(&rule, &ended, &standing).action, RETRY_OTHER);
    }
}

static void test_only_safe_methods_go_out_twice(void **state)
{
    const char *safe[] = { "GET", "HEAD", "OPTIONS", "TRACE" };
    const char *unsafe[] = { "POST", "PUT", "DELETE", "PATCH", "LOCK", "get", "PROPFIND" };

    (void)state;
    for (int i = 0; i < 4; i++) {
        given(GATE_OUTCOME_RESET, 0);
        standing.method = safe[i];
        expect(RETRY_OTHER, "closed without an answer");
    }
    for (int i = 0; i < 7; i++) {
        given(GATE_OUTCOME_RESET, 0);
        standing.method = unsafe[i];
        expect(RETRY_GIVE_UP, "the member may have acted on the request, and its method is not safe to repeat");
        ended.outcome = GATE_OUTCOME_TIMEOUT;
        assert_int_equal(retry_decide(&rule, &ended, &standing).action, RETRY_GIVE_UP);
        ended.outcome = GATE_OUTCOME_STATUS;
        ended.status = 503;
        assert_int_equal(retry_decide(&rule, &ended, &standing).action, RETRY_GIVE_UP);
        rule.non_idempotent = 1;
        assert_int_equal(retry_decide(&rule, &ended, &standing).action, RETRY_OTHER);
        /* a connect that failed sent nothing */
        given(GATE_OUTCOME_CONNECT, 0);
        standing.method = unsafe[i];
        expect(RETRY_OTHER, "no connection");
        /* nor did a connection that went before a byte was written */
        given(GATE_OUTCOME_RESET, 0);
        standing.method = unsafe[i];
        ended.request_sent = 0;
        expect(RETRY_OTHER, "closed without an answer");
    }
}

static void test_a_body_that_is_gone_cannot_be_sent(void **state)
{
    (void)state;
    given(GATE_OUTCOME_CONNECT, 0);
    ended.body_whole = 0;
    expect(RETRY_GIVE_UP, "the request body was not kept whole");
    given(GATE_OUTCOME_RESET, 0);
    ended.idle_died = 1;
    ended.body_whole = 0;
    expect(RETRY_GIVE_UP, "the request body was not kept whole");
}

static void test_nothing_after_the_first_byte(void **state)
{
    (void)state;
    given(GATE_OUTCOME_RESET, 0);
    ended.response_passed_on = 1;
    expect(RETRY_GIVE_UP, "part of the answer has been passed on");
    given(GATE_OUTCOME_BROKEN, 200);
    expect(RETRY_GIVE_UP, "part of the answer has been passed on");
    given(GATE_OUTCOME_CLIENT, 0);
    expect(RETRY_GIVE_UP, "the client went away");
    given(GATE_OUTCOME_OURS, 0);
    expect(RETRY_GIVE_UP, "the fault is not the member's");
}

static void test_a_stale_connection_is_replaced_outside_the_count(void **state)
{
    (void)state;
    given(GATE_OUTCOME_RESET, 0);
    ended.idle_died = 1;
    rule.attempts = 1;
    standing.others = 0;
    standing.active = 1000;
    standing.retrying = 1000;
    rule.on = 0;
    expect(RETRY_SAME_FRESH, "the idle connection had been closed");
    /* once for each try, then it is a reset like any other */
    standing.replaced = 1;
    expect(RETRY_GIVE_UP, "GateRetry does not list this");
    rule.on = RETRY_ON_RESET;
    expect(RETRY_GIVE_UP, "all attempts are used up");
    /* a POST that was written into it may have arrived */
    given(GATE_OUTCOME_RESET, 0);
    ended.idle_died = 1;
    standing.method = "POST";
    expect(RETRY_GIVE_UP, "the member may have acted on the request, and its method is not safe to repeat");
    ended.request_sent = 0;
    expect(RETRY_SAME_FRESH, "the idle connection had been closed");
    standing.deadline_usec = standing.now_usec;
    expect(RETRY_GIVE_UP, "the exchange's total time is used up");
    /* a timeout on an idle connection is a timeout */
    given(GATE_OUTCOME_TIMEOUT, 0);
    ended.idle_died = 1;
    expect(RETRY_OTHER, "no answer in time");
}

static void test_attempts_members_and_deadline_end_it(void **state)
{
    (void)state;
    given(GATE_OUTCOME_CONNECT, 0);
    standing.tries = 2;
    standing.retrying = 1;
    expect(RETRY_GIVE_UP, "all attempts are used up");
    rule.attempts = 3;
    expect(RETRY_OTHER, "no connection");
    standing.others = 0;
    expect(RETRY_GIVE_UP, "no other member is left to try");
    standing.others = 1;
    standing.deadline_usec = standing.now_usec;
    expect(RETRY_GIVE_UP, "the exchange's total time is used up");
    standing.deadline_usec = standing.now_usec + 2000; /* no wait is as exact as that */
    expect(RETRY_GIVE_UP, "the exchange's total time is used up");
    standing.deadline_usec = standing.now_usec + 2001;
    expect(RETRY_OTHER, "no connection");
    rule.attempts = 1;
    standing.tries = 1;
    expect(RETRY_GIVE_UP, "all attempts are used up");
}

static void test_the_budget_holds_with_its_floor(void **state)
{
    (void)state;
    given(GATE_OUTCOME_TIMEOUT, 0);
    standing.active = 1;
    for (standing.retrying = 0; standing.retrying < 3; standing.retrying++) {
        expect(RETRY_OTHER, "no answer in time");
    }
    expect(RETRY_GIVE_UP, "the group's retry budget is used up");
    standing.active = 100;
    standing.retrying = 19;
    expect(RETRY_OTHER, "no answer in time");
    standing.retrying = 20;
    expect(RETRY_GIVE_UP, "the group's retry budget is used up");
    /* one that is on a further try already counts among the 20 */
    standing.tries = 2;
    standing.counted = 1;
    rule.attempts = 3;
    expect(RETRY_OTHER, "no answer in time");
    standing.retrying = 21;
    expect(RETRY_GIVE_UP, "the group's retry budget is used up");
    rule.budget_milli = 1000;
    standing.retrying = 100;
    expect(RETRY_OTHER, "no answer in time");
    rule.budget_milli = 0;
    standing.retrying = 4;
    expect(RETRY_GIVE_UP, "the group's retry budget is used up");
    standing.active = UINT32_MAX;
    standing.retrying = UINT32_MAX;
    rule.budget_milli = 1000;
    expect(RETRY_OTHER, "no answer in time");
}

static void test_what_was_saved_up_meets_a_burst(void **state)
{
    (void)state;
    given(GATE_OUTCOME_RESET, 0);
    ended.request_sent = 1;
    standing.active = 64;
    standing.retrying = 30;
    expect(RETRY_GIVE_UP, "the group's retry budget is used up");
    standing.saved = 1;
    expect(RETRY_OTHER, "closed without an answer");
}

static void test_the_budget_does_not_count_failed_connects(void **state)
{
    (void)state;
    given(GATE_OUTCOME_CONNECT, 0);
    standing.active = 64;
    standing.retrying = 64;
    expect(RETRY_OTHER, "no connection");
    rule.budget_milli = 0;
    expect(RETRY_OTHER, "no connection");
    ended.outcome = GATE_OUTCOME_RESET;
    ended.request_sent = 1;
    expect(RETRY_GIVE_UP, "the group's retry budget is used up");
    ended.shut_out = 1;
    expect(RETRY_OTHER, "closed without an answer");
    standing.method = "POST";
    expect(RETRY_GIVE_UP, "the member may have acted on the request, and its method is not safe to repeat");
}

static void test_who_is_to_blame(void **state)
{
    (void)state;
    assert_int_equal(retry_outcome_of_status(200), GATE_OUTCOME_OK);
    assert_int_equal(retry_outcome_of_status(404), GATE_OUTCOME_OK);
    assert_int_equal(retry_outcome_of_status(499), GATE_OUTCOME_OK);
    assert_int_equal(retry_outcome_of_status(501), GATE_OUTCOME_OK);
    assert_int_equal(retry_outcome_of_status(505), GATE_OUTCOME_OK);
    assert_int_equal(retry_outcome_of_status(500), GATE_OUTCOME_STATUS);
    assert_int_equal(retry_outcome_of_status(503), GATE_OUTCOME_STATUS);
    assert_int_equal(retry_outcome_of_status(600), GATE_OUTCOME_OK);
    assert_false(retry_is_member_failure(GATE_OUTCOME_OK));
    assert_false(retry_is_member_failure(GATE_OUTCOME_CLIENT));
    assert_false(retry_is_member_failure(GATE_OUTCOME_OURS));
    assert_true(retry_is_member_failure(GATE_OUTCOME_STATUS));
    assert_true(retry_is_member_failure(GATE_OUTCOME_CONNECT));
    assert_true(retry_is_member_failure(GATE_OUTCOME_TIMEOUT));
    assert_true(retry_is_member_failure(GATE_OUTCOME_RESET));
    assert_true(retry_is_member_failure(GATE_OUTCOME_BAD));
    assert_true(retry_is_member_failure(GATE_OUTCOME_BROKEN));
    assert_true(retry_tells_speed(GATE_OUTCOME_OK));
    assert_true(retry_tells_speed(GATE_OUTCOME_TIMEOUT));
    assert_false(retry_tells_speed(GATE_OUTCOME_CONNECT));
    assert_false(retry_tells_speed(GATE_OUTCOME_STATUS));
}

static void test_what_the_client_is_told(void **state)
{
    (void)state;
    assert_int_equal(retry_status(GATE_OUTCOME_COUNT), 503);
    assert_int_equal(retry_status(GATE_OUTCOME_CONNECT), 503);
    assert_int_equal(retry_status(GATE_OUTCOME_TIMEOUT), 504);
    assert_int_equal(retry_status(GATE_OUTCOME_RESET), 502);
    assert_int_equal(retry_status(GATE_OUTCOME_BAD), 502);
    assert_int_equal(retry_status(GATE_OUTCOME_OURS), 500);
    for (int outcome = 0; outcome <= GATE_OUTCOME_COUNT; outcome++) {
        assert_int_equal(retry_status(outcome) != 0, retry_error_token(outcome, 0) != NULL);
    }
    assert_string_equal(retry_error_token(GATE_OUTCOME_CONNECT, APR_FROM_OS_ERROR(ECONNREFUSED)), "connection_refused");
    assert_string_equal(retry_error_token(GATE_OUTCOME_CONNECT, APR_TIMEUP), "connection_timeout");
    assert_string_equal(retry_error_token(GATE_OUTCOME_CONNECT, APR_FROM_OS_ERROR(ETIMEDOUT)), "connection_timeout");
    assert_string_equal(retry_error_token(GATE_OUTCOME_CONNECT, APR_FROM_OS_ERROR(EHOSTUNREACH)), "destination_ip_unroutable");
    assert_string_equal(retry_error_token(GATE_OUTCOME_CONNECT, APR_FROM_OS_ERROR(ECONNRESET)), "connection_terminated");
    assert_string_equal(retry_error_token(GATE_OUTCOME_CONNECT, APR_OS_START_EAIERR + 2), "dns_error");
    assert_string_equal(retry_error_token(GATE_OUTCOME_CONNECT, 0), "destination_unavailable");
    assert_string_equal(retry_error_token(GATE_OUTCOME_COUNT, 0), "destination_unavailable");
    assert_string_equal(retry_error_token(GATE_OUTCOME_TIMEOUT, 0), "http_response_timeout");
    assert_string_equal(retry_error_token(GATE_OUTCOME_RESET, 0), "connection_terminated");
    assert_string_equal(retry_error_token(GATE_OUTCOME_BAD, 0), "http_protocol_error");
    assert_string_equal(retry_error_token(GATE_OUTCOME_OURS, 0), "proxy_internal_error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_rule),
        cmocka_unit_test(test_what_is_not_listed_is_not_tried_again),
        cmocka_unit_test(test_only_safe_methods_go_out_twice),
        cmocka_unit_test(test_a_body_that_is_gone_cannot_be_sent),
        cmocka_unit_test(test_nothing_after_the_first_byte),
        cmocka_unit_test(test_a_stale_connection_is_replaced_outside_the_count),
        cmocka_unit_test(test_attempts_members_and_deadline_end_it),
        cmocka_unit_test(test_the_budget_holds_with_its_floor),
        cmocka_unit_test(test_what_was_saved_up_meets_a_burst),
        cmocka_unit_test(test_the_budget_does_not_count_failed_connects),
        cmocka_unit_test(test_who_is_to_blame),
        cmocka_unit_test(test_what_the_client_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
