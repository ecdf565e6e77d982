/*
 * h1_parse.c - see h1_parse.h. Every byte is looked at once: names by table, values 16 (or 8) bytes at a time.
 */
#include <string.h>

#include "h1_parse.h"
#include "h1_scan.h"

/* ---- fields ------------------------------------------------------------------------------------------------------------------ */

typedef enum { LINES_STRICT, LINES_FOLDED /* CRLF, folding allowed */, LINES_LENIENT /* LF too */ } lines_e;

typedef struct {
    const char *at, *end;
    uint32_t line_max, fields_max;
    uint64_t twice;             /* bit of each known name that stood more than once */
    uint64_t others;            /* bits that unknown names fell on */
    int folded;
} reading_t;

static inline int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* p stands on what ended a line's text. @return bytes of the line's end; H1_MORE; H1_BAD */
static inline int line_end(const char *p, const char *end, lines_e lines)
{
    if (*p == '\r') {
        return p + 1 == end ? H1_MORE : p[1] == '\n' ? 2 : H1_BAD;
    }
    return lines == LINES_LENIENT && *p == '\n' ? 1 : H1_BAD;
}

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

static void begin_fields(fields_t *fields)
{
    fields->count = 0;
    fields->repeated = 0;
    memset(fields->first, 0, sizeof fields->first);
}

/* Line ends in values go, the blanks around them stay: as httpd joins folded lines. */
static void unfold(fields_t *fields)
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

int h1_trailers(char *at, size_t len, const h1_limits_t *limits, int strict, fields_t *trailers)
{
    reading_t r = { .at = at, .end = at + len, .line_max = limits->field_bytes, .fields_max = MESSAGE_FIELDS_MAX };
    int said;

    if (limits->fields && limits->fields < r.fields_max) {
        r.fields_max = limits->fields;
    }
    begin_fields(trailers);
    said = strict ? read_fields(&r, trailers, LINES_FOLDED) : read_fields(&r, trailers, LINES_LENIENT);
    if (said <= 0) {
        return said;
    }
    if (r.folded) {
        unfold(trailers);
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

static inline int is_twice(const reading_t *r, field_e known)
{
    return (int)(r->twice >> known & 1);
}

#define BIT(field) (UINT64_C(1) << (field))

/* For this connection only, whether Connection says so or not. */
#define HOP_ALWAYS (BIT(FIELD_CONNECTION) | BIT(FIELD_KEEP_ALIVE) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_TE) | BIT(FIELD_TRAILER) \
                    | BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_UPGRADE))

static void mark_known_hops(fields_t *fields, uint64_t hops)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        fields->field[i].hop = (uint8_t)(hops >> fields->field[i].known & 1);
    }
}

static void mark_named_hop(fields_t *fields, span_t name)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        if (spans_equal(fields->field[i].name, name)) {
            fields->field[i].hop = 1;
        }
    }
}

/* ---- request ----------------------------------------------------------------------------------------------------------------- */

static method_e method_of(const char *at, size_t len)
{
    switch (len) {
    case 3:
        return memcmp(at, "GET", 3) == 0 ? METHOD_GET : memcmp(at, "PUT", 3) == 0 ? METHOD_PUT : METHOD_OTHER;
    case 4:
        return memcmp(at, "HEAD", 4) == 0 ? METHOD_HEAD : memcmp(at, "POST", 4) == 0 ? METHOD_POST : METHOD_OTHER;
    case 5:
        return memcmp(at, "PATCH", 5) == 0 ? METHOD_PATCH : memcmp(at, "TRACE", 5) == 0 ? METHOD_TRACE : METHOD_OTHER;
    case 6:
        return memcmp(at, "DELETE", 6) == 0 ? METHOD_DELETE : METHOD_OTHER;
    case 7:
        return memcmp(at, "OPTIONS", 7) == 0 ? METHOD_OPTIONS : memcmp(at, "CONNECT", 7) == 0 ? METHOD_CONNECT : METHOD_OTHER;
    default:
        return METHOD_OTHER;
    }
}

