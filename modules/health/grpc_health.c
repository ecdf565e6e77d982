/* grpc_health.c - see grpc_health.h. */

#include <stdint.h>
#include <string.h>

#include "grpc_health.h"

#define FRAME 5 /* compressed flag, length in four bytes */

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

size_t grpc_health_ask(const char *service, unsigned char *out)
{
    size_t len = strlen(service), body = len ? 2 + len : 0;

    if (len > GRPC_SERVICE_MAX) {
        return 0;
    }
    memset(out, 0, FRAME);
    out[4] = (unsigned char)body;
    if (len) {
        out[FRAME] = 1 << 3 | WIRE_BYTES;
        out[FRAME + 1] = (unsigned char)len;
        memcpy(out + FRAME + 2, service, len);
    }
    return FRAME + body;
}

typedef struct {
    const unsigned char *at, *end;
} reader_t;

static int read_varint(reader_t *r, uint64_t *value)
{
    unsigned shift;

    *value = 0;
    for (shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end) {
            return -1;
        }
        *value |= (uint64_t)(*r->at & 0x7f) << shift;
        if (!(*r->at++ & 0x80)) {
            return 0;
        }
    }
    return -1;
}

static int skip(reader_t *r, uint64_t bytes)
{
    if (bytes > (uint64_t)(r->end - r->at)) {
        return -1;
    }
    r->at += bytes;
    return 0;
}

/* A field that is not the one we look for. */
static int skip_field(reader_t *r, unsigned wire)
{
    uint64_t value;

    switch (wire) {
    case WIRE_VARINT:
        return read_varint(r, &value);
    case WIRE_64:
        return skip(r, 8);
    case WIRE_32:
        return skip(r, 4);
    case WIRE_BYTES:
        return read_varint(r, &value) == 0 ? skip(r, value) : -1;
    default:
        return -1;
    }
}

int grpc_health_answer(const unsigned char *data, size_t len)
{
    uint64_t key, value, serving = GRPC_UNKNOWN; /* a field that is left out is 0 */
    reader_t r;

    if (len < FRAME || data[0] != 0) {
        return -1;
    }
    if (len - FRAME != ((size_t)data[1] << 24 | (size_t)data[2] << 16 | (size_t)data[3] << 8 | data[4])) {
        return -1;
    }
    r = (reader_t){ data + FRAME, data + len };
    while (r.at < r.end) {
        if (read_varint(&r, &key) != 0) {
            return -1;
        }
        if (key == (1 << 3 | WIRE_VARINT)) {
            if (read_varint(&r, &value) != 0) {
                return -1;
            }
            serving = value; /* the last one counts */
        } else if (key >> 3 == 0 || skip_field(&r, key & 7) != 0) {
            return -1;
        }
    }
    return serving <= GRPC_SERVICE_UNKNOWN ? (int)serving : GRPC_UNKNOWN;
}

const char *grpc_health_word(int serving)
{
    switch (serving) {
    case GRPC_SERVING:
        return "SERVING";
    case GRPC_NOT_SERVING:
        return "NOT_SERVING";
    case GRPC_SERVICE_UNKNOWN:
        return "SERVICE_UNKNOWN";
    default:
        return "UNKNOWN";
    }
}
