/*
 * test_ipset_store.c - sets replaced under readers in other processes: never half a set; publishers killed; sets that do not fit.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipset_store.h"

#define HALF (UINT64_C(1) << 20)

static gate_ipset_store_t store;
static char *memory;

static int setup(void **state)
{
    (void)state;
    memory = mmap(NULL, 4096 + 2 * HALF, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    store.place = (gate_ipset_place_t *)memory;
    store.half[0] = memory + 4096;
    store.half[1] = memory + 4096 + HALF;
    store.half_bytes = HALF;
    return memory == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    return munmap(memory, 4096 + 2 * HALF);
}

static gate_address_t address(uint32_t word)
{
    char text[40];
    gate_address_t a;

    snprintf(text, sizeof text, "%u.%u.%u.%u", word >> 24, word >> 16 & 255, word >> 8 & 255, word & 255);
    gate_address_parse(text, strlen(text), &a);
    return a;
}

/* Version v: 3000 hosts, all of them of network 10.v%2.0.0. So of one version, either all of 10.0 or all of 10.1 is in. */
static int publish(uint64_t v, uint32_t hosts)
{
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    size_t size;
    int rc;

    for (uint32_t i = 0; i < hosts; i++) {
        gate_prefix_t prefix = { address(0x0a000000u | (uint32_t)(v % 2) << 16 | i * 2), 32 };

        gate_ipset_builder_add(builder, &prefix, 0);
    }
    size = gate_ipset_builder_finish(builder);
    rc = gate_ipset_store_publish(&store, builder, size, 1);
    gate_ipset_builder_destroy(builder);
    return rc;
}

static void test_versions(void **state)
{
    gate_address_t a = address(0x0a000000), b = address(0x0a010000);
    uint64_t version = 9;
    char why[200] = "";

    (void)state;
    assert_int_equal(gate_ipset_store_find(&store, &a, NULL, NULL), 0);
    assert_int_equal(gate_ipset_store_count(&store), 0);
    assert_int_equal(publish(0, 100), 0);
    assert_int_equal(gate_ipset_store_find(&store, &a, NULL, &version), 1);
    assert_int_equal(version, 1);
    assert_int_equal(gate_ipset_store_find(&store, &b, NULL, NULL), 0);
    assert_int_equal(publish(1, 200), 0);
    assert_int_equal(gate_ipset_store_find(&store, &a, NULL, NULL), 0);
    assert_int_equal(gate_ipset_store_find(&store, &b, NULL, &version), 1);
    assert_int_equal(version, 2);
    assert_int_equal(gate_ipset_store_count(&store), 200);
    gate_ipset_store_trim(&store);
    assert_int_equal(gate_ipset_store_find(&store, &b, NULL, NULL), 1);
    assert_int_equal(gate_ipset_store_validate(&store, why, sizeof why), 0);
    store.half_bytes = 4096;
    assert_int_equal(publish(0, 3000), -1);
    store.half_bytes = HALF;
    assert_int_equal(gate_ipset_store_find(&store, &b, NULL, NULL), 1); /* as it was */
}

static void read_on(_Atomic uint64_t *torn, _Atomic uint64_t *reads, _Atomic int *stop, uint32_t n)
{
    while (!atomic_load(stop)) {
        uint32_t i = n++ * 7919 % 3000 * 2;
        gate_address_t a = address(0x0a000000u | i), b = address(0x0a010000u | i), c = address(0x0a010001u | i);
        uint64_t va, vb;
        int in_a = gate_ipset_store_find(&store, &a, NULL, &va), in_b = gate_ipset_store_find(&store, &b, NULL, &vb);

        /* version 1 is of network 0: odd versions hold a, even ones b, none holds c */
        if (in_a != (int)(va % 2) || in_b != !(vb % 2) || gate_ipset_store_find(&store, &c, NULL, NULL)) {
            atomic_fetch_add(torn, 1);
        }
        atomic_fetch_add(reads, 1);
    }
    _exit(0);
}

static void test_readers_see_whole_sets(void **state)
{
    _Atomic uint64_t *counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    _Atomic int *stop = (_Atomic int *)(counts + 2);
    pid_t pids[2];
    char why[200];

    (void)state;
    assert_int_equal(publish(0, 3000), 0);
    for (uint32_t i = 0; i < 2; i++) {
        if ((pids[i] = fork()) == 0) {
            read_on(&counts[0], &counts[1], stop, i * 100);
        }
    }
    for (uint64_t v = 1; v < 300; v++) {
        assert_int_equal(publish(v, 3000), 0);
        if (v % 3 == 0) {
            gate_ipset_store_trim(&store);
        }
    }
    atomic_store(stop, 1);
    for (int i = 0; i < 2; i++) {
        int status;

        waitpid(pids[i], &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(counts[0], 0);
    assert_true(counts[1] > 100);
    assert_int_equal(gate_ipset_store_validate(&store, why, sizeof why), 0);
    munmap(counts, 4096);
}

static void test_killed_publishers(void **state)
{
    char why[200] = "";

    (void)state;
    assert_int_equal(publish(0, 3000), 0);
    for (int turn = 0; turn < 80; turn++) {
        pid_t pid = fork();

        if (pid == 0) {
            for (uint64_t v = 0;; v++) {
                publish(v, 3000);
                gate_ipset_store_trim(&store);
            }
        }
        usleep(2000 + turn * 50);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        if (gate_ipset_store_validate(&store, why, sizeof why)) {
            fail_msg("%s", why);
        }
        assert_int_equal(gate_ipset_store_count(&store), 3000);
    }
    assert_int_equal(publish(0, 10), 0);
    assert_int_equal(gate_ipset_store_count(&store), 10);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = { TEST(test_versions), TEST(test_readers_see_whole_sets), TEST(test_killed_publishers) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
