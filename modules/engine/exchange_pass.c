/*
 * exchange_pass.c - a member's answer on its way to the client: which are passed on, which are only read to their end.
 * As the classic plane does, a head whose body has a length is held until that body begins: a member that dies in between can still be
 * replaced by another.
 */
#include <string.h>

#include <apr_strings.h>

#include "exchange_inside.h"

#define CLIENT_LINES 4 /* of the processor's cache: what a codec knows of a request */

/* ---- swallowing ------------------------------------------------------------------------------------------------------------- */

void exchange_pass_swallowed(exchange_t *x, int whole)
{
    int status = x->try->status;
    apr_table_t *headers = x->error_headers;

    whole = whole && (!x->body.present || x->body.told_end);
    if (x->after_swallow == SWALLOW_AGAIN) {
        exchange_try_over(x, GATE_OUTCOME_OK, NULL, whole, 1);
        return;
    }
    exchange_try_over(x, GATE_OUTCOME_OK, NULL, whole, 0);
    if (x->after_swallow == SWALLOW_ERROR && !x->gone) {
        exchange_tell_classic(x, status, headers);
    }
}

static void swallow(exchange_t *x, uint8_t then)
{
    x->after_swallow = then;
    x->swallowed_bytes = 0;
    x->state = EXCHANGE_SWALLOW;
}

/* ---- the head --------------------------------------------------------------------------------------------------------------- */

static void pass_interim(exchange_t *x, const answer_head_t *head)
{
    if (head->status == 100) {
        if (x->body.held) {
            x->body.held = 0;
            exchange_try_send(x);
        }
        if (!x->head->expect_continue || x->told_continue) {
            return;
        }
        x->told_continue = 1;
    }
    if (x->head->major == 1 && x->head->minor == 0) {
        return; /* RFC 9110, 15.2 */
    }
    x->ops->interim(x, exchange_answer_dress(x, head));
    x->unflushed = 1;
}

void exchange_pass_continue(exchange_t *x)
{
    answer_head_t head = { .status = 100, .major = 1, .minor = 1, .keep_alive = 1, .reason = { "Continue", 8 }, .length = UINT64_MAX };

    x->body.held = 0;
    pass_interim(x, &head);
    exchange_tell_flush(x);
}

/* Does a 101 change to what was asked for? */
static int agrees(const exchange_t *x, const answer_head_t *head)
{
    const field_t *given = fields_known(&head->fields, FIELD_UPGRADE);

    return x->asked_upgrade && given && span_is(given->value, "websocket");
}

static void begin_tunnel(exchange_t *x, const answer_head_t *head)
{
    if (!agrees(x, head)) {
        exchange_try_over(x, GATE_OUTCOME_BAD, "the answer was not HTTP", 0, 1);
        return;
    }
    exchange_tell_head(x, head);
    if (!x->origin) {
        return; /* the client left */
    }
    x->state = EXCHANGE_TUNNEL;
    exchange_body_forget(x);
    x->body.present = 1;
    x->body.ended = x->body.told_end = 0;
    origin_tunnel(x->origin);
    exchange_try_clock(x);
    exchange_try_limit(x);
    x->ops->tunnel(x);
    x->unflushed = 1;
}

static void pass_head(exchange_t *x)
{
    const answer_head_t *head = x->held_head;

    x->held_head = NULL;
    exchange_tell_head(x, head);
}

static int is_held(const answer_head_t *head)
{
    return head->body == BODY_LENGTH && head->length != 0;
}

void exchange_pass_on_head(void *user, const answer_head_t *head)
{
    exchange_t *x = user;
    gate_try_t *t = x->try;

    exchange_enter(x);
    for (int i = 0; i < CLIENT_LINES; i++) { /* where the head goes soon */
        __builtin_prefetch((const char *)x->client + i * 64);
    }
    if (!t->first_byte_usec) {
        t->first_byte_usec = loop_now(x->loop);
    }
    if (head->status == 101) {
        t->status = 101;
        begin_tunnel(x, head);
    }
    else if (head->status < 200) {
        pass_interim(x, head);
        exchange_try_limit(x);
    }
    else {
        t->status = head->status;
        t->bytes_out = origin_bytes_out(x->origin);
        t->body_lost = x->body.dropped;
        x->state = EXCHANGE_PASSING;
        exchange_try_clock(x);
        exchange_try_limit(x);
        if (exchange_upstream->again(x->errand, loop_now(x->loop))) {
            swallow(x, SWALLOW_AGAIN);
        }
        else if (exchange_ask_overridden(x, head->status)) {
            x->error_headers = exchange_ask_error_fields(x, head);
            swallow(x, SWALLOW_ERROR);
        }
        else {
            x->held = *head; /* what it points to is good until turn() */
            x->held_head = &x->held;
            if (!is_held(head)) {
                pass_head(x);
                x->unflushed = 1;
            }
        }
    }
    exchange_leave(x);
}

/* ---- the body --------------------------------------------------------------------------------------------------------------- */

void exchange_pass_on_data(void *user, const char *bytes, size_t len)
{
    exchange_t *x = user;
    size_t room;

    exchange_enter(x);
    if (x->state == EXCHANGE_SWALLOW) {
        x->swallowed_bytes += len;
        if (x->swallowed_bytes > EXCHANGE_SWALLOW_BYTES) {
            exchange_pass_swallowed(x, 0);
        }
    }
    else if (x->state == EXCHANGE_PASSING || x->state == EXCHANGE_TUNNEL) {
        if (x->held_head) {
            pass_head(x);
        }
        if (x->try) {
            x->try->passed_bytes += len;
            x->unflushed = 1;
            room = exchange_tell_data(x, bytes, len);
            if (room == 0 && x->origin) {
                x->paused = 1;
                origin_pause(x->origin);
            }
        }
        if (x->try) {
            exchange_try_limit(x);
        }
    }
    exchange_leave(x);
}

void exchange_pass_on_end(void *user, const fields_t *trailers)
{
    exchange_t *x = user;
    int keep = !x->body.present || x->body.told_end;

    exchange_enter(x);
    if (x->state == EXCHANGE_SWALLOW) {
        exchange_pass_swallowed(x, 1);
    }
    else if (x->state == EXCHANGE_PASSING || x->state == EXCHANGE_TUNNEL) {
        int tunnel = x->state == EXCHANGE_TUNNEL;

        if (x->held_head) {
            pass_head(x);
        }
        if (!x->try) {
            exchange_leave(x);
            return; /* the client left */
        }
        exchange_try_over(x, GATE_OUTCOME_OK, NULL, keep && !tunnel, 0);
        exchange_tell_end(x, trailers);
        exchange_tell_flush(x);
    }
    exchange_leave(x);
}

/* One reading has been handed over: its spans are gone after this. */
void exchange_pass_on_turn(void *user)
{
    exchange_t *x = user;

    exchange_enter(x);
    if (x->held_head == &x->held) {
        answer_head_t *copy = apr_palloc(x->pool, sizeof *copy);

        answer_head_copy(copy, &x->held, apr_palloc(x->pool, answer_head_size(&x->held)));
        x->held_head = copy;
    }
    exchange_tell_flush(x);
    exchange_leave(x);
}
