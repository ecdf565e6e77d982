/* eligible.c - see eligible.h: walks what was configured and gives each scope its verdict. */
#include <stdlib.h>
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <apr_strings.h>
#include <mod_proxy.h>
#include <util_cfgtree.h>

#include "eligible.h"
#include "gate_log.h"
#include "route_inside.h"

APLOG_USE_MODULE(gate_engine);

static struct {
    apr_pool_t *pool;
    server_rec *main_server;
    apr_hash_t *servers;        /* server_rec * -> eligible_server_t * */
    eligible_scope_t main;      /* what stands in the main server, which vhosts begin with */
    apr_array_header_t *locations, *proxies; /* eligible_scope_t: its sections */
    const char *why;            /* against all routes: a module that is not known */
    unsigned needs;
    int early;                  /* some RequestHeader line is */
} all;

/* Doors that stand: GateSelect is part of upstream's errand. */
#define DOORS (ELIGIBLE_SELECT | ELIGIBLE_LIMIT | ELIGIBLE_CACHE)

unsigned eligible_doors(void)
{
    return DOORS;
}

/* ---- reasons ---------------------------------------------------------------------------------------------------------------- */

static const char *place_of(const ap_directive_t *node)
{
    return apr_psprintf(all.pool, "%s:%d", node->filename ? node->filename : "?", node->line_num);
}

static const char *reason(const ap_directive_t *node, const char *what)
{
    return apr_psprintf(all.pool, "%s%s%s%s (%s)", node->directive, *node->directive == '<' ? ">" : "", what ? ": " : "", what ? what : "",
                        place_of(node));
}

/* The first reason is the one that is told. */
static void object(eligible_scope_t *scope, const ap_directive_t *node, const char *what)
{
    if (!scope->why) {
        scope->why = reason(node, what);
    }
}

static void object_if_rewriting(eligible_scope_t *scope, const ap_directive_t *node, const char *what)
{
    if (!scope->rewrite_why) {
        scope->rewrite_why = reason(node, what);
    }
}

/* ---- directives that leave something behind -------------------------------------------------------------------------------- */

static void note_name(apr_array_header_t **names, const char *name)
{
    if (!*names) {
        *names = apr_array_make(all.pool, 4, sizeof(char *));
    }
    APR_ARRAY_PUSH(*names, const char *) = apr_pstrdup(all.pool, name);
}

/* Its cookies are among the fields that Header always works on. */
static int has_sticky(const ap_directive_t *node)
{
    for (; node; node = node->next) {
        if (strcasecmp(node->directive, "GateSticky") == 0 || has_sticky(node->first_child)) {
            return 1;
        }
    }
    return 0;
}

static void note_header(eligible_scope_t *scope, const ap_directive_t *node)
{
    int request = strcasecmp(node->directive, "RequestHeader") == 0, computed;
    header_op_t op;
    const char *why = header_op_parse(all.pool, node->args ? node->args : "", request, &op, &computed);

    if (why) {
        object(scope, node, why);
        return;
    }
    if (op.of == HEADER_OF_ANSWER_ALWAYS && op.known == FIELD_SET_COOKIE && has_sticky(ap_conftree)) {
        object(scope, node, "it changes cookies that GateSticky sets");
        return;
    }
    if (request) {
        note_name(&scope->request_headers, op.name);
        all.early |= op.early;
    }
    if (computed) {
        scope->needs |= request ? ELIGIBLE_ASK : ELIGIBLE_ANSWER;
        return;
    }
    if (!scope->headers) {
        scope->headers = header_ops_create(all.pool);
    }
    header_ops_add(all.pool, scope->headers, &op);
}

static void note_types(eligible_scope_t *scope, const ap_directive_t *node)
{
    const char *args = node->args ? node->args : "";
    char word[256];

    if (strcasecmp(node->directive, "AddOutputFilterByType") != 0 || eligible_next_word(&args, word, sizeof word) < 0) {
        scope->needs |= ELIGIBLE_OUTPUT;
        return; /* SetOutputFilter: whatever the type */
    }
    while (eligible_next_word(&args, word, sizeof word) >= 0) {
        note_name(&scope->filtered_types, word);
    }
}

