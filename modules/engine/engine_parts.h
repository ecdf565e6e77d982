/*
 * engine_parts.h - the engine's other parts in a loop's life: origins, routes, exchanges, codecs. Called on the loop's thread.
 */
#ifndef ENGINE_PARTS_H
#define ENGINE_PARTS_H

#include <httpd.h>

#include "gate_section.h"
#include "loop.h"

/** In post_config, for real: the configuration is read. */
void engine_parts_configure(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
void engine_parts_begin(loop_t *loop);
/** No new requests come. */
void engine_parts_drain(loop_t *loop);
void engine_parts_end(loop_t *loop);
void engine_parts_gather(gate_node_t *out);
void engine_parts_explain(gate_node_t *out, const gate_view_t *view, request_rec *r);

#endif
