/* changes.c - see gate_changes.h. */
#include <stdio.h>
#include <string.h>

#include "changes_table.h"
#include "gate_parse.h"

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

uint64_t gate_changes_size(uint32_t capacity)
{
    return sizeof(changes_zone_t) + (uint64_t)capacity * sizeof(changes_record_t);
}

void gate_changes_init(void *base, uint32_t capacity)
{
    changes_zone_t *zone = base;

    memset(base, 0, gate_changes_size(capacity));
    zone->capacity = capacity;
    zone->magic = CHANGES_MAGIC;
}

gate_changes_t *gate_changes_attach(apr_pool_t *p, void *base, uint32_t capacity, gate_registry_t *reg, void (*changed)(void))
{
    gate_changes_t *changes = apr_pcalloc(p, sizeof *changes);

    changes->zone = base;
    changes->capacity = capacity;
    changes->reg = reg;
    changes->changed = changed;
    return changes;
}

apr_status_t changes_lock(gate_changes_t *changes)
{
    return gate_lock_take(&changes->zone->lock, CHANGES_LOCK_USEC) == GATE_LOCK_TIMEOUT ? APR_ETIMEDOUT : APR_SUCCESS;
}

void changes_unlock(gate_changes_t *changes)
{
    gate_lock_release(&changes->zone->lock);
}

int changes_copy(const gate_changes_t *changes, uint32_t i, gate_change_t *out)
{
    const changes_record_t *record = &changes->zone->record[i];

    if (atomic_load(&((changes_record_t *)record)->number) == 0) {
        return -1;
    }
    *out = record->change;
    out->group[sizeof out->group - 1] = out->id[sizeof out->id - 1] = '\0';
    out->url[sizeof out->url - 1] = out->who[sizeof out->who - 1] = '\0';
    return 0;
}

static int is_of(const gate_change_t *c, const char *group, const char *id)
{
    return strncmp(c->group, group, sizeof c->group) == 0 && strncmp(c->id, id, sizeof c->id) == 0;
}

/* @return index of the record that counts, or capacity */
static uint32_t find(const gate_changes_t *changes, const char *group, const char *id)
{
    uint32_t i, found = changes->capacity;
    uint64_t latest = 0;

    for (i = 0; i < changes->capacity; i++) {
        changes_record_t *record = &changes->zone->record[i];
        uint64_t number = atomic_load(&record->number);

        if (number > latest && is_of(&record->change, group, id)) {
            latest = number;
            found = i;
        }
    }
    return found;
}

static void forget_others_locked(gate_changes_t *changes, const char *group, const char *id, uint32_t but)
{
    uint32_t i;

    for (i = 0; i < changes->capacity; i++) {
        changes_record_t *record = &changes->zone->record[i];

        if (i != but && atomic_load(&record->number) && is_of(&record->change, group, id)) {
            atomic_store(&record->number, 0);
        }
    }
}

/* A free place; when there is none, that of a group which no configuration has any more. */
static uint32_t free_place_locked(gate_changes_t *changes)
{
    uint32_t i, orphan = changes->capacity;

    for (i = 0; i < changes->capacity; i++) {
        gate_change_t c;

        if (changes_copy(changes, i, &c) != 0) {
            return i;
        }
        if (orphan == changes->capacity && gate_group_find(changes->reg, c.group) == GATE_NO_GROUP) {
            orphan = i;
        }
    }
    return orphan;
}

apr_status_t changes_put_locked(gate_changes_t *changes, const gate_change_t *change)
{
    uint32_t at = changes->capacity;

    if (change->what) {
        at = free_place_locked(changes);
        if (at == changes->capacity) {
            return APR_ENOSPC;
        }
        atomic_store(&changes->zone->record[at].number, 0);
        changes->zone->record[at].change = *change;
        atomic_store(&changes->zone->record[at].number, atomic_fetch_add(&changes->zone->numbers, 1) + 1);
    }
    forget_others_locked(changes, change->group, change->id, at);
    return APR_SUCCESS;
}

