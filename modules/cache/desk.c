/* desk.c - see desk.h */
#include "desk.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#include "block.h"
#include "fields.h"
#include "fill.h"

#define CODINGS_EVERY_USEC 1000000
#define LINE_304 "HTTP/1.1 304 Not Modified\r\n"

typedef struct {
    uint64_t memo_hash;
    uint32_t memo_len;
    uint32_t epoch;
    gate_ref_t head, body;
    uint64_t hash;                /* of the URL in the store */
    uint64_t length;
    gate_freshness_t fresh;
    gate_accept_t accept;
    unsigned codings;             /* that it can be sent in */
    uint16_t status;
    uint8_t coded, incomplete;
    uint8_t once;                 /* not to be remembered */
    uint8_t passes;               /* nothing is stored, and answers are not to be kept as long as `flight` says so */
    uint64_t flight;
    int64_t codings_usec;         /* when to look for missing ones again */
    const char *etag, *modified;  /* NULL: none */
    int64_t date;                 /* of the Date field */
    gate_block_t block;
    const char *text;
    gate_key_t key;
    char bytes[];                 /* memo key, url, route, etag, modified, text */
} entry_t;

struct gate_cache_desk {
    gate_store_t *store;
    gate_desk_ops_t ops;
    apr_pool_t *scratch;
    uint64_t seed;
    gate_cc_t nothing;            /* asked by a request that has no Cache-Control */
    gate_desk_counts_t counts;
    entry_t *loose;               /* the last one that was not to be remembered */
    unsigned entries;
    entry_t **entry;
    uint64_t key[GATE_DESK_KEY_BYTES / sizeof(uint64_t)];
    uint32_t key_len;
    int scribbled;                /* something is in scratch */
    char text[GATE_DESK_TEXT_BYTES + 64 + GATE_BLOCK_NUMBERS];
};

static apr_status_t forget_all(void *desk_)
{
    gate_cache_desk_t *desk = desk_;

    for (unsigned i = 0; i < desk->entries; i++) {
        free(desk->entry[i]);
        desk->entry[i] = NULL;
    }
    free(desk->loose);
    desk->loose = NULL;
    return APR_SUCCESS;
}

gate_cache_desk_t *gate_desk_create(apr_pool_t *p, gate_store_t *store, const gate_desk_ops_t *ops, unsigned entries)
{
    gate_cache_desk_t *desk = apr_pcalloc(p, sizeof *desk);

    desk->store = store;
    desk->ops = *ops;
    desk->entries = entries;
    desk->entry = apr_pcalloc(p, entries * sizeof(entry_t *));
    /* nobody outside can tell who will meet whom in a place */
    desk->seed = gate_store_hash(store, "desk", 4);
    apr_pool_create(&desk->scratch, p);
    gate_cc_parse(desk->scratch, NULL, &desk->nothing);
    apr_pool_cleanup_register(p, desk, forget_all, apr_pool_cleanup_null);
    return desk;
}

gate_desk_counts_t gate_desk_counts(const gate_cache_desk_t *desk)
{
    return desk->counts;
}

/* ---- what is remembered by ------------------------------------------------------------------------------------------------- */

static int add(gate_cache_desk_t *desk, const void *at, uint32_t len)
{
    if (len > GATE_DESK_KEY_BYTES - 8 - desk->key_len) {
        return 0;
    }
    memcpy((char *)desk->key + desk->key_len, at, len);
    desk->key_len += len;
    return 1;
}

/* An absent text is another than an empty one. */
static int add_text(gate_cache_desk_t *desk, const gate_cache_text_t *text)
{
    uint16_t len = text->at ? (uint16_t)(text->len + 1) : 0;

    return text->len < UINT16_MAX - 1 && add(desk, &len, sizeof len) && (!text->at || add(desk, text->at, text->len));
}

