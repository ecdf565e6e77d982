/* seat.c - see gate_seat.h. */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gate_lock.h"
#include "gate_seat.h"

#define SEATS_MAGIC UINT32_C(0x47534541) /* "GSEA" */
#define SWEEPERS_MAX 16

/* fate: what becomes of a seat's holder */
#define FATE_LIVING 0u
#define FATE_DEAD 1u
#define FATE_SWEEPING 2u /* | sweeper's pid << 8 (Linux pids have at most 22 bits) | its stamp << 32 */

typedef struct {
    _Atomic uint64_t owner; /* 0: free; else pid | stamp << 32 */
    _Atomic uint64_t fate;
    _Atomic uint32_t incarnation;
    uint32_t unused[11];
} seat_t;

struct gate_seats {
    uint32_t magic, layout, count;
    _Atomic uint32_t high;
    _Atomic uint32_t unswept; /* a hint that some seat is dead: set after marking, cleared before looking */
    uint32_t unused[11];
    seat_t seat[];
};

static struct {
    gate_seat_sweep_fn fn;
    void *ctx;
} sweepers[SWEEPERS_MAX];
static int sweeper_count;

size_t gate_seats_size(uint32_t count)
{
    return sizeof(gate_seats_t) + (size_t)count * sizeof(seat_t);
}

void gate_seats_init(gate_seats_t *seats, uint32_t count)
{
    memset(seats, 0, gate_seats_size(count));
    seats->count = count;
    seats->layout = GATE_SEATS_LAYOUT;
    seats->magic = SEATS_MAGIC;
}

uint32_t gate_seats_count(const gate_seats_t *seats)
{
    return seats->count;
}

uint32_t gate_seats_high(const gate_seats_t *seats)
{
    uint32_t high = atomic_load_explicit(&((gate_seats_t *)seats)->high, memory_order_acquire);

    return high <= seats->count ? high : seats->count;
}

int gate_seat_live(const gate_seats_t *seats, uint32_t seat)
{
    seat_t *at = (seat_t *)&seats->seat[seat];

    return atomic_load_explicit(&at->owner, memory_order_acquire) != 0
           && atomic_load_explicit(&at->fate, memory_order_acquire) == FATE_LIVING;
}

uint32_t gate_seat_incarnation(const gate_seats_t *seats, uint32_t seat)
{
    seat_t *at = (seat_t *)&seats->seat[seat];

    return gate_seat_live(seats, seat) ? atomic_load(&at->incarnation) : 0;
}

static void raise_high(gate_seats_t *seats, uint32_t to)
{
    uint32_t high = atomic_load(&seats->high);

    while (high < to && !atomic_compare_exchange_weak(&seats->high, &high, to)) {
    }
}

static int take_free(gate_seats_t *seats, uint64_t owner)
{
    uint32_t i;

    for (i = 0; i < seats->count; i++) {
        uint64_t nobody = 0;

        if (atomic_load(&seats->seat[i].fate) == FATE_LIVING
            && atomic_compare_exchange_strong(&seats->seat[i].owner, &nobody, owner)) {
            if (atomic_fetch_add(&seats->seat[i].incarnation, 1) == UINT32_MAX) {
                atomic_fetch_add(&seats->seat[i].incarnation, 1); /* 0 means nobody */
            }
            raise_high(seats, i + 1);
            return (int)i;
        }
    }
    return GATE_SEAT_NONE;
}

int gate_seat_claim(gate_seats_t *seats)
{
    uint32_t pid = (uint32_t)getpid();
    uint64_t owner = (uint64_t)gate_process_stamp(pid) << 32 | pid;
    int seat = take_free(seats, owner);

    if (seat == GATE_SEAT_NONE) {
        gate_seats_find_dead(seats);
        gate_seats_sweep(seats);
        seat = take_free(seats, owner);
    }
    return seat;
}

static int mark(gate_seats_t *seats, uint32_t seat)
{
    uint64_t living = FATE_LIVING;

    if (!atomic_compare_exchange_strong(&seats->seat[seat].fate, &living, FATE_DEAD)) {
        return 0;
    }
    atomic_store(&seats->unswept, 1);
    return 1;
}

