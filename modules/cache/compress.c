/* compress.c - see compress.h */
#include "compress.h"

#include <stdlib.h>
#include <string.h>
#include <brotli/encode.h>
#include <zlib.h>

#define BLOCK (64u * 1024)
#define RATIO_FREE_BYTES (1u << 20) /* small results may have any ratio */

/* A buffer of fixed size: what does not fit was not worth it. */
typedef struct {
    unsigned char *bytes;
    size_t len, size;
} sink_t;

static uint64_t next_block(const gate_source_t *from, uint64_t at, const void **data)
{
    uint64_t n = from->piece(from->ctx, at, data);

    n = n > BLOCK ? BLOCK : n;
    return n > from->length - at ? from->length - at : n;
}

static int stopped(const gate_source_t *from)
{
    return from->stop && from->stop(from->ctx);
}

/* @return 1 done, 0 stopped or broken, -1 too long */
static int brotli(int quality, const gate_source_t *from, sink_t *to)
{
    BrotliEncoderState *s = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    size_t room = to->size;
    unsigned char *out = to->bytes;
    uint64_t at = 0;
    int rc = 1;

    if (!s) {
        return 0;
    }
    BrotliEncoderSetParameter(s, BROTLI_PARAM_QUALITY, (uint32_t)quality);
    BrotliEncoderSetParameter(s, BROTLI_PARAM_SIZE_HINT, (uint32_t)from->length);
    BrotliEncoderSetParameter(s, BROTLI_PARAM_LGWIN, 22);
    while (rc == 1 && !BrotliEncoderIsFinished(s)) {
        const void *data = "";
        uint64_t n = at < from->length ? next_block(from, at, &data) : 0;
        const uint8_t *in = data;
        size_t left = n;
        int last = at + n == from->length;

        if ((!n && !last) || stopped(from)) {
            rc = 0;
            break;
        }
        do {
            if (!BrotliEncoderCompressStream(s, last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_PROCESS, &left, &in, &room,
                                             &out, NULL)) {
                rc = 0;
            }
            else if (!room && (left || BrotliEncoderHasMoreOutput(s) || (last && !BrotliEncoderIsFinished(s)))) {
                rc = -1;
            }
        } while (rc == 1 && (left || (last && !BrotliEncoderIsFinished(s))));
        at += n;
    }
    BrotliEncoderDestroyInstance(s);
    to->len = to->size - room;
    return rc;
}

static int gzip(int level, const gate_source_t *from, sink_t *to)
{
    z_stream z;
    uint64_t at = 0;
    int rc = 1, status = Z_OK;

    memset(&z, 0, sizeof z);
    if (deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK) {
        return 0;
    }
    z.next_out = to->bytes;
    z.avail_out = (uInt)to->size;
    while (rc == 1 && status != Z_STREAM_END) {
        const void *data = "";
        uint64_t n = at < from->length ? next_block(from, at, &data) : 0;
        int last = at + n == from->length;

        if ((!n && !last) || stopped(from)) {
            rc = 0;
            break;
        }
        z.next_in = (Bytef *)(uintptr_t)data;
        z.avail_in = (uInt)n;
        status = deflate(&z, last ? Z_FINISH : Z_NO_FLUSH);
        if (status == Z_STREAM_ERROR) {
            rc = 0;
        }
        else if (status != Z_STREAM_END && (z.avail_in || last)) {
            rc = -1;
        }
        at += n;
    }
    to->len = to->size - z.avail_out;
    deflateEnd(&z);
    return rc;
}

unsigned char *gate_compress(gate_coding_e coding, int level, const gate_source_t *from, size_t *out_len, int *useless)
{
    sink_t to = { .size = (size_t)(from->length - (from->length + 19) / 20) };
    int rc;

    *useless = 0;
    if (!to.size || !(to.bytes = malloc(to.size))) {
        *useless = !to.size;
        return NULL;
    }
    if (coding == GATE_CODING_BR) {
        rc = brotli(level >= 0 ? level : from->length <= GATE_BR_SLOW_BYTES ? 11 : 9, from, &to);
    }
    else {
        rc = gzip(level >= 0 ? level : 9, from, &to);
    }
    if (rc == 1) {
        *out_len = to.len;
        return to.bytes;
    }
    *useless = rc < 0;
    free(to.bytes);
    return NULL;
}

static int sink_grow(sink_t *to, uint64_t max)
{
    size_t size = to->size ? to->size * 2 : BLOCK;
    unsigned char *bytes;

    size = size > max + 1 ? (size_t)max + 1 : size;
    if (size <= to->size || !(bytes = realloc(to->bytes, size))) {
        return 0;
    }
    to->bytes = bytes;
    to->size = size;
    return 1;
}

/* One block of input through the stream. @return 0: over, broken or too much; *status tells */
static int inflate_block(z_stream *z, sink_t *to, uint64_t max, uint64_t in_so_far, int *status)
{
    do {
        if (to->len == to->size && !sink_grow(to, max)) {
            return 0;
        }
        z->next_out = to->bytes + to->len;
        z->avail_out = (uInt)(to->size - to->len);
        *status = inflate(z, Z_NO_FLUSH);
        to->len = to->size - z->avail_out;
        if (to->len > max || (to->len > RATIO_FREE_BYTES && to->len / GATE_INFLATE_RATIO > in_so_far)) {
            *status = Z_MEM_ERROR;
        }
    } while (*status == Z_OK && (z->avail_in || !z->avail_out));
    return *status == Z_OK || *status == Z_BUF_ERROR;
}

unsigned char *gate_gunzip(const gate_source_t *from, uint64_t max, size_t *out_len)
{
    z_stream z;
    sink_t to = { 0 };
    uint64_t at = 0;
    int status = Z_OK;

    memset(&z, 0, sizeof z);
    if (inflateInit2(&z, 15 + 16) != Z_OK) {
        return NULL;
    }
    while (at < from->length && !stopped(from)) {
        const void *data;
        uint64_t n = next_block(from, at, &data);

        if (!n) {
            break;
        }
        z.next_in = (Bytef *)(uintptr_t)data;
        z.avail_in = (uInt)n;
        at += n;
        if (!inflate_block(&z, &to, max, at, &status)) {
            break;
        }
    }
    at -= z.avail_in;
    inflateEnd(&z);
    if (status == Z_STREAM_END && at == from->length && to.len <= max) {
        *out_len = to.len;
        return to.bytes;
    }
    free(to.bytes);
    return NULL;
}
