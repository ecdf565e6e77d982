/*
 * eligible_table.c - see eligible_table.h.
 * A module's row says what its directives are unless they are listed: a module without a row, or a directive that its row does not cover, is
 * unknown. Rows were made from what each module of httpd 2.4 does in the phases that a proxied request runs through (post_read_request,
 * translate_name, header_parser, access, type_checker, fixups, insert_filter, log_transaction); what acts on files, generates content or
 * belongs to the connection is neutral.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "eligible_table.h"

/* ---- words ------------------------------------------------------------------------------------------------------------------ */

int eligible_next_word(const char **args, char *buf, int size)
{
    const char *at = *args;
    char quote = 0;
    int len = 0;

    while (isspace((unsigned char)*at)) {
        at++;
    }
    if (!*at) {
        *args = at;
        return -1;
    }
    if (*at == '"' || *at == '\'') {
        quote = *at++;
    }
    while (*at && (quote ? *at != quote : !isspace((unsigned char)*at))) {
        if (*at == '\\' && (at[1] == '\\' || (quote && at[1] == quote))) {
            at++;
        }
        if (len < size - 1) {
            buf[len++] = *at;
        }
        at++;
    }
    if (quote && *at == quote) {
        at++;
    }
    buf[len] = '\0';
    *args = at;
    return len;
}

int eligible_listed(const char *word, const char *list)
{
    size_t len = strlen(word);

    while (list && *list) {
        size_t one = strcspn(list, " ");

        if (one == len && strncasecmp(list, word, len) == 0) {
            return 1;
        }
        list += one;
        list += strspn(list, " ");
    }
    return 0;
}

/* ---- what depends on the arguments ------------------------------------------------------------------------------------------ */

typedef eligible_word_t check_fn(const char *args, unsigned doors);

static eligible_word_t neutral(void)
{
    return (eligible_word_t){ ELIGIBLE_NEUTRAL, 0, NULL };
}

static eligible_word_t honoured(unsigned needs)
{
    return (eligible_word_t){ ELIGIBLE_HONOURED, needs, NULL };
}

static eligible_word_t classic(const char *why)
{
    return (eligible_word_t){ ELIGIBLE_CLASSIC, 0, why };
}

static int first_is(const char *args, const char *list)
{
    char word[64];

    return eligible_next_word(&args, word, sizeof word) > 0 && eligible_listed(word, list);
}

/* Directives that are switched on by a word: off, none and the like are neutral. */
static eligible_word_t check_off(const char *args, unsigned doors)
{
    (void)doors;
    return first_is(args, "off no none disabled 0") ? neutral() : classic(NULL);
}

static eligible_word_t check_canonical(const char *args, unsigned doors)
{
    (void)doors;
    return first_is(args, "dns") ? classic("names are looked up") : neutral();
}

static eligible_word_t check_on(const char *args, unsigned doors)
{
    (void)doors;
    return first_is(args, "on") ? neutral() : classic(NULL);
}

/* Options only choose what is done with files, but for MultiViews, which looks around by sub-requests. */
static eligible_word_t check_options(const char *args, unsigned doors)
{
    char word[64];

    (void)doors;
    while (eligible_next_word(&args, word, sizeof word) >= 0) {
        if (eligible_listed(word, "MultiViews +MultiViews")) {
            return classic("MultiViews");
        }
    }
    return neutral();
}

/* Output filters that run on a loop as well as on a thread: they only transform bytes. */
static int are_filters_known(const char *filters)
{
    char one[256];

    while (*filters) {
        size_t len = strcspn(filters, ";");

        if (len == 0 || len >= sizeof one) {
            return 0;
        }
        memcpy(one, filters, len);
        one[len] = '\0';
        if (!eligible_listed(one, "DEFLATE BROTLI_COMPRESS INFLATE SUBSTITUTE Sed")) {
            return 0;
        }
        filters += len + (filters[len] == ';');
    }
    return 1;
}

