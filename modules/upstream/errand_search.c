/*
 * errand_search.c - from an errand to the member of its next try: the one its client is bound to, or the strategy's choice; and in a
 * group whose members have caps, counted in flight in the same step, under the queue's lock.
 */
#include "balance.h"
#include "errand.h"

/* SplitMix64, as balance.h. */
static uint64_t random_bits(int64_t now_usec)
{
    static _Thread_local uint64_t state;

    if (!state) {
        state = (uint64_t)now_usec ^ (uint64_t)(uintptr_t)&state;
    }
    state += UINT64_C(0x9e3779b97f4a7c15);
    return balance_mix(state);
}

static pick_ask_t ask_for(const gate_errand_t *e)
{
    const upstream_group_t *group = e->group;
    pick_ask_t ask = {
        .registry = e->house->registry, .roster = e->roster, .strategy = group->strategy, .tried = e->tried,
        .tried_count = (uint32_t)e->tries, .load_factor_milli = group->load_factor_milli, .panic_milli = group->panic_milli,
        .key_hash = e->key_hash, .slow_start_usec = group->slow_start_usec, .now_usec = e->now_usec, .seat = e->house->seat,
        .peek = e->peek
    };

    if (e->affinity_hash) { /* GateSticky header=: as hash does it, without a bound on the load */
        ask.strategy = &balance_hash;
        ask.key_hash = e->affinity_hash;
        ask.load_factor_milli = 0;
    }
    if ((ask.strategy->needs & GATE_BALANCE_RANDOM) || e->tries) {
        ask.random = random_bits(e->now_usec);
    }
    return ask;
}

static int is_full(const gate_errand_t *e, const gate_roster_member_t *member)
{
    return member->connections && gate_inflight(e->house->registry, member->slot) >= member->connections;
}

/* Where the client's cookie says: draining members too. -1: nowhere any more. */
static int bound_place(const gate_errand_t *e, const pick_ask_t *ask)
{
    uint32_t i;

    for (i = 0; e->bound && i < e->roster->count; i++) {
        const gate_roster_member_t *member = &e->roster->members[i];

        if (member->id_hash == e->bound_hash) {
            return !pick_was_tried(ask, member) && sticky_may_stay(gate_verdict(ask->registry, member->slot), pick_unusable(ask))
                       ? (int)i
                       : -1;
        }
    }
    return -1;
}

int errand_bound(const gate_errand_t *e)
{
    pick_ask_t ask = ask_for(e);

    return e->elsewhere ? -1 : bound_place(e, &ask);
}

static pick_answer_t choose(gate_errand_t *e)
{
    pick_ask_t ask = ask_for(e);
    int place = e->elsewhere ? -1 : bound_place(e, &ask);

    if (place >= 0 && !is_full(e, &e->roster->members[place])) {
        return (pick_answer_t){ .index = place, .others = 1 };
    }
    if (place >= 0 && e->group->queue_length) {
        return (pick_answer_t){ .index = -1, .others = 1, .full = 1 }; /* it waits for its own */
    }
    if (place >= 0) {
        e->elsewhere = 1;
    }
    return pick_member(&ask, e->ask.pool);
}

static int find(gate_errand_t *e)
{
    pick_answer_t answer = choose(e);

    e->next = answer.index;
    e->next_is_trial = answer.is_trial;
    if (answer.index < 0) {
        e->full = answer.full;
        e->others_full = answer.full > 0;
    }
    return answer.index >= 0;
}

int errand_peek(gate_errand_t *e)
{
    return find(e);
}

int errand_admit(void *errand)
{
    gate_errand_t *e = errand;

    if (!find(e)) {
        return 0;
    }
    e->claimed_slot = e->roster->members[e->next].slot;
    e->claimed = 1;
    gate_inflight_begin(e->house->registry, e->house->seat, e->claimed_slot);
    return 1;
}

int errand_hope(gate_errand_t *e)
{
    pick_ask_t ask = ask_for(e);

    return pick_usable(&ask) > 0 || (!e->elsewhere && bound_place(e, &ask) >= 0);
}

void errand_freed(const gate_errand_t *e)
{
    if (e->group->queue_length) {
        queue_released(e->house->queue, e->group->index, e->now_usec);
    }
}

void errand_unclaim(gate_errand_t *e)
{
    if (e->claimed) {
        e->claimed = 0;
        gate_inflight_end(e->house->registry, e->house->seat, e->claimed_slot);
        errand_freed(e);
    }
}

int errand_search(gate_errand_t *e)
{
    queue_stay_t stay = { .group = e->group->index, .seat = e->house->seat };

    errand_unclaim(e);
    if (!e->roster->capped) {
        return find(e);
    }
    e->next = -1;
    e->full = 1; /* if nobody may look: others wait already */
    e->others_full = 1;
    return queue_enter(e->house->queue, &stay, 0, errand_admit, e, e->now_usec) == QUEUE_ADMITTED;
}
