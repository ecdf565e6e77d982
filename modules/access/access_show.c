/*
 * access_show.c - what access shows of itself and lets an admin do: its section, its doors for other modules, its part of the
 * state file.
 */
#include <stdlib.h>

#include "access.h"
#include "gate_section.h"
#include "gate_state_file.h"
#include "gate_time.h"

#define LIST_MAX 1000
#define FOR_DEFAULT_USEC (INT64_C(3600) * 1000000)

/* ---- doors ----------------------------------------------------------------------------------------------------------------- */

static void gate_access_explain(request_rec *r, const gate_address_t *client, gate_access_verdict_t *out)
{
    access_explain_request(r, client, out);
}

static void gate_access_counts(gate_access_counts_t *out)
{
    out->admitted = access_counted(ACCESS_V_ADMITTED);
    out->denied = access_counted(ACCESS_V_DENIED);
    out->limited = access_counted(ACCESS_V_LIMITED);
    out->delayed = access_counted(ACCESS_V_DELAYED);
    out->connections = access_counted(ACCESS_V_CONNECTIONS);
    out->banned = access_counted(ACCESS_V_BANNED);
    out->dropped = access_counted(ACCESS_V_DROPPED);
    out->would = access_counted(ACCESS_V_WOULD);
    out->bans_made = access_counted(ACCESS_V_BANS_MADE);
    out->bans = gate_bans_count(access_bans, gate_mono_usec());
}

static uint32_t gate_access_ban_list(gate_access_ban_t *out, uint32_t max)
{
    gate_ban_t *bans = calloc(max ? max : 1, sizeof *bans);
    int64_t now_usec = gate_mono_usec(), shift_usec = apr_time_now() - now_usec;
    uint32_t n = bans ? gate_bans_list(access_bans, now_usec, bans, max) : 0;

    for (uint32_t i = 0; i < n && i < max; i++) {
        gate_address_text(&bans[i].address, out[i].address);
        if (!gate_address_is_v4(&bans[i].address) && strlen(out[i].address) + 4 <= sizeof out[i].address) {
            strcat(out[i].address, "/64");
        }
        out[i].since_wall_usec = bans[i].since_usec + shift_usec;
        out[i].until_wall_usec = bans[i].until_usec + shift_usec;
        out[i].level = bans[i].level;
        out[i].drop = (bans[i].flags & GATE_BAN_DROP) != 0;
        out[i].manual = (bans[i].flags & GATE_BAN_MANUAL) != 0;
        apr_cpystrn(out[i].why, bans[i].why, sizeof out[i].why);
        apr_cpystrn(out[i].who, bans[i].who, sizeof out[i].who);
    }
    free(bans);
    return n;
}

/* An address as an admin writes it, also as the list shows it: 2001:db8::/64. */
static const char *read_client(apr_pool_t *p, const char *text, gate_address_t *out)
{
    size_t len = strlen(text);

    if (len > 3 && strcmp(text + len - 3, "/64") == 0 && memchr(text, ':', len)) {
        len -= 3;
    }
    return gate_address_parse(text, len, out) == 0 ? NULL : apr_psprintf(p, "'%s' is not an IPv4 or IPv6 address", text);
}

static const char *gate_access_ban_add(apr_pool_t *p, const char *address, int64_t for_usec, int drop, const char *why, const char *who)
{
    gate_address_t client;
    const char *err = read_client(p, address, &client);
    int64_t now_usec = gate_mono_usec();
    gate_ban_t ban;

    if (err) {
        return err;
    }
    if (for_usec <= 0 || for_usec > GATE_BANS_MAX_USEC) {
        return "a ban lasts from a second to 366 days";
    }
    if (access_trusted(&client)) {
        return apr_psprintf(p, "%s is a trusted proxy (RemoteIPInternalProxy, RemoteIPTrustedProxy): behind it stand all its clients",
                            address);
    }
    switch (gate_ban_set(access_bans, &client, now_usec + for_usec, 0, GATE_BAN_MANUAL | (drop ? GATE_BAN_DROP : 0),
                         why && *why ? why : "by hand", who, now_usec, now_usec)) {
    case GATE_BAN_MADE:
        break;
    case GATE_BAN_STANDS:
        return NULL;
    case GATE_BAN_FULL:
        return "all places are taken by bans in force (GateBanPlaces)";
    default:
        return "the table of bans is busy: ask again";
    }
    if (gate_ban_get(access_bans, &client, now_usec, &ban)) {
        access_count(ACCESS_V_BANS_MADE);
        access_ban_told(ap_server_conf, &ban, "banned", who);
    }
    return NULL;
}

static const char *gate_access_ban_lift(apr_pool_t *p, const char *address, const char *who)
{
    gate_address_t client;
    const char *err = read_client(p, address, &client);
    int64_t now_usec = gate_mono_usec();
    gate_ban_t ban;

    if (err) {
        return err;
    }
    if (!gate_ban_get(access_bans, &client, now_usec, &ban)) {
        return apr_psprintf(p, "%s is not banned", address);
    }
    if (gate_ban_lift(access_bans, &client, now_usec) < 0) {
        return "the table of bans is busy: ask again";
    }
    access_ban_told(ap_server_conf, &ban, "lifted", who);
    return NULL;
}

