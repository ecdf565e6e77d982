/* set_file.c - see set_file.h. */
#include <string.h>

#include "set_file.h"

const char *gate_set_file_word(const char *text, size_t len, char out[GATE_SET_WORD])
{
    size_t keep = len < GATE_SET_WORD ? len : GATE_SET_WORD - 4;

    for (size_t i = 0; i < keep; i++) {
        out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
    strcpy(out + keep, keep < len ? "..." : "");
    return out;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static int refuse(gate_set_file_t *out, uint64_t line, const char *text, size_t len, const char *why)
{
    out->line = line;
    out->why = why;
    gate_set_file_word(text, len, out->what);
    return -1;
}

/* A line without its comment and outer blanks; never empty. */
static int read_line(gate_ipset_builder_t *builder, uint64_t line, const char *text, size_t len, gate_set_file_t *out)
{
    int exclude = text[0] == '!';
    const char *why = NULL;
    gate_prefix_t prefix;
    gate_prefix_result_e result;

    if (exclude) {
        do {
            text++;
            len--;
        } while (len && is_blank(text[0]));
    }
    result = gate_prefix_parse(text, len, &prefix, &why);
    if (result == GATE_PREFIX_BAD) {
        return refuse(out, line, text, len, why);
    }
    if (result == GATE_PREFIX_HOST_BITS && out->odd_lines++ == 0) {
        out->odd_line = line;
        gate_set_file_word(text, len, out->odd_what);
        gate_prefix_text(&prefix, out->odd_as);
    }
    if (gate_ipset_builder_add(builder, &prefix, exclude) != 0) {
        return refuse(out, line, text, len, "no longer fits into memory");
    }
    return 0;
}

int gate_set_file_read(gate_ipset_builder_t *builder, const char *text, size_t len, gate_set_file_t *out)
{
    const char *end = text + len;
    uint64_t line = 0;

    memset(out, 0, sizeof *out);
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3; /* byte order mark */
    }
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text)), *next, *from = text;

        next = stop ? stop + 1 : end;
        stop = stop ? stop : end;
        line++;
        for (const char *c = from; c < stop; c++) {
            if (*c == '#' || *c == ';') {
                stop = c;
                break;
            }
        }
        while (from < stop && is_blank(*from)) {
            from++;
        }
        while (stop > from && is_blank(stop[-1])) {
            stop--;
        }
        if (from < stop && read_line(builder, line, from, (size_t)(stop - from), out) != 0) {
            return -1;
        }
        text = next;
    }
    return 0;
}
