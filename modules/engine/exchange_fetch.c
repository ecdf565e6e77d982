/*
 * exchange_fetch.c - what the cache has not got yet: one exchange of all children fetches it, others wait or read along, nobody holds a thread.
 *
 * x, a client's exchange, stays in its answer stage. Who is to ask the member makes a second exchange, f, with no client of its own: its
 * answer goes to the cache, and to x, which may leave while f goes on (and so makes room for no one else's wait). f has the request's
 * head, view and a connection record as copies, in the pool of the cache's fetch.
 * x gets its body out of the store where others may read it too: a client that reads slowly holds nobody up, and memory is the store's. Else
 * it gets the bytes as they come, and f waits when x cannot take more.
 * WAITS   exchanges that wait for news are in one list of their loop, looked at every NEWS_USEC: two atomic loads each.
 * Memory:  an exchange_fetch_t lies in the pool of the cache's fetch; both go when x has left and f has ended, after the batch in which they did.
 */
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_protocol.h>

#include <apr_strings.h>

#include "exchange_doors.h"
#include "route.h"

#define NEWS_USEC 2000
#define PIECE_BYTES 131072        /* told at a time: what the network does not take of it is copied */

typedef struct exchange_fetch {
    struct exchange_fetch *next, **back;           /* all of the loop */
    struct exchange_fetch *wait_next, **wait_back; /* who waits for news; back NULL: does not */
    gate_cache_fetch_t *cache;
    loop_t *loop;
    exchange_t *x;                /* NULL: has left */
    exchange_t *f;                /* NULL: nobody asks the member, or it is over */
    conn_rec *c;                  /* f's */
    loop_job_t release;
    uint64_t told, length;        /* of the body out of the store */
    int64_t news_usec;            /* when something came last */
    uint8_t reads;                /* x gets its body out of the store */
    uint8_t blocked;              /* x takes no more now */
    uint8_t deaf;                 /* x has been told all */
    uint8_t again;                /* the member is asked once more when its answer is over */
    uint8_t releasing;
} fetch_t;

/* One of each loop. */
typedef struct {
    loop_t *loop;
    fetch_t *all, *waiting, *round;
    wheel_timer_t timer;
} fetches_t;

/* ---- the loop's ------------------------------------------------------------------------------------------------------------ */

static void look_for_news(wheel_timer_t *timer);

static fetches_t *fetches_of(loop_t *loop)
{
    void **slot = loop_slot(loop, LOOP_SLOT_FETCHES);
    fetches_t *mine = *slot;

    if (!mine) {
        mine = *slot = calloc(1, sizeof *mine);
        if (mine) {
            mine->loop = loop;
            mine->timer.fired = look_for_news;
        }
    }
    return mine;
}

static void unpark(fetch_t *fetch)
{
    if (fetch->wait_back) {
        *fetch->wait_back = fetch->wait_next;
        if (fetch->wait_next) {
            fetch->wait_next->wait_back = fetch->wait_back;
        }
        fetch->wait_back = NULL;
    }
}

static void park(fetch_t *fetch)
{
    fetches_t *mine = fetches_of(fetch->loop);

    unpark(fetch);
    fetch->wait_next = mine->waiting;
    fetch->wait_back = &mine->waiting;
    if (mine->waiting) {
        mine->waiting->wait_back = &fetch->wait_next;
    }
    mine->waiting = fetch;
    if (!mine->timer.due_usec) {
        loop_timer_set(fetch->loop, &mine->timer, loop_now(fetch->loop) + NEWS_USEC);
    }
}

static void pump(exchange_t *x, fetch_t *fetch);

static void tell_news(fetch_t *fetch)
{
    exchange_t *x = fetch->x;

    if (!fetch->reads) {
        exchange_go_on(x);
        return;
    }
    exchange_enter(x);
    pump(x, fetch);
    exchange_leave(x);
}

