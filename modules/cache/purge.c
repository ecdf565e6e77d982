/* purge.c - see purge.h */
#include "purge.h"

#include <stdatomic.h>
#include <string.h>

#include "head.h"

static gate_purge_table_t *table_of(const gate_store_t *store)
{
    return gate_store_table(store, GATE_TABLE_PURGE, NULL);
}

uint64_t gate_purge_now(const gate_store_t *store)
{
    return atomic_load(&table_of(store)->seq);
}

static int has_tag(const uint64_t *tags, uint32_t n, uint64_t tag)
{
    for (uint32_t i = 0; i < n; i++) {
        if (tags[i] == tag) {
            return 1;
        }
    }
    return 0;
}

static int speaks_of(const gate_purge_entry_t *e, const gate_purge_query_t *q)
{
    switch (e->kind) {
    case GATE_PURGE_URL:
        return e->hash == q->url_hash;
    case GATE_PURGE_PREFIX:
        return !strncmp(q->url, e->text, e->len < GATE_PURGE_TEXT ? e->len : GATE_PURGE_TEXT);
    case GATE_PURGE_TAG:
        return q->tags_unknown || has_tag(q->tags, q->tags_n, e->hash);
    default:
        return 1;
    }
}

gate_purged_e gate_purge_check(const gate_store_t *store, const gate_purge_query_t *query)
{
    const gate_purge_table_t *t = table_of(store);
    uint64_t now = atomic_load(&t->seq);
    gate_purged_e worst = GATE_PURGE_NONE;

    if (now - query->since >= GATE_PURGE_LOG) {
        return GATE_PURGE_HARD;
    }
    for (uint64_t seq = query->since + 1; seq <= now; seq++) {
        const gate_purge_entry_t *shared = &t->log[seq % GATE_PURGE_LOG];
        gate_purge_entry_t e;

        if (atomic_load(&shared->seq) != seq) {
            return GATE_PURGE_HARD; /* being written, or overwritten since: as if it were ours */
        }
        memcpy(&e, shared, sizeof e);
        if (atomic_load(&shared->seq) != seq) {
            return GATE_PURGE_HARD;
        }
        if (speaks_of(&e, query)) {
            worst = e.soft && worst != GATE_PURGE_HARD ? GATE_PURGE_SOFT : GATE_PURGE_HARD;
        }
    }
    return worst;
}

/* A writer that dies leaves an entry whose seq is 0: readers take it for one that speaks of them. */
static void log_purge(gate_store_t *store, gate_purge_e kind, const char *text, size_t len, int soft)
{
    gate_purge_table_t *t = table_of(store);
    gate_lock_result_e got = gate_lock_take(&t->lock, 10 * GATE_LOCK_WAIT_USEC);
    uint64_t seq = atomic_load(&t->seq) + 1;
    gate_purge_entry_t *e = &t->log[seq % GATE_PURGE_LOG];

    if (got == GATE_LOCK_TIMEOUT) {
        /* somebody sits on it: outrun every fetch that is under way instead */
        atomic_fetch_add(&t->seq, GATE_PURGE_LOG);
        return;
    }
    atomic_store(&e->seq, 0);
    e->hash = gate_store_hash(store, text, len);
    e->kind = (uint8_t)kind;
    e->soft = (uint8_t)soft;
    e->len = (uint16_t)(len < GATE_PURGE_TEXT ? len : GATE_PURGE_TEXT);
    memcpy(e->text, text, e->len);
    atomic_store(&e->seq, seq);
    atomic_store(&t->seq, seq);
    gate_lock_release(&t->lock);
}

typedef struct {
    gate_purge_e kind;
    const char *text;
    size_t len;
    uint64_t hash;
    int soft;
    uint64_t hit;
} walk_t;

static int visit(void *ctx, uint64_t hash, void *bytes, uint64_t len)
{
    walk_t *w = ctx;
    gate_head_view_t head;
    int ours = 0;

    if (!gate_head_read(bytes, len, &head)) {
        return 1; /* no head: out with it */
    }
    switch (w->kind) {
    case GATE_PURGE_URL:
        ours = hash == w->hash && head.head->url_len == w->len && !memcmp(head.url, w->text, w->len);
        break;
    case GATE_PURGE_PREFIX:
        ours = head.head->url_len >= w->len && !memcmp(head.url, w->text, w->len);
        break;
    case GATE_PURGE_TAG:
        ours = has_tag(head.tags, head.head->tags_n, w->hash);
        break;
    default:
        ours = 1;
    }
    if (!ours) {
        return 0;
    }
    w->hit++;
    if (w->soft) {
        atomic_store(&((gate_head_t *)bytes)->soft, 1);
        return 0;
    }
    return 1;
}

uint64_t gate_purge(gate_store_t *store, gate_purge_e kind, const char *text, int soft)
{
    walk_t w = { .kind = kind, .text = text ? text : "", .soft = soft };

    w.len = strlen(w.text);
    w.hash = gate_store_hash(store, w.text, w.len);
    log_purge(store, kind, w.text, w.len, soft);
    if (kind == GATE_PURGE_URL) {
        gate_store_walk_hash(store, w.hash, visit, &w);
    }
    else {
        gate_store_walk(store, visit, &w);
    }
    return w.hit;
}
