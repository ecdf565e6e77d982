/*
 * exchange.c - see exchange.h: an exchange from its beginning to its end, stage after stage.
 */
#include <string.h>

#include <apr_strings.h>

#include "exchange_inside.h"

void exchange_enter(exchange_t *x)
{
    x->depth++;
}

static void destroy(exchange_t *x)
{
    exchange_errand_client_gone(x); /* nothing to do when all ended well */
    exchange_answer_end(x);
    if (x->hearer) {
        x->hearer->freed(x);
    }
    loop_timer_clear(x->loop, &x->timer);
    exchange_log(x);
    exchange_admit_end(x, x->status);
    if (x->errand) {
        exchange_upstream->end(x->errand);
    }
    apr_pool_destroy(x->pool);
}

void exchange_leave(exchange_t *x)
{
    if (--x->depth == 0 && x->ended) {
        destroy(x);
    }
}

/* ---- stages ---------------------------------------------------------------------------------------------------------------- */

static void run(exchange_t *x)
{
    stage_e stage = STAGE_GO;

    if (x->state == EXCHANGE_ADMIT) {
        stage = exchange_admit(x);
        if (stage == STAGE_GO) {
            x->state = EXCHANGE_ANSWER;
        }
    }
    if (stage == STAGE_GO && x->refused) {
        exchange_tell_classic(x, x->refused, NULL);
        stage = STAGE_DONE;
    }
    if (stage == STAGE_GO && x->state == EXCHANGE_ANSWER) {
        stage = exchange_answer(x);
    }
    if (stage == STAGE_GO) {
        exchange_errand_begin(x);
    }
    else if (stage == STAGE_DONE && (x->told_end || x->told_classic || x->told_abort)) {
        x->state = EXCHANGE_OVER;
    }
}

void exchange_go_on(exchange_t *x)
{
    if (x->gone || x->ended || (x->state != EXCHANGE_ADMIT && x->state != EXCHANGE_ANSWER)) {
        return;
    }
    exchange_enter(x);
    run(x);
    exchange_leave(x);
}

static void delay_over(wheel_timer_t *timer)
{
    exchange_go_on((exchange_t *)((char *)timer - offsetof(exchange_t, timer)));
}

void exchange_delay(exchange_t *x, int64_t usec)
{
    x->timer.fired = delay_over;
    loop_timer_set(x->loop, &x->timer, loop_now(x->loop) + usec);
}

/* ---- the codec's calls ----------------------------------------------------------------------------------------------------- */

exchange_t *exchange_make(const exchange_ask_t *ask)
{
    apr_pool_t *pool;
    exchange_t *x;

    if (apr_pool_create(&pool, ask->pool) != APR_SUCCESS) {
        return NULL;
    }
    apr_pool_tag(pool, "gate_exchange");
    x = apr_pcalloc(pool, sizeof *x);
    x->pool = pool;
    x->loop = ask->loop;
    x->ops = ask->ops;
    x->client = ask->client;
    x->c = ask->c;
    x->server = ask->server;
    x->route = ask->route;
    x->head = ask->head;
    x->path = ask->path;
    x->content_type = ask->content_type;
    x->refused = (uint16_t)ask->refused;
    x->refused_in = (uint8_t)ask->refused_in;
    x->begun_usec = ask->begun_usec;
    x->begun_wall = ask->begun_wall;
    x->stream = ask->stream;
    x->method = ask->head->known;
    x->body.present = ask->head->body != BODY_NONE;
    x->body.ended = !x->body.present;
    x->body.held = x->body.present && ask->head->expect_continue; /* Proxy100Continue on: the member says when */
    exchange_route_settings(x);
    return x;
}

/* From here on nothing is borrowed from the codec. @return 0 no memory */
static int keep(exchange_t *x)
{
    x->path.at = apr_pstrmemdup(x->pool, x->path.at, x->path.len);
    return exchange_view_make(x);
}

int exchange_begin(const exchange_ask_t *ask, exchange_t **out)
{
    exchange_t *x = *out = exchange_make(ask);
    int hit;

    if (!x) {
        return -1;
    }
    exchange_enter(x);
    hit = !x->refused && exchange_hit(x);
    if (hit && x->logs && !x->ended) {
        (void)keep(x);
    }
    if (!hit) {
        if (!keep(x)) {
            *out = NULL;
            apr_pool_destroy(x->pool);
            return -1;
        }
        run(x);
    }
    exchange_leave(x);
    return 0;
}

