/*
 * access_requests.c - what becomes of a request: bans, limits, delays, and what its answer earns its client.
 *
 * Order: bans as the first thing that is done with a request (before any other module's quick handler); limits before it is
 * translated, or, if some limit stands where only the walk over <Directory>, <Files> or <If> finds it, right after that walk.
 * mod_remoteip has spoken by then, so the client is r->useragent_ip. A request is judged once: not its sub-requests, not its
 * internal redirects; an h2 stream is a request of its connection's client.
 */
#include <ap_mpm.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>

#include "access.h"
#include "gate_time.h"

#define LIMITS_MAX 16
#define SAY_EVERY_USEC (10 * INT64_C(1000000))

static _Atomic int sleepers;
static int sleepers_max;

void access_requests_child(void)
{
    int threads = 1;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    sleepers_max = threads > 1 ? threads / 2 : 1;
}

access_note_t *access_note(request_rec *r)
{
    access_note_t *note;

    while (r->main || r->prev) {
        r = r->main ? r->main : r->prev;
    }
    note = ap_get_module_config(r->request_config, &gate_access_module);
    if (!note) {
        note = apr_pcalloc(r->pool, sizeof *note);
        ap_set_module_config(r->request_config, &gate_access_module, note);
    }
    return note;
}

/* mod_remoteip sets useragent_ip and useragent_addr; both are NULL or unusable where there is no address. */
gate_address_t access_client(const request_rec *r)
{
    gate_address_t client = gate_address_of(r->useragent_addr);

    if (!client.known && r->useragent_ip) {
        gate_address_parse(r->useragent_ip, strlen(r->useragent_ip), &client);
    }
    return client;
}

static int is_first(const request_rec *r)
{
    return !r->main && !r->prev;
}

/* A body that nobody will read must not be taken for the next request: the connection ends, lingering as httpd does. */
static void close_if_body(request_rec *r, int in_any_case)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    if (in_any_case || apr_table_get(r->headers_in, "Transfer-Encoding") || (length && strcmp(length, "0") != 0)) {
        r->connection->keepalive = AP_CONN_CLOSE;
    }
}

/* ---- bans ------------------------------------------------------------------------------------------------------------------ */

int access_ban_hook(request_rec *r, int lookup)
{
    const access_server_t *server = access_server_of(r->server);
    gate_address_t client = access_client(r), peer;
    access_note_t *note;

    if (lookup || !is_first(r)) {
        return DECLINED;
    }
    if (server->drop && server->drop != access_server_of(r->connection->base_server)->drop) {
        /* a vhost by name: only now is it known which; its own GateDrop is about the peer as ever */
        peer = gate_address_of(r->connection->client_addr);
        if (access_names_find(server->drop, &peer, NULL)) {
            access_count(ACCESS_V_DROPPED);
            access_note(r)->said = "dropped";
            access_note(r)->banned = 1;
            r->connection->aborted = 1;
            close_if_body(r, 1);
            return HTTP_FORBIDDEN;
        }
    }
    if (!gate_ban_check(access_bans, &client, gate_mono_usec(), NULL)) {
        return DECLINED;
    }
    note = access_note(r);
    note->banned = 1;
    note->said = "banned";
    access_count(ACCESS_V_BANNED);
    close_if_body(r, 0); /* else it stays open: a new connection for each refusal would cost both sides more */
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, GATE_LOGNO(1010) "access: %s is banned: 403", r->useragent_ip);
    return HTTP_FORBIDDEN;
}

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