/* Is there a "." or ".." among the segments? */
static int has_dot_segment(span_t path)
{
    const char *end = path.at + path.len;

    for (const char *p = path.at; p < end; p++) {
        size_t len;

        if (*p != '/') {
            continue;
        }
        for (len = 0; p + 1 + len < end && p[1 + len] != '/'; len++) {
        }
        if ((len == 1 && p[1] == '.') || (len == 2 && p[1] == '.' && p[2] == '.')) {
            return 1;
        }
    }
    return 0;
}

/* The target in origin-form; head->target.at is set and stands on '/'. @return where it ends (may be `end`), NULL: not plain */
static const char *read_target(const char *end, request_head_t *head)
{
    const char *target = head->target.at, *p = target;
    int plain = 1, dots = 0;

    for (; p < end; p++) {
        unsigned char what = scan_class[(unsigned char)*p];

        if (what & SCAN_PATH) {
            continue;
        }
        if (*p == '/') {
            plain &= p == target || p[-1] != '/';
        }
        else if (*p == '.') {
            dots |= p[-1] == '/';
        }
        else if (*p == '?' || !(what & SCAN_TARGET)) {
            break;
        }
        else {
            plain = 0;
        }
    }
    head->path = (span_t){ target, (uint32_t)(p - target) };
    head->query = (span_t){ NULL, 0 };
    head->plain_path = (uint8_t)(plain && !(dots && has_dot_segment(head->path)));
    if (p < end && *p == '?') {
        const char *query = ++p;

        while (p < end && scan_class[(unsigned char)*p] & SCAN_TARGET) {
            p++;
        }
        head->query = (span_t){ query, (uint32_t)(p - query) };
    }
    return p < end && *p != ' ' ? NULL : p;
}

/* @return 1, H1_MORE, H1_CLASSIC; r->at is behind the line then */
static int read_request_line(reading_t *r, uint32_t line_max, request_head_t *head)
{
    const char *line = r->at, *p = scan_token(line, r->end), *end = r->end;
    size_t left;

    if (p == end) {
        goto more;
    }
    if (*p != ' ' || p == line) {
        return H1_CLASSIC;
    }
    head->method = (span_t){ line, (uint32_t)(p - line) };
    head->known = method_of(line, head->method.len);
    if (++p == end) {
        goto more;
    }
    if (*p != '/') {
        return H1_CLASSIC; /* absolute, authority and asterisk form */
    }
    head->target.at = p;
    p = read_target(end, head);
    if (!p) {
        return H1_CLASSIC;
    }
    if (p == end) {
        goto more;
    }
    head->target.len = (uint32_t)(p - head->target.at);
    p++;
    left = (size_t)(end - p);
    if (left < 10) {
        if (memcmp(p, "HTTP/1.", left < 7 ? left : 7) != 0 || (left > 8 && p[8] != '\r')) {
            return H1_CLASSIC;
        }
        goto more;
    }
    if (memcmp(p, "HTTP/1.", 7) != 0 || (p[7] != '1' && p[7] != '0') || p[8] != '\r' || p[9] != '\n') {
        return H1_CLASSIC;
    }
    head->major = 1;
    head->minor = (uint8_t)(p[7] - '0');
    head->line = (span_t){ line, (uint32_t)(p + 8 - line) };
    r->at = p + 10;
    return head->line.len > line_max ? H1_CLASSIC : 1;
more:
    return (size_t)(end - line) > line_max ? H1_CLASSIC : H1_MORE;
}

static int is_port(const char *at, size_t len)
{
    unsigned n = 0;

    if (len == 0 || len > 5 || at[0] == '0') {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)at[i] - (unsigned)'0';

        if (digit > 9) {
            return 0;
        }
        n = n * 10 + digit;
    }
    return n <= 65535;
}

/* Four numbers, none with a zero in front: as httpd has it, their size does not matter. */
static int is_dotted(const char *at, size_t len)
{
    int dots = 0;

    for (size_t i = 0; i < len; i++) {
        if (at[i] == '.') {
            dots++;
        }
        else if (at[i] == '0' && (i == 0 || at[i - 1] == '.') && i + 1 < len && at[i + 1] != '.') {
            return 0;
        }
    }
    return dots == 3;
}

