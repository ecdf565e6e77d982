/*
 * gate_lock.h - a lock in shared memory that outlives its owner.
 * Depends: libc only.   Memory: none allocated; the word lives in a zone.
 *
 * For rare writers only (registry changes, events of a table, leases); nothing on a request's common path takes one.
 * The word names its owner: pid in the low half, a stamp of the process's start in the high half. A waiter that finds the
 * owner gone (no such pid, another process with that pid, or a zombie) takes the lock over and is told so: it must check
 * the structure before it trusts it. No pointer is ever followed through the word, so a parent running as root may use it.
 * Not recursive; not fair. Threads of one process exclude each other too: the word carries a thread id as pid (Linux tid).
 */
#ifndef GATE_LOCK_H
#define GATE_LOCK_H

#include <stdint.h>

typedef struct {
    _Atomic uint64_t word; /* 0: free; else owner's tid | start stamp << 32 */
} gate_lock_t;

typedef enum {
    GATE_LOCKED = 0,    /* yours; the structure is as the last owner left it when done */
    GATE_LOCKED_DIRTY,  /* yours; the last owner died inside: repair, then go on */
    GATE_LOCK_TIMEOUT   /* not yours: a living owner held it for all of wait_usec */
} gate_lock_result_e;

/**
 * Take the lock.
 * @param wait_usec  longest wait; 0 tries once (a dead owner is still noticed)
 */
gate_lock_result_e gate_lock_take(gate_lock_t *lock, int64_t wait_usec);

/** Give the lock back; does nothing when the caller does not hold it (it was taken over). */
void gate_lock_release(gate_lock_t *lock);

/** @return non-zero when the calling thread holds the lock */
int gate_lock_mine(const gate_lock_t *lock);

/**
 * Identity of a process that survives pid reuse.
 * @return the start stamp of pid (low 32 bits of its start time in clock ticks since boot), 0 when there is no such
 *         process or it is a zombie
 */
uint32_t gate_process_stamp(uint32_t pid);

#endif
