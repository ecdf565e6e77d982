/* cache_wait.c - waiting for another process: futexes on words in the store. A wait is short and repeated by its caller. */
#include "cache.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void cache_wake(_Atomic uint32_t *word)
{
    if (word) {
        syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

void cache_wait(_Atomic uint32_t *word, uint32_t value, int64_t usec)
{
    struct timespec ts = { usec / 1000000, usec % 1000000 * 1000 };

    syscall(SYS_futex, word, FUTEX_WAIT, value, &ts, NULL, 0);
}
