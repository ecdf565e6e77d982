/*
 * parse_text.h - what the parsers of this folder share: characters, and lists of words in messages.
 * Depends: APR pools.   Locking: none.
 */
#ifndef GATE_CORE_PARSE_TEXT_H
#define GATE_CORE_PARSE_TEXT_H

#include <apr_pools.h>

/* ASCII only and independent of the locale, unlike those of ctype.h. */
static inline int text_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline int text_is_alnum(char c)
{
    return text_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline char text_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/** "a, b, c"; lives in pool p. */
const char *gate_parse_list(apr_pool_t *p, const char *const *words, int count);

/** "; did you mean 'weight'?" when one of the words is near to text, else "". */
const char *gate_parse_hint(apr_pool_t *p, const char *text, const char *const *words, int count);

#endif