static eligible_word_t check_filters(const char *args, unsigned doors)
{
    char word[256];

    (void)doors;
    if (eligible_next_word(&args, word, sizeof word) > 0 && (strcasecmp(word, "none") == 0 || are_filters_known(word))) {
        return honoured(ELIGIBLE_OUTPUT);
    }
    return classic("a filter that the engine does not run");
}

/* Variables that change how HTTP is spoken, with the client or with a member. */
int eligible_special_variable(const char *name)
{
    return eligible_listed(name, "nokeepalive downgrade-1.0 force-response-1.0 force-no-vary redirect-carefully suppress-error-charset no-proxy "
                        "no-cache no-cache-everywhere ssl-unclean-shutdown ssl-accurate-shutdown ssl-secure-reneg")
           || strncasecmp(name, "proxy-", 6) == 0 || strncasecmp(name, "force-proxy-", 12) == 0;
}

static eligible_word_t check_set_env(const char *args, unsigned doors)
{
    char word[256];

    (void)doors;
    while (eligible_next_word(&args, word, sizeof word) >= 0) {
        word[strcspn(word, "=")] = '\0';
        if (eligible_special_variable(word)) {
            return classic("a variable that changes how HTTP is spoken");
        }
    }
    return honoured(ELIGIBLE_ENV);
}

/* SetEnv takes a name and a value that may be anything. */
static eligible_word_t check_set_env_one(const char *args, unsigned doors)
{
    char word[256];

    (void)doors;
    if (eligible_next_word(&args, word, sizeof word) < 0 || eligible_special_variable(word)) {
        return classic("a variable that changes how HTTP is spoken");
    }
    return honoured(ELIGIBLE_ENV);
}

/* Do the assignments after a pattern set or unset special variables? */
static int sets_special(const char *args)
{
    char word[256];

    while (eligible_next_word(&args, word, sizeof word) >= 0) {
        const char *name = *word == '!' ? word + 1 : word;

        word[strcspn(word, "=")] = '\0';
        if (eligible_special_variable(name)) {
            return 1;
        }
    }
    return 0;
}

static eligible_word_t check_browser(const char *args, unsigned doors)
{
    char word[1024];

    (void)doors;
    if (eligible_next_word(&args, word, sizeof word) < 0) {
        return classic(NULL);
    }
    return honoured(sets_special(args) ? ELIGIBLE_BROWSER : ELIGIBLE_ENV); /* who matches goes classic; nothing is set for others */
}

static eligible_word_t check_set_env_if(const char *args, unsigned doors)
{
    char attribute[256], pattern[1024];

    (void)doors;
    if (eligible_next_word(&args, attribute, sizeof attribute) < 0 || eligible_next_word(&args, pattern, sizeof pattern) < 0) {
        return classic(NULL);
    }
    if (eligible_listed(attribute, "Remote_Host")) {
        return classic("it looks up the client's name");
    }
    return sets_special(args) ? classic("a variable that changes how HTTP is spoken") : honoured(ELIGIBLE_ENV);
}

static eligible_word_t check_set_env_if_expr(const char *args, unsigned doors)
{
    char word[1024];

    (void)doors;
    if (eligible_next_word(&args, word, sizeof word) < 0 || strcasestr(word, "REMOTE_HOST") || sets_special(args)) {
        return classic("a variable that changes how HTTP is spoken, or a look-up");
    }
    return honoured(ELIGIBLE_ENV);
}

/* Providers that need neither a user nor a look-up. */
static eligible_word_t check_require(const char *args, unsigned doors)
{
    char word[64];
    int len = eligible_next_word(&args, word, sizeof word);

    (void)doors;
    if (len > 0 && strcasecmp(word, "not") == 0) {
        len = eligible_next_word(&args, word, sizeof word);
    }
    if (len > 0 && eligible_listed(word, "all ip local gate-set gate-country")) {
        return honoured(ELIGIBLE_AUTHZ);
    }
    if (len > 0 && eligible_listed(word, "method env")) {
        return honoured(ELIGIBLE_AUTHZ | ELIGIBLE_AUTHZ_REQUEST);
    }
    return classic("a user, a name or an expression is asked for");
}

