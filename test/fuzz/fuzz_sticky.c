/*
 * fuzz_sticky.c - Cookie headers: values lie inside the header, nothing but our own tokens is believed, and what is believed is
 * what was written. The seed's first byte says where a good token is put into the text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sticky.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const sticky_key_t key = { { 42 } };
static const unsigned char nonce[8] = { 1, 2, 3 };

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static void check_values(const char *header)
{
    const char *value, *end = header + strlen(header);
    unsigned nth;
    size_t len;

    for (nth = 0; (value = sticky_cookie_value(header, "gate", nth, &len)) != NULL; nth++) {
        require(value >= header + 5 && len <= (size_t)(end - value));
        require(memcmp(value - 5, "gate=", 5) == 0);
        require(memchr(value, ';', len) == NULL && memchr(value, ',', len) == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char token[STICKY_TOKEN_CHARS + 1], *header;
    uint64_t id = 0;
    uint32_t expires = 0;
    size_t at;

    if (size < 1) {
        return 0;
    }
    header = calloc(1, size + STICKY_TOKEN_CHARS + 1);
    memcpy(header, data + 1, size - 1);
    check_values(header);
    require(sticky_cookie_read(&key, "app", header, "gate", 1, &id, &expires) != STICKY_GOOD);
    require(sticky_token_read(&key, "app", header, strlen(header), 1, &id, &expires) != STICKY_GOOD);
    sticky_token_write(&key, "app", 77, 5, nonce, token);
    at = strlen(header) < data[0] ? strlen(header) : data[0];
    memmove(header + at + STICKY_TOKEN_CHARS, header + at, strlen(header + at) + 1);
    memcpy(header + at, token, STICKY_TOKEN_CHARS);
    check_values(header);
    if (sticky_cookie_read(&key, "app", header, "gate", 1, &id, &expires) == STICKY_GOOD) {
        require(id == 77 && expires == 5);
    }
    free(header);
    return 0;
}
