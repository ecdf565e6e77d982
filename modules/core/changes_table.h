/* changes_table.h - the zone "changes" as changes.c and changes_text.c see it; see gate_changes.h. */
#ifndef CHANGES_TABLE_H
#define CHANGES_TABLE_H

#include <stdatomic.h>

#include "gate_changes.h"
#include "gate_lock.h"

#define CHANGES_MAGIC UINT32_C(0x47434847) /* "GCHG" */
#define CHANGES_LOCK_USEC INT64_C(2000000)
#define CHANGES_OF_DISCOVERY (1u << 31) /* in flags, with REMOVED: the member was a discovered one, so discovery ends it */

typedef struct {
    _Atomic uint64_t number; /* 0: free; else grows with each entry */
    gate_change_t change;
} changes_record_t;

typedef struct {
    uint32_t magic, capacity;
    gate_lock_t lock;
    _Atomic uint64_t numbers;
    uint64_t unused[5];
    changes_record_t record[];
} changes_zone_t;

struct gate_changes {
    changes_zone_t *zone;
    uint32_t capacity;
    gate_registry_t *reg;
    void (*changed)(void);
};

/* Copies record i, its texts ended for sure. @return 0, or -1 when it is free */
int changes_copy(const gate_changes_t *changes, uint32_t i, gate_change_t *out);

/* Enters a change in place of what was remembered of that member; `what` 0 only forgets. @return APR_SUCCESS or APR_ENOSPC */
apr_status_t changes_put_locked(gate_changes_t *changes, const gate_change_t *change);

apr_status_t changes_lock(gate_changes_t *changes);
void changes_unlock(gate_changes_t *changes);

/* What a configuration would take. */
apr_status_t changes_check(const char *id, const char *url, uint32_t weight, uint32_t flags);

#endif
