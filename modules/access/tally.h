/*
 * tally.h - how often within a window: counts outcomes by client over lines.h, for bans.
 * Depends: lines.h.   Locking: lines.h.   Time: monotonic microseconds, passed in.
 *
 * Two fixed windows for each key, the present one and the one before, of which the share counts that the sliding window still
 * covers: steady traffic is counted as it is, and a burst is never counted for longer than two windows.
 */
#ifndef GATE_ACCESS_TALLY_H
#define GATE_ACCESS_TALLY_H

#include <stdint.h>
#include "lines.h"

#define GATE_TALLY_MAX 16383u

/** Counts one outcome. @return how many there were in the window that ends now, this one included; 0 when it could not be counted */
uint32_t gate_tally_note(const gate_lines_t *lines, int64_t window_usec, uint64_t hash, int64_t now_usec);

/** @return how many there were in the window that ends now */
uint32_t gate_tally_read(const gate_lines_t *lines, int64_t window_usec, uint64_t hash, int64_t now_usec);

/** Begins anew for a key. */
void gate_tally_clear(const gate_lines_t *lines, uint64_t hash);

/** Frees what is over; every line at least each 60 windows. */
uint32_t gate_tally_sweep(const gate_lines_t *lines, int64_t window_usec, uint32_t from, uint32_t n, int64_t now_usec);

#endif
