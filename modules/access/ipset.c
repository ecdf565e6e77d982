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
    uint64_t node_count, branch_count, block_bytes;
    int is_v4;
} family_t;

/* Another process may be overwriting what is read (ipset_store.c): every load is atomic, so that it is merely old or new. */
#define LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define PREFETCH_LINES 2
#define NOTHING ((unsigned)-1) /* a word that cannot be right: the image is being overwritten */

static inline int fits(uint64_t at, uint64_t count, uint64_t width, uint64_t size)
{
    return at <= size && at % 8 == 0 && count <= (size - at) / width;
}

static inline int family_open(const void *image, size_t size, int is_v4, family_t *out)
{
    const ipset_header_t *header = image;
    const ipset_family_t *f;
    uint64_t node_at, branch_at, block_at;

    if (size < sizeof *header || LOAD(&header->magic) != IPSET_MAGIC || LOAD(&header->layout) != GATE_IPSET_LAYOUT) {
        return 0;
    }
    f = &header->family[is_v4 ? 0 : 1];
    out->node_count = LOAD(&f->nodes);
    out->branch_count = LOAD(&f->branches);
    out->block_bytes = LOAD(&f->block_bytes);
    node_at = LOAD(&f->node_at);
    branch_at = LOAD(&f->branch_at);
    block_at = LOAD(&f->block_at);
    if (out->node_count == 0 || !fits(node_at, out->node_count, 4, size) || !fits(branch_at, out->branch_count, 8, size)
        || !fits(block_at, out->block_bytes, 1, size)) {
        return 0;
    }
    out->nodes = (const uint32_t *)((const char *)image + node_at);
    out->branches = (const uint64_t *)((const char *)image + branch_at);
    out->blocks = (const char *)image + block_at;
    out->is_v4 = is_v4;
    return 1;
}

/* A leaf's block with its count and rest words; NULL when it and the line behind it are not inside. */
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
    if (*count > IPSET_LEAF_MAX || *rest_words > 2
        || at + ipset_block_size(*count, *rest_words) + IPSET_LINE > f->block_bytes) {
        return NULL;
    }
    return f->blocks + at;
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

/* A start's bits behind its window. */
static inline ipset_key_t rest_at(const uint64_t *words, unsigned rest_words)
{
    ipset_key_t rest = { LOAD(&words[0]), LOAD(&words[1]) };

    rest.hi = rest_words > 0 ? rest.hi : 0;
    rest.lo = rest_words > 1 ? rest.lo : 0;
    return rest;
}

/* 1 if a is at or before b, without a branch. */
static inline uint32_t at_or_before(const ipset_key_t *a, const ipset_key_t *b)
{
    return (uint32_t)((a->hi < b->hi) | ((a->hi == b->hi) & (a->lo <= b->lo)));
}

/* 1 if the first `bits` (may be less than 0) of this 16 + 112 bits wide difference are 0, without a branch. */
static inline int agrees(unsigned windows, const ipset_key_t *a, const ipset_key_t *b, int bits)
{
    uint64_t first = a->hi ^ b->hi, second = a->lo ^ b->lo;
    uint64_t hi = (uint64_t)windows << 48 | first >> 16, lo = first << 48 | second >> 16;
    uint64_t hi_mask = ~(UINT64_MAX >> (bits & 63)), lo_mask = hi_mask;

    hi_mask = bits >= 64 ? UINT64_MAX : bits <= 0 ? 0 : hi_mask;
    lo_mask = bits >= 128 ? UINT64_MAX : bits <= 64 ? 0 : lo_mask;
    return ((hi & hi_mask) | (lo & lo_mask)) == 0;
}

/*
 * What a block says of the address whose bits from here (`passed`) on are `rest`. Mostly the window is that of no start or of one:
 * these cases, and whether the address is still in the prefix, are not told apart by branches, which would be guessed wrong and keep
 * the processor from the next look-up until this one's lines have come. Where no window is the same the rests say nothing, and are
 * not read: the block's head stands in for them.
 */
