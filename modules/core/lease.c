/* lease.c - see gate_lease.h. */

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "gate_lease.h"

#define WAIT_USEC 2000

/* Looked up once for each process, again after a fork. Two threads may both look: they find the same. */
static uint32_t own_stamp(uint32_t pid)
{
    static _Atomic uint64_t known; /* pid | stamp << 32 */
    uint64_t seen = atomic_load(&known);

    if ((uint32_t)seen != pid) {
        seen = (uint64_t)gate_process_stamp(pid) << 32 | pid;
        atomic_store(&known, seen);
    }
    return (uint32_t)(seen >> 32);
}

static int is_mine(const gate_lease_t *lease, uint32_t pid)
{
    return atomic_load(&((gate_lease_t *)lease)->pid) == pid && atomic_load(&((gate_lease_t *)lease)->stamp) == own_stamp(pid);
}

/* May the caller have it? What a holder that died while it wrote has left is no holder: its pid and stamp do not fit. */
static int is_free(gate_lease_t *lease, uint32_t generation, int64_t now_usec)
{
    uint32_t pid = atomic_load(&lease->pid);

    if (!pid || now_usec >= atomic_load(&lease->until_usec)) {
        return 1;
    }
    if (atomic_load(&lease->generation) != generation) {
        return (int32_t)(generation - atomic_load(&lease->generation)) > 0;
    }
    return gate_process_stamp(pid) != atomic_load(&lease->stamp);
}

int gate_lease_ask(gate_lease_t *lease, uint32_t generation, int64_t now_usec, int64_t term_usec)
{
    uint32_t pid = (uint32_t)getpid();
    int got = 0;

    if (gate_lock_take(&lease->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return 0;
    }
    if (is_mine(lease, pid) && atomic_load(&lease->generation) == generation) {
        got = now_usec < atomic_load(&lease->until_usec) ? 1 : 2;
    }
    else if (is_free(lease, generation, now_usec)) {
        got = 2;
    }
    if (got == 2) {
        atomic_store(&lease->pid, 0);
        atomic_store(&lease->generation, generation);
        atomic_store(&lease->stamp, own_stamp(pid));
        atomic_store(&lease->pid, pid);
        atomic_fetch_add(&lease->terms, 1);
    }
    if (got) {
        atomic_store(&lease->until_usec, now_usec + term_usec);
    }
    gate_lock_release(&lease->lock);
    return got;
}

void gate_lease_end(gate_lease_t *lease)
{
    if (gate_lock_take(&lease->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return;
    }
    if (is_mine(lease, (uint32_t)getpid())) {
        atomic_store(&lease->pid, 0);
    }
    gate_lock_release(&lease->lock);
}

int gate_lease_validate(const gate_lease_t *lease, char *why, uint32_t why_size)
{
    gate_lease_t *l = (gate_lease_t *)lease;

    if (atomic_load(&l->pid) > 1u << 22) {
        snprintf(why, why_size, "a lease is held by process %u, which cannot be", atomic_load(&l->pid));
        return 1;
    }
    if (atomic_load(&l->until_usec) < 0) {
        snprintf(why, why_size, "a lease ends before the beginning of time");
        return 1;
    }
    return 0;
}
