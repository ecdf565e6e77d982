/* ipset.c - look-ups in an image; see ipset.h and ipset_image.h. */
#include <stdio.h>
#include <string.h>

#include "ipset.h"
#include "ipset_image.h"

/* One family of an image, as far as it lies inside the memory that may be read. */
typedef struct {
    const uint32_t *nodes;
    const uint64_t *branches;
    const char *blocks;
    const uint64_t *rests;
    uint64_t node_count, branch_count, block_bytes, rest_count;
    int is_v4;
} family_t;

/* Another process may be overwriting what is read (ipset_store.c): every load is atomic, so that it is merely old or new. */
#define LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define NOTHING ((unsigned)-1) /* a word that cannot be right: the image is being overwritten */

static inline int fits(uint64_t at, uint64_t count, uint64_t width, uint64_t size)
{
    return at <= size && at % 8 == 0 && count <= (size - at) / width;
}

static inline int family_open(const void *image, size_t size, int is_v4, family_t *out)
{
    const ipset_header_t *header = image;
    const ipset_family_t *f;
    uint64_t node_at, branch_at, block_at, rest_at;

    if (size < sizeof *header || LOAD(&header->magic) != IPSET_MAGIC || LOAD(&header->layout) != GATE_IPSET_LAYOUT) {
        return 0;
    }
    f = &header->family[is_v4 ? 0 : 1];
    out->node_count = LOAD(&f->nodes);
    out->branch_count = LOAD(&f->branches);
    out->block_bytes = LOAD(&f->block_bytes);
    node_at = LOAD(&f->node_at);
    branch_at = LOAD(&f->branch_at);
    out->rest_count = LOAD(&f->rests);
    block_at = LOAD(&f->block_at);
    rest_at = LOAD(&f->rest_at);
    if (out->node_count == 0 || !fits(node_at, out->node_count, 4, size) || !fits(branch_at, out->branch_count, 8, size)
        || !fits(block_at, out->block_bytes, 1, size) || !fits(rest_at, out->rest_count, 8, size)) {
        return 0;
    }
    out->nodes = (const uint32_t *)((const char *)image + node_at);
    out->branches = (const uint64_t *)((const char *)image + branch_at);
    out->blocks = (const char *)image + block_at;
    out->rests = (const uint64_t *)((const char *)image + rest_at);
    out->is_v4 = is_v4;
    return 1;
}

/* A leaf's block with its count and rest words; NULL when it is not inside. */
static inline const char *block_of(const family_t *f, uint32_t leaf, uint32_t *count, unsigned *rest_words)
{
    uint64_t at = (uint64_t)leaf * 8;
    unsigned head;

    if (at + IPSET_LINE > f->block_bytes) {
        return NULL;
    }
    head = LOAD((const uint16_t *)(f->blocks + at));
    *count = head & 0xff;
    *rest_words = head >> 8;
    if (*count > IPSET_LEAF_MAX || *rest_words > 2 || at + ipset_block_size(*count, *rest_words) > f->block_bytes) {
        return NULL;
    }
    return f->blocks + at;
}

/* The value before the first (last = 0) or after the last start below a node. */
static unsigned edge_value(const family_t *f, uint32_t node, int last)
{
    const char *block;
    uint32_t count;
    unsigned rest_words;

    for (int depth = 0; node & IPSET_IS_BRANCH; depth++) {
        uint32_t index = node & ~IPSET_IS_BRANCH;
        uint64_t branch, child;

        if (index >= f->branch_count || depth > 128) {
            return NOTHING;
        }
        branch = LOAD(&f->branches[index]);
        child = ipset_branch_first(branch) + (last ? (UINT64_C(1) << (ipset_branch_bits(branch) & 31)) - 1 : 0);
        if (child >= f->node_count) {
            return NOTHING;
        }
        node = LOAD(&f->nodes[child]);
    }
    block = block_of(f, node, &count, &rest_words);
    return block ? LOAD((const uint8_t *)block + ipset_values_at(count) + (last ? count : 0)) : NOTHING;
}

/* Eight of a block's 16-bit words side by side. */
typedef uint16_t lanes_t __attribute__((vector_size(16)));
typedef uint64_t halves_t __attribute__((vector_size(16)));

