/* ipset_store.c - see ipset_store.h. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "ipset_store.h"

#define WAIT_USEC 100000

int gate_ipset_store_find(const gate_ipset_store_t *store, const gate_address_t *address, gate_prefix_t *match, uint64_t *version)
{
    gate_ipset_place_t *place = store->place;

    for (unsigned turn = 1;; turn++) {
        uint64_t current = atomic_load_explicit(&place->current, memory_order_acquire);
        unsigned half = current & 1;
        int answer;

        if (current == 0) {
            return 0;
        }
        if (atomic_load_explicit(&place->held[half], memory_order_acquire) == current) {
            answer = gate_ipset_find(store->half[half], store->half_bytes, address, match);
            atomic_thread_fence(memory_order_acquire);
            if (atomic_load_explicit(&place->held[half], memory_order_relaxed) == current) {
                if (version) {
                    *version = current >> 1;
                }
                return answer;
            }
        }
        if (turn % 16 == 0) {
            sched_yield(); /* two versions came while this one look-up ran: somebody needs the processor more */
        }
    }
}

uint32_t gate_ipset_store_count(const gate_ipset_store_t *store)
{
    uint64_t current = atomic_load(&store->place->current);

    return current ? gate_ipset_count(store->half[current & 1], store->half_bytes) : 0;
}

int gate_ipset_store_publish(gate_ipset_store_t *store, const gate_ipset_builder_t *builder, size_t size_bytes, int64_t wall_usec)
{
    gate_ipset_place_t *place = store->place;
    uint64_t next;
    unsigned half;

    if (size_bytes > store->half_bytes) {
        return -1;
    }
    if (gate_lock_take(&place->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return -2;
    }
    half = atomic_load(&place->current) ? !(atomic_load(&place->current) & 1) : 0;
    atomic_store(&place->held[half], 0);
    atomic_thread_fence(memory_order_seq_cst); /* whoever still reads there sees this before any new byte */
    gate_ipset_builder_write(builder, store->half[half]);
    next = (atomic_fetch_add(&place->published, 1) + 1) << 1 | half;
    atomic_store_explicit(&place->held[half], next, memory_order_release);
    atomic_store(&place->wall_usec, wall_usec);
    atomic_store_explicit(&place->current, next, memory_order_release);
    gate_lock_release(&place->lock);
    return 0;
}

void gate_ipset_store_trim(gate_ipset_store_t *store)
{
    gate_ipset_place_t *place = store->place;
    uint64_t current = atomic_load(&place->current);
    unsigned other = !(current & 1);

    if (current == 0 || atomic_load(&place->held[other]) == 0 || gate_lock_take(&place->lock, 0) == GATE_LOCK_TIMEOUT) {
        return;
    }
    if (atomic_load(&place->current) == current) {
        atomic_store(&place->held[other], 0);
        atomic_thread_fence(memory_order_seq_cst);
        madvise(store->half[other], store->half_bytes, MADV_REMOVE);
    }
    gate_lock_release(&place->lock);
}

int gate_ipset_store_validate(const gate_ipset_store_t *store, char *why, size_t why_size)
{
    uint64_t current = atomic_load(&store->place->current);

    if (current == 0) {
        return 0;
    }
    if (atomic_load(&store->place->held[current & 1]) != current) {
        snprintf(why, why_size, "the version in use is not in its half");
        return 1;
    }
    return gate_ipset_validate(store->half[current & 1], store->half_bytes, why, why_size);
}
