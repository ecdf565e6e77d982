/* queue_world.h - a group with capped members and a queue in shared memory, for tests. */
#ifndef QUEUE_WORLD_H
#define QUEUE_WORLD_H

#include "queue.h"
#include "registry_world.h"

#define QUEUE_WORLD_MEMBERS 8

typedef struct {
    registry_world_t world;
    int seat;
    uint32_t group;
    uint32_t lengths[2];
    queue_plan_t plan;
    void *caps, *base;
    queue_t *queue;
    uint32_t members, cap;
    uint32_t slot[QUEUE_WORLD_MEMBERS];
} queue_world_t;

/* members m1..mN of `cap` connections each in group "app", whose queue has `length` places. */
void queue_world_open(queue_world_t *w, uint32_t members, uint32_t cap, uint32_t length);
/* Asserts that every part is valid. */
void queue_world_close(queue_world_t *w);
void queue_world_validate(queue_world_t *w);

/* One exchange: what it asks, and what it got. */
typedef struct {
    queue_world_t *w;
    int seat;
    uint32_t not_these; /* members it has tried: bits */
    int got;            /* index of the member, -1: none */
    queue_stay_t stay;
} queue_guest_t;

queue_guest_t queue_guest(queue_world_t *w);
queue_result_e queue_guest_enter(queue_guest_t *g, int64_t now);
queue_result_e queue_guest_look(queue_guest_t *g, int64_t now);
/* Sleeps, looks, ... until it is in (1), or until_usec of real time (0). */
int queue_guest_wait(queue_guest_t *g);
void queue_guest_done(queue_guest_t *g);

#endif
