/*
 * dispatch.c - the gate:// scheme: from a request that mod_proxy gives us to an answer of one of the group's members.
 */
#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>

#include "upstream.h"

gate_rosters_t *upstream_rosters;
static uint32_t *followed; /* by group: version of the roster that workers.c knows */

void upstream_dispatch_init(apr_pool_t *pchild)
{
    uint32_t groups = gate_registry_limits(gate_core()->registry)->groups;

    upstream_rosters = gate_rosters_create(pchild, gate_core()->registry);
    followed = apr_pcalloc(pchild, groups * sizeof *followed);
}

/* ---- URL ------------------------------------------------------------------------------------------------------------------ */

static upstream_request_t *request_conf(request_rec *r)
{
    upstream_request_t *conf = ap_get_module_config(r->request_config, &gate_upstream_module);

    if (!conf) {
        conf = apr_pcalloc(r->pool, sizeof *conf);
        ap_set_module_config(r->request_config, &gate_upstream_module, conf);
    }
    return conf;
}

/* As mod_proxy_http encodes a path: raw when the route says nocanon or mapping=encoded. NULL: it cannot be encoded. */
static const char *encode_path(request_rec *r, char *path)
{
    core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    if (apr_table_get(r->notes, "proxy-nocanon") || apr_table_get(r->notes, "proxy-noencode")) {
        return path;
    }
    return ap_proxy_canonenc_ex(r->pool, path, (int)strlen(path), enc_path,
                                core->allow_encoded_slashes && !core->decode_encoded_slashes ? PROXY_CANONENC_NOENCODEDSLASHENCODING
                                                                                            : 0,
                                r->proxyreq);
}

/* SetHandler "proxy:gate://app/": mod_proxy appends the file. For members that speak HTTP the request's own path is what is meant. */
static char *path_of_handler(request_rec *r, upstream_request_t *conf, char *path)
{
    const char *handler = r->handler;
    const char *base;
    apr_size_t length;

    if (!handler || strncmp(handler, "proxy:" UPSTREAM_SCHEME, strlen("proxy:" UPSTREAM_SCHEME)) != 0) {
        return path;
    }
    handler += strlen("proxy:" UPSTREAM_SCHEME);
    base = handler + strcspn(handler, "/");
    length = strlen(base);
    if (*base == '/') {
        length--; /* one slash is enough */
    }
    if (strlen(path) >= strlen(base) && strncmp(path, base, strlen(base)) == 0) {
        conf->file_path = apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, base, length > 0 && base[length] == '/' ? length : 0),
                                      path + strlen(base), NULL);
    }
    return apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, base, length), r->uri, NULL);
}

int upstream_canon(request_rec *r, char *url)
{
    upstream_request_t *conf;
    const char *path, *query = NULL;
    char *slash;
    apr_size_t name_len;

    if (ap_cstr_casecmpn(url, UPSTREAM_SCHEME, strlen(UPSTREAM_SCHEME)) != 0) {
        return DECLINED;
    }
    url += strlen(UPSTREAM_SCHEME);
    name_len = strcspn(url, "/?#");
    conf = request_conf(r);
    slash = url[name_len] == '/' ? url + name_len : apr_pstrcat(r->pool, "/", url + name_len, NULL);
    slash = path_of_handler(r, conf, slash);
    conf->raw_path = apr_pstrdup(r->pool, slash);
    path = encode_path(r, slash + 1);
    if (!path) {
        return HTTP_BAD_REQUEST;
    }
    if (!apr_table_get(r->notes, "proxy-nocanon")) {
        query = r->args;
    }
    if (*ap_scan_vchar_obstext(path) || (query && *ap_scan_vchar_obstext(query))) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0220)
                      "group %.*s: the path or query to be forwarded has control characters or spaces: refused", (int)name_len, url);
        return HTTP_FORBIDDEN;
    }
    conf->canonical = apr_pstrcat(r->pool, UPSTREAM_SCHEME, apr_pstrmemdup(r->pool, url, name_len), "/", path, query ? "?" : "", query,
                                  NULL);
    r->filename = apr_pstrcat(r->pool, "proxy:", conf->canonical, NULL);
    return OK;
}

/* ---- the exchange --------------------------------------------------------------------------------------------------------- */

