/* block.c - see block.h */
#include "block.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "fields.h"

typedef struct {
    char *to, *end;
    char *begin;
    gate_block_t *block;
    const char *vary;             /* all lines of it, folded */
    int dated, served, varied, full;
} writer_t;

static void put(writer_t *w, const char *text, size_t len)
{
    if ((size_t)(w->end - w->to) < len) {
        w->full = 1;
        return;
    }
    memcpy(w->to, text, len);
    w->to += len;
}

static void put_field(writer_t *w, const char *name, const char *value, size_t len)
{
    put(w, name, strlen(name));
    put(w, ": ", 2);
    put(w, value, len);
    put(w, "\r\n", 2);
}

/* Each member once, as httpd folds Vary. */
static const char *fold(apr_pool_t *p, const char *list)
{
    apr_array_header_t *members = apr_array_make(p, 4, sizeof(const char *));
    const char *member;
    size_t len;

    while (list && gate_list_next(&list, &member, &len)) {
        const char *one = apr_pstrmemdup(p, member, len);
        int known = 0;

        for (int i = 0; i < members->nelts && !known; i++) {
            known = !strcasecmp(APR_ARRAY_IDX(members, i, const char *), one);
        }
        if (!known) {
            APR_ARRAY_PUSH(members, const char *) = one;
        }
    }
    return members->nelts ? apr_array_pstrcat(p, members, ',') : NULL;
}

/* "gatehouse; hit; ttl=60; .." without the number */
static void put_status(writer_t *w, const char *name, const char *value)
{
    const char *ttl = strstr(value, "; ttl="), *rest;

    if (!ttl) {
        w->full = 1;
        return;
    }
    ttl += strlen("; ttl=");
    rest = ttl + strspn(ttl, "-0123456789");
    put(w, name, strlen(name));
    put(w, ": ", 2);
    put(w, value, (size_t)(ttl - value));
    w->block->ttl_at = (uint32_t)(w->to - w->begin);
    put(w, rest, strlen(rest));
    put(w, "\r\n", 2);
}

static int put_other(void *ctx, const char *name, const char *value)
{
    writer_t *w = ctx;

    if (!strcasecmp(name, "Date") || !strcasecmp(name, "Server")) {
        return 1;
    }
    if (!strcasecmp(name, "Vary") && w->vary) {
        if (!w->varied++) {
            put_field(w, name, w->vary, strlen(w->vary));
        }
        return 1;
    }
    if (!strcasecmp(name, "Age")) {
        put(w, "Age: ", 5);
        w->block->age_at = (uint32_t)(w->to - w->begin);
        put(w, "\r\n", 2);
        return 1;
    }
    if (!strcasecmp(name, "Cache-Status")) {
        put_status(w, name, value);
        return 1;
    }
    if (!strcasecmp(name, "Content-Length")) {
        w->block->length_at = (uint32_t)(w->to - w->begin);
    }
    put_field(w, name, value, strlen(value));
    return 1;
}

gate_block_t gate_block_build(apr_pool_t *p, const char *status_line, const char *banner, const apr_table_t *fields, char *to,
                              size_t room)
{
    const char *date = apr_table_get(fields, "Date"), *server = apr_table_get(fields, "Server");
    gate_block_t block = { 0 };
    writer_t w = { .to = to, .end = to + room, .begin = to, .block = &block };
    const apr_array_header_t *all = apr_table_elts(fields);
    const apr_table_entry_t *last = all->nelts ? &APR_ARRAY_IDX(all, all->nelts - 1, apr_table_entry_t) : NULL;

    server = server ? server : banner && *banner ? banner : NULL;
    w.vary = fold(p, gate_field(p, fields, "Vary"));
    put(&w, "HTTP/1.1 ", 9);
    put(&w, status_line, strlen(status_line));
    put(&w, "\r\n", 2);
    block.line_len = (uint32_t)(w.to - to);
    if (date) {
        put_field(&w, "Date", date, strlen(date));
    }
    if (server) {
        put_field(&w, "Server", server, strlen(server));
    }
    block.fields_at = (uint32_t)(w.to - to);
    apr_table_do(put_other, &w, fields, NULL);
    block.len = (uint32_t)(w.to - to);
    if (!date || !last || w.full || !block.age_at || block.ttl_at < block.age_at
        || (block.length_at && strcasecmp(last->key, "Content-Length"))) {
        return (gate_block_t){ 0 };
    }
    if (!block.length_at) {
        block.length_at = block.len;
    }
    return block;
}

static char *put_number(char *to, int64_t n)
{
    char digits[24], *at = digits + sizeof digits;
    uint64_t rest = n < 0 ? (uint64_t)-n : (uint64_t)n;

    do {
        *--at = (char)('0' + rest % 10);
    } while (rest /= 10);
    if (n < 0) {
        *--at = '-';
    }
    memcpy(to, at, (size_t)(digits + sizeof digits - at));
    return to + (digits + sizeof digits - at);
}

static char *put_part(char *to, const char *text, uint32_t from, uint32_t upto)
{
    memcpy(to, text + from, upto - from);
    return to + (upto - from);
}

uint32_t gate_block_write(const gate_block_t *block, const char *text, const char *line, uint32_t upto, int64_t age, int64_t ttl,
                          char *to, uint32_t *line_len)
{
    char *begin = to;

    *line_len = line ? (uint32_t)strlen(line) : block->line_len;
    memcpy(to, line ? line : text, *line_len);
    to = put_part(to + *line_len, text, block->line_len, block->age_at);
    to = put_number(to, age);
    to = put_part(to, text, block->age_at, block->ttl_at);
    to = put_number(to, ttl);
    to = put_part(to, text, block->ttl_at, upto);
    return (uint32_t)(to - begin);
}