static void earn_ban(request_rec *r, const access_rule_t *rule, const gate_address_t *client, int status, uint32_t count,
                     int64_t now_usec)
{
    const char *why = apr_psprintf(r->pool, "%u answers like %d within %" APR_INT64_T_FMT " s", count, status,
                                   rule->window_usec / 1000000);
    gate_ban_t ban;

    switch (gate_ban_earn(access_bans, client, &rule->term, rule->drop ? GATE_BAN_DROP : 0, why, rule->where, now_usec, &ban)) {
    case GATE_BAN_MADE:
        access_count(ACCESS_V_BANS_MADE);
        snprintf(ban.why, sizeof ban.why, "%s", why);
        access_ban_told(r->server, &ban, "banned", rule->where);
        break;
    case GATE_BAN_FULL:
        access_count(ACCESS_V_BANS_FULL);
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, GATE_LOGNO(1013)
                      "client %s: has earned a ban, but all places are taken by bans in force: raise GateBanPlaces", r->useragent_ip);
        break;
    default:
        break;
    }
}

/* What the answer earns: by the rules of what the client asked for, with the status at the end of all internal redirects. */
static void count_outcome(request_rec *r, const request_rec *last)
{
    const access_dir_t *dir = ap_get_module_config(r->per_dir_config, &gate_access_module);
    gate_address_t client = access_client(r), cut = client;
    int64_t now_usec = gate_mono_usec();
    uint64_t hash;

    if (!dir->rules || !client.known || access_trusted(&client)) {
        return;
    }
    gate_address_cut(&cut, 32, GATE_BAN_V6_BITS);
    hash = gate_siphash(&access_shared->seed, cut.bytes, sizeof cut.bytes);
    for (int i = 0; i < dir->rules->nelts; i++) {
        const access_rule_t *rule = APR_ARRAY_IDX(dir->rules, i, access_rule_t *);
        uint32_t count;

        if (!gate_status_in(&rule->statuses, last->status) || (rule->exempt && access_names_find(rule->exempt, &client, NULL))) {
            continue;
        }
        count = gate_tally_note(&rule->lines, rule->window_usec, hash, now_usec);
        if (count >= rule->count) {
            gate_tally_clear(&rule->lines, hash);
            earn_ban(r, rule, &client, last->status, count, now_usec);
        }
    }
}

/* ---- limits ---------------------------------------------------------------------------------------------------------------- */

/* One request at the limits of its section. */
typedef struct {
    request_rec *r;
    int count;
    const access_limit_t *limit[LIMITS_MAX];
    uint64_t hash[LIMITS_MAX];
    gate_rate_verdict_t verdict[LIMITS_MAX];
    const access_limit_t *refused;   /* the one that decided, or NULL */
    uint32_t at_once;                /* connections: how many there are */
    int64_t retry_usec;              /* longest of those that refuse */
    int64_t wait_usec;               /* delay */
    const access_limit_t *delayed;
    const char *would;               /* dry run: name of a limit that would have refused */
} trial_t;

/* The key's hash; 0 as answer: the request has no such key and is not limited by it. */
static int key_of(request_rec *r, const access_limit_t *limit, const gate_address_t *client, uint64_t *hash)
{
    gate_address_t cut = *client;
    const char *text, *err = NULL;

    if (!limit->key && !(limit->key_text && strcmp(limit->key_text, "everyone") == 0)) {
        gate_address_cut(&cut, 32, GATE_BAN_V6_BITS);
        *hash = gate_siphash(&access_shared->seed, &cut, sizeof cut); /* all without an address are one client */
        return 1;
    }
    text = limit->key ? ap_expr_str_exec(r, limit->key, &err) : "everyone";
    if (err || !text || !*text) {
        return 0;
    }
    *hash = gate_siphash(&access_shared->seed, text, strlen(text));
    return 1;
}

static void gather(trial_t *trial, request_rec *r, const gate_address_t *client)
{
    const access_dir_t *dir = ap_get_module_config(r->per_dir_config, &gate_access_module);

    memset(trial, 0, sizeof *trial);
    trial->r = r;
    for (int i = 0; dir->limits && i < dir->limits->nelts && trial->count < LIMITS_MAX; i++) {
        const access_limit_t *limit = APR_ARRAY_IDX(dir->limits, i, access_limit_t *);

        if (key_of(r, limit, client, &trial->hash[trial->count])) {
            trial->limit[trial->count++] = limit;
        }
    }
}

