/*
 * child_signals.h - a child that is told to end while it begins does so at a point where it can.
 * Depends: httpd.
 * Locking: none; in the child's first thread, before it has others of the MPM.
 */
#ifndef CORE_CHILD_SIGNALS_H
#define CORE_CHILD_SIGNALS_H

/** Hooks around drop_privileges and child_init. */
void child_signals_register(void);

#endif
