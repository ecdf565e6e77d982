/* store.c - geometry, look-ups, pins, and what a shard's writers share; see store.h */
#include "store_layout.h"

#include "counts.h"
#include "fill.h"
#include "purge.h"

#define SHARD_WANTED_BYTES (8u << 20)
#define WALK_MAX 4096 /* heads looked at in a bucket before it is taken for broken */

static uint64_t align_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static uint32_t pow2_floor(uint64_t n)
{
    return n < 2 ? 1u : 1u << (63 - __builtin_clzll(n));
}

/* ---- geometry -------------------------------------------------------------------------------------------------------- */

/* As many shards as leave each room for two of the largest objects, and none smaller than SHARD_WANTED_BYTES. */
static uint32_t shards_for(const gate_store_limits_t *limits)
{
    uint64_t least = limits->max_object * 5 / 2;
    uint64_t n = limits->size_bytes / (least > SHARD_WANTED_BYTES ? least : SHARD_WANTED_BYTES);

    n = pow2_floor(n ? n : 1);
    return n > GATE_STORE_SHARDS_MAX ? GATE_STORE_SHARDS_MAX : (uint32_t)n;
}

uint32_t gate_store_layout(const gate_store_limits_t *limits)
{
    return GATE_STORE_LAYOUT << 24 | shards_for(limits) << 20 | (limits->seats & 0xfffff);
}

uint64_t gate_store_max_object(uint64_t size_bytes)
{
    return size_bytes / 5;
}

/* Everything but the units is a fixed share of them: the number of units follows from what is left. */
static int shard_geometry(uint64_t bytes, gate_geometry_t *geo)
{
    uint64_t units = bytes / GATE_UNIT, at;

    for (; units >= 64; units -= units / 256 + 1) {
        uint64_t slots = units * GATE_UNIT / BYTES_PER_SLOT + 8;

        geo->bucket_count = pow2_floor(slots);
        geo->ghost_count = pow2_floor(slots) < 64 ? 64 : pow2_floor(slots);
        geo->slot_count = (uint32_t)slots;
        geo->unit_count = (uint32_t)units;
        at = align_up(sizeof(gate_shard_t), 64);
        geo->buckets = at;
        at += (uint64_t)geo->bucket_count * sizeof(uint32_t);
        geo->ghost = at = align_up(at, 64);
        at += (uint64_t)geo->ghost_count * sizeof(gate_ghost_t);
        geo->slots = at = align_up(at, SLOT_BYTES);
        at += (slots + 1) * SLOT_BYTES;
        geo->map = at;
        at += units;
        geo->units = at = align_up(at, GATE_UNIT);
        at += units * GATE_UNIT;
        if (at <= bytes) {
            return 1;
        }
    }
    return 0;
}

static int geometry(gate_store_t *s, const gate_store_limits_t *limits)
{
    static const uint64_t table_bytes[GATE_TABLES] = { sizeof(gate_purge_table_t), sizeof(gate_fill_table_t), 0 };
    uint64_t at = align_up(sizeof(gate_store_header_t), 64);

    s->size_bytes = limits->size_bytes;
    s->seats = limits->seats;
    s->max_object = limits->max_object;
    s->shards = shards_for(limits);
    s->ledgers = at;
    at += (uint64_t)limits->seats * sizeof(gate_ledger_t);
    for (int t = 0; t < GATE_TABLES; t++) {
        s->tables[t] = at = align_up(at, 64);
        at += t == GATE_TABLE_COUNT ? (uint64_t)limits->seats * sizeof(gate_cache_row_t) : table_bytes[t];
    }
    s->tables[GATE_TABLES] = at;
    s->shards_at = at = align_up(at, 4096);
    if (at >= limits->size_bytes) {
        return 0;
    }
    s->shard_bytes = (limits->size_bytes - at) / s->shards / 4096 * 4096;
    return shard_geometry(s->shard_bytes, &s->geo)
           && (uint64_t)s->geo.unit_count * GATE_UNIT >= limits->max_object + HEAD_BYTES_MAX;
}

