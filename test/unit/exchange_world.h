/*
 * exchange_world.h - the world of test_exchange.c: a codec, a member and upstream's door that are played by the test, and its own clock.
 * What happens is written down in words. It stands in for all that the state machine calls: the machine is compiled here once more, with
 * these names for what it calls, as the helpers of other tests need the real loop and the real members.
 */
#ifndef EXCHANGE_WORLD_H
#define EXCHANGE_WORLD_H

#include <stdio.h>
#include <string.h>

#include <apr_general.h>

#define loop_index played_loop_index
#define loop_now played_loop_now
#define loop_slot played_loop_slot
#define loop_timer_set played_loop_timer_set
#define loop_timer_clear played_loop_timer_clear
#define origins_follow played_origins_follow
#define origin_get played_origin_get
#define origin_is_reused played_origin_is_reused
#define origin_tls_failed played_origin_tls_failed
#define origin_cause played_origin_cause
#define origin_ask played_origin_ask
#define origin_body played_origin_body
#define origin_is_asked played_origin_is_asked
#define origin_trailers played_origin_trailers
#define origin_is_duplex played_origin_is_duplex
#define origin_pause played_origin_pause
#define origin_resume played_origin_resume
#define origin_tunnel played_origin_tunnel
#define origin_shutdown played_origin_shutdown
#define origin_limit played_origin_limit
#define origin_put played_origin_put
#define origin_drop played_origin_drop
#define origin_bytes_in played_origin_bytes_in
#define origin_bytes_out played_origin_bytes_out

#include "exchange_inside.h"

/* ---- the world ----------------------------------------------------------------------------------------------------------------- */

struct origin { int held; };
struct gate_errand { gate_try_t try; };

static struct {
    apr_pool_t *pool;
    char words[2048];           /* what happened */
    char sent[200000];          /* what the member got */
    size_t sent_len;
    size_t takes;               /* how much the member takes at once */
    int dead, no_origin, ready;
    int duplex;                 /* the member speaks HTTP/2 */
    int asked, raw;             /* it has all of the request; it is a tunnel */
    struct origin origin;
    const origin_ops_t *ops;
    exchange_t *x;              /* the origin's user */
    int64_t now_usec, limit_usec;
    wheel_timer_t *timer;
    struct gate_errand errand;
    gate_roster_t roster;
    gate_errand_e claims[4];    /* in this order */
    int claim;
    gate_errand_end_e ends[4];
    int end;
    int again, overridden, first_byte_ms;
    size_t welcome;             /* what the client says after data */
    int gone_in_head, end_in_end;
    int prefetched;
} world;

static const gate_roster_member_t member = { .id = "m1" };

static void say(const char *format, ...)
{
    size_t len = strlen(world.words);
    va_list args;

    if (len && len + 1 < sizeof world.words) {
        world.words[len++] = ' ';
    }
    va_start(args, format);
    vsnprintf(world.words + len, sizeof world.words - len, format, args);
    va_end(args);
}

/* What has happened since the last look. */
#define happened(expected) do { assert_string_equal(world.words, expected); world.words[0] = '\0'; } while (0)

int loop_index(const loop_t *loop)
{
    (void)loop;
    return 0;
}

int64_t loop_now(const loop_t *loop)
{
    (void)loop;
    return world.now_usec;
}

void loop_timer_set(loop_t *loop, wheel_timer_t *timer, int64_t due_usec)
{
    (void)loop;
    timer->due_usec = due_usec;
    world.timer = timer;
}

void loop_timer_clear(loop_t *loop, wheel_timer_t *timer)
{
    (void)loop;
    timer->due_usec = 0;
    world.timer = NULL;
}

void **loop_slot(loop_t *loop, int which)
{
    static void *slot;

    (void)loop, (void)which;
    return &slot;
}

/* Time passes; a timer that is due fires. */
static void passes(int64_t usec)
{
    wheel_timer_t *timer = world.timer;

    world.now_usec += usec;
    if (timer && timer->due_usec && timer->due_usec <= world.now_usec) {
        world.timer = NULL;
        timer->due_usec = 0;
        timer->fired(timer);
    }
}

