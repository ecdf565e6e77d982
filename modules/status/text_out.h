/*
 * text_out.h - writing text piece by piece into a sink, escaped for where it goes.
 * Depends: libc.   Memory: a buffer inside the struct; what it holds goes to the sink when it is full and at the end.
 * Locking: none; one writer.   Errors: a sink that fails is not called again; text_out_end() tells.
 */
#ifndef TEXT_OUT_H
#define TEXT_OUT_H

#include <stddef.h>
#include <stdint.h>

/** Takes len bytes, borrowed for the call. @return 0, or -1: nobody reads any more */
typedef int (*text_sink_fn)(void *ctx, const char *bytes, size_t len);

typedef struct {
    text_sink_fn sink;
    void *ctx;
    int failed;
    size_t used;
    char buffer[16384];
} text_out_t;

void text_out_begin(text_out_t *out, text_sink_fn sink, void *ctx);
/** @return 0, or -1 when the sink failed at some time */
int text_out_end(text_out_t *out);

void text_bytes(text_out_t *out, const char *bytes, size_t len);
void text_put(text_out_t *out, const char *text);
void text_char(text_out_t *out, char c);
void text_uint(text_out_t *out, uint64_t value);
void text_int(text_out_t *out, int64_t value);
/** Shortest of %.15g and %.17g that reads back the same; NaN and infinities as 0. */
void text_real(text_out_t *out, double value);
/** Microseconds as seconds: 1500000 is 1.5. */
void text_seconds(text_out_t *out, uint64_t usec);
/** RFC 3339, UTC, milliseconds; no quotes. */
void text_time(text_out_t *out, int64_t wall_usec);

/** A JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD; <, > and & are escaped so that it may stand in HTML too. */
void text_json(text_out_t *out, const char *text);
/** For HTML text and double-quoted attributes; invalid UTF-8 as above. */
void text_html(text_out_t *out, const char *text);
/** For an OpenMetrics label value or help text, without quotes; invalid UTF-8 as above. */
void text_label(text_out_t *out, const char *text);

#endif
