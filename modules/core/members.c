/* members.c - who belongs to a group: sets that change in one step. See gate_registry.h. */

#include <stdlib.h>
#include <string.h>

#include "gate_words.h"
#include "registry_layout.h"

/* FNV-1a (Fowler, Noll, Vo), with a final mix so that ids that differ in one digit are far apart. */
static uint64_t hash_id(const char *id)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    while (*id) {
        h = (h ^ (unsigned char)*id++) * UINT64_C(0x100000001b3);
    }
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    return h;
}

static void put_text(char *to, size_t size, const char *from)
{
    memset(to, 0, size);
    strncpy(to, from, size - 1);
}

void member_fill_locked(gate_registry_t *reg, uint32_t slot, uint32_t group, gate_origin_e origin, const gate_member_spec_t *spec,
                        int64_t up_since_usec)
{
    member_slot_t *m = &reg->member[slot];

    if (atomic_fetch_add(&m->incarnation, 1) == UINT32_MAX) {
        atomic_fetch_add(&m->incarnation, 1); /* 0 is no incarnation */
    }
    atomic_store(&m->group, group);
    m->origin = origin;
    m->flags = spec->flags;
    m->connections = spec->connections;
    m->weight_configured = spec->weight;
    m->priority = spec->priority;
    m->id_hash = hash_id(spec->id);
    m->retired_at_usec = 0;
    put_text(m->id, sizeof m->id, spec->id);
    put_text(m->url, sizeof m->url, spec->url);
    registry_set_why(m, "");
    atomic_store(&m->changed_wall_usec, registry_wall_usec());
    memset(&reg->stats[slot], 0, sizeof reg->stats[slot]);
    gate_trial_set(reg, slot, 0);
    atomic_store(&reg->hot[slot].weight, spec->weight);
    atomic_store(&reg->hot[slot].up_since_usec, up_since_usec);
    atomic_store(&reg->hot[slot].verdict, spec->verdict);
    atomic_store(&m->state, SLOT_LISTED);
}

/* Retired slots rest: an exchange that began on one may still count on it. */
static int rested(const gate_registry_t *reg, uint32_t slot, int64_t now_usec)
{
    return now_usec - reg->member[slot].retired_at_usec >= GATE_SLOT_REST_USEC && gate_inflight(reg, slot) == 0;
}

uint32_t member_find_free_locked(gate_registry_t *reg, uint32_t after, int64_t now_usec)
{
    uint32_t slot;

    for (slot = after == GATE_NO_SLOT ? 0 : after + 1; slot < reg->limits.members; slot++) {
        uint32_t state = atomic_load(&reg->member[slot].state);

        if (state == SLOT_FREE || (state == SLOT_RETIRED && rested(reg, slot, now_usec))) {
            return slot;
        }
    }
    return GATE_NO_SLOT;
}

static void retire_locked(gate_registry_t *reg, uint32_t slot, int64_t now_usec)
{
    reg->member[slot].retired_at_usec = now_usec;
    atomic_store(&reg->member[slot].state, SLOT_RETIRED);
}

/* ---- applying a whole set ---- */

/* What becomes of each spec, worked out before anything shared is touched. */
typedef struct {
    uint32_t slot;
    int is_new;
} placed_t;

static uint32_t listed_in_group(const gate_registry_t *reg, const member_list_t *list, uint32_t group, const char *id)
{
    uint32_t i;

    for (i = 0; i < list_count(reg, list); i++) {
        listing_t at = list_at(list, i);

        if (at.group == group && at.slot < reg->limits.members && strncmp(reg->member[at.slot].id, id, GATE_NAME_LEN) == 0) {
            return at.slot;
        }
    }
    return GATE_NO_SLOT;
}

static int group_is_empty(const gate_registry_t *reg, const member_list_t *list, uint32_t group)
{
    uint32_t i;

    for (i = 0; i < list_count(reg, list); i++) {
        if (list_at(list, i).group == group) {
            return 0;
        }
    }
    return 1;
}

