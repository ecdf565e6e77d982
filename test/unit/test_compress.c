/*
 * test_compress.c - Brotli and gzip there and back, what is not worth it, and bombs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_strings.h>
#include <apr_tables.h>

#include "compress.h"
#include "unit_pool.h"

#include <brotli/decode.h>
#include <zlib.h>

typedef struct {
    const unsigned char *bytes;
    uint64_t len, piece;
    int stop_after;
} bytes_t;

static uint64_t piece(void *ctx, uint64_t offset, const void **data)
{
    bytes_t *b = ctx;
    uint64_t left = b->len - offset;

    *data = b->bytes + offset;
    return left < b->piece ? left : b->piece;
}

static int stop(void *ctx)
{
    return ((bytes_t *)ctx)->stop_after-- == 0;
}

static unsigned char *text(uint64_t len)
{
    unsigned char *t = apr_palloc(pool, len + 1);

    for (uint64_t i = 0; i < len; i++) {
        t[i] = (unsigned char)("function(){return a.b+c;}\n"[(i * 7 + i / 100) % 26]);
    }
    return t;
}

static void test_there_and_back_in_pieces_of_any_size(void **state)
{
    static const uint64_t sizes[] = { 300, 65536, 65537, 1500000 }, pieces[] = { 100, 65536, 1 << 20 };

    (void)state;
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 3; k++) {
            bytes_t b = { text(sizes[i]), sizes[i], pieces[k], -1 };
            gate_source_t from = { piece, &b, sizes[i], stop };
            size_t br_len, gz_len, out_len, room = sizes[i];
            int useless;
            unsigned char *br = gate_compress(GATE_CODING_BR, sizes[i] > 100000 ? 5 : -1, &from, &br_len, &useless), *out;
            unsigned char *gz = gate_compress(GATE_CODING_GZIP, -1, &from, &gz_len, &useless);

            assert_non_null(br);
            assert_non_null(gz);
            out = malloc(room);
            assert_int_equal(BrotliDecoderDecompress(br_len, br, &room, out), BROTLI_DECODER_RESULT_SUCCESS);
            assert_int_equal(room, sizes[i]);
            assert_memory_equal(out, b.bytes, room);
            free(out);
            bytes_t packed = { gz, gz_len, pieces[k], -1 };
            gate_source_t back = { piece, &packed, gz_len, NULL };
            out = gate_gunzip(&back, sizes[i], &out_len);
            assert_non_null(out);
            assert_int_equal(out_len, sizes[i]);
            assert_memory_equal(out, b.bytes, out_len);
            free(out);
            assert_null(gate_gunzip(&back, sizes[i] - 1, &out_len));
            free(br);
            free(gz);
        }
    }
}

static void test_trap_60_kept_only_if_clearly_smaller(void **state)
{
    unsigned char noise[5000];
    bytes_t b = { noise, sizeof noise, 65536, -1 };
    gate_source_t from = { piece, &b, sizeof noise, NULL };
    size_t len;
    int useless = 0;

    (void)state;
    srand(7);
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (unsigned char)rand();
    }
    assert_null(gate_compress(GATE_CODING_BR, -1, &from, &len, &useless));
    assert_int_equal(useless, 1);
    assert_null(gate_compress(GATE_CODING_GZIP, -1, &from, &len, &useless));
    assert_int_equal(useless, 1);
}

static void test_trap_60_it_stops_when_told(void **state)
{
    bytes_t b = { text(1000000), 1000000, 65536, 3 };
    gate_source_t from = { piece, &b, 1000000, stop };
    size_t len;
    int useless = 1;

    (void)state;
    assert_null(gate_compress(GATE_CODING_BR, 5, &from, &len, &useless));
    assert_int_equal(useless, 0);
}

static void test_trap_61_bombs_end_early(void **state)
{
    unsigned char *zeros = calloc(1, 30u << 20), *packed = malloc(1 << 20);
    z_stream z;
    size_t len;

    (void)state;
    memset(&z, 0, sizeof z);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, 0), Z_OK);
    z.next_in = zeros;
    z.avail_in = 30u << 20;
    z.next_out = packed;
    z.avail_out = 1 << 20;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    bytes_t b = { packed, z.total_out, 65536, -1 };
    gate_source_t from = { piece, &b, z.total_out, NULL };
    deflateEnd(&z);
    assert_null(gate_gunzip(&from, 1u << 30, &len)); /* a ratio of a thousand */
    assert_null(gate_gunzip(&from, 1u << 20, &len)); /* more than may be */
    free(zeros);
    free(packed);
}

static void test_gzip_cut_short_or_damaged_is_refused(void **state)
{
    bytes_t b = { text(20000), 20000, 65536, -1 };
    gate_source_t from = { piece, &b, 20000, NULL };
    size_t len, out_len;
    int useless;
    unsigned char *gz = gate_compress(GATE_CODING_GZIP, 6, &from, &len, &useless);
    bytes_t packed = { gz, len - 1, 65536, -1 };
    gate_source_t back = { piece, &packed, len - 1, NULL };

    (void)state;
    assert_null(gate_gunzip(&back, 1 << 20, &out_len));
    packed.len = back.length = len;
    gz[len - 6] ^= 1; /* the checksum */
    assert_null(gate_gunzip(&back, 1 << 20, &out_len));
    gz[0] = 0;
    assert_null(gate_gunzip(&back, 1 << 20, &out_len));
    free(gz);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back_in_pieces_of_any_size),
        cmocka_unit_test(test_trap_60_kept_only_if_clearly_smaller),
        cmocka_unit_test(test_trap_60_it_stops_when_told),
        cmocka_unit_test(test_trap_61_bombs_end_early),
        cmocka_unit_test(test_gzip_cut_short_or_damaged_is_refused),
    };

    return cmocka_run_group_tests_name("compress", tests, pool_open, pool_close);
}
