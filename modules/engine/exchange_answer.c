/*
 * exchange_answer.c - the stage of the cache: what is stored and fresh is told at once, out of shared memory; what is known not to be kept, and
 * methods that only change things, pass by; what is not stored, or stale, is fetched (exchange_fetch.c). Everything else that the cache has a
 * say in is the classic plane's: ranges, conditions that fail. What that stores is found here by the next request.
 */
#include <httpd.h>
#include <http_protocol.h>

#include <apr_strings.h>

#include "exchange_doors.h"
#include "route.h"

#define PIECE_BYTES 131072        /* told at a time: what the network does not take of it is copied */

/* ---- the question ---------------------------------------------------------------------------------------------------------- */

static const gate_view_t *view_of(void *x_)
{
    exchange_t *x = x_;

    exchange_view_where(x);
    return &x->view;
}

static gate_cache_text_t text(span_t span)
{
    return (gate_cache_text_t){ span.at, span.len };
}

/* Puts a field where the cache looks for it. @return 0: a request with this one is the classic plane's */
static int place_field(const field_t *f, gate_cache_ask_t *ask)
{
    gate_cache_text_t *slot;

    switch (f->known) {
    case FIELD_ACCEPT_ENCODING:
        slot = &ask->encoding;
        break;
    case FIELD_CACHE_CONTROL:
        slot = &ask->control;
        break;
    case FIELD_PRAGMA:
        slot = &ask->pragma;
        break;
    case FIELD_IF_NONE_MATCH:
        slot = &ask->none_match;
        break;
    case FIELD_IF_MODIFIED_SINCE:
        slot = &ask->modified_since;
        break;
    case FIELD_IF_MATCH:
    case FIELD_IF_UNMODIFIED_SINCE:
    case FIELD_IF_RANGE:
    case FIELD_RANGE:
    case FIELD_EXPECT:
        return 0;
    case FIELD_OTHER:
    case FIELD_X_FORWARDED_HOST:
    case FIELD_X_FORWARDED_SERVER:
    case FIELD_X_FORWARDED_PROTO:
        if (!exchange_cache->unkeyed(f->name.at, f->name.len)) {
            return 1;
        }
        if (ask->odd_n == 2 * GATE_CACHE_ODD_MAX) {
            return 0;
        }
        ask->odd[ask->odd_n++] = text(f->name);
        ask->odd[ask->odd_n++] = text(f->value);
        return 1;
    default:
        return 1;
    }
    if (slot->at) {
        return 0; /* a second line */
    }
    *slot = text(f->value);
    return 1;
}

static void begin_ask(exchange_t *x, const door_route_t *door, gate_cache_ask_t *ask)
{
    const request_head_t *head = x->head;

    /* not all of it, which is large */
    memset(ask, 0, offsetof(gate_cache_ask_t, odd));
    ask->odd_n = 0;
    ask->place = door->cache;
    ask->head_only = head->known == METHOD_HEAD;
    ask->local_port = x->c->local_addr->port;
    ask->host = text(head->host);
    ask->target = text(head->target);
    ask->file = text(x->path);
    ask->ctx = x;
    ask->headers = exchange_headers;
    ask->view = view_of;
}

static int reads_store(exchange_t *x, gate_cache_ask_t *ask)
{
    const fields_t *fields = &x->head->fields;

    if ((x->head->known != METHOD_GET && x->head->known != METHOD_HEAD) || x->body.present || x->head->upgrade) {
        return 0;
    }
    for (uint32_t i = 0; i < fields->count; i++) {
        if (!place_field(&fields->field[i], ask)) {
            return 0;
        }
    }
    return 1;
}

static int changes(const exchange_t *x)
{
    const fields_t *fields = &x->head->fields;

    return x->head->known != METHOD_GET && x->head->known != METHOD_HEAD && !x->head->upgrade && !fields->first[FIELD_IF_MATCH]
           && !fields->first[FIELD_IF_NONE_MATCH];
}

