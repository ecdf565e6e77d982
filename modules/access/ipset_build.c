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

/* A part of the image as it grows. */
typedef struct {
    char *bytes;
    uint64_t used, room;
} part_t;

typedef struct {
    entry_t *entries;
    uint32_t count, room;
    int sorted;              /* still in order as added: nothing to sort */
    ipset_key_t *starts;
    uint8_t *values;
    uint32_t start_count;
    part_t nodes, branches, blocks;
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
        free(builder->half[i].nodes.bytes);
        free(builder->half[i].branches.bytes);
        free(builder->half[i].blocks.bytes);
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

/* Is an address in the prefix that put `start` there with this value? What is in no prefix is all alike. */
static int same_prefix(const ipset_key_t *start, const ipset_key_t *other, uint8_t value)
{
    return value == 0 || ipset_common(start, other) >= value - 1u;
}

/* Appends a range; one of the same prefix as the range before is no range of its own. */
static void put_start(half_t *half, const ipset_key_t *key, uint8_t value)
{
    if (half->start_count && compare_keys(&half->starts[half->start_count - 1], key) == 0) {
        half->start_count--; /* the range before is empty */
    }
    if (half->start_count && half->values[half->start_count - 1] == value
        && same_prefix(&half->starts[half->start_count - 1], key, value)) {
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

/* Zeroed room for so many bytes more at the end. Returns their offset, or UINT64_MAX. */
static uint64_t grow(part_t *part, uint64_t size)
{
    uint64_t at = part->used;

    if (at + size > part->room) {
        uint64_t room = (at + size) + (at + size) / 2 + 4096;
        char *more = realloc(part->bytes, room);

        if (!more) {
            return UINT64_MAX;
        }
        memset(more + part->room, 0, room - part->room);
        part->bytes = more;
        part->room = room;
    }
    part->used = at + size;
    return at;
}

/*
 * How many bits to branch on, for the starts begin .. end-1 which agree before bit `at`: as many as leave at least half of the
 * children with a start of their own (the fill factor of the LC-trie), and 24 starts, or twelve prefixes, a child; and where children
 * are few beside the starts, however full: clusters are then told apart in one step, for an eighth of a byte a start.
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
        if (children > (end - begin) / 24) {
            break;
        }
        if (distinct * 2 >= children || children * 32 <= end - begin) {
            best = branch;
        }
    }
    return best;
}

/* A block of so many bytes, the first `together` of them in one cache line if they fit. Returns its offset, or UINT64_MAX. */
static uint64_t new_block(part_t *blocks, uint64_t size, uint64_t together)
{
    uint64_t in_line = blocks->used % IPSET_LINE;

    if (in_line + together > IPSET_LINE && together <= IPSET_LINE && grow(blocks, IPSET_LINE - in_line) == UINT64_MAX) {
        return UINT64_MAX;
    }
    return grow(blocks, size);
}

/* Does start i (begin .. end-1 being those of a leaf) only say that the prefix of the one before has ended? */
static inline int is_end(const half_t *half, uint32_t begin, uint32_t i)
{
    return i > begin && !same_prefix(&half->starts[i - 1], &half->starts[i], half->values[i - 1]);
}

/* How many of the starts begin .. end-1 a leaf has to hold if its gap is the value that saves most of them. */
static uint32_t choose_gap(const half_t *half, uint32_t begin, uint32_t end, uint8_t *gap)
{
    uint8_t ends[256] = { 0 };

    *gap = 0;
    for (uint32_t i = begin; i < end; i++) {
        if (is_end(half, begin, i) && ++ends[half->values[i]] > ends[*gap]) {
            *gap = half->values[i];
        }
    }
    return end - begin - ends[*gap];
}

/* How many words behind the windows it takes to tell these starts. */
static unsigned rest_words(const half_t *half, uint32_t begin, uint32_t end, unsigned passed)
{
    unsigned words = 0;

    for (uint32_t i = begin; i < end; i++) {
        ipset_key_t behind = ipset_rest(&half->starts[i], passed + 16);

        words = behind.lo ? 2 : behind.hi && !words ? 1 : words;
    }
    return words;
}

/* A leaf over the starts begin .. end-1, reached after `passed` bits, which holds `count` of them. */
static int build_leaf(half_t *half, uint32_t self, uint32_t begin, uint32_t end, unsigned passed, uint32_t count, uint8_t gap)
{
    unsigned words = rest_words(half, begin, end, passed);
    uint64_t at = new_block(&half->blocks, ipset_block_size(count, words), ipset_rests_at(count));
    uint16_t *window;
    uint8_t *value;
    uint64_t *rest;

    if (at == UINT64_MAX || at / 8 >= IPSET_IS_BRANCH) {
        return -1;
    }
    window = (uint16_t *)(half->blocks.bytes + at);
    value = (uint8_t *)window + ipset_values_at(count);
    rest = (uint64_t *)((char *)window + ipset_rests_at(count));
    *window++ = (uint16_t)(count | words << 8);
    *value++ = begin ? half->values[begin - 1] : 0;
    for (uint32_t i = begin; i < end; i++) {
        ipset_key_t behind = ipset_rest(&half->starts[i], passed + 16);

        if (half->values[i] == gap && is_end(half, begin, i)) {
            continue;
        }
        *window++ = (uint16_t)(ipset_rest(&half->starts[i], passed).hi >> 48);
        *value++ = half->values[i];
        if (words > 0) {
            *rest++ = behind.hi;
        }
        if (words > 1) {
            *rest++ = behind.lo;
        }
    }
    *value = gap;
    ((uint32_t *)half->nodes.bytes)[self] = (uint32_t)(at / 8);
    return 0;
}

/* Makes the node `self` a branch with its children, yet empty. Returns the first child, or UINT64_MAX. */
static uint64_t build_branch(half_t *half, uint32_t self, unsigned at, unsigned skip, unsigned bits, uint64_t skipped)
{
    uint64_t branch_at = grow(&half->branches, 16), first;
    uint64_t *entry;

    first = branch_at == UINT64_MAX ? UINT64_MAX : grow(&half->nodes, UINT64_C(4) << bits);
    if (first == UINT64_MAX || first / 4 > UINT32_MAX) {
        return UINT64_MAX;
    }
    entry = (uint64_t *)(half->branches.bytes + branch_at);
    entry[0] = ipset_branch((uint32_t)(first / 4), at, skip, bits);
    entry[1] = skipped;
    ((uint32_t *)half->nodes.bytes)[self] = IPSET_IS_BRANCH | (uint32_t)(branch_at / 8);
    return first / 4;
}

/* Builds the node `self` over the starts begin .. end-1, which agree in the first `at` bits. Recursion is at most `width` deep. */
static int build_node(half_t *half, uint32_t self, uint32_t begin, uint32_t end, unsigned at)
{
    unsigned common, skip, bits;
    uint32_t from = begin, count;
    uint64_t first;
    uint8_t gap;

    if (end - begin <= 2 * IPSET_LEAF_MAX && (count = choose_gap(half, begin, end, &gap)) <= IPSET_LEAF_MAX) {
        return build_leaf(half, self, begin, end, at, count, gap);
    }
    common = ipset_common(&half->starts[begin], &half->starts[end - 1]);
    skip = common - at > IPSET_SKIP_MAX ? IPSET_SKIP_MAX : common - at;
    at += skip;
    bits = choose_branch(half, begin, end, at);
    first = build_branch(half, self, at, skip, bits, skip ? ipset_bits(&half->starts[begin], at - skip, skip) : 0);
    if (first == UINT64_MAX) {
        return -1;
    }
    for (uint32_t child = 0; child < 1u << bits; child++) {
        uint32_t to = from;

        while (to < end && ipset_bits(&half->starts[to], at, bits) == child) {
            to++;
        }
        if (build_node(half, (uint32_t)first + child, from, to, at + bits) != 0) {
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
    if (grow(&half->nodes, 4) == UINT64_MAX || build_node(half, 0, 0, half->start_count, 0) != 0
        || grow(&half->blocks, IPSET_LINE) == UINT64_MAX) {
        return -1;
    }
    free(half->starts);
    half->starts = NULL;
    return 0;
}

static uint64_t line_up(uint64_t size)
{
    return (size + IPSET_LINE - 1) & ~(uint64_t)(IPSET_LINE - 1);
}

size_t gate_ipset_builder_finish(gate_ipset_builder_t *builder)
{
    uint64_t size = line_up(sizeof(ipset_header_t));

    for (int i = 0; i < 2; i++) {
        half_t *half = &builder->half[i];

        if (half_finish(half) != 0) {
            return 0;
        }
        size += line_up(half->nodes.used) + line_up(half->branches.used) + line_up(half->blocks.used);
    }
    builder->size_bytes = size;
    return size;
}

static uint64_t write_part(const part_t *part, char *image, uint64_t *at)
{
    uint64_t here = *at;

    if (part->used) {
        memcpy(image + here, part->bytes, part->used);
    }
    memset(image + here + part->used, 0, line_up(part->used) - part->used);
    *at += line_up(part->used);
    return here;
}

void gate_ipset_builder_write(const gate_ipset_builder_t *builder, void *where)
{
    ipset_header_t header = { .magic = IPSET_MAGIC, .layout = GATE_IPSET_LAYOUT, .prefixes = builder->count,
                              .size_bytes = builder->size_bytes };
    uint64_t at = line_up(sizeof header);

    memset(where, 0, at);
    for (int i = 0; i < 2; i++) {
        const half_t *half = &builder->half[i];
        ipset_family_t *f = &header.family[i];

        f->nodes = half->nodes.used / 4;
        f->node_at = write_part(&half->nodes, where, &at);
        f->branches = half->branches.used / 8;
        f->branch_at = write_part(&half->branches, where, &at);
        f->block_bytes = half->blocks.used;
        f->block_at = write_part(&half->blocks, where, &at);
    }
    memcpy(where, &header, sizeof header);
}
