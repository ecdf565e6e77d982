/*
 * test_store.c - the object store: what goes in comes out, memory is accounted to the byte, pins hold, purges win.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <apr_strings.h>

#include "fill.h"
#include "store_world.h"

static store_world_t w;

static int setup(void **state)
{
    (void)state;
    store_world_make(&w, 4 << 20, 256 << 10, 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(store_faults(&w), 0);
    store_world_end(&w);
    return 0;
}

static void test_round_trip_of_every_size(void **state)
{
    static const uint64_t sizes[] = { 0, 1, 255, 256, 257, 1024, 4095, 16384, 16385, 100000, 262144 };
    uint64_t len;

    (void)state;
    for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int announced = 0; announced < 2; announced++) {
            assert_int_equal(store_put(w.store, w.pool, i, 7, sizes[i], announced), GATE_STORE_OK);
            assert_int_equal(store_check(w.store, w.pool, i, &len), 1);
            assert_int_equal(len, sizes[i]);
        }
    }
    assert_int_equal(store_check(w.store, w.pool, 999, NULL), 0);
}

static void test_a_new_version_replaces_the_old(void **state)
{
    gate_store_stats_t stats;

    (void)state;
    for (uint32_t version = 0; version < 50; version++) {
        assert_int_equal(store_put(w.store, w.pool, 1, version, 5000, 1), GATE_STORE_OK);
        assert_int_equal(store_check(w.store, w.pool, 1, NULL), 1);
    }
    gate_store_stats(w.store, &stats);
    assert_int_equal(stats.objects, 1);
    assert_int_equal(stats.bodies, 1);
}

static void test_trap_52_memory_counts_keys_headers_and_variants(void **state)
{
    gate_key_t key = store_key(w.store, w.pool, 1);
    uint64_t before = store_used(&w), after;
    gate_pin_t pin;

    (void)state;
    assert_int_equal(before, 0);
    assert_int_equal(store_put(w.store, w.pool, 1, 1, 1000, 1), GATE_STORE_OK);
    after = store_used(&w);
    /* two slots, four units of body, the head with its key and fields */
    assert_true(after >= 2 * 128 + 1024 + 256 && after <= 2 * 128 + 1024 + 512);
    assert_true(gate_store_find(w.store, key.hash, store_rank_key, &key, &pin));
    assert_int_equal(gate_store_add_body(w.store, pin.ref, GATE_CODING_BR, "12345678", 8), GATE_STORE_OK);
    assert_int_equal(store_used(&w), after + 128 + 256);
    assert_true(gate_store_remove(w.store, pin.ref));
    assert_int_equal(store_used(&w), 128 + after - 128 - 128 - 1024);
    gate_store_unpin(w.store, &pin);
    assert_int_equal(store_used(&w), 0);
}

static void test_trap_52_a_body_beyond_the_limit_is_dropped(void **state)
{
    (void)state;
    assert_int_equal(store_put(w.store, w.pool, 1, 1, (256 << 10) + 1, 1), GATE_STORE_TOO_BIG);
    assert_int_equal(store_put(w.store, w.pool, 1, 1, (256 << 10) + 1, 0), GATE_STORE_TOO_BIG);
    assert_int_equal(store_used(&w), 0);
}

static void test_a_short_body_is_never_whole(void **state)
{
    gate_key_t key = store_key(w.store, w.pool, 1);
    gate_fill_t fill;

    (void)state;
    assert_int_equal(gate_store_begin(w.store, key.hash, 1000, &fill), GATE_STORE_OK);
    assert_int_equal(gate_store_set_head(w.store, &fill, "x", 1), GATE_STORE_OK);
    assert_int_equal(gate_store_append(w.store, &fill, "abc", 3), GATE_STORE_OK);
    assert_int_equal(gate_store_commit(w.store, &fill, store_same_key, store_never, &key), GATE_STORE_GONE);
    assert_int_equal(store_check(w.store, w.pool, 1, NULL), 0);
    assert_int_equal(store_used(&w), 0);
}

