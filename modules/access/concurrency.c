/* concurrency.c - see concurrency.h. */
#include <stdatomic.h>
#include <stdio.h>

#include "concurrency.h"

#define WAIT_USEC 2000
#define CLOSING UINT64_C(1)
#define TRIES 3

static uint32_t buckets_for(uint32_t keys)
{
    return keys / 5 + 2; /* five keys a bucket on average, see lines.c */
}

uint64_t gate_concurrency_size(uint32_t keys, uint32_t seats)
{
    return (uint64_t)buckets_for(keys) * (sizeof(gate_concurrency_bucket_t) + GATE_CONCURRENCY_KEYS * (uint64_t)seats * sizeof(uint16_t));
}

void gate_concurrency_open(gate_concurrency_t *flights, void *base, uint32_t keys, const gate_seats_t *table)
{
    flights->count = buckets_for(keys);
    flights->buckets = base;
    flights->cells = (_Atomic uint16_t *)(flights->buckets + flights->count);
    flights->seats = gate_seats_count(table);
    flights->table = table;
}

static uint64_t tag_of(uint64_t hash)
{
    return (hash & ~CLOSING) ? hash & ~CLOSING : 2;
}

static _Atomic uint16_t *cell_of(const gate_concurrency_t *flights, int64_t row, uint32_t seat)
{
    return &flights->cells[(uint64_t)row * flights->seats + seat];
}

static uint32_t sum_row(const gate_concurrency_t *flights, int64_t row)
{
    uint32_t high = gate_seats_high(flights->table), sum = 0;

    for (uint32_t seat = 0; seat < high && seat < flights->seats; seat++) {
        uint32_t n = atomic_load(cell_of(flights, row, seat));

        sum += n && gate_seat_live(flights->table, seat) ? n : 0;
    }
    return sum;
}

static uint32_t bucket_of(const gate_concurrency_t *flights, uint64_t hash)
{
    return (uint32_t)((hash >> 32) * flights->count >> 32);
}

static int64_t find(const gate_concurrency_t *flights, uint32_t bucket, uint64_t tag)
{
    for (int i = 0; i < GATE_CONCURRENCY_KEYS; i++) {
        if (atomic_load(&flights->buckets[bucket].tag[i]) == tag) {
            return (int64_t)bucket * GATE_CONCURRENCY_KEYS + i;
        }
    }
    return -1;
}

/*
 * Takes a row from a key that has nothing in flight. A child that is just beginning there adds itself and then looks at the tag;
 * here the tag is changed and then the row is summed: one of the two sees the other.
 */
static int take_row(gate_concurrency_t *flights, uint32_t bucket, int i)
{
    _Atomic uint64_t *tag = &flights->buckets[bucket].tag[i];
    uint64_t before = atomic_load(tag);
    int64_t row = (int64_t)bucket * GATE_CONCURRENCY_KEYS + i;

    if (before == 0) {
        return 1;
    }
    if (sum_row(flights, row) > 0) {
        return 0;
    }
    atomic_store(tag, before | CLOSING);
    if (sum_row(flights, row) > 0) {
        atomic_store(tag, before);
        return 0;
    }
    return 1;
}

/* A holder that died left a row between two keys: it is its old key's again. */
static void repair(gate_concurrency_bucket_t *bucket)
{
    for (int i = 0; i < GATE_CONCURRENCY_KEYS; i++) {
        uint64_t tag = atomic_load(&bucket->tag[i]);

        if (tag & CLOSING) {
            atomic_store(&bucket->tag[i], tag & ~CLOSING);
        }
    }
}

/* Brings a key in. Returns its row, or -1. */
static int64_t insert(gate_concurrency_t *flights, uint32_t bucket, uint64_t tag)
{
    gate_lock_result_e locked = gate_lock_take(&flights->buckets[bucket].lock, WAIT_USEC);
    int64_t row;

    if (locked == GATE_LOCK_TIMEOUT) {
        return -1;
    }
    if (locked == GATE_LOCKED_DIRTY) {
        repair(&flights->buckets[bucket]);
    }
    row = find(flights, bucket, tag);
    for (int i = 0; i < GATE_CONCURRENCY_KEYS && row < 0; i++) {
        if (take_row(flights, bucket, i)) {
            atomic_store(&flights->buckets[bucket].tag[i], tag);
            row = (int64_t)bucket * GATE_CONCURRENCY_KEYS + i;
        }
    }
    gate_lock_release(&flights->buckets[bucket].lock);
    return row;
}