void *exchange_client(const exchange_t *x)
{
    return x->client;
}

apr_pool_t *exchange_pool(const exchange_t *x)
{
    return x->pool;
}

const apr_table_t *exchange_env(exchange_t *x)
{
    if (!x->env) {
        x->env = apr_table_make(x->pool, 12);
    }
    if (x->errand) {
        exchange_upstream->log(x->errand, x->env, x->pool, loop_now(x->loop));
    }
    else if (x->fetch || x->fetch_env) {
        exchange_fetch_env(x, x->env, x->pool);
    }
    exchange_stages_env(x, x->env);
    return x->env;
}

size_t exchange_body(exchange_t *x, const char *bytes, size_t len)
{
    size_t taken = 0, more;

    if (x->gone || x->ended || x->told_classic) {
        return len;
    }
    if (x->state == EXCHANGE_OVER || (x->state == EXCHANGE_SWALLOW && x->after_swallow != SWALLOW_AGAIN)) {
        x->body.received += len; /* nobody wants it any more */
        return len;
    }
    exchange_enter(x);
    x->body.full = 0;
    do { /* what is kept may go out at once: then there is room again */
        more = exchange_body_keep(x, bytes + taken, len - taken);
        taken += more;
        if (more) {
            exchange_try_body_news(x);
        }
    } while (more && taken < len && !x->gone);
    x->body.full = taken < len;
    exchange_leave(x);
    return taken;
}

const fields_t *exchange_copy_trailers(exchange_t *x, const fields_t *trailers)
{
    answer_head_t head = { .fields = *trailers }, *copy = apr_palloc(x->pool, sizeof *copy);

    answer_head_copy(copy, &head, apr_palloc(x->pool, answer_head_size(&head)));
    return &copy->fields;
}

void exchange_body_end(exchange_t *x, const fields_t *trailers)
{
    if (x->body.ended) {
        return;
    }
    x->body.ended = 1;
    if (x->gone || x->ended) {
        return;
    }
    if (trailers && trailers->count) {
        x->body.trailers = exchange_copy_trailers(x, trailers);
    }
    exchange_enter(x);
    exchange_try_body_news(x);
    exchange_leave(x);
}

void exchange_body_bad(exchange_t *x, int status)
{
    if (x->gone || x->ended || x->state == EXCHANGE_OVER) {
        return;
    }
    exchange_enter(x);
    exchange_errand_drop(x, GATE_OUTCOME_CLIENT, "the client's request body did not come");
    if (x->told_head) {
        exchange_tell_abort(x);
    }
    else {
        exchange_tell_classic(x, status, NULL);
    }
    exchange_leave(x);
}

void exchange_body_malformed(exchange_t *x, int status)
{
    if (!x->gone && !x->ended) {
        (void)exchange_env(x);
        apr_table_setn(x->env, ENGINE_REFUSED_BY_FILTER, "1");
    }
    exchange_body_bad(x, status);
}

void exchange_writable(exchange_t *x)
{
    if (x->gone || x->ended) {
        return;
    }
    exchange_enter(x);
    if (x->paused) {
        x->paused = 0;
        exchange_try_writable(x);
    }
    else if (x->state == EXCHANGE_ANSWER) {
        exchange_answer_writable(x);
    }
    exchange_leave(x);
}

void exchange_half_closed(exchange_t *x)
{
    if (x->gone || x->ended || x->half_closed) {
        return;
    }
    exchange_enter(x);
    x->half_closed = 1;
    if (x->state == EXCHANGE_QUEUE && x->errand) {
        exchange_try_abandon(x);
    }
    exchange_leave(x);
}

void exchange_gone(exchange_t *x)
{
    if (x->gone || x->ended) {
        return;
    }
    exchange_enter(x);
    x->gone = 1;
    exchange_errand_client_gone(x);
    exchange_leave(x);
}

void exchange_end(exchange_t *x, uint64_t sent_bytes)
{
    if (x->ended) {
        return;
    }
    x->sent_bytes = sent_bytes;
    x->ended = 1;
    exchange_enter(x);
    exchange_leave(x);
}
