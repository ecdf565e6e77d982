/*
 * cache_filter.c - stands right behind the handler, before every filter of the configuration, and sees what the member sent.
 * Stores it while it passes; puts a stored answer in the place of a 304 or an error; forgets what an unsafe method changed.
 * A client that leaves does not end a fetch that is being stored: it goes on, and nothing is passed further.
 */
#include "cache.h"

#include <string.h>
#include <apr_buckets.h>
#include <util_filter.h>

static ap_filter_rec_t *store_filter, *invalidate_filter;

/* ---- headers for the member, and back ----------------------------------------------------------------------------------------- */

void cache_change_header(request_rec *r, cache_request_t *c, const char *name, const char *value)
{
    if (!c->asked_headers) {
        c->asked_headers = r->headers_in;
        r->headers_in = apr_table_copy(r->pool, r->headers_in);
    }
    if (value) {
        apr_table_setn(r->headers_in, name, value);
    }
    else {
        apr_table_unset(r->headers_in, name);
    }
}

void cache_restore_headers(request_rec *r, cache_request_t *c)
{
    if (c->asked_headers) {
        r->headers_in = c->asked_headers;
        c->asked_headers = NULL;
    }
}

static gate_when_t when_of(const cache_request_t *c)
{
    return (gate_when_t){ apr_time_sec(c->request_time), apr_time_sec(apr_time_now()), gate_mono_usec() };
}

/* ---- the end of a fetch ---------------------------------------------------------------------------------------------------------- */

static void end_flight(cache_request_t *c, gate_flight_e how)
{
    if (c->flight.place) {
        cache_wake(gate_flight_end(cache_store, &c->flight, how));
    }
}

static void drop_fill(cache_request_t *c, const char *why, int count)
{
    _Atomic uint32_t *growth;

    if (!c->storing) {
        return;
    }
    c->storing = 0;
    c->detail = why;
    cache_count(GATE_COUNT_not_stored, 1);
    cache_count(count, 1);
    growth = gate_store_growth(cache_store, c->fill.body);
    gate_store_abort(cache_store, &c->fill);
    cache_wake(growth);
}

typedef struct {
    cache_request_t *c;
    const gate_key_t *key;
} commit_t;

static int same_object(void *ctx, const void *bytes, uint64_t len)
{
    const commit_t *m = ctx;
    gate_head_view_t head;

    return !gate_head_read(bytes, len, &head)
           || (gate_head_has_key(&head, m->key) && head.head->vary_len == m->c->parts.vary_len
               && !memcmp(head.vary, m->c->parts.vary, m->c->parts.vary_len));
}

static gate_purged_e purged_since(const cache_request_t *c)
{
    gate_purge_query_t query = { c->purge_seq, c->look.key.hash, c->look.key.url, c->parts.tags, c->parts.tags_n, 0 };

    return gate_purge_check(cache_store, &query);
}

static int veto(void *ctx)
{
    cache_request_t *c = ((commit_t *)ctx)->c;
    gate_purged_e purged = purged_since(c);
    const void *head;

    if (purged == GATE_PURGE_SOFT && gate_store_piece(cache_store, c->fill.head, 0, &head)) {
        atomic_store(&((gate_head_t *)(uintptr_t)head)->soft, 1);
    }
    return purged == GATE_PURGE_HARD;
}

static gate_store_e write_head(request_rec *r, cache_request_t *c)
{
    size_t len;
    void *head = gate_head_build(r->pool, &c->parts, &len);

    c->head_set = 1;
    return head ? gate_store_set_head(cache_store, &c->fill, head, len) : GATE_STORE_TOO_BIG;
}

static int count_of(gate_store_e rc)
{
    return rc == GATE_STORE_TOO_BIG ? GATE_COUNT_not_stored_big : GATE_COUNT_not_stored_full;
}

static const char *word_of(gate_store_e rc)
{
    return rc == GATE_STORE_TOO_BIG ? "TOO-BIG" : "FULL";
}

