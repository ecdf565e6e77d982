/*
 * upstream_config.c - <GateUpstream NAME> and what stands in it.
 * Groups are global: one list per configuration, whichever server they are written in. Rules that need more than one directive or
 * the whole configuration: upstream_check.c.
 */
#include <string.h>

#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>

#include "discover.h"
#include "gate_group_conf.h"
#include "gate_parse.h"
#include "member_spec.h"
#include "upstream.h"

#define USEC_MAX (INT64_C(86400) * 1000000)

apr_array_header_t *upstream_groups;
static apr_hash_t *groups_by_name;
static upstream_group_t *open_group; /* the one whose block is being read */

void upstream_config_reset(apr_pool_t *pconf)
{
    upstream_groups = apr_array_make(pconf, 8, sizeof(upstream_group_t *));
    groups_by_name = apr_hash_make(pconf);
    open_group = NULL;
    gate_group_conf_end();
}

upstream_group_t *upstream_group_named(const char *name, apr_size_t len)
{
    return apr_hash_get(groups_by_name, name, (apr_ssize_t)len);
}

const char *upstream_group_hint(apr_pool_t *p, const char *name)
{
    const char **names = apr_palloc(p, (upstream_groups->nelts + 1) * sizeof *names);
    const char *near;
    int i;

    for (i = 0; i < upstream_groups->nelts; i++) {
        names[i] = APR_ARRAY_IDX(upstream_groups, i, upstream_group_t *)->name;
    }
    near = gate_nearest(name, names, upstream_groups->nelts);
    return near ? apr_psprintf(p, " (did you mean '%s'?)", near) : "";
}

/* ---- what setters share --------------------------------------------------------------------------------------------------- */

upstream_group_t *upstream_group_open(void)
{
    return open_group;
}

const char *upstream_outside(cmd_parms *cmd)
{
    return open_group ? NULL
                      : apr_psprintf(cmd->pool, "%s: only works inside <GateUpstream NAME> ... </GateUpstream>", cmd->cmd->name);
}

const char *upstream_read_pairs(cmd_parms *cmd, int argc, char *const argv[], const gate_pair_rule_t *rules, void *target)
{
    uint64_t seen = 0;
    int i;

    for (i = 0; i < argc; i++) {
        const char *err = gate_parse_pair(cmd->pool, argv[i], rules, &seen, target);

        if (err) {
            return apr_psprintf(cmd->pool, "%s: %s", cmd->cmd->name, err);
        }
    }
    return NULL;
}

/* ---- GateMember ----------------------------------------------------------------------------------------------------------- */

static const char *check_unique(apr_pool_t *p, const gate_member_spec_t *spec, const char *written_url)
{
    int i;

    for (i = 0; i < open_group->members->nelts; i++) {
        const gate_member_spec_t *other = &APR_ARRAY_IDX(open_group->members, i, gate_member_spec_t);

        if (strcmp(other->id, spec->id) == 0) {
            return apr_psprintf(p, "GateMember: '%s' has the id '%s', which '%s' of group %s has already; give each its own id=NAME",
                                written_url, spec->id, other->url, open_group->name);
        }
    }
    return NULL;
}

static const char *set_member(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    gate_member_spec_t spec;
    const char *err = upstream_outside(cmd);

    (void)dir;
    if (err) {
        return err;
    }
    if (argc < 1) {
        return "GateMember: names no member; write GateMember http://10.0.0.1:8080";
    }
    err = member_spec_read(cmd->pool, argc, (const char *const *)argv, &spec);
    if (err) {
        return apr_pstrcat(cmd->pool, "GateMember: ", err, NULL);
    }
    err = check_unique(cmd->pool, &spec, argv[0]);
    if (!err) {
        APR_ARRAY_PUSH(open_group->members, gate_member_spec_t) = spec;
    }
    return err;
}

