/* limiter.c - see limiter.h. */
#include <stdatomic.h>

#include "limiter.h"

#define TICKS_PER_USEC_MAX 57 /* 2^35 ticks, half of what a value can tell apart, are then more than ten minutes */
#define AHEAD_MAX (UINT64_C(1) << 34) /* ticks: what burst and one event may take */
#define LATE_MAX (UINT64_C(1) << 32)  /* ticks, more than a minute: who was held up between reading the clock and asking here */

void gate_rate_make(gate_rate_t *rate, uint64_t events, int64_t period_usec, uint64_t burst)
{
    uint64_t fine = (uint64_t)period_usec * TICKS_PER_USEC_MAX / events, coarse = AHEAD_MAX / (burst + 2);

    rate->events = events;
    rate->period_usec = period_usec;
    rate->burst = burst;
    rate->cost = fine < coarse ? fine : coarse;
    rate->room = burst * rate->cost;
}

/* cost ticks are period / events */
static uint64_t ticks_at(const gate_rate_t *rate, int64_t now_usec)
{
    unsigned __int128 product = (unsigned __int128)(uint64_t)now_usec * (rate->cost * rate->events);

    return (uint64_t)(product / (uint64_t)rate->period_usec);
}

static int64_t usec_of(const gate_rate_t *rate, uint64_t ticks)
{
    unsigned __int128 product = (unsigned __int128)ticks * (uint64_t)rate->period_usec;
    uint64_t per = rate->cost * rate->events;

    return (int64_t)((product + per - 1) / per);
}

/*
 * How far a stored arrival time is ahead of now; 0 when it is past, or so far off that it must be from long ago. It may be ahead by
 * more than the burst: others, whose clock was read later, have charged meanwhile.
 */
static uint64_t ahead_of(const gate_rate_t *rate, uint64_t value, uint64_t now_ticks)
{
    uint64_t ahead = (value - now_ticks) & GATE_LINE_VALUE_MASK;

    return ahead <= rate->room + rate->cost + LATE_MAX ? ahead : 0;
}

typedef struct {
    const gate_rate_t *rate;
    uint64_t now_ticks;
} moment_t;

static uint64_t worth(uint64_t value, const void *ctx)
{
    const moment_t *moment = ctx;

    return ahead_of(moment->rate, value, moment->now_ticks);
}

static void judge(const gate_rate_t *rate, uint64_t ahead, int charged, gate_rate_verdict_t *out)
{
    uint64_t after = ahead;

    out->admitted = ahead <= rate->room;
    out->wait_usec = out->admitted ? usec_of(rate, ahead) : 0;
    out->retry_usec = out->admitted ? 0 : usec_of(rate, ahead - rate->room);
    if (out->admitted && charged) {
        after += rate->cost;
    }
    out->remaining = after <= rate->room ? (rate->room - after) / rate->cost + 1 : 0;
    out->reset_usec = usec_of(rate, after);
    out->evicted = out->uncounted = 0;
}

void gate_limit_peek(const gate_lines_t *lines, const gate_rate_t *rate, uint64_t hash, int64_t now_usec, gate_rate_verdict_t *out)
{
    uint64_t word, now_ticks = ticks_at(rate, now_usec);
    int there = gate_line_find(gate_line_of(lines, hash), gate_line_tag(hash), &word) != NULL;

    judge(rate, there ? ahead_of(rate, word & GATE_LINE_VALUE_MASK, now_ticks) : 0, 0, out);
}

void gate_limit_charge(const gate_lines_t *lines, const gate_rate_t *rate, uint64_t hash, int64_t now_usec,
                       gate_rate_verdict_t *out)
{
    const moment_t moment = { rate, ticks_at(rate, now_usec) };
    uint64_t tag = gate_line_tag(hash), word;
    gate_line_t *line = gate_line_of(lines, hash);

    for (;;) {
        _Atomic uint64_t *place = gate_line_find(line, tag, &word);
        uint64_t ahead = place ? ahead_of(rate, word & GATE_LINE_VALUE_MASK, moment.now_ticks) : 0;
        uint64_t value = (moment.now_ticks + ahead + rate->cost) & GATE_LINE_VALUE_MASK;
        gate_line_result_e result;
        int evicted;

        judge(rate, ahead, 1, out);
        if (!out->admitted) {
            return;
        }
        if (place) {
            if (atomic_compare_exchange_strong(place, &word, tag | value)) {
                return;
            }
            continue;
        }
        result = gate_line_insert(line, tag, value, worth, &moment, &evicted);
        if (result != GATE_LINE_TWICE) {
            out->evicted = result == GATE_LINE_IN && evicted;
            out->uncounted = result == GATE_LINE_BUSY;
            return;
        }
    }
}

void gate_limit_refund(const gate_lines_t *lines, const gate_rate_t *rate, uint64_t hash, int64_t now_usec)
{
    uint64_t now_ticks = ticks_at(rate, now_usec), tag = gate_line_tag(hash), word;
    _Atomic uint64_t *place;

    while ((place = gate_line_find(gate_line_of(lines, hash), tag, &word)) != NULL) {
        uint64_t ahead = ahead_of(rate, word & GATE_LINE_VALUE_MASK, now_ticks);
        uint64_t value = (now_ticks + (ahead > rate->cost ? ahead - rate->cost : 0)) & GATE_LINE_VALUE_MASK;

        if (ahead == 0 || atomic_compare_exchange_strong(place, &word, tag | value)) {
            return;
        }
    }
}

uint32_t gate_limit_sweep(const gate_lines_t *lines, const gate_rate_t *rate, uint32_t from, uint32_t n, int64_t now_usec)
{
    const moment_t moment = { rate, ticks_at(rate, now_usec) };

    return gate_lines_sweep(lines, from, n, worth, &moment);
}