/* mod_access_compat: "from" addresses only. */
static eligible_word_t check_allow(const char *args, unsigned doors)
{
    char word[256];

    (void)doors;
    if (eligible_next_word(&args, word, sizeof word) < 0 || strcasecmp(word, "from") != 0) {
        return classic(NULL);
    }
    while (eligible_next_word(&args, word, sizeof word) >= 0) {
        size_t len = strlen(word);

        if (strcasecmp(word, "all") != 0 && strspn(word, "0123456789./") != len
            && (!strchr(word, ':') || strspn(word, "0123456789abcdefABCDEF.:/") != len)) {
            return classic("a name or a variable is asked for");
        }
    }
    return honoured(ELIGIBLE_AUTHZ);
}

static eligible_word_t check_ssl_verify(const char *args, unsigned doors)
{
    (void)doors;
    return first_is(args, "none") ? neutral() : classic("clients show certificates");
}

static eligible_word_t check_ssl_engine(const char *args, unsigned doors)
{
    (void)doors;
    return first_is(args, "optional") ? classic("connections are upgraded to TLS") : neutral();
}

static eligible_word_t check_max_forwards(const char *args, unsigned doors)
{
    (void)doors;
    return first_is(args, "-1") ? neutral() : classic(NULL);
}

static eligible_word_t check_bad_header(const char *args, unsigned doors)
{
    (void)doors;
    return first_is(args, "IsError") ? neutral() : classic(NULL);
}

static eligible_word_t check_http_options(const char *args, unsigned doors)
{
    char word[64];

    (void)doors;
    while (eligible_next_word(&args, word, sizeof word) >= 0) {
        if (strcasecmp(word, "Unsafe") == 0) {
            return classic("Unsafe");
        }
    }
    return neutral();
}

static eligible_word_t check_limit(const char *args, unsigned doors)
{
    (void)args;
    return doors & ELIGIBLE_LIMIT ? honoured(ELIGIBLE_LIMIT) : classic(NULL);
}

static eligible_word_t check_select(const char *args, unsigned doors)
{
    (void)args;
    return doors & ELIGIBLE_SELECT ? honoured(ELIGIBLE_SELECT) : classic(NULL);
}

static eligible_word_t check_cache(const char *args, unsigned doors)
{
    if (first_is(args, "off")) {
        return neutral();
    }
    return doors & ELIGIBLE_CACHE ? honoured(ELIGIBLE_CACHE) : classic(NULL);
}

/* Header and RequestHeader: header_ops.c reads them and knows which are literal. */
static eligible_word_t check_header(const char *args, unsigned doors)
{
    (void)args, (void)doors;
    return honoured(ELIGIBLE_HEADERS);
}

static eligible_word_t check_log(const char *args, unsigned doors)
{
    (void)args, (void)doors;
    return honoured(ELIGIBLE_LOG);
}

static eligible_word_t check_remote(const char *args, unsigned doors)
{
    (void)args, (void)doors;
    return honoured(ELIGIBLE_REMOTE);
}

/* What is done on an answer's way through httpd's filters, unless it is off. */
static eligible_word_t check_by_filter(const char *args, unsigned doors)
{
    (void)doors;
    return first_is(args, "off") ? neutral() : honoured(ELIGIBLE_ANSWER);
}

/* They fill variables, which are filled on the engine's request too, or concern client certificates, without which they do nothing. */
static eligible_word_t check_ssl_options(const char *args, unsigned doors)
{
    (void)doors;
    return strcasestr(args, "FakeBasicAuth") ? classic("FakeBasicAuth") : neutral();
}