/*
 * How many windows of a block's first line are less than the address's, and how many are the same. All of them are compared at
 * once, without a branch and in few instructions: nobody can predict these, and a processor that need not wait for them goes on
 * to the next look-up while this block comes in from memory.
 */
static inline void count_line(const char *block, uint32_t count, unsigned own, uint32_t *less, uint32_t *same)
{
    const uint64_t *words = (const uint64_t *)block;
    uint16_t o = (uint16_t)own, n = (uint16_t)count;
    lanes_t owns = { o, o, o, o, o, o, o, o }, counts = { n, n, n, n, n, n, n, n };
    lanes_t place = { 0xffff, 0, 1, 2, 3, 4, 5, 6 }, step = { 0, 8, 8, 8, 8, 8, 8, 8 }, below = { 0 }, equal = { 0 };

    for (int i = 0; i < 3; i++) {
        halves_t raw = { LOAD(&words[2 * i]), LOAD(&words[2 * i + 1]) };
        lanes_t windows = (lanes_t)raw, used = (lanes_t)(place < counts);

        below += (lanes_t)(windows < owns) & used;
        equal += (lanes_t)(windows == owns) & used;
        place += step;
        place[0] = (uint16_t)(7 + 8 * i); /* lane 0 of the first eight is the head */
    }
    below = -below;
    equal = -equal;
    *less = (uint32_t)((((halves_t)below)[0] + ((halves_t)below)[1]) * UINT64_C(0x0001000100010001) >> 48);
    *same = (uint32_t)((((halves_t)equal)[0] + ((halves_t)equal)[1]) * UINT64_C(0x0001000100010001) >> 48);
}

/* How many starts of a block are at or before the address whose bits from here on are `rest`. */
static inline uint32_t starts_before(const family_t *f, const char *block, uint32_t count, unsigned rest_words,
                                     const ipset_key_t *rest)
{
    const uint16_t *windows = (const uint16_t *)(block + 2);
    const uint64_t *words;
    uint64_t index;
    unsigned own = (unsigned)(rest->hi >> 48);
    uint32_t less, same;
    ipset_key_t behind;

    count_line(block, count, own, &less, &same);
    for (uint32_t i = IPSET_LEAF_LINE; i < count; i++) {
        unsigned window = LOAD(&windows[i]);

        less += window < own;
        same += window == own;
    }
    if (rest_words == 0 || same == 0) {
        return less + same < count ? less + same : count;
    }
    index = LOAD((const uint32_t *)(block + ipset_index_at(count)));
    if (index + (uint64_t)count * rest_words > f->rest_count) {
        return 0;
    }
    words = f->rests + index;
    behind = ipset_rest(rest, 16);
    for (; same > 0 && less < count; same--, less++) {
        uint64_t first = LOAD(&words[(size_t)less * rest_words]);

        if (first > behind.hi || (first == behind.hi && rest_words == 2 && LOAD(&words[(size_t)less * 2 + 1]) > behind.lo)) {
            break;
        }
    }
    return less;
}

static unsigned value_of(const family_t *f, const ipset_key_t *key)
{
    uint32_t node = LOAD(&f->nodes[0]), count;
    unsigned passed = 0, rest_words;
    const char *block;
    ipset_key_t rest;

    for (int depth = 0; node & IPSET_IS_BRANCH; depth++) {
        uint32_t index = node & ~IPSET_IS_BRANCH;
        uint64_t branch, child;
        unsigned at, bits, skip;

        if (index + 1 >= f->branch_count || depth > 128) {
            return NOTHING;
        }
        branch = LOAD(&f->branches[index]);
        at = ipset_branch_at(branch);
        bits = ipset_branch_bits(branch);
        skip = ipset_branch_skip(branch);
        if (bits == 0 || bits > IPSET_BRANCH_MAX || at + bits > 128 || skip > at || skip > IPSET_SKIP_MAX) {
            return NOTHING;
        }
        if (skip) {
            uint64_t own = ipset_bits(key, at - skip, skip), theirs = LOAD(&f->branches[index + 1]);

            if (own != theirs) {
                return edge_value(f, node, own > theirs);
            }
        }
        child = ipset_branch_first(branch) + ipset_bits(key, at, bits);
        if (child >= f->node_count) {
            return NOTHING;
        }
        passed = at + bits;
        node = LOAD(&f->nodes[child]);
    }
    block = block_of(f, node, &count, &rest_words);
    if (!block) {
        return NOTHING;
    }
    rest = ipset_rest(key, passed);
    return LOAD((const uint8_t *)block + ipset_values_at(count) + starts_before(f, block, count, rest_words, &rest));
}