/* ---- the section ----------------------------------------------------------------------------------------------------------- */

static void put_verdicts(gate_node_t *out)
{
    static const struct {
        int verdict;
        gate_metric_t metric;
    } rows[] = {
        { ACCESS_V_ADMITTED, { "access", "Requests by what access control did", "verdict", "admitted" } },
        { ACCESS_V_DENIED, { "access", "Requests by what access control did", "verdict", "denied" } },
        { ACCESS_V_LIMITED, { "access", "Requests by what access control did", "verdict", "limited" } },
        { ACCESS_V_DELAYED, { "access", "Requests by what access control did", "verdict", "delayed" } },
        { ACCESS_V_CONNECTIONS, { "access", "Requests by what access control did", "verdict", "connections" } },
        { ACCESS_V_BANNED, { "access", "Requests by what access control did", "verdict", "banned" } },
        { ACCESS_V_DROPPED, { "access", "Requests by what access control did", "verdict", "dropped" } },
        { ACCESS_V_WOULD, { "access", "Requests by what access control did", "verdict", "dry_run" } },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gate_put_count(out, rows[i].metric.value, access_counted(rows[i].verdict), &rows[i].metric);
    }
}

static uint64_t limit_count(const access_limit_t *limit, int what)
{
    return atomic_load_explicit(&limit->counts->count[what], memory_order_relaxed);
}

static void put_limits(gate_node_t *out)
{
    gate_node_t *list = gate_put_list(out, "limits");

    for (int i = 0; i < access_conf.limits->nelts; i++) {
        const access_limit_t *limit = APR_ARRAY_IDX(access_conf.limits, i, access_limit_t *);
        gate_node_t *one = gate_put_object(list, NULL);

        gate_put_text(one, "name", limit->name);
        gate_put_text(one, "kind", limit->kind == ACCESS_REQUESTS ? "requests" : "connections");
        gate_put_text(one, "key", limit->key_text ? limit->key_text : "client");
        gate_put_flag(one, "dry_run", limit->dry_run);
        gate_put_count(one, "admitted", limit_count(limit, ACCESS_ADMITTED), NULL);
        gate_put_count(one, "refused", limit_count(limit, ACCESS_REFUSED), NULL);
        gate_put_count(one, "delayed", limit_count(limit, ACCESS_DELAYED), NULL);
        gate_put_count(one, "would_refuse", limit_count(limit, ACCESS_WOULD), NULL);
        gate_put_count(one, "evicted", limit_count(limit, ACCESS_EVICTED), NULL);
        gate_put_count(one, "uncounted", limit_count(limit, ACCESS_UNCOUNTED), NULL);
        if (limit->kind == ACCESS_CONNECTIONS) {
            gate_put_gauge(one, "inflight", (int64_t)gate_concurrency_total(&limit->flights), NULL);
        }
    }
}

static void put_sets(gate_node_t *out)
{
    gate_node_t *list = gate_put_list(out, "sets");

    for (int i = 0; i < access_conf.set_list->nelts; i++) {
        const access_set_t *set = APR_ARRAY_IDX(access_conf.set_list, i, access_set_t *);
        gate_node_t *one = gate_put_object(list, NULL);

        gate_put_text(one, "name", set->name);
        gate_put_gauge(one, "prefixes", access_set_count(set), NULL);
        if (set->store.place) {
            gate_put_time(one, "read_at", atomic_load(&set->store.place->wall_usec));
            gate_put_flag(one, "refused_newer", atomic_load(set->refused) != 0);
        }
    }
}

static void gather(gate_node_t *out, void *ctx)
{
    static const gate_metric_t bans = { "access_bans", "Bans in force", NULL, NULL };

    (void)ctx;
    put_verdicts(out);
    gate_put_gauge(out, "bans", gate_bans_count(access_bans, gate_mono_usec()), &bans);
    put_limits(out);
    put_sets(out);
}

static const char *verdict_word(gate_access_e verdict)
{
    static const char *const words[] = { "admit", "delay", "drop", "banned", "limited", "connections" };

    return words[verdict];
}

static void explain(gate_node_t *out, const gate_view_t *view, void *request, void *ctx)
{
    gate_access_verdict_t verdict;

    (void)ctx;
    access_explain_request(request, view && view->client.known ? &view->client : NULL, &verdict);
    gate_put_text(out, "verdict", verdict_word(verdict.verdict));
    gate_put_text(out, "why", verdict.why);
    gate_put_text(out, "rule", *verdict.rule ? verdict.rule : NULL);
    if (verdict.status) {
        gate_put_gauge(out, "status", verdict.status, NULL);
    }
    if (verdict.wait_usec) {
        gate_put_gauge(out, "wait_ms", (verdict.wait_usec + 999) / 1000, NULL);
    }
}