/* name[:port], without what httpd would take away or refuse (vhost.c); an address in brackets is for the classic plane. */
static int is_host(span_t host)
{
    size_t len = 0, label = 0;
    int letters = 0;
    const char *at = host.at;

    for (; len < host.len && at[len] != ':'; len++) {
        unsigned char what = scan_class[(unsigned char)at[len]];

        if (!(what & SCAN_HOST)) {
            return 0;
        }
        if (at[len] == '.') {
            if (len == label) {
                return 0; /* empty label */
            }
            label = len + 1;
        }
        letters |= what & SCAN_HOST_NAME;
    }
    if (len == label || (len < host.len && !is_port(at + len + 1, host.len - len - 1))) {
        return 0;
    }
    if (!letters) {
        return is_dotted(at, len);
    }
    return label == 0 || (scan_class[(unsigned char)at[label]] & SCAN_ALPHA);
}

/* One word of Connection. @return 0: for the classic plane */
static int read_option(request_head_t *head, span_t word, int *close, int *upgrade)
{
    if (span_is(word, "close")) {
        *close = 1;
        return 1;
    }
    switch (field_of(word.at, word.len)) {
    case FIELD_KEEP_ALIVE:
        head->keep_alive_said = 1;
        return 1;
    case FIELD_UPGRADE:
        *upgrade = 1;
        return 1;
    case FIELD_TE:
    case FIELD_TRAILER:
        return 1;
    case FIELD_OTHER:
        mark_named_hop(&head->fields, word);
        return 1;
    default:
        return 0;
    }
}

/* All Connection lines: words that are tokens between commas and single blanks, nothing empty. @return 0: for the classic plane */
static int read_connection(request_head_t *head, int *upgrade)
{
    int close = 0;

    for (const field_t *f = fields_known(&head->fields, FIELD_CONNECTION); f; f = fields_next(&head->fields, f)) {
        const char *p = f->value.at, *end = p + f->value.len;

        for (;;) {
            const char *word = p;

            p = scan_token(p, end);
            if (p == word || !read_option(head, (span_t){ word, (uint32_t)(p - word) }, &close, upgrade)) {
                return 0;
            }
            if (p == end) {
                break;
            }
            if (*p++ != ',') {
                return 0;
            }
            if (p < end && *p == ' ') {
                p++;
            }
        }
    }
    head->keep_alive = !close && (head->minor == 1 || head->keep_alive_said);
    return 1;
}

static int read_body_length(const reading_t *r, request_head_t *head)
{
    const field_t *length = fields_known(&head->fields, FIELD_CONTENT_LENGTH);
    const field_t *coding = fields_known(&head->fields, FIELD_TRANSFER_ENCODING);

    head->body = BODY_NONE;
    head->length = 0;
    if (length) {
        head->body = BODY_LENGTH;
        return !coding && !is_twice(r, FIELD_CONTENT_LENGTH) && h1_length(length->value, &head->length);
    }
    if (coding) {
        head->body = BODY_CHUNKED;
        return head->minor == 1 && !is_twice(r, FIELD_TRANSFER_ENCODING) && span_is(coding->value, "chunked");
    }
    return 1;
}

static int has_trailers_word(const fields_t *fields)
{
    for (const field_t *f = fields_known(fields, FIELD_TE); f; f = fields_next(fields, f)) {
        span_t v = f->value;

        for (uint32_t i = 0; i + 8 <= v.len; i++) {
            if (span_is((span_t){ v.at + i, 8 }, "trailers")) {
                return 1;
            }
        }
    }
    return 0;
}

