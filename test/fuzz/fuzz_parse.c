/*
 * fuzz_parse.c - every parser of values over the same text: what it takes is within bounds, what it refuses changes nothing.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "gate_parse.h"

#define UNTOUCHED 0x5a5a5a5a5a5a5a5a

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static apr_pool_t *pool;

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

/* A refusal is a sentence part, and leaves the target alone. */
static void check(const char *wrong, uint64_t value, uint64_t min, uint64_t max)
{
    if (wrong != NULL) {
        require(*wrong != '\0' && value == UNTOUCHED);
    }
    else {
        require(value >= min && value <= max);
    }
}

static void fuzz_numbers(const char *text)
{
    uint64_t n = UNTOUCHED;
    int64_t usec = UNTOUCHED;
    const char *wrong;
    uint32_t milli = UINT32_MAX;

    wrong = gate_parse_uint(pool, text, 1, 1000, &n);
    check(wrong, n, 1, 1000);
    n = UNTOUCHED;
    gate_parse_uint(pool, text, 0, UINT64_MAX, &n);
    n = UNTOUCHED;
    wrong = gate_parse_milli(pool, text, 1000, 10000, &n);
    check(wrong, n, 1000, 10000);
    n = UNTOUCHED;
    gate_parse_milli(pool, text, 0, UINT64_MAX, &n);
    wrong = gate_parse_duration(pool, text, 1000, 86400000000, &usec);
    check(wrong, (uint64_t)usec, 1000, 86400000000);
    usec = UNTOUCHED;
    wrong = gate_parse_duration(pool, text, 0, INT64_MAX, &usec);
    require(wrong != NULL || usec >= 0);
    n = UNTOUCHED;
    wrong = gate_parse_size(pool, text, 1024, 1u << 30, &n);
    check(wrong, n, 1024, 1u << 30);
    n = UNTOUCHED;
    gate_parse_size(pool, text, 0, UINT64_MAX, &n);
    wrong = gate_parse_percent(pool, text, &milli);
    require(wrong != NULL ? milli == UINT32_MAX : milli <= 1000);
    n = UNTOUCHED;
    wrong = gate_parse_rate(pool, text, &n, &usec);
    check(wrong, n, 1, 1000000000);
}

static void fuzz_sets_and_words(const char *text)
{
    static const gate_word_t words[] = {{"round-robin", 1}, {"least-time", 2}, {"first", 3}, {NULL, 0}};
    static const char *const near[] = {"app", "static", "round-robin", "weight"};
    gate_status_set_t set;
    int value = -1, bits = 0;

    require(gate_parse_flag(pool, text, &value) != NULL ? value == -1 : value == 0 || value == 1);
    value = -1;
    require(gate_parse_word(pool, text, words, &value) != NULL ? value == -1 : value >= 1 && value <= 3);
    if (gate_parse_status_set(pool, text, &set) == NULL) {
        for (size_t i = 0; i < sizeof set.bits / sizeof set.bits[0]; i++) {
            bits += __builtin_popcountll(set.bits[i]);
        }
        for (int status = 100; status < 600; status++) {
            bits -= gate_status_in(&set, status);
        }
        require(bits == 0); /* none outside 100..599 */
    }
    if (gate_parse_name(pool, text) == NULL) {
        require(strlen(text) <= 63 && strpbrk(text, "/ \r\n\t\"'%;,") == NULL);
    }
    gate_nearest(text, near, 4);
}

static const char *set_any(apr_pool_t *p, void *target, const char *value)
{
    (void)p;
    require(value == NULL || *value != '\0');
    ++*(int *)target;
    return value != NULL && *value == 'x' ? "is not good" : NULL;
}

/* Each line is an argument. */
static void fuzz_pairs(char *text)
{
    static const gate_pair_rule_t rules[] = {{"weight", 0, set_any}, {"backup", 1, set_any}, {"drain", 2, set_any}, {NULL, 0, NULL}};
    uint64_t seen = 0;
    int taken = 0, good = 0;
    char *save = NULL;

    for (char *line = apr_strtok(text, "\n", &save); line != NULL; line = apr_strtok(NULL, "\n", &save)) {
        good += gate_parse_pair(pool, line, rules, &seen, &taken) == NULL;
    }
    require(good <= 3 && taken >= good && __builtin_popcountll(seen) == good);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (pool == NULL) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    /* exactly as long as the input, so that a sanitizer sees a read past it */
    text = malloc(size + 1);
    require(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    fuzz_numbers(text);
    fuzz_sets_and_words(text);
    fuzz_pairs(text);
    free(text);
    apr_pool_clear(pool);
    return 0;
}