static void test_trap_51_a_pin_holds_what_was_removed(void **state)
{
    gate_key_t key = store_key(w.store, w.pool, 1);
    gate_pin_t head, body;
    gate_store_stats_t stats;

    (void)state;
    assert_int_equal(store_put(w.store, w.pool, 1, 1, 100000, 1), GATE_STORE_OK);
    assert_true(gate_store_find(w.store, key.hash, store_rank_key, &key, &head));
    assert_true(gate_store_pin(w.store, gate_store_body(w.store, head.ref, GATE_CODING_IDENTITY), &body));
    assert_int_equal(gate_purge(w.store, GATE_PURGE_ALL, "", 0), 1);
    assert_int_equal(store_check(w.store, w.pool, 1, NULL), 0);
    /* fill everything: what is held must not be written over */
    for (uint32_t i = 100; i < 600; i++) {
        store_put(w.store, w.pool, i, 1, 20000, 1);
    }
    for (uint64_t at = 0, n; at < 100000; at += n) {
        const void *data;

        n = gate_store_piece(w.store, body.ref, at, &data);
        assert_true(n > 0);
        for (uint64_t i = 0; i < n; i++) {
            assert_int_equal(((const unsigned char *)data)[i], store_byte(1, 1, at + i));
        }
    }
    assert_int_equal(store_faults(&w), 0);
    gate_store_unpin(w.store, &body);
    gate_store_unpin(w.store, &head);
    gate_store_reap(w.store);
    gate_store_stats(w.store, &stats);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.pins, 0);
}

static void test_trap_51_a_dead_readers_pins_are_swept(void **state)
{
    gate_store_t *other = store_world_handle(&w, w.pool, 2);
    gate_key_t key = store_key(w.store, w.pool, 1);
    gate_pin_t pin;

    (void)state;
    assert_int_equal(store_put(w.store, w.pool, 1, 1, 1000, 1), GATE_STORE_OK);
    assert_true(gate_store_find(other, key.hash, store_rank_key, &key, &pin));
    assert_true(gate_store_remove(w.store, pin.ref));
    assert_true(store_used(&w) > 0);
    gate_store_sweep(2, w.store);
    gate_store_sweep(2, w.store);
    assert_int_equal(store_used(&w), 0);
}

static void test_a_dead_writers_fill_is_swept(void **state)
{
    gate_store_t *other = store_world_handle(&w, w.pool, 2);
    gate_key_t key = store_key(w.store, w.pool, 1);
    gate_fill_t fill;
    gate_pin_t pin;
    uint64_t filled;

    (void)state;
    assert_int_equal(gate_store_begin(other, key.hash, 1000, &fill), GATE_STORE_OK);
    assert_int_equal(gate_store_append(other, &fill, "abc", 3), GATE_STORE_OK);
    assert_true(gate_store_pin(w.store, fill.body, &pin));
    assert_int_equal(gate_store_progress(w.store, pin.ref, &filled), GATE_BLOB_FILLING);
    gate_store_sweep(2, w.store);
    assert_int_equal(gate_store_progress(w.store, pin.ref, &filled), GATE_BLOB_BROKEN);
    assert_int_equal(filled, 3);
    assert_int_equal(gate_store_append(other, &fill, "def", 3), GATE_STORE_GONE);
    gate_store_unpin(w.store, &pin);
    assert_int_equal(store_used(&w), 0);
}

static void test_full_memory_makes_room(void **state)
{
    gate_store_stats_t stats;
    uint32_t found = 0;

    (void)state;
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(store_put(w.store, w.pool, i, 1, 3000 + i % 5000, (int)(i & 1)), GATE_STORE_OK);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        int rc = store_check(w.store, w.pool, i, NULL);

        assert_true(rc >= 0);
        found += (uint32_t)rc;
    }
    gate_store_stats(w.store, &stats);
    assert_int_equal(found, stats.objects);
    assert_true(stats.evictions > 0 && found > 300);
    assert_true(stats.used_bytes <= stats.size_bytes + stats.objects * 256);
}

static void test_a_304_keeps_the_bodies_and_changes_the_head(void **state)
{
    gate_key_t key = store_key(w.store, w.pool, 1);
    apr_table_t *fields = apr_table_make(w.pool, 1);
    gate_freshness_t fresh = { .lifetime = 99 };
    gate_head_parts_t parts = { .key = &key, .status = 200, .fresh = &fresh, .body_len = 5000, .fields = fields };
    gate_pin_t old, now;
    gate_ref_t ref;
    size_t len;
    void *head;

    (void)state;
    assert_int_equal(store_put(w.store, w.pool, 1, 3, 5000, 1), GATE_STORE_OK);
    assert_true(gate_store_find(w.store, key.hash, store_rank_key, &key, &old));
    apr_table_setn(fields, "X-Version", "3");
    apr_table_setn(fields, "X-New", "yes");
    head = gate_head_build(w.pool, &parts, &len);
    assert_int_equal(gate_store_rehead(w.store, old.ref, head, len, store_never, NULL, &ref), GATE_STORE_OK);
    assert_int_not_equal(ref, old.ref);
    assert_true(gate_store_find(w.store, key.hash, store_rank_key, &key, &now));
    assert_int_equal(now.ref, ref);
    assert_int_equal(store_check(w.store, w.pool, 1, NULL), 1);
    assert_int_equal(gate_store_rehead(w.store, old.ref, head, len, store_never, NULL, &ref), GATE_STORE_GONE);
    gate_store_unpin(w.store, &old);
    gate_store_unpin(w.store, &now);
}

