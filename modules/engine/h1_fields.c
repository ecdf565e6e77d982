/*
 * h1_fields.c - lines of fields, whoever sends them; see h1_inside.h. Every byte is looked at once: names by table, values 16 (or 8) bytes at a time.
 */
#include "h1_inside.h"

/* Has this name, the last one, stood before? Asked when it falls on a bit that is set. */
static int stood_before(const fields_t *fields)
{
    const field_t *last = &fields->field[fields->count - 1];

    for (const field_t *f = fields->field; f < last; f++) {
        if (f->known == FIELD_OTHER && spans_equal(f->name, last->name)) {
            return 1;
        }
    }
    return 0;
}

static inline void add_field(reading_t *r, fields_t *fields, const char *name, const char *colon, const char *value, const char *value_end)
{
    field_t *f = &fields->field[fields->count++];
    uint32_t len = (uint32_t)(colon - name);
    field_e known = field_of(name, len);

    f->name = (span_t){ name, len };
    f->value = (span_t){ value, (uint32_t)(value_end - value) };
    f->known = (uint8_t)known;
    f->hop = 0;
    if (known != FIELD_OTHER) {
        if (fields->first[known]) {
            r->twice |= UINT64_C(1) << known;
            fields->repeated = 1;
        }
        else {
            fields->first[known] = (uint16_t)fields->count;
        }
    }
    else {
        uint64_t bit = UINT64_C(1) << ((len * 5 + (unsigned)(name[0] | 0x20) * 3 + (unsigned)(colon[-1] | 0x20)) & 63);

        if (r->others & bit && !fields->repeated) {
            fields->repeated = (uint8_t)stood_before(fields);
        }
        r->others |= bit;
    }
}

/* The text of one field's line, and those folded into it. @return 1, H1_MORE, H1_BAD */
static inline __attribute__((always_inline)) int read_value(reading_t *r, const char *line, const char **text_end, lines_e lines)
{
    const char *p = r->at;
    int eol;

    for (;;) {
        p = scan_text(p, r->end);
        if ((size_t)(p - line) > r->line_max) {
            return H1_BAD;
        }
        if (p == r->end) {
            return H1_MORE;
        }
        eol = line_end(p, r->end, lines);
        if (eol <= 0) {
            return eol;
        }
        if (lines == LINES_STRICT) {
            break; /* a folded line is one without a name */
        }
        if (p + eol == r->end) {
            return H1_MORE;
        }
        if (!is_blank(p[eol])) {
            break;
        }
        r->folded = 1;
        p += eol;
    }
    *text_end = p;
    r->at = p + eol;
    return 1;
}

/* Fields up to and with the empty line. @return 1, H1_MORE, H1_BAD */
static inline __attribute__((always_inline)) int read_fields(reading_t *r, fields_t *fields, lines_e lines)
{
    for (;;) {
        const char *line = r->at, *p = line, *value, *text_end;
        int said;

        if (p == r->end) {
            return H1_MORE;
        }
        p = scan_token(p, r->end);
        if (p == r->end) {
            return (size_t)(p - line) > r->line_max ? H1_BAD : H1_MORE;
        }
        if (p == line) {
            said = line_end(p, r->end, lines);
            if (said > 0) {
                r->at = p + said;
                return 1;
            }
            return said;
        }
        if (*p != ':' || fields->count >= r->fields_max) {
            return H1_BAD;
        }
        for (value = p + 1; value < r->end && is_blank(*value); value++) {
        }
        r->at = value;
        said = read_value(r, line, &text_end, lines);
        if (said <= 0) {
            return said;
        }
        while (text_end > value && is_blank(text_end[-1])) {
            text_end--;
        }
        add_field(r, fields, line, p, value, text_end);
    }
}

void h1_unfold(fields_t *fields)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        span_t *value = &fields->field[i].value;
        char *from = (char *)value->at, *to = from, *end = from + value->len;

        for (; from < end; from++) {
            if (*from != '\r' && *from != '\n') {
                *to++ = *from;
            }
        }
        value->len = (uint32_t)(to - value->at);
        while (value->len && is_blank(value->at[value->len - 1])) {
            value->len--;
        }
        while (value->len && is_blank(value->at[0])) {
            value->at++;
            value->len--;
        }
    }
}

int h1_fields(reading_t *r, fields_t *fields, lines_e lines)
{
    return lines == LINES_STRICT ? read_fields(r, fields, LINES_STRICT)
           : lines == LINES_FOLDED ? read_fields(r, fields, LINES_FOLDED) : read_fields(r, fields, LINES_LENIENT);
}

int h1_trailers(char *at, size_t len, const h1_limits_t *limits, int strict, fields_t *trailers)
{
    reading_t r = { .at = at, .end = at + len, .line_max = limits->field_bytes, .fields_max = MESSAGE_FIELDS_MAX };
    int said;

    if (limits->fields && limits->fields < r.fields_max) {
        r.fields_max = limits->fields;
    }
    begin_fields(trailers);
    said = h1_fields(&r, trailers, strict ? LINES_FOLDED : LINES_LENIENT);
    if (said <= 0) {
        return said;
    }
    if (r.folded) {
        h1_unfold(trailers);
    }
    return (int)(r.at - at);
}

/* ---- what both heads have ----------------------------------------------------------------------------------------------------- */

int h1_length(span_t text, uint64_t *length)
{
    uint64_t n = 0;

    if (text.len == 0 || text.len > 18 || (text.len > 1 && text.at[0] == '0')) {
        return 0;
    }
    for (uint32_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned char)text.at[i] - (unsigned)'0';

        if (digit > 9) {
            return 0;
        }
        n = n * 10 + digit;
    }
    *length = n;
    return 1;
}

void h1_hops(fields_t *fields, uint64_t hops)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        fields->field[i].hop = (uint8_t)(hops >> fields->field[i].known & 1);
    }
}

void h1_hop(fields_t *fields, span_t name)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        if (spans_equal(fields->field[i].name, name)) {
            fields->field[i].hop = 1;
        }
    }
}