static int make_memo_key(gate_cache_desk_t *desk, const gate_cache_ask_t *ask)
{
    uint32_t end;

    desk->key_len = 0;
    if (!add(desk, &ask->place, sizeof ask->place) || !add(desk, &ask->local_port, sizeof ask->local_port)
        || !add_text(desk, &ask->host) || !add_text(desk, &ask->target) || !add_text(desk, &ask->file)
        || !add_text(desk, &ask->encoding)) {
        return 0;
    }
    for (unsigned i = 0; i < ask->odd_n; i++) {
        if (!add_text(desk, &ask->odd[i])) {
            return 0;
        }
    }
    /* whole words, so that hashing and comparing need not mind the end */
    end = (desk->key_len + 7) & ~7u;
    memset((char *)desk->key + desk->key_len, 0, end - desk->key_len);
    desk->key_len = end;
    return 1;
}

static uint64_t stir(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)(a ^ UINT64_C(0x9E3779B97F4A7C15)) * (b ^ UINT64_C(0xD6E8FEB86659FD93));

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_memo_key(const gate_cache_desk_t *desk)
{
    uint64_t h = desk->seed, g = ~desk->seed;
    uint32_t n = desk->key_len / 8, i = 0;

    for (; i + 1 < n; i += 2) {
        h = stir(h ^ desk->key[i], desk->seed + i);
        g = stir(g ^ desk->key[i + 1], desk->seed - i);
    }
    if (i < n) {
        h = stir(h ^ desk->key[i], desk->seed + i);
    }
    return stir(h, g);
}

static entry_t *recall(const gate_cache_desk_t *desk, uint64_t hash)
{
    for (int way = 0; way < 2; way++) {
        entry_t *e = desk->entry[(hash % (desk->entries / 2)) * 2 + (unsigned)way];

        if (e && e->memo_hash == hash && e->memo_len == desk->key_len && !memcmp(e->bytes, desk->key, desk->key_len)) {
            return e;
        }
    }
    return NULL;
}

/* The newcomer takes the first place, who stood there the second. */
static void remember(gate_cache_desk_t *desk, entry_t *e)
{
    entry_t **pair = &desk->entry[(e->memo_hash % (desk->entries / 2)) * 2];

    free(pair[1]);
    pair[1] = pair[0];
    pair[0] = e;
}

static void forget(gate_cache_desk_t *desk, entry_t *e)
{
    entry_t **pair = &desk->entry[(e->memo_hash % (desk->entries / 2)) * 2];

    pair[pair[0] == e ? 0 : 1] = NULL;
    free(e);
}

/* ---- a look-up in full -------------------------------------------------------------------------------------------------------- */

static const char *as_string(gate_cache_desk_t *desk, const gate_cache_text_t *text)
{
    desk->scribbled = 1;
    return apr_pstrmemdup(desk->scratch, text->at, text->len);
}

int gate_desk_ask_look(gate_store_t *store, apr_pool_t *p, const gate_cache_ask_t *ask, gate_look_t *look)
{
    const gate_cache_place_t *place = ask->place;
    const gate_view_t *view = ask->view(ask->ctx);
    const char *file = apr_pstrmemdup(p, ask->file.at, ask->file.len);
    gate_spot_t spot = { .server = place->server, .handler = place->handler, .path_info = "", .args = "" };

    memset(look, 0, sizeof *look);
    look->store = store;
    look->pool = p;
    look->headers = ask->headers(ask->ctx, p);
    look->rule = place->rule;
    if (!view || !look->headers) {
        return 0;
    }
    spot.scheme = view->scheme;
    spot.host = *view->host ? view->host : place->host;
    spot.port = view->port;
    spot.target = apr_pstrmemdup(p, ask->target.at, ask->target.len);
    spot.file = apr_pstrcat(p, place->base, apr_pstrmemdup(p, file, strcspn(file, "?")), NULL);
    gate_look_asks(look);
    return gate_look_key(look, &spot);
}

