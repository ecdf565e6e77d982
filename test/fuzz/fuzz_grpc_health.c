/* fuzz_grpc_health.c - what a member answers to a grpc check. */

#include <stddef.h>
#include <stdint.h>

#include "grpc_health.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int serving = grpc_health_answer(data, size);

    if (serving < -1 || serving > GRPC_SERVICE_UNKNOWN || !grpc_health_word(serving)) {
        __builtin_trap();
    }
    return 0;
}
