/* health_config.c - GateHealthCheck and GateOutlier, and what only all of the configuration shows. */

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <unistd.h>

#include "gate_group_conf.h"
#include "gate_log.h"
#include "grpc_health.h"
#include "health.h"

APLOG_USE_MODULE(gate_health);

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define INTERVAL_MIN 50000
#define FAST_MIN 250000

apr_array_header_t *health_groups;

static const health_group_t **by_index; /* by group of the registry */
static uint32_t by_index_count;
static outlier_rule_t outlier_default;

/* ---- groups --------------------------------------------------------------------------------------------------------------- */

static health_group_t *group_of(cmd_parms *cmd, const char *name)
{
    health_group_t *group;
    int i;

    for (i = 0; i < health_groups->nelts; i++) {
        group = APR_ARRAY_IDX(health_groups, i, health_group_t *);
        if (strcmp(group->name, name) == 0) {
            return group;
        }
    }
    group = apr_pcalloc(cmd->pool, sizeof *group);
    group->name = apr_pstrdup(cmd->pool, name);
    group->file = cmd->directive->filename;
    group->line = cmd->directive->line_num;
    group->index = GATE_NO_GROUP;
    APR_ARRAY_PUSH(health_groups, health_group_t *) = group;
    return group;
}

static const char *outside(cmd_parms *cmd)
{
    return gate_group_conf_name() ? NULL
                                  : apr_psprintf(cmd->pool, "%s: belongs inside <GateUpstream NAME>, whose members it is about",
                                                 cmd->cmd->name);
}

/* Reads arguments from the first on; `again` may be given more than once (-1: none). */
static const char *read_pairs(cmd_parms *cmd, int first, int argc, char *const argv[], const gate_pair_rule_t *rules, int again,
                              uint64_t *seen, void *target)
{
    int i;

    for (i = first; i < argc; i++) {
        const char *err = gate_parse_pair(cmd->pool, argv[i], rules, seen, target);

        if (err) {
            return apr_psprintf(cmd->pool, "%s: %s", cmd->cmd->name, err);
        }
        if (again >= 0) {
            *seen &= ~(UINT64_C(1) << again);
        }
    }
    return NULL;
}

/* ---- GateHealthCheck ------------------------------------------------------------------------------------------------------ */

static const char *check_interval(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, INTERVAL_MIN, DAY, &((health_check_t *)target)->rule.interval_usec);
}

static const char *check_fast(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, INTERVAL_MIN, DAY, &((health_check_t *)target)->rule.fast_usec);
}

static const char *check_timeout(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 1000, DAY, &((health_check_t *)target)->rule.timeout_usec);
}

static const char *check_times(apr_pool_t *p, const char *value, const char *what, uint32_t *out)
{
    uint64_t n;
    const char *err = gate_parse_uint(p, value, 1, 100, &n);

    *out = err ? 0 : (uint32_t)n;
    return err ? apr_psprintf(p, "%s (%s)", err, what) : NULL;
}

static const char *check_rise(apr_pool_t *p, void *target, const char *value)
{
    return check_times(p, value, "good checks in a row before a member is used again", &((health_check_t *)target)->rule.rise);
}

static const char *check_fall(apr_pool_t *p, void *target, const char *value)
{
    return check_times(p, value, "failed checks in a row before a member is taken out", &((health_check_t *)target)->rule.fall);
}

static const char *check_status(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_status_set(p, value, &((health_check_t *)target)->statuses);
}

static const char *check_body(apr_pool_t *p, void *target, const char *value)
{
    health_check_t *check = target;
    char text[200];
    int rc;

    check->body = apr_pstrdup(p, value);
    check->body_regex = apr_pcalloc(p, sizeof *check->body_regex);
    rc = ap_regcomp(check->body_regex, value, AP_REG_NOSUB);
    if (rc) {
        ap_regerror(rc, check->body_regex, text, sizeof text);
        return apr_psprintf(p, "is not a regular expression (%s)", text);
    }
    return NULL;
}

