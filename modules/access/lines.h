/*
 * lines.h - a bounded table of one word for each key, for what is counted by client: limits, outcomes.
 * Depends: gate_lock.h.   Memory: the caller's, in a zone; zero-filled to begin with.
 *
 * ZONE:  [ line 0 .. count-1 ], a cache line each: a lock and seven words. A key belongs to one line, chosen by its hash; there it
 *        is known by 28 other bits of the hash. The hash is seeded (gate_siphash.h): nobody outside can aim at a line or a word.
 * ATOMIC a word holds the key's tag and its value together, so one compare-and-swap changes the value of this key or of none.
 * LOCK   the line's: only to bring a new key in, so that it cannot come in twice. A value is changed without it.
 * CRASH  words are whole at any instant; a dead holder's lock is taken over, and there is nothing to repair.
 * FULL   a new key takes a free word, else one whose value says nothing any more, else the one that is worth least: who did
 *        least gives way to the newcomer. So a newcomer is never locked out, and whoever wants to be forgotten must keep all
 *        other keys of its line, which it cannot find, busier than itself.
 */
#ifndef GATE_ACCESS_LINES_H
#define GATE_ACCESS_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "gate_lock.h"

#define GATE_LINE_WORDS 7
#define GATE_LINE_VALUE_BITS 36
#define GATE_LINE_VALUE_MASK ((UINT64_C(1) << GATE_LINE_VALUE_BITS) - 1)
#define GATE_LINES_LAYOUT 1u

typedef struct {
    gate_lock_t lock;
    _Atomic uint64_t word[GATE_LINE_WORDS]; /* 0: free; else tag << 36 | value */
} gate_line_t;

_Static_assert(sizeof(gate_line_t) == 64, "a line is a cache line");

/* Private handle. */
typedef struct {
    gate_line_t *line;
    uint32_t count;
} gate_lines_t;

/** What a value is worth keeping: 0 nothing, else more for who did more. */
typedef uint64_t (*gate_line_worth_fn)(uint64_t value, const void *ctx);

/** Lines for so many keys, with room for uneven hashing. */
uint32_t gate_lines_for(uint32_t keys);

static inline gate_line_t *gate_line_of(const gate_lines_t *lines, uint64_t hash)
{
    return &lines->line[(hash & UINT32_MAX) * lines->count >> 32];
}

static inline uint64_t gate_line_tag(uint64_t hash)
{
    uint64_t tag = hash >> GATE_LINE_VALUE_BITS;

    return (tag ? tag : 1) << GATE_LINE_VALUE_BITS;
}

/** @return the word with that tag, and what it held in *word; NULL when the key is not there */
_Atomic uint64_t *gate_line_find(gate_line_t *line, uint64_t tag, uint64_t *word);

typedef enum {
    GATE_LINE_IN = 0,   /* the key is there now with its value */
    GATE_LINE_TWICE,    /* somebody brought it in meanwhile: find it again */
    GATE_LINE_BUSY      /* the lock was not to be had for 2 ms: nothing changed */
} gate_line_result_e;

/** Brings a key in. @param gave_way  set to 1 when a key that was worth something had to go */
gate_line_result_e gate_line_insert(gate_line_t *line, uint64_t tag, uint64_t value, gate_line_worth_fn worth, const void *ctx,
                                    int *gave_way);

/** Frees words of lines from .. from+n-1 that are worth nothing. @return words still in use there */
uint32_t gate_lines_sweep(const gate_lines_t *lines, uint32_t from, uint32_t n, gate_line_worth_fn worth, const void *ctx);

/** No key twice in a line. @return number of faults */
int gate_lines_validate(const gate_lines_t *lines, char *why, size_t why_size);

#endif