static eligible_word_t check_ssl_required(const char *args, unsigned doors)
{
    (void)args, (void)doors;
    return honoured(ELIGIBLE_TLS);
}

static eligible_word_t check_order(const char *args, unsigned doors)
{
    (void)args, (void)doors;
    return honoured(ELIGIBLE_AUTHZ);
}

/* ---- the table -------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *module;
    const char *neutral;        /* directives; "*": all that are not listed elsewhere */
    const char *classic;
} row_t;

static const row_t rows[] = {
    { "core.c",
      "<Directory <DirectoryMatch <Files <FilesMatch <VirtualHost <Location <LocationMatch <IfModule <IfDefine <IfFile <IfDirective "
      "<IfSection GprofDir AcceptPathInfo Define UnDefine Error AccessFileName DocumentRoot ErrorDocument AllowOverride AllowOverrideList "
      "DefaultType FileETag EnableMMAP EnableSendfile ReadBufferSize FlushMaxThreshold FlushMaxPipelined UNCList Protocol AcceptFilter Port "
      "ServerAdmin ServerName ServerSignature ServerRoot DefaultRuntimeDir ErrorLog ErrorLogFormat ServerAlias ServerPath Timeout "
      "ContentDigest Include IncludeOptional LogLevel NameVirtualHost ServerTokens LimitRequestLine LimitRequestFieldsize "
      "LimitRequestFields LimitRequestBody LimitXMLRequestBody Mutex MaxRanges MaxRangeOverlaps MaxRangeReversals RLimitCPU RLimitMEM "
      "RLimitNPROC RegexDefaultOptions LimitInternalRecursion CGIPassAuth CGIVar QualifyRedirectURL UseCanonicalPhysicalPort AllowEncodedSlashes ScoreBoardFile "
      "ExtendedStatus SeeRequestTail PidFile MaxRequestsPerChild MaxConnectionsPerChild CoreDumpDirectory MaxMemFree ThreadStackSize "
      "EnableExceptionHook TraceEnable Protocols ProtocolsHonorOrder RegisterHttpMethod MergeSlashes ReceiveBufferSize Listen ListenBacklog "
      "ListenCoresBucketsRatio SendBufferSize User Group Warning",
      "<If <ElseIf <Else <Limit <LimitExcept SetInputFilter ForceType" },
    { "http_core.c", "KeepAliveTimeout MaxKeepAliveRequests KeepAlive", NULL },
    { "event.c", "*", NULL }, { "worker.c", "*", NULL }, { "prefork.c", "*", NULL },
    { "mod_so.c", "*", NULL }, { "mod_unixd.c", "*", NULL }, { "mod_systemd.c", "*", NULL }, { "mod_watchdog.c", "*", NULL },
    { "mod_version.c", "*", NULL }, { "mod_macro.c", "*", NULL },
    { "mod_log_config.c", "LogFormat BufferedLogs CookieLog", NULL },
    { "mod_logio.c", NULL, NULL }, { "mod_log_forensic.c", NULL, NULL }, { "mod_log_debug.c", NULL, "LogMessage" },
    /* content, and names of files: a proxied request has neither */
    { "mod_alias.c", "Alias AliasMatch ScriptAlias ScriptAliasMatch AliasPreservePath RedirectRelative", NULL },
    { "mod_actions.c", "*", NULL }, { "mod_asis.c", "*", NULL }, { "mod_autoindex.c", "*", NULL }, { "mod_cgi.c", "*", NULL },
    { "mod_cgid.c", "*", NULL }, { "mod_dir.c", "*", NULL }, { "mod_imagemap.c", "*", NULL }, { "mod_include.c", "*", NULL },
    { "mod_info.c", "*", NULL }, { "mod_status.c", "*", NULL }, { "mod_negotiation.c", "*", NULL }, { "mod_mime_magic.c", "*", NULL },
    { "mod_userdir.c", "*", NULL }, { "mod_vhost_alias.c", "*", NULL }, { "mod_data.c", "*", NULL }, { "mod_file_cache.c", "*", NULL },
    { "mod_cern_meta.c", "*", NULL }, { "mod_suexec.c", "*", NULL }, { "mod_heartbeat.c", "*", NULL }, { "mod_heartmonitor.c", "*", NULL },
    { "mod_dav_fs.c", "*", NULL }, { "mod_dav_lock.c", "*", NULL }, { "mod_dav.c", "*", "Dav" }, { "mod_speling.c", "*", NULL },
    { "mod_dbd.c", "*", NULL }, { "mod_ldap.c", "*", NULL }, { "util_ldap.c", "*", NULL }, { "mod_echo.c", "*", NULL }, { "mod_md.c", "*", NULL },
    { "mod_http2.c", "*", "H2PushResource H2EarlyHint H2EarlyHints H2ProxyRequests" },
    { "mod_slotmem_shm.c", "*", NULL }, { "mod_slotmem_plain.c", "*", NULL }, { "mod_socache_shmcb.c", "*", NULL },
    { "mod_socache_dbm.c", "*", NULL }, { "mod_socache_memcache.c", "*", NULL }, { "mod_socache_redis.c", "*", NULL },
    { "mod_dumpio.c", "*", NULL }, { "mod_unique_id.c", "*", NULL },
    /* runs on the path's extension: see route_type.c */
    { "mod_mime.c", "*", "DefaultLanguage" },
    /* filters that are only there when a directive puts them there */
    { "mod_filter.c", NULL, NULL }, { "mod_deflate.c", "*", NULL }, { "mod_brotli.c", "*", NULL }, { "mod_sed.c", "*", NULL },
    { "mod_substitute.c", "*", NULL }, { "mod_ratelimit.c", "*", NULL }, { "mod_buffer.c", "*", NULL }, { "mod_ext_filter.c", "*", NULL },
    { "mod_xml2enc.c", "*", NULL }, { "mod_reflector.c", "*", NULL }, { "mod_charset_lite.c", NULL, NULL }, { "mod_request.c", NULL, NULL },
    { "mod_reqtimeout.c", "*", NULL }, { "mod_bucketeer.c", "*", NULL }, { "mod_case_filter.c", NULL, NULL },
    { "mod_case_filter_in.c", NULL, NULL },
    { "mod_expires.c", "ExpiresByType ExpiresDefault", NULL }, { "mod_proxy_html.c", "*", NULL },
    /* access: idle without Require, AuthType and the like, which are looked at one by one */
    { "mod_authz_core.c", "<RequireAll <RequireAny <RequireNone <AuthzProviderAlias AuthMerging AuthzSendForbiddenOnFailure", NULL },
    { "mod_authz_host.c", "*", NULL }, { "mod_authz_user.c", "*", NULL }, { "mod_authz_groupfile.c", "*", NULL },
    { "mod_authz_owner.c", "*", NULL }, { "mod_authz_dbm.c", "*", NULL }, { "mod_authz_dbd.c", "*", NULL },
    { "mod_authnz_ldap.c", "*", NULL }, { "mod_authnz_fcgi.c", "*", NULL },
    { "mod_authn_core.c", "AuthName <AuthnProviderAlias", NULL }, { "mod_authn_file.c", "*", NULL }, { "mod_authn_anon.c", "*", NULL },
    { "mod_authn_dbm.c", "*", NULL }, { "mod_authn_dbd.c", "*", NULL }, { "mod_authn_socache.c", "*", NULL },
    { "mod_auth_basic.c", "*", NULL }, { "mod_auth_digest.c", "*", NULL }, { "mod_auth_form.c", "*", NULL },
    { "mod_access_compat.c", NULL, "Satisfy" }, { "mod_allowmethods.c", NULL, "AllowMethods" },
    { "mod_session.c", "*", NULL }, { "mod_session_cookie.c", "*", NULL }, { "mod_session_crypto.c", "*", NULL },
    { "mod_session_dbd.c", "*", NULL },
    { "mod_env.c", NULL, NULL }, { "mod_setenvif.c", NULL, NULL }, { "mod_headers.c", NULL, NULL },
    { "mod_usertrack.c", "*", NULL }, { "mod_ident.c", "*", NULL },
    { "mod_remoteip.c", "*", NULL },
    { "mod_rewrite.c", "*", NULL },
    { "mod_cache.c", "*", "CacheEnable" }, { "mod_cache_disk.c", "*", NULL }, { "mod_cache_socache.c", "*", NULL },
    { "mod_lua.c", NULL, NULL },
    { "mod_ssl.c", "*", "SSLRequire SSLUserName" },
    { "mod_proxy.c",
      "<Proxy <ProxyMatch ProxyPass ProxyPassMatch ProxySet BalancerMember BalancerGrowth BalancerPersist BalancerInherit ProxyPassInherit "
      "ProxyStatus ProxyReceiveBufferSize ProxyIOBufferSize ProxyVia ProxyPreserveHost ProxyAddHeaders ProxyTimeout "
      "ProxyErrorOverride ProxyPassReverse ProxyPassReverseCookiePath ProxyPassReverseCookieDomain",
      "ProxyBlock ProxyRemote ProxyRemoteMatch NoProxy ProxyDomain ProxySourceAddress" },
    { "mod_proxy_ajp.c", "*", NULL }, { "mod_proxy_balancer.c", "*", NULL }, { "mod_proxy_connect.c", "*", NULL },
    { "mod_proxy_fcgi.c", "*", NULL }, { "mod_proxy_fdpass.c", "*", NULL }, { "mod_proxy_ftp.c", "*", NULL },
    { "mod_proxy_hcheck.c", "*", NULL }, { "mod_proxy_http.c", "*", NULL }, { "mod_proxy_http2.c", "*", NULL },
    { "mod_proxy_scgi.c", "*", NULL }, { "mod_proxy_uwsgi.c", "*", NULL }, { "mod_proxy_wstunnel.c", "*", NULL },
    { "mod_proxy_express.c", "*", NULL },
    { "mod_lbmethod_bybusyness.c", "*", NULL }, { "mod_lbmethod_byrequests.c", "*", NULL }, { "mod_lbmethod_bytraffic.c", "*", NULL },
    { "mod_lbmethod_heartbeat.c", "*", NULL },
    /* others that Debian has and that only make content */
    { "mod_php.c", "*", NULL }, { "mod_php7.c", "*", NULL }, { "mod_php8.c", "*", NULL },
    { "mod_wsgi.c", "*", "WSGIAccessScript" }, { "mod_fcgid.c", "*", "FcgidAccessChecker" },
    /* ours: what they do with a request, the engine does by their doors */
    { "mod_gate.c", "*", NULL }, { "mod_gate_upstream.c", "*", NULL }, { "mod_gate_health.c", "*", NULL },
    { "mod_gate_cache.c", "*", NULL }, { "mod_gate_access.c", "*", NULL }, { "mod_gate_status.c", "*", NULL },
    { "mod_gate_engine.c", "*", NULL }
};

