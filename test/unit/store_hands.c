/* store_hands.c - see store_hands.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "store_hands.h"

#define URLS 400

store_world_t hands_world;
tally_t *hands_tally;

uint32_t hands_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

static int find(gate_store_t *s, apr_pool_t *p, uint32_t url, gate_pin_t *pin)
{
    gate_key_t key = store_key(s, p, url);

    return gate_store_find(s, key.hash, store_rank_key, &key, pin);
}

/* A new head with the same bytes in it, as a 304 makes one. */
static void rehead(gate_store_t *s, apr_pool_t *p, uint32_t url)
{
    gate_pin_t pin;
    const void *bytes;
    gate_ref_t ref;
    uint64_t len;

    if (find(s, p, url, &pin)) {
        len = gate_store_piece(s, pin.ref, 0, &bytes);
        if (gate_store_rehead(s, pin.ref, apr_pmemdup(p, bytes, len), len, store_never, NULL, &ref) == GATE_STORE_OK) {
            atomic_fetch_add(&hands_tally->heads, 1);
        }
        gate_store_unpin(s, &pin);
    }
}

static void add_coding(gate_store_t *s, apr_pool_t *p, uint32_t url)
{
    gate_head_view_t view;
    gate_pin_t pin;
    const void *bytes;
    unsigned char body[3000];
    uint64_t len;

    if (!find(s, p, url, &pin)) {
        return;
    }
    len = gate_store_piece(s, pin.ref, 0, &bytes);
    if (gate_head_read(bytes, len, &view)) {
        uint32_t version = (uint32_t)atoi(view.fields + strlen("X-Version") + 1);

        for (size_t i = 0; i < sizeof body; i++) {
            body[i] = store_byte(url + 1000000, version, i);
        }
        if (gate_store_add_body(s, pin.ref, GATE_CODING_BR, body, sizeof body) == GATE_STORE_OK) {
            atomic_fetch_add(&hands_tally->codings, 1);
        }
    }
    gate_store_unpin(s, &pin);
}

static void one_round(gate_store_t *s, apr_pool_t *p, uint32_t *seed)
{
    uint32_t what = hands_random(seed) % 100, url = hands_random(seed) % URLS, size = hands_random(seed);

    if (what < 60) {
        int right = store_check(s, p, url, NULL);

        atomic_fetch_add(&hands_tally->reads, right == 1);
        atomic_fetch_add(&hands_tally->wrong, right < 0);
    }
    else if (what < 85) {
        store_put(s, p, url, size % 1000, size % 7 ? size % 6000 : size % 100000, (int)(size >> 20 & 1));
        atomic_fetch_add(&hands_tally->writes, 1);
    }
    else if (what < 92) {
        rehead(s, p, url);
    }
    else if (what < 98) {
        add_coding(s, p, url);
    }
    else if (what < 99) {
        gate_purge(s, GATE_PURGE_URL, store_key(s, p, url).url, 0);
    }
    else {
        gate_purge(s, GATE_PURGE_PREFIX, "http://example.com:80/object/39", 0);
    }
    atomic_fetch_add(&hands_tally->rounds, 1);
}

void hands_work(int seat, uint32_t seed, uint32_t rounds)
{
    apr_pool_t *pool, *scratch;
    gate_store_t *s;

    apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    apr_pool_create_unmanaged_ex(&scratch, NULL, NULL);
    s = store_world_handle(&hands_world, pool, seat);
    while (rounds--) {
        one_round(s, scratch, &seed);
        apr_pool_clear(scratch);
    }
    apr_pool_destroy(scratch);
    apr_pool_destroy(pool);
}

int hands_setup(void **state, uint32_t seats)
{
    (void)state;
    store_world_make(&hands_world, 5 << 20, 256 << 10, seats);
    hands_tally = mmap(NULL, sizeof *hands_tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return 0;
}

int hands_teardown(void **state)
{
    (void)state;
    munmap(hands_tally, sizeof *hands_tally);
    store_world_end(&hands_world);
    return 0;
}

void hands_assert_nothing_lost(void)
{
    gate_store_stats_t stats;

    assert_int_equal(store_faults(&hands_world), 0);
    gate_store_reap(hands_world.store);
    gate_store_stats(hands_world.store, &stats);
    assert_int_equal(stats.pins, 0);
    assert_int_equal(stats.waiting, 0);
    gate_purge(hands_world.store, GATE_PURGE_ALL, "", 0);
    assert_int_equal(store_used(&hands_world), 0);
    assert_int_equal(store_faults(&hands_world), 0);
}