static apr_status_t place_locked(gate_registry_t *reg, const member_list_t *list, uint32_t group, gate_origin_e origin,
                                 const gate_member_spec_t *specs, uint32_t n, int64_t now_usec, placed_t *placed)
{
    uint32_t i, last = GATE_NO_SLOT;

    for (i = 0; i < n; i++) {
        uint32_t slot = listed_in_group(reg, list, group, specs[i].id);

        /* the configuration wins over what was added at run time; nothing wins over the configuration */
        if (slot != GATE_NO_SLOT && reg->member[slot].origin != (uint32_t)origin && origin != GATE_ORIGIN_CONFIG) {
            return APR_EEXIST;
        }
        if (slot != GATE_NO_SLOT && strncmp(reg->member[slot].url, specs[i].url, GATE_URL_LEN) == 0) {
            placed[i] = (placed_t){ .slot = slot, .is_new = 0 };
            continue;
        }
        last = member_find_free_locked(reg, last, now_usec);
        if (last == GATE_NO_SLOT) {
            return APR_ENOSPC;
        }
        placed[i] = (placed_t){ .slot = last, .is_new = 1 };
    }
    return APR_SUCCESS;
}

static int is_placed(const placed_t *placed, uint32_t n, uint32_t slot)
{
    uint32_t i;

    for (i = 0; i < n && placed[i].slot != slot; i++) {
    }
    return i < n;
}

/* Does this entry leave the list when the set of (group, origin) becomes what is placed? */
static int entry_goes(const gate_registry_t *reg, listing_t at, uint32_t group, gate_origin_e origin,
                      const gate_member_spec_t *specs, uint32_t n)
{
    uint32_t i;

    if (at.slot >= reg->limits.members) {
        return 1;
    }
    if (at.group != group) {
        return 0;
    }
    if (reg->member[at.slot].origin == (uint32_t)origin) {
        return 1; /* comes back through `placed` if it stays */
    }
    for (i = 0; i < n; i++) {
        if (strncmp(reg->member[at.slot].id, specs[i].id, GATE_NAME_LEN) == 0) {
            return 1;
        }
    }
    return 0;
}

static void write_list_locked(gate_registry_t *reg, const member_list_t *from, uint32_t group, gate_origin_e origin,
                              const gate_member_spec_t *specs, uint32_t n, const placed_t *placed)
{
    member_list_t *to = list_spare_locked(reg);
    uint32_t i, count = 0, from_count = list_count(reg, from);

    for (i = 0; origin == GATE_ORIGIN_CONFIG && i < n; i++) { /* configured members come first */
        list_put(to, count++, group, placed[i].slot);
    }
    for (i = 0; i < from_count && count < reg->limits.members; i++) {
        listing_t at = list_at(from, i);

        if (!entry_goes(reg, at, group, origin, specs, n)) {
            list_put(to, count++, at.group, at.slot);
        }
    }
    for (i = 0; origin != GATE_ORIGIN_CONFIG && i < n && count < reg->limits.members; i++) {
        list_put(to, count++, group, placed[i].slot);
    }
    to->count = count;
}

/* A member that stays takes over what the configuration says now; a weight set at run time stands until the configured one changes. */
static void update_locked(gate_registry_t *reg, uint32_t slot, gate_origin_e origin, const gate_member_spec_t *spec)
{
    member_slot_t *m = &reg->member[slot];

    m->origin = origin;
    m->flags = spec->flags;
    m->connections = spec->connections;
    m->priority = spec->priority;
    if (m->weight_configured != spec->weight) {
        m->weight_configured = spec->weight;
        atomic_store(&reg->hot[slot].weight, spec->weight);
    }
}

