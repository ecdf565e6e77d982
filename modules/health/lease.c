/* lease.c - see lease.h. */

#include <unistd.h>

#include "gate_lock.h"
#include "lease.h"

uint64_t lease_self(void)
{
    uint32_t pid = (uint32_t)getpid();

    return (uint64_t)gate_process_stamp(pid) << 32 | pid;
}

static int owner_lives(uint64_t owner)
{
    uint32_t stamp = gate_process_stamp((uint32_t)owner);

    return stamp != 0 && stamp == (uint32_t)(owner >> 32);
}

/* May a process of this generation take the lease from owner? */
static int is_free(const lease_t *lease, uint64_t owner, uint64_t generation, int64_t now_usec)
{
    uint64_t held_by = atomic_load(&lease->generation);

    if (held_by > generation) {
        return 0;
    }
    return owner == 0 || held_by < generation || now_usec >= atomic_load(&lease->until_usec) || !owner_lives(owner);
}

lease_e lease_take(lease_t *lease, uint64_t self, uint64_t generation, int64_t now_usec, int64_t length_usec)
{
    uint64_t owner = atomic_load(&lease->owner);

    if (owner == self) {
        atomic_store(&lease->until_usec, now_usec + length_usec);
        return LEASE_MINE;
    }
    if (!is_free(lease, owner, generation, now_usec) || !atomic_compare_exchange_strong(&lease->owner, &owner, self)) {
        return LEASE_OTHER;
    }
    atomic_store(&lease->until_usec, now_usec + length_usec);
    atomic_store(&lease->generation, generation);
    atomic_fetch_add(&lease->changes, 1);
    return LEASE_NEW;
}

int lease_is_mine(const lease_t *lease, uint64_t self)
{
    return atomic_load(&lease->owner) == self;
}

void lease_leave(lease_t *lease, uint64_t self)
{
    atomic_compare_exchange_strong(&lease->owner, &self, 0);
}

uint32_t lease_holder(const lease_t *lease)
{
    return (uint32_t)atomic_load(&lease->owner);
}
