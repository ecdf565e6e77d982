/*
 * h1_chunk.h - the chunked transfer coding, taken off piece by piece and put on.
 * Depends: h1_parse.h (trailers), libc only.
 * Memory:  the decoder is a small struct of the caller's; runs of data borrow from the bytes given.   Locking: none.
 * As strict as httpd's own filter with HttpProtocolOptions Strict: hex digits, up to ten blanks, an extension without controls, CR LF; a
 * line no longer than LimitRequestFieldSize; no chunk of 2^63 bytes or more. As httpd, which reads lines, it says so when the line is whole.
 * Sources: RFC 9112, 7.1.
 */
#ifndef ENGINE_H1_CHUNK_H
#define ENGINE_H1_CHUNK_H

#include "h1_parse.h"

typedef struct {
    uint64_t left;              /* bytes of the present chunk that are still to come */
    uint32_t line;              /* bytes of the present line: what the limit is for */
    uint32_t line_max;
    uint8_t digits, blanks;
    uint8_t verdict;            /* h1_chunk_e: of the present line, told at its end */
    uint8_t state;
} h1_chunk_t;

typedef enum {
    H1_CHUNK_MORE = 0,          /* all that could be used is used */
    H1_CHUNK_DATA,              /* a run of the body */
    H1_CHUNK_TRAILERS,          /* the last chunk was read: what is left is for h1_trailers() */
    H1_CHUNK_BAD,               /* not the coding: 400 */
    H1_CHUNK_LARGE              /* a size or a line beyond the limits: 413 */
} h1_chunk_e;

/** @param line_max LimitRequestFieldSize, or H1_ANSWER_LINE_MAX */
void h1_chunk_init(h1_chunk_t *c, uint32_t line_max);

/**
 * One step. Call again with what follows the bytes used, until H1_CHUNK_MORE or one of the ends; after an end it is not called again.
 * @param used  set to how many bytes were used, a run of data included
 * @param run   H1_CHUNK_DATA: the data, at least one byte
 */
h1_chunk_e h1_chunk_next(h1_chunk_t *c, const char *at, size_t len, size_t *used, span_t *run);

/** The last `untaken` bytes of the run just given were not used after all: they are to be given again. */
void h1_chunk_back(h1_chunk_t *c, uint32_t untaken);

#define H1_CHUNK_LINE_MAX 18    /* 16 digits, CR LF */
/** The line before a chunk of len > 0 bytes; behind the chunk goes CR LF. @return its length */
size_t h1_chunk_line(char to[H1_CHUNK_LINE_MAX], uint64_t len);
#define H1_CHUNK_END "0\r\n\r\n"

#endif
