/*
 * admin_request.h - what the body or query of an admin request says, checked.
 * Depends: jansson, gate_parse.h.   Memory: results live in pool p.   Locking: none.
 * Functions return NULL when good, else why not, in words that name the field and quote the input; it is for the one who asked.
 */
#ifndef ADMIN_REQUEST_H
#define ADMIN_REQUEST_H

#include <apr_pools.h>
#include <apr_tables.h>

#include "gate_section.h"

#define ADMIN_BODY_MAX (64 * 1024)

enum { ADMIN_URL = 1, ADMIN_ID = 2, ADMIN_WEIGHT = 4, ADMIN_STATE = 8, ADMIN_BACKUP = 16, ADMIN_CONNECTIONS = 32, ADMIN_DEADLINE = 64 };

typedef struct {
    unsigned given;              /* ADMIN_*: which fields came */
    gate_member_spec_t spec;     /* defaults where not given; id is NULL then */
    uint32_t deadline_s;         /* of a drain: removed after so long; 0: never */
} admin_member_t;

/** A new member. A url that leads to a link-local address is refused: what lies there is the host's or the cloud's own. */
const char *admin_member_new(apr_pool_t *p, const char *json, size_t len, admin_member_t *out);

/** Changes of a member: state (a drain may have a deadline) and weight, at least one of the two. */
const char *admin_member_patch(apr_pool_t *p, const char *json, size_t len, admin_member_t *out);

/** Parameters of a section's action out of a JSON object (len 0: an empty one), or out of a query. */
const char *admin_params_json(apr_pool_t *p, const char *json, size_t len, const gate_param_t *params, apr_table_t **out);
const char *admin_params_query(apr_pool_t *p, const char *query, const gate_param_t *params, apr_table_t **out);

/** Does an If-Match (RFC 9110, 13.1.1) allow the tag? NULL allows any; weak tags never match. */
int admin_if_match(const char *if_match, const char *tag);

#endif
