/* head.c - see head.h */
#include "head.h"

#include <string.h>
#include <apr_strings.h>

#include "fields.h"

#define HEAD_MAGIC 0x64616568u
#define HEAD_MAX (64u * 1024)

typedef struct {
    char *to;
    size_t len;
} pack_t;

static int measure(void *ctx, const char *name, const char *value)
{
    ((pack_t *)ctx)->len += strlen(name) + strlen(value) + 2;
    return 1;
}

static int pack(void *ctx, const char *name, const char *value)
{
    pack_t *p = ctx;

    p->to = strcpy(p->to, name) + strlen(name) + 1;
    p->to = strcpy(p->to, value) + strlen(value) + 1;
    return 1;
}

void *gate_head_build(apr_pool_t *p, const gate_head_parts_t *parts, size_t *len)
{
    pack_t fields = { NULL, 0 };
    gate_head_t *head;
    char *to;

    apr_table_do(measure, &fields, parts->fields, NULL);
    *len = sizeof *head + parts->tags_n * sizeof(uint64_t) + parts->key->url_len + parts->key->route_len + 2 + parts->vary_len
           + fields.len;
    if (*len > HEAD_MAX) {
        return NULL;
    }
    head = apr_pcalloc(p, *len);
    head->magic = HEAD_MAGIC;
    head->total = (uint32_t)*len;
    head->status = (uint16_t)parts->status;
    head->coding = (uint16_t)parts->coding;
    head->compressible = (uint32_t)parts->compressible;
    head->url_len = (uint32_t)parts->key->url_len;
    head->route_len = (uint32_t)parts->key->route_len;
    head->vary_len = (uint32_t)parts->vary_len;
    head->fields_len = (uint32_t)fields.len;
    head->tags_n = parts->tags_n;
    head->fresh = *parts->fresh;
    head->purge_seq = parts->purge_seq;
    head->body_len = parts->body_len;
    to = (char *)(head + 1);
    if (parts->tags_n) {
        memcpy(to, parts->tags, parts->tags_n * sizeof(uint64_t));
    }
    to += parts->tags_n * sizeof(uint64_t);
    memcpy(to, parts->key->url, parts->key->url_len);
    to += parts->key->url_len + 1;
    memcpy(to, parts->key->route, parts->key->route_len);
    to += parts->key->route_len + 1;
    if (parts->vary_len) {
        memcpy(to, parts->vary, parts->vary_len);
    }
    fields.to = to + parts->vary_len;
    apr_table_do(pack, &fields, parts->fields, NULL);
    return head;
}

int gate_head_read(const void *bytes, uint64_t len, gate_head_view_t *out)
{
    const gate_head_t *head = bytes;
    uint64_t want;

    if (!bytes || len < sizeof *head || head->magic != HEAD_MAGIC || head->total != len || head->tags_n > GATE_TAGS_MAX) {
        return 0;
    }
    want = sizeof *head + head->tags_n * sizeof(uint64_t) + (uint64_t)head->url_len + head->route_len + 2 + head->vary_len
           + head->fields_len;
    if (want != len) {
        return 0;
    }
    out->head = head;
    out->tags = (const uint64_t *)(const void *)(head + 1);
    out->url = (const char *)(out->tags + head->tags_n);
    out->route = out->url + head->url_len + 1;
    out->vary = out->route + head->route_len + 1;
    out->fields = out->vary + head->vary_len;
    /* every string within has its end within */
    return !out->route[-1] && !out->vary[-1] && (!head->vary_len || !out->fields[-1])
           && (!head->fields_len || !out->fields[head->fields_len - 1]);
}

int gate_head_has_key(const gate_head_view_t *view, const gate_key_t *key)
{
    return view->head->url_len == key->url_len && view->head->route_len == key->route_len
           && !memcmp(view->url, key->url, key->url_len) && !memcmp(view->route, key->route, key->route_len);
}

void gate_head_fields(const gate_head_view_t *view, apr_table_t *out)
{
    const char *at = view->fields, *end = at + view->head->fields_len;

    while (at < end) {
        const char *value = at + strlen(at) + 1;

        if (value >= end) {
            return;
        }
        apr_table_addn(out, at, value);
        at = value + strlen(value) + 1;
    }
}

static void unset_all(apr_pool_t *p, apr_table_t *t, const char *list)
{
    const char *member;
    size_t len;

    while (list && gate_list_next(&list, &member, &len)) {
        apr_table_unset(t, apr_pstrmemdup(p, member, len));
    }
}

apr_table_t *gate_head_keep(apr_pool_t *p, const apr_table_t *headers, const char *const *drop)
{
    static const char *const never[] = { "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
                                         "Proxy-Authentication-Info", "Proxy-Authorization", "TE", "Trailer",
                                         "Transfer-Encoding", "Upgrade", "Age", "Cache-Status" };
    apr_table_t *kept = apr_table_copy(p, headers);
    gate_cc_t cc;

    gate_cc_of_response(p, headers, &cc);
    unset_all(p, kept, gate_field(p, headers, "Connection"));
    unset_all(p, kept, cc.no_cache_fields);
    unset_all(p, kept, cc.private_fields);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        apr_table_unset(kept, never[i]);
    }
    for (; drop && *drop; drop++) {
        apr_table_unset(kept, *drop);
    }
    return kept;
}

typedef struct {
    apr_table_t *to;
    const apr_table_t *update;
} merge_t;

static int describes_bytes(const char *name)
{
    static const char *const names[] = { "Content-Encoding", "Content-Type", "Content-Range", "Content-Length", "ETag",
                                         "Set-Cookie", "Set-Cookie2", "Vary" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcasecmp(name, names[i])) {
            return 1;
        }
    }
    return 0;
}

static int take_out(void *ctx, const char *name, const char *value)
{
    (void)value;
    if (!describes_bytes(name)) {
        apr_table_unset(((merge_t *)ctx)->to, name);
    }
    return 1;
}

static int put_in(void *ctx, const char *name, const char *value)
{
    if (!describes_bytes(name)) {
        apr_table_addn(((merge_t *)ctx)->to, name, value);
    }
    return 1;
}

apr_table_t *gate_head_merge(apr_pool_t *p, const apr_table_t *stored, const apr_table_t *update)
{
    merge_t m = { apr_table_copy(p, stored), update };

    apr_table_do(take_out, &m, update, NULL);
    apr_table_do(put_in, &m, update, NULL);
    return m.to;
}

uint32_t gate_head_tags(const gate_store_t *store, const char *value, uint64_t *tags, uint32_t have)
{
    while (value && *value && have < GATE_TAGS_MAX) {
        size_t len;

        value += strspn(value, " \t,");
        len = strcspn(value, " \t,");
        if (len) {
            tags[have++] = gate_store_hash(store, value, len);
        }
        value += len;
    }
    return have;
}
