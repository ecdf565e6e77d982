/*
 * retry.c - see retry.h.
 */
#include <string.h>

#include "retry.h"

/* Waits end up to a millisecond early (they are told in whole ones): with less than this left a member is not asked any more. */
#define LEAST_LEFT_USEC 2000

void retry_rule_default(retry_rule_t *rule)
{
    memset(rule, 0, sizeof *rule);
    rule->attempts = RETRY_ATTEMPTS_DEFAULT;
    rule->on = RETRY_ON_CONNECT | RETRY_ON_TIMEOUT | RETRY_ON_RESET;
    rule->statuses.bits[503 / 64] |= UINT64_C(1) << (503 % 64);
    rule->budget_milli = RETRY_BUDGET_DEFAULT_MILLI;
    rule->floor = RETRY_FLOOR;
}

int retry_method_is_safe(const char *method)
{
    /* methods are case-sensitive: RFC 9110, 9.1 */
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0 ||
           strcmp(method, "TRACE") == 0;
}

gate_outcome_e retry_outcome_of_status(int status)
{
    return status >= 500 && status < 600 && status != 501 && status != 505 ? GATE_OUTCOME_STATUS : GATE_OUTCOME_OK;
}

int retry_is_member_failure(gate_outcome_e outcome)
{
    switch (outcome) {
    case GATE_OUTCOME_STATUS:
    case GATE_OUTCOME_CONNECT:
    case GATE_OUTCOME_TIMEOUT:
    case GATE_OUTCOME_RESET:
    case GATE_OUTCOME_BAD:
    case GATE_OUTCOME_BROKEN:
        return 1;
    case GATE_OUTCOME_OK:
    case GATE_OUTCOME_CLIENT:
    case GATE_OUTCOME_OURS:
    case GATE_OUTCOME_COUNT:
        break;
    }
    return 0;
}

int retry_tells_speed(gate_outcome_e outcome)
{
    return outcome == GATE_OUTCOME_OK || outcome == GATE_OUTCOME_TIMEOUT;
}

/* What cannot be taken back or is nobody's to repeat. NULL: the rule may speak. */
static const char *beyond_repeating(const retry_try_t *ended)
{
    if (ended->outcome == GATE_OUTCOME_CLIENT) {
        return "the client went away";
    }
    if (ended->outcome == GATE_OUTCOME_OURS) {
        return "the fault is not the member's";
    }
    if (ended->response_passed_on || ended->outcome == GATE_OUTCOME_BROKEN) {
        return "part of the answer has been passed on";
    }
    if (!ended->body_whole) {
        return "the request body was not kept whole";
    }
    return NULL;
}

/* May the request be sent once more, after what the member may have seen of it? */
static int may_repeat(const retry_rule_t *rule, const retry_try_t *ended, const char *method)
{
    return ended->outcome == GATE_OUTCOME_CONNECT || !ended->request_sent || rule->non_idempotent || retry_method_is_safe(method);
}

/* Is this an end that on= lists? */
static int is_listed(const retry_rule_t *rule, const retry_try_t *ended)
{
    switch (ended->outcome) {
    case GATE_OUTCOME_CONNECT:
        return (rule->on & RETRY_ON_CONNECT) != 0;
    case GATE_OUTCOME_TIMEOUT:
        return (rule->on & RETRY_ON_TIMEOUT) != 0;
    case GATE_OUTCOME_RESET:
    case GATE_OUTCOME_BAD:
        return (rule->on & RETRY_ON_RESET) != 0;
    case GATE_OUTCOME_OK:
    case GATE_OUTCOME_STATUS:
        return gate_status_in(&rule->statuses, ended->status);
    default:
        return 0;
    }
}

/* Would one exchange more on a further try be too many? An exchange that is counted already is within. */
static int over_budget(const retry_rule_t *rule, const retry_standing_t *standing)
{
    uint64_t allowed = (uint64_t)standing->active * rule->budget_milli / 1000;
    uint64_t wanted = (uint64_t)standing->retrying + (standing->counted ? 0 : 1);

    return wanted > (allowed > rule->floor ? allowed : rule->floor);
}

