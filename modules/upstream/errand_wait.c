/*
 * errand_wait.c - an errand in its group's queue: it never sleeps here; who has it looks when called, and now and then.
 */
#include <stdatomic.h>

#include "errand.h"

#define SUSPECT_USEC (QUEUE_BLOCKED_USEC / 2) /* so long blocked: is the one in front dead? */
#define EARLY_USEC INT64_C(1000)              /* a tick may be looked at so much before its time */
#define REST_USEC INT64_C(1000000)            /* a loop's waiter far behind looks so seldom, if it is not called */

/* The membership moved on while it waited. */
static void follow(gate_errand_t *e)
{
    gate_roster_t *roster;

    if (e->roster->version == gate_group_version(e->house->registry, e->group->index)) {
        return;
    }
    roster = gate_roster_hold(e->house->rosters, e->group->index);
    if (errand_unfit(&e->ask, roster)) {
        gate_roster_release(roster); /* it began in time, and goes on with those that were there */
        return;
    }
    errand_forget_member(e);
    gate_roster_release(e->roster);
    e->roster = roster;
}

/* Who is blocked for long looks whether the one in front is dead: the parent notices, but not at once. */
static void suspect(const gate_errand_t *e, int64_t now_usec)
{
    gate_seats_t *seats = e->house->seats;

    if (e->stay.blocked_since_usec && now_usec - e->stay.blocked_since_usec >= SUSPECT_USEC) {
        gate_seats_find_dead(seats);
    }
    if (gate_seats_need_sweep(seats)) {
        gate_seats_sweep(seats);
    }
}

static void stop_waiting(gate_errand_t *e)
{
    e->waiting = 0;
    e->queued_usec += e->now_usec - e->waiting_since_usec;
}

/* It is not let in, and waits no longer. */
static gate_errand_e refuse(gate_errand_t *e)
{
    if (e->bound && !e->elsewhere) {
        e->elsewhere = 1; /* its own member had no room in time: rather another than none */
        return errand_search(e) ? GATE_ERRAND_MEMBER : GATE_ERRAND_NOBODY;
    }
    return GATE_ERRAND_NOBODY;
}

/* It cannot take every member. */
static void say_wishes(gate_errand_t *e)
{
    int bound = errand_bound(e);

    e->stay.picky = e->tries > 0 || bound >= 0;
    e->stay.wants = bound >= 0 ? e->roster->members[bound].slot + 1 : 0;
}

gate_errand_e errand_wait_enter(gate_errand_t *e)
{
    if (!e->roster->capped || !e->group->queue_length) {
        return errand_search(e) ? GATE_ERRAND_MEMBER : GATE_ERRAND_NOBODY;
    }
    errand_unclaim(e);
    e->stay = (queue_stay_t){
        .group = e->group->index, .seat = e->house->seat, .until_usec = e->now_usec + e->group->queue_timeout_usec,
        .loop = e->ask.loop, .owner = e->ask.owner
    };
    say_wishes(e);
    if (e->deadline_usec && e->deadline_usec < e->stay.until_usec) {
        e->stay.until_usec = e->deadline_usec;
    }
    e->next = -1;
    e->full = 1;
    e->others_full = 1;
    switch (queue_enter(e->house->queue, &e->stay, errand_hope(e), errand_admit, e, e->now_usec)) {
    case QUEUE_ADMITTED:
        return GATE_ERRAND_MEMBER;
    case QUEUE_WAITING:
        e->waiting = 1;
        e->looked_usec = e->waiting_since_usec = e->now_usec;
        e->tick_usec = e->now_usec + QUEUE_TICK_USEC - EARLY_USEC;
        return GATE_ERRAND_WAIT;
    default:
        return refuse(e);
    }
}

_Atomic uint32_t *errand_wait_word(const gate_errand_t *e, uint32_t *seen)
{
    *seen = e->stay.word;
    return queue_word(e->house->queue, &e->stay);
}

/* Called? Then it looks. If nobody calls for a tick: is it worth a look? */
static int is_called(const gate_errand_t *e)
{
    uint32_t seen;
    _Atomic uint32_t *word = errand_wait_word(e, &seen);

    return !word || atomic_load(word) != seen;
}

static int has_ticked(gate_errand_t *e)
{
    if (e->now_usec < e->tick_usec) {
        return 0;
    }
    e->tick_usec = e->now_usec + QUEUE_TICK_USEC - EARLY_USEC;
    return 1;
}

static gate_errand_e expire(gate_errand_t *e)
{
    queue_leave(e->house->queue, &e->stay, QUEUE_LEFT_EXPIRED, e->now_usec);
    stop_waiting(e);
    return refuse(e);
}

static gate_errand_e look(gate_errand_t *e)
{
    int called = is_called(e);

    if (!has_ticked(e) && !called && e->now_usec < e->stay.until_usec) {
        return GATE_ERRAND_WAIT;
    }
    suspect(e, e->now_usec);
    follow(e);
    if (!errand_hope(e)) {
        e->full = 0;
        return expire(e);
    }
    if (called || queue_due(e->house->queue, &e->stay, e->now_usec - e->looked_usec)) {
        e->looked_usec = e->now_usec;
        say_wishes(e);
        if (queue_look(e->house->queue, &e->stay, errand_admit, e, e->now_usec) == QUEUE_ADMITTED) {
            stop_waiting(e);
            return GATE_ERRAND_MEMBER;
        }
    }
    if (e->now_usec >= e->stay.until_usec || !e->stay.ticket) {
        return expire(e);
    }
    return GATE_ERRAND_WAIT;
}

gate_errand_e errand_wait_look(gate_errand_t *e, int64_t now_usec)
{
    gate_errand_e got;

    e->now_usec = now_usec;
    got = look(e);
    return got == GATE_ERRAND_MEMBER ? errand_begun(e) : got;
}

/* A loop's waiter is called when its turn comes; that nobody does happens only if somebody died: who is in front finds out soonest. */
int64_t errand_wait_until(const gate_errand_t *e, int64_t now_usec)
{
    uint64_t rank = queue_rank(e->house->queue, &e->stay);
    int64_t wait_usec = rank < REST_USEC / QUEUE_TICK_USEC ? (int64_t)(1 + rank) * QUEUE_TICK_USEC : REST_USEC;

    return now_usec + wait_usec < e->stay.until_usec ? now_usec + wait_usec : e->stay.until_usec;
}

void errand_wait_leave(gate_errand_t *e, int64_t now_usec)
{
    if (e->waiting) {
        e->now_usec = now_usec;
        queue_leave(e->house->queue, &e->stay, QUEUE_LEFT_CLIENT, now_usec);
        stop_waiting(e);
        errand_say(e, ERRAND_SAYS_LEFT, 0);
    }
}
