/* discover_rows.c - see discover_rows.h. */

#include <stdatomic.h>
#include <string.h>

#include "gate_words.h"
#include "discover_rows.h"

/* FNV-1a (Fowler, Noll, Vo): two words, one after the other. */
static uint64_t hash_of(const char *group, const char *text)
{
    const char *words[2] = { group, text };
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    int i;

    for (i = 0; i < 2; i++) {
        const unsigned char *at = (const unsigned char *)words[i];

        do {
            hash = (hash ^ *at) * UINT64_C(0x100000001b3);
        } while (*at++);
    }
    return hash ? hash : 1;
}

void discover_row_own(discover_row_t *row, const char *group, const char *text)
{
    uint64_t source = hash_of(group, text);

    if (atomic_load(&row->source) == source) {
        return;
    }
    atomic_store(&row->source, 0);
    atomic_store(&row->state, DISCOVER_PENDING);
    atomic_store(&row->members, 0);
    atomic_store(&row->looks, 0);
    atomic_store(&row->failures, 0);
    atomic_store(&row->tried_wall_usec, 0);
    atomic_store(&row->good_wall_usec, 0);
    gate_words_set(&row->why_turn, row->why, sizeof row->why, "");
    atomic_store(&row->source, source);
}

void discover_row_good(discover_row_t *row, uint32_t members, int64_t wall_usec)
{
    if (!row) {
        return;
    }
    atomic_store(&row->members, members);
    gate_words_set(&row->why_turn, row->why, sizeof row->why, "");
    atomic_store(&row->good_wall_usec, wall_usec);
    atomic_store(&row->state, DISCOVER_GOOD);
    discover_row_same(row, wall_usec);
}

void discover_row_same(discover_row_t *row, int64_t wall_usec)
{
    if (row) {
        atomic_store(&row->tried_wall_usec, wall_usec);
        atomic_fetch_add(&row->looks, 1);
    }
}

void discover_row_failed(discover_row_t *row, const char *why, int64_t wall_usec)
{
    if (!row) {
        return;
    }
    gate_words_set(&row->why_turn, row->why, sizeof row->why, why);
    atomic_store(&row->state, DISCOVER_FAILING);
    atomic_fetch_add(&row->failures, 1);
    discover_row_same(row, wall_usec);
}

int discover_row_view(const discover_row_t *row, const char *group, const char *text, discover_view_t *out)
{
    memset(out, 0, sizeof *out);
    if (!row || atomic_load(&row->source) != hash_of(group, text)) {
        return 0;
    }
    out->state = (discover_state_e)atomic_load(&row->state);
    out->members = atomic_load(&row->members);
    out->looks = atomic_load(&row->looks);
    out->failures = atomic_load(&row->failures);
    out->tried_wall_usec = atomic_load(&row->tried_wall_usec);
    out->good_wall_usec = atomic_load(&row->good_wall_usec);
    gate_words_get(&row->why_turn, row->why, sizeof row->why, out->why);
    return 1;
}
