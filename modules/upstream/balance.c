/*
 * balance.c - the table of strategies, the hash that clients' places hang on, slow start.
 */
#include <string.h>

#include "balance.h"

const gate_strategy_t *const gate_strategies[] = {
    &balance_round_robin, &balance_least_connections, &balance_two_choices, &balance_least_time, &balance_first, &balance_hash,
    NULL
};

const gate_strategy_t *gate_strategy_find(const char *name)
{
    for (int i = 0; gate_strategies[i] != NULL; i++) {
        if (strcmp(gate_strategies[i]->name, name) == 0) {
            return gate_strategies[i];
        }
    }
    return NULL;
}

/* XXH64 with seed 0 (Y. Collet, "xxHash fast digest algorithm", 2016): input is read as little-endian words, so the value is
 * the same on every machine. Who chooses keys to meet on one member meets the bound of load instead; so no secret seed. */
#define XXH_P1 UINT64_C(0x9e3779b185ebca87)
#define XXH_P2 UINT64_C(0xc2b2ae3d27d4eb4f)
#define XXH_P3 UINT64_C(0x165667b19e3779f9)
#define XXH_P4 UINT64_C(0x85ebca77c2b2ae63)
#define XXH_P5 UINT64_C(0x27d4eb2f165667c5)

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline uint64_t read_word(const unsigned char *p, unsigned bytes)
{
    uint64_t word = 0;

    for (unsigned i = 0; i < bytes; i++) {
        word |= (uint64_t)p[i] << (8 * i);
    }
    return word;
}

static inline uint64_t hash_round(uint64_t lane, uint64_t word)
{
    return rotate(lane + word * XXH_P2, 31) * XXH_P1;
}

static inline uint64_t hash_merge(uint64_t hash, uint64_t lane)
{
    return (hash ^ hash_round(0, lane)) * XXH_P1 + XXH_P4;
}

/* Takes whole stripes of 32 bytes off the input. */
static uint64_t hash_stripes(const unsigned char **data, size_t *left)
{
    uint64_t lane[4] = { XXH_P1 + XXH_P2, XXH_P2, 0, -XXH_P1 };
    uint64_t hash;

    for (; *left >= 32; *data += 32, *left -= 32) {
        for (int i = 0; i < 4; i++) {
            lane[i] = hash_round(lane[i], read_word(*data + 8 * i, 8));
        }
    }
    hash = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
    for (int i = 0; i < 4; i++) {
        hash = hash_merge(hash, lane[i]);
    }
    return hash;
}

uint64_t gate_balance_hash(const void *data, size_t len)
{
    const unsigned char *p = data;
    size_t left = len;
    uint64_t hash = len >= 32 ? hash_stripes(&p, &left) : XXH_P5;

    hash += len;
    for (; left >= 8; p += 8, left -= 8) {
        hash = rotate(hash ^ hash_round(0, read_word(p, 8)), 27) * XXH_P1 + XXH_P4;
    }
    if (left >= 4) {
        hash = rotate(hash ^ read_word(p, 4) * XXH_P1, 23) * XXH_P2 + XXH_P3;
        p += 4;
        left -= 4;
    }
    for (; left > 0; p++, left--) {
        hash = rotate(hash ^ *p * XXH_P5, 11) * XXH_P1;
    }
    hash = (hash ^ hash >> 33) * XXH_P2;
    hash = (hash ^ hash >> 29) * XXH_P3;
    return hash ^ hash >> 32;
}

uint64_t gate_balance_turn_again(uint64_t turn, uint32_t tries)
{
    return balance_mix(turn ^ (uint64_t)tries << 48);
}

uint32_t gate_balance_ramp(int64_t up_since_usec, int64_t ramp_usec, int64_t now_usec)
{
    int64_t age_usec;
    uint32_t ramp;

    if (up_since_usec == 0 || ramp_usec <= 0) {
        return GATE_RAMP_FULL;
    }
    if (now_usec <= up_since_usec) {
        /* another process saw it come up after `now` was taken here */
        return 1;
    }
    age_usec = now_usec - up_since_usec;
    if (age_usec >= ramp_usec) {
        return GATE_RAMP_FULL;
    }
    ramp = (uint32_t)((unsigned __int128)age_usec * GATE_RAMP_FULL / (uint64_t)ramp_usec);
    return ramp > 0 ? ramp : 1;
}
