/* h1_answer.c - heads of members' answers; see h1_parse.h. */
#include "h1_inside.h"

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
                h1_hop(fields, name);
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
    said = h1_fields(&r, &head->fields, LINES_LENIENT);
    if (said <= 0) {
        return said;
    }
    if (r.folded) {
        h1_unfold(&head->fields);
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
    h1_hops(&head->fields, method == METHOD_HEAD ? HOP_ANSWER & ~BIT(FIELD_TRANSFER_ENCODING) : HOP_ANSWER);
    close = read_answer_connection(&head->fields);
    /* one of HTTP/1.0 is not kept, as mod_proxy_http: Transfer-Encoding there makes its framing doubtful anyway */
    head->keep_alive = !close && head->minor != 0 && head->body != BODY_CLOSE && !head->upgraded;
    keep_alive = fields_known(&head->fields, FIELD_KEEP_ALIVE);
    head->keep_alive_s = keep_alive ? read_timeout(keep_alive->value) : 0;
    return (int)head->head_bytes;
}
