/*
 * select.c - GateSelect: some of a route's traffic goes to another group.
 * In the order written, the first that matches wins. An entry matches when its expr is true (if it has one) and the client falls into
 * its share (if it has a weight): clients are spread over 0..99 by a hash of their address, entries take shares one after the other,
 * so a client stays where it is as long as the entries before it stay.
 */
#include <string.h>

#include <apr_strings.h>
#include <http_core.h>

#include "gate_address.h"
#include "gate_conf.h"
#include "gate_parse.h"
#include "upstream.h"

#define SHARES 100

typedef struct {
    const char *name;
    const upstream_group_t *group; /* resolved by upstream_select_check() */
    uint32_t weight;               /* of SHARES; 0: no matter who */
    ap_expr_info_t *expr;
    const char *file;
    int line;
} select_entry_t;

#define SELECT_FIELDS(F) F(apr_array_header_t *, entries, NULL, NULL) /* of select_entry_t * */

GATE_CONF_STRUCT(select_conf_t, SELECT_FIELDS);
GATE_CONF_FUNCTIONS(select_conf, select_conf_t, SELECT_FIELDS)

static apr_array_header_t *all_entries; /* of this configuration, for the check */

void *upstream_select_create(apr_pool_t *p, char *dir)
{
    (void)dir;
    return select_conf_create_at(p);
}

void *upstream_select_merge(apr_pool_t *p, void *outer, void *inner)
{
    return select_conf_merge(p, outer, inner);
}

typedef struct {
    cmd_parms *cmd;
    select_entry_t *entry;
} select_target_t;

static const char *select_weight(apr_pool_t *p, void *target, const char *value)
{
    uint64_t n = 0;
    const char *err = gate_parse_uint(p, value, 1, SHARES, &n);

    ((select_target_t *)target)->entry->weight = (uint32_t)n;
    return err ? apr_pstrcat(p, err, " (clients of a hundred)", NULL) : NULL;
}

static const char *select_expr(apr_pool_t *p, void *target, const char *value)
{
    select_target_t *t = target;
    const char *err = NULL;

    t->entry->expr = ap_expr_parse_cmd(t->cmd, value, 0, &err, NULL);
    return err ? apr_psprintf(p, "is not a condition: %s", err) : NULL;
}

static const gate_pair_rule_t select_rules[] = {
    { "weight", 0, select_weight }, { "expr", 0, select_expr }, { NULL, 0, NULL }
};

static apr_status_t forget_entries(void *unused)
{
    (void)unused;
    all_entries = NULL;
    return APR_SUCCESS;
}

static const char *add_entry(cmd_parms *cmd, select_conf_t *conf, select_entry_t *entry)
{
    uint32_t sum = entry->weight;
    int i;

    if (!conf->entries) {
        conf->entries = apr_array_make(cmd->pool, 2, sizeof(select_entry_t *));
    }
    for (i = 0; i < conf->entries->nelts; i++) {
        sum += APR_ARRAY_IDX(conf->entries, i, select_entry_t *)->weight;
    }
    if (sum > SHARES) {
        return apr_psprintf(cmd->pool, "GateSelect: 'weight=%u' makes %u of %d together with those before it in this section",
                            entry->weight, sum, SHARES);
    }
    APR_ARRAY_PUSH(conf->entries, select_entry_t *) = entry;
    if (!all_entries) {
        all_entries = apr_array_make(cmd->pool, 8, sizeof(select_entry_t *));
        apr_pool_cleanup_register(cmd->pool, NULL, forget_entries, apr_pool_cleanup_null);
    }
    APR_ARRAY_PUSH(all_entries, select_entry_t *) = entry;
    return NULL;
}

const char *upstream_select_set(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    select_entry_t *entry = apr_pcalloc(cmd->pool, sizeof *entry);
    select_target_t target = { cmd, entry };
    uint64_t seen = 0;
    const char *err;
    int i;

    if (argc < 1) {
        return "GateSelect: names no group; write GateSelect canary weight=5";
    }
    entry->name = apr_pstrdup(cmd->pool, argv[0]);
    entry->file = cmd->directive->filename;
    entry->line = cmd->directive->line_num;
    err = gate_parse_name(cmd->pool, argv[0]);
    if (err) {
        return apr_psprintf(cmd->pool, "GateSelect: '%s' %s", argv[0], err);
    }
    for (i = 1; i < argc; i++) {
        err = gate_parse_pair(cmd->pool, argv[i], select_rules, &seen, &target);
        if (err) {
            return apr_psprintf(cmd->pool, "GateSelect: %s", err);
        }
    }
    return add_entry(cmd, dir, entry);
}

int upstream_select_check(server_rec *s)
{
    int i, rc = OK;

    for (i = 0; all_entries && i < all_entries->nelts; i++) {
        select_entry_t *entry = APR_ARRAY_IDX(all_entries, i, select_entry_t *);

        entry->group = upstream_group_named(entry->name, strlen(entry->name));
        if (!entry->group) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, s, GATE_LOGNO(0201)
                         "GateSelect: '%s' is no group of this configuration%s; %s line %d", entry->name,
                         upstream_group_hint(s->process->pconf, entry->name), entry->file, entry->line);
            rc = HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return rc;
}

static int is_true(const gate_view_t *view, const select_entry_t *entry)
{
    const char *err = NULL;
    request_rec *r = view->request(view);
    int rc = ap_expr_exec(r, entry->expr, &err);

    if (rc < 0) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0202)
                      "group %s: GateSelect in %s line %d could not be evaluated (%s): taken as false", entry->name, entry->file,
                      entry->line, err);
    }
    return rc > 0;
}

const upstream_group_t *upstream_select(const gate_view_t *view, void *dir_conf, const upstream_group_t *route)
{
    const select_conf_t *conf = ap_get_module_config(dir_conf, &gate_upstream_module);
    char client[GATE_ADDRESS_TEXT];
    uint32_t share, begin = 0;
    int i;

    if (!conf->entries) {
        return route;
    }
    gate_address_text(&view->client, client);
    share = gate_balance_hash(client, strlen(client)) % SHARES;
    for (i = 0; i < conf->entries->nelts; i++) {
        const select_entry_t *entry = APR_ARRAY_IDX(conf->entries, i, select_entry_t *);
        int mine = !entry->weight || (share >= begin && share < begin + entry->weight);

        begin += entry->weight;
        if (mine && (!entry->expr || is_true(view, entry))) {
            return entry->group;
        }
    }
    return route;
}
