/*
 * exchange_try.c - an exchange's errand: a member is claimed, connected and asked; what comes of it decides whether another is claimed.
 * The answer itself is passed on by exchange_pass.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "exchange_inside.h"

enum { STATUS_OURS = 500, STATUS_BAD_GATEWAY = 502 };

const gate_upstream_door_t *exchange_upstream;

static void claim(exchange_t *x);

/* ---- clocks ---------------------------------------------------------------------------------------------------------------- */

static exchange_t *of_timer(wheel_timer_t *timer)
{
    return (exchange_t *)((char *)timer - offsetof(exchange_t, timer));
}

static void deadline_over(wheel_timer_t *timer)
{
    exchange_t *x = of_timer(timer);

    exchange_enter(x);
    exchange_try_failed(x, ORIGIN_TIMEOUT, NULL);
    exchange_leave(x);
}

void exchange_try_clock(exchange_t *x)
{
    const gate_try_t *t = x->try;
    int64_t due = x->state == EXCHANGE_TUNNEL ? 0 : t->deadline_usec;

    if (t->head_deadline_usec && !t->status && (!due || t->head_deadline_usec < due)) {
        due = t->head_deadline_usec;
    }
    if (due) {
        x->timer.fired = deadline_over;
        loop_timer_set(x->loop, &x->timer, due);
    }
    else if (x->timer.due_usec) {
        loop_timer_clear(x->loop, &x->timer);
    }
}

/* How long the member may be silent now. While the client is awaited (for its body, or to take more of the answer) the member may rest. */
void exchange_try_limit(exchange_t *x)
{
    const gate_try_t *t = x->try;

    if (!x->origin || x->state == EXCHANGE_CONNECT) {
        return;
    }
    if (x->paused || x->body.waiting_since_usec) {
        origin_limit(x->origin, 0);
    }
    else {
        origin_limit(x->origin, t->first_byte_usec ? t->idle_limit_usec : t->first_byte_limit_usec);
    }
}

static void wait_for_client(exchange_t *x)
{
    if (!x->body.waiting_since_usec) {
        x->body.waiting_since_usec = loop_now(x->loop);
    }
}

static void waited_for_client(exchange_t *x)
{
    int64_t usec;

    if (!x->body.waiting_since_usec) {
        return;
    }
    usec = loop_now(x->loop) - x->body.waiting_since_usec;
    x->body.waiting_since_usec = 0;
    x->try->waited_usec += usec;
    if (!x->try->connected_usec) {
        x->try->waited_connect_usec += usec;
    }
}

/* ---- ends of a try --------------------------------------------------------------------------------------------------------- */

static void let_origin_go(exchange_t *x, int keep)
{
    origin_t *o = x->origin;

    if (!o) {
        return;
    }
    x->origin = NULL;
    x->try->bytes_in = origin_bytes_in(o);
    x->try->bytes_out = origin_bytes_out(o);
    if (x->try->bytes_in && !x->try->first_byte_usec) {
        x->try->first_byte_usec = loop_now(x->loop); /* of what was no head */
    }
    if (keep) {
        origin_put(o);
    }
    else {
        origin_drop(o);
    }
}

static void give_up(exchange_t *x)
{
    gate_errand_failure_t failure;
    apr_table_t *headers = NULL;

    if (x->gone) {
        x->state = EXCHANGE_OVER;
        return;
    }
    if (x->told_head) {
        exchange_tell_abort(x);
        return;
    }
    failure = exchange_upstream->fail(x->errand);
    if (failure.status == 0) {
        failure.status = STATUS_OURS;
    }
    if (failure.proxy_status || failure.retry_after) {
        headers = apr_table_make(x->pool, 2);
        if (failure.retry_after) {
            apr_table_setn(headers, "Retry-After", failure.retry_after);
        }
        if (failure.proxy_status) {
            apr_table_setn(headers, "Proxy-Status", failure.proxy_status);
        }
    }
    exchange_tell_classic(x, failure.status, headers);
}

