/*
 * gate_event.h - the last changes of state, for status page, events.json and the error log's reader.
 * Memory: a ring of GATE_EVENTS entries in the zone "events".   Locking: none; a writer takes a number, fills its entry, publishes it
 * by the entry's sequence; a reader copies and checks the sequence, so it sees whole entries or none.
 * CRASH  a writer that dies leaves one entry unpublished; it is skipped and later overwritten.
 */
#ifndef GATE_EVENT_H
#define GATE_EVENT_H

#include <stdint.h>
#include <stddef.h>

#define GATE_EVENTS 256
#define GATE_EVENTS_LAYOUT 1u

typedef struct {
    uint64_t number;      /* 1, 2, 3, ...: grows over restarts while the arena lives */
    int64_t wall_usec;    /* when (apr_time_t) */
    char area[16];        /* "upstream", "health", "access", "cache", "admin" */
    char group[64];       /* or what the event is about; "" if none */
    char member[64];      /* or "" */
    char from[24];
    char to[24];
    char why[160];
    char who[64];         /* who asked for it: user or address; "" for the server itself */
} gate_event_t;

typedef struct gate_events gate_events_t;

size_t gate_events_size(void);
void gate_events_init(gate_events_t *ring);

/** Adds a copy of *e; its number is given here. Texts are cut to fit. */
void gate_event_push(gate_events_t *ring, const gate_event_t *e);

/**
 * Copies the newest events, newest first.
 * @return how many were copied (<= max)
 */
int gate_events_read(const gate_events_t *ring, gate_event_t *out, int max);

int gate_events_validate(const gate_events_t *ring, size_t size_bytes, char *why, size_t why_size);

#endif