static void note_browser(eligible_scope_t *scope, const ap_directive_t *node)
{
    const char *args = node->args ? node->args : "";
    int icase = strcasecmp(node->directive, "BrowserMatchNoCase") == 0;
    char word[1024];
    ap_regex_t *regex = NULL;

    if (eligible_next_word(&args, word, sizeof word) >= 0 && strlen(word) < sizeof word - 1) {
        regex = ap_pregcomp(all.pool, word, AP_REG_EXTENDED | AP_REG_NOSUB | (icase ? AP_REG_ICASE : 0));
    }
    if (!regex) {
        object(scope, node, "its pattern");
        return;
    }
    if (!scope->browsers) {
        scope->browsers = apr_array_make(all.pool, 16, sizeof(ap_regex_t *));
    }
    APR_ARRAY_PUSH(scope->browsers, ap_regex_t *) = regex;
}

static void note_remote(eligible_scope_t *scope, const ap_directive_t *node)
{
    const char *args = node->args ? node->args : "";
    char word[256];

    if (eligible_next_word(&args, word, sizeof word) <= 0) {
        object(scope, node, NULL);
        return;
    }
    note_name(&scope->remote_headers, word);
}

/* ---- the walk --------------------------------------------------------------------------------------------------------------- */

static int is_section(const ap_directive_t *node, const char *a, const char *b)
{
    return strcasecmp(node->directive, a) == 0 || strcasecmp(node->directive, b) == 0;
}

/* Sections of files, definitions, and lists that stand for themselves: what is in them does not touch a proxied request. */
static int is_apart(const ap_directive_t *node)
{
    static const char *const names[] = { "<Directory", "<DirectoryMatch", "<Files", "<FilesMatch", "<GateUpstream", "<Macro",
                                         "<AuthnProviderAlias", "<AuthzProviderAlias", "<MDomain", "<MDomainSet", NULL };
    const char *const *name;

    for (name = names; *name; name++) {
        if (strcasecmp(node->directive, *name) == 0) {
            return 1;
        }
    }
    return 0;
}

static void take_directive(eligible_scope_t *scope, const ap_directive_t *node, int in_section)
{
    module *m = ap_top_module;
    const command_rec *command = ap_find_command_in_modules(node->directive, &m);
    eligible_word_t word;

    if (!command) {
        object(scope, node, "nobody knows it");
        return;
    }
    word = eligible_directive(m->name, node->directive, node->args, in_section, eligible_doors());
    scope->needs |= word.needs & ~(unsigned)(ELIGIBLE_OUTPUT | ELIGIBLE_IF_REWRITING);
    switch (word.verdict) {
    case ELIGIBLE_NEUTRAL:
        if (!in_section && strcasecmp(node->directive, "RewriteEngine") == 0) { /* off; the last word counts */
            scope->needs &= ~(unsigned)ELIGIBLE_REWRITE;
        }
        break;
    case ELIGIBLE_HONOURED:
        if (word.needs & ELIGIBLE_HEADERS) {
            note_header(scope, node);
        }
        if (word.needs & ELIGIBLE_OUTPUT) {
            note_types(scope, node);
        }
        if (word.needs & ELIGIBLE_BROWSER) {
            note_browser(scope, node);
        }
        if (word.needs & ELIGIBLE_REMOTE) {
            note_remote(scope, node);
        }
        break;
    case ELIGIBLE_CLASSIC:
        (word.needs & ELIGIBLE_IF_REWRITING ? object_if_rewriting : object)(scope, node, word.why);
        break;
    case ELIGIBLE_UNKNOWN:
        object(scope, node, apr_psprintf(all.pool, "of %s, unknown", m->name));
        break;
    }
}

/* All that stands in a scope itself; sections that are scopes of their own are left out. */
static void take_scope(eligible_scope_t *scope, const ap_directive_t *node, int in_section)
{
    for (; node; node = node->next) {
        if (is_apart(node) || is_section(node, "<VirtualHost", "<Location") || is_section(node, "<LocationMatch", "<Proxy")
            || is_section(node, "<ProxyMatch", "<ProxyMatch")) {
            continue;
        }
        take_directive(scope, node, in_section);
        if (node->first_child) {
            take_scope(scope, node->first_child, in_section);
        }
    }
}