/* ---- GateBalance ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    cmd_parms *cmd;
    ap_expr_info_t *key;
    uint32_t load_factor_milli;
} balance_t;

static const char *balance_key(apr_pool_t *p, void *target, const char *value)
{
    balance_t *b = target;
    const char *err = NULL;

    b->key = ap_expr_parse_cmd(b->cmd, value, AP_EXPR_FLAG_STRING_RESULT, &err, NULL);
    return err ? apr_psprintf(p, "is not an expression: %s", err) : NULL;
}

static const char *balance_load_factor(apr_pool_t *p, void *target, const char *value)
{
    uint64_t milli = 0;
    const char *err = gate_parse_milli(p, value, 1010, 10000, &milli);

    ((balance_t *)target)->load_factor_milli = (uint32_t)milli;
    return err;
}

static const gate_pair_rule_t balance_rules[] = {
    { "key", 0, balance_key }, { "load-factor", 0, balance_load_factor }, { NULL, 0, NULL }
};

static const char *unknown_strategy(apr_pool_t *p, const char *name)
{
    const char *known[32], *list = "", *near;
    int n = 0;

    for (; gate_strategies[n] && n < 32; n++) {
        known[n] = gate_strategies[n]->name;
        list = apr_pstrcat(p, list, n ? ", " : "", known[n], NULL);
    }
    near = gate_nearest(name, known, n);
    return apr_psprintf(p, "GateBalance: '%s' is not a strategy%s%s%s (known: %s)", name, near ? "; did you mean '" : "",
                        near ? near : "", near ? "'?" : "", list);
}

static const char *set_balance(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    balance_t b = { .cmd = cmd, .load_factor_milli = 1250 };
    const gate_strategy_t *strategy;
    const char *err = upstream_outside(cmd);

    (void)dir;
    if (err) {
        return err;
    }
    if (argc < 1) {
        return "GateBalance: names no strategy; write GateBalance round-robin";
    }
    strategy = gate_strategy_find(argv[0]);
    if (!strategy) {
        return unknown_strategy(cmd->pool, argv[0]);
    }
    err = upstream_read_pairs(cmd, argc - 1, argv + 1, balance_rules, &b);
    if (err) {
        return err;
    }
    if ((strategy->needs & GATE_BALANCE_KEY) && !b.key) {
        return apr_psprintf(cmd->pool, "GateBalance: '%s' needs a key: write GateBalance %s key=%%{REMOTE_ADDR} or another expression "
                            "(requests of the same key go to the same member)", argv[0], argv[0]);
    }
    if (!(strategy->needs & GATE_BALANCE_KEY) && argc > 1) {
        return apr_psprintf(cmd->pool, "GateBalance: '%s' has no use for '%s', which belongs to hash", argv[0], argv[1]);
    }
    open_group->strategy = strategy;
    open_group->key = b.key;
    open_group->load_factor_milli = b.load_factor_milli;
    return NULL;
}

/* ---- GateTimeout, GateRetry ----------------------------------------------------------------------------------------------- */

static const char *timeout_connect(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 1000, USEC_MAX, &((upstream_group_t *)target)->connect_usec);
}

static const char *timeout_first_byte(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 1000, USEC_MAX, &((upstream_group_t *)target)->first_byte_usec);
}

static const char *timeout_idle(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 1000, USEC_MAX, &((upstream_group_t *)target)->idle_usec);
}

static const char *timeout_total(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 1000, USEC_MAX, &((upstream_group_t *)target)->total_usec);
}

static const gate_pair_rule_t timeout_rules[] = {
    { "connect", 0, timeout_connect }, { "first-byte", 0, timeout_first_byte }, { "idle", 0, timeout_idle },
    { "total", 0, timeout_total }, { NULL, 0, NULL }
};

static const char *set_timeout(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    const char *err = upstream_outside(cmd);

    (void)dir;
    if (!err && argc < 1) {
        err = "GateTimeout: says nothing; write GateTimeout connect=1s first-byte=60s idle=60s total=120s or some of them";
    }
    return err ? err : upstream_read_pairs(cmd, argc, argv, timeout_rules, open_group);
}

static const char *retry_attempts(apr_pool_t *p, void *target, const char *value)
{
    uint64_t n = 0;
    const char *err = gate_parse_uint(p, value, 1, UPSTREAM_TRIES_MAX, &n);

    ((upstream_group_t *)target)->retry.attempts = (uint32_t)n;
    return err;
}

/* One word of on=: a kind of failure or a status. */
static const char *retry_on_word(apr_pool_t *p, retry_rule_t *rule, const char *word)
{
    static const gate_word_t words[] = {
        { "connect", RETRY_ON_CONNECT }, { "timeout", RETRY_ON_TIMEOUT }, { "reset", RETRY_ON_RESET }, { NULL, 0 }
    };
    gate_status_set_t one;
    uint64_t status;
    int bit = 0;

    if (apr_isdigit(*word)) {
        if (gate_parse_uint(p, word, 400, 599, &status)) {
            return apr_psprintf(p, "has '%s' in it, which is not a status from 400 to 599", word);
        }
        memset(&one, 0, sizeof one);
        rule->statuses.bits[status / 64] |= UINT64_C(1) << (status % 64);
        return NULL;
    }
    if (gate_parse_word(p, word, words, &bit)) {
        return apr_psprintf(p, "has '%s' in it, which is none of connect, timeout, reset or a status such as 503", word);
    }
    rule->on |= (unsigned)bit;
    return NULL;
}

