/*
 * queue_line.c - the places of a group in order of their tickets: a list through the places, so that coming, going and seeing who is in
 * front cost the same however many wait. The links are nothing but a short cut: they can be made anew from the places at any time.
 */
#include <stdlib.h>

#include "queue_layout.h"

static place_t *place_of(const queue_t *q, uint32_t group, uint32_t link)
{
    uint64_t room = q->begin[group + 1] - q->begin[group];

    return link && link <= room ? &q->place[q->begin[group] + link - 1] : NULL;
}

static uint32_t link_of(const queue_t *q, uint32_t group, const place_t *place)
{
    return (uint32_t)(place - &q->place[q->begin[group]]) + 1;
}

int queue_owner_lives(const queue_t *q, uint64_t owner)
{
    uint32_t seat = (uint32_t)owner;

    return seat < gate_seats_count(q->seats) && gate_seat_live(q->seats, seat)
           && gate_seat_incarnation(q->seats, seat) == (uint32_t)(owner >> 32);
}

/* ---- the list ------------------------------------------------------------------------------------------------------------- */

static void append_locked(queue_t *q, uint32_t group, place_t *place)
{
    line_t *line = &q->line[group];
    uint32_t link = link_of(q, group, place);
    place_t *last = place_of(q, group, line->last);

    place->next = 0;
    place->before = last ? line->last : 0;
    if (last) {
        last->next = link;
    }
    else {
        atomic_store(&line->first, link);
    }
    line->last = link;
    atomic_fetch_add(&line->waiting, 1); /* before the epoch is looked at again: see queue_released() */
}

static void put_free_locked(queue_t *q, uint32_t group, place_t *place)
{
    atomic_store(&place->state, PLACE_FREE);
    place->next = q->line[group].free;
    q->line[group].free = link_of(q, group, place);
}

void queue_line_drop_locked(queue_t *q, uint32_t group, uint64_t at)
{
    line_t *line = &q->line[group];
    place_t *place = &q->place[at], *next = place_of(q, group, place->next), *before = place_of(q, group, place->before);

    if (before) {
        before->next = place->next;
    }
    else {
        atomic_store(&line->first, place->next);
    }
    if (next) {
        next->before = place->before;
    }
    else {
        line->last = place->before;
    }
    atomic_fetch_sub(&line->waiting, 1);
    put_free_locked(q, group, place);
}

/* ---- made anew ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    uint64_t ticket;
    place_t *place;
} holder_t;

static int by_ticket(const void *a_, const void *b_)
{
    const holder_t *a = a_, *b = b_;

    return a->ticket < b->ticket ? -1 : a->ticket > b->ticket;
}

static int is_gone(const queue_t *q, place_t *place, int64_t now_usec)
{
    return atomic_load(&place->state) != PLACE_TAKEN || !queue_owner_lives(q, atomic_load(&place->owner))
           || now_usec > atomic_load(&place->until_usec) + QUEUE_GRACE_USEC;
}

/* Another one whenever a process took a seat or died. */
static uint64_t living_seats(const queue_t *q)
{
    uint32_t i, high = gate_seats_high(q->seats);
    uint64_t h = high;

    for (i = 0; i < high; i++) {
        h = (h ^ gate_seat_incarnation(q->seats, i)) * UINT64_C(0x100000001b3);
    }
    return h;
}

void queue_line_tidy_locked(queue_t *q, uint32_t group, int64_t now_usec)
{
    line_t *line = &q->line[group];
    uint32_t room = (uint32_t)(q->begin[group + 1] - q->begin[group]), n = 0, i;
    uint64_t seats = living_seats(q); /* before the places: who dies meanwhile is looked for again */
    holder_t *holder = malloc(((size_t)room + 1) * sizeof *holder);

    if (!holder) {
        abort(); /* as APR does when memory is out */
    }
    line->used = line->used <= room ? line->used : room;
    atomic_store(&line->first, 0);
    atomic_store(&line->waiting, 0);
    line->last = line->free = 0;
    for (i = line->used; i-- > 0;) {
        place_t *place = &q->place[q->begin[group] + i];

        if (is_gone(q, place, now_usec)) {
            put_free_locked(q, group, place);
        }
        else {
            holder[n++] = (holder_t){ atomic_load(&place->ticket), place };
        }
    }
    qsort(holder, n, sizeof *holder, by_ticket);
    for (i = 0; i < n; i++) {
        append_locked(q, group, holder[i].place);
    }
    free(holder);
    line->tidied_usec = now_usec;
    line->tidied_seats = seats;
}

