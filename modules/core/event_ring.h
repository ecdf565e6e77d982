/*
 * event_ring.h - layout of the ring of events; for event.c and its tests.
 *
 * ZONE "events": [ header | entry 0 .. GATE_EVENTS-1 ]; event number n lives in entry (n - 1) % GATE_EVENTS.
 * FROZEN  magic, layout, count, entry_size.
 * ATOMIC  taken: the last number given out; entries' states and words.
 * STATE   number << 23 | tid << 1 | busy. 0: never used. Busy: the thread tid is filling it; else the entry is whole and tid
 *         is 0. An entry has one owner at a time: a writer that meets a busy entry goes on to the next number, unless the
 *         owner's thread no longer exists. So a writer that was merely slow never writes into another's event.
 * CRASH   an owner that dies leaves its entry busy; readers skip it, and the writer that comes round next takes it over.
 *         Should its tid have been given to another thread by then, the entry rests until that one has ended, too.
 * RELOAD  kept.
 */
#ifndef GATE_CORE_EVENT_RING_H
#define GATE_CORE_EVENT_RING_H

#include <stdint.h>

#include "gate_event.h"

#define EVENT_MAGIC UINT64_C(0x676174652d657631) /* "gate-ev1" */
#define EVENT_WORDS (sizeof(gate_event_t) / sizeof(uint64_t))

#define EVENT_BUSY UINT64_C(1)
#define EVENT_TID_SHIFT 1
#define EVENT_TID_MASK UINT64_C(0x3fffff) /* Linux has at most 2^22 thread ids */
#define EVENT_NUMBER_SHIFT 23

_Static_assert(sizeof(gate_event_t) % sizeof(uint64_t) == 0, "an event is copied in whole words");

typedef struct {
    _Atomic uint64_t state;
    _Atomic uint64_t word[EVENT_WORDS]; /* a gate_event_t, in words so that reader and writer may meet */
} event_entry_t;

struct gate_events {
    uint64_t magic;
    uint32_t layout;
    uint32_t count;
    uint32_t entry_size;
    uint32_t unused;
    _Atomic uint64_t taken;
    event_entry_t entry[GATE_EVENTS];
};

static inline uint64_t event_state(uint64_t number, uint32_t tid)
{
    return number << EVENT_NUMBER_SHIFT | (uint64_t)tid << EVENT_TID_SHIFT | (tid != 0 ? EVENT_BUSY : 0);
}

static inline uint64_t event_state_number(uint64_t state)
{
    return state >> EVENT_NUMBER_SHIFT;
}

static inline uint32_t event_state_tid(uint64_t state)
{
    return (uint32_t)(state >> EVENT_TID_SHIFT & EVENT_TID_MASK);
}

#endif
