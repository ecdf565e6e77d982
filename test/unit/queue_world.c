#include <linux/futex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate_time.h"
#include "queue_world.h"

static void *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(at != MAP_FAILED);
    return at;
}

void queue_world_open(queue_world_t *w, uint32_t members, uint32_t cap, uint32_t length)
{
    gate_member_spec_t specs[QUEUE_WORLD_MEMBERS];
    char id[QUEUE_WORLD_MEMBERS][16], url[QUEUE_WORLD_MEMBERS][40];
    uint32_t i, version;

    registry_world_open(&w->world, 2, 16, 32, &w->seat);
    assert_int_equal(gate_group_declare(w->world.reg, "app", &w->group), APR_SUCCESS);
    for (i = 0; i < members; i++) {
        snprintf(id[i], sizeof id[i], "m%u", i + 1);
        snprintf(url[i], sizeof url[i], "http://127.0.0.1:%u", 9000 + i);
        specs[i] = (gate_member_spec_t){ .id = id[i], .url = url[i], .weight = 1, .connections = cap };
    }
    assert_int_equal(gate_members_apply(w->world.reg, w->group, GATE_ORIGIN_CONFIG, specs, members, "", 0), APR_SUCCESS);
    assert_int_equal(gate_group_members(w->world.reg, w->group, w->slot, QUEUE_WORLD_MEMBERS, &version), members);
    w->members = members;
    w->cap = cap;
    w->lengths[0] = w->lengths[1] = 0;
    w->lengths[w->group] = length;
    w->plan = (queue_plan_t){ .groups = 2, .seats = w->world.limits.seats, .lengths = w->lengths };
    w->caps = map(queue_caps_size());
    w->base = map(queue_size(&w->plan));
    queue_caps_init(w->caps);
    queue_init(w->base, &w->plan);
    w->queue = queue_attach(w->world.pool, w->caps, w->base, &w->plan, w->world.seats, w->world.reg);
    gate_seat_on_sweep(queue_sweep, w->queue);
}

void queue_world_validate(queue_world_t *w)
{
    char why[200] = "";

    if (queue_validate(w->base, queue_size(&w->plan), w->queue, why, sizeof why)
        || queue_caps_validate(w->caps, queue_caps_size(), w->queue, why, sizeof why)) {
        fail_msg("%s", why);
    }
}

void queue_world_close(queue_world_t *w)
{
    queue_world_validate(w);
    munmap(w->caps, queue_caps_size());
    munmap(w->base, queue_size(&w->plan));
    registry_world_close(&w->world);
}

queue_guest_t queue_guest(queue_world_t *w)
{
    return (queue_guest_t){ .w = w, .seat = w->seat, .got = -1, .stay = { .group = w->group, .until_usec = INT64_MAX / 2 } };
}

static int admit(void *ctx)
{
    queue_guest_t *g = ctx;
    uint32_t i;

    for (i = 0; i < g->w->members; i++) {
        if (!(g->not_these >> i & 1) && gate_inflight(g->w->world.reg, g->w->slot[i]) < g->w->cap) {
            gate_inflight_begin(g->w->world.reg, g->seat, g->w->slot[i]);
            g->got = (int)i;
            return 1;
        }
    }
    return 0;
}

queue_result_e queue_guest_enter(queue_guest_t *g, int64_t now)
{
    g->stay.seat = g->seat;
    g->stay.picky = g->not_these != 0;
    return queue_enter(g->w->queue, &g->stay, 1, admit, g, now);
}

queue_result_e queue_guest_look(queue_guest_t *g, int64_t now)
{
    return queue_look(g->w->queue, &g->stay, admit, g, now);
}

int queue_guest_wait(queue_guest_t *g)
{
    int64_t looked = gate_mono_usec();

    while (gate_mono_usec() < g->stay.until_usec) {
        struct timespec tick = { .tv_nsec = QUEUE_TICK_USEC * 1000 };
        _Atomic uint32_t *word = queue_word(g->w->queue, &g->stay);

        syscall(SYS_futex, word, FUTEX_WAIT, g->stay.word, &tick, NULL, 0);
        if (atomic_load(word) == g->stay.word && !queue_due(g->w->queue, &g->stay, gate_mono_usec() - looked)) {
            continue;
        }
        looked = gate_mono_usec();
        if (gate_seats_need_sweep(g->w->world.seats)) {
            gate_seats_sweep(g->w->world.seats);
        }
        if (queue_guest_look(g, gate_mono_usec()) == QUEUE_ADMITTED) {
            return 1;
        }
    }
    queue_leave(g->w->queue, &g->stay, QUEUE_LEFT_EXPIRED, gate_mono_usec());
    return 0;
}

void queue_guest_done(queue_guest_t *g)
{
    gate_inflight_end(g->w->world.reg, g->seat, g->w->slot[g->got]);
    g->got = -1;
    queue_released(g->w->queue, g->w->group, gate_mono_usec());
}
