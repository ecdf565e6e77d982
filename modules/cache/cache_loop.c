/*
 * cache_loop.c - gate_cache.h, fetches: keep.h for who serves requests on event loops. Nothing here waits but for locks of the store.
 */
#include "cache.h"

#include "desk.h"

APLOG_USE_MODULE(gate_cache);

static void over(gate_cache_fetch_t *f);

struct gate_cache_fetch {
    apr_pool_t *pool;
    const cache_dir_conf_t *conf;
    gate_keep_t keep;
    int64_t deadline_usec;        /* of waiting */
    const server_rec *server;
    int looked, decided;          /* the store was asked; it goes to the member */
    int whole_only;               /* its validators did not fit: the member is asked without */
    int well;                     /* a refresh: the member has answered */
    int heard;                    /* said() was called */
    int whole;                    /* all that was announced has come: the end is near */
    gate_pin_t body;              /* what its client gets */
    uint64_t body_len;
    _Atomic uint32_t *growth;     /* of a body that comes */
    uint32_t grown;               /* as of the last body_state() */
};

static gate_cache_fetch_t *make(const cache_dir_conf_t *conf, const server_rec *server, int64_t now_usec)
{
    gate_cache_fetch_t *f;
    apr_pool_t *pool;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        return NULL;
    }
    apr_pool_tag(pool, "gate_fetch");
    f = apr_pcalloc(pool, sizeof *f);
    f->pool = pool;
    f->conf = conf;
    f->server = server;
    f->keep.rule = cache_keep_rule(conf);
    f->keep.arrived_usec = now_usec;
    f->keep.request_wall = apr_time_sec(apr_time_now());
    f->keep.purge_seq = gate_purge_now(cache_store);
    f->deadline_usec = now_usec + conf->wait_usec;
    return f;
}

static gate_cache_fetch_t *fetch(const gate_cache_ask_t *ask, int64_t now_usec)
{
    gate_cache_fetch_t *f = make(ask->place->conf, ask->place->vhost, now_usec);

    if (f && !gate_desk_ask_look(cache_store, f->pool, ask, &f->keep.look)) {
        apr_pool_destroy(f->pool);
        return NULL;
    }
    return f;
}

static int copy_field(void *to, const char *name, const char *value)
{
    apr_table_add(to, name, value);
    return 1;
}

/* The request once more, for nobody: access was checked for the one whose need it is. */
static gate_cache_fetch_t *refresh(gate_cache_fetch_t *of, int64_t now_usec)
{
    gate_look_t *look, *from = &of->keep.look;
    gate_seat_on_t flight;
    gate_cache_fetch_t *f;
    apr_table_t *headers;

    if (!gate_keep_claim_refresh(&of->keep, now_usec, &flight)) {
        return NULL;
    }
    if (!(f = make(of->conf, of->server, now_usec))) {
        gate_keep_unclaim_refresh(&of->keep, &flight);
        return NULL;
    }
    look = &f->keep.look;
    look->store = from->store;
    look->pool = f->pool;
    look->rule = from->rule;
    look->accept = from->accept;
    look->key = from->key;
    look->key.url = apr_pstrdup(f->pool, from->key.url);
    look->key.route = apr_pstrdup(f->pool, from->key.route);
    look->flight_hash = from->flight_hash;
    headers = apr_table_make(f->pool, 16);
    apr_table_do(copy_field, headers, from->headers, NULL);
    look->headers = headers;
    gate_cc_parse(f->pool, NULL, &look->asked);
    f->keep.background = 1;
    f->keep.fwd = "stale";
    f->keep.flight = flight;
    f->decided = f->looked = 1;
    if (!gate_keep_begin_refresh(&f->keep, now_usec)) {
        f->well = 1;
        over(f);
        return NULL;
    }
    return f;
}

static apr_pool_t *fetch_pool(const gate_cache_fetch_t *f)
{
    return f->pool;
}

/* ---- what the client gets -------------------------------------------------------------------------------------------------- */

static void drop_body(gate_cache_fetch_t *f)
{
    gate_store_unpin(cache_store, &f->body);
    f->growth = NULL;
}

/* RFC 9110, 13: the client may have it already. @return 0: the classic plane has to say something else */
static int judge_condition(gate_cache_fetch_t *f, gate_cache_told_t *told)
{
    if (told->status != HTTP_OK) {
        return 1;
    }
    switch (gate_look_condition(&f->keep.look, told->fields)) {
    case GATE_COND_FAILED:
        return 0;
    case GATE_COND_NOT_MODIFIED:
        cache_count(GATE_COUNT_not_modified, 1);
        told->status = HTTP_NOT_MODIFIED;
        told->length = 0;
        apr_table_unset(told->fields, "Content-Length");
        return 1;
    default:
        return 1;
    }
}

