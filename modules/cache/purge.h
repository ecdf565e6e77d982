/*
 * purge.h - taking objects out: by URL, prefix, tag, or all; hard (gone) or soft (stale from now on).
 * Depends: store.h, head.h.
 *
 * LOCK   the log's own lock for writing an entry; then the shard locks, one by one, for the walk.
 * A purge writes itself into the log first and walks second; a fetch notes the log's number when it begins and asks, under
 * its shard's lock, whether anything since then speaks of it. So whatever began before the purge is either found by the
 * walk or turned away at its commit. When the log has gone round since a fetch began, the fetch does not land.
 */
#ifndef GATE_CACHE_PURGE_H
#define GATE_CACHE_PURGE_H

#include <stddef.h>
#include <stdint.h>

#include "gate_lock.h"
#include "store.h"

#define GATE_PURGE_LOG 512
#define GATE_PURGE_TEXT 104

typedef enum { GATE_PURGE_URL = 1, GATE_PURGE_PREFIX, GATE_PURGE_TAG, GATE_PURGE_ALL } gate_purge_e;

typedef struct {
    _Atomic uint64_t seq;
    uint64_t hash;                /* of the URL or the tag */
    uint8_t kind, soft;
    uint16_t len;                 /* of a prefix: cut to GATE_PURGE_TEXT, which only makes it speak of more */
    char text[GATE_PURGE_TEXT];
} gate_purge_entry_t;

typedef struct {
    gate_lock_t lock;
    _Atomic uint64_t seq;
    gate_purge_entry_t log[GATE_PURGE_LOG];
} gate_purge_table_t;

/** The log's number now: what a fetch notes when it begins. */
uint64_t gate_purge_now(const gate_store_t *store);

/* What is asked about: a fetch, or an object in the making. */
typedef struct {
    uint64_t since;
    uint64_t url_hash;
    const char *url;
    const uint64_t *tags;         /* may be NULL with tags_n 0 */
    uint32_t tags_n;
    int tags_unknown;             /* no answer yet: every purge by tag counts as one of it */
} gate_purge_query_t;

typedef enum { GATE_PURGE_NONE = 0, GATE_PURGE_SOFT, GATE_PURGE_HARD } gate_purged_e;

/** Was this purged since? The hardest answer counts. Takes no lock. */
gate_purged_e gate_purge_check(const gate_store_t *store, const gate_purge_query_t *query);

/**
 * Purges.
 * @param text  canonical URL, canonical URL prefix, or tag; not used for GATE_PURGE_ALL
 * @return how many objects it hit; all variants of an URL count
 */
uint64_t gate_purge(gate_store_t *store, gate_purge_e kind, const char *text, int soft);

#endif