/* The body is whole: visible from here on. */
static void commit(request_rec *r, cache_request_t *c)
{
    commit_t m = { c, &c->look.key };
    gate_ref_t head = c->fill.head;
    _Atomic uint32_t *growth = gate_store_growth(cache_store, c->fill.body);
    gate_store_e rc = GATE_STORE_OK;

    if (!c->head_set) {
        c->parts.body_len = c->fill.filled;
        rc = write_head(r, c);
    }
    if (rc != GATE_STORE_OK) {
        drop_fill(c, word_of(rc), count_of(rc));
        return;
    }
    rc = gate_store_commit(cache_store, &c->fill, same_object, veto, &m);
    cache_wake(growth);
    c->storing = 0;
    if (rc != GATE_STORE_OK) {
        cache_count(GATE_COUNT_not_stored, 1);
        cache_count(purged_since(c) == GATE_PURGE_HARD ? GATE_COUNT_not_stored_purged : GATE_COUNT_not_stored_broken, 1);
        return;
    }
    cache_count(GATE_COUNT_stored, 1);
    cache_count(GATE_COUNT_stored_bytes, c->fill.filled);
    if (!c->useless) {
        gate_pass_forget(cache_store, c->look.flight_hash);
    }
    if (c->parts.compressible) {
        cache_codings(c->conf->compress, c->look.key.hash, head);
    }
}

static void end(request_rec *r, cache_request_t *c, int whole)
{
    if (c->ended) {
        return;
    }
    c->ended = 1;
    if (c->storing && whole) {
        commit(r, c);
    }
    else {
        drop_fill(c, "INCOMPLETE", GATE_COUNT_not_stored_broken);
    }
    /* a fetch that failed: those who wait go on by themselves, all at once, rather than fail one after the other */
    end_flight(c, whole && !c->useless ? GATE_FLIGHT_STORED : GATE_FLIGHT_PASSED);
    if (c->was_aborted) {
        r->connection->aborted = 1;
    }
}

void cache_filter_end(request_rec *r, cache_request_t *c)
{
    cache_restore_headers(r, c);
    end(r, c, 0);
    c->over = 1;
}

/* ---- the beginning: may it be stored? ---------------------------------------------------------------------------------------------- */

static uint64_t length_of(request_rec *r, apr_bucket_brigade *bb)
{
    const char *text = apr_table_get(r->headers_out, "Content-Length");
    int64_t n = text ? gate_delta_seconds(text) : -1;
    apr_off_t len = 0;

    if (n >= 0 && n < INT32_MAX) {
        return (uint64_t)n;
    }
    if (!APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb))
        && apr_brigade_length(bb, 0, &len) == APR_SUCCESS && len >= 0) {
        return (uint64_t)len;
    }
    return text ? UINT64_MAX - 1 : UINT64_MAX; /* announced, but larger than anything here */
}

static void note_passed(cache_request_t *c)
{
    gate_pass_note(cache_store, c->look.flight_hash, gate_mono_usec());
    end_flight(c, GATE_FLIGHT_PASSED);
}

static const char *refusal(request_rec *r, cache_request_t *c, const apr_table_t *answer, const gate_cache_policy_t *policy,
                           const gate_when_t *when)
{
    gate_storable_t x = { r->method, r->headers_in, r->status, answer, 0 };

    if (r->no_cache || r->header_only) {
        return r->no_cache ? "NO-CACHE" : "METHOD";
    }
    return gate_look_refusal(&c->look, &x, policy, when);
}

/* What is known about the object is put together; nothing is in the store yet. @return NULL, or why not */
static const char *prepare(request_rec *r, cache_request_t *c, apr_table_t *answer, apr_bucket_brigade *bb)
{
    static const char *const tag_names[] = { "Surrogate-Key", "Cache-Tag", "Gatehouse-Cache-Control", "Content-Length", NULL };
    gate_cache_policy_t policy = cache_policy(c->conf);
    gate_when_t when = when_of(c);
    const char *why = refusal(r, c, answer, &policy, &when);
    const char *drop[] = { c->conf->tags ? c->conf->tags : "Surrogate-Key", NULL };
    apr_table_t *kept;

    if (why) {
        return why;
    }
    c->parts.vary = gate_look_vary(&c->look, answer, &c->parts.vary_len);
    gate_freshness_of(r->pool, r->status, answer, &policy, &when, &c->fresh);
    kept = gate_head_keep(r->pool, answer, tag_names);
    apr_table_unset(kept, drop[0]);
    c->parts.body_len = length_of(r, bb);
    c->parts.key = &c->look.key;
    c->parts.status = r->status;
    c->parts.coding = gate_coding_of(apr_table_get(answer, "Content-Encoding"));
    c->parts.compressible = cache_wants_variants(c, r->status, kept, c->parts.body_len);
    c->parts.fresh = &c->fresh;
    c->parts.purge_seq = c->purge_seq;
    c->parts.fields = kept;
    c->useless = gate_freshness_useless(&c->fresh);
    return NULL;
}

