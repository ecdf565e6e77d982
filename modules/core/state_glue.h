/*
 * state_glue.h - what mod_gate.c calls of state_glue.c. Depends: httpd.
 */
#ifndef GATE_CORE_STATE_GLUE_H
#define GATE_CORE_STATE_GLUE_H

#include <httpd.h>

/** In post_config, not in the rehearsal: the zone. */
apr_status_t state_open(server_rec *s);

/** Last in child_init: loads the state file if nobody has, and starts upkeep. */
void state_child(apr_pool_t *pchild, server_rec *s);

#endif
