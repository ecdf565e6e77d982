/*
 * fuzz_parse_url.c - URLs of members: whatever is taken has a clean host, port and path, and reads the same in its normal form.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "gate_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static apr_pool_t *pool;

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static void require_clean(const char *text, const char *never)
{
    for (; *text != '\0'; text++) {
        require(*text > 0x20 && *text < 0x7f && strchr(never, *text) == NULL);
    }
}

static void check_parts(const gate_url_t *url)
{
    require(*url->host != '\0');
    require_clean(url->host, "/@?#[]%|ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    require_clean(url->path, "?#\\\"<>|");
    require_clean(url->authority, url->unix_path != NULL ? "?#" : "@?#");
    require(*url->path == '\0' || (url->path[0] == '/' && url->path[strlen(url->path) - 1] != '/'));
    require(strstr(url->path, "/../") == NULL && strstr(url->path, "//") == NULL);
    if (url->unix_path != NULL) {
        require(url->unix_path[0] == '/' && strlen(url->unix_path) < 108);
    }
    else {
        require(url->port != 0);
    }
}

static const char *normal_form(const gate_url_t *url)
{
    const char *host = strchr(url->host, ':') != NULL ? apr_psprintf(pool, "[%s]", url->host) : url->host;

    if (url->unix_path == NULL) {
        return apr_pstrcat(pool, url->scheme, "://", url->authority, url->path, NULL);
    }
    if (url->port == 0) {
        return apr_pstrcat(pool, url->authority, "|", url->scheme, "://", host, url->path, NULL);
    }
    return apr_psprintf(pool, "%s|%s://%s:%d%s", url->authority, url->scheme, host, (int)url->port, url->path);
}

static void check_again(const gate_url_t *url)
{
    const char *normal = normal_form(url);
    gate_url_t again;

    if (strlen(normal) > GATE_URL_MAX_CHARS) {
        return; /* the port that was filled in made it too long */
    }
    require(gate_parse_member_url(pool, normal, &again) == NULL);
    require(strcmp(again.scheme, url->scheme) == 0 && strcmp(again.host, url->host) == 0);
    require(strcmp(again.authority, url->authority) == 0 && strcmp(again.path, url->path) == 0);
    require(again.port == url->port && (again.unix_path == NULL) == (url->unix_path == NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gate_url_t url;
    const char *wrong;
    char *text;

    if (pool == NULL) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    /* exactly as long as the input, so that a sanitizer sees a read past it */
    text = malloc(size + 1);
    require(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    wrong = gate_parse_member_url(pool, text, &url);
    if (wrong == NULL) {
        check_parts(&url);
        check_again(&url);
    }
    else {
        require(*wrong != '\0');
    }
    free(text);
    apr_pool_clear(pool);
    return 0;
}
