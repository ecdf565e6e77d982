/*
 * route_module.c - the engine's routes without the engine, for tests: stands in for mod_gate_engine (name and GateEngine included) and tells at
 * /probe what route_find() says about a request head. Built by route_probe.py with the engine's own files.
 *   X-Head   the head to ask about, CR and LF as %0d and %0a
 *   X-Times  how often to ask; the answer's "ns" is then per question, "request_ns" per request_rec made
 *   X-Format a mod_log_config-like list of what to show of the request_rec: "filename uri env:NAME in:NAME"
 *   X-Answer a member's answer (head and body, coded as X-Head): what output filters and Header make of it
 */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <apr_strings.h>

#include "eligible.h"
#include "gate_time.h"
#include "h1_parse.h"
#include "header_ops.h"
#include "output.h"
#include "route.h"

typedef struct {
    int on;
} probe_conf_t;

extern module AP_MODULE_DECLARE_DATA gate_engine_module;
static loop_t *loop;
static apr_thread_mutex_t *mutex;

static void *make_conf(apr_pool_t *p, server_rec *s)
{
    (void)s;
    probe_conf_t *conf = apr_pcalloc(p, sizeof *conf);

    conf->on = -1;
    return conf;
}

static void *merge_conf(apr_pool_t *p, void *outer, void *inner)
{
    (void)p;
    return ((probe_conf_t *)inner)->on >= 0 ? inner : outer;
}

static const char *set_engine(cmd_parms *cmd, void *dir, int on)
{
    probe_conf_t *conf = ap_get_module_config(cmd->server->module_config, &gate_engine_module);

    (void)dir;
    conf->on = on;
    return NULL;
}

static int is_on(server_rec *s)
{
    probe_conf_t *conf = ap_get_module_config(s->module_config, &gate_engine_module);

    return conf->on == 1;
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog, (void)ptemp;
    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG) {
        eligible_build(pconf, s, is_on);
    }
    return OK;
}

static void child_init(apr_pool_t *p, server_rec *s)
{
    (void)s;
    loop = loop_create(p, 0);
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, p);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------- */

static void put_string(request_rec *r, const char *text, size_t len)
{
    size_t i;

    ap_rputs("\"", r);
    for (i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] == '"' || text[i] == '\\' || (unsigned char)text[i] > 126) {
            ap_rprintf(r, "\\u%04x", (unsigned char)text[i]);
        }
        else {
            ap_rputc(text[i], r);
        }
    }
    ap_rputs("\"", r);
}

static void put_text(request_rec *r, const char *name, const char *text, size_t len)
{
    ap_rprintf(r, "\"%s\": ", name);
    if (text) {
        put_string(r, text, len);
    }
    else {
        ap_rputs("null", r);
    }
    ap_rputs(", ", r);
}

static void put(request_rec *r, const char *name, const char *text)
{
    put_text(r, name, text, text ? strlen(text) : 0);
}

static void put_fields(request_rec *r, const char *name, const fields_t *fields)
{
    uint32_t i;

    ap_rprintf(r, "\"%s\": [", name);
    for (i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        ap_rputs(i ? ", [" : "[", r);
        put_string(r, f->name.at, f->name.len);
        ap_rputs(", ", r);
        put_string(r, f->value.at, f->value.len);
        ap_rputs("]", r);
    }
    ap_rputs("], ", r);
}

/* ---- what is asked ---------------------------------------------------------------------------------------------------------- */

