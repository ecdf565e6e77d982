/*
 * access_requests.c - what becomes of a request in httpd's phases: bans, limits, delays, and what its answer earns its client.
 *
 * Order: bans as the first thing that is done with a request (before any other module's quick handler); limits before it is
 * translated, or, if some limit stands where only the walk over <Directory>, <Files> or <If> finds it, right after that walk.
 * mod_remoteip has spoken by then, so the client is r->useragent_ip. A request is judged once: not its sub-requests, not its
 * internal redirects; an h2 stream is a request of its connection's client. One that the express plane has judged, and that comes here to be
 * answered, bears its verdict in GATE_ACCESS or is marked as answered already ("gate-preset").
 */
#include <stdlib.h>

#include <ap_mpm.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>

#include "access.h"
#include "gate_time.h"

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

/* Did the express plane decide about it? */
static int is_judged(request_rec *r)
{
    access_note_t *note = access_note(r);

    if (!note->judged && apr_table_get(r->notes, "gate-preset")) {
        note->judged = 1;
    }
    if (!note->said && (note->said = apr_table_get(r->subprocess_env, "GATE_ACCESS")) != NULL) {
        note->judged = 1;
        note->banned = !strcmp(note->said, "banned");
    }
    return note->judged;
}

/* What it decided is answered where it would have been decided here. */
static int as_judged(request_rec *r, int ban)
{
    const char *preset = apr_table_get(r->notes, "gate-preset");
    const access_note_t *note = access_note(r);
    int refused = note->said && (ban ? note->banned : !strncmp(note->said, "limited:", 8) || !strncmp(note->said, "connections:", 12));

    if (!preset || !refused) {
        return DECLINED;
    }
    close_if_body(r, 0);
    return atoi(preset);
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
    if (is_judged(r)) {
        return as_judged(r, 1);
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
    if (!access_banned(r->connection, &client)) {
        return DECLINED;
    }
    note = access_note(r);
    note->banned = 1;
    note->said = "banned";
    close_if_body(r, 0); /* else it stays open: a new connection for each refusal would cost both sides more */
    return HTTP_FORBIDDEN;
}

/* ---- limits ---------------------------------------------------------------------------------------------------------------- */

static apr_status_t let_go(void *trial)
{
    access_trial_leave(trial);
    return APR_SUCCESS;
}

/* In flight until the request's pool dies, which is after its last byte. */
static void stay(request_rec *r, const access_trial_t *trial)
{
    for (int i = 0; i < trial->count; i++) {
        if (trial->row[i] >= 0) {
            apr_pool_cleanup_register(r->pool, apr_pmemdup(r->pool, trial, sizeof *trial), let_go, apr_pool_cleanup_null);
            return;
        }
    }
}

static void put_headers(request_rec *r, const access_ruling_t *ruling)
{
    if (ruling->policy) {
        apr_table_setn(r->err_headers_out, "RateLimit-Policy", ruling->policy);
        apr_table_setn(r->err_headers_out, "RateLimit", ruling->state);
    }
    if (ruling->retry_after) {
        apr_table_setn(r->err_headers_out, "Retry-After", ruling->retry_after);
    }
}

/* Waits its turn. Threads that sleep serve nobody, so no more than half of a child's may. Returns 0 if there is no such thread. */
static int wait_turn(int64_t usec)
{
    if (atomic_fetch_add(&sleepers, 1) >= sleepers_max) {
        atomic_fetch_sub(&sleepers, 1);
        return 0;
    }
    apr_sleep(usec);
    atomic_fetch_sub(&sleepers, 1);
    return 1;
}

static int judge(request_rec *r)
{
    access_asker_t asker = { .pool = r->pool, .client = access_client(r), .c = r->connection, .r = r };
    int64_t now_usec = gate_mono_usec();
    access_note_t *note = access_note(r);
    access_ruling_t ruling;
    access_trial_t trial;

    note->judged = note->holds = 1;
    access_judge(ap_get_module_config(r->per_dir_config, &gate_access_module), &asker, now_usec, &trial, &ruling);
    if (ruling.verdict == GATE_ACCESS_DELAY) {
        stay(r, &trial);
        if (!wait_turn(ruling.wait_usec)) {
            trial.refused = trial.delayed;
            trial.retry_usec = ruling.wait_usec;
            access_refuse(&asker, &trial, now_usec, &ruling);
        }
    }
    else if (ruling.verdict == GATE_ACCESS_ADMIT) {
        stay(r, &trial);
    }
    if (ruling.verdict == GATE_ACCESS_ADMIT || ruling.verdict == GATE_ACCESS_DELAY) {
        access_let_in(&asker, &trial, &ruling);
    }
    note->said = ruling.said;
    put_headers(r, &ruling);
    if (ruling.retry_after) {
        close_if_body(r, 0);
        return HTTP_TOO_MANY_REQUESTS;
    }
    return DECLINED;
}

/* It comes from the express plane, which gave its places among those in flight back when it let it go: it takes them again. */
static int go_on(request_rec *r)
{
    access_asker_t asker = { .pool = r->pool, .client = access_client(r), .c = r->connection, .r = r };
    access_note_t *note = access_note(r);
    access_trial_t trial;
    int status = as_judged(r, 0);

    if (status == DECLINED && !note->banned && !note->holds) {
        note->holds = 1;
        if (access_gather(ap_get_module_config(r->per_dir_config, &gate_access_module), &asker, &trial)) {
            access_trial_hold(&trial);
            stay(r, &trial);
        }
    }
    return status;
}

int access_early_limits(request_rec *r)
{
    if (!is_first(r) || access_conf.late_limits) {
        return is_first(r) && is_judged(r) ? as_judged(r, 0) : DECLINED;
    }
    return is_judged(r) ? go_on(r) : judge(r);
}

int access_late_limits(request_rec *r)
{
    if (!is_first(r) || !access_conf.late_limits) {
        return DECLINED;
    }
    return is_judged(r) ? go_on(r) : judge(r);
}

/* ---- bans that are earned ---------------------------------------------------------------------------------------------------- */

/* Once, by the rules of what the client asked for, with the status at the end of all internal redirects. */
static void earn(request_rec *r, int status)
{
    access_note_t *note = access_note(r);

    if (!note->banned && !note->earned && access_conf.rules->nelts) {
        gate_address_t client = access_client(r);

        note->earned = 1;
        access_outcome(ap_get_module_config(r->per_dir_config, &gate_access_module), r->server, &client, status);
    }
}

static ap_filter_rec_t *answer_handle;

/*
 * Just before the head is written: a ban that the answer earns stands before the client has read it and asks again. What never gets here
 * (the client left before) is counted when it is logged.
 */
static apr_status_t see_answer(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *first = f->r;
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b)) { /* it becomes another answer */
            return ap_pass_brigade(f->next, bb);
        }
    }
    while (first->prev) {
        first = first->prev;
    }
    earn(first, f->r->status);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

void access_watch_answer(request_rec *r)
{
    const access_dir_t *dir;
    request_rec *first = r;

    while (first->prev) {
        first = first->prev;
    }
    dir = ap_get_module_config(first->per_dir_config, &gate_access_module);
    if (!r->main && dir->rules && dir->rules->nelts) {
        ap_add_output_filter_handle(answer_handle, NULL, r, r->connection);
    }
}

void access_answers_register(void)
{
    answer_handle = ap_register_output_filter("GATE_ACCESS_ANSWER", see_answer, NULL, AP_FTYPE_PROTOCOL - 1);
}

/* ---- at the end ------------------------------------------------------------------------------------------------------------- */

int access_log(request_rec *r)
{
    access_note_t *note = access_note(r);
    request_rec *last = r;

    if (!note->said) {
        (void)is_judged(r); /* and answered, by the express plane */
    }
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
    if (!apr_table_get(r->notes, "gate-earned")) { /* else the express plane has counted it */
        earn(r, last->status);
    }
    return DECLINED;
}
