/* parse_args.c - a directive's text as words. See gate_parse.h. */
#include <string.h>

#include <apr_strings.h>

#include "gate_parse.h"

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * One word from *at on, copied without its quotes; *at is moved behind it. Within quotes a backslash makes the same quote, or a
 * backslash, an ordinary character; before any other it is one itself, so that regular expressions need no doubling.
 */
static const char *take_word(apr_pool_t *p, const char **at, char **word)
{
    const char *c = *at;
    char *to = *word = apr_palloc(p, strlen(c) + 1);
    char quote = '\0';

    for (; *c && (quote || !is_blank(*c)); c++) {
        if (quote && *c == '\\' && (c[1] == quote || c[1] == '\\')) {
            *to++ = *++c;
        } else if (quote ? *c == quote : *c == '"' || *c == '\'') {
            quote = quote ? '\0' : *c;
        } else {
            *to++ = *c;
        }
    }
    *to = '\0';
    if (quote) {
        return apr_psprintf(p, "'%s' begins with a quote that nothing ends", *at);
    }
    *at = c;
    return NULL;
}

const char *gate_parse_args(apr_pool_t *p, const char *text, apr_array_header_t **words)
{
    *words = apr_array_make(p, 8, sizeof(char *));
    for (;;) {
        const char *err;
        char *word;

        while (is_blank(*text)) {
            text++;
        }
        if (!*text) {
            return NULL;
        }
        if ((err = take_word(p, &text, &word))) {
            return err;
        }
        APR_ARRAY_PUSH(*words, char *) = word;
    }
}
