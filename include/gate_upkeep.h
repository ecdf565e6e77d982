/*
 * gate_upkeep.h - small work beside the requests: one thread in each child that calls what modules give it, again and again.
 * Depends: APR threads.   Memory: a list in the process; jobs borrow their ctx.
 * Locking: add in post_config (each child inherits the list) or child_init; the thread alone runs jobs, one after the other, so a
 *          job that takes long delays the others: wait for nothing in it. Work for one child at a time takes a gate_lease_t.
 */
#ifndef GATE_UPKEEP_H
#define GATE_UPKEEP_H

#include <stdint.h>
#include <apr_errno.h>
#include <apr_pools.h>

#define GATE_UPKEEP_JOBS 16

/** @param ending  the child ends: called once more for every job, the last time */
typedef void (*gate_upkeep_fn)(int64_t now_usec, int ending, void *ctx);

/** @param every_usec  at most so often (50 ms and more). @return 0, or -1 when there is no room */
int gate_upkeep_add(int64_t every_usec, gate_upkeep_fn fn, void *ctx);
void gate_upkeep_clear(void);

/** In child_init, after all jobs were added: starts the thread; it ends before pchild is destroyed. */
apr_status_t gate_upkeep_start(apr_pool_t *pchild);

#endif
