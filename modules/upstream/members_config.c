/* members_config.c - GateSticky, GateQueue and GateDiscover, which stand inside <GateUpstream>. */
#include <string.h>

#include <apr_strings.h>

#include "discover.h"
#include "upstream.h"

#define TTL_MAX_USEC (INT64_C(400) * 86400 * 1000000) /* browsers keep no cookie longer */
#define WAIT_MAX_USEC (INT64_C(3600) * 1000000)

/* ---- GateSticky ----------------------------------------------------------------------------------------------------------- */

static const char *sticky_cookie(apr_pool_t *p, void *target, const char *value)
{
    ((sticky_rule_t *)target)->cookie = apr_pstrdup(p, value);
    return sticky_parse_cookie_name(p, value);
}

static const char *sticky_header(apr_pool_t *p, void *target, const char *value)
{
    ((sticky_rule_t *)target)->header = apr_pstrdup(p, value);
    return sticky_parse_cookie_name(p, value); /* a field name is a token too */
}

static const char *sticky_ttl(apr_pool_t *p, void *target, const char *value)
{
    int64_t usec = 0;
    const char *err = gate_parse_duration(p, value, 1000000, TTL_MAX_USEC, &usec);

    ((sticky_rule_t *)target)->ttl_s = (uint32_t)(usec / 1000000);
    return err;
}

static const char *sticky_path(apr_pool_t *p, void *target, const char *value)
{
    ((sticky_rule_t *)target)->path = apr_pstrdup(p, value);
    return sticky_parse_attribute(p, value);
}

static const char *sticky_domain(apr_pool_t *p, void *target, const char *value)
{
    ((sticky_rule_t *)target)->domain = apr_pstrdup(p, value);
    return sticky_parse_attribute(p, value);
}

static const char *sticky_secure(apr_pool_t *p, void *target, const char *value)
{
    (void)p, (void)value;
    ((sticky_rule_t *)target)->secure = 1;
    return NULL;
}

static const char *sticky_httponly(apr_pool_t *p, void *target, const char *value)
{
    (void)p, (void)value;
    ((sticky_rule_t *)target)->httponly = 1;
    return NULL;
}

static const char *sticky_samesite(apr_pool_t *p, void *target, const char *value)
{
    static const gate_word_t words[] = {
        { "lax", STICKY_SAMESITE_LAX }, { "strict", STICKY_SAMESITE_STRICT }, { "none", STICKY_SAMESITE_NONE }, { NULL, 0 }
    };
    int word = STICKY_SAMESITE_UNSET;
    const char *err = gate_parse_word(p, value, words, &word);

    ((sticky_rule_t *)target)->samesite = (sticky_samesite_e)word;
    return err;
}

static const gate_pair_rule_t sticky_rules[] = {
    { "cookie", 0, sticky_cookie }, { "header", 0, sticky_header }, { "ttl", 0, sticky_ttl }, { "path", 0, sticky_path },
    { "domain", 0, sticky_domain }, { "secure", 1, sticky_secure }, { "httponly", 1, sticky_httponly },
    { "samesite", 0, sticky_samesite }, { NULL, 0, NULL }
};

const char *upstream_set_sticky(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sticky_rule_t rule = { .path = "/" };
    const char *err = upstream_outside(cmd);

    (void)dir;
    if (err) {
        return err;
    }
    if (argc == 1 && ap_cstr_casecmp(argv[0], "off") == 0) {
        upstream_group_open()->sticky = rule;
        return NULL;
    }
    err = upstream_read_pairs(cmd, argc, argv, sticky_rules, &rule);
    if (!err) {
        err = sticky_check(cmd->pool, &rule);
        err = err ? apr_pstrcat(cmd->pool, "GateSticky: ", err, NULL) : NULL;
    }
    if (!err) {
        upstream_group_open()->sticky = rule;
    }
    return err;
}

/* ---- GateQueue ------------------------------------------------------------------------------------------------------------ */

static const char *queue_length(apr_pool_t *p, void *target, const char *value)
{
    uint64_t n = 0;
    const char *err = gate_parse_uint(p, value, 1, QUEUE_LENGTH_MAX, &n);

    ((upstream_group_t *)target)->queue_length = (uint32_t)n;
    return err;
}

static const char *queue_timeout(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 1000, WAIT_MAX_USEC, &((upstream_group_t *)target)->queue_timeout_usec);
}

static const gate_pair_rule_t queue_rules[] = { { "length", 0, queue_length }, { "timeout", 0, queue_timeout }, { NULL, 0, NULL } };

const char *upstream_set_queue(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    upstream_group_t *group = upstream_group_open();
    const char *err = upstream_outside(cmd);

    (void)dir;
    if (err) {
        return err;
    }
    group->queue_length = 0;
    group->queue_timeout_usec = 0;
    if (argc == 1 && ap_cstr_casecmp(argv[0], "off") == 0) {
        return NULL;
    }
    err = upstream_read_pairs(cmd, argc, argv, queue_rules, group);
    if (!err && (!group->queue_length || !group->queue_timeout_usec)) {
        err = "GateQueue: needs both; write GateQueue length=100 timeout=5s (how many may wait, and for how long), or GateQueue off";
    }
    return err;
}

/* ---- GateDiscover --------------------------------------------------------------------------------------------------------- */

const char *upstream_set_discover(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    upstream_group_t *group = upstream_group_open();
    const char *err = upstream_outside(cmd);
    discover_source_t source;
    int i;

    (void)dir;
    if (err) {
        return err;
    }
    err = discover_source_read(cmd->pool, argc, (const char *const *)argv, &source);
    for (i = 0; !err && i < group->discover->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(group->discover, i, discover_source_t).text, source.text) == 0) {
            err = apr_psprintf(cmd->pool, "'%s' stands in group %s already", source.text, group->name);
        }
    }
    if (!err && source.kind == DISCOVER_FILE) {
        source.name = ap_server_root_relative(cmd->pool, source.name);
        err = source.name ? NULL : apr_psprintf(cmd->pool, "'%s' is not a path", source.text);
    }
    if (err) {
        return apr_pstrcat(cmd->pool, "GateDiscover: ", err, NULL);
    }
    APR_ARRAY_PUSH(group->discover, discover_source_t) = source;
    return NULL;
}
