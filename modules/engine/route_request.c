/* route_request.c - a request_rec made from a head; see route.h. */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_ssl.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <util_filter.h>

#include "route_inside.h"

route_hooks_t route_hooks;

/* All lists of links begin with function and module's name. */
typedef struct {
    void (*function)(void);
    const char *module;
    const char *const *before, *const *after;
    int order;
} link_t;

static void (*find(const apr_array_header_t *links, const char *module))(void)
{
    int i;

    for (i = 0; links && i < links->nelts; i++) {
        const link_t *link = (const link_t *)(links->elts + i * links->elt_size);

        if (link->module && strcmp(link->module, module) == 0) {
            return link->function;
        }
    }
    return NULL;
}

/* Filters are put on requests in the order of this phase. */
static void find_inserts(route_hooks_t *h)
{
    static const struct {
        const char *module;
        unsigned needs;
    } known[] = { { "core.c", 0 }, { "mod_filter.c", 0 }, { "mod_expires.c", ELIGIBLE_ANSWER }, { "mod_headers.c", ELIGIBLE_ANSWER } };
    const apr_array_header_t *links = ap_hook_get_insert_filter();
    size_t k;
    int i;

    h->insert_count = 0;
    for (i = 0; links && i < links->nelts; i++) {
        const link_t *link = (const link_t *)(links->elts + i * links->elt_size);

        for (k = 0; k < sizeof known / sizeof *known; k++) {
            if (strcmp(link->module, known[k].module) == 0 && h->insert_count < 4) {
                h->inserts[h->insert_count].insert = (route_insert_fn *)link->function;
                h->inserts[h->insert_count++].needs = known[k].needs;
            }
        }
    }
}

void route_hooks_find(void)
{
    route_hooks_t *h = &route_hooks;

    h->core_create = (route_hook_fn *)find(ap_hook_get_create_request(), "core.c");
    h->ssl_read = (route_hook_fn *)find(ap_hook_get_post_read_request(), "mod_ssl.c");
    h->remote = (route_hook_fn *)find(ap_hook_get_post_read_request(), "mod_remoteip.c");
    h->headers_early = (route_hook_fn *)find(ap_hook_get_post_read_request(), "mod_headers.c");
    h->unique_id = (route_hook_fn *)find(ap_hook_get_post_read_request(), "mod_unique_id.c");
    h->set_env_if_server = (route_hook_fn *)find(ap_hook_get_post_read_request(), "mod_setenvif.c");
    h->rewrite = (route_hook_fn *)find(ap_hook_get_translate_name(), "mod_rewrite.c");
    h->set_env_if_dir = (route_hook_fn *)find(ap_hook_get_header_parser(), "mod_setenvif.c");
    h->access_compat = (route_hook_fn *)find(ap_hook_get_access_checker(), "mod_access_compat.c");
    h->authz = (route_hook_fn *)find(ap_hook_get_access_checker_ex(), "mod_authz_core.c");
    h->mime = (route_hook_fn *)find(ap_hook_get_type_checker(), "mod_mime.c");
    h->env = (route_hook_fn *)find(ap_hook_get_fixups(), "mod_env.c");
    h->ssl_fixup = (route_hook_fn *)find(ap_hook_get_fixups(), "mod_ssl.c");
    h->headers = (route_hook_fn *)find(ap_hook_get_fixups(), "mod_headers.c");
    find_inserts(h);
}

/* ---- sink ------------------------------------------------------------------------------------------------------------------- */

static apr_status_t sink(ap_filter_t *f, apr_bucket_brigade *bb)
{
    (void)f;
    apr_brigade_cleanup(bb);
    return APR_SUCCESS;
}

static ap_filter_rec_t sink_rec = { .name = "gate_sink", .filter_func.out_func = sink, .ftype = AP_FTYPE_PROTOCOL };

static apr_status_t empty_source(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t readbytes)
{
    (void)block, (void)readbytes;
    if (mode != AP_MODE_READBYTES) {
        return APR_EOF;
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc)); /* who throws the body away finds none */
    return APR_SUCCESS;
}

static ap_filter_rec_t source_rec = { .name = "gate_source", .filter_func.in_func = empty_source, .ftype = AP_FTYPE_PROTOCOL };

