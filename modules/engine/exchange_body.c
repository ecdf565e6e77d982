/*
 * exchange_body.c - the client's body on its way to a member: bounded, kept from its first byte for as long as it may be sent again.
 */
#include <string.h>

#include "exchange_inside.h"

#define FIRST_BYTES 4096

static int is_repeatable(const exchange_t *x)
{
    return !x->body.dropped;
}

void exchange_body_forget(exchange_t *x)
{
    exchange_body_t *body = &x->body;

    if (body->dropped) {
        return;
    }
    body->dropped = 1;
    if (body->sent) {
        memmove(body->at, body->at + body->sent, body->len - body->sent);
        body->len -= body->sent;
        body->sent = 0;
    }
}

/* @return room for so many more, at most `wanted` */
static uint32_t make_room(exchange_t *x, size_t wanted)
{
    exchange_body_t *body = &x->body;
    uint32_t size = body->size;

    if (wanted > EXCHANGE_KEPT_BYTES) {
        wanted = EXCHANGE_KEPT_BYTES;
    }
    if (body->len + wanted > EXCHANGE_KEPT_BYTES && body->len && body->sent == body->len
        && (x->state == EXCHANGE_ASKING || x->state == EXCHANGE_PASSING)) {
        exchange_body_forget(x); /* longer than what is kept. (Not while another member is going to be asked.) */
    }
    if (!is_repeatable(x) && body->sent == body->len) {
        body->sent = body->len = 0;
    }
    else if (!is_repeatable(x) && body->sent > EXCHANGE_KEPT_BYTES / 2) {
        memmove(body->at, body->at + body->sent, body->len - body->sent);
        body->len -= body->sent;
        body->sent = 0;
    }
    if (body->len + wanted > EXCHANGE_KEPT_BYTES) {
        wanted = EXCHANGE_KEPT_BYTES - body->len;
    }
    while (size < body->len + wanted) {
        size = size ? size * 2 : FIRST_BYTES;
    }
    if (size != body->size) {
        char *at = apr_palloc(x->pool, size); /* at most twice the limit in all */

        if (body->len) {
            memcpy(at, body->at, body->len);
        }
        body->at = at;
        body->size = size;
    }
    return (uint32_t)wanted;
}

size_t exchange_body_keep(exchange_t *x, const char *bytes, size_t len)
{
    exchange_body_t *body = &x->body;
    uint32_t taken = make_room(x, len);

    if (taken) {
        memcpy(body->at + body->len, bytes, taken);
        body->len += taken;
        body->received += taken;
    }
    return taken;
}

void exchange_body_rewind(exchange_t *x)
{
    x->body.sent = 0;
    x->body.told_end = 0;
    x->body.waiting_since_usec = 0;
}

/* ---- to the member ---------------------------------------------------------------------------------------------------------- */

void exchange_body_announce(const exchange_t *x, member_ask_t *ask)
{
    const exchange_body_t *body = &x->body;

    ask->length = 0;
    if (!body->present) {
        ask->body = x->head->fields.first[FIELD_CONTENT_LENGTH] ? BODY_LENGTH : BODY_NONE; /* "Content-Length: 0" */
    }
    else if (x->head->body == BODY_LENGTH) {
        ask->body = BODY_LENGTH;
        ask->length = x->head->length;
    }
    else if (body->ended && body->received <= EXCHANGE_PREFETCH_BYTES) {
        ask->body = BODY_LENGTH;
        ask->length = body->received;
    }
    else {
        ask->body = BODY_CHUNKED;
    }
}

/* @return as exchange_body_pump() */
static int sent(exchange_t *x, ssize_t taken)
{
    exchange_body_t *body = &x->body;

    if (taken < 0) {
        return -1;
    }
    body->sent += (uint32_t)taken;
    body->told_end = body->present && origin_is_asked(x->origin);
    return body->sent == body->len && (!body->ended || body->told_end || !body->present);
}

int exchange_body_begin(exchange_t *x, const member_ask_t *ask)
{
    const exchange_body_t *body = &x->body;

    if (body->trailers) {
        origin_trailers(x->origin, body->trailers);
    }
    if (body->held) {
        return sent(x, origin_ask(x->origin, ask, NULL, 0, 0));
    }
    return sent(x, origin_ask(x->origin, ask, body->at, body->len, body->ended));
}

int exchange_body_pump(exchange_t *x)
{
    const exchange_body_t *body = &x->body;

    if (!body->present || body->told_end || (body->sent == body->len && !body->ended)) {
        return 1;
    }
    if (body->trailers) {
        origin_trailers(x->origin, body->trailers);
    }
    return sent(x, origin_body(x->origin, body->at + body->sent, body->len - body->sent, body->ended));
}
