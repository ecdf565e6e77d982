/*
 * h2_abuse.h - what a client may ask for without using it: streams that it takes back or breaks, frames that lead to nothing.
 * Depends: libc.   LOGIC: knows no httpd.   Memory: the caller's struct.   Locking: none.
 * A connection has a credit. Useless frames cost, answers that went out whole, bodies that came or went and time earn; who has none left is
 * told to calm down (GOAWAY, ENHANCE_YOUR_CALM). WINDOW_UPDATE has a credit of its own, which the frames that it is about earn back. Floods
 * that libnghttp2 itself ends (CONTINUATION, acknowledgements) use up all at once.
 * Source: CVE-2023-44487 (rapid reset), CVE-2025-8671 (streams reset by us, because the client broke them), CVE-2019-9511 (windows of a few
 * bytes), -9512, -9515 (PING, SETTINGS), -9516 (header lists), -9518 (empty frames), CVE-2024-27316 (CONTINUATION).
 */
#ifndef ENGINE_H2_ABUSE_H
#define ENGINE_H2_ABUSE_H

#include <stddef.h>
#include <stdint.h>

#define H2_CREDIT 500
#define H2_FEW_BYTES 256        /* of DATA: a frame cut to less by the client's window is useless */

typedef enum {
    H2_USELESS_RESET,           /* a stream taken back before it was answered */
    H2_USELESS_BROKEN,          /* a stream that we had to reset, because of what the client sent on it */
    H2_USELESS_HEAD,            /* a header list that is too large */
    H2_USELESS_CONTROL,         /* PING, SETTINGS, PRIORITY, PRIORITY_UPDATE, streams above the limit, .. */
    H2_USELESS_EMPTY,           /* DATA without data and end */
    H2_USELESS_WINDOW,          /* windows of a few bytes, updates of them */
    H2_USELESS_FLOOD,           /* libnghttp2 has had enough */
    H2_USELESS_KINDS
} h2_useless_e;

typedef struct {
    int32_t credit, updates;
    uint32_t count[H2_USELESS_KINDS];
    uint32_t sent;              /* bytes that have earned nothing yet */
} h2_abuse_t;

void h2_abuse_begin(h2_abuse_t *abuse);
/** @return 1: that was too much */
int h2_abuse_useless(h2_abuse_t *abuse, h2_useless_e what);
/** A WINDOW_UPDATE. @return 1: that was too much */
int h2_abuse_update(h2_abuse_t *abuse);
/** An answer went out whole. */
void h2_abuse_answered(h2_abuse_t *abuse);
/** Bytes of a body came. */
void h2_abuse_received(h2_abuse_t *abuse, size_t bytes);
/** A DATA frame went out. @param cut the client's window is used up by it, and there was more. @return 1: that was too much */
int h2_abuse_sent(h2_abuse_t *abuse, size_t bytes, int cut);
/** Time passed. */
void h2_abuse_rested(h2_abuse_t *abuse, int64_t seconds);
/** What has cost most. */
h2_useless_e h2_abuse_worst(const h2_abuse_t *abuse);
/** "resets", "control frames", .. */
const char *h2_abuse_word(h2_useless_e what);
/** The same for a machine: "resets", "control_frames", .. */
const char *h2_abuse_key(h2_useless_e what);

#endif