static void lay_out(gate_store_t *s, const gate_store_limits_t *limits, const gate_seed_t *seed)
{
    gate_store_header_t *header = (void *)s->base;

    header->seed = *seed;
    header->layout = gate_store_layout(limits);
    header->shards = s->shards;
    header->size_bytes = s->size_bytes;
    header->seats = s->seats;
    for (uint32_t i = 0; i < s->shards; i++) {
        gate_shard_t *sh = shard_at(s, i);
        gate_space_view_t space = space_of(s, sh);

        memset(sh, 0, sizeof *sh);
        memset(shard_part(sh, s->geo.map), 0, s->geo.unit_count);
        gate_space_init(&space);
        gate_evict_init(&sh->evict, s->geo.unit_count);
    }
    header->magic = STORE_MAGIC;
}

gate_store_t *gate_store_attach(apr_pool_t *p, void *base, const gate_store_limits_t *limits, int fresh, const gate_seed_t *seed,
                                const char **why)
{
    gate_store_t *s = apr_pcalloc(p, sizeof *s);
    const gate_store_header_t *header = base;

    s->base = base;
    s->seat = -1;
    if (!geometry(s, limits)) {
        *why = "too small for what it must hold";
        return NULL;
    }
    if (fresh) {
        lay_out(s, limits, seed);
    }
    else if (header->magic != STORE_MAGIC || header->layout != gate_store_layout(limits) || header->shards != s->shards
             || header->size_bytes != s->size_bytes || header->seats != s->seats) {
        *why = "made for other sizes";
        return NULL;
    }
    s->seed = header->seed;
    return s;
}

void gate_store_sit(gate_store_t *store, int seat)
{
    store->seat = seat >= 0 && (uint32_t)seat < store->seats ? seat : -1;
}

int gate_store_seat(const gate_store_t *store)
{
    return store->seat;
}

void *gate_store_table(const gate_store_t *store, int table, uint64_t *size_bytes)
{
    if (size_bytes) {
        *size_bytes = store->tables[table + 1] - store->tables[table];
    }
    return store->base + store->tables[table];
}

uint64_t gate_store_hash(const gate_store_t *store, const void *data, size_t len)
{
    return gate_siphash(&store->seed, data, len);
}

/* ---- pins ------------------------------------------------------------------------------------------------------------ */

static _Thread_local uint32_t place_hint;

static uint32_t ledger_write(gate_store_t *s, gate_ref_t ref)
{
    gate_ledger_t *ledger = ledger_of(s, (uint32_t)s->seat);

    for (uint32_t tried = 0; tried < GATE_STORE_PINS; tried++) {
        uint32_t i = (place_hint + tried) % GATE_STORE_PINS;
        uint64_t none = 0;

        if (atomic_load_explicit(&ledger->pin[i], memory_order_relaxed)) {
            continue;
        }
        /* whoever scans must reach this place: so `high` first */
        uint32_t high = atomic_load(&ledger->high);
        while (high <= i && !atomic_compare_exchange_weak(&ledger->high, &high, i + 1)) {
        }
        if (atomic_compare_exchange_strong(&ledger->pin[i], &none, ref)) {
            place_hint = i;
            return i + 1;
        }
    }
    place_hint = 0;
    return 0;
}

int gate_store_pin(gate_store_t *store, gate_ref_t ref, gate_pin_t *pin)
{
    gate_slot_t *slot;

    pin->place = 0;
    pin->ref = ref;
    if (store->seat < 0 || !ref || !(slot = ref_slot_at(store, ref))) {
        return 0;
    }
    pin->place = ledger_write(store, ref);
    if (pin->place) {
        uint64_t word = atomic_load(&slot->state);

        if (word >> 32 == ref >> 32 && (state_of(word) == SLOT_LIVE || state_of(word) == SLOT_FILLING)) {
            return 1;
        }
        gate_store_unpin(store, pin);
    }
    return 0;
}

