/* store_write.c - how objects come into the store; see store.h */
#include "store_layout.h"

typedef struct {
    gate_store_t *s;
    gate_shard_t *sh;
} where_t;

static uint64_t hash_of(const void *ctx, uint32_t i)
{
    const where_t *w = ctx;

    return slot_at(w->s, w->sh, i)->hash;
}

static int evict_one_locked(gate_store_t *s, gate_shard_t *sh)
{
    gate_evict_view_t evict = evict_of(s, sh);
    where_t where = { s, sh };
    uint32_t head = gate_evict_victim(&evict, hash_of, &where);

    if (!head) {
        return 0;
    }
    store_kill_locked(s, sh, head);
    return 1;
}

/* Memory in at most max_runs runs, whoever must leave for it. */
static uint32_t take_units_locked(gate_store_t *s, gate_shard_t *sh, uint32_t units, gate_run_t *runs, uint32_t max_runs)
{
    gate_space_view_t space = space_of(s, sh);
    uint32_t n;

    while (!(n = gate_space_take(&space, units, runs, max_runs))) {
        if (sh->waiting) {
            store_reap_locked(s, sh, 64);
            if ((n = gate_space_take(&space, units, runs, max_runs)) != 0) {
                break;
            }
        }
        if (!evict_one_locked(s, sh)) {
            return 0;
        }
    }
    return n;
}

static uint32_t take_slot_locked(gate_store_t *s, gate_shard_t *sh, uint32_t kind)
{
    uint32_t i;

    while (!(i = store_slot_take_locked(s, sh, kind))) {
        store_reap_locked(s, sh, 64);
        if (!(i = store_slot_take_locked(s, sh, kind)) && !evict_one_locked(s, sh)) {
            return 0;
        }
        if (i) {
            break;
        }
    }
    return i;
}

/* Adds a run to a slot that is being filled. The run counts from the moment runs_n does. @return 0: no place for it */
static int add_run_locked(gate_store_t *s, gate_shard_t *sh, gate_slot_t *slot, gate_run_t run)
{
    uint32_t n = atomic_load(&slot->runs_n);

    if (n < INLINE_RUNS) {
        slot->runs[n] = run;
    }
    else {
        gate_run_t more;

        if (n >= RUNS_MAX) {
            return 0;
        }
        if (!slot->more) {
            if (!take_units_locked(s, sh, MORE_UNITS, &more, 1)) {
                return 0;
            }
            slot->more = more.start + 1;
        }
        ((gate_run_t *)(void *)(shard_part(sh, s->geo.units) + (uint64_t)(slot->more - 1) * GATE_UNIT))[n - INLINE_RUNS] = run;
    }
    atomic_store_explicit(&slot->runs_n, n + 1, memory_order_release);
    return 1;
}

static gate_store_e add_units_locked(gate_store_t *s, gate_shard_t *sh, gate_slot_t *slot, uint32_t units)
{
    gate_space_view_t space = space_of(s, sh);
    gate_run_t runs[RUNS_MAX];
    uint32_t have = atomic_load(&slot->runs_n), n;

    n = have < RUNS_MAX ? take_units_locked(s, sh, units, runs, RUNS_MAX - have) : 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!add_run_locked(s, sh, slot, runs[i])) {
            while (i < n) {
                gate_space_give(&space, runs[i++]);
            }
            return GATE_STORE_FULL;
        }
    }
    return n ? GATE_STORE_OK : GATE_STORE_FULL;
}

/* The fill's slot, if it is still this fill's: a sweep may have taken it for a dead child's. */
static gate_slot_t *filling(gate_store_t *s, gate_ref_t ref)
{
    gate_slot_t *slot = ref_slot_at(s, ref);

    return slot && state_of(atomic_load(&slot->state)) == SLOT_FILLING ? slot : NULL;
}

