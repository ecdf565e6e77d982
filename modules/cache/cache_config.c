/* cache_config.c - the directives of mod_gate_cache; manual: README beside this file */
#include "cache.h"

#include <string.h>
#include <apr_lib.h>

#include "gate_parse.h"

GATE_CONF_FUNCTIONS(cache_dir_conf, cache_dir_conf_t, CACHE_DIR_FIELDS)
GATE_CONF_FUNCTIONS(cache_server_conf, cache_server_conf_t, CACHE_SERVER_FIELDS)

#define SECONDS_MAX (INT64_C(10) * 366 * 86400)
#define USEC INT64_C(1000000)
#define DEFAULT_TYPES "text/,application/javascript,application/json,application/ld+json,application/manifest+json," \
                      "application/xml,application/rss+xml,application/atom+xml,application/xhtml+xml,application/wasm," \
                      "application/vnd.ms-fontobject,font/ttf,font/otf,image/svg+xml,image/x-icon,image/bmp"

static int wanted;
static apr_array_header_t *rules;

void cache_config_reset(apr_pool_t *pconf)
{
    wanted = 0;
    rules = apr_array_make(pconf, 4, sizeof(const gate_key_rule_t *));
}

int cache_config_wanted(void)
{
    return wanted;
}

const gate_key_rule_t *const *cache_config_rules(apr_pool_t *p)
{
    const gate_key_rule_t **list = apr_pcalloc(p, ((size_t)rules->nelts + 1) * sizeof *list);

    memcpy(list, rules->elts, (size_t)rules->nelts * sizeof *list);
    return list;
}

void *cache_dir_create(apr_pool_t *p, char *dir)
{
    (void)dir;
    return cache_dir_conf_create_at(p);
}

/* Defaults stand in at use: what is unset here may be set further in. */
void *cache_dir_merge(apr_pool_t *p, void *outer, void *inner)
{
    return cache_dir_conf_merge(p, outer, inner);
}

void *cache_server_create(apr_pool_t *p, server_rec *s)
{
    (void)s;
    return cache_server_conf_create_at(p);
}

void *cache_server_merge(apr_pool_t *p, void *outer, void *inner)
{
    return cache_server_conf_merge(p, outer, inner);
}

cache_server_conf_t cache_server_values(server_rec *s)
{
    cache_server_conf_t values = *(const cache_server_conf_t *)ap_get_module_config(s->module_config, &gate_cache_module);

    cache_server_conf_defaults(&values);
    if (!values.max_object) {
        values.max_object = values.size_bytes / 16;
    }
    return values;
}

const cache_dir_conf_t *cache_conf_of(apr_pool_t *p, const ap_conf_vector_t *vector)
{
    const cache_dir_conf_t *conf = ap_get_module_config(vector, &gate_cache_module);
    cache_dir_conf_t *values;

    if (!conf || (conf->on != 1 && conf->purge != 1)) {
        return NULL;
    }
    values = apr_pmemdup(p, conf, sizeof *conf);
    cache_dir_conf_defaults(values);
    return values;
}

const cache_dir_conf_t *cache_conf(const request_rec *r)
{
    return cache_conf_of(r->pool, r->per_dir_config);
}

gate_keep_rule_t cache_keep_rule(const cache_dir_conf_t *conf)
{
    static const gate_keep_ops_t ops = { cache_count, cache_wake, cache_codings };

    return (gate_keep_rule_t){ .ops = &ops, .compress = conf->compress, .tags = conf->tags, .wait_usec = conf->wait_usec,
                               .policy = { conf->default_ttl, conf->max_ttl, conf->stale_while_revalidate, conf->stale_if_error } };
}

/* ---- what setters share ------------------------------------------------------------------------------------------------- */

static const char *refuse(cmd_parms *cmd, const char *input, const char *err)
{
    return apr_psprintf(cmd->pool, "%s: '%s' %s", cmd->cmd->name, input, err);
}

