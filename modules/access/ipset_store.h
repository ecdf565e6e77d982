/*
 * ipset_store.h - a set in shared memory that is replaced while it is being read.
 * Depends: ipset.h, gate_lock.h.
 *
 * ZONE:   one place_t for each set, and for each two halves of the same size, page-aligned: the version in use, and room for the
 *         next one, whose pages are given back to the system while they are not needed.
 * ATOMIC  place: which half is in use, which version each half holds.
 * READERS take the version, look up, and look whether the half still holds it; if not, they ask again. They write nothing, wait for
 *         nobody, and are answered by one whole version. A reader that was stopped for long reads what has become of the half in the
 *         meantime, stays inside it (ipset.h), and finds out.
 * LOCK    the place's, for whoever publishes.
 * CRASH   a publisher that dies leaves the half that is not in use without a version. Nothing to repair.
 * ROOT    the parent publishes too: it believes its own handle only, and of the place nothing but which of two halves is in use.
 */
#ifndef GATE_ACCESS_IPSET_STORE_H
#define GATE_ACCESS_IPSET_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "gate_lock.h"
#include "ipset.h"

typedef struct {
    gate_lock_t lock;
    _Atomic uint64_t current;         /* version << 1 | half; 0: none */
    _Atomic uint64_t held[2];         /* what is in each half: as current; 0: nothing, or it is being written */
    _Atomic uint64_t published;       /* versions so far */
    _Atomic int64_t wall_usec;        /* when the one in use was published */
    uint64_t unused[2];
} gate_ipset_place_t;

/* Private handle. */
typedef struct {
    gate_ipset_place_t *place;
    char *half[2];
    uint64_t half_bytes;
} gate_ipset_store_t;

/** As gate_ipset_find(), on the version in use; 0 when there is none. @param version  set to which one answered; may be NULL */
int gate_ipset_store_find(const gate_ipset_store_t *store, const gate_address_t *address, gate_prefix_t *match, uint64_t *version);

/** Prefixes in the version in use. */
uint32_t gate_ipset_store_count(const gate_ipset_store_t *store);

/**
 * Makes a finished builder's set the one in use, in one step.
 * @param size_bytes  as gate_ipset_builder_finish() said
 * @return 0; -1 when it does not fit into a half; -2 when another process is publishing
 */
int gate_ipset_store_publish(gate_ipset_store_t *store, const gate_ipset_builder_t *builder, size_t size_bytes, int64_t wall_usec);

/** Gives the pages of the half that is not in use back to the system. */
void gate_ipset_store_trim(gate_ipset_store_t *store);

/** @return number of faults of the version in use */
int gate_ipset_store_validate(const gate_ipset_store_t *store, char *why, size_t why_size);

#endif