/* Adds one to the own cell of the key's row, as long as it is the key's. Returns the row, or -1. */
static int64_t join(gate_concurrency_t *flights, int seat, uint32_t bucket, uint64_t tag)
{
    for (int i = 0; i < 16; i++) {
        int64_t row = find(flights, bucket, tag);
        _Atomic uint16_t *cell;

        if (row < 0 && (row = insert(flights, bucket, tag)) < 0) {
            return -1;
        }
        cell = cell_of(flights, row, (uint32_t)seat);
        if (atomic_fetch_add(cell, 1) == UINT16_MAX - 1) {
            atomic_fetch_sub(cell, 1);
            return -1;
        }
        if (atomic_load(&flights->buckets[bucket].tag[row % GATE_CONCURRENCY_KEYS]) == tag) {
            return row;
        }
        atomic_fetch_sub(cell, 1);
    }
    return -1;
}

int64_t gate_concurrency_begin(gate_concurrency_t *flights, int seat, uint64_t hash, uint32_t max, uint32_t *count)
{
    uint32_t bucket = bucket_of(flights, hash);

    *count = 0;
    if (seat < 0 || (uint32_t)seat >= flights->seats) {
        return GATE_CONCURRENCY_UNCOUNTED;
    }
    for (int i = 0; i < TRIES; i++) {
        int64_t row = join(flights, seat, bucket, tag_of(hash));

        if (row < 0) {
            return GATE_CONCURRENCY_UNCOUNTED;
        }
        *count = sum_row(flights, row);
        if (*count <= max) {
            return row;
        }
        atomic_fetch_sub(cell_of(flights, row, (uint32_t)seat), 1);
        (*count)--;
        if (*count > max + 2) {
            break; /* not a matter of an instant */
        }
    }
    return GATE_CONCURRENCY_REFUSED;
}

void gate_concurrency_end(gate_concurrency_t *flights, int seat, int64_t row)
{
    if (row >= 0 && seat >= 0) {
        atomic_fetch_sub(cell_of(flights, row, (uint32_t)seat), 1);
    }
}

uint32_t gate_concurrency_count(const gate_concurrency_t *flights, uint64_t hash)
{
    int64_t row = find(flights, bucket_of(flights, hash), tag_of(hash));

    return row < 0 ? 0 : sum_row(flights, row);
}

uint64_t gate_concurrency_total(const gate_concurrency_t *flights)
{
    uint64_t total = 0;

    for (int64_t row = 0; row < (int64_t)flights->count * GATE_CONCURRENCY_KEYS; row++) {
        total += sum_row(flights, row);
    }
    return total;
}

void gate_concurrency_sweep(int seat, void *flights_)
{
    gate_concurrency_t *flights = flights_;

    for (int64_t row = 0; row < (int64_t)flights->count * GATE_CONCURRENCY_KEYS && (uint32_t)seat < flights->seats; row++) {
        if (atomic_load(cell_of(flights, row, (uint32_t)seat))) {
            atomic_store(cell_of(flights, row, (uint32_t)seat), 0);
        }
    }
}

int gate_concurrency_validate(const gate_concurrency_t *flights, char *why, size_t why_size)
{
    for (uint32_t bucket = 0; bucket < flights->count; bucket++) {
        for (int i = 0; i < GATE_CONCURRENCY_KEYS; i++) {
            uint64_t tag = atomic_load(&flights->buckets[bucket].tag[i]);
            int64_t row = (int64_t)bucket * GATE_CONCURRENCY_KEYS + i;

            if (tag && !(tag & CLOSING) && find(flights, bucket, tag) != row) {
                snprintf(why, why_size, "flights: a key has two rows in bucket %u", bucket);
                return 1;
            }
            if (!tag && sum_row(flights, row) > 0) {
                snprintf(why, why_size, "flights: something is in flight for nobody in bucket %u", bucket);
                return 1;
            }
        }
    }
    return 0;
}