static gate_store_e begin_locked(gate_store_t *s, gate_shard_t *sh, uint32_t shard, gate_fill_t *fill)
{
    gate_evict_view_t evict = evict_of(s, sh);
    uint64_t units = 4 + (fill->length == UINT64_MAX ? units_for(GROW_FIRST) : units_for(fill->length));
    uint32_t head, body;
    gate_store_e rc = GATE_STORE_OK;

    store_reap_locked(s, sh, 8);
    fill->queue = (uint8_t)gate_evict_admit(&evict, fill->hash, units, sh->space.free_units);
    if (fill->queue == GATE_QUEUE_NONE) {
        return GATE_STORE_FULL;
    }
    head = take_slot_locked(s, sh, BLOB_HEAD);
    body = head ? take_slot_locked(s, sh, BLOB_BODY) : 0;
    if (!body) {
        if (head) {
            store_bury_locked(s, sh, head);
        }
        return GATE_STORE_FULL;
    }
    __atomic_store_n(&slot_at(s, sh, head)->hash, fill->hash, __ATOMIC_RELAXED);
    __atomic_store_n(&slot_at(s, sh, body)->hash, fill->hash, __ATOMIC_RELAXED);
    fill->head = ref_make(shard, head, atomic_load(&slot_at(s, sh, head)->state));
    fill->body = ref_make(shard, body, atomic_load(&slot_at(s, sh, body)->state));
    if (fill->length != UINT64_MAX && fill->length) {
        rc = add_units_locked(s, sh, slot_at(s, sh, body), units_for(fill->length));
        fill->room = rc == GATE_STORE_OK ? (uint64_t)units_for(fill->length) * GATE_UNIT : 0;
    }
    if (rc != GATE_STORE_OK) {
        store_bury_locked(s, sh, body);
        store_bury_locked(s, sh, head);
        fill->head = fill->body = 0;
    }
    return rc;
}

gate_store_e gate_store_begin(gate_store_t *store, uint64_t hash, uint64_t length, gate_fill_t *fill)
{
    gate_shard_t *sh = shard_at(store, shard_of(store, hash));
    gate_store_e rc;

    memset(fill, 0, sizeof *fill);
    fill->hash = hash;
    fill->length = length;
    if (store->seat < 0) {
        return GATE_STORE_FULL;
    }
    if (length != UINT64_MAX && length > store->max_object) {
        return GATE_STORE_TOO_BIG;
    }
    if (!store_lock(store, sh)) {
        return GATE_STORE_BUSY;
    }
    rc = begin_locked(store, sh, shard_of(store, hash), fill);
    store_unlock(sh);
    return rc;
}

/* Bytes into a blob's runs from `at` on; there is room. */
static void copy_in(gate_store_t *s, const gate_shard_t *sh, gate_slot_t *slot, uint64_t at, const void *data, size_t len)
{
    const unsigned char *from = data;
    uint64_t begin = 0;
    uint32_t n = atomic_load(&slot->runs_n);

    for (uint32_t i = 0; i < n && len; i++) {
        const gate_run_t *run = run_at(s, sh, slot, i);
        uint64_t bytes = run ? (uint64_t)run->count * GATE_UNIT : 0;

        if (at < begin + bytes) {
            uint64_t skip = at - begin, now = bytes - skip < len ? bytes - skip : len;

            memcpy(shard_part(sh, s->geo.units) + (uint64_t)run->start * GATE_UNIT + skip, from, now);
            from += now;
            at += now;
            len -= now;
        }
        begin += bytes;
    }
}

/* Heads lie in one run, so that they can be read in place. */
static gate_store_e write_head_locked(gate_store_t *s, gate_shard_t *sh, gate_slot_t *slot, const void *head, size_t len)
{
    gate_run_t run;

    if (!take_units_locked(s, sh, units_for(len), &run, 1)) {
        return GATE_STORE_FULL;
    }
    add_run_locked(s, sh, slot, run);
    copy_in(s, sh, slot, 0, head, len);
    atomic_store(&slot->filled, len);
    return GATE_STORE_OK;
}

