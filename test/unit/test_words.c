/* words: what is put there is read whole, cut to its room; what a writer left half done is not shown; a reader beside a writer sees one text. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>

#include "gate_words.h"

#define ROOM 64
#define TURNS 200000

typedef struct {
    _Atomic uint32_t turn;
    char words[ROOM];
    _Atomic int done;
} place_t;

static void put_and_got(void **state)
{
    place_t place = { 0 };
    char got[ROOM], longer[ROOM + 20];

    (void)state;
    gate_words_get(&place.turn, place.words, sizeof place.words, got);
    assert_string_equal(got, "");
    gate_words_set(&place.turn, place.words, sizeof place.words, "connection refused");
    gate_words_get(&place.turn, place.words, sizeof place.words, got);
    assert_string_equal(got, "connection refused");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    gate_words_set(&place.turn, place.words, sizeof place.words, longer);
    gate_words_get(&place.turn, place.words, sizeof place.words, got);
    assert_int_equal(strlen(got), ROOM - 1);
    gate_words_set(&place.turn, place.words, sizeof place.words, NULL);
    gate_words_get(&place.turn, place.words, sizeof place.words, got);
    assert_string_equal(got, "");
}

static void dead_writer(void **state)
{
    place_t place = { 0 };
    char got[ROOM];

    (void)state;
    gate_words_set(&place.turn, place.words, sizeof place.words, "first");
    place.turn |= 1;
    gate_words_get(&place.turn, place.words, sizeof place.words, got);
    assert_string_equal(got, "");
    gate_words_set(&place.turn, place.words, sizeof place.words, "second");
    gate_words_get(&place.turn, place.words, sizeof place.words, got);
    assert_string_equal(got, "second");
}

static void *write_all(void *place_)
{
    place_t *place = place_;

    for (int i = 0; i < TURNS; i++) {
        char text[ROOM];

        memset(text, 'a' + i % 26, ROOM - 1);
        text[1 + i % (ROOM - 1)] = '\0';
        gate_words_set(&place->turn, place->words, sizeof place->words, text);
    }
    atomic_store(&place->done, 1);
    return NULL;
}

static void one_text_is_read(void **state)
{
    static place_t place;
    pthread_t writer;
    int read = 0;

    (void)state;
    pthread_create(&writer, NULL, write_all, &place);
    do {
        char got[ROOM];

        gate_words_get(&place.turn, place.words, sizeof place.words, got);
        assert_int_equal(strspn(got, (char[]){ *got, '\0' }), strlen(got));
        read += *got != '\0';
    } while (!atomic_load(&place.done) || !read);
    pthread_join(writer, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(put_and_got), cmocka_unit_test(dead_writer), cmocka_unit_test(one_text_is_read) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