/* What the fields mean for the message. @return 1 or H1_CLASSIC */
static int read_request_meaning(const reading_t *r, request_head_t *head)
{
    fields_t *fields = &head->fields;
    const field_t *host = fields_known(fields, FIELD_HOST), *expect = fields_known(fields, FIELD_EXPECT);
    const field_t *upgrade = fields_known(fields, FIELD_UPGRADE);
    int wants_upgrade = 0;

    if (host ? is_twice(r, FIELD_HOST) || !is_host(host->value) : head->minor != 0) {
        return H1_CLASSIC;
    }
    head->host = host ? host->value : (span_t){ NULL, 0 };
    if (!read_body_length(r, head)) {
        return H1_CLASSIC;
    }
    head->keep_alive_said = 0;
    mark_known_hops(fields, HOP_ALWAYS);
    if (!fields->first[FIELD_CONNECTION]) {
        head->keep_alive = head->minor == 1;
    }
    else if (!read_connection(head, &wants_upgrade)) {
        return H1_CLASSIC;
    }
    head->expect_continue = expect != NULL;
    if (expect && (head->minor == 0 || head->body == BODY_NONE || (head->body == BODY_LENGTH && head->length == 0) || is_twice(r, FIELD_EXPECT)
                   || !span_is(expect->value, "100-continue"))) {
        return H1_CLASSIC;
    }
    head->upgrade = upgrade != NULL;
    if (upgrade && (!wants_upgrade || head->minor == 0 || is_twice(r, FIELD_UPGRADE) || !span_is(upgrade->value, "websocket")
                    || head->body != BODY_NONE)) {
        return H1_CLASSIC;
    }
    head->te_trailers = (uint8_t)(fields->first[FIELD_TE] && has_trailers_word(fields));
    return 1;
}

int h1_request(const char *at, size_t len, const h1_limits_t *limits, request_head_t *head)
{
    reading_t r = { .at = at, .end = at + len, .line_max = limits->field_bytes, .fields_max = MESSAGE_FIELDS_MAX };
    int said;

    if (limits->fields && limits->fields < r.fields_max) {
        r.fields_max = limits->fields;
    }
    for (int blank = 0; r.at < r.end && *r.at == '\r'; blank++) {
        said = blank == H1_BLANK_LINES_MAX ? H1_CLASSIC : line_end(r.at, r.end, LINES_STRICT);
        if (said <= 0) {
            return said;
        }
        r.at += said;
    }
    said = read_request_line(&r, limits->line_bytes, head);
    if (said <= 0) {
        return said;
    }
    begin_fields(&head->fields);
    said = read_fields(&r, &head->fields, LINES_STRICT);
    if (said <= 0) {
        return said;
    }
    head->head_bytes = (uint32_t)(r.at - at);
    /* lines of one name count as one then: httpd joins them before it looks at their length */
    if (head->fields.repeated && head->head_bytes > limits->field_bytes) {
        return H1_CLASSIC;
    }
    return read_request_meaning(&r, head) < 0 ? H1_CLASSIC : (int)head->head_bytes;
}

/* ---- answer ------------------------------------------------------------------------------------------------------------------ */

/* "HTTP/1.x SP nnn [SP reason]". @return 1, H1_MORE, H1_BAD; r->at is behind the line then */
static int read_status_line(reading_t *r, answer_head_t *head)
{
    const char *line = r->at, *p = scan_text(line, r->end);
    size_t len = (size_t)(p - line);
    int eol;

    if (memcmp(line, "HTTP/1.", len < 7 ? len : 7) != 0 || len > r->line_max) {
        return H1_BAD;
    }
    if (p == r->end) {
        return H1_MORE;
    }
    eol = line_end(p, r->end, LINES_LENIENT);
    if (eol <= 0) {
        return eol;
    }
    if (len < 12 || line[7] < '0' || line[7] > '9' || line[8] != ' ' || (len > 12 && line[12] != ' ')) {
        return H1_BAD;
    }
    for (int i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9') {
            return H1_BAD;
        }
    }
    head->major = 1;
    head->minor = (uint8_t)(line[7] - '0');
    head->status = (uint16_t)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
    head->reason = (span_t){ line + (len > 12 ? 13 : 12), (uint32_t)(len > 12 ? len - 13 : 0) };
    r->at = p + eol;
    return head->status < 100 ? H1_BAD : 1;
}