/* ---- the member ---------------------------------------------------------------------------------------------------------------- */

origin_t *origin_get(loop_t *loop, const origin_want_t *want, const origin_ops_t *ops, void *user, int *ready)
{
    (void)loop;
    if (world.no_origin) {
        say("get-nothing");
        return NULL;
    }
    assert_false(world.origin.held);
    world.origin.held = 1;
    world.ops = ops;
    world.x = user;
    world.sent_len = 0;
    *ready = world.ready && !want->fresh;
    say(want->fresh ? "get-fresh" : *ready ? "get-kept" : "get");
    return &world.origin;
}

int origin_is_reused(const origin_t *o)
{
    (void)o;
    return world.ready;
}

int origin_tls_failed(const origin_t *o)
{
    assert_non_null(o);
    return 0;
}

int origin_cause(const origin_t *o)
{
    assert_non_null(o);
    return 0;
}

static size_t takes(const char *bytes, size_t len)
{
    len = len < world.takes ? len : world.takes;
    memcpy(world.sent + world.sent_len, len ? bytes : "", len);
    world.sent_len += len;
    world.takes -= len;
    return len;
}

ssize_t origin_body(origin_t *o, const char *bytes, size_t len, int last)
{
    size_t taken;

    assert_true(o->held);
    assert_false(world.asked && !world.raw);
    if (world.dead) {
        return -1;
    }
    taken = takes(bytes, len);
    world.asked = last && taken == len;
    return (ssize_t)taken;
}

/* The head is kept by the origin, whatever the member takes. */
ssize_t origin_ask(origin_t *o, const member_ask_t *ask, const char *bytes, size_t len, int last)
{
    world.asked = world.raw = 0;
    world.sent_len = (size_t)sprintf(world.sent, "HEAD%s%s ", ask->body == BODY_CHUNKED ? "-chunked" : "", ask->expect_continue ? "-expect" : "");
    return origin_body(o, bytes, len, last);
}

int origin_is_asked(const origin_t *o)
{
    assert_true(o->held);
    return world.asked;
}

void origin_trailers(origin_t *o, const fields_t *trailers)
{
    assert_true(o->held);
    say("trailers-%u", trailers->count);
}

int origin_is_duplex(const gate_roster_member_t *m)
{
    assert_non_null(m);
    return world.duplex;
}

void origin_pause(origin_t *o)
{
    assert_true(o->held);
    say("pause");
}

void origin_resume(origin_t *o)
{
    assert_true(o->held);
    say("resume");
}

void origin_tunnel(origin_t *o)
{
    assert_true(o->held);
    world.raw = 1;
    say("raw");
}

void origin_shutdown(origin_t *o)
{
    assert_true(o->held);
    say("half-close");
}

void origin_limit(origin_t *o, int64_t usec)
{
    assert_true(o->held);
    world.limit_usec = usec;
}

void origin_put(origin_t *o)
{
    assert_true(o->held);
    o->held = 0;
    say("put");
}

void origin_drop(origin_t *o)
{
    assert_true(o->held);
    o->held = 0;
    say("drop");
}

uint64_t origin_bytes_in(const origin_t *o)
{
    (void)o;
    return 7;
}

uint64_t origin_bytes_out(const origin_t *o)
{
    (void)o;
    return world.sent_len;
}

void origins_follow(loop_t *loop, const gate_roster_t *roster)
{
    (void)loop;
    say("follow-%u", roster->version);
}

static void connects(void)
{
    world.ops->connected(world.x);
}

static void answers_with(int status, body_e body, uint64_t length)
{
    answer_head_t head = { .status = (uint16_t)status, .major = 1, .minor = 1, .body = body, .length = length };

    world.ops->head(world.x, &head);
}

static void gives(const char *bytes)
{
    world.ops->data(world.x, bytes, strlen(bytes));
}

static void turns(void)
{
    if (world.origin.held) {
        world.ops->turn(world.x);
    }
}

static void ends(void)
{
    world.ops->end(world.x, NULL);
}

static void fails(origin_e how)
{
    world.ops->failed(world.x, how, how == ORIGIN_REFUSED ? "connection refused" : "words");
}

