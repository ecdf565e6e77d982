/*
 * parse.c - numbers, durations, sizes, percentages, rates, statuses, names. Contract: gate_parse.h.
 * Nothing is written to *out unless the whole text is good.
 */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "gate_parse.h"
#include "parse_text.h"

/* More than this per period is no limit but a mistake; it also keeps later arithmetic in 64 bits. */
#define RATE_MAX UINT64_C(1000000000)
#define NAME_MAX_CHARS 63

/**
 * Reads decimal digits and moves *at past them.
 * @return 0 when there are none or they overflow
 */
static int scan_digits(const char **at, uint64_t *out)
{
    const char *s = *at;
    uint64_t n = 0;

    if (!text_is_digit(*s)) {
        return 0;
    }
    for (; text_is_digit(*s); s++) {
        if (__builtin_mul_overflow(n, UINT64_C(10), &n) || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n)) {
            return 0;
        }
    }
    *at = s;
    *out = n;
    return 1;
}

/**
 * Reads digits, and up to `places` more after a point: "1.25" with 3 places is 1250.
 * @return 0 when malformed or too large
 */
static int scan_decimal(const char **at, int places, uint64_t *out)
{
    const char *s = *at;
    uint64_t n;
    int given = 0;

    if (!scan_digits(&s, &n)) {
        return 0;
    }
    if (*s == '.') {
        s++;
        if (!text_is_digit(*s)) {
            return 0;
        }
    }
    else {
        given = -1;
    }
    for (int i = 0; i < places; i++) {
        uint64_t digit = 0;

        if (given >= 0 && text_is_digit(*s)) {
            digit = (uint64_t)(*s++ - '0');
        }
        if (__builtin_mul_overflow(n, UINT64_C(10), &n) || __builtin_add_overflow(n, digit, &n)) {
            return 0;
        }
    }
    *at = s;
    *out = n;
    return 1;
}

/* ---- plain numbers ------------------------------------------------------------------------------------------------------- */

const char *gate_parse_uint(apr_pool_t *p, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    const char *at = text;
    uint64_t n;

    if (scan_digits(&at, &n) && *at == '\0' && n >= min && n <= max) {
        *out = n;
        return NULL;
    }
    if (max == UINT64_MAX) {
        return apr_psprintf(p, "is not a whole number of at least %" PRIu64, min);
    }
    return apr_psprintf(p, "is not a whole number from %" PRIu64 " to %" PRIu64, min, max);
}

/* 1250 as "1.25", 2000 as "2". */
static const char *format_milli(apr_pool_t *p, uint64_t milli)
{
    char *text = apr_psprintf(p, "%" PRIu64 ".%03u", milli / 1000, (unsigned)(milli % 1000));
    size_t len = strlen(text);

    while (text[len - 1] == '0') {
        text[--len] = '\0';
    }
    if (text[len - 1] == '.') {
        text[len - 1] = '\0';
    }
    return text;
}

const char *gate_parse_milli(apr_pool_t *p, const char *text, uint64_t min_milli, uint64_t max_milli, uint64_t *out_milli)
{
    const char *at = text;
    uint64_t n;

    if (scan_decimal(&at, 3, &n) && *at == '\0' && n >= min_milli && n <= max_milli) {
        *out_milli = n;
        return NULL;
    }
    return apr_psprintf(p, "is not a number from %s to %s (at most three digits after the point)", format_milli(p, min_milli),
                        format_milli(p, max_milli));
}

/* ---- numbers with a unit ------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    uint64_t factor;
} parse_unit_t;

static const parse_unit_t duration_units[] = {
    {"", 1000000}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"min", 60000000}, {"h", UINT64_C(3600000000)},
    {"d", UINT64_C(86400000000)}, {NULL, 0}
};

static const parse_unit_t size_units[] = {
    {"", 1}, {"b", 1}, {"k", 1u << 10}, {"kb", 1u << 10}, {"kib", 1u << 10}, {"m", 1u << 20}, {"mb", 1u << 20},
    {"mib", 1u << 20}, {"g", 1u << 30}, {"gb", 1u << 30}, {"gib", 1u << 30}, {NULL, 0}
};

/* Largest first: what a bound is written in. */
static const parse_unit_t duration_names[] = {
    {"d", UINT64_C(86400000000)}, {"h", UINT64_C(3600000000)}, {"m", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1}
};
static const parse_unit_t size_names[] = {{"G", 1u << 30}, {"M", 1u << 20}, {"K", 1u << 10}, {"B", 1}};

static int scan_with_unit(const char *text, const parse_unit_t *units, int (*same)(const char *, const char *), uint64_t *out)
{
    const char *at = text;
    uint64_t n;

    if (!scan_digits(&at, &n)) {
        return 0;
    }
    for (; units->name != NULL; units++) {
        if (same(at, units->name) == 0) {
            return !__builtin_mul_overflow(n, units->factor, out);
        }
    }
    return 0;
}

static const char *format_with_unit(apr_pool_t *p, uint64_t n, const parse_unit_t *names)
{
    if (n == 0) {
        return "0";
    }
    while (n % names->factor != 0) {
        names++;
    }
    return apr_psprintf(p, "%" PRIu64 "%s", n / names->factor, names->name);
}

