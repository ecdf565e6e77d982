/*
 * gate_lease.h - work that one child at a time does for the whole server: who does it, and who goes on when that child dies.
 * Depends: gate_lock.h.   Memory: the lease lives in a zone; all zero is a free one.
 * Time: monotonic microseconds, passed in.
 *
 * A lease belongs to a process (pid and start stamp) of a generation of the configuration, until a deadline. Others get it when the
 * holder is gone, whatever it was doing; when its deadline has passed (it hangs, or was stopped); or when they are of a later
 * generation: what an old child knows of the configuration is out of date. Ask on every tick, well before the term is over, and do
 * only what may happen twice: a holder that was stopped for longer than its term learns of its loss when it asks next.
 * One question costs a short lock and, for all but the holder, a signal 0; at most a few each second and child.
 */
#ifndef GATE_LEASE_H
#define GATE_LEASE_H

#include <stdint.h>
#include "gate_lock.h"

typedef struct {
    gate_lock_t lock;
    _Atomic uint32_t pid, stamp;
    _Atomic uint32_t generation;
    _Atomic uint32_t terms;      /* how often it went to another holder */
    _Atomic int64_t until_usec;
} gate_lease_t;

/**
 * Takes, renews or asks in vain.
 * @param generation  of the asker's configuration (gate_core()->generation)
 * @param term_usec   how long it is the caller's from now on
 * @return 1 it is the caller's, as before; 2 it is now the caller's: somebody else (or nobody) had it; 0 it is another's
 */
int gate_lease_ask(gate_lease_t *lease, uint32_t generation, int64_t now_usec, int64_t term_usec);

/** Gives it up, if it is the caller's, so that another need not wait. */
void gate_lease_end(gate_lease_t *lease);

/** For a validator. @return number of faults */
int gate_lease_validate(const gate_lease_t *lease, char *why, uint32_t why_size);

#endif
