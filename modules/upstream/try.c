/*
 * try.c - one try on one member: its handler is run on a shadow of the request, and what came of it is named.
 * Whether anything was sent decides what may be tried again. Handlers with a conn_rec (http, https, h2, ws): the connection's filters
 * know. The others (fcgi, ajp, scgi, uwsgi) write to the socket themselves: here the connection is made first, in a lane that nobody
 * else uses, and handed to the handler connected; after that the request counts as sent.
 */
#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>

#include "upstream.h"

static int is_cgi_like(const upstream_try_t *t)
{
    const char *scheme = t->seen->member->parts.scheme;

    return strcmp(scheme, "fcgi") == 0 || strcmp(scheme, "ajp") == 0 || strcmp(scheme, "scgi") == 0 || strcmp(scheme, "uwsgi") == 0;
}

/* ---- URL ------------------------------------------------------------------------------------------------------------------- */

/* These handlers' canonicalisers also set PATH_INFO and the like, and want the path as it was before ours. */
static int canonical_url(upstream_try_t *t, apr_pool_t *pool, char **url)
{
    const upstream_exchange_t *x = t->exchange;
    const char *path = x->file_path && strcmp(t->seen->member->parts.scheme, "ajp") != 0 ? x->file_path : x->raw_path;
    char *raw = apr_pstrcat(pool, upstream_worker_prefix(t->worker), path, NULL);
    int rc;

    t->shadow->filename = apr_pstrcat(pool, "proxy:", raw, NULL);
    rc = proxy_run_canon_handler(t->shadow, raw);
    if (rc != OK) {
        return rc == DECLINED ? HTTP_INTERNAL_SERVER_ERROR : rc;
    }
    *url = t->shadow->filename + strlen("proxy:");
    return OK;
}

static int member_url(upstream_try_t *t, apr_pool_t *pool, char **url)
{
    if (t->lane) {
        return canonical_url(t, pool, url);
    }
    *url = apr_pstrcat(pool, upstream_worker_prefix(t->worker), t->exchange->path, NULL);
    return OK;
}

/* ---- connection, for lanes ------------------------------------------------------------------------------------------------ */

static int connect_lane(upstream_try_t *t, apr_pool_t *pool, char *url)
{
    upstream_exchange_t *x = t->exchange;
    proxy_worker *worker = t->lane->worker;
    server_rec *s = x->r->server;
    const char *scheme = t->seen->member->parts.scheme;
    proxy_conn_rec *conn = NULL;
    apr_socket_t *before;
    apr_uri_t uri;
    char port[32];
    int rc = ap_proxy_acquire_connection(scheme, &conn, worker, s);

    if (rc != OK) {
        return rc;
    }
    t->lane->conn = conn;
    conn->is_ssl = 0;
    conn->close = t->seen->fresh;
    rc = ap_proxy_determine_connection(pool, t->shadow, x->conf, worker, conn, &uri, &url, NULL, 0, port, sizeof port);
    before = conn->sock;
    if (rc == OK && ap_proxy_check_connection(scheme, conn, s, 0, PROXY_CHECK_CONN_EMPTY) != APR_SUCCESS) {
        before = NULL;
        if (ap_proxy_connect_backend(scheme, conn, worker, s) != OK) {
            rc = HTTP_SERVICE_UNAVAILABLE;
        }
    }
    if (rc == OK) {
        t->seen->reused = before != NULL;
        t->seen->sent = 1; /* the handler writes to the socket itself */
        t->fresh = !t->seen->reused;
        if (t->fresh) {
            upstream_backend_watch(conn->sock, x->errand->group);
            t->seen->connected_usec = gate_mono_usec();
            t->seen->waited_connect_usec = t->seen->waited_usec;
        }
        upstream_backend_patience(conn->sock, x->errand->group, upstream_has_long_body(x));
        apr_socket_timeout_set(conn->sock, upstream_try_limit(t));
    }
    ap_proxy_release_connection(scheme, conn, s);
    return rc;
}

/* What the handler left connected without using it to the end must not be used by the next one. */
static void close_lane(upstream_try_t *t)
{
    proxy_conn_rec *conn = NULL;
    server_rec *s = t->exchange->r->server;

    if (ap_proxy_acquire_connection(t->seen->member->parts.scheme, &conn, t->lane->worker, s) == OK) {
        conn->close = 1;
        ap_proxy_release_connection(t->seen->member->parts.scheme, conn, s);
    }
}

/* ---- running it ----------------------------------------------------------------------------------------------------------- */

static int run_handler(upstream_try_t *t, apr_pool_t *pool)
{
    upstream_exchange_t *x = t->exchange;
    proxy_worker *worker = NULL;
    char *url = NULL;
    int rc;

    if (is_cgi_like(t)) {
        t->lane = upstream_lane_take(t->worker, x->r->server);
        worker = t->lane ? t->lane->worker : NULL;
    }
    else {
        worker = upstream_worker_shared(t->worker, x->r->server);
    }
    if (!worker) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    rc = member_url(t, pool, &url);
    if (rc != OK) {
        t->refused = 1;
        return rc;
    }
    if (t->lane && (rc = connect_lane(t, pool, apr_pstrdup(pool, url))) != OK) {
        return rc;
    }
    return proxy_run_scheme_handler(t->shadow, worker, x->conf, url, NULL, 0);
}

/* ---- what came of it ------------------------------------------------------------------------------------------------------ */

static void say(upstream_try_t *t, gate_outcome_e outcome, const char *why)
{
    t->seen->outcome = outcome;
    t->seen->why = why;
}