gate_store_e gate_store_set_head(gate_store_t *store, gate_fill_t *fill, const void *head, size_t len)
{
    gate_shard_t *sh = shard_at(store, ref_shard(fill->head));
    gate_slot_t *slot;
    gate_store_e rc;

    if (len > HEAD_BYTES_MAX) {
        return GATE_STORE_TOO_BIG;
    }
    if (!store_lock(store, sh)) {
        return GATE_STORE_BUSY;
    }
    slot = filling(store, fill->head);
    rc = slot ? write_head_locked(store, sh, slot, head, len) : GATE_STORE_GONE;
    if (rc == GATE_STORE_OK) {
        /* a follower finds the body through the head before the commit */
        atomic_store(&slot->body[GATE_CODING_IDENTITY], fill->body);
    }
    store_unlock(sh);
    return rc;
}

/* More room for a body of unknown length: each piece twice the one before, within bounds. */
static gate_store_e grow(gate_store_t *s, gate_fill_t *fill, uint64_t needed)
{
    gate_shard_t *sh = shard_at(s, ref_shard(fill->body));
    uint64_t step = fill->room < GROW_FIRST ? GROW_FIRST : fill->room > GROW_MAX ? GROW_MAX : fill->room;
    gate_slot_t *slot;
    gate_store_e rc;

    while (fill->room + step < needed) {
        step += GROW_MAX;
    }
    if (fill->room + step > s->max_object) {
        step = s->max_object - fill->room;
    }
    if (!store_lock(s, sh)) {
        return GATE_STORE_BUSY;
    }
    slot = filling(s, fill->body);
    rc = slot ? GATE_STORE_OK : GATE_STORE_GONE;
    if (rc == GATE_STORE_OK && fill->queue == GATE_QUEUE_SMALL) {
        gate_evict_view_t evict = evict_of(s, sh);

        fill->queue = (uint8_t)gate_evict_admit(&evict, fill->hash, units_for(fill->room + step), sh->space.free_units);
        rc = fill->queue == GATE_QUEUE_NONE ? GATE_STORE_FULL : GATE_STORE_OK;
    }
    if (rc == GATE_STORE_OK) {
        rc = add_units_locked(s, sh, slot, units_for(step));
    }
    store_unlock(sh);
    if (rc == GATE_STORE_OK) {
        fill->room += (uint64_t)units_for(step) * GATE_UNIT;
    }
    return rc;
}

gate_store_e gate_store_append(gate_store_t *store, gate_fill_t *fill, const void *data, size_t len)
{
    gate_slot_t *slot;

    if (fill->filled + len > store->max_object) {
        return GATE_STORE_TOO_BIG;
    }
    if (fill->filled + len > fill->room) {
        gate_store_e rc = fill->length == UINT64_MAX ? grow(store, fill, fill->filled + len) : GATE_STORE_TOO_BIG;
        if (rc != GATE_STORE_OK) {
            return rc;
        }
    }
    if (!(slot = filling(store, fill->body))) {
        return GATE_STORE_GONE;
    }
    copy_in(store, shard_at(store, ref_shard(fill->body)), slot, fill->filled, data, len);
    fill->filled += len;
    atomic_store_explicit(&slot->filled, fill->filled, memory_order_release);
    return GATE_STORE_OK;
}

/* What was taken too much for a body of unknown length goes back. */
static void trim_locked(gate_store_t *s, gate_shard_t *sh, gate_slot_t *slot)
{
    gate_space_view_t space = space_of(s, sh);
    uint64_t used = units_for(atomic_load(&slot->filled)), at = 0;
    uint32_t n = atomic_load(&slot->runs_n), keep = 0;

    for (uint32_t i = 0; i < n; i++) {
        gate_run_t *run = (gate_run_t *)(uintptr_t)run_at(s, sh, slot, i);

        if (!run) {
            return;
        }
        if (at + run->count <= used) {
            keep = i + 1;
        }
        else if (at < used) {
            gate_run_t tail = { run->start + (uint32_t)(used - at), run->count - (uint32_t)(used - at) };

            run->count -= tail.count;
            gate_space_give(&space, tail);
            at += tail.count;
            keep = i + 1;
        }
        else {
            gate_space_give(&space, *run);
        }
        at += run->count;
    }
    atomic_store(&slot->runs_n, keep);
}

