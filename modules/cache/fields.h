/*
 * fields.h - header fields as RFC 9110, 5.3 and 5.6 has them: lines joined, lists walked, quoted strings respected.
 * Depends: APR tables.   Locking: none, all pure.
 */
#ifndef GATE_CACHE_FIELDS_H
#define GATE_CACHE_FIELDS_H

#include <stddef.h>
#include <stdint.h>
#include <apr_pools.h>
#include <apr_tables.h>

/** All lines of a field joined by ", "; NULL when there is none. Borrowed when there is one line, else in pool p. */
const char *gate_field(apr_pool_t *p, const apr_table_t *t, const char *name);

/** The first line only; *lines is set to how many there are (may be NULL). */
const char *gate_field_first(const apr_table_t *t, const char *name, int *lines);

/**
 * Next member of a comma list; commas within quotes do not count; empty members are left out.
 * @param at  where to go on; begin with the list, moved forward
 * @return 0 at the end; else *member and *len, without blanks around
 */
int gate_list_next(const char **at, const char **member, size_t *len);

/** Is `word` a member of the list (any case)? */
int gate_list_has(const char *list, const char *word);

/** "name=value" of one member: name length, and value without quotes (in p), NULL when it has none. */
size_t gate_pair(apr_pool_t *p, const char *member, size_t len, const char **value, int *quoted);

/** q of a list member ("br;q=0.5"), in thousandths; 1000 when it has none; *name_len is the part before ';'. */
int gate_qvalue(const char *member, size_t len, size_t *name_len);

/** HTTP date in seconds since the epoch; -1 when it is none (RFC 9110, 5.6.7). */
int64_t gate_http_date(const char *text);

/** delta-seconds: -1 when it is no whole number, 2^31 when it overflows (RFC 9111, 1.2.2). */
int64_t gate_delta_seconds(const char *text);

#endif
