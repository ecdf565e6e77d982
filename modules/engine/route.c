/* route.c - see route.h: from a head to its route. */
#include <stdlib.h>
#include <string.h>

#include <httpd.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_ssl.h>
#include <apr_strings.h>

#include "route_inside.h"

#define SETS_MAX 512           /* of sections that matched together, per server */

/* ---- what a loop remembers ------------------------------------------------------------------------------------------------- */

/* A set of <Location> sections that match together, and the routes below it. */
typedef struct set {
    uint64_t bits[ROUTE_SET_WORDS];
    struct set *next;
    ap_conf_vector_t *conf;     /* the server's and theirs */
    alias_t *own;               /* ProxyPass in a <Location>; NULL */
    route_t **route;            /* by alias; the last is own's */
} set_t;

typedef struct {
    const char *at;
    uint32_t len;
    int pattern;
    const core_dir_config *core;
} section_t;

typedef struct route_view {
    server_rec *server;
    const eligible_server_t *eligible;
    struct route_view *next;
    const char *why;            /* against everything here; NULL */
    int rewrites;
    alias_t *alias;
    int aliases;
    section_t *section;
    int sections;
    set_t *none;                /* the set of no section */
    set_t *sets[64];
    uint32_t set_count;
} view_t;

static route_table_t *table_of(loop_t *loop)
{
    void **slot = loop_slot(loop, LOOP_SLOT_ROUTES);
    apr_pool_t *pool = NULL;
    route_table_t *table = *slot;

    if (table || apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        return table;
    }
    apr_pool_tag(pool, "gate_routes");
    table = apr_pcalloc(pool, sizeof *table);
    table->loop = loop;
    table->pool = pool;
    apr_pool_create(&table->scratch, pool);
    table->hosts = apr_pcalloc(pool, ROUTE_HOSTS * sizeof *table->hosts);
    table->types = route_types_create(pool);
    table->agents = route_agents_create(pool);
    *slot = table;
    return table;
}

void route_end(loop_t *loop)
{
    void **slot = loop_slot(loop, LOOP_SLOT_ROUTES);
    route_table_t *table = *slot;

    if (table) {
        *slot = NULL;
        apr_pool_destroy(table->pool);
    }
}

route_client_t *route_client(loop_t *loop, conn_rec *c)
{
    route_client_t *client = apr_pcalloc(c->pool, sizeof *client);

    client->table = table_of(loop);
    client->c = c;
    client->tls = (uint8_t)(ap_ssl_conn_is_ssl(c) != 0);
    return client;
}

/* ---- a server's lines and sections ---------------------------------------------------------------------------------------- */

static void read_sections(route_table_t *table, view_t *view)
{
    const core_server_config *core = ap_get_core_module_config(view->server->module_config);
    int i;

    view->sections = core->sec_url->nelts;
    view->section = apr_pcalloc(table->pool, (view->sections + 1) * sizeof *view->section);
    for (i = 0; i < view->sections; i++) {
        const core_dir_config *one = ap_get_core_module_config(APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *));

        view->section[i].core = one;
        view->section[i].pattern = one->r || one->d_is_fnmatch;
        view->section[i].at = one->d;
        view->section[i].len = (uint32_t)strlen(one->d);
    }
    if (view->sections > ROUTE_SECTIONS_MAX) {
        view->why = "there are more <Location> sections than the engine looks at";
    }
}

static set_t *make_set(route_table_t *table, view_t *view, const uint64_t *bits);

static view_t *make_view(route_table_t *table, view_t **chain, server_rec *server)
{
    static const uint64_t nothing[ROUTE_SET_WORDS];
    view_t *view = apr_pcalloc(table->pool, sizeof *view);
    const proxy_server_conf *proxy = ap_get_module_config(server->module_config, &proxy_module);
    int i;

    view->server = server;
    view->next = *chain;
    *chain = view;
    view->eligible = eligible_of(server);
    if (!view->eligible) {
        view->why = "GateEngine is off";
        return view;
    }
    view->aliases = proxy->aliases->nelts;
    view->alias = apr_pcalloc(table->pool, (view->aliases + 1) * sizeof *view->alias);
    for (i = 0; i < view->aliases; i++) {
        alias_read(table->pool, view->eligible, &APR_ARRAY_IDX(proxy->aliases, i, struct proxy_alias), &view->alias[i]);
    }
    read_sections(table, view);
    if (!view->why && proxy->map_encoded_one) {
        view->why = "a ProxyPass has mapping=encoded";
    }
    if (!view->why && view->eligible->whole.why) {
        view->why = view->eligible->whole.why;
    }
    view->rewrites = (view->eligible->whole.needs & ELIGIBLE_REWRITE) && route_hooks.rewrite;
    if (view->rewrites && !view->why && route_rewrite_is_told(server)) {
        view->why = "LogLevel has mod_rewrite tell what it does";
    }
    if (!view->why) {
        view->none = make_set(table, view, nothing);
    }
    return view;
}

