/*
 * gate_parse.h - strict parsers for what directives and the admin API read.
 * Depends: APR types.   Locking: none, all pure.
 *
 * Every parser takes the whole text: leading or trailing rubbish, an empty text, a sign where none belongs, and overflow are errors.
 * Parsers of one value return NULL when good, else a sentence part that completes  "GateX: '<input>' <...>", such as
 * "is not a whole number from 1 to 1000": static, or allocated from pool p where one is given. Setters prepend directive and input.
 */
#ifndef GATE_PARSE_H
#define GATE_PARSE_H

#include <stdint.h>
#include <apr_pools.h>
#include <apr_tables.h>

/** Whole decimal number, min..max (no sign, no blanks, no 0x). */
const char *gate_parse_uint(apr_pool_t *p, const char *text, uint64_t min, uint64_t max, uint64_t *out);

/** Number with a point ("1.25"), min..max; three digits after the point at most; given back in thousandths. */
const char *gate_parse_milli(apr_pool_t *p, const char *text, uint64_t min_milli, uint64_t max_milli, uint64_t *out_milli);

/** Duration: number with unit ms, s, m or min, h, d; a bare number is seconds; min..max. Out: microseconds. */
const char *gate_parse_duration(apr_pool_t *p, const char *text, int64_t min_usec, int64_t max_usec, int64_t *out_usec);

/** Size: number with unit B, K, M, G (1024-based, either case, an optional B or iB after it); a bare number is bytes. Out: bytes. */
const char *gate_parse_size(apr_pool_t *p, const char *text, uint64_t min_bytes, uint64_t max_bytes, uint64_t *out_bytes);

/** Percentage: "0%".."100%", the sign demanded; one digit after the point at most. Out: thousandths (50% = 500). */
const char *gate_parse_percent(apr_pool_t *p, const char *text, uint32_t *out_milli);

/** Rate: number "r/" s|m|h|d. Out: events and the period in microseconds. */
const char *gate_parse_rate(apr_pool_t *p, const char *text, uint64_t *out_events, int64_t *out_period_usec);

/** on|off, any case. */
const char *gate_parse_flag(apr_pool_t *p, const char *text, int *out);

/* One word out of a table, in any case; the table gives the error text its list of accepted words. Ends with a NULL name. */
typedef struct {
    const char *name;
    int value;
} gate_word_t;

const char *gate_parse_word(apr_pool_t *p, const char *text, const gate_word_t *words, int *out);

/** "200-399", "200", "200,204,300-399": bits set in a map of statuses 100..599. */
typedef struct {
    uint64_t bits[10]; /* status s: bits[s / 64] >> (s % 64) & 1 */
} gate_status_set_t;

const char *gate_parse_status_set(apr_pool_t *p, const char *text, gate_status_set_t *out);
static inline int gate_status_in(const gate_status_set_t *set, int status)
{
    return status >= 100 && status < 600 && (set->bits[status / 64] >> (status % 64) & 1);
}

/**
 * Name of a group, member, set: letters, digits, '.', '_', '-', ':' ; 1..63 characters, the first a letter or digit.
 * (It appears in URLs, log lines, metrics and cookies.)
 */
const char *gate_parse_name(apr_pool_t *p, const char *text);

#define GATE_URL_MAX_CHARS 319

/** URL of a member, taken apart; strings live in pool p. */
typedef struct {
    const char *scheme;  /* lower case */
    const char *host;    /* lower case, IPv6 without brackets; of a unix member: the name after "scheme://" */
    uint16_t port;       /* never 0 for tcp: the scheme's default is filled in (ajp 8009, fcgi, scgi, uwsgi must name one);
                          * 0 for a unix member whose scheme has none and that names none */
    int port_given;
    const char *path;    /* without a trailing '/': "" or "/base" */
    const char *unix_path; /* NULL unless "unix:/path|scheme://name" */
    const char *authority; /* "host:port", "[::1]:80", or "unix:/path": what identifies the server; lower case but for the path */
} gate_url_t;

/** http https fcgi ajp uwsgi scgi h2 h2c ws wss, plain or after "unix:/path|". No user info, query or fragment. */
const char *gate_parse_member_url(apr_pool_t *p, const char *text, gate_url_t *out);

/**
 * The words of a directive's whole text (RAW_ARGS). Unlike httpd's own splitting, a quote may begin inside a word: header="A: b" is
 * one word, header=A: b.
 * @param words  array of char *, in pool p
 * @return NULL, or a whole message without the directive
 */
const char *gate_parse_args(apr_pool_t *p, const char *text, apr_array_header_t **words);

/*
 * Key=value lists: the table says what may come; setters get text and do the value's own parsing. Keys match in any case. A
 * table ends with a NULL key and has at most GATE_PAIR_RULES_MAX rows.
 */
#define GATE_PAIR_RULES_MAX 64

typedef struct gate_pair_rule {
    const char *key;
    int bare;         /* 1: a word without '=' ("backup"); 0: "key=value"; 2: either */
    /** @return NULL or a sentence part as above; value is NULL for a bare word, and never empty */
    const char *(*set)(apr_pool_t *p, void *target, const char *value);
} gate_pair_rule_t;

/**
 * Reads one argument by the rules.
 * @param seen   bitmap of keys already given (by index in rules): a key given twice is an error
 * @return NULL, or a whole message without the directive: "'wieght=3' is not known here; did you mean 'weight='? (known: ...)"
 */
const char *gate_parse_pair(apr_pool_t *p, const char *arg, const gate_pair_rule_t *rules, uint64_t *seen, void *target);

/**
 * The nearest of some words to what was written (Damerau-Levenshtein in any case, at most a third of the longer one's length away).
 * @return one of words, or NULL when none is near
 */
const char *gate_nearest(const char *text, const char *const *words, int count);

#endif
