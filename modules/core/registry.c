/* registry.c - the registry's zone: layout, taking it over, its lock, groups, validation. See gate_registry.h. */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "registry_layout.h"

typedef struct {
    size_t groups, hot, trials, members, stats, rows, row_size, list[2], end;
} offsets_t;

static size_t line_up(size_t at)
{
    return (at + 63) & ~(size_t)63;
}

static offsets_t lay_out(const gate_registry_limits_t *limits)
{
    size_t list_size = line_up(sizeof(member_list_t) + (size_t)limits->members * sizeof(listing_t));
    offsets_t o;

    o.groups = line_up(sizeof(registry_head_t));
    o.hot = line_up(o.groups + (size_t)limits->groups * sizeof(group_slot_t));
    o.trials = line_up(o.hot + (size_t)limits->members * sizeof(hot_t));
    o.members = line_up(o.trials + (size_t)limits->members * sizeof(trial_t));
    o.stats = line_up(o.members + (size_t)limits->members * sizeof(member_slot_t));
    o.rows = line_up(o.stats + (size_t)limits->members * sizeof(member_stats_t));
    o.row_size = line_up(2 * (size_t)limits->groups * sizeof(uint32_t));
    o.list[0] = o.rows + limits->seats * o.row_size;
    o.list[1] = o.list[0] + list_size;
    o.end = o.list[1] + list_size;
    return o;
}

uint64_t gate_registry_size(const gate_registry_limits_t *limits)
{
    return lay_out(limits).end;
}

static void attach_to(gate_registry_t *reg, void *base, const gate_registry_limits_t *limits)
{
    offsets_t o = lay_out(limits);
    char *at = base;

    reg->limits = *limits;
    reg->head = base;
    reg->group = (void *)(at + o.groups);
    reg->hot = (void *)(at + o.hot);
    reg->trial = (void *)(at + o.trials);
    reg->member = (void *)(at + o.members);
    reg->stats = (void *)(at + o.stats);
    reg->rows = at + o.rows;
    reg->row_size = o.row_size;
    reg->list[0] = (void *)(at + o.list[0]);
    reg->list[1] = (void *)(at + o.list[1]);
}

static size_t inflight_row(uint32_t slots)
{
    return line_up((size_t)slots * sizeof(uint32_t));
}

uint64_t gate_inflight_size(uint32_t slots, uint32_t seats)
{
    return (uint64_t)inflight_row(slots) * seats;
}

int gate_inflight_attach(gate_registry_t *reg, void *base, uint32_t slots)
{
    uint32_t begin = reg->pieces ? reg->inflight[reg->pieces - 1].end : 0;

    if (reg->pieces == GATE_INFLIGHT_PIECES) {
        return -1;
    }
    reg->inflight[reg->pieces++] =
        (inflight_t){ .rows = base, .row_size = inflight_row(slots), .begin = begin, .end = begin + slots };
    return 0;
}

const gate_registry_limits_t *gate_registry_limits(const gate_registry_t *reg)
{
    return &reg->limits;
}

