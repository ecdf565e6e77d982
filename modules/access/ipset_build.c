/*
 * ipset_build.c - from prefixes to an image: sort, flatten into ranges, build the trie. See ipset.h and ipset_image.h.
 */
#include <stdlib.h>
#include <string.h>

#include "ipset.h"
#include "ipset_image.h"

/* A prefix as it is sorted: by first address, then shorter before longer. mark: bits * 2 + 1, or bits * 2 for an exclusion. */
typedef struct {
    ipset_key_t key;
    uint32_t mark;
} entry_t;

typedef struct {
    entry_t *entries;
    uint32_t count, room;
    int sorted;              /* still in order as added: nothing to sort */
    ipset_key_t *starts;
    uint8_t *values;
    uint32_t start_count;
    uint64_t *nodes;
    uint32_t node_count, node_room;
    unsigned width;          /* bits of an address */
} half_t;

struct gate_ipset_builder {
    half_t half[2];          /* v4, v6 */
    uint32_t count;
    size_t size_bytes;
};

gate_ipset_builder_t *gate_ipset_builder_create(void)
{
    gate_ipset_builder_t *builder = calloc(1, sizeof *builder);

    if (builder) {
        for (int i = 0; i < 2; i++) {
            builder->half[i].sorted = 1;
            builder->half[i].width = i == 0 ? 32 : 128;
        }
    }
    return builder;
}

void gate_ipset_builder_destroy(gate_ipset_builder_t *builder)
{
    if (!builder) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        free(builder->half[i].entries);
        free(builder->half[i].starts);
        free(builder->half[i].values);
        free(builder->half[i].nodes);
    }
    free(builder);
}

static int compare_keys(const ipset_key_t *a, const ipset_key_t *b)
{
    if (a->hi != b->hi) {
        return a->hi < b->hi ? -1 : 1;
    }
    return a->lo == b->lo ? 0 : a->lo < b->lo ? -1 : 1;
}

/* Of one prefix given twice the exclusion comes first, so that it is the one that stays. */
static int compare_entries(const void *a_, const void *b_)
{
    const entry_t *a = a_, *b = b_;
    int by_key = compare_keys(&a->key, &b->key);

    return by_key ? by_key : a->mark < b->mark ? -1 : a->mark > b->mark;
}

int gate_ipset_builder_add(gate_ipset_builder_t *builder, const gate_prefix_t *prefix, int exclude)
{
    int is_v4 = gate_address_is_v4(&prefix->address);
    half_t *half = &builder->half[is_v4 ? 0 : 1];
    entry_t *entry;

    if (half->count == half->room) {
        uint32_t room = half->room ? half->room * 2 : 64;
        entry_t *more = room > half->room ? realloc(half->entries, room * sizeof *more) : NULL;

        if (!more) {
            return -1;
        }
        half->entries = more;
        half->room = room;
    }
    entry = &half->entries[half->count];
    entry->key = ipset_key_of(&prefix->address, is_v4);
    entry->mark = prefix->bits * 2u + (exclude ? 0 : 1);
    if (half->count && half->sorted && compare_entries(entry - 1, entry) > 0) {
        half->sorted = 0;
    }
    half->count++;
    builder->count++;
    return 0;
}

uint32_t gate_ipset_builder_count(const gate_ipset_builder_t *builder)
{
    return builder->count;
}

/* First address after the prefix. Returns 0 when there is none (it reaches to the end). */
static int key_after(const ipset_key_t *key, unsigned bits, ipset_key_t *out)
{
    uint64_t step;

    *out = *key;
    if (bits > 64) {
        step = bits == 128 ? 1 : UINT64_C(1) << (128 - bits);
        out->lo += step;
        if (out->lo >= step) {
            return 1;
        }
        return ++out->hi != 0;
    }
    if (bits == 0) {
        return 0;
    }
    step = UINT64_C(1) << (64 - bits);
    out->hi += step;
    return out->hi >= step;
}