/* Is the wait too long? Only in delay mode is there one. */
static int admits(const access_limit_t *limit, gate_rate_verdict_t *verdict)
{
    if (verdict->admitted && limit->delay && verdict->wait_usec > limit->delay_usec) {
        verdict->admitted = 0;
        verdict->retry_usec = verdict->wait_usec - limit->delay_usec;
    }
    return verdict->admitted;
}

/* Asks all rates without charging: a request that one of them refuses costs nothing at the others. */
static void ask_rates(trial_t *trial, int64_t now_usec)
{
    for (int i = 0; i < trial->count; i++) {
        const access_limit_t *limit = trial->limit[i];

        if (limit->kind != ACCESS_REQUESTS) {
            continue;
        }
        gate_limit_peek(&limit->lines, &limit->rate, trial->hash[i], now_usec, &trial->verdict[i]);
        if (admits(limit, &trial->verdict[i])) {
            continue;
        }
        if (limit->dry_run) {
            trial->would = limit->name;
        }
        else {
            trial->refused = limit;
            trial->retry_usec = trial->verdict[i].retry_usec > trial->retry_usec ? trial->verdict[i].retry_usec : trial->retry_usec;
        }
    }
}

typedef struct {
    const access_limit_t *limit;
    int64_t row;
    int seat;
} held_t;

static apr_status_t let_go(void *held_)
{
    held_t *held = held_;

    gate_concurrency_end((gate_concurrency_t *)&held->limit->flights, held->seat, held->row);
    return APR_SUCCESS;
}

static void bump(const access_limit_t *limit, int what)
{
    atomic_fetch_add_explicit(&limit->counts->count[what], 1, memory_order_relaxed);
}

/* In flight until the request's pool dies, which is after its last byte. */
static void enter(trial_t *trial)
{
    int seat = gate_core()->seat;

    for (int i = 0; i < trial->count && !trial->refused; i++) {
        const access_limit_t *limit = trial->limit[i];
        uint32_t at_once;
        int64_t row;
        held_t *held;

        if (limit->kind != ACCESS_CONNECTIONS) {
            continue;
        }
        row = gate_concurrency_begin((gate_concurrency_t *)&limit->flights, seat, trial->hash[i], (uint32_t)limit->max, &at_once);
        if (row >= 0) {
            held = apr_palloc(trial->r->pool, sizeof *held);
            *held = (held_t){ limit, row, seat };
            apr_pool_cleanup_register(trial->r->pool, held, let_go, apr_pool_cleanup_null);
            bump(limit, ACCESS_ADMITTED);
        }
        else if (row == GATE_CONCURRENCY_UNCOUNTED) {
            bump(limit, ACCESS_UNCOUNTED);
        }
        else if (limit->dry_run) {
            trial->would = limit->name;
        }
        else {
            trial->refused = limit;
            trial->at_once = at_once;
            trial->retry_usec = 1000000;
        }
    }
}

/* Charges all rates; if another request was quicker at one of them, the charges at the others are taken back. */
static void charge_rates(trial_t *trial, int64_t now_usec)
{
    int i;

    for (i = 0; i < trial->count && !trial->refused; i++) {
        const access_limit_t *limit = trial->limit[i];
        gate_rate_verdict_t *verdict = &trial->verdict[i];

        if (limit->kind != ACCESS_REQUESTS || (limit->dry_run && !verdict->admitted)) {
            continue;
        }
        gate_limit_charge(&limit->lines, &limit->rate, trial->hash[i], now_usec, verdict);
        if (!verdict->admitted && !limit->dry_run) {
            trial->refused = limit;
            trial->retry_usec = verdict->retry_usec;
            break;
        }
        if (verdict->evicted) {
            bump(limit, ACCESS_EVICTED);
        }
        if (verdict->uncounted) {
            bump(limit, ACCESS_UNCOUNTED);
        }
        if (limit->delay && verdict->wait_usec > trial->wait_usec && !limit->dry_run) {
            trial->wait_usec = verdict->wait_usec;
            trial->delayed = limit;
        }
    }
    for (int n = 0; trial->refused && n < i; n++) {
        if (trial->limit[n]->kind == ACCESS_REQUESTS && trial->verdict[n].admitted) {
            gate_limit_refund(&trial->limit[n]->lines, &trial->limit[n]->rate, trial->hash[n], now_usec);
        }
    }
}

/* RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10): one item for each limit of requests. */
static void put_headers(trial_t *trial)
{
    const char *policy = NULL, *state = NULL;
    apr_pool_t *p = trial->r->pool;

    for (int i = 0; i < trial->count; i++) {
        const access_limit_t *limit = trial->limit[i];
        const gate_rate_verdict_t *v = &trial->verdict[i];

        if (limit->kind != ACCESS_REQUESTS || limit->dry_run) {
            continue;
        }
        policy = apr_psprintf(p, "%s%s\"%s\";q=%" APR_UINT64_T_FMT ";w=%" APR_UINT64_T_FMT, policy ? policy : "", policy ? ", " : "",
                              limit->name, limit->burst + 1, limit->window_s);
        state = apr_psprintf(p, "%s%s\"%s\";r=%" APR_UINT64_T_FMT ";t=%" APR_INT64_T_FMT, state ? state : "", state ? ", " : "",
                             limit->name, v->remaining, (v->reset_usec + 999999) / 1000000);
    }
    if (policy) {
        apr_table_setn(trial->r->err_headers_out, "RateLimit-Policy", policy);
        apr_table_setn(trial->r->err_headers_out, "RateLimit", state);
    }
}

/* At most a line in ten seconds for each limit, with how many there were. */
static void say(const trial_t *trial, const access_limit_t *limit, const char *what, int64_t now_usec)
{
    int64_t before = atomic_load(&limit->counts->said_usec);
    uint64_t unsaid;

    if (now_usec - before < SAY_EVERY_USEC && before != 0) {
        atomic_fetch_add(&limit->counts->unsaid, 1);
        return;
    }
    if (!atomic_compare_exchange_strong(&limit->counts->said_usec, &before, now_usec)) {
        atomic_fetch_add(&limit->counts->unsaid, 1);
        return;
    }
    unsaid = atomic_exchange(&limit->counts->unsaid, 0);
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, trial->r, GATE_LOGNO(1014)
                  "limit %s: %s a request of %s (and %" APR_UINT64_T_FMT " more since the last such line)", limit->name, what,
                  trial->r->useragent_ip, unsaid);
}

static void say_would(trial_t *trial, access_note_t *note, int64_t now_usec)
{
    for (int i = 0; i < trial->count; i++) {
        if (trial->limit[i]->dry_run && strcmp(trial->limit[i]->name, trial->would) == 0) {
            bump(trial->limit[i], ACCESS_WOULD);
            say(trial, trial->limit[i], "would have refused (dry-run)", now_usec);
        }
    }
    access_count(ACCESS_V_WOULD);
    note->said = apr_pstrcat(trial->r->pool, "dry-run:", trial->would, NULL);
}

static int refuse(trial_t *trial, access_note_t *note, int64_t now_usec)
{
    const access_limit_t *limit = trial->refused;
    request_rec *r = trial->r;
    int64_t seconds = (trial->retry_usec + 999999) / 1000000;

    bump(limit, ACCESS_REFUSED);
    access_count(limit->kind == ACCESS_REQUESTS ? ACCESS_V_LIMITED : ACCESS_V_CONNECTIONS);
    note->said = apr_pstrcat(r->pool, limit->kind == ACCESS_REQUESTS ? "limited:" : "connections:", limit->name, NULL);
    say(trial, limit, "refused", now_usec);
    put_headers(trial);
    apr_table_setn(r->err_headers_out, "Retry-After", apr_psprintf(r->pool, "%" APR_INT64_T_FMT, seconds > 0 ? seconds : 1));
    close_if_body(r, 0);
    return HTTP_TOO_MANY_REQUESTS;
}

