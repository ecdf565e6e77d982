/*
 * access_judge.c - GateLimit for both planes: keys, the trial, what is counted, logged and told to the client. Waiting and answering are the
 * plane's own.
 */
#include "access.h"

#define SAY_EVERY_USEC (10 * INT64_C(1000000))

request_rec *access_asker_request(access_asker_t *asker)
{
    if (!asker->r && asker->request) {
        asker->r = asker->request(asker->ctx);
    }
    return asker->r;
}

/* The key's hash; 0 as answer: the request has no such key and is not limited by it. */
static int key_of(access_asker_t *asker, const access_limit_t *limit, uint64_t *hash)
{
    gate_address_t cut = asker->client;
    const char *text = "everyone", *err = NULL;
    request_rec *r;

    if (!limit->key && !(limit->key_text && strcmp(limit->key_text, "everyone") == 0)) {
        gate_address_cut(&cut, 32, GATE_BAN_V6_BITS);
        *hash = gate_siphash(&access_shared->seed, &cut, sizeof cut); /* all without an address are one client */
        return 1;
    }
    if (limit->key) {
        r = access_asker_request(asker);
        text = r ? ap_expr_str_exec(r, limit->key, &err) : NULL;
    }
    if (err || !text || !*text) {
        return 0;
    }
    *hash = gate_siphash(&access_shared->seed, text, strlen(text));
    return 1;
}

int access_gather(const access_dir_t *dir, access_asker_t *asker, access_trial_t *trial)
{
    uint64_t hash;

    access_trial_begin(trial, gate_core()->seat);
    for (int i = 0; dir->limits && i < dir->limits->nelts; i++) {
        const access_limit_t *limit = APR_ARRAY_IDX(dir->limits, i, access_limit_t *);

        if (key_of(asker, limit, &hash)) {
            access_trial_add(trial, limit, hash);
        }
    }
    return trial->count;
}

/* At most a line in ten seconds for each limit, with how many there were. */
static void say(access_asker_t *asker, const access_limit_t *limit, const char *what, int64_t now_usec)
{
    int64_t before = atomic_load(&limit->counts->said_usec);
    request_rec *r;
    uint64_t unsaid;

    if ((now_usec - before < SAY_EVERY_USEC && before != 0)
        || !atomic_compare_exchange_strong(&limit->counts->said_usec, &before, now_usec)) {
        atomic_fetch_add(&limit->counts->unsaid, 1);
        return;
    }
    unsaid = atomic_exchange(&limit->counts->unsaid, 0);
    if ((r = access_asker_request(asker)) != NULL) {
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, GATE_LOGNO(1014)
                      "limit %s: %s a request of %s (and %" APR_UINT64_T_FMT " more since the last such line)", limit->name, what,
                      r->useragent_ip, unsaid);
    }
}

static void say_would(access_asker_t *asker, const access_trial_t *trial, int64_t now_usec, access_ruling_t *out)
{
    access_bump(trial->would, ACCESS_WOULD);
    say(asker, trial->would, "would have refused (dry-run)", now_usec);
    access_count(ACCESS_V_WOULD);
    out->said = apr_pstrcat(asker->pool, "dry-run:", trial->would->name, NULL);
}

void access_refuse(access_asker_t *asker, const access_trial_t *trial, int64_t now_usec, access_ruling_t *out)
{
    const access_limit_t *limit = trial->refused;
    int64_t seconds = (trial->retry_usec + 999999) / 1000000;

    access_bump(limit, ACCESS_REFUSED);
    access_count(limit->kind == ACCESS_REQUESTS ? ACCESS_V_LIMITED : ACCESS_V_CONNECTIONS);
    out->verdict = limit->kind == ACCESS_REQUESTS ? GATE_ACCESS_LIMITED : GATE_ACCESS_CONNECTIONS;
    out->said = apr_pstrcat(asker->pool, limit->kind == ACCESS_REQUESTS ? "limited:" : "connections:", limit->name, NULL);
    say(asker, limit, "refused", now_usec);
    access_trial_fields(trial, asker->pool, &out->policy, &out->state);
    out->retry_after = apr_psprintf(asker->pool, "%" APR_INT64_T_FMT, seconds > 0 ? seconds : 1);
}

void access_judge(const access_dir_t *dir, access_asker_t *asker, int64_t now_usec, access_trial_t *trial, access_ruling_t *out)
{
    int admitted;

    memset(out, 0, sizeof *out);
    if (!access_gather(dir, asker, trial)) {
        return;
    }
    admitted = access_trial_charge(trial, now_usec);
    if (trial->would) {
        say_would(asker, trial, now_usec, out);
    }
    if (!admitted) {
        access_refuse(asker, trial, now_usec, out);
    }
    else if (trial->wait_usec > 0) {
        out->verdict = GATE_ACCESS_DELAY;
        out->wait_usec = trial->wait_usec;
    }
}

void access_let_in(access_asker_t *asker, const access_trial_t *trial, access_ruling_t *out)
{
    if (!trial->count) {
        return;
    }
    if (trial->wait_usec > 0) {
        access_bump(trial->delayed, ACCESS_DELAYED);
        access_count(ACCESS_V_DELAYED);
        out->said = apr_psprintf(asker->pool, "delayed:%s:%" APR_INT64_T_FMT "ms", trial->delayed->name, trial->wait_usec / 1000);
    }
    for (int i = 0; i < trial->count; i++) {
        if (trial->limit[i]->kind == ACCESS_REQUESTS) {
            access_bump(trial->limit[i], ACCESS_ADMITTED);
        }
    }
    access_trial_fields(trial, asker->pool, &out->policy, &out->state);
    if (!out->said) {
        out->said = "ok";
    }
    access_count(ACCESS_V_ADMITTED);
}
