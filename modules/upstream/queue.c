/* queue.c - see queue.h: the zones, coming, looking, going. */

#include <stdio.h>
#include <string.h>

#include "queue_layout.h"

#define QUIET_USEC (8 * QUEUE_TICK_USEC)
#define EPOCH_UNKNOWN UINT64_MAX

/* ---- zones ---------------------------------------------------------------------------------------------------------------- */

static uint64_t places_of(const queue_plan_t *plan)
{
    uint64_t sum = 0;
    uint32_t g;

    for (g = 0; g < plan->groups; g++) {
        sum += plan->lengths[g];
    }
    return sum;
}

/* Without places nobody is called. */
static uint32_t porches_of(const queue_plan_t *plan)
{
    return places_of(plan) ? plan->seats : 0;
}

uint64_t queue_caps_size(void)
{
    return sizeof(caps_t);
}

uint64_t queue_size(const queue_plan_t *plan)
{
    return sizeof(head_t) + (uint64_t)plan->groups * sizeof(line_t) + places_of(plan) * sizeof(place_t)
           + (uint64_t)porches_of(plan) * sizeof(porch_t);
}

/* FNV-1a over the lengths */
uint32_t queue_layout(const queue_plan_t *plan)
{
    uint32_t h = (UINT32_C(0x811c9dc5) ^ QUEUE_LAYOUT ^ plan->seats << 8) * UINT32_C(0x01000193), g;

    for (g = 0; g < plan->groups; g++) {
        h = (h ^ plan->lengths[g]) * UINT32_C(0x01000193);
        h = (h ^ (plan->lengths[g] >> 8)) * UINT32_C(0x01000193);
    }
    return h | 1;
}

void queue_caps_init(void *base)
{
    caps_t *caps = base;

    memset(base, 0, queue_caps_size());
    caps->locks = CAPS_LOCKS;
    caps->magic = CAPS_MAGIC;
}

void queue_init(void *base, const queue_plan_t *plan)
{
    head_t *head = base;

    memset(base, 0, queue_size(plan));
    head->groups = plan->groups;
    head->places = places_of(plan);
    head->seats = porches_of(plan);
    head->magic = QUEUE_MAGIC;
}

queue_t *queue_attach(apr_pool_t *p, void *caps, void *base, const queue_plan_t *plan, gate_seats_t *seats,
                      const gate_registry_t *reg)
{
    queue_t *q = apr_pcalloc(p, sizeof *q);
    uint32_t g;

    q->caps = caps;
    q->head = base;
    q->line = (line_t *)(void *)((char *)base + sizeof(head_t));
    q->porch = (porch_t *)(void *)(q->line + plan->groups);
    q->porches = porches_of(plan);
    q->place = (place_t *)(void *)(q->porch + q->porches);
    q->groups = plan->groups;
    q->own_seat = GATE_SEAT_NONE;
    q->begin = apr_pcalloc(p, (plan->groups + 1) * sizeof *q->begin);
    for (g = 0; g < plan->groups; g++) {
        q->begin[g + 1] = q->begin[g] + plan->lengths[g];
    }
    q->seats = seats;
    q->reg = reg;
    return q;
}

/* ---- looking -------------------------------------------------------------------------------------------------------------- */

static uint64_t epoch_now(const queue_t *q, uint32_t group)
{
    return atomic_load(&q->line[group].freed) + gate_group_version(q->reg, group) + gate_group_standing(q->reg, group);
}

/* After somebody went, or found nothing: is there anybody whose turn to look it is now? */
static void call_next_locked(queue_t *q, uint32_t group, int64_t now_usec)
{
    uint64_t at;

    if (queue_line_front_locked(q, group, LAST, epoch_now(q, group), now_usec, &at) == FRONT_UNASKED) {
        queue_call(q, at);
    }
}

static place_t *own_place(queue_t *q, const queue_stay_t *stay)
{
    place_t *place = &q->place[stay->place];

    return stay->ticket && atomic_load(&place->ticket) == stay->ticket && atomic_load(&place->state) == PLACE_TAKEN ? place : NULL;
}

/* Who of this process holds it, for queue_heard(). */
static void set_waiter(queue_t *q, const queue_stay_t *stay, void *owner)
{
    if (stay->loop) {
        q->ear[stay->loop - 1].waiter[stay->place] = owner;
    }
}

static void give_up_locked(queue_t *q, queue_stay_t *stay)
{
    set_waiter(q, stay, NULL);
    queue_line_drop_locked(q, stay->group, stay->place);
    stay->ticket = 0;
}

/* @return 1 admitted, 0 not; stay->blocked says whether it was its turn at all */
static int try_locked(queue_t *q, queue_stay_t *stay, uint64_t epoch, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    uint64_t at;
    front_e front = queue_line_front_locked(q, stay->group, stay->ticket ? stay->ticket : LAST, epoch, now_usec, &at);
    int overdue = stay->blocked_since_usec && now_usec - stay->blocked_since_usec >= QUEUE_BLOCKED_USEC;

    stay->blocked = front == FRONT_UNASKED && !overdue;
    if (stay->blocked) {
        if (!stay->blocked_since_usec) {
            stay->blocked_since_usec = now_usec;
        }
        return 0;
    }
    stay->blocked_since_usec = 0;
    if (front == FRONT_REFUSED && !overdue) {
        return 0;
    }
    return admit(ctx);
}