static gate_cache_e look(exchange_t *x, const door_route_t *door, exchange_stored_t *a)
{
    gate_cache_ask_t ask;

    begin_ask(x, door, &ask);
    if (changes(x)) {
        a->how = exchange_cache->change(x->pool, &ask, apr_pstrmemdup(x->pool, x->head->method.at, x->head->method.len), &a->pass);
    }
    else {
        a->how = reads_store(x, &ask) ? exchange_cache->look(exchange_desk(x), &ask, loop_now(x->loop), &a->hit, &a->pass)
                                      : GATE_CACHE_CLASSIC;
    }
    return a->how;
}

gate_cache_fetch_t *exchange_answer_fetch(exchange_t *x)
{
    gate_cache_ask_t ask;

    begin_ask(x, exchange_door_route(x), &ask);
    return reads_store(x, &ask) ? exchange_cache->fetch(&ask, loop_now(x->loop)) : NULL;
}

static void keep(exchange_t *x, const exchange_stored_t *a)
{
    x->answer = apr_pmemdup(x->pool, a, sizeof *a);
}

int exchange_answer_none(exchange_t *x)
{
    const door_route_t *door = exchange_cache ? exchange_door_route(x) : NULL;
    exchange_stored_t a;

    if (!door || !door->cache || x->answer) {
        return 0;
    }
    switch (look(x, door, &a)) {
    case GATE_CACHE_CLASSIC:
        return 1;
    case GATE_CACHE_MISS:
    case GATE_CACHE_PASS:
        keep(x, &a);
        return 0;
    default:
        exchange_cache->done(&a.hit);
        return 0;
    }
}

/* ---- telling -------------------------------------------------------------------------------------------------------------------- */

/* Tells on as long as the client takes it. */
static stage_e pump(exchange_t *x, exchange_stored_t *s)
{
    const char *data;
    uint64_t n;

    while (!x->gone && (n = exchange_cache->piece(&s->hit, s->told, &data)) > 0) {
        n = n < PIECE_BYTES ? n : PIECE_BYTES;
        s->told += n;
        if (exchange_tell_data(x, data, (size_t)n) == 0 && s->told < s->hit.length) {
            exchange_tell_flush(x);
            return STAGE_WAIT;
        }
    }
    exchange_cache->done(&s->hit);
    if (!x->gone) {
        exchange_tell_end(x, NULL);
        exchange_tell_flush(x);
    }
    return STAGE_DONE;
}

/* The head as text with RateLimit's lines where httpd has what it always sends. */
static span_t lines_of(exchange_t *x, const gate_cache_hit_t *hit)
{
    const exchange_pass_t *pass = x->admit;
    span_t lines = { hit->head, hit->head_len };
    char *to;

    if (!pass || !pass->pass.policy) {
        return lines;
    }
    lines.at = to = apr_psprintf(x->pool, "%.*sRateLimit-Policy: %s\r\nRateLimit: %s\r\n%.*s", (int)hit->fields_at, hit->head,
                                 pass->pass.policy, pass->pass.state, (int)(hit->head_len - hit->fields_at),
                                 hit->head + hit->fields_at);
    lines.len = (uint32_t)strlen(to);
    return lines;
}

static int count_lines(span_t lines)
{
    int n = 0;

    for (uint32_t i = 0; i < lines.len; i++) {
        n += lines.at[i] == '\n';
    }
    return n;
}

/* The same as fields, for who looks at them one by one; borrowed from the lines. */
static void read_lines(exchange_t *x, span_t lines, fields_t *out)
{
    const char *at = memchr(lines.at, '\n', lines.len), *end = lines.at + lines.len;

    memset(out, 0, sizeof *out);
    out->field = apr_pcalloc(x->pool, sizeof *out->field * (size_t)count_lines(lines));
    for (at++; at < end;) {
        const char *colon = memchr(at, ':', (size_t)(end - at)), *cr = memchr(at, '\r', (size_t)(end - at));

        exchange_field_add(out, (span_t){ at, (uint32_t)(colon - at) }, (span_t){ colon + 2, (uint32_t)(cr - colon - 2) });
        at = cr + 2;
    }
}

static answer_head_t head_of(const gate_cache_hit_t *hit)
{
    answer_head_t head = { .status = (uint16_t)hit->status, .major = 1, .minor = 1, .keep_alive = 1, .length = hit->length };

    head.reason = (span_t){ hit->head + 13, hit->line_len - 15 }; /* "HTTP/1.1 200 " .. CRLF */
    head.body = hit->status == HTTP_NOT_MODIFIED || hit->head_only ? BODY_NONE : BODY_LENGTH;
    return head;
}

