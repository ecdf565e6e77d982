/*
 * fuzz_h1_chunk.c - the chunked decoder and trailers over any bytes.
 *
 * Input: one byte (steps of input, strictness), then the bytes. Checked besides memory: in pieces of any size, and with part of each run given
 * back, the same data comes out and the same end is reached; data put into chunks again decodes to itself.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "h1_chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int holds)
{
    if (!holds) {
        abort();
    }
}

typedef struct {
    char *data;
    size_t len, used;
    h1_chunk_e end;
} decoded_t;

static decoded_t decode(const char *at, size_t len, size_t step, int gives_back)
{
    decoded_t d = { .data = malloc(len ? len : 1) };
    size_t have = step < len ? step : len;
    h1_chunk_t c;

    h1_chunk_init(&c, 60);
    while (d.end == H1_CHUNK_MORE) {
        char *copy = malloc(have - d.used ? have - d.used : 1);
        size_t used = 0, back = 0;
        span_t run;
        h1_chunk_e said;

        memcpy(copy, at + d.used, have - d.used);
        said = h1_chunk_next(&c, copy, have - d.used, &used, &run);
        demand(used <= have - d.used);
        if (said == H1_CHUNK_DATA) {
            demand(run.len > 0 && run.at + run.len == copy + used);
            if (gives_back && run.len > 1) {
                back = run.len / 2;
                h1_chunk_back(&c, (uint32_t)back);
            }
            memcpy(d.data + d.len, run.at, run.len - back);
            d.len += run.len - back;
        }
        else if (said != H1_CHUNK_MORE) {
            d.end = said;
        }
        else {
            demand(used == have - d.used);
        }
        d.used += used - back;
        free(copy);
        if (said == H1_CHUNK_MORE) {
            if (have == len) {
                break;
            }
            have = len - have < step ? len : have + step;
        }
    }
    return d;
}

static void again(const decoded_t *d)
{
    char *text = malloc(d->len + H1_CHUNK_LINE_MAX + 8);
    size_t len = 0;
    decoded_t twice;

    if (d->len) {
        len = h1_chunk_line(text, d->len);
        memcpy(text + len, d->data, d->len);
        len += d->len;
        memcpy(text + len, "\r\n", 2);
        len += 2;
    }
    memcpy(text + len, "0\r\n", 3);
    twice = decode(text, len + 3, len + 3, 0);
    demand(twice.end == H1_CHUNK_TRAILERS && twice.len == d->len && memcmp(twice.data, d->data, d->len) == 0);
    free(twice.data);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    h1_limits_t limits = { 60, 60, 10 };
    const char *at = (const char *)data + 1;
    decoded_t whole, pieces;

    if (size == 0) {
        return 0;
    }
    whole = decode(at, size - 1, size, 0);
    pieces = decode(at, size - 1, (data[0] & 15) + 1, data[0] & 16);
    demand(whole.end == pieces.end && whole.len == pieces.len && memcmp(whole.data, pieces.data, whole.len) == 0);
    if (whole.end == H1_CHUNK_TRAILERS) {
        size_t left = size - 1 - whole.used;
        char *copy = malloc(left ? left : 1);
        fields_t trailers = { .field = fields };
        int said;

        demand(whole.used == pieces.used);
        again(&whole);
        memcpy(copy, at + whole.used, left);
        said = h1_trailers(copy, left, &limits, data[0] & 32, &trailers);
        demand(said <= (int)left);
        for (uint32_t i = 0; said > 0 && i < trailers.count; i++) {
            demand(!memchr(trailers.field[i].value.at, '\n', trailers.field[i].value.len));
        }
        free(copy);
    }
    free(whole.data);
    free(pieces.data);
    return 0;
}
