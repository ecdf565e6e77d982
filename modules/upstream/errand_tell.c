/*
 * errand_tell.c - what is told of an errand: to the registry (counters, listeners, the strategy), to the house (the error log), to the
 * client when no member answered (Proxy-Status, RFC 9209), and to the access log (GATE_*). The client never learns a member's name.
 */
#include <string.h>

#include <apr_strings.h>

#include "errand.h"

#define RETRY_AFTER_SEC "5"

void errand_say(const gate_errand_t *e, errand_news_e news, int detail)
{
    if (e->house->say) {
        e->house->say(e, news, detail);
    }
}

static int64_t connect_usec(const gate_try_t *t)
{
    return t->connected_usec ? t->connected_usec - t->begun_usec - t->waited_connect_usec : -1;
}

void errand_report(const gate_errand_t *e, int64_t now_usec)
{
    const errand_house_t *house = e->house;
    const gate_try_t *t = &e->now;
    const gate_strategy_t *strategy = e->group->strategy;
    gate_report_t out = {
        .group = e->group->index, .slot = t->member->slot, .incarnation = t->member->incarnation, .outcome = t->outcome,
        .status = t->status, .is_retry = e->tries > 1, .is_trial = e->is_trial, .connect_usec = connect_usec(t),
        .first_byte_usec = t->first_byte_usec ? t->first_byte_usec - t->begun_usec - t->waited_usec : -1,
        .total_usec = now_usec - t->begun_usec - t->waited_usec, .bytes_in = t->bytes_out,
        .bytes_out = t->bytes_in ? t->bytes_in : t->passed_bytes, .now_usec = now_usec, .why = t->why
    };

    gate_report(house->registry, house->seat, &out);
    if (strategy->learn && retry_tells_speed(t->outcome)) {
        gate_learned_t *learned = gate_member_learned(house->registry, t->member->slot);

        if (learned) {
            strategy->learn(learned, out.first_byte_usec > 0 ? out.first_byte_usec : out.total_usec, now_usec);
        }
    }
}

/* ---- the client ----------------------------------------------------------------------------------------------------------- */

/* In words that name no member. */
static const char *details_of(const gate_errand_t *e, gate_outcome_e outcome)
{
    switch (outcome) {
    case GATE_OUTCOME_COUNT:
        return e->full ? "all members are at their limit" : "no member is usable";
    case GATE_OUTCOME_CONNECT:
        return "no member could be reached";
    case GATE_OUTCOME_TIMEOUT:
        return "no answer in time";
    case GATE_OUTCOME_RESET:
        return "connection closed without an answer";
    case GATE_OUTCOME_BAD:
        return "the answer was not HTTP";
    default:
        return "internal error";
    }
}

static const char *token_of(const gate_errand_t *e, gate_outcome_e outcome)
{
    if (outcome == GATE_OUTCOME_CONNECT && e->now.tls_failed) {
        return "tls_protocol_error";
    }
    if (outcome == GATE_OUTCOME_COUNT && e->full) {
        return "connection_limit_reached";
    }
    return retry_error_token(outcome, e->tries ? e->now.cause : APR_SUCCESS);
}

gate_errand_failure_t errand_fail(gate_errand_t *e)
{
    gate_outcome_e outcome = e->tries ? e->now.outcome : GATE_OUTCOME_COUNT;
    gate_errand_failure_t failure = { .status = retry_status(outcome), .words = e->tried_words };

    if (!failure.status) {
        return failure;
    }
    failure.proxy_status = apr_psprintf(e->ask.pool, "gatehouse; error=%s; details=\"group %s: %s\"", token_of(e, outcome), e->group->name,
                                        details_of(e, outcome));
    failure.retry_after = failure.status == 503 ? RETRY_AFTER_SEC : NULL;
    errand_say(e, e->tries ? ERRAND_SAYS_FAILED : ERRAND_SAYS_NOBODY, failure.status);
    return failure;
}

/* ---- log variables -------------------------------------------------------------------------------------------------------- */

#define USEC_ROOM 21            /* digits of 64 bits, NUL */

/* A table and how it is written to: names so alike are slow to look up, and where there are none of them yet, they are only added. */
typedef struct {
    apr_table_t *env;
    char *room;                 /* for what is made here, as much as it takes */
    void (*put)(apr_table_t *env, const char *name, const char *value);
} vars_t;

static void put_usec(vars_t *vars, const char *name, int64_t usec)
{
    uint64_t rest = (uint64_t)usec;
    char *at;

    if (usec < 0) {
        return;
    }
    vars->room += USEC_ROOM;
    at = vars->room - 1; /* written from its end, and it begins where it begins */
    *at = '\0';
    do {
        *--at = (char)('0' + rest % 10);
    } while (rest /= 10);
    vars->put(vars->env, name, at);
}

void errand_log(const gate_errand_t *e, apr_table_t *env, apr_pool_t *p, int64_t now_usec)
{
    static const char *const digits[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    const char *member = e->tries ? errand_member_id(e) : "";
    size_t member_size = strlen(member) + 1;
    vars_t vars = { env, apr_palloc(p, member_size + 3 * USEC_ROOM), apr_table_get(env, "GATE_GROUP") ? apr_table_setn : apr_table_addn };
    const gate_try_t *t = &e->now;

    vars.put(env, "GATE_GROUP", e->group->name);
    vars.put(env, "GATE_PLANE", e->ask.plane);
    vars.put(env, "GATE_TRIES", e->tries < 10 ? digits[e->tries] : apr_itoa(p, e->tries));
    if (e->tries) {
        vars.put(env, "GATE_MEMBER", memcpy(vars.room, member, member_size));
        vars.room += member_size;
        put_usec(&vars, "GATE_CONNECT_US", connect_usec(t));
        put_usec(&vars, "GATE_FIRST_BYTE_US", t->first_byte_usec ? t->first_byte_usec - t->begun_usec : -1);
    }
    put_usec(&vars, "GATE_TOTAL_US", (e->ended_usec ? e->ended_usec : now_usec) - e->ask.now_usec);
}
