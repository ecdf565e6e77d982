/*
 * queue.h - members' `connections` over all children, and who waits, in order of arrival, when there is no room.
 * Depends: gate_registry.h (in-flight numbers), gate_seat.h, gate_lock.h.   Memory: two zones; the handle lives in a pool.
 * Time: monotonic microseconds, passed in.   Sleeping is the caller's business (queue_wait.c): here are only the word to sleep on, and bells.
 *
 * ZONE "caps":  [ header | locks of the groups ]. It decides who is let in; its size is always the same, so that old and new children
 *               share it over a graceful restart, whatever becomes of the queues and of the registry.
 * ZONE "queue": [ header | line of each group | bells of each seat's loops | places, a range for each group that has a queue ].
 *
 * A CAP is kept by letting in one exchange at a time: under the group's lock the caller looks for a member with room and counts
 * itself in flight in its own seat's row (gate_registry.h). Ending is one atomic step without the lock. A child that dies takes its
 * numbers with it (gate_seat.h), so there is nothing else to keep or to clear. Members without `connections` cost nothing: a group
 * none of whose members has it never comes here.
 * A PLACE holds ticket, owner (seat and its incarnation), deadline, and the EPOCH at which its holder last looked in vain. The epoch
 * grows when something ends on a capped member, when a seat is swept, and when membership or a verdict changes. Who may look: everybody
 * before whom nobody waits that has not looked at this epoch, or would take anything. So the first one is always asked first, and one
 * behind gets what those before it cannot use. Places hang together in order of their tickets (queue_line.c): what a look costs does not
 * depend on how many wait, only on how many in front are bound to members that have no room.
 * CALLS  who ends something calls the one in front, who is let in calls the next: a thread by its place's word, a loop by its bell
 *        (queue_bell.c).
 * CRASH  every decision is made from the places themselves; the links are made anew when a holder of the lock died inside. Places of
 *        dead seats are dropped by the sweep, and by whoever comes across them, as are those of holders that overstayed; a holder that
 *        was called and died is passed over by the sweep, or at the next one's own tick (QUEUE_TICK_USEC at the latest).
 * RELOAD "caps" is kept; "queue" is kept while all lengths stay; else those who wait in old children go on in the old one. What ends in
 *        old children calls there, what ends in new ones calls here: each line keeps the share of the room that it has; the first of
 *        one that has none looks at every tick.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include <stdint.h>
#include <apr_pools.h>

#include "gate_registry.h"
#include "gate_seat.h"

#define QUEUE_CAPS_LAYOUT 2u
#define QUEUE_LAYOUT 3u
#define QUEUE_LOOPS_MAX 16
#define QUEUE_LENGTH_MAX 100000u
#define QUEUE_TICK_USEC INT64_C(50000)      /* a waiter looks at its client, and by itself, this often */
#define QUEUE_BLOCKED_USEC INT64_C(300000)  /* so long called and not come: the one behind goes first */
#define QUEUE_TIDY_USEC INT64_C(1000000)    /* a full queue is searched for overstayed places at most so often; for those of the dead, when somebody died */
#define QUEUE_GRACE_USEC INT64_C(2000000)   /* past its deadline: the holder no longer runs */

/* How long each group's queue is, by the registry's index; 0: none. Borrowed. */
typedef struct {
    uint32_t groups, seats;
    const uint32_t *lengths;
} queue_plan_t;

typedef struct queue queue_t;

uint64_t queue_caps_size(void); /* always the same: a zone that stays whatever the configuration becomes */
uint64_t queue_size(const queue_plan_t *plan);
/** Layout word of the zone: another for other lengths. */
uint32_t queue_layout(const queue_plan_t *plan);

/** Fill fresh zones. */
void queue_caps_init(void *base);
void queue_init(void *base, const queue_plan_t *plan);

/** The handle, with bounds of its own; seats and registry are borrowed. */
queue_t *queue_attach(apr_pool_t *p, void *caps, void *base, const queue_plan_t *plan, gate_seats_t *seats,
                      const gate_registry_t *reg);

