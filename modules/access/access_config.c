/*
 * access_config.c - the directives of mod_gate_access: rows, thin setters, merging, and rules between directives.
 */
#include <http_core.h>
#include <http_protocol.h>

#include "access.h"

#define KEYS_REQUESTS 65536
#define KEYS_CONNECTIONS 4096
#define KEYS_BANS 16384
#define KEYS_MIN 100
#define KEYS_MAX 10000000
#define BAN_PLACES 10000
#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

access_world_t access_conf;

#define ACCESS_SERVER_FIELDS(F)            \
    F(access_names_t *, drop, NULL, NULL)  \
    F(int64_t, ban_places, GATE_UNSET, BAN_PLACES) \
    F(const char *, geo_path, NULL, NULL)

void access_config_reset(apr_pool_t *pconf)
{
    memset(&access_conf, 0, sizeof access_conf);
    access_conf.pconf = pconf;
    access_conf.sets = apr_hash_make(pconf);
    access_conf.set_list = apr_array_make(pconf, 8, sizeof(access_set_t *));
    access_conf.limits = apr_array_make(pconf, 8, sizeof(access_limit_t *));
    access_conf.rules = apr_array_make(pconf, 8, sizeof(access_rule_t *));
    access_conf.names = apr_array_make(pconf, 8, sizeof(access_names_t *));
    access_conf.countries = apr_array_make(pconf, 8, sizeof(const char *));
}

/* ---- create and merge ------------------------------------------------------------------------------------------------------ */

void *access_server_create(apr_pool_t *p, server_rec *s)
{
    access_server_t *conf = apr_pcalloc(p, sizeof *conf);

    (void)s;
    ACCESS_SERVER_FIELDS(GATE_CONF_CREATE_)
    return conf;
}

void *access_server_merge(apr_pool_t *p, void *outer_, void *inner_)
{
    const access_server_t *outer = outer_, *inner = inner_;
    access_server_t *conf = apr_pcalloc(p, sizeof *conf);

    ACCESS_SERVER_FIELDS(GATE_CONF_MERGE_)
    return conf;
}

access_server_t *access_server_of(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &gate_access_module);
}

void *access_dir_create(apr_pool_t *p, char *where)
{
    (void)where;
    return apr_pcalloc(p, sizeof(access_dir_t));
}

/* What is said in the inner section takes the place of all that is said of it outside. */
void *access_dir_merge(apr_pool_t *p, void *outer_, void *inner_)
{
    const access_dir_t *outer = outer_, *inner = inner_;
    access_dir_t *conf = apr_pcalloc(p, sizeof *conf);
    int own_limits = inner->limits || inner->limits_off, own_rules = inner->rules || inner->bans_off;

    conf->limits = own_limits ? inner->limits : outer->limits;
    conf->limits_off = own_limits ? inner->limits_off : outer->limits_off;
    conf->rules = own_rules ? inner->rules : outer->rules;
    conf->bans_off = own_rules ? inner->bans_off : outer->bans_off;
    return conf;
}

static const char *where_of(const cmd_parms *cmd)
{
    return apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename, cmd->directive->line_num);
}

/* ---- GateIPSet ------------------------------------------------------------------------------------------------------------- */

static const char *add_prefix(cmd_parms *cmd, access_set_t *set, const char *word, int quiet)
{
    int exclude = *word == '!';
    access_prefix_t *entry = apr_array_push(set->prefixes);
    char text[GATE_ADDRESS_TEXT];
    const char *why = NULL;

    entry->exclude = exclude;
    switch (gate_prefix_parse(word + exclude, strlen(word + exclude), &entry->prefix, &why)) {
    case GATE_PREFIX_BAD:
        return apr_psprintf(cmd->pool, "GateIPSet %s: '%s' %s", set->name, word, why);
    case GATE_PREFIX_HOST_BITS:
        if (!quiet) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, cmd->server, GATE_LOGNO(1001)
                         "GateIPSet %s: '%s' has bits set behind its prefix length: read as %s", set->name, word,
                         gate_prefix_text(&entry->prefix, text));
        }
        break;
    case GATE_PREFIX_OK:
        break;
    }
    return NULL;
}