/* Statuses whose head needs nothing but the block: those that httpd keeps the connection for, with a body. */
static int plain_status(int status)
{
    return status == 200 || status == 203 || (status >= 300 && status < 304) || status == 307 || status == 308 || status == 404
           || status == 410;
}

static char *keep(char **to, const void *at, size_t len)
{
    char *here = memcpy(*to, at, len);

    here[len] = '\0';
    *to += len + 1;
    return here;
}

/* By what an entry is found, here and in the store. @return where its next text goes */
static char *keep_keys(entry_t *e, const gate_cache_desk_t *desk, const gate_look_t *look, uint64_t memo_hash)
{
    char *to = e->bytes;

    e->memo_hash = memo_hash;
    e->memo_len = desk->key_len;
    memcpy(to, desk->key, desk->key_len);
    to += desk->key_len;
    e->key = look->key;
    e->key.url = keep(&to, look->key.url, look->key.url_len);
    e->key.route = keep(&to, look->key.route, look->key.route_len);
    return to;
}

/* What was found becomes an entry. `fields` are the answer's. */
static entry_t *make_entry(gate_cache_desk_t *desk, const gate_look_t *look, const gate_body_t *body, const apr_table_t *fields,
                           uint64_t memo_hash)
{
    const char *etag = apr_table_get(fields, "ETag"), *modified = apr_table_get(fields, "Last-Modified");
    gate_block_t block = gate_block_build(desk->scratch, desk->ops.status_line(look->head.head->status), desk->ops.banner, fields,
                                          desk->text, GATE_DESK_TEXT_BYTES);
    size_t size = sizeof(entry_t) + desk->key_len + look->key.url_len + look->key.route_len + (etag ? strlen(etag) : 0)
                  + (modified ? strlen(modified) : 0) + block.len + 8;
    entry_t *e = block.len ? calloc(1, size) : NULL;
    char *to;

    if (!e) {
        return NULL;
    }
    to = keep_keys(e, desk, look, memo_hash);
    e->etag = etag ? keep(&to, etag, strlen(etag)) : NULL;
    e->modified = modified ? keep(&to, modified, strlen(modified)) : NULL;
    e->date = gate_http_date(apr_table_get(fields, "Date"));
    e->block = block;
    e->text = keep(&to, desk->text, block.len);
    e->hash = look->key.hash;
    e->head = look->held.ref;
    e->body = body->pin.ref;
    e->length = body->length;
    e->fresh = look->head.head->fresh;
    e->accept = look->accept;
    e->codings = gate_look_codings(look);
    e->status = look->head.head->status;
    e->coded = look->head.head->compressible != 0;
    e->incomplete = look->head.head->compressible && look->rule.variants && e->codings != (1u << GATE_CODINGS) - 1;
    e->once = look->varies || size > GATE_DESK_ENTRY_BYTES;
    return e;
}

/* The answer's fields, in the classic plane's order. */
static apr_table_t *fields_of(const gate_look_t *look, const gate_body_t *body, int64_t now_usec)
{
    apr_table_t *fields = apr_table_make(look->pool, 24);
    gate_status_words_t words = { .has_ttl = 1, .ttl = gate_ttl(&look->head.head->fresh, now_usec) };

    gate_head_fields(&look->head, fields);
    gate_look_describe(look, body, fields);
    gate_look_age(look, now_usec, fields);
    gate_status_put(look->pool, &words, fields);
    gate_look_decorate(look, fields);
    apr_table_setn(fields, "Content-Length", apr_psprintf(look->pool, "%" APR_UINT64_T_FMT, body->length));
    return fields;
}

static const char *stored_etag(const gate_look_t *look)
{
    apr_table_t *fields = apr_table_make(look->pool, 24);

    gate_head_fields(&look->head, fields);
    return apr_table_get(fields, "ETag");
}

