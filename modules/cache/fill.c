/* fill.c - see fill.h */
#include "fill.h"

#include <stdatomic.h>
#include <stddef.h>

#include "purge.h"

#define STRIPE_PLACES (GATE_FLIGHTS / GATE_FLIGHT_STRIPES)
#define PASS_MASK UINT64_C(0xffffff)

static gate_fill_table_t *table_of(const gate_store_t *store)
{
    return gate_store_table(store, GATE_TABLE_FILL, NULL);
}

static uint32_t phase_of(uint32_t word)
{
    return word & 0xff;
}

static int under_way(uint32_t word)
{
    return phase_of(word) == GATE_FLIGHT_ASKED || phase_of(word) == GATE_FLIGHT_FLOWING;
}

/* ---- hit for miss -------------------------------------------------------------------------------------------------------- */

static _Atomic uint64_t *pass_place(const gate_store_t *store, uint64_t hash)
{
    return &table_of(store)->passed[hash % GATE_PASSED];
}

static uint64_t second_of(int64_t usec)
{
    return (uint64_t)(usec / 1000000) & PASS_MASK;
}

void gate_pass_note(gate_store_t *store, uint64_t hash, int64_t now_usec)
{
    atomic_store(pass_place(store, hash), (hash & ~PASS_MASK) | ((second_of(now_usec) + GATE_PASS_SECONDS) & PASS_MASK));
}

void gate_pass_forget(gate_store_t *store, uint64_t hash)
{
    uint64_t word = atomic_load(pass_place(store, hash));

    if (word && (word & ~PASS_MASK) == (hash & ~PASS_MASK)) {
        atomic_compare_exchange_strong(pass_place(store, hash), &word, 0);
    }
}

int gate_passed(const gate_store_t *store, uint64_t hash, int64_t now_usec)
{
    uint64_t word = atomic_load_explicit(pass_place(store, hash), memory_order_relaxed);
    uint64_t left = ((word & PASS_MASK) - second_of(now_usec)) & PASS_MASK;

    return word && (word & ~PASS_MASK) == (hash & ~PASS_MASK) && left && left <= GATE_PASS_SECONDS;
}

/* ---- flights -------------------------------------------------------------------------------------------------------------- */

static gate_flight_t *flight_at(const gate_store_t *store, const gate_seat_on_t *on)
{
    return on->place && on->place <= GATE_FLIGHTS ? &table_of(store)->flight[on->place - 1] : NULL;
}

static void begin(gate_store_t *store, gate_flight_t *f, const gate_wish_t *wish, int64_t deadline, gate_seat_on_t *out)
{
    uint32_t serial = (atomic_load(&f->word) >> 8) + 1;

    atomic_store(&f->followers, 0);
    atomic_store(&f->hash, wish->hash);
    atomic_store(&f->head, 0);
    atomic_store(&f->deadline_usec, deadline);
    f->purge_seq = wish->purge_seq;
    f->seat = (uint16_t)gate_store_seat(store);
    atomic_store(&f->word, serial << 8 | GATE_FLIGHT_ASKED);
    out->serial = serial & 0xffffff;
    out->leader = 1;
}

/* Is what this flight will bring still wanted by who asks now? */
static int may_follow(const gate_store_t *store, const gate_flight_t *f, const gate_wish_t *wish, int64_t now_usec)
{
    gate_purge_query_t query = { f->purge_seq, wish->url_hash, wish->url, NULL, 0, 1 };

    return atomic_load(&f->hash) == wish->hash && now_usec < atomic_load(&f->deadline_usec)
           && (f->purge_seq >= wish->purge_seq || gate_purge_check(store, &query) == GATE_PURGE_NONE);
}

static uint32_t stripe_of(uint64_t hash)
{
    return (uint32_t)(hash >> 16) % GATE_FLIGHT_STRIPES;
}

int gate_flight_under_way(const gate_store_t *store, uint64_t hash, int64_t now_usec)
{
    const gate_flight_t *f = table_of(store)->flight + stripe_of(hash) * STRIPE_PLACES;

    for (uint32_t i = 0; i < STRIPE_PLACES; i++, f++) {
        if (atomic_load_explicit(&f->hash, memory_order_relaxed) == hash && under_way(atomic_load(&f->word))
            && now_usec < atomic_load(&f->deadline_usec)) {
            return 1;
        }
    }
    return 0;
}