void gate_store_unpin(gate_store_t *store, gate_pin_t *pin)
{
    if (pin->place && store->seat >= 0) {
        atomic_store_explicit(&ledger_of(store, (uint32_t)store->seat)->pin[pin->place - 1], 0, memory_order_release);
        if (place_hint >= pin->place) {
            place_hint = pin->place - 1; /* low places first: that keeps what a writer must scan short */
        }
    }
    pin->place = 0;
}

int store_pinned(const gate_store_t *s, gate_ref_t ref)
{
    for (uint32_t seat = 0; seat < s->seats; seat++) {
        const gate_ledger_t *ledger = ledger_of(s, seat);
        uint32_t high = atomic_load(&ledger->high);

        high = high < GATE_STORE_PINS ? high : GATE_STORE_PINS;
        for (uint32_t i = 0; i < high; i++) {
            if (atomic_load(&ledger->pin[i]) == ref) {
                return 1;
            }
        }
    }
    return 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

uint64_t gate_store_piece(const gate_store_t *store, gate_ref_t ref, uint64_t offset, const void **data)
{
    const gate_slot_t *slot = ref_slot_at(store, ref);
    const gate_shard_t *sh = slot ? shard_at(store, ref_shard(ref)) : NULL;
    uint64_t filled = slot ? atomic_load_explicit(&slot->filled, memory_order_acquire) : 0, at = 0;
    uint32_t n = slot ? atomic_load_explicit(&slot->runs_n, memory_order_acquire) : 0;

    for (uint32_t i = 0; i < n && offset < filled; i++) {
        const gate_run_t *run = run_at(store, sh, slot, i);
        uint64_t bytes = run ? (uint64_t)run->count * GATE_UNIT : 0;

        if (!run) {
            return 0;
        }
        if (offset < at + bytes) {
            uint64_t skip = offset - at, left = filled - offset;

            *data = shard_part(sh, store->geo.units) + (uint64_t)run->start * GATE_UNIT + skip;
            return bytes - skip < left ? bytes - skip : left;
        }
        at += bytes;
    }
    return 0;
}

gate_blob_e gate_store_progress(const gate_store_t *store, gate_ref_t ref, uint64_t *filled)
{
    const gate_slot_t *slot = ref_slot_at(store, ref);
    uint32_t state;

    if (!slot) {
        *filled = 0;
        return GATE_BLOB_BROKEN;
    }
    state = state_of(atomic_load_explicit(&slot->state, memory_order_acquire));
    *filled = atomic_load_explicit(&slot->filled, memory_order_acquire);
    if (state == SLOT_FILLING) {
        return GATE_BLOB_FILLING;
    }
    /* DEAD after it was whole: removed while we read, which is no fault */
    return state == SLOT_LIVE || slot->stamp ? GATE_BLOB_WHOLE : GATE_BLOB_BROKEN;
}

_Atomic uint32_t *gate_store_growth(const gate_store_t *store, gate_ref_t ref)
{
    gate_slot_t *slot = ref_slot_at(store, ref);

    /* the low half, where the machine has it */
    return slot ? (_Atomic uint32_t *)(void *)&slot->filled + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) : NULL;
}

uint64_t gate_store_length(const gate_store_t *store, gate_ref_t ref)
{
    const gate_slot_t *slot = ref_slot_at(store, ref);

    return slot ? slot->length : 0;
}

gate_ref_t gate_store_body(const gate_store_t *store, gate_ref_t head, gate_coding_e coding)
{
    const gate_slot_t *slot = ref_slot_at(store, head);

    return slot ? atomic_load_explicit(&slot->body[coding], memory_order_acquire) : 0;
}

const void *store_head_bytes(const gate_store_t *s, const gate_shard_t *sh, const gate_slot_t *slot, uint64_t *len)
{
    const gate_run_t *run = atomic_load(&slot->runs_n) == 1 ? run_at(s, sh, slot, 0) : NULL;

    *len = atomic_load(&slot->filled);
    if (!run || !*len || *len > (uint64_t)run->count * GATE_UNIT) {
        return NULL;
    }
    return shard_part(sh, s->geo.units) + (uint64_t)run->start * GATE_UNIT;
}