/* Those who wait are taken from one list and put into another, as anybody may leave in between. */
static void look_for_news(wheel_timer_t *timer)
{
    fetches_t *mine = (fetches_t *)((char *)timer - offsetof(fetches_t, timer));
    int64_t now = loop_now(mine->loop);
    fetch_t *fetch;

    exchange_cache->tend();
    mine->round = mine->waiting;
    mine->waiting = NULL;
    if (mine->round) {
        mine->round->wait_back = &mine->round;
    }
    while ((fetch = mine->round) != NULL) {
        int64_t limit = fetch->x->route->server->timeout;

        if (exchange_cache->news(fetch->cache, now) || (fetch->reads && now - fetch->news_usec > limit)) {
            unpark(fetch);
            tell_news(fetch);
        }
        else {
            park(fetch);
        }
    }
    if (mine->waiting && !mine->timer.due_usec) {
        loop_timer_set(mine->loop, &mine->timer, now + NEWS_USEC);
    }
}

/* ---- beginning and end ------------------------------------------------------------------------------------------------------- */

static void release(fetch_t *fetch)
{
    unpark(fetch);
    *fetch->back = fetch->next;
    if (fetch->next) {
        fetch->next->back = fetch->back;
    }
    exchange_cache->over(fetch->cache);
}

static void release_job(loop_job_t *job)
{
    release((fetch_t *)((char *)job - offsetof(fetch_t, release)));
}

/* Its pool may be in use further up. */
static void release_soon(fetch_t *fetch)
{
    if (!fetch->x && !fetch->f && !fetch->releasing) {
        fetch->releasing = 1;
        fetch->release.run = release_job;
        loop_defer(fetch->loop, &fetch->release);
    }
}

static fetch_t *make(loop_t *loop, gate_cache_fetch_t *cache)
{
    fetches_t *mine = fetches_of(loop);
    fetch_t *fetch = apr_pcalloc(exchange_cache->fetch_pool(cache), sizeof *fetch);

    fetch->cache = cache;
    fetch->loop = loop;
    fetch->next = mine->all;
    fetch->back = &mine->all;
    if (mine->all) {
        mine->all->back = &fetch->next;
    }
    return mine->all = fetch;
}

static fetch_t *begin(exchange_t *x)
{
    gate_cache_fetch_t *cache = fetches_of(x->loop) ? exchange_answer_fetch(x) : NULL;

    if (!cache) {
        return NULL;
    }
    x->fetch = make(x->loop, cache);
    x->fetch->x = x;
    return x->fetch;
}

static int ask_member(exchange_t *from, fetch_t *fetch);

/* f is not wanted any more. */
static void give_up(fetch_t *fetch)
{
    exchange_t *f = fetch->f;

    exchange_gone(f);
    exchange_end(f, 0);
}

void exchange_fetches_end(loop_t *loop)
{
    void **slot = loop_slot(loop, LOOP_SLOT_FETCHES);
    fetches_t *mine = *slot;
    fetch_t *fetch;

    if (!mine) {
        return;
    }
    while ((fetch = mine->all) != NULL) {
        fetch->releasing = 1; /* no job runs any more */
        if (fetch->x) {
            fetch->x->fetch = NULL;
            fetch->x = NULL;
        }
        if (fetch->f) {
            give_up(fetch);
        }
        release(fetch);
    }
    if (mine->timer.due_usec) {
        loop_timer_clear(loop, &mine->timer);
    }
    free(mine);
    *slot = NULL;
}

/* ---- x: its answer ----------------------------------------------------------------------------------------------------------- */

static int hears(const fetch_t *fetch)
{
    return fetch->x && !fetch->x->gone && !fetch->x->ended && !fetch->deaf;
}

/* @param from  the member's head; NULL: it comes out of the store */
static void tell_head(exchange_t *x, const gate_cache_told_t *told, const answer_head_t *from)
{
    const door_route_t *door = exchange_door_route(x);
    answer_head_t head = { .major = 1, .minor = 1, .keep_alive = 1, .body = BODY_LENGTH };

    if (from) {
        head = *from;
    }
    if (!from || told->status != from->status) {
        head.reason = (span_t){ told->reason, (uint32_t)strlen(told->reason) };
    }
    head.status = (uint16_t)told->status;
    head.length = told->length;
    if (told->status == HTTP_NOT_MODIFIED) {
        head.body = BODY_NONE;
    }
    exchange_fields_from(x, told->fields, &head.fields);
    x->said_of_cache = told->word;
    if (!door->plain) {
        exchange_answer_prepare(x, told->coded);
    }
    exchange_tell_head(x, &head);
}