/* Heads of the same hash that the new one replaces leave; of the others, the oldest beyond GATE_STORE_URL_MAX. */
static void replace_locked(gate_store_t *s, gate_shard_t *sh, uint64_t hash, uint32_t except, gate_same_fn same, void *ctx)
{
    uint32_t i = *bucket_of(s, sh, hash), others = 0, oldest = 0, steps = 0;

    while (i && i <= s->geo.slot_count && steps++ < s->geo.slot_count) {
        gate_slot_t *slot = slot_at(s, sh, i);
        uint32_t next = slot->next;
        uint64_t len;
        const void *head = slot->hash == hash && i != except ? store_head_bytes(s, sh, slot, &len) : NULL;

        if (head && same(ctx, head, len) > 0) {
            store_kill_locked(s, sh, i);
        }
        else if (head) {
            others++;
            oldest = !oldest || slot->stamp < slot_at(s, sh, oldest)->stamp ? i : oldest;
        }
        i = next;
    }
    if (others >= GATE_STORE_URL_MAX) {
        store_kill_locked(s, sh, oldest);
    }
}

static void become_live(gate_shard_t *sh, gate_slot_t *slot)
{
    slot->length = atomic_load(&slot->filled);
    slot->stamp = ++sh->stamp;
    atomic_store(&slot->state, (atomic_load(&slot->state) & ~UINT64_C(0xff)) | SLOT_LIVE);
}

gate_store_e gate_store_commit(gate_store_t *store, gate_fill_t *fill, gate_same_fn same, int (*veto)(void *ctx), void *ctx)
{
    gate_shard_t *sh = shard_at(store, ref_shard(fill->head));
    gate_evict_view_t evict = evict_of(store, sh);
    gate_slot_t *head, *body;

    if (!fill->head || (fill->length != UINT64_MAX && fill->filled != fill->length)) {
        gate_store_abort(store, fill);
        return GATE_STORE_GONE;
    }
    if (!store_lock_firmly(store, sh)) {
        gate_store_abort(store, fill);
        return GATE_STORE_BUSY;
    }
    head = filling(store, fill->head);
    body = filling(store, fill->body);
    if (!head || !body || !atomic_load(&head->filled) || veto(ctx)) {
        store_unlock(sh);
        gate_store_abort(store, fill);
        return GATE_STORE_GONE;
    }
    trim_locked(store, sh, body);
    become_live(sh, body);
    atomic_store(&head->body[GATE_CODING_IDENTITY], fill->body);
    become_live(sh, head);
    sh->bodies++;
    sh->objects++;
    store_link_locked(store, sh, ref_slot(fill->head));
    gate_evict_insert(&evict, ref_slot(fill->head), (gate_queue_e)fill->queue,
                      store_blob_units(store, sh, head) + store_blob_units(store, sh, body));
    /* only now: a reader finds the old one or the new one at any moment */
    replace_locked(store, sh, fill->hash, ref_slot(fill->head), same, ctx);
    store_unlock(sh);
    fill->head = 0;
    return GATE_STORE_OK;
}

void gate_store_abort(gate_store_t *store, gate_fill_t *fill)
{
    gate_shard_t *sh = shard_at(store, ref_shard(fill->head));

    fill->broken = 1;
    if (!fill->head) {
        return;
    }
    /* not to be had: the sweep of this seat will find it */
    if (store_lock_firmly(store, sh)) {
        if (filling(store, fill->body)) {
            store_bury_locked(store, sh, ref_slot(fill->body));
        }
        if (filling(store, fill->head)) {
            store_bury_locked(store, sh, ref_slot(fill->head));
        }
        store_unlock(sh);
    }
    fill->head = 0;
}

static gate_slot_t *living(gate_store_t *s, gate_ref_t ref)
{
    gate_slot_t *slot = ref_slot_at(s, ref);

    return slot && slot->kind == BLOB_HEAD && state_of(atomic_load(&slot->state)) == SLOT_LIVE ? slot : NULL;
}

/*
 * The new head becomes LIVE with the bodies before the old one lets go of them: a death in between leaves two heads with
 * one body, and the repair keeps the newer.
 */