static void take_sections(const ap_directive_t *node, const char *a, const char *b, apr_array_header_t *into)
{
    for (; node; node = node->next) {
        if (is_section(node, a, b)) {
            eligible_scope_t *scope = apr_array_push(into);

            memset(scope, 0, sizeof *scope);
            scope->title = apr_psprintf(all.pool, "%s %s%s (%s)", node->directive, node->args ? node->args : "",
                                        node->args && *node->args && node->args[strlen(node->args) - 1] == '>' ? "" : ">", place_of(node));
            take_scope(scope, node->first_child, 1);
        }
    }
}

static const ap_directive_t *vhost_node(const server_rec *s)
{
    const ap_directive_t *node;

    for (node = ap_conftree; node; node = node->next) {
        if (strcasecmp(node->directive, "<VirtualHost") == 0 && s->defn_name && node->filename
            && strcmp(node->filename, s->defn_name) == 0 && (unsigned)node->line_num == s->defn_line_number) {
            return node;
        }
    }
    return NULL;
}

/* Sections must be as many as httpd has: a module that makes some of its own, or a tree that cannot be told, leaves all to the classic plane. */
static eligible_scope_t *sections_of(eligible_server_t *server, const apr_array_header_t *of_main, const ap_directive_t *vhost, const char *a,
                                     const char *b, int expected)
{
    apr_array_header_t *found = apr_array_copy(all.pool, of_main);

    if (vhost) {
        take_sections(vhost->first_child, a, b, found);
    }
    if (found->nelts != expected && !server->whole.why) {
        server->whole.why = apr_psprintf(all.pool, "%d sections %s> were read and %d are in force: a module has made its own", found->nelts, a,
                                         expected);
    }
    return (eligible_scope_t *)found->elts;
}

static apr_array_header_t *own(const apr_array_header_t *names)
{
    return names ? apr_array_copy(all.pool, names) : NULL;
}

/* More can be added to the copy. */
static eligible_scope_t copy_of(const eligible_scope_t *from)
{
    eligible_scope_t to = *from;
    uint32_t i;

    if (from->headers) {
        to.headers = header_ops_create(all.pool);
        for (i = 0; i < from->headers->count; i++) {
            header_ops_add(all.pool, to.headers, &from->headers->op[i]);
        }
    }
    to.request_headers = own(from->request_headers);
    to.filtered_types = own(from->filtered_types);
    to.remote_headers = own(from->remote_headers);
    to.browsers = own(from->browsers);
    return to;
}

static void build_main(void)
{
    all.main.why = all.why;
    all.main.needs = all.needs;
    take_scope(&all.main, ap_conftree, 0);
    all.locations = apr_array_make(all.pool, 8, sizeof(eligible_scope_t));
    all.proxies = apr_array_make(all.pool, 8, sizeof(eligible_scope_t));
    take_sections(ap_conftree, "<Location", "<LocationMatch", all.locations);
    take_sections(ap_conftree, "<Proxy", "<ProxyMatch", all.proxies);
}

static void apply_to(eligible_scope_t *scope)
{
    if (!scope->why) {
        scope->why = scope->rewrite_why;
    }
}

/* RewriteEngine is on: what stands against its rules counts. */
static void apply_rewriting(eligible_server_t *server)
{
    int i;

    apply_to(&server->whole);
    for (i = 0; i < server->locations; i++) {
        apply_to(&server->location[i]);
    }
    for (i = 0; i < server->proxies; i++) {
        apply_to(&server->proxy[i]);
    }
}

static eligible_server_t *build_server(server_rec *s)
{
    eligible_server_t *server = apr_pcalloc(all.pool, sizeof *server);
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    const proxy_server_conf *proxy = ap_get_module_config(s->module_config, &proxy_module);
    const ap_directive_t *vhost = s->is_virtual ? vhost_node(s) : NULL;

    server->server = s;
    server->whole = copy_of(&all.main);
    if (vhost) {
        take_scope(&server->whole, vhost->first_child, 0);
    }
    else if (s->is_virtual && !server->whole.why) {
        server->whole.why = apr_psprintf(all.pool, "its <VirtualHost> (%s:%u) is not found again", s->defn_name ? s->defn_name : "?",
                                         s->defn_line_number);
    }
    server->locations = core->sec_url->nelts;
    server->proxies = proxy->sec_proxy->nelts;
    server->location = sections_of(server, all.locations, vhost, "<Location", "<LocationMatch", server->locations);
    server->proxy = sections_of(server, all.proxies, vhost, "<Proxy", "<ProxyMatch", server->proxies);
    if (server->whole.needs & ELIGIBLE_REWRITE) {
        apply_rewriting(server);
    }
    return server;
}

