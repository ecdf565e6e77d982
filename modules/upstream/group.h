/*
 * group.h - a <GateUpstream NAME> as it was read: what both planes' errands go by.
 * Depends: APR, the headers of the rules in it; not httpd.   Memory: pconf.   Locking: read only after post_config.
 */
#ifndef UPSTREAM_GROUP_H
#define UPSTREAM_GROUP_H

#include <apr_tables.h>

#include "gate_balance.h"
#include "gate_upstream.h"
#include "retry.h"
#include "sticky.h"

#define UPSTREAM_UNSET INT64_C(-1)
#define UPSTREAM_CONNECT_USEC INT64_C(1000000)
#define UPSTREAM_FIRST_BYTE_USEC INT64_C(60000000)
#define UPSTREAM_IDLE_USEC INT64_C(60000000)

typedef struct upstream_group {
    const char *name;
    const char *file;               /* where it stands */
    int line;
    apr_array_header_t *members;    /* of gate_member_spec_t, in the order written */
    const gate_strategy_t *strategy;
    const void *key;                /* hash: an ap_expr_info_t that yields a string */
    uint32_t load_factor_milli;
    int64_t connect_usec, first_byte_usec, idle_usec, total_usec; /* UPSTREAM_UNSET where not written; total: none */
    retry_rule_t retry;
    int64_t try_timeout_usec;       /* UPSTREAM_UNSET: none */
    int64_t slow_start_usec;        /* 0: none */
    uint32_t panic_milli;           /* 0: off */
    sticky_rule_t sticky;           /* GateSticky; neither cookie nor header: off */
    uint32_t queue_length;          /* GateQueue; 0: off */
    int64_t queue_timeout_usec;
    apr_array_header_t *discover;   /* of discover_source_t */
    uint32_t index;                 /* in the registry, from post_config on */
} upstream_group_t;

#endif
