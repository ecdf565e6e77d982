/*
 * eligible_rewrite.c - which of mod_rewrite's directives a loop can run (route_rewrite.c): those that need nothing but the request. See
 * eligible_table.h.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "eligible_table.h"

static eligible_word_t if_rewriting(const char *why)
{
    return (eligible_word_t){ ELIGIBLE_CLASSIC, ELIGIBLE_IF_REWRITING, why };
}

/* Sub-requests, look-ups of names and of users: nothing for a loop. */
static int waits(const char *text)
{
    static const char *const words[] = { "%{LA-", "%{REMOTE_HOST", "%{REMOTE_IDENT", "%{SCRIPT_USER", "%{SCRIPT_GROUP", NULL };
    const char *const *one;

    for (one = words; *one; one++) {
        if (strcasestr(text, *one)) {
            return 1;
        }
    }
    return 0;
}

/* A condition's pattern that is a test of files, or asks the server itself; or an expression that may be. */
static int looks_at_files(const char *pattern, int expression)
{
    const char *at;

    if (!expression) {
        pattern += *pattern == '!';
        return *pattern == '-' && eligible_listed(pattern, "-f -F -d -s -l -L -h -H -x -U") && pattern[2] == '\0';
    }
    for (at = pattern; (at = strchr(at, '-')) != NULL; at++) {
        if (strchr("fFdeslLhxUA", at[1]) && (!at[2] || isspace((unsigned char)at[2]))) {
            return 1;
        }
    }
    return strcasestr(pattern, "file") || strcasestr(pattern, "REMOTE_HOST") || strcasestr(pattern, "REMOTE_IDENT");
}

eligible_word_t eligible_rewrite(const char *name, const char *args, int in_section)
{
    const eligible_word_t neutral = { ELIGIBLE_NEUTRAL, 0, NULL };
    char first[1024], second[1024];

    if (strcasecmp(name, "RewriteEngine") == 0) {
        if (eligible_next_word(&args, first, sizeof first) > 0 && strcasecmp(first, "off") == 0) {
            return neutral;
        }
        return in_section ? (eligible_word_t){ ELIGIBLE_CLASSIC, 0, "in a section" } : (eligible_word_t){ ELIGIBLE_HONOURED, ELIGIBLE_REWRITE, NULL };
    }
    if (!eligible_listed(name, "RewriteRule RewriteCond RewriteMap")) {
        return neutral;
    }
    if (in_section) {
        return if_rewriting("in a section");
    }
    if (eligible_next_word(&args, first, sizeof first) < 0 || eligible_next_word(&args, second, sizeof second) < 0
        || strlen(first) == sizeof first - 1 || strlen(second) == sizeof second - 1) {
        return if_rewriting("it is not understood");
    }
    if (strcasecmp(name, "RewriteMap") == 0) {
        return strncasecmp(second, "int:", 4) == 0 ? neutral : if_rewriting("a map that is read while the request waits");
    }
    if (waits(first) || waits(second)) {
        return if_rewriting("it looks ahead, or something up that takes time");
    }
    if (strcasecmp(name, "RewriteCond") == 0 && looks_at_files(second, strcasecmp(first, "expr") == 0)) {
        return if_rewriting("it looks at files, or asks the server itself");
    }
    return neutral;
}
