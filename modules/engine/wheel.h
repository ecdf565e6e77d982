/*
 * wheel.h - a hierarchical timer wheel: setting and clearing cost the same however many timers there are.
 * Depends: libc.   Memory: timers are embedded in their owners; a wheel has a fixed size.   Locking: none; one thread.
 * Time:    monotonic microseconds, passed in. A timer fires at its time or up to one tick after, never before.
 * Source:  Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987.
 */
#ifndef ENGINE_WHEEL_H
#define ENGINE_WHEEL_H

#include <stdint.h>

#define WHEEL_TICK_USEC 1000
#define WHEEL_BITS 6            /* of a tick's number, each level */
#define WHEEL_SLOTS (1 << WHEEL_BITS)
#define WHEEL_LEVELS 7          /* 139 years */

typedef struct wheel_timer {
    void (*fired)(struct wheel_timer *timer);
    int64_t due_usec;           /* 0: not set */
    struct wheel_timer *next, **link; /* the wheel's own; link: what points to this timer */
    uint16_t place;             /* the wheel's own: level and slot */
} wheel_timer_t;

typedef struct wheel {
    int64_t tick;               /* all before it have fired */
    uint64_t used[WHEEL_LEVELS]; /* a bit for each slot that is not empty */
    wheel_timer_t *slot[WHEEL_LEVELS][WHEEL_SLOTS];
    int running;                /* within wheel_run() */
    wheel_timer_t *firing;      /* taken out of their slot, to be called one by one */
} wheel_t;

void wheel_init(wheel_t *wheel, int64_t now_usec);
/** Set again moves it. fired must be set before. */
void wheel_set(wheel_t *wheel, wheel_timer_t *timer, int64_t due_usec);
/** Fine for a timer that is not set (but zeroed once). */
void wheel_clear(wheel_t *wheel, wheel_timer_t *timer);
/** Calls what is due; timers may be set and cleared meanwhile, the one that fired too. @return how many were called */
unsigned wheel_run(wheel_t *wheel, int64_t now_usec);
/** @return when wheel_run() has something to do next, at the earliest; INT64_MAX: never */
int64_t wheel_next(const wheel_t *wheel);

#endif
