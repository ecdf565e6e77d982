/* evict.c - S3-FIFO; see evict.h */
#include "evict.h"

#include <string.h>

#define GHOST_SHIFT 4 /* the ghost's clock is kept in steps of 16 units: 32 bits then reach far beyond any cache */

void gate_evict_init(gate_evict_t *policy, uint64_t capacity_units)
{
    memset(policy, 0, sizeof *policy);
    policy->capacity_units = capacity_units;
    policy->small_units = capacity_units / 10 ? capacity_units / 10 : 1;
}

static gate_evict_queue_t *queue_of(const gate_evict_view_t *v, unsigned queue)
{
    return queue == GATE_QUEUE_SMALL ? &v->policy->small : queue == GATE_QUEUE_MAIN ? &v->policy->main : NULL;
}

static uint8_t freq_of(const gate_evict_node_t *node)
{
    return __atomic_load_n((const uint8_t *)&node->freq, __ATOMIC_RELAXED);
}

static void set_freq(gate_evict_node_t *node, uint8_t freq)
{
    __atomic_store_n((uint8_t *)&node->freq, freq, __ATOMIC_RELAXED);
}

void gate_evict_insert(const gate_evict_view_t *v, uint32_t i, gate_queue_e queue, uint32_t units)
{
    gate_evict_queue_t *q = queue_of(v, queue);
    gate_evict_node_t *node = gate_evict_node(v, i);

    node->prev = 0;
    node->next = q->newest;
    node->units = units;
    node->queue = (uint8_t)queue;
    if (q->newest) {
        gate_evict_node(v, q->newest)->prev = i;
    }
    else {
        q->oldest = i;
    }
    q->newest = i;
    q->count++;
    q->units += units;
}

void gate_evict_remove(const gate_evict_view_t *v, uint32_t i)
{
    gate_evict_node_t *node = gate_evict_node(v, i);
    gate_evict_queue_t *q = queue_of(v, node->queue);

    if (!q) {
        return;
    }
    if (node->prev) {
        gate_evict_node(v, node->prev)->next = node->next;
    }
    else {
        q->newest = node->next;
    }
    if (node->next) {
        gate_evict_node(v, node->next)->prev = node->prev;
    }
    else {
        q->oldest = node->prev;
    }
    q->count--;
    q->units -= node->units;
    node->prev = node->next = 0;
    node->queue = GATE_QUEUE_NONE;
}

void gate_evict_resize(const gate_evict_view_t *v, uint32_t i, int64_t delta_units)
{
    gate_evict_node_t *node = gate_evict_node(v, i);
    gate_evict_queue_t *q = queue_of(v, node->queue);

    node->units = (uint32_t)((int64_t)node->units + delta_units);
    if (q) {
        q->units = (uint64_t)((int64_t)q->units + delta_units);
    }
}

/* ---- ghost ---------------------------------------------------------------------------------------------------------- */

static uint32_t fingerprint(uint64_t hash)
{
    uint32_t f = (uint32_t)(hash >> 32);
    return f ? f : 1;
}

static gate_ghost_t *ghost_set(const gate_evict_view_t *v, uint64_t hash)
{
    return v->ghost + ((uint32_t)hash & (v->ghost_size - 1) & ~(uint32_t)(GATE_GHOST_WAYS - 1));
}

static uint32_t ghost_age(const gate_evict_view_t *v, const gate_ghost_t *g)
{
    return (uint32_t)(v->policy->ghost_clock >> GHOST_SHIFT) - g->clock;
}

static void ghost_add(const gate_evict_view_t *v, uint64_t hash, uint32_t units)
{
    gate_ghost_t *set = ghost_set(v, hash), *place = set;

    for (int w = 0; w < GATE_GHOST_WAYS; w++) {
        if (!set[w].fingerprint || set[w].fingerprint == fingerprint(hash)) {
            place = set + w;
            break;
        }
        if (ghost_age(v, set + w) > ghost_age(v, place)) {
            place = set + w;
        }
    }
    v->policy->ghost_clock += units;
    place->fingerprint = fingerprint(hash);
    place->clock = (uint32_t)(v->policy->ghost_clock >> GHOST_SHIFT);
}

static int ghost_take(const gate_evict_view_t *v, uint64_t hash)
{
    gate_ghost_t *set = ghost_set(v, hash);
    uint64_t reach = v->policy->capacity_units - v->policy->small_units;

    for (int w = 0; w < GATE_GHOST_WAYS; w++) {
        if (set[w].fingerprint == fingerprint(hash)) {
            int known = ((uint64_t)ghost_age(v, set + w) << GHOST_SHIFT) <= reach;
            set[w].fingerprint = 0;
            return known;
        }
    }
    return 0;
}

/* ---- policy --------------------------------------------------------------------------------------------------------- */

gate_queue_e gate_evict_admit(const gate_evict_view_t *v, uint64_t hash, uint64_t units, uint64_t free_units)
{
    int known = ghost_take(v, hash);

    if (known) {
        return GATE_QUEUE_MAIN;
    }
    if (units <= v->policy->small_units || units <= free_units) {
        return GATE_QUEUE_SMALL;
    }
    /* too big to try out: remember that it was asked for */
    ghost_add(v, hash, 0);
    return GATE_QUEUE_NONE;
}

/* From small's end: those seen more than once since they came move to main, the first other one leaves. */
static uint32_t victim_of_small(const gate_evict_view_t *v, uint64_t (*hash_of)(const void *, uint32_t), const void *ctx)
{
    uint32_t i;

    while ((i = v->policy->small.oldest) != 0) {
        gate_evict_node_t *node = gate_evict_node(v, i);
        uint32_t units = node->units;

        gate_evict_remove(v, i);
        if (freq_of(node) <= 1) {
            ghost_add(v, hash_of(ctx, i), units);
            return i;
        }
        set_freq(node, 0);
        gate_evict_insert(v, i, GATE_QUEUE_MAIN, units);
    }
    return 0;
}

/* From main's end: who was used goes round once more with one less. Ends after 4 rounds at the latest. */
static uint32_t victim_of_main(const gate_evict_view_t *v)
{
    uint64_t turns = 4 * (uint64_t)v->policy->main.count + 1;
    uint32_t i;

    while ((i = v->policy->main.oldest) != 0) {
        gate_evict_node_t *node = gate_evict_node(v, i);
        uint8_t freq = freq_of(node);
        uint32_t units = node->units;

        gate_evict_remove(v, i);
        if (!freq || !--turns) {
            return i;
        }
        set_freq(node, (uint8_t)(freq - 1));
        gate_evict_insert(v, i, GATE_QUEUE_MAIN, units);
    }
    return 0;
}

uint32_t gate_evict_victim(const gate_evict_view_t *v, uint64_t (*hash_of)(const void *ctx, uint32_t i), const void *ctx)
{
    uint32_t i = 0;

    if (v->policy->small.units > v->policy->small_units || !v->policy->main.count) {
        i = victim_of_small(v, hash_of, ctx);
    }
    if (!i) {
        i = victim_of_main(v);
    }
    if (!i) {
        i = victim_of_small(v, hash_of, ctx);
    }
    if (i) {
        v->policy->evicted++;
    }
    return i;
}
