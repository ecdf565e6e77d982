/*
 * balance_hash.c - the same key to the same member, as long as it has room.
 *
 * Sources: rendezvous hashing (D. Thaler, C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN 6(1),
 * 1998) in its weighted form (C. Schindelhauer, G. Schomaker, "Weighted Distributed Hash Tables", SPAA 2005): each member draws,
 * by hash of key and id, an exponential variate with its weight as the rate; the smallest wins. A member that goes gives away its
 * own keys and no others; one whose weight changes gains or gives what the change is worth.
 * Bounded load (V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018): a member that has
 * its ceil(factor * (total + 1) * share) exchanges in flight is passed over, in the key's own order of members. As factor >= 1
 * some member has always room.
 *
 * Slow start: of the keys that are its own a ramping member keeps those whose second hash lies below its ramp, and passes the others
 * to where they are without it. What it keeps only grows, and no other key moves.
 */
#include <math.h>

#include "balance.h"

/* What decides about all candidates together. */
typedef struct {
    unsigned __int128 allowed;  /* factor * (total in flight + 1) */
    unsigned __int128 shares;   /* 1000 * sum of shares */
    uint32_t ramp_max;
    int bounded;
    int equal;                  /* all weights alike: hashes can be compared without logarithms */
} hash_group_t;

static void survey(const gate_pick_t *pick, hash_group_t *group)
{
    const gate_candidate_t *c = pick->candidates;
    uint64_t total = 0, shares = 0;

    group->ramp_max = 1;
    group->equal = 1;
    for (uint32_t i = 0; i < pick->count; i++) {
        total += c[i].inflight;
        shares += balance_share(&c[i]);
        group->equal = group->equal && c[i].weight == c[0].weight;
        if (c[i].ramp > group->ramp_max) {
            group->ramp_max = c[i].ramp;
        }
    }
    group->bounded = pick->load_factor_milli != 0;
    group->allowed = (unsigned __int128)pick->load_factor_milli * (total + 1);
    group->shares = (unsigned __int128)shares * 1000;
}

/* inflight + 1 <= ceil(allowed * share / shares), without the division */
static int has_room(const hash_group_t *group, const gate_candidate_t *c)
{
    return !group->bounded || c->inflight * group->shares < group->allowed * balance_share(c);
}

/* Does a member in slow start keep this key? Ramps count against the highest: where all are new nobody passes on. */
static int keeps(const hash_group_t *group, const gate_candidate_t *c, uint64_t hash)
{
    return c->ramp >= group->ramp_max || balance_scale(balance_mix(hash), group->ramp_max) < c->ramp;
}

/* The smaller the better. */
static double score_of(const gate_candidate_t *c, uint64_t hash)
{
    double even = ((double)(hash >> 11) + 0.5) * 0x1p-53; /* 0 < even < 1 */

    return -log(even) / (c->weight != 0 ? c->weight : 1);
}

static uint32_t hash_pick(const gate_pick_t *pick)
{
    /* classes: has room and keeps the key; has room; neither */
    uint32_t best[3] = { 0, 0, 0 };
    double best_score[3] = { 0, 0, 0 };
    uint64_t best_hash[3] = { 0, 0, 0 };
    int found[3] = { 0, 0, 0 };
    hash_group_t group;

    survey(pick, &group);
    for (uint32_t i = 0; i < pick->count; i++) {
        const gate_candidate_t *c = &pick->candidates[i];
        uint64_t hash = balance_mix(pick->key_hash ^ balance_mix(c->id_hash));
        int class = !has_room(&group, c) ? 2 : keeps(&group, c, hash) ? 0 : 1;
        double score = group.equal ? 0.0 : score_of(c, hash);

        if (!found[class] || (group.equal ? hash > best_hash[class] : score < best_score[class])) {
            found[class] = 1;
            best[class] = i;
            best_hash[class] = hash;
            best_score[class] = score;
        }
    }
    return found[0] ? best[0] : found[1] ? best[1] : best[2];
}

const gate_strategy_t balance_hash = {
    .name = "hash",
    .needs = GATE_BALANCE_INFLIGHT | GATE_BALANCE_KEY,
    .pick = hash_pick,
};
