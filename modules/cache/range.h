/*
 * range.h - which bytes a request wants: RFC 9110, section 14.
 * Depends: APR pools.   Locking: none, all pure.
 * For whoever writes answers by itself (the express plane). The classic plane leaves ranges of a whole object to httpd's own
 * byte range filter, which keeps MaxRanges and its kin; the rules here are the same.
 */
#ifndef GATE_CACHE_RANGE_H
#define GATE_CACHE_RANGE_H

#include <stdint.h>
#include <apr_pools.h>

typedef struct {
    uint64_t first, last;         /* both within the body */
} gate_range_t;

typedef struct {
    int max_ranges, max_overlaps, max_reversals; /* beyond: the whole body, as httpd's MaxRanges (200), MaxRangeOverlaps (20), .. */
} gate_range_rule_t;

typedef enum {
    GATE_RANGE_WHOLE,             /* 200: no range, or one that is ignored */
    GATE_RANGE_PARTS,             /* 206 */
    GATE_RANGE_UNSATISFIABLE      /* 416 */
} gate_range_e;

/**
 * @param text    Range of the request; NULL: none
 * @param length  of the selected coding
 * @param out     in pool p, *count of them, in the order asked for
 */
gate_range_e gate_range_parse(apr_pool_t *p, const char *text, uint64_t length, const gate_range_rule_t *rule,
                              const gate_range_t **out, int *count);

/**
 * If-Range (13.1.5): does the range still count? A strong tag that is the same, or a date that is exactly Last-Modified and
 * old enough to be strong (8.8.2.2).
 * @param date  of the answer, seconds since the epoch
 */
int gate_range_if(const char *if_range, const char *etag, const char *last_modified, int64_t date);

#endif
