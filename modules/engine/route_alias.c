/* route_alias.c - ProxyPass lines: which paths they cover, as mod_proxy says; see route_inside.h. */
#include <string.h>

#include <httpd.h>
#include <apr_fnmatch.h>
#include <apr_strings.h>

#include "route_inside.h"

/* Characters that httpd neither decodes nor encodes in a path. */
static int is_plain(const char *path)
{
    return path[strspn(path, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~$+!*'(),;:@&=/")] == '\0';
}

static const char *one_slash(apr_pool_t *p, const char *prefix)
{
    char *copy = apr_pstrdup(p, prefix);

    ap_no2slash(copy);
    return copy;
}

/* How a <Proxy> section's pattern meets all URLs that begin with the first `real_len` bytes of `real`: 1 always, 0 never, -1 it depends on the rest. */
static int meets(const proxy_dir_conf *section, const char *real, size_t real_len)
{
    size_t len;

    if (section->r || !section->p) {
        return -1;
    }
    len = strlen(section->p);
    if (section->p_is_fnmatch) {
        if (len == 0 || section->p[len - 1] != '*' || strcspn(section->p, "*?[\\") != len - 1) {
            return -1;
        }
        len--;
    }
    if (strncmp(section->p, real, len < real_len ? len : real_len) != 0) {
        return 0;
    }
    return len <= real_len ? 1 : -1;
}

/* What all URLs of the line begin with. */
static size_t constant_of(const alias_t *alias)
{
    return strcspn(alias->real, alias->regex ? "$\\" : "");
}

static void read_sections(apr_pool_t *p, const eligible_server_t *server, alias_t *alias)
{
    const proxy_server_conf *conf = ap_get_module_config(server->server->module_config, &proxy_module);
    int i;

    if (conf->sec_proxy->nelts > ROUTE_SECTIONS_MAX) {
        alias->why = "there are more <Proxy> sections than the engine looks at";
        return;
    }
    for (i = 0; i < conf->sec_proxy->nelts; i++) {
        ap_conf_vector_t *section = APR_ARRAY_IDX(conf->sec_proxy, i, ap_conf_vector_t *);
        int how = meets(ap_get_module_config(section, &proxy_module), alias->real, constant_of(alias));

        if (how == 1) {
            alias->proxies[i / 64] |= UINT64_C(1) << (i % 64);
        }
        else if (how < 0 && !alias->why) {
            alias->why = apr_psprintf(p, "%s matches some of its URLs",
                                      i < server->proxies && server->proxy[i].title ? server->proxy[i].title : "a <Proxy> section");
        }
    }
}

/* ProxyPass .. timeout=; a worker also carries ProxyTimeout, which is the server's word and not the route's. */
static int64_t timeout_of(const proxy_server_conf *conf, const proxy_worker *worker)
{
    if (!worker || worker == conf->reverse || !worker->s->timeout_set || (conf->timeout_set && worker->s->timeout == conf->timeout)) {
        return 0;
    }
    return worker->s->timeout;
}

/* mod_proxy takes the worker with the longest name that a URL begins with. */
static void read_worker(apr_pool_t *p, const eligible_server_t *server, alias_t *alias)
{
    proxy_server_conf *conf = ap_get_module_config(server->server->module_config, &proxy_module);
    size_t len = constant_of(alias);
    int i;

    alias->worker = ap_proxy_get_worker_ex(p, NULL, conf, alias->real, AP_PROXY_WORKER_IS_PREFIX | AP_PROXY_WORKER_NO_UDS);
    alias->timeout_usec = timeout_of(conf, alias->worker);
    for (i = 0; i < conf->workers->nelts; i++) {
        proxy_worker *other = &APR_ARRAY_IDX(conf->workers, i, proxy_worker);

        if (other != alias->worker && strncmp(other->s->name_ex, alias->real, len) == 0 && timeout_of(conf, other) != alias->timeout_usec
            && !alias->why) {
            alias->why = "another ProxyPass gives some of its URLs another timeout";
        }
    }
}

static void read_url(apr_pool_t *p, alias_t *alias)
{
    const char *name = alias->real + strlen(GATE_SCHEME);
    size_t len = strcspn(name, alias->regex ? "/?#$\\" : "/?#");

    alias->group = apr_pstrmemdup(p, name, len);
    if (alias->regex) {
        alias->base = "";
        alias->whole = 1;
        return;
    }
    alias->base = apr_pstrdup(p, name + len);
    alias->base_len = (uint32_t)strlen(alias->base);
    alias->whole = !is_plain(alias->base) || strchr(strrchr(alias->base, '/') ? strrchr(alias->base, '/') : "", '.');
    if (!alias->base_len && alias->prefix_len && alias->prefix[alias->prefix_len - 1] == '/') {
        alias->why = "its path ends in a slash and its URL does not";
    }
}

void alias_read(apr_pool_t *p, const eligible_server_t *server, const struct proxy_alias *line, alias_t *alias)
{
    memset(alias, 0, sizeof *alias);
    alias->prefix = one_slash(p, line->fake);
    alias->prefix_len = (uint32_t)strlen(alias->prefix);
    alias->regex = line->regex;
    alias->real = line->real;
    if (strcmp(line->real, "!") == 0) {
        alias->kind = ALIAS_EXCLUDED;
        return;
    }
    alias->kind = strncasecmp(line->real, GATE_SCHEME, strlen(GATE_SCHEME)) == 0 ? ALIAS_GATE : ALIAS_OTHER;
    if (alias->kind == ALIAS_OTHER) {
        return;
    }
    alias->raw = (line->flags & PROXYPASS_NOCANON) != 0;
    read_url(p, alias);
    if (line->flags & ~(unsigned)(PROXYPASS_INTERPOLATE | PROXYPASS_NOCANON)) {
        alias->why = "noquery or mapping=";
    }
    read_sections(p, server, alias);
    read_worker(p, server, alias);
}

/* Any number of slashes is as good as one. */
static uint32_t match_with_slashes(const alias_t *alias, const char *path, uint32_t len)
{
    const char *at = path, *end = path + len, *fake = alias->prefix;

    while (*fake) {
        if (at == end || *at++ != *fake++) {
            return 0;
        }
        while (fake[-1] == '/' && at < end && *at == '/') {
            at++;
        }
    }
    return alias->prefix_len && (fake[-1] == '/' || at == end || *at == '/') ? (uint32_t)(at - path) : 0;
}

uint32_t alias_match(const alias_t *alias, const char *path, uint32_t len)
{
    if (alias->regex) {
        return ap_regexec_len(alias->regex, path, len, 0, NULL, 0) == 0 ? len : 0;
    }
    if (memmem(path, len, "//", 2)) {
        return match_with_slashes(alias, path, len);
    }
    if (len < alias->prefix_len || alias->prefix_len == 0 || memcmp(path, alias->prefix, alias->prefix_len) != 0) {
        return 0;
    }
    if (alias->prefix[alias->prefix_len - 1] != '/' && len > alias->prefix_len && path[alias->prefix_len] != '/') {
        return 0;
    }
    return alias->prefix_len;
}

int route_section_matches(const core_dir_config *section, const char *path, uint32_t len)
{
    size_t own = strlen(section->d);
    char copy[ROUTE_MATCH_BYTES];

    if (section->r) {
        return ap_regexec_len(section->r, path, len, 0, NULL, 0) == 0;
    }
    if (section->d_is_fnmatch) {
        if (len >= sizeof copy) {
            return 0; /* nobody asks */
        }
        memcpy(copy, path, len);
        copy[len] = '\0';
        return apr_fnmatch(section->d, copy, APR_FNM_PATHNAME) == APR_SUCCESS;
    }
    return len >= own && memcmp(path, section->d, own) == 0
           && (own == 0 || section->d[own - 1] == '/' || len == own || path[own] == '/');
}
