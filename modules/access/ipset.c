/* ipset.c - look-ups in an image; see ipset.h and ipset_image.h. */
#include <stdio.h>
#include <string.h>

#include "ipset.h"
#include "ipset_image.h"

/* One family of an image, as far as it lies inside the memory that may be read. */
typedef struct {
    const uint64_t *nodes;
    const void *starts;
    const uint8_t *values;
    uint32_t node_count, start_count;
    int is_v4;
} family_t;

/* Another process may be overwriting what is read (ipset_store.c): every load is atomic, so that it is merely old or new. */
#define LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)

static inline int fits(uint64_t at, uint64_t count, uint64_t width, uint64_t size)
{
    return at <= size && at % 8 == 0 && count <= (size - at) / width;
}

static inline int family_open(const void *image, size_t size, int is_v4, family_t *out)
{
    const ipset_header_t *header = image;
    const ipset_family_t *f;
    uint64_t node_at, start_at, value_at;

    if (size < sizeof *header || LOAD(&header->magic) != IPSET_MAGIC || LOAD(&header->layout) != GATE_IPSET_LAYOUT) {
        return 0;
    }
    f = &header->family[is_v4 ? 0 : 1];
    out->node_count = LOAD(&f->nodes);
    out->start_count = LOAD(&f->starts);
    node_at = LOAD(&f->node_at);
    start_at = LOAD(&f->start_at);
    value_at = LOAD(&f->value_at);
    if (out->node_count == 0 || out->start_count == 0 || !fits(node_at, out->node_count, 8, size)
        || !fits(start_at, out->start_count, is_v4 ? 4 : 16, size) || !fits(value_at, out->start_count, 1, size)) {
        return 0;
    }
    out->nodes = (const uint64_t *)((const char *)image + node_at);
    out->starts = (const char *)image + start_at;
    out->values = (const uint8_t *)image + value_at;
    out->is_v4 = is_v4;
    return 1;
}

static inline ipset_key_t start_key(const family_t *f, uint32_t i)
{
    ipset_key_t key = { 0, 0 };

    if (f->is_v4) {
        key.hi = (uint64_t)LOAD((const uint32_t *)f->starts + i) << 32;
    }
    else {
        key.hi = LOAD((const uint64_t *)f->starts + 2 * (size_t)i);
        key.lo = LOAD((const uint64_t *)f->starts + 2 * (size_t)i + 1);
    }
    return key;
}

/* Down the first (last = 0) or last child of every branch: the edge of the starts below. */
static uint32_t edge_of(const family_t *f, uint64_t node, int last)
{
    for (int depth = 0; depth < 128 && (node & IPSET_IS_BRANCH); depth++) {
        uint64_t child = ipset_node_first(node);

        if (last) {
            child += (UINT64_C(1) << ipset_node_branch(node)) - 1;
        }
        if (child >= f->node_count) {
            return 0;
        }
        node = LOAD(&f->nodes[child]);
    }
    return ipset_node_first(node) + (last ? ipset_node_count(node) : 0);
}

/* Index of the range that the key lies in; out of bounds only if the image is being overwritten. */
static inline uint32_t range_of(const family_t *f, const ipset_key_t *key)
{
    uint64_t node = LOAD(&f->nodes[0]);
    uint32_t i, end;

    for (int depth = 0; node & IPSET_IS_BRANCH; depth++) {
        unsigned at = ipset_node_at(node), skip = ipset_node_skip(node), branch = ipset_node_branch(node);
        uint64_t child = ipset_node_first(node);

        if (depth > 128 || branch == 0 || branch > IPSET_BRANCH_MAX || at + branch > 128 || skip > at || skip > IPSET_SKIP_MAX) {
            return 0;
        }
        if (skip) {
            uint64_t own = ipset_bits(key, at - skip, skip), theirs;

            if (child == 0 || child > f->node_count) {
                return 0;
            }
            theirs = LOAD(&f->nodes[child - 1]);
            if (own != theirs) {
                return edge_of(f, node, own > theirs) - 1;
            }
        }
        child += ipset_bits(key, at, branch);
        if (child >= f->node_count) {
            return 0;
        }
        node = LOAD(&f->nodes[child]);
    }
    i = ipset_node_first(node);
    end = i + ipset_node_count(node);
    while (i < end && i < f->start_count) {
        ipset_key_t start = start_key(f, i);

        if (!ipset_key_le(&start, key)) {
            break;
        }
        i++;
    }
    return i - 1;
}

int gate_ipset_find(const void *image, size_t size_bytes, const gate_address_t *address, gate_prefix_t *match)
{
    int is_v4 = gate_address_is_v4(address);
    ipset_key_t key;
    family_t family;
    uint32_t i;
    uint8_t value;

    if (!address->known || !family_open(image, size_bytes, is_v4, &family)) {
        return 0;
    }
    key = ipset_key_of(address, is_v4);
    i = range_of(&family, &key);
    if (i >= family.start_count) {
        return 0;
    }
    value = LOAD(&family.values[i]);
    if (value && match) {
        match->address = *address;
        match->bits = (uint8_t)(value - 1 > (is_v4 ? 32 : 128) ? 0 : value - 1);
        gate_address_cut(&match->address, match->bits, match->bits);
    }
    return value != 0;
}

uint32_t gate_ipset_count(const void *image, size_t size_bytes)
{
    family_t family;

    if (!family_open(image, size_bytes, 1, &family)) {
        return 0;
    }
    return LOAD(&((const ipset_header_t *)image)->prefixes);
}

/* Every start in order, values possible, and every start found again by a look-up. */
static int family_validate(const family_t *f, const char *name, char *why, size_t why_size)
{
    uint8_t top = f->is_v4 ? 33 : 129;
    ipset_key_t before = { 0, 0 };

    for (uint32_t i = 0; i < f->start_count; i++) {
        ipset_key_t key = start_key(f, i);

        if (i == 0 ? (key.hi | key.lo) != 0 : ipset_key_le(&key, &before)) {
            snprintf(why, why_size, "%s: start %u is out of order", name, i);
            return 1;
        }
        if (f->values[i] > top) {
            snprintf(why, why_size, "%s: range %u has a prefix length of %u", name, i, f->values[i] - 1u);
            return 1;
        }
        if (range_of(f, &key) != i) {
            snprintf(why, why_size, "%s: the trie does not lead to range %u", name, i);
            return 1;
        }
        before = key;
    }
    return 0;
}

int gate_ipset_validate(const void *image, size_t size_bytes, char *why, size_t why_size)
{
    int faults = 0;

    for (int is_v4 = 1; is_v4 >= 0; is_v4--) {
        family_t family;

        if (!family_open(image, size_bytes, is_v4, &family)) {
            snprintf(why, why_size, "not an image of this layout");
            return faults + 1;
        }
        faults += family_validate(&family, is_v4 ? "IPv4" : "IPv6", why, why_size);
    }
    return faults;
}