static const char *why_again(const retry_try_t *ended)
{
    switch (ended->outcome) {
    case GATE_OUTCOME_CONNECT:
        return "no connection";
    case GATE_OUTCOME_TIMEOUT:
        return "no answer in time";
    case GATE_OUTCOME_RESET:
        return "closed without an answer";
    case GATE_OUTCOME_BAD:
        return "the answer was not HTTP";
    default:
        return "the answer's status is listed";
    }
}

retry_verdict_t retry_decide(const retry_rule_t *rule, const retry_try_t *ended, const retry_standing_t *standing)
{
    retry_verdict_t verdict = { RETRY_GIVE_UP, NULL };
    int stale = ended->idle_died && ended->outcome == GATE_OUTCOME_RESET && !standing->replaced;

    if ((verdict.why = beyond_repeating(ended)) != NULL) {
        return verdict;
    }
    if (!stale && !is_listed(rule, ended)) {
        verdict.why = ended->outcome == GATE_OUTCOME_OK ? "answered" : "GateRetry does not list this";
    }
    else if (!may_repeat(rule, ended, standing->method)) {
        verdict.why = "the member may have acted on the request, and its method is not safe to repeat";
    }
    else if (standing->deadline_usec != 0 && standing->now_usec + LEAST_LEFT_USEC >= standing->deadline_usec) {
        verdict.why = "the exchange's total time is used up";
    }
    else if (stale) {
        verdict.action = RETRY_SAME_FRESH;
        verdict.why = "the idle connection had been closed";
    }
    else if (standing->tries >= rule->attempts) {
        verdict.why = "all attempts are used up";
    }
    else if (standing->others == 0) {
        verdict.why = "no other member is left to try";
    }
    else if (ended->request_sent && !ended->shut_out && !standing->saved && over_budget(rule, standing)) {
        verdict.why = "the group's retry budget is used up";
    }
    else {
        verdict.action = RETRY_OTHER;
        verdict.why = why_again(ended);
    }
    return verdict;
}

int retry_status(gate_outcome_e outcome)
{
    switch (outcome) {
    case GATE_OUTCOME_CONNECT:
    case GATE_OUTCOME_COUNT:
        return 503;
    case GATE_OUTCOME_TIMEOUT:
        return 504;
    case GATE_OUTCOME_RESET:
    case GATE_OUTCOME_BAD:
        return 502;
    case GATE_OUTCOME_OURS:
        return 500;
    case GATE_OUTCOME_OK:
    case GATE_OUTCOME_STATUS:
    case GATE_OUTCOME_BROKEN:
    case GATE_OUTCOME_CLIENT:
        break;
    }
    return 0;
}

static const char *connect_token(apr_status_t cause)
{
    if (APR_STATUS_IS_ECONNREFUSED(cause)) {
        return "connection_refused";
    }
    if (APR_STATUS_IS_TIMEUP(cause) || APR_STATUS_IS_ETIMEDOUT(cause)) {
        return "connection_timeout";
    }
    if (APR_STATUS_IS_EHOSTUNREACH(cause) || APR_STATUS_IS_ENETUNREACH(cause)) {
        return "destination_ip_unroutable";
    }
    if (APR_STATUS_IS_ECONNRESET(cause) || APR_STATUS_IS_EOF(cause)) {
        return "connection_terminated";
    }
    if (cause >= APR_OS_START_EAIERR && cause < APR_OS_START_SYSERR) {
        return "dns_error";
    }
    return "destination_unavailable";
}

const char *retry_error_token(gate_outcome_e outcome, apr_status_t cause)
{
    switch (outcome) {
    case GATE_OUTCOME_CONNECT:
        return connect_token(cause);
    case GATE_OUTCOME_COUNT:
        return "destination_unavailable";
    case GATE_OUTCOME_TIMEOUT:
        return "http_response_timeout";
    case GATE_OUTCOME_RESET:
        return "connection_terminated";
    case GATE_OUTCOME_BAD:
        return "http_protocol_error";
    case GATE_OUTCOME_OURS:
        return "proxy_internal_error";
    case GATE_OUTCOME_OK:
    case GATE_OUTCOME_STATUS:
    case GATE_OUTCOME_BROKEN:
    case GATE_OUTCOME_CLIENT:
        break;
    }
    return NULL;
}
