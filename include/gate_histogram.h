/*
 * gate_histogram.h - latency histogram, log-linear, mergeable.
 * Depends: libc.   Memory: fixed size, plain struct of 64-bit counters; may live in shared memory.
 * Locking: none; recording is one relaxed atomic add, readers copy (a copy may lag by the records in flight).
 *
 * Unit: microseconds. 16 linear steps per power of two (as in HdrHistogram, G. Tene, 2012): a value is off by at most half a
 * step of 1/16, so a quantile's error is at most 3.2 %. Values from 0 to 2^32-1 usec (71 minutes); larger ones count as the last.
 */
#ifndef GATE_HISTOGRAM_H
#define GATE_HISTOGRAM_H

#include <stdint.h>

#define GATE_HISTOGRAM_STEPS 16
#define GATE_HISTOGRAM_BUCKETS (GATE_HISTOGRAM_STEPS + (32 - 4) * GATE_HISTOGRAM_STEPS) /* 464 */

typedef struct {
    _Atomic uint64_t sum_usec;
    _Atomic uint64_t bucket[GATE_HISTOGRAM_BUCKETS];
} gate_histogram_t;

void gate_histogram_record(gate_histogram_t *h, uint64_t usec);

/** Bucket of a value, and the smallest and largest value that fall into a bucket. */
uint32_t gate_histogram_bucket(uint64_t usec);
uint64_t gate_histogram_lower(uint32_t bucket);
uint64_t gate_histogram_upper(uint32_t bucket);

/** Adds `from` into `into`; `into` is private to the caller. */
void gate_histogram_merge(gate_histogram_t *into, const gate_histogram_t *from);

uint64_t gate_histogram_count(const gate_histogram_t *h);

/**
 * @param q  0..1
 * @return the value below which a share q of the records lies (middle of its bucket), 0 when empty
 */
uint64_t gate_histogram_quantile(const gate_histogram_t *h, double q);

/** How many records are <= usec; exact when usec is the upper edge of a bucket, else the bucket's share is interpolated. */
uint64_t gate_histogram_at_most(const gate_histogram_t *h, uint64_t usec);

#endif
