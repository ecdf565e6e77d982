/*
 * fill.h - one fetch at a time: who fetches an object, who waits for it, and which objects are not worth waiting for.
 * Depends: store.h.
 *
 * FLIGHT  a fetch under way, found by the hash of its URL and its route; every child sees it. The leader fetches; others
 *         follow: they wait for its phase to change (a futex on `word`, which glue waits on; logic does not sleep).
 * ATOMIC  word: serial << 8 | phase. A place that is used again has another serial, so nobody mistakes the next flight
 *         for theirs.
 * LOCK    one per stripe of places, for beginning and joining only.
 * CRASH   a leader's death is noticed by the sweep of its seat, which ends its flights as LOST; who waits has a
 *         deadline anyway.
 * PASSED  hashes of answers that could not be stored ("hit for miss"): those who ask next neither wait nor lead, all go to
 *         the member at once, for GATE_PASS_SECONDS. Lossy: a collision costs a wait or spares one.
 */
#ifndef GATE_CACHE_FILL_H
#define GATE_CACHE_FILL_H

#include <stdint.h>

#include "gate_lock.h"
#include "store.h"

#define GATE_FLIGHTS 1024
#define GATE_FLIGHT_STRIPES 32
#define GATE_PASSED 4096
#define GATE_PASS_SECONDS 60
#define GATE_FLOW_STALL_USEC INT64_C(1000000)

typedef enum {
    GATE_FLIGHT_FREE = 0,
    GATE_FLIGHT_ASKED,            /* no answer's head yet */
    GATE_FLIGHT_FLOWING,          /* the head is in the store, the body of known length comes: may be read along */
    GATE_FLIGHT_STORED,           /* ended well: look it up */
    GATE_FLIGHT_PASSED,           /* ended: cannot be stored */
    GATE_FLIGHT_LOST,             /* ended: failed, or its leader died */
    GATE_FLIGHT_OVER              /* told only: ended, and its place was used again before this holder asked how */
} gate_flight_e;

typedef struct {
    _Atomic uint32_t word;        /* serial << 8 | gate_flight_e */
    _Atomic uint32_t followers;
    _Atomic uint64_t hash;
    _Atomic uint64_t head;        /* gate_ref_t, FLOWING */
    _Atomic int64_t deadline_usec; /* monotonic: a newcomer no longer follows after this */
    _Atomic int64_t progress_usec; /* monotonic: when the member's last bytes came */
    uint64_t purge_seq;
    uint16_t seat;
} gate_flight_t;

typedef struct {
    gate_lock_t lock[GATE_FLIGHT_STRIPES];
    gate_flight_t flight[GATE_FLIGHTS];
    _Atomic uint64_t passed[GATE_PASSED]; /* high bits of the hash | second when it ends, 24 bits */
} gate_fill_table_t;

/* A hold on a flight, as leader or follower; private to a request. */
typedef struct {
    uint32_t place;               /* + 1; 0: none */
    uint32_t serial;
    int leader;
} gate_seat_on_t;

typedef enum { GATE_LEAD, GATE_FOLLOW, GATE_ALONE, GATE_JOIN_BUSY } gate_join_e;

/* What a request wants fetched. */
typedef struct {
    uint64_t hash;                /* of the flight: URL and route */
    uint64_t url_hash;
    const char *url;
    uint64_t purge_seq;           /* gate_purge_now() of the caller */
} gate_wish_t;

/**
 * Joins the flight of a hash, or begins it. Who asks after a purge of the URL does not follow a fetch from before.
 * A flight may have landed between the caller's look and this call: who is to lead looks into the store once more before it fetches.
 * @param wait_usec  how long after now newcomers may follow this flight
 * @return GATE_ALONE: it was passed lately, or there is no place; GATE_JOIN_BUSY: the lock could not be had in GATE_LOCK_WAIT_USEC, ask again
 */
gate_join_e gate_flight_join(gate_store_t *store, const gate_wish_t *wish, int64_t now_usec, int64_t wait_usec,
                             gate_seat_on_t *out);

/** Is a flight of this hash under way that newcomers may follow? A look without the lock: it may have begun or ended by now. */
int gate_flight_under_way(const gate_store_t *store, uint64_t hash, int64_t now_usec);

/** The flight's phase as a holder sees it. */
gate_flight_e gate_flight_phase(const gate_store_t *store, const gate_seat_on_t *on);

/** The address and the value to wait on; NULL when there is nothing to wait for. Process-shared futex. */
_Atomic uint32_t *gate_flight_wait(const gate_store_t *store, const gate_seat_on_t *on, uint32_t *value);

/**
 * The head of a flowing body; 0 when not flowing, or when nothing has come for GATE_FLOW_STALL_USEC (the leader may be
 * stuck with its own client: whoever has not begun to send better waits, and goes alone in the end).
 */
gate_ref_t gate_flight_head(const gate_store_t *store, const gate_seat_on_t *on, int64_t now_usec);

/** Leader: bytes came. @return how many follow */
uint32_t gate_flight_progress(gate_store_t *store, const gate_seat_on_t *on, int64_t now_usec);

/** Leader: how many follow. */
uint32_t gate_flight_followers(const gate_store_t *store, const gate_seat_on_t *on);

/** Leader: the head is set, readers may come. @return whether anybody waits, and must be woken */
int gate_flight_flow(gate_store_t *store, const gate_seat_on_t *on, gate_ref_t head, int64_t now_usec);

/** Leader: it is over. Forgets *on. @return the address to wake, NULL: nobody waits */
_Atomic uint32_t *gate_flight_end(gate_store_t *store, gate_seat_on_t *on, gate_flight_e how);

/** Follower: no longer interested. */
void gate_flight_leave(gate_store_t *store, gate_seat_on_t *on);

/** Follower whose wait is over: newcomers shall not follow this flight any more. */
void gate_flight_give_up(gate_store_t *store, const gate_seat_on_t *on);

void gate_pass_note(gate_store_t *store, uint64_t hash, int64_t now_usec);
void gate_pass_forget(gate_store_t *store, uint64_t hash);
int gate_passed(const gate_store_t *store, uint64_t hash, int64_t now_usec);

/** For the sweep of a seat: ends its flights. `wake` is called with each address. ctx of gate_seat_on_sweep is the caller's matter. */
void gate_fill_sweep(gate_store_t *store, int seat, void (*wake)(_Atomic uint32_t *word));

/** Flights under way. */
uint32_t gate_flights(const gate_store_t *store);

#endif
