/*
 * ipset.h - a set of IPv4 and IPv6 prefixes as one position-independent image, and how to build one.
 * Depends: gate_address.h.
 *
 * The longest matching prefix decides; a prefix put in as an exclusion takes its addresses out of the set again.
 *
 * Form: prefixes are flattened into the sorted starts of address ranges, each with the length of the prefix that decides there
 * (range search as in M. Zec, L. Rizzo, M. Mikuc, "DXR: towards a billion routing lookups per second in software", 2012); a
 * level-compressed multibit trie (S. Nilsson, G. Karlsson, "IP-address lookup using LC-tries", IEEE JSAC 17(6), 1999) leads to
 * a block of a few neighbouring starts and their answers, which mostly is one cache line, and of what remains of long starts in the
 * lines next to it, which are fetched together with it: one wait for memory, and hardly a branch on what comes. Where a prefix
 * ends needs no start (a start's value tells its prefix), so a prefix among others costs one start. One form for both families.
 *
 * Memory:  the builder uses malloc and is freed by its owner; an image is plain bytes without pointers.
 * Locking: none; an image is immutable. A reader given a range that somebody overwrites meanwhile gets a wrong answer but never
 *          leaves the range (ipset_store.c finds out and asks again).
 */
#ifndef GATE_ACCESS_IPSET_H
#define GATE_ACCESS_IPSET_H

#include <stddef.h>
#include <stdint.h>

#include "gate_address.h"

#define GATE_IPSET_LAYOUT 2u

typedef struct gate_ipset_builder gate_ipset_builder_t;

/** NULL when out of memory. */
gate_ipset_builder_t *gate_ipset_builder_create(void);
void gate_ipset_builder_destroy(gate_ipset_builder_t *builder);

/** Adds a prefix (copied); of the same prefix with and without exclusion, the exclusion stands. @return 0, or -1: out of memory */
int gate_ipset_builder_add(gate_ipset_builder_t *builder, const gate_prefix_t *prefix, int exclude);

/** Prefixes added so far. */
uint32_t gate_ipset_builder_count(const gate_ipset_builder_t *builder);

/** Sorts, flattens and builds; nothing may be added after. @return bytes that the image takes; 0 when out of memory */
size_t gate_ipset_builder_finish(gate_ipset_builder_t *builder);

/** Writes the image; `where` has room for what finish() said, aligned to 8 bytes. */
void gate_ipset_builder_write(const gate_ipset_builder_t *builder, void *where);

/**
 * Looks an address up.
 * @param image       written by gate_ipset_builder_write()
 * @param size_bytes  of the memory that may be read from image on
 * @param match       if not NULL and the answer is 1: the prefix that decided
 * @return 1 in the set, 0 not in it (or unknown address, or not an image)
 */
int gate_ipset_find(const void *image, size_t size_bytes, const gate_address_t *address, gate_prefix_t *match);

/** Prefixes that went into the image; 0 when it is none. */
uint32_t gate_ipset_count(const void *image, size_t size_bytes);

/** Walks the whole image. @return 0 when all is well, else the number of faults; why says the first */
int gate_ipset_validate(const void *image, size_t size_bytes, char *why, size_t why_size);

#endif