static view_t *view_of(route_table_t *table, server_rec *server)
{
    view_t **chain = &table->views[(uintptr_t)server / 64 % ROUTE_VIEWS], *view;

    for (view = *chain; view; view = view->next) {
        if (view->server == server) {
            return view;
        }
    }
    return make_view(table, chain, server);
}

/* A prefix at once, patterns by httpd. other: the path was not in its normal form; NULL */
static int section_matches(const section_t *section, const char *path, uint32_t len, const route_path_t *other)
{
    if (other && other->two_slashes && !section->core->r) {
        path = other->merged;
        len = (uint32_t)strlen(path);
    }
    if (section->pattern) {
        return route_section_matches(section->core, path, len);
    }
    return len >= section->len && memcmp(path, section->at, section->len) == 0
           && (section->len == 0 || section->at[section->len - 1] == '/' || len == section->len || path[section->len] == '/');
}

/* ---- sets of sections ------------------------------------------------------------------------------------------------------- */

static set_t *make_set(route_table_t *table, view_t *view, const uint64_t *bits)
{
    set_t *set = apr_pcalloc(table->pool, sizeof *set);
    const core_server_config *core = ap_get_core_module_config(view->server->module_config);
    ap_conf_vector_t *merged = NULL;
    const proxy_dir_conf *dir;
    int i;

    memcpy(set->bits, bits, sizeof set->bits);
    set->route = apr_pcalloc(table->pool, (view->aliases + 1) * sizeof *set->route);
    for (i = 0; i < view->sections; i++) {
        if (bits[i / 64] & UINT64_C(1) << (i % 64)) {
            ap_conf_vector_t *one = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);

            merged = merged ? ap_merge_per_dir_configs(table->pool, merged, one) : one;
        }
    }
    set->conf = view->server->lookup_defaults;
    if (merged) {
        set->conf = merged = ap_merge_per_dir_configs(table->pool, view->server->lookup_defaults, merged);
        dir = ap_get_module_config(merged, &proxy_module);
        if (dir && dir->alias) {
            set->own = apr_pcalloc(table->pool, sizeof *set->own);
            alias_read(table->pool, view->eligible, dir->alias, set->own);
        }
    }
    view->set_count++;
    return set;
}

static set_t *set_of(route_table_t *table, view_t *view, const request_head_t *head)
{
    const route_path_t *other = head->plain_path ? NULL : &table->other;
    uint64_t bits[ROUTE_SET_WORDS] = { 0 }, any = 0;
    set_t *set, **chain;
    int i;

    for (i = 0; i < view->sections; i++) {
        if (section_matches(&view->section[i], head->path.at, head->path.len, other)) {
            bits[i / 64] |= any = UINT64_C(1) << (i % 64);
        }
    }
    if (!any) {
        return view->none;
    }
    chain = &view->sets[route_hash((const char *)bits, sizeof bits, 0) % 64];
    for (set = *chain; set; set = set->next) {
        if (memcmp(set->bits, bits, sizeof bits) == 0) {
            return set;
        }
    }
    if (view->set_count >= SETS_MAX) {
        return NULL;
    }
    set = make_set(table, view, bits);
    set->next = *chain;
    *chain = set;
    return set;
}

/* ---- a route ---------------------------------------------------------------------------------------------------------------- */

