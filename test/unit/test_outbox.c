/* test_outbox.c - what goes in comes out in order, whatever the pieces; an empty outbox holds nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "outbox.h"

static void test_in_order(void **state)
{
    outbox_shelf_t shelf = { NULL, 0 };
    outbox_t box = { .shelf = &shelf };
    unsigned seed = 7;
    uint64_t in = 0, out = 0;
    static char piece[50000];

    (void)state;
    for (int turn = 0; turn < 3000; turn++) {
        struct iovec parts[4];
        size_t len = rand_r(&seed) % (1u << rand_r(&seed) % 16), want, taken = 0;
        int count;

        for (size_t i = 0; i < len; i++) {
            piece[i] = (char)((in + i) * 131 >> 3);
        }
        assert_int_equal(outbox_put(&box, piece, len), 0);
        in += len;
        count = outbox_look(&box, parts, 4);
        want = box.kept ? rand_r(&seed) % (box.kept + 1) : 0;
        for (int i = 0; i < count && taken < want; i++) {
            for (size_t k = 0; k < parts[i].iov_len && taken < want; k++, taken++) {
                assert_int_equal(((char *)parts[i].iov_base)[k], (char)((out + taken) * 131 >> 3));
            }
        }
        outbox_drop(&box, taken);
        out += taken;
        assert_int_equal(box.kept, in - out);
    }
    outbox_clear(&box);
    assert_null(box.first);
    assert_null(box.last);
    assert_int_equal(box.kept, 0);
    assert_true(shelf.count > 0);
    outbox_shelf_clear(&shelf);
    assert_null(shelf.free);
}

static void test_shelf_is_bounded(void **state)
{
    outbox_shelf_t shelf = { NULL, 0 };
    outbox_t box = { .shelf = &shelf };
    static char piece[OUTBOX_BLOCK_BYTES];

    (void)state;
    for (int i = 0; i < SHELF_BLOCKS * 2; i++) {
        assert_int_equal(outbox_put(&box, piece, sizeof piece), 0);
    }
    outbox_clear(&box);
    assert_int_equal(shelf.count, SHELF_BLOCKS);
    outbox_shelf_clear(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_shelf_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
