/* lock.c - see gate_lock.h. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "gate_lock.h"
#include "gate_time.h"

#define SPINS 64
#define SLEEP_MIN_NSEC 20000
#define SLEEP_MAX_NSEC 2000000
#define OWNER_CHECK_USEC 1000

static uint32_t thread_id(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

/* What /proc/PID/stat says. @return 1 with state and start time, 0 when it cannot be read. */
static int read_stat(uint32_t pid, char *state, uint32_t *stamp)
{
    char path[40], text[512];
    const char *at;
    unsigned long long start;
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0) {
        return 0;
    }
    text[got] = '\0';
    at = strrchr(text, ')'); /* the name may hold anything, parentheses too */
    if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", state, &start) != 2) {
        return 0;
    }
    *stamp = (uint32_t)start ? (uint32_t)start : 1;
    return 1;
}

uint32_t gate_process_stamp(uint32_t pid)
{
    char state;
    uint32_t stamp;

    if (!pid || !read_stat(pid, &state, &stamp) || state == 'Z' || state == 'X') {
        return 0;
    }
    return stamp;
}

/* The calling thread's word; its stamp is looked up once for each thread (and again after a fork). */
static uint64_t own_word(void)
{
    static _Thread_local uint32_t known_tid, known_stamp;
    uint32_t tid = thread_id();

    if (tid != known_tid) {
        known_stamp = gate_process_stamp(tid);
        known_tid = tid;
    }
    return (uint64_t)known_stamp << 32 | tid;
}

/*
 * Is the owner gone? Where /proc hides other users' processes, a signal 0 that is refused still proves life; what cannot be
 * known counts as alive.
 */
static int owner_gone(uint64_t word)
{
    uint32_t tid = (uint32_t)word, stamp = (uint32_t)(word >> 32), now_stamp;
    char state;

    if (kill((pid_t)tid, 0) != 0 && errno == ESRCH) {
        return 1;
    }
    if (!read_stat(tid, &state, &now_stamp)) {
        return 0;
    }
    return state == 'Z' || state == 'X' || (stamp && now_stamp != stamp);
}

gate_lock_result_e gate_lock_take(gate_lock_t *lock, int64_t wait_usec)
{
    uint64_t me = own_word(), seen = 0;
    int64_t began = 0, checked = 0, now;
    long pause_nsec = SLEEP_MIN_NSEC;
    int spins = 0;

    for (;;) {
        seen = 0;
        if (atomic_compare_exchange_strong(&lock->word, &seen, me)) {
            return GATE_LOCKED;
        }
        if (wait_usec > 0 && spins++ < SPINS) {
            sched_yield();
            continue;
        }
        now = gate_mono_usec();
        if (!began) {
            began = now;
        }
        if (!checked || now - checked >= OWNER_CHECK_USEC) {
            checked = now;
            if (owner_gone(seen) && atomic_compare_exchange_strong(&lock->word, &seen, me)) {
                return GATE_LOCKED_DIRTY;
            }
        }
        if (now - began >= wait_usec) {
            return GATE_LOCK_TIMEOUT;
        }
        nanosleep(&(struct timespec){ .tv_nsec = pause_nsec }, NULL);
        pause_nsec = pause_nsec * 2 < SLEEP_MAX_NSEC ? pause_nsec * 2 : SLEEP_MAX_NSEC;
    }
}

int gate_lock_mine(const gate_lock_t *lock)
{
    return atomic_load(&((gate_lock_t *)lock)->word) == own_word();
}

void gate_lock_release(gate_lock_t *lock)
{
    uint64_t me = own_word();

    atomic_compare_exchange_strong(&lock->word, &me, 0);
}
