/*
 * gate_roster.h - a group's members as one process sees them: immutable, counted, replaced when the membership changes.
 * Depends: gate_registry.h, gate_parse.h.
 * Memory:  each roster has a pool of its own, child of the pool given at creation; it dies with its last reference.
 * Locking: getting one is a version check and a reference count; a change is taken up by whoever notices first, the others go on
 *          with the roster before.
 */
#ifndef GATE_ROSTER_H
#define GATE_ROSTER_H

#include <stdatomic.h>

#include <apr_pools.h>
#include "gate_parse.h"
#include "gate_registry.h"

typedef struct {
    uint32_t slot, incarnation;
    uint32_t flags, connections, priority;
    uint64_t id_hash;
    const char *id;
    const char *url;
    gate_url_t parts;
} gate_roster_member_t;

typedef struct gate_roster {
    uint32_t group;
    uint32_t version;
    uint32_t count;
    uint32_t tiers;              /* number of distinct (backup, priority) tiers */
    uint32_t capped;             /* how many have a cap (connections=) */
    uint32_t others;             /* how many speak something other than HTTP: their scheme is none of http, https, h2c, h2 */
    uint32_t tls;                /* how many speak it over TLS: https, h2 */
    gate_roster_member_t *members; /* in the order of configuration */
    void *_Atomic *kept;         /* one for each member: see gate_roster_keep() */
} gate_roster_t;

typedef struct gate_rosters gate_rosters_t; /* one per process: a place for each group */

/** Thread-safe; lives in pchild. */
gate_rosters_t *gate_rosters_create(apr_pool_t *p, gate_registry_t *reg);

/**
 * What a module has for a member of a roster, and keeps with it, so that who holds the roster finds it without a lock: one pointer a
 * member, NULL at first. `end` is called for each that is there when its roster ends, by whatever thread lets go of it last.
 */
void gate_rosters_on_end(gate_rosters_t *rosters, void (*end)(void *kept));
/** @return the pointer that is kept from now on: the one given, or another thread's that came first */
void *gate_roster_keep(const gate_roster_t *roster, uint32_t index, void *kept);
static inline void *gate_roster_kept(const gate_roster_t *roster, uint32_t index)
{
    return atomic_load_explicit(&roster->kept[index], memory_order_acquire);
}

/** The group's present roster, with a reference that the caller gives back. Never NULL for a living group; count may be 0. */
gate_roster_t *gate_roster_hold(gate_rosters_t *rosters, uint32_t group);
void gate_roster_release(gate_roster_t *roster);

/** @return index of the member, or -1 */
int gate_roster_find(const gate_roster_t *roster, uint32_t slot, uint32_t incarnation);
int gate_roster_find_id(const gate_roster_t *roster, const char *id);

#endif
