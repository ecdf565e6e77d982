/*
 * ipset_image.h - the bytes of an image, for ipset.c (reads) and ipset_build.c (writes).
 *
 * IMAGE:  [ header | v4 nodes, branches, blocks | v6 nodes, branches, blocks ], each part aligned to a cache line.
 * nodes    4 bytes each: a leaf names its block (offset / 8), a branch its entry in branches.
 * branches 8 bytes each: look at `bits` bits of the address from bit `at` on and go to node first + those bits. If `skip` is not 0,
 *          all starts below have the same `skip` bits before `at`, and the next entry holds them: an address with others lies
 *          before the first or after the last of those starts.
 * blocks   [ head | windows | values | gap | rests ], aligned to 8 bytes; what comes before the rests is kept within a cache line
 *          where it fits into one:
 *   head     2 bytes: count of range starts, and how many rest words each has << 8
 *   windows  2 bytes each, ascending: 16 bits of the start from the place the trie has come to
 *   values   count + 1 bytes: of addresses before the first start, from the first on, from the second on, ..
 *            0: not in the set; else 1 + bits of the prefix that put them there
 *   gap      1 byte: the value of an address that is no longer in the prefix which the value before it tells; so where a prefix
 *            ends and this value begins, there need be no start, and a prefix among others has one start and not two
 *   rests    8 bytes each, aligned to 8: for starts that are not told by their windows, one or two words of the bits behind. They
 *            stand in the lines next to the windows, so that a reader can ask for all of these lines before it has any of them.
 *            (Behind the last block there is a line of zeros, so that one may always read a line, or a rest too many.)
 */
#ifndef GATE_ACCESS_IPSET_IMAGE_H
#define GATE_ACCESS_IPSET_IMAGE_H

#include <stdint.h>
#include "ipset.h"

#define IPSET_MAGIC UINT64_C(0x3274657370694721) /* "!Gipset2" */
#define IPSET_LEAF_MAX 40  /* most starts in a block */
#define IPSET_LEAF_LINE 23 /* so many are compared at once */
#define IPSET_BRANCH_MAX 22
#define IPSET_SKIP_MAX 64
#define IPSET_LINE 64

typedef struct {
    uint64_t nodes, node_at;          /* count, byte offset in the image */
    uint64_t branches, branch_at;
    uint64_t block_bytes, block_at;
} ipset_family_t;

typedef struct {
    uint64_t magic;
    uint32_t layout, prefixes;
    uint64_t size_bytes;
    ipset_family_t family[2];         /* v4, v6 */
} ipset_header_t;

typedef struct {
    uint64_t hi, lo; /* the address from its first bit on; of IPv4 the 32 bits stand at the top of hi */
} ipset_key_t;

#define IPSET_IS_BRANCH (UINT32_C(1) << 31)

static inline uint64_t ipset_branch(uint32_t first, unsigned at, unsigned skip, unsigned bits)
{
    return (uint64_t)first | (uint64_t)at << 32 | (uint64_t)skip << 40 | (uint64_t)bits << 48;
}

static inline uint32_t ipset_branch_first(uint64_t branch) { return (uint32_t)branch; }
static inline unsigned ipset_branch_at(uint64_t branch) { return (unsigned)(branch >> 32 & 0xff); }
static inline unsigned ipset_branch_skip(uint64_t branch) { return (unsigned)(branch >> 40 & 0xff); }
static inline unsigned ipset_branch_bits(uint64_t branch) { return (unsigned)(branch >> 48 & 0xff); }

/* Where the parts of a block begin. */
static inline uint32_t ipset_values_at(uint32_t count) { return 2 + 2 * count; }
static inline uint32_t ipset_rests_at(uint32_t count) { return (2 + 2 * count + count + 2 + 7) & ~7u; }
static inline uint32_t ipset_block_size(uint32_t count, unsigned rest_words)
{
    return ipset_rests_at(count) + count * rest_words * 8;
}

/* The key from bit `at` (0..128) on, zeros behind. */
static inline ipset_key_t ipset_rest(const ipset_key_t *key, unsigned at)
{
    ipset_key_t rest = *key;

    if (at >= 128) {
        rest.hi = rest.lo = 0;
    }
    else if (at >= 64) {
        rest.hi = key->lo << (at - 64);
        rest.lo = 0;
    }
    else if (at) {
        rest.hi = key->hi << at | key->lo >> (64 - at);
        rest.lo = key->lo << at;
    }
    return rest;
}

/* n (1..64) bits of the key from bit `at` (0 = the first). */
static inline uint64_t ipset_bits(const ipset_key_t *key, unsigned at, unsigned n)
{
    return ipset_rest(key, at).hi >> (64 - n);
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
    ipset_key_t key;
    uint64_t word[2];

    __builtin_memcpy(word, address->bytes, 16);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word[0] = __builtin_bswap64(word[0]);
    word[1] = __builtin_bswap64(word[1]);
#endif
    key.hi = is_v4 ? word[1] << 32 : word[0];
    key.lo = is_v4 ? 0 : word[1];
    return key;
}

#endif