static int was_connected(const upstream_try_t *t)
{
    return t->lane ? t->seen->sent : t->seen->bytes_out != 0;
}

static int timed_out(const upstream_try_t *t, int rc)
{
    if (APR_STATUS_IS_TIMEUP(t->read_status) || APR_STATUS_IS_TIMEUP(t->write_status) || rc == HTTP_GATEWAY_TIME_OUT) {
        return 1;
    }
    return t->lane && APR_STATUS_IS_TIMEUP(t->seen->cause);
}

static const char *why_no_connection(const upstream_try_t *t)
{
    apr_status_t rv = t->seen->cause;

    if (t->seen->tls_failed) {
        return "TLS handshake failed";
    }
    if (APR_STATUS_IS_ECONNREFUSED(rv)) {
        return "connection refused";
    }
    if (APR_STATUS_IS_TIMEUP(rv)) {
        return "connect timed out";
    }
    if (APR_STATUS_IS_ENOENT(rv)) {
        return "there is no such socket";
    }
    if (rv != APR_SUCCESS) {
        char text[120];

        return apr_pstrdup(t->exchange->r->pool, apr_strerror(rv, text, sizeof text));
    }
    return "no connection";
}

static void classify_answered(upstream_try_t *t)
{
    upstream_exchange_t *x = t->exchange;

    if (t->answer == ANSWER_BAD) {
        say(t, GATE_OUTCOME_BAD, "the answer was not HTTP");
    }
    else if (t->answer == ANSWER_PASSED && (x->r->connection->aborted || x->body.failed)) {
        say(t, GATE_OUTCOME_CLIENT, "the client went away");
    }
    else if (t->answer == ANSWER_PASSED && t->broke) {
        say(t, GATE_OUTCOME_BROKEN, APR_STATUS_IS_TIMEUP(t->read_status) ? "the answer came to a halt" : "the answer ended early");
    }
    else if (t->answer == ANSWER_PASSED && t->client_status != APR_SUCCESS) {
        say(t, GATE_OUTCOME_OURS, "a filter of this server did not take the answer");
    }
    else {
        say(t, GATE_OUTCOME_OK, NULL); /* what its status says, the errand knows */
    }
}

static void classify_unanswered(upstream_try_t *t, int rc)
{
    const upstream_exchange_t *x = t->exchange;

    if (x->body.failed || x->r->connection->aborted) {
        say(t, GATE_OUTCOME_CLIENT, x->r->connection->aborted ? "the client went away" : "the client's request body did not come");
    }
    else if (t->refused || (rc >= 400 && rc < 500 && !was_connected(t))) {
        say(t, GATE_OUTCOME_OURS, "the request could not be made");
        t->refused = 1;
    }
    else if (rc == DECLINED || (!t->lane && is_cgi_like(t))) {
        say(t, GATE_OUTCOME_OURS, "no proxy module took it");
    }
    else if (t->seen->tls_failed || !was_connected(t)) {
        say(t, GATE_OUTCOME_CONNECT, why_no_connection(t));
    }
    else if (timed_out(t, rc)) {
        say(t, GATE_OUTCOME_TIMEOUT, "no answer in time");
    }
    else if (t->head_held) {
        say(t, GATE_OUTCOME_RESET, "closed after the answer's head");
    }
    else if (t->seen->bytes_in && !t->multiplexed && t->read_status == APR_SUCCESS) {
        say(t, GATE_OUTCOME_BAD, "the answer was not HTTP");
    }
    else {
        say(t, GATE_OUTCOME_RESET, t->seen->reused ? "the kept-alive connection was closed without an answer" : "closed without an answer");
    }
}

/* Answers that do not come through our filter. */
static void look_elsewhere(upstream_try_t *t, int rc)
{
    if (t->answer != ANSWER_NONE || t->broke || t->own_error) {
        return;
    }
    if (rc == DONE && t->shadow->status == HTTP_SWITCHING_PROTOCOLS) {
        t->answer = ANSWER_TUNNEL;
        upstream_shadow_tunnelled(t);
    }
    else if (rc == OK && t->lane && strcmp(t->seen->member->parts.scheme, "scgi") == 0) {
        t->answer = ANSWER_ELSEWHERE;
        t->whole = 1;
        upstream_shadow_commit(t);
    }
    t->seen->status = t->answer != ANSWER_NONE ? t->shadow->status : 0;
}

int upstream_try_run(upstream_try_t *t, apr_pool_t *pool)
{
    upstream_exchange_t *x = t->exchange;
    upstream_try_t *former;
    int rc = HTTP_INTERNAL_SERVER_ERROR;

    t->multiplexed = t->seen->member->parts.scheme[0] == 'h' && t->seen->member->parts.scheme[1] == '2';
    upstream_shadow(t, pool);
    t->worker = upstream_worker_of(t->seen->roster, t->seen->member, x->errand->group);
    if (t->worker) {
        upstream_shadow_enter(t);
        former = upstream_try_set(t);
        rc = run_handler(t, pool);
        upstream_try_set(former);
        upstream_answer_finish(t, rc);
        upstream_shadow_end(t);
        look_elsewhere(t, rc);
    }
    if (t->answer == ANSWER_NONE) {
        classify_unanswered(t, rc);
    }
    else {
        classify_answered(t);
    }
    if (t->answer != ANSWER_PASSED && t->answer != ANSWER_TUNNEL && t->answer != ANSWER_ELSEWHERE) {
        upstream_shadow_forget(t);
    }
    if (t->lane) {
        if (!t->whole) {
            close_lane(t);
        }
        upstream_lane_give(t->worker, t->lane);
    }
    return rc;
}