int gate_change_get(const gate_changes_t *changes, const char *group, const char *id, gate_change_t *out)
{
    uint32_t at;
    int got = -1;

    if (changes_lock((gate_changes_t *)changes) != APR_SUCCESS) {
        return -1;
    }
    at = find(changes, group, id);
    if (at < changes->capacity) {
        got = changes_copy(changes, at, out);
    }
    changes_unlock((gate_changes_t *)changes);
    return got;
}

/* ---- one change ----------------------------------------------------------------------------------------------------------- */

apr_status_t changes_check(const char *id, const char *url, uint32_t weight, uint32_t flags)
{
    gate_url_t parts;
    apr_pool_t *p;
    int good;

    apr_pool_create(&p, NULL);
    good = gate_parse_name(p, id) == NULL && strlen(url) < GATE_URL_LEN && gate_parse_member_url(p, url, &parts) == NULL
           && weight >= 1 && weight <= 1000 && !(flags & ~GATE_MEMBER_BACKUP);
    apr_pool_destroy(p);
    return good ? APR_SUCCESS : APR_EINVAL;
}

static void put_text(char *to, size_t size, const char *from)
{
    size_t len = from ? strnlen(from, size - 1) : 0;

    memset(to, 0, size);
    memcpy(to, from ? from : "", len);
}

/* What is remembered of a member already, or a new record about it. */
static gate_change_t begin_locked(gate_changes_t *changes, const gate_member_t *m, const char *who)
{
    gate_change_t c;
    uint32_t at = find(changes, gate_group_name(changes->reg, m->group), m->id);

    if (at == changes->capacity || changes_copy(changes, at, &c) != 0) {
        memset(&c, 0, sizeof c);
        put_text(c.group, sizeof c.group, gate_group_name(changes->reg, m->group));
        put_text(c.id, sizeof c.id, m->id);
        put_text(c.url, sizeof c.url, m->url);
        c.weight = m->weight;
        c.weight_configured = m->weight_configured;
        c.flags = m->flags;
        c.connections = m->connections;
    }
    c.what &= ~(uint32_t)GATE_CHANGE_REMOVED;
    c.flags &= ~CHANGES_OF_DISCOVERY;
    put_text(c.who, sizeof c.who, who);
    return c;
}

static int64_t wall_usec(void)
{
    return apr_time_now();
}

static apr_status_t end_locked(gate_changes_t *changes, gate_change_t *c)
{
    apr_status_t rv;

    c->at_wall_usec = wall_usec();
    rv = changes_put_locked(changes, c);
    changes_unlock(changes);
    if (changes->changed) {
        changes->changed();
    }
    return rv;
}

/* The member, under the lock; a table without room is noticed before anything is done. */
static apr_status_t open_locked(gate_changes_t *changes, uint32_t slot, uint32_t incarnation, gate_member_t *m)
{
    apr_status_t rv = changes_lock(changes);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (gate_member_get(changes->reg, slot, m) != 0 || m->incarnation != incarnation
        || gate_member_find(changes->reg, m->group, m->id) != slot) {
        rv = APR_ENOENT;
    }
    else if (free_place_locked(changes) == changes->capacity) {
        rv = APR_ENOSPC;
    }
    if (rv != APR_SUCCESS) {
        changes_unlock(changes);
    }
    return rv;
}

