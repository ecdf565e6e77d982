/*
 * engine_parts.c - who is told when a loop begins, drains and ends.
 */
#include "engine.h"

#include "client_h1.h"
#include "client_h2.h"
#include "eligible.h"
#include "engine_parts.h"
#include "exchange.h"
#include "h2_negotiate.h"
#include "origin.h"
#include "origin_names.h"
#include "route.h"

static int has_upstream; /* without it there is nobody to go to */

static int is_on(server_rec *s)
{
    return engine_server_of(s)->on == 1;
}

void engine_parts_configure(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    has_upstream = exchange_doors();
    if (engine_is_wanted() && has_upstream) {
        eligible_build(pconf, s, is_on);
    }
    h2_negotiate_configure(pconf, s);
}

void engine_parts_begin(loop_t *loop)
{
    static const origins_rules_t usual;

    (void)origins_open(loop, &usual); /* without memory for it no member is reached: the classic plane says so */
    exchange_queue_begin(loop);
}

void engine_parts_drain(loop_t *loop)
{
    origins_drain(loop);
}

void engine_parts_end(loop_t *loop)
{
    exchange_queue_end(loop);
    exchange_fetches_end(loop);
    origins_close(loop);
    exchange_loop_end(loop);
    route_end(loop);
    exchange_doors_end(loop);
    client_h1_end(loop);
}

void engine_parts_gather(gate_node_t *out)
{
    if (has_upstream) {
        eligible_gather(out);
    }
}

void engine_parts_explain(gate_node_t *out, const gate_view_t *view, request_rec *r)
{
    if (has_upstream) {
        eligible_explain(out, view, r);
    }
}

const conn_codec_t *engine_codec(conn_rec *c)
{
    if (h2_negotiated(c)) {
        return &client_h2_codec;
    }
    if (h2_may_be_direct(c)) {
        return &client_h2_direct_codec;
    }
    return has_upstream ? &client_h1_codec : &client_classic_codec;
}