static apr_status_t end_exchange(void *data)
{
    upstream_exchange_t *x = data;
    gate_core_t *core = gate_core();

    if (x->last) {
        upstream_try_uncount(x->last);
    }
    upstream_unclaim(x);
    if (x->retrying) {
        gate_group_retrying_add(core->registry, core->seat, x->group->index, -1);
        x->retrying = 0;
    }
    if (x->active) {
        gate_group_active_add(core->registry, core->seat, x->group->index, -1);
        x->active = 0;
    }
    if (x->roster) {
        gate_roster_release(x->roster);
        x->roster = NULL;
    }
    return APR_SUCCESS;
}

/* ProxyPass .. timeout=, or 0. A worker also carries ProxyTimeout, which is the server's word and not the route's. */
static int64_t route_timeout(const upstream_exchange_t *x)
{
    const proxy_worker *route = x->route;

    if (!route || route == x->conf->reverse || !route->s->timeout_set || (x->conf->timeout_set && route->s->timeout == x->conf->timeout)) {
        return 0;
    }
    return route->s->timeout;
}

/* The route's own word, else the group's, else the server's, else ours. */
static int64_t limit_of(const upstream_exchange_t *x, int64_t of_group, int64_t usual)
{
    int64_t of_route = route_timeout(x);

    if (of_route > 0) {
        return of_route;
    }
    if (of_group > 0) {
        return of_group;
    }
    return x->conf->timeout_set && x->conf->timeout > 0 ? x->conf->timeout : usual;
}

static void set_limits(upstream_exchange_t *x)
{
    x->first_byte_limit_usec = limit_of(x, x->group->first_byte_usec, UPSTREAM_FIRST_BYTE_USEC);
    x->idle_limit_usec = limit_of(x, x->group->idle_usec, UPSTREAM_IDLE_USEC);
    if (x->group->total_usec > 0) {
        x->deadline_usec = x->begun_usec + x->group->total_usec;
    }
}

static int has_body(const request_rec *r)
{
    const char *length;

    if (r->main && !r->kept_body) {
        return 0; /* the body is the main request's */
    }
    length = apr_table_get(r->headers_in, "Content-Length");
    return apr_table_get(r->headers_in, "Transfer-Encoding") || (length && strcmp(length, "0") != 0) || r->kept_body;
}

uint64_t upstream_key_hash(const upstream_exchange_t *x)
{
    const char *err = NULL, *key;

    if (!(x->group->strategy->needs & GATE_BALANCE_KEY) || !x->group->key) {
        return 0;
    }
    key = ap_expr_str_exec(x->r, x->group->key, &err);
    if (err) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, x->r, GATE_LOGNO(0221)
                      "group %s: GateBalance: the key could not be evaluated (%s): taken as empty", x->group->name, err);
    }
    return key ? gate_balance_hash(key, strlen(key)) : 0;
}

static upstream_exchange_t *begin_exchange(request_rec *r, const upstream_group_t *group, proxy_worker *route, proxy_server_conf *conf)
{
    upstream_exchange_t *x = apr_pcalloc(r->pool, sizeof *x);
    gate_core_t *core = gate_core();

    x->r = r;
    x->group = group;
    x->route = route;
    x->conf = conf;
    x->begun_usec = gate_mono_usec();
    x->next = -1;
    x->tried_words = "";
    x->body.present = has_body(r);
    set_limits(x);
    x->roster = gate_roster_hold(upstream_rosters, group->index);
    if (followed[group->index] != x->roster->version) {
        followed[group->index] = x->roster->version;
        upstream_workers_follow(x->roster);
    }
    gate_group_active_add(core->registry, core->seat, group->index, 1);
    gate_group_credit_put(core->registry, group->index, group->retry.budget_milli);
    x->active = 1;
    apr_pool_cleanup_register(r->pool, x, end_exchange, apr_pool_cleanup_null);
    x->key_hash = upstream_key_hash(x);
    upstream_sticky_begin(x);
    request_conf(r)->exchange = x;
    return x;
}

static int was_sent(const upstream_try_t *t)
{
    return t->bytes_out != 0 || (t->lane && t->connected_usec);
}

/* See retry_try_t.shut_out. */
static int was_shut_out(const upstream_try_t *t, gate_outcome_e outcome)
{
    int64_t limit = t->exchange->group->connect_usec > 0 ? t->exchange->group->connect_usec : UPSTREAM_CONNECT_USEC;

    return outcome == GATE_OUTCOME_RESET && t->fresh && !t->bytes_in && t->connected_usec
           && gate_mono_usec() - t->connected_usec < limit;
}