apr_status_t gate_change_add(gate_changes_t *changes, uint32_t group, const gate_member_spec_t *spec, const char *who,
                             int64_t now_usec, uint32_t *slot)
{
    gate_change_t c = { .what = GATE_CHANGE_ADDED, .weight = spec->weight, .weight_configured = spec->weight, .flags = spec->flags,
                        .connections = spec->connections, .admin = spec->verdict & GATE_VERDICT_ADMIN };
    const char *name = gate_group_name(changes->reg, group);
    apr_status_t rv = *name ? changes_check(spec->id, spec->url, spec->weight, spec->flags) : APR_ENOENT;

    if (rv != APR_SUCCESS || (rv = changes_lock(changes)) != APR_SUCCESS) {
        return rv;
    }
    rv = free_place_locked(changes) == changes->capacity
             ? APR_ENOSPC
             : gate_member_add(changes->reg, group, GATE_ORIGIN_RUNTIME, spec, who, now_usec, slot);
    if (rv != APR_SUCCESS) {
        changes_unlock(changes);
        return rv;
    }
    put_text(c.group, sizeof c.group, name);
    put_text(c.id, sizeof c.id, spec->id);
    put_text(c.url, sizeof c.url, spec->url);
    put_text(c.who, sizeof c.who, who);
    if (c.admin) {
        c.what |= GATE_CHANGE_ADMIN;
    }
    return end_locked(changes, &c);
}

apr_status_t gate_change_remove(gate_changes_t *changes, uint32_t slot, uint32_t incarnation, const char *who, const char *why,
                                int64_t now_usec)
{
    gate_member_t m;
    gate_change_t c;
    apr_status_t rv = open_locked(changes, slot, incarnation, &m);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = gate_member_remove(changes->reg, slot, incarnation, who, why, now_usec);
    if (rv != APR_SUCCESS) {
        changes_unlock(changes);
        return rv;
    }
    c = begin_locked(changes, &m, who);
    c.what = m.origin == GATE_ORIGIN_RUNTIME ? 0 : GATE_CHANGE_REMOVED;
    c.flags = m.flags | (m.origin == GATE_ORIGIN_DISCOVERED ? CHANGES_OF_DISCOVERY : 0);
    c.deadline_wall_usec = 0;
    return end_locked(changes, &c);
}

apr_status_t gate_change_weight(gate_changes_t *changes, uint32_t slot, uint32_t incarnation, uint32_t weight, const char *who)
{
    gate_member_t m;
    gate_change_t c;
    apr_status_t rv = weight >= 1 && weight <= 1000 ? open_locked(changes, slot, incarnation, &m) : APR_EINVAL;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = gate_member_weight(changes->reg, slot, incarnation, weight, who);
    if (rv != APR_SUCCESS) {
        changes_unlock(changes);
        return rv;
    }
    c = begin_locked(changes, &m, who);
    c.what |= GATE_CHANGE_WEIGHT;
    c.weight = weight;
    c.weight_configured = m.weight_configured;
    return end_locked(changes, &c);
}

apr_status_t gate_change_admin(gate_changes_t *changes, uint32_t slot, uint32_t incarnation, uint32_t admin,
                               int64_t deadline_wall_usec, const char *who, const char *why, int64_t now_usec)
{
    gate_member_t m;
    gate_change_t c;
    apr_status_t rv;

    if ((admin != 0 && admin != GATE_VERDICT_DRAIN && admin != GATE_VERDICT_DISABLED) || deadline_wall_usec < 0
        || (deadline_wall_usec && admin != GATE_VERDICT_DRAIN)) {
        return APR_EINVAL;
    }
    rv = open_locked(changes, slot, incarnation, &m);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (gate_verdict_change(changes->reg, slot, incarnation, admin, GATE_VERDICT_ADMIN & ~admin, "admin", who, why, now_usec) < 0) {
        changes_unlock(changes);
        return APR_ENOENT;
    }
    c = begin_locked(changes, &m, who);
    c.what |= GATE_CHANGE_ADMIN;
    c.admin = admin;
    c.deadline_wall_usec = deadline_wall_usec;
    return end_locked(changes, &c);
}

/* ---- sets, restarts, deadlines -------------------------------------------------------------------------------------------- */

static const gate_member_spec_t *spec_of(const gate_member_spec_t *specs, uint32_t n, const char *id)
{
    uint32_t i;

    for (i = 0; i < n && strcmp(specs[i].id, id) != 0; i++) {
    }
    return i < n ? &specs[i] : NULL;
}

