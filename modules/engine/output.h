/*
 * output.h - output filters of httpd's modules (AddOutputFilterByType, SetOutputFilter: DEFLATE, BROTLI_COMPRESS) on the loop.
 * Depends: httpd, route.h.
 * The filters are the modules' own, put on the exchange's request_rec as their modules put them, above a sink that hands what comes out to the
 * exchange. So codings, Vary, ETag and what is left alone are theirs by construction.
 * Memory:  lives in r->pool; nothing is kept back but what the filters keep (mod_deflate: DeflateBufferSize).
 * Locking: belongs to the exchange's loop.
 */
#ifndef ENGINE_OUTPUT_H
#define ENGINE_OUTPUT_H

#include <httpd.h>

#include "message.h"
#include "route.h"

typedef struct output output_t;

typedef struct {
    /**
     * The answer's head as the filters left it: called once, before data and end, from within output_data(), _flush() or _end().
     * Fields, status and body/length are the client's now: BODY_LENGTH when the whole answer was seen before its first byte went on, else
     * BODY_CHUNKED. Valid during the call.
     */
    void (*head)(void *user, const answer_head_t *head);
    void (*data)(void *user, const char *bytes, size_t len);
    void (*flush)(void *user);
    void (*end)(void *user);
    /** A filter failed: the answer cannot be completed. */
    void (*failed)(void *user);
    /** A filter wants an error page of this status instead, before head was called; nothing but end follows. */
    void (*refused)(void *user, int status);
} output_ops_t;

/**
 * May the answer to a request with Range be cut by httpd's own filter? As on the classic plane: where the whole of it comes in one reading.
 * @param range  the request's field
 */
int output_may_cut(const answer_head_t *head, const span_t *range);

/** Is there anything to do for an answer of this type? A cheap look before output_begin(). type: value of Content-Type, NULL: none */
int output_wanted(const route_t *route, uint16_t status, const span_t *type);

/**
 * @param r     as route_request() made it; becomes the filters' own: headers_out, status, content_type are set from `head`
 * @param head  of the answer, hop-by-hop fields gone, before Header directives are applied
 * @param cut   the request has Range: httpd's byte range filter comes last, and mod_headers applies the Header directives before it
 * @return NULL: no memory
 */
output_t *output_begin(const route_t *route, request_rec *r, const answer_head_t *head, int cut, const output_ops_t *ops, void *user);
/** The page that httpd has for this status, canned or an ErrorDocument's text, from its head to its end: ops are called before it returns. */
void output_page(request_rec *r, int status, const output_ops_t *ops, void *user);
/** @param last  nothing follows: output_end() need not be called */
void output_data(output_t *o, const char *bytes, size_t len, int last);
void output_flush(output_t *o);
void output_end(output_t *o);

#endif