gate_join_e gate_flight_join(gate_store_t *store, const gate_wish_t *wish, int64_t now_usec, int64_t wait_usec,
                             gate_seat_on_t *out)
{
    gate_fill_table_t *t = table_of(store);
    uint32_t stripe = stripe_of(wish->hash), place = stripe * STRIPE_PLACES, free_place = 0;
    gate_join_e how = GATE_ALONE;

    out->place = 0;
    out->leader = 0;
    if (gate_store_seat(store) < 0 || gate_passed(store, wish->hash, now_usec)) {
        return GATE_ALONE;
    }
    if (gate_lock_take(&t->lock[stripe], GATE_LOCK_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return GATE_JOIN_BUSY;
    }
    for (uint32_t i = place; i < place + STRIPE_PLACES; i++) {
        gate_flight_t *f = &t->flight[i];
        uint32_t word = atomic_load(&f->word);

        if (!under_way(word)) {
            free_place = free_place ? free_place : i + 1;
        }
        else if (may_follow(store, f, wish, now_usec)) {
            atomic_fetch_add(&f->followers, 1);
            out->place = i + 1;
            out->serial = word >> 8;
            how = GATE_FOLLOW;
            break;
        }
    }
    if (how == GATE_ALONE && free_place) {
        out->place = free_place;
        begin(store, &t->flight[free_place - 1], wish, now_usec + wait_usec, out);
        how = GATE_LEAD;
    }
    gate_lock_release(&t->lock[stripe]);
    return how;
}

gate_flight_e gate_flight_phase(const gate_store_t *store, const gate_seat_on_t *on)
{
    gate_flight_t *f = flight_at(store, on);
    uint32_t word = f ? atomic_load(&f->word) : 0;

    return f && word >> 8 == on->serial ? (gate_flight_e)phase_of(word) : GATE_FLIGHT_OVER;
}

_Atomic uint32_t *gate_flight_wait(const gate_store_t *store, const gate_seat_on_t *on, uint32_t *value)
{
    gate_flight_t *f = flight_at(store, on);

    *value = f ? atomic_load(&f->word) : 0;
    return f && *value >> 8 == on->serial && under_way(*value) ? &f->word : NULL;
}

gate_ref_t gate_flight_head(const gate_store_t *store, const gate_seat_on_t *on, int64_t now_usec)
{
    gate_flight_t *f = flight_at(store, on);
    gate_ref_t head = f ? atomic_load(&f->head) : 0;
    int stuck = f && now_usec - atomic_load(&f->progress_usec) > GATE_FLOW_STALL_USEC;

    return !stuck && gate_flight_phase(store, on) == GATE_FLIGHT_FLOWING ? head : 0;
}

static int leads(const gate_flight_t *f, const gate_seat_on_t *on)
{
    return f && on->leader && atomic_load(&f->word) >> 8 == on->serial;
}

uint32_t gate_flight_progress(gate_store_t *store, const gate_seat_on_t *on, int64_t now_usec)
{
    gate_flight_t *f = flight_at(store, on);

    if (!leads(f, on)) {
        return 0;
    }
    atomic_store(&f->progress_usec, now_usec);
    return atomic_load(&f->followers);
}

uint32_t gate_flight_followers(const gate_store_t *store, const gate_seat_on_t *on)
{
    const gate_flight_t *f = flight_at(store, on);

    return leads(f, on) ? atomic_load(&f->followers) : 0;
}

int gate_flight_flow(gate_store_t *store, const gate_seat_on_t *on, gate_ref_t head, int64_t now_usec)
{
    gate_flight_t *f = flight_at(store, on);

    if (!leads(f, on)) {
        return 0;
    }
    atomic_store(&f->head, head);
    atomic_store(&f->progress_usec, now_usec);
    atomic_store(&f->word, on->serial << 8 | GATE_FLIGHT_FLOWING);
    return atomic_load(&f->followers) != 0;
}

_Atomic uint32_t *gate_flight_end(gate_store_t *store, gate_seat_on_t *on, gate_flight_e how)
{
    gate_flight_t *f = flight_at(store, on);
    int ours = leads(f, on), waited = ours && atomic_load(&f->followers);

    on->place = 0;
    if (ours) {
        atomic_store(&f->word, on->serial << 8 | (uint32_t)how);
    }
    return waited ? &f->word : NULL;
}

void gate_flight_leave(gate_store_t *store, gate_seat_on_t *on)
{
    gate_flight_t *f = flight_at(store, on);

    if (f && !on->leader && atomic_load(&f->word) >> 8 == on->serial && atomic_load(&f->followers)) {
        atomic_fetch_sub(&f->followers, 1);
    }
    on->place = 0;
}

void gate_flight_give_up(gate_store_t *store, const gate_seat_on_t *on)
{
    gate_flight_t *f = flight_at(store, on);

    if (f && atomic_load(&f->word) >> 8 == on->serial) {
        atomic_store(&f->deadline_usec, 0);
    }
}

void gate_fill_sweep(gate_store_t *store, int seat, void (*wake)(_Atomic uint32_t *word))
{
    gate_fill_table_t *t = table_of(store);

    for (uint32_t i = 0; i < GATE_FLIGHTS; i++) {
        gate_flight_t *f = &t->flight[i];
        uint32_t word = atomic_load(&f->word);

        if (f->seat == (uint16_t)seat && under_way(word)
            && atomic_compare_exchange_strong(&f->word, &word, (word & ~0xffu) | GATE_FLIGHT_LOST)) {
            wake(&f->word);
        }
    }
}

uint32_t gate_flights(const gate_store_t *store)
{
    const gate_fill_table_t *t = table_of(store);
    uint32_t n = 0;

    for (uint32_t i = 0; i < GATE_FLIGHTS; i++) {
        n += (uint32_t)under_way(atomic_load_explicit(&t->flight[i].word, memory_order_relaxed));
    }
    return n;
}