int gate_ipset_find(const void *image, size_t size_bytes, const gate_address_t *address, gate_prefix_t *match)
{
    int is_v4 = gate_address_is_v4(address);
    ipset_key_t key;
    family_t family;
    unsigned value;

    if (!address->known || !family_open(image, size_bytes, is_v4, &family)) {
        return 0;
    }
    key = ipset_key_of(address, is_v4);
    value = value_of(&family, &key);
    if (value == 0 || value > (is_v4 ? 33u : 129u)) {
        return 0;
    }
    if (match) {
        match->address = *address;
        match->bits = (uint8_t)(value - 1);
        gate_address_cut(&match->address, match->bits, match->bits);
    }
    return 1;
}

uint32_t gate_ipset_count(const void *image, size_t size_bytes)
{
    family_t family;

    return family_open(image, size_bytes, 1, &family) ? LOAD(&((const ipset_header_t *)image)->prefixes) : 0;
}

/* ---- validator: the trie in order, each block continuing where the one before ended --------------------------------------- */

typedef struct {
    const family_t *family;
    unsigned value;          /* behind the last start seen */
    int begun;
    const char *fault;
    uint64_t visited;
} walk_t;

static void walk_leaf(walk_t *walk, uint32_t leaf)
{
    const family_t *f = walk->family;
    uint32_t count;
    unsigned rest_words;
    const char *block = block_of(f, leaf, &count, &rest_words);
    const uint8_t *values;
    const uint16_t *windows;

    if (!block) {
        walk->fault = "a leaf points outside";
        return;
    }
    windows = (const uint16_t *)(block + 2);
    values = (const uint8_t *)block + ipset_values_at(count);
    if (values[0] != (walk->begun ? walk->value : 0)) {
        walk->fault = "a block does not go on where the one before ended";
    }
    for (uint32_t i = 0; i < count; i++) {
        if (values[i + 1] > (f->is_v4 ? 33 : 129)) {
            walk->fault = "a range has an impossible prefix length";
        }
        if (i > 0 && (rest_words ? windows[i - 1] > windows[i] : windows[i - 1] >= windows[i])) {
            walk->fault = "starts of a block are out of order";
        }
    }
    walk->value = values[count];
    walk->begun = 1;
}

static void walk_node(walk_t *walk, uint64_t self, unsigned passed)
{
    const family_t *f = walk->family;
    uint32_t node = f->nodes[self], index = node & ~IPSET_IS_BRANCH;
    uint64_t branch, first;
    unsigned at, bits;

    if (++walk->visited > f->node_count) {
        walk->fault = "the trie runs in circles";
        return;
    }
    if (!(node & IPSET_IS_BRANCH)) {
        walk_leaf(walk, node);
        return;
    }
    if (index + 1 >= f->branch_count) {
        walk->fault = "a node points outside";
        return;
    }
    branch = f->branches[index];
    first = ipset_branch_first(branch);
    at = ipset_branch_at(branch);
    bits = ipset_branch_bits(branch);
    if (bits == 0 || bits > IPSET_BRANCH_MAX || at != passed + ipset_branch_skip(branch) || at + bits > (f->is_v4 ? 32 : 128)
        || first <= self || first + (UINT64_C(1) << bits) > f->node_count) {
        walk->fault = "a branch is impossible";
        return;
    }
    for (uint64_t child = 0; child < UINT64_C(1) << bits && !walk->fault; child++) {
        walk_node(walk, first + child, at + bits);
    }
}

int gate_ipset_validate(const void *image, size_t size_bytes, char *why, size_t why_size)
{
    for (int is_v4 = 1; is_v4 >= 0; is_v4--) {
        family_t family;
        walk_t walk = { .family = &family };

        if (!family_open(image, size_bytes, is_v4, &family)) {
            snprintf(why, why_size, "not an image of this layout");
            return 1;
        }
        walk_node(&walk, 0, 0);
        if (walk.fault) {
            snprintf(why, why_size, "%s: %s", is_v4 ? "IPv4" : "IPv6", walk.fault);
            return 1;
        }
    }
    return 0;
}
