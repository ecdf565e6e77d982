/*
 * health_state.h - decides when a member leaves or rejoins by its checks, and when it is checked next.
 * Depends: libc only.     Memory: none allocated.
 * Locking: none; one health_track_t belongs to one prober at a time.
 * Time:    monotonic microseconds, always passed in.
 */
#ifndef HEALTH_STATE_H
#define HEALTH_STATE_H

#include <stdint.h>

/* What GateHealthCheck says; read only. */
typedef struct {
    uint32_t rise, fall;      /* results in a row that change the verdict, 1.. */
    int64_t interval_usec;
    int64_t fast_usec;        /* between checks while the verdict may be about to change; <= interval_usec */
    int64_t timeout_usec;     /* of one check */
} health_rule_t;

typedef enum { HEALTH_UNKNOWN = 0, HEALTH_UP, HEALTH_DOWN } health_state_e;

/* History of one member. All zero: never checked. */
typedef struct {
    health_state_e state;
    uint32_t streak;          /* results in a row that speak against state (failures while UNKNOWN) */
} health_track_t;

/**
 * Records one result. A result that agrees with the state starts the count anew: only results in a row matter. UNKNOWN ends with
 * the first good check, or with `fall` bad ones.
 * @param ok  non-zero if the check passed
 * @return 1 if the state changed with this result, else 0
 */
int health_note(health_track_t *t, const health_rule_t *rule, int ok);

/** Non-zero while the next results may change the state: then fast_usec is the interval. */
int health_is_changing(const health_track_t *t);

/** When a member that this prober has just met is checked first: soon, and not all at the same moment. */
int64_t health_first_due(const health_track_t *t, const health_rule_t *rule, uint64_t id_hash, int64_t now_usec);

/**
 * When the next check is due, up to 5 % sooner or later than the interval so that members do not stay in step.
 * @param due_usec  when the last one was due: a rhythm is kept, what was missed is not made up for
 * @param turn      how many checks there were, for the jitter
 */
int64_t health_next_due(const health_track_t *t, const health_rule_t *rule, uint64_t id_hash, uint32_t turn, int64_t due_usec,
                        int64_t now_usec);

/** How old the last result of a member may be before what checks say is not trusted: three intervals and the timeout. */
int64_t health_trust_usec(const health_rule_t *rule);

#endif