static int is_head_of(const gate_slot_t *slot, uint64_t hash)
{
    return __atomic_load_n(&slot->hash, __ATOMIC_RELAXED) == hash && __atomic_load_n(&slot->kind, __ATOMIC_RELAXED) == BLOB_HEAD;
}

/* One walk over a bucket. @return 0: links were changed meanwhile, what was not found may be there all the same */
static int find_once(gate_store_t *s, gate_shard_t *sh, uint64_t hash, gate_rank_fn rank, void *ctx, gate_pin_t *best,
                     int64_t *best_rank)
{
    uint32_t seq = atomic_load(&sh->seq), i, steps = 0;

    if (seq & 1) {
        return 0;
    }
    i = __atomic_load_n(bucket_of(s, sh, hash), __ATOMIC_ACQUIRE);
    while (i && i <= s->geo.slot_count && steps++ < WALK_MAX) {
        gate_slot_t *slot = slot_at(s, sh, i);
        uint64_t word = atomic_load(&slot->state), len;
        gate_pin_t pin;

        if (is_head_of(slot, hash) && state_of(word) == SLOT_LIVE
            && gate_store_pin(s, ref_make(shard_of(s, hash), i, word), &pin)) {
            const void *head = store_head_bytes(s, sh, slot, &len);
            int64_t r = head && is_head_of(slot, hash) ? rank(ctx, head, len) : -1;

            if (r > *best_rank) {
                gate_store_unpin(s, best);
                *best = pin;
                *best_rank = r;
            }
            else {
                gate_store_unpin(s, &pin);
            }
        }
        i = __atomic_load_n(&slot->next, __ATOMIC_ACQUIRE);
    }
    return atomic_load(&sh->seq) == seq && steps < WALK_MAX;
}

int gate_store_find(gate_store_t *store, uint64_t hash, gate_rank_fn rank, void *ctx, gate_pin_t *pin)
{
    gate_shard_t *sh = shard_at(store, shard_of(store, hash));
    int64_t best_rank = -1;

    pin->place = 0;
    pin->ref = 0;
    for (int tries = 0; tries < 16; tries++) {
        if (find_once(store, sh, hash, rank, ctx, pin, &best_rank)) {
            return pin->place != 0;
        }
        if (best_rank >= 0) {
            /* maybe not the best, but a good one */
            return 1;
        }
    }
    /* a writer at work all the time, or one that died: the lock tells which, and repairs */
    if (store_lock(store, sh)) {
        store_unlock(sh);
        find_once(store, sh, hash, rank, ctx, pin, &best_rank);
    }
    return pin->place != 0;
}

uint32_t gate_store_epoch(const gate_store_t *store, uint64_t hash)
{
    return atomic_load_explicit(&shard_at(store, shard_of(store, hash))->seq, memory_order_acquire);
}

void gate_store_touch(gate_store_t *store, gate_ref_t head)
{
    gate_slot_t *slot = ref_slot_at(store, head);

    if (slot) {
        gate_evict_hit(&slot->node);
    }
}

/* ---- writers' common part --------------------------------------------------------------------------------------------- */

/* Takes a shard's lock; what a dead owner left is made good first. @return 0 when it could not be had in time */
int store_lock(gate_store_t *s, gate_shard_t *sh)
{
    switch (gate_lock_take(&sh->lock, GATE_LOCK_WAIT_USEC)) {
    case GATE_LOCKED:
        return 1;
    case GATE_LOCKED_DIRTY:
        store_repair_locked(s, sh);
        return 1;
    default:
        return 0;
    }
}

/* For what would leave memory behind if it were not done. */
int store_lock_firmly(gate_store_t *s, gate_shard_t *sh)
{
    for (int tries = 0; tries < 10; tries++) {
        if (store_lock(s, sh)) {
            return 1;
        }
    }
    return 0;
}

void store_unlock(gate_shard_t *sh)
{
    gate_lock_release(&sh->lock);
}

uint32_t store_blob_units(const gate_store_t *s, const gate_shard_t *sh, const gate_slot_t *slot)
{
    uint32_t units = slot->more ? MORE_UNITS : 0, n = atomic_load(&slot->runs_n);

    for (uint32_t i = 0; i < n; i++) {
        const gate_run_t *run = run_at(s, sh, slot, i);
        units += run ? run->count : 0;
    }
    return units;
}

