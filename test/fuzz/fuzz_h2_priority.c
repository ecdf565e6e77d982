/*
 * fuzz_h2_priority.c - values of Priority (RFC 9218). Checked besides memory: what is said is in range, a value that is no dictionary changes
 * nothing, reading it twice says the same, and a value that is one still is with another member put before or behind it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "h2_priority.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int holds)
{
    if (!holds) {
        abort();
    }
}

static int same(h2_priority_t a, h2_priority_t b)
{
    return a.urgency == b.urgency && a.incremental == b.incremental;
}

/* In memory of exactly that size. */
static int parse(const char *before, const uint8_t *data, size_t size, const char *behind, h2_priority_t *said)
{
    size_t first = strlen(before), last = strlen(behind);
    char *value = malloc(first + size + last + 1);
    int good;

    memcpy(value, before, first);
    memcpy(value + first, data, size);
    memcpy(value + first + size, behind, last);
    good = h2_priority_parse(value, first + size + last, said);
    free(value);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const h2_priority_t none = { -1, -1 };
    h2_priority_t one = none, two = none, merged;
    int good = parse("", data, size, "", &one);

    demand(one.urgency >= -1 && one.urgency <= 7 && one.incremental >= -1 && one.incremental <= 1);
    demand(good || same(one, none));
    demand(parse("", data, size, "", &two) == good && same(one, two));
    merged = h2_priority_merge(one, two);
    demand(merged.urgency >= 0 && merged.urgency <= 7 && merged.incremental >= 0 && merged.incremental <= 1);
    if (good && size > 0 && data[0] != ' ') {
        two = none;
        demand(parse("zz=?1, ", data, size, "", &two) && same(one, two));
    }
    return 0;
}
