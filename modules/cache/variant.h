/*
 * variant.h - one object, several codings: which one a client gets, and entity tags that name a coding and translate back.
 * Depends: APR pools, vary.h.   Locking: none, all pure.   Memory: results live in pool p.
 *
 * The member's tag is "abc"; our coding's is "abc--br" or "abc--gzip" (strong stays strong, W/ stays weak): other bytes,
 * other tag (RFC 9110, 8.8.3.3). What clients send back is translated before the member sees it.
 */
#ifndef GATE_CACHE_VARIANT_H
#define GATE_CACHE_VARIANT_H

#include <apr_pools.h>
#include <apr_tables.h>

#include "store.h"
#include "vary.h"

/** "br", "gzip", "identity" */
const char *gate_coding_name(gate_coding_e coding);

/** @return the coding that a Content-Encoding names, -1 when it is another or several */
int gate_coding_of(const char *content_encoding);

/** The tag of a coding; NULL stays NULL, identity's is the tag itself. */
const char *gate_etag_for(apr_pool_t *p, const char *etag, gate_coding_e coding);

/** A list of tags as the member knows them: our suffixes taken off, each tag once. Borrowed when nothing changes. */
const char *gate_etags_back(apr_pool_t *p, const char *list);

typedef struct {
    const gate_accept_t *accept;
    unsigned have;                /* 1u << gate_coding_e for each body that is there */
    const char *etag;             /* of the object, as the member sent it; NULL: none */
    const char *if_none_match;    /* of the request; NULL: none */
    const char *if_range;         /* likewise */
} gate_choice_t;

/**
 * Chooses a coding: one that the client has already, if it may (that saves the body), or whose range it goes on with;
 * else the one it likes best (RFC 9110, 12.5.3), the smaller among equals.
 * @return -1 when none of those we have is acceptable: then identity is better than nothing, says the caller or not
 */
int gate_choose(apr_pool_t *p, const gate_choice_t *choice);

/** RFC 9110, 13.1.2 and 8.8.3.2: does a list of tags (or "*") match this one? */
int gate_etag_matches(const char *list, const char *etag, int strong);

/* What a conditional request comes to, RFC 9110, 13.2.2. */
typedef enum { GATE_COND_NONE, GATE_COND_NOT_MODIFIED, GATE_COND_FAILED } gate_cond_e;

/**
 * @param etag, last_modified  of the selected coding; NULL if none
 * @param date                 of the answer, stands in for Last-Modified in If-Modified-Since (RFC 9111, 4.3.2)
 */
gate_cond_e gate_conditions(apr_pool_t *p, const apr_table_t *request, const char *etag, const char *last_modified, int64_t date);

#endif