uint32_t store_slot_take_locked(gate_store_t *s, gate_shard_t *sh, uint32_t kind)
{
    uint32_t i = sh->free_slot;
    gate_slot_t *slot;
    uint64_t inc;

    if (i && i <= s->geo.slot_count) {
        sh->free_slot = slot_at(s, sh, i)->next;
    }
    else if (sh->high_slot < s->geo.slot_count) {
        i = ++sh->high_slot;
    }
    else {
        return 0;
    }
    slot = slot_at(s, sh, i);
    inc = (atomic_load(&slot->state) >> 32) + 1;
    link_set(&slot->next, 0);
    __atomic_store_n(&slot->hash, 0, __ATOMIC_RELAXED);
    memset(&slot->node, 0, sizeof slot->node);
    slot->length = 0;
    slot->stamp = 0;
    slot->more = 0;
    __atomic_store_n(&slot->kind, (uint8_t)kind, __ATOMIC_RELAXED);
    slot->seat = (uint16_t)s->seat;
    atomic_store(&slot->runs_n, 0);
    atomic_store(&slot->filled, 0);
    for (int c = 0; c < GATE_CODINGS; c++) {
        atomic_store(&slot->body[c], 0);
    }
    sh->slots_used++;
    atomic_store(&slot->state, (inc & 0xffffffff ? inc : 1) << 32 | SLOT_FILLING);
    return i;
}

static void slot_free_locked(gate_store_t *s, gate_shard_t *sh, uint32_t i)
{
    gate_slot_t *slot = slot_at(s, sh, i);
    gate_space_view_t space = space_of(s, sh);
    uint32_t n = atomic_load(&slot->runs_n);

    atomic_store(&slot->state, (atomic_load(&slot->state) & ~UINT64_C(0xff)) | SLOT_FREE);
    for (uint32_t r = 0; r < n; r++) {
        const gate_run_t *run = run_at(s, sh, slot, r);
        if (run) {
            gate_space_give(&space, *run);
        }
    }
    if (slot->more) {
        gate_space_give(&space, (gate_run_t){ slot->more - 1, MORE_UNITS });
    }
    atomic_store(&slot->runs_n, 0);
    slot->more = 0;
    link_set(&slot->next, sh->free_slot);
    sh->free_slot = i;
    sh->slots_used--;
}

/* A slot's blob is no longer needed: DEAD, and FREE at once unless somebody holds it. */
void store_bury_locked(gate_store_t *s, gate_shard_t *sh, uint32_t i)
{
    gate_slot_t *slot = slot_at(s, sh, i);
    uint64_t word = atomic_load(&slot->state);
    uint32_t shard = (uint32_t)(((unsigned char *)sh - s->base - s->shards_at) / s->shard_bytes);

    atomic_store(&slot->state, (word & ~UINT64_C(0xff)) | SLOT_DEAD);
    if (store_pinned(s, ref_make(shard, i, word))) {
        link_set(&slot->next, sh->waiting);
        sh->waiting = i;
        sh->waiting_n++;
        return;
    }
    slot_free_locked(s, sh, i);
}

void store_reap_locked(gate_store_t *s, gate_shard_t *sh, uint32_t most)
{
    uint32_t *from = &sh->waiting, i;
    uint32_t shard = (uint32_t)(((unsigned char *)sh - s->base - s->shards_at) / s->shard_bytes);

    while ((i = *from) != 0 && i <= s->geo.slot_count && most--) {
        gate_slot_t *slot = slot_at(s, sh, i);

        if (store_pinned(s, ref_make(shard, i, atomic_load(&slot->state)))) {
            from = &slot->next;
            continue;
        }
        link_set(from, slot->next);
        sh->waiting_n--;
        slot_free_locked(s, sh, i);
    }
}