static void finish(gate_cache_told_t *told)
{
    told->reason = ap_get_status_line(told->status) + 4;
}

/* The fields of what is stored, or being stored. */
static void begin_told(gate_cache_fetch_t *f, const gate_body_t *body, int64_t now_usec, gate_cache_told_t *told)
{
    gate_look_t *look = &f->keep.look;

    memset(told, 0, sizeof *told);
    told->status = look->head.head->status;
    told->length = body->length;
    told->coded = look->head.head->compressible != 0;
    told->fields = apr_table_make(f->pool, 24);
    gate_head_fields(&look->head, told->fields);
    if (body->pin.place) {
        gate_look_describe(look, body, told->fields);
    }
    gate_look_age(look, now_usec, told->fields);
    told->word = gate_keep_count_answer(&f->keep, now_usec);
    gate_keep_status(&f->keep, f->pool, now_usec, told->fields);
    gate_look_decorate(look, told->fields);
    apr_table_setn(told->fields, "Content-Length", apr_psprintf(f->pool, "%" APR_UINT64_T_FMT, body->length));
}

/* Statuses that need more than fields and a body are the classic plane's to tell. */
static int is_plain(int status)
{
    return status == 200 || status == 203 || (status >= 300 && status < 304) || status == 307 || status == 308 || status == 404
           || status == 410;
}

static const char *stored_etag(const gate_look_t *look, apr_pool_t *p)
{
    apr_table_t *fields = apr_table_make(p, 24);

    gate_head_fields(&look->head, fields);
    return apr_table_get(fields, "ETag");
}

/* What the look holds becomes the answer. */
static gate_cache_step_e answer(gate_cache_fetch_t *f, int64_t now_usec, gate_cache_told_t *told)
{
    gate_look_t *look = &f->keep.look;
    gate_body_t body;

    if (!is_plain(look->head.head->status) || !gate_look_body(look, stored_etag(look, f->pool), &body)) {
        return GATE_CACHE_LEAVE;
    }
    f->body = body.pin;
    f->body_len = body.length;
    if (body.unpack) {
        return GATE_CACHE_LEAVE;
    }
    gate_store_touch(cache_store, look->held.ref);
    begin_told(f, &body, now_usec, told);
    if (!judge_condition(f, told)) {
        return GATE_CACHE_LEAVE;
    }
    if (told->status == HTTP_NOT_MODIFIED) {
        drop_body(f);
    }
    else {
        cache_count(GATE_COUNT_hit_bytes, told->length);
    }
    if (look->head.head->compressible) {
        cache_codings(f->keep.rule.compress, look->key.hash, look->held.ref);
    }
    finish(told);
    return GATE_CACHE_TELL;
}

/* Another one's fetch, while it comes. @return LEAVE also when it is not for this request */
static gate_cache_step_e read_along(gate_cache_fetch_t *f, gate_ref_t head, int64_t now_usec, gate_cache_told_t *told)
{
    gate_body_t body = { .length = 0 };

    if (!gate_keep_flowing(&f->keep, head, &f->body)) {
        return GATE_CACHE_WAIT;
    }
    if (!is_plain(f->keep.look.head.head->status)) {
        return GATE_CACHE_LEAVE;
    }
    f->body_len = body.length = f->keep.look.head.head->body_len;
    f->growth = gate_store_growth(cache_store, f->body.ref);
    begin_told(f, &body, now_usec, told);
    if (!judge_condition(f, told)) {
        return GATE_CACHE_LEAVE;
    }
    if (told->status == HTTP_NOT_MODIFIED) {
        drop_body(f);
    }
    finish(told);
    gate_look_drop(&f->keep.look);
    return told->status == HTTP_NOT_MODIFIED ? GATE_CACHE_TELL : GATE_CACHE_READ;
}

static gate_cache_step_e go(gate_cache_fetch_t *f)
{
    if (!f->keep.background) {
        cache_count(GATE_COUNT_miss, 1);
        f->keep.fwd = f->keep.look.head.head && f->keep.fwd ? f->keep.fwd : "uri-miss";
    }
    f->decided = 1;
    return GATE_CACHE_ASK;
}

