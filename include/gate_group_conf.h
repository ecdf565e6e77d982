/*
 * gate_group_conf.h - which group's block of the configuration is being read.
 * Upstream reads <GateUpstream NAME>; the directives of other modules that stand inside it (GateHealthCheck) ask here whose they are.
 * Memory:  the name is borrowed until the block ends.
 * Locking: none; configuration is read by one thread of the parent.
 */
#ifndef GATE_GROUP_CONF_H
#define GATE_GROUP_CONF_H

/** The block of this group begins; blocks do not nest. */
void gate_group_conf_begin(const char *name);

/** It has ended, or reading it has failed; also in pre_config. */
void gate_group_conf_end(void);

/** @return the group whose block is being read, or NULL outside of all: then the directive that asks does not belong there */
const char *gate_group_conf_name(void);

#endif
