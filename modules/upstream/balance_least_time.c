/*
 * balance_least_time.c - the member that will probably answer soonest.
 *
 * Source: the load metric PeakEwma of Finagle (Twitter, com.twitter.finagle.loadbalancer.PeakEwma, 2015): a member's cost rises
 * to the slowest answer at once and comes down as an exponentially weighted moving average; load is cost times the exchanges it
 * would have in flight, over weight.
 *
 * - Two members are drawn by lot and compared, not all of them: in-flight numbers and costs are always a little behind
 *   (an answer teaches only when it comes), and if all clients looked for the minimum of all, all would go to the member that
 *   looked best a moment ago. test_balance_herd.c has both side by side.
 * - A member nobody has seen answer yet is tried by one exchange at a time: free, it goes before any other; busy, after.
 * - Cost fades while the member is left alone, so that one which was slow is tried again. It does not fade while something is in
 *   flight there (Finagle's does): a member that hangs would look better with every second.
 *
 * The state (gate_learned_t) is two words, used without a lock. `ewma`: cost in 2^-20 usec, 0 unknown. `stamp`: the monotonic usec
 * up to which time has been charged. A learner claims the time since the last stamp by exchanging the stamp; who loses that race
 * has no time to charge and can only raise the peak. So no interval fades twice, and a learner that is killed between the two
 * words costs one sample.
 */
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>

#include "balance.h"

#define FADE_USEC 10e6      /* tau: after it a sample counts 1/e */
#define FRACTION_BITS 20
#define COST_MAX_USEC (INT64_C(1) << 40) /* 12 days */
#define COST_MAX ((uint64_t)COST_MAX_USEC << FRACTION_BITS)

static uint64_t blend(uint64_t cost, uint64_t sample, double keep)
{
    double mixed = (double)sample + ((double)cost - (double)sample) * keep;

    if (mixed > (double)COST_MAX) {
        /* such a cost was not written by us */
        return COST_MAX;
    }
    return mixed < 1.0 ? 1 : (uint64_t)mixed;
}

static void least_time_learn(gate_learned_t *learned, int64_t usec, int64_t now_usec)
{
    uint64_t stamp = atomic_load_explicit(&learned->stamp, memory_order_relaxed);
    uint64_t now = now_usec > 0 ? (uint64_t)now_usec : 1;
    uint64_t sample, cost, next;
    double keep = 1.0;

    if (usec < 1) {
        usec = 1;
    }
    if (usec > COST_MAX_USEC) {
        usec = COST_MAX_USEC;
    }
    sample = (uint64_t)usec << FRACTION_BITS;
    if (now > stamp && atomic_compare_exchange_strong_explicit(&learned->stamp, &stamp, now, memory_order_relaxed,
                                                               memory_order_relaxed)) {
        keep = exp(-(double)(now - stamp) / FADE_USEC);
    }
    cost = atomic_load_explicit(&learned->ewma, memory_order_relaxed);
    do {
        next = sample >= cost ? sample : blend(cost, sample, keep);
    } while (next != cost && !atomic_compare_exchange_weak_explicit(&learned->ewma, &cost, next, memory_order_relaxed,
                                                                   memory_order_relaxed));
}

/* Cost as of now in usec; 0 when nothing is known. */
static double cost_now(const gate_candidate_t *c, int64_t now_usec)
{
    uint64_t raw, stamp;
    double cost;

    if (c->learned == NULL) {
        return 0.0;
    }
    raw = atomic_load_explicit(&c->learned->ewma, memory_order_relaxed);
    if (raw == 0) {
        return 0.0;
    }
    cost = (double)raw / (double)(1 << FRACTION_BITS);
    if (c->inflight == 0) {
        stamp = atomic_load_explicit(&c->learned->stamp, memory_order_relaxed);
        if (now_usec > 0 && (uint64_t)now_usec > stamp) {
            cost *= exp(-(double)((uint64_t)now_usec - stamp) / FADE_USEC);
        }
    }
    return cost > 1.0 ? cost : 1.0;
}

/* Is b to be preferred? Between equals a, the first draw, stays. */
static int better(const gate_candidate_t *b, const gate_candidate_t *a, int64_t now_usec)
{
    double cost_a = cost_now(a, now_usec), cost_b = cost_now(b, now_usec);
    double queue_a = (double)a->inflight + 1, queue_b = (double)b->inflight + 1;

    if (cost_a == 0.0 && cost_b == 0.0) {
        /* nothing in flight on either: the draw decides, by weight */
        return (a->inflight > 0 || b->inflight > 0) && queue_b * (double)balance_share(a) < queue_a * (double)balance_share(b);
    }
    if (cost_a == 0.0 || cost_b == 0.0) {
        return cost_b == 0.0 ? b->inflight == 0 : a->inflight > 0;
    }
    return cost_b * queue_b * (double)balance_share(a) < cost_a * queue_a * (double)balance_share(b);
}

static uint32_t least_time_pick(const gate_pick_t *pick)
{
    uint32_t draw[2];

    balance_draw_two(pick, draw);
    return better(&pick->candidates[draw[1]], &pick->candidates[draw[0]], pick->now_usec) ? draw[1] : draw[0];
}

const gate_strategy_t balance_least_time = {
    .name = "least-time",
    .needs = GATE_BALANCE_INFLIGHT | GATE_BALANCE_RANDOM,
    .pick = least_time_pick,
    .learn = least_time_learn,
};