static const struct {
    const char *module, *names;
    check_fn *check;
} checks[] = {
    { "core.c", "HostnameLookups StrictHostCheck MergeTrailers SetHandler", check_off },
    { "core.c", "UseCanonicalName", check_canonical },
    { "core.c", "AddDefaultCharset", check_by_filter },
    { "core.c", "Options", check_options },
    { "core.c", "SetOutputFilter", check_filters },
    { "core.c", "HttpProtocolOptions", check_http_options },
    { "mod_log_config.c", "CustomLog GlobalLog TransferLog", check_log },
    { "mod_logio.c", "LogIOTrackTTFB", check_off },
    { "mod_filter.c", "AddOutputFilterByType", check_filters },
    { "mod_expires.c", "ExpiresActive", check_by_filter },
    { "mod_proxy_html.c", "ProxyHTMLEnable", check_off },
    { "mod_authz_core.c", "Require", check_require },
    { "mod_authn_core.c", "AuthType", check_off },
    { "mod_access_compat.c", "Allow Deny", check_allow },
    { "mod_access_compat.c", "Order", check_order },
    { "mod_session.c", "Session", check_off },
    { "mod_env.c", "SetEnv", check_set_env_one },
    { "mod_env.c", "PassEnv UnsetEnv", check_set_env },
    { "mod_setenvif.c", "BrowserMatch BrowserMatchNoCase", check_browser },
    { "mod_setenvif.c", "SetEnvIf SetEnvIfNoCase", check_set_env_if },
    { "mod_setenvif.c", "SetEnvIfExpr", check_set_env_if_expr },
    { "mod_headers.c", "Header RequestHeader", check_header },
    { "mod_usertrack.c", "CookieTracking", check_off },
    { "mod_ident.c", "IdentityCheck", check_off },
    { "mod_speling.c", "CheckSpelling", check_off },
    { "mod_md.c", "MDRequireHttps", check_off },
    { "mod_remoteip.c", "RemoteIPProxyProtocol", check_off },
    { "mod_remoteip.c", "RemoteIPHeader RemoteIPProxiesHeader", check_remote },
    { "mod_proxy_express.c", "ProxyExpressEnable", check_off },
    { "mod_ssl.c", "SSLVerifyClient", check_ssl_verify },
    { "mod_ssl.c", "SSLOptions", check_ssl_options },
    { "mod_ssl.c", "SSLRequireSSL", check_ssl_required },
    { "mod_ssl.c", "SSLEngine", check_ssl_engine },
    { "mod_proxy.c", "ProxyRequests ProxyPassInterpolateEnv", check_off },
    { "mod_proxy.c", "ProxyMaxForwards", check_max_forwards },
    { "mod_proxy.c", "Proxy100Continue", check_on },
    { "mod_proxy.c", "ProxyBadHeader", check_bad_header },
    { "mod_gate_access.c", "GateLimit GateBan", check_limit },
    { "mod_gate_upstream.c", "GateSelect", check_select },
    { "mod_gate_cache.c", "GateCache", check_cache }
};

