/* variant.c - see variant.h */
#include "variant.h"

#include <string.h>
#include <apr_strings.h>

#include "fields.h"

static const char *const coding_names[GATE_CODINGS] = { "identity", "br", "gzip" };
static const char *const suffixes[GATE_CODINGS] = { "", "--br", "--gzip" };

const char *gate_coding_name(gate_coding_e coding)
{
    return coding_names[coding];
}

int gate_coding_of(const char *content_encoding)
{
    const char *member;
    size_t len, n = 0;
    int found = GATE_CODING_IDENTITY;

    while (content_encoding && gate_list_next(&content_encoding, &member, &len)) {
        if (len == 8 && !strncasecmp(member, "identity", 8)) {
            continue;
        }
        if (n++) {
            return -1;
        }
        found = len == 2 && !strncasecmp(member, "br", 2) ? GATE_CODING_BR
                : (len == 4 && !strncasecmp(member, "gzip", 4)) || (len == 6 && !strncasecmp(member, "x-gzip", 6))
                    ? GATE_CODING_GZIP
                    : -1;
    }
    return found;
}

const char *gate_etag_for(apr_pool_t *p, const char *etag, gate_coding_e coding)
{
    size_t len = etag ? strlen(etag) : 0;

    if (coding == GATE_CODING_IDENTITY || len < 2 || etag[len - 1] != '"') {
        return coding == GATE_CODING_IDENTITY ? etag : NULL;
    }
    return apr_pstrcat(p, apr_pstrmemdup(p, etag, len - 1), suffixes[coding], "\"", NULL);
}

/* Length of a tag without our suffix: counted up to where the closing quote goes; 0: it bears none. */
static size_t bare_len(const char *tag, size_t len)
{
    if (len < 2 || tag[len - 1] != '"') {
        return 0;
    }
    for (int c = GATE_CODING_BR; c < GATE_CODINGS; c++) {
        size_t n = strlen(suffixes[c]);

        if (len > n + 2 && !memcmp(tag + len - 1 - n, suffixes[c], n)) {
            return len - 1 - n;
        }
    }
    return 0;
}

const char *gate_etags_back(apr_pool_t *p, const char *list)
{
    const char *at = list, *member;
    apr_array_header_t *tags = NULL;
    size_t len;

    while (gate_list_next(&at, &member, &len)) {
        if (bare_len(member, len)) {
            tags = apr_array_make(p, 8, sizeof(const char *));
            break;
        }
    }
    if (!tags) {
        return list;
    }
    for (at = list; gate_list_next(&at, &member, &len);) {
        size_t bare = bare_len(member, len);
        char *tag = bare ? apr_pstrcat(p, apr_pstrmemdup(p, member, bare), "\"", NULL) : apr_pstrmemdup(p, member, len);
        int known = 0;

        for (int i = 0; i < tags->nelts && !known; i++) {
            known = !strcmp(APR_ARRAY_IDX(tags, i, const char *), tag);
        }
        if (!known) {
            if (tags->nelts) {
                APR_ARRAY_PUSH(tags, const char *) = ", ";
            }
            APR_ARRAY_PUSH(tags, const char *) = tag;
        }
    }
    return apr_array_pstrcat(p, tags, 0);
}

int gate_etag_matches(const char *list, const char *etag, int strong)
{
    const char *member;
    size_t len, own = etag ? strlen(etag) : 0;
    int own_weak = own > 2 && !strncmp(etag, "W/", 2);

    while (list && gate_list_next(&list, &member, &len)) {
        int weak = len > 2 && !strncmp(member, "W/", 2);

        if (len == 1 && *member == '*') {
            return 1;
        }
        if (!own || (strong && (weak || own_weak))) {
            continue;
        }
        if (len - (weak ? 2 : 0) == own - (own_weak ? 2 : 0)
            && !memcmp(member + (weak ? 2 : 0), etag + (own_weak ? 2 : 0), own - (own_weak ? 2 : 0))) {
            return 1;
        }
    }
    return 0;
}

static int acceptable(const gate_choice_t *choice, int coding)
{
    static const int index_of[GATE_CODINGS] = { 2, 0, 1 }; /* identity, br, gzip in gate_accept_t.q */

    return choice->have & 1u << coding ? choice->accept->q[index_of[coding]] : 0;
}

int gate_choose(apr_pool_t *p, const gate_choice_t *choice)
{
    static const gate_coding_e smallest_first[GATE_CODINGS] = { GATE_CODING_BR, GATE_CODING_GZIP, GATE_CODING_IDENTITY };
    int best = -1, best_q = 0;

    for (int i = 0; i < GATE_CODINGS; i++) {
        int c = (int)smallest_first[i], q = acceptable(choice, c);
        const char *etag = gate_etag_for(p, choice->etag, (gate_coding_e)c);

        if (q && etag && choice->if_none_match && strcmp(choice->if_none_match, "*")
            && gate_etag_matches(choice->if_none_match, etag, 0)) {
            return c;
        }
        if (q && etag && choice->if_range && gate_etag_matches(choice->if_range, etag, 1)) {
            return c;
        }
        if (q > best_q) {
            best = c;
            best_q = q;
        }
    }
    return best;
}

gate_cond_e gate_conditions(apr_pool_t *p, const apr_table_t *request, const char *etag, const char *last_modified, int64_t date)
{
    const char *match = gate_field(p, request, "If-Match"), *none = gate_field(p, request, "If-None-Match");
    int64_t modified, since;

    if (!match && !none && !apr_table_get(request, "If-Modified-Since") && !apr_table_get(request, "If-Unmodified-Since")) {
        return GATE_COND_NONE;
    }
    modified = gate_http_date(last_modified);
    if (match) {
        if (!gate_etag_matches(match, etag, 1)) {
            return GATE_COND_FAILED;
        }
    }
    else if ((since = gate_http_date(apr_table_get(request, "If-Unmodified-Since"))) >= 0) {
        if ((modified >= 0 ? modified : date) > since) {
            return GATE_COND_FAILED;
        }
    }
    if (none) {
        return gate_etag_matches(none, etag, 0) ? GATE_COND_NOT_MODIFIED : GATE_COND_NONE;
    }
    since = gate_http_date(apr_table_get(request, "If-Modified-Since"));
    return since >= 0 && (modified >= 0 ? modified : date) <= since ? GATE_COND_NOT_MODIFIED : GATE_COND_NONE;
}