static inline unsigned block_value(const char *block, uint32_t count, unsigned rest_words, unsigned passed, const ipset_key_t *rest)
{
    const uint16_t *windows = (const uint16_t *)(block + 2);
    const uint8_t *values = (const uint8_t *)block + ipset_values_at(count);
    const uint64_t *words;
    unsigned own = (unsigned)(rest->hi >> 48), value, gap;
    uint32_t less, same, before;
    ipset_key_t behind = ipset_rest(rest, 16), start;

    count_line(block, count, own, &less, &same);
    for (uint32_t i = IPSET_LEAF_LINE; i < count; i++) {
        unsigned window = LOAD(&windows[i]);

        less += window < own;
        same += window == own;
    }
    if (less + same > count) { /* it is being overwritten */
        return NOTHING;
    }
    words = (const uint64_t *)(same ? block + ipset_rests_at(count) + (size_t)less * rest_words * 8 : block);
    start = rest_at(words, rest_words);
    before = (same > 0) & at_or_before(&start, &behind);
    for (uint32_t i = 1; i < same; i++) { /* seldom: one branch that is guessed right */
        ipset_key_t next = rest_at(words + (size_t)i * rest_words, rest_words);

        if (!at_or_before(&next, &behind)) {
            break;
        }
        start = next;
        before = i + 1;
    }
    value = LOAD(&values[less + before]);
    gap = LOAD(&values[count + 1]);
    own ^= LOAD((const uint16_t *)block + less + before); /* of the first start's predecessor it is the head: not used below */
    return (value == 0) | (less + before == 0) | agrees(own, &start, &behind, (int)value - 1 - (int)passed) ? value : gap;
}

/* The value before the first (last = 0) or after the last start below a node. */
static unsigned edge_value(const family_t *f, uint32_t node, int last)
{
    const ipset_key_t behind_all = { UINT64_MAX, UINT64_MAX };
    const char *block;
    uint32_t count;
    unsigned rest_words, passed = 0;

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
        passed = ipset_branch_at(branch) + ipset_branch_bits(branch);
        node = LOAD(&f->nodes[child]);
    }
    block = block_of(f, node, &count, &rest_words);
    if (!block) {
        return NOTHING;
    }
    return last ? block_value(block, count, rest_words, passed, &behind_all) : LOAD((const uint8_t *)block + ipset_values_at(count));
}

/* The lines behind a block's first, which mostly hold its rests, are wanted together with it and not after it. */
static inline void prefetch_rests(const char *block)
{
    for (int line = 1; line <= PREFETCH_LINES; line++) {
        __builtin_prefetch(block + line * IPSET_LINE);
    }
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
    if (!f->is_v4) {
        prefetch_rests(f->blocks + (uint64_t)node * 8);
    }
    block = block_of(f, node, &count, &rest_words);
    if (!block) {
        return NOTHING;
    }
    rest = ipset_rest(key, passed);
    return block_value(block, count, rest_words, passed, &rest);
}

int gate_ipset_find(const void *image, size_t size_bytes, const gate_address_t *address, gate_prefix_t *match)
{
    int is_v4 = gate_address_is_v4(address), in;
    ipset_key_t key;
    family_t family;
    unsigned value;

    if (!address->known || !family_open(image, size_bytes, is_v4, &family)) {
        return 0;
    }
    key = ipset_key_of(address, is_v4);
    value = value_of(&family, &key);
    in = value - 1 < (is_v4 ? 33u : 129u);
    if (match && in) {
        match->address = *address;
        match->bits = (uint8_t)(value - 1);
        gate_address_cut(&match->address, match->bits, match->bits);
    }
    return in;
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

static void walk_leaf(walk_t *walk, uint32_t leaf, unsigned passed)
{
    const ipset_key_t behind_all = { UINT64_MAX, UINT64_MAX };
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
    for (uint32_t i = 0; i <= count; i++) {
        if (values[i + 1] > (f->is_v4 ? 33 : 129)) {
            walk->fault = "a range has an impossible prefix length";
        }
        if (i > 0 && i < count && (rest_words ? windows[i - 1] > windows[i] : windows[i - 1] >= windows[i])) {
            walk->fault = "starts of a block are out of order";
        }
    }
    walk->value = block_value(block, count, rest_words, passed, &behind_all);
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
        walk_leaf(walk, node, passed);
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
