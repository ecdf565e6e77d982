/* zone.c - see gate_zone.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gate_zone.h"

#define ZONES_MAX 1024

typedef struct {
    void *base;
    uint64_t size_bytes; /* as mapped */
    uint32_t layout;
} mapping_t;

typedef struct {
    char name[GATE_ZONE_NAME_LEN];
    uint64_t asked_bytes, charged_bytes;
    mapping_t now, old;
    int asked; /* in this configuration */
    gate_zone_validate_fn validate;
    void *validate_ctx;
} zone_t;

struct gate_arena {
    uint64_t budget_bytes, used_bytes;
    uint32_t count;
    zone_t zone[ZONES_MAX];
};

gate_arena_t *gate_arena_create(void)
{
    return calloc(1, sizeof(gate_arena_t));
}

void gate_arena_begin(gate_arena_t *arena, uint64_t budget_bytes)
{
    uint32_t i;

    arena->budget_bytes = budget_bytes;
    arena->used_bytes = 0;
    for (i = 0; i < arena->count; i++) {
        arena->zone[i].asked = 0;
        arena->zone[i].validate = NULL; /* it points into a module that may have been unloaded */
    }
}

static zone_t *zone_find(gate_arena_t *arena, const char *name)
{
    uint32_t i;

    for (i = 0; i < arena->count; i++) {
        if (strcmp(arena->zone[i].name, name) == 0) {
            return &arena->zone[i];
        }
    }
    return NULL;
}

static uint64_t page_round(uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    return (bytes + page - 1) / page * page;
}

static void mapping_drop(mapping_t *m)
{
    if (m->base) {
        munmap(m->base, m->size_bytes);
        memset(m, 0, sizeof *m);
    }
}

static apr_status_t zone_map(zone_t *zone, uint32_t layout, uint64_t size_bytes)
{
    uint64_t rounded = page_round(size_bytes);
    void *base = mmap(NULL, rounded, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED) {
        return APR_ENOMEM;
    }
    mapping_drop(&zone->old);
    zone->old = zone->now;
    zone->now = (mapping_t){ .base = base, .size_bytes = rounded, .layout = layout };
    zone->asked_bytes = size_bytes;
    return APR_SUCCESS;
}

apr_status_t gate_arena_zone(gate_arena_t *arena, const char *name, uint32_t layout, uint64_t size_bytes, unsigned flags,
                             gate_zone_t *out)
{
    zone_t *zone = zone_find(arena, name);
    uint64_t charge = flags & GATE_ZONE_OWN_BUDGET ? 0 : page_round(size_bytes);
    apr_status_t rv = APR_SUCCESS;

    memset(out, 0, sizeof *out);
    if (!*name || strlen(name) >= GATE_ZONE_NAME_LEN || !size_bytes || size_bytes > INT64_MAX / 2) {
        return APR_EINVAL;
    }
    if (!zone) {
        if (arena->count == ZONES_MAX) {
            return APR_ENOSPC;
        }
        zone = &arena->zone[arena->count];
        strcpy(zone->name, name);
    }
    out->state = GATE_ZONE_KEPT;
    if (!zone->now.base || zone->now.layout != layout || zone->asked_bytes != size_bytes) {
        rv = zone_map(zone, layout, size_bytes);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        out->state = zone->old.base ? GATE_ZONE_RESIZED : GATE_ZONE_FRESH;
    }
    if (zone == &arena->zone[arena->count]) {
        arena->count++;
    }
    zone->asked = 1;
    zone->charged_bytes = charge;
    arena->used_bytes += charge;
    out->base = zone->now.base;
    out->size_bytes = size_bytes;
    if (out->state == GATE_ZONE_RESIZED) {
        out->old_base = zone->old.base;
        out->old_size_bytes = zone->old.size_bytes;
        out->old_layout = zone->old.layout;
    }
    return APR_SUCCESS;
}

void gate_arena_settle(gate_arena_t *arena)
{
    uint32_t i, kept = 0;

    for (i = 0; i < arena->count; i++) {
        mapping_drop(&arena->zone[i].old);
        if (!arena->zone[i].asked) {
            mapping_drop(&arena->zone[i].now);
            continue;
        }
        if (kept != i) {
            arena->zone[kept] = arena->zone[i];
        }
        kept++;
    }
    if (kept < arena->count) {
        memset(&arena->zone[kept], 0, (arena->count - kept) * sizeof(zone_t));
    }
    arena->count = kept;
}

uint64_t gate_arena_used(const gate_arena_t *arena)
{
    return arena->used_bytes;
}

int gate_arena_fits(const gate_arena_t *arena)
{
    return arena->used_bytes <= arena->budget_bytes;
}

/* The zone that comes after `last` (NULL: the first) when the largest are named first. */
static const zone_t *next_smaller(const gate_arena_t *arena, const zone_t *last)
{
    const zone_t *best = NULL, *zone;

    for (zone = arena->zone; zone < arena->zone + arena->count; zone++) {
        int behind = !last || zone->charged_bytes < last->charged_bytes || (zone->charged_bytes == last->charged_bytes && zone > last);

        if (zone->charged_bytes && behind && (!best || zone->charged_bytes > best->charged_bytes)) {
            best = zone;
        }
    }
    return best;
}

void gate_arena_describe(const gate_arena_t *arena, char *text, size_t size)
{
    const zone_t *zone = NULL;
    size_t at = 0;

    *text = '\0';
    while (at < size && (zone = next_smaller(arena, zone)) != NULL) {
        at += (size_t)snprintf(text + at, size - at, "%s%s %lluK", at ? ", " : "", zone->name,
                               (unsigned long long)zone->charged_bytes >> 10);
    }
}

void gate_arena_on_validate(gate_arena_t *arena, const char *name, gate_zone_validate_fn fn, void *ctx)
{
    zone_t *zone = zone_find(arena, name);

    if (zone) {
        zone->validate = fn;
        zone->validate_ctx = ctx;
    }
}

int gate_arena_validate(gate_arena_t *arena, char *why, size_t why_size)
{
    char text[200];
    uint32_t i;
    int faults = 0, found;

    *why = '\0';
    for (i = 0; i < arena->count; i++) {
        zone_t *zone = &arena->zone[i];

        if (!zone->validate) {
            continue;
        }
        *text = '\0';
        found = zone->validate(zone->now.base, zone->asked_bytes, zone->validate_ctx, text, sizeof text);
        if (found && !faults) {
            snprintf(why, why_size, "zone %s: %s", zone->name, text);
        }
        faults += found;
    }
    return faults;
}
