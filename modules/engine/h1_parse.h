/*
 * h1_parse.h - heads of HTTP/1.x messages, read strictly and in one pass.
 * Depends: message.h, libc only.
 * Memory:  nothing is allocated: spans borrow from the bytes given, fields go into head->fields.field, which the caller sets to an array
 *          of MESSAGE_FIELDS_MAX before the call (also for a second try: nothing else of *head has to be set).
 * Locking: none.
 * A request that is not plainly good is not judged here: httpd reads the same bytes again on the classic plane and answers as it always
 * did (400, 414, 417, 501, 505, or even 200 where it is lenient). So what is accepted is what can be read in one way only:
 *   - "METHOD SP /target SP HTTP/1.0|1.1 CRLF", no fragment; every line ends with CRLF, none is folded, no control characters
 *   - names are tokens, right before the colon; Host once and well formed (1.0 may do without)
 *   - Content-Length once, a plain number; or, in 1.1, Transfer-Encoding once and exactly "chunked"; never both
 *   - Expect: 100-continue and Upgrade: websocket and nothing else, and only where they mean something
 *   - Connection lists plain names, and none that somebody between client and member relies on
 *   - LimitRequestLine, LimitRequestFieldSize, LimitRequestFields kept
 * A member's answer is read as mod_proxy_http reads it (bare LF ends a line, folded lines are unfolded), but for what makes its length or
 * its fields ambiguous: that is bad.
 * Sources: RFC 9112, 2 to 6 and 9; RFC 9110, 5, 7.6.1 and 10.1.1.
 */
#ifndef ENGINE_H1_PARSE_H
#define ENGINE_H1_PARSE_H

#include "message.h"

enum {
    H1_MORE = 0,    /* the head is not complete yet */
    H1_CLASSIC = -1, /* h1_request(): for the classic plane */
    H1_BAD = -1     /* h1_answer(), h1_trailers() */
};

#define H1_ANSWER_LINE_MAX 8191 /* of a status line or a field of an answer, as mod_proxy_http without ResponseFieldSize */
#define H1_BLANK_LINES_MAX 8    /* before a request line; httpd skips some more */

typedef struct {
    uint32_t line_bytes;        /* LimitRequestLine */
    uint32_t field_bytes;       /* LimitRequestFieldSize */
    uint32_t fields;            /* LimitRequestFields; 0: no limit but MESSAGE_FIELDS_MAX */
} h1_limits_t;

/**
 * The head of a request.
 * @return > 0 its length (head->head_bytes), blank lines before it included; H1_MORE; H1_CLASSIC. After H1_MORE it is
 *         enough to ask again when another '\n' has come, or some thousand bytes: so each byte is read a bounded number of times.
 */
int h1_request(const char *at, size_t len, const h1_limits_t *limits, request_head_t *head);

/**
 * The head of an answer to a request of this method.
 * @param at    folded lines are joined in place once the head is complete
 * @return > 0 its length; H1_MORE; H1_BAD
 */
int h1_answer(char *at, size_t len, method_e method, answer_head_t *head);

/**
 * What follows the last chunk: fields and an empty line.
 * @param strict lines end with CRLF (what clients send)
 * @return > 0 its length; H1_MORE; H1_BAD
 */
int h1_trailers(char *at, size_t len, const h1_limits_t *limits, int strict, fields_t *trailers);

/** "0" to "18446744073709551614", no sign, no zero in front, nothing else. @return 0 if it is something else */
int h1_length(span_t text, uint64_t *length);

#endif
