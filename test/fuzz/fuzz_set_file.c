/*
 * fuzz_set_file.c - a set's text: what is taken becomes a valid image whose answers are those of the prefixes, one by one; what is
 * refused names a line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ipset.h"
#include "set_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

/* Some addresses made of the input itself, so that they lie near its prefixes. */
static void ask(const void *image, size_t image_size, const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 16 <= size && at < 256; at += 7) {
        gate_address_t a, inside;
        gate_prefix_t match;

        memcpy(a.bytes, data + at, 16);
        a.known = 1;
        if (at % 2) {
            memset(a.bytes, 0, 10);
            a.bytes[10] = a.bytes[11] = 0xff;
        }
        if (gate_ipset_find(image, image_size, &a, &match)) {
            inside = a;
            gate_address_cut(&inside, match.bits, match.bits);
            require(gate_address_equal(&inside, &match.address));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    gate_set_file_t said;
    char why[200];
    size_t image_size;
    void *image;

    if (gate_set_file_read(builder, (const char *)data, size, &said) != 0) {
        require(said.line > 0 && said.why && strlen(said.what) < GATE_SET_WORD);
        gate_ipset_builder_destroy(builder);
        return 0;
    }
    image_size = gate_ipset_builder_finish(builder);
    require(image_size > 0);
    image = malloc(image_size);
    gate_ipset_builder_write(builder, image);
    require(gate_ipset_count(image, image_size) == gate_ipset_builder_count(builder));
    gate_ipset_builder_destroy(builder);
    require(gate_ipset_validate(image, image_size, why, sizeof why) == 0);
    ask(image, image_size, data, size);
    free(image);
    return 0;
}
