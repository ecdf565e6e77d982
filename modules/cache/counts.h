/*
 * counts.h - what the cache counts. A row per seat, summed by readers; rows are never zeroed, so sums only grow, over
 * the deaths of children and graceful restarts.
 */
#ifndef GATE_CACHE_COUNTS_H
#define GATE_CACHE_COUNTS_H

#include <stdint.h>

/* result of a request in a location with GateCache on: the first ones are what Cache-Status tells */
#define GATE_CACHE_COUNTS(F) \
    F(hit) F(stale) F(revalidated) F(miss) F(followed) F(pass) F(bypass) F(only_if_cached) \
    F(bypass_method) F(bypass_body) F(bypass_range) F(bypass_authorization) F(bypass_rule) F(bypass_no_store) F(bypass_pins) \
    F(stored) F(not_stored) F(not_stored_full) F(not_stored_big) F(not_stored_broken) F(not_stored_purged) \
    F(refreshed) F(refresh_failed) F(stale_error) F(invalidated) F(purges) F(purged) \
    F(compressed) F(compress_useless) F(compress_in_bytes) F(compress_out_bytes) F(unpacked) \
    F(hit_bytes) F(stored_bytes) F(not_modified) F(wait_timeouts) F(leader_lost)

enum {
#define GATE_CACHE_COUNT_(name) GATE_COUNT_##name,
    GATE_CACHE_COUNTS(GATE_CACHE_COUNT_)
#undef GATE_CACHE_COUNT_
    GATE_COUNT_TOTAL
};

typedef struct {
    _Atomic uint64_t n[GATE_COUNT_TOTAL];
    uint64_t spare[8 - GATE_COUNT_TOTAL % 8];
} gate_cache_row_t;

#endif
