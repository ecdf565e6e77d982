/*
 * test_evict.c - the eviction policy against LRU and against the published S3-FIFO, on Zipf traces with and without a scan;
 * and by bytes: one huge object does not flush the rest.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "evict.h"

#define OBJECTS 20000u
#define REQUESTS 400000u
#define SCAN_EVERY 40000u
#define SCAN_LENGTH 8000u
#define ALL_OBJECTS (OBJECTS + (REQUESTS / SCAN_EVERY + 1) * SCAN_LENGTH)

static uint64_t rng = 88172645463325252ull;

static double uniform(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (double)(rng >> 11) / 9007199254740992.0;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* A trace of object numbers 1.. ; scans are runs of numbers that come once. */
static uint32_t *make_trace(double alpha, int scans, uint32_t *count)
{
    double *cdf = malloc(OBJECTS * sizeof *cdf), sum = 0;
    uint32_t *trace = malloc((REQUESTS + ALL_OBJECTS) * sizeof *trace), n = 0, fresh = OBJECTS + 1;

    for (uint32_t i = 0; i < OBJECTS; i++) {
        cdf[i] = sum += 1 / pow(i + 1, alpha);
    }
    for (uint32_t r = 0; r < REQUESTS; r++) {
        double x = uniform() * sum;
        uint32_t low = 0, high = OBJECTS - 1;

        while (low < high) {
            uint32_t mid = (low + high) / 2;
            if (cdf[mid] < x) {
                low = mid + 1;
            }
            else {
                high = mid;
            }
        }
        trace[n++] = low + 1;
        if (scans && r % SCAN_EVERY == SCAN_EVERY - 1) {
            for (uint32_t i = 0; i < SCAN_LENGTH; i++) {
                trace[n++] = fresh++;
            }
        }
    }
    free(cdf);
    *count = n;
    return trace;
}

static uint64_t hash_of(const void *ctx, uint32_t i)
{
    (void)ctx;
    return mix(i);
}

static double run_ours(const uint32_t *trace, uint32_t n, uint32_t capacity)
{
    gate_evict_t policy;
    gate_evict_node_t *nodes = calloc(ALL_OBJECTS + 1, sizeof *nodes);
    uint32_t ghosts = 64, used = 0, hits = 0;
    gate_evict_view_t v = { &policy, (unsigned char *)nodes, sizeof *nodes, NULL, 0, ALL_OBJECTS };

    while (ghosts < capacity) {
        ghosts *= 2;
    }
    v.ghost = calloc(ghosts, sizeof *v.ghost);
    v.ghost_size = ghosts;
    /* 16 units an object: the ghost's clock counts in such steps */
    gate_evict_init(&policy, (uint64_t)capacity * 16);
    for (uint32_t r = 0; r < n; r++) {
        uint32_t i = trace[r];
        gate_queue_e queue;

        if (nodes[i].queue) {
            gate_evict_hit(&nodes[i]);
            hits += i <= OBJECTS;
            continue;
        }
        queue = gate_evict_admit(&v, mix(i), 16, (uint64_t)(capacity - used) * 16);
        if (queue == GATE_QUEUE_NONE) {
            continue;
        }
        if (used == capacity) {
            assert_true(gate_evict_victim(&v, hash_of, NULL));
            used--;
        }
        nodes[i].freq = 0;
        gate_evict_insert(&v, i, queue, 16);
        used++;
    }
    free(v.ghost);
    free(nodes);
    return 100.0 * hits / REQUESTS;
}

/* ---- LRU ------------------------------------------------------------------------------------------------------------------ */

static double run_lru(const uint32_t *trace, uint32_t n, uint32_t capacity)
{
    uint32_t *prev = calloc(ALL_OBJECTS + 1, 4), *next = calloc(ALL_OBJECTS + 1, 4), used = 0, hits = 0;
    uint8_t *in = calloc(ALL_OBJECTS + 1, 1);

    /* a ring through node 0 */
    for (uint32_t r = 0; r < n; r++) {
        uint32_t i = trace[r];

        if (in[i]) {
            hits += i <= OBJECTS;
            next[prev[i]] = next[i];
            prev[next[i]] = prev[i];
        }
        else {
            if (used == capacity) {
                uint32_t last = prev[0];

                in[last] = 0;
                prev[0] = prev[last];
                next[prev[0]] = 0;
                used--;
            }
            in[i] = 1;
            used++;
        }
        next[i] = next[0];
        prev[i] = 0;
        prev[next[0]] = i;
        next[0] = i;
    }
    free(prev);
    free(next);
    free(in);
    return 100.0 * hits / REQUESTS;
}

/* ---- the paper's algorithm 1, as written there: counted in objects, an exact ghost ------------------------------------------ */

typedef struct {
    uint32_t *ring, head, count, size;
} fifo_t;

static void fifo_push(fifo_t *f, uint32_t i)
{
    f->ring[(f->head + f->count++) % f->size] = i;
}

static uint32_t fifo_pop(fifo_t *f)
{
    uint32_t i = f->ring[f->head];

    f->head = (f->head + 1) % f->size;
    f->count--;
    return i;
}