static int veto_purged(void *ctx)
{
    return gate_purge_check(w.store, ctx) == GATE_PURGE_HARD;
}

static void test_trap_50_a_fetch_from_before_a_purge_does_not_land(void **state)
{
    static const struct {
        gate_purge_e kind;
        const char *text;
        int lands;
    } cases[] = { { GATE_PURGE_URL, "http://example.com:80/object/1", 0 },
                  { GATE_PURGE_URL, "http://example.com:80/object/2", 1 },
                  { GATE_PURGE_PREFIX, "http://example.com:80/obj", 0 },
                  { GATE_PURGE_PREFIX, "http://example.com:80/other", 1 },
                  { GATE_PURGE_TAG, "blue", 0 },
                  { GATE_PURGE_TAG, "red", 1 },
                  { GATE_PURGE_ALL, "", 0 } };
    gate_key_t key = store_key(w.store, w.pool, 1);
    uint64_t tags[GATE_TAGS_MAX];
    uint32_t tags_n = gate_head_tags(w.store, "green, blue", tags, 0);

    (void)state;
    assert_int_equal(tags_n, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gate_purge_query_t query = { gate_purge_now(w.store), key.hash, key.url, tags, tags_n, 0 };

        assert_int_equal(gate_purge_check(w.store, &query), GATE_PURGE_NONE);
        gate_purge(w.store, cases[i].kind, cases[i].text, 0);
        assert_int_equal(veto_purged(&query), !cases[i].lands);
        query.since = gate_purge_now(w.store);
        gate_purge(w.store, cases[i].kind, cases[i].text, 1);
        assert_int_equal(gate_purge_check(w.store, &query), cases[i].lands ? GATE_PURGE_NONE : GATE_PURGE_SOFT);
    }
    /* more purges than the log holds: nothing from before lands */
    gate_purge_query_t old = { gate_purge_now(w.store), key.hash, key.url, NULL, 0, 0 };
    for (int i = 0; i < GATE_PURGE_LOG; i++) {
        gate_purge(w.store, GATE_PURGE_URL, "http://elsewhere:80/", 0);
    }
    assert_int_equal(gate_purge_check(w.store, &old), GATE_PURGE_HARD);
}

static void test_purges_hit_what_they_name(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(store_put(w.store, w.pool, i, 1, 100, 1), GATE_STORE_OK);
    }
    assert_int_equal(gate_purge(w.store, GATE_PURGE_URL, "http://example.com:80/object/7", 0), 1);
    assert_int_equal(gate_purge(w.store, GATE_PURGE_URL, "http://example.com:80/object/7", 0), 0);
    assert_int_equal(gate_purge(w.store, GATE_PURGE_PREFIX, "http://example.com:80/object/3", 0), 11);
    assert_int_equal(store_check(w.store, w.pool, 7, NULL), 0);
    assert_int_equal(store_check(w.store, w.pool, 35, NULL), 0);
    assert_int_equal(store_check(w.store, w.pool, 8, NULL), 1);
    assert_int_equal(gate_purge(w.store, GATE_PURGE_ALL, NULL, 1), 28);
    assert_int_equal(store_check(w.store, w.pool, 8, NULL), 1);
    assert_int_equal(gate_purge(w.store, GATE_PURGE_ALL, NULL, 0), 28);
    assert_int_equal(store_used(&w), 0);
}

