/*
 * fuzz_cache_fields.c - what clients and members write into the fields that the cache reads, and bytes that claim to be an object's
 * head. The first byte chooses. Every answer must keep its bounds: numbers within what they may be, ranges within the body, keys
 * that are their own canonical form.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "compress.h"
#include "fields.h"
#include "freshness.h"
#include "head.h"
#include "range.h"
#include "variant.h"
#include "vary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LENGTH 1000

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static void directives(apr_pool_t *p, const char *text)
{
    gate_cc_t cc;
    int64_t *seconds[] = { &cc.max_age, &cc.s_maxage, &cc.stale_while_revalidate, &cc.stale_if_error, &cc.min_fresh, &cc.max_stale };

    for (int targeted = 0; targeted < 2; targeted++) {
        if (targeted) {
            gate_cc_parse_targeted(p, text, &cc);
        }
        else {
            gate_cc_parse(p, text, &cc);
        }
        for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
            require(*seconds[i] >= -1 && *seconds[i] <= INT64_C(2147483648));
        }
    }
}

static void ranges(apr_pool_t *p, const char *text)
{
    gate_range_rule_t rule = { 200, 20, 20 };
    const gate_range_t *got;
    int count;

    if (gate_range_parse(p, apr_pstrcat(p, "bytes=", text, NULL), LENGTH, &rule, &got, &count) == GATE_RANGE_PARTS) {
        require(count > 0 && count <= 200);
        for (int i = 0; i < count; i++) {
            require(got[i].first <= got[i].last && got[i].last < LENGTH);
        }
    }
}

static void keys(apr_pool_t *p, const char *text)
{
    static const char *const ignore[] = { "utm_*", "a", NULL };
    gate_key_rule_t rule = { ignore, 1 };
    const char *url = gate_key_url(p, "http", "Host", 80, text, &rule), *again;

    if (url) {
        require(!strncmp(url, "http://host:80/", 15));
        again = gate_key_absolute(p, url, NULL, &rule);
        require(again && !strcmp(again, url));
    }
    url = gate_key_absolute(p, text, "http://host:80/dir/page?q", NULL);
    require(!url || strlen(url) <= GATE_KEY_MAX);
}

static void tags(apr_pool_t *p, const char *text)
{
    const char *back = gate_etags_back(p, text);
    gate_accept_t accept;

    require(strlen(back) <= 2 * strlen(text) + 2);
    gate_etag_matches(text, "\"a\"", 1);
    require(gate_coding_of(text) < GATE_CODINGS);
    gate_accept_parse(text, &accept);
    require(gate_accept_class(&accept) != NULL);
}

static void vary(apr_pool_t *p, const char *text)
{
    apr_table_t *response = apr_table_make(p, 2), *request = apr_table_make(p, 2);
    gate_vary_rule_t rule = { 0, 1 };
    const char *key;
    size_t len;

    apr_table_addn(response, "Vary", text);
    apr_table_addn(request, "Accept", text);
    key = gate_vary_key(p, response, request, &rule, &len);
    require(!key || gate_vary_suits(p, key, len, request));
}

static void heads(apr_pool_t *p, const uint8_t *data, size_t size)
{
    void *bytes = apr_pmemdup(p, data, size);
    gate_head_view_t view;

    if (gate_head_read(bytes, size, &view)) {
        gate_head_fields(&view, apr_table_make(p, 4));
        require(strlen(view.url) < size);
    }
}

static uint64_t piece(void *ctx, uint64_t offset, const void **data)
{
    *data = (const uint8_t *)ctx + offset;
    return UINT64_MAX;
}

static void packed(const uint8_t *data, size_t size)
{
    gate_source_t from = { piece, (void *)(uintptr_t)data, size, NULL };
    size_t len = 0;
    unsigned char *out = gate_gunzip(&from, 1 << 20, &len);

    require(!out || len <= 1 << 20);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int started;
    apr_pool_t *p;
    const char *text;

    if (!size) {
        return 0;
    }
    if (!started++) {
        apr_initialize();
    }
    apr_pool_create(&p, NULL);
    text = apr_pstrmemdup(p, (const char *)data + 1, size - 1);
    switch (data[0] % 7) {
    case 0: directives(p, text); break;
    case 1: ranges(p, text); break;
    case 2: keys(p, text); break;
    case 3: tags(p, text); break;
    case 4: vary(p, text); break;
    case 5: heads(p, data + 1, size - 1); break;
    default: packed(data + 1, size - 1); break;
    }
    apr_pool_destroy(p);
    return 0;
}