static void put_request(request_rec *r, const route_t *route, const request_head_t *head, const char *format)
{
    const route_ready_t *ready = route->makes_ready ? route_ready(route, r->connection, head, r->pool, apr_time_now()) : NULL;
    request_rec *made = ready && ready->r ? ready->r : route_request(route, r->connection, head, r->pool, apr_time_now(), ready);
    fields_t told = head->fields;
    char *copy = apr_pstrdup(r->pool, format), *state = NULL, *word;

    if (ready && ready->fields) {
        told = *ready->fields;
    }
    put_fields(r, "told", &told);
    ap_rputs("\"request\": {", r);
    for (word = apr_strtok(copy, " ", &state); word; word = apr_strtok(NULL, " ", &state)) {
        const char *value = strncmp(word, "env:", 4) == 0 ? apr_table_get(made->subprocess_env, word + 4)
                            : strncmp(word, "in:", 3) == 0 ? apr_table_get(made->headers_in, word + 3)
                            : strncmp(word, "note:", 5) == 0 ? apr_table_get(made->notes, word + 5)
                            : strcmp(word, "filename") == 0 ? made->filename
                            : strcmp(word, "uri") == 0 ? made->uri
                            : strcmp(word, "args") == 0 ? made->args
                            : strcmp(word, "the_request") == 0 ? made->the_request
                            : strcmp(word, "hostname") == 0 ? made->hostname
                            : strcmp(word, "server_port") == 0 ? apr_itoa(r->pool, ap_get_server_port(made))
                            : strcmp(word, "useragent_ip") == 0 ? made->useragent_ip
                            : strcmp(word, "handler") == 0 ? made->handler : "?";

        put(r, word, value);
    }
    ap_rputs("\"end\": 0}, ", r);
}

typedef struct {
    request_rec *r;
    const route_t *route;
    apr_size_t bytes;
    char *body;
    apr_size_t len;
} answer_t;

static void answer_head(void *user, const answer_head_t *head)
{
    static const char *const bodies[] = { "none", "length", "chunked", "stream", "close" };
    answer_t *a = user;

    put_fields(a->r, "fields", &head->fields);
    put(a->r, "framing", bodies[head->body]);
}

static void answer_data(void *user, const char *bytes, size_t len)
{
    answer_t *a = user;

    a->body = memcpy(apr_palloc(a->r->pool, a->len + len + 1), a->body ? a->body : "", a->len);
    memcpy(a->body + a->len, bytes, len);
    a->len += len;
}

static void answer_nothing(void *user)
{
    (void)user;
}

static void answer_refused(void *user, int status)
{
    (void)user, (void)status;
}

static void put_answer(request_rec *r, const route_t *route, const request_head_t *head, char *text)
{
    static const output_ops_t ops = { answer_head, answer_data, answer_nothing, answer_nothing, answer_nothing, answer_refused };
    answer_t a = { .r = r, .route = route };
    answer_head_t answer;
    size_t len = strlen(text);
    int taken;
    const field_t *type;
    fields_t changed;
    static field_t lines[MESSAGE_FIELDS_MAX];

    answer.fields.field = lines;
    taken = h1_answer(text, len, head->known, &answer);
    if (taken <= 0) {
        put(r, "fields", "no answer");
        return;
    }
    type = fields_known(&answer.fields, FIELD_CONTENT_TYPE);
    if (output_wanted(route, answer.status, type ? &type->value : NULL)) {
        output_t *o = output_begin(route, route_request(route, r->connection, head, r->pool, apr_time_now(), NULL), &answer, 0, &ops, &a);

        output_data(o, text + taken, len - (size_t)taken, 1);
        ap_rprintf(r, "\"sent\": %" APR_SIZE_T_FMT ", \"body\": \"", a.len);
        for (len = 0; len < a.len; len++) {
            ap_rprintf(r, "%02x", (unsigned char)a.body[len]);
        }
        ap_rputs("\", ", r);
        return;
    }
    if (route->answer_headers) {
        header_ops_apply(route->answer_headers, &answer.fields, &changed, r->pool);
        put_fields(r, "fields", &changed);
    }
    else {
        put_fields(r, "fields", &answer.fields);
    }
    if (route->always_headers) {
        header_ops_apply(route->always_headers, NULL, &changed, r->pool);
        put_fields(r, "always", &changed);
    }
}