/* As httpd merges: server, <Proxy> sections, then all that <Location> sections make together. */
static ap_conf_vector_t *merge(route_table_t *table, const view_t *view, const set_t *set, const alias_t *alias)
{
    const core_server_config *core = ap_get_core_module_config(view->server->module_config);
    const proxy_server_conf *proxy = ap_get_module_config(view->server->module_config, &proxy_module);
    ap_conf_vector_t *conf = view->server->lookup_defaults, *locations = NULL;
    int i;

    for (i = 0; i < proxy->sec_proxy->nelts; i++) {
        if (alias->proxies[i / 64] & UINT64_C(1) << (i % 64)) {
            conf = ap_merge_per_dir_configs(table->pool, conf, APR_ARRAY_IDX(proxy->sec_proxy, i, ap_conf_vector_t *));
        }
    }
    for (i = 0; i < view->sections; i++) {
        if (set->bits[i / 64] & UINT64_C(1) << (i % 64)) {
            ap_conf_vector_t *one = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);

            locations = locations ? ap_merge_per_dir_configs(table->pool, locations, one) : one;
        }
    }
    return locations ? ap_merge_per_dir_configs(table->pool, conf, locations) : conf;
}

static void take_headers(apr_pool_t *p, route_t *route, const header_ops_t *ops)
{
    header_ops_t **lists[] = { [HEADER_OF_REQUEST] = (header_ops_t **)&route->request_headers,
                               [HEADER_OF_ANSWER] = (header_ops_t **)&route->answer_headers,
                               [HEADER_OF_ANSWER_ALWAYS] = (header_ops_t **)&route->always_headers };
    uint32_t i;

    for (i = 0; ops && i < ops->count; i++) {
        header_ops_t **list = lists[ops->op[i].of];

        if (!*list) {
            *list = header_ops_create(p);
        }
        header_ops_add(p, *list, &ops->op[i]);
    }
}

static apr_array_header_t *join(apr_pool_t *p, apr_array_header_t *all, const apr_array_header_t *more)
{
    if (!more) {
        return all;
    }
    return all ? apr_array_append(p, all, more) : apr_array_copy(p, more);
}

static void take_scope(apr_pool_t *p, route_t *route, const eligible_scope_t *scope)
{
    if (scope->why && !route->why) {
        route->why = scope->why;
    }
    route->needs |= scope->needs;
    take_headers(p, route, scope->headers);
    route->env->browsers = join(p, route->env->browsers, scope->browsers);
    route->env->types = join(p, route->env->types, scope->filtered_types);
    route->env->remote_headers = join(p, route->env->remote_headers, scope->remote_headers);
    route->env->request_headers = join(p, route->env->request_headers, scope->request_headers);
}

/* Does ProxyPassReverse map more than the group's own URLs, which upstream turns by itself? */
static int reverses(const proxy_dir_conf *dir)
{
    int i;

    for (i = 0; i < dir->raliases->nelts; i++) {
        if (strncasecmp(APR_ARRAY_IDX(dir->raliases, i, struct proxy_alias).real, "gate://", 7) != 0) {
            return 1;
        }
    }
    return dir->cookie_paths->nelts || dir->cookie_domains->nelts;
}

static void take_scopes(apr_pool_t *p, route_t *route, const view_t *view, const set_t *set, const alias_t *alias)
{
    const eligible_server_t *eligible = view->eligible;
    int i;

    take_scope(p, route, &eligible->whole);
    for (i = 0; i < eligible->proxies; i++) {
        if (alias->proxies[i / 64] & UINT64_C(1) << (i % 64)) {
            take_scope(p, route, &eligible->proxy[i]);
        }
    }
    for (i = 0; i < eligible->locations; i++) {
        if (set->bits[i / 64] & UINT64_C(1) << (i % 64)) {
            take_scope(p, route, &eligible->location[i]);
            if (view->section[i].core->refs && view->section[i].core->refs->nelts && !route->why) {
                route->why = apr_psprintf(p, "named groups of %s", eligible->location[i].title);
            }
        }
    }
}

/* What the merged configuration says, whoever put it there: directives are not its only source. */
static const char *object_of(const route_t *route)
{
    const core_dir_config *core = ap_get_core_module_config(route->dir_conf);

    if (core->handler && strcmp(core->handler, "none") != 0) {
        return "a handler is set";
    }
    if (core->input_filters || core->mime_type || (core->sec_if && core->sec_if->nelts)) {
        return "a type, an input filter or <If> is in force";
    }
    return NULL;
}