/* What this set makes out of date. */
static int is_outdated(const gate_change_t *c, gate_origin_e origin, const gate_member_spec_t *spec, int complete)
{
    int discovered = (c->flags & CHANGES_OF_DISCOVERY) != 0;

    if (c->what & GATE_CHANGE_ADDED) {
        return spec != NULL && origin == GATE_ORIGIN_CONFIG;
    }
    if (!(c->what & GATE_CHANGE_REMOVED) || discovered != (origin == GATE_ORIGIN_DISCOVERED)) {
        return 0;
    }
    return spec ? strcmp(spec->url, c->url) != 0 : complete;
}

uint32_t gate_changes_dress(gate_changes_t *changes, uint32_t group, gate_origin_e origin, gate_member_spec_t *specs, uint32_t n,
                             int complete)
{
    const char *name = gate_group_name(changes->reg, group);
    uint32_t i, k, left = n;
    int forgot = 0;

    if (changes_lock(changes) != APR_SUCCESS) {
        return n;
    }
    for (i = 0; i < changes->capacity; i++) {
        const gate_member_spec_t *spec;
        gate_change_t c;

        if (changes_copy(changes, i, &c) != 0 || strcmp(c.group, name) != 0 || find(changes, c.group, c.id) != i) {
            continue;
        }
        spec = spec_of(specs, left, c.id);
        if (is_outdated(&c, origin, spec, complete)) {
            atomic_store(&changes->zone->record[i].number, 0);
            forgot = 1;
            continue;
        }
        if (!spec || (c.what & GATE_CHANGE_ADDED)) {
            continue;
        }
        k = (uint32_t)(spec - specs);
        if (c.what & GATE_CHANGE_REMOVED) {
            memmove(&specs[k], &specs[k + 1], (left - k - 1) * sizeof *specs);
            left--;
        }
        else if (c.what & GATE_CHANGE_ADMIN) {
            specs[k].verdict = (specs[k].verdict & ~(uint32_t)GATE_VERDICT_ADMIN) | (c.admin & GATE_VERDICT_ADMIN);
        }
    }
    changes_unlock(changes);
    if (forgot && changes->changed) {
        changes->changed();
    }
    return left;
}

/* @return 1 if the registry had to be told */
static int add_again(gate_changes_t *changes, uint32_t group, const gate_change_t *c, int64_t now_usec)
{
    gate_member_spec_t spec = { .id = c->id, .url = c->url, .weight = c->weight_configured, .flags = c->flags & GATE_MEMBER_BACKUP,
                                .connections = c->connections, .verdict = c->admin & GATE_VERDICT_ADMIN };
    uint32_t slot;

    if (gate_member_find(changes->reg, group, c->id) != GATE_NO_SLOT || changes_check(c->id, c->url, spec.weight, spec.flags) != APR_SUCCESS) {
        return 0;
    }
    return gate_member_add(changes->reg, group, GATE_ORIGIN_RUNTIME, &spec, c->who, now_usec, &slot) == APR_SUCCESS;
}