/* Nothing was found, and nothing is expected. */
static entry_t *make_pass(gate_cache_desk_t *desk, const gate_look_t *look, uint64_t memo_hash)
{
    size_t size = sizeof(entry_t) + desk->key_len + look->key.url_len + look->key.route_len + 8;
    entry_t *e = calloc(1, size);

    if (!e) {
        return NULL;
    }
    keep_keys(e, desk, look, memo_hash);
    e->hash = look->key.hash;
    e->flight = look->flight_hash;
    e->accept = look->accept;
    e->passes = 1;
    e->once = look->varies || size > GATE_DESK_ENTRY_BYTES;
    return e;
}

/* With several codings to choose from, a tag that the client has already decides. */
static int tag_decides(const gate_cache_ask_t *ask, const entry_t *e)
{
    return ask->none_match.at && e->codings & (e->codings - 1);
}

/*
 * Searches for what the request asks for.
 * @param fetches  set to 1 when a fetch would bring it
 * @return an entry that is remembered, or desk->loose; NULL: nothing to answer with
 */
static entry_t *look_up(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, uint64_t memo_hash, int64_t now_usec, int *fetches)
{
    gate_look_t look;
    gate_body_t body = { 0 };
    entry_t *e = NULL;
    uint32_t epoch;

    desk->counts.full++;
    desk->scribbled = 1;
    if (!gate_desk_ask_look(desk->store, desk->scratch, ask, &look)) {
        return NULL;
    }
    look.asked.flags &= ~(unsigned)GATE_CC_NO_TRANSFORM; /* an entry is for those too who do not say it: answer() */
    epoch = gate_store_epoch(desk->store, look.key.hash);
    if (!gate_look_find(&look)) {
        *fetches = !gate_passed(desk->store, look.flight_hash, now_usec);
        e = *fetches ? NULL : make_pass(desk, &look, memo_hash);
    }
    else if (!plain_status(look.head.head->status)) {
        e = NULL;
    }
    else if (atomic_load(&look.head.head->soft)) {
        *fetches = 1;
    }
    else if (gate_look_body(&look, stored_etag(&look), &body)) {
        e = body.unpack ? NULL : make_entry(desk, &look, &body, fields_of(&look, &body, now_usec), memo_hash);
    }
    gate_store_unpin(desk->store, &body.pin);
    gate_store_unpin(desk->store, &look.held);
    if (!e) {
        return NULL;
    }
    e->epoch = epoch;
    if (e->once || (epoch & 1) || tag_decides(ask, e)) {
        free(desk->loose);
        desk->loose = e;
    }
    else {
        remember(desk, e);
    }
    return e;
}

/* ---- the store has moved -------------------------------------------------------------------------------------------------------- */

typedef struct {
    gate_look_t look;             /* of the entry's key */
    int soft;
} again_t;

static int64_t rank_again(void *ctx, const void *bytes, uint64_t len)
{
    again_t *a = ctx;
    gate_head_view_t head;

    if (!gate_head_read(bytes, len, &head)) {
        return -1;
    }
    a->soft |= atomic_load(&head.head->soft) != 0;
    return gate_look_suits(&a->look, &head);
}

/* The same search by the entry's own key. @return is what it says still what a look in full would find? */
static int search_again(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, entry_t *e)
{
    uint32_t epoch = gate_store_epoch(desk->store, e->hash);
    again_t again = { .look = { .store = desk->store, .pool = desk->scratch, .rule = ask->place->rule, .key = e->key,
                                .accept = e->accept } };
    apr_table_t *headers = apr_table_make(desk->scratch, 1);
    const void *bytes;
    uint64_t len;
    int same = 0;

    desk->scribbled = 1;
    apr_table_setn(headers, "Accept-Encoding", gate_accept_class(&e->accept));
    again.look.headers = headers;
    if (epoch & 1) {
        return 0;
    }
    if (!gate_store_find(desk->store, e->hash, rank_again, &again, &again.look.held)) {
        same = e->passes && !again.look.varies;
        e->epoch = same ? epoch : e->epoch;
        return same;
    }
    len = gate_store_piece(desk->store, again.look.held.ref, 0, &bytes);
    if (!e->passes && !again.soft && !again.look.varies && again.look.held.ref == e->head && gate_head_read(bytes, len, &again.look.head)) {
        same = gate_look_codings(&again.look) == e->codings;
    }
    gate_store_unpin(desk->store, &again.look.held);
    if (same) {
        e->epoch = epoch;
        desk->counts.searched++;
    }
    return same;
}