/* What is stored, if it may be given now. @return ASK: it may not */
static gate_cache_step_e look_first(gate_cache_fetch_t *f, int64_t now_usec, gate_cache_told_t *told)
{
    gate_keep_t *k = &f->keep;
    gate_cache_step_e how = GATE_CACHE_ASK;
    gate_freshness_e judged = GATE_VALIDATE;

    f->looked = 1;
    if (gate_look_find(&k->look)) {
        judged = gate_freshness_judge(&k->look.head.head->fresh, &k->look.asked, (int)atomic_load(&k->look.head.head->soft), now_usec);
    }
    if (judged != GATE_VALIDATE) {
        k->detail = judged == GATE_SERVE_STALE ? "MAX-STALE" : judged == GATE_SERVE_REFRESH ? "STALE-WHILE-REVALIDATE" : NULL;
        how = answer(f, now_usec, told);
        told->refresh = how == GATE_CACHE_TELL && judged == GATE_SERVE_REFRESH;
    }
    if (how == GATE_CACHE_ASK) {
        k->fwd = !k->look.head.head ? "uri-miss" : k->look.asked.flags & GATE_CC_NO_CACHE ? "request" : "stale";
        if (apr_table_get(k->look.headers, "Authorization")) {
            /* what it gets may be for its eyes only: nobody waits for it, and it waits for nobody (trap 47) */
            cache_count(GATE_COUNT_bypass_authorization, 1);
            f->decided = 1;
        }
    }
    return how;
}

static gate_cache_step_e step(gate_cache_fetch_t *f, int64_t now_usec, gate_cache_told_t *told)
{
    if (!f->looked) {
        gate_cache_step_e how = look_first(f, now_usec, told);

        if (how != GATE_CACHE_ASK) {
            return how;
        }
    }
    while (!f->decided) {
        gate_cache_step_e how;
        gate_ref_t head;

        switch (gate_keep_step(&f->keep, f->deadline_usec, now_usec, &head)) {
        case GATE_STEP_WAIT:
            return GATE_CACHE_WAIT;
        case GATE_STEP_ANSWER:
            return answer(f, now_usec, told);
        case GATE_STEP_FLOW:
            how = read_along(f, head, now_usec, told);
            if (how != GATE_CACHE_WAIT) {
                return how;
            }
            if (!gate_keep_no_flow(&f->keep)) {
                return go(f);
            }
            break;
        default:
            return go(f);
        }
    }
    return go(f);
}

static int news(const gate_cache_fetch_t *f, int64_t now_usec)
{
    const gate_keep_t *k = &f->keep;

    if (f->growth) {
        return atomic_load_explicit(f->growth, memory_order_relaxed) != f->grown
               || gate_flight_phase(cache_store, &k->flight) != GATE_FLIGHT_FLOWING;
    }
    return !k->wait_word || now_usec >= f->deadline_usec || atomic_load_explicit(k->wait_word, memory_order_relaxed) != k->wait_value;
}

/* ---- the member ------------------------------------------------------------------------------------------------------------- */

static const apr_table_t *asked(gate_cache_fetch_t *f)
{
    return gate_keep_asked(&f->keep, f->pool, f->whole_only);
}

static gate_cache_step_e said(gate_cache_fetch_t *f, int status, const apr_table_t *fields, uint64_t length, int64_t now_usec,
                              gate_cache_told_t *told)
{
    gate_keep_t *k = &f->keep;
    gate_said_t said = { .method = "GET", .status = status, .length = length, .wall = apr_time_sec(apr_time_now()), .now_usec = now_usec };
    apr_table_t *own = cache_strip_cookies(f->pool, f->conf, apr_table_copy(f->pool, fields));

    said.fields = apr_table_copy(f->pool, own);
    if (!apr_table_get(said.fields, "Date")) {
        char *date = apr_palloc(f->pool, APR_RFC822_DATE_LEN);

        apr_rfc822_date(date, apr_time_now());
        apr_table_setn(said.fields, "Date", date);
    }
    memset(told, 0, sizeof *told);
    f->well = 1;
    switch (gate_keep_said(k, &said)) {
    case GATE_SAID_STORED:
        f->heard = 1;
        return k->background ? GATE_CACHE_TELL : answer(f, now_usec, told);
    case GATE_SAID_AGAIN:
        f->whole_only = 1;
        k->detail = "VALIDATOR-MISMATCH";
        return GATE_CACHE_AGAIN;
    default:
        f->heard = 1;
    }
    gate_keep_drop_tags(&k->rule, own);
    told->status = status;
    told->length = length;
    told->fields = own;
    told->coded = k->storing && k->parts.compressible;
    told->word = k->storing ? "miss" : "pass";
    gate_keep_status(k, f->pool, now_usec, own);
    gate_look_decorate(&k->look, own);
    if (status == HTTP_OK && !judge_condition(f, told)) {
        told->status = status;
    }
    if (told->status == HTTP_NOT_MODIFIED) {
        finish(told);
        return GATE_CACHE_TELL;
    }
    if (k->storing && k->flowing && length && gate_store_pin(cache_store, k->fill.body, &f->body)) {
        f->body_len = length;
        f->growth = gate_store_growth(cache_store, f->body.ref);
        return GATE_CACHE_READ;
    }
    return GATE_CACHE_ASK;
}

