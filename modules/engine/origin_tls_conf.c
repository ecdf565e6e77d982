/* origin_tls_conf.c - see origin_tls_conf.h. */

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>

#include <apr_hash.h>
#include <apr_optional_hooks.h>
#include <apr_strings.h>

#include "origin_tls_conf.h"

typedef struct {
    const server_rec *server;
    origin_tls_t *tls;
    const char *refuses;
} served_t;

static apr_hash_t *served; /* served_t by server; in pconf, NULL before mod_ssl has shown anything */

/* What a server's directives amount to. */
typedef struct {
    apr_pool_t *p;
    const server_rec *server;
    origin_tls_rules_t rules;
    const char *refuses;
} reading_t;

static int is_on(const char *word)
{
    return ap_cstr_casecmp(word, "on") == 0;
}

static void refuse(reading_t *r, const ap_directive_t *d, const char *what)
{
    if (!r->refuses) {
        r->refuses = apr_psprintf(r->p, "%s%s (%s:%d)", d->directive, what, d->filename, d->line_num);
    }
}

/* In the context that mod_ssl has made. */
static int in_context(const char *name)
{
    static const char *const names[] = {
        "SSLProxyEngine", "SSLProxyProtocol", "SSLProxyCipherSuite", "SSLProxyCACertificateFile", "SSLProxyCACertificatePath",
        "SSLProxyCARevocationFile", "SSLProxyCARevocationPath", NULL
    };
    int i;

    for (i = 0; names[i]; i++) {
        if (ap_cstr_casecmp(name, names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static void take_verify(reading_t *r, const ap_directive_t *d, const char *word)
{
    if (ap_cstr_casecmp(word, "optional_no_ca") == 0) {
        refuse(r, d, " optional_no_ca");
    }
    r->rules.verify = ap_cstr_casecmp(word, "none") != 0;
}

static void take_directive(reading_t *r, const ap_directive_t *d)
{
    const char *name = d->directive, *args = d->args, *word = ap_getword_conf(r->p, &args);

    if (in_context(name)) {
        return;
    }
    if (ap_cstr_casecmp(name, "SSLProxyVerify") == 0) {
        take_verify(r, d, word);
    }
    else if (ap_cstr_casecmp(name, "SSLProxyVerifyDepth") == 0) {
        r->rules.depth = atoi(word);
    }
    else if (ap_cstr_casecmp(name, "SSLProxyCheckPeerExpire") == 0) {
        r->rules.check_expire = is_on(word);
    }
    else if (ap_cstr_casecmp(name, "SSLProxyCheckPeerName") == 0) {
        r->rules.check_name = is_on(word);
    }
    else if (ap_cstr_casecmp(name, "SSLProxyCheckPeerCN") == 0) {
        r->rules.check_cn = is_on(word);
    }
    else if (ap_cstr_casecmp(name, "SSLProxyMachineCertificateFile") == 0) {
        r->rules.certificate_file = ap_server_root_relative(r->p, word);
    }
    else if (ap_cstr_casecmp(name, "SSLProxyCARevocationCheck") == 0) {
        if (ap_strstr_c(args, "no_crl_for_cert_ok")) {
            refuse(r, d, " no_crl_for_cert_ok");
        }
    }
    else {
        refuse(r, d, "");
    }
}

/* Every condition that stands in the tree has held. */
static int is_transparent(const char *name)
{
    return strncasecmp(name, "<If", 3) == 0 && name[3] != '\0';
}

/* @param in_proxy within <Proxy>: what stands there is for some URLs only, which we do not tell apart */
static void read_level(reading_t *r, const ap_directive_t *d, int in_proxy)
{
    for (; d; d = d->next) {
        if (strncasecmp(d->directive, "SSLProxy", 8) == 0) {
            if (in_proxy) {
                refuse(r, d, " in <Proxy>");
            }
            else {
                take_directive(r, d);
            }
        }
        else if (is_transparent(d->directive)) {
            read_level(r, d->first_child, in_proxy);
        }
        else if (strncasecmp(d->directive, "<Proxy", 6) == 0) {
            read_level(r, d->first_child, 1);
        }
    }
}

static void read_vhost(reading_t *r, const ap_directive_t *d)
{
    for (; d; d = d->next) {
        if (is_transparent(d->directive)) {
            read_vhost(r, d->first_child);
        }
        else if (ap_cstr_casecmp(d->directive, "<VirtualHost") == 0 && r->server->defn_name && d->filename
                 && (unsigned)d->line_num == r->server->defn_line_number && strcmp(d->filename, r->server->defn_name) == 0) {
            read_level(r, d->first_child, 0);
        }
    }
}

static served_t *find(const server_rec *s)
{
    return served ? apr_hash_get(served, &s, sizeof s) : NULL;
}

static apr_status_t forget(void *unused)
{
    (void)unused;
    served = NULL;
    return APR_SUCCESS;
}

static apr_status_t destroy(void *tls)
{
    origin_tls_destroy(tls);
    return APR_SUCCESS;
}

/* mod_ssl's hook: its context for this server is ready; a second one for the same server is that of a <Proxy> section. */
static int context_ready(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *model)
{
    reading_t r = { .p = p, .server = s };
    served_t *one;

    if (!is_proxy || ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG || find(s)) {
        return OK;
    }
    if (!served) {
        served = apr_hash_make(p);
        apr_pool_cleanup_register(p, NULL, forget, apr_pool_cleanup_null);
    }
    origin_tls_rules_default(&r.rules);
    read_level(&r, ap_conftree, 0);
    if (s->is_virtual) {
        read_vhost(&r, ap_conftree);
    }
    one = apr_pcalloc(p, sizeof *one);
    one->server = s;
    if (!r.refuses) {
        one->tls = origin_tls_create(model, &r.rules, &r.refuses);
    }
    if (one->tls) {
        apr_pool_cleanup_register(p, one->tls, destroy, apr_pool_cleanup_null);
    }
    one->refuses = r.refuses;
    apr_hash_set(served, &one->server, sizeof one->server, one);
    return OK;
}

const origin_tls_t *origin_tls_of(const server_rec *s)
{
    const served_t *one = find(s);

    return one ? one->tls : NULL;
}

const char *origin_tls_refuses(const server_rec *s)
{
    const served_t *one = find(s);

    return one ? one->refuses : "SSLProxyEngine is off";
}

/* As mod_ssl_openssl.h, which not every installation has, would have it. */
typedef int ssl_HOOK_init_server_t(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx);

void origin_tls_register(void)
{
    APR_OPTIONAL_HOOK(ssl, init_server, context_ready, NULL, NULL, APR_HOOK_LAST);
}
