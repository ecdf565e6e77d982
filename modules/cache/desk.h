/*
 * desk.h - answers out of the store for one thread that gives many: what gate_cache.h promises, without httpd.
 * Depends: look.h, block.h, gate_cache.h.
 *
 * MEMO    what a look-up came to, by all that decided it: place, port, Host, target, the fields that requests differ by. An entry holds the
 *         references of head and body, not pins; the text of the answer's head; its freshness. It counts while the store's epoch for its hash
 *         stands still. When that has moved, the search is made again by the entry's own key, and mostly finds the same object.
 *         Not remembered is what a Vary by other fields than Accept-Encoding decides about, nor what was purged softly.
 *         That nothing is stored and answers are known to pass (fill.h) is remembered likewise.
 * BOUND   so many entries (GATE_DESK_ENTRIES for a loop) of GATE_DESK_ENTRY_BYTES at most. A client that asks for much pushes out what others asked for:
 *         they pay a search, no more.
 * Memory:  entries are malloc'ed and go with the desk's pool.
 * Locking: a desk is its thread's.
 */
#ifndef GATE_CACHE_DESK_H
#define GATE_CACHE_DESK_H

#include "gate_cache.h"
#include "look.h"

#define GATE_DESK_ENTRIES 4096
#define GATE_DESK_ENTRY_BYTES 4096
#define GATE_DESK_TEXT_BYTES 16384 /* heads with more are the classic plane's */
#define GATE_DESK_KEY_BYTES 2048   /* requests with more to differ by likewise */

struct gate_cache_place {
    gate_look_rule_t rule;
    const char *server;           /* gate_spot_t */
    const char *handler, *base;
    const char *host;             /* when the request has none that the view tells */
    const char *classic;          /* why nothing is answered here; NULL */
    const void *conf, *vhost;     /* the owner's */
};

typedef struct {
    const char *banner;           /* for answers without Server; read at each use, it may change with the configuration */
    const char *(*status_line)(int status);
    /** An object has not all its codings yet; called at most once a second for each. */
    void (*codings)(const gate_cache_place_t *place, uint64_t hash, gate_ref_t head);
} gate_desk_ops_t;

/** @param entries  how many it remembers at most, an even number */
gate_cache_desk_t *gate_desk_create(apr_pool_t *p, gate_store_t *store, const gate_desk_ops_t *ops, unsigned entries);
gate_cache_e gate_desk_look(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, int64_t now_usec, gate_cache_hit_t *hit,
                            gate_cache_pass_t *pass);
uint64_t gate_desk_piece(const gate_store_t *store, const gate_cache_hit_t *hit, uint64_t offset, const char **data);
void gate_desk_done(gate_store_t *store, gate_cache_hit_t *hit);

/** The look of an ask, key and all, in p. @return 0: its URL cannot be one */
int gate_desk_ask_look(gate_store_t *store, apr_pool_t *p, const gate_cache_ask_t *ask, gate_look_t *look);

/** For tests: how many looks were answered by an entry as it was, by one after a new search, and by a look-up in full. */
typedef struct {
    uint64_t remembered, searched, full;
} gate_desk_counts_t;
gate_desk_counts_t gate_desk_counts(const gate_cache_desk_t *desk);

#endif