/* Its turn has come: it goes in, and calls who is next. */
static void go_in_locked(queue_t *q, queue_stay_t *stay, int64_t now_usec)
{
    give_up_locked(q, stay);
    atomic_fetch_add_explicit(&q->line[stay->group].served, 1, memory_order_relaxed);
    call_next_locked(q, stay->group, now_usec);
}

static queue_result_e enter_locked(queue_t *q, queue_stay_t *stay, int may_wait, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    uint64_t epoch = epoch_now(q, stay->group);
    int again;

    stay->ticket = 0;
    stay->blocked_since_usec = 0;
    if (try_locked(q, stay, epoch, admit, ctx, now_usec)) {
        return QUEUE_ADMITTED;
    }
    if (!may_wait || stay->seat < 0
        || queue_line_take_locked(q, stay, stay->blocked ? EPOCH_UNKNOWN : epoch, now_usec) == NO_PLACE) {
        atomic_fetch_add_explicit(&q->line[stay->group].refused, 1, memory_order_relaxed);
        return QUEUE_FULL;
    }
    for (again = 0; again < 3 && epoch_now(q, stay->group) != epoch; again++) {
        epoch = epoch_now(q, stay->group); /* something ended just now, by somebody who saw nobody waiting */
        if (try_locked(q, stay, epoch, admit, ctx, now_usec)) {
            go_in_locked(q, stay, now_usec);
            return QUEUE_ADMITTED;
        }
        if (!stay->blocked) {
            atomic_store(&q->place[stay->place].looked, epoch);
        }
    }
    set_waiter(q, stay, stay->owner);
    return QUEUE_WAITING;
}

queue_result_e queue_enter(queue_t *q, queue_stay_t *stay, int may_wait, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    queue_result_e result;

    if (!queue_line_lock(q, stay->group)) {
        return QUEUE_STUCK;
    }
    if (!stay->loop || stay->loop > QUEUE_LOOPS_MAX || !q->ear[stay->loop - 1].waiter) {
        stay->loop = 0;
    }
    result = enter_locked(q, stay, may_wait, admit, ctx, now_usec);
    queue_line_unlock(q, stay->group);
    return result;
}

static queue_result_e look_locked(queue_t *q, queue_stay_t *stay, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    place_t *place = own_place(q, stay);
    uint64_t epoch = epoch_now(q, stay->group);

    if (!place) {
        set_waiter(q, stay, NULL);
        return enter_locked(q, stay, 1, admit, ctx, now_usec);
    }
    stay->word = atomic_load(&place->word);
    atomic_store(&place->picky, (uint32_t)stay->picky);
    atomic_store(&place->wants, stay->wants);
    if (try_locked(q, stay, epoch, admit, ctx, now_usec)) {
        go_in_locked(q, stay, now_usec);
        return QUEUE_ADMITTED;
    }
    if (!stay->blocked) {
        atomic_store(&place->looked, epoch);
        if (stay->picky) { /* what it cannot take may suit somebody behind */
            call_next_locked(q, stay->group, now_usec);
        }
    }
    return QUEUE_WAITING;
}

queue_result_e queue_look(queue_t *q, queue_stay_t *stay, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    queue_result_e result;

    if (!queue_line_lock(q, stay->group)) {
        return QUEUE_WAITING;
    }
    result = look_locked(q, stay, admit, ctx, now_usec);
    queue_line_unlock(q, stay->group);
    return result;
}

/* The place of who is in front, as far as that can be seen without the lock. */
static place_t *first_place(const queue_t *q, uint32_t group, uint64_t *at)
{
    uint32_t link = atomic_load(&q->line[group].first);

    *at = q->begin[group] + link - 1;
    return link && link <= q->begin[group + 1] - q->begin[group] ? &q->place[*at] : NULL;
}

int queue_due(const queue_t *q, const queue_stay_t *stay, int64_t quiet_usec)
{
    uint64_t at;

    return quiet_usec >= QUIET_USEC || (first_place(q, stay->group, &at) && at == stay->place);
}

uint64_t queue_rank(const queue_t *q, const queue_stay_t *stay)
{
    uint64_t at, before;
    place_t *first = first_place(q, stay->group, &at);

    before = first ? atomic_load(&first->ticket) : LAST;
    return before < stay->ticket ? stay->ticket - before : 0;
}