retry_verdict_t upstream_consider(upstream_exchange_t *x, const upstream_try_t *t, gate_outcome_e outcome, int status)
{
    gate_core_t *core = gate_core();
    retry_try_t ended = {
        .outcome = outcome, .status = status, .request_sent = was_sent(t),
        .body_whole = !x->body.present || (!x->body.dropped && !x->body.failed), .response_passed_on = t->answer == ANSWER_PASSED,
        .idle_died = t->reused && !t->bytes_in && t->answer == ANSWER_NONE, .shut_out = was_shut_out(t, outcome)
    };
    retry_standing_t standing = {
        .method = x->r->method, .tries = x->tries, .replaced = x->replaced, .others = 1, .counted = x->retrying,
        .deadline_usec = x->deadline_usec, .now_usec = gate_mono_usec()
    };
    retry_verdict_t verdict;

    if (outcome != GATE_OUTCOME_OK) {
        standing.active = gate_group_active(core->registry, x->group->index);
        standing.retrying = gate_group_retrying(core->registry, x->group->index);
        standing.saved = gate_group_credit(core->registry, x->group->index) >= 1000;
    }
    verdict = retry_decide(&x->group->retry, &ended, &standing);
    if (verdict.action == RETRY_OTHER) {
        if (!upstream_claim(x)) {
            standing.others = 0;
            verdict = retry_decide(&x->group->retry, &ended, &standing);
        }
    }
    return verdict;
}

static upstream_try_t *next_try(upstream_exchange_t *x, int fresh)
{
    upstream_try_t *t = apr_pcalloc(x->r->pool, sizeof *t);
    gate_core_t *core = gate_core();

    t->exchange = x;
    t->member = &x->roster->members[x->next];
    t->fresh_wanted = fresh;
    t->is_trial = x->next_is_trial;
    x->replaced = fresh;
    x->last_id = apr_pstrdup(x->r->pool, t->member->id);
    if (!fresh) {
        x->tried[x->tries].slot = t->member->slot;
        x->tried[x->tries++].incarnation = t->member->incarnation;
        if (x->last && was_sent(x->last) && !was_shut_out(x->last, x->last->outcome) && !x->retrying) {
            gate_group_retrying_add(core->registry, core->seat, x->group->index, 1);
            gate_group_credit_take(core->registry, x->group->index);
            x->retrying = 1;
        }
    }
    if (x->last) {
        upstream_replay_rewind(x);
    }
    x->last = t;
    return t;
}

/* Another member would be asked, but none has room: wait for one, if this group has people wait. */
static int waits_for_another(upstream_exchange_t *x, upstream_try_t *t)
{
    if (!x->others_full || !x->group->queue_length || (t->answer != ANSWER_NONE && t->answer != ANSWER_BAD)) {
        return 0;
    }
    upstream_try_uncount(t);
    return upstream_claim_wait(x) == 1;
}

/* @return 1 when the exchange goes on with x->next */
static int goes_on(upstream_exchange_t *x, upstream_try_t *t, int *fresh)
{
    retry_verdict_t verdict = { RETRY_OTHER, "the answer's status is listed" };

    *fresh = 0;
    if (t->answer == ANSWER_AGAIN && x->r->connection->aborted) {
        return 0;
    }
    if (t->answer == ANSWER_NONE || t->answer == ANSWER_BAD) {
        x->others_full = 0;
        verdict = upstream_consider(x, t, t->outcome, 0);
        if (verdict.action == RETRY_GIVE_UP && waits_for_another(x, t)) {
            verdict = (retry_verdict_t){ RETRY_OTHER, "another member has room now" };
        }
    }
    else if (t->answer != ANSWER_AGAIN) {
        verdict.action = RETRY_GIVE_UP;
    }
    *fresh = verdict.action == RETRY_SAME_FRESH;
    x->give_up = verdict.why;
    upstream_tell_failure(x, t, &verdict);
    if (*fresh) { /* the same member: the place on it is kept */
        x->claimed = t->inflight;
        x->claimed_slot = t->member->slot;
        t->inflight = 0;
    }
    upstream_try_uncount(t);
    return verdict.action != RETRY_GIVE_UP;
}

