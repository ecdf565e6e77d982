/*
 * h1_chunk.c - see h1_chunk.h. Data is handed on in runs as long as the bytes given; only the lines between are looked at one by one.
 */
#include "h1_chunk.h"

#define PIECE_MAX 8192 /* of a line: httpd judges what it has then (HUGE_STRING_LEN) */
#define BLANKS_MAX 10 /* between size and end of line or extension: RFC 9112 has none, RFC 2616 implied them, httpd lets ten pass */

enum { FIRST, DIGITS, BLANKS, EXTENSION, LINE_LF, DATA, DATA_CR, DATA_LF, TRAILERS };

void h1_chunk_init(h1_chunk_t *c, uint32_t line_max)
{
    *c = (h1_chunk_t){ .line_max = line_max, .state = FIRST };
}

static int hex_of(char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static h1_chunk_e read_digit(h1_chunk_t *c, int digit)
{
    if (c->left == 0 && digit == 0) {
        return H1_CHUNK_MORE; /* zeros in front do not count */
    }
    if (++c->digits > 16) {
        return H1_CHUNK_LARGE;
    }
    c->left = c->left << 4 | (uint64_t)digit;
    return c->left > INT64_MAX ? H1_CHUNK_LARGE : H1_CHUNK_MORE;
}

/* A character of the size's line, behind the first digit. */
static h1_chunk_e read_line(h1_chunk_t *c, char ch)
{
    if (c->state == LINE_LF) {
        if (ch != '\n') {
            return H1_CHUNK_BAD;
        }
        c->state = c->left ? DATA : TRAILERS;
        return H1_CHUNK_MORE;
    }
    if (ch == '\r') {
        c->state = LINE_LF;
        return H1_CHUNK_MORE;
    }
    if (c->state == EXTENSION) {
        return ((unsigned char)ch < 0x20 && ch != '\t') || ch == 0x7f ? H1_CHUNK_BAD : H1_CHUNK_MORE;
    }
    if (ch == ';') {
        c->state = EXTENSION;
        return H1_CHUNK_MORE;
    }
    if (ch == ' ' || ch == '\t') {
        c->state = BLANKS;
        return ++c->blanks > BLANKS_MAX ? H1_CHUNK_BAD : H1_CHUNK_MORE;
    }
    if (c->state == DIGITS && hex_of(ch) >= 0) {
        return read_digit(c, hex_of(ch));
    }
    return H1_CHUNK_BAD;
}

/* A character that is no data. */
static h1_chunk_e read_between(h1_chunk_t *c, char ch)
{
    switch (c->state) {
    case DATA_CR:
        c->state = DATA_LF;
        return ch == '\r' ? H1_CHUNK_MORE : H1_CHUNK_BAD;
    case DATA_LF:
        c->state = FIRST;
        return ch == '\n' ? H1_CHUNK_MORE : H1_CHUNK_BAD;
    case FIRST:
        if (hex_of(ch) < 0) {
            return H1_CHUNK_BAD;
        }
        c->state = DIGITS;
        c->left = 0;
        c->digits = c->blanks = 0;
        return read_digit(c, hex_of(ch));
    default:
        return read_line(c, ch);
    }
}

/* A line is judged when it is whole, as httpd does, which reads lines: by what was found first, else by its length. */
static h1_chunk_e read_byte(h1_chunk_t *c, char ch)
{
    int was_between = c->state == DATA_CR || c->state == DATA_LF;

    if (c->verdict == H1_CHUNK_MORE) {
        c->verdict = (uint8_t)read_between(c, ch);
    }
    c->line++;
    if (ch != '\n' && c->line % PIECE_MAX != 0) {
        return H1_CHUNK_MORE;
    }
    if (c->verdict == H1_CHUNK_MORE && c->line > c->line_max) {
        return H1_CHUNK_LARGE;
    }
    if (was_between) {
        c->line = 0;
    }
    return (h1_chunk_e)c->verdict;
}

h1_chunk_e h1_chunk_next(h1_chunk_t *c, const char *at, size_t len, size_t *used, span_t *run)
{
    size_t i = 0;

    while (i < len && c->state != DATA) {
        h1_chunk_e said;

        if (c->state == TRAILERS) {
            *used = i;
            return H1_CHUNK_TRAILERS;
        }
        said = read_byte(c, at[i++]);
        if (said != H1_CHUNK_MORE) {
            *used = i;
            return said;
        }
    }
    *used = i;
    if (c->state == TRAILERS) {
        return H1_CHUNK_TRAILERS;
    }
    if (i == len) {
        return H1_CHUNK_MORE;
    }
    run->at = at + i;
    run->len = (uint32_t)(c->left < len - i ? c->left : len - i);
    c->left -= run->len;
    if (c->left == 0) {
        c->state = DATA_CR;
        c->line = 0;
    }
    *used = i + run->len;
    return H1_CHUNK_DATA;
}

void h1_chunk_back(h1_chunk_t *c, uint32_t untaken)
{
    c->left += untaken;
    c->state = DATA;
}

size_t h1_chunk_line(char to[H1_CHUNK_LINE_MAX], uint64_t len)
{
    char digits[16];
    size_t count = 0, n = 0;

    do {
        digits[count++] = "0123456789abcdef"[len & 15];
        len >>= 4;
    } while (len);
    while (count) {
        to[n++] = digits[--count];
    }
    to[n++] = '\r';
    to[n++] = '\n';
    return n;
}
