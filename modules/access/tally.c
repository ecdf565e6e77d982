/* tally.c - see tally.h. A value: number of the window (8 bits), count of the one before and of this one (14 bits each). */
#include <stdatomic.h>

#include "tally.h"

typedef struct {
    uint64_t window;    /* number of the present one, 8 bits */
    uint64_t left_milli; /* of the one before, what the sliding window still covers */
} moment_t;

static moment_t moment_of(int64_t window_usec, int64_t now_usec)
{
    moment_t moment = { (uint64_t)(now_usec / window_usec) & 0xff,
                        1000 - (uint64_t)(now_usec % window_usec) * 1000 / (uint64_t)window_usec };

    return moment;
}

/* Windows since the value's; 0 also when the value is of a later one: others, whose clock was read later, have counted meanwhile. */
static uint64_t age_of(uint64_t value, const moment_t *moment)
{
    uint64_t age = (moment->window - (value >> 28)) & 0xff;

    return age > 0xff - 8 ? 0 : age;
}

/* What a value says at this moment. */
static void read_value(uint64_t value, const moment_t *moment, uint64_t *before, uint64_t *here)
{
    uint64_t age = age_of(value, moment);

    *before = age == 0 ? value >> 14 & GATE_TALLY_MAX : age == 1 ? value & GATE_TALLY_MAX : 0;
    *here = age == 0 ? value & GATE_TALLY_MAX : 0;
}

static uint32_t estimate(uint64_t before, uint64_t here, const moment_t *moment)
{
    return (uint32_t)(here + before * moment->left_milli / 1000);
}

static uint64_t worth(uint64_t value, const void *ctx)
{
    uint64_t before, here;

    read_value(value, ctx, &before, &here);
    return before + here;
}

uint32_t gate_tally_note(const gate_lines_t *lines, int64_t window_usec, uint64_t hash, int64_t now_usec)
{
    moment_t moment = moment_of(window_usec, now_usec);
    gate_line_t *line = gate_line_of(lines, hash);
    uint64_t tag = gate_line_tag(hash), word, before, here, value;

    for (;;) {
        _Atomic uint64_t *place = gate_line_find(line, tag, &word);
        int gave_way;

        uint64_t window = moment.window;

        before = here = 0;
        if (place) {
            read_value(word & GATE_LINE_VALUE_MASK, &moment, &before, &here);
            window = age_of(word & GATE_LINE_VALUE_MASK, &moment) == 0 ? (word & GATE_LINE_VALUE_MASK) >> 28 : window;
        }
        here += here < GATE_TALLY_MAX;
        value = window << 28 | before << 14 | here;
        if (place) {
            if (atomic_compare_exchange_strong(place, &word, tag | value)) {
                return estimate(before, here, &moment);
            }
            continue;
        }
        switch (gate_line_insert(line, tag, value, worth, &moment, &gave_way)) {
        case GATE_LINE_IN:
            return 1;
        case GATE_LINE_BUSY:
            return 0;
        case GATE_LINE_TWICE:
            break;
        }
    }
}

uint32_t gate_tally_read(const gate_lines_t *lines, int64_t window_usec, uint64_t hash, int64_t now_usec)
{
    moment_t moment = moment_of(window_usec, now_usec);
    uint64_t word, before, here;

    if (!gate_line_find(gate_line_of(lines, hash), gate_line_tag(hash), &word)) {
        return 0;
    }
    read_value(word & GATE_LINE_VALUE_MASK, &moment, &before, &here);
    return estimate(before, here, &moment);
}

void gate_tally_clear(const gate_lines_t *lines, uint64_t hash)
{
    uint64_t word;
    _Atomic uint64_t *place = gate_line_find(gate_line_of(lines, hash), gate_line_tag(hash), &word);

    if (place) {
        atomic_compare_exchange_strong(place, &word, 0);
    }
}

uint32_t gate_tally_sweep(const gate_lines_t *lines, int64_t window_usec, uint32_t from, uint32_t n, int64_t now_usec)
{
    moment_t moment = moment_of(window_usec, now_usec);

    return gate_lines_sweep(lines, from, n, worth, &moment);
}
