/*
 * store_repair.c - what must be true of a shard, how to check it, and how to make it true again after a death.
 *
 * Truth is the slots. A survey goes over them and settles which may stay; everything else (links, queues, free
 * lists, numbers) is either compared with that (validate) or made anew from it (repair).
 */
#include "store_layout.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* What a survey knows of one slot. */
enum { KEEP_NOT = 0, KEEP_FILLING, KEEP_LIVE, KEEP_WAITING };

typedef struct {
    uint8_t *used;                /* a bit per unit */
    uint8_t *keep;                /* KEEP_* per slot */
    uint32_t high;
    uint32_t shard;
} survey_t;

typedef struct {
    int faults;
    char *why;
    size_t size;
} report_t;

static void fault(report_t *r, const char *fmt, ...)
{
    va_list ap;

    if (!r->faults++ && r->why) {
        va_start(ap, fmt);
        vsnprintf(r->why, r->size, fmt, ap);
        va_end(ap);
    }
}

static int survey_begin(const gate_store_t *s, const gate_shard_t *sh, survey_t *v)
{
    v->high = sh->high_slot < s->geo.slot_count ? sh->high_slot : s->geo.slot_count;
    v->shard = (uint32_t)(((const unsigned char *)sh - s->base - s->shards_at) / s->shard_bytes);
    v->used = calloc(1, s->geo.unit_count / 8 + 1);
    v->keep = calloc(1, (size_t)s->geo.slot_count + 1);
    return v->used && v->keep;
}

static void survey_end(survey_t *v)
{
    free(v->used);
    free(v->keep);
}

static int mark_run(const gate_store_t *s, survey_t *v, uint32_t start, uint32_t count)
{
    if (start >= s->geo.unit_count || count > s->geo.unit_count - start) {
        return 0;
    }
    for (uint32_t u = start; u < start + count; u++) {
        if (v->used[u >> 3] >> (u & 7) & 1) {
            return 0;
        }
        v->used[u >> 3] |= (uint8_t)(1u << (u & 7));
    }
    return 1;
}

static void unmark_run(const gate_store_t *s, survey_t *v, uint32_t start, uint32_t count)
{
    for (uint32_t u = start; u < start + count && u < s->geo.unit_count; u++) {
        v->used[u >> 3] &= (uint8_t)~(1u << (u & 7));
    }
}

/* Claims all memory of a slot, or none. */
static int mark_slot(const gate_store_t *s, const gate_shard_t *sh, const gate_slot_t *slot, survey_t *v)
{
    uint32_t n = atomic_load(&slot->runs_n), i = 0;

    if (n > RUNS_MAX || (n > INLINE_RUNS && !slot->more)
        || (slot->more && !mark_run(s, v, slot->more - 1, MORE_UNITS))) {
        return 0;
    }
    for (; i < n; i++) {
        const gate_run_t *run = run_at(s, sh, slot, i);
        if (!run || !mark_run(s, v, run->start, run->count)) {
            break;
        }
    }
    if (i == n) {
        return 1;
    }
    while (i--) {
        const gate_run_t *run = run_at(s, sh, slot, i);
        unmark_run(s, v, run->start, run->count);
    }
    if (slot->more) {
        unmark_run(s, v, slot->more - 1, MORE_UNITS);
    }
    return 0;
}

static int blob_whole(const gate_store_t *s, const gate_shard_t *sh, const gate_slot_t *slot)
{
    uint64_t units = store_blob_units(s, sh, slot) - (slot->more ? MORE_UNITS : 0);

    return slot->length == atomic_load(&slot->filled) && slot->length <= units * GATE_UNIT;
}

typedef struct {
    uint64_t stamp;
    uint32_t i;
} aged_t;

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const aged_t *)a)->stamp, y = ((const aged_t *)b)->stamp;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Can a LIVE head stay? Then its bodies do too. An identity body it must have. */
static int settle_head(const gate_store_t *s, const gate_shard_t *sh, const gate_slot_t *head, survey_t *v)
{
    uint64_t len;

    if (!store_head_bytes(s, sh, head, &len) || !blob_whole(s, sh, head)) {
        return 0;
    }
    for (int c = 0; c < GATE_CODINGS; c++) {
        gate_ref_t ref = atomic_load(&head->body[c]);
        const gate_slot_t *body = ref_shard(ref) == v->shard ? ref_slot_at(s, ref) : NULL;

        if (!ref && c != GATE_CODING_IDENTITY) {
            continue;
        }
        if (!body || body->kind != BLOB_BODY || state_of(atomic_load(&body->state)) != SLOT_LIVE || !blob_whole(s, sh, body)
            || v->keep[ref_slot(ref)]) {
            return 0;
        }
    }
    for (int c = 0; c < GATE_CODINGS; c++) {
        gate_ref_t ref = atomic_load(&head->body[c]);
        if (ref) {
            v->keep[ref_slot(ref)] = KEEP_LIVE;
        }
    }
    return 1;
}