static ap_filter_t *end_of(request_rec *r, ap_filter_t *f, ap_filter_rec_t *rec)
{
    f->frec = rec;
    f->r = r;
    f->c = r->connection;
    return f;
}

/* ---- from the head ---------------------------------------------------------------------------------------------------------- */

static char *text(apr_pool_t *p, span_t span)
{
    return apr_pstrmemdup(p, span.at, span.len);
}

/* The same, borrowed where it ends in NUL: a parsed span is followed by what ended it, a copied one by NUL. */
static const char *borrow(apr_pool_t *p, span_t span)
{
    return span.at[span.len] == '\0' ? span.at : text(p, span);
}

/* Host without port, lower case, without the dot at its end; a port goes to parsed_uri, as httpd has it. */
static void take_host(request_rec *r, const request_head_t *head)
{
    char *host = text(r->pool, head->host), *at, *end;

    if (*host == '[' && (end = strchr(host, ']')) != NULL) {
        at = end[1] == ':' ? end + 1 : NULL;
        *end = '\0';
        host++;
    }
    else {
        at = strrchr(host, ':');
    }
    if (at) {
        *at++ = '\0';
        if (*at) {
            r->parsed_uri.port = (apr_port_t)atoi(at);
            r->parsed_uri.port_str = at;
        }
    }
    for (at = host; *at; at++) {
        *at = (char)apr_tolower(*at);
    }
    if (at > host && at[-1] == '.') {
        at[-1] = '\0';
    }
    r->hostname = host;
}

/* As ap_get_mime_headers() does: lines of one name are joined. */
static void take_fields(request_rec *r, const request_head_t *head)
{
    const fields_t *fields = &head->fields;
    uint32_t i;

    if (head->host.at && !fields->first[FIELD_HOST]) { /* :authority */
        apr_table_setn(r->headers_in, "Host", borrow(r->pool, head->host));
    }
    for (i = 0; i < fields->count; i++) {
        apr_table_addn(r->headers_in, borrow(r->pool, fields->field[i].name), borrow(r->pool, fields->field[i].value));
    }
    if (fields->repeated) {
        apr_table_compress(r->headers_in, APR_OVERLAP_TABLES_MERGE);
    }
}

static char *put(char *to, const char *at, size_t len)
{
    memcpy(to, at, len);
    return to + len;
}

static char *keep(char **room, span_t span)
{
    char *kept = *room, *end = put(kept, span.at, span.len);

    *end = '\0';
    *room = end + 1;
    return kept;
}

static void take_line(request_rec *r, const request_head_t *head)
{
    char *room = apr_palloc(r->pool, (size_t)head->target.len + head->path.len + head->query.len + 3);

    r->method = borrow(r->pool, head->method);
    r->method_number = head->known == METHOD_HEAD || head->known == METHOD_GET ? M_GET : ap_method_number_of(r->method);
    r->header_only = head->known == METHOD_HEAD;
    r->proto_num = HTTP_VERSION(head->major, head->minor);
    r->protocol = r->proto_num == HTTP_VERSION(1, 1) ? "HTTP/1.1" : r->proto_num == HTTP_VERSION(1, 0) ? "HTTP/1.0" : "HTTP/2.0";
    r->unparsed_uri = keep(&room, head->target);
    r->uri = keep(&room, head->path);
    r->args = head->query.at ? keep(&room, head->query) : NULL;
    r->parsed_uri.path = r->uri;
    r->parsed_uri.query = r->args;
    r->parsed_uri.is_initialized = 1;
    r->the_request = head->line.len ? (char *)borrow(r->pool, head->line)
                                    : apr_pstrcat(r->pool, r->method, " ", r->unparsed_uri, " ", r->protocol, NULL);
}

static void take_head(request_rec *r, const request_head_t *head)
{
    take_line(r, head);
    take_fields(r, head);
    take_host(r, head);
    if (route_hooks.headers_early) {
        route_hooks.headers_early(r);
    }
}

/* A request and what it points to that has no maker of its own, or one that would take two allocations more: the access log needs one of
   these for each request. */
typedef struct {
    request_rec r;
    ap_filter_t source, sink;
    ap_method_list_t allowed;
    apr_array_header_t allowed_names;
    char *names[2];
} blank_t;

