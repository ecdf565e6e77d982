/*
 * event_sample.h - events whose every field follows from two numbers, so that a torn one shows.
 */
#ifndef EVENT_SAMPLE_H
#define EVENT_SAMPLE_H

#include <stdio.h>
#include <string.h>

#include "gate_event.h"

static inline gate_event_t sample_event(unsigned writer, unsigned turn)
{
    gate_event_t e;

    memset(&e, 0, sizeof e);
    e.wall_usec = (int64_t)writer * 1000000000 + turn;
    snprintf(e.area, sizeof e.area, "w%u", writer);
    snprintf(e.group, sizeof e.group, "g%u.%u", writer, turn);
    snprintf(e.member, sizeof e.member, "m%u.%u", turn, writer);
    snprintf(e.from, sizeof e.from, "%u", turn);
    snprintf(e.to, sizeof e.to, "%u", turn + 1);
    for (size_t i = 0; i < sizeof e.why - 1; i++) {
        e.why[i] = (char)('a' + (writer + turn) % 26);
    }
    snprintf(e.who, sizeof e.who, "%u/%u", writer, turn);
    return e;
}

/** @return non-zero if all of it was written by one push */
static inline int sample_is_whole(const gate_event_t *e)
{
    gate_event_t same = sample_event((unsigned)(e->wall_usec / 1000000000), (unsigned)(e->wall_usec % 1000000000));

    same.number = e->number;
    return memcmp(&same, e, sizeof same) == 0;
}

#endif
