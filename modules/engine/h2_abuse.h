/*
 * h2_abuse.h - what a client may ask for without using it: streams that it takes back, frames that lead to nothing.
 * Depends: libc.   LOGIC: knows no httpd.   Memory: the caller's struct.   Locking: none.
 * A connection has a credit. Useless frames cost, answers that went out whole and bodies that came earn; who has none left is told to
 * calm down (GOAWAY, ENHANCE_YOUR_CALM). Floods of acknowledgements and of CONTINUATION are libnghttp2's own limits.
 * Source: CVE-2023-44487 (rapid reset), CVE-2019-9512, -9515 (PING, SETTINGS), -9518 (empty frames).
 */
#ifndef ENGINE_H2_ABUSE_H
#define ENGINE_H2_ABUSE_H

#include <stddef.h>
#include <stdint.h>

#define H2_CREDIT 500

typedef enum {
    H2_USELESS_RESET,           /* a stream taken back before it was answered */
    H2_USELESS_CONTROL,         /* PING, SETTINGS, PRIORITY, .. */
    H2_USELESS_EMPTY            /* DATA without data and end */
} h2_useless_e;

typedef struct {
    int32_t credit;
    uint32_t resets, controls, empties; /* for the log line */
} h2_abuse_t;

void h2_abuse_begin(h2_abuse_t *abuse);
/** @return 1: that was too much */
int h2_abuse_useless(h2_abuse_t *abuse, h2_useless_e what);
/** An answer went out whole. */
void h2_abuse_answered(h2_abuse_t *abuse);
/** Bytes of a body came. */
void h2_abuse_received(h2_abuse_t *abuse, size_t bytes);
/** "resets", "control frames" or "empty frames": what there was most of. */
const char *h2_abuse_word(const h2_abuse_t *abuse);

#endif