static const char *format_range(apr_pool_t *p, uint64_t min, uint64_t max, uint64_t unbounded, const parse_unit_t *names)
{
    if (max == unbounded) {
        return apr_psprintf(p, "of at least %s", format_with_unit(p, min, names));
    }
    return apr_psprintf(p, "from %s to %s", format_with_unit(p, min, names), format_with_unit(p, max, names));
}

const char *gate_parse_duration(apr_pool_t *p, const char *text, int64_t min_usec, int64_t max_usec, int64_t *out_usec)
{
    uint64_t n;

    if (scan_with_unit(text, duration_units, strcmp, &n) && n <= INT64_MAX && (int64_t)n >= min_usec && (int64_t)n <= max_usec) {
        *out_usec = (int64_t)n;
        return NULL;
    }
    return apr_psprintf(p, "is not a duration %s (a whole number with unit ms, s, m, h or d; without one it is seconds)",
                        format_range(p, (uint64_t)min_usec, (uint64_t)max_usec, INT64_MAX, duration_names));
}

const char *gate_parse_size(apr_pool_t *p, const char *text, uint64_t min_bytes, uint64_t max_bytes, uint64_t *out_bytes)
{
    uint64_t n;

    if (scan_with_unit(text, size_units, strcasecmp, &n) && n >= min_bytes && n <= max_bytes) {
        *out_bytes = n;
        return NULL;
    }
    return apr_psprintf(p, "is not a size %s (a whole number with unit K, M or G; without one it is bytes)",
                        format_range(p, min_bytes, max_bytes, UINT64_MAX, size_names));
}

const char *gate_parse_percent(apr_pool_t *p, const char *text, uint32_t *out_milli)
{
    const char *at = text;
    uint64_t tenths; /* of a per cent: just what is asked for */

    (void)p;
    if (scan_decimal(&at, 1, &tenths) && strcmp(at, "%") == 0 && tenths <= 1000) {
        *out_milli = (uint32_t)tenths;
        return NULL;
    }
    return "is not a percentage from 0% to 100% (the sign is needed; at most one digit after the point)";
}

const char *gate_parse_rate(apr_pool_t *p, const char *text, uint64_t *out_events, int64_t *out_period_usec)
{
    const char *at = text;
    uint64_t n;

    if (scan_digits(&at, &n) && n >= 1 && n <= RATE_MAX && strncmp(at, "r/", 2) == 0) {
        for (const parse_unit_t *unit = duration_names; unit->factor >= 1000000; unit++) {
            if (strcmp(at + 2, unit->name) == 0) {
                *out_events = n;
                *out_period_usec = (int64_t)unit->factor;
                return NULL;
            }
        }
    }
    return apr_psprintf(p, "is not a rate such as 10r/s (a whole number from 1 to %" PRIu64 ", then r/s, r/m, r/h or r/d)",
                        RATE_MAX);
}

const char *gate_parse_flag(apr_pool_t *p, const char *text, int *out)
{
    (void)p;
    if (strcasecmp(text, "on") == 0) {
        *out = 1;
        return NULL;
    }
    if (strcasecmp(text, "off") == 0) {
        *out = 0;
        return NULL;
    }
    return "is neither 'on' nor 'off'";
}

/* ---- sets of statuses ---------------------------------------------------------------------------------------------------- */

/* Three digits, the first from 1 to 5. */
static int scan_status(const char **at, int *out)
{
    const char *s = *at;

    if (s[0] < '1' || s[0] > '5' || !text_is_digit(s[1]) || !text_is_digit(s[2]) || text_is_digit(s[3])) {
        return 0;
    }
    *out = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
    *at = s + 3;
    return 1;
}

/* "204" or "300-399" */
static int scan_status_range(const char **at, int *first, int *last)
{
    if (!scan_status(at, first)) {
        return 0;
    }
    *last = *first;
    if (**at == '-') {
        (*at)++;
        return scan_status(at, last);
    }
    return 1;
}

const char *gate_parse_status_set(apr_pool_t *p, const char *text, gate_status_set_t *out)
{
    static const char form[] = "is not a set of statuses such as 200-399 or 200,204,301-308 (each from 100 to 599)";
    gate_status_set_t set = {{0}};
    const char *at = text;
    int first, last;

    for (;;) {
        if (!scan_status_range(&at, &first, &last)) {
            return form;
        }
        if (first > last) {
            return apr_psprintf(p, "has the range %d-%d the wrong way round; write %d-%d", first, last, last, first);
        }
        for (int status = first; status <= last; status++) {
            set.bits[status / 64] |= UINT64_C(1) << (status % 64);
        }
        if (*at == '\0') {
            break;
        }
        if (*at++ != ',') {
            return form;
        }
    }
    *out = set;
    return NULL;
}

/* ---- names --------------------------------------------------------------------------------------------------------------- */

const char *gate_parse_name(apr_pool_t *p, const char *text)
{
    size_t len = 0;

    while (text_is_alnum(text[len]) || (len > 0 && text[len] != '\0' && strchr("._-:", text[len]) != NULL)) {
        len++;
    }
    if (len >= 1 && len <= NAME_MAX_CHARS && text[len] == '\0') {
        return NULL;
    }
    return apr_psprintf(p, "is not a name (1 to %d letters, digits, '.', '_', '-' or ':', the first a letter or digit)",
                        NAME_MAX_CHARS);
}