/* Appends a range; one that says the same as the range before is no range of its own. */
static void put_start(half_t *half, const ipset_key_t *key, uint8_t value)
{
    if (half->start_count && compare_keys(&half->starts[half->start_count - 1], key) == 0) {
        half->start_count--; /* the range before is empty */
    }
    if (half->start_count && half->values[half->start_count - 1] == value) {
        return;
    }
    half->starts[half->start_count] = *key;
    half->values[half->start_count++] = value;
}

/* Prefixes that are open at the place the sweep has reached, innermost last. */
typedef struct {
    struct {
        ipset_key_t end;
        int has_end;
        uint8_t value;
    } open[130];
    int depth;
} nest_t;

static uint8_t nest_value(const nest_t *nest)
{
    return nest->depth ? nest->open[nest->depth - 1].value : 0;
}

/* Closes what ends at or before key (all of it when key is NULL). */
static void nest_close(half_t *half, nest_t *nest, const ipset_key_t *key)
{
    while (nest->depth) {
        ipset_key_t end = nest->open[nest->depth - 1].end;
        int has_end = nest->open[nest->depth - 1].has_end;

        if (key && (!has_end || compare_keys(&end, key) > 0)) {
            return;
        }
        nest->depth--;
        if (has_end) {
            put_start(half, &end, nest_value(nest));
        }
    }
}

static int flatten(half_t *half)
{
    nest_t nest = { .depth = 0 };
    const ipset_key_t zero = { 0, 0 };
    size_t room = 2 * (size_t)half->count + 2;

    half->starts = malloc(room * sizeof *half->starts);
    half->values = malloc(room);
    if (!half->starts || !half->values) {
        return -1;
    }
    put_start(half, &zero, 0);
    for (uint32_t i = 0; i < half->count; i++) {
        const entry_t *entry = &half->entries[i];
        unsigned bits = entry->mark / 2;

        if (i && compare_keys(&entry[-1].key, &entry->key) == 0 && entry[-1].mark / 2 == bits) {
            entry_t *twin = &half->entries[i]; /* given twice: the first of them decided */

            twin->mark = entry[-1].mark;
            continue;
        }
        nest_close(half, &nest, &entry->key);
        nest.open[nest.depth].has_end = key_after(&entry->key, bits, &nest.open[nest.depth].end);
        nest.open[nest.depth].value = entry->mark & 1 ? (uint8_t)(bits + 1) : 0;
        nest.depth++;
        put_start(half, &entry->key, nest_value(&nest));
    }
    nest_close(half, &nest, NULL);
    return 0;
}

/* Room for n more nodes. Returns the index of the first, or UINT32_MAX. */
static uint32_t new_nodes(half_t *half, uint32_t n)
{
    uint32_t at = half->node_count;

    if (n > UINT32_MAX / 2 - at) {
        return UINT32_MAX;
    }
    if (at + n > half->node_room) {
        uint32_t room = (at + n) + (at + n) / 4 + 64;
        uint64_t *more = realloc(half->nodes, room * sizeof *more);

        if (!more) {
            return UINT32_MAX;
        }
        half->nodes = more;
        half->node_room = room;
    }
    half->node_count += n;
    return at;
}

/*
 * How many bits to branch on, for the starts begin .. end-1 which agree before bit `at`: as many as leave at least half of the
 * children with a start of their own (the fill factor of the LC-trie), and no more children than half the starts.
 */
static unsigned choose_branch(const half_t *half, uint32_t begin, uint32_t end, unsigned at)
{
    uint32_t differ[129] = { 0 };
    uint64_t distinct = 1;
    unsigned best = 1;

    for (uint32_t i = begin + 1; i < end; i++) {
        differ[ipset_common(&half->starts[i - 1], &half->starts[i])]++;
    }
    for (unsigned branch = 1; branch <= IPSET_BRANCH_MAX && at + branch <= half->width; branch++) {
        uint64_t children = UINT64_C(1) << branch;

        distinct += differ[at + branch - 1];
        if (children > (end - begin) / 2) {
            break;
        }
        if (distinct * 2 >= children) {
            best = branch;
        }
    }
    return best;
}