/* Living heads, newest first: when two claim one body (a death within a change of heads), the newer has it. */
static int survey_heads(const gate_store_t *s, const gate_shard_t *sh, survey_t *v)
{
    aged_t *heads = malloc(((size_t)v->high + 1) * sizeof *heads);
    uint32_t n = 0;

    if (!heads) {
        return 0;
    }
    for (uint32_t i = 1; i <= v->high; i++) {
        const gate_slot_t *slot = slot_at(s, sh, i);
        if (slot->kind == BLOB_HEAD && state_of(atomic_load(&slot->state)) == SLOT_LIVE) {
            heads[n++] = (aged_t){ slot->stamp, i };
        }
    }
    qsort(heads, n, sizeof *heads, newest_first);
    for (uint32_t k = 0; k < n; k++) {
        if (settle_head(s, sh, slot_at(s, sh, heads[k].i), v)) {
            v->keep[heads[k].i] = KEEP_LIVE;
        }
    }
    free(heads);
    return 1;
}

/* Decides for every slot whether it stays, and marks the memory of those that do. @return 0: out of memory */
static int survey(const gate_store_t *s, const gate_shard_t *sh, survey_t *v)
{
    if (!survey_heads(s, sh, v)) {
        return 0;
    }
    for (uint32_t i = 1; i <= v->high; i++) {
        const gate_slot_t *slot = slot_at(s, sh, i);
        uint64_t word = atomic_load(&slot->state);

        if (state_of(word) == SLOT_FILLING) {
            v->keep[i] = KEEP_FILLING;
        }
        else if (state_of(word) != SLOT_FREE && !v->keep[i] && store_pinned(s, ref_make(v->shard, i, word))) {
            v->keep[i] = KEEP_WAITING;
        }
        if (v->keep[i] && !mark_slot(s, sh, slot, v)) {
            v->keep[i] = KEEP_NOT;
        }
    }
    return 1;
}

/* ---- repair --------------------------------------------------------------------------------------------------------------- */

static void set_state(gate_slot_t *slot, uint32_t state)
{
    atomic_store(&slot->state, (atomic_load(&slot->state) & ~UINT64_C(0xff)) | state);
}

static void rebuild_slot(gate_store_t *s, gate_shard_t *sh, uint32_t i, int keep)
{
    gate_slot_t *slot = slot_at(s, sh, i);

    if (keep == KEEP_NOT) {
        set_state(slot, SLOT_FREE);
        atomic_store(&slot->runs_n, 0);
        slot->more = 0;
        link_set(&slot->next, sh->free_slot);
        sh->free_slot = i;
        return;
    }
    sh->slots_used++;
    if (keep == KEEP_WAITING) {
        set_state(slot, SLOT_DEAD);
        link_set(&slot->next, sh->waiting);
        sh->waiting = i;
        sh->waiting_n++;
    }
    else if (keep == KEEP_LIVE && slot->kind == BLOB_BODY) {
        sh->bodies++;
    }
}

/* Index and queue of the living heads, oldest first, so that the queues are in the old order again. */
static void rebuild_heads(gate_store_t *s, gate_shard_t *sh, const survey_t *v)
{
    gate_evict_view_t evict = evict_of(s, sh);
    aged_t *heads = malloc(((size_t)v->high + 1) * sizeof *heads);
    uint32_t n = 0;

    for (uint32_t i = 1; i <= v->high; i++) {
        gate_slot_t *slot = slot_at(s, sh, i);

        if (v->keep[i] != KEEP_LIVE || slot->kind != BLOB_HEAD) {
            continue;
        }
        if (heads) {
            heads[n++] = (aged_t){ slot->stamp, i };
        }
    }
    if (heads) {
        qsort(heads, n, sizeof *heads, newest_first);
    }
    while (n--) {
        uint32_t i = heads[n].i, units = 0;
        gate_slot_t *slot = slot_at(s, sh, i);
        gate_queue_e queue = slot->node.queue == GATE_QUEUE_MAIN ? GATE_QUEUE_MAIN : GATE_QUEUE_SMALL;

        for (int c = 0; c < GATE_CODINGS; c++) {
            gate_slot_t *body = ref_slot_at(s, atomic_load(&slot->body[c]));
            units += body ? store_blob_units(s, sh, body) : 0;
        }
        store_link_locked(s, sh, i);
        gate_evict_insert(&evict, i, queue, units + store_blob_units(s, sh, slot));
        sh->objects++;
    }
    free(heads);
}

