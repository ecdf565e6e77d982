/*
 * exchange_body.c - the client's body on its way to a member: bounded, kept from its first byte for as long as it may be sent again.
 * In chunks when its length is not known: RFC 9112, 7.1. A chunk's size line, data and end may each leave in parts.
 */
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

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
    x->body.frame_len = x->body.frame_sent = x->body.chunk_left = 0;
    x->body.told_end = x->body.last_frame = 0;
    x->body.waiting_since_usec = 0;
}

/* ---- plain: a length was announced ------------------------------------------------------------------------------------------ */

static int pump_plain(exchange_t *x)
{
    exchange_body_t *body = &x->body;
    struct iovec part;
    ssize_t taken;

    if (body->sent == body->len) {
        return 1;
    }
    part.iov_base = body->at + body->sent;
    part.iov_len = body->len - body->sent;
    taken = origin_send(x->origin, &part, 1);
    if (taken < 0) {
        return -1;
    }
    body->sent += (uint32_t)taken;
    return body->sent == body->len;
}

/* ---- in chunks --------------------------------------------------------------------------------------------------------------- */

/* The next framing bytes, when the former are out. A chunk is all that is there. */
static void next_frame(exchange_body_t *body)
{
    uint32_t ready = body->len - body->sent;
    const char *before = body->frame_len ? "\r\n" : ""; /* ends the chunk before */

    if (ready) {
        body->frame_len = (uint32_t)snprintf(body->frame, sizeof body->frame, "%s%x\r\n", before, ready);
        body->chunk_left = ready;
    }
    else {
        body->frame_len = (uint32_t)snprintf(body->frame, sizeof body->frame, "%s0\r\n\r\n", before);
        body->last_frame = 1;
    }
    body->frame_sent = 0;
}

static int pump_chunks(exchange_t *x)
{
    exchange_body_t *body = &x->body;

    for (;;) {
        struct iovec parts[2];
        ssize_t taken;
        size_t wanted, frame;

        if (body->frame_sent == body->frame_len && body->chunk_left == 0) {
            if (body->last_frame || (body->sent == body->len && !body->ended)) {
                return 1;
            }
            next_frame(body);
        }
        frame = body->frame_len - body->frame_sent;
        parts[0].iov_base = body->frame + body->frame_sent;
        parts[0].iov_len = frame;
        parts[1].iov_base = body->at + body->sent;
        parts[1].iov_len = body->chunk_left;
        wanted = frame + body->chunk_left;
        taken = frame ? origin_send(x->origin, parts, body->chunk_left ? 2 : 1) : origin_send(x->origin, parts + 1, 1);
        if (taken < 0) {
            return -1;
        }
        if ((size_t)taken <= frame) {
            body->frame_sent += (uint32_t)taken;
        }
        else {
            body->frame_sent = body->frame_len;
            body->sent += (uint32_t)((size_t)taken - frame);
            body->chunk_left -= (uint32_t)((size_t)taken - frame);
        }
        if ((size_t)taken < wanted) {
            return 0;
        }
    }
}

int exchange_body_pump(exchange_t *x)
{
    exchange_body_t *body = &x->body;
    int all;

    if (!body->present || body->told_end) {
        return 1;
    }
    all = body->chunked ? pump_chunks(x) : pump_plain(x);
    if (all == 1 && body->ended && (!body->chunked || body->last_frame)) {
        body->told_end = 1;
    }
    return all;
}
