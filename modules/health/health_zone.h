/*
 * health_zone.h - what all children know about checks and ejections of each member.
 * Depends: gate_lease.h, outlier.h, health_state.h.
 *
 * ZONE "health": [ header: lease, alarm | a lock per group | a row per member slot ]
 * FROZEN  capacities; each process uses those of its own private handle.
 * LOCK    a group's, for ejections only.
 * ATOMIC  everything else. The check part of a row is written by the holder of the lease; its texts are guarded by a turn that is
 *         odd while they are written.
 * CRASH   a dead holder may leave a check `begun` and never ended, and an odd turn: the next one begins the check anew, and writes
 *         the text again.
 * RELOAD  kept while the registry's capacities are the same; else all rows begin anew, and verdicts stay as they are.
 * A row belongs to (slot, incarnation); what it says of an earlier incarnation is not shown.
 */
#ifndef HEALTH_ZONE_H
#define HEALTH_ZONE_H

#include <stddef.h>

#include "health_state.h"
#include "gate_lease.h"
#include "outlier.h"

#define HEALTH_LAYOUT 1u
#define HEALTH_STRIP 60     /* last results of a member that are kept */
#define HEALTH_WHY_LEN 120

/* How a check ended. */
typedef enum {
    CHECK_OK = 0,
    CHECK_CONNECT,   /* no connection */
    CHECK_TIMEOUT,
    CHECK_TLS,
    CHECK_RESET,     /* connected, closed too early */
    CHECK_STATUS,    /* an answer with a status that is not asked for */
    CHECK_BODY,      /* its body does not match */
    CHECK_BAD,       /* not an answer of the protocol */
    CHECK_SERVING,   /* grpc: says that it does not serve */
    CHECK_OURS       /* could not be made: says nothing about the member */
} check_code_e;

const char *check_code_name(check_code_e code); /* "ok", "connect", .. */

/* One finished check. */
typedef struct {
    check_code_e code;
    int status;             /* of the answer, 0 if none */
    int64_t took_usec;
    int64_t wall_usec;
    char why[HEALTH_WHY_LEN];
} check_result_t;

typedef struct {
    _Atomic uint32_t incarnation;   /* whose numbers these are; 0: nobody's */
    _Atomic uint32_t state, streak; /* health_track_t */
    _Atomic uint32_t turns;         /* checks finished, this incarnation */
    _Atomic int64_t met_usec;       /* when a prober first met the member */
    _Atomic int64_t begun_usec;     /* check in flight since; 0: none */
    _Atomic int64_t due_usec;       /* the next one */
    _Atomic int64_t last_usec;      /* when the last one ended, monotonic; 0: never */
    _Atomic int64_t last_wall_usec;
    _Atomic int64_t took_usec;
    _Atomic uint32_t last_code, last_status;
    _Atomic uint64_t passed, failed;
    _Atomic uint32_t why_turn;
    char why[HEALTH_WHY_LEN];
    _Atomic uint32_t strip[HEALTH_STRIP]; /* ring by turns: (code + 1) | milliseconds << 8; 0: empty */
    outlier_row_t outlier;
} health_row_t;

/* Copy of a row's check part. */
typedef struct {
    int known;              /* there was a check */
    health_track_t track;
    uint32_t turns;
    int64_t met_usec, begun_usec, due_usec, last_usec;
    uint64_t passed, failed;
    check_result_t last;
    uint32_t strip_count;
    uint32_t strip[HEALTH_STRIP]; /* oldest first, as in the row */
} health_view_t;

typedef struct {
    uint32_t groups, members;
} health_limits_t;

typedef struct {
    uint32_t magic, layout, groups, members;
    gate_lease_t lease;
    _Atomic int64_t beat_usec;     /* the prober's last pass */
    _Atomic uint32_t alarm;        /* 1 while checks are not trusted because the prober has stopped */
    _Atomic uint32_t in_flight;
    _Atomic uint64_t checks;       /* ever finished */
} health_head_t;

typedef struct {
    health_limits_t limits;
    health_head_t *head;
    gate_lock_t *group_lock;
    health_row_t *row;
} health_zone_t; /* private handle */

uint64_t health_zone_size(const health_limits_t *limits);

/** Fills the handle; a fresh zone (zero-filled) is laid out. */
void health_zone_attach(health_zone_t *zone, void *base, const health_limits_t *limits, int fresh);

/** Forgets what an earlier member of the slot left. @return 1 if the row was made anew, 0 if it is this member's already */
int health_row_own(health_row_t *row, uint32_t incarnation, int64_t now_usec);

/** Writes one result into the row: by the holder of the lease. */
void health_row_result(health_row_t *row, const health_track_t *track, const check_result_t *result, int64_t now_usec);

/** Copies the row's check part. @return 0; -1 when it is not this incarnation's (out is then all zero) */
int health_row_view(const health_row_t *row, uint32_t incarnation, health_view_t *out);

int health_zone_validate(const void *base, uint64_t size_bytes, void *limits, char *why, size_t why_size);

#endif
