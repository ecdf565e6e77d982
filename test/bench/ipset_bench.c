/*
 * ipset_bench.c - how fast a set is made and asked, and what it weighs; one row of figures per shape.
 *     make -f apxs.mk bench_programs && build/bench/ipset_bench [PREFIXES [FILE]]     FILE: reads this set file and times that
 *
 * Shapes: v4 hosts and v6 hosts spread at random (the worst for caches), and "real": a mix of lengths and places as in lists of
 * networks and of offenders (clustered, /24 and /32 in IPv4, /32 to /64 in IPv6).
 * Traces: random addresses of the family; "near": as clients come, some much more often than others (half of the look-ups go to
 * 2 % of the addresses), half of them in the set and half beside it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ipset.h"
#include "set_file.h"

#define TRACE (1u << 20)

static uint64_t state = 88172645463325252u;

static uint64_t dice(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* CPU time of this thread: what others do on the machine is not ours. */
static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static gate_address_t v4_of(uint32_t word)
{
    gate_address_t a;

    memset(&a, 0, sizeof a);
    a.known = 1;
    a.bytes[10] = a.bytes[11] = 0xff;
    for (int i = 0; i < 4; i++) {
        a.bytes[12 + i] = (uint8_t)(word >> (24 - 8 * i));
    }
    return a;
}

static gate_address_t v6_of(uint64_t hi, uint64_t lo)
{
    gate_address_t a;

    a.known = 1;
    for (int i = 0; i < 8; i++) {
        a.bytes[i] = (uint8_t)(hi >> (56 - 8 * i));
        a.bytes[8 + i] = (uint8_t)(lo >> (56 - 8 * i));
    }
    return a;
}

static gate_prefix_t whole(gate_address_t a, unsigned bits)
{
    gate_prefix_t p = { a, (uint8_t)bits };

    gate_address_cut(&p.address, bits, bits);
    return p;
}

typedef gate_prefix_t (*shape_fn)(void);

static gate_prefix_t hosts4(void) { return whole(v4_of((uint32_t)dice()), 32); }
static gate_prefix_t nets4(void) { return whole(v4_of((uint32_t)dice()), 24); }
static gate_prefix_t hosts6(void) { return whole(v6_of(UINT64_C(0x2000000000000000) | dice() >> 3, dice()), 128); }

static gate_prefix_t real4(void)
{
    static const unsigned bits[16] = { 32, 32, 32, 32, 32, 32, 24, 24, 24, 24, 24, 22, 22, 20, 16, 19 };
    uint64_t d = dice();
    /* few of the /8 hold most: skew by taking the least of two */
    uint32_t a = (uint32_t)(d & 0xff), b = (uint32_t)(d >> 8 & 0xff);

    return whole(v4_of((a < b ? a : b) << 24 | (uint32_t)(d >> 16 & 0xffffff)), bits[d >> 60]);
}

static gate_prefix_t real6(void)
{
    static const unsigned bits[16] = { 32, 48, 48, 48, 48, 48, 64, 64, 64, 64, 64, 56, 44, 40, 128, 128 };
    static const uint64_t registry[8] = { 0x2001, 0x2400, 0x2600, 0x2600, 0x2800, 0x2a00, 0x2a00, 0x2c00 };
    uint64_t d = dice(), hi = (registry[d & 7] + (d >> 3 & 15)) << 48 | (d >> 7 & 0xffff) << 32 | (dice() & 0xffff) << 16;

    return whole(v6_of(hi | (dice() & 0xff), dice() & 3 ? 1 : dice()), bits[d >> 60]);
}

/* Nanoseconds a look-up, the best of some rounds over the trace. */
static double ask(const void *image, size_t size, const gate_address_t *trace, int rounds, double *share)
{
    uint64_t in = 0;
    double best = 1e9;

    for (int r = 0; r < rounds; r++) {
        double began = now(), took;

        for (uint32_t i = 0; i < TRACE; i++) {
            in += (uint64_t)gate_ipset_find(image, size, &trace[i], NULL);
        }
        took = (now() - began) / TRACE * 1e9;
        best = took < best ? took : best;
    }
    *share = (double)in / ((double)rounds * TRACE);
    return best;
}

static void measure(const char *name, shape_fn shape, uint32_t n, int v4)
{
    gate_prefix_t *prefixes = malloc(n * sizeof *prefixes);
    gate_address_t *trace = malloc(TRACE * sizeof *trace);
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    double began, built, random_ns, near_ns, share, near_share;
    size_t size;
    void *image;

    for (uint32_t i = 0; i < n; i++) {
        prefixes[i] = shape();
    }
    began = now();
    for (uint32_t i = 0; i < n; i++) {
        gate_ipset_builder_add(builder, &prefixes[i], 0);
    }
    size = gate_ipset_builder_finish(builder);
    image = aligned_alloc(64, size); /* as shared memory is */
    gate_ipset_builder_write(builder, image);
    built = now() - began;
    gate_ipset_builder_destroy(builder);
    for (uint32_t i = 0; i < TRACE; i++) {
        trace[i] = v4 ? v4_of((uint32_t)dice()) : v6_of(UINT64_C(0x2000000000000000) | dice() >> 3, dice());
    }
    random_ns = ask(image, size, trace, 8, &share);
    for (uint32_t i = 0; i < TRACE; i++) {
        uint64_t d = dice();
        double u = (double)(dice() >> 11) / 9007199254740992.0;
        uint32_t at = (uint32_t)((double)n * u * u * u * u * u * u);

        trace[i] = prefixes[at].address;
        if (d >> 40 & 1) {
            trace[i].bytes[v4 ? 14 : 5] ^= (uint8_t)(1 + (d >> 20 & 0x3f));
        }
        trace[i].bytes[15] ^= prefixes[at].bits == (v4 ? 32 : 128) ? 0 : (uint8_t)d;
    }
    near_ns = ask(image, size, trace, 8, &near_share);
    printf("%s %u build_ms=%.0f bytes=%zu random_ns=%.1f random_in=%.3f near_ns=%.1f near_in=%.3f\n", name, n, built * 1e3, size,
           random_ns, share, near_ns, near_share);
    free(image);
    free(trace);
    free(prefixes);
}

static int read_file(const char *path)
{
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    gate_set_file_t said;
    FILE *file = fopen(path, "r");
    double began = now();
    char *text;
    long len;

    if (!file || fseek(file, 0, SEEK_END) != 0 || (len = ftell(file)) < 0) {
        perror(path);
        return 1;
    }
    rewind(file);
    text = malloc((size_t)len + 1);
    len = (long)fread(text, 1, (size_t)len, file);
    fclose(file);
    if (gate_set_file_read(builder, text, (size_t)len, &said) != 0) {
        fprintf(stderr, "%s:%lu: '%s' %s\n", path, (unsigned long)said.line, said.what, said.why);
        return 1;
    }
    size_t size = gate_ipset_builder_finish(builder);
    void *image = malloc(size);

    gate_ipset_builder_write(builder, image);
    printf("file %u load_ms=%.0f bytes=%zu\n", gate_ipset_builder_count(builder), (now() - began) * 1e3, size);
    return 0;
}

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;

    if (argc > 2) {
        return read_file(argv[2]);
    }
    measure("v4-hosts", hosts4, n, 1);
    measure("v4-nets", nets4, n, 1);
    measure("v4-real", real4, n, 1);
    measure("v6-hosts", hosts6, n, 0);
    measure("v6-real", real6, n, 0);
    return 0;
}
