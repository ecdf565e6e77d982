/*
 * discover_run.h - one look at a DNS source: the name's addresses, or the SRV records and then each target's addresses.
 * Depends: discover.h, dns_lookup.h.   Memory: a pool of its own for each run; lookups are malloc'ed while they run.
 * Locking: none; one thread. Never waits: step it until it is done.
 *
 * An answer that says "no such name" or names no address is a failure like silence: nobody is taken out for it. When only a part cannot
 * be had (AAAA while A was answered, one target of several), that part stays as the run before had it.
 */
#ifndef DISCOVER_RUN_H
#define DISCOVER_RUN_H

#include "discover.h"

typedef struct discover_run discover_run_t;

/**
 * @param hosts   text of /etc/hosts, or "": borrowed until the run is done, as source and config are
 * @param before  a good run, whose endpoints stand in for parts that fail; may be NULL; borrowed likewise
 */
discover_run_t *discover_run_begin(const discover_source_t *source, const dns_config_t *config, const char *hosts, size_t hosts_len,
                                   const discover_run_t *before, int64_t now_usec);
/** @return non-zero when done */
int discover_run_step(discover_run_t *run, int64_t now_usec);
void discover_run_end(discover_run_t *run);

/* When done: */

/** @return NULL: good; else why not, borrowed from the run */
const char *discover_run_failed(const discover_run_t *run);
/** Non-zero when something in it is of the run before: look again soon. */
int discover_run_partial(const discover_run_t *run);
uint32_t discover_run_ttl(const discover_run_t *run);
const discover_endpoint_t *discover_run_endpoints(const discover_run_t *run, uint32_t *count);

#endif
