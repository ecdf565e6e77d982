/*
 * message.c - names of fields as numbers, and copies of heads.
 * A name is looked up by a hash of its length, first and last letter, under which no two known names meet (the compiler says so if two
 * do: an initializer that overrides another is an error), and one comparison.
 */
#include <string.h>

#include "message.h"

#define SLOTS 128
#define SLOT(len, first, last) (((len) * 3 + (first) * 15 + (last) * 17) % SLOTS)

static const uint8_t slots[SLOTS] = {
    [SLOT(15, 'a', 'g')] = FIELD_ACCEPT_ENCODING,
    [SLOT(13, 'a', 's')] = FIELD_ACCEPT_RANGES,
    [SLOT(3, 'a', 'e')] = FIELD_AGE,
    [SLOT(13, 'a', 'n')] = FIELD_AUTHORIZATION,
    [SLOT(13, 'c', 'l')] = FIELD_CACHE_CONTROL,
    [SLOT(10, 'c', 'n')] = FIELD_CONNECTION,
    [SLOT(16, 'c', 'g')] = FIELD_CONTENT_ENCODING,
    [SLOT(16, 'c', 'e')] = FIELD_CONTENT_LANGUAGE,
    [SLOT(14, 'c', 'h')] = FIELD_CONTENT_LENGTH,
    [SLOT(16, 'c', 'n')] = FIELD_CONTENT_LOCATION,
    [SLOT(13, 'c', 'e')] = FIELD_CONTENT_RANGE,
    [SLOT(12, 'c', 'e')] = FIELD_CONTENT_TYPE,
    [SLOT(6, 'c', 'e')] = FIELD_COOKIE,
    [SLOT(4, 'd', 'e')] = FIELD_DATE,
    [SLOT(4, 'e', 'g')] = FIELD_ETAG,
    [SLOT(6, 'e', 't')] = FIELD_EXPECT,
    [SLOT(7, 'e', 's')] = FIELD_EXPIRES,
    [SLOT(4, 'h', 't')] = FIELD_HOST,
    [SLOT(8, 'i', 'h')] = FIELD_IF_MATCH,
    [SLOT(17, 'i', 'e')] = FIELD_IF_MODIFIED_SINCE,
    [SLOT(13, 'i', 'h')] = FIELD_IF_NONE_MATCH,
    [SLOT(8, 'i', 'e')] = FIELD_IF_RANGE,
    [SLOT(19, 'i', 'e')] = FIELD_IF_UNMODIFIED_SINCE,
    [SLOT(10, 'k', 'e')] = FIELD_KEEP_ALIVE,
    [SLOT(13, 'l', 'd')] = FIELD_LAST_MODIFIED,
    [SLOT(8, 'l', 'n')] = FIELD_LOCATION,
    [SLOT(12, 'm', 's')] = FIELD_MAX_FORWARDS,
    [SLOT(6, 'p', 'a')] = FIELD_PRAGMA,
    [SLOT(18, 'p', 'e')] = FIELD_PROXY_AUTHENTICATE,
    [SLOT(19, 'p', 'n')] = FIELD_PROXY_AUTHORIZATION,
    [SLOT(16, 'p', 'n')] = FIELD_PROXY_CONNECTION,
    [SLOT(5, 'r', 'e')] = FIELD_RANGE,
    [SLOT(7, 'r', 'r')] = FIELD_REFERER,
    [SLOT(7, 'r', 'h')] = FIELD_REFRESH,
    [SLOT(6, 's', 'r')] = FIELD_SERVER,
    [SLOT(10, 's', 'e')] = FIELD_SET_COOKIE,
    [SLOT(2, 't', 'e')] = FIELD_TE,
    [SLOT(7, 't', 'r')] = FIELD_TRAILER,
    [SLOT(17, 't', 'g')] = FIELD_TRANSFER_ENCODING,
    [SLOT(7, 'u', 'e')] = FIELD_UPGRADE,
    [SLOT(10, 'u', 't')] = FIELD_USER_AGENT,
    [SLOT(4, 'v', 'y')] = FIELD_VARY,
    [SLOT(3, 'v', 'a')] = FIELD_VIA,
    [SLOT(7, 'w', 'g')] = FIELD_WARNING,
    [SLOT(16, 'w', 'e')] = FIELD_WWW_AUTHENTICATE,
    [SLOT(15, 'x', 'r')] = FIELD_X_FORWARDED_FOR,
    [SLOT(16, 'x', 't')] = FIELD_X_FORWARDED_HOST,
    [SLOT(18, 'x', 'r')] = FIELD_X_FORWARDED_SERVER,
    [SLOT(17, 'x', 'o')] = FIELD_X_FORWARDED_PROTO,
};