static gate_store_e rehead_locked(gate_store_t *s, gate_shard_t *sh, gate_ref_t old_ref, const void *bytes, size_t len,
                                  gate_ref_t *out)
{
    gate_evict_view_t evict = evict_of(s, sh);
    uint32_t i = take_slot_locked(s, sh, BLOB_HEAD);
    gate_slot_t *fresh = i ? slot_at(s, sh, i) : NULL, *old;
    uint32_t queue, units;

    if (!i) {
        return GATE_STORE_FULL;
    }
    if (write_head_locked(s, sh, fresh, bytes, len) != GATE_STORE_OK) {
        store_bury_locked(s, sh, i);
        return GATE_STORE_FULL;
    }
    /* making room may have evicted the very object */
    if (!(old = living(s, old_ref))) {
        store_bury_locked(s, sh, i);
        return GATE_STORE_GONE;
    }
    queue = old->node.queue;
    units = old->node.units - store_blob_units(s, sh, old) + store_blob_units(s, sh, fresh);
    __atomic_store_n(&fresh->hash, old->hash, __ATOMIC_RELAXED);
    for (int c = 0; c < GATE_CODINGS; c++) {
        atomic_store(&fresh->body[c], atomic_load(&old->body[c]));
    }
    become_live(sh, fresh);
    sh->objects++;
    atomic_store(&fresh->node.freq, atomic_load(&old->node.freq));
    for (int c = 0; c < GATE_CODINGS; c++) {
        atomic_store(&old->body[c], 0);
    }
    store_link_locked(s, sh, i);
    store_kill_locked(s, sh, ref_slot(old_ref));
    gate_evict_insert(&evict, i, (gate_queue_e)queue, units);
    *out = ref_make(ref_shard(old_ref), i, atomic_load(&fresh->state));
    return GATE_STORE_OK;
}

gate_store_e gate_store_rehead(gate_store_t *store, gate_ref_t old, const void *head, size_t len, int (*veto)(void *ctx),
                               void *ctx, gate_ref_t *out)
{
    gate_shard_t *sh = shard_at(store, ref_shard(old));
    gate_store_e rc;

    if (len > HEAD_BYTES_MAX || store->seat < 0) {
        return GATE_STORE_TOO_BIG;
    }
    if (!store_lock(store, sh)) {
        return GATE_STORE_BUSY;
    }
    rc = living(store, old) && !veto(ctx) ? rehead_locked(store, sh, old, head, len, out) : GATE_STORE_GONE;
    store_unlock(sh);
    return rc;
}

/* Memory for a body of known length, outside any object yet. */
static gate_store_e body_begin(gate_store_t *s, gate_shard_t *sh, gate_ref_t head, size_t len, gate_ref_t *out)
{
    gate_store_e rc = GATE_STORE_GONE;
    uint32_t i;

    if (!store_lock(s, sh)) {
        return GATE_STORE_BUSY;
    }
    if (living(s, head)) {
        i = take_slot_locked(s, sh, BLOB_BODY);
        rc = i ? add_units_locked(s, sh, slot_at(s, sh, i), units_for(len)) : GATE_STORE_FULL;
        if (i && rc != GATE_STORE_OK) {
            store_bury_locked(s, sh, i);
        }
        else if (i) {
            *out = ref_make(ref_shard(head), i, atomic_load(&slot_at(s, sh, i)->state));
        }
    }
    store_unlock(sh);
    return rc;
}