/* Builds the node `self` over the starts begin .. end-1, which agree in the first `at` bits. Recursion is at most `width` deep. */
static int build_node(half_t *half, uint32_t self, uint32_t begin, uint32_t end, unsigned at)
{
    unsigned common, skip, branch;
    uint32_t first, children, from = begin;

    if (end - begin <= IPSET_LEAF_MAX) {
        half->nodes[self] = ipset_leaf(begin, end - begin);
        return 0;
    }
    common = ipset_common(&half->starts[begin], &half->starts[end - 1]);
    skip = common - at > IPSET_SKIP_MAX ? IPSET_SKIP_MAX : common - at;
    at += skip;
    branch = choose_branch(half, begin, end, at);
    children = 1u << branch;
    first = new_nodes(half, children + (skip ? 1 : 0));
    if (first == UINT32_MAX) {
        return -1;
    }
    if (skip) {
        half->nodes[first++] = ipset_bits(&half->starts[begin], at - skip, skip);
    }
    half->nodes[self] = ipset_branch(first, at, skip, branch);
    for (uint32_t child = 0; child < children; child++) {
        uint32_t to = from;

        while (to < end && ipset_bits(&half->starts[to], at, branch) == child) {
            to++;
        }
        if (build_node(half, first + child, from, to, at + branch) != 0) {
            return -1;
        }
        from = to;
    }
    return 0;
}

static int half_finish(half_t *half)
{
    if (!half->sorted) {
        qsort(half->entries, half->count, sizeof *half->entries, compare_entries);
    }
    if (flatten(half) != 0) {
        return -1;
    }
    free(half->entries);
    half->entries = NULL;
    if (new_nodes(half, 1) == UINT32_MAX) {
        return -1;
    }
    return build_node(half, 0, 0, half->start_count, 0);
}

static size_t align8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static size_t half_size(const half_t *half)
{
    return align8((size_t)half->node_count * 8) + align8((size_t)half->start_count * (half->width / 8)) + align8(half->start_count);
}

size_t gate_ipset_builder_finish(gate_ipset_builder_t *builder)
{
    if (half_finish(&builder->half[0]) != 0 || half_finish(&builder->half[1]) != 0) {
        return 0;
    }
    builder->size_bytes = align8(sizeof(ipset_header_t)) + half_size(&builder->half[0]) + half_size(&builder->half[1]);
    return builder->size_bytes;
}

static void write_starts(const half_t *half, void *where)
{
    for (uint32_t i = 0; i < half->start_count; i++) {
        if (half->width == 32) {
            ((uint32_t *)where)[i] = (uint32_t)(half->starts[i].hi >> 32);
        }
        else {
            ((uint64_t *)where)[2 * (size_t)i] = half->starts[i].hi;
            ((uint64_t *)where)[2 * (size_t)i + 1] = half->starts[i].lo;
        }
    }
}

void gate_ipset_builder_write(const gate_ipset_builder_t *builder, void *where)
{
    ipset_header_t header = { .magic = IPSET_MAGIC, .layout = GATE_IPSET_LAYOUT, .prefixes = builder->count,
                              .size_bytes = builder->size_bytes };
    uint64_t at = align8(sizeof header);

    for (int i = 0; i < 2; i++) {
        const half_t *half = &builder->half[i];
        ipset_family_t *f = &header.family[i];

        f->nodes = half->node_count;
        f->starts = half->start_count;
        f->node_at = at;
        memcpy((char *)where + at, half->nodes, (size_t)half->node_count * 8);
        at += align8((size_t)half->node_count * 8);
        f->start_at = at;
        write_starts(half, (char *)where + at);
        at += align8((size_t)half->start_count * (half->width / 8));
        f->value_at = at;
        memcpy((char *)where + at, half->values, half->start_count);
        at += align8(half->start_count);
    }
    memcpy(where, &header, sizeof header);
}
