/* siphash.c - see gate_siphash.h. */
#include <string.h>

#include "gate_siphash.h"

#define ROTATE(x, n) (((x) << (n)) | ((x) >> (64 - (n))))

typedef struct {
    uint64_t v0, v1, v2, v3;
} sip_t;

static inline void sip_round(sip_t *s)
{
    s->v0 += s->v1;
    s->v1 = ROTATE(s->v1, 13) ^ s->v0;
    s->v0 = ROTATE(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = ROTATE(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = ROTATE(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = ROTATE(s->v1, 17) ^ s->v2;
    s->v2 = ROTATE(s->v2, 32);
}

static inline void sip_word(sip_t *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

/* Little-endian, whatever the machine. */
static inline uint64_t read_word(const uint8_t *at, size_t len)
{
    uint64_t word = 0;

    for (size_t i = 0; i < len; i++) {
        word |= (uint64_t)at[i] << (8 * i);
    }
    return word;
}

uint64_t gate_siphash(const gate_seed_t *seed, const void *data, size_t len)
{
    const uint8_t *at = data;
    size_t left = len;
    sip_t s = {
        .v0 = seed->word[0] ^ UINT64_C(0x736f6d6570736575),
        .v1 = seed->word[1] ^ UINT64_C(0x646f72616e646f6d),
        .v2 = seed->word[0] ^ UINT64_C(0x6c7967656e657261),
        .v3 = seed->word[1] ^ UINT64_C(0x7465646279746573)
    };

    for (; left >= 8; at += 8, left -= 8) {
        sip_word(&s, read_word(at, 8));
    }
    sip_word(&s, read_word(at, left) | (uint64_t)(len & 0xff) << 56);
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(&s);
    }
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
