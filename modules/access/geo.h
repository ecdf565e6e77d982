/*
 * geo.h - the country of an address, from a MaxMind DB file (libmaxminddb).
 * Memory:  the file is mapped; one copy for all children. A newer file is opened beside the old one and put in its place.
 * Locking: look-ups share a lock of the process with the rare replacing.
 * The file must be replaced by renaming a new one over it, never written in place: that is what its mapping cannot survive.
 */
#ifndef GATE_ACCESS_GEO_H
#define GATE_ACCESS_GEO_H

#include <stdint.h>
#include <apr_pools.h>

#include "gate_address.h"

typedef struct gate_geo gate_geo_t;

/** Opens the file; lives until gate_geo_close(). @param why  on failure: sentence part, of pool p. @return NULL on failure */
gate_geo_t *gate_geo_open(apr_pool_t *p, const char *path, const char **why);
void gate_geo_close(gate_geo_t *geo);

/**
 * Takes up a newer file, if there is one.
 * @return 1 taken up, 0 nothing new, -1 the new one is no good (why, static or of the library): the old one stays
 */
int gate_geo_refresh(gate_geo_t *geo, const char **why);

/** Two letters (ISO 3166-1), NUL-terminated, into code. @return 1, or 0 when the country is not known */
int gate_geo_country(gate_geo_t *geo, const gate_address_t *address, char code[3]);

/** @return NULL when this build has libmaxminddb, else a sentence part */
const char *gate_geo_missing(void);

#endif