static int do_again(gate_changes_t *changes, const gate_change_t *c, int64_t now_usec)
{
    uint32_t slot, group = gate_group_find(changes->reg, c->group);
    gate_member_t m;
    int done = 0;

    if (group == GATE_NO_GROUP) {
        return 0;
    }
    if (c->what & GATE_CHANGE_ADDED) {
        done = add_again(changes, group, c, now_usec);
    }
    slot = gate_member_find(changes->reg, group, c->id);
    if (slot == GATE_NO_SLOT || gate_member_get(changes->reg, slot, &m) != 0) {
        return done;
    }
    if (c->what & GATE_CHANGE_REMOVED) {
        return strcmp(m.url, c->url) == 0
               && gate_member_remove(changes->reg, slot, m.incarnation, c->who, "removed at run time, before a restart", now_usec) == APR_SUCCESS;
    }
    if ((c->what & GATE_CHANGE_WEIGHT) && m.weight_configured == c->weight_configured && m.weight != c->weight) {
        done |= gate_member_weight(changes->reg, slot, m.incarnation, c->weight, c->who) == APR_SUCCESS;
    }
    if ((c->what & GATE_CHANGE_ADMIN) && (m.verdict & GATE_VERDICT_ADMIN) != (c->admin & GATE_VERDICT_ADMIN)) {
        done |= gate_verdict_change(changes->reg, slot, m.incarnation, c->admin & GATE_VERDICT_ADMIN,
                                    GATE_VERDICT_ADMIN & ~c->admin, "admin", c->who, "as before the restart", now_usec) > 0;
    }
    return done;
}

uint32_t gate_changes_apply(gate_changes_t *changes, int64_t now_usec)
{
    uint32_t i, done = 0;

    if (changes_lock(changes) != APR_SUCCESS) {
        return 0;
    }
    for (i = 0; i < changes->capacity; i++) {
        gate_change_t c;

        if (changes_copy(changes, i, &c) == 0 && find(changes, c.group, c.id) == i) {
            done += (uint32_t)do_again(changes, &c, now_usec);
        }
    }
    changes_unlock(changes);
    return done;
}

uint32_t gate_changes_tick(gate_changes_t *changes, int64_t now_usec, int64_t wall_usec,
                           void (*fn)(const gate_change_t *change, uint32_t inflight, void *ctx), void *ctx)
{
    uint32_t i, done = 0;

    for (i = 0; i < changes->capacity; i++) {
        uint32_t slot, group, inflight;
        gate_member_t m;
        gate_change_t c;

        /* looked at without the lock: what is done after is checked under it */
        if (changes_copy(changes, i, &c) != 0 || !(c.what & GATE_CHANGE_ADMIN) || c.admin != GATE_VERDICT_DRAIN
            || !c.deadline_wall_usec || wall_usec < c.deadline_wall_usec) {
            continue;
        }
        group = gate_group_find(changes->reg, c.group);
        slot = group == GATE_NO_GROUP ? GATE_NO_SLOT : gate_member_find(changes->reg, group, c.id);
        if (slot == GATE_NO_SLOT || gate_member_get(changes->reg, slot, &m) != 0 || !(m.verdict & GATE_VERDICT_DRAIN)) {
            continue;
        }
        inflight = gate_inflight(changes->reg, slot);
        if (gate_change_remove(changes, slot, m.incarnation, c.who, "its drain is over", now_usec) == APR_SUCCESS) {
            done++;
            if (fn) {
                fn(&c, inflight, ctx);
            }
        }
    }
    return done;
}

int gate_changes_validate(const void *base, uint64_t size_bytes, void *handle, char *why, size_t why_size)
{
    const gate_changes_t *changes = handle;
    const changes_zone_t *zone = base;
    uint32_t i;

    if (zone->magic != CHANGES_MAGIC || zone->capacity != changes->capacity || gate_changes_size(changes->capacity) > size_bytes) {
        snprintf(why, why_size, "changes: header is damaged");
        return 1;
    }
    for (i = 0; i < changes->capacity; i++) {
        uint64_t number = atomic_load(&((changes_zone_t *)zone)->record[i].number);
        gate_change_t c;

        if (number > atomic_load(&((changes_zone_t *)zone)->numbers)) {
            snprintf(why, why_size, "changes: record %u has a number that was never given", i);
            return 1;
        }
        if (number && changes_copy(changes, i, &c) == 0 && atomic_load(&((changes_zone_t *)zone)->record[i].number) == number
            && (!c.what || !*c.group || !*c.id || c.what >= GATE_CHANGE_ADMIN << 1)) {
            snprintf(why, why_size, "changes: record %u says nothing", i);
            return 1;
        }
    }
    return 0;
}