static const char *read_pairs(cmd_parms *cmd, int argc, char *const argv[], const gate_pair_rule_t *pairs, void *target)
{
    uint64_t seen = 0;

    for (int i = 0; i < argc; i++) {
        const char *err = gate_parse_pair(cmd->pool, argv[i], pairs, &seen, target);

        if (err) {
            return apr_psprintf(cmd->pool, "%s: %s", cmd->cmd->name, err);
        }
    }
    return NULL;
}

static const char *seconds(apr_pool_t *p, const char *value, int64_t *out)
{
    int64_t usec = 0;
    const char *err = gate_parse_duration(p, value, 0, SECONDS_MAX * USEC, &usec);

    *out = usec / USEC;
    return err;
}

/* "a,b,c": an array of texts, ended by NULL */
static const char *const *split(apr_pool_t *p, const char *list)
{
    apr_array_header_t *words = apr_array_make(p, 8, sizeof(const char *));
    char *last, *word;

    for (word = apr_strtok(apr_pstrdup(p, list), ",", &last); word; word = apr_strtok(NULL, ",", &last)) {
        APR_ARRAY_PUSH(words, const char *) = word;
    }
    APR_ARRAY_PUSH(words, const char *) = NULL;
    return (const char *const *)(void *)words->elts;
}

/* ---- GateCacheSize, GateCacheMaxObject ------------------------------------------------------------------------------------ */

static const char *set_size(cmd_parms *cmd, void *dir, const char *arg)
{
    cache_server_conf_t *conf = ap_get_module_config(cmd->server->module_config, &gate_cache_module);
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    if (err) {
        return err;
    }
    err = gate_parse_size(cmd->pool, arg, UINT64_C(8) << 20, UINT64_C(64) << 30, &conf->size_bytes);
    wanted = 1;
    return err ? refuse(cmd, arg, apr_psprintf(cmd->pool, "%s (shared memory for cached objects)", err)) : NULL;
}

static const char *set_max_object(cmd_parms *cmd, void *dir, const char *arg)
{
    cache_server_conf_t *conf = ap_get_module_config(cmd->server->module_config, &gate_cache_module);
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    if (err) {
        return err;
    }
    err = gate_parse_size(cmd->pool, arg, 1, UINT64_C(8) << 30, &conf->max_object);
    return err ? refuse(cmd, arg, apr_psprintf(cmd->pool, "%s (the largest body that is cached)", err)) : NULL;
}

/* ---- GateCache -------------------------------------------------------------------------------------------------------------- */

static const char *pair_default_ttl(apr_pool_t *p, void *target, const char *value)
{
    return seconds(p, value, &((cache_dir_conf_t *)target)->default_ttl);
}

static const char *pair_max_ttl(apr_pool_t *p, void *target, const char *value)
{
    return seconds(p, value, &((cache_dir_conf_t *)target)->max_ttl);
}

static const char *pair_swr(apr_pool_t *p, void *target, const char *value)
{
    return seconds(p, value, &((cache_dir_conf_t *)target)->stale_while_revalidate);
}

static const char *pair_sie(apr_pool_t *p, void *target, const char *value)
{
    return seconds(p, value, &((cache_dir_conf_t *)target)->stale_if_error);
}

static const char *pair_wait(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 0, 3600 * USEC, &((cache_dir_conf_t *)target)->wait_usec);
}

static const char *pair_client_reload(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_flag(p, value, &((cache_dir_conf_t *)target)->client_may_reload);
}

static const gate_pair_rule_t cache_rules[] = {
    { "default-ttl", 0, pair_default_ttl }, { "max-ttl", 0, pair_max_ttl },
    { "stale-while-revalidate", 0, pair_swr }, { "stale-if-error", 0, pair_sie },
    { "wait", 0, pair_wait }, { "client-reload", 0, pair_client_reload }, { NULL, 0, NULL }
};

static const char *set_cache(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    cache_dir_conf_t *conf = dir;
    const char *err;

    if (!argc) {
        return apr_psprintf(cmd->pool, "%s: needs on or off", cmd->cmd->name);
    }
    err = gate_parse_flag(cmd->pool, argv[0], &conf->on);
    if (err) {
        return refuse(cmd, argv[0], err);
    }
    wanted |= conf->on;
    return read_pairs(cmd, argc - 1, argv + 1, cache_rules, conf);
}

