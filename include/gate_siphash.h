/*
 * gate_siphash.h - seeded hash for every table whose keys a client can choose.
 * SipHash-2-4 (J.-P. Aumasson, D. J. Bernstein: SipHash, a fast short-input PRF, 2012).
 * Depends: libc.   Memory: none.   Locking: none.
 */
#ifndef GATE_SIPHASH_H
#define GATE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t word[2];
} gate_seed_t;

uint64_t gate_siphash(const gate_seed_t *seed, const void *data, size_t len);

#endif