int queue_line_lock(queue_t *q, uint32_t group)
{
    line_t *line = &q->line[group];

    if (gate_lock_take(&q->caps->lock[group % CAPS_LOCKS], LOCK_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return 0;
    }
    if (line->changing) {
        queue_line_tidy_locked(q, group, 0);
    }
    line->changing = 1;
    atomic_signal_fence(memory_order_seq_cst); /* a killed holder's stores are there in the order it made them */
    return 1;
}

void queue_line_unlock(queue_t *q, uint32_t group)
{
    atomic_signal_fence(memory_order_seq_cst);
    q->line[group].changing = 0;
    gate_lock_release(&q->caps->lock[group % CAPS_LOCKS]);
}

/* ---- coming --------------------------------------------------------------------------------------------------------------- */

static uint32_t find_free_locked(queue_t *q, uint32_t group, int64_t now_usec)
{
    line_t *line = &q->line[group];
    uint32_t room = (uint32_t)(q->begin[group + 1] - q->begin[group]), link;

    if (!line->free && line->used >= room && room
        && (now_usec - line->tidied_usec >= QUEUE_TIDY_USEC || now_usec < line->tidied_usec || line->tidied_seats != living_seats(q))) {
        queue_line_tidy_locked(q, group, now_usec);
    }
    link = line->free;
    if (place_of(q, group, link)) {
        line->free = place_of(q, group, link)->next;
        return link;
    }
    return line->used < room ? ++line->used : 0;
}

uint32_t queue_line_take_locked(queue_t *q, queue_stay_t *stay, uint64_t looked, int64_t now_usec)
{
    line_t *line = &q->line[stay->group];
    uint32_t link = find_free_locked(q, stay->group, now_usec);
    place_t *place = place_of(q, stay->group, link);

    if (!place) {
        return NO_PLACE;
    }
    stay->ticket = atomic_fetch_add(&line->tickets, 1) + 1;
    stay->place = (uint32_t)(q->begin[stay->group] + link - 1);
    atomic_store(&place->ticket, stay->ticket);
    atomic_store(&place->looked, looked);
    atomic_store(&place->owner, (uint64_t)gate_seat_incarnation(q->seats, (uint32_t)stay->seat) << 32 | (uint32_t)stay->seat);
    atomic_store(&place->until_usec, stay->until_usec);
    atomic_store(&place->picky, (uint32_t)stay->picky);
    atomic_store(&place->wants, stay->wants);
    atomic_store(&place->loop, (uint32_t)stay->loop);
    stay->word = atomic_load(&place->word);
    atomic_store(&place->state, PLACE_TAKEN);
    append_locked(q, stay->group, place);
    atomic_fetch_add_explicit(&line->entered, 1, memory_order_relaxed);
    return stay->place;
}

/* ---- who is in front ------------------------------------------------------------------------------------------------------ */

/* Need not be asked: the one member that it can use has no room. */
static int waits_in_vain(const queue_t *q, place_t *place)
{
    uint32_t wants = atomic_load_explicit(&place->wants, memory_order_relaxed), cap;

    if (!wants || wants > gate_registry_limits(q->reg)->members) {
        return 0;
    }
    cap = gate_member_cap(q->reg, wants - 1);
    return cap && gate_inflight(q->reg, wants - 1) >= cap && !(gate_verdict(q->reg, wants - 1) & GATE_UNUSABLE);
}

front_e queue_line_front_locked(queue_t *q, uint32_t group, uint64_t ticket, uint64_t epoch, int64_t now_usec, uint64_t *at)
{
    uint32_t link = atomic_load(&q->line[group].first), next;
    uint64_t steps = q->begin[group + 1] - q->begin[group]; /* a list that was damaged has an end too */
    place_t *place;

    for (; (place = place_of(q, group, link)) != NULL && steps--; link = next) {
        next = place->next;
        *at = q->begin[group] + link - 1;
        if (is_gone(q, place, now_usec)) {
            queue_line_drop_locked(q, group, *at);
            continue;
        }
        if (atomic_load_explicit(&place->ticket, memory_order_relaxed) >= ticket) {
            break;
        }
        if (atomic_load(&place->looked) != epoch && !waits_in_vain(q, place)) {
            return FRONT_UNASKED;
        }
        if (!atomic_load(&place->picky)) {
            return FRONT_REFUSED;
        }
    }
    *at = NO_PLACE;
    return FRONT_CLEAR;
}