/* Opens the store for it; where its length is known, others may read along from now on. */
static void begin(request_rec *r, cache_request_t *c)
{
    gate_store_e rc = gate_store_begin(cache_store, c->look.key.hash, c->parts.body_len, &c->fill);

    c->storing = rc == GATE_STORE_OK;
    if (c->storing && c->parts.body_len != UINT64_MAX) {
        rc = write_head(r, c);
        if (rc == GATE_STORE_OK && !c->useless && c->flight.place) {
            uint32_t value;

            c->flowing = 1;
            if (gate_flight_flow(cache_store, &c->flight, c->fill.head, gate_mono_usec())) {
                cache_wake(gate_flight_wait(cache_store, &c->flight, &value));
            }
        }
    }
    if (rc != GATE_STORE_OK) {
        if (c->storing) {
            drop_fill(c, word_of(rc), count_of(rc));
        }
        else {
            c->detail = word_of(rc);
            cache_count(GATE_COUNT_not_stored, 1);
            cache_count(count_of(rc), 1);
        }
        c->parts.compressible = 0;
        if (rc == GATE_STORE_TOO_BIG) {
            note_passed(c);
        }
        else {
            end_flight(c, GATE_FLIGHT_PASSED);
        }
    }
    else if (c->useless) {
        note_passed(c);
    }
}

/* ---- the head of the answer ----------------------------------------------------------------------------------------------------------- */

static int validators_fit(const apr_table_t *stored, const apr_table_t *update)
{
    const char *mine = apr_table_get(stored, "ETag"), *theirs = apr_table_get(update, "ETag");

    return !theirs || (mine && gate_etag_matches(theirs, mine, 0));
}

/* The stored fields with the member's word put over them become the head of the object (RFC 9111, 4.3.4). */
static void freshen(request_rec *r, cache_request_t *c, const apr_table_t *update)
{
    gate_cache_policy_t policy = cache_policy(c->conf);
    gate_when_t when = when_of(c);
    apr_table_t *stored = apr_table_make(r->pool, 24), *merged;
    commit_t m = { c, &c->look.key };
    gate_ref_t fresh_head;
    size_t len;
    void *bytes;

    gate_head_fields(&c->look.head, stored);
    merged = gate_head_merge(r->pool, stored, gate_head_keep(r->pool, update, NULL));
    apr_table_unset(merged, "Surrogate-Key");
    apr_table_unset(merged, "Cache-Tag");
    if (c->conf->tags) {
        apr_table_unset(merged, c->conf->tags);
    }
    apr_table_unset(merged, "Gatehouse-Cache-Control");
    /* freshness is told by what was said to us, targeted fields too */
    gate_freshness_of(r->pool, c->look.head.head->status, gate_head_merge(r->pool, stored, update), &policy, &when, &c->fresh);
    c->parts = (gate_head_parts_t){ .key = &c->look.key, .vary = c->look.head.vary, .vary_len = c->look.head.head->vary_len,
                                    .status = c->look.head.head->status, .coding = c->look.head.head->coding,
                                    .compressible = (int)c->look.head.head->compressible, .fresh = &c->fresh,
                                    .purge_seq = c->purge_seq, .body_len = c->look.head.head->body_len, .fields = merged,
                                    .tags = c->look.head.tags, .tags_n = c->look.head.head->tags_n };
    bytes = gate_head_build(r->pool, &c->parts, &len);
    if (!bytes) {
        return;
    }
    gate_head_read(bytes, len, &c->look.head);
    /* the old head stays held until the answer is on its way: its bodies are those of the new one */
    if (purged_since(c) == GATE_PURGE_NONE
        && gate_store_rehead(cache_store, c->look.held.ref, bytes, len, veto, &m, &fresh_head) == GATE_STORE_OK) {
        gate_pin_t pin;
        if (gate_store_pin(cache_store, fresh_head, &pin)) {
            gate_store_unpin(cache_store, &c->look.held);
            c->look.held = pin;
        }
    }
    c->useless = gate_freshness_useless(&c->fresh);
    if (c->useless) {
        gate_pass_note(cache_store, c->look.flight_hash, gate_mono_usec());
    }
}