void exchange_try_over(exchange_t *x, gate_outcome_e outcome, const char *why, int keep, int go_on)
{
    gate_try_t *t = x->try;
    int may_go_on = go_on && !x->gone && !x->told_head;
    gate_errand_end_e end;

    waited_for_client(x);
    let_origin_go(x, keep);
    if (x->timer.due_usec) {
        loop_timer_clear(x->loop, &x->timer);
    }
    t->outcome = outcome;
    t->why = why;
    t->body_lost = x->body.dropped;
    t->passed_on = x->told_head;
    x->try = NULL;
    end = exchange_upstream->ended(x->errand, loop_now(x->loop), may_go_on);
    if (may_go_on && end != GATE_ERRAND_OVER) {
        exchange_body_rewind(x);
        claim(x);
    }
    else if (go_on) {
        give_up(x);
    }
    else {
        x->state = EXCHANGE_OVER;
    }
}

static const char *why_reset(const exchange_t *x)
{
    if (x->held_head) {
        return "closed after the answer's head";
    }
    return x->try->reused ? "the kept-alive connection was closed without an answer" : "closed without an answer";
}

void exchange_try_failed(exchange_t *x, origin_e how, const char *why)
{
    gate_try_t *t = x->try;
    gate_outcome_e outcome;

    if (how == ORIGIN_UNABLE) {
        exchange_websocket_unable(x);
        return;
    }
    if (x->state == EXCHANGE_CONNECT) {
        outcome = GATE_OUTCOME_CONNECT;
        t->tls_failed = origin_tls_failed(x->origin);
        t->cause = origin_cause(x->origin);
        if (how == ORIGIN_TIMEOUT) { /* the exchange's own time is up */
            why = "connect timed out";
            t->cause = ETIMEDOUT;
        }
        if (t->cause == ETIMEDOUT) {
            t->cause = APR_TIMEUP;
        }
    }
    else if (x->told_head) {
        outcome = GATE_OUTCOME_BROKEN;
        why = how == ORIGIN_TIMEOUT ? "the answer came to a halt" : "the answer ended early";
    }
    else if (how == ORIGIN_TIMEOUT) {
        outcome = GATE_OUTCOME_TIMEOUT;
        why = "no answer in time";
    }
    else if (how == ORIGIN_REJECTED || how == ORIGIN_UNTOUCHED) {
        outcome = GATE_OUTCOME_RESET;
        t->untouched = how == ORIGIN_UNTOUCHED;
    }
    else if (how == ORIGIN_BAD) {
        outcome = GATE_OUTCOME_BAD;
        why = "the answer was not HTTP";
    }
    else {
        outcome = GATE_OUTCOME_RESET;
        why = why_reset(x);
    }
    if (x->state == EXCHANGE_SWALLOW) {
        exchange_pass_swallowed(x, 0); /* its head decided already */
        return;
    }
    if (x->state == EXCHANGE_TUNNEL) { /* however it ends, it was what had been asked for */
        exchange_try_over(x, GATE_OUTCOME_OK, NULL, 0, 0);
        exchange_tell_end(x, NULL);
        exchange_tell_flush(x);
        return;
    }
    if (!x->told_head) {
        t->status = 0;
    }
    x->held_head = NULL;
    exchange_try_over(x, outcome, why ? apr_pstrdup(x->pool, why) : "no connection", 0, 1); /* an origin's words go with it */
}

/* ---- asking ---------------------------------------------------------------------------------------------------------------- */

/* Room that the codec may be waiting for; last of all, as it may bring more at once. */
static void tell_room(exchange_t *x)
{
    exchange_body_t *body = &x->body;

    if (body->full && !x->gone && !x->told_classic && (body->len < EXCHANGE_KEPT_BYTES || body->sent == body->len)) {
        body->full = 0;
        x->ops->body_room(x);
    }
}

/* What of it was there has been sent, or not. @return -1 the connection is dead */
static int body_sent(exchange_t *x, int all)
{
    const exchange_body_t *body = &x->body;

    if (all < 0) {
        return -1;
    }
    if (all && body->present && !body->told_end && !body->held) {
        wait_for_client(x);
    }
    exchange_try_limit(x);
    return 0;
}

int exchange_try_send(exchange_t *x)
{
    return body_sent(x, x->body.held ? 1 : exchange_body_pump(x));
}

static void ask(exchange_t *x)
{
    member_ask_t head;

    waited_for_client(x);
    x->state = EXCHANGE_ASKING;
    if (x->body.held && origin_is_duplex(x->try->member)) {
        exchange_pass_continue(x); /* few of them ever say 100: RFC 9110, 10.1.1 */
    }
    exchange_body_announce(x, &head);
    exchange_ask_head(x, &head);
    if (body_sent(x, exchange_body_begin(x, &head)) == 0) {
        tell_room(x);
    }
}

