/* h2_websocket.c - see h2_websocket.h. */

#include <apr_base64.h>
#include <apr_general.h>
#include <apr_sha1.h>
#include <string.h>

#include "h2_websocket.h"

int h2_websocket_key(char key[H2_WEBSOCKET_KEY + 1])
{
    unsigned char bytes[16];

    if (apr_generate_random_bytes(bytes, sizeof bytes) != APR_SUCCESS) {
        return 0;
    }
    apr_base64_encode_binary(key, bytes, sizeof bytes);
    return 1;
}

span_t h2_websocket_key_of(const fields_t *fields)
{
    span_t key = { NULL, 0 };
    uint32_t i;

    for (i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        if (f->known == FIELD_OTHER && span_is(f->name, "sec-websocket-key")) {
            if (key.at || f->value.len != H2_WEBSOCKET_KEY) {
                return (span_t){ NULL, 0 };
            }
            key = f->value;
        }
    }
    return key;
}

void h2_websocket_accept(const char *key, char accept[H2_WEBSOCKET_ACCEPT + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    apr_sha1_ctx_t sha1;

    apr_sha1_init(&sha1);
    apr_sha1_update(&sha1, key, H2_WEBSOCKET_KEY);
    apr_sha1_update(&sha1, guid, sizeof guid - 1);
    apr_sha1_final(digest, &sha1);
    apr_base64_encode_binary(accept, digest, sizeof digest);
}

int h2_websocket_agrees(const char key[H2_WEBSOCKET_KEY + 1], const fields_t *answer)
{
    char accept[H2_WEBSOCKET_ACCEPT + 1];
    uint32_t i;

    h2_websocket_accept(key, accept);
    for (i = 0; i < answer->count; i++) {
        const field_t *f = &answer->field[i];

        if (span_is(f->name, "sec-websocket-accept")) {
            return f->value.len == H2_WEBSOCKET_ACCEPT && memcmp(f->value.at, accept, H2_WEBSOCKET_ACCEPT) == 0;
        }
    }
    return 0;
}
