/* access_explain.c - whether somebody would be let in, and why not; nothing is counted. */
#include "access.h"
#include "gate_time.h"

static void explain_limits(request_rec *r, const gate_address_t *client, int64_t now_usec, gate_access_verdict_t *out)
{
    access_asker_t asker = { .pool = r->pool, .client = *client, .c = r->connection, .r = r };
    access_trial_t trial;

    access_gather(ap_get_module_config(r->per_dir_config, &gate_access_module), &asker, &trial);
    access_trial_peek(&trial, now_usec);
    for (int i = 0; i < trial.count; i++) {
        const access_limit_t *limit = trial.limit[i];
        uint32_t at_once;

        if (limit->kind == ACCESS_CONNECTIONS && !limit->dry_run
            && (at_once = gate_concurrency_count(&limit->flights, trial.hash[i])) >= limit->max) {
            out->verdict = GATE_ACCESS_CONNECTIONS;
            apr_cpystrn(out->rule, limit->name, sizeof out->rule);
            apr_snprintf(out->why, sizeof out->why, "%u in flight, GateLimit connections (%s) allows %u", at_once, limit->where,
                         (unsigned)limit->max);
        }
        else if (limit == trial.refused) {
            out->verdict = GATE_ACCESS_LIMITED;
            out->wait_usec = trial.verdict[i].retry_usec;
            apr_cpystrn(out->rule, limit->name, sizeof out->rule);
            apr_snprintf(out->why, sizeof out->why, "over the rate of GateLimit requests (%s)", limit->where);
        }
        else if (limit->delay && trial.verdict[i].wait_usec > 0 && out->verdict == GATE_ACCESS_ADMIT) {
            out->verdict = GATE_ACCESS_DELAY;
            out->wait_usec = trial.verdict[i].wait_usec;
            apr_cpystrn(out->rule, limit->name, sizeof out->rule);
            apr_snprintf(out->why, sizeof out->why, "waits its turn at GateLimit requests (%s)", limit->where);
        }
    }
}

void access_explain_request(request_rec *r, const gate_address_t *client, gate_access_verdict_t *out)
{
    const access_server_t *server = access_server_of(r->server);
    gate_address_t own = client ? *client : access_client(r);
    int64_t now_usec = gate_mono_usec(), until;
    const access_set_t *set;
    gate_prefix_t match;
    char text[GATE_ADDRESS_TEXT];
    gate_ban_t ban;

    memset(out, 0, sizeof *out);
    apr_cpystrn(out->why, "no ban, set or limit says otherwise", sizeof out->why);
    if (server->drop && (set = access_names_find(server->drop, &own, &match)) != NULL) {
        out->verdict = GATE_ACCESS_DROP;
        apr_cpystrn(out->rule, set->name, sizeof out->rule);
        apr_snprintf(out->why, sizeof out->why, "%s of set %s is dropped (%s)", gate_prefix_text(&match, text), set->name,
                     server->drop->where);
        return;
    }
    if (gate_ban_check(access_bans, &own, now_usec, &until)) {
        out->verdict = GATE_ACCESS_BANNED;
        out->status = HTTP_FORBIDDEN;
        out->wait_usec = until - now_usec;
        if (gate_ban_get(access_bans, &own, now_usec, &ban)) {
            apr_cpystrn(out->rule, ban.who, sizeof out->rule);
            apr_snprintf(out->why, sizeof out->why, "banned: %s", ban.why);
        }
        return;
    }
    explain_limits(r, &own, now_usec, out);
    if (out->verdict == GATE_ACCESS_LIMITED || out->verdict == GATE_ACCESS_CONNECTIONS) {
        out->status = HTTP_TOO_MANY_REQUESTS;
    }
}