/* ---- upstream's door ------------------------------------------------------------------------------------------------------------ */

static const gate_upstream_group_t *door_group(const char *name, size_t len)
{
    (void)len;
    return (const gate_upstream_group_t *)name;
}

static gate_errand_t *door_begin(const gate_errand_ask_t *ask, const char **why)
{
    (void)ask, (void)why;
    return &world.errand;
}

static gate_errand_e hand_out(gate_errand_e what)
{
    if (what == GATE_ERRAND_MEMBER) {
        int fresh = world.end > 0 && world.ends[world.end - 1] == GATE_ERRAND_FRESH;

        memset(&world.errand.try, 0, sizeof world.errand.try);
        world.errand.try.member = &member;
        world.errand.try.roster = world.roster.version ? &world.roster : NULL;
        world.errand.try.fresh = fresh;
        world.errand.try.first_byte_limit_usec = 60;
        world.errand.try.idle_limit_usec = 30;
        world.errand.try.head_deadline_usec = world.first_byte_ms ? world.now_usec + world.first_byte_ms * 1000 : 0;
    }
    return what;
}

static gate_errand_e door_claim(gate_errand_t *e, int64_t now_usec)
{
    (void)e, (void)now_usec;
    return hand_out(world.claims[world.claim++]);
}

static int64_t door_wait_until(const gate_errand_t *e, int64_t now_usec)
{
    (void)e;
    return now_usec + 1000;
}

static void door_wait_leave(gate_errand_t *e, int64_t now_usec)
{
    (void)e, (void)now_usec;
    say("leaves-queue");
}

static gate_try_t *door_present(gate_errand_t *e)
{
    return &e->try;
}

static int door_again(gate_errand_t *e, int64_t now_usec)
{
    (void)now_usec;
    return world.again && e->try.status == 503 && !e->try.body_lost;
}

static const char *door_cookie(gate_errand_t *e)
{
    (void)e;
    return NULL;
}

static const char *door_turn(gate_errand_t *e, const char *name, const char *value)
{
    (void)e, (void)name;
    return value;
}

static gate_errand_end_e door_ended(gate_errand_t *e, int64_t now_usec, int go_on)
{
    static const char *const names[] = { "ok", "status", "connect", "timeout", "reset", "bad", "broken", "client", "ours" };

    (void)now_usec;
    say("[%s%s%s%s%s]", names[e->try.outcome], e->try.untouched ? " untouched" : "", e->try.passed_on ? " passed" : "", e->try.body_lost ? " lost" : "", go_on ? " go-on?" : "");
    return go_on ? world.ends[world.end++] : GATE_ERRAND_OVER;
}

static gate_errand_failure_t door_fail(gate_errand_t *e)
{
    (void)e;
    return (gate_errand_failure_t){ .status = 502, .proxy_status = "gatehouse", .words = "" };
}

static void door_log(const gate_errand_t *e, apr_table_t *env, apr_pool_t *p, int64_t now_usec)
{
    (void)e, (void)env, (void)p, (void)now_usec;
}

static void door_end(gate_errand_t *e)
{
    (void)e;
    say("errand-ends");
}

static const gate_upstream_door_t door = {
    .group = door_group, .begin = door_begin, .claim = door_claim, .wait_look = door_claim, .wait_until = door_wait_until,
    .wait_leave = door_wait_leave, .present = door_present, .again = door_again, .cookie = door_cookie, .turn = door_turn,
    .ended = door_ended, .fail = door_fail, .log = door_log, .end = door_end
};

/* ---- glue's part --------------------------------------------------------------------------------------------------------------------- */

void exchange_route_settings(exchange_t *x)
{
    (void)x;
}

int exchange_view_make(exchange_t *x)
{
    (void)x;
    return 1;
}

void exchange_errand_ask(exchange_t *x, gate_errand_ask_t *ask)
{
    (void)x;
    ask->group = door.group("app", 3);
}

const answer_head_t *exchange_answer_dress(exchange_t *x, const answer_head_t *head)
{
    (void)x;
    return head;
}

