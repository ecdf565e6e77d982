/* words.c - see gate_words.h. */

#include <stdatomic.h>
#include <string.h>

#include "gate_words.h"

#define TRIES 4

void gate_words_set(_Atomic uint32_t *turn, char *words, size_t size, const char *text)
{
    uint32_t odd = atomic_load(turn) | 1; /* odd already if a writer died here */

    text = text ? text : "";
    atomic_store(turn, odd);
    atomic_thread_fence(memory_order_release);
    memset(words, 0, size);
    memcpy(words, text, strnlen(text, size - 1));
    atomic_store(turn, odd + 1);
}

void gate_words_get(const _Atomic uint32_t *turn, const char *words, size_t size, char *out)
{
    for (int tries = 0; tries < TRIES; tries++) {
        uint32_t before = atomic_load(turn);

        memcpy(out, words, size - 1);
        out[size - 1] = '\0';
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) && before == atomic_load(turn)) {
            return;
        }
    }
    out[0] = '\0';
}
