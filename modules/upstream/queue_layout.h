/*
 * queue_layout.h - the queue's zones as its own files see them. Private to queue*.c. What each part is for: queue.h.
 * LOCK    all of line_t but what is marked, and the links of places, are for the holder of the group's lock, who says so in `changing`:
 *         who finds it set took over from a holder that died, and makes the links anew from the places.
 * ATOMIC  freed, tickets, waiting, first, the counts; a place's word, state, and what its holder and those before it look at.
 */
#ifndef UPSTREAM_QUEUE_LAYOUT_H
#define UPSTREAM_QUEUE_LAYOUT_H

#include <stdatomic.h>

#include "gate_lock.h"
#include "queue.h"

#define CAPS_MAGIC UINT32_C(0x47434150)  /* "GCAP" */
#define QUEUE_MAGIC UINT32_C(0x47515545) /* "GQUE" */
#define LOCK_WAIT_USEC INT64_C(2000000)
#define NO_PLACE UINT32_MAX
#define LAST UINT64_MAX                  /* later than every ticket: who has none yet */
#define BELL_CALLS 15

enum { PLACE_FREE = 0, PLACE_TAKEN, PLACE_LEFT /* by its holder, who could not get the lock */ };

/* Groups by index; beyond CAPS_LOCKS they share. Nobody holds two. */
#define CAPS_LOCKS 1024

typedef struct {
    uint32_t magic, locks;
    uint32_t pad[14];
    gate_lock_t lock[CAPS_LOCKS];
} caps_t;

/* 64 bytes: one line of cache */
typedef struct {
    _Atomic uint32_t word;       /* grows with each call; slept on by a thread */
    _Atomic uint32_t state;      /* PLACE_*; set last */
    _Atomic uint64_t ticket, looked;
    _Atomic uint64_t owner;      /* seat | incarnation << 32 */
    _Atomic int64_t until_usec;
    _Atomic uint32_t picky;
    _Atomic uint32_t wants;      /* slot + 1 of the one member that it can use; 0: more than one */
    _Atomic uint32_t loop;       /* loop + 1 of the owner's process, whose bell is rung; 0: a thread sleeps on the word */
    uint32_t next, before;       /* LOCK: in order of tickets, or in the list of free ones; place of the group + 1, 0: none */
    uint32_t unused;
} place_t;

typedef struct {
    _Alignas(64) _Atomic uint64_t freed; /* how often something ended, or a seat was swept */
    _Atomic uint64_t tickets;            /* given so far */
    _Atomic uint32_t waiting;            /* a hint for who ends something */
    _Atomic uint32_t first;              /* place of the group + 1, 0: nobody waits. Read without the lock: a hint then */
    uint32_t last, free, used;           /* LOCK: places from `used` on were never taken */
    uint32_t changing;                   /* LOCK: somebody is at it */
    int64_t tidied_usec;                 /* LOCK: when places were last looked for that nobody holds any more, */
    uint64_t tidied_seats;               /* and who was alive then */
    _Atomic uint64_t entered, served, expired, left, refused;
} line_t;

/* Who is called at a loop: written by any process, read by that loop. */
typedef struct {
    _Alignas(64) _Atomic uint64_t rung;
    _Atomic uint64_t call[BELL_CALLS];   /* place + 1 in the low half, low half of `rung` in the high one */
} bell_t;

typedef struct {
    _Alignas(64) _Atomic uint32_t word;  /* grows with each call from another process; slept on */
    _Atomic uint32_t asleep;
    _Atomic uint32_t loops;              /* bits: whose bells were rung */
    _Alignas(64) bell_t bell[QUEUE_LOOPS_MAX];
} porch_t;

typedef struct {
    uint32_t magic, groups;
    uint64_t places;
    uint32_t seats;
    uint32_t pad[11];
} head_t;

/* A loop of this process. */
typedef struct {
    void (*_Atomic wake)(void *ctx);
    void *ctx;
    void **waiter;     /* by place: the owner that stay->owner named, NULL: nobody of this loop */
    uint64_t heard;
} ear_t;

struct queue {
    caps_t *caps;
    head_t *head;
    line_t *line;
    porch_t *porch;    /* by seat; none when there are no places */
    place_t *place;
    uint32_t groups, porches;
    uint64_t *begin;   /* of each group's range; begin[groups] is the end of the last */
    gate_seats_t *seats;
    const gate_registry_t *reg;
    int own_seat;
    ear_t ear[QUEUE_LOOPS_MAX];
};

/* queue_line.c. _locked: the group's lock is held. */

/* @return 1, or 0 when the lock is not to be had */
int queue_line_lock(queue_t *q, uint32_t group);
void queue_line_unlock(queue_t *q, uint32_t group);
/* Is the holder's process there? */
int queue_owner_lives(const queue_t *q, uint64_t owner);
/* A place at the end for stay, or NO_PLACE. */
uint32_t queue_line_take_locked(queue_t *q, queue_stay_t *stay, uint64_t looked, int64_t now_usec);
void queue_line_drop_locked(queue_t *q, uint32_t group, uint64_t at);
/* Drops all places whose holders are gone. */
void queue_line_tidy_locked(queue_t *q, uint32_t group, int64_t now_usec);

typedef enum {
    FRONT_CLEAR = 0,   /* nobody before stands in the way */
    FRONT_UNASKED,     /* somebody before has not looked at this epoch */
    FRONT_REFUSED      /* somebody before, who would take anything, has looked and found nothing */
} front_e;
/* From the front to the holder of a ticket; *at: place of who stands in the way. Holders that are gone are dropped on the way. */
front_e queue_line_front_locked(queue_t *q, uint32_t group, uint64_t ticket, uint64_t epoch, int64_t now_usec, uint64_t *at);

/* queue_bell.c */
/* Wakes who holds a place. */
void queue_call(queue_t *q, uint64_t at);

#endif