static void bytes(gate_cache_fetch_t *f, const char *data, size_t len, int64_t now_usec)
{
    const gate_fill_t *fill = &f->keep.fill;

    gate_keep_bytes(&f->keep, data, len, now_usec);
    if (f->keep.storing && fill->filled == fill->length) {
        /* all that was announced: to be found before the client has its last byte */
        f->whole = 1;
        gate_keep_end(&f->keep, 1, now_usec);
    }
}

/* Others wait for it as long as nobody knows what will come. */
static int storing(const gate_cache_fetch_t *f)
{
    return f->whole || (!f->keep.ended && (f->keep.storing || (f->keep.flight.place && f->keep.flight.leader && !f->heard)));
}

static void end(gate_cache_fetch_t *f, int whole, int64_t now_usec)
{
    gate_keep_end(&f->keep, whole, now_usec);
}

void cache_log_instead(const server_rec *s, int status)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, GATE_LOGNO(0710)
                 "cache: the member failed (%d): a stored answer is served instead, as stale-if-error allows", status);
}

static gate_cache_step_e instead(gate_cache_fetch_t *f, int status, int64_t now_usec, gate_cache_told_t *told)
{
    gate_keep_end(&f->keep, 0, now_usec);
    if (!gate_keep_failed(&f->keep, status, now_usec)) {
        return GATE_CACHE_ASK;
    }
    cache_log_instead(f->server, status);
    return answer(f, now_usec, told);
}

static const char *fetch_failed(gate_cache_fetch_t *f, int status, apr_table_t *headers, int64_t now_usec)
{
    gate_keep_t *k = &f->keep;

    gate_keep_end(k, 0, now_usec);
    if (!apr_table_get(headers, "Cache-Control")) {
        apr_table_setn(headers, "Cache-Control", "no-store");
    }
    k->member_status = 0;
    k->collapsed = 0;
    k->detail = apr_psprintf(f->pool, "ERROR-%d", status);
    gate_keep_status(k, f->pool, now_usec, headers);
    if (k->look.rule.variants) {
        apr_table_mergen(headers, "Vary", "Accept-Encoding");
    }
    return "pass";
}

/* ---- the body out of the store ------------------------------------------------------------------------------------------------ */

static uint64_t body(const gate_cache_fetch_t *f, uint64_t offset, const char **data)
{
    const void *at;
    uint64_t n = f->body.place && offset < f->body_len ? gate_store_piece(cache_store, f->body.ref, offset, &at) : 0;

    if (n) {
        *data = at;
    }
    return n;
}

static gate_cache_body_e body_state(gate_cache_fetch_t *f)
{
    uint64_t filled;

    if (!f->body.place || !f->growth) {
        return GATE_CACHE_BODY_WHOLE;
    }
    f->grown = atomic_load(f->growth);
    switch (gate_store_progress(cache_store, f->body.ref, &filled)) {
    case GATE_BLOB_FILLING:
        return GATE_CACHE_BODY_COMES;
    case GATE_BLOB_WHOLE:
        return GATE_CACHE_BODY_WHOLE;
    default:
        return GATE_CACHE_BODY_BROKEN;
    }
}

static void over(gate_cache_fetch_t *f)
{
    if (f->keep.background) {
        gate_keep_end_refresh(&f->keep, f->well, gate_mono_usec());
    }
    gate_keep_end(&f->keep, 0, 0);
    gate_keep_leave(&f->keep);
    gate_look_drop(&f->keep.look);
    drop_body(f);
    apr_pool_destroy(f->pool);
}

void cache_loop_door(gate_cache_door_t *door)
{
    door->fetch = fetch;
    door->fetch_pool = fetch_pool;
    door->step = step;
    door->news = news;
    door->asked = asked;
    door->instead = instead;
    door->refresh = refresh;
    door->said = said;
    door->bytes = bytes;
    door->storing = storing;
    door->end = end;
    door->fetch_failed = fetch_failed;
    door->body = body;
    door->body_state = body_state;
    door->over = over;
    door->tend = gate_core_tend;
}