/* A host name or address as it stands in a Host field, perhaps with a port. */
static const char *check_host(apr_pool_t *p, void *target, const char *value)
{
    const char *c;

    for (c = value; *c; c++) {
        if (!apr_isalnum(*c) && !strchr(".-_:[]", *c)) {
            return "is not a host name (letters, digits, '.', '-', '_', perhaps a port: it goes into the Host field)";
        }
    }
    ((health_check_t *)target)->host = apr_pstrdup(p, value);
    return NULL;
}

static const char *check_port(apr_pool_t *p, void *target, const char *value)
{
    uint64_t port;
    const char *err = gate_parse_uint(p, value, 1, 65535, &port);

    ((health_check_t *)target)->port = err ? 0 : (uint16_t)port;
    return err;
}

static const char *check_header(apr_pool_t *p, void *target, const char *value)
{
    static const char *const ours[] = { "Host", "Connection", "Content-Length", "Transfer-Encoding", NULL };
    const char *colon = ap_strchr_c(value, ':'), *c;
    int i;

    if (!colon || colon == value) {
        return "is not a header (header=\"Name: value\")";
    }
    for (c = value; *c; c++) {
        if (apr_iscntrl(*c) || (c < colon && !apr_isalnum(*c) && !strchr("!#$%&'*+-.^_`|~", *c))) {
            return "is not a header (header=\"Name: value\", the name of letters, digits and '-')";
        }
    }
    for (i = 0; ours[i]; i++) {
        if (strlen(ours[i]) == (size_t)(colon - value) && ap_cstr_casecmpn(value, ours[i], colon - value) == 0) {
            return i == 0 ? "is said by host=" : "is not for a check to say";
        }
    }
    APR_ARRAY_PUSH(((health_check_t *)target)->headers, const char *) = apr_pstrdup(p, value);
    return NULL;
}

static const char *check_service(apr_pool_t *p, void *target, const char *value)
{
    if (strlen(value) > GRPC_SERVICE_MAX) {
        return apr_psprintf(p, "is longer than %d characters", GRPC_SERVICE_MAX);
    }
    ((health_check_t *)target)->service = apr_pstrdup(p, value);
    return NULL;
}

static const char *check_verify(apr_pool_t *p, void *target, const char *value)
{
    health_check_t *check = target;

    if (ap_cstr_casecmp(value, "off") == 0 || ap_cstr_casecmp(value, "system") == 0) {
        check->verify = ap_cstr_casecmp(value, "off") == 0 ? CHECK_VERIFY_OFF : CHECK_VERIFY_SYSTEM;
        return NULL;
    }
    check->verify = CHECK_VERIFY_FILE;
    check->ca_file = ap_server_root_relative(p, value);
    return check->ca_file && ap_is_directory(p, check->ca_file) == 0 && access(check->ca_file, R_OK) == 0
               ? NULL
               : "is neither 'off', nor 'system', nor a file of CA certificates that can be read";
}

/* In the order of RULES. */
enum { R_INTERVAL, R_FAST, R_TIMEOUT, R_RISE, R_FALL, R_STATUS, R_BODY, R_HOST, R_PORT, R_HEADER, R_SERVICE, R_VERIFY };

static const gate_pair_rule_t check_rules[] = {
    { "interval", 0, check_interval }, { "fast", 0, check_fast },     { "timeout", 0, check_timeout }, { "rise", 0, check_rise },
    { "fall", 0, check_fall },         { "status", 0, check_status }, { "body", 0, check_body },       { "host", 0, check_host },
    { "port", 0, check_port },         { "header", 0, check_header }, { "service", 0, check_service }, { "verify", 0, check_verify },
    { NULL, 0, NULL }
};

#define BIT(rule) (UINT64_C(1) << (rule))
#define HTTP_ONLY (BIT(R_STATUS) | BIT(R_BODY))
#define NOT_TCP (BIT(R_HOST) | BIT(R_HEADER) | BIT(R_VERIFY))

