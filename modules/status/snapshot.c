/* snapshot.c - see snapshot.h. */

#include <stdio.h>
#include <string.h>

#include "snapshot.h"

const uint32_t snapshot_edges_usec[SNAPSHOT_EDGES] = { 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,
                                                       2500000, 5000000, 10000000, 30000000, 60000000 };
const char *const snapshot_edges[SNAPSHOT_EDGES] = { "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0",
                                                     "2.5", "5.0", "10.0", "30.0", "60.0" };

/* How many of a bucket's records are at most usec, which lies in it: as gate_histogram_at_most() has it. */
static uint64_t share(uint64_t records, uint32_t bucket, uint64_t usec)
{
    uint64_t lower = gate_histogram_lower(bucket), width = gate_histogram_upper(bucket) - lower + 1, part = usec - lower + 1;

    return part >= width ? records : (uint64_t)((unsigned __int128)records * part / width);
}

void snapshot_latency(const gate_histogram_t *histogram, snapshot_latency_t *out)
{
    uint64_t below[GATE_HISTOGRAM_BUCKETS], sum = 0;
    gate_histogram_t copy;

    memset(out, 0, sizeof *out);
    memset(&copy, 0, sizeof copy);
    gate_histogram_merge(&copy, histogram);
    for (uint32_t i = 0; i < GATE_HISTOGRAM_BUCKETS; i++) {
        below[i] = sum;
        sum += copy.bucket[i];
    }
    out->count = sum;
    if (sum == 0) {
        return;
    }
    out->sum_usec = copy.sum_usec;
    out->p50 = gate_histogram_quantile(&copy, 0.5);
    out->p90 = gate_histogram_quantile(&copy, 0.9);
    out->p99 = gate_histogram_quantile(&copy, 0.99);
    for (int i = 0; i < SNAPSHOT_EDGES; i++) {
        uint32_t bucket = gate_histogram_bucket(snapshot_edges_usec[i]);

        out->at_most[i] = below[bucket] + share(copy.bucket[bucket], bucket, snapshot_edges_usec[i]);
    }
}

static uint64_t failures(const gate_member_counts_t *counts)
{
    return counts->outcome[GATE_OUTCOME_STATUS] + counts->outcome[GATE_OUTCOME_CONNECT] + counts->outcome[GATE_OUTCOME_TIMEOUT]
        + counts->outcome[GATE_OUTCOME_RESET] + counts->outcome[GATE_OUTCOME_BAD] + counts->outcome[GATE_OUTCOME_BROKEN];
}

/* Few members are drained with a deadline, so looking through the changes for those alone is cheap. */
static int64_t drain_until(const snapshot_source_t *from, const gate_member_t *member)
{
    gate_change_t change;

    if (!from->changes || !(member->verdict & GATE_VERDICT_DRAIN)
        || gate_change_get(from->changes, gate_group_name(from->reg, member->group), member->id, &change) != 0) {
        return 0;
    }
    return change.deadline_wall_usec;
}

static int fill_member(apr_pool_t *p, const snapshot_source_t *from, uint32_t slot, snapshot_member_t *out)
{
    const gate_registry_t *reg = from->reg;
    const gate_section_t *const *sections = from->sections;
    gate_node_t *more;

    if (gate_member_get(reg, slot, &out->is) != 0) {
        return -1;
    }
    out->state = gate_verdict_word(out->is.verdict);
    gate_member_counts(reg, slot, &out->counts);
    out->failures = failures(&out->counts);
    out->inflight = gate_inflight(reg, slot);
    out->drain_until_wall_usec = drain_until(from, &out->is);
    snapshot_latency(gate_member_histogram(reg, slot), &out->latency);
    more = gate_node_create(p);
    for (; *sections; sections++) {
        if ((*sections)->member) {
            (*sections)->member(more, out->is.group, &out->is, (*sections)->ctx);
        }
    }
    out->more = more;
    return 0;
}

snapshot_member_t *snapshot_member(apr_pool_t *p, const snapshot_source_t *from, uint32_t slot)
{
    snapshot_member_t *member = apr_pcalloc(p, sizeof *member);

    return fill_member(p, from, slot, member) == 0 ? member : NULL;
}