static const char *retry_on(apr_pool_t *p, void *target, const char *value)
{
    retry_rule_t *rule = &((upstream_group_t *)target)->retry;
    char *rest = apr_pstrdup(p, value), *word;
    const char *err = NULL;

    rule->on = 0;
    memset(&rule->statuses, 0, sizeof rule->statuses);
    while (!err && (word = strsep(&rest, ",")) != NULL) {
        err = retry_on_word(p, rule, word);
    }
    return err;
}

static const char *retry_budget(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_percent(p, value, &((upstream_group_t *)target)->retry.budget_milli);
}

static const char *retry_try_timeout(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 1000, USEC_MAX, &((upstream_group_t *)target)->try_timeout_usec);
}

static const char *retry_non_idempotent(apr_pool_t *p, void *target, const char *value)
{
    (void)p, (void)value;
    ((upstream_group_t *)target)->retry.non_idempotent = 1;
    return NULL;
}

static const gate_pair_rule_t retry_rules[] = {
    { "attempts", 0, retry_attempts }, { "on", 0, retry_on }, { "budget", 0, retry_budget },
    { "try-timeout", 0, retry_try_timeout }, { "non-idempotent", 1, retry_non_idempotent }, { NULL, 0, NULL }
};

static const char *set_retry(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    const char *err = upstream_outside(cmd);

    (void)dir;
    if (!err && argc < 1) {
        err = "GateRetry: says nothing; write GateRetry attempts=2 on=connect,timeout,reset,503 or some of it";
    }
    return err ? err : upstream_read_pairs(cmd, argc, argv, retry_rules, open_group);
}

/* ---- GateSlowStart, GatePanic --------------------------------------------------------------------------------------------- */

static const char *set_slow_start(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = upstream_outside(cmd);

    (void)dir;
    if (err) {
        return err;
    }
    err = gate_parse_duration(cmd->pool, arg, 0, USEC_MAX, &open_group->slow_start_usec);
    return err ? apr_psprintf(cmd->pool, "GateSlowStart: '%s' %s", arg, err) : NULL;
}

static const char *set_panic(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = upstream_outside(cmd);

    (void)dir;
    if (err) {
        return err;
    }
    err = gate_parse_percent(cmd->pool, arg, &open_group->panic_milli);
    return err ? apr_psprintf(cmd->pool, "GatePanic: '%s' %s (share of usable members below which health is ignored)", arg, err)
               : NULL;
}

/* ---- the block ------------------------------------------------------------------------------------------------------------ */

static upstream_group_t *make_group(cmd_parms *cmd, const char *name)
{
    upstream_group_t *group = apr_pcalloc(cmd->pool, sizeof *group);

    group->name = name;
    group->file = cmd->directive->filename;
    group->line = cmd->directive->line_num;
    group->members = apr_array_make(cmd->pool, 8, sizeof(gate_member_spec_t));
    group->discover = apr_array_make(cmd->pool, 2, sizeof(discover_source_t));
    group->strategy = gate_strategies[0];
    group->connect_usec = group->first_byte_usec = group->idle_usec = UPSTREAM_UNSET;
    group->total_usec = group->try_timeout_usec = UPSTREAM_UNSET;
    group->index = GATE_NO_GROUP;
    retry_rule_default(&group->retry);
    return group;
}

static const char *check_name(cmd_parms *cmd, const char *name)
{
    const char *err;
    const upstream_group_t *other;

    if (!*name) {
        return "<GateUpstream>: names no group; write <GateUpstream app>";
    }
    err = gate_parse_name(cmd->pool, name);
    if (err) {
        return apr_psprintf(cmd->pool, "<GateUpstream>: '%s' %s", name, err);
    }
    other = upstream_group_named(name, strlen(name));
    return other ? apr_psprintf(cmd->pool, "<GateUpstream>: there is a group '%s' already, in %s line %d (names are global, in whichever "
                                "server they are written); put the members together or take another name", name, other->file,
                                other->line)
                 : NULL;
}