gate_store_e gate_store_add_body(gate_store_t *store, gate_ref_t head, gate_coding_e coding, const void *data, size_t len)
{
    gate_shard_t *sh;
    gate_slot_t *h, *body;
    gate_ref_t ref = 0;
    gate_store_e rc;

    if (!len || len > store->max_object || store->seat < 0 || ref_shard(head) >= store->shards) {
        return GATE_STORE_TOO_BIG;
    }
    sh = shard_at(store, ref_shard(head));
    rc = body_begin(store, sh, head, len, &ref);
    if (rc != GATE_STORE_OK) {
        return rc;
    }
    if ((body = filling(store, ref)) != NULL) {
        copy_in(store, sh, body, 0, data, len);
        atomic_store(&body->filled, len);
    }
    if (!store_lock_firmly(store, sh)) {
        return GATE_STORE_BUSY; /* the sweep of this seat will find it */
    }
    h = living(store, head);
    body = filling(store, ref);
    if (h && body && !atomic_load(&h->body[coding])) {
        gate_evict_view_t evict = evict_of(store, sh);

        become_live(sh, body);
        sh->bodies++;
        atomic_store_explicit(&h->body[coding], ref, memory_order_release);
        shard_moved_locked(sh);
        gate_evict_resize(&evict, ref_slot(head), store_blob_units(store, sh, body));
    }
    else {
        rc = GATE_STORE_GONE;
        if (body) {
            store_bury_locked(store, sh, ref_slot(ref));
        }
    }
    store_unlock(sh);
    return rc;
}

gate_ref_t gate_store_head_of(gate_store_t *store, uint64_t hash, gate_ref_t body)
{
    gate_shard_t *sh = shard_at(store, shard_of(store, hash));
    gate_ref_t found = 0;
    uint32_t steps = 0;

    if (!store_lock(store, sh)) {
        return 0;
    }
    for (uint32_t i = *bucket_of(store, sh, hash); i && i <= store->geo.slot_count && steps++ < store->geo.slot_count && !found;) {
        gate_slot_t *slot = slot_at(store, sh, i);

        if (slot->hash == hash && atomic_load(&slot->body[GATE_CODING_IDENTITY]) == body) {
            found = ref_make(shard_of(store, hash), i, atomic_load(&slot->state));
        }
        i = slot->next;
    }
    store_unlock(sh);
    return found;
}

/* ---- walks -------------------------------------------------------------------------------------------------------------- */

#define WALK_STEP 512 /* slots looked at in one hold of the lock */

typedef int (*each_fn)(void *ctx, uint64_t hash, void *head, uint64_t len);

static int visit_locked(gate_store_t *s, gate_shard_t *sh, uint32_t i, each_fn each, void *ctx)
{
    gate_slot_t *slot = slot_at(s, sh, i);
    uint64_t len;
    const void *head;

    if (slot->kind != BLOB_HEAD || state_of(atomic_load(&slot->state)) != SLOT_LIVE) {
        return 0;
    }
    head = store_head_bytes(s, sh, slot, &len);
    if (!head || !each(ctx, slot->hash, (void *)(uintptr_t)head, len)) {
        return 0;
    }
    store_kill_locked(s, sh, i);
    return 1;
}

uint64_t gate_store_walk(gate_store_t *store, each_fn each, void *ctx)
{
    uint64_t removed = 0;

    for (uint32_t n = 0; n < store->shards; n++) {
        gate_shard_t *sh = shard_at(store, n);

        for (uint32_t i = 1; i <= store->geo.slot_count && store_lock(store, sh);) {
            uint32_t high = sh->high_slot < store->geo.slot_count ? sh->high_slot : store->geo.slot_count;
            uint32_t end = i + WALK_STEP;

            for (; i <= high && i < end; i++) {
                removed += (uint64_t)visit_locked(store, sh, i, each, ctx);
            }
            shard_moved_locked(sh);
            store_unlock(sh);
            if (i > high) {
                break;
            }
        }
    }
    return removed;
}

uint64_t gate_store_walk_hash(gate_store_t *store, uint64_t hash, each_fn each, void *ctx)
{
    gate_shard_t *sh = shard_at(store, shard_of(store, hash));
    uint64_t removed = 0;
    uint32_t steps = 0;

    if (!store_lock(store, sh)) {
        return 0;
    }
    for (uint32_t i = *bucket_of(store, sh, hash); i && i <= store->geo.slot_count && steps++ < store->geo.slot_count;) {
        uint32_t next = slot_at(store, sh, i)->next;

        if (slot_at(store, sh, i)->hash == hash) {
            removed += (uint64_t)visit_locked(store, sh, i, each, ctx);
        }
        i = next;
    }
    shard_moved_locked(sh);
    store_unlock(sh);
    return removed;
}
