/*
 * ban.h - who stays out, and until when.
 * Depends: gate_address.h, gate_lock.h, gate_siphash.h.   Time: monotonic microseconds in memory, wall clock in the saved text.
 *
 * ZONE:   [ header | tags, 8 a bucket | entries ]. A client (IPv6: its /64) has a place in one of two buckets, chosen by a seeded
 *         hash; a bucket's tags are one cache line, so a look-up reads two lines when the client is not banned.
 * FROZEN  seed, capacity.
 * ATOMIC  tag and until: all that a look-up reads. A tag is the whole 64-bit hash.
 * LOCK    the table's: adding, lifting, listing. Never on a request's path unless it earns its client a ban.
 * CRASH   an entry is filled before its tag is set, and its tag is cleared before it is reused: a writer that dies loses at most the
 *         ban it was writing.
 * FULL    a ban in force never gives way to another: when all places are taken the new ban is not made, and its caller told. A ban
 *         that is over is remembered (the next one is longer) until its place is needed, or for as long as the longest ban.
 */
#ifndef GATE_ACCESS_BAN_H
#define GATE_ACCESS_BAN_H

#include <stddef.h>
#include <stdint.h>

#include "gate_address.h"
#include "gate_siphash.h"

#define GATE_BAN_WHY 96
#define GATE_BAN_WHO 64
#define GATE_BAN_V6_BITS 64
#define GATE_BANS_LAYOUT 1u
#define GATE_BANS_MAX_USEC (INT64_C(366) * 86400 * 1000000) /* no ban is longer */

enum {
    GATE_BAN_DROP = 1u << 0,  /* its connections are closed unheard */
    GATE_BAN_MANUAL = 1u << 1 /* somebody asked for it */
};

typedef struct {
    gate_address_t address;   /* cut to the /64 in IPv6 */
    int64_t until_usec;       /* monotonic */
    int64_t since_usec;
    uint32_t level;           /* how many bans it had before this one, as far as remembered */
    uint32_t flags;
    char why[GATE_BAN_WHY];
    char who[GATE_BAN_WHO];   /* the rule, or the user who asked */
} gate_ban_t;

/* How long: first, and by how much longer each time. */
typedef struct {
    int64_t for_usec;
    uint32_t escalate_milli;  /* 2000: twice as long each time; 1000: always the same */
    int64_t max_usec;
} gate_ban_term_t;

typedef struct gate_bans gate_bans_t; /* in the zone */

uint64_t gate_bans_size(uint32_t capacity);
void gate_bans_init(gate_bans_t *bans, uint32_t capacity, const gate_seed_t *seed);

/**
 * Is the client banned? Lock-free.
 * @param until_usec  set when it is; may be NULL
 * @return 0, or 1 | flags << 1 (GATE_BAN_DROP, ..) of the ban
 */
unsigned gate_ban_check(const gate_bans_t *bans, const gate_address_t *client, int64_t now_usec, int64_t *until_usec);

typedef enum {
    GATE_BAN_MADE = 0,
    GATE_BAN_STANDS,    /* it is banned already, for as long or longer */
    GATE_BAN_FULL,      /* no place: not banned */
    GATE_BAN_BUSY,      /* the lock was not to be had: not banned */
    GATE_BAN_UNKNOWN    /* no address */
} gate_ban_result_e;

/** Bans a client that is not banned, longer than the last time. @param out  the ban as made; may be NULL */
gate_ban_result_e gate_ban_earn(gate_bans_t *bans, const gate_address_t *client, const gate_ban_term_t *term, unsigned flags,
                                const char *why, const char *who, int64_t now_usec, gate_ban_t *out);

/** Bans until the given time, whatever it had; a longer ban stands. */
gate_ban_result_e gate_ban_set(gate_bans_t *bans, const gate_address_t *client, int64_t until_usec, uint32_t level, unsigned flags,
                               const char *why, const char *who, int64_t since_usec, int64_t now_usec);

/** Lifts a ban and forgets it. @return 1 lifted, 0 there was none in force, -1 the lock was not to be had */
int gate_ban_lift(gate_bans_t *bans, const gate_address_t *client, int64_t now_usec);

/** Copies the ban of one client. @return 1, or 0 when it is not banned */
int gate_ban_get(gate_bans_t *bans, const gate_address_t *client, int64_t now_usec, gate_ban_t *out);

/** Copies bans in force. @return how many there are (may be more than max) */
uint32_t gate_bans_list(gate_bans_t *bans, int64_t now_usec, gate_ban_t *out, uint32_t max);

/** Bans in force. Lock-free; a walk over the table. */
uint32_t gate_bans_count(const gate_bans_t *bans, int64_t now_usec);

/** As lines of text with wall-clock times, those remembered included; malloc'ed, the caller frees it. NULL when out of memory */
char *gate_bans_save(gate_bans_t *bans, int64_t now_usec, int64_t wall_usec, size_t *len);

/**
 * Takes such text back. Lines that make no sense, and bans that are over and forgotten, are passed over.
 * @return how many lines made no sense; *taken how many bans are in force by it
 */
uint32_t gate_bans_load(gate_bans_t *bans, const char *text, size_t len, int64_t now_usec, int64_t wall_usec, uint32_t *taken);

/**
 * Copies bans out of a table of another size, of which nothing is believed: every number is checked.
 * @return how many are in force by it
 */
uint32_t gate_bans_copy(gate_bans_t *bans, const void *old, uint64_t old_size_bytes, int64_t now_usec);

int gate_bans_validate(const gate_bans_t *bans, uint64_t size_bytes, char *why, size_t why_size);

#endif