/* Only ours: others would silently apply to the server around. */
static const char *check_inner(cmd_parms *cmd, const ap_directive_t *inner)
{
    for (; inner; inner = inner->next) {
        if (ap_cstr_casecmpn(inner->directive, "Gate", 4) != 0) {
            return apr_psprintf(cmd->pool, "%s: does not belong inside <GateUpstream>, which takes Gate directives only (line %d)",
                                inner->directive, inner->line_num);
        }
    }
    return NULL;
}

static const char *set_upstream(cmd_parms *cmd, void *dir, const char *args)
{
    const char *end = ap_strrchr_c(args, '>');
    const char *rest, *name, *err;

    (void)dir;
    if (!end) {
        return "<GateUpstream>: lacks its closing '>'";
    }
    if (open_group) {
        return apr_psprintf(cmd->pool, "<GateUpstream>: cannot stand inside another (%s)", open_group->name);
    }
    rest = apr_pstrmemdup(cmd->pool, args, end - args);
    name = ap_getword_conf(cmd->pool, &rest);
    if (*rest) {
        return apr_psprintf(cmd->pool, "<GateUpstream>: '%s' follows the name; a group has one name", rest);
    }
    if ((err = check_name(cmd, name)) || (err = check_inner(cmd, cmd->directive->first_child))) {
        return err;
    }
    open_group = make_group(cmd, name);
    gate_group_conf_begin(name);
    err = ap_walk_config(cmd->directive->first_child, cmd, cmd->context);
    gate_group_conf_end();
    if (!err && open_group->members->nelts == 0 && open_group->discover->nelts == 0) {
        err = apr_psprintf(cmd->pool, "<GateUpstream>: group '%s' has no member; write GateMember http://10.0.0.1:8080 in it, or GateDiscover", name);
    }
    if (!err) {
        APR_ARRAY_PUSH(upstream_groups, upstream_group_t *) = open_group;
        apr_hash_set(groups_by_name, open_group->name, APR_HASH_KEY_STRING, open_group);
    }
    open_group = NULL;
    return err;
}

const command_rec upstream_directives[] = {
    AP_INIT_RAW_ARGS("<GateUpstream", set_upstream, NULL, RSRC_CONF, "a group of members that can serve the same requests"),
    AP_INIT_TAKE_ARGV("GateMember", set_member, NULL, RSRC_CONF,
                      "URL of a member, then weight=N, backup, connections=N, id=NAME, state=up|drain|disabled"),
    AP_INIT_TAKE_ARGV("GateBalance", set_balance, NULL, RSRC_CONF,
                      "strategy, for hash then key=EXPR and load-factor=1.25 (default round-robin)"),
    AP_INIT_TAKE_ARGV("GateTimeout", set_timeout, NULL, RSRC_CONF,
                      "connect=1s first-byte=60s idle=60s total=.., as many as wanted"),
    AP_INIT_TAKE_ARGV("GateRetry", set_retry, NULL, RSRC_CONF,
                      "attempts=2 on=connect,timeout,reset,503 budget=20% try-timeout=.. non-idempotent, as many as wanted"),
    AP_INIT_TAKE_ARGV("GateSticky", upstream_set_sticky, NULL, RSRC_CONF,
                      "cookie=NAME ttl=.. path=/ domain=.. secure httponly samesite=lax|strict|none, or header=NAME"),
    AP_INIT_TAKE_ARGV("GateDiscover", upstream_set_discover, NULL, RSRC_CONF,
                      "dns:HOST:PORT, srv:NAME or file:PATH, then scheme=http interval=.. weight=.. connections=.. resolver=IP:PORT"),
    AP_INIT_TAKE_ARGV("GateQueue", upstream_set_queue, NULL, RSRC_CONF,
                      "length=N timeout=..: who waits when every member is at its connections="),
    AP_INIT_TAKE1("GateSlowStart", set_slow_start, NULL, RSRC_CONF, "how long a member takes to its full share after it came up"),
    AP_INIT_TAKE1("GatePanic", set_panic, NULL, RSRC_CONF, "share of usable members below which health is ignored (default 0%)"),
    AP_INIT_TAKE_ARGV("GateSelect", upstream_select_set, NULL, ACCESS_CONF | RSRC_CONF,
                      "another group, then weight=PERCENT or \"expr=EXPR\" or both: who is sent there instead"),
    { NULL }
};