/* Words that mean nothing for this kind of check are a mistake of somebody who believes they do. */
static const char *check_words_fit(cmd_parms *cmd, const health_check_t *check, uint64_t seen, int headers)
{
    uint64_t wrong = 0;
    int i;

    seen |= headers ? BIT(R_HEADER) : 0;
    if (check->kind != CHECK_KIND_HTTP) {
        wrong |= HTTP_ONLY;
    }
    if (check->kind != CHECK_KIND_GRPC) {
        wrong |= BIT(R_SERVICE);
    }
    if (check->kind == CHECK_KIND_TCP) {
        wrong |= NOT_TCP;
    }
    for (i = 0; check_rules[i].key; i++) {
        if (seen & wrong & BIT(i)) {
            return apr_psprintf(cmd->pool, "GateHealthCheck: '%s=' means nothing to a check by %s", check_rules[i].key,
                                check->kind == CHECK_KIND_TCP ? "tcp" : check->kind == CHECK_KIND_GRPC ? "grpc" : "an HTTP request");
        }
    }
    return NULL;
}

static const char *check_path(cmd_parms *cmd, const char *path)
{
    const char *c;

    if (*path != '/') {
        return apr_psprintf(cmd->pool, "GateHealthCheck: '%s' is not a path (it begins with '/': GateHealthCheck GET /health)", path);
    }
    for (c = path; *c; c++) {
        if (apr_iscntrl(*c) || apr_isspace(*c) || *c == '#' || (unsigned char)*c > 126) {
            return apr_psprintf(cmd->pool, "GateHealthCheck: '%s' is not a path (blanks and what is not ASCII must be written %%20)", path);
        }
    }
    return NULL;
}

/* tcp, grpc, or a method and a path. *first: the argument behind them */
static const char *read_kind(cmd_parms *cmd, int argc, char *const argv[], health_check_t *check, int *first)
{
    const char *c;

    *first = 1;
    if (argc < 1) {
        return "GateHealthCheck: says nothing; write GateHealthCheck GET /health, GateHealthCheck tcp or GateHealthCheck grpc";
    }
    if (ap_cstr_casecmp(argv[0], "tcp") == 0 || ap_cstr_casecmp(argv[0], "grpc") == 0) {
        check->kind = ap_cstr_casecmp(argv[0], "tcp") == 0 ? CHECK_KIND_TCP : CHECK_KIND_GRPC;
        return NULL;
    }
    for (c = argv[0]; *c; c++) {
        if (!apr_isupper(*c)) {
            return apr_psprintf(cmd->pool, "GateHealthCheck: '%s' is neither 'tcp', nor 'grpc', nor a method in capitals followed by a "
                                "path (GET /health)", argv[0]);
        }
    }
    if (argc < 2) {
        return apr_psprintf(cmd->pool, "GateHealthCheck: '%s' lacks the path that is asked for (%s /health)", argv[0], argv[0]);
    }
    *first = 2;
    check->kind = CHECK_KIND_HTTP;
    check->method = apr_pstrdup(cmd->pool, argv[0]);
    check->path = apr_pstrdup(cmd->pool, argv[1]);
    return check_path(cmd, check->path);
}