/* What output filters look at. */
void exchange_answer_prepare(exchange_t *x, int coded)
{
    request_rec *r = exchange_request(x);

    if (!r) {
        return;
    }
    exchange_stages_env(x, r->subprocess_env);
    if (coded) {
        /* its codings are made by the cache */
        apr_table_setn(r->subprocess_env, "no-gzip", "1");
        apr_table_setn(r->subprocess_env, "no-brotli", "1");
    }
}

/* What is found is told. Plain: as it is; else RateLimit comes in again with what is always sent. */
static stage_e tell(exchange_t *x, const door_route_t *door, const gate_cache_hit_t *hit)
{
    exchange_stored_t *s = apr_palloc(x->pool, sizeof *s);
    answer_head_t head = head_of(hit);

    s->how = GATE_CACHE_HIT;
    s->hit = *hit;
    s->told = 0;
    x->answer = s;
    x->state = EXCHANGE_ANSWER;
    x->said_of_cache = hit->word;
    exchange_cache->take(&s->hit);
    if (door->plain) {
        head.lines = lines_of(x, hit);
        if (x->logs) {
            read_lines(x, head.lines, &head.fields);
        }
    }
    else {
        exchange_answer_prepare(x, hit->coded);
        read_lines(x, (span_t){ hit->head, hit->head_len }, &head.fields);
    }
    exchange_tell_head(x, &head);
    return pump(x, s);
}

/* ---- the stages --------------------------------------------------------------------------------------------------------------------- */

int exchange_hit(exchange_t *x)
{
    const door_route_t *door = exchange_cache ? exchange_door_route(x) : NULL;
    const exchange_pass_t *pass = NULL;
    exchange_stored_t a;

    if (!door || !door->cache || !door->early) {
        return 0;
    }
    switch (look(x, door, &a)) {
    case GATE_CACHE_CLASSIC:
        exchange_tell_classic(x, 0, NULL);
        return 1;
    case GATE_CACHE_MISS:
    case GATE_CACHE_PASS:
        keep(x, &a);
        return 0;
    default:
        break;
    }
    pass = exchange_admit_ask(x);
    if (pass && pass->pass.verdict != GATE_ACCESS_ADMIT) {
        exchange_cache->done(&a.hit);
        return exchange_admit_refuse(x, pass); /* 0: it has to wait, and is looked up again */
    }
    if (!door->plain) {
        exchange_cache->done(&a.hit);
        return 0;
    }
    tell(x, door, &a.hit);
    return 1;
}

stage_e exchange_answer(exchange_t *x)
{
    const door_route_t *door = exchange_cache ? exchange_door_route(x) : NULL;
    exchange_stored_t *kept = x->answer, a;

    if (!door || !door->cache) {
        return STAGE_GO;
    }
    if (!kept) {
        switch (look(x, door, &a)) {
        case GATE_CACHE_CLASSIC:
            /* it went while the exchange waited its turn; it is not judged again */
            exchange_tell_classic(x, 0, NULL);
            return STAGE_DONE;
        case GATE_CACHE_HIT:
            return tell(x, door, &a.hit);
        default:
            keep(x, &a);
            kept = x->answer;
        }
    }
    if (kept->how == GATE_CACHE_MISS) {
        return exchange_fetch_step(x);
    }
    exchange_cache->passing(&kept->pass);
    exchange_pass_ask(x, &kept->pass);
    return STAGE_GO;
}

void exchange_answer_writable(exchange_t *x)
{
    exchange_stored_t *a = x->answer;

    if (a && a->how == GATE_CACHE_HIT) {
        pump(x, a);
    }
    else if (x->fetch) {
        exchange_fetch_writable(x);
    }
}

void exchange_answer_end(exchange_t *x)
{
    exchange_stored_t *a = x->answer;

    if (a && a->how == GATE_CACHE_HIT) {
        exchange_cache->done(&a->hit);
    }
    if (x->fetch && !x->hearer) {
        exchange_fetch_leave(x);
    }
}