static void on_connected(void *user)
{
    exchange_t *x = user;

    exchange_enter(x);
    x->try->connected_usec = loop_now(x->loop);
    ask(x);
    exchange_leave(x);
}

static void on_writable(void *user)
{
    exchange_t *x = user;

    exchange_enter(x);
    if ((x->state == EXCHANGE_ASKING || x->state == EXCHANGE_PASSING || x->state == EXCHANGE_TUNNEL) && exchange_try_send(x) == 0) {
        tell_room(x);
    }
    exchange_leave(x);
}

static void on_failed(void *user, origin_e how, const char *why)
{
    exchange_t *x = user;

    exchange_enter(x);
    exchange_try_failed(x, how, why);
    exchange_leave(x);
}

static const origin_ops_t origin_ops = {
    on_connected, on_writable, exchange_pass_on_head, exchange_pass_on_data, exchange_pass_on_end, exchange_pass_on_turn, on_failed
};

/* RFC 9110, 9.2.1: may be sent again when a kept connection turns out to be dead. */
static int is_safe(method_e method)
{
    return method == METHOD_GET || method == METHOD_HEAD || method == METHOD_OPTIONS || method == METHOD_TRACE;
}

/* Which membership this loop's connections have been told of, by group. */
typedef struct {
    uint32_t groups;
    uint32_t version[];
} followed_t;

void exchange_loop_end(loop_t *loop)
{
    free(*loop_slot(loop, LOOP_SLOT_ROSTERS));
    *loop_slot(loop, LOOP_SLOT_ROSTERS) = NULL;
}

static void follow(exchange_t *x, const gate_roster_t *roster)
{
    void **slot = loop_slot(x->loop, LOOP_SLOT_ROSTERS);
    followed_t *followed = *slot;

    if (!followed || followed->groups <= roster->group) {
        uint32_t groups = roster->group + 16, before = followed ? followed->groups : 0;
        followed_t *larger = realloc(followed, sizeof *larger + groups * sizeof larger->version[0]);

        if (!larger) {
            return;
        }
        memset(larger->version + before, 0, (groups - before) * sizeof larger->version[0]);
        larger->groups = groups;
        *slot = followed = larger;
    }
    if (followed->version[roster->group] != roster->version) {
        followed->version[roster->group] = roster->version;
        origins_follow(x->loop, roster);
    }
}

static void connect_member(exchange_t *x)
{
    origin_want_t want = {
        .member = x->try->member, .group = x->try->roster ? x->try->roster->group : 0, .fresh = x->try->fresh,
        .careful = !is_safe(x->method), .upgrade = x->head->upgrade, .connect_usec = x->try->connect_limit_usec,
        .tls = exchange_ask_tls(x), .tls_host = exchange_ask_tls_host(x)
    };
    int ready = 0;

    if (x->try->roster) {
        follow(x, x->try->roster);
    }
    x->state = EXCHANGE_CONNECT;
    x->origin = origin_get(x->loop, &want, &origin_ops, x, &ready);
    if (!x->origin) {
        exchange_try_over(x, GATE_OUTCOME_OURS, "no connection could be made", 0, 1);
        return;
    }
    if (ready) {
        x->try->reused = origin_is_reused(x->origin);
        ask(x);
    }
}

/*
 * As mod_proxy_http: so much of a body is awaited before the member is asked, and all of it if it is no more. One that answers while it is
 * asked is asked at once: the client may wait for its answer before it sends more. So does a client that expects 100 (Continue): of it what
 * has come already is looked at, where that decides between length and chunks.
 */
static int is_fetched(const exchange_t *x)
{
    const exchange_body_t *body = &x->body;

    if (!body->present || origin_is_duplex(x->try->member) || body->ended || body->len >= EXCHANGE_PREFETCH_BYTES || body->dropped) {
        return 1;
    }
    return body->held && (x->head->body == BODY_LENGTH || body->looked);
}

static void fetched(exchange_t *x)
{
    waited_for_client(x);
    exchange_try_clock(x);
    connect_member(x);
}

/* What came with the head has been read. */
static void on_looked(wheel_timer_t *timer)
{
    exchange_t *x = of_timer(timer);

    exchange_enter(x);
    x->body.looked = 1;
    fetched(x);
    exchange_leave(x);
}

