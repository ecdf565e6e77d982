/*
 * compress.h - bytes into Brotli or gzip, and gzip back, in memory. Source: RFC 7932, RFC 1952.
 * Depends: libbrotlienc, zlib.   Memory: results are malloc'ed, the caller frees.   Locking: none.
 * Long work: `stop` is asked between blocks of input; when it says so the work is dropped.
 */
#ifndef GATE_CACHE_COMPRESS_H
#define GATE_CACHE_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "store.h"

#define GATE_BR_SLOW_BYTES (1u << 20) /* up to here the default quality is 11, above 9 */
#define GATE_INFLATE_RATIO 200        /* as mod_deflate's DeflateInflateRatioLimit */

/* Where the bytes come from: the piece at an offset. @return its length, 0 at the end */
typedef uint64_t (*gate_piece_fn)(void *ctx, uint64_t offset, const void **data);

typedef struct {
    gate_piece_fn piece;
    void *ctx;
    uint64_t length;
    int (*stop)(void *ctx);       /* may be NULL */
} gate_source_t;

/**
 * @param level  -1: the default of the coding for that length
 * @return the coded bytes, *out_len of them; NULL when stopped, out of memory, or when they are not at least 5 % fewer
 *         (then *useless is 1)
 */
unsigned char *gate_compress(gate_coding_e coding, int level, const gate_source_t *from, size_t *out_len, int *useless);

/**
 * Unpacks gzip.
 * @param max  bytes that may come out; more, or more than GATE_INFLATE_RATIO times what went in, ends it
 * @return the bytes, or NULL: not gzip, cut short, checksum wrong, too many
 */
unsigned char *gate_gunzip(const gate_source_t *from, uint64_t max, size_t *out_len);

#endif
