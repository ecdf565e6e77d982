/*
 * gate_core.h - what mod_gate.so holds for the other modules of a process.
 * Other modules link these symbols from mod_gate.so, which is loaded before them.
 * Locking: everything is set before the fork (post_config) or in child_init, and only read after.
 */
#ifndef GATE_CORE_H
#define GATE_CORE_H

#include <httpd.h>

#include "gate_changes.h"
#include "gate_event.h"
#include "gate_registry.h"
#include "gate_seat.h"
#include "gate_zone.h"

#define GATE_VERSION "0.1.0"

typedef struct {
    gate_arena_t *arena;
    gate_seats_t *seats;
    gate_registry_t *registry;
    gate_events_t *events;
    gate_changes_t *changes;   /* of membership at run time: the admin API's way to members */
    int seat;                  /* of this process; GATE_SEAT_NONE in the parent */
    uint32_t generation;       /* of the configuration: 1, 2, .. */
    int64_t started_wall_usec; /* when the parent first started */
} gate_core_t;

/** Never NULL once mod_gate's post_config has run; before that its fields are NULL. */
gate_core_t *gate_core(void);

/**
 * Asks for a zone in post_config (order yours after mod_gate.c; it runs first). Logs and explains a failure itself: pass its
 * status on. See gate_zone.h.
 */
apr_status_t gate_core_zone(server_rec *s, const char *name, uint32_t layout, uint64_t size_bytes, unsigned flags,
                            gate_zone_t *out);

/**
 * How much of the registry this configuration needs; call in check_config (upstream does). The registry is sized in mod_gate's
 * post_config: at least this and room for as many more at run time.
 */
void gate_core_expect(uint32_t groups, uint32_t members);

/**
 * These verdicts (GATE_VERDICT_DOWN, GATE_VERDICT_EJECTED, GATE_VERDICT_UNKNOWN) are the caller's, who sets and clears them; call in
 * post_config. Those that somebody vouched for in the generation before, and nobody does now, are cleared at its end.
 */
void gate_core_vouch(uint32_t verdicts);

/** True for the first of httpd's two passes over post_config, which does nothing here. */
int gate_core_rehearsal(void);

/** Sweeps dead children's seats if there are any: one atomic load when there are none. */
void gate_core_tend(void);

/** Path given by GateStateFile, absolute; NULL when off. */
const char *gate_core_state_path(void);

/** Something that a section of the state file keeps has changed (gate_state_file.h): one atomic add. Children only. */
void gate_core_changed(void);

#endif
