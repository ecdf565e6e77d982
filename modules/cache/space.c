/* space.c - runs of units; see space.h */
#include "space.h"

#include <string.h>

typedef struct {
    uint32_t next, prev; /* first unit of a block, + 1; 0: end */
} link_t;

static link_t *link_at(const gate_space_view_t *v, uint32_t unit)
{
    return (link_t *)(void *)(v->data + (uint64_t)unit * GATE_UNIT);
}

static uint32_t log2_floor(uint32_t n)
{
    return 31u - (uint32_t)__builtin_clz(n);
}

static uint32_t log2_ceil(uint32_t n)
{
    return n <= 1 ? 0 : log2_floor(n - 1) + 1;
}

static void list_push(const gate_space_view_t *v, uint32_t unit, uint32_t order)
{
    link_t *l = link_at(v, unit);

    l->next = v->space->free[order];
    l->prev = 0;
    if (l->next) {
        link_at(v, l->next - 1)->prev = unit + 1;
    }
    v->space->free[order] = unit + 1;
    v->map[unit] = (uint8_t)(order + 1);
}

static void list_remove(const gate_space_view_t *v, uint32_t unit, uint32_t order)
{
    link_t *l = link_at(v, unit);

    if (l->prev) {
        link_at(v, l->prev - 1)->next = l->next;
    }
    else {
        v->space->free[order] = l->next;
    }
    if (l->next) {
        link_at(v, l->next - 1)->prev = l->prev;
    }
    v->map[unit] = 0;
}

static void free_block(const gate_space_view_t *v, uint32_t unit, uint32_t order)
{
    while (order + 1 < GATE_SPACE_ORDERS) {
        uint32_t buddy = unit ^ (1u << order);

        if ((uint64_t)buddy + (1u << order) > v->units || v->map[buddy] != order + 1) {
            break;
        }
        list_remove(v, buddy, order);
        unit &= ~(1u << order);
        order++;
    }
    list_push(v, unit, order);
}

static void free_run(const gate_space_view_t *v, uint32_t unit, uint32_t count)
{
    while (count) {
        uint32_t order = log2_floor(count);
        uint32_t aligned = unit ? (uint32_t)__builtin_ctz(unit) : GATE_SPACE_ORDERS - 1;

        if (order > aligned) {
            order = aligned;
        }
        if (order > GATE_SPACE_ORDERS - 1) {
            order = GATE_SPACE_ORDERS - 1;
        }
        free_block(v, unit, order);
        unit += 1u << order;
        count -= 1u << order;
    }
}

void gate_space_init(const gate_space_view_t *v)
{
    memset(v->space, 0, sizeof *v->space);
    v->space->units = v->units;
    v->space->free_units = v->units;
    free_run(v, 0, v->units);
}

void gate_space_give(const gate_space_view_t *v, gate_run_t run)
{
    free_run(v, run.start, run.count);
    v->space->free_units += run.count;
}

/* A run of at most `units`: the whole if some block holds it, else the largest block there is. */
static int take_one(const gate_space_view_t *v, uint32_t units, gate_run_t *run)
{
    uint32_t order = log2_ceil(units), unit;

    while (order < GATE_SPACE_ORDERS && !v->space->free[order]) {
        order++;
    }
    if (order == GATE_SPACE_ORDERS) {
        order = log2_ceil(units);
        order = order < GATE_SPACE_ORDERS ? order : GATE_SPACE_ORDERS - 1;
        while (!v->space->free[order]) {
            if (!order--) {
                return 0;
            }
        }
    }
    unit = v->space->free[order] - 1;
    if (unit >= v->units) {
        return 0;
    }
    list_remove(v, unit, order);
    run->start = unit;
    run->count = (1u << order) < units ? 1u << order : units;
    if (run->count < 1u << order) {
        free_run(v, unit + run->count, (1u << order) - run->count);
    }
    v->space->free_units -= run->count;
    return 1;
}

uint32_t gate_space_take(const gate_space_view_t *v, uint32_t units, gate_run_t *runs, uint32_t max_runs)
{
    uint32_t n = 0;

    if (!units || units > v->space->free_units) {
        return 0;
    }
    while (units && n < max_runs && take_one(v, units, runs + n)) {
        units -= runs[n++].count;
    }
    if (units) {
        while (n) {
            gate_space_give(v, runs[--n]);
        }
    }
    return n;
}

static int used_at(const uint8_t *used, uint32_t unit)
{
    return used[unit >> 3] >> (unit & 7) & 1;
}

void gate_space_rebuild(const gate_space_view_t *v, const uint8_t *used)
{
    memset(v->space, 0, sizeof *v->space);
    v->space->units = v->units;
    memset(v->map, 0, v->units);
    for (uint32_t unit = 0; unit < v->units;) {
        uint32_t end = unit;

        while (end < v->units && !used_at(used, end)) {
            end++;
        }
        if (end > unit) {
            gate_space_give(v, (gate_run_t){ unit, end - unit });
        }
        unit = end + 1;
    }
}

/* Every block of a list must be marked in the map, and no longer list than there are blocks. */
static const char *validate_list(const gate_space_view_t *v, uint32_t order, uint32_t *listed)
{
    uint32_t prev = 0, at = v->space->free[order];

    while (at) {
        uint32_t unit = at - 1;

        if (unit >= v->units || ++*listed > v->units) {
            return "a free list leaves its memory or runs in a circle";
        }
        if (v->map[unit] != order + 1) {
            return "a free list holds a block that the map does not";
        }
        if (link_at(v, unit)->prev != prev) {
            return "a free list's back link is wrong";
        }
        prev = at;
        at = link_at(v, unit)->next;
    }
    return NULL;
}

const char *gate_space_validate(const gate_space_view_t *v, const uint8_t *used)
{
    uint32_t listed = 0, marked = 0, free_units = 0;

    for (uint32_t order = 0; order < GATE_SPACE_ORDERS; order++) {
        const char *why = validate_list(v, order, &listed);
        if (why) {
            return why;
        }
    }
    for (uint32_t unit = 0; unit < v->units;) {
        uint32_t order = v->map[unit], count;

        if (!order) {
            if (!used_at(used, unit)) {
                return "a unit is neither free nor owned";
            }
            unit++;
            continue;
        }
        count = 1u << (order - 1);
        if (order > GATE_SPACE_ORDERS || (unit & (count - 1)) || (uint64_t)unit + count > v->units) {
            return "the map holds a block that cannot be";
        }
        for (uint32_t i = 0; i < count; i++) {
            if (used_at(used, unit + i) || (i && v->map[unit + i])) {
                return "a free unit is owned";
            }
        }
        marked++;
        free_units += count;
        unit += count;
    }
    if (marked != listed) {
        return "the map holds a free block that no list does";
    }
    return free_units == v->space->free_units ? NULL : "the number of free units is wrong";
}