void store_repair_locked(gate_store_t *s, gate_shard_t *sh)
{
    gate_space_view_t space = space_of(s, sh);
    uint64_t evicted = sh->evict.evicted, ghost_clock = sh->evict.ghost_clock;
    survey_t v = { 0 };

    /* odd while links are being changed, whatever the dead left */
    atomic_store(&sh->seq, atomic_load(&sh->seq) | 1);
    if (!survey_begin(s, sh, &v) || !survey(s, sh, &v)) {
        /* without memory for a survey nothing here can be trusted: forget the living, keep the rest untouched */
        memset(shard_part(sh, s->geo.buckets), 0, s->geo.bucket_count * sizeof(uint32_t));
        atomic_fetch_add(&sh->seq, 1);
        survey_end(&v);
        return;
    }
    memset(shard_part(sh, s->geo.buckets), 0, s->geo.bucket_count * sizeof(uint32_t));
    gate_evict_init(&sh->evict, s->geo.unit_count);
    sh->evict.evicted = evicted;
    sh->evict.ghost_clock = ghost_clock;
    sh->high_slot = v.high;
    sh->free_slot = sh->waiting = 0;
    sh->slots_used = sh->objects = sh->bodies = sh->waiting_n = 0;
    for (uint32_t i = v.high; i; i--) {
        rebuild_slot(s, sh, i, v.keep[i]);
    }
    gate_space_rebuild(&space, v.used);
    atomic_fetch_add(&sh->seq, 1);
    rebuild_heads(s, sh, &v);
    sh->repairs++;
    survey_end(&v);
}

/* ---- sweep ---------------------------------------------------------------------------------------------------------------- */

void gate_store_sweep(int seat, void *store)
{
    gate_store_t *s = store;
    gate_ledger_t *ledger;

    if (seat < 0 || (uint32_t)seat >= s->seats) {
        return;
    }
    ledger = ledger_of(s, (uint32_t)seat);
    for (uint32_t i = 0; i < GATE_STORE_PINS; i++) {
        atomic_store_explicit(&ledger->pin[i], 0, memory_order_relaxed);
    }
    atomic_store(&ledger->high, 0);
    for (uint32_t n = 0; n < s->shards; n++) {
        gate_shard_t *sh = shard_at(s, n);

        if (!store_lock_firmly(s, sh)) {
            continue;
        }
        for (uint32_t i = 1; i <= sh->high_slot && i <= s->geo.slot_count; i++) {
            gate_slot_t *slot = slot_at(s, sh, i);
            if (slot->seat == (uint16_t)seat && state_of(atomic_load(&slot->state)) == SLOT_FILLING) {
                store_bury_locked(s, sh, i);
            }
        }
        store_reap_locked(s, sh, s->geo.slot_count);
        store_unlock(sh);
    }
}

/* ---- validator -------------------------------------------------------------------------------------------------------------- */

static void validate_slots(const gate_store_t *s, const gate_shard_t *sh, const survey_t *v, report_t *r)
{
    uint32_t used = 0, objects = 0, bodies = 0, waiting = 0;

    for (uint32_t i = 1; i <= v->high; i++) {
        const gate_slot_t *slot = slot_at(s, sh, i);
        uint32_t state = state_of(atomic_load(&slot->state));

        used += state != SLOT_FREE;
        objects += state == SLOT_LIVE && slot->kind == BLOB_HEAD;
        bodies += state == SLOT_LIVE && slot->kind == BLOB_BODY;
        waiting += state == SLOT_DEAD;
        if (state > SLOT_DEAD) {
            fault(r, "shard %u slot %u: state %u", v->shard, i, state);
        }
        if (state == SLOT_LIVE && v->keep[i] != KEEP_LIVE) {
            fault(r, "shard %u slot %u: a living %s is not sound", v->shard, i,
                  slot->kind == BLOB_HEAD ? "head" : "body (or nobody's)");
        }
        if (state == SLOT_FILLING && !v->keep[i]) {
            fault(r, "shard %u slot %u: memory of a fill is somebody else's", v->shard, i);
        }
    }
    if (used != sh->slots_used || objects != sh->objects || bodies != sh->bodies || waiting != sh->waiting_n) {
        fault(r, "shard %u: counted %u slots %u objects %u bodies %u waiting, noted %u %u %u %u", v->shard, used, objects, bodies,
              waiting, sh->slots_used, sh->objects, sh->bodies, sh->waiting_n);
    }
}

