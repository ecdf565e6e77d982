/*
 * ipset_image.h - the bytes of an image, for ipset.c (reads) and ipset_build.c (writes).
 *
 * IMAGE: [ header | v4 nodes | v4 starts | v4 values | v6 nodes | v6 starts | v6 values ], each part aligned to 8 bytes.
 * starts[0] is always the lowest address; range i goes from starts[i] to just before starts[i + 1]. values[i]: 0 not in the set,
 * else 1 + bits of the prefix that put it there.
 *
 * A node is one word. Leaf: the slice of starts to search. Branch: look at `branch` bits of the address from bit `at` on and go to
 * node first + those bits; if `skip` is not 0, all starts below have the same `skip` bits before `at`, and the word at first - 1
 * holds them: an address with others lies before the first or after the last of those starts.
 */
#ifndef GATE_ACCESS_IPSET_IMAGE_H
#define GATE_ACCESS_IPSET_IMAGE_H

#include <stdint.h>
#include "ipset.h"

#define IPSET_MAGIC UINT64_C(0x3174657370694721) /* "!Gipset1" */
#define IPSET_LEAF_MAX 8    /* starts that are compared one by one */
#define IPSET_BRANCH_MAX 22
#define IPSET_SKIP_MAX 64

typedef struct {
    uint32_t nodes, starts;                /* counts */
    uint64_t node_at, start_at, value_at;  /* byte offsets in the image */
} ipset_family_t;

typedef struct {
    uint64_t magic;
    uint32_t layout, prefixes;
    uint64_t size_bytes;
    ipset_family_t family[2];              /* v4, v6 */
} ipset_header_t;

typedef struct {
    uint64_t hi, lo; /* the address from its first bit on; of IPv4 the 32 bits stand at the top of hi */
} ipset_key_t;

/* node word: bit 63 branch?; leaf: start 0..31, count 32..47; branch: first 0..31, at 32..39, skip 40..46, branch 47..52 */
#define IPSET_IS_BRANCH (UINT64_C(1) << 63)

static inline uint64_t ipset_leaf(uint32_t start, uint32_t count)
{
    return (uint64_t)start | (uint64_t)count << 32;
}

static inline uint64_t ipset_branch(uint32_t first, unsigned at, unsigned skip, unsigned branch)
{
    return IPSET_IS_BRANCH | (uint64_t)first | (uint64_t)at << 32 | (uint64_t)skip << 40 | (uint64_t)branch << 47;
}

static inline uint32_t ipset_node_first(uint64_t node) { return (uint32_t)node; }
static inline unsigned ipset_node_count(uint64_t leaf) { return (unsigned)(leaf >> 32 & 0xffff); }
static inline unsigned ipset_node_at(uint64_t node) { return (unsigned)(node >> 32 & 0xff); }
static inline unsigned ipset_node_skip(uint64_t node) { return (unsigned)(node >> 40 & 0x7f); }
static inline unsigned ipset_node_branch(uint64_t node) { return (unsigned)(node >> 47 & 0x3f); }

/* n (1..64) bits of the key from bit `at` (0 = the first); at + n <= 128. */
static inline uint64_t ipset_bits(const ipset_key_t *key, unsigned at, unsigned n)
{
    uint64_t top;

    if (at >= 64) {
        top = key->lo << (at - 64);
    }
    else if (at == 0) {
        top = key->hi;
    }
    else {
        top = key->hi << at | key->lo >> (64 - at);
    }
    return top >> (64 - n);
}

static inline int ipset_key_le(const ipset_key_t *a, const ipset_key_t *b)
{
    return a->hi < b->hi || (a->hi == b->hi && a->lo <= b->lo);
}

/* Bits that two different keys have in common from the front. */
static inline unsigned ipset_common(const ipset_key_t *a, const ipset_key_t *b)
{
    if (a->hi != b->hi) {
        return (unsigned)__builtin_clzll(a->hi ^ b->hi);
    }
    return a->lo == b->lo ? 128 : 64 + (unsigned)__builtin_clzll(a->lo ^ b->lo);
}

static inline ipset_key_t ipset_key_of(const gate_address_t *address, int is_v4)
{
    ipset_key_t key = { 0, 0 };

    for (int i = 0; i < 8; i++) {
        key.hi = key.hi << 8 | address->bytes[i];
        key.lo = key.lo << 8 | address->bytes[8 + i];
    }
    if (is_v4) {
        key.hi = key.lo << 32;
        key.lo = 0;
    }
    return key;
}

#endif
