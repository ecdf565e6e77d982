/*
 * limiter.h - how often: the generic cell rate algorithm (ITU-T I.371, annex A; the "virtual scheduling" form) over lines.h.
 * Depends: lines.h.   Memory: none of its own.
 * Locking: lines.h; exact over all threads and processes: each admission is one compare-and-swap of the key's arrival time.
 * Time:    monotonic microseconds, passed in.
 *
 * A key may do burst + 1 at once and `events` in each period after that: over any time t it is let through at most
 * burst + 1 + t * events / period times. What is refused is not charged.
 */
#ifndef GATE_ACCESS_LIMITER_H
#define GATE_ACCESS_LIMITER_H

#include <stdint.h>
#include "lines.h"

#define GATE_RATE_BURST_MAX UINT64_C(1000000)
#define GATE_RATE_EVENTS_MAX UINT64_C(1000000)

/* Time in it is counted in ticks of a size that makes one event a whole number of them. */
typedef struct {
    uint64_t events;
    int64_t period_usec;
    uint64_t burst;
    uint64_t cost;          /* ticks of one event */
    uint64_t room;          /* ticks that a key may be ahead: burst * cost */
} gate_rate_t;

typedef struct {
    int admitted;
    int evicted;            /* another key that had something counted gave way */
    int uncounted;          /* let through without counting: the line's lock was held by somebody who does not move */
    uint64_t remaining;     /* further ones that would be let through now */
    int64_t wait_usec;      /* admitted: until it is its turn at the even rate (delay mode waits so long) */
    int64_t retry_usec;     /* refused: until one would be let through */
    int64_t reset_usec;     /* until the whole burst is there again */
} gate_rate_verdict_t;

/** events 1..GATE_RATE_EVENTS_MAX per period_usec (1 s .. 1 d), no more than a million a second; burst 0..GATE_RATE_BURST_MAX */
void gate_rate_make(gate_rate_t *rate, uint64_t events, int64_t period_usec, uint64_t burst);

/** Asks without charging. */
void gate_limit_peek(const gate_lines_t *lines, const gate_rate_t *rate, uint64_t hash, int64_t now_usec, gate_rate_verdict_t *out);

/** Charges one event, if it is admitted. */
void gate_limit_charge(const gate_lines_t *lines, const gate_rate_t *rate, uint64_t hash, int64_t now_usec,
                       gate_rate_verdict_t *out);

/** Takes one charge back: something else refused the request. */
void gate_limit_refund(const gate_lines_t *lines, const gate_rate_t *rate, uint64_t hash, int64_t now_usec);

/** Frees what is over; call for every line at least each GATE_LIMIT_SWEEP_USEC. @return keys with something counted */
uint32_t gate_limit_sweep(const gate_lines_t *lines, const gate_rate_t *rate, uint32_t from, uint32_t n, int64_t now_usec);

#define GATE_LIMIT_SWEEP_USEC INT64_C(60000000)

#endif
