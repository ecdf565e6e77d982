/*
 * gate_words.h - a short text in shared memory that is replaced while it is being read.
 * Depends: nothing.   Memory: the caller's: room for the text, and a turn beside it; all zero is "".
 * Locking: one writer at a time (the caller sees to it); a reader waits for nobody: it looks whether the turn has moved while it copied,
 *          as with a seqlock.
 * CRASH    a writer that dies leaves the turn odd: the text is not shown until it is written anew.
 */
#ifndef GATE_WORDS_H
#define GATE_WORDS_H

#include <stddef.h>
#include <stdint.h>

/** Puts a text there, cut to size - 1. @param text  NULL: "" */
void gate_words_set(_Atomic uint32_t *turn, char *words, size_t size, const char *text);

/** Copies what is there; "" when it is being written, or half written. `out` has room for `size` too, and gets its NUL in any case. */
void gate_words_get(const _Atomic uint32_t *turn, const char *words, size_t size, char *out);

#endif
