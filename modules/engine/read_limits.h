/*
 * read_limits.h - mod_reqtimeout's RequestReadTimeout, kept without its filter: how long a client may take for a head and for a body.
 * Depends: libc.   Memory: none.   Locking: none.
 * Time:    monotonic microseconds, passed in.
 * A limit is `first` seconds, and with MinRate each byte that comes gives 1/MinRate of a second more, up to `most` seconds in all.
 */
#ifndef ENGINE_READ_LIMITS_H
#define ENGINE_READ_LIMITS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int first_s;                /* 0: no limit */
    int most_s;                 /* 0: no bound */
    int min_rate;               /* bytes a second; 0: what comes gives no more time */
} read_limit_t;

enum { READ_HANDSHAKE, READ_HEAD, READ_BODY, READ_STAGES };

typedef struct {
    read_limit_t stage[READ_STAGES];
    uint8_t said[READ_STAGES];  /* by a directive here */
} read_limits_t;

/** mod_reqtimeout's defaults: header=20-40,MinRate=500 body=20,MinRate=500, nothing for handshakes. */
void read_limits_default(read_limits_t *limits);
/** One word of RequestReadTimeout, "header=20-40,MinRate=500". @return 0; -1: it is none (mod_reqtimeout refuses it as well) */
int read_limits_word(read_limits_t *limits, const char *word, size_t len);
/** What is not said in `inner` is as in `outer`. */
void read_limits_merge(read_limits_t *inner, const read_limits_t *outer);

typedef struct {
    int64_t due_usec;           /* 0: no limit */
    int64_t most_usec;          /* 0: no bound */
    int32_t min_rate;
} read_clock_t;

void read_clock_start(read_clock_t *clock, const read_limit_t *limit, int64_t now_usec);
/** `len` bytes have come. */
void read_clock_bytes(read_clock_t *clock, size_t len);

#endif