static void begin_try(exchange_t *x)
{
    x->try = exchange_upstream->present(x->errand);
    exchange_body_rewind(x);
    exchange_try_clock(x);
    if (is_fetched(x)) {
        connect_member(x);
        return;
    }
    x->state = EXCHANGE_PREFETCH;
    wait_for_client(x);
    if (x->body.held) {
        x->timer.fired = on_looked;
        loop_timer_set(x->loop, &x->timer, loop_now(x->loop));
    }
    tell_room(x);
}

/* ---- claiming -------------------------------------------------------------------------------------------------------------- */

static void queue_tick(wheel_timer_t *timer);

static void claimed(exchange_t *x, gate_errand_e what)
{
    switch (what) {
    case GATE_ERRAND_MEMBER:
        begin_try(x);
        break;
    case GATE_ERRAND_WAIT:
        x->state = EXCHANGE_QUEUE;
        if (x->half_closed) {
            exchange_try_abandon(x);
            break;
        }
        x->timer.fired = queue_tick;
        loop_timer_set(x->loop, &x->timer, exchange_upstream->wait_until(x->errand, loop_now(x->loop)));
        break;
    case GATE_ERRAND_NOBODY:
        give_up(x);
        break;
    }
}

void exchange_try_look(exchange_t *x)
{
    exchange_enter(x);
    if (x->timer.due_usec) {
        loop_timer_clear(x->loop, &x->timer);
    }
    claimed(x, exchange_upstream->wait_look(x->errand, loop_now(x->loop)));
    exchange_leave(x);
}

static void queue_tick(wheel_timer_t *timer)
{
    exchange_try_look(of_timer(timer));
}

static void claim(exchange_t *x)
{
    claimed(x, exchange_upstream->claim(x->errand, loop_now(x->loop)));
}

void exchange_errand_begin(exchange_t *x)
{
    const char *why = NULL;
    gate_errand_ask_t ask = {
        .pool = x->pool, .view = &x->view, .paths = &x->paths, .http_only = 1, .plane = "express", .loop = loop_index(x->loop) + 1, .owner = x,
        .now_usec = x->begun_usec
    };

    x->state = EXCHANGE_QUEUE;
    exchange_errand_ask(x, &ask);
    if (ask.group) {
        x->errand = exchange_upstream->begin(&ask, &why);
    }
    if (!x->errand) {
        exchange_tell_classic(x, x->body.received ? STATUS_BAD_GATEWAY : 0, NULL); /* it will say why */
        return;
    }
    claim(x);
}

/* ---- from the client's side ------------------------------------------------------------------------------------------------- */

void exchange_try_body_news(exchange_t *x)
{
    switch (x->state) {
    case EXCHANGE_PREFETCH:
        if (is_fetched(x)) {
            fetched(x);
        }
        else {
            tell_room(x);
        }
        break;
    case EXCHANGE_ASKING:
    case EXCHANGE_PASSING:
        waited_for_client(x);
        if (exchange_try_send(x) == 0) {
            tell_room(x);
        }
        break;
    case EXCHANGE_TUNNEL:
        if (exchange_try_send(x) == 0) {
            if (x->body.ended && x->body.sent == x->body.len) {
                origin_shutdown(x->origin);
            }
            tell_room(x);
        }
        break;
    default:
        break;
    }
}

void exchange_try_writable(exchange_t *x)
{
    if (x->origin) {
        exchange_try_limit(x);
        origin_resume(x->origin);
    }
}

void exchange_errand_drop(exchange_t *x, gate_outcome_e outcome, const char *why)
{
    if (x->state == EXCHANGE_QUEUE && x->errand) {
        if (x->timer.due_usec) {
            loop_timer_clear(x->loop, &x->timer);
        }
        exchange_upstream->wait_leave(x->errand, loop_now(x->loop));
    }
    x->held_head = NULL;
    if (x->try) {
        exchange_try_over(x, outcome, why, 0, 0);
    }
    x->state = EXCHANGE_OVER;
}

void exchange_try_abandon(exchange_t *x)
{
    exchange_errand_drop(x, GATE_OUTCOME_CLIENT, "the client went away");
    exchange_tell_abort(x);
}

void exchange_errand_client_gone(exchange_t *x)
{
    if (x->state == EXCHANGE_OVER) {
        return;
    }
    x->gone = 1;
    exchange_errand_drop(x, GATE_OUTCOME_CLIENT, "the client went away");
}