static const char *set_check(cmd_parms *cmd, void *dir, const char *args)
{
    const char *err = outside(cmd);
    health_check_t *check = apr_pcalloc(cmd->pool, sizeof *check);
    apr_array_header_t *words;
    health_group_t *group;
    uint64_t seen = 0;
    char **argv;
    int argc, first;

    (void)dir;
    if (err) {
        return err;
    }
    if ((err = gate_parse_args(cmd->pool, args, &words))) {
        return apr_psprintf(cmd->pool, "GateHealthCheck: %s", err);
    }
    argv = (char **)(void *)words->elts;
    argc = words->nelts;
    group = group_of(cmd, gate_group_conf_name());
    if (group->check) {
        return apr_psprintf(cmd->pool, "GateHealthCheck: group '%s' has a check already; one group, one check", group->name);
    }
    check->rule = (health_rule_t){ .rise = 2, .fall = 3, .interval_usec = 5 * SECOND, .timeout_usec = 2 * SECOND, .fast_usec = -1 };
    check->headers = apr_array_make(cmd->pool, 2, sizeof(const char *));
    check->service = "";
    gate_parse_status_set(cmd->temp_pool, "200-399", &check->statuses);
    if ((err = read_kind(cmd, argc, argv, check, &first))
        || (err = read_pairs(cmd, first, argc, argv, check_rules, R_HEADER, &seen, check))
        || (err = check_words_fit(cmd, check, seen, check->headers->nelts))) {
        return err;
    }
    if (check->rule.fast_usec > check->rule.interval_usec) {
        return "GateHealthCheck: 'fast=' is longer than 'interval='; it is the interval while a verdict may be about to change";
    }
    if (check->rule.fast_usec < 0) {
        int64_t fast = check->rule.interval_usec / 4;

        fast = fast < FAST_MIN ? FAST_MIN : fast;
        check->rule.fast_usec = fast < check->rule.interval_usec ? fast : check->rule.interval_usec;
    }
    group->file = cmd->directive->filename;
    group->line = cmd->directive->line_num;
    group->check = check;
    if (check->kind != CHECK_KIND_TCP) {
        health_check_t *as_tcp = apr_pmemdup(cmd->pool, check, sizeof *check);

        as_tcp->kind = CHECK_KIND_TCP;
        check->as_tcp = as_tcp;
    }
    return NULL;
}

/* ---- GateOutlier ---------------------------------------------------------------------------------------------------------- */

static const char *outlier_errors(apr_pool_t *p, void *target, const char *value)
{
    return check_times(p, value, "errors in a row before a member is ejected", &((outlier_rule_t *)target)->errors);
}

static const char *outlier_window(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 1000, DAY, &((outlier_rule_t *)target)->window_usec);
}

static const char *outlier_eject(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 10000, DAY, &((outlier_rule_t *)target)->eject_usec);
}

static const char *outlier_max(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_percent(p, value, &((outlier_rule_t *)target)->max_eject_milli);
}

static const char *outlier_status(apr_pool_t *p, void *target, const char *value)
{
    outlier_rule_t *rule = target;
    const char *err = gate_parse_status_set(p, value, &rule->statuses);
    int status;

    if (err) {
        return err;
    }
    for (status = 100; status < 500; status++) {
        if (gate_status_in(&rule->statuses, status)) {
            return "names an answer below 500: such ones are no errors of the member, or any client could eject it";
        }
    }
    return NULL;
}

static const gate_pair_rule_t outlier_rules[] = {
    { "errors", 0, outlier_errors },  { "window", 0, outlier_window }, { "eject", 0, outlier_eject },
    { "max-eject", 0, outlier_max }, { "status", 0, outlier_status }, { NULL, 0, NULL }
};

static void default_outlier(outlier_rule_t *rule, apr_pool_t *ptemp)
{
    *rule = (outlier_rule_t){ .errors = 5, .window_usec = 10 * SECOND, .eject_usec = 10 * SECOND, .max_eject_milli = 500 };
    gate_parse_status_set(ptemp, "502-504", &rule->statuses);
}

static const char *set_outlier(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    const char *err = outside(cmd);
    outlier_rule_t *rule = apr_pcalloc(cmd->pool, sizeof *rule);
    health_group_t *group;
    uint64_t seen = 0;

    (void)dir;
    if (err) {
        return err;
    }
    group = group_of(cmd, gate_group_conf_name());
    if (group->outlier) {
        return apr_psprintf(cmd->pool, "GateOutlier: stands twice in group '%s'", group->name);
    }
    default_outlier(rule, cmd->temp_pool);
    if (argc == 1 && ap_cstr_casecmp(argv[0], "off") == 0) {
        rule->off = 1;
    } else if ((err = read_pairs(cmd, 0, argc, argv, outlier_rules, -1, &seen, rule))) {
        return err;
    }
    group->outlier = rule;
    return NULL;
}

