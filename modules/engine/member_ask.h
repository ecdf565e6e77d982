/*
 * member_ask.h - which of a client's fields a member gets, and what of ours is added to them, in whatever protocol it is asked.
 * Depends: message.h, libc.   Memory: borrows.   Locking: none.   Source: httpd 2.4 (ap_proxy_create_hdrbrgd).
 */
#ifndef ENGINE_MEMBER_ASK_H
#define ENGINE_MEMBER_ASK_H

#include "message.h"

/* Ours where the client has none of that name; in this order. */
static const field_e member_ask_added[] = { FIELD_VIA, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_SERVER };
#define MEMBER_ASK_ADDED (sizeof member_ask_added / sizeof member_ask_added[0])

/** Is this the first line of its name? Its others go with it. */
static inline int member_ask_is_first(const fields_t *fields, uint32_t i)
{
    const field_t *f = &fields->field[i];

    if (f->known != FIELD_OTHER) {
        return fields->first[f->known] == i + 1;
    }
    if (fields->repeated) {
        for (uint32_t k = 0; k < i; k++) {
            if (fields->field[k].known == FIELD_OTHER && spans_equal(fields->field[k].name, f->name)) {
                return 0;
            }
        }
    }
    return 1;
}

/** What of ours goes into the line of that name; .at NULL: nothing. */
static inline span_t member_ask_addition(const member_ask_t *ask, field_e known)
{
    switch (known) {
    case FIELD_VIA:
        return ask->via;
    case FIELD_X_FORWARDED_FOR:
        return ask->forwarded_for;
    case FIELD_X_FORWARDED_HOST:
        return ask->forwarded_host;
    case FIELD_X_FORWARDED_SERVER:
        return ask->forwarded_server;
    default:
        return (span_t){ NULL, 0 };
    }
}

/** Host and what frames the body is not the client's to say. */
static inline int member_ask_goes(const member_ask_t *ask, const field_t *f)
{
    switch (f->known) {
    case FIELD_HOST:
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING:
        return 0;
    case FIELD_EXPECT:
        return ask->expect_continue;
    case FIELD_VIA:
        return !ask->via_block && !f->hop;
    default:
        return !f->hop;
    }
}

/** Is there no line of the client's that ours could go into? */
static inline int member_ask_is_new(const member_ask_t *ask, field_e known)
{
    const field_t *theirs = fields_known(ask->fields, known);

    return !theirs || !member_ask_goes(ask, theirs);
}

#endif
