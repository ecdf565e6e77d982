/*
 * fuzz_changes.c - the state file's section "members": whatever it says, the table is valid after, and what was taken is written and
 * read back the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#include "gate_changes.h"

#define CAPACITY 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gate_registry_t *reg;
static apr_pool_t *pool;
/* as long as the process */
static gate_seats_t *seats;
static gate_events_t *events;
static void *base;

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static void open_world(void)
{
    gate_registry_limits_t limits = { .groups = 2, .members = 8, .seats = 2 };
    uint32_t group;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    seats = calloc(1, gate_seats_size(2));
    events = calloc(1, gate_events_size());
    base = aligned_alloc(64, (gate_registry_size(&limits) + 63) / 64 * 64);
    memset(base, 0, gate_registry_size(&limits));
    gate_seats_init(seats, 2);
    gate_events_init(events);
    reg = gate_registry_attach(pool, base, &limits, 1, seats, events, NULL, 0, NULL);
    gate_inflight_attach(reg, apr_pcalloc(pool, gate_inflight_size(8, 2)), 8);
    gate_group_declare(reg, "app", &group);
}

static gate_changes_t *table(apr_pool_t *p)
{
    void *zone = apr_palloc(p, gate_changes_size(CAPACITY));

    gate_changes_init(zone, CAPACITY);
    return gate_changes_attach(p, zone, CAPACITY, reg, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gate_changes_t *one, *two;
    char *text, *again;
    size_t len, again_len;
    apr_pool_t *p;

    if (!reg) {
        open_world();
    }
    apr_pool_create(&p, pool);
    one = table(p);
    two = table(p);
    gate_changes_load(one, p, (const char *)data, size);
    text = gate_changes_save(one, p, &len);
    require(gate_changes_load(two, p, text, len) == NULL);
    again = gate_changes_save(two, p, &again_len);
    require(len == again_len);
    require(len == 0 || strlen(again) == len);
    apr_pool_destroy(p);
    return 0;
}
