/*
 * fuzz_bans.c - the state file's section "bans": whatever it says, the table is valid after, no ban is longer than one may be, and
 * what was taken is written and read back the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ban.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW INT64_C(1000000000)
#define WALL INT64_C(1700000000000000)
#define CAPACITY 64

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static gate_bans_t *table(void)
{
    static const gate_seed_t seed = { { 1, 2 } };
    gate_bans_t *bans = aligned_alloc(64, (gate_bans_size(CAPACITY) + 63) / 64 * 64);

    gate_bans_init(bans, CAPACITY, &seed);
    return bans;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gate_bans_t *one = table(), *two = table();
    gate_ban_t list[CAPACITY * 2];
    uint32_t taken, again, n;
    char why[200], *text;
    size_t len;

    gate_bans_load(one, (const char *)data, size, NOW, WALL, &taken);
    require(gate_bans_validate(one, gate_bans_size(CAPACITY), why, sizeof why) == 0);
    n = gate_bans_list(one, NOW, list, CAPACITY * 2);
    require(n <= taken && n == gate_bans_count(one, NOW));
    for (uint32_t i = 0; i < n; i++) {
        require(list[i].until_usec > NOW && list[i].until_usec <= NOW + GATE_BANS_MAX_USEC);
        require(gate_ban_check(one, &list[i].address, NOW, NULL) != 0);
    }
    text = gate_bans_save(one, NOW, WALL, &len);
    require(text != NULL);
    require(gate_bans_load(two, text, len, NOW, WALL, &again) == 0 && again == n);
    free(text);
    free(one);
    free(two);
    return 0;
}