static void tell_end(exchange_t *x, fetch_t *fetch, const fields_t *trailers)
{
    fetch->deaf = 1;
    unpark(fetch);
    exchange_tell_end(x, trailers);
    exchange_tell_flush(x);
}

static void tell_abort(exchange_t *x, fetch_t *fetch)
{
    fetch->deaf = 1;
    unpark(fetch);
    exchange_tell_abort(x);
}

/* Tells on what has come, as long as the client takes it. */
static void pump(exchange_t *x, fetch_t *fetch)
{
    gate_cache_body_e state = exchange_cache->body_state(fetch->cache);
    const char *data;
    uint64_t n;

    while (hears(fetch) && (n = exchange_cache->body(fetch->cache, fetch->told, &data)) > 0) {
        n = n < PIECE_BYTES ? n : PIECE_BYTES;
        fetch->told += n;
        fetch->news_usec = loop_now(x->loop);
        if (exchange_tell_data(x, data, (size_t)n) == 0 && fetch->told < fetch->length) {
            exchange_tell_flush(x);
            fetch->blocked = 1;
            return;
        }
    }
    if (!hears(fetch)) {
        return;
    }
    if (fetch->told == fetch->length) {
        tell_end(x, fetch, NULL);
    }
    else if (state != GATE_CACHE_BODY_COMES || loop_now(x->loop) - fetch->news_usec > x->route->server->timeout) {
        tell_abort(x, fetch); /* the client must see that this was not all (trap 12) */
    }
    else {
        exchange_tell_flush(x);
        if (!fetch->f) {
            park(fetch);
        }
    }
}

static void read_store(exchange_t *x, fetch_t *fetch, const gate_cache_told_t *told)
{
    fetch->reads = 1;
    fetch->length = told->length;
    fetch->news_usec = loop_now(x->loop);
    pump(x, fetch);
}

void exchange_fetch_writable(exchange_t *x)
{
    fetch_t *fetch = x->fetch;

    if (fetch->reads && fetch->blocked) {
        fetch->blocked = 0;
        pump(x, fetch);
    }
    else if (!fetch->reads && fetch->f) {
        exchange_writable(fetch->f);
    }
}

/* ---- f: the member's answer ------------------------------------------------------------------------------------------------------ */

/* Nobody hears it and nothing is kept of it. */
static int is_idle(const fetch_t *fetch)
{
    return !fetch->x && !exchange_cache->storing(fetch->cache);
}

/* x gets what is stored, or a 304. */
static void tell_stored(exchange_t *x, fetch_t *fetch, const gate_cache_told_t *told)
{
    tell_head(x, told, NULL);
    if (!hears(fetch)) {
        return;
    }
    if (told->status == HTTP_NOT_MODIFIED) {
        tell_end(x, fetch, NULL);
    }
    else {
        read_store(x, fetch, told);
    }
}

static void tell_classic(exchange_t *x, fetch_t *fetch, int status, apr_table_t *headers)
{
    fetch->deaf = 1;
    exchange_tell_classic(x, status, headers);
}

/* What the cache makes of the member's head is told. */
static void tell_said(exchange_t *x, fetch_t *fetch, gate_cache_step_e how, const gate_cache_told_t *told, const answer_head_t *head)
{
    switch (how) {
    case GATE_CACHE_TELL:
        tell_stored(x, fetch, told);
        break;
    case GATE_CACHE_LEAVE:
        tell_classic(x, fetch, 0, NULL);
        break;
    case GATE_CACHE_AGAIN:
        break;
    default:
        tell_head(x, told, head);
        if (hears(fetch) && how == GATE_CACHE_READ) {
            read_store(x, fetch, told);
        }
    }
}

