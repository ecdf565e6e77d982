/*
 * gate_state_file.h - what was changed at run time, kept over a restart: a file of named sections, and who saves and loads them.
 * Depends: APR pools, gate_lock.h, libcrypto.
 *
 * FILE: "gatehouse-state 1\n", for each section "section NAME VERSION LENGTH\n" and its bytes and "\n", last "end SHA-256\n" over
 * all before it. Written whole to a new file beside, synced, and renamed over the old one; mode 0600. A file that is not whole, of
 * a later format, writable by others, or not ours is refused with a reason, and the server goes on without it.
 * Each section has a version of its own: its owner must take older ones. Times in it are wall clock (gate_time.h).
 *
 * Who: children only. The parent, which is root, neither reads nor writes it.
 */
#ifndef GATE_STATE_FILE_H
#define GATE_STATE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <apr_errno.h>
#include <apr_pools.h>

#include "gate_lock.h"

#define GATE_STATE_FILE_MAX (UINT64_C(64) << 20) /* bytes; longer files are nonsense */
#define GATE_STATE_SECTIONS 16
#define GATE_STATE_NAME_LEN 32

/* ---- the file ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    char name[GATE_STATE_NAME_LEN];
    uint32_t version;
    const void *data;     /* borrowed */
    size_t len;
} gate_state_part_t;

typedef struct {
    int count;
    gate_state_part_t part[GATE_STATE_SECTIONS];
} gate_state_file_t;

/**
 * Takes a file's bytes apart; parts point into text.
 * @param why  on failure: sentence part, of pool p
 * @return APR_SUCCESS or APR_EINVAL (out is then empty)
 */
apr_status_t gate_state_parse(apr_pool_t *p, const char *text, size_t len, gate_state_file_t *out, const char **why);

/** Reads into pool p. @return APR_SUCCESS; APR_ENOENT: there is none (out is empty); APR_EINVAL with why; or what the system said */
apr_status_t gate_state_read(apr_pool_t *p, const char *path, gate_state_file_t *out, const char **why);

/** @return the part of that name, or NULL */
const gate_state_part_t *gate_state_get(const gate_state_file_t *file, const char *name);

/** Adds or replaces a part; data is borrowed. @return 0, or -1: no room, or a name that is not lower-case letters, digits, '-' */
int gate_state_put(gate_state_file_t *file, const char *name, uint32_t version, const void *data, size_t len);

/** Writes the file in the way said above. @return APR_SUCCESS or what the system said, with the step that failed in why */
apr_status_t gate_state_write(apr_pool_t *p, const char *path, const gate_state_file_t *file, const char **why);

/* ---- owners of sections ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    uint32_t version;
    /** Gives the section's bytes, in pool p. Called in one child at a time. */
    void (*save)(apr_pool_t *p, const void **data, size_t *len, void *ctx);
    /**
     * Takes them back; once, by the first child of a start, before it serves. Bytes are from a file: believe nothing.
     * @return NULL, or what was not to be understood (what was understood may be kept)
     */
    const char *(*load)(apr_pool_t *p, uint32_t version, const void *data, size_t len, void *ctx);
    void *ctx;
} gate_state_section_t;

/** In post_config; borrowed until the next configuration. @return 0, or -1 when there is no room or the name is taken */
int gate_state_register(const gate_state_section_t *section);
void gate_state_sections_clear(void);

/* In the zone "state". All zero to begin with. */
typedef struct {
    gate_lock_t lock;             /* who loads or saves */
    _Atomic uint32_t loaded;
    uint32_t unused;
    _Atomic uint64_t changes;     /* told by owners */
    _Atomic uint64_t saved;       /* of which the file knows */
    _Atomic int64_t next_usec;    /* not to be written before this (monotonic) */
} gate_state_t;

#define GATE_STATE_LAYOUT 1u
#define GATE_STATE_EVERY_USEC INT64_C(1000000)   /* at most one write in this time */
#define GATE_STATE_RETRY_USEC INT64_C(30000000)  /* after a write that failed */

/** Something to be kept has changed: the file follows within a second or two. Any process, any thread; one atomic add. */
void gate_state_touch(gate_state_t *state);

/**
 * Loads all sections if no child of this start has.
 * @param said  what was refused, one line, of pool p; NULL if nothing
 * @return 1 loaded (or nothing there), 0 somebody else did, -1 refused: see said
 */
int gate_state_load(gate_state_t *state, const char *path, apr_pool_t *p, const char **said);

/**
 * Saves if there is something to save and it is time. Sections of modules that are not loaded now stay in the file as they are.
 * @param last  the server ends: save at once
 * @return APR_SUCCESS (saved, or nothing to do); else what went wrong, with why
 */
apr_status_t gate_state_save(gate_state_t *state, const char *path, int64_t now_usec, int last, apr_pool_t *p, const char **why);

#endif