static ap_method_list_t *no_methods(blank_t *blank, apr_pool_t *p)
{
    blank->allowed_names = (apr_array_header_t){ .pool = p, .elt_size = sizeof *blank->names, .nalloc = 2, .elts = (char *)blank->names };
    blank->allowed.method_list = &blank->allowed_names;
    return &blank->allowed;
}

/* What httpd's request has before it is read. */
static request_rec *blank(server_rec *server, conn_rec *c, apr_pool_t *p)
{
    blank_t *blank = apr_pcalloc(p, sizeof *blank);
    request_rec *r = &blank->r;

    r->pool = p;
    r->connection = c;
    r->server = server;
    r->log = c->log;
    r->allowed_methods = no_methods(blank, p);
    r->headers_in = apr_table_make(p, 16);
    r->trailers_in = apr_table_make(p, 1);
    r->subprocess_env = apr_table_make(p, 12);
    r->headers_out = apr_table_make(p, 12);
    r->err_headers_out = apr_table_make(p, 2);
    r->trailers_out = apr_table_make(p, 1);
    r->notes = apr_table_make(p, 2);
    r->request_config = ap_create_request_config(p);
    r->output_filters = r->proto_output_filters = end_of(r, &blank->sink, &sink_rec);
    r->input_filters = r->proto_input_filters = end_of(r, &blank->source, &source_rec);
    r->per_dir_config = server->lookup_defaults;
    r->read_body = REQUEST_NO_BODY;
    r->status = HTTP_OK;
    r->used_path_info = AP_REQ_DEFAULT_PATH_INFO;
    r->useragent_addr = c->client_addr;
    r->useragent_ip = c->client_ip;
    if (route_hooks.core_create) {
        route_hooks.core_create(r);
    }
    return r;
}

request_rec *route_request_bare(server_rec *server, conn_rec *c, const request_head_t *head, apr_pool_t *p)
{
    static const struct ap_logconf quiet = { NULL, APLOG_EMERG };
    request_rec *r = blank(server, c, p);

    r->log = &quiet; /* it is a question: the classic plane tells what comes of it */
    r->request_time = apr_time_now();
    take_head(r, head);
    return r;
}

#define FILENAME_SCHEME "proxy:gate://"

static char *plain_filename_of(const route_t *route, const request_head_t *head, apr_pool_t *p)
{
    size_t prefix = strlen(route->prefix), group = strlen(route->group_name), base = strlen(route->base);
    span_t rest = { head->path.at + (prefix < head->path.len ? prefix : head->path.len),
                    head->path.len - (uint32_t)(prefix < head->path.len ? prefix : head->path.len) };
    char *name = apr_palloc(p, sizeof FILENAME_SCHEME + group + base + rest.len + head->query.len + 2), *to = name;

    to = put(to, FILENAME_SCHEME, sizeof FILENAME_SCHEME - 1);
    to = put(to, route->group_name, group);
    to = put(to, route->base, base);
    if (!base && (!rest.len || *rest.at != '/')) {
        *to++ = '/';
    }
    to = put(to, rest.at, rest.len);
    if (head->query.at) {
        *to++ = '?';
        to = put(to, head->query.at, head->query.len);
    }
    *to = '\0';
    return name;
}

/* proxy:gate://app/base/rest?query */
static char *filename_of(const route_t *route, const request_head_t *head, apr_pool_t *p)
{
    const char *mapped, *path;

    if (!head->plain_path || route->env->alias->whole) {
        path = route_path_for_member(route, head, p, &mapped);
        return apr_pstrcat(p, FILENAME_SCHEME, route->group_name, path ? path : "/", NULL);
    }
    return plain_filename_of(route, head, p);
}

void route_set_env_if(request_rec *r, const request_head_t *head, int only_server, const route_t *route)
{
    int sets = route_hooks.set_env_if_server && (!route || route->needs & ELIGIBLE_ENV);
    char *uri = r->uri;

    if (sets) {
        if (!head->plain_path) { /* the server's lines come before the path is decoded */
            r->uri = text(r->pool, route_path_sent(head));
        }
        route_hooks.set_env_if_server(r);
        r->uri = uri;
    }
    if (route && route->needs & ELIGIBLE_REWRITE && route_hooks.rewrite) {
        route_rewrite_env(r, route);
    }
    if (sets && !only_server) {
        route_hooks.set_env_if_dir(r);
    }
}

