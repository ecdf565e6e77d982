/*
 * pick.h - which member is asked next: health, tiers and caps here, the choice among equals by the strategy.
 * Depends: gate_registry.h, gate_roster.h, gate_balance.h.   Memory: from the caller's pool, for large groups only.
 * Locking: none; verdicts and in-flight numbers are read as they are at this moment.
 */
#ifndef PICK_H
#define PICK_H

#include "gate_balance.h"
#include "gate_registry.h"
#include "gate_roster.h"

typedef struct {
    uint32_t slot, incarnation;
} pick_tried_t;

typedef struct {
    gate_registry_t *registry;
    const gate_roster_t *roster;
    const gate_strategy_t *strategy;
    const pick_tried_t *tried;      /* by this exchange */
    uint32_t tried_count;
    uint32_t load_factor_milli;
    uint32_t panic_milli;           /* GatePanic; 0: off */
    uint64_t key_hash;
    uint64_t random;                /* 64 random bits */
    int64_t slow_start_usec, now_usec;
    int seat;                       /* of this process: claims trials */
    int peek;                       /* nothing is taken: no turn, no trial */
} pick_ask_t;

typedef struct {
    int index;        /* into the roster; -1: nobody */
    uint32_t others;  /* usable members that were not tried yet, the picked one included */
    uint32_t full;    /* of those, how many are at their `connections` */
    int is_trial;     /* the picked one is ejected and due for a trial, which this caller has claimed */
} pick_answer_t;

/** Verdict bits that count now: GATE_UNUSABLE, or less of it in a panic. */
uint32_t pick_unusable(const pick_ask_t *ask);

/** How many members could be asked if they had room: usable, not tried. */
uint32_t pick_usable(const pick_ask_t *ask);

int pick_was_tried(const pick_ask_t *ask, const gate_roster_member_t *member);

/** An ejected member that is due for a trial comes first. Takes the group's turn when there is somebody to choose from (peek: does not). */
pick_answer_t pick_member(const pick_ask_t *ask, apr_pool_t *pool);

#endif
