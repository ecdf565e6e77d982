/* registry_world.h - a registry with seats and events in shared memory, for tests. */
#ifndef REGISTRY_WORLD_H
#define REGISTRY_WORLD_H

#include "gate_registry.h"

typedef struct {
    apr_pool_t *pool;
    gate_seats_t *seats;
    gate_events_t *events;
    void *base, *inflight;
    gate_registry_limits_t limits;
    gate_registry_t *reg;
} registry_world_t;

/* limits.seats as given; the calling process takes a seat: returned in *seat unless it is NULL. */
void registry_world_open(registry_world_t *w, uint32_t groups, uint32_t members, uint32_t seats, int *seat);
/* Asserts that every part is valid, then lets go of it. */
void registry_world_close(registry_world_t *w);
void registry_world_validate(registry_world_t *w);

#endif
