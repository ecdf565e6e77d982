/* read_limits.c - RequestReadTimeout: its words, and the clock that each of its limits is. */
#include "read_limits.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND INT64_C(1000000)

void read_limits_default(read_limits_t *limits)
{
    memset(limits, 0, sizeof *limits);
    limits->stage[READ_HEAD] = (read_limit_t){ .first_s = 20, .most_s = 40, .min_rate = 500 };
    limits->stage[READ_BODY] = (read_limit_t){ .first_s = 20, .most_s = 0, .min_rate = 500 };
}

/* Digits up to `end`, which may be reached by them only. */
static int number(const char **at, const char *end, int *value)
{
    long sum = 0;
    const char *from = *at;

    while (*at < end && **at >= '0' && **at <= '9' && sum < 100000000) {
        sum = sum * 10 + (*(*at)++ - '0');
    }
    *value = (int)sum;
    return *at > from ? 0 : -1;
}

int read_limits_word(read_limits_t *limits, const char *word, size_t len)
{
    static const char *const name[READ_STAGES] = { "handshake=", "header=", "body=" };
    static const char rate[] = ",MinRate=";
    const char *at = word, *end = word + len;
    read_limit_t limit = { 0, 0, 0 };
    int stage;

    for (stage = 0; stage < READ_STAGES; stage++) {
        size_t n = strlen(name[stage]);

        if (len > n && strncasecmp(word, name[stage], n) == 0) {
            at += n;
            break;
        }
    }
    if (stage == READ_STAGES || number(&at, end, &limit.first_s) != 0) {
        return -1;
    }
    if (at < end && *at == '-') {
        at++;
        if (number(&at, end, &limit.most_s) != 0) {
            return -1;
        }
    }
    if ((size_t)(end - at) > sizeof rate - 1 && strncasecmp(at, rate, sizeof rate - 1) == 0) {
        at += sizeof rate - 1;
        if (number(&at, end, &limit.min_rate) != 0) {
            return -1;
        }
    }
    if (at != end) {
        return -1;
    }
    limits->stage[stage] = limit;
    limits->said[stage] = 1;
    return 0;
}

void read_limits_merge(read_limits_t *inner, const read_limits_t *outer)
{
    for (int i = 0; i < READ_STAGES; i++) {
        if (!inner->said[i]) {
            inner->stage[i] = outer->stage[i];
        }
    }
}

void read_clock_start(read_clock_t *clock, const read_limit_t *limit, int64_t now_usec)
{
    clock->due_usec = limit->first_s > 0 ? now_usec + limit->first_s * SECOND : 0;
    clock->most_usec = limit->most_s > 0 ? now_usec + limit->most_s * SECOND : 0;
    clock->min_rate = limit->min_rate;
}

void read_clock_bytes(read_clock_t *clock, size_t len)
{
    if (clock->due_usec == 0 || clock->min_rate == 0) {
        return;
    }
    clock->due_usec += (int64_t)len * (SECOND / clock->min_rate);
    if (clock->most_usec && clock->due_usec > clock->most_usec) {
        clock->due_usec = clock->most_usec;
    }
}
