/* lines.c - see lines.h. */
#include <stdatomic.h>
#include <stdio.h>

#include "lines.h"

#define WAIT_USEC 2000

uint32_t gate_lines_for(uint32_t keys)
{
    /* five keys a line on average: with seven words, few lines overflow before the table as a whole is full */
    return keys / 5 + 2;
}

_Atomic uint64_t *gate_line_find(gate_line_t *line, uint64_t tag, uint64_t *word)
{
    for (int i = 0; i < GATE_LINE_WORDS; i++) {
        *word = atomic_load_explicit(&line->word[i], memory_order_acquire);
        if ((*word & ~GATE_LINE_VALUE_MASK) == tag) {
            return &line->word[i];
        }
    }
    return NULL;
}

/* The word that a newcomer takes: the first that is worth nothing, else the one worth least. */
static int choose(gate_line_t *line, gate_line_worth_fn worth, const void *ctx, uint64_t *word, uint64_t *least)
{
    int best = 0;

    *least = UINT64_MAX;
    for (int i = 0; i < GATE_LINE_WORDS && *least > 0; i++) {
        uint64_t w = atomic_load(&line->word[i]), value = w ? worth(w & GATE_LINE_VALUE_MASK, ctx) : 0;

        if (value < *least) {
            *least = value;
            *word = w;
            best = i;
        }
    }
    return best;
}

gate_line_result_e gate_line_insert(gate_line_t *line, uint64_t tag, uint64_t value, gate_line_worth_fn worth, const void *ctx,
                                    int *gave_way)
{
    gate_line_result_e result = GATE_LINE_TWICE;
    uint64_t word, least;

    *gave_way = 0;
    if (gate_lock_take(&line->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return GATE_LINE_BUSY;
    }
    while (!gate_line_find(line, tag, &word)) {
        int i = choose(line, worth, ctx, &word, &least);

        /* its owner may be counting on it right now: then look again who gives way */
        if (atomic_compare_exchange_strong(&line->word[i], &word, tag | (value & GATE_LINE_VALUE_MASK))) {
            *gave_way = least > 0;
            result = GATE_LINE_IN;
            break;
        }
    }
    gate_lock_release(&line->lock);
    return result;
}

uint32_t gate_lines_sweep(const gate_lines_t *lines, uint32_t from, uint32_t n, gate_line_worth_fn worth, const void *ctx)
{
    uint32_t used = 0;

    for (uint32_t at = from; at < lines->count && at - from < n; at++) {
        for (int i = 0; i < GATE_LINE_WORDS; i++) {
            uint64_t word = atomic_load(&lines->line[at].word[i]);

            if (word && worth(word & GATE_LINE_VALUE_MASK, ctx) == 0
                && atomic_compare_exchange_strong(&lines->line[at].word[i], &word, 0)) {
                continue;
            }
            used += word != 0;
        }
    }
    return used;
}

int gate_lines_validate(const gate_lines_t *lines, char *why, size_t why_size)
{
    for (uint32_t at = 0; at < lines->count; at++) {
        for (int i = 0; i < GATE_LINE_WORDS; i++) {
            uint64_t tag = atomic_load(&lines->line[at].word[i]) & ~GATE_LINE_VALUE_MASK, word;

            if (tag && gate_line_find(&lines->line[at], tag, &word) != &lines->line[at].word[i]) {
                snprintf(why, why_size, "line %u holds a key twice", at);
                return 1;
            }
        }
    }
    return 0;
}
