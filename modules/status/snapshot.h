/*
 * snapshot.h - everything that status shows, gathered once; all renderings read it and nothing else.
 * Depends: gate_registry.h, gate_section.h, gate_event.h.
 * Memory:  all of it lives in the pool given; nothing in it points into shared memory.
 * Locking: none taken; each member is copied as it is at that moment, a group's set of members is whole.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <apr_pools.h>

#include "gate_changes.h"
#include "gate_event.h"
#include "gate_registry.h"
#include "gate_section.h"

/* Upper edges of the buckets in /metrics, microseconds; +Inf follows. */
#define SNAPSHOT_EDGES 15
extern const uint32_t snapshot_edges_usec[SNAPSHOT_EDGES];
extern const char *const snapshot_edges[SNAPSHOT_EDGES]; /* the same in seconds, as le= wants them */

typedef struct {
    uint64_t count, sum_usec;
    uint64_t p50, p90, p99;              /* microseconds, 0 when empty */
    uint64_t at_most[SNAPSHOT_EDGES];    /* how many took at most this edge */
} snapshot_latency_t;

/* Where it is all taken from; borrowed for the call. */
typedef struct {
    const gate_registry_t *reg;
    const gate_section_t *const *sections; /* ended by NULL, as gate_sections() gives them */
    const gate_changes_t *changes;         /* NULL: there are none */
} snapshot_source_t;

typedef struct {
    gate_member_t is;
    const char *state;                   /* in one word, static */
    gate_member_counts_t counts;
    uint64_t failures;                   /* tries that ended in a way that speaks against the member */
    uint32_t inflight;
    int64_t drain_until_wall_usec;       /* when it is removed; 0: it stays */
    snapshot_latency_t latency;
    const gate_node_t *more;             /* what sections add, an object */
} snapshot_member_t;

typedef struct {
    char name[GATE_NAME_LEN];
    uint32_t group, version;
    uint32_t active, retrying, usable;
    uint32_t count;
    snapshot_member_t *members;
    const gate_node_t *more;
} snapshot_group_t;

typedef struct {
    const gate_section_t *section;
    const gate_node_t *values;
} snapshot_section_t;

/* What only the server knows; borrowed by the snapshot. */
typedef struct {
    const char *server;                  /* Server banner */
    const char *name;                    /* of this host */
    const char *version;                 /* of Gatehouse */
    const char *mpm;
    uint32_t generation;
    int64_t started_wall_usec, now_wall_usec;
    int admin;                           /* changes are allowed */
    uint64_t admin_done, admin_failed, admin_refused;
} snapshot_server_t;

typedef struct {
    const snapshot_server_t *server;
    uint32_t group_count, section_count, member_count;
    snapshot_group_t *groups;
    snapshot_section_t *sections;
} snapshot_t;

/** Gathers all. */
snapshot_t *snapshot_take(apr_pool_t *p, const snapshot_source_t *from, const snapshot_server_t *server);

/**
 * Tag of what an admin may change of a member, for ETag and If-Match: the same as long as nobody changes that (checks and counters do
 * not). @param tag  17 bytes at least
 */
void snapshot_member_tag(const gate_member_t *member, char *tag);
/** Tag of a group's membership with all of its members' tags. */
void snapshot_group_tag(const snapshot_group_t *group, char *tag);

/** One member alone. @return NULL when the slot holds none */
snapshot_member_t *snapshot_member(apr_pool_t *p, const snapshot_source_t *from, uint32_t slot);

/** The group of that index alone; NULL when there is none. */
snapshot_group_t *snapshot_group(apr_pool_t *p, const snapshot_source_t *from, uint32_t group);

void snapshot_latency(const gate_histogram_t *histogram, snapshot_latency_t *out);

#endif
