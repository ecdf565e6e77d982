/*
 * discover_rows.h - how each source of members fares, for whoever wants to see it: written by the child that looks, read by all.
 * Depends: C only.   Memory: the rows lie in the zone "discover"; all zero is a row of nobody.
 * Locking: none. One process writes at a time (the lease's holder; the parent before there are children). An old holder that has not
 *          yet noticed its loss may write once more: what is shown is then a moment old.
 * CRASH    a writer that dies leaves why_turn odd: the words are not shown until they are written anew.
 */
#ifndef DISCOVER_ROWS_H
#define DISCOVER_ROWS_H

#include <stdint.h>

#define DISCOVER_ROWS_MAX 256  /* sources beyond work, and are not shown */
#define DISCOVER_WHY_LEN 120

typedef enum { DISCOVER_PENDING, DISCOVER_GOOD, DISCOVER_FAILING } discover_state_e;

typedef struct {
    _Atomic uint64_t source;         /* hash of group and text; 0: nobody's */
    _Atomic uint32_t state, members; /* members: of the last good set */
    _Atomic uint64_t looks, failures;
    _Atomic int64_t tried_wall_usec, good_wall_usec; /* 0: never */
    _Atomic uint32_t why_turn;
    char why[DISCOVER_WHY_LEN];
} discover_row_t;

/* Copy of a row. */
typedef struct {
    discover_state_e state;
    uint32_t members;
    uint64_t looks, failures;
    int64_t tried_wall_usec, good_wall_usec;
    char why[DISCOVER_WHY_LEN];      /* why it fails; "" otherwise */
} discover_view_t;

/** The row is for this source from now on; what another one left in it is forgotten, its own is kept. */
void discover_row_own(discover_row_t *row, const char *group, const char *text);

/* A NULL row is let pass. */
void discover_row_good(discover_row_t *row, uint32_t members, int64_t wall_usec);
void discover_row_same(discover_row_t *row, int64_t wall_usec); /* looked at, and nothing to learn: a file that nobody touched */
void discover_row_failed(discover_row_t *row, const char *why, int64_t wall_usec);

/** @return 1, or 0 and an empty copy if the row is not that source's */
int discover_row_view(const discover_row_t *row, const char *group, const char *text, discover_view_t *out);

#endif
