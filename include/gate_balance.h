/*
 * gate_balance.h - strategies: which of the candidates gets this try.
 * Depends: gate_registry.h (gate_learned_t).   Memory: none allocated.   Locking: none; shared state only through atomics.
 *
 * The caller gathers candidates (usable, not yet tried, of the best tier: primaries before backups, lower priority number first,
 * under their `connections`) in the order of configuration, and asks the strategy. One file per strategy, each naming its source.
 */
#ifndef GATE_BALANCE_H
#define GATE_BALANCE_H

#include <stdint.h>
#include "gate_registry.h"

#define GATE_RAMP_FULL 1000

typedef struct {
    uint32_t slot;
    uint32_t weight;         /* 1..1000 */
    uint32_t ramp;           /* slow start: 1..GATE_RAMP_FULL */
    uint32_t inflight;       /* over all children; only gathered when the strategy asks for it (GATE_BALANCE_INFLIGHT) */
    uint64_t id_hash;
    gate_learned_t *learned; /* shared; may be NULL in tests of strategies that do not learn */
} gate_candidate_t;

typedef struct {
    const gate_candidate_t *candidates; /* count of them, count >= 1 */
    uint32_t count;
    uint64_t turn;           /* the group's shared turn, taken for the exchange's first pick; then gate_balance_turn_again() */
    uint64_t key_hash;       /* hash strategy: of the key */
    uint64_t random;         /* 64 random bits of the caller's */
    uint32_t load_factor_milli; /* hash: 1250 = 1.25; 0 = no bound */
    int64_t now_usec;        /* monotonic */
} gate_pick_t;

enum {
    GATE_BALANCE_INFLIGHT = 1u << 0, /* needs candidates' inflight */
    GATE_BALANCE_KEY = 1u << 1,      /* needs key_hash: the configuration must give key= */
    GATE_BALANCE_RANDOM = 1u << 2    /* needs random */
};

typedef struct {
    const char *name;        /* as GateBalance writes it */
    unsigned needs;          /* GATE_BALANCE_* */
    /** @return index into candidates */
    uint32_t (*pick)(const gate_pick_t *pick);
    /** Told of each finished try that says something about the member's speed; NULL if it does not learn. */
    void (*learn)(gate_learned_t *learned, int64_t usec, int64_t now_usec);
} gate_strategy_t;

/** All strategies, ended by NULL. The first is the default. */
extern const gate_strategy_t *const gate_strategies[];

/** @return the strategy of that name, or NULL */
const gate_strategy_t *gate_strategy_find(const char *name);

/** 64-bit hash of a key or id: fixed for ever (clients' places hang on it), not seeded. */
uint64_t gate_balance_hash(const void *data, size_t len);

/**
 * Turn for a further pick of the same exchange. Taking another shared turn instead would take it from the rotation: with a dead
 * member in the group, the one after it would be passed over in every round.
 * @param turn   of the exchange's first pick
 * @param tries  how many picks it has had, >= 1
 */
uint64_t gate_balance_turn_again(uint64_t turn, uint32_t tries);

/**
 * Slow start: which share of its weight a member gets.
 * @param up_since_usec  when it became usable; 0: no slow start
 * @param ramp_usec      GateSlowStart; 0: none
 * @return 1..GATE_RAMP_FULL
 */
uint32_t gate_balance_ramp(int64_t up_since_usec, int64_t ramp_usec, int64_t now_usec);

#endif