static void put_route(request_rec *r, const route_t *route, const route_found_t *found)
{
    put(r, "why", !route ? found->why : found->refused ? "refused at once" : NULL);
    put(r, "type", found->content_type);
    if (!route) {
        return;
    }
    put_text(r, "path", found->path.at, found->path.len);
    put(r, "group", route->group_name);
    put(r, "prefix", route->prefix);
    ap_rprintf(r, "\"needs\": %u, \"logs\": %d, \"output\": %d, \"preserve_host\": %d, \"add_headers\": %d, \"via\": %d, \"timeout\": %ld, "
               "\"server_timeout\": %ld, \"body_limit\": %ld, ", route->needs, route->logs, route->output_types, route->preserve_host,
               route->add_headers, route->via, (long)route->timeout_usec, (long)route->server_timeout_usec, (long)route->body_limit);
}

static void ask(request_rec *r, request_head_t *head)
{
    route_client_t *client = route_client(loop, r->connection);
    const char *times = apr_table_get(r->headers_in, "X-Times"), *format = apr_table_get(r->headers_in, "X-Format");
    const char *answer = apr_table_get(r->headers_in, "X-Answer");
    server_rec *server = route_server(client, head);
    const route_t *route = NULL;
    route_found_t found = { { NULL, 0 }, "no server", NULL, 0 };
    int i, n = times ? atoi(times) : 0;

    if (server) {
        int64_t begun;

        route = route_find(client, server, head, &found);
        begun = gate_mono_usec();
        for (i = 0; i < n; i++) {
            server = route_server(client, head);
            route = route_find(client, server, head, &found);
        }
        if (n) {
            ap_rprintf(r, "\"ns\": %.1f, ", (double)(gate_mono_usec() - begun) * 1000.0 / n);
        }
    }
    if (route && n) {
        apr_pool_t *p;
        int64_t begun = gate_mono_usec();

        apr_pool_create(&p, r->pool);
        for (i = 0; i < n; i++) {
            route_request(route, r->connection, head, p, 0, NULL);
            apr_pool_clear(p);
        }
        ap_rprintf(r, "\"request_ns\": %.1f, ", (double)(gate_mono_usec() - begun) * 1000.0 / n);
    }
    put(r, "server", server ? server->server_hostname : NULL);
    put_route(r, route, &found);
    if (route && route->request_headers) {
        fields_t changed;

        header_ops_apply(route->request_headers, &head->fields, &changed, r->pool);
        put_fields(r, "asked", &changed);
    }
    if (route && format) {
        put_request(r, route, head, format);
    }
    if (route && answer) {
        char *text = apr_pstrdup(r->pool, answer);

        ap_unescape_url_keep2f(text, 1);
        put_answer(r, route, head, text);
    }
}

static int probe(request_rec *r)
{
    const h1_limits_t limits = { 8190, 8190, 100 };
    const char *coded = apr_table_get(r->headers_in, "X-Head");
    static field_t lines[MESSAGE_FIELDS_MAX];
    request_head_t head;
    char *text;

    if (strcmp(r->uri, "/probe") != 0 || !coded) {
        return DECLINED;
    }
    text = apr_pstrdup(r->pool, coded);
    ap_unescape_url_keep2f(text, 1);
    ap_set_content_type(r, "application/json");
    memset(&head, 0, sizeof head);
    head.fields.field = lines;
    apr_thread_mutex_lock(mutex);
    ap_rputs("{", r);
    if (h1_request(text, strlen(text), &limits, &head) > 0) {
        ask(r, &head);
    }
    else {
        put(r, "why", "not parsed");
    }
    ap_rputs("\"end\": 0}\n", r);
    apr_thread_mutex_unlock(mutex);
    return OK;
}

static void hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(probe, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

static const command_rec commands[] = {
    AP_INIT_FLAG("GateEngine", set_engine, NULL, RSRC_CONF, "on or off"),
    { NULL }
};

/* named as the module that it stands in for: the table knows that one */
module AP_MODULE_DECLARE_DATA gate_engine_module = { MODULE_MAGIC_NUMBER_MAJOR, MODULE_MAGIC_NUMBER_MINOR, -1, "mod_gate_engine.c", NULL, NULL,
                                                     MODULE_MAGIC_COOKIE, NULL, NULL, NULL, make_conf, merge_conf, commands, hooks, 0 };
