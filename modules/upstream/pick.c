/* pick.c - see pick.h. */
#include <string.h>

#include "pick.h"

#define USUAL 32 /* groups up to this size need no memory */
#define TRIAL_LEASE_USEC (INT64_C(90) * 1000000) /* longer than a try usually may take: then the next one may */

typedef struct {
    const pick_ask_t *ask;
    uint32_t unusable;   /* verdict bits that count now */
    gate_candidate_t *candidates;
    uint32_t *places;    /* of each candidate in the roster */
    uint32_t count;
    int trial;           /* place of an ejected member that is to be tried, or -1 */
    int has_tier;
    uint32_t tier_backup, tier_priority;
    pick_answer_t answer;
} gather_t;

int pick_was_tried(const pick_ask_t *ask, const gate_roster_member_t *member)
{
    uint32_t i;

    for (i = 0; i < ask->tried_count; i++) {
        if (ask->tried[i].slot == member->slot && ask->tried[i].incarnation == member->incarnation) {
            return 1;
        }
    }
    return 0;
}

/* Below GatePanic what health says is overlooked; the admin's word and discovery's are not. */
uint32_t pick_unusable(const pick_ask_t *ask)
{
    uint32_t i, in_service = 0, healthy = 0;

    if (ask->panic_milli == 0) {
        return GATE_UNUSABLE;
    }
    for (i = 0; i < ask->roster->count; i++) {
        uint32_t verdict = gate_verdict(ask->registry, ask->roster->members[i].slot);

        if (!(verdict & (GATE_VERDICT_ADMIN | GATE_VERDICT_GONE))) {
            in_service++;
            healthy += (verdict & GATE_VERDICT_HEALTH) == 0;
        }
    }
    return (uint64_t)healthy * 1000 < (uint64_t)in_service * ask->panic_milli ? GATE_UNUSABLE & ~GATE_VERDICT_HEALTH : GATE_UNUSABLE;
}

uint32_t pick_usable(const pick_ask_t *ask)
{
    uint32_t i, count = 0, unusable = pick_unusable(ask);

    for (i = 0; i < ask->roster->count; i++) {
        const gate_roster_member_t *member = &ask->roster->members[i];

        count += !(gate_verdict(ask->registry, member->slot) & unusable) && !pick_was_tried(ask, member);
    }
    return count;
}

/* -1: better than the tier so far, 0: the same, 1: worse */
static int against_tier(const gather_t *g, const gate_roster_member_t *member)
{
    uint32_t backup = member->flags & GATE_MEMBER_BACKUP;

    if (!g->has_tier || backup < g->tier_backup) {
        return -1;
    }
    if (backup > g->tier_backup) {
        return 1;
    }
    return member->priority < g->tier_priority ? -1 : member->priority > g->tier_priority;
}

static void add_candidate(gather_t *g, uint32_t place, const gate_roster_member_t *member, uint32_t inflight)
{
    const pick_ask_t *ask = g->ask;
    gate_candidate_t *c = &g->candidates[g->count];

    c->slot = member->slot;
    c->weight = gate_weight(ask->registry, member->slot);
    c->ramp = GATE_RAMP_FULL;
    if (ask->slow_start_usec > 0) {
        c->ramp = gate_balance_ramp(gate_up_since(ask->registry, member->slot), ask->slow_start_usec, ask->now_usec);
    }
    c->inflight = inflight;
    c->id_hash = member->id_hash;
    c->learned = gate_member_learned(ask->registry, member->slot);
    g->places[g->count++] = place;
}

static void consider(gather_t *g, uint32_t place)
{
    const pick_ask_t *ask = g->ask;
    const gate_roster_member_t *member = &ask->roster->members[place];
    uint32_t inflight = 0, verdict;
    int tier;

    verdict = gate_verdict(ask->registry, member->slot) & g->unusable;
    if (pick_was_tried(ask, member)) {
        return;
    }
    if (verdict == GATE_VERDICT_EJECTED && g->trial < 0 && !ask->peek
        && (!member->connections || gate_inflight(ask->registry, member->slot) < member->connections)
        && gate_trial_claim(ask->registry, member->slot, ask->seat, ask->now_usec, TRIAL_LEASE_USEC)) {
        g->trial = (int)place;
    }
    if (verdict) {
        return;
    }
    g->answer.others++;
    if (member->connections || (ask->strategy->needs & GATE_BALANCE_INFLIGHT)) {
        inflight = gate_inflight(ask->registry, member->slot);
        if (member->connections && inflight >= member->connections) {
            g->answer.full++;
            return;
        }
    }
    tier = against_tier(g, member);
    if (tier > 0) {
        return;
    }
    if (tier < 0) {
        g->has_tier = 1;
        g->tier_backup = member->flags & GATE_MEMBER_BACKUP;
        g->tier_priority = member->priority;
        g->count = 0;
    }
    add_candidate(g, place, member, inflight);
}

static uint64_t next_turn(gate_registry_t *reg, uint32_t group)
{
    return gate_group_turn_next(reg, group);
}

pick_answer_t pick_member(const pick_ask_t *ask, apr_pool_t *pool)
{
    gate_candidate_t usual[USUAL];
    uint32_t usual_places[USUAL], i;
    gather_t g = { .ask = ask, .candidates = usual, .places = usual_places, .trial = -1, .answer = { .index = -1 } };

    if (ask->roster->count > USUAL) {
        g.candidates = apr_palloc(pool, ask->roster->count * sizeof *g.candidates);
        g.places = apr_palloc(pool, ask->roster->count * sizeof *g.places);
    }
    g.unusable = pick_unusable(ask);
    for (i = 0; i < ask->roster->count; i++) {
        consider(&g, i);
    }
    if (g.trial >= 0) {
        g.answer.index = g.trial;
        g.answer.is_trial = 1;
        g.answer.others++;
    }
    else if (g.count > 0) {
        uint64_t (*turn)(gate_registry_t *reg, uint32_t group) = ask->peek ? next_turn : gate_group_turn;
        gate_pick_t pick = {
            .candidates = g.candidates, .count = g.count, .key_hash = ask->key_hash, .random = ask->random,
            .load_factor_milli = ask->load_factor_milli, .now_usec = ask->now_usec,
            /* a further try takes no turn: with one member of two gone, every first turn would come to that one */
            .turn = ask->tried_count ? ask->random : turn(ask->registry, ask->roster->group)
        };

        g.answer.index = (int)g.places[ask->strategy->pick(&pick)];
    }
    return g.answer;
}