static void test_trap_40_variants_of_one_url_are_capped(void **state)
{
    gate_store_stats_t stats;

    (void)state;
    for (uint32_t i = 0; i < 3 * GATE_STORE_URL_MAX; i++) {
        gate_key_t key = store_key(w.store, w.pool, 1), other = key;
        gate_freshness_t fresh = { .lifetime = 60 };
        gate_head_parts_t parts = { .key = &key, .status = 200, .fresh = &fresh, .fields = apr_table_make(w.pool, 1) };
        gate_fill_t fill;
        size_t len;
        void *head;

        key.route = apr_psprintf(w.pool, "variant %u", i);
        key.route_len = strlen(key.route);
        other.route = key.route;
        other.route_len = key.route_len;
        head = gate_head_build(w.pool, &parts, &len);
        assert_int_equal(gate_store_begin(w.store, key.hash, 0, &fill), GATE_STORE_OK);
        assert_int_equal(gate_store_set_head(w.store, &fill, head, len), GATE_STORE_OK);
        assert_int_equal(gate_store_commit(w.store, &fill, store_same_key, store_never, &other), GATE_STORE_OK);
    }
    gate_store_stats(w.store, &stats);
    assert_int_equal(stats.objects, GATE_STORE_URL_MAX);
}

static void test_trap_39_the_key_is_compared_not_its_hash(void **state)
{
    gate_key_t key = store_key(w.store, w.pool, 1), liar;
    gate_pin_t pin;

    (void)state;
    assert_int_equal(store_put(w.store, w.pool, 1, 1, 100, 1), GATE_STORE_OK);
    liar = key;
    liar.url = apr_pstrdup(w.pool, "http://example.com:80/object/2"); /* same hash, another URL */
    assert_false(gate_store_find(w.store, liar.hash, store_rank_key, &liar, &pin));
    liar = key;
    liar.route = "other";
    assert_false(gate_store_find(w.store, liar.hash, store_rank_key, &liar, &pin));
}

static void test_trap_62_a_kept_zone_of_other_sizes_is_refused(void **state)
{
    gate_store_limits_t other = w.limits;
    gate_seed_t seed = { { 0 } };
    const char *why = NULL;

    (void)state;
    other.seats = 9;
    assert_null(gate_store_attach(w.pool, w.base, &other, 0, &seed, &why));
    assert_string_equal(why, "made for other sizes");
    other = w.limits;
    other.size_bytes = 1000;
    assert_null(gate_store_attach(w.pool, w.base, &other, 1, &seed, &why));
    assert_string_equal(why, "too small for what it must hold");
}

static gate_join_e join(gate_store_t *store, uint64_t hash, uint64_t purge_seq, int64_t now, gate_seat_on_t *out)
{
    gate_wish_t wish = { hash, hash, "http://example.com:80/flight", purge_seq };

    return gate_flight_join(store, &wish, now, 5000000, out);
}

static void wake(_Atomic uint32_t *word)
{
    (void)word;
}

static void test_trap_46_one_leads_others_follow(void **state)
{
    gate_store_t *other = store_world_handle(&w, w.pool, 1);
    gate_seat_on_t a, b, c;

    (void)state;
    assert_int_equal(join(w.store, 42, 0, 1000, &a), GATE_LEAD);
    assert_int_equal(join(other, 42, 0, 1000, &b), GATE_FOLLOW);
    assert_int_equal(join(other, 43, 0, 1000, &c), GATE_LEAD);
    assert_int_equal(gate_flight_phase(other, &b), GATE_FLIGHT_ASKED);
    assert_true(gate_flight_under_way(other, 42, 1000));
    assert_false(gate_flight_under_way(other, 44, 1000));
    assert_false(gate_flight_under_way(other, 42, 6000001));
    assert_non_null(gate_flight_end(w.store, &a, GATE_FLIGHT_STORED));
    assert_int_equal(gate_flight_phase(other, &b), GATE_FLIGHT_STORED);
    /* the place is used again: the follower of before sees that its own flight is over, not how it ended */
    assert_int_equal(join(w.store, 42, 0, 1000, &a), GATE_LEAD);
    assert_int_equal(gate_flight_phase(other, &b), GATE_FLIGHT_OVER);
    gate_flight_leave(other, &b);
    /* past the wait a newcomer leads anew */
    assert_int_equal(join(other, 42, 0, 6000001, &b), GATE_LEAD);
    /* the leader of 43 dies */
    gate_fill_sweep(w.store, 1, wake);
    assert_false(gate_flight_under_way(w.store, 43, 1000));
    assert_int_equal(join(w.store, 43, 0, 1000, &c), GATE_LEAD);
}

