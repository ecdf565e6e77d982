/* member_spec.c - see member_spec.h. */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "gate_parse.h"
#include "member_spec.h"

#define WORDS_MAX 16

static const char *member_weight(apr_pool_t *p, void *target, const char *value)
{
    gate_member_spec_t *spec = target;
    uint64_t n = 0;
    const char *err = gate_parse_uint(p, value, 1, 1000, &n);

    spec->weight = (uint32_t)n;
    return err;
}

static const char *member_backup(apr_pool_t *p, void *target, const char *value)
{
    (void)p, (void)value;
    ((gate_member_spec_t *)target)->flags |= GATE_MEMBER_BACKUP;
    return NULL;
}

static const char *member_connections(apr_pool_t *p, void *target, const char *value)
{
    gate_member_spec_t *spec = target;
    uint64_t n = 0;
    const char *err = gate_parse_uint(p, value, 1, 1000000, &n);

    spec->connections = (uint32_t)n;
    return err;
}

static const char *member_id(apr_pool_t *p, void *target, const char *value)
{
    ((gate_member_spec_t *)target)->id = apr_pstrdup(p, value);
    return gate_parse_name(p, value);
}

static const char *member_state(apr_pool_t *p, void *target, const char *value)
{
    static const gate_word_t words[] = {
        { "up", 0 }, { "drain", GATE_VERDICT_DRAIN }, { "disabled", GATE_VERDICT_DISABLED }, { NULL, 0 }
    };
    int verdict = 0;
    const char *err = gate_parse_word(p, value, words, &verdict);

    ((gate_member_spec_t *)target)->verdict = (uint32_t)verdict;
    return err;
}

static const gate_pair_rule_t member_rules[] = {
    { "weight", 0, member_weight }, { "backup", 1, member_backup }, { "connections", 0, member_connections },
    { "id", 0, member_id }, { "state", 0, member_state }, { NULL, 0, NULL }
};

/* "10.0.0.1:8080"; of a socket file its name. Characters that an id must not have become '-'. */
static const char *id_from_url(apr_pool_t *p, const gate_url_t *url)
{
    const char *text = url->unix_path ? strrchr(url->unix_path, '/') + 1 : url->authority;
    char *id, *c;

    while (*text && !apr_isalnum(*text)) {
        text++;
    }
    id = apr_pstrndup(p, *text ? text : "member", GATE_NAME_LEN - 1);
    for (c = id; *c; c++) {
        if (!apr_isalnum(*c) && !strchr("._-:", *c)) {
            *c = '-';
        }
    }
    return id;
}

const char *member_spec_read(apr_pool_t *p, int argc, const char *const *argv, gate_member_spec_t *out)
{
    uint64_t seen = 0;
    gate_url_t url;
    const char *err = gate_parse_member_url(p, argv[0], &url);
    int i;

    memset(out, 0, sizeof *out);
    out->weight = 1;
    if (err) {
        return apr_psprintf(p, "'%s' %s", argv[0], err);
    }
    if (strlen(argv[0]) >= GATE_URL_LEN) {
        return apr_psprintf(p, "'%s' is too long (%d characters at most)", argv[0], GATE_URL_LEN - 1);
    }
    out->url = apr_pstrdup(p, argv[0]);
    for (i = 1; i < argc; i++) {
        err = gate_parse_pair(p, argv[i], member_rules, &seen, out);
        if (err) {
            return err;
        }
    }
    if (!out->id) {
        out->id = id_from_url(p, &url);
    }
    return NULL;
}

const char *member_spec_line(apr_pool_t *p, char *line, gate_member_spec_t *out)
{
    const char *word[WORDS_MAX];
    char *rest = line, *at;
    int n = 0;

    while ((at = strsep(&rest, " \t\r")) != NULL) {
        if (*at == '#') {
            break;
        }
        if (*at && n == WORDS_MAX) {
            return "has too many words";
        }
        if (*at) {
            word[n++] = at;
        }
    }
    if (n == 0) {
        out->url = NULL;
        return NULL;
    }
    return member_spec_read(p, n, word, out);
}