/* The configuration is read twice when httpd starts: what is odd is said once. */
static int said_later(void)
{
    return gate_core_rehearsal() && ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_TEST;
}

static const char *set_ip_set(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    access_set_t *set, *twin;

    (void)dir;
    if (err) {
        return err;
    }
    if (argc < 2) {
        return "GateIPSet: takes a name, and prefixes or file=PATH (such as: GateIPSet office 192.0.2.0/24 2001:db8::/32)";
    }
    err = gate_parse_name(cmd->pool, argv[0]);
    if (err) {
        return apr_psprintf(cmd->pool, "GateIPSet: '%s' %s", argv[0], err);
    }
    twin = access_set_named(argv[0]);
    if (twin) {
        return apr_psprintf(cmd->pool, "GateIPSet: there is already a set '%s', at %s", argv[0], twin->where);
    }
    set = apr_pcalloc(cmd->pool, sizeof *set);
    set->name = apr_pstrdup(cmd->pool, argv[0]);
    set->where = where_of(cmd);
    set->files = apr_array_make(cmd->pool, 1, sizeof(const char *));
    set->prefixes = apr_array_make(cmd->pool, argc, sizeof(access_prefix_t));
    for (int i = 1; i < argc && !err; i++) {
        if (strncmp(argv[i], "file=", 5) == 0) {
            const char *path = argv[i][5] ? ap_server_root_relative(cmd->pool, argv[i] + 5) : NULL;

            err = path ? NULL : apr_psprintf(cmd->pool, "GateIPSet %s: '%s' names no file", set->name, argv[i]);
            APR_ARRAY_PUSH(set->files, const char *) = path;
        }
        else {
            err = add_prefix(cmd, set, argv[i], said_later());
        }
    }
    if (!err) {
        err = access_set_load(set, cmd->pool, cmd->server, said_later());
        err = err ? apr_psprintf(cmd->pool, "GateIPSet %s: %s", set->name, err) : NULL;
    }
    apr_hash_set(access_conf.sets, set->name, APR_HASH_KEY_STRING, set);
    APR_ARRAY_PUSH(access_conf.set_list, access_set_t *) = set;
    return err;
}

/* ---- GateDrop -------------------------------------------------------------------------------------------------------------- */

static const char *set_drop(cmd_parms *cmd, void *dir, const char *name)
{
    access_server_t *conf = access_server_of(cmd->server);
    const char *err = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);

    (void)dir;
    if (err) {
        return err;
    }
    if (!conf->drop) {
        conf->drop = access_names_create(cmd->pool, "GateDrop", where_of(cmd));
    }
    if (ap_cstr_casecmp(name, "off") == 0) {
        return NULL;
    }
    APR_ARRAY_PUSH(conf->drop->names, const char *) = name;
    access_conf.drops = 1;
    return NULL;
}

/* ---- GateLimit ------------------------------------------------------------------------------------------------------------- */

/* A limit as it is being read. */
typedef struct {
    access_limit_t *limit;
    cmd_parms *cmd;
    int has_rate, has_burst, has_max, has_keys;
} limit_reading_t;

static const char *take_rate(apr_pool_t *p, void *target, const char *value)
{
    limit_reading_t *reading = target;

    reading->has_rate = 1;
    return gate_parse_rate(p, value, &reading->limit->events, &reading->limit->period_usec);
}

static const char *take_burst(apr_pool_t *p, void *target, const char *value)
{
    limit_reading_t *reading = target;

    reading->has_burst = 1;
    return gate_parse_uint(p, value, 0, GATE_RATE_BURST_MAX, &reading->limit->burst);
}

static const char *take_max(apr_pool_t *p, void *target, const char *value)
{
    limit_reading_t *reading = target;

    reading->has_max = 1;
    return gate_parse_uint(p, value, 1, 65535, &reading->limit->max);
}

static const char *take_keys(apr_pool_t *p, void *target, const char *value)
{
    limit_reading_t *reading = target;

    reading->has_keys = 1;
    return gate_parse_uint(p, value, KEYS_MIN, KEYS_MAX, &reading->limit->keys);
}

