/*
 * header_ops.h - mod_headers' Header and RequestHeader with literal values, on fields as the engine keeps them; which are not literal.
 * Depends: message.h, APR pools.   LOGIC: knows no httpd.
 * A list of operations is made when the configuration is read, in its order, and applied to the fields of a message. What comes out is what
 * mod_headers makes of a table with the same lines (apr_table semantics: set changes the first line in its place and drops the others).
 * Memory:  operations live in the pool given to header_ops_create(); results of header_ops_apply() in the pool given there, borrowing names and
 *          values of the fields that came in and of the operations.
 * Locking: none; operations are read only once made.
 */
#ifndef ENGINE_HEADER_OPS_H
#define ENGINE_HEADER_OPS_H

#include <apr_pools.h>

#include "message.h"

typedef enum { HEADER_SET, HEADER_SETIFEMPTY, HEADER_ADD, HEADER_APPEND, HEADER_MERGE, HEADER_UNSET } header_op_e;

typedef enum { HEADER_OF_REQUEST, HEADER_OF_ANSWER, HEADER_OF_ANSWER_ALWAYS } header_of_e;

typedef struct {
    header_op_e op;
    header_of_e of;
    const char *name, *value;   /* value: NULL for unset */
    uint32_t name_len, value_len;
    uint8_t known;              /* field_e of the name */
    uint8_t early;              /* RequestHeader unset .. early: before all else, and before anybody else has looked */
} header_op_t;

typedef struct header_ops {
    uint32_t count, size;
    header_op_t *op;
} header_ops_t;

/**
 * Parses the words after the directive's name.
 * @param request   RequestHeader rather than Header
 * @param computed  set to 1: such a line needs mod_headers itself (a value made of the request, a condition, edit, ..); op has its name only
 * @return NULL; else why not even that will do: static text
 */
const char *header_op_parse(apr_pool_t *p, const char *args, int request, header_op_t *op, int *computed);

header_ops_t *header_ops_create(apr_pool_t *p);
/** At the end; an early one at the beginning. */
void header_ops_add(apr_pool_t *p, header_ops_t *ops, const header_op_t *op);

/**
 * @param in   not changed; NULL: none
 * @param out  filled; its lines in pool p. More than MESSAGE_FIELDS_MAX lines: the rest is left out
 */
void header_ops_apply(const header_ops_t *ops, const fields_t *in, fields_t *out, apr_pool_t *p);

#endif
