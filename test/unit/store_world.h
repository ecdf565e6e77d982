/*
 * store_world.h - a store in anonymous shared memory, and objects whose bytes tell whether they are right.
 */
#ifndef STORE_WORLD_H
#define STORE_WORLD_H

#include <stdint.h>
#include <apr_pools.h>

#include "head.h"
#include "purge.h"
#include "store.h"

typedef struct {
    apr_pool_t *pool;
    gate_store_limits_t limits;
    void *base;
    gate_store_t *store;          /* the parent's: seat 0 */
} store_world_t;

void store_world_make(store_world_t *w, uint64_t size_bytes, uint64_t max_object, uint32_t seats);
void store_world_end(store_world_t *w);

/** A handle of its own, sitting in `seat`. */
gate_store_t *store_world_handle(store_world_t *w, apr_pool_t *p, int seat);

/** Byte i of the body of (url number, version). */
unsigned char store_byte(uint32_t url, uint32_t version, uint64_t i);

gate_key_t store_key(gate_store_t *s, apr_pool_t *p, uint32_t url);

/** Stores the object of a number; the version is in its status line of fields. Length 0..: of the body. */
gate_store_e store_put(gate_store_t *s, apr_pool_t *p, uint32_t url, uint32_t version, uint64_t length, int announced);

/** Looks an object up and checks every byte. @return 1 right, 0 not there, -1 wrong bytes */
int store_check(gate_store_t *s, apr_pool_t *p, uint32_t url, uint64_t *length);

/** The same on a held head. @return 1, -1 wrong; 0 a body went meanwhile */
int store_check_held(gate_store_t *s, gate_ref_t head, uint32_t url);

/** @return faults, printed */
int store_faults(store_world_t *w);

uint64_t store_used(store_world_t *w);

/* Callbacks that never mind. */
int store_never(void *ctx);
int store_same_key(void *ctx, const void *head, uint64_t len); /* ctx: gate_key_t */
int64_t store_rank_key(void *ctx, const void *head, uint64_t len);

#endif
