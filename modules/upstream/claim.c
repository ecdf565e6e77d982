/*
 * claim.c - from an exchange to the member of its next try: the one its client is bound to, or the strategy's choice; and in a group
 * whose members have caps, counted in flight in the same step, under the queue's lock.
 */
#include "upstream.h"

static uint64_t random_bits(void)
{
    static _Thread_local uint64_t state;

    if (!state) {
        state = (uint64_t)gate_mono_usec() ^ (uint64_t)(uintptr_t)&state;
    }
    state += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64, as balance.h */
    uint64_t z = state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static pick_ask_t ask_for(const upstream_exchange_t *x)
{
    const upstream_group_t *group = x->group;
    pick_ask_t ask = {
        .registry = gate_core()->registry, .roster = x->roster, .strategy = group->strategy, .tried = x->tried,
        .tried_count = x->tries, .load_factor_milli = group->load_factor_milli, .panic_milli = group->panic_milli,
        .key_hash = x->key_hash, .slow_start_usec = group->slow_start_usec, .now_usec = gate_mono_usec(), .seat = gate_core()->seat,
        .peek = x->peek
    };

    if (x->affinity_hash) { /* GateSticky header=: as hash does it, without a bound on the load */
        ask.strategy = gate_strategy_find("hash");
        ask.key_hash = x->affinity_hash;
        ask.load_factor_milli = 0;
    }
    if ((ask.strategy->needs & GATE_BALANCE_RANDOM) || x->tries) {
        ask.random = random_bits();
    }
    return ask;
}

static int is_full(const gate_roster_member_t *member)
{
    return member->connections && gate_inflight(gate_core()->registry, member->slot) >= member->connections;
}

/* Where the client's cookie says: draining members too. -1: nowhere any more. */
static int bound_place(const upstream_exchange_t *x, const pick_ask_t *ask)
{
    uint32_t i;

    for (i = 0; x->bound && i < x->roster->count; i++) {
        const gate_roster_member_t *member = &x->roster->members[i];

        if (member->id_hash == x->bound_hash) {
            return !pick_was_tried(ask, member) && sticky_may_stay(gate_verdict(ask->registry, member->slot), pick_unusable(ask))
                       ? (int)i
                       : -1;
        }
    }
    return -1;
}

static pick_answer_t choose(upstream_exchange_t *x)
{
    pick_ask_t ask = ask_for(x);
    int place = x->elsewhere ? -1 : bound_place(x, &ask);

    if (place >= 0 && !is_full(&x->roster->members[place])) {
        return (pick_answer_t){ .index = place, .others = 1 };
    }
    if (place >= 0 && x->group->queue_length) {
        return (pick_answer_t){ .index = -1, .others = 1, .full = 1 }; /* it waits for its own */
    }
    if (place >= 0) {
        x->elsewhere = 1;
    }
    return pick_member(&ask, x->r->pool);
}

static int search(upstream_exchange_t *x)
{
    pick_answer_t answer = choose(x);

    x->next = answer.index;
    x->next_is_trial = answer.is_trial;
    if (answer.index < 0) {
        x->full = answer.full;
        x->others_full = answer.full > 0;
    }
    return answer.index >= 0;
}

int upstream_claim_peek(upstream_exchange_t *x)
{
    x->peek = 1;
    return search(x);
}

int upstream_claim_admit(void *exchange)
{
    upstream_exchange_t *x = exchange;

    if (!search(x)) {
        return 0;
    }
    x->claimed_slot = x->roster->members[x->next].slot;
    x->claimed = 1;
    gate_inflight_begin(gate_core()->registry, gate_core()->seat, x->claimed_slot);
    return 1;
}

int upstream_claim_hope(upstream_exchange_t *x)
{
    pick_ask_t ask = ask_for(x);

    return pick_usable(&ask) > 0 || (!x->elsewhere && bound_place(x, &ask) >= 0);
}

static apr_status_t release_roster(void *roster)
{
    gate_roster_release(roster);
    return APR_SUCCESS;
}

void upstream_claim_follow(upstream_exchange_t *x)
{
    if (x->roster->version != gate_group_version(gate_core()->registry, x->group->index)) {
        /* tries that are over point into the old one */
        apr_pool_cleanup_register(x->r->pool, x->roster, release_roster, apr_pool_cleanup_null);
        x->roster = gate_roster_hold(upstream_rosters, x->group->index);
    }
}

void upstream_unclaim(upstream_exchange_t *x)
{
    if (x->claimed) {
        x->claimed = 0;
        gate_inflight_end(gate_core()->registry, gate_core()->seat, x->claimed_slot);
        upstream_freed(x);
    }
}

void upstream_freed(const upstream_exchange_t *x)
{
    if (x->group->queue_length) {
        queue_released(upstream_queue, x->group->index);
    }
}

int upstream_claim(upstream_exchange_t *x)
{
    queue_stay_t stay = { .group = x->group->index, .seat = gate_core()->seat };

    upstream_unclaim(x);
    if (!x->roster->capped) {
        return search(x);
    }
    x->next = -1;
    x->full = x->others_full = 1; /* if nobody may look: others wait already */
    return queue_enter(upstream_queue, &stay, 0, upstream_claim_admit, x, gate_mono_usec()) == QUEUE_ADMITTED;
}