/* Waits its turn. Threads that sleep serve nobody, so no more than half of a child's may. Returns 0 if there is no such thread. */
static int wait_turn(trial_t *trial, access_note_t *note)
{
    if (atomic_fetch_add(&sleepers, 1) >= sleepers_max) {
        atomic_fetch_sub(&sleepers, 1);
        return 0;
    }
    apr_sleep(trial->wait_usec);
    atomic_fetch_sub(&sleepers, 1);
    bump(trial->delayed, ACCESS_DELAYED);
    access_count(ACCESS_V_DELAYED);
    note->said = apr_psprintf(trial->r->pool, "delayed:%s:%" APR_INT64_T_FMT "ms", trial->delayed->name, trial->wait_usec / 1000);
    return 1;
}

static int judge(request_rec *r)
{
    gate_address_t client = access_client(r);
    int64_t now_usec = gate_mono_usec();
    access_note_t *note = access_note(r);
    trial_t trial;

    note->judged = 1;
    gather(&trial, r, &client);
    if (trial.count == 0) {
        return DECLINED;
    }
    ask_rates(&trial, now_usec);
    if (!trial.refused) {
        enter(&trial);
    }
    if (!trial.refused) {
        charge_rates(&trial, now_usec);
    }
    if (trial.would) {
        say_would(&trial, note, now_usec);
    }
    if (trial.refused) {
        return refuse(&trial, note, now_usec);
    }
    if (trial.wait_usec > 0 && !wait_turn(&trial, note)) {
        trial.refused = trial.delayed;
        trial.retry_usec = trial.wait_usec;
        return refuse(&trial, note, now_usec);
    }
    for (int i = 0; i < trial.count; i++) {
        if (trial.limit[i]->kind == ACCESS_REQUESTS) {
            bump(trial.limit[i], ACCESS_ADMITTED);
        }
    }
    put_headers(&trial);
    if (!note->said) {
        note->said = "ok";
    }
    access_count(ACCESS_V_ADMITTED);
    return DECLINED;
}

int access_early_limits(request_rec *r)
{
    return !access_conf.late_limits && is_first(r) && !access_note(r)->judged ? judge(r) : DECLINED;
}

int access_late_limits(request_rec *r)
{
    return access_conf.late_limits && is_first(r) && !access_note(r)->judged ? judge(r) : DECLINED;
}

/* ---- at the end, and without any consequence ------------------------------------------------------------------------------- */

int access_log(request_rec *r)
{
    access_note_t *note = access_note(r);
    request_rec *last = r;

    while (last->next) {
        last = last->next;
    }
    if (note->denied && (last->status == HTTP_FORBIDDEN || last->status == HTTP_UNAUTHORIZED)) {
        note->said = "denied";
        access_count(ACCESS_V_DENIED);
    }
    for (request_rec *each = r; each; each = each->next) {
        if (note->said) {
            apr_table_setn(each->subprocess_env, "GATE_ACCESS", note->said);
        }
        if (note->country && *note->country) {
            apr_table_setn(each->subprocess_env, "GATE_COUNTRY", note->country);
        }
    }
    if (!note->banned && access_conf.rules->nelts) {
        count_outcome(r, last);
    }
    return DECLINED;
}

static void explain_limits(request_rec *r, const gate_address_t *client, int64_t now_usec, gate_access_verdict_t *out)
{
    trial_t trial;

    gather(&trial, r, client);
    ask_rates(&trial, now_usec);
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
