/*
 * gate_changes.h - changes of membership made at run time: done, remembered, done again after a restart.
 * Depends: gate_registry.h, gate_lease.h, APR pools.
 *
 * The admin API (and code) changes members through these functions, not through the registry's own: here a change is also entered in a
 * table that outlives graceful restarts (the arena) and, with GateStateFile, a stop (section "members"). Configuration and discovery ask
 * the table before they apply a set, so that what an admin took out or drained does not come back by itself.
 *
 * ZONE "changes": [ header | record 0 .. capacity-1 ]
 * LOCK    the table's lock: whoever changes a record. Not on a request's path. Taken before the registry's.
 * CRASH   a record is written whole into a free place and only then counts; an older one of the same member goes after that. Two of
 *         one member: the later one counts. A change that was done and not yet entered is lost with the child that made it.
 * ROOT    the parent reads records when it applies a configuration: as texts of bounded length, nothing in them is followed.
 *
 * What is remembered of a member, by (group, id):
 *     ADDED     it was added at run time; forgotten when the configuration names the same id
 *     REMOVED   a configured or discovered member was taken out; forgotten when those no longer list it, or list another URL under the id
 *     WEIGHT    another weight than the configured one; forgotten when that one changes
 *     ADMIN     drain, disabled, or neither; drain may have a deadline, at which the member is removed
 */
#ifndef GATE_CHANGES_H
#define GATE_CHANGES_H

#include <stdint.h>
#include <apr_errno.h>
#include <apr_pools.h>

#include "gate_registry.h"

#define GATE_CHANGES_LAYOUT 1u
#define GATE_CHANGES_CAPACITY 1024u
#define GATE_CHANGES_SECTION 1u   /* version of the state file's section */

enum { GATE_CHANGE_ADDED = 1u << 0, GATE_CHANGE_REMOVED = 1u << 1, GATE_CHANGE_WEIGHT = 1u << 2, GATE_CHANGE_ADMIN = 1u << 3 };

/* Copy of a record. */
typedef struct {
    uint32_t what;                /* GATE_CHANGE_* */
    uint32_t weight, weight_configured, flags, connections;
    uint32_t admin;               /* GATE_VERDICT_ADMIN bits */
    int64_t deadline_wall_usec;   /* of a drain; 0: none */
    int64_t at_wall_usec;         /* of the last change */
    char group[GATE_NAME_LEN], id[GATE_NAME_LEN], url[GATE_URL_LEN], who[GATE_NAME_LEN];
} gate_change_t;

typedef struct gate_changes gate_changes_t; /* private handle */

uint64_t gate_changes_size(uint32_t capacity);
void gate_changes_init(void *base, uint32_t capacity);
/** @param changed  called (without locks) after each change, or NULL: the state file is to be written */
gate_changes_t *gate_changes_attach(apr_pool_t *p, void *base, uint32_t capacity, gate_registry_t *reg, void (*changed)(void));

/*
 * All return APR_SUCCESS; APR_ENOENT: (slot, incarnation) is no longer a member, or there is no such group; APR_EEXIST: the id is taken;
 * APR_EINVAL: id, URL or numbers are not what a configuration would take; APR_ENOSPC: registry or table is full; APR_ETIMEDOUT.
 * Nothing is changed then. `who` and `why` appear in the event.
 */
apr_status_t gate_change_add(gate_changes_t *changes, uint32_t group, const gate_member_spec_t *spec, const char *who,
                             int64_t now_usec, uint32_t *slot);
/** What is in flight on it goes on. */
apr_status_t gate_change_remove(gate_changes_t *changes, uint32_t slot, uint32_t incarnation, const char *who, const char *why,
                                int64_t now_usec);
apr_status_t gate_change_weight(gate_changes_t *changes, uint32_t slot, uint32_t incarnation, uint32_t weight, const char *who);
/**
 * @param admin  GATE_VERDICT_DRAIN, GATE_VERDICT_DISABLED, or 0: enabled
 * @param deadline_wall_usec  of a drain: then the member is removed (gate_changes_tick); 0: it stays
 */
apr_status_t gate_change_admin(gate_changes_t *changes, uint32_t slot, uint32_t incarnation, uint32_t admin,
                               int64_t deadline_wall_usec, const char *who, const char *why, int64_t now_usec);

/** What is remembered of a member. @return 0, or -1: nothing */
int gate_change_get(const gate_changes_t *changes, const char *group, const char *id, gate_change_t *out);

/**
 * Before a set of one origin is applied: takes out of specs (by moving the others up) what was removed at run time, gives the rest the
 * admin's word for a new member, and forgets what the set makes out of date. In the parent too.
 * @param complete  the set is all there is of this origin: what it does not list is out of date
 * @return how many are left
 */
uint32_t gate_changes_dress(gate_changes_t *changes, uint32_t group, gate_origin_e origin, gate_member_spec_t *specs, uint32_t n,
                             int complete);

/** Does again what the registry does not show (after a load, or a registry of another size). Repeatable. @return how many were done */
uint32_t gate_changes_apply(gate_changes_t *changes, int64_t now_usec);

/** Removes members whose drain is over. @param fn  told of each, or NULL. @return how many */
uint32_t gate_changes_tick(gate_changes_t *changes, int64_t now_usec, int64_t wall_usec,
                           void (*fn)(const gate_change_t *change, uint32_t inflight, void *ctx), void *ctx);

/** The state file's section as text. */
char *gate_changes_save(const gate_changes_t *changes, apr_pool_t *p, size_t *len);
/** Enters what a section says; call gate_changes_apply() after. @return NULL, or what was not understood (the rest was entered) */
const char *gate_changes_load(gate_changes_t *changes, apr_pool_t *p, const char *text, size_t len);

int gate_changes_validate(const void *base, uint64_t size_bytes, void *changes, char *why, size_t why_size);

#endif
