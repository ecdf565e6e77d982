/*
 * unit_pool.h - the pool of a test program, for cmocka's set-up and teardown: of the whole group, or of each test.
 * One at a time; no threads.
 */
#ifndef UNIT_POOL_H
#define UNIT_POOL_H

#include <apr_pools.h>
#include <apr_tables.h>

extern apr_pool_t *pool;

int pool_open(void **state);
int pool_close(void **state);

/** Fields from "Name: value|Name: value", in `pool`. */
apr_table_t *headers(const char *text);

#endif