typedef enum {
    QUEUE_ADMITTED = 0, /* admit() said yes */
    QUEUE_WAITING,      /* has a place */
    QUEUE_FULL,         /* no room, and no place either */
    QUEUE_STUCK         /* the lock was not to be had for seconds */
} queue_result_e;

/**
 * Called under the group's lock: finds a member with room and counts it in flight. Quick; must not wait.
 * @return 1 admitted, 0 no room for this exchange
 */
typedef int (*queue_admit_fn)(void *ctx);

/* One exchange's stay. */
typedef struct {
    uint32_t group, place;
    uint64_t ticket;         /* 0: has no place */
    uint32_t word;           /* as it was before the last look: sleep until it changes */
    int seat;
    int picky;               /* it cannot take every member: it has tried some, or is bound to one */
    uint32_t wants;          /* slot + 1 of the one that it is bound to; 0: any, but for those it has tried */
    int loop;                /* who waits: loop + 1, whose bell is rung (queue_hear()); 0: a thread, that sleeps on the word */
    void *owner;             /* what queue_heard() names to that loop */
    int blocked;             /* the last look was not allowed: somebody before has not looked */
    int64_t blocked_since_usec, until_usec;
} queue_stay_t;

/**
 * Let in, or given a place at the end.
 * @param stay  group, seat, picky, wants, loop, owner, until_usec filled in by the caller
 * @param may_wait  0: QUEUE_FULL instead of a place
 */
queue_result_e queue_enter(queue_t *q, queue_stay_t *stay, int may_wait, queue_admit_fn admit, void *ctx, int64_t now_usec);

/** Looks again, from the place; picky and wants may be other than before. A place that was taken away (the process stood still) is replaced by one at the end. */
queue_result_e queue_look(queue_t *q, queue_stay_t *stay, queue_admit_fn admit, void *ctx, int64_t now_usec);

typedef enum { QUEUE_LEFT_CLIENT = 0, QUEUE_LEFT_EXPIRED } queue_left_e;

/**
 * Nobody has called: is it worth a look? Yes for the one in front, for the others now and then (their turn is called out, but a caller
 * may have died).
 * @param quiet_usec  since the last look
 */
int queue_due(const queue_t *q, const queue_stay_t *stay, int64_t quiet_usec);

/** How many may be before it in line, those who have left meanwhile included; 0: it is the first. */
uint64_t queue_rank(const queue_t *q, const queue_stay_t *stay);

/** Gives the place up; does nothing without one. */
void queue_leave(queue_t *q, queue_stay_t *stay, queue_left_e why, int64_t now_usec);

/** The word to sleep on (futex, shared between processes), or NULL without a place. */
_Atomic uint32_t *queue_word(queue_t *q, const queue_stay_t *stay);

/** Something has ended on a capped member of the group (after gate_inflight_end): who is first is woken. */
void queue_released(queue_t *q, uint32_t group, int64_t now_usec);

/**
 * A loop of this process will wait for others than itself: from now on wake(ctx) is called, on any thread and under locks, when one of its
 * places is called; it is to see to it that queue_heard() is called on the loop soon. All calls of one loop are for its own thread.
 * @return 1; 0: there is no queue, or no seat: nobody of that loop is called
 */
int queue_hear(queue_t *q, int seat, int loop, void (*wake)(void *ctx), void *ctx);
void queue_hear_end(queue_t *q, int loop);
/** Names the owners of those that were called since; one that was not may be among them. */
void queue_heard(queue_t *q, int loop, void (*called)(void *owner));
/** On a thread of its own: wakes this process's loops for others that ring, until *stop is set and queue_bell_stop() called. */
void queue_bell_listen(queue_t *q, int seat, const _Atomic int *stop);
void queue_bell_stop(queue_t *q, int seat);

/** gate_seat_sweep_fn: drops the places of a dead seat. */
void queue_sweep(int seat, void *queue);

typedef struct {
    uint32_t length, waiting;
    uint64_t entered, served, expired, left, refused; /* of those who got a place: 1 = 2 + 3 + 4 + waiting + died; refused: no place */
} queue_counts_t;
void queue_counts(const queue_t *q, uint32_t group, queue_counts_t *out);

/** Validators of the zones; ctx is the handle. */
int queue_caps_validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size);
int queue_validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size);

#endif
