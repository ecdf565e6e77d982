/*
 * discover.h - members that come and go by themselves: what GateDiscover says, what a file or DNS answers mean, and which set follows.
 * Depends: member_spec.h, dns_message.h.   Memory: results live in the pool given.   Locking: none, all pure.
 */
#ifndef DISCOVER_H
#define DISCOVER_H

#include <stdint.h>
#include <apr_pools.h>
#include <apr_tables.h>

#include "dns_lookup.h"
#include "gate_registry.h"

#define DISCOVER_TTL_MIN_USEC INT64_C(1000000)
#define DISCOVER_TTL_MAX_USEC (INT64_C(300) * 1000000)
#define DISCOVER_FAILED_USEC INT64_C(5000000)     /* so soon after a failure, or sooner if that is usual */
#define DISCOVER_FILE_USEC INT64_C(500000)        /* how often a file is looked at */
#define DISCOVER_FILE_MAX (1u << 20)              /* bytes */
#define DISCOVER_MEMBERS_MAX 1024                 /* of one source */

typedef enum { DISCOVER_DNS, DISCOVER_SRV, DISCOVER_FILE } discover_kind_e;

/* One GateDiscover, read. */
typedef struct {
    discover_kind_e kind;
    const char *text;            /* "dns:app.internal:8080", as written */
    const char *name;            /* host, SRV name, or path */
    uint16_t port;               /* dns */
    const char *scheme;          /* dns, srv: "http" */
    int64_t interval_usec;       /* 0: by the answer's ttl; for a file DISCOVER_FILE_USEC */
    uint32_t weight;             /* 1 if not given */
    uint32_t connections;        /* 0: no cap */
    const char *resolver;        /* NULL: resolv.conf's */
    dns_config_t resolver_config;
} discover_source_t;

/** @return NULL, or a whole message but for the directive */
const char *discover_source_read(apr_pool_t *p, int argc, const char *const *argv, discover_source_t *out);

/**
 * A file's members: a line each, as member_spec.h has it. The whole file is good, or nothing of it counts.
 * @param specs  gets gate_member_spec_t
 * @return NULL, or what is wrong, with the number of the line
 */
const char *discover_file_read(apr_pool_t *p, const char *text, size_t len, apr_array_header_t *specs);

/* Where a member listens, as DNS had it. */
typedef struct {
    const char *name;            /* whose address it is: borrowed */
    dns_type_e type;             /* DNS_A or DNS_AAAA */
    uint8_t address[16];
    uint16_t port, priority, weight; /* the last two 0 for dns: */
} discover_endpoint_t;

/** Members of endpoints: ids from the address, weights of SRV records brought into 1..1000. */
void discover_specs(apr_pool_t *p, const discover_source_t *source, const discover_endpoint_t *endpoints, uint32_t count,
                    apr_array_header_t *specs);

/** When to ask again. @param ttl_s  shortest of the answer; @param ok  it was not a failure */
int64_t discover_next_usec(const discover_source_t *source, uint32_t ttl_s, int ok);

/** Takes out ids that are there twice (the first one stays) and those that a configured or run-time member of the group has. @return how many */
uint32_t discover_unique(const gate_registry_t *reg, uint32_t group, apr_array_header_t *specs);

/**
 * Adds the group's present discovered members that are not in specs: as long as a source has not spoken, nobody knows whose they are.
 */
void discover_keep_present(apr_pool_t *p, const gate_registry_t *reg, uint32_t group, apr_array_header_t *specs);

/* What a set would change. */
typedef struct {
    uint32_t added, removed, altered;
} discover_change_t;

/** Compares with the group's present discovered members. @return non-zero if there is anything to change */
int discover_compare(const gate_registry_t *reg, uint32_t group, const apr_array_header_t *specs, discover_change_t *out);

#endif
