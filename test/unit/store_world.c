/* store_world.c - see store_world.h */
#include "store_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <apr_general.h>
#include <apr_strings.h>

static const gate_seed_t seed = { { 0x0123456789abcdefull, 0xfedcba9876543210ull } };

void store_world_make(store_world_t *w, uint64_t size_bytes, uint64_t max_object, uint32_t seats)
{
    const char *why = NULL;

    apr_initialize();
    apr_pool_create(&w->pool, NULL);
    w->limits = (gate_store_limits_t){ size_bytes, max_object, seats };
    w->base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    w->store = gate_store_attach(w->pool, w->base, &w->limits, 1, &seed, &why);
    if (!w->store) {
        printf("store: %s\n", why);
        abort();
    }
    gate_store_sit(w->store, 0);
}

void store_world_end(store_world_t *w)
{
    munmap(w->base, w->limits.size_bytes);
    apr_pool_destroy(w->pool);
}

gate_store_t *store_world_handle(store_world_t *w, apr_pool_t *p, int seat)
{
    const char *why = NULL;
    gate_store_t *s = gate_store_attach(p, w->base, &w->limits, 0, &seed, &why);

    if (s) {
        gate_store_sit(s, seat);
    }
    return s;
}

unsigned char store_byte(uint32_t url, uint32_t version, uint64_t i)
{
    uint64_t x = (uint64_t)url * UINT64_C(0x9E3779B97F4A7C15) + version * UINT64_C(0xC2B2AE3D27D4EB4F) + i / 8;

    x ^= x >> 29;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    return (unsigned char)(x >> (8 * (i % 8)));
}

gate_key_t store_key(gate_store_t *s, apr_pool_t *p, uint32_t url)
{
    gate_key_t key;

    key.url = apr_psprintf(p, "http://example.com:80/object/%u", url);
    key.url_len = strlen(key.url);
    key.route = "route";
    key.route_len = 5;
    key.hash = gate_store_hash(s, key.url, key.url_len);
    return key;
}

int store_never(void *ctx)
{
    (void)ctx;
    return 0;
}

int store_same_key(void *ctx, const void *head, uint64_t len)
{
    gate_head_view_t view;

    return gate_head_read(head, len, &view) && gate_head_has_key(&view, ctx);
}

int64_t store_rank_key(void *ctx, const void *head, uint64_t len)
{
    return store_same_key(ctx, head, len) ? 1 : -1;
}

static void *make_head(apr_pool_t *p, const gate_key_t *key, uint32_t version, uint64_t length, size_t *len)
{
    apr_table_t *fields = apr_table_make(p, 2);
    gate_freshness_t fresh = { .lifetime = 60 };
    gate_head_parts_t parts = { .key = key, .status = 200, .fresh = &fresh, .body_len = length, .fields = fields };

    apr_table_setn(fields, "X-Version", apr_psprintf(p, "%u", version));
    return gate_head_build(p, &parts, len);
}

gate_store_e store_put(gate_store_t *s, apr_pool_t *p, uint32_t url, uint32_t version, uint64_t length, int announced)
{
    gate_key_t key = store_key(s, p, url);
    unsigned char piece[4000];
    size_t head_len;
    void *head = make_head(p, &key, version, length, &head_len);
    gate_fill_t fill;
    gate_store_e rc = gate_store_begin(s, key.hash, announced ? length : UINT64_MAX, &fill);

    if (rc == GATE_STORE_OK) {
        rc = gate_store_set_head(s, &fill, head, head_len);
    }
    for (uint64_t at = 0; rc == GATE_STORE_OK && at < length;) {
        size_t n = length - at < sizeof piece ? (size_t)(length - at) : sizeof piece;

        for (size_t i = 0; i < n; i++) {
            piece[i] = store_byte(url, version, at + i);
        }
        rc = gate_store_append(s, &fill, piece, n);
        at += n;
    }
    if (rc == GATE_STORE_OK) {
        return gate_store_commit(s, &fill, store_same_key, store_never, &key);
    }
    gate_store_abort(s, &fill);
    return rc;
}

static int check_body(gate_store_t *s, gate_ref_t body, uint32_t url, uint32_t version, uint64_t length)
{
    uint64_t at = 0, n;
    const void *data;

    while ((n = gate_store_piece(s, body, at, &data)) > 0) {
        for (uint64_t i = 0; i < n; i++) {
            if (((const unsigned char *)data)[i] != store_byte(url, version, at + i)) {
                return -1;
            }
        }
        at += n;
    }
    return at == length ? 1 : -1;
}

int store_check_held(gate_store_t *s, gate_ref_t head, uint32_t url)
{
    gate_head_view_t view;
    gate_pin_t body;
    const void *bytes;
    uint64_t len = gate_store_piece(s, head, 0, &bytes);
    uint32_t version;
    int right = 1;

    if (!gate_head_read(bytes, len, &view) || strcmp(view.fields, "X-Version")) {
        return -1;
    }
    version = (uint32_t)atoi(view.fields + strlen("X-Version") + 1);
    for (int c = 0; c < GATE_CODINGS && right == 1; c++) {
        gate_ref_t ref = gate_store_body(s, head, (gate_coding_e)c);

        if (!ref) {
            continue;
        }
        if (!gate_store_pin(s, ref, &body)) {
            return 0;
        }
        /* bodies of codings are made with their own number, so that a mix-up shows */
        right = check_body(s, ref, url + (uint32_t)c * 1000000, version,
                           c == 0 ? view.head->body_len : gate_store_length(s, ref));
        gate_store_unpin(s, &body);
    }
    return right;
}

int store_check(gate_store_t *s, apr_pool_t *p, uint32_t url, uint64_t *length)
{
    gate_key_t key = store_key(s, p, url);
    gate_pin_t pin;
    int right;

    if (!gate_store_find(s, key.hash, store_rank_key, &key, &pin)) {
        return 0;
    }
    if (length) {
        *length = gate_store_length(s, gate_store_body(s, pin.ref, GATE_CODING_IDENTITY));
    }
    right = store_check_held(s, pin.ref, url);
    gate_store_touch(s, pin.ref);
    gate_store_unpin(s, &pin);
    return right;
}

int store_faults(store_world_t *w)
{
    char why[200] = "";
    int n = gate_store_validate(w->base, w->limits.size_bytes, w->store, why, sizeof why);

    if (n) {
        printf("%d faults: %s\n", n, why);
    }
    return n;
}

uint64_t store_used(store_world_t *w)
{
    gate_store_stats_t stats;

    gate_store_reap(w->store);
    gate_store_stats(w->store, &stats);
    return stats.used_bytes;
}
