/*
 * dispatch.c - the gate:// scheme: from a request that mod_proxy gives us to an answer of one of the group's members.
 */
#include <stdatomic.h>

#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>

#include "upstream.h"

gate_rosters_t *upstream_rosters;
static _Atomic uint32_t *followed; /* by group: version of the roster that workers.c knows */

void upstream_dispatch_init(apr_pool_t *pchild)
{
    uint32_t groups = gate_registry_limits(gate_core()->registry)->groups;

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

/* ProxyPass .. timeout=, or 0. A worker also carries ProxyTimeout, which is the server's word and not the route's. */
static int64_t route_timeout(const upstream_exchange_t *x)
{
    const proxy_worker *route = x->route;

    if (!route || route == x->conf->reverse || !route->s->timeout_set || (x->conf->timeout_set && route->s->timeout == x->conf->timeout)) {
        return 0;
    }
    return route->s->timeout;
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

static void begin_exchange(upstream_exchange_t *x, const upstream_group_t *group)
{
    request_rec *r = x->r;
    const char *why;
    gate_errand_ask_t ask = {
        .pool = r->pool, .view = &x->view, .group = group, .dir_conf = r->per_dir_config, .paths = &x->paths, .plane = "classic",
        .route_timeout_usec = route_timeout(x), .server_timeout_usec = x->conf->timeout_set ? x->conf->timeout : 0,
        .now_usec = gate_mono_usec()
    };

    gate_view_of(r, &x->view);
    x->body.present = has_body(r);
    x->errand = upstream_errand_begin(&ask, &why);
    group = x->errand->group;
    if (atomic_load_explicit(&followed[group->index], memory_order_relaxed) != x->errand->roster->version) {
        atomic_store_explicit(&followed[group->index], x->errand->roster->version, memory_order_relaxed);
        upstream_workers_follow(x->errand->roster);
    }
    request_conf(r)->exchange = x;
}

static upstream_try_t *next_try(upstream_exchange_t *x)
{
    upstream_try_t *t = apr_pcalloc(x->r->pool, sizeof *t);

    t->exchange = x;
    t->seen = errand_present(x->errand);
    if (x->last) {
        upstream_replay_rewind(x);
    }
    x->last = t;
    return t;
}

/* @return 1 when the exchange goes on with the errand's next try */
static int goes_on(upstream_exchange_t *x, const upstream_try_t *t)
{
    int may = t->answer == ANSWER_NONE || t->answer == ANSWER_BAD || (t->answer == ANSWER_AGAIN && !x->r->connection->aborted);
    int64_t now = gate_mono_usec();

    return errand_ended(x->errand, now, may) != GATE_ERRAND_OVER && upstream_claim_wait(x, now) == 1;
}

/* ProxyErrorOverride: as mod_proxy_http does it. */
static int override(upstream_exchange_t *x, const upstream_try_t *t)
{
    const char *authenticate = apr_table_get(t->shadow->headers_out, "WWW-Authenticate");

    if (t->seen->status == HTTP_UNAUTHORIZED && authenticate) {
        apr_table_set(x->r->err_headers_out, "WWW-Authenticate", authenticate);
    }
    apr_table_setn(x->r->notes, "proxy-error-override", "1");
    return t->seen->status;
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
    if (t->seen->outcome == GATE_OUTCOME_CLIENT || t->refused) {
        return handler_status; /* 400, 408, 413, .. or AP_FILTER_ERROR: an error of the request's */
    }
    return upstream_fail(x);
}

static int run_exchange(upstream_exchange_t *x)
{
    apr_pool_t *pool = x->r->pool;
    upstream_try_t *t;
    int rc;

    rc = upstream_claim_wait(x, x->errand->now_usec);
    if (rc <= 0) {
        return rc < 0 ? HTTP_SERVICE_UNAVAILABLE : upstream_fail(x);
    }
    for (;;) {
        t = next_try(x);
        rc = upstream_try_run(t, pool);
        if (!goes_on(x, t)) {
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
    x = apr_pcalloc(r->pool, sizeof *x);
    x->r = r;
    x->route = worker;
    x->conf = conf;
    rc = take_path(r, url, x);
    if (rc == OK) {
        begin_exchange(x, group);
        rc = run_exchange(x);
        errand_end(x->errand);
    }
    return rc;
}
