/*
 * member_spec.h - a member as GateMember and discovery's files write it: URL [weight=N] [backup] [connections=N] [id=NAME] [state=..]
 * Depends: gate_parse.h, gate_registry.h.   Memory: results live in the pool given.   Locking: none, all pure.
 */
#ifndef MEMBER_SPEC_H
#define MEMBER_SPEC_H

#include <apr_pools.h>

#include "gate_registry.h"

/**
 * @param argc  at least 1
 * @return NULL, or a whole message but for the directive
 */
const char *member_spec_read(apr_pool_t *p, int argc, const char *const *argv, gate_member_spec_t *out);

/** One line of a file; changed in place. A '#' that begins a word ends it. out->url is NULL when there is nothing in it. */
const char *member_spec_line(apr_pool_t *p, char *line, gate_member_spec_t *out);

#endif
