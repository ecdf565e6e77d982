/* test_grpc_health.c - the two messages of grpc.health.v1. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "grpc_health.h"

#define ANSWER(text) grpc_health_answer((const unsigned char *)(text), sizeof(text) - 1)

static void test_ask(void **state)
{
    unsigned char out[GRPC_REQUEST_MAX];
    char name[GRPC_SERVICE_MAX + 2];

    (void)state;
    assert_int_equal(grpc_health_ask("", out), 5);
    assert_memory_equal(out, "\0\0\0\0\0", 5);
    assert_int_equal(grpc_health_ask("shop", out), 11);
    assert_memory_equal(out, "\0\0\0\0\6\x0a\4shop", 11);
    memset(name, 'n', sizeof name);
    name[GRPC_SERVICE_MAX] = '\0';
    assert_int_equal(grpc_health_ask(name, out), GRPC_REQUEST_MAX);
    name[GRPC_SERVICE_MAX] = 'n';
    name[GRPC_SERVICE_MAX + 1] = '\0';
    assert_int_equal(grpc_health_ask(name, out), 0);
}

static void test_answer(void **state)
{
    (void)state;
    assert_int_equal(ANSWER("\0\0\0\0\2\x08\1"), GRPC_SERVING);
    assert_int_equal(ANSWER("\0\0\0\0\2\x08\2"), GRPC_NOT_SERVING);
    assert_int_equal(ANSWER("\0\0\0\0\2\x08\3"), GRPC_SERVICE_UNKNOWN);
    assert_int_equal(ANSWER("\0\0\0\0\0"), GRPC_UNKNOWN);
    assert_int_equal(ANSWER("\0\0\0\0\3\x08\x90\1"), GRPC_UNKNOWN); /* 144 */
    /* fields that it does not know, of every kind, around the one it knows */
    assert_int_equal(ANSWER("\0\0\0\0\x17\x12\2hi\x08\1\x18\x96\1\x25" "abcd\x29" "abcdefgh"), GRPC_SERVING);
}

static void test_what_is_none(void **state)
{
    (void)state;
    assert_int_equal(ANSWER(""), -1);
    assert_int_equal(ANSWER("\0\0\0\0"), -1);
    assert_int_equal(ANSWER("\1\0\0\0\2\x08\1"), -1);      /* compressed */
    assert_int_equal(ANSWER("\0\0\0\0\3\x08\1"), -1);      /* cut off */
    assert_int_equal(ANSWER("\0\0\0\0\1\x08\1"), -1);      /* longer than it says */
    assert_int_equal(ANSWER("\0\0\0\0\1\x08"), -1);        /* a key without its value */
    assert_int_equal(ANSWER("\0\0\0\0\2\x08\x81"), -1);    /* a number without end */
    assert_int_equal(ANSWER("\0\0\0\0\2\x12\5"), -1);      /* a text that is not there */
    assert_int_equal(ANSWER("\0\0\0\0\2\x0b\1"), -1);      /* a kind that is none */
    assert_int_equal(ANSWER("\0\0\0\0\2\0\1"), -1);        /* field 0 */
    assert_int_equal(ANSWER("\0\0\0\0\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), -1);
    assert_int_equal(ANSWER("<html>not here</html>"), -1);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(grpc_health_word(GRPC_SERVING), "SERVING");
    assert_string_equal(grpc_health_word(GRPC_NOT_SERVING), "NOT_SERVING");
    assert_string_equal(grpc_health_word(GRPC_SERVICE_UNKNOWN), "SERVICE_UNKNOWN");
    assert_string_equal(grpc_health_word(77), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