/* ---- modules that hook phases ---------------------------------------------------------------------------------------------- */

/* All lists of links begin with function and module's name. */
typedef struct {
    void (*function)(void);
    const char *module;
    const char *const *before, *const *after;
    int order;
} link_t;

static void take_phase(const char *phase, const apr_array_header_t *links)
{
    int i;

    for (i = 0; links && i < links->nelts; i++) {
        const link_t *link = (const link_t *)(links->elts + i * links->elt_size);

        if (link->module && !eligible_module(link->module) && !all.why) {
            all.why = apr_psprintf(all.pool, "module %s, which is not known, takes part in %s", link->module, phase);
        }
    }
}

/* ProxyPass has its say before aliases and redirects; who comes earlier must be known to keep quiet. */
static void take_translators(void)
{
    const apr_array_header_t *links = ap_hook_get_translate_name();
    int i;

    for (i = 0; links && i < links->nelts; i++) {
        const link_t *link = (const link_t *)(links->elts + i * links->elt_size);

        if (strcmp(link->module, "mod_proxy.c") == 0) {
            return;
        }
        if (strncmp(link->module, "mod_gate", 8) != 0 && strcmp(link->module, "mod_rewrite.c") != 0 && !all.why) {
            all.why = apr_psprintf(all.pool, "module %s maps URLs before ProxyPass does", link->module);
        }
    }
}

static void take_modules(void)
{
    take_phase("create_request", ap_hook_get_create_request());
    take_phase("pre_read_request", ap_hook_get_pre_read_request());
    take_phase("post_read_request", ap_hook_get_post_read_request());
    take_phase("quick_handler", ap_hook_get_quick_handler());
    take_phase("pre_translate_name", ap_hook_get_pre_translate_name());
    take_phase("translate_name", ap_hook_get_translate_name());
    take_phase("map_to_storage", ap_hook_get_map_to_storage());
    take_phase("post_perdir_config", ap_hook_get_post_perdir_config());
    take_phase("header_parser", ap_hook_get_header_parser());
    take_phase("access_checker", ap_hook_get_access_checker());
    take_phase("access_checker_ex", ap_hook_get_access_checker_ex());
    take_phase("force_authn", ap_hook_get_force_authn());
    take_phase("check_user_id", ap_hook_get_check_user_id());
    take_phase("auth_checker", ap_hook_get_auth_checker());
    take_phase("type_checker", ap_hook_get_type_checker());
    take_phase("fixups", ap_hook_get_fixups());
    take_phase("insert_filter", ap_hook_get_insert_filter());
    take_phase("handler", ap_hook_get_handler());
    take_phase("log_transaction", ap_hook_get_log_transaction());
    take_phase("check_trans (of mod_proxy)", proxy_hook_get_check_trans());
    take_phase("pre_request (of mod_proxy)", proxy_hook_get_pre_request());
    take_phase("post_request (of mod_proxy)", proxy_hook_get_post_request());
    take_translators();
    if (ap_find_linked_module("mod_unique_id.c")) {
        all.needs |= ELIGIBLE_ENV;
    }
}

/* ---- building --------------------------------------------------------------------------------------------------------------- */

void eligible_build(apr_pool_t *pconf, server_rec *main_server, int (*is_on)(server_rec *s))
{
    server_rec *s;

    memset(&all, 0, sizeof all);
    all.pool = pconf;
    all.main_server = main_server;
    all.servers = apr_hash_make(pconf);
    take_modules();
    route_hooks_find();
    build_main();
    for (s = main_server; s; s = s->next) {
        if (is_on(s)) {
            eligible_server_t *server = build_server(s);

            apr_hash_set(all.servers, apr_pmemdup(pconf, &s, sizeof s), sizeof s, server);
            eligible_tell(server);
        }
    }
    if (!all.early) {
        route_hooks.headers_early = NULL;
    }
}

const eligible_server_t *eligible_of(const server_rec *s)
{
    return all.servers ? apr_hash_get(all.servers, &s, sizeof s) : NULL;
}

server_rec *eligible_main_server(void)
{
    return all.main_server;
}