/* Room for the longest, so that words of eight can be compared without looking where a name ends. */
static const struct {
    char lower[24];
    uint8_t len;
    char name[24];
} names[FIELD_COUNT] = {
#define NAME(field, lower, name) [field] = { lower, sizeof(name) - 1, name }
    NAME(FIELD_ACCEPT_ENCODING, "accept-encoding", "Accept-Encoding"),
    NAME(FIELD_ACCEPT_RANGES, "accept-ranges", "Accept-Ranges"),
    NAME(FIELD_AGE, "age", "Age"),
    NAME(FIELD_AUTHORIZATION, "authorization", "Authorization"),
    NAME(FIELD_CACHE_CONTROL, "cache-control", "Cache-Control"),
    NAME(FIELD_CONNECTION, "connection", "Connection"),
    NAME(FIELD_CONTENT_ENCODING, "content-encoding", "Content-Encoding"),
    NAME(FIELD_CONTENT_LANGUAGE, "content-language", "Content-Language"),
    NAME(FIELD_CONTENT_LENGTH, "content-length", "Content-Length"),
    NAME(FIELD_CONTENT_LOCATION, "content-location", "Content-Location"),
    NAME(FIELD_CONTENT_RANGE, "content-range", "Content-Range"),
    NAME(FIELD_CONTENT_TYPE, "content-type", "Content-Type"),
    NAME(FIELD_COOKIE, "cookie", "Cookie"),
    NAME(FIELD_DATE, "date", "Date"),
    NAME(FIELD_ETAG, "etag", "ETag"),
    NAME(FIELD_EXPECT, "expect", "Expect"),
    NAME(FIELD_EXPIRES, "expires", "Expires"),
    NAME(FIELD_HOST, "host", "Host"),
    NAME(FIELD_IF_MATCH, "if-match", "If-Match"),
    NAME(FIELD_IF_MODIFIED_SINCE, "if-modified-since", "If-Modified-Since"),
    NAME(FIELD_IF_NONE_MATCH, "if-none-match", "If-None-Match"),
    NAME(FIELD_IF_RANGE, "if-range", "If-Range"),
    NAME(FIELD_IF_UNMODIFIED_SINCE, "if-unmodified-since", "If-Unmodified-Since"),
    NAME(FIELD_KEEP_ALIVE, "keep-alive", "Keep-Alive"),
    NAME(FIELD_LAST_MODIFIED, "last-modified", "Last-Modified"),
    NAME(FIELD_LOCATION, "location", "Location"),
    NAME(FIELD_MAX_FORWARDS, "max-forwards", "Max-Forwards"),
    NAME(FIELD_PRAGMA, "pragma", "Pragma"),
    NAME(FIELD_PROXY_AUTHENTICATE, "proxy-authenticate", "Proxy-Authenticate"),
    NAME(FIELD_PROXY_AUTHORIZATION, "proxy-authorization", "Proxy-Authorization"),
    NAME(FIELD_PROXY_CONNECTION, "proxy-connection", "Proxy-Connection"),
    NAME(FIELD_RANGE, "range", "Range"),
    NAME(FIELD_REFERER, "referer", "Referer"),
    NAME(FIELD_REFRESH, "refresh", "Refresh"),
    NAME(FIELD_SERVER, "server", "Server"),
    NAME(FIELD_SET_COOKIE, "set-cookie", "Set-Cookie"),
    NAME(FIELD_TE, "te", "TE"),
    NAME(FIELD_TRAILER, "trailer", "Trailer"),
    NAME(FIELD_TRANSFER_ENCODING, "transfer-encoding", "Transfer-Encoding"),
    NAME(FIELD_UPGRADE, "upgrade", "Upgrade"),
    NAME(FIELD_USER_AGENT, "user-agent", "User-Agent"),
    NAME(FIELD_VARY, "vary", "Vary"),
    NAME(FIELD_VIA, "via", "Via"),
    NAME(FIELD_WARNING, "warning", "Warning"),
    NAME(FIELD_WWW_AUTHENTICATE, "www-authenticate", "WWW-Authenticate"),
    NAME(FIELD_X_FORWARDED_FOR, "x-forwarded-for", "X-Forwarded-For"),
    NAME(FIELD_X_FORWARDED_HOST, "x-forwarded-host", "X-Forwarded-Host"),
    NAME(FIELD_X_FORWARDED_SERVER, "x-forwarded-server", "X-Forwarded-Server"),
    NAME(FIELD_X_FORWARDED_PROTO, "x-forwarded-proto", "X-Forwarded-Proto"),
#undef NAME
};

