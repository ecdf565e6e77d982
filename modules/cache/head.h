/*
 * head.h - the head of an object: everything but the body, as one piece of bytes in shared memory.
 * Depends: freshness.h, APR tables.
 * Memory:  gate_head_build() allocates in pool p; a view borrows from the bytes it was read from.
 * ATOMIC   soft, refresh_until, compress_until: written in place by whoever holds the head.
 */
#ifndef GATE_CACHE_HEAD_H
#define GATE_CACHE_HEAD_H

#include <stddef.h>
#include <stdint.h>
#include <apr_pools.h>
#include <apr_tables.h>

#include "freshness.h"
#include "key.h"
#include "store.h"

#define GATE_TAGS_MAX 64          /* per object; further ones do not count */

typedef struct {
    uint32_t magic;
    uint32_t total;               /* bytes with everything that follows */
    uint16_t status;
    uint16_t coding;              /* gate_coding_e of the first body: what the member sent */
    uint32_t url_len, route_len, vary_len, fields_len, tags_n;
    gate_freshness_t fresh;
    uint64_t purge_seq;           /* of the purge log when its fetch began */
    uint64_t body_len;
    _Atomic uint32_t soft;        /* 1: purged softly */
    uint32_t compressible;        /* 1: its location wants variants */
    _Atomic int64_t refresh_until; /* monotonic: somebody is fetching it anew until then */
    _Atomic int64_t compress_until[GATE_CODINGS]; /* likewise, making this coding; INT64_MAX: not worth it */
    /* then tags_n hashes of 8 bytes, url NUL, route NUL, vary, fields ("name\0value\0"..) */
} gate_head_t;

typedef struct {
    const gate_head_t *head;
    const uint64_t *tags;
    const char *url, *route, *vary, *fields;
} gate_head_view_t;

typedef struct {
    const gate_key_t *key;
    const char *vary;
    size_t vary_len;
    int status;
    int coding;
    int compressible;
    const gate_freshness_t *fresh;
    uint64_t purge_seq;
    uint64_t body_len;            /* UINT64_MAX: not known yet */
    const apr_table_t *fields;
    const uint64_t *tags;
    uint32_t tags_n;
} gate_head_parts_t;

/** @return the bytes, *len of them, aligned; NULL when they would be more than a head may have */
void *gate_head_build(apr_pool_t *p, const gate_head_parts_t *parts, size_t *len);

/** Takes bytes apart; every length is checked. @return 0 when they are no head */
int gate_head_read(const void *bytes, uint64_t len, gate_head_view_t *out);

/** Has it this key: url and route, every byte? */
int gate_head_has_key(const gate_head_view_t *view, const gate_key_t *key);

/** Adds its fields to a table, values borrowed from the view. */
void gate_head_fields(const gate_head_view_t *view, apr_table_t *out);

/**
 * What of an answer's headers is kept (RFC 9111, 3.1): hop-by-hop fields and what Connection names are not, nor what
 * no-cache="..." and private="..." name, nor Age.
 * @param drop  further names to leave out, ended by NULL; may be NULL
 */
apr_table_t *gate_head_keep(apr_pool_t *p, const apr_table_t *headers, const char *const *drop);

/**
 * RFC 9111, 3.2: a stored answer's fields with those of a 304 (or of a HEAD) put over them. What describes the stored bytes stays:
 * Content-Encoding, Content-Type, Content-Range, Content-Length, ETag.
 */
apr_table_t *gate_head_merge(apr_pool_t *p, const apr_table_t *stored, const apr_table_t *update);

/** Hashes of the tags in a field's value, blanks and commas part them. @return how many (at most GATE_TAGS_MAX) */
uint32_t gate_head_tags(const gate_store_t *store, const char *value, uint64_t *tags, uint32_t have);

#endif