static void put_ban(gate_node_t *list, const gate_access_ban_t *ban)
{
    gate_node_t *one = gate_put_object(list, NULL);

    gate_put_text(one, "address", ban->address);
    gate_put_time(one, "since", ban->since_wall_usec);
    gate_put_time(one, "until", ban->until_wall_usec);
    gate_put_gauge(one, "level", ban->level, NULL);
    gate_put_flag(one, "drop", ban->drop);
    gate_put_flag(one, "manual", ban->manual);
    gate_put_text(one, "why", ban->why);
    gate_put_text(one, "who", ban->who);
}

static int run_list(gate_call_t *call, void *ctx)
{
    gate_access_ban_t *bans = apr_palloc(call->pool, LIST_MAX * sizeof *bans);
    uint32_t n = gate_access_ban_list(bans, LIST_MAX);
    gate_node_t *list = gate_put_list(call->result, "bans");

    (void)ctx;
    for (uint32_t i = 0; i < n && i < LIST_MAX; i++) {
        put_ban(list, &bans[i]);
    }
    gate_put_gauge(call->result, "count", n, NULL);
    call->said = apr_psprintf(call->pool, "%u bans in force", n);
    return 0;
}

static int run_add(gate_call_t *call, void *ctx)
{
    const char *address = apr_table_get(call->params, "address"), *how_long = apr_table_get(call->params, "for");
    const char *drop = apr_table_get(call->params, "drop");
    int64_t for_usec = FOR_DEFAULT_USEC;
    const char *err = how_long ? gate_parse_duration(call->pool, how_long, 1000000, GATE_BANS_MAX_USEC, &for_usec) : NULL;

    (void)ctx;
    if (err) {
        call->said = apr_psprintf(call->pool, "for: '%s' %s", how_long, err);
        return 400;
    }
    err = gate_access_ban_add(call->pool, address, for_usec, drop && *drop == '1', apr_table_get(call->params, "why"), call->who);
    call->said = err ? err : apr_psprintf(call->pool, "%s banned for %" APR_INT64_T_FMT " s", address, for_usec / 1000000);
    return err ? 400 : 0;
}

static int run_lift(gate_call_t *call, void *ctx)
{
    const char *address = apr_table_get(call->params, "address");
    const char *err = gate_access_ban_lift(call->pool, address, call->who);

    (void)ctx;
    call->said = err ? err : apr_psprintf(call->pool, "ban of %s lifted", address);
    return err ? 404 : 0;
}

static const gate_param_t add_params[] = {
    { "address", GATE_PARAM_TEXT, 1, NULL, "an IPv4 or IPv6 address (of IPv6 its /64 is banned)" },
    { "for", GATE_PARAM_TEXT, 0, NULL, "how long, such as 10m or 24h (1h if not given)" },
    { "why", GATE_PARAM_TEXT, 0, NULL, "the reason, for list and log" },
    { "drop", GATE_PARAM_FLAG, 0, NULL, "close its connections before TLS instead of answering 403" },
    { NULL, GATE_PARAM_TEXT, 0, NULL, NULL }
};
static const gate_param_t lift_params[] = {
    { "address", GATE_PARAM_TEXT, 1, NULL, "the address as the list shows it" }, { NULL, GATE_PARAM_TEXT, 0, NULL, NULL }
};
static const gate_action_t actions[] = {
    { "GET", "bans", "Bans", "Lists the bans in force.", NULL, run_list },
    { "POST", "bans", "Ban", "Bans an address, on connections that are open too.", add_params, run_add },
    { "DELETE", "bans", "Lift", "Lifts a ban at once.", lift_params, run_lift },
    { NULL, NULL, NULL, NULL, NULL, NULL }
};
static const gate_section_t section = { .name = "access", .title = "Access", .gather = gather, .explain = explain,
                                        .actions = actions };

void access_show_register(void)
{
    gate_section_register(&section);
}

/* ---- the state file -------------------------------------------------------------------------------------------------------- */

static void save_bans(apr_pool_t *p, const void **data, size_t *len, void *ctx)
{
    char *text = gate_bans_save(access_bans, gate_mono_usec(), apr_time_now(), len);

    (void)ctx;
    *data = text ? apr_pmemdup(p, text, *len) : "";
    free(text);
}

static const char *load_bans(apr_pool_t *p, uint32_t version, const void *data, size_t len, void *ctx)
{
    uint32_t taken, senseless = gate_bans_load(access_bans, data, len, gate_mono_usec(), apr_time_now(), &taken);

    (void)version, (void)ctx;
    if (taken) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, ap_server_conf, GATE_LOGNO(1016) "bans: %u are in force from before the restart", taken);
    }
    return senseless ? apr_psprintf(p, "has %u lines that make no sense", senseless) : NULL;
}

static const gate_state_section_t bans_section = { "bans", 1, save_bans, load_bans, NULL };

void access_state_register(void)
{
    gate_state_register(&bans_section);
}

void access_doors_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gate_access_explain);
    APR_REGISTER_OPTIONAL_FN(gate_access_counts);
    APR_REGISTER_OPTIONAL_FN(gate_access_ban_list);
    APR_REGISTER_OPTIONAL_FN(gate_access_ban_add);
    APR_REGISTER_OPTIONAL_FN(gate_access_ban_lift);
}