/* ---- GateCacheKey ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    cmd_parms *cmd;
    cache_key_t *key;
} key_target_t;

static const char *pair_ignore(apr_pool_t *p, void *target, const char *value)
{
    if (!*value) {
        return "names no parameter";
    }
    ((key_target_t *)target)->key->rule.ignore = split(p, value);
    return NULL;
}

static const char *pair_sort(apr_pool_t *p, void *target, const char *value)
{
    (void)p, (void)value;
    ((key_target_t *)target)->key->rule.sort = 1;
    return NULL;
}

static const char *pair_expr(apr_pool_t *p, void *target, const char *value)
{
    key_target_t *t = target;
    const char *err = NULL;

    (void)p;
    t->key->expr = ap_expr_parse_cmd(t->cmd, value, AP_EXPR_FLAG_STRING_RESULT, &err, NULL);
    return err ? apr_psprintf(t->cmd->pool, "is no expression that gives a text: %s", err) : NULL;
}

static const gate_pair_rule_t key_rules[] = {
    { "ignore-query", 0, pair_ignore }, { "sort-query", 1, pair_sort }, { "expr", 0, pair_expr }, { NULL, 0, NULL }
};

static const char *set_key(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    cache_key_t *key = apr_pcalloc(cmd->pool, sizeof *key);
    key_target_t target = { cmd, key };
    const char *err = read_pairs(cmd, argc, argv, key_rules, &target);

    if (!argc) {
        return apr_psprintf(cmd->pool, "%s: needs ignore-query=NAMES, sort-query or expr=EXPR", cmd->cmd->name);
    }
    ((cache_dir_conf_t *)dir)->key = key;
    APR_ARRAY_PUSH(rules, const gate_key_rule_t *) = &key->rule;
    return err;
}

/* ---- GateCacheCompress ------------------------------------------------------------------------------------------------------- */

static const char *level(apr_pool_t *p, const char *value, uint64_t max, int *out)
{
    uint64_t n = 0;
    const char *err = value ? gate_parse_uint(p, value, 1, max, &n) : NULL;

    *out = value ? (int)n : -1;
    return err;
}

static const char *pair_br(apr_pool_t *p, void *target, const char *value)
{
    return level(p, value, 11, &((cache_compress_t *)target)->level[GATE_CODING_BR]);
}

static const char *pair_gzip(apr_pool_t *p, void *target, const char *value)
{
    return level(p, value, 9, &((cache_compress_t *)target)->level[GATE_CODING_GZIP]);
}

static const char *pair_types(apr_pool_t *p, void *target, const char *value)
{
    if (!*value) {
        return "names no type";
    }
    ((cache_compress_t *)target)->types = split(p, value);
    return NULL;
}

static const char *pair_min(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_size(p, value, 1, UINT64_C(1) << 30, &((cache_compress_t *)target)->min_bytes);
}

static const gate_pair_rule_t compress_rules[] = {
    { "br", 2, pair_br }, { "gzip", 2, pair_gzip }, { "types", 0, pair_types }, { "min", 0, pair_min }, { NULL, 0, NULL }
};

