/* cache_purge.c - purges as people name them: the PURGE method, and what the admin API calls */
#include "cache.h"

#include <string.h>
#include <apr_buckets.h>
#include <util_filter.h>

APLOG_USE_MODULE(gate_cache);

/* By URL: in every form that a GateCacheKey of this configuration gives it. */
static uint64_t purge_url(apr_pool_t *p, const char *what, const char *base, int soft, int *bad)
{
    const gate_key_rule_t *const *rules = cache_config_rules(p);
    const char *plain = gate_key_absolute(p, what, base, NULL), *last = plain;
    uint64_t n;

    *bad = !plain;
    if (!plain) {
        return 0;
    }
    n = gate_purge(cache_store, GATE_PURGE_URL, plain, soft);
    for (; *rules; rules++) {
        const char *url = gate_key_absolute(p, what, base, *rules);
        if (url && strcmp(url, plain) && strcmp(url, last)) {
            n += gate_purge(cache_store, GATE_PURGE_URL, url, soft);
            last = url;
        }
    }
    return n;
}

int64_t cache_purge(apr_pool_t *p, gate_purge_e kind, const char *what, const char *base, int soft, const char **why)
{
    uint64_t n = 0;
    int bad = 0;

    if (kind == GATE_PURGE_URL) {
        n = purge_url(p, what, base, soft, &bad);
    }
    else if (kind == GATE_PURGE_PREFIX) {
        const char *prefix = gate_key_absolute(p, what, base, NULL);
        bad = !prefix;
        n = prefix ? gate_purge(cache_store, kind, prefix, soft) : 0;
    }
    else {
        n = gate_purge(cache_store, kind, what ? what : "", soft);
    }
    if (bad) {
        if (why) {
            *why = "is no http or https URL";
        }
        return -1;
    }
    cache_count(GATE_COUNT_purges, 1);
    cache_count(GATE_COUNT_purged, n);
    return (int64_t)n;
}

static int answer(request_rec *r, int64_t n)
{
    char *text = apr_psprintf(r->pool, "{\"purged\":%" APR_INT64_T_FMT "}\n", n);

    r->status = HTTP_OK;
    ap_set_content_type(r, "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t)strlen(text));
    ap_rputs(text, r);
    return OK;
}

/*
 * PURGE /path: this URL, all variants. Gatehouse-Purge says more, words parted by commas: soft, prefix (everything that begins
 * so), all; tag="x" may come several times.
 */
int cache_purge_request(request_rec *r)
{
    const char *words = gate_field(r->pool, r->headers_in, "Gatehouse-Purge"), *member, *base;
    int soft = gate_list_has(words, "soft"), prefix = gate_list_has(words, "prefix"), tags = 0;
    int64_t n = 0;
    size_t len;
    int rc = ap_discard_request_body(r);

    if (rc != OK) {
        return rc;
    }
    base = gate_key_url(r->pool, ap_http_scheme(r), r->hostname ? r->hostname : r->server->server_hostname,
                        ap_get_server_port(r), r->unparsed_uri, NULL);
    if (!base) {
        return HTTP_BAD_REQUEST;
    }
    if (gate_list_has(words, "all")) {
        n = cache_purge(r->pool, GATE_PURGE_ALL, NULL, NULL, soft, NULL);
    }
    else {
        while (words && gate_list_next(&words, &member, &len)) {
            const char *value;
            int quoted;

            if (gate_pair(r->pool, member, len, &value, &quoted) == 3 && !strncasecmp(member, "tag", 3) && value) {
                tags++;
                n += cache_purge(r->pool, GATE_PURGE_TAG, value, NULL, soft, NULL);
            }
        }
        if (!tags) {
            n = cache_purge(r->pool, prefix ? GATE_PURGE_PREFIX : GATE_PURGE_URL, base, NULL, soft, NULL);
        }
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, GATE_LOGNO(0720) "cache: PURGE of %s%s%s: %" APR_INT64_T_FMT " objects", base,
                  prefix ? " and below" : tags ? " (by tags)" : "", soft ? ", softly" : "", n);
    return answer(r, n);
}