static void take_settings(route_t *route)
{
    request_rec r = { .per_dir_config = route->dir_conf };
    const core_dir_config *core = ap_get_core_module_config(route->dir_conf);

    route->preserve_host = route->proxy_dir->preserve_host;
    route->add_headers = route->proxy_dir->add_forwarded_headers;
    route->via = (int)route->proxy->viaopt;
    route->reverses = reverses(route->proxy_dir);
    route->server_timeout_usec = route->proxy->timeout_set ? route->proxy->timeout : 0;
    route->body_limit = ap_get_limit_req_body(&r);
    route->logs = (route->needs & ELIGIBLE_LOG) != 0;
    if (route->needs & ELIGIBLE_ASK) {
        route->request_headers = NULL; /* mod_headers does all of them, in their order */
    }
    if (route->needs & ELIGIBLE_ANSWER) {
        route->answer_headers = route->always_headers = NULL;
    }
    route->makes_ready = (route->needs & (ELIGIBLE_ASK | ELIGIBLE_REMOTE)) != 0;
    route->env->any_type = core->output_filters != NULL || (route->needs & ELIGIBLE_ANSWER);
    route->output_types = route->env->any_type || route->env->types;
}

static route_t *make_route(route_table_t *table, const view_t *view, const set_t *set, const alias_t *alias)
{
    route_t *route = apr_pcalloc(table->pool, sizeof *route);

    route->server = view->server;
    route->group_name = alias->group;
    route->prefix = alias->prefix;
    route->base = alias->base;
    route->worker = alias->worker;
    route->timeout_usec = alias->timeout_usec;
    route->index = table->routes++;
    route->env = apr_pcalloc(table->pool, sizeof *route->env);
    route->env->alias = alias;
    route->env->rewrite_conf = set->conf;
    route->dir_conf = merge(table, view, set, alias);
    route->proxy = ap_get_module_config(view->server->module_config, &proxy_module);
    route->proxy_dir = ap_get_module_config(route->dir_conf, &proxy_module);
    take_scopes(table->pool, route, view, set, alias);
    if (!route->why) {
        route->why = alias->why ? alias->why : object_of(route);
    }
    take_settings(route);
    route->express = route->why == NULL;
    return route;
}

/* ---- finding ---------------------------------------------------------------------------------------------------------------- */

/* The first line that covers the path, as mod_proxy looks for it. */
static const route_t *by_alias(route_table_t *table, view_t *view, set_t *set, const request_head_t *head, const char **why)
{
    const alias_t *alias = set->own;
    int i, at = -1;

    if (set->own && alias_match(set->own, head->path.at, head->path.len)) {
        at = view->aliases;
    }
    for (i = 0; at < 0 && i < view->aliases; i++) {
        if (alias_match(&view->alias[i], head->path.at, head->path.len)) {
            at = i;
            alias = &view->alias[i];
        }
    }
    if (at < 0 || alias->kind != ALIAS_GATE) {
        *why = "no ProxyPass leads it to a gate:// group";
        return NULL;
    }
    if (!set->route[at]) {
        set->route[at] = make_route(table, view, set, alias);
    }
    return set->route[at];
}

const route_t *route_find(route_client_t *client, server_rec *server, request_head_t *head, route_found_t *found)
{
    route_table_t *table = client->table;
    const route_t *route;
    view_t *view = client->view;
    span_t mapped;
    set_t *set;

    found->content_type = NULL;
    found->refused = 0;
    if (!view || view->server != server) {
        client->view = view = view_of(table, server);
    }
    if ((found->why = view->why) != NULL || (found->why = route_odd_request(head)) != NULL
        || (found->why = route_odd_path(server, head, &table->other)) != NULL) {
        return NULL;
    }
    set = set_of(table, view, head);
    if (!set) {
        found->why = "too many different sets of sections";
        return NULL;
    }
    route = by_alias(table, view, set, head, &found->why);
    if (!route) {
        return NULL;
    }
    if ((found->why = route->why) != NULL || (found->why = route_odd_sender(client, route, head)) != NULL
        || (view->rewrites
            && (found->why = route_rewrite(client, server, set->conf, view->eligible->whole.needs, head, &found->refused)) != NULL)) {
        return NULL;
    }
    if (found->refused) {
        found->path = head->path;
        found->refused_in = ROUTE_PHASE_RULES;
        return route;
    }
    if ((found->why = route_path_make(table, route, head, &found->path, &mapped)) != NULL
        || (found->why = route_object(client, route, head, mapped, found)) != NULL) {
        return NULL;
    }
    return route;
}
