/*
 * h1_inside.h - what the readers of requests and of answers share.
 * Depends: h1_parse.h, h1_scan.h.   Memory, locking: see h1_parse.h.
 */
#ifndef ENGINE_H1_INSIDE_H
#define ENGINE_H1_INSIDE_H

#include <string.h>

#include "h1_parse.h"
#include "h1_scan.h"

typedef enum { LINES_STRICT, LINES_FOLDED /* CRLF, folding allowed */, LINES_LENIENT /* LF too */ } lines_e;

typedef struct {
    const char *at, *end;
    uint32_t line_max, fields_max;
    uint64_t twice;             /* bit of each known name that stood more than once */
    uint64_t others;            /* bits that unknown names fell on */
    int folded;
} reading_t;

static inline int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* p stands on what ended a line's text. @return bytes of the line's end; H1_MORE; H1_BAD */
static inline int line_end(const char *p, const char *end, lines_e lines)
{
    if (*p == '\r') {
        return p + 1 == end ? H1_MORE : p[1] == '\n' ? 2 : H1_BAD;
    }
    return lines == LINES_LENIENT && *p == '\n' ? 1 : H1_BAD;
}

static inline void begin_fields(fields_t *fields)
{
    fields->count = 0;
    fields->repeated = 0;
    memset(fields->first, 0, sizeof fields->first);
}

static inline int is_twice(const reading_t *r, field_e known)
{
    return (int)(r->twice >> known & 1);
}

#define BIT(field) (UINT64_C(1) << (field))

/* For this connection only, whether Connection says so or not. */
#define HOP_ALWAYS (BIT(FIELD_CONNECTION) | BIT(FIELD_KEEP_ALIVE) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_TE) | BIT(FIELD_TRAILER) \
                    | BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_UPGRADE))

/** Fields up to and with the empty line, added to `fields`. @return 1, H1_MORE, H1_BAD */
int h1_fields(reading_t *r, fields_t *fields, lines_e lines);
/** Line ends in values go, the blanks around them stay: as httpd joins folded lines. */
void h1_unfold(fields_t *fields);
/** Which are for this connection only: of the known ones those whose bit is set in `hops`, and those of a name that Connection has. */
void h1_hops(fields_t *fields, uint64_t hops);
void h1_hop(fields_t *fields, span_t name);

#endif