/* Connection of an answer, read as mod_proxy does: words between commas, semicolons and blanks. @return 1 if "close" is one */
static int read_answer_connection(fields_t *fields)
{
    int close = 0;

    for (const field_t *f = fields_known(fields, FIELD_CONNECTION); f; f = fields_next(fields, f)) {
        const char *p = f->value.at, *end = p + f->value.len;

        while (p < end) {
            const char *word = p;

            while (p < end && *p != ',' && *p != ';' && !is_blank(*p)) {
                p++;
            }
            if (p > word) {
                span_t name = { word, (uint32_t)(p - word) };

                close |= span_is(name, "close");
                mark_named_hop(fields, name);
            }
            p += p < end;
        }
    }
    return close;
}

/* N of "timeout=N"; 0 if it is not said. */
static uint32_t read_timeout(span_t value)
{
    for (uint32_t i = 0; i + 8 < value.len; i++) {
        if (span_is((span_t){ value.at + i, 8 }, "timeout=")) {
            uint32_t n = 0;

            for (i += 8; i < value.len && value.at[i] >= '0' && value.at[i] <= '9' && n < 1000000; i++) {
                n = n * 10 + (uint32_t)(value.at[i] - '0');
            }
            return n;
        }
    }
    return 0;
}

/* How much is body (RFC 9112, 6.3). @return 0: that cannot be told for sure */
static int read_answer_body(const reading_t *r, method_e method, answer_head_t *head)
{
    const field_t *length = fields_known(&head->fields, FIELD_CONTENT_LENGTH);
    const field_t *coding = fields_known(&head->fields, FIELD_TRANSFER_ENCODING);
    int none = method == METHOD_HEAD || head->status < 200 || head->status == 204 || head->status == 304;

    head->length = UINT64_MAX;
    if (coding && (length || is_twice(r, FIELD_TRANSFER_ENCODING) || !span_is(coding->value, "chunked"))) {
        return 0;
    }
    if (length && (is_twice(r, FIELD_CONTENT_LENGTH) || !h1_length(length->value, &head->length))) {
        return 0;
    }
    head->body = none ? BODY_NONE : coding ? BODY_CHUNKED : length ? BODY_LENGTH : BODY_CLOSE;
    return 1;
}

#define HOP_ANSWER (HOP_ALWAYS | BIT(FIELD_PROXY_AUTHENTICATE))

int h1_answer(char *at, size_t len, method_e method, answer_head_t *head)
{
    reading_t r = { .at = at, .end = at + len, .line_max = H1_ANSWER_LINE_MAX, .fields_max = MESSAGE_FIELDS_MAX };
    const field_t *keep_alive;
    int said, close;

    if (r.at < r.end && (*r.at == '\r' || *r.at == '\n')) {
        said = line_end(r.at, r.end, LINES_LENIENT); /* one stray empty line, as mod_proxy_http */
        if (said <= 0) {
            return said;
        }
        r.at += said;
    }
    said = read_status_line(&r, head);
    if (said <= 0) {
        return said;
    }
    head->lines = (span_t){ NULL, 0 };
    begin_fields(&head->fields);
    said = read_fields(&r, &head->fields, LINES_LENIENT);
    if (said <= 0) {
        return said;
    }
    if (r.folded) {
        unfold(&head->fields);
    }
    head->head_bytes = (uint32_t)(r.at - at);
    if (!read_answer_body(&r, method, head)) {
        return H1_BAD;
    }
    head->upgraded = head->status == 101;
    head->type_late = 0;
    if (head->upgraded && (head->minor == 0 || !head->fields.first[FIELD_UPGRADE])) {
        return H1_BAD;
    }
    /* of an answer to HEAD it says what GET would get, and mod_proxy_http lets it pass */
    mark_known_hops(&head->fields, method == METHOD_HEAD ? HOP_ANSWER & ~BIT(FIELD_TRANSFER_ENCODING) : HOP_ANSWER);
    close = read_answer_connection(&head->fields);
    /* one of HTTP/1.0 is not kept, as mod_proxy_http: Transfer-Encoding there makes its framing doubtful anyway */
    head->keep_alive = !close && head->minor != 0 && head->body != BODY_CLOSE && !head->upgraded;
    keep_alive = fields_known(&head->fields, FIELD_KEEP_ALIVE);
    head->keep_alive_s = keep_alive ? read_timeout(keep_alive->value) : 0;
    return (int)head->head_bytes;
}