/* In a <Location> or <Proxy> these mean something else than in a server. */
static const char redirects[] = "Redirect RedirectMatch RedirectTemp RedirectPermanent";

static const row_t *row_of(const char *module)
{
    size_t i;

    for (i = 0; module && i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].module, module) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

int eligible_module(const char *module)
{
    return row_of(module) != NULL;
}

eligible_word_t eligible_directive(const char *module, const char *name, const char *args, int in_section, unsigned doors)
{
    const row_t *row = row_of(module);
    eligible_word_t unknown = { ELIGIBLE_UNKNOWN, 0, NULL };
    size_t i;

    if (!row) {
        return unknown;
    }
    for (i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (strcmp(checks[i].module, module) == 0 && eligible_listed(name, checks[i].names)) {
            return checks[i].check(args ? args : "", doors);
        }
    }
    if (strcmp(module, "mod_alias.c") == 0 && eligible_listed(name, redirects)) {
        return in_section ? classic(NULL) : neutral(); /* a server's redirects come after its ProxyPass lines */
    }
    if (strcmp(module, "mod_rewrite.c") == 0) {
        return eligible_rewrite(name, args ? args : "", in_section);
    }
    if (in_section && strcmp(module, "mod_ssl.c") == 0 && strncasecmp(name, "SSLProxy", 8) != 0) {
        return classic(NULL);
    }
    if (eligible_listed(name, row->classic)) {
        return classic(NULL);
    }
    if (eligible_listed(name, row->neutral) || (row->neutral && strcmp(row->neutral, "*") == 0)) {
        return neutral();
    }
    return unknown;
}