/* Puts the stored answer in the place of the member's. */
static int answer_instead(ap_filter_t *f, cache_request_t *c)
{
    int rc;

    c->swallow = 1;
    if (c->background) {
        return 1;
    }
    rc = cache_answer(f->r, c, f->next);
    if (rc == HTTP_PRECONDITION_FAILED || rc == DECLINED) {
        f->r->status = rc == DECLINED ? HTTP_BAD_GATEWAY : rc;
        apr_bucket_brigade *bb = apr_brigade_create(f->r->pool, f->c->bucket_alloc);
        APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(f->r->status, NULL, f->r->pool, bb->bucket_alloc));
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
        ap_pass_brigade(f->next, bb);
    }
    return 1;
}

/* @return 1: the stored answer was sent, or the member will be asked again */
static int validated(ap_filter_t *f, cache_request_t *c, const apr_table_t *answer)
{
    request_rec *r = f->r;
    apr_table_t *stored = apr_table_make(r->pool, 24);

    c->member_status = r->status;
    gate_head_fields(&c->look.head, stored);
    if (r->status == HTTP_NOT_MODIFIED) {
        if (!validators_fit(stored, answer)) {
            c->again = c->swallow = 1;
            return 1;
        }
        freshen(r, c, answer);
        end_flight(c, c->useless ? GATE_FLIGHT_PASSED : GATE_FLIGHT_STORED);
        return answer_instead(f, c);
    }
    if (gate_stale_on_error(&c->look.head.head->fresh, &c->look.asked, r->status, gate_mono_usec())) {
        cache_count(GATE_COUNT_stale_error, 1);
        c->detail = "STALE-IF-ERROR";
        end_flight(c, GATE_FLIGHT_PASSED);
        return answer_instead(f, c);
    }
    if (r->status == HTTP_NOT_FOUND || r->status == HTTP_GONE) {
        gate_store_remove(cache_store, c->look.held.ref);
    }
    gate_look_drop(&c->look);
    return 0;
}

/* RFC 9111, 4.3.5: a HEAD tells whether what we have is still it. */
static void headed(request_rec *r, cache_request_t *c, const apr_table_t *answer)
{
    static const char *const validators[] = { "ETag", "Last-Modified" };
    apr_table_t *stored = apr_table_make(r->pool, 24);
    const char *length = apr_table_get(r->headers_out, "Content-Length");
    int same = 1;

    if (r->status != HTTP_OK || c->look.head.head->status != HTTP_OK) {
        return;
    }
    gate_head_fields(&c->look.head, stored);
    for (size_t i = 0; i < sizeof validators / sizeof *validators; i++) {
        const char *mine = apr_table_get(stored, validators[i]), *theirs = apr_table_get(answer, validators[i]);
        same &= !theirs || (mine && !strcmp(mine, theirs));
    }
    same &= !length || (uint64_t)gate_delta_seconds(length) == c->look.head.head->body_len;
    if (same) {
        freshen(r, c, answer);
    }
    else {
        gate_store_remove(cache_store, c->look.held.ref);
    }
    gate_look_drop(&c->look);
}

