/*
 * rounds.h - how often tests that fork and kill do it: all of it in the plain build, a tenth under a sanitizer, where each fork costs
 * as much as ten (what it looks for there, it finds in any round).
 */
#ifndef ROUNDS_H
#define ROUNDS_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS(n) ((n) / 10)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ROUNDS(n) ((n) / 10)
#endif
#endif
#ifndef ROUNDS
#define ROUNDS(n) (n)
#endif

#endif