static double run_paper(const uint32_t *trace, uint32_t n, uint32_t capacity)
{
    fifo_t s = { calloc(ALL_OBJECTS + 1, 4), 0, 0, ALL_OBJECTS + 1 }, m = s, g = s;
    uint8_t *where = calloc(ALL_OBJECTS + 1, 1), *freq = calloc(ALL_OBJECTS + 1, 1); /* where: 1 S, 2 M, 3 G */
    uint32_t small = capacity / 10, hits = 0;

    m.ring = calloc(ALL_OBJECTS + 1, 4);
    g.ring = calloc(ALL_OBJECTS + 1, 4);
    for (uint32_t r = 0; r < n; r++) {
        uint32_t i = trace[r];

        if (where[i] == 1 || where[i] == 2) {
            freq[i] = freq[i] < 3 ? freq[i] + 1 : 3;
            hits += i <= OBJECTS;
            continue;
        }
        while (s.count + m.count >= capacity) {
            if (s.count >= small && s.count) {
                uint32_t t = fifo_pop(&s);

                if (freq[t] > 1) {
                    freq[t] = 0;
                    where[t] = 2;
                    fifo_push(&m, t);
                }
                else {
                    where[t] = 3;
                    fifo_push(&g, t);
                    while (g.count > capacity - small) {
                        uint32_t old = fifo_pop(&g);
                        where[old] = where[old] == 3 ? 0 : where[old];
                    }
                }
            }
            else {
                uint32_t t = fifo_pop(&m);

                if (freq[t]) {
                    freq[t]--;
                    fifo_push(&m, t);
                }
                else {
                    where[t] = 0;
                }
            }
        }
        freq[i] = 0;
        if (where[i] == 3) {
            where[i] = 2;
            fifo_push(&m, i);
        }
        else {
            where[i] = 1;
            fifo_push(&s, i);
        }
    }
    free(s.ring);
    free(m.ring);
    free(g.ring);
    free(where);
    free(freq);
    return 100.0 * hits / REQUESTS;
}

static void test_hit_ratio_beats_lru_and_keeps_up_with_the_paper(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        for (int scans = 0; scans < 2; scans++) {
            uint32_t n, *trace = make_trace(a ? 1.0 : 0.8, scans, &n);

            for (int c = 0; c < 2; c++) {
                uint32_t capacity = c ? OBJECTS / 10 : OBJECTS / 100;
                double ours = run_ours(trace, n, capacity), lru = run_lru(trace, n, capacity), paper = run_paper(trace, n, capacity);

                print_message("alpha %.1f, cache %2d %%, %s: ours %.2f %%, LRU %.2f %%, paper's %.2f %%\n", a ? 1.0 : 0.8,
                              c ? 10 : 1, scans ? "scans   " : "no scans", ours, lru, paper);
                assert_true(ours > lru);
                assert_true(ours > paper - 3);
            }
            free(trace);
        }
    }
}

static void test_trap_52_one_huge_object_does_not_flush_the_rest(void **state)
{
    gate_evict_t policy;
    gate_evict_node_t nodes[101] = { { 0 } };
    gate_ghost_t ghost[64] = { { 0 } };
    gate_evict_view_t v = { &policy, (unsigned char *)nodes, sizeof *nodes, ghost, 64, 100 };

    (void)state;
    gate_evict_init(&policy, 1000);
    /* room is free: anything may come */
    assert_int_equal(gate_evict_admit(&v, mix(7), 500, 1000), GATE_QUEUE_SMALL);
    for (uint32_t i = 1; i <= 100; i++) {
        assert_int_equal(gate_evict_admit(&v, mix(i), 10, 1000 - 10 * (i - 1)), GATE_QUEUE_SMALL);
        gate_evict_insert(&v, i, GATE_QUEUE_SMALL, 10);
    }
    /* full: larger than the small queue, seen once: not for its sake */
    assert_int_equal(gate_evict_admit(&v, mix(777), 500, 0), GATE_QUEUE_NONE);
    assert_int_equal(policy.small.count, 100);
    /* asked for again: into main */
    assert_int_equal(gate_evict_admit(&v, mix(777), 500, 0), GATE_QUEUE_MAIN);
    assert_int_equal(gate_evict_admit(&v, mix(778), 50, 0), GATE_QUEUE_SMALL);
}

static void test_sizes_are_kept_with_every_move(void **state)
{
    gate_evict_t policy;
    gate_evict_node_t nodes[51] = { { 0 } };
    gate_ghost_t ghost[64] = { { 0 } };
    gate_evict_view_t v = { &policy, (unsigned char *)nodes, sizeof *nodes, ghost, 64, 50 };
    uint64_t left = 0;
    uint32_t gone = 0, i;

    (void)state;
    gate_evict_init(&policy, 1000);
    for (i = 1; i <= 50; i++) {
        gate_evict_insert(&v, i, i % 3 ? GATE_QUEUE_SMALL : GATE_QUEUE_MAIN, i);
        left += i;
        for (uint32_t h = 0; h < i % 5; h++) {
            gate_evict_hit(&nodes[i]);
        }
    }
    gate_evict_resize(&v, 10, 100);
    left += 100;
    assert_int_equal(policy.small.units + policy.main.units, left);
    gate_evict_remove(&v, 20);
    left -= 20;
    while ((i = gate_evict_victim(&v, hash_of, NULL)) != 0) {
        left -= nodes[i].units;
        gone++;
        assert_int_equal(policy.small.units + policy.main.units, left);
    }
    assert_int_equal(gone, 49);
    assert_int_equal(left, 0);
    assert_int_equal(policy.evicted, 49);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hit_ratio_beats_lru_and_keeps_up_with_the_paper),
        cmocka_unit_test(test_trap_52_one_huge_object_does_not_flush_the_rest),
        cmocka_unit_test(test_sizes_are_kept_with_every_move),
    };

    return cmocka_run_group_tests_name("evict", tests, NULL, NULL);
}