const answer_head_t *exchange_answer_finish(exchange_t *x, const answer_head_t *head)
{
    (void)x;
    return head;
}

void exchange_websocket_unable(exchange_t *x)
{
    exchange_try_over(x, GATE_OUTCOME_OURS, NULL, 0, 0);
    exchange_tell_classic(x, 502, NULL);
}

int exchange_refuse(exchange_t *x, int status, apr_table_t *headers)
{
    (void)x, (void)status, (void)headers;
    return 0;
}

int exchange_output_begin(exchange_t *x, const answer_head_t *head)
{
    (void)x, (void)head;
    return 0;
}

size_t exchange_output_data(exchange_t *x, const char *bytes, size_t len, int last)
{
    (void)x, (void)bytes, (void)last;
    return len;
}

void exchange_output_flush(exchange_t *x)
{
    (void)x;
}

void exchange_output_end(exchange_t *x)
{
    (void)x;
}

void exchange_ask_head(exchange_t *x, member_ask_t *ask)
{
    ask->expect_continue = x->body.held;
}

const origin_tls_t *exchange_ask_tls(const exchange_t *x)
{
    (void)x;
    return NULL;
}

const char *exchange_ask_tls_host(const exchange_t *x)
{
    (void)x;
    return NULL;
}

int exchange_ask_overridden(const exchange_t *x, int status)
{
    (void)x;
    return world.overridden == status;
}

apr_table_t *exchange_ask_error_fields(exchange_t *x, const answer_head_t *head)
{
    (void)x, (void)head;
    return NULL;
}

void exchange_log(exchange_t *x)
{
    say(x->gone ? "logged-gone" : "logged");
}

/* ---- the codec ------------------------------------------------------------------------------------------------------------------------- */

static void op_interim(exchange_t *x, const answer_head_t *head)
{
    (void)x;
    say("interim-%d", head->status);
}

static void op_head(exchange_t *x, const answer_head_t *head)
{
    say("head-%d", head->status);
    if (world.gone_in_head) {
        exchange_gone(x);
        exchange_end(x, 0);
    }
}

static size_t op_data(exchange_t *x, const char *bytes, size_t len)
{
    (void)x;
    say("'%.*s'", (int)len, bytes);
    return world.welcome;
}

static void op_end(exchange_t *x, const fields_t *trailers)
{
    (void)trailers;
    say("end");
    if (world.end_in_end) {
        exchange_end(x, 5);
    }
}

static void op_flush(exchange_t *x)
{
    (void)x;
    say("flush");
}

static void op_abort(exchange_t *x)
{
    (void)x;
    say("abort");
}

static void op_classic(exchange_t *x, int status, const apr_table_t *headers)
{
    (void)x;
    say("classic-%d%s", status, headers ? "+" : "");
}

static void op_room(exchange_t *x)
{
    (void)x;
    say("room");
}

static void op_tunnel(exchange_t *x)
{
    (void)x;
    say("tunnel");
}

static const client_ops_t codec = { op_interim, op_head, op_data, op_end, op_flush, op_abort, op_classic, op_room, op_tunnel };

static exchange_t *begins(method_e method, body_e body)
{
    static request_head_t head;
    exchange_ask_t ask = { .ops = &codec, .pool = world.pool, .head = &head, .path = { "/", 1 }, .begun_usec = world.now_usec };
    exchange_t *x = NULL;

    memset(&head, 0, sizeof head);
    head.known = method;
    head.body = body;
    head.major = head.minor = 1;
    head.expect_continue = world.prefetched;
    assert_int_equal(exchange_begin(&ask, &x), 0);
    return x;
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    apr_pool_create(&world.pool, NULL);
    world.now_usec = 1000000;
    world.takes = SIZE_MAX;
    world.welcome = 65536;
    exchange_upstream = &door;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_false(world.origin.held);
    assert_null(world.timer);
    apr_pool_destroy(world.pool);
    return 0;
}

#undef fail /* cmocka's, and a name in upstream's door */

#include "exchange.c"
#include "exchange_body.c"
#include "exchange_pass.c"
#include "exchange_stages.h"
#include "exchange_tell.c"
#include "exchange_try.c"

#endif