static void set_variables(request_rec *r, const route_t *route, const request_head_t *head)
{
    if (route_hooks.unique_id) {
        route_hooks.unique_id(r);
    }
    route_set_env_if(r, head, 0, route);
    if (route->needs & ELIGIBLE_ENV) {
        if (route_hooks.env) {
            route_hooks.env(r);
        }
    }
    if (route_hooks.ssl_fixup && ap_ssl_conn_is_ssl(r->connection)) {
        route_hooks.ssl_fixup(r);
    }
}

request_rec *route_request(const route_t *route, conn_rec *c, const request_head_t *head, apr_pool_t *p, apr_time_t begun,
                           const route_ready_t *ready)
{
    request_rec *r = blank(route->server, c, p);
    const core_dir_config *core = ap_get_core_module_config(route->dir_conf);

    r->request_time = begun;
    take_head(r, head);
    r->per_dir_config = route->dir_conf;
    if (core->log) {
        r->log = core->log;
    }
    r->proxyreq = PROXYREQ_REVERSE;
    r->handler = "proxy-server";
    r->filename = filename_of(route, head, p);
    r->canonical_filename = r->filename;
    if (ready) {
        r->useragent_ip = (char *)ready->ip;
        r->useragent_addr = ready->addr;
        if (ready->proxies) {
            apr_table_setn(r->notes, "remoteip-proxy-ip-list", ready->proxies);
        }
    }
    r->read_chunked = head->body == BODY_CHUNKED;
    r->remaining = head->body == BODY_LENGTH ? (apr_off_t)head->length : 0;
    if (head->major == 2) {
        apr_table_setn(r->subprocess_env, "HTTP2", "on"); /* as mod_http2 */
    }
    set_variables(r, route, head);
    return r;
}

request_rec *route_request_in_phase(const route_t *route, conn_rec *c, const request_head_t *head, apr_pool_t *p, apr_time_t begun,
                                    const route_ready_t *ready, route_phase_e phase)
{
    request_rec *r = blank(route->server, c, p);
    const core_dir_config *core;
    const char *mapped = NULL;

    r->request_time = begun;
    take_head(r, head);
    if (ready) {
        r->useragent_ip = (char *)ready->ip;
        r->useragent_addr = ready->addr;
        if (ready->proxies) {
            apr_table_setn(r->notes, "remoteip-proxy-ip-list", ready->proxies);
        }
    }
    r->per_dir_config = phase == ROUTE_PHASE_QUICK ? route->server->lookup_defaults
                        : phase == ROUTE_PHASE_ACCESS ? route->dir_conf : route->env->rewrite_conf;
    core = ap_get_core_module_config(r->per_dir_config);
    if (core->log) {
        r->log = core->log;
    }
    if (phase == ROUTE_PHASE_QUICK && !head->plain_path) {
        r->uri = r->parsed_uri.path = text(p, route_path_sent(head));
    }
    if (phase == ROUTE_PHASE_ACCESS) {
        r->proxyreq = PROXYREQ_REVERSE;
        r->handler = "proxy-server";
        route_path_for_member(route, head, p, &mapped);
        r->filename = r->canonical_filename = apr_pstrcat(p, FILENAME_SCHEME, route->group_name, mapped ? mapped : "/", NULL);
    }
    if (route_hooks.unique_id) {
        route_hooks.unique_id(r);
    }
    if (route->needs & ELIGIBLE_ENV || phase == ROUTE_PHASE_ACCESS) {
        route_set_env_if(r, head, phase != ROUTE_PHASE_ACCESS, phase == ROUTE_PHASE_ACCESS ? route : NULL);
    }
    return r;
}

int route_request_rules(request_rec *r)
{
    return route_hooks.rewrite ? route_hooks.rewrite(r) : DECLINED;
}

int route_request_access(request_rec *r)
{
    int rc = route_hooks.access_compat ? route_hooks.access_compat(r) : OK;

    if (rc == OK || rc == DECLINED) {
        rc = route_hooks.authz ? route_hooks.authz(r) : OK;
    }
    return rc;
}