static const char *set_compress(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    cache_compress_t *compress = apr_pcalloc(cmd->pool, sizeof *compress);
    const char *err;

    compress->level[GATE_CODING_BR] = compress->level[GATE_CODING_GZIP] = -2;
    compress->types = split(cmd->pool, DEFAULT_TYPES);
    compress->min_bytes = 256;
    ((cache_dir_conf_t *)dir)->compress = compress;
    if (argc == 1 && !strcasecmp(argv[0], "off")) {
        return NULL;
    }
    err = read_pairs(cmd, argc, argv, compress_rules, compress);
    if (compress->level[GATE_CODING_BR] == -2 && compress->level[GATE_CODING_GZIP] == -2) {
        compress->level[GATE_CODING_BR] = compress->level[GATE_CODING_GZIP] = -1;
    }
    compress->on = 1;
    return err;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------------------- */

static const char *set_tags(cmd_parms *cmd, void *dir, const char *arg)
{
    for (const char *c = arg; *c; c++) {
        if (!apr_isalnum(*c) && *c != '-' && *c != '_') {
            return refuse(cmd, arg, "is no name of a header (letters, digits, '-', '_'), such as Surrogate-Key");
        }
    }
    ((cache_dir_conf_t *)dir)->tags = arg;
    return *arg ? NULL : refuse(cmd, arg, "is no name of a header");
}

static const char *set_bypass(cmd_parms *cmd, void *dir, const char *arg)
{
    cache_dir_conf_t *conf = dir;
    apr_array_header_t *list = conf->bypass ? apr_array_copy(cmd->pool, conf->bypass)
                                            : apr_array_make(cmd->pool, 2, sizeof(ap_expr_info_t *));
    const char *err = NULL;
    ap_expr_info_t *expr;

    if (strncmp(arg, "expr=", 5)) {
        return refuse(cmd, arg, "does not begin with expr= (an httpd expression, such as \"expr=%{HTTP_COOKIE} =~ /session=/\")");
    }
    expr = ap_expr_parse_cmd(cmd, arg + 5, 0, &err, NULL);
    if (err) {
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "is no expression: %s", err));
    }
    APR_ARRAY_PUSH(list, ap_expr_info_t *) = expr;
    conf->bypass = list;
    return NULL;
}

static const char *set_purge(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = gate_parse_flag(cmd->pool, arg, &((cache_dir_conf_t *)dir)->purge);

    return err ? refuse(cmd, arg, err) : NULL;
}

static const char *set_strip_cookie(cmd_parms *cmd, void *dir, const char *arg)
{
    cache_dir_conf_t *conf = dir;
    apr_array_header_t *list = conf->strip_cookies ? apr_array_copy(cmd->pool, conf->strip_cookies)
                                                   : apr_array_make(cmd->pool, 2, sizeof(const char *));

    if (!*arg || strpbrk(arg, "=; ,\t")) {
        return refuse(cmd, arg, "is no name of a cookie");
    }
    APR_ARRAY_PUSH(list, const char *) = arg;
    conf->strip_cookies = list;
    return NULL;
}

const command_rec cache_directives[] = {
    AP_INIT_TAKE1("GateCacheSize", set_size, NULL, RSRC_CONF, "shared memory for cached objects (default 128M)"),
    AP_INIT_TAKE1("GateCacheMaxObject", set_max_object, NULL, RSRC_CONF, "largest body that is cached (default 1/16 of the size)"),
    AP_INIT_TAKE_ARGV("GateCache", set_cache, NULL, ACCESS_CONF | RSRC_CONF,
                      "on|off [default-ttl=..] [max-ttl=..] [stale-while-revalidate=..] [stale-if-error=..] [wait=5s] "
                      "[client-reload=on|off]"),
    AP_INIT_TAKE_ARGV("GateCacheKey", set_key, NULL, ACCESS_CONF | RSRC_CONF, "[ignore-query=NAMES] [sort-query] [expr=EXPR]"),
    AP_INIT_TAKE_ARGV("GateCacheCompress", set_compress, NULL, ACCESS_CONF | RSRC_CONF,
                      "off | [br[=QUALITY]] [gzip[=LEVEL]] [types=..] [min=256]: variants made once, in the background"),
    AP_INIT_TAKE1("GateCacheTags", set_tags, NULL, ACCESS_CONF | RSRC_CONF,
                  "header with an answer's purge tags (default Surrogate-Key and Cache-Tag)"),
    AP_INIT_TAKE1("GateCacheBypass", set_bypass, NULL, ACCESS_CONF | RSRC_CONF, "\"expr=EXPR\": neither looked up nor stored"),
    AP_INIT_TAKE1("GateCachePurge", set_purge, NULL, ACCESS_CONF | RSRC_CONF, "on|off: the PURGE method (default off)"),
    AP_INIT_ITERATE("GateCacheStripCookie", set_strip_cookie, NULL, ACCESS_CONF | RSRC_CONF,
                    "cookies that are taken off answers so that these can be cached"),
    { .name = NULL }
};