static void on_head(exchange_t *f, const answer_head_t *head)
{
    fetch_t *fetch = f->fetch;
    gate_cache_told_t told;
    gate_cache_step_e how;
    exchange_t *x;

    how = exchange_cache->said(fetch->cache, head->status, exchange_table_of(exchange_cache->fetch_pool(fetch->cache), &head->fields),
                               head->body == BODY_NONE ? 0 : head->length, loop_now(f->loop), &told);
    if (hears(fetch)) {
        x = fetch->x;
        exchange_enter(x);
        if (f->sticky_cookie) {
            x->sticky_cookie = apr_pstrdup(x->pool, f->sticky_cookie);
        }
        tell_said(x, fetch, how, &told, head);
        exchange_leave(x);
    }
    fetch->again = how == GATE_CACHE_AGAIN;
    if (head->body != BODY_NONE && is_idle(fetch)) {
        give_up(fetch);
    }
}

static size_t on_data(exchange_t *f, const char *bytes, size_t len)
{
    fetch_t *fetch = f->fetch;
    size_t room = SIZE_MAX;
    exchange_t *x;

    exchange_cache->bytes(fetch->cache, bytes, len, loop_now(f->loop));
    if (hears(fetch)) {
        x = fetch->x;
        exchange_enter(x);
        if (fetch->again) {
            room = SIZE_MAX;
        }
        else if (!fetch->reads) {
            room = exchange_tell_data(x, bytes, len);
        }
        else if (!fetch->blocked) {
            pump(x, fetch);
        }
        exchange_leave(x);
    }
    if (is_idle(fetch)) {
        give_up(fetch);
    }
    return hears(fetch) ? room : SIZE_MAX;
}

static void on_flush(exchange_t *f)
{
    fetch_t *fetch = f->fetch;
    exchange_t *x = fetch->x;

    if (hears(fetch) && !fetch->reads) {
        exchange_enter(x);
        exchange_tell_flush(x);
        exchange_leave(x);
    }
}

static void on_end(exchange_t *f, const fields_t *trailers)
{
    fetch_t *fetch = f->fetch;
    exchange_t *x = fetch->x;

    if (fetch->again) {
        fetch->again = 0;
        if (ask_member(f, fetch)) {
            exchange_end(f, 0);
            return;
        }
    }
    exchange_cache->end(fetch->cache, 1, loop_now(f->loop));
    if (hears(fetch)) {
        exchange_enter(x);
        if (!fetch->reads) {
            tell_end(x, fetch, trailers);
        }
        else if (!fetch->blocked) {
            pump(x, fetch);
        }
        exchange_leave(x);
    }
    exchange_end(f, 0);
}

static void on_abort(exchange_t *f)
{
    fetch_t *fetch = f->fetch;
    exchange_t *x = fetch->x;

    exchange_cache->end(fetch->cache, 0, loop_now(f->loop));
    if (hears(fetch)) {
        exchange_enter(x);
        if (!x->told_head) {
            tell_classic(x, fetch, HTTP_BAD_GATEWAY, NULL); /* what was broken was for nobody */
        }
        else if (!fetch->reads) {
            tell_abort(x, fetch);
        }
        else if (!fetch->blocked) {
            pump(x, fetch);
        }
        exchange_leave(x);
    }
    exchange_end(f, 0);
}

static void on_classic(exchange_t *f, int status, apr_table_t *headers)
{
    fetch_t *fetch = f->fetch;
    exchange_t *x = fetch->x;

    gate_cache_told_t told;

    exchange_cache->end(fetch->cache, 0, loop_now(f->loop));
    if (hears(fetch)) {
        exchange_enter(x);
        switch (status ? exchange_cache->instead(fetch->cache, status, loop_now(f->loop), &told) : GATE_CACHE_ASK) {
        case GATE_CACHE_TELL:
            tell_stored(x, fetch, &told);
            break;
        case GATE_CACHE_LEAVE:
            tell_classic(x, fetch, 0, NULL);
            break;
        default:
            tell_classic(x, fetch, status, headers ? apr_table_clone(x->pool, headers) : NULL);
        }
        exchange_leave(x);
    }
    exchange_end(f, 0);
}