static void test_trap_46_what_cannot_be_stored_is_remembered(void **state)
{
    gate_seat_on_t a;

    (void)state;
    gate_pass_note(w.store, 0x123456789abcdef0ull, 5000000);
    assert_int_equal(join(w.store, 0x123456789abcdef0ull, 0, 6000000, &a), GATE_ALONE);
    assert_int_equal(join(w.store, 0x123456789abcdef1ull, 0, 6000000, &a), GATE_LEAD);
    assert_true(gate_passed(w.store, 0x123456789abcdef0ull, INT64_C(64000000)));
    assert_false(gate_passed(w.store, 0x123456789abcdef0ull, INT64_C(65000000)));
    gate_pass_forget(w.store, 0x123456789abcdef0ull);
    assert_int_equal(join(w.store, 0x123456789abcdef0ull, 0, 6000000, &a), GATE_LEAD);
}

static void test_trap_50_who_asks_after_a_purge_does_not_follow_a_fetch_from_before(void **state)
{
    uint64_t hash = gate_store_hash(w.store, "http://example.com:80/flight", 28), before = gate_purge_now(w.store);
    gate_seat_on_t a, b, c;

    (void)state;
    assert_int_equal(join(w.store, hash, before, 1000, &a), GATE_LEAD);
    /* a purge of something else changes nothing */
    gate_purge(w.store, GATE_PURGE_URL, "http://example.com:80/other", 0);
    assert_int_equal(join(w.store, hash, gate_purge_now(w.store), 1000, &b), GATE_FOLLOW);
    gate_purge(w.store, GATE_PURGE_URL, "http://example.com:80/flight", 0);
    assert_int_equal(join(w.store, hash, gate_purge_now(w.store), 1000, &b), GATE_LEAD);
    assert_int_equal(join(w.store, hash, gate_purge_now(w.store), 1000, &c), GATE_FOLLOW);
    /* nobody knows the tags of what is still to come */
    gate_purge(w.store, GATE_PURGE_TAG, "any", 0);
    assert_int_equal(join(w.store, hash, gate_purge_now(w.store), 1000, &c), GATE_LEAD);
}

static void test_trap_46_a_stuck_flow_is_not_joined(void **state)
{
    gate_store_t *other = store_world_handle(&w, w.pool, 1);
    gate_seat_on_t a, b;

    (void)state;
    assert_int_equal(join(w.store, 42, 0, 1000, &a), GATE_LEAD);
    assert_int_equal(join(other, 42, 0, 1000, &b), GATE_FOLLOW);
    assert_int_equal(gate_flight_head(other, &b, 1000), 0);
    assert_true(gate_flight_flow(w.store, &a, 77, 2000));
    assert_int_equal(gate_flight_head(other, &b, 3000), 77);
    assert_int_equal(gate_flight_head(other, &b, 2001 + GATE_FLOW_STALL_USEC), 0);
    assert_int_equal(gate_flight_progress(w.store, &a, 2000 + GATE_FLOW_STALL_USEC), 1);
    assert_int_equal(gate_flight_head(other, &b, 2001 + GATE_FLOW_STALL_USEC), 77);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip_of_every_size),
        TEST(test_a_new_version_replaces_the_old),
        TEST(test_trap_52_memory_counts_keys_headers_and_variants),
        TEST(test_trap_52_a_body_beyond_the_limit_is_dropped),
        TEST(test_a_short_body_is_never_whole),
        TEST(test_trap_51_a_pin_holds_what_was_removed),
        TEST(test_trap_51_a_dead_readers_pins_are_swept),
        TEST(test_a_dead_writers_fill_is_swept),
        TEST(test_full_memory_makes_room),
        TEST(test_a_304_keeps_the_bodies_and_changes_the_head),
        TEST(test_trap_50_a_fetch_from_before_a_purge_does_not_land),
        TEST(test_purges_hit_what_they_name),
        TEST(test_trap_40_variants_of_one_url_are_capped),
        TEST(test_trap_39_the_key_is_compared_not_its_hash),
        TEST(test_trap_62_a_kept_zone_of_other_sizes_is_refused),
        TEST(test_trap_46_one_leads_others_follow),
        TEST(test_trap_46_what_cannot_be_stored_is_remembered),
        TEST(test_trap_50_who_asks_after_a_purge_does_not_follow_a_fetch_from_before),
        TEST(test_trap_46_a_stuck_flow_is_not_joined),
    };

    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
