/* range.c - see range.h */
#include "range.h"

#include <string.h>
#include <apr_tables.h>

#include "fields.h"
#include "variant.h"

/* Digits up to `end`; an overflow is as far as can be. @return 0 when there is none */
static int number(const char **at, const char *end, uint64_t *out)
{
    const char *c = *at;

    *out = 0;
    for (; c < end && *c >= '0' && *c <= '9'; c++) {
        *out = *out > (UINT64_MAX - 9) / 10 ? UINT64_MAX : *out * 10 + (uint64_t)(*c - '0');
    }
    if (c == *at) {
        return 0;
    }
    *at = c;
    return 1;
}

/* @return 1 a range within the body, 0 none within it, -1 not a range */
static int one(const char *c, size_t len, uint64_t length, gate_range_t *out)
{
    const char *end = c + len;
    uint64_t n;

    if (*c == '-') {
        c++;
        if (!number(&c, end, &n) || c != end) {
            return -1;
        }
        out->first = n < length ? length - n : 0;
        out->last = length - 1;
        return n && length ? 1 : 0;
    }
    if (!number(&c, end, &out->first) || c == end || *c++ != '-') {
        return -1;
    }
    out->last = length - 1;
    if (c < end) {
        if (!number(&c, end, &n) || c != end || n < out->first) {
            return -1;
        }
        out->last = n < length ? n : length - 1;
    }
    return out->first < length ? 1 : 0;
}

static void count_disorder(const gate_range_t *r, int n, int *overlaps, int *reversals)
{
    if (n) {
        *overlaps += r[n].first <= r[n - 1].last && r[n].last >= r[n - 1].first;
        *reversals += r[n].first < r[n - 1].first;
    }
}

gate_range_e gate_range_parse(apr_pool_t *p, const char *text, uint64_t length, const gate_range_rule_t *rule,
                              const gate_range_t **out, int *count)
{
    apr_array_header_t *ranges = apr_array_make(p, 4, sizeof(gate_range_t));
    int asked = 0, overlaps = 0, reversals = 0;
    const char *member;
    size_t len;

    *count = 0;
    if (!text || strncasecmp(text, "bytes=", 6)) {
        return GATE_RANGE_WHOLE;
    }
    for (text += 6; gate_list_next(&text, &member, &len); asked++) {
        gate_range_t r;
        int rc = one(member, len, length, &r);

        if (rc < 0 || asked >= rule->max_ranges) {
            return GATE_RANGE_WHOLE;
        }
        if (rc) {
            APR_ARRAY_PUSH(ranges, gate_range_t) = r;
            count_disorder((const gate_range_t *)(void *)ranges->elts, ranges->nelts - 1, &overlaps, &reversals);
        }
    }
    if (!asked || overlaps > rule->max_overlaps || reversals > rule->max_reversals) {
        return GATE_RANGE_WHOLE;
    }
    *out = (const gate_range_t *)(void *)ranges->elts;
    *count = ranges->nelts;
    return ranges->nelts ? GATE_RANGE_PARTS : GATE_RANGE_UNSATISFIABLE;
}

int gate_range_if(const char *if_range, const char *etag, const char *last_modified, int64_t date)
{
    int64_t since, modified;

    if (!if_range) {
        return 1;
    }
    if (strchr(if_range, '"')) {
        return gate_etag_matches(if_range, etag, 1);
    }
    since = gate_http_date(if_range);
    modified = gate_http_date(last_modified);
    return since >= 0 && since == modified && date >= modified + 1;
}