int64_t registry_wall_usec(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- lock ---- */

/*
 * A holder died inside. The list in use is whole; what it had begun is undone: members filled but not listed, and members
 * unlisted but not yet retired, are retired now.
 */
static void mend_locked(gate_registry_t *reg)
{
    const member_list_t *list = list_in_use(reg);
    uint32_t slot, i, count = list_count(reg, list);

    for (slot = 0; slot < reg->limits.members; slot++) {
        if (atomic_load(&reg->member[slot].state) != SLOT_LISTED) {
            continue;
        }
        for (i = 0; i < count && list_at(list, i).slot != slot; i++) {
        }
        if (i == count) {
            reg->member[slot].retired_at_usec = 0;
            atomic_store(&reg->member[slot].state, SLOT_RETIRED);
        }
    }
}

apr_status_t registry_lock(gate_registry_t *reg)
{
    switch (gate_lock_take(&reg->head->lock, LOCK_WAIT_USEC)) {
    case GATE_LOCKED:
        return APR_SUCCESS;
    case GATE_LOCKED_DIRTY:
        mend_locked(reg);
        return APR_SUCCESS;
    default:
        return APR_ETIMEDOUT;
    }
}

void registry_unlock(gate_registry_t *reg)
{
    gate_lock_release(&reg->head->lock);
}

void list_switch_locked(gate_registry_t *reg)
{
    atomic_fetch_add_explicit(&reg->head->switches, 1, memory_order_acq_rel);
}

/* ---- taking a zone over ---- */

static void init(gate_registry_t *reg)
{
    reg->head->groups = reg->limits.groups;
    reg->head->members = reg->limits.members;
    reg->head->seats = reg->limits.seats;
    reg->head->layout = GATE_REGISTRY_LAYOUT;
    reg->head->magic = REGISTRY_MAGIC;
}

static void copy_text(char *to, size_t size, const char *from, size_t from_size)
{
    size_t len = strnlen(from, from_size);

    len = len < size ? len : size - 1;
    memcpy(to, from, len);
    to[len] = '\0';
}

/* A member of an old zone, of which nothing is believed without a check, into the same slot of ours, with the same incarnation. */
static void adopt(gate_registry_t *reg, const gate_registry_t *old, uint32_t slot, uint32_t group)
{
    const member_slot_t *from = &old->member[slot];
    uint32_t incarnation = atomic_load(&from->incarnation);
    char id[GATE_NAME_LEN], url[GATE_URL_LEN];
    gate_member_spec_t spec = { .id = id, .url = url };
    uint32_t weight = atomic_load(&old->hot[slot].weight);

    copy_text(id, sizeof id, from->id, sizeof from->id);
    copy_text(url, sizeof url, from->url, sizeof from->url);
    spec.weight = from->weight_configured >= 1 && from->weight_configured <= 1000 ? from->weight_configured : 1;
    spec.flags = from->flags & GATE_MEMBER_BACKUP;
    spec.connections = from->connections;
    spec.priority = from->priority;
    spec.verdict = atomic_load(&old->hot[slot].verdict) & (GATE_UNUSABLE | GATE_VERDICT_UNKNOWN);
    member_fill_locked(reg, slot, group,
                       from->origin >= GATE_ORIGIN_CONFIG && from->origin <= GATE_ORIGIN_DISCOVERED ? (gate_origin_e)from->origin
                                                                                                    : GATE_ORIGIN_CONFIG,
                       &spec, atomic_load(&old->hot[slot].up_since_usec));
    atomic_store(&reg->member[slot].incarnation, incarnation ? incarnation : 1);
    atomic_store(&reg->hot[slot].weight, weight >= 1 && weight <= 1000 ? weight : spec.weight);
    memcpy(&reg->stats[slot], &old->stats[slot], sizeof reg->stats[slot]);
}

/* Groups keep their indexes: old and new children take the same locks for them. */
static void adopt_groups(gate_registry_t *reg, const gate_registry_t *old)
{
    uint32_t g;

    for (g = 0; g < old->limits.groups && g < reg->limits.groups; g++) {
        char name[GATE_NAME_LEN];

        copy_text(name, sizeof name, old->group[g].name, sizeof old->group[g].name);
        if (atomic_load(&old->group[g].state) == GROUP_LIVING && *name && gate_group_find(reg, name) == GATE_NO_GROUP) {
            memcpy(reg->group[g].name, name, sizeof name);
            atomic_store(&reg->group[g].state, GROUP_LIVING);
        }
    }
}

/* Slots of members that went rest on: old children may still have exchanges on them. */
static void adopt_resting(gate_registry_t *reg, const gate_registry_t *old)
{
    uint32_t slot;

    for (slot = 0; slot < old->limits.members && slot < reg->limits.members; slot++) {
        uint32_t group = atomic_load(&old->member[slot].group);

        if (atomic_load(&old->member[slot].state) == SLOT_RETIRED && atomic_load(&reg->member[slot].state) == SLOT_FREE
            && group < reg->limits.groups) {
            adopt(reg, old, slot, group);
            reg->member[slot].retired_at_usec = old->member[slot].retired_at_usec;
            atomic_store(&reg->member[slot].state, SLOT_RETIRED);
        }
    }
}

static uint32_t adopt_all(gate_registry_t *reg, const void *old_base, uint64_t old_size_bytes)
{
    registry_head_t head;
    gate_registry_t old = { 0 };
    const member_list_t *list;
    member_list_t *mine = list_spare_locked(reg);
    uint32_t i, count, kept = 0;

    if (old_size_bytes < sizeof head) {
        return 0;
    }
    memcpy(&head, old_base, sizeof head);
    old.limits = (gate_registry_limits_t){ .groups = head.groups, .members = head.members, .seats = head.seats };
    if (head.magic != REGISTRY_MAGIC || head.layout != GATE_REGISTRY_LAYOUT || head.groups > 1u << 16 || head.members > 1u << 20
        || head.seats > 1u << 16 || gate_registry_size(&old.limits) > old_size_bytes) {
        return 0;
    }
    attach_to(&old, (void *)old_base, &old.limits);
    adopt_groups(reg, &old);
    list = list_in_use(&old);
    count = list_count(&old, list);
    for (i = 0; i < count && kept < reg->limits.members; i++) {
        listing_t at = list_at(list, i);

        if (at.slot >= old.limits.members || at.slot >= reg->limits.members || at.group >= reg->limits.groups
            || atomic_load(&reg->group[at.group].state) != GROUP_LIVING || atomic_load(&reg->member[at.slot].state) != SLOT_FREE) {
            continue;
        }
        adopt(reg, &old, at.slot, at.group);
        list_put(mine, kept++, at.group, at.slot);
    }
    adopt_resting(reg, &old);
    mine->count = kept;
    list_switch_locked(reg);
    return kept;
}

gate_registry_t *gate_registry_attach(apr_pool_t *p, void *base, const gate_registry_limits_t *limits, int fresh,
                                      gate_seats_t *seats, gate_events_t *events, const void *old_base,
                                      uint64_t old_size_bytes, uint32_t *kept)
{
    gate_registry_t *reg = apr_pcalloc(p, sizeof *reg);

    attach_to(reg, base, limits);
    reg->seats = seats;
    reg->events = events;
    if (kept) {
        *kept = 0;
    }
    if (fresh) {
        init(reg);
        if (old_base) {
            uint32_t n = adopt_all(reg, old_base, old_size_bytes);

            if (kept) {
                *kept = n;
            }
        }
    }
    return reg;
}

/* ---- groups ---- */

uint32_t gate_group_find(const gate_registry_t *reg, const char *name)
{
    uint32_t g;

    for (g = 0; g < reg->limits.groups; g++) {
        if (atomic_load(&reg->group[g].state) == GROUP_LIVING && strncmp(reg->group[g].name, name, GATE_NAME_LEN) == 0) {
            return g;
        }
    }
    return GATE_NO_GROUP;
}

apr_status_t gate_group_declare(gate_registry_t *reg, const char *name, uint32_t *group)
{
    apr_status_t rv = registry_lock(reg);
    uint32_t g;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *group = gate_group_find(reg, name);
    for (g = 0; *group == GATE_NO_GROUP && g < reg->limits.groups; g++) {
        if (atomic_load(&reg->group[g].state) == GROUP_FREE) {
            memset(reg->group[g].name, 0, GATE_NAME_LEN);
            strncpy(reg->group[g].name, name, GATE_NAME_LEN - 1);
            atomic_store(&reg->group[g].state, GROUP_LIVING);
            *group = g;
        }
    }
    registry_unlock(reg);
    return *group == GATE_NO_GROUP ? APR_ENOSPC : APR_SUCCESS;
}

const char *gate_group_name(const gate_registry_t *reg, uint32_t group)
{
    if (group >= reg->limits.groups || atomic_load(&reg->group[group].state) != GROUP_LIVING) {
        return "";
    }
    return reg->group[group].name;
}

apr_status_t gate_groups_keep(gate_registry_t *reg, const uint32_t *groups, uint32_t n, int64_t now_usec)
{
    uint32_t g, i;
    int origin;
    apr_status_t rv;

    for (g = 0; g < reg->limits.groups; g++) {
        for (i = 0; i < n && groups[i] != g; i++) {
        }
        if (i < n || atomic_load(&reg->group[g].state) != GROUP_LIVING) {
            continue;
        }
        for (origin = GATE_ORIGIN_CONFIG; origin <= GATE_ORIGIN_DISCOVERED; origin++) {
            rv = gate_members_apply(reg, g, (gate_origin_e)origin, NULL, 0, "", now_usec);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        atomic_store(&reg->group[g].state, GROUP_FREE);
    }
    return APR_SUCCESS;
}

uint32_t gate_group_version(const gate_registry_t *reg, uint32_t group)
{
    (void)group;
    return atomic_load_explicit(&reg->head->switches, memory_order_acquire);
}

uint32_t gate_group_standing(const gate_registry_t *reg, uint32_t group)
{
    return atomic_load_explicit(&reg->group[group].standing, memory_order_acquire);
}

uint64_t gate_group_turn(gate_registry_t *reg, uint32_t group)
{
    return atomic_fetch_add_explicit(&reg->group[group].turn, 1, memory_order_relaxed);
}

uint64_t gate_group_turn_next(const gate_registry_t *reg, uint32_t group)
{
    return atomic_load_explicit(&reg->group[group].turn, memory_order_relaxed);
}

void gate_group_credit_put(gate_registry_t *reg, uint32_t group, uint32_t milli)
{
    _Atomic int64_t *credit = &reg->group[group].credit_milli;

    if (atomic_load_explicit(credit, memory_order_relaxed) < GATE_CREDIT_MAX) {
        atomic_fetch_add_explicit(credit, milli, memory_order_relaxed);
    }
}

void gate_group_credit_take(gate_registry_t *reg, uint32_t group)
{
    _Atomic int64_t *credit = &reg->group[group].credit_milli;
    int64_t now = atomic_load(credit);

    while (!atomic_compare_exchange_weak(credit, &now, now > 1000 ? now - 1000 : 0)) {
    }
}

int64_t gate_group_credit(const gate_registry_t *reg, uint32_t group)
{
    return atomic_load_explicit(&reg->group[group].credit_milli, memory_order_relaxed);
}

/* ---- validation ---- */

static int validate_list(const gate_registry_t *reg, char *why, size_t why_size)
{
    const member_list_t *list = list_in_use(reg);
    uint32_t i, k;
    int faults = 0;

    if (list->count > reg->limits.members) {
        snprintf(why, why_size, "%u members listed, there is room for %u", list->count, reg->limits.members);
        return 1;
    }
    for (i = 0; i < list->count; i++) {
        listing_t at = list_at(list, i);

        if (at.slot >= reg->limits.members || at.group >= reg->limits.groups) {
            snprintf(why, why_size, "entry %u: slot %u of group %u is out of bounds", i, at.slot, at.group);
            return faults + 1;
        }
        if (atomic_load(&reg->member[at.slot].state) != SLOT_LISTED || atomic_load(&reg->member[at.slot].group) != at.group
            || atomic_load(&reg->group[at.group].state) != GROUP_LIVING) {
            snprintf(why, why_size, "slot %u is listed for group %u but is not its member", at.slot, at.group);
            faults++;
        }
        for (k = 0; k < i; k++) {
            if (list_at(list, k).slot == at.slot) {
                snprintf(why, why_size, "slot %u is listed twice", at.slot);
                faults++;
            }
        }
    }
    return faults;
}

static int validate_member(const gate_registry_t *reg, uint32_t slot, char *why, size_t why_size)
{
    const member_slot_t *m = &reg->member[slot];
    uint32_t weight = atomic_load(&reg->hot[slot].weight), verdict = atomic_load(&reg->hot[slot].verdict);

    if (atomic_load(&m->state) > SLOT_RETIRED) {
        snprintf(why, why_size, "slot %u has state %u", slot, atomic_load(&m->state));
        return 1;
    }
    if (atomic_load(&m->state) != SLOT_LISTED) {
        return 0;
    }
    if (!memchr(m->id, 0, sizeof m->id) || !memchr(m->url, 0, sizeof m->url) || weight < 1 || weight > 1000
        || verdict & ~(GATE_UNUSABLE | GATE_VERDICT_UNKNOWN) || !atomic_load(&m->incarnation)) {
        snprintf(why, why_size, "slot %u: weight %u, verdict %x", slot, weight, verdict);
        return 1;
    }
    return 0;
}

/* A living seat's numbers are small; a number below zero shows as one near 2^32. A free seat's are zero. */
static int validate_row(_Atomic uint32_t *row, uint32_t n, uint32_t seat, char *why, size_t why_size)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint32_t value = atomic_load(&row[i]);

        if (value > 1u << 24) {
            snprintf(why, why_size, "seat %u: number %u of its row is %d", seat, i, (int)value);
            return 1;
        }
    }
    return 0;
}

int gate_registry_validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    const gate_registry_t *reg = ctx;
    int faults = 0;
    uint32_t i, k;

    if (base != reg->head || gate_registry_size(&reg->limits) > size_bytes || reg->head->magic != REGISTRY_MAGIC
        || reg->head->layout != GATE_REGISTRY_LAYOUT || reg->head->members != reg->limits.members
        || reg->head->groups != reg->limits.groups || reg->head->seats != reg->limits.seats) {
        snprintf(why, why_size, "the head is not that of this registry");
        return 1;
    }
    faults += validate_list(reg, why, why_size);
    for (i = 0; i < reg->limits.members; i++) {
        faults += validate_member(reg, i, why, why_size);
    }
    for (i = 0; i < reg->limits.seats; i++) {
        faults += validate_row(row_active(reg, i), 2 * reg->limits.groups, i, why, why_size);
        for (k = 0; k < reg->pieces; k++) {
            faults += validate_row(row_inflight(&reg->inflight[k], i), reg->inflight[k].end - reg->inflight[k].begin, i, why, why_size);
        }
    }
    return faults;
}
