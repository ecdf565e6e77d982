/*
 * access_bans.c - what answers earn their client, for both planes, and what is said about bans: log line and event.
 */
#include "access.h"
#include "gate_time.h"

static void tell(const char *address, const char *to, const char *why, const char *who)
{
    gate_event_t event = { .wall_usec = apr_time_now() };

    apr_cpystrn(event.area, "access", sizeof event.area);
    apr_cpystrn(event.group, address, sizeof event.group);
    apr_cpystrn(event.from, "client", sizeof event.from);
    apr_cpystrn(event.to, to, sizeof event.to);
    apr_cpystrn(event.why, why, sizeof event.why);
    apr_cpystrn(event.who, who, sizeof event.who);
    gate_event_push(gate_core()->events, &event);
}

void access_ban_told(server_rec *s, const gate_ban_t *ban, const char *to, const char *who)
{
    char address[GATE_ADDRESS_TEXT + 4];
    int64_t seconds = (ban->until_usec - gate_mono_usec() + 999999) / 1000000;

    gate_address_text(&ban->address, address);
    if (!gate_address_is_v4(&ban->address)) {
        strcat(address, "/64");
    }
    tell(address, to, ban->why, who);
    gate_core_changed();
    if (strcmp(to, "banned") == 0) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, GATE_LOGNO(1011)
                     "client %s: banned for %" APR_INT64_T_FMT " s (%u before): %s", address, seconds, ban->level, ban->why);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, GATE_LOGNO(1012) "client %s: its ban is lifted by %s", address, who);
    }
}

int access_banned(conn_rec *c, const gate_address_t *client)
{
    char address[GATE_ADDRESS_TEXT];

    if (!gate_ban_check(access_bans, client, gate_mono_usec(), NULL)) {
        return 0;
    }
    access_count(ACCESS_V_BANNED);
    if (APLOGcdebug(c)) {
        gate_address_text(client, address);
        ap_log_cerror(APLOG_MARK, APLOG_DEBUG, 0, c, GATE_LOGNO(1010) "access: %s is banned: 403", address);
    }
    return 1;
}

static void earn(server_rec *s, const access_rule_t *rule, const gate_address_t *client, int status, uint32_t count, int64_t now_usec)
{
    char why[GATE_BAN_WHY], address[GATE_ADDRESS_TEXT];
    gate_ban_t ban;

    apr_snprintf(why, sizeof why, "%u answers like %d within %" APR_INT64_T_FMT " s", count, status, rule->window_usec / 1000000);
    switch (gate_ban_earn(access_bans, client, &rule->term, rule->drop ? GATE_BAN_DROP : 0, why, rule->where, now_usec, &ban)) {
    case GATE_BAN_MADE:
        access_count(ACCESS_V_BANS_MADE);
        apr_cpystrn(ban.why, why, sizeof ban.why);
        access_ban_told(s, &ban, "banned", rule->where);
        break;
    case GATE_BAN_FULL:
        access_count(ACCESS_V_BANS_FULL);
        gate_address_text(client, address);
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, GATE_LOGNO(1013)
                     "client %s: has earned a ban, but all places are taken by bans in force: raise GateBanPlaces", address);
        break;
    default:
        break;
    }
}

void access_outcome(const access_dir_t *dir, server_rec *s, const gate_address_t *client, int status)
{
    gate_address_t cut = *client;
    int64_t now_usec = gate_mono_usec();
    uint64_t hash;

    if (!dir->rules || !client->known || access_trusted(client)) {
        return;
    }
    gate_address_cut(&cut, 32, GATE_BAN_V6_BITS);
    hash = gate_siphash(&access_shared->seed, cut.bytes, sizeof cut.bytes);
    for (int i = 0; i < dir->rules->nelts; i++) {
        const access_rule_t *rule = APR_ARRAY_IDX(dir->rules, i, access_rule_t *);
        uint32_t count;

        if (!gate_status_in(&rule->statuses, status) || (rule->exempt && access_names_find(rule->exempt, client, NULL))) {
            continue;
        }
        count = gate_tally_note(&rule->lines, rule->window_usec, hash, now_usec);
        if (count >= rule->count) {
            gate_tally_clear(&rule->lines, hash);
            earn(s, rule, client, status, count, now_usec);
        }
    }
}