static void validate_index(const gate_store_t *s, const gate_shard_t *sh, const survey_t *v, report_t *r)
{
    const uint32_t *buckets = (const uint32_t *)(const void *)shard_part(sh, s->geo.buckets);
    uint32_t found = 0;

    for (uint32_t b = 0; b < s->geo.bucket_count; b++) {
        for (uint32_t i = buckets[b]; i; i = slot_at(s, sh, i)->next) {
            const gate_slot_t *slot;

            if (i > v->high || ++found > v->high) {
                fault(r, "shard %u bucket %u: leads out of the table or runs in a circle", v->shard, b);
                return;
            }
            slot = slot_at(s, sh, i);
            if (slot->kind != BLOB_HEAD || state_of(atomic_load(&slot->state)) != SLOT_LIVE
                || bucket_of(s, sh, slot->hash) != buckets + b) {
                fault(r, "shard %u bucket %u: holds slot %u, which does not belong there", v->shard, b, i);
            }
        }
    }
    if (found != sh->objects) {
        fault(r, "shard %u: the index holds %u of %u objects", v->shard, found, sh->objects);
    }
}

static void validate_queue(const gate_store_t *s, gate_shard_t *sh, const survey_t *v, gate_queue_e queue, uint32_t *listed,
                           report_t *r)
{
    const gate_evict_queue_t *q = queue == GATE_QUEUE_SMALL ? &sh->evict.small : &sh->evict.main;
    uint64_t units = 0;
    uint32_t count = 0, prev = 0;

    for (uint32_t i = q->newest; i; i = slot_at(s, sh, i)->node.next) {
        const gate_slot_t *slot;
        uint32_t own;

        if (i > v->high || ++count > v->high) {
            fault(r, "shard %u: a queue leads out of the table or runs in a circle", v->shard);
            return;
        }
        slot = slot_at(s, sh, i);
        own = store_blob_units(s, sh, slot);
        for (int c = 0; c < GATE_CODINGS; c++) {
            gate_slot_t *body = ref_slot_at(s, atomic_load(&slot->body[c]));
            own += body ? store_blob_units(s, sh, body) : 0;
        }
        if (slot->node.queue != queue || slot->node.prev != prev || slot->node.units != own) {
            fault(r, "shard %u slot %u: queue %u prev %u units %u, should be %u %u %u", v->shard, i, slot->node.queue,
                  slot->node.prev, slot->node.units, queue, prev, own);
        }
        units += own;
        prev = i;
    }
    if (q->oldest != prev || q->count != count || q->units != units) {
        fault(r, "shard %u: a queue's numbers are wrong", v->shard);
    }
    *listed += count;
}

static void validate_locked(const gate_store_t *s, gate_shard_t *sh, report_t *r)
{
    gate_space_view_t space = space_of(s, sh);
    survey_t v = { 0 };
    uint32_t listed = 0;

    if (survey_begin(s, sh, &v) && survey(s, sh, &v)) {
        const char *why;

        /* DEAD slots that nobody holds any more still have their memory until they are reaped */
        for (uint32_t i = 1; i <= v.high; i++) {
            const gate_slot_t *slot = slot_at(s, sh, i);
            if (state_of(atomic_load(&slot->state)) == SLOT_DEAD && !v.keep[i]) {
                mark_slot(s, sh, slot, &v);
            }
        }
        validate_slots(s, sh, &v, r);
        validate_index(s, sh, &v, r);
        validate_queue(s, sh, &v, GATE_QUEUE_SMALL, &listed, r);
        validate_queue(s, sh, &v, GATE_QUEUE_MAIN, &listed, r);
        if (listed != sh->objects) {
            fault(r, "shard %u: %u of %u objects are in a queue", v.shard, listed, sh->objects);
        }
        why = gate_space_validate(&space, v.used);
        if (why) {
            fault(r, "shard %u: %s", v.shard, why);
        }
    }
    survey_end(&v);
}

int gate_store_validate(const void *base, uint64_t size_bytes, void *store, char *why, size_t why_size)
{
    gate_store_t *s = store;
    const gate_store_header_t *header = base;
    report_t r = { 0, why, why_size };

    if (header->magic != STORE_MAGIC || size_bytes < s->size_bytes) {
        fault(&r, "no store here");
        return r.faults;
    }
    for (uint32_t n = 0; n < s->shards; n++) {
        gate_shard_t *sh = shard_at(s, n);

        if (!store_lock_firmly(s, sh)) {
            fault(&r, "shard %u: its lock could not be had", n);
            continue;
        }
        validate_locked(s, sh, &r);
        store_unlock(sh);
    }
    return r.faults;
}