void queue_leave(queue_t *q, queue_stay_t *stay, queue_left_e why, int64_t now_usec)
{
    line_t *line = &q->line[stay->group];
    place_t *place = own_place(q, stay);

    if (stay->ticket) {
        set_waiter(q, stay, NULL);
    }
    if (place) {
        atomic_fetch_add_explicit(why == QUEUE_LEFT_EXPIRED ? &line->expired : &line->left, 1, memory_order_relaxed);
        if (queue_line_lock(q, stay->group)) {
            if (own_place(q, stay)) {
                give_up_locked(q, stay);
                call_next_locked(q, stay->group, now_usec); /* it may have been called, or have stood in somebody's way */
            }
            queue_line_unlock(q, stay->group);
        }
        else {
            atomic_store(&place->state, PLACE_LEFT); /* whoever comes across it drops it */
        }
    }
    stay->ticket = 0;
}

_Atomic uint32_t *queue_word(queue_t *q, const queue_stay_t *stay)
{
    return stay->ticket ? &q->place[stay->place].word : NULL;
}

/*
 * `freed` first, then `waiting` is read; who takes a place raises `waiting` first and then reads `freed` (in the epoch). Both are
 * sequentially consistent, so one of the two sees the other.
 */
void queue_released(queue_t *q, uint32_t group, int64_t now_usec)
{
    line_t *line = &q->line[group];
    place_t *first;
    uint64_t at;

    atomic_fetch_add(&line->freed, 1);
    if (atomic_load(&line->waiting) == 0) {
        return;
    }
    first = first_place(q, group, &at);
    if (first && !atomic_load(&first->picky)) {
        queue_call(q, at);
    }
    else if (queue_line_lock(q, group)) {
        call_next_locked(q, group, now_usec);
        queue_line_unlock(q, group);
    }
}

void queue_sweep(int seat, void *queue)
{
    queue_t *q = queue;
    uint64_t i;
    uint32_t g;

    for (g = 0; g < q->groups; g++) {
        if (!atomic_load(&q->line[g].waiting) || !queue_line_lock(q, g)) {
            continue;
        }
        for (i = q->begin[g]; i < q->begin[g + 1]; i++) {
            place_t *place = &q->place[i];

            if (atomic_load(&place->state) == PLACE_TAKEN && (uint32_t)atomic_load(&place->owner) == (uint32_t)seat
                && !queue_owner_lives(q, atomic_load(&place->owner))) {
                queue_line_drop_locked(q, g, i);
            }
        }
        atomic_fetch_add(&q->line[g].freed, 1); /* what the dead had in flight no longer counts */
        call_next_locked(q, g, 0);
        queue_line_unlock(q, g);
    }
}

void queue_counts(const queue_t *q, uint32_t group, queue_counts_t *out)
{
    line_t *line = &q->line[group];

    out->length = (uint32_t)(q->begin[group + 1] - q->begin[group]);
    out->waiting = atomic_load(&line->waiting);
    out->entered = atomic_load(&line->entered);
    out->served = atomic_load(&line->served);
    out->expired = atomic_load(&line->expired);
    out->left = atomic_load(&line->left);
    out->refused = atomic_load(&line->refused);
}

/* ---- validators ----------------------------------------------------------------------------------------------------------- */

int queue_caps_validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    const caps_t *caps = base;

    (void)ctx;
    if (caps->magic != CAPS_MAGIC || caps->locks != CAPS_LOCKS || queue_caps_size() > size_bytes) {
        snprintf(why, why_size, "caps: header is damaged");
        return 1;
    }
    return 0;
}

/* One place by itself. */
static int place_fault(const queue_t *q, uint32_t group, uint64_t at, char *why, size_t why_size)
{
    place_t *place = &q->place[at];
    uint32_t state = atomic_load(&place->state);

    if (state > PLACE_LEFT) {
        snprintf(why, why_size, "queue: place %llu has the state %u", (unsigned long long)at, state);
        return 1;
    }
    if (state == PLACE_TAKEN) {
        uint32_t seat = (uint32_t)atomic_load(&place->owner);
        uint64_t ticket = atomic_load(&place->ticket);

        if (seat >= gate_seats_count(q->seats)) {
            snprintf(why, why_size, "queue: place %llu belongs to seat %u, which there is not", (unsigned long long)at, seat);
            return 1;
        }
        if (ticket == 0 || ticket > atomic_load(&q->line[group].tickets)) {
            snprintf(why, why_size, "queue: place %llu has the ticket %llu, which was never given", (unsigned long long)at,
                     (unsigned long long)ticket);
            return 1;
        }
    }
    return 0;
}

int queue_validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    const queue_t *q = ctx;
    const head_t *head = base;
    int faults = 0;
    uint64_t i;
    uint32_t g;

    if (head->magic != QUEUE_MAGIC || head->groups != q->groups || head->places != q->begin[q->groups]
        || head->seats != q->porches
        || sizeof *head + q->groups * sizeof(line_t) + q->porches * sizeof(porch_t) + q->begin[q->groups] * sizeof(place_t) > size_bytes) {
        snprintf(why, why_size, "queue: header is damaged");
        return 1;
    }
    for (g = 0; g < q->groups; g++) {
        for (i = q->begin[g]; i < q->begin[g + 1]; i++) {
            char text[160];

            if (place_fault(q, g, i, text, sizeof text) && faults++ == 0) {
                snprintf(why, why_size, "%s", text);
            }
        }
    }
    return faults;
}