static const char *take_name(apr_pool_t *p, void *target, const char *value)
{
    limit_reading_t *reading = target;
    const char *err = gate_parse_name(p, value);

    reading->limit->name = apr_pstrdup(reading->cmd->pool, value);
    for (int i = 0; !err && i < access_conf.limits->nelts; i++) {
        const access_limit_t *other = APR_ARRAY_IDX(access_conf.limits, i, access_limit_t *);

        if (strcmp(other->name, value) == 0) {
            err = apr_psprintf(p, "is already the name of the limit at %s", other->where);
        }
    }
    return err;
}

/* "client", "everyone", or an expression: what has no %{..} in it would be the same for all, and most likely is a slip. */
static const char *take_key(apr_pool_t *p, void *target, const char *value)
{
    static const char *const words[] = { "client", "everyone" };
    limit_reading_t *reading = target;
    const char *err = NULL, *near;

    reading->limit->key_text = apr_pstrdup(reading->cmd->pool, value);
    if (strcmp(value, "client") == 0) {
        return NULL;
    }
    if (!strstr(value, "%{") && strcmp(value, "everyone") != 0) {
        near = gate_nearest(value, words, 2);
        return apr_psprintf(p, "is no key%s%s%s (client, everyone, or an expression such as %%{HTTP:X-Api-Key})",
                            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    reading->limit->key = ap_expr_parse_cmd(reading->cmd, value, AP_EXPR_FLAG_STRING_RESULT, &err, NULL);
    return err ? apr_psprintf(p, "is no expression: %s", err) : NULL;
}

static const char *take_delay(apr_pool_t *p, void *target, const char *value)
{
    limit_reading_t *reading = target;

    reading->limit->delay = 1;
    reading->limit->delay_usec = 30 * SECOND;
    return value ? gate_parse_duration(p, value, 1000, 300 * SECOND, &reading->limit->delay_usec) : NULL;
}

static const char *take_dry_run(apr_pool_t *p, void *target, const char *value)
{
    limit_reading_t *reading = target;

    (void)p, (void)value;
    reading->limit->dry_run = 1;
    return NULL;
}

static const gate_pair_rule_t limit_requests[] = {
    { "rate", 0, take_rate }, { "burst", 0, take_burst }, { "key", 0, take_key }, { "name", 0, take_name }, { "keys", 0, take_keys },
    { "delay", 2, take_delay }, { "dry-run", 1, take_dry_run }, { NULL, 0, NULL }
};
static const gate_pair_rule_t limit_connections[] = {
    { "max", 0, take_max }, { "key", 0, take_key }, { "name", 0, take_name }, { "keys", 0, take_keys },
    { "dry-run", 1, take_dry_run }, { NULL, 0, NULL }
};

/* In server, vhost and <Location> the limit is known before anything is looked for on the disk. */
static int known_early(const cmd_parms *cmd)
{
    for (const ap_directive_t *at = cmd->directive->parent; at; at = at->parent) {
        if (strncasecmp(at->directive, "<Location", 9) != 0 && strncasecmp(at->directive, "<VirtualHost", 12) != 0) {
            return 0;
        }
    }
    return 1;
}

static const char *finish_limit(limit_reading_t *reading)
{
    access_limit_t *limit = reading->limit;

    if (limit->kind == ACCESS_CONNECTIONS) {
        if (!reading->has_max) {
            return "GateLimit: 'connections' needs max=N (exchanges in flight for one key)";
        }
        limit->keys = reading->has_keys ? limit->keys : KEYS_CONNECTIONS;
        return NULL;
    }
    if (!reading->has_rate) {
        return "GateLimit: 'requests' needs rate=N/s, N/m, N/h or N/d (such as rate=10r/s)";
    }
    limit->keys = reading->has_keys ? limit->keys : KEYS_REQUESTS;
    if (!reading->has_burst) {
        limit->burst = limit->events < GATE_RATE_BURST_MAX ? limit->events : GATE_RATE_BURST_MAX;
    }
    gate_rate_make(&limit->rate, limit->events, limit->period_usec, limit->burst);
    limit->window_s = (uint64_t)(((unsigned __int128)(limit->burst + 1) * (uint64_t)limit->period_usec / limit->events + SECOND - 1)
                                 / SECOND);
    return NULL;
}

static const char *limits_off(access_dir_t *dir)
{
    if (dir->limits) {
        return "GateLimit: 'off' beside other limits in one section";
    }
    dir->limits_off = 1;
    return NULL;
}

static const char *set_limit(cmd_parms *cmd, void *dir_, int argc, char *const argv[])
{
    static const gate_word_t kinds[] = { { "requests", ACCESS_REQUESTS }, { "connections", ACCESS_CONNECTIONS }, { "off", -1 },
                                         { NULL, 0 } };
    access_dir_t *dir = dir_;
    access_limit_t *limit = apr_pcalloc(cmd->pool, sizeof *limit);
    limit_reading_t reading = { .limit = limit, .cmd = cmd };
    uint64_t seen = 0;
    const char *err;
    int kind = 0;

    if (argc < 1) {
        return "GateLimit: takes requests, connections or off";
    }
    err = gate_parse_word(cmd->temp_pool, argv[0], kinds, &kind);
    if (err) {
        return apr_psprintf(cmd->pool, "GateLimit: '%s' %s", argv[0], err);
    }
    if (kind < 0) {
        return argc > 1 ? "GateLimit: 'off' stands alone" : limits_off(dir);
    }
    if (dir->limits_off) {
        return "GateLimit: a limit beside 'off' in one section";
    }
    limit->kind = kind;
    limit->where = where_of(cmd);
    limit->early = known_early(cmd);
    for (int i = 1; i < argc; i++) {
        err = gate_parse_pair(cmd->pool, argv[i], kind == ACCESS_REQUESTS ? limit_requests : limit_connections, &seen, &reading);
        if (err) {
            return apr_pstrcat(cmd->pool, "GateLimit: ", err, NULL);
        }
    }
    err = finish_limit(&reading);
    if (err) {
        return err;
    }
    if (!limit->name) {
        limit->name = apr_psprintf(cmd->pool, "%s-%d", argv[0], access_conf.limits->nelts + 1);
    }
    if (!dir->limits) {
        dir->limits = apr_array_make(cmd->pool, 2, sizeof(access_limit_t *));
    }
    APR_ARRAY_PUSH(dir->limits, access_limit_t *) = limit;
    APR_ARRAY_PUSH(access_conf.limits, access_limit_t *) = limit;
    access_conf.late_limits |= !limit->early;
    return NULL;
}

/* ---- GateBan --------------------------------------------------------------------------------------------------------------- */

typedef struct {
    access_rule_t *rule;
    cmd_parms *cmd;
    int has_count, has_window, has_for, has_max;
} rule_reading_t;

static const char *take_status(apr_pool_t *p, void *target, const char *value)
{
    rule_reading_t *reading = target;

    reading->rule->has_status = 1;
    return gate_parse_status_set(p, value, &reading->rule->statuses);
}

static const char *take_count(apr_pool_t *p, void *target, const char *value)
{
    rule_reading_t *reading = target;

    reading->has_count = 1;
    return gate_parse_uint(p, value, 1, GATE_TALLY_MAX, &reading->rule->count);
}

static const char *take_window(apr_pool_t *p, void *target, const char *value)
{
    rule_reading_t *reading = target;

    reading->has_window = 1;
    return gate_parse_duration(p, value, SECOND, DAY, &reading->rule->window_usec);
}

static const char *take_for(apr_pool_t *p, void *target, const char *value)
{
    rule_reading_t *reading = target;

    reading->has_for = 1;
    return gate_parse_duration(p, value, SECOND, GATE_BANS_MAX_USEC, &reading->rule->term.for_usec);
}

static const char *take_ban_max(apr_pool_t *p, void *target, const char *value)
{
    rule_reading_t *reading = target;

    reading->has_max = 1;
    return gate_parse_duration(p, value, SECOND, GATE_BANS_MAX_USEC, &reading->rule->term.max_usec);
}

static const char *take_escalate(apr_pool_t *p, void *target, const char *value)
{
    rule_reading_t *reading = target;
    uint64_t milli;
    const char *err = gate_parse_milli(p, value, 1000, 100000, &milli);

    reading->rule->term.escalate_milli = err ? 0 : (uint32_t)milli;
    return err;
}

static const char *take_exempt(apr_pool_t *p, void *target, const char *value)
{
    rule_reading_t *reading = target;
    char *text = apr_pstrdup(reading->cmd->pool, value), *last, *name;

    reading->rule->exempt = access_names_create(reading->cmd->pool, "GateBan", reading->rule->where);
    for (name = apr_strtok(text, ",", &last); name; name = apr_strtok(NULL, ",", &last)) {
        const char *err = gate_parse_name(p, name);

        if (err) {
            return err;
        }
        APR_ARRAY_PUSH(reading->rule->exempt->names, const char *) = name;
    }
    return reading->rule->exempt->names->nelts ? NULL : "names no set";
}

static const char *take_rule_keys(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_uint(p, value, KEYS_MIN, KEYS_MAX, &((rule_reading_t *)target)->rule->keys);
}

static const char *take_drop(apr_pool_t *p, void *target, const char *value)
{
    (void)p, (void)value;
    ((rule_reading_t *)target)->rule->drop = 1;
    return NULL;
}

static const gate_pair_rule_t ban_pairs[] = {
    { "status", 0, take_status }, { "count", 0, take_count }, { "window", 0, take_window }, { "for", 0, take_for },
    { "escalate", 0, take_escalate }, { "max", 0, take_ban_max }, { "exempt", 0, take_exempt }, { "keys", 0, take_rule_keys },
    { "drop", 1, take_drop }, { NULL, 0, NULL }
};

static const char *bans_off(access_dir_t *dir)
{
    if (dir->rules) {
        return "GateBan: 'off' beside rules in one section";
    }
    dir->bans_off = 1;
    return NULL;
}

static const char *set_ban(cmd_parms *cmd, void *dir_, int argc, char *const argv[])
{
    access_dir_t *dir = dir_;
    access_rule_t *rule = apr_pcalloc(cmd->pool, sizeof *rule);
    rule_reading_t reading = { .rule = rule, .cmd = cmd };
    uint64_t seen = 0;

    if (argc == 1 && ap_cstr_casecmp(argv[0], "off") == 0) {
        return bans_off(dir);
    }
    if (dir->bans_off) {
        return "GateBan: a rule beside 'off' in one section";
    }
    rule->where = where_of(cmd);
    rule->keys = KEYS_BANS;
    rule->term.escalate_milli = 2000;
    for (int i = 0; i < argc; i++) {
        const char *err = gate_parse_pair(cmd->pool, argv[i], ban_pairs, &seen, &reading);

        if (err) {
            return apr_pstrcat(cmd->pool, "GateBan: ", err, NULL);
        }
        rule->text = apr_pstrcat(cmd->pool, rule->text ? rule->text : "", rule->text ? " " : "", argv[i], NULL);
    }
    if (!rule->has_status || !reading.has_count || !reading.has_window || !reading.has_for) {
        return "GateBan: needs status=, count=, window= and for= (such as: status=401,403 count=20 window=60s for=10m)";
    }
    if (!reading.has_max) {
        rule->term.max_usec = rule->term.for_usec > DAY ? rule->term.for_usec : DAY;
    }
    if (rule->term.max_usec < rule->term.for_usec) {
        return "GateBan: max= is shorter than for=";
    }
    if (!dir->rules) {
        dir->rules = apr_array_make(cmd->pool, 2, sizeof(access_rule_t *));
    }
    APR_ARRAY_PUSH(dir->rules, access_rule_t *) = rule;
    APR_ARRAY_PUSH(access_conf.rules, access_rule_t *) = rule;
    return NULL;
}

static const char *set_ban_places(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    uint64_t places = 0;

    (void)dir;
    if (err) {
        return err;
    }
    err = gate_parse_uint(cmd->temp_pool, arg, 100, 1000000, &places);
    access_server_of(cmd->server)->ban_places = (int64_t)places;
    return err ? apr_psprintf(cmd->pool, "GateBanPlaces: '%s' %s", arg, err) : NULL;
}

/* ---- GateGeo --------------------------------------------------------------------------------------------------------------- */

static const char *set_geo(cmd_parms *cmd, void *dir, const char *arg)
{
    access_server_t *conf = access_server_of(cmd->server);
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY), *why = gate_geo_missing();
    gate_geo_t *geo;

    (void)dir;
    if (err) {
        return err;
    }
    if (why) {
        return apr_psprintf(cmd->pool, "GateGeo: %s", why);
    }
    conf->geo_path = ap_server_root_relative(cmd->pool, arg);
    if (!conf->geo_path) {
        return apr_psprintf(cmd->pool, "GateGeo: '%s' is not a path", arg);
    }
    geo = gate_geo_open(cmd->temp_pool, conf->geo_path, &why);
    if (!geo) {
        return apr_psprintf(cmd->pool, "GateGeo: '%s' %s", arg, why);
    }
    gate_geo_close(geo);
    return NULL;
}

const command_rec access_directives[] = {
    AP_INIT_TAKE_ARGV("GateIPSet", set_ip_set, NULL, RSRC_CONF,
                      "NAME and prefixes or file=PATH: a named set of addresses; a file is read again when it changes"),
    AP_INIT_ITERATE("GateDrop", set_drop, NULL, RSRC_CONF, "names of sets whose connections are closed unheard, or off (default off)"),
    AP_INIT_TAKE_ARGV("GateLimit", set_limit, NULL, RSRC_CONF | ACCESS_CONF,
                      "requests rate=N/s [burst=N] [key=EXPR] [name=N] [keys=N] [delay[=T]] [dry-run], connections max=N, or off"),
    AP_INIT_TAKE_ARGV("GateBan", set_ban, NULL, RSRC_CONF | ACCESS_CONF,
                      "status=LIST count=N window=T for=T [escalate=2] [max=24h] [exempt=SETS] [keys=N] [drop], or off"),
    AP_INIT_TAKE1("GateBanPlaces", set_ban_places, NULL, RSRC_CONF, "room for bans at one time (default 10000)"),
    AP_INIT_TAKE1("GateGeo", set_geo, NULL, RSRC_CONF, "MaxMind DB file for Require gate-country"),
    { .name = NULL }
};

/* ---- between directives ---------------------------------------------------------------------------------------------------- */

static const char *nearest_set(apr_pool_t *p, const char *name)
{
    const char **known = apr_palloc(p, (size_t)(access_conf.set_list->nelts + 1) * sizeof *known);

    for (int i = 0; i < access_conf.set_list->nelts; i++) {
        known[i] = APR_ARRAY_IDX(access_conf.set_list, i, access_set_t *)->name;
    }
    return gate_nearest(name, known, access_conf.set_list->nelts);
}

static int check_names(apr_pool_t *p, server_rec *s, access_names_t *names)
{
    int good = 1;

    for (int i = 0; i < names->names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names->names, i, const char *), *near;
        access_set_t *set = access_set_named(name);

        if (set) {
            APR_ARRAY_PUSH(names->sets, access_set_t *) = set;
            continue;
        }
        near = nearest_set(p, name);
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, GATE_LOGNO(1002) "%s: there is no set '%s' (%s)%s%s%s", names->directive, name,
                     names->where, near ? "; did you mean '" : "; GateIPSet makes one", near ? near : "", near ? "'?" : "");
        good = 0;
    }
    return good;
}

int access_config_check(apr_pool_t *ptemp, server_rec *s)
{
    access_server_t *conf = access_server_of(s);
    int good = 1;

    ACCESS_SERVER_FIELDS(GATE_CONF_DEFAULT_)
    for (int i = 0; i < access_conf.names->nelts; i++) {
        good &= check_names(ptemp, s, APR_ARRAY_IDX(access_conf.names, i, access_names_t *));
    }
    if (access_conf.countries->nelts && !conf->geo_path) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, GATE_LOGNO(1003)
                     "Require gate-country (%s) needs GateGeo: the file that says which address is in which country",
                     APR_ARRAY_IDX(access_conf.countries, 0, const char *));
        good = 0;
    }
    return good ? OK : HTTP_INTERNAL_SERVER_ERROR;
}
