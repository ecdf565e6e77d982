/* h2_negotiate.c - see h2_negotiate.h. */

#include "engine.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_ssl.h>
#include <mod_ssl.h>

#include "h2_negotiate.h"

#define NOTE "gate-h2"
#define STREAMS_DEFAULT 100     /* mod_http2's */
#define WINDOW_DEFAULT 65535

static APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *ssl_lookup;
static h2_settings_t usual;
static apr_hash_t *special;     /* h2_settings_t by server; NULL: none differs */
static const char *refuses;
static int usable;              /* there are routes to serve */

/* --- mod_http2's directives --- */

/* Those that are about mod_http2's own threads, buffers and ways in, or about what no client uses any more (push). */
static const char *const neutral[] = {
    "H2MinWorkers", "H2MaxWorkers", "H2MaxWorkerIdleSeconds", "H2StreamMaxMemSize", "H2SerializeHeaders", "H2ModernTLSOnly", "H2Upgrade",
    "H2SessionExtraFiles", "H2TLSWarmUpSize", "H2TLSCoolDownSecs", "H2Push", "H2PushPriority", "H2PushDiarySize", "H2CopyFiles",
    "H2OutputBuffering", "H2MaxDataFrameLen", NULL
};

static void take(h2_settings_t *to, const ap_directive_t *d, apr_pool_t *p)
{
    const char *args = d->args, *word = ap_getword_conf(p, &args);
    apr_interval_time_t time = 0;
    int i;

    if (ap_cstr_casecmp(d->directive, "H2MaxSessionStreams") == 0) {
        to->streams = (uint32_t)apr_atoi64(word);
    }
    else if (ap_cstr_casecmp(d->directive, "H2WindowSize") == 0) {
        to->window = (uint32_t)apr_atoi64(word);
    }
    else if (ap_cstr_casecmp(d->directive, "H2StreamTimeout") == 0) {
        to->timeout_usec = ap_timeout_parameter_parse(word, &time, "s") == APR_SUCCESS ? time : 0;
    }
    else if (ap_cstr_casecmp(d->directive, "H2Direct") == 0) {
        to->direct = ap_cstr_casecmp(word, "on") == 0;
    }
    else if (ap_cstr_casecmp(d->directive, "H2EarlyHints") == 0) {
        to->hints = ap_cstr_casecmp(word, "on") == 0;
    }
    else if (ap_cstr_casecmp(d->directive, "H2WebSockets") == 0) {
        to->websockets = ap_cstr_casecmp(word, "on") == 0;
    }
    else {
        for (i = 0; neutral[i]; i++) {
            if (ap_cstr_casecmp(d->directive, neutral[i]) == 0) {
                return;
            }
        }
        if (!refuses && !(ap_cstr_casecmp(word, "off") == 0 || strcmp(word, "0") == 0)) {
            refuses = apr_psprintf(p, "%s (%s:%d)", d->directive, d->filename, d->line_num);
        }
    }
}

static int is_transparent(const char *name)
{
    return strncasecmp(name, "<If", 3) == 0 && name[3] != '\0';
}

static void read_level(h2_settings_t *to, const ap_directive_t *d, apr_pool_t *p)
{
    for (; d; d = d->next) {
        if (strncasecmp(d->directive, "H2", 2) == 0) {
            take(to, d, p);
        }
        else if (d->first_child && ap_cstr_casecmp(d->directive, "<VirtualHost") != 0) {
            read_level(to, d->first_child, p); /* H2PushResource and others may stand in <Location> */
        }
    }
}

static const server_rec *server_of(const ap_directive_t *d, const server_rec *s)
{
    for (; s; s = s->next) {
        if (s->defn_name && d->filename && (unsigned)d->line_num == s->defn_line_number && strcmp(s->defn_name, d->filename) == 0) {
            return s;
        }
    }
    return NULL;
}

static void read_vhosts(const ap_directive_t *d, server_rec *main_server, apr_pool_t *p)
{
    for (; d; d = d->next) {
        if (is_transparent(d->directive)) {
            read_vhosts(d->first_child, main_server, p);
        }
        else if (ap_cstr_casecmp(d->directive, "<VirtualHost") == 0) {
            const server_rec *s = server_of(d, main_server->next);
            h2_settings_t *own = apr_pmemdup(p, &usual, sizeof usual);

            read_level(own, d->first_child, p);
            if (s && memcmp(own, &usual, sizeof usual) != 0) {
                special = special ? special : apr_hash_make(p);
                apr_hash_set(special, apr_pmemdup(p, &s, sizeof s), sizeof s, own);
            }
        }
    }
}

void h2_negotiate_configure(apr_pool_t *p, server_rec *s)
{
    usual = (h2_settings_t){ .streams = STREAMS_DEFAULT, .window = WINDOW_DEFAULT, .direct = -1, .hints = 1 };
    special = NULL;
    refuses = NULL;
    usable = ap_find_linked_module("mod_gate_upstream.c") != NULL;
    read_level(&usual, ap_conftree, p);
    read_vhosts(ap_conftree, s, p);
    ssl_lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup);
    if (refuses && engine_is_wanted()) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, GATE_LOGNO(1701) "HTTP/2 is left to mod_http2 because of %s", refuses);
    }
}

