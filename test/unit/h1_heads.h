/* h1_heads.h - what the tests of heads share: bytes to be parsed, and a look at what came of them. */
#ifndef UNIT_H1_HEADS_H
#define UNIT_H1_HEADS_H

#include <stdlib.h>
#include <string.h>

#include "message.h"

/* An exact copy, good until the next, so that a sanitizer sees a read behind it. */
static char *exact_copy(const char *text, size_t len)
{
    static char *copy;

    free(copy);
    copy = malloc(len ? len : 1);
    memcpy(copy, text, len);
    return copy;
}

/* text NULL: there is none. */
static void assert_span(span_t span, const char *text)
{
    if (text == NULL) {
        assert_null(span.at);
        return;
    }
    assert_non_null(span.at);
    if (span.len != strlen(text) || memcmp(span.at, text, span.len) != 0) {
        fail_msg("'%.*s' is not '%s'", (int)span.len, span.at, text);
    }
}

#endif
