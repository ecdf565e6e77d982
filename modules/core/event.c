/*
 * event.c - ring of the last events in shared memory. Contract: gate_event.h; layout and rules: event_ring.h.
 *
 * Each entry is a sequence lock (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012)
 * whose sequence also names the writer.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "event_ring.h"

size_t gate_events_size(void)
{
    return sizeof(gate_events_t);
}

void gate_events_init(gate_events_t *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->magic = EVENT_MAGIC;
    ring->layout = GATE_EVENTS_LAYOUT;
    ring->count = GATE_EVENTS;
    ring->entry_size = (uint32_t)sizeof(event_entry_t);
}

/* The index comes from our own constant, never from shared memory. */
static uint32_t entry_of(uint64_t number)
{
    return (uint32_t)((number - 1) % GATE_EVENTS);
}

/* ---- writing ------------------------------------------------------------------------------------------------------------- */

static void copy_text(char *to, const char *from, size_t size)
{
    memcpy(to, from, strnlen(from, size - 1)); /* the rest of *to is zero */
}

/* Nothing behind a text's end is carried into memory that others read. */
static void clean_copy(gate_event_t *to, const gate_event_t *from, uint64_t number)
{
    memset(to, 0, sizeof *to);
    to->number = number;
    to->wall_usec = from->wall_usec;
    copy_text(to->area, from->area, sizeof to->area);
    copy_text(to->group, from->group, sizeof to->group);
    copy_text(to->member, from->member, sizeof to->member);
    copy_text(to->from, from->from, sizeof to->from);
    copy_text(to->to, from->to, sizeof to->to);
    copy_text(to->why, from->why, sizeof to->why);
    copy_text(to->who, from->who, sizeof to->who);
}

static int thread_is_gone(uint32_t tid)
{
    int kept = errno;
    int gone = syscall(SYS_tkill, (pid_t)tid, 0) == -1 && errno == ESRCH;

    errno = kept;
    return gone;
}

/**
 * Makes the number's entry ours.
 * @return 0 when a newer event has it, or another writer is busy in it
 */
static int claim(event_entry_t *entry, uint64_t number, uint32_t self)
{
    uint64_t state = atomic_load_explicit(&entry->state, memory_order_relaxed);

    for (;;) {
        uint32_t owner = event_state_tid(state);

        if (event_state_number(state) >= number) {
            return 0;
        }
        if ((state & EVENT_BUSY) != 0 && owner != self && owner != 0 && !thread_is_gone(owner)) {
            return 0;
        }
        if (atomic_compare_exchange_weak_explicit(&entry->state, &state, event_state(number, self), memory_order_acquire,
                                                  memory_order_relaxed)) {
            /* whoever sees one of our words sees the entry busy, too */
            atomic_thread_fence(memory_order_release);
            return 1;
        }
    }
}

static void fill(event_entry_t *entry, const gate_event_t *e)
{
    uint64_t words[EVENT_WORDS];

    memcpy(words, e, sizeof words);
    for (size_t i = 0; i < EVENT_WORDS; i++) {
        atomic_store_explicit(&entry->word[i], words[i], memory_order_relaxed);
    }
    atomic_store_explicit(&entry->state, event_state(e->number, 0), memory_order_release);
}

void gate_event_push(gate_events_t *ring, const gate_event_t *e)
{
    uint32_t self = (uint32_t)syscall(SYS_gettid);
    gate_event_t copy;

    /* Were every entry busy, the event would be lost; that takes as many writers as there are entries. */
    for (int tries = 0; tries < GATE_EVENTS; tries++) {
        uint64_t number = atomic_fetch_add_explicit(&ring->taken, 1, memory_order_relaxed) + 1;
        event_entry_t *entry = &ring->entry[entry_of(number)];

        if (claim(entry, number, self)) {
            clean_copy(&copy, e, number);
            fill(entry, &copy);
            return;
        }
    }
}

/* ---- reading ------------------------------------------------------------------------------------------------------------- */

