/*
 * lease.h - which process is the one that checks members.
 * Depends: gate_lock.h (identity of processes).   Memory: none; the lease lies in the zone "health".
 *
 * ATOMIC  owner decides, and is taken by compare-and-swap; generation and until follow it.
 * CRASH   a holder that has died, at whatever instruction, is found out by the next who asks; one that hangs or was stopped loses
 *         the lease when until passes. It must ask again before it acts, and finds that it is the holder no more. For a moment
 *         two may check the same member: its checks are harmless, and the verdict is an atomic word.
 * RELOAD  a process of a newer generation takes the lease from an older one's, never the other way round.
 */
#ifndef LEASE_H
#define LEASE_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct {
    _Atomic uint64_t owner;      /* pid | start stamp << 32; 0: nobody */
    _Atomic uint64_t generation;
    _Atomic int64_t until_usec;  /* monotonic */
    _Atomic uint64_t changes;    /* how often it changed hands */
} lease_t;

typedef enum { LEASE_OTHER = 0, LEASE_MINE, LEASE_NEW /* mine since this call */ } lease_e;

/** Identity of the calling process for the calls below; costs a look into /proc: once per process. */
uint64_t lease_self(void);

/** Asks for the lease, or extends it: to be called more often than length_usec. */
lease_e lease_take(lease_t *lease, uint64_t self, uint64_t generation, int64_t now_usec, int64_t length_usec);

/** Non-zero while self holds it. One atomic load. */
int lease_is_mine(const lease_t *lease, uint64_t self);

/** Gives it back, if it is self's. */
void lease_leave(lease_t *lease, uint64_t self);

/** @return pid of the holder, 0 if there is none */
uint32_t lease_holder(const lease_t *lease);

#endif
