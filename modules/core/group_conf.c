/* group_conf.c - see gate_group_conf.h. */

#include <stddef.h>

#include "gate_group_conf.h"

static const char *block;

void gate_group_conf_begin(const char *name)
{
    block = name;
}

void gate_group_conf_end(void)
{
    block = NULL;
}

const char *gate_group_conf_name(void)
{
    return block;
}
