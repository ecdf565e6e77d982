/*
 * h1_scan.h - characters of HTTP/1.x by class, and how far runs of them reach.
 * Depends: libc only. Never reads at or behind `end`.
 * Sources: RFC 9110, 5.6.2 (tokens) and 5.5 (values); RFC 3986, 3.3; httpd's canonical encoding of paths.
 */
#ifndef ENGINE_H1_SCAN_H
#define ENGINE_H1_SCAN_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    SCAN_TOKEN = 1,     /* tchar */
    SCAN_TARGET = 2,    /* may stand in a target as sent: visible ASCII and anything above it, but '#' */
    SCAN_PATH = 4,      /* in a path, neither decoded nor encoded by httpd; '/' and '.' are looked at apart */
    SCAN_HOST = 8,      /* ALPHA DIGIT - _ . */
    SCAN_HOST_NAME = 16, /* of those, not in an IPv4 address */
    SCAN_ALPHA = 32,
    SCAN_TEXT = 64      /* in a value: no control but HTAB */
};

extern const unsigned char scan_class[256];

/** First character from p on that is none of a token; end if there is none. */
static inline const char *scan_token(const char *p, const char *end)
{
    while (p < end && scan_class[(unsigned char)*p] & SCAN_TOKEN) {
        p++;
    }
    return p;
}

/** First character from p on that may not stand in a value: a control other than HTAB, or DEL; end if there is none. */
static inline const char *scan_text(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i good = _mm_or_si128(_mm_cmpeq_epi8(_mm_max_epu8(v, space), v), _mm_cmpeq_epi8(v, tab));
        unsigned stop = (unsigned)_mm_movemask_epi8(_mm_andnot_si128(_mm_cmpeq_epi8(v, del), good)) ^ 0xffffu;

        if (stop) {
            return p + __builtin_ctz(stop);
        }
    }
#else
    /* eight at a time: a byte below 0x20 or one that is 0x7f sets a high bit; which one it is, is looked at below */
    for (; end - p >= 8; p += 8) {
        const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
        uint64_t v, d;

        memcpy(&v, p, sizeof v);
        d = v ^ (ones * 0x7f);
        if ((((v - ones * 0x20) & ~v) | ((d - ones) & ~d)) & high) {
            const char *stop = p;

            while (stop < p + 8 && scan_class[(unsigned char)*stop] & SCAN_TEXT) {
                stop++;
            }
            if (stop < p + 8) {
                return stop;
            }
        }
    }
#endif
    while (p < end && scan_class[(unsigned char)*p] & SCAN_TEXT) {
        p++;
    }
    return p;
}

#endif
