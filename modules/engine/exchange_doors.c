/*
 * exchange_doors.c - the doors of the modules that are loaded, and what they say about each route.
 */
#include <httpd.h>
#include <http_config.h>

#include <apr_strings.h>

#include "exchange_doors.h"
#include "route.h"

const gate_access_door_t *exchange_access;
const gate_cache_door_t *exchange_cache;

/* One of each loop. */
typedef struct {
    apr_pool_t *pool;
    gate_cache_desk_t *desk;
    door_route_t **routes;        /* by route's index */
    uint32_t room;
} doors_t;

int exchange_doors(void)
{
    APR_OPTIONAL_FN_TYPE(gate_upstream_door) *upstream = APR_RETRIEVE_OPTIONAL_FN(gate_upstream_door);
    APR_OPTIONAL_FN_TYPE(gate_access_door) *access = APR_RETRIEVE_OPTIONAL_FN(gate_access_door);
    APR_OPTIONAL_FN_TYPE(gate_cache_door) *cache = APR_RETRIEVE_OPTIONAL_FN(gate_cache_door);

    exchange_upstream = upstream ? upstream() : NULL;
    exchange_access = access ? access() : NULL;
    exchange_cache = cache ? cache() : NULL;
    return exchange_upstream != NULL;
}

static doors_t *doors_of(loop_t *loop)
{
    void **slot = loop_slot(loop, LOOP_SLOT_EXCHANGES);
    apr_pool_t *pool = NULL;
    doors_t *doors = *slot;

    if (doors || apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        return doors;
    }
    apr_pool_tag(pool, "gate_doors");
    doors = apr_pcalloc(pool, sizeof *doors);
    doors->pool = pool;
    doors->desk = exchange_cache ? exchange_cache->desk(pool) : NULL;
    return *slot = doors;
}

void exchange_doors_end(loop_t *loop)
{
    void **slot = loop_slot(loop, LOOP_SLOT_EXCHANGES);
    doors_t *doors = *slot;

    if (doors) {
        *slot = NULL;
        apr_pool_destroy(doors->pool);
    }
}

static door_route_t *make(doors_t *doors, const route_t *route)
{
    door_route_t *made = apr_pcalloc(doors->pool, sizeof *made);
    const char *base = apr_pstrcat(doors->pool, "proxy:gate://", route->group_name, NULL), *classic;

    made->early = !route->request_headers && !(route->needs & ELIGIBLE_REMOTE);
    made->plain = made->early && !route->answer_headers && !route->always_headers && !route->output_types;
    if (exchange_access) {
        made->access = exchange_access->place(doors->pool, route->server, route->dir_conf);
        made->limits = exchange_access->limits(made->access) != 0;
    }
    if (doors->desk) {
        made->cache = exchange_cache->place(doors->pool, route->server, route->dir_conf, "proxy-server", base, &classic);
    }
    return made;
}

const door_route_t *exchange_door_route(exchange_t *x)
{
    doors_t *doors = doors_of(x->loop);
    uint32_t index = x->route->index;

    if (!doors) {
        return NULL;
    }
    if (index >= doors->room) {
        uint32_t room = index + 64;
        door_route_t **more = apr_pcalloc(doors->pool, room * sizeof(door_route_t *));

        if (doors->room) {
            memcpy(more, doors->routes, doors->room * sizeof(door_route_t *));
        }
        doors->routes = more;
        doors->room = room;
    }
    if (!doors->routes[index]) {
        doors->routes[index] = make(doors, x->route);
    }
    return doors->routes[index];
}

gate_cache_desk_t *exchange_desk(exchange_t *x)
{
    doors_t *doors = doors_of(x->loop);

    return doors ? doors->desk : NULL;
}

apr_table_t *exchange_stages_headers(exchange_t *x, int status, apr_table_t *headers)
{
    apr_table_t *all = headers ? headers : apr_table_make(x->pool, 6);

    exchange_admit_headers(x, all);
    exchange_answer_failed(x, status, all);
    return apr_is_empty_table(all) ? NULL : all;
}

void exchange_stages_env(const exchange_t *x, apr_table_t *env)
{
    const exchange_pass_t *pass = x->admit;

    if (pass && pass->pass.said) {
        apr_table_setn(env, "GATE_ACCESS", pass->pass.said);
    }
    if (x->said_of_cache) {
        apr_table_setn(env, "GATE_CACHE", x->said_of_cache);
    }
    if (x->said_of_cache && !x->errand) {
        apr_table_setn(env, "GATE_PLANE", "express");
    }
}