/* FNV-1a, 64 bits. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
    const unsigned char *b = bytes;

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ b[i]) * UINT64_C(0x100000001B3);
    }
    return hash;
}

static uint64_t member_hash(uint64_t hash, const gate_member_t *m)
{
    uint32_t parts[] = { m->slot, m->incarnation, m->weight, m->flags, m->connections, m->verdict & GATE_VERDICT_ADMIN };

    hash = mix(hash, parts, sizeof parts);
    hash = mix(hash, m->id, strlen(m->id));
    return mix(hash, m->url, strlen(m->url));
}

#define HASH_BEGIN UINT64_C(0xCBF29CE484222325)

void snapshot_member_tag(const gate_member_t *member, char *tag)
{
    snprintf(tag, 17, "%016llx", (unsigned long long)member_hash(HASH_BEGIN, member));
}

void snapshot_group_tag(const snapshot_group_t *group, char *tag)
{
    uint64_t hash = HASH_BEGIN;

    for (uint32_t i = 0; i < group->count; i++) {
        hash = member_hash(hash, &group->members[i].is);
    }
    snprintf(tag, 17, "%016llx", (unsigned long long)hash);
}

/* The slots of a group; between two looks it may have grown. */
static uint32_t *slots_of(apr_pool_t *p, const gate_registry_t *reg, uint32_t group, uint32_t *count, uint32_t *version)
{
    uint32_t room = 64, *slots;

    for (;;) {
        slots = apr_palloc(p, room * sizeof *slots);
        *count = gate_group_members(reg, group, slots, room, version);
        if (*count <= room) {
            return slots;
        }
        room = *count + 16;
    }
}

static int fill_group(apr_pool_t *p, const snapshot_source_t *from, uint32_t group, snapshot_group_t *out)
{
    const gate_registry_t *reg = from->reg;
    const gate_section_t *const *sections = from->sections;
    const char *name = gate_group_name(reg, group);
    uint32_t *slots, count;
    gate_node_t *more;

    if (!*name) {
        return -1;
    }
    strncpy(out->name, name, sizeof out->name - 1);
    out->group = group;
    slots = slots_of(p, reg, group, &count, &out->version);
    out->members = apr_pcalloc(p, (count ? count : 1) * sizeof *out->members);
    for (uint32_t i = 0; i < count; i++) {
        snapshot_member_t *member = &out->members[out->count];

        /* one that was removed meanwhile is left out */
        if (fill_member(p, from, slots[i], member) == 0 && member->is.group == group) {
            out->usable += !(member->is.verdict & GATE_UNUSABLE);
            out->count++;
        }
    }
    out->active = gate_group_active(reg, group);
    out->retrying = gate_group_retrying(reg, group);
    more = gate_node_create(p);
    for (; *sections; sections++) {
        if ((*sections)->group) {
            (*sections)->group(more, group, (*sections)->ctx);
        }
    }
    out->more = more;
    return 0;
}

snapshot_group_t *snapshot_group(apr_pool_t *p, const snapshot_source_t *from, uint32_t group)
{
    snapshot_group_t *out = apr_pcalloc(p, sizeof *out);

    return group != GATE_NO_GROUP && fill_group(p, from, group, out) == 0 ? out : NULL;
}

static void take_groups(apr_pool_t *p, const snapshot_source_t *from, snapshot_t *out)
{
    const gate_registry_t *reg = from->reg;
    uint32_t all = gate_registry_limits(reg)->groups, living = 0;

    for (uint32_t i = 0; i < all; i++) {
        living += *gate_group_name(reg, i) != '\0';
    }
    out->groups = apr_pcalloc(p, (living ? living : 1) * sizeof *out->groups);
    for (uint32_t i = 0; i < all && out->group_count < living; i++) {
        snapshot_group_t *group = &out->groups[out->group_count];

        if (*gate_group_name(reg, i) && fill_group(p, from, i, group) == 0) {
            out->member_count += group->count;
            out->group_count++;
        }
    }
}

static void take_sections(apr_pool_t *p, const gate_section_t *const *sections, snapshot_t *out)
{
    out->sections = apr_pcalloc(p, GATE_SECTIONS_MAX * sizeof *out->sections);
    for (; *sections && out->section_count < GATE_SECTIONS_MAX; sections++) {
        gate_node_t *values = NULL;

        if ((*sections)->gather) {
            values = gate_node_create(p);
            (*sections)->gather(values, (*sections)->ctx);
        }
        out->sections[out->section_count].section = *sections;
        out->sections[out->section_count].values = values;
        out->section_count++;
    }
}

snapshot_t *snapshot_take(apr_pool_t *p, const snapshot_source_t *from, const snapshot_server_t *server)
{
    snapshot_t *out = apr_pcalloc(p, sizeof *out);

    out->server = server;
    take_groups(p, from, out);
    take_sections(p, from->sections, out);
    return out;
}