static void on_freed(exchange_t *f)
{
    fetch_t *fetch = f->fetch;

    if (fetch->x && f->errand) {
        fetch->x->fetch_env = apr_table_make(fetch->x->pool, 12);
        exchange_upstream->log(f->errand, fetch->x->fetch_env, fetch->x->pool, loop_now(f->loop));
    }
    if (fetch->f == f) { /* and not one that asks again */
        fetch->f = NULL;
        exchange_cache->end(fetch->cache, 0, loop_now(f->loop));
        release_soon(fetch);
    }
}

static void on_interim(exchange_t *f, const answer_head_t *head)
{
    fetch_t *fetch = f->fetch;
    exchange_t *x = fetch->x;

    if (hears(fetch)) {
        exchange_enter(x);
        x->ops->interim(x, head);
        x->unflushed = 1;
        exchange_leave(x);
    }
}

static const exchange_hearer_t hearer = { on_head, on_data, on_end, on_flush, on_abort, on_classic, on_freed };
/* a GET without body: the codec's other calls are not made */
static const client_ops_t fetch_ops = { .interim = on_interim };

/* ---- f: the request ----------------------------------------------------------------------------------------------------------- */

/* Goes on when the client's connection has ended. */
static conn_rec *copy_connection(apr_pool_t *p, const conn_rec *from)
{
    conn_rec *c = apr_pmemdup(p, from, sizeof *c);

    c->pool = p;
    apr_sockaddr_info_copy(&c->local_addr, from->local_addr, p);
    apr_sockaddr_info_copy(&c->client_addr, from->client_addr, p);
    c->client_ip = apr_pstrdup(p, from->client_ip);
    c->local_ip = apr_pstrdup(p, from->local_ip);
    c->remote_host = apr_pstrdup(p, from->remote_host);
    c->local_host = apr_pstrdup(p, from->local_host);
    c->bucket_alloc = apr_bucket_alloc_create(p);
    c->input_filters = NULL;
    c->output_filters = NULL;
    c->sbh = NULL;
    c->aborted = 0;
    return c;
}

/* What modules keep with the connection is gone with it. */
static void detach_connection(conn_rec *c)
{
    c->conn_config = ap_create_conn_config(c->pool);
    c->notes = apr_table_make(c->pool, 1);
    c->cs = NULL;
    c->master = NULL;
    c->vhost_lookup_data = NULL;
}

static const route_ready_t *copy_ready(apr_pool_t *p, const route_ready_t *from)
{
    route_ready_t *ready = apr_pmemdup(p, from, sizeof *ready);

    ready->ip = apr_pstrdup(p, from->ip);
    ready->proxies = apr_pstrdup(p, from->proxies);
    if (from->addr) {
        apr_sockaddr_info_copy(&ready->addr, from->addr, p);
    }
    ready->fields = NULL; /* they are in the head */
    ready->r = NULL;
    return ready;
}

static int is_hop(const fields_t *fields, const field_t *wanted)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        if (f->hop && (f->known ? f->known == wanted->known : spans_equal(f->name, wanted->name))) {
            return 1;
        }
    }
    return 0;
}

/* The fields to ask with; what was for the client's connection only stays marked so. */
static fields_t *asked_fields(exchange_t *f)
{
    fields_t *fields = apr_palloc(f->pool, sizeof *fields);

    exchange_fields_from(f, exchange_cache->asked(f->fetch->cache), fields);
    for (uint32_t i = 0; i < fields->count; i++) {
        fields->field[i].hop = (uint8_t)is_hop(&f->head->fields, &fields->field[i]);
    }
    return fields;
}

static const request_head_t *copy_head(apr_pool_t *p, const request_head_t *from)
{
    request_head_t *head = apr_palloc(p, sizeof *head);

    request_head_copy(head, from, apr_palloc(p, request_head_size(from)));
    return head;
}