static int still(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, entry_t *e)
{
    if (gate_store_epoch(desk->store, e->hash) == e->epoch) {
        desk->counts.remembered++;
        return 1;
    }
    return search_again(desk, ask, e);
}

/* ---- this request's answer ------------------------------------------------------------------------------------------------------ */

static void set_text(apr_table_t *t, gate_cache_desk_t *desk, const char *name, const gate_cache_text_t *text)
{
    if (text->at) {
        apr_table_setn(t, name, as_string(desk, text));
    }
}

/* What the request asks of caches; valid as long as scratch. */
static gate_cc_t asked_of(gate_cache_desk_t *desk, const gate_cache_ask_t *ask)
{
    gate_look_t look;
    apr_table_t *t;

    if (!ask->control.at && !ask->pragma.at) {
        return desk->nothing;
    }
    t = apr_table_make(desk->scratch, 2);
    set_text(t, desk, "Cache-Control", &ask->control);
    set_text(t, desk, "Pragma", &ask->pragma);
    look.pool = desk->scratch;
    look.rule = ask->place->rule;
    look.headers = t;
    gate_look_asks(&look);
    return look.asked;
}

static int fresh_enough(const gate_cc_t *asked, const entry_t *e, int64_t now_usec)
{
    return gate_freshness_judge(&e->fresh, asked, 0, now_usec) == GATE_SERVE;
}

/* A request that could be answered in another way, if only the cache had something, is not for passing by. */
static int may_pass(const gate_cache_desk_t *desk, const gate_cache_ask_t *ask, const gate_cc_t *asked, const entry_t *e,
                    int64_t now_usec)
{
    return !ask->head_only && !ask->none_match.at && !ask->modified_since.at
           && !(asked->flags & (GATE_CC_ONLY_IF_CACHED | GATE_CC_NO_STORE)) && gate_passed(desk->store, e->flight, now_usec);
}

/* A request that a fetch of the whole object would answer. */
static int may_fetch(const gate_cache_ask_t *ask, const gate_cc_t *asked)
{
    return !ask->head_only && !(asked->flags & (GATE_CC_ONLY_IF_CACHED | GATE_CC_NO_STORE));
}

static gate_cache_e let_pass(const gate_cache_ask_t *ask, const entry_t *e, gate_cache_pass_t *pass)
{
    memset(pass, 0, sizeof *pass);
    pass->place = ask->place;
    pass->encoding = ask->place->rule.variants ? "identity" : gate_accept_class(&e->accept);
    pass->flight = e->flight;
    return GATE_CACHE_PASS;
}

static int has_it_already(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, const entry_t *e)
{
    apr_table_t *t;

    if ((!ask->none_match.at && !ask->modified_since.at) || e->status != 200) {
        return 0;
    }
    t = apr_table_make(desk->scratch, 2);
    set_text(t, desk, "If-None-Match", &ask->none_match);
    set_text(t, desk, "If-Modified-Since", &ask->modified_since);
    return gate_conditions(desk->scratch, t, e->etag, e->modified, e->date) == GATE_COND_NOT_MODIFIED;
}

