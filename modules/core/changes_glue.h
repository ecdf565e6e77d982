/* changes_glue.h - run-time changes of members as httpd runs them; used by mod_gate.c. */
#ifndef CHANGES_GLUE_H
#define CHANGES_GLUE_H

#include <httpd.h>

/** Zone, state section and upkeep, in post_config after the registry. */
apr_status_t changes_open(apr_pool_t *pconf, server_rec *s);
/** After the state file was loaded: what the registry does not show is done again. */
void changes_child(server_rec *s);

#endif