void store_link_locked(gate_store_t *s, gate_shard_t *sh, uint32_t head)
{
    gate_slot_t *slot = slot_at(s, sh, head);
    uint32_t *bucket = bucket_of(s, sh, slot->hash);

    atomic_fetch_add(&sh->seq, 1);
    link_set(&slot->next, *bucket);
    __atomic_store_n(bucket, head, __ATOMIC_RELEASE);
    atomic_fetch_add(&sh->seq, 1);
}

static void unlink_locked(gate_store_t *s, gate_shard_t *sh, uint32_t head)
{
    gate_slot_t *slot = slot_at(s, sh, head);
    uint32_t *at = bucket_of(s, sh, slot->hash), steps = 0;

    atomic_fetch_add(&sh->seq, 1);
    while (*at && *at != head && *at <= s->geo.slot_count && steps++ < s->geo.slot_count) {
        at = &slot_at(s, sh, *at)->next;
    }
    if (*at == head) {
        __atomic_store_n(at, slot->next, __ATOMIC_RELEASE);
    }
    atomic_fetch_add(&sh->seq, 1);
}

/* A living head leaves with all its bodies. */
void store_kill_locked(gate_store_t *s, gate_shard_t *sh, uint32_t head)
{
    gate_slot_t *slot = slot_at(s, sh, head);
    gate_evict_view_t evict = evict_of(s, sh);

    atomic_store(&slot->state, (atomic_load(&slot->state) & ~UINT64_C(0xff)) | SLOT_DEAD);
    unlink_locked(s, sh, head);
    gate_evict_remove(&evict, head);
    sh->objects--;
    for (int c = 0; c < GATE_CODINGS; c++) {
        gate_ref_t ref = atomic_load(&slot->body[c]);
        gate_slot_t *body = ref_slot_at(s, ref);

        if (body && body->kind == BLOB_BODY && state_of(atomic_load(&body->state)) == SLOT_LIVE) {
            sh->bodies--;
            store_bury_locked(s, sh, ref_slot(ref));
        }
    }
    store_bury_locked(s, sh, head);
}

int gate_store_remove(gate_store_t *store, gate_ref_t head)
{
    gate_shard_t *sh;
    gate_slot_t *slot;
    int there;

    if (!ref_slot_at(store, head)) {
        return 0;
    }
    sh = shard_at(store, ref_shard(head));
    if (!store_lock(store, sh)) {
        return 0;
    }
    slot = ref_slot_at(store, head);
    there = slot && slot->kind == BLOB_HEAD && state_of(atomic_load(&slot->state)) == SLOT_LIVE;
    if (there) {
        store_kill_locked(store, sh, ref_slot(head));
    }
    store_unlock(sh);
    return there;
}

void gate_store_reap(gate_store_t *store)
{
    for (uint32_t i = 0; i < store->shards; i++) {
        gate_shard_t *sh = shard_at(store, i);

        if (__atomic_load_n(&sh->waiting, __ATOMIC_RELAXED) && store_lock(store, sh)) {
            store_reap_locked(store, sh, store->geo.slot_count);
            store_unlock(sh);
        }
    }
}

void gate_store_stats(const gate_store_t *store, gate_store_stats_t *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < store->shards; i++) {
        const gate_shard_t *sh = shard_at(store, i);

        out->size_bytes += (uint64_t)store->geo.unit_count * GATE_UNIT;
        out->used_bytes += (uint64_t)(store->geo.unit_count - sh->space.free_units) * GATE_UNIT
                           + (uint64_t)sh->slots_used * SLOT_BYTES;
        out->objects += sh->objects;
        out->bodies += sh->bodies;
        out->waiting += sh->waiting_n;
        out->evictions += sh->evict.evicted;
        out->repairs += sh->repairs;
    }
    for (uint32_t seat = 0; seat < store->seats; seat++) {
        const gate_ledger_t *ledger = ledger_of(store, seat);
        uint32_t high = atomic_load(&ledger->high);

        for (uint32_t p = 0; p < high && p < GATE_STORE_PINS; p++) {
            out->pins += atomic_load_explicit(&ledger->pin[p], memory_order_relaxed) != 0;
        }
    }
}
