/* roster.c - see gate_roster.h. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "gate_roster.h"

typedef struct {
    gate_roster_t roster; /* first: callers hold a pointer to it */
    apr_pool_t *pool;
    void (*end_kept)(void *kept);
    _Atomic uint32_t references;
} held_t;

typedef struct {
    pthread_mutex_t mutex;
    held_t *now;
    int building; /* somebody is making the next one: the others go on with this one */
} place_t;

struct gate_rosters {
    gate_registry_t *reg;
    uint32_t count;
    place_t *place;
    void (*end_kept)(void *kept);
};

static void end_roster(held_t *held)
{
    uint32_t i;

    for (i = 0; held->end_kept && i < held->roster.count; i++) {
        void *kept = atomic_load(&held->roster.kept[i]);

        if (kept) {
            held->end_kept(kept);
        }
    }
    apr_pool_destroy(held->pool);
}

static void drop(held_t *held)
{
    if (held && atomic_fetch_sub(&held->references, 1) == 1) {
        end_roster(held);
    }
}

static apr_status_t rosters_end(void *data)
{
    gate_rosters_t *rosters = data;
    uint32_t g;

    for (g = 0; g < rosters->count; g++) {
        drop(rosters->place[g].now);
        rosters->place[g].now = NULL;
        pthread_mutex_destroy(&rosters->place[g].mutex);
    }
    return APR_SUCCESS;
}

gate_rosters_t *gate_rosters_create(apr_pool_t *p, gate_registry_t *reg)
{
    gate_rosters_t *rosters = apr_pcalloc(p, sizeof *rosters);
    uint32_t g;

    rosters->reg = reg;
    rosters->count = gate_registry_limits(reg)->groups;
    rosters->place = apr_pcalloc(p, rosters->count * sizeof *rosters->place);
    for (g = 0; g < rosters->count; g++) {
        pthread_mutex_init(&rosters->place[g].mutex, NULL);
    }
    /* before everything else of the pool: what is kept with rosters may stand on it */
    apr_pool_pre_cleanup_register(p, rosters, rosters_end);
    return rosters;
}

void gate_rosters_on_end(gate_rosters_t *rosters, void (*end)(void *kept))
{
    rosters->end_kept = end;
}

void *gate_roster_keep(const gate_roster_t *roster, uint32_t index, void *kept)
{
    void *there = NULL;

    return atomic_compare_exchange_strong(&roster->kept[index], &there, kept) ? kept : there;
}

static void fill_member(apr_pool_t *pool, gate_roster_member_t *to, const gate_member_t *from)
{
    to->slot = from->slot;
    to->incarnation = from->incarnation;
    to->flags = from->flags;
    to->connections = from->connections;
    to->priority = from->priority;
    to->id_hash = from->id_hash;
    to->id = apr_pstrdup(pool, from->id);
    to->url = apr_pstrdup(pool, from->url);
}

static uint32_t count_tiers(const gate_roster_t *roster)
{
    uint32_t i, k, tiers = 0;

    for (i = 0; i < roster->count; i++) {
        const gate_roster_member_t *m = &roster->members[i];

        for (k = 0; k < i; k++) {
            if (roster->members[k].priority == m->priority && roster->members[k].flags == m->flags) {
                break;
            }
        }
        tiers += k == i;
    }
    return tiers;
}

/* The slots of a group as they are now, in memory of the caller's that it frees. */
static uint32_t *list_slots(const gate_registry_t *reg, uint32_t group, uint32_t *count, uint32_t *version)
{
    uint32_t room = 16, *slots = NULL;

    for (;;) {
        uint32_t *more = realloc(slots, room * sizeof *slots);

        if (!more) {
            abort(); /* as APR does when memory is out */
        }
        slots = more;
        *count = gate_group_members(reg, group, slots, room, version);
        if (*count <= room) {
            return slots;
        }
        room = *count + 16;
    }
}

static void count_scheme(gate_roster_t *roster, const char *scheme)
{
    int tls = strcmp(scheme, "https") == 0 || strcmp(scheme, "h2") == 0;

    roster->tls += tls;
    roster->others += !tls && strcmp(scheme, "http") != 0 && strcmp(scheme, "h2c") != 0;
}

static held_t *build(const gate_rosters_t *rosters, uint32_t group)
{
    apr_pool_t *pool;
    held_t *held;
    uint32_t i, count, version, *slots;

    apr_pool_create_unmanaged_ex(&pool, NULL, NULL); /* of its own: any thread may end it */
    held = apr_pcalloc(pool, sizeof *held);
    held->pool = pool;
    atomic_init(&held->references, 1);
    slots = list_slots(rosters->reg, group, &count, &version);
    held->roster.group = group;
    held->roster.version = version;
    held->roster.members = apr_pcalloc(pool, (count + 1) * sizeof *held->roster.members);
    held->roster.kept = apr_pcalloc(pool, (count + 1) * sizeof *held->roster.kept);
    held->end_kept = rosters->end_kept;
    for (i = 0; i < count; i++) {
        gate_roster_member_t *to = &held->roster.members[held->roster.count];
        gate_member_t member;

        if (gate_member_get(rosters->reg, slots[i], &member) != 0) {
            continue; /* the membership moved on meanwhile: the next hold sees another version */
        }
        fill_member(pool, to, &member);
        if (gate_parse_member_url(pool, to->url, &to->parts) == NULL) {
            held->roster.capped += to->connections != 0;
            count_scheme(&held->roster, to->parts.scheme);
            held->roster.count++;
        }
    }
    held->roster.tiers = count_tiers(&held->roster);
    free(slots);
    return held;
}

gate_roster_t *gate_roster_hold(gate_rosters_t *rosters, uint32_t group)
{
    place_t *place = &rosters->place[group];
    held_t *held, *next, *old;

    pthread_mutex_lock(&place->mutex);
    if (!place->now) {
        place->now = build(rosters, group); /* the first one: everybody needs it, so everybody waits */
    }
    else if (place->now->roster.version != gate_group_version(rosters->reg, group) && !place->building) {
        place->building = 1;
        pthread_mutex_unlock(&place->mutex);
        next = build(rosters, group);
        pthread_mutex_lock(&place->mutex);
        old = place->now;
        place->now = next;
        place->building = 0;
        drop(old);
    }
    held = place->now;
    atomic_fetch_add(&held->references, 1);
    pthread_mutex_unlock(&place->mutex);
    return &held->roster;
}

void gate_roster_release(gate_roster_t *roster)
{
    drop((held_t *)roster);
}

int gate_roster_find(const gate_roster_t *roster, uint32_t slot, uint32_t incarnation)
{
    uint32_t i;

    for (i = 0; i < roster->count; i++) {
        if (roster->members[i].slot == slot && roster->members[i].incarnation == incarnation) {
            return (int)i;
        }
    }
    return -1;
}

int gate_roster_find_id(const gate_roster_t *roster, const char *id)
{
    uint32_t i;

    for (i = 0; i < roster->count; i++) {
        if (strcmp(roster->members[i].id, id) == 0) {
            return (int)i;
        }
    }
    return -1;
}