/* @param x  whose request it is: a client's, or one that has asked before. @return 0 no memory */
static int ask_member(exchange_t *x, fetch_t *fetch)
{
    exchange_ask_t ask = { .loop = x->loop, .ops = &fetch_ops, .client = fetch, .pool = exchange_cache->fetch_pool(fetch->cache),
                           .server = x->server, .route = x->route, .head = x->head, .content_type = x->content_type,
                           .begun_usec = x->begun_usec, .begun_wall = x->begun_wall };
    exchange_t *f;

    ask.c = fetch->c = fetch->c ? fetch->c : copy_connection(ask.pool, x->c);
    f = exchange_make(&ask);
    if (!f) {
        return 0;
    }
    f->hearer = &hearer;
    f->fetch = fetch;
    f->logs = f->filters = 0;
    f->head = copy_head(f->pool, x->head);
    f->path = (span_t){ apr_pstrmemdup(f->pool, x->path.at, x->path.len), x->path.len };
    f->ready = x->ready ? copy_ready(f->pool, x->ready) : NULL;
    exchange_view_fill(f);
    f->ask_instead = asked_fields(f);
    fetch->f = f;
    exchange_enter(f);
    exchange_errand_begin(f);
    exchange_leave(f);
    return 1;
}

/* What x was told is stale: it is fetched anew, for nobody. */
static void refresh(exchange_t *x)
{
    gate_cache_fetch_t *cache = exchange_cache->refresh(x->fetch->cache, loop_now(x->loop));
    fetch_t *fetch;

    if (!cache) {
        return;
    }
    fetch = make(x->loop, cache);
    if (!ask_member(x, fetch)) {
        release_soon(fetch);
    }
    else if (fetch->f) {
        detach_connection(fetch->c);
    }
}

/* ---- the stage ------------------------------------------------------------------------------------------------------------------ */

stage_e exchange_fetch_step(exchange_t *x)
{
    fetch_t *fetch = x->fetch ? x->fetch : begin(x);
    gate_cache_told_t told;

    if (!fetch) {
        exchange_tell_classic(x, 0, NULL);
        return STAGE_DONE;
    }
    switch (exchange_cache->step(fetch->cache, loop_now(x->loop), &told)) {
    case GATE_CACHE_WAIT:
        park(fetch);
        return STAGE_WAIT;
    case GATE_CACHE_TELL:
    case GATE_CACHE_READ:
        if (told.refresh) {
            refresh(x);
        }
        tell_stored(x, fetch, &told);
        return fetch->deaf ? STAGE_DONE : STAGE_WAIT;
    case GATE_CACHE_ASK:
        if (ask_member(x, fetch)) {
            return STAGE_WAIT;
        }
        break;
    default:
        break;
    }
    exchange_tell_classic(x, 0, NULL);
    return STAGE_DONE;
}

void exchange_fetch_leave(exchange_t *x)
{
    fetch_t *fetch = x->fetch;
    exchange_t *f = fetch->f;

    unpark(fetch);
    if (f && f->errand) {
        x->fetch_env = apr_table_make(x->pool, 12);
        exchange_upstream->log(f->errand, x->fetch_env, x->pool, loop_now(x->loop));
    }
    x->fetch = NULL;
    fetch->x = NULL;
    if (!f) {
        release_soon(fetch);
    }
    else if (!exchange_cache->storing(fetch->cache)) {
        give_up(fetch);
    }
    else {
        detach_connection(fetch->c);
        exchange_writable(f); /* it does not wait for anybody now */
    }
}

void exchange_fetch_env(exchange_t *x, apr_table_t *env, apr_pool_t *p)
{
    const fetch_t *fetch = x->fetch;

    if (fetch && fetch->f && fetch->f->errand) {
        exchange_upstream->log(fetch->f->errand, env, p, loop_now(x->loop));
    }
    else if (x->fetch_env) {
        apr_table_overlap(env, x->fetch_env, APR_OVERLAP_TABLES_SET);
    }
}

void exchange_fetch_failed(exchange_t *x, int status, apr_table_t *headers)
{
    x->said_of_cache = exchange_cache->fetch_failed(x->fetch->cache, status, headers, loop_now(x->loop));
}
