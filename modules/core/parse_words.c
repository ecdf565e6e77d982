/*
 * parse_words.c - words out of a table, key=value lists, and what to suggest for a word that is in neither.
 * Contract: gate_parse.h, parse_text.h.
 */
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "gate_parse.h"
#include "parse_text.h"

/* Longer words are not compared: nothing that can be meant here is longer. */
#define NEAREST_MAX_CHARS 63

/* ---- the nearest word ---------------------------------------------------------------------------------------------------- */

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

/*
 * Insertions, deletions, replacements and swaps of neighbours that lead from a to b, in any case (F. J. Damerau 1964,
 * V. I. Levenshtein 1966; the form in which no part is edited twice).
 */
static int distance(const char *a, int a_len, const char *b, int b_len)
{
    int rows[3][NEAREST_MAX_CHARS + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];

    for (int j = 0; j <= b_len; j++) {
        above[j] = j;
    }
    for (int i = 1; i <= a_len; i++) {
        int *spare = before;

        row[0] = i;
        for (int j = 1; j <= b_len; j++) {
            int differ = text_lower(a[i - 1]) != text_lower(b[j - 1]);

            row[j] = min_int(above[j - 1] + differ, min_int(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && text_lower(a[i - 1]) == text_lower(b[j - 2]) && text_lower(a[i - 2]) == text_lower(b[j - 1])) {
                row[j] = min_int(row[j], before[j - 2] + 1);
            }
        }
        before = above;
        above = row;
        row = spare;
    }
    return above[b_len];
}

const char *gate_nearest(const char *text, const char *const *words, int count)
{
    size_t text_len = strlen(text);
    const char *nearest = NULL;
    int best = INT_MAX;

    if (text_len > NEAREST_MAX_CHARS) {
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        size_t len = strlen(words[i]);
        size_t longer = len > text_len ? len : text_len;
        int apart;

        if (len > NEAREST_MAX_CHARS) {
            continue;
        }
        apart = distance(text, (int)text_len, words[i], (int)len);
        if (apart <= (int)(longer / 3) && apart < best) {
            best = apart;
            nearest = words[i];
        }
    }
    return nearest;
}

const char *gate_parse_list(apr_pool_t *p, const char *const *words, int count)
{
    const char *list = count > 0 ? words[0] : "";

    for (int i = 1; i < count; i++) {
        list = apr_pstrcat(p, list, ", ", words[i], NULL);
    }
    return list;
}

const char *gate_parse_hint(apr_pool_t *p, const char *text, const char *const *words, int count)
{
    const char *near = gate_nearest(text, words, count);

    return near != NULL ? apr_psprintf(p, "; did you mean '%s'?", near) : "";
}

/* ---- one word out of a table --------------------------------------------------------------------------------------------- */

const char *gate_parse_word(apr_pool_t *p, const char *text, const gate_word_t *words, int *out)
{
    const char **names;
    int count = 0;

    for (; words[count].name != NULL; count++) {
        if (strcasecmp(text, words[count].name) == 0) {
            *out = words[count].value;
            return NULL;
        }
    }
    names = apr_palloc(p, (size_t)count * sizeof *names);
    for (int i = 0; i < count; i++) {
        names[i] = words[i].name;
    }
    return apr_psprintf(p, "is none of: %s%s", gate_parse_list(p, names, count), gate_parse_hint(p, text, names, count));
}

/* ---- key=value ----------------------------------------------------------------------------------------------------------- */

static int count_rules(const gate_pair_rule_t *rules)
{
    int count = 0;

    while (rules[count].key != NULL) {
        count++;
    }
    return count;
}

/* How the rule's argument begins: "weight=", "backup". */
static const char *rule_shape(apr_pool_t *p, const gate_pair_rule_t *rule)
{
    return rule->bare == 0 ? apr_pstrcat(p, rule->key, "=", NULL) : rule->key;
}

static const char *unknown_pair(apr_pool_t *p, const char *arg, const char *key, const gate_pair_rule_t *rules, int count)
{
    const char **keys = apr_palloc(p, (size_t)count * sizeof *keys);
    const char **shapes = apr_palloc(p, (size_t)count * sizeof *shapes);
    const char *near, *hint = "";

    for (int i = 0; i < count; i++) {
        keys[i] = rules[i].key;
        shapes[i] = rule_shape(p, &rules[i]);
    }
    near = gate_nearest(key, keys, count);
    for (int i = 0; near != NULL && i < count; i++) {
        if (keys[i] == near) {
            hint = apr_psprintf(p, "; did you mean '%s'?", shapes[i]);
            break;
        }
    }
    return apr_psprintf(p, "'%s' is not known here%s (known: %s)", arg, hint, gate_parse_list(p, shapes, count));
}

/* @param value  NULL for a bare word */
static const char *check_shape(apr_pool_t *p, const char *arg, const char *value, const gate_pair_rule_t *rule)
{
    if (value == NULL && rule->bare == 0) {
        return apr_psprintf(p, "'%s' needs a value: %s=...", arg, rule->key);
    }
    if (value != NULL && rule->bare == 1) {
        return apr_psprintf(p, "'%s' takes no value: write '%s' alone", arg, rule->key);
    }
    if (value != NULL && *value == '\0') {
        return apr_psprintf(p, "'%s' has nothing after the '='", arg);
    }
    return NULL;
}

const char *gate_parse_pair(apr_pool_t *p, const char *arg, const gate_pair_rule_t *rules, uint64_t *seen, void *target)
{
    const char *equals = strchr(arg, '=');
    const char *key = equals != NULL ? apr_pstrmemdup(p, arg, (apr_size_t)(equals - arg)) : arg;
    const char *value = equals != NULL ? equals + 1 : NULL;
    int count = count_rules(rules);
    const char *wrong;
    int i = 0;

    while (i < count && strcasecmp(key, rules[i].key) != 0) {
        i++;
    }
    if (i == count) {
        return unknown_pair(p, arg, key, rules, count);
    }
    wrong = check_shape(p, arg, value, &rules[i]);
    if (wrong != NULL) {
        return wrong;
    }
    if (i < GATE_PAIR_RULES_MAX && (*seen >> i & 1) != 0) {
        return apr_psprintf(p, "'%s' gives '%s' a second time; once is enough", arg, rules[i].key);
    }
    wrong = rules[i].set(p, target, value);
    if (wrong != NULL) {
        return value != NULL ? apr_psprintf(p, "'%s': '%s' %s", arg, value, wrong) : apr_psprintf(p, "'%s' %s", arg, wrong);
    }
    if (i < GATE_PAIR_RULES_MAX) {
        *seen |= UINT64_C(1) << i;
    }
    return NULL;
}
