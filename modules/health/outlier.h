/*
 * outlier.h - passive checks: which member is taken out for the errors that requests met, for how long, and how it comes back.
 * Depends: gate_registry.h.   Memory: none allocated; one outlier_row_t per slot lies in the zone "health".
 * Locking: counting is atomic; ejecting takes the group's lock, briefly, so that two children cannot both eject the last but one.
 * Time:    monotonic microseconds, always passed in.
 *
 * A member is EJECTED after `errors` errors in a row within `window`; any good answer ends the row. The first ejection lasts `eject`,
 * each further one twice as long as the one before, up to 32 times, and up to 10 % longer by chance of its id so that members
 * that fell together do not rise together. Each spell of good conduct as long as its last ejection takes one repetition back.
 * When an ejection is due the member is tried by one request at a time (gate_trial_claim()): a good answer brings it back, an error
 * ejects it for longer, anything else says nothing and the next request tries.
 * Never ejected: the last usable member of a group, and more than max_eject of those in service, counted with the one to go.
 */
#ifndef OUTLIER_H
#define OUTLIER_H

#include <stdatomic.h>
#include <stdint.h>

#include "gate_lock.h"
#include "gate_parse.h"
#include "gate_registry.h"

#define OUTLIER_DOUBLINGS_MAX 5

/* What GateOutlier says; read only. */
typedef struct {
    int off;
    uint32_t errors;             /* in a row */
    int64_t window_usec;         /* the row must fit into it */
    int64_t eject_usec;          /* the first ejection */
    uint32_t max_eject_milli;    /* share of the members in service */
    gate_status_set_t statuses;  /* answers that count as errors */
} outlier_rule_t;

/* ZONE  one per slot. ATOMIC all; a child that dies between two stores leaves at worst a count that is off by one. */
typedef struct {
    _Atomic uint32_t incarnation;  /* whose numbers these are; 0: nobody's */
    _Atomic uint32_t times;        /* ejections that still count for the length of the next */
    _Atomic uint64_t run;          /* errors in a row: when the first came, in ms << 16 | how many; 0: none */
    _Atomic int64_t length_usec;   /* of the last ejection */
    _Atomic int64_t back_usec;     /* when it came back from it */
    _Atomic uint64_t ejections, trials, refused; /* ever: ejections, trials that were reported, ejections that were not allowed */
} outlier_row_t;

typedef enum {
    OUTLIER_NOTHING = 0,
    OUTLIER_EJECTED,      /* just now */
    OUTLIER_AGAIN,        /* its trial failed: ejected for longer */
    OUTLIER_BACK,         /* its trial went well: in rotation again */
    OUTLIER_LAST,         /* would be ejected, but no other member is usable */
    OUTLIER_CAP           /* would be ejected, but too many are already */
} outlier_act_e;

typedef struct {
    outlier_act_e act;
    uint32_t errors;      /* in a row */
    uint32_t times;       /* the how-manieth ejection */
    int64_t length_usec;  /* of the ejection */
    uint32_t others;      /* usable members that are left */
} outlier_verdict_t;

/* Says something about the member: 1 an error, 0 a good answer; -1 nothing (the client left, an answer of 500 that is not listed, ..). */
int outlier_judge(const outlier_rule_t *rule, const gate_report_t *report);

/**
 * Takes one report in: counts, and ejects or brings back when it is time for it (the verdict is changed, an event written).
 * @param group_lock  of the report's group; waits 2 ms for it at most, and not at all unless a member is to be ejected
 * @param refusals    set to 1 when a refusal is new and worth a line (once per row of errors); never NULL
 */
outlier_verdict_t outlier_take(gate_registry_t *reg, outlier_row_t *row, gate_lock_t *group_lock, const outlier_rule_t *rule,
                               const gate_report_t *report, int *refusals);

/** Members of the group: in service (not taken out by admin or discovery), EJECTED among them, usable. Outputs may not be NULL. */
void outlier_count(const gate_registry_t *reg, uint32_t group, uint32_t *in_service, uint32_t *ejected, uint32_t *usable);

/**
 * When nobody else of the group is usable, because checks or an admin took the others out after it was ejected: the ejected member
 * whose trial is due first is used again at once. To be called after a verdict was set, and now and then.
 * @return its slot, or GATE_NO_SLOT when nothing had to be done
 */
uint32_t outlier_release_last(gate_registry_t *reg, gate_lock_t *group_lock, uint32_t group, int64_t now_usec);

/** How long the next ejection would last. */
int64_t outlier_length(const outlier_rule_t *rule, uint32_t times, uint64_t seed);

#endif
