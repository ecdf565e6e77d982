/*
 * route_path.c - paths as httpd has them: decoded and in their normal form for sections and ProxyPass lines, encoded again for members. By
 * httpd's and mod_proxy's own functions, in the order in which a request meets them; see route_inside.h.
 */
#include <string.h>

#include <httpd.h>
#include <http_core.h>
#include <apr_strings.h>

#include "route_inside.h"

/* ---- from the target -------------------------------------------------------------------------------------------------------- */

span_t route_path_sent(const request_head_t *head)
{
    span_t path = head->target;
    const char *end;

    while (path.len > 1 && path.at[0] == '/' && path.at[1] == '/') { /* it would be taken for a host */
        path.at++;
        path.len--;
    }
    end = memchr(path.at, '?', path.len);
    if (end) {
        path.len = (uint32_t)(end - path.at);
    }
    return path;
}

static int has_two_slashes(const char *path)
{
    return strstr(path, "//") != NULL;
}

/* @return 0: it is refused, or somebody may want it as it is */
static int normalise(const server_rec *server, char *path)
{
    const core_server_config *core = ap_get_core_module_config(server->module_config);
    const core_dir_config *dir = ap_get_core_module_config(server->lookup_defaults);
    unsigned how = AP_NORMALIZE_NOT_ABOVE_ROOT, unescape = AP_UNESCAPE_URL_KEEP_UNRESERVED;

    if (core->merge_slashes != AP_CORE_CONFIG_OFF) {
        how |= AP_NORMALIZE_MERGE_SLASHES;
    }
    if (!dir->allow_encoded_slashes) {
        unescape |= AP_UNESCAPE_URL_FORBID_SLASHES;
    }
    else if (!dir->decode_encoded_slashes) {
        unescape |= AP_UNESCAPE_URL_KEEP_SLASHES;
    }
    if (!ap_normalize_path(path, how | AP_NORMALIZE_DECODE_UNRESERVED) || ap_unescape_url_ex(path, unescape) != OK) {
        return 0;
    }
    return !(dir->allow_encoded_slashes && dir->decode_encoded_slashes) || ap_normalize_path(path, how);
}

int route_path_read(const server_rec *server, const request_head_t *head, route_path_t *path)
{
    span_t sent = route_path_sent(head);

    if (sent.len >= sizeof path->uri || memchr(sent.at, '#', sent.len)) {
        return 0;
    }
    memcpy(path->uri, sent.at, sent.len);
    path->uri[sent.len] = '\0';
    if (!normalise(server, path->uri)) {
        return 0;
    }
    path->len = (uint32_t)strlen(path->uri);
    path->two_slashes = has_two_slashes(path->uri);
    if (path->two_slashes) { /* MergeSlashes Off: sections have them merged all the same, patterns do not */
        memcpy(path->merged, path->uri, path->len + 1);
        ap_no2slash(path->merged);
    }
    return 1;
}

/* ---- for the member --------------------------------------------------------------------------------------------------------- */

/* What a ProxyPass line makes of it: "gate://app/.." @return NULL: the classic plane has to say */
static const char *mapped_by(const alias_t *alias, const char *uri, const char *raw, apr_pool_t *p)
{
    const char *use = alias->raw ? raw : uri;
    ap_regmatch_t at[AP_MAX_REG_MATCH];
    const char *found;
    uint32_t len;

    if (!alias->regex) {
        len = alias_match(alias, uri, (uint32_t)strlen(uri));
        if (!len || (alias->raw && alias_match(alias, raw, (uint32_t)strlen(raw)) != len)) {
            return NULL;
        }
        return apr_pstrcat(p, alias->real, use + len, NULL);
    }
    if (ap_regexec(alias->regex, use, AP_MAX_REG_MATCH, at, 0) != 0) {
        return NULL;
    }
    found = ap_pregsub(p, alias->real, use, AP_MAX_REG_MATCH, at);
    return found && strcmp(found, alias->real) == 0 ? apr_pstrcat(p, found, use, NULL) : found;
}

/* @return its path; NULL: it is another group's, or has none that can be told */
static const char *behind_group(const alias_t *alias, const char *url)
{
    size_t group = strlen(GATE_SCHEME) + strlen(alias->group);

    if (strlen(url) < group || strncmp(url, alias->real, group) != 0) {
        return NULL;
    }
    return url[group] == '/' ? url + group : url[group] == '\0' ? "/" : NULL;
}

