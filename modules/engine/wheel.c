/*
 * wheel.c - a hierarchical timer wheel.
 * Level n holds the timers whose tick differs from the present one first in the n-th group of six bits; so a slot of a level is always
 * ahead of the present tick's, the lowest level that has one used comes first, and a timer moves down at most once a level.
 */
#include "wheel.h"

#include <string.h>

#define FARTHEST (INT64_C(1) << (WHEEL_BITS * WHEEL_LEVELS - 2)) /* ticks ahead: no timer is set for later */

void wheel_init(wheel_t *wheel, int64_t now_usec)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->tick = now_usec / WHEEL_TICK_USEC;
}

static void unlink_timer(wheel_timer_t *timer)
{
    *timer->link = timer->next;
    if (timer->next) {
        timer->next->link = timer->link;
    }
    timer->link = NULL;
    timer->next = NULL;
}

static void place(wheel_t *wheel, wheel_timer_t *timer)
{
    int64_t at = (timer->due_usec + WHEEL_TICK_USEC - 1) / WHEEL_TICK_USEC;
    unsigned level, slot;

    if (at < wheel->tick + wheel->running) {
        at = wheel->tick + wheel->running; /* a timer that sets itself again and again has its turns end with the present tick */
    } else if (at > wheel->tick + FARTHEST) {
        at = wheel->tick + FARTHEST;
    }
    level = (unsigned)(63 - __builtin_clzll((uint64_t)(at ^ wheel->tick) | (WHEEL_SLOTS - 1))) / WHEEL_BITS;
    slot = (unsigned)(at >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1);
    timer->place = (uint16_t)(level << WHEEL_BITS | slot);
    timer->next = wheel->slot[level][slot];
    timer->link = &wheel->slot[level][slot];
    if (timer->next) {
        timer->next->link = &timer->next;
    }
    wheel->slot[level][slot] = timer;
    wheel->used[level] |= UINT64_C(1) << slot;
}

void wheel_clear(wheel_t *wheel, wheel_timer_t *timer)
{
    unsigned level = timer->place >> WHEEL_BITS, slot = timer->place & (WHEEL_SLOTS - 1);

    if (!timer->link) {
        return;
    }
    unlink_timer(timer);
    timer->due_usec = 0;
    if (!wheel->slot[level][slot]) {
        wheel->used[level] &= ~(UINT64_C(1) << slot); /* also where it was taken out to be called: the slot is empty then */
    }
}

void wheel_set(wheel_t *wheel, wheel_timer_t *timer, int64_t due_usec)
{
    wheel_clear(wheel, timer);
    timer->due_usec = due_usec > 0 ? due_usec : 1;
    place(wheel, timer);
}

/* The first slot that is used, and the tick at which it begins. @return level, or -1 */
static int first_slot(const wheel_t *wheel, unsigned *slot, int64_t *begins)
{
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        int shift = WHEEL_BITS * level;

        if (wheel->used[level]) {
            *slot = (unsigned)__builtin_ctzll(wheel->used[level]);
            *begins = (wheel->tick >> (shift + WHEEL_BITS) << (shift + WHEEL_BITS)) | (int64_t)*slot << shift;
            return level;
        }
    }
    return -1;
}

static void take_slot(wheel_t *wheel, int level, unsigned slot)
{
    wheel->firing = wheel->slot[level][slot];
    if (wheel->firing) {
        wheel->firing->link = &wheel->firing;
    }
    wheel->slot[level][slot] = NULL;
    wheel->used[level] &= ~(UINT64_C(1) << slot);
}

unsigned wheel_run(wheel_t *wheel, int64_t now_usec)
{
    int64_t now = now_usec / WHEEL_TICK_USEC, begins;
    unsigned slot, called = 0;
    int level;

    while ((level = first_slot(wheel, &slot, &begins)) >= 0 && begins <= now) {
        wheel_timer_t *timer;

        wheel->tick = begins;
        wheel->running = 1;
        take_slot(wheel, level, slot);
        while ((timer = wheel->firing) != NULL) {
            unlink_timer(timer);
            if (level > 0 || timer->due_usec > now_usec) {
                wheel->running = 0;
                place(wheel, timer);
                wheel->running = 1;
                continue;
            }
            timer->due_usec = 0;
            called++;
            timer->fired(timer);
        }
    }
    wheel->running = 0;
    if (wheel->tick < now) {
        wheel->tick = now;
    }
    return called;
}

int64_t wheel_next(const wheel_t *wheel)
{
    unsigned slot;
    int64_t begins;

    return first_slot(wheel, &slot, &begins) < 0 ? INT64_MAX : begins * WHEEL_TICK_USEC;
}
