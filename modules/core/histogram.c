/*
 * histogram.c - log-linear latency histogram (after HdrHistogram, G. Tene, 2012). Contract: gate_histogram.h.
 *
 * Values below GATE_HISTOGRAM_STEPS have a bucket each. From there on every power of two is cut into GATE_HISTOGRAM_STEPS
 * equal parts: the four bits after the leading one choose the part.
 */
#include <stdatomic.h>

#include "gate_histogram.h"

#define STEP_BITS 4
#define VALUE_MAX UINT64_C(0xffffffff)

_Static_assert(1 << STEP_BITS == GATE_HISTOGRAM_STEPS, "the steps are what four bits choose");

uint32_t gate_histogram_bucket(uint64_t usec)
{
    uint32_t octave;

    if (usec < GATE_HISTOGRAM_STEPS) {
        return (uint32_t)usec;
    }
    if (usec > VALUE_MAX) {
        usec = VALUE_MAX;
    }
    octave = 63 - (uint32_t)__builtin_clzll(usec) - STEP_BITS;
    return GATE_HISTOGRAM_STEPS + octave * GATE_HISTOGRAM_STEPS + (uint32_t)(usec >> octave) % GATE_HISTOGRAM_STEPS;
}

static uint64_t bucket_width(uint32_t bucket)
{
    return bucket < GATE_HISTOGRAM_STEPS ? 1 : UINT64_C(1) << (bucket / GATE_HISTOGRAM_STEPS - 1);
}

uint64_t gate_histogram_lower(uint32_t bucket)
{
    if (bucket < GATE_HISTOGRAM_STEPS) {
        return bucket;
    }
    return (GATE_HISTOGRAM_STEPS + bucket % GATE_HISTOGRAM_STEPS) * bucket_width(bucket);
}

uint64_t gate_histogram_upper(uint32_t bucket)
{
    return gate_histogram_lower(bucket) + bucket_width(bucket) - 1;
}

void gate_histogram_record(gate_histogram_t *h, uint64_t usec)
{
    if (usec > VALUE_MAX) {
        usec = VALUE_MAX;
    }
    atomic_fetch_add_explicit(&h->bucket[gate_histogram_bucket(usec)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_usec, usec, memory_order_relaxed);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* For a counter that nobody else writes. */
static void add_private(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, load(counter) + n, memory_order_relaxed);
}

void gate_histogram_merge(gate_histogram_t *into, const gate_histogram_t *from)
{
    for (uint32_t i = 0; i < GATE_HISTOGRAM_BUCKETS; i++) {
        add_private(&into->bucket[i], load(&from->bucket[i]));
    }
    add_private(&into->sum_usec, load(&from->sum_usec));
}

uint64_t gate_histogram_count(const gate_histogram_t *h)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < GATE_HISTOGRAM_BUCKETS; i++) {
        count += load(&h->bucket[i]);
    }
    return count;
}

/* The how-manieth record, counted from 1, is the quantile of count > 0 records. */
static uint64_t quantile_rank(double q, uint64_t count)
{
    double exact = q * (double)count;
    uint64_t rank;

    if (!(exact > 1.0)) { /* also when q is not a number */
        return 1;
    }
    if (exact >= (double)count) {
        return count;
    }
    rank = (uint64_t)exact;
    return (double)rank < exact ? rank + 1 : rank;
}

uint64_t gate_histogram_quantile(const gate_histogram_t *h, double q)
{
    uint64_t count = gate_histogram_count(h);
    uint64_t rank, seen = 0;
    uint32_t last = 0;

    if (count == 0) {
        return 0;
    }
    rank = quantile_rank(q, count);
    for (uint32_t i = 0; i < GATE_HISTOGRAM_BUCKETS && seen < rank; i++) {
        uint64_t n = load(&h->bucket[i]);

        seen += n;
        last = n > 0 ? i : last;
    }
    return (gate_histogram_lower(last) + gate_histogram_upper(last)) / 2;
}

/* n * part / whole without overflow; part <= whole < 2^32 */
static uint64_t share(uint64_t n, uint64_t part, uint64_t whole)
{
    return n / whole * part + n % whole * part / whole;
}

uint64_t gate_histogram_at_most(const gate_histogram_t *h, uint64_t usec)
{
    uint32_t bucket = gate_histogram_bucket(usec);
    uint64_t lower = gate_histogram_lower(bucket);
    uint64_t width = bucket_width(bucket);
    uint64_t part = usec - lower + 1;
    uint64_t count = 0;

    for (uint32_t i = 0; i < bucket; i++) {
        count += load(&h->bucket[i]);
    }
    return count + share(load(&h->bucket[bucket]), part < width ? part : width, width);
}
