/* h2_priority.c - see h2_priority.h. */

#include <string.h>

#include "h2_priority.h"

typedef struct {
    const char *at, *end;
} reading_t;

typedef struct {
    enum { ITEM_OTHER, ITEM_INTEGER, ITEM_BOOLEAN } type;
    long number;
} item_t;

static int is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static int is_lower(int c)
{
    return c >= 'a' && c <= 'z';
}

static int is_alpha(int c)
{
    return is_lower(c | 0x20);
}

static int next(const reading_t *r)
{
    return r->at < r->end ? (unsigned char)*r->at : -1;
}

static int eat(reading_t *r, int c)
{
    if (next(r) != c) {
        return 0;
    }
    r->at++;
    return 1;
}

static void blanks(reading_t *r, int tabs)
{
    while (next(r) == ' ' || (tabs && next(r) == '\t')) {
        r->at++;
    }
}

/* RFC 8941, 4.2.3.3. @return its length; 0: there is none */
static size_t read_key(reading_t *r)
{
    const char *from = r->at;

    if (!is_lower(next(r)) && next(r) != '*') {
        return 0;
    }
    while (is_lower(next(r)) || is_digit(next(r)) || (next(r) > 0 && strchr("_-.*", next(r)))) {
        r->at++;
    }
    return (size_t)(r->at - from);
}

/* Integers of 15 digits, decimals of 12 and 3 (4.2.4). */
static int read_number(reading_t *r, item_t *item)
{
    int minus = eat(r, '-'), digits = 0, behind = 0;

    for (; is_digit(next(r)); digits++) {
        if (digits == 15) {
            return 0;
        }
        item->number = item->number * 10 + (*r->at++ - '0');
    }
    item->type = ITEM_INTEGER;
    item->number = minus ? -item->number : item->number;
    if (digits > 0 && eat(r, '.')) {
        item->type = ITEM_OTHER;
        for (; is_digit(next(r)); behind++) {
            r->at++;
        }
        return digits <= 12 && behind > 0 && behind <= 3;
    }
    return digits > 0;
}

static int read_string(reading_t *r)
{
    for (r->at++; next(r) >= 0x20 && next(r) < 0x7f; r->at++) {
        if (*r->at == '"') {
            r->at++;
            return 1;
        }
        if (*r->at == '\\') {
            r->at++;
            if (next(r) != '"' && next(r) != '\\') {
                return 0;
            }
        }
    }
    return 0;
}

static int read_bytes(reading_t *r)
{
    for (r->at++; is_alpha(next(r)) || is_digit(next(r)) || (next(r) > 0 && strchr("+/=", next(r))); r->at++) {
    }
    return eat(r, ':');
}

static int read_token(reading_t *r)
{
    for (r->at++; is_alpha(next(r)) || is_digit(next(r)) || (next(r) > 0 && strchr("!#$%&'*+-.^_`|~:/", next(r))); r->at++) {
    }
    return 1;
}

static int read_boolean(reading_t *r, item_t *item)
{
    r->at++;
    item->type = ITEM_BOOLEAN;
    item->number = next(r) == '1';
    return eat(r, '0') || eat(r, '1');
}

static int read_bare(reading_t *r, item_t *item)
{
    int c = next(r);

    *item = (item_t){ ITEM_OTHER, 0 };
    if (c == '-' || is_digit(c)) {
        return read_number(r, item);
    }
    switch (c) {
    case '"':
        return read_string(r);
    case ':':
        return read_bytes(r);
    case '?':
        return read_boolean(r, item);
    default:
        return (is_alpha(c) || c == '*') && read_token(r);
    }
}

static int read_parameters(reading_t *r)
{
    item_t none;

    while (eat(r, ';')) {
        blanks(r, 0);
        if (!read_key(r) || (eat(r, '=') && !read_bare(r, &none))) {
            return 0;
        }
    }
    return 1;
}

static int read_list(reading_t *r)
{
    item_t none;

    for (;;) {
        blanks(r, 0);
        if (eat(r, ')')) {
            return 1;
        }
        if (!read_bare(r, &none) || !read_parameters(r) || (next(r) != ' ' && next(r) != ')')) {
            return 0;
        }
    }
}

static int read_value(reading_t *r, item_t *item)
{
    *item = (item_t){ ITEM_BOOLEAN, 1 };
    if (eat(r, '=')) {
        if (eat(r, '(')) {
            *item = (item_t){ ITEM_OTHER, 0 };
            if (!read_list(r)) {
                return 0;
            }
        }
        else if (!read_bare(r, item)) {
            return 0;
        }
    }
    return read_parameters(r);
}

/* Of a key that is said twice the last counts, whatever it is (4.2.2). */
static void note(h2_priority_t *said, const h2_priority_t *before, char key, const item_t *item)
{
    if (key == 'u') {
        said->urgency = item->type == ITEM_INTEGER && item->number >= 0 && item->number <= 7 ? (int8_t)item->number : before->urgency;
    }
    else if (key == 'i') {
        said->incremental = item->type == ITEM_BOOLEAN ? (int8_t)item->number : before->incremental;
    }
}

int h2_priority_parse(const char *at, size_t len, h2_priority_t *to)
{
    reading_t r = { at, at + len };
    h2_priority_t said = *to;
    item_t item;

    for (blanks(&r, 0); r.at < r.end;) {
        const char *key = r.at;
        size_t key_len = read_key(&r);

        if (!key_len || !read_value(&r, &item)) {
            return 0;
        }
        if (key_len == 1) {
            note(&said, to, *key, &item);
        }
        blanks(&r, 1);
        if (r.at == r.end) {
            break;
        }
        if (!eat(&r, ',')) {
            return 0;
        }
        blanks(&r, 1);
        if (r.at == r.end) {
            return 0;
        }
    }
    *to = said;
    return 1;
}

h2_priority_t h2_priority_merge(h2_priority_t client, h2_priority_t member)
{
    h2_priority_t both = { H2_URGENCY_USUAL, 0 };

    if (member.urgency >= 0 || client.urgency >= 0) {
        both.urgency = member.urgency >= 0 ? member.urgency : client.urgency;
    }
    if (member.incremental >= 0 || client.incremental >= 0) {
        both.incremental = member.incremental >= 0 ? member.incremental : client.incremental;
    }
    return both;
}

h2_priority_t h2_priority_of_head(const char *text, size_t len)
{
    static const char name[] = "\r\nPriority: ";
    const char *end = text + len, *at = text, *stop;
    h2_priority_t said = H2_PRIORITY_UNSAID;

    while ((at = memmem(at, (size_t)(end - at), name, sizeof name - 1)) != NULL) {
        at += sizeof name - 1;
        stop = memchr(at, '\r', (size_t)(end - at));
        stop = stop ? stop : end;
        h2_priority_parse(at, (size_t)(stop - at), &said);
        at = stop;
    }
    return said;
}
