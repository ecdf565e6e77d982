/*
 * gate_zone.h - the arena: named zones of shared memory that outlive a graceful restart.
 * Depends: APR types, libc.
 *
 * ARENA:  a set of zones, each one anonymous shared mapping made by the parent before the fork and inherited by it, so it has
 *         the same address in parent and children of one generation. GateMemory is the budget for their sum; zones with
 *         GATE_ZONE_OWN_BUDGET (the cache's store, IP sets) are outside it.
 * FROZEN  the directory (names, sizes, addresses) is private memory of the parent, copied by fork: no child can change what
 *         the parent believes about a zone.
 * CRASH   a zone's content is its module's business; each registers a validator.
 * RELOAD  same name, layout and size: the same memory, content kept (GATE_ZONE_KEPT). Another size or layout: a new mapping
 *         (GATE_ZONE_RESIZED) with the old one readable until gate_arena_settle(), so that the module can copy what it keeps.
 *         Old children go on with their own mapping of the old zone.
 * Pages are reserved, not committed: memory that is never touched costs nothing.
 */
#ifndef GATE_ZONE_H
#define GATE_ZONE_H

#include <stddef.h>
#include <stdint.h>
#include <apr_errno.h>

#define GATE_ZONE_NAME_LEN 32

typedef struct gate_arena gate_arena_t;

typedef enum { GATE_ZONE_FRESH, GATE_ZONE_KEPT, GATE_ZONE_RESIZED } gate_zone_state_e;

#define GATE_ZONE_OWN_BUDGET 1u

typedef struct {
    void *base;              /* page-aligned, zero-filled when FRESH or RESIZED */
    uint64_t size_bytes;
    gate_zone_state_e state;
    const void *old_base;    /* RESIZED only: the former content, until gate_arena_settle(); not to be trusted: children could write it */
    uint64_t old_size_bytes;
    uint32_t old_layout;
} gate_zone_t;

/**
 * Walks a whole zone.
 * @param why    on failure: what is wrong, in words
 * @return 0 when all is well, else the number of faults found
 */
typedef int (*gate_zone_validate_fn)(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size);

/** Makes an empty arena in private memory that is never freed (it lives as long as the parent). NULL when out of memory. */
gate_arena_t *gate_arena_create(void);

/** Starts a new configuration: budget for the zones that are asked for from now on. */
void gate_arena_begin(gate_arena_t *arena, uint64_t budget_bytes);

/**
 * Asks for a zone; parent only, between gate_arena_begin() and gate_arena_settle().
 * @param layout  version of the zone's structs: change it whenever a shared struct changes
 * @param out     filled in
 * The budget is not checked here: only after the last zone is it known what they need together (gate_arena_fits()).
 * @return APR_SUCCESS; APR_ENOSPC when there are too many zones; APR_ENOMEM when the system refuses the mapping; APR_EINVAL for a
 *         bad name or size 0
 */
apr_status_t gate_arena_zone(gate_arena_t *arena, const char *name, uint32_t layout, uint64_t size_bytes, unsigned flags,
                             gate_zone_t *out);

/** Ends the configuration: unmaps, in this process, replaced zones and zones nobody asked for again. */
void gate_arena_settle(gate_arena_t *arena);

/** Sum of the zones asked for since gate_arena_begin(), those with a budget of their own apart. */
uint64_t gate_arena_used(const gate_arena_t *arena);

/** @return non-zero when that is within the budget */
int gate_arena_fits(const gate_arena_t *arena);

/** Names and sizes of the zones within the budget, the largest first: "registry 44204K, health 4096K". Cut to fit. */
void gate_arena_describe(const gate_arena_t *arena, char *text, size_t size);

/** Registers (again after each reload: modules are loaded anew) who checks a zone. */
void gate_arena_on_validate(gate_arena_t *arena, const char *name, gate_zone_validate_fn fn, void *ctx);

/**
 * Runs all validators.
 * @return number of faults; why names the first one
 */
int gate_arena_validate(gate_arena_t *arena, char *why, size_t why_size);

#endif
