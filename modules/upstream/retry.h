/*
 * retry.h - is an exchange whose try failed tried again, and what is told to the client when it is not.
 * Depends: gate_registry.h (outcomes), gate_parse.h (status sets).   Memory: none; words are static strings.
 * Locking: none, all pure.   Sources: RFC 9110, 9.2.1 and 9.2.2; RFC 9112, 9.3.1; RFC 9209, 2.3.
 */
#ifndef RETRY_H
#define RETRY_H

#include <stdint.h>

#include "gate_parse.h"
#include "gate_registry.h"

/* GateRetry on=.. words other than statuses */
enum {
    RETRY_ON_CONNECT = 1u << 0, /* no connection: nothing was sent */
    RETRY_ON_TIMEOUT = 1u << 1, /* no answer in time */
    RETRY_ON_RESET = 1u << 2    /* closed or reset without an answer, or an answer that is not HTTP */
};

#define RETRY_ATTEMPTS_DEFAULT 2
#define RETRY_BUDGET_DEFAULT_MILLI 200
#define RETRY_FLOOR 3 /* so many exchanges of a group may always be on a further try */

/* GateRetry, read. */
typedef struct {
    uint32_t attempts;         /* tries in all, the first included; 1: never again */
    unsigned on;               /* RETRY_ON_* */
    gate_status_set_t statuses; /* answers that are not passed on while there is another member */
    uint32_t budget_milli;     /* share of the group's active exchanges that may be on a further try; 1000 = all. A connect that
                                  failed, or as good as, was no load to anybody: what follows it is not counted, or a dead member
                                  would use it up */
    uint32_t floor;            /* see RETRY_FLOOR */
    int non_idempotent;        /* the configuration vouches that repeating any method does no harm */
} retry_rule_t;

/** connect, timeout, reset, 503; two attempts; budget 20 % with a floor of 3, and what the group saved up (retry_standing_t.saved) on top. */
void retry_rule_default(retry_rule_t *rule);

/* How the try ended. */
typedef struct {
    gate_outcome_e outcome;
    int status;                /* of the member's answer; 0 if none */
    int request_sent;          /* at least a byte of the request may have reached the member */
    int body_whole;            /* all that was read of the client's body is still here, from its first byte (or it has none) */
    int response_passed_on;    /* at least a byte of an answer went to the client */
    int shut_out;              /* a new connection ended without a byte, sooner than a connect may take: as good as none. A dying
                                  process's socket takes connections that nobody will serve */
    int idle_died;             /* a kept-alive connection was used again and ended before the first byte of an answer */
} retry_try_t;

/* Where the exchange and its group stand. */
typedef struct {
    const char *method;
    uint32_t tries;            /* begun so far, the one that just ended included; replacements of stale connections not */
    int replaced;              /* this try has already replaced a stale connection */
    uint32_t others;           /* usable members not yet tried */
    uint32_t active;           /* exchanges of the group in flight, this one included */
    int saved;                 /* the group has a retry saved up: exchanges before this one needed none (gate_group_credit()) */
    uint32_t retrying;         /* those on a further try that the budget counts: after a try whose request was sent */
    int counted;               /* this one is among them */
    int64_t deadline_usec;     /* of the whole exchange, monotonic; 0: none */
    int64_t now_usec;
} retry_standing_t;

typedef enum {
    RETRY_GIVE_UP = 0,         /* what came is what the client gets */
    RETRY_OTHER,               /* another member */
    RETRY_SAME_FRESH           /* the same member on a new connection, at once; not counted as a try */
} retry_action_e;

typedef struct {
    retry_action_e action;
    const char *why;           /* completes "..: "; static */
} retry_verdict_t;

retry_verdict_t retry_decide(const retry_rule_t *rule, const retry_try_t *ended, const retry_standing_t *standing);

/** GET, HEAD, OPTIONS, TRACE: repeating them is nobody's loss (PUT and DELETE may meet their own If-Match the second time). */
int retry_method_is_safe(const char *method);

/** Outcome of an answer that came whole: below 500, 501 and 505 are no fault of the member. */
gate_outcome_e retry_outcome_of_status(int status);

/** Does it speak against the member? Never when the client or we ourselves ended it. */
int retry_is_member_failure(gate_outcome_e outcome);

/** Does the time it took say something about the member's speed (gate_strategy_t.learn)? A quick refusal must not look fast. */
int retry_tells_speed(gate_outcome_e outcome);

/**
 * Status for the client when the exchange is given up without an answer of a member.
 * @param outcome  of the last try; GATE_OUTCOME_COUNT when there was none because no member was usable
 * @return 502, 503, 504, or 500 when the fault is ours; 0 when there is an answer to pass on or nobody to send one to
 */
int retry_status(gate_outcome_e outcome);

/**
 * Proxy-Status error token (RFC 9209, 2.3) for the same.
 * @param cause  what APR said about it; 0 if not known
 * @return static; NULL where retry_status() is 0
 */
const char *retry_error_token(gate_outcome_e outcome, apr_status_t cause);

#endif
