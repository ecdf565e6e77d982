#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <apr_general.h>
#include <cmocka.h>

#include "registry_world.h"

static void *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_true(at != MAP_FAILED);
    return at;
}

void registry_world_open(registry_world_t *w, uint32_t groups, uint32_t members, uint32_t seats, int *seat)
{
    apr_initialize();
    apr_pool_create(&w->pool, NULL);
    w->limits = (gate_registry_limits_t){ .groups = groups, .members = members, .seats = seats };
    w->seats = map(gate_seats_size(seats));
    gate_seats_init(w->seats, seats);
    w->events = map(gate_events_size());
    gate_events_init(w->events);
    w->base = map(gate_registry_size(&w->limits));
    w->reg = gate_registry_attach(w->pool, w->base, &w->limits, 1, w->seats, w->events, NULL, 0, NULL);
    w->inflight = map(gate_inflight_size(members, seats));
    assert_int_equal(gate_inflight_attach(w->reg, w->inflight, members), 0);
    gate_seat_sweepers_clear();
    gate_report_listeners_clear();
    gate_seat_on_sweep(gate_registry_sweep, w->reg);
    if (seat) {
        *seat = gate_seat_claim(w->seats);
        assert_true(*seat >= 0);
    }
}

void registry_world_validate(registry_world_t *w)
{
    char why[200] = "";

    if (gate_registry_validate(w->base, gate_registry_size(&w->limits), w->reg, why, sizeof why)
        || gate_seats_validate(w->seats, gate_seats_size(w->limits.seats), why, sizeof why)
        || gate_events_validate(w->events, gate_events_size(), why, sizeof why)) {
        fail_msg("%s", why);
    }
}

void registry_world_close(registry_world_t *w)
{
    registry_world_validate(w);
    munmap(w->seats, gate_seats_size(w->limits.seats));
    munmap(w->events, gate_events_size());
    munmap(w->inflight, gate_inflight_size(w->limits.members, w->limits.seats));
    munmap(w->base, gate_registry_size(&w->limits));
    apr_pool_destroy(w->pool);
}