/* "200 OK": httpd's own where the reason is the one it has, as most are. */
static const char *status_line_of(const answer_head_t *told, apr_pool_t *p)
{
    const char *own = ap_get_status_line(told->status); /* of a status that it does not know: that of 500 */
    span_t reason = told->reason;

    if (!reason.len) {
        return own;
    }
    if (own[0] == '0' + told->status / 100 && own[1] == '0' + told->status / 10 % 10 && own[2] == '0' + told->status % 10
        && strlen(own + 4) == reason.len && memcmp(own + 4, reason.at, reason.len) == 0) {
        return own;
    }
    return apr_psprintf(p, "%d %.*s", told->status, (int)reason.len, reason.at);
}

/* What of an answer is not told where it is logged: httpd writes these two by themselves. */
static int is_httpds(const field_t *f)
{
    return f->known == FIELD_DATE || f->known == FIELD_SERVER;
}

/* @return 1: there is a Content-Length */
static int take_answer(request_rec *r, const answer_head_t *told, int logged)
{
    int has_length = 0;
    uint32_t i;

    r->status = told->status;
    r->sent_bodyct = 1;
    r->status_line = status_line_of(told, r->pool);
    apr_table_clear(r->headers_out);
    for (i = 0; i < told->fields.count; i++) {
        const field_t *f = &told->fields.field[i];
        const char *value;

        if (f->hop || (logged && is_httpds(f))) {
            continue;
        }
        value = borrow(r->pool, f->value);
        apr_table_addn(r->headers_out, borrow(r->pool, f->name), value);
        if (f->known == FIELD_CONTENT_TYPE) {
            r->content_type = value;
        }
        has_length |= f->known == FIELD_CONTENT_LENGTH;
    }
    return has_length;
}

void route_request_answer(request_rec *r, const answer_head_t *told)
{
    take_answer(r, told, 0);
}

typedef struct {
    apr_pool_t *pool;
    const char *all;
} values_t;

static int join_values(void *ctx, const char *name, const char *value)
{
    values_t *values = ctx;

    (void)name;
    values->all = values->all ? apr_pstrcat(values->pool, values->all, ",", value, NULL) : value;
    return 1;
}

static int is_in_list(const char *list, size_t list_len, const char *word, size_t len)
{
    const char *at = list, *end = list + list_len;

    while (at < end) {
        size_t one = strcspn(at, ",");

        if (one > (size_t)(end - at)) {
            one = (size_t)(end - at);
        }
        if (one == len && strncasecmp(at, word, len) == 0) {
            return 1;
        }
        at += one + 1;
    }
    return 0;
}

/* Vary as httpd's header filter leaves it: each name once, set apart by commas alone. */
static void fold_vary(request_rec *r)
{
    values_t values = { r->pool, NULL };
    const char *at;
    char *folded, *to, *start;
    size_t len;

    apr_table_do(join_values, &values, r->headers_out, "Vary", NULL);
    if (!values.all) {
        return;
    }
    folded = to = apr_palloc(r->pool, strlen(values.all) + 2);
    *to = '\0';
    for (at = values.all; *at; at += len) {
        at += strspn(at, ", \t");
        len = strcspn(at, ", \t");
        start = to;
        if (len && to > folded) {
            *to++ = ',';
        }
        memcpy(to, at, len);
        to += len;
        *to = '\0';
        if (len && is_in_list(folded, (size_t)(start - folded), at, len)) {
            to = start;
            *to = '\0';
        }
    }
    if (to > folded) {
        apr_table_setn(r->headers_out, "Vary", folded);
    }
}

void route_request_told(request_rec *r, const answer_head_t *told)
{
    int has_length = take_answer(r, told, 1);

    if (told->fields.first[FIELD_VARY]) {
        fold_vary(r);
    }
    if (told->body == BODY_LENGTH && !(told->length == 0 && (r->header_only || AP_STATUS_IS_HEADER_ONLY(told->status))) && !has_length) {
        ap_set_content_length(r, (apr_off_t)told->length); /* as its filter does, when all has come at once */
    }
}