const command_rec health_directives[] = {
    AP_INIT_RAW_ARGS("GateHealthCheck", set_check, NULL, RSRC_CONF,
                      "METHOD /path, tcp or grpc, then interval=5s fast=.. timeout=2s rise=2 fall=3 status=200-399 body=REGEX host=.. "
                      "port=.. header=\"N: v\" service=.. verify=off|system|FILE, as many as wanted"),
    AP_INIT_TAKE_ARGV("GateOutlier", set_outlier, NULL, RSRC_CONF,
                      "errors=5 window=10s eject=10s max-eject=50% status=502-504, as many as wanted; or off"),
    { NULL }
};

/* ---- all of the configuration --------------------------------------------------------------------------------------------- */

void health_config_reset(apr_pool_t *pconf)
{
    health_groups = apr_array_make(pconf, 8, sizeof(health_group_t *));
    by_index = NULL;
    by_index_count = 0;
    default_outlier(&outlier_default, pconf);
}

/* A member that speaks no HTTP cannot be asked by HTTP, unless at another port. */
static int check_member(server_rec *s, apr_pool_t *ptemp, const health_group_t *group, uint32_t slot)
{
    gate_member_t member;
    gate_url_t url;

    if (group->check->kind == CHECK_KIND_TCP || group->check->port || gate_member_get(gate_core()->registry, slot, &member) != 0
        || gate_parse_member_url(ptemp, member.url, &url) || probe_speaks_http(&url)) {
        return OK;
    }
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, GATE_LOGNO(0500)
                 "GateHealthCheck: group %s: member %s is %s, which cannot be asked by %s (%s line %d): write GateHealthCheck tcp, or name "
                 "a port=N where it can", group->name, member.id, member.url, group->check->kind == CHECK_KIND_GRPC ? "grpc" : "HTTP",
                 group->file, group->line);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int check_members(server_rec *s, apr_pool_t *ptemp, const health_group_t *group)
{
    gate_registry_t *reg = gate_core()->registry;
    uint32_t version, i, room = gate_registry_limits(reg)->members, *slots = apr_palloc(ptemp, room * sizeof *slots);
    uint32_t n = gate_group_members(reg, group->index, slots, room, &version);

    for (i = 0; i < n && i < room; i++) {
        int rc = check_member(s, ptemp, group, slots[i]);

        if (rc != OK) {
            return rc;
        }
    }
    return OK;
}

int health_config_check(server_rec *s, apr_pool_t *ptemp)
{
    gate_registry_t *reg = gate_core()->registry;
    int i, rc = OK;

    by_index_count = gate_registry_limits(reg)->groups;
    by_index = apr_pcalloc(health_groups->pool, by_index_count * sizeof *by_index);
    for (i = 0; i < health_groups->nelts && rc == OK; i++) {
        health_group_t *group = APR_ARRAY_IDX(health_groups, i, health_group_t *);

        group->index = gate_group_find(reg, group->name);
        if (group->index == GATE_NO_GROUP) {
            continue;
        }
        by_index[group->index] = group;
        rc = group->check ? check_members(s, ptemp, group) : OK;
    }
    return rc;
}

const outlier_rule_t *health_outlier_of(uint32_t group)
{
    return group < by_index_count && by_index[group] && by_index[group]->outlier ? by_index[group]->outlier : &outlier_default;
}

const health_check_t *health_check_of(uint32_t group)
{
    return group < by_index_count && by_index[group] ? by_index[group]->check : NULL;
}

int health_checked_groups(void)
{
    int i, n = 0;

    for (i = 0; i < health_groups->nelts; i++) {
        n += APR_ARRAY_IDX(health_groups, i, health_group_t *)->check != NULL;
    }
    return n;
}