/* ProxyErrorOverride: as mod_proxy_http does it. */
static int override(upstream_exchange_t *x, const upstream_try_t *t)
{
    const char *authenticate = apr_table_get(t->shadow->headers_out, "WWW-Authenticate");

    if (t->status == HTTP_UNAUTHORIZED && authenticate) {
        apr_table_set(x->r->err_headers_out, "WWW-Authenticate", authenticate);
    }
    apr_table_setn(x->r->notes, "proxy-error-override", "1");
    return t->status;
}

static int conclude(upstream_exchange_t *x, const upstream_try_t *t, int handler_status)
{
    switch (t->answer) {
    case ANSWER_PASSED:
        return t->broke || x->r->connection->aborted ? DONE : OK;
    case ANSWER_TUNNEL:
        return DONE;
    case ANSWER_ELSEWHERE:
        return OK;
    case ANSWER_OVERRIDE:
        return override(x, t);
    default:
        break;
    }
    if (x->r->connection->aborted) {
        return DONE;
    }
    if (t->outcome == GATE_OUTCOME_CLIENT || t->refused) {
        return handler_status; /* 400, 408, 413, .. or AP_FILTER_ERROR: an error of the request's */
    }
    return upstream_fail(x, t, t->outcome);
}

static int run_exchange(upstream_exchange_t *x)
{
    apr_pool_t *pool = x->r->pool;
    upstream_try_t *t;
    int rc, fresh = 0;

    rc = upstream_claim_wait(x);
    if (rc <= 0) {
        return rc < 0 ? HTTP_SERVICE_UNAVAILABLE : upstream_fail(x, NULL, GATE_OUTCOME_COUNT);
    }
    for (;;) {
        t = next_try(x, fresh);
        rc = upstream_try_run(t, pool);
        upstream_tell_registry(x, t);
        upstream_tell_tried(x, t);
        if (!goes_on(x, t, &fresh)) {
            return conclude(x, t, rc);
        }
        apr_pool_create(&pool, x->r->pool); /* a handler's memory of the try before is not the next one's */
        apr_pool_tag(pool, "gate_upstream_try");
    }
}

static int refuse(request_rec *r, int status, const char *what)
{
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0224) "%s: refused with %d", what, status);
    return status;
}

/* The URL that the handler phase gives us is the one that canon made, or one that nobody has canonicalised. */
static int take_path(request_rec *r, const char *url, upstream_exchange_t *x)
{
    const upstream_request_t *conf = request_conf(r);
    const char *path = url + strlen(UPSTREAM_SCHEME);

    path += strcspn(path, "/?#");
    if (conf->canonical && strcmp(conf->canonical, url) == 0) {
        x->raw_path = conf->raw_path;
        x->file_path = conf->file_path;
        x->path = path;
        return OK;
    }
    if (*path != '/') {
        path = apr_pstrcat(r->pool, "/", path, NULL);
    }
    if (*ap_scan_vchar_obstext(path)) {
        return refuse(r, HTTP_FORBIDDEN, "the URL to be forwarded has control characters or spaces");
    }
    x->raw_path = x->path = path;
    return OK;
}

int upstream_dispatch(request_rec *r, proxy_worker *worker, proxy_server_conf *conf, char *url, const char *host, apr_port_t port)
{
    const upstream_group_t *group;
    upstream_exchange_t *x;
    const char *name, *coding;
    apr_size_t length;
    int rc;

    (void)host, (void)port;
    if (ap_cstr_casecmpn(url, UPSTREAM_SCHEME, strlen(UPSTREAM_SCHEME)) != 0) {
        return DECLINED;
    }
    name = url + strlen(UPSTREAM_SCHEME);
    length = strcspn(name, "/?#");
    group = upstream_group_named(name, length);
    if (!group || group->index == GATE_NO_GROUP) {
        return refuse(r, HTTP_BAD_GATEWAY, apr_psprintf(r->pool, "group %.*s: there is no such group", (int)length, name));
    }
    coding = apr_table_get(r->headers_in, "Transfer-Encoding");
    if (coding && ap_cstr_casecmp(coding, "chunked") != 0) {
        return refuse(r, HTTP_NOT_IMPLEMENTED, apr_psprintf(r->pool, "group %s: a Transfer-Encoding other than chunked", group->name));
    }
    x = begin_exchange(r, upstream_select(r, group), worker, conf);
    rc = take_path(r, url, x);
    if (rc == OK) {
        rc = run_exchange(x);
    }
    x->ended_usec = gate_mono_usec();
    end_exchange(x);
    return rc;
}
