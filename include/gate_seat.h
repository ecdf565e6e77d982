/*
 * gate_seat.h - who of the children is alive, and the ledger number each holds.
 * Depends: gate_lock.h.   Memory: the table lives in the zone "seats".
 *
 * SEAT:   0 .. count-1, one per child process, old and new generations side by side.
 * ATOMIC  owner (pid and start stamp; 0: free), fate (living, dead, being swept by whom), incarnation.
 * CRASH   a child that ends, in whatever way, leaves its seat TAKEN (giving it back in an orderly way would race with threads that
 *         still run); the parent's child_status hook, or any child that notices, marks it DEAD.
 *         From that moment readers ignore the seat's numbers. A living child then sweeps it (fate names the sweeper, so that a
 *         sweeper's own death is noticed), calling every registered sweeper, and sets it free. Sweepers may run
 *         twice over the same seat: they must not mind.
 * RELOAD  kept; old children keep their seats until they end.
 */
#ifndef GATE_SEAT_H
#define GATE_SEAT_H

#include <stdint.h>
#include <stddef.h>

typedef struct gate_seats gate_seats_t; /* shared; made by gate_seats_init() at the start of a zone */

#define GATE_SEAT_NONE (-1)
#define GATE_SEATS_LAYOUT 1u

/** Called in a living child for a dead child's seat; must be repeatable. `ctx` as registered. */
typedef void (*gate_seat_sweep_fn)(int seat, void *ctx);

/** Bytes that a table of `count` seats needs. */
size_t gate_seats_size(uint32_t count);
void gate_seats_init(gate_seats_t *seats, uint32_t count);
uint32_t gate_seats_count(const gate_seats_t *seats);

/** One more than the highest seat ever taken: what readers need to walk. */
uint32_t gate_seats_high(const gate_seats_t *seats);

/**
 * Takes a seat for the calling process, sweeping dead ones if none is free.
 * @return the seat, or GATE_SEAT_NONE when all are taken by living processes
 */
int gate_seat_claim(gate_seats_t *seats);

/** Marks the seat of pid DEAD; cheap and safe for the parent (bounded walk, nothing followed). @return the seat or GATE_SEAT_NONE */
int gate_seat_mark_dead(gate_seats_t *seats, uint32_t count, uint32_t pid);

/** Looks for TAKEN or SWEEPING seats whose process is gone and marks them DEAD. @return how many it marked */
int gate_seats_find_dead(gate_seats_t *seats);

/** One atomic load: is there anything to sweep? Ask this on the request path, and call gate_seats_sweep() if so. */
int gate_seats_need_sweep(const gate_seats_t *seats);

/** Sweeps all DEAD seats that no other living process is sweeping. @return how many it swept */
int gate_seats_sweep(gate_seats_t *seats);

/** @return non-zero while the seat's numbers count (TAKEN) */
int gate_seat_live(const gate_seats_t *seats, uint32_t seat);

/** A number that differs each time the seat is taken anew; 0 when it is not taken. */
uint32_t gate_seat_incarnation(const gate_seats_t *seats, uint32_t seat);

/** Registers a sweeper in this process (child_init or before the fork); at most 16. @return 0, or -1 when full */
int gate_seat_on_sweep(gate_seat_sweep_fn fn, void *ctx);

/** Forgets all sweepers: modules are about to be loaded anew. */
void gate_seat_sweepers_clear(void);

/** For the zone's validator. @return number of faults */
int gate_seats_validate(const gate_seats_t *seats, size_t size_bytes, char *why, size_t why_size);

#endif
