/* queue.c - see queue.h. */

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gate_lock.h"
#include "queue.h"

#define CAPS_MAGIC UINT32_C(0x47434150)  /* "GCAP" */
#define QUEUE_MAGIC UINT32_C(0x47515545) /* "GQUE" */
#define LOCK_WAIT_USEC INT64_C(2000000)
#define NO_PLACE UINT32_MAX
#define TICKS_UNASKED 8
#define LAST UINT64_MAX                  /* later than every ticket: who has none yet */

enum { PLACE_FREE = 0, PLACE_TAKEN };

typedef struct {
    uint32_t magic, groups;
    uint32_t pad[14];
    gate_lock_t lock[];
} caps_t;

/* 64 bytes: one line of cache */
typedef struct {
    _Atomic uint32_t word;       /* grows with each call; slept on */
    _Atomic uint32_t state;      /* PLACE_*; set last */
    _Atomic uint64_t ticket, looked;
    _Atomic uint64_t owner;      /* seat | incarnation << 32 */
    _Atomic int64_t until_usec;
    _Atomic uint32_t picky;
    uint32_t pad[5];
} place_t;

typedef struct {
    _Alignas(64) _Atomic uint64_t freed; /* how often something ended, or a seat was swept */
    _Atomic uint64_t tickets;            /* given so far */
    _Atomic uint32_t waiting, first;     /* hints for who ends something; set under the lock from the places */
    _Atomic uint64_t entered, served, expired, left, refused;
} line_t;

typedef struct {
    uint32_t magic, groups;
    uint64_t places;
    uint32_t pad[12];
} head_t;

struct queue {
    caps_t *caps;
    head_t *head;
    line_t *line;
    place_t *place;
    uint32_t groups;
    uint64_t *begin;   /* of each group's range; begin[groups] is the end of the last */
    gate_seats_t *seats;
    const gate_registry_t *reg;
};

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

uint64_t queue_caps_size(uint32_t groups)
{
    return sizeof(caps_t) + (uint64_t)groups * sizeof(gate_lock_t);
}

uint64_t queue_size(const queue_plan_t *plan)
{
    return sizeof(head_t) + (uint64_t)plan->groups * sizeof(line_t) + places_of(plan) * sizeof(place_t);
}

/* FNV-1a over the lengths */
uint32_t queue_layout(const queue_plan_t *plan)
{
    uint32_t h = UINT32_C(0x811c9dc5), g;

    for (g = 0; g < plan->groups; g++) {
        h = (h ^ plan->lengths[g]) * UINT32_C(0x01000193);
        h = (h ^ (plan->lengths[g] >> 8)) * UINT32_C(0x01000193);
    }
    return h | 1;
}

void queue_caps_init(void *base, uint32_t groups)
{
    caps_t *caps = base;

    memset(base, 0, queue_caps_size(groups));
    caps->groups = groups;
    caps->magic = CAPS_MAGIC;
}

void queue_init(void *base, const queue_plan_t *plan)
{
    head_t *head = base;

    memset(base, 0, queue_size(plan));
    head->groups = plan->groups;
    head->places = places_of(plan);
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
    q->place = (place_t *)(void *)(q->line + plan->groups);
    q->groups = plan->groups;
    q->begin = apr_pcalloc(p, (plan->groups + 1) * sizeof *q->begin);
    for (g = 0; g < plan->groups; g++) {
        q->begin[g + 1] = q->begin[g] + plan->lengths[g];
    }
    q->seats = seats;
    q->reg = reg;
    return q;
}

/* ---- places --------------------------------------------------------------------------------------------------------------- */

static uint64_t epoch_now(const queue_t *q, uint32_t group)
{
    return atomic_load(&q->line[group].freed) + gate_group_version(q->reg, group) + gate_group_standing(q->reg, group);
}

