/* h1_request.c - heads of requests; see h1_parse.h. */
#include "h1_inside.h"

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
        h1_hop(&head->fields, word);
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
    h1_hops(fields, HOP_ALWAYS);
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
    said = h1_fields(&r, &head->fields, LINES_STRICT);
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
