/* text_out.c - see text_out.h. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text_out.h"

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

void text_out_begin(text_out_t *out, text_sink_fn sink, void *ctx)
{
    out->sink = sink;
    out->ctx = ctx;
    out->failed = 0;
    out->used = 0;
}

static void flush(text_out_t *out)
{
    if (out->used && !out->failed && out->sink(out->ctx, out->buffer, out->used) != 0) {
        out->failed = 1;
    }
    out->used = 0;
}

int text_out_end(text_out_t *out)
{
    flush(out);
    return out->failed ? -1 : 0;
}

void text_bytes(text_out_t *out, const char *bytes, size_t len)
{
    while (len) {
        size_t room = sizeof out->buffer - out->used;
        size_t part = len < room ? len : room;

        memcpy(out->buffer + out->used, bytes, part);
        out->used += part;
        bytes += part;
        len -= part;
        if (out->used == sizeof out->buffer) {
            flush(out);
        }
    }
}

void text_put(text_out_t *out, const char *text)
{
    text_bytes(out, text, strlen(text));
}

void text_char(text_out_t *out, char c)
{
    text_bytes(out, &c, 1);
}

void text_uint(text_out_t *out, uint64_t value)
{
    char digits[20];
    int at = sizeof digits;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    text_bytes(out, digits + at, sizeof digits - (size_t)at);
}

void text_int(text_out_t *out, int64_t value)
{
    if (value < 0) {
        text_char(out, '-');
        text_uint(out, 0 - (uint64_t)value);
        return;
    }
    text_uint(out, (uint64_t)value);
}

void text_real(text_out_t *out, double value)
{
    char number[40];

    if (!isfinite(value)) {
        value = 0;
    }
    snprintf(number, sizeof number, "%.15g", value);
    if (strtod(number, NULL) != value) {
        snprintf(number, sizeof number, "%.17g", value);
    }
    text_put(out, number);
}

void text_seconds(text_out_t *out, uint64_t usec)
{
    uint64_t part = usec % 1000000;
    char digits[7];
    int len = 6;

    text_uint(out, usec / 1000000);
    if (part == 0) {
        return;
    }
    snprintf(digits, sizeof digits, "%06u", (unsigned)part);
    while (digits[len - 1] == '0') {
        len--;
    }
    text_char(out, '.');
    text_bytes(out, digits, (size_t)len);
}

void text_time(text_out_t *out, int64_t wall_usec)
{
    time_t seconds = (time_t)(wall_usec / 1000000);
    struct tm tm;
    char text[80];

    gmtime_r(&seconds, &tm);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec, (int)(wall_usec / 1000 % 1000));
    text_put(out, text);
}

/* Length of the UTF-8 sequence at s, 0 when there is none: RFC 3629, section 4. */
static int utf8_len(const unsigned char *s)
{
    int len, i;

    if (s[0] < 0x80) {
        return 1;
    }
    len = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : s[0] >= 0xE0 && s[0] <= 0xEF ? 3 : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : 0;
    for (i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0; /* also at the end: NUL is none */
        }
    }
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90)
        || (s[0] == 0xF4 && s[1] > 0x8F)) {
        return 0;
    }
    return len;
}

/* Writes text; what `escape` gives for an ASCII character stands in its place (NULL: the character itself). */
static void escaped(text_out_t *out, const char *text, const char *(*escape)(unsigned char c, char *room))
{
    const unsigned char *s = (const unsigned char *)text, *from = s;
    char room[12];

    while (*s) {
        int len = utf8_len(s);
        const char *instead = len == 1 ? escape(*s, room) : len == 0 ? replacement : NULL;

        if (instead) {
            text_bytes(out, (const char *)from, (size_t)(s - from));
            text_put(out, instead);
            s++;
            from = s;
        }
        else {
            s += len;
        }
    }
    text_bytes(out, (const char *)from, (size_t)(s - from));
}

static const char *json_escape(unsigned char c, char *room)
{
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
    }
    if (c < 0x20 || c == 0x7F || c == '<' || c == '>' || c == '&') {
        snprintf(room, 12, "\\u%04x", c);
        return room;
    }
    return NULL;
}

void text_json(text_out_t *out, const char *text)
{
    text_char(out, '"');
    escaped(out, text, json_escape);
    text_char(out, '"');
}

static const char *html_escape(unsigned char c, char *room)
{
    (void)room;
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return c < 0x20 && c != '\n' && c != '\t' ? replacement : NULL;
    }
}

void text_html(text_out_t *out, const char *text)
{
    escaped(out, text, html_escape);
}

static const char *label_escape(unsigned char c, char *room)
{
    (void)room;
    switch (c) {
    case '\\': return "\\\\";
    case '"': return "\\\"";
    case '\n': return "\\n";
    default: return c < 0x20 ? replacement : NULL;
    }
}

void text_label(text_out_t *out, const char *text)
{
    escaped(out, text, label_escape);
}