const h2_settings_t *h2_settings_of(const server_rec *s)
{
    const h2_settings_t *own = special ? apr_hash_get(special, &s, sizeof s) : NULL;

    return own ? own : &usual;
}

const char *h2_negotiate_refuses(void)
{
    return refuses;
}

const char *h2_negotiate_tell(apr_pool_t *p, const server_rec *s)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);

    if (!usable) {
        return "mod_http2, as mod_gate_upstream is not loaded";
    }
    if (refuses) {
        return apr_pstrcat(p, "mod_http2, because of ", refuses, NULL);
    }
    if (!ap_array_str_contains(core->protocols, "h2") && !ap_array_str_contains(core->protocols, "h2c")) {
        return "nobody: Protocols has neither h2 nor h2c";
    }
    return "the engine";
}

/* --- the protocol hooks --- */

/* RFC 9113, 9.2: TLS 1.2 with an AEAD cipher, or later. What is not known yet does not count. */
static int is_modern(conn_rec *c, server_rec *s)
{
    const char *protocol, *cipher;

    if (!ssl_lookup) {
        return 1;
    }
    protocol = ssl_lookup(c->pool, s, c, NULL, (char *)"SSL_PROTOCOL");
    cipher = ssl_lookup(c->pool, s, c, NULL, (char *)"SSL_CIPHER");
    if (protocol && (strncmp(protocol, "SSL", 3) == 0 || strcmp(protocol, "TLSv1") == 0 || strcmp(protocol, "TLSv1.1") == 0)) {
        return 0;
    }
    return !cipher || !*cipher || strstr(cipher, "GCM") || strstr(cipher, "CHACHA20") || strstr(cipher, "CCM");
}

static int may_serve(const conn_rec *c, const server_rec *s)
{
    return usable && !c->master && !refuses && engine_loops_running() > 0 && engine_server_of(s)->on == 1;
}

static int may_speak(conn_rec *c, request_rec *r, server_rec *s)
{
    return !r && may_serve(c, s) && ap_ssl_conn_is_ssl(c) && ap_is_allowed_protocol(c, r, s, "h2") && is_modern(c, s);
}

static int propose(conn_rec *c, request_rec *r, server_rec *s, const apr_array_header_t *offers, apr_array_header_t *proposals)
{
    if (strcmp(ap_get_protocol(c), AP_PROTOCOL_HTTP1) != 0 || !may_speak(c, r, s) || (offers && !ap_array_str_contains(offers, "h2"))) {
        return DECLINED;
    }
    /*
     * In a child that ends, who offers HTTP/1.1 too is answered with it at once, and by nobody over HTTP/2: mod_http2 would lose what is asked
     * there. Others are turned away in a way that they understand.
     */
    if (offers && ap_array_str_contains(offers, AP_PROTOCOL_HTTP1) && engine_is_ending() && ap_is_allowed_protocol(c, r, s, AP_PROTOCOL_HTTP1)) {
        return DONE;
    }
    if (!ap_array_str_contains(proposals, "h2")) {
        APR_ARRAY_PUSH(proposals, const char *) = "h2";
    }
    return DECLINED;
}

static int switch_to(conn_rec *c, request_rec *r, server_rec *s, const char *protocol)
{
    if (strcmp(protocol, "h2") != 0 || !may_speak(c, r, s)) {
        return DECLINED;
    }
    apr_table_setn(c->notes, NOTE, "h2");
    return OK;
}

int h2_negotiated(const conn_rec *c)
{
    return apr_table_get(c->notes, NOTE) != NULL;
}

void h2_turn_away(conn_rec *c)
{
    static const char said[] = "\0\0\0\4\0\0\0\0\0"                     /* SETTINGS */
                               "\0\0\10\7\0\0\0\0\0" "\0\0\0\0\0\0\0\0"; /* GOAWAY: no stream was taken; NO_ERROR */
    apr_bucket_brigade *bb = apr_brigade_create(c->pool, c->bucket_alloc);

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_immortal_create(said, sizeof said - 1, c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    ap_pass_brigade(c->output_filters, bb);
    apr_brigade_destroy(bb);
}

int h2_may_be_direct(conn_rec *c)
{
    server_rec *s = c->base_server;
    int direct = h2_settings_of(s)->direct;

    if (direct == 0 || engine_is_draining() || !may_serve(c, s)) {
        return 0;
    }
    if (ap_ssl_conn_is_ssl(c)) {
        return direct == 1 && may_speak(c, NULL, s);
    }
    return ap_is_allowed_protocol(c, NULL, s, "h2c");
}

void h2_begin_direct(conn_rec *c)
{
    apr_table_setn(c->notes, NOTE, ap_ssl_conn_is_ssl(c) ? "h2" : "h2c");
}

static const char *protocol_of(const conn_rec *c)
{
    return apr_table_get((c->master ? c->master : c)->notes, NOTE);
}

void h2_negotiate_register(void)
{
    ap_hook_protocol_propose(propose, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_protocol_switch(switch_to, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_protocol_get(protocol_of, NULL, NULL, APR_HOOK_FIRST);
}