/* @return 0: the body went meanwhile */
static int give(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, entry_t *e, int64_t now_usec, gate_cache_hit_t *hit)
{
    int64_t age = gate_age(&e->fresh, now_usec);
    gate_pin_t pin = { 0 };
    const char *line = NULL;
    uint32_t upto = e->block.len;

    hit->status = e->status;
    hit->length = e->length;
    if (has_it_already(desk, ask, e)) {
        hit->status = 304;
        hit->length = 0;
        line = LINE_304;
        upto = e->block.length_at;
    }
    else if (ask->head_only) {
        /* httpd takes an empty one for a module that did not know better */
        upto = e->length ? upto : e->block.length_at;
    }
    else if (!gate_store_pin(desk->store, e->body, &pin)) {
        return 0;
    }
    hit->head_len = gate_block_write(&e->block, e->text, line, upto, age, e->fresh.lifetime - age, desk->text, &hit->line_len);
    hit->head = desk->text;
    hit->fields_at = hit->line_len + e->block.fields_at - e->block.line_len;
    hit->coded = e->coded;
    hit->word = "hit";
    hit->object = e->head;
    hit->body = pin.ref;
    hit->place = pin.place;
    hit->counted = 0;
    hit->head_only = ask->head_only != 0;
    return 1;
}

/* The entry's answer to this request. */
static gate_cache_e answer(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, entry_t *e, int64_t now_usec, gate_cache_hit_t *hit,
                           gate_cache_pass_t *pass)
{
    gate_cc_t asked = asked_of(desk, ask);

    if (e->passes && may_pass(desk, ask, &asked, e, now_usec)) {
        return let_pass(ask, e, pass);
    }
    if (e->passes) {
        /* no longer so */
        return may_fetch(ask, &asked) && !gate_passed(desk->store, e->flight, now_usec) ? GATE_CACHE_MISS : GATE_CACHE_CLASSIC;
    }
    if (!fresh_enough(&asked, e, now_usec) || (asked.flags & GATE_CC_NO_TRANSFORM && e->codings & (e->codings - 1))) {
        return may_fetch(ask, &asked) ? GATE_CACHE_MISS : GATE_CACHE_CLASSIC;
    }
    if (!give(desk, ask, e, now_usec, hit)) {
        return GATE_CACHE_CLASSIC;
    }
    if (e->incomplete && now_usec >= e->codings_usec) {
        e->codings_usec = now_usec + CODINGS_EVERY_USEC;
        desk->ops.codings(ask->place, e->hash, e->head);
    }
    return GATE_CACHE_HIT;
}

gate_cache_e gate_desk_look(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, int64_t now_usec, gate_cache_hit_t *hit,
                            gate_cache_pass_t *pass)
{
    gate_cache_e how = GATE_CACHE_CLASSIC;
    uint64_t memo_hash;
    int fetches = 0;
    entry_t *e;

    memset(hit, 0, sizeof *hit);
    if (ask->place->classic || ask->odd_n > 2 * GATE_CACHE_ODD_MAX || !make_memo_key(desk, ask)) {
        return GATE_CACHE_CLASSIC;
    }
    memo_hash = hash_memo_key(desk);
    e = recall(desk, memo_hash);
    if (e && !still(desk, ask, e)) {
        forget(desk, e);
        e = NULL;
    }
    else if (e && tag_decides(ask, e)) {
        e = NULL;
    }
    if (!e) {
        e = look_up(desk, ask, memo_hash, now_usec, &fetches);
    }
    if (e) {
        how = answer(desk, ask, e, now_usec, hit, pass);
    }
    else if (fetches) {
        gate_cc_t asked = asked_of(desk, ask);

        how = may_fetch(ask, &asked) ? GATE_CACHE_MISS : GATE_CACHE_CLASSIC;
    }
    if (desk->scribbled) {
        apr_pool_clear(desk->scratch);
        desk->scribbled = 0;
    }
    return how;
}

uint64_t gate_desk_piece(const gate_store_t *store, const gate_cache_hit_t *hit, uint64_t offset, const char **data)
{
    const void *at;
    uint64_t n = hit->place ? gate_store_piece(store, hit->body, offset, &at) : 0;

    if (n) {
        *data = at;
    }
    return n;
}

void gate_desk_done(gate_store_t *store, gate_cache_hit_t *hit)
{
    gate_pin_t pin = { hit->body, hit->place };

    gate_store_unpin(store, &pin);
    hit->place = 0;
}