/* @return the entry's state while *out was copied, 0 when it changed or was busy */
static uint64_t copy_entry(const event_entry_t *entry, gate_event_t *out)
{
    uint64_t state = atomic_load_explicit(&entry->state, memory_order_acquire);
    uint64_t words[EVENT_WORDS];

    if ((state & EVENT_BUSY) != 0) {
        return 0;
    }
    for (size_t i = 0; i < EVENT_WORDS; i++) {
        words[i] = atomic_load_explicit(&entry->word[i], memory_order_relaxed);
    }
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&entry->state, memory_order_relaxed) != state) {
        return 0;
    }
    memcpy(out, words, sizeof *out);
    return state;
}

/* A broken child may have written anything: what leaves here ends. */
static void end_texts(gate_event_t *e)
{
    e->area[sizeof e->area - 1] = '\0';
    e->group[sizeof e->group - 1] = '\0';
    e->member[sizeof e->member - 1] = '\0';
    e->from[sizeof e->from - 1] = '\0';
    e->to[sizeof e->to - 1] = '\0';
    e->why[sizeof e->why - 1] = '\0';
    e->who[sizeof e->who - 1] = '\0';
}

int gate_events_read(const gate_events_t *ring, gate_event_t *out, int max)
{
    uint64_t newest = atomic_load_explicit(&ring->taken, memory_order_acquire);
    int count = 0;

    for (uint64_t back = 0; back < GATE_EVENTS && back < newest && count < max; back++) {
        uint64_t number = newest - back;

        if (copy_entry(&ring->entry[entry_of(number)], &out[count]) == event_state(number, 0)) {
            end_texts(&out[count]);
            out[count].number = number;
            count++;
        }
    }
    return count;
}

/* ---- validating ---------------------------------------------------------------------------------------------------------- */

static int text_ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static int texts_end(const gate_event_t *e)
{
    return text_ends(e->area, sizeof e->area) && text_ends(e->group, sizeof e->group) &&
           text_ends(e->member, sizeof e->member) && text_ends(e->from, sizeof e->from) && text_ends(e->to, sizeof e->to) &&
           text_ends(e->why, sizeof e->why) && text_ends(e->who, sizeof e->who);
}

/* @return what is wrong with the entry, or NULL */
static const char *entry_fault(const gate_events_t *ring, uint32_t index)
{
    const event_entry_t *entry = &ring->entry[index];
    uint64_t state = atomic_load_explicit(&entry->state, memory_order_acquire);
    uint64_t number = event_state_number(state);
    gate_event_t e;

    if (state == 0) {
        return NULL;
    }
    if (number == 0 || entry_of(number) != index) {
        return "has a number that belongs elsewhere";
    }
    if (number > atomic_load_explicit(&ring->taken, memory_order_acquire)) {
        return "has a number that was not given out";
    }
    if (((state & EVENT_BUSY) != 0) != (event_state_tid(state) != 0)) {
        return "is busy without an owner, or owned without being busy";
    }
    if (copy_entry(entry, &e) != state) {
        return NULL; /* being written */
    }
    if (e.number != number) {
        return "holds an event of another number";
    }
    return texts_end(&e) ? NULL : "holds a text that does not end";
}

int gate_events_validate(const gate_events_t *ring, size_t size_bytes, char *why, size_t why_size)
{
    int faults = 0;

    if (size_bytes < sizeof *ring) {
        snprintf(why, why_size, "events: the zone has %zu bytes, the ring needs %zu", size_bytes, sizeof *ring);
        return 1;
    }
    if (ring->magic != EVENT_MAGIC || ring->layout != GATE_EVENTS_LAYOUT || ring->count != GATE_EVENTS ||
        ring->entry_size != sizeof(event_entry_t)) {
        snprintf(why, why_size, "events: the header is not that of this layout");
        return 1;
    }
    for (uint32_t i = 0; i < GATE_EVENTS; i++) {
        const char *fault = entry_fault(ring, i);

        if (fault != NULL && faults++ == 0) {
            snprintf(why, why_size, "events: entry %u %s", (unsigned)i, fault);
        }
    }
    return faults;
}