/* @return 1: the brigade is not to be passed */
static int on_head(ap_filter_t *f, cache_request_t *c, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    uint64_t tags[GATE_TAGS_MAX];
    apr_table_t *answer;
    const char *why = NULL;

    if (AP_BUCKET_IS_ERROR(APR_BRIGADE_FIRST(bb))) {
        return 0;
    }
    c->seen_head = 1;
    cache_restore_headers(r, c);
    r->headers_out = cache_strip_cookies(r->pool, c->conf, r->headers_out);
    r->err_headers_out = cache_strip_cookies(r->pool, c->conf, r->err_headers_out);
    answer = cache_member_fields(r, c);
    c->parts.tags_n = cache_take_tags(r, c, tags);
    c->parts.tags = apr_pmemdup(r->pool, tags, sizeof *tags * c->parts.tags_n);
    if (c->mode == CACHE_VALIDATING && validated(f, c, answer)) {
        return 1;
    }
    if (c->mode == CACHE_HEADING) {
        headed(r, c, answer);
    }
    else if (c->mode != CACHE_PASSING) {
        why = prepare(r, c, answer, bb);
        if (why) {
            cache_count(GATE_COUNT_not_stored, 1);
            note_passed(c);
            c->detail = why;
        }
        else {
            begin(r, c);
        }
    }
    cache_status(r, c, r->headers_out, c->mode == CACHE_PASSING && c->fwd && !strcmp(c->fwd, "bypass") ? "bypass"
                                       : c->storing || c->mode == CACHE_HEADING || c->mode == CACHE_PASSING ? "miss" : "pass");
    cache_decorate(r, c, r->headers_out, c->storing && c->parts.compressible);
    return 0;
}

/* ---- the body ------------------------------------------------------------------------------------------------------------------------- */

static void absorb(request_rec *r, cache_request_t *c, apr_bucket *b)
{
    const char *data;
    apr_size_t len;
    gate_store_e rc;

    if (AP_BUCKET_IS_ERROR(b)) {
        /* where nothing was sent yet this becomes an error page of ours */
        apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
        end(r, c, 0);
        return;
    }
    if (APR_BUCKET_IS_METADATA(b)) {
        return;
    }
    if (apr_bucket_read(b, &data, &len, APR_BLOCK_READ) != APR_SUCCESS) {
        end(r, c, 0);
        return;
    }
    rc = gate_store_append(cache_store, &c->fill, data, len);
    if (rc != GATE_STORE_OK) {
        drop_fill(c, word_of(rc), count_of(rc));
        if (rc == GATE_STORE_TOO_BIG) {
            note_passed(c);
        }
        end_flight(c, GATE_FLIGHT_PASSED);
    }
    else if (c->flowing) {
        uint32_t followers = gate_flight_progress(cache_store, &c->flight, gate_mono_usec());

        cache_wake(gate_store_growth(cache_store, c->fill.body));
        if (followers && !c->holds_back && !c->client_gone) {
            c->holds_back = gate_store_pin(cache_store, c->fill.body, &c->back);
        }
    }
}

static uint64_t bytes_of(apr_bucket_brigade *bb)
{
    apr_off_t len = 0;

    apr_brigade_length(bb, 1, &len);
    return len > 0 ? (uint64_t)len : 0;
}

/*
 * Others read along: they must not be held up by how fast this one's client is. It gets nothing more until the member's
 * answer is whole, and the rest at once then, out of the store. @return 1: the brigade was dealt with
 */
static int hold_back(apr_bucket_brigade *bb, cache_request_t *c)
{
    apr_bucket *b, *next;
    int over = c->ended;

    if (!c->holds_back || c->client_gone) {
        c->sent += c->flowing ? bytes_of(bb) : 0;
        return 0;
    }
    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = next) {
        next = APR_BUCKET_NEXT(b);
        if (!APR_BUCKET_IS_METADATA(b) || APR_BUCKET_IS_FLUSH(b)) {
            apr_bucket_delete(b);
        }
    }
    if (over) {
        apr_bucket_brigade *rest = apr_brigade_create(bb->p, bb->bucket_alloc);

        cache_body_append(rest, &c->back, c->sent, c->fill.filled);
        APR_BRIGADE_PREPEND(bb, rest);
        c->holds_back = 0;
    }
    return !over;
}