/* As upstream_canon() encodes it. @return NULL: it cannot be */
static const char *encoded(const route_t *route, const char *path, apr_pool_t *p)
{
    const core_dir_config *core = ap_get_core_module_config(route->dir_conf);
    int keep = core->allow_encoded_slashes && !core->decode_encoded_slashes;

    return ap_proxy_canonenc_ex(p, path, (int)strlen(path), enc_path, keep ? PROXY_CANONENC_NOENCODEDSLASHENCODING : 0, PROXYREQ_REVERSE);
}

const char *route_path_for_member(const route_t *route, const request_head_t *head, apr_pool_t *p, const char **mapped)
{
    const alias_t *alias = route->env->alias;
    const char *raw = apr_pstrmemdup(p, head->target.at, head->target.len), *path;
    const char *url = mapped_by(alias, apr_pstrmemdup(p, head->path.at, head->path.len), raw, p);

    *mapped = url ? behind_group(alias, url) : NULL;
    if (!*mapped) {
        return NULL;
    }
    if (alias->raw) {
        return *mapped;
    }
    path = encoded(route, *mapped + 1, p);
    if (!path || *ap_scan_vchar_obstext(path)) {
        return NULL;
    }
    return apr_pstrcat(p, "/", path, head->query.at ? "?" : "", head->query.at ? apr_pstrmemdup(p, head->query.at, head->query.len) : "", NULL);
}

/* @return NULL, or why it is classic */
static const char *make_other_path(route_table_t *table, const route_t *route, const request_head_t *head, span_t *path, span_t *mapped)
{
    const char *raw, *encoded = route_path_for_member(route, head, table->scratch, &raw);
    size_t len = encoded ? strlen(encoded) : 0, raw_len = encoded ? strcspn(raw, route->env->alias->raw ? "?" : "") : 0;

    if (!encoded || len > sizeof table->path || raw_len > sizeof table->mapped) {
        apr_pool_clear(table->scratch);
        return encoded ? "the path is very long" : "its ProxyPass makes no path of it that can be told";
    }
    memcpy(table->path, encoded, len);
    memcpy(table->mapped, raw, raw_len);
    *path = (span_t){ table->path, (uint32_t)len };
    *mapped = (span_t){ table->mapped, (uint32_t)raw_len };
    apr_pool_clear(table->scratch);
    return NULL;
}

/*
 * Base and the rest of the target: borrowed from the target where they stand there in one piece.
 * @param mapped  the same without the query; a base that stands alone has no name with a dot
 */
static int make_plain_path(route_table_t *table, const alias_t *alias, const request_head_t *head, span_t *path, span_t *mapped)
{
    const char *rest = head->target.at + alias->prefix_len;
    uint32_t rest_len = head->target.len - alias->prefix_len;

    *mapped = head->path.len > alias->prefix_len ? head->path : (span_t){ "/", 1 };
    if (alias->base_len == 1 && alias->prefix_len && alias->prefix[alias->prefix_len - 1] == '/') {
        *path = (span_t){ rest - 1, rest_len + 1 };
        return 1;
    }
    if (alias->base_len == 0 && rest_len && *rest == '/') {
        *path = (span_t){ rest, rest_len };
        return 1;
    }
    if (alias->base_len + rest_len + 1 > ROUTE_PATH_BYTES) {
        return 0;
    }
    if (alias->base_len == 0) { /* a query, or nothing */
        table->path[0] = '/';
        memcpy(table->path + 1, rest, rest_len);
        *path = (span_t){ table->path, rest_len + 1 };
        return 1;
    }
    memcpy(table->path, alias->base, alias->base_len);
    memcpy(table->path + alias->base_len, rest, rest_len);
    *path = (span_t){ table->path, alias->base_len + rest_len };
    return 1;
}

const char *route_path_make(route_table_t *table, const route_t *route, const request_head_t *head, span_t *path, span_t *mapped)
{
    if (!head->plain_path || route->env->alias->whole) {
        return make_other_path(table, route, head, path, mapped);
    }
    return make_plain_path(table, route->env->alias, head, path, mapped) ? NULL : "the path is very long";
}
