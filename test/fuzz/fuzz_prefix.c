/*
 * fuzz_prefix.c - addresses and prefixes: what is taken has no host bits, is written and read back the same, and keeps within its
 * family.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gate_address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gate_prefix_t prefix, again;
    gate_address_t address, cut;
    char text[GATE_ADDRESS_TEXT];
    const char *why = NULL;

    if (gate_address_parse((const char *)data, size, &address) == 0) {
        require(address.known == 1);
        gate_address_text(&address, text);
        require(gate_address_parse(text, strlen(text), &cut) == 0 && gate_address_equal(&address, &cut));
    }
    else {
        require(address.known == 0);
    }
    if (gate_prefix_parse((const char *)data, size, &prefix, &why) == GATE_PREFIX_BAD) {
        require(why != NULL);
        return 0;
    }
    require(prefix.bits <= (gate_address_is_v4(&prefix.address) ? 32 : 128));
    cut = prefix.address;
    gate_address_cut(&cut, prefix.bits > 32 ? 32 : prefix.bits, prefix.bits);
    require(gate_address_equal(&cut, &prefix.address));
    gate_prefix_text(&prefix, text);
    require(gate_prefix_parse(text, strlen(text), &again, &why) == GATE_PREFIX_OK);
    require(again.bits == prefix.bits && gate_address_equal(&again.address, &prefix.address));
    return 0;
}