int gate_seat_mark_dead(gate_seats_t *seats, uint32_t count, uint32_t pid)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        if ((uint32_t)atomic_load(&seats->seat[i].owner) == pid) {
            mark(seats, i);
            atomic_store(&seats->unswept, 1); /* it may have been sweeping others */
            return (int)i;
        }
    }
    return GATE_SEAT_NONE;
}

/* A sweeper that is no longer there will not finish. */
static int sweeper_gone(uint64_t fate)
{
    return gate_process_stamp((uint32_t)(fate >> 8) & 0xffffff) != (uint32_t)(fate >> 32);
}

int gate_seats_find_dead(gate_seats_t *seats)
{
    uint32_t i, high = gate_seats_high(seats);
    int marked = 0;

    for (i = 0; i < high; i++) {
        uint64_t owner = atomic_load(&seats->seat[i].owner), fate = atomic_load(&seats->seat[i].fate);

        if (owner && fate == FATE_LIVING) {
            uint32_t stamp = gate_process_stamp((uint32_t)owner);

            if (stamp != (uint32_t)(owner >> 32)) {
                marked += mark(seats, i);
            }
        }
        else if ((fate & 0xff) == FATE_SWEEPING && sweeper_gone(fate)) {
            atomic_store(&seats->unswept, 1);
        }
    }
    return marked;
}

int gate_seats_need_sweep(const gate_seats_t *seats)
{
    return atomic_load_explicit(&((gate_seats_t *)seats)->unswept, memory_order_relaxed) != 0;
}

/* Sweeps one seat unless somebody else is at it. */
static int sweep_one(seat_t *at, int seat, uint64_t mine)
{
    uint64_t fate = atomic_load(&at->fate), owner;
    int k;

    if (fate != FATE_DEAD && !((fate & 0xff) == FATE_SWEEPING && fate != mine && sweeper_gone(fate))) {
        return 0;
    }
    if (!atomic_compare_exchange_strong(&at->fate, &fate, mine)) {
        return 0;
    }
    owner = atomic_load(&at->owner);
    for (k = 0; k < sweeper_count; k++) {
        sweepers[k].fn(seat, sweepers[k].ctx);
    }
    atomic_compare_exchange_strong(&at->owner, &owner, 0);
    atomic_store(&at->fate, FATE_LIVING);
    return 1;
}

int gate_seats_sweep(gate_seats_t *seats)
{
    uint32_t i, high = gate_seats_high(seats), pid = (uint32_t)getpid();
    uint64_t mine = FATE_SWEEPING | (uint64_t)pid << 8 | (uint64_t)gate_process_stamp(pid) << 32;
    int swept = 0;

    atomic_store(&seats->unswept, 0);
    for (i = 0; i < high; i++) {
        swept += sweep_one(&seats->seat[i], (int)i, mine);
    }
    return swept;
}

int gate_seat_on_sweep(gate_seat_sweep_fn fn, void *ctx)
{
    if (sweeper_count == SWEEPERS_MAX) {
        return -1;
    }
    sweepers[sweeper_count].fn = fn;
    sweepers[sweeper_count++].ctx = ctx;
    return 0;
}

void gate_seat_sweepers_clear(void)
{
    sweeper_count = 0;
}

int gate_seats_validate(const gate_seats_t *seats, size_t size_bytes, char *why, size_t why_size)
{
    uint32_t i;
    int faults = 0;

    if (seats->magic != SEATS_MAGIC || seats->layout != GATE_SEATS_LAYOUT || gate_seats_size(seats->count) > size_bytes) {
        snprintf(why, why_size, "the table's head is not a table of seats");
        return 1;
    }
    for (i = 0; i < seats->count; i++) {
        uint64_t owner = atomic_load(&((seat_t *)seats->seat)[i].owner), fate = atomic_load(&((seat_t *)seats->seat)[i].fate);

        if ((fate & 0xff) > FATE_SWEEPING || (owner && i >= gate_seats_high(seats))) {
            snprintf(why, why_size, "seat %u: owner %llx, fate %llx", i, (unsigned long long)owner, (unsigned long long)fate);
            faults++;
        }
    }
    return faults;
}