static apr_status_t pass(ap_filter_t *f, cache_request_t *c, apr_bucket_brigade *bb, int storing)
{
    apr_status_t rv;

    if (c->client_gone) {
        if (f->c->aborted && storing && c->storing && !c->ended) {
            /* one that had its 304 early has hung up meanwhile: mod_proxy would stop reading */
            c->was_aborted = 1;
            f->c->aborted = 0;
        }
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    rv = ap_pass_brigade(f->next, bb);
    if ((rv != APR_SUCCESS || f->c->aborted) && storing && c->storing && !c->ended) {
        /* the client went; the member's answer is still wanted */
        c->client_gone = c->was_aborted = 1;
        f->c->aborted = 0;
        return APR_SUCCESS;
    }
    return rv;
}

/* The client has it already: 304 now, and the rest only into the store. */
static void answer_not_modified(ap_filter_t *f, cache_request_t *c)
{
    apr_bucket_brigade *out = apr_brigade_create(f->r->pool, f->c->bucket_alloc);

    f->r->status = HTTP_NOT_MODIFIED;
    f->r->status_line = NULL;
    APR_BRIGADE_INSERT_TAIL(out, apr_bucket_eos_create(out->bucket_alloc));
    ap_pass_brigade(f->next, out);
    c->client_gone = 1;
}

static apr_status_t store(ap_filter_t *f, apr_bucket_brigade *bb)
{
    cache_request_t *c = f->ctx;
    int storing;

    if (c->over) {
        /* what comes now is ours: a stored answer in the place of an error */
        return ap_pass_brigade(f->next, bb);
    }
    if (APR_BRIGADE_EMPTY(bb)) {
        return APR_SUCCESS;
    }
    if (!c->swallow && !c->seen_head) {
        if (!on_head(f, c, bb) && c->seen_head && f->r->status == HTTP_OK && c->mode != CACHE_PASSING
            && cache_condition(c, f->r->headers_out) == HTTP_NOT_MODIFIED) {
            answer_not_modified(f, c);
        }
    }
    if (c->swallow) {
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    storing = c->storing;
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb) && !c->ended; b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_EOS(b)) {
            end(f->r, c, 1);
        }
        else if (c->storing || AP_BUCKET_IS_ERROR(b)) {
            absorb(f->r, c, b);
        }
    }
    return hold_back(bb, c) ? APR_SUCCESS : pass(f, c, bb, storing);
}

/* ---- unsafe methods -------------------------------------------------------------------------------------------------------------------- */

/* RFC 9111, 4.4: what a change names is forgotten, before the client hears of it. */
void cache_invalidate(apr_pool_t *p, const char *own, int status, const apr_table_t *answer)
{
    static const char *const names[] = { "Location", "Content-Location" };

    if (status < 200 || status >= 400) {
        return;
    }
    cache_count(GATE_COUNT_invalidated, 1);
    cache_purge(p, GATE_PURGE_URL, own, NULL, 0, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = apr_table_get(answer, names[i]);
        const char *url = value ? gate_key_absolute(p, value, own, NULL) : NULL;

        if (url && gate_key_same_origin(url, own)) {
            cache_purge(p, GATE_PURGE_URL, url, NULL, 0, NULL);
        }
    }
}

static apr_status_t invalidate(ap_filter_t *f, apr_bucket_brigade *bb)
{
    cache_request_t *c = f->ctx;
    request_rec *r = f->r;

    cache_invalidate(r->pool, c->look.key.url, r->status, r->headers_out);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

void cache_filters_register(void)
{
    /* before every filter that works on content, whoever put it in */
    store_filter = ap_register_output_filter("GATE_CACHE_STORE", store, NULL, AP_FTYPE_RESOURCE - 1);
    invalidate_filter = ap_register_output_filter("GATE_CACHE_INVALIDATE", invalidate, NULL, AP_FTYPE_RESOURCE - 1);
}

void cache_filter_add(request_rec *r, cache_request_t *c)
{
    c->over = 0;
    c->out_before = apr_is_empty_table(r->headers_out) ? NULL : apr_table_copy(r->pool, r->headers_out);
    c->err_before = apr_is_empty_table(r->err_headers_out) ? NULL : apr_table_copy(r->pool, r->err_headers_out);
    ap_add_output_filter_handle(store_filter, c, r, r->connection);
}

void cache_invalidate_add(request_rec *r, cache_request_t *c)
{
    ap_add_output_filter_handle(invalidate_filter, c, r, r->connection);
}