static int owner_lives(const queue_t *q, uint64_t owner)
{
    return gate_seat_live(q->seats, (uint32_t)owner) && gate_seat_incarnation(q->seats, (uint32_t)owner) == (uint32_t)(owner >> 32);
}

static void call(place_t *place)
{
    atomic_fetch_add(&place->word, 1);
    syscall(SYS_futex, &place->word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* What one walk over a group's places tells the holder of a ticket. */
typedef struct {
    uint64_t count;
    uint64_t first, free;       /* place of the lowest ticket; a free one; or NO_PLACE */
    uint64_t next;              /* place of the lowest ticket behind the asker's that has not looked at this epoch */
    int unasked_before;         /* somebody before has not looked at this epoch */
    int refused_before;         /* somebody before, who would take anything, has looked and found nothing */
} walk_t;

/* Places whose holders are gone are dropped on the way. */
static walk_t walk_locked(queue_t *q, uint32_t group, uint64_t ticket, uint64_t epoch, int64_t now_usec)
{
    walk_t w = { .first = NO_PLACE, .free = NO_PLACE, .next = NO_PLACE };
    uint64_t i, lowest = LAST, next = LAST;

    for (i = q->begin[group]; i < q->begin[group + 1]; i++) {
        place_t *place = &q->place[i];
        uint64_t holds = atomic_load_explicit(&place->ticket, memory_order_relaxed);
        int asked;

        if (atomic_load(&place->state) == PLACE_TAKEN
            && (!owner_lives(q, atomic_load(&place->owner)) || now_usec > atomic_load(&place->until_usec) + QUEUE_GRACE_USEC)) {
            atomic_store(&place->state, PLACE_FREE);
        }
        if (atomic_load(&place->state) != PLACE_TAKEN) {
            w.free = i;
            continue;
        }
        w.count++;
        asked = atomic_load(&place->looked) == epoch;
        if (holds < lowest) {
            lowest = holds;
            w.first = i;
        }
        if (holds < ticket) {
            w.unasked_before |= !asked;
            w.refused_before |= asked && !atomic_load(&place->picky);
        }
        else if (holds > ticket && !asked && holds < next) {
            next = holds;
            w.next = i;
        }
    }
    atomic_store(&q->line[group].first, (uint32_t)w.first);
    atomic_store(&q->line[group].waiting, (uint32_t)w.count);
    return w;
}

/* After somebody went: is there anybody whose turn to look it is now? */
static void call_first_locked(queue_t *q, uint32_t group, int64_t now_usec)
{
    uint64_t epoch = epoch_now(q, group);
    walk_t w = walk_locked(q, group, 0, epoch, now_usec);

    if (w.next != NO_PLACE) {
        call(&q->place[w.next]);
    }
}

static place_t *own_place(queue_t *q, const queue_stay_t *stay)
{
    place_t *place = &q->place[stay->place];

    return stay->ticket && atomic_load(&place->ticket) == stay->ticket && atomic_load(&place->state) == PLACE_TAKEN ? place : NULL;
}

static void take_place_locked(queue_t *q, queue_stay_t *stay, uint64_t at, uint64_t looked)
{
    line_t *line = &q->line[stay->group];
    place_t *place = &q->place[at];

    stay->ticket = atomic_fetch_add(&line->tickets, 1) + 1;
    stay->place = (uint32_t)at;
    atomic_store(&place->ticket, stay->ticket);
    atomic_store(&place->looked, looked);
    atomic_store(&place->owner, (uint64_t)gate_seat_incarnation(q->seats, (uint32_t)stay->seat) << 32 | (uint32_t)stay->seat);
    atomic_store(&place->until_usec, stay->until_usec);
    atomic_store(&place->picky, (uint32_t)stay->picky);
    stay->word = atomic_load(&place->word);
    atomic_store(&place->state, PLACE_TAKEN);
    atomic_fetch_add(&line->waiting, 1); /* before the epoch is looked at again: see queue_released() */
    if (atomic_load(&line->waiting) == 1) {
        atomic_store(&line->first, stay->place);
    }
    atomic_fetch_add_explicit(&line->entered, 1, memory_order_relaxed);
}

/* ---- coming, looking, going ----------------------------------------------------------------------------------------------- */

/* @return 1 admitted, 0 not; stay->blocked says whether it was its turn at all */
static int try_locked(queue_t *q, queue_stay_t *stay, uint64_t epoch, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    walk_t w = walk_locked(q, stay->group, stay->ticket ? stay->ticket : LAST, epoch, now_usec);
    int overdue = stay->blocked_since_usec && now_usec - stay->blocked_since_usec >= QUEUE_BLOCKED_USEC;

    stay->blocked = w.unasked_before && !overdue;
    if (stay->blocked) {
        if (!stay->blocked_since_usec) {
            stay->blocked_since_usec = now_usec;
        }
        return 0;
    }
    stay->blocked_since_usec = 0;
    if (w.refused_before && !overdue) {
        return 0;
    }
    return admit(ctx);
}

static queue_result_e enter_locked(queue_t *q, queue_stay_t *stay, int may_wait, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    uint64_t epoch = epoch_now(q, stay->group);
    walk_t w;
    int again;

    stay->ticket = 0;
    stay->blocked_since_usec = 0;
    if (try_locked(q, stay, epoch, admit, ctx, now_usec)) {
        return QUEUE_ADMITTED;
    }
    w = walk_locked(q, stay->group, LAST, epoch, now_usec);
    if (!may_wait || w.free == NO_PLACE || stay->seat < 0) {
        atomic_fetch_add_explicit(&q->line[stay->group].refused, 1, memory_order_relaxed);
        return QUEUE_FULL;
    }
    take_place_locked(q, stay, w.free, stay->blocked ? epoch - 1 : epoch);
    for (again = 0; again < 3 && epoch_now(q, stay->group) != epoch; again++) {
        epoch = epoch_now(q, stay->group); /* something ended just now, by somebody who saw nobody waiting */
        if (try_locked(q, stay, epoch, admit, ctx, now_usec)) {
            atomic_store(&q->place[stay->place].state, PLACE_FREE);
            stay->ticket = 0;
            atomic_fetch_add_explicit(&q->line[stay->group].served, 1, memory_order_relaxed);
            call_first_locked(q, stay->group, now_usec);
            return QUEUE_ADMITTED;
        }
        if (!stay->blocked) {
            atomic_store(&q->place[stay->place].looked, epoch);
        }
    }
    return QUEUE_WAITING;
}

queue_result_e queue_enter(queue_t *q, queue_stay_t *stay, int may_wait, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    gate_lock_t *lock = &q->caps->lock[stay->group];
    queue_result_e result;

    if (gate_lock_take(lock, LOCK_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return QUEUE_STUCK;
    }
    result = enter_locked(q, stay, may_wait, admit, ctx, now_usec);
    gate_lock_release(lock);
    return result;
}

static queue_result_e look_locked(queue_t *q, queue_stay_t *stay, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    place_t *place = own_place(q, stay);
    uint64_t epoch = epoch_now(q, stay->group);
    walk_t w;

    if (!place) {
        return enter_locked(q, stay, 1, admit, ctx, now_usec);
    }
    stay->word = atomic_load(&place->word);
    if (try_locked(q, stay, epoch, admit, ctx, now_usec)) {
        atomic_store(&place->state, PLACE_FREE);
        stay->ticket = 0;
        atomic_fetch_add_explicit(&q->line[stay->group].served, 1, memory_order_relaxed);
        call_first_locked(q, stay->group, now_usec);
        return QUEUE_ADMITTED;
    }
    if (!stay->blocked) {
        atomic_store(&place->looked, epoch);
        if (stay->picky) { /* what it cannot take may suit somebody behind */
            w = walk_locked(q, stay->group, stay->ticket, epoch, now_usec);
            if (w.next != NO_PLACE) {
                call(&q->place[w.next]);
            }
        }
    }
    return QUEUE_WAITING;
}

queue_result_e queue_look(queue_t *q, queue_stay_t *stay, queue_admit_fn admit, void *ctx, int64_t now_usec)
{
    gate_lock_t *lock = &q->caps->lock[stay->group];
    queue_result_e result;

    if (gate_lock_take(lock, LOCK_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return QUEUE_WAITING;
    }
    result = look_locked(q, stay, admit, ctx, now_usec);
    gate_lock_release(lock);
    return result;
}

int queue_due(const queue_t *q, const queue_stay_t *stay, unsigned ticks)
{
    return ticks >= TICKS_UNASKED || atomic_load(&q->line[stay->group].first) == stay->place;
}

uint64_t queue_rank(const queue_t *q, const queue_stay_t *stay)
{
    uint64_t first = atomic_load(&q->line[stay->group].first), before;

    if (first < q->begin[stay->group] || first >= q->begin[stay->group + 1]) {
        return 0;
    }
    before = atomic_load(&q->place[first].ticket);
    return before < stay->ticket ? stay->ticket - before : 0;
}

void queue_leave(queue_t *q, queue_stay_t *stay, queue_left_e why, int64_t now_usec)
{
    line_t *line = &q->line[stay->group];
    gate_lock_t *lock = &q->caps->lock[stay->group];
    place_t *place = own_place(q, stay);

    if (place) {
        atomic_store(&place->state, PLACE_FREE); /* without the lock too: the place is the caller's own */
        atomic_fetch_add_explicit(why == QUEUE_LEFT_EXPIRED ? &line->expired : &line->left, 1, memory_order_relaxed);
        if (gate_lock_take(lock, LOCK_WAIT_USEC) != GATE_LOCK_TIMEOUT) {
            call_first_locked(q, stay->group, now_usec); /* it may have been called, or have stood in somebody's way */
            gate_lock_release(lock);
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
void queue_released(queue_t *q, uint32_t group)
{
    line_t *line = &q->line[group];
    uint64_t first;

    atomic_fetch_add(&line->freed, 1);
    if (atomic_load(&line->waiting) == 0) {
        return;
    }
    first = atomic_load(&line->first);
    if (first >= q->begin[group] && first < q->begin[group + 1]) {
        call(&q->place[first]);
    }
}

void queue_sweep(int seat, void *queue)
{
    queue_t *q = queue;
    uint64_t i;
    uint32_t g;

    for (i = 0; i < q->begin[q->groups]; i++) {
        place_t *place = &q->place[i];

        if (atomic_load(&place->state) == PLACE_TAKEN && (uint32_t)atomic_load(&place->owner) == (uint32_t)seat
            && !owner_lives(q, atomic_load(&place->owner))) {
            atomic_store(&place->state, PLACE_FREE);
        }
    }
    for (g = 0; g < q->groups; g++) {
        if (atomic_load(&q->line[g].waiting)) {
            uint64_t best = NO_PLACE;

            atomic_fetch_add(&q->line[g].freed, 1); /* what the dead had in flight no longer counts */
            for (i = q->begin[g]; i < q->begin[g + 1]; i++) {
                if (atomic_load(&q->place[i].state) == PLACE_TAKEN
                    && (best == NO_PLACE || atomic_load(&q->place[i].ticket) < atomic_load(&q->place[best].ticket))) {
                    best = i;
                }
            }
            if (best != NO_PLACE) {
                call(&q->place[best]);
            }
        }
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
    const queue_t *q = ctx;

    if (caps->magic != CAPS_MAGIC || caps->groups != q->groups || queue_caps_size(q->groups) > size_bytes) {
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

    if (state > PLACE_TAKEN) {
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
        || sizeof *head + q->groups * sizeof(line_t) + q->begin[q->groups] * sizeof(place_t) > size_bytes) {
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