static void retire_gone_locked(gate_registry_t *reg, const member_list_t *from, uint32_t group, gate_origin_e origin,
                               const gate_member_spec_t *specs, uint32_t n, const placed_t *placed, const char *who,
                               int64_t now_usec)
{
    uint32_t i;

    for (i = 0; i < list_count(reg, from); i++) {
        listing_t at = list_at(from, i);

        if (at.group == group && entry_goes(reg, at, group, origin, specs, n) && at.slot < reg->limits.members
            && !is_placed(placed, n, at.slot)) {
            retire_locked(reg, at.slot, now_usec);
            registry_event(reg, at.slot, "upstream", gate_verdict_word(gate_verdict(reg, at.slot)), "removed",
                           "no longer in the set", who);
        }
    }
}

static apr_status_t apply_locked(gate_registry_t *reg, uint32_t group, gate_origin_e origin, const gate_member_spec_t *specs,
                                 uint32_t n, const char *who, int64_t now_usec, placed_t *placed)
{
    const member_list_t *from = list_in_use(reg);
    apr_status_t rv = place_locked(reg, from, group, origin, specs, n, now_usec, placed);
    int first = group_is_empty(reg, from, group);
    uint32_t i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < n; i++) {
        if (placed[i].is_new) {
            member_fill_locked(reg, placed[i].slot, group, origin, &specs[i], first ? 0 : now_usec);
        }
    }
    write_list_locked(reg, from, group, origin, specs, n, placed);
    for (i = 0; i < n; i++) {
        if (!placed[i].is_new) {
            update_locked(reg, placed[i].slot, origin, &specs[i]);
        }
    }
    list_switch_locked(reg);
    /* `from` is now the list that is not in use: still as it was until the next writer */
    retire_gone_locked(reg, from, group, origin, specs, n, placed, who, now_usec);
    for (i = 0; i < n && !first; i++) {
        if (placed[i].is_new) {
            registry_event(reg, placed[i].slot, "upstream", "", "added", "new in the set", who);
        }
    }
    return APR_SUCCESS;
}

apr_status_t gate_members_apply(gate_registry_t *reg, uint32_t group, gate_origin_e origin, const gate_member_spec_t *specs,
                                uint32_t n, const char *who, int64_t now_usec)
{
    placed_t *placed;
    apr_status_t rv;

    if (group >= reg->limits.groups || n > reg->limits.members) {
        return n > reg->limits.members ? APR_ENOSPC : APR_EINVAL;
    }
    placed = calloc(n + 1, sizeof *placed);
    if (!placed) {
        return APR_ENOMEM;
    }
    rv = registry_lock(reg);
    if (rv == APR_SUCCESS) {
        rv = apply_locked(reg, group, origin, specs, n, who, now_usec, placed);
        registry_unlock(reg);
    }
    free(placed);
    return rv;
}

/* ---- one member ---- */

/* Copies a list without one slot. @return the count of the copy, which is not yet set in it */
static uint32_t list_copy_locked(const gate_registry_t *reg, member_list_t *to, const member_list_t *from, uint32_t without)
{
    uint32_t i, count = 0;

    for (i = 0; i < list_count(reg, from); i++) {
        listing_t at = list_at(from, i);

        if (at.slot != without) {
            list_put(to, count++, at.group, at.slot);
        }
    }
    return count;
}

