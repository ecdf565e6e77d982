/*
 * gate_time.h - the two clocks, and which is for what.
 * Monotonic microseconds (CLOCK_MONOTONIC, the same for all processes of a host) for every deadline, interval and age kept in
 * shared memory; wall-clock microseconds (apr_time_t) only for what a person or a file reads. Logic takes `now` as an
 * argument and never asks these itself.
 */
#ifndef GATE_TIME_H
#define GATE_TIME_H

#include <stdint.h>
#include <time.h>

/** @return microseconds of CLOCK_MONOTONIC */
static inline int64_t gate_mono_usec(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

#endif
