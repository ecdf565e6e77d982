/*
 * engine_config.c - GateEngine and GateEngineLoops, and what of the configuration of others the loops have to keep themselves.
 */
#include "engine.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <http_core.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "gate_parse.h"

#define START_SERVERS 3         /* httpd's own default */

static struct {
    int wanted, loops;
} world;

void *engine_server_create(apr_pool_t *p, server_rec *s)
{
    engine_server_t *conf = apr_pcalloc(p, sizeof *conf);

    (void)s;
    ENGINE_SERVER_FIELDS(GATE_CONF_CREATE_)
    return conf;
}

void *engine_server_merge(apr_pool_t *p, void *outer_, void *inner_)
{
    const engine_server_t *outer = outer_, *inner = inner_;
    engine_server_t *conf = apr_pcalloc(p, sizeof *conf);

    ENGINE_SERVER_FIELDS(GATE_CONF_MERGE_)
    return conf;
}

engine_server_t *engine_server_of(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &gate_engine_module);
}

int engine_is_wanted(void)
{
    return world.wanted;
}

int engine_loops_wanted(void)
{
    return world.loops;
}

/* ---- directives ------------------------------------------------------------------------------------------------------------ */

static const char *set_engine(cmd_parms *cmd, void *dir, const char *word)
{
    engine_server_t *conf = engine_server_of(cmd->server);

    (void)dir;
    if (strcasecmp(word, "on") == 0 || strcasecmp(word, "off") == 0) {
        conf->on = strcasecmp(word, "on") == 0;
        return NULL;
    }
    return apr_psprintf(cmd->pool, "GateEngine: '%s' is neither on nor off (on: requests that can be served without a thread are)", word);
}

static const char *set_loops(cmd_parms *cmd, void *dir, const char *word)
{
    engine_server_t *conf = engine_server_of(cmd->server);
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    char *end;
    long loops = strtol(word, &end, 10);

    (void)dir;
    if (wrong) {
        return wrong;
    }
    if (strcasecmp(word, "auto") == 0) {
        conf->loops = 0;
        return NULL;
    }
    if (*word < '0' || *word > '9' || *end || loops < 1 || loops > ENGINE_LOOPS_MAX) {
        return apr_psprintf(cmd->pool, "GateEngineLoops: '%s' is neither auto nor a whole number from 1 to %d (event loops in each child; "
                            "all children together should have one for each core)", word, ENGINE_LOOPS_MAX);
    }
    conf->loops = (int)loops;
    return NULL;
}

const command_rec engine_directives[] = {
    AP_INIT_TAKE1("GateEngine", set_engine, NULL, RSRC_CONF, "on|off: serve proxied requests on event loops where that gives the same answer"),
    AP_INIT_TAKE1("GateEngineLoops", set_loops, NULL, RSRC_CONF, "auto|1-16: event loops in each child process"),
    { NULL }
};

/* ---- other modules' directives ------------------------------------------------------------------------------------------------ */

static void read_words(read_limits_t *limits, const char *args, apr_pool_t *ptemp)
{
    while (*args) {
        const char *word = ap_getword_conf(ptemp, &args);

        if (*word) {
            read_limits_word(limits, word, strlen(word));
        }
    }
}

/* RequestReadTimeout of one server: sections that were conditions are flat in the tree, or hold what stood in them. */
static void find_limits(const ap_directive_t *d, read_limits_t *limits, apr_pool_t *ptemp)
{
    for (; d; d = d->next) {
        if (strcasecmp(d->directive, "RequestReadTimeout") == 0) {
            read_words(limits, d->args, ptemp);
        } else if (d->first_child && strncasecmp(d->directive, "<If", 3) == 0) {
            find_limits(d->first_child, limits, ptemp);
        }
    }
}

static const ap_directive_t *vhost_section(const ap_directive_t *d, const server_rec *s)
{
    for (; d; d = d->next) {
        const ap_directive_t *found;

        if (strcasecmp(d->directive, "<VirtualHost") == 0) {
            if (s->defn_name && d->line_num == (int)s->defn_line_number && strcmp(d->filename, s->defn_name) == 0) {
                return d;
            }
        } else if (d->first_child && (found = vhost_section(d->first_child, s)) != NULL) {
            return found;
        }
    }
    return NULL;
}

static void resolve_limits(server_rec *main_server, apr_pool_t *ptemp)
{
    int loaded = ap_find_linked_module("mod_reqtimeout.c") != NULL;
    read_limits_t outer;

    read_limits_default(&outer);
    find_limits(ap_conftree, &outer, ptemp);
    for (server_rec *s = main_server; s; s = s->next) {
        engine_server_t *conf = engine_server_of(s);
        const ap_directive_t *section = s->is_virtual ? vhost_section(ap_conftree, s) : NULL;

        conf->limited = loaded;
        memset(&conf->limits, 0, sizeof conf->limits);
        if (section) {
            find_limits(section->first_child, &conf->limits, ptemp);
        }
        read_limits_merge(&conf->limits, &outer);
    }
}

static int start_servers(const ap_directive_t *d, int known)
{
    for (; d; d = d->next) {
        if (strcasecmp(d->directive, "StartServers") == 0 && atoi(d->args) > 0) {
            known = atoi(d->args);
        } else if (d->first_child && strncasecmp(d->directive, "<If", 3) == 0) {
            known = start_servers(d->first_child, known);
        }
    }
    return known;
}

static int loops_by_itself(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int loops = (int)(cores > 0 ? cores : 1) / start_servers(ap_conftree, START_SERVERS);

    return loops < 1 ? 1 : loops > ENGINE_LOOPS_MAX ? ENGINE_LOOPS_MAX : loops;
}

void engine_config_finish(apr_pool_t *ptemp, server_rec *main_server)
{
    const char *mpm = ap_show_mpm();
    server_rec *first = NULL;

    for (server_rec *s = main_server; s; s = s->next) {
        if (!first && engine_server_of(s)->on == 1) {
            first = s;
        }
    }
    world.wanted = first != NULL;
    if (first && strcmp(mpm, "event") != 0) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, first, GATE_LOGNO(1400)
                     "GateEngine: on, but the MPM is %s: every request is served by a thread as ever; the engine needs mpm_event", mpm);
        world.wanted = 0;
    }
    world.loops = engine_server_of(main_server)->loops > 0 ? engine_server_of(main_server)->loops : loops_by_itself();
    resolve_limits(main_server, ptemp);
}