apr_status_t gate_member_add(gate_registry_t *reg, uint32_t group, gate_origin_e origin, const gate_member_spec_t *spec,
                             const char *who, int64_t now_usec, uint32_t *slot)
{
    const member_list_t *from;
    member_list_t *to;
    uint32_t count;
    apr_status_t rv;

    if (group >= reg->limits.groups) {
        return APR_EINVAL;
    }
    rv = registry_lock(reg);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    from = list_in_use(reg);
    if (listed_in_group(reg, from, group, spec->id) != GATE_NO_SLOT) {
        rv = APR_EEXIST;
    }
    else if ((*slot = member_find_free_locked(reg, GATE_NO_SLOT, now_usec)) == GATE_NO_SLOT
             || list_count(reg, from) == reg->limits.members) {
        rv = APR_ENOSPC;
    }
    else {
        to = list_spare_locked(reg);
        member_fill_locked(reg, *slot, group, origin, spec, group_is_empty(reg, from, group) ? 0 : now_usec);
        count = list_copy_locked(reg, to, from, GATE_NO_SLOT);
        list_put(to, count, group, *slot);
        to->count = count + 1;
        list_switch_locked(reg);
        registry_event(reg, *slot, "upstream", "", "added", "", who);
    }
    registry_unlock(reg);
    return rv;
}

apr_status_t gate_member_remove(gate_registry_t *reg, uint32_t slot, uint32_t incarnation, const char *who, const char *why,
                                int64_t now_usec)
{
    const member_list_t *from;
    member_list_t *to;
    apr_status_t rv = slot < reg->limits.members ? registry_lock(reg) : APR_ENOENT;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (atomic_load(&reg->member[slot].state) != SLOT_LISTED || atomic_load(&reg->member[slot].incarnation) != incarnation) {
        registry_unlock(reg);
        return APR_ENOENT;
    }
    from = list_in_use(reg);
    to = list_spare_locked(reg);
    to->count = list_copy_locked(reg, to, from, slot);
    list_switch_locked(reg);
    retire_locked(reg, slot, now_usec);
    registry_event(reg, slot, "upstream", gate_verdict_word(gate_verdict(reg, slot)), "removed", why, who);
    registry_unlock(reg);
    return APR_SUCCESS;
}

/* ---- reading ---- */

uint32_t gate_group_members(const gate_registry_t *reg, uint32_t group, uint32_t *slots, uint32_t max, uint32_t *version)
{
    for (;;) {
        uint32_t switches = gate_group_version(reg, group), i, found = 0;
        const member_list_t *list = list_in_use(reg);
        uint32_t count = list_count(reg, list);

        for (i = 0; i < count; i++) {
            listing_t at = list_at(list, i);

            if (at.group == group && at.slot < reg->limits.members) {
                if (found < max) {
                    slots[found] = at.slot;
                }
                found++;
            }
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&reg->head->switches) == switches) {
            *version = switches;
            return found;
        }
    }
}

int gate_member_get(const gate_registry_t *reg, uint32_t slot, gate_member_t *out)
{
    member_slot_t *m;

    if (slot >= reg->limits.members || atomic_load(&reg->member[slot].state) == SLOT_FREE) {
        return -1;
    }
    m = &reg->member[slot];
    memset(out, 0, sizeof *out);
    out->slot = slot;
    out->incarnation = atomic_load(&m->incarnation);
    out->group = atomic_load(&m->group);
    out->origin = (gate_origin_e)atomic_load(&m->origin);
    out->flags = m->flags;
    out->connections = m->connections;
    out->weight = gate_weight(reg, slot);
    out->weight_configured = m->weight_configured;
    out->priority = m->priority;
    out->verdict = gate_verdict(reg, slot);
    out->id_hash = m->id_hash;
    out->up_since_usec = gate_up_since(reg, slot);
    out->changed_wall_usec = atomic_load(&m->changed_wall_usec);
    memcpy(out->id, m->id, sizeof out->id - 1);
    memcpy(out->url, m->url, sizeof out->url - 1);
    gate_words_get(&m->why_turn, m->why, sizeof m->why, out->why);
    return atomic_load(&m->incarnation) == out->incarnation ? 0 : -1;
}

uint32_t gate_member_find(const gate_registry_t *reg, uint32_t group, const char *id)
{
    uint32_t switches, slot;

    do {
        switches = atomic_load(&reg->head->switches);
        slot = listed_in_group(reg, list_in_use(reg), group, id);
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&reg->head->switches) != switches);
    return slot;
}