#define LOWER_WORD UINT64_C(0x2020202020202020)

static inline uint64_t load8(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint32_t load4(const char *at)
{
    uint32_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

static inline char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/*
 * `name` against a lower case one of the same length. Setting bit 5 makes letters small and leaves digits and '-' alone; of the other
 * characters only controls would turn into one of those, and no token has them: callers that have not checked that get FIELD_OTHER or a
 * match for a name that nobody can send.
 */
static inline int same_name(const char *name, const char *known, size_t len)
{
    size_t i = 0;

    if (len < 8) {
        if (len >= 4) {
            return ((load4(name) | 0x20202020u) == load4(known)) && ((load4(name + len - 4) | 0x20202020u) == load4(known + len - 4));
        }
        for (; i < len; i++) {
            if ((name[i] | 0x20) != known[i]) {
                return 0;
            }
        }
        return 1;
    }
    for (; i + 8 <= len; i += 8) {
        if ((load8(name + i) | LOWER_WORD) != load8(known + i)) {
            return 0;
        }
    }
    return (load8(name + len - 8) | LOWER_WORD) == load8(known + len - 8);
}

field_e field_of(const char *name, size_t len)
{
    unsigned known;

    if (len < 2 || len > 19) {
        return FIELD_OTHER;
    }
    known = slots[SLOT((unsigned)len, (unsigned)((unsigned char)name[0] | 0x20), (unsigned)((unsigned char)name[len - 1] | 0x20))];
    if (names[known].len != len || !same_name(name, names[known].lower, len)) {
        return FIELD_OTHER;
    }
    return (field_e)known;
}

const char *field_name(field_e known)
{
    return (unsigned)known < FIELD_COUNT ? names[known].name : "";
}

int spans_equal(span_t a, span_t b)
{
    if (a.len != b.len) {
        return 0;
    }
    for (uint32_t i = 0; i < a.len; i++) {
        if (a.at[i] != b.at[i] && lower(a.at[i]) != lower(b.at[i])) {
            return 0;
        }
    }
    return 1;
}

int span_is(span_t span, const char *word)
{
    return spans_equal(span, (span_t){ word, (uint32_t)strlen(word) });
}

const field_t *fields_next(const fields_t *fields, const field_t *at)
{
    const field_t *end = fields->field + fields->count;

    if (!fields->repeated) {
        return NULL;
    }
    for (const field_t *f = at + 1; f < end; f++) {
        if (f->known == at->known && (at->known != FIELD_OTHER || spans_equal(f->name, at->name))) {
            return f;
        }
    }
    return NULL;
}

/* ---- copies ------------------------------------------------------------------------------------------------------------------ */

static size_t fields_size(const fields_t *fields)
{
    size_t size = fields->count * sizeof(field_t);

    for (uint32_t i = 0; i < fields->count; i++) {
        size += fields->field[i].name.len + fields->field[i].value.len + 2;
    }
    return size;
}

size_t request_head_size(const request_head_t *head)
{
    /* path and query are parts of target, and method may be one of line; a copy does not rely on it */
    return fields_size(&head->fields) + head->line.len + head->method.len + head->target.len + head->path.len + head->query.len + head->host.len
           + 6;
}

size_t answer_head_size(const answer_head_t *head)
{
    return fields_size(&head->fields) + head->reason.len + 1;
}

static void keep(span_t *span, char **at)
{
    if (!span->at) {
        return;
    }
    if (span->len) {
        memcpy(*at, span->at, span->len);
    }
    span->at = *at;
    *at += span->len;
    *(*at)++ = '\0';
}

static char *fields_copy(fields_t *to, void *memory)
{
    field_t *field = memory;
    char *at = (char *)(field + to->count);

    if (to->count) {
        memcpy(field, to->field, to->count * sizeof *field);
    }
    to->field = field;
    for (uint32_t i = 0; i < to->count; i++) {
        keep(&field[i].name, &at);
        keep(&field[i].value, &at);
    }
    return at;
}

void request_head_copy(request_head_t *to, const request_head_t *from, void *memory)
{
    char *at;

    *to = *from;
    at = fields_copy(&to->fields, memory);
    keep(&to->line, &at);
    keep(&to->method, &at);
    keep(&to->target, &at);
    keep(&to->path, &at);
    keep(&to->query, &at);
    keep(&to->host, &at);
}

void answer_head_copy(answer_head_t *to, const answer_head_t *from, void *memory)
{
    char *at;

    *to = *from;
    to->lines = (span_t){ NULL, 0 };
    at = fields_copy(&to->fields, memory);
    keep(&to->reason, &at);
}
