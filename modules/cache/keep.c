/* keep.c - see keep.h: what becomes of a member's answer */
#include "keep.h"

#include <stdatomic.h>
#include <string.h>

#include "fields.h"
#include "purge.h"

enum { OK_ = 200, NOT_MODIFIED = 304, NOT_FOUND = 404, GONE = 410 };

static void count(const gate_keep_t *k, int which, uint64_t n)
{
    k->rule.ops->count(which, n);
}

/* ---- what every answer bears ------------------------------------------------------------------------------------------------- */

void gate_keep_status(const gate_keep_t *k, apr_pool_t *p, int64_t now_usec, apr_table_t *fields)
{
    int ours = k->look.head.head && (!k->fwd || k->member_status == NOT_MODIFIED || k->collapsed);
    gate_status_words_t words = { .fwd = k->fwd, .member_status = k->member_status, .collapsed = k->collapsed, .stored = k->storing,
                                  .has_ttl = ours, .detail = k->detail };

    if (ours) {
        words.ttl = gate_ttl(&k->look.head.head->fresh, now_usec);
    }
    gate_status_put(p, &words, fields);
}

const char *gate_keep_count_answer(const gate_keep_t *k, int64_t now_usec)
{
    if (k->collapsed) {
        count(k, GATE_COUNT_followed, 1);
        return "collapsed";
    }
    if (k->member_status == NOT_MODIFIED) {
        count(k, GATE_COUNT_revalidated, 1);
        return "revalidated";
    }
    if (gate_ttl(&k->look.head.head->fresh, now_usec) <= 0 || atomic_load(&k->look.head.head->soft)) {
        count(k, GATE_COUNT_stale, 1);
        return "stale";
    }
    count(k, GATE_COUNT_hit, 1);
    return "hit";
}

static int type_listed(const gate_compress_rule_t *rule, const char *type)
{
    size_t len = type ? strcspn(type, "; \t") : 0;

    for (const char *const *t = rule->types; len && *t; t++) {
        size_t n = strlen(*t);

        if (n && (*t)[n - 1] == '/' ? len > n && !strncasecmp(type, *t, n) : n == len && !strncasecmp(type, *t, n)) {
            return len != 17 || strncasecmp(type, "text/event-stream", 17);
        }
    }
    return 0;
}

int gate_keep_wants_variants(const gate_compress_rule_t *rule, int status, const apr_table_t *fields, uint64_t length)
{
    static const char *const about_bytes[] = { "Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Content-Encoding",
                                               "Content-Range" };
    gate_cc_t cc;

    if (!rule || !rule->on || status != OK_ || (length != UINT64_MAX && length < rule->min_bytes)
        || !type_listed(rule, apr_table_get(fields, "Content-Type"))) {
        return 0;
    }
    for (size_t i = 0; i < sizeof about_bytes / sizeof *about_bytes; i++) {
        if (apr_table_get(fields, about_bytes[i])) {
            return 0;
        }
    }
    gate_cc_parse(apr_table_elts(fields)->pool, apr_table_get(fields, "Cache-Control"), &cc);
    return !(cc.flags & GATE_CC_NO_TRANSFORM);
}

static const char *first_tags(const gate_keep_rule_t *rule)
{
    return rule->tags ? rule->tags : "Surrogate-Key";
}

void gate_keep_drop_tags(const gate_keep_rule_t *rule, apr_table_t *fields)
{
    apr_table_unset(fields, first_tags(rule));
    if (!rule->tags) {
        apr_table_unset(fields, "Cache-Tag");
    }
    apr_table_unset(fields, "Gatehouse-Cache-Control");
}

static void read_tags(gate_keep_t *k, const apr_table_t *fields)
{
    const char *names[] = { first_tags(&k->rule), k->rule.tags ? NULL : "Cache-Tag" };
    uint64_t *tags = apr_palloc(k->look.pool, GATE_TAGS_MAX * sizeof *tags);
    uint32_t n = 0;

    for (int i = 0; i < 2 && names[i]; i++) {
        n = gate_head_tags(k->look.store, gate_field(k->look.pool, fields, names[i]), tags, n);
    }
    k->parts.tags = tags;
    k->parts.tags_n = n;
}

/* ---- the end of a fetch -------------------------------------------------------------------------------------------------------- */

static void end_flight(gate_keep_t *k, gate_flight_e how)
{
    if (k->flight.place && k->flight.leader) {
        k->rule.ops->wake(gate_flight_end(k->look.store, &k->flight, how));
    }
}

static void note_passed(gate_keep_t *k, int64_t now_usec)
{
    gate_pass_note(k->look.store, k->look.flight_hash, now_usec);
    end_flight(k, GATE_FLIGHT_PASSED);
}

static void drop_fill(gate_keep_t *k, const char *why, int which)
{
    _Atomic uint32_t *growth;

    if (!k->storing) {
        return;
    }
    k->storing = 0;
    k->detail = why;
    count(k, GATE_COUNT_not_stored, 1);
    count(k, which, 1);
    growth = gate_store_growth(k->look.store, k->fill.body);
    gate_store_abort(k->look.store, &k->fill);
    k->rule.ops->wake(growth);
}

static int same_object(void *keep, const void *bytes, uint64_t len)
{
    const gate_keep_t *k = keep;
    gate_head_view_t head;

    return !gate_head_read(bytes, len, &head)
           || (gate_head_has_key(&head, &k->look.key) && head.head->vary_len == k->parts.vary_len
               && !memcmp(head.vary, k->parts.vary, k->parts.vary_len));
}

static gate_purged_e purged_since(const gate_keep_t *k)
{
    gate_purge_query_t query = { k->purge_seq, k->look.key.hash, k->look.key.url, k->parts.tags, k->parts.tags_n, 0 };

    return gate_purge_check(k->look.store, &query);
}

static int veto(void *keep)
{
    gate_keep_t *k = keep;
    gate_purged_e purged = purged_since(k);
    const void *head;

    if (purged == GATE_PURGE_SOFT && gate_store_piece(k->look.store, k->fill.head, 0, &head)) {
        atomic_store(&((gate_head_t *)(uintptr_t)head)->soft, 1);
    }
    return purged == GATE_PURGE_HARD;
}

static gate_store_e write_head(gate_keep_t *k)
{
    size_t len;
    void *head = gate_head_build(k->look.pool, &k->parts, &len);

    k->head_set = 1;
    return head ? gate_store_set_head(k->look.store, &k->fill, head, len) : GATE_STORE_TOO_BIG;
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
static void commit(gate_keep_t *k)
{
    gate_store_t *store = k->look.store;
    gate_ref_t head = k->fill.head;
    _Atomic uint32_t *growth = gate_store_growth(store, k->fill.body);
    gate_store_e rc = GATE_STORE_OK;

    if (k->fill.length != UINT64_MAX && k->fill.filled != k->fill.length) {
        drop_fill(k, "INCOMPLETE", GATE_COUNT_not_stored_broken); /* less than was announced */
        return;
    }
    if (!k->head_set) {
        k->parts.body_len = k->fill.filled;
        rc = write_head(k);
    }
    if (rc != GATE_STORE_OK) {
        drop_fill(k, word_of(rc), count_of(rc));
        return;
    }
    rc = gate_store_commit(store, &k->fill, same_object, veto, k);
    k->rule.ops->wake(growth);
    k->storing = 0;
    if (rc != GATE_STORE_OK) {
        count(k, GATE_COUNT_not_stored, 1);
        count(k, purged_since(k) == GATE_PURGE_HARD ? GATE_COUNT_not_stored_purged : GATE_COUNT_not_stored_broken, 1);
        return;
    }
    count(k, GATE_COUNT_stored, 1);
    count(k, GATE_COUNT_stored_bytes, k->fill.filled);
    if (!k->useless) {
        gate_pass_forget(store, k->look.flight_hash);
    }
    if (k->parts.compressible) {
        k->rule.ops->codings(k->rule.compress, k->look.key.hash, head);
    }
}

void gate_keep_end(gate_keep_t *k, int whole, int64_t now_usec)
{
    (void)now_usec;
    if (k->ended) {
        return;
    }
    k->ended = 1;
    if (k->storing && whole) {
        commit(k);
    }
    else {
        drop_fill(k, "INCOMPLETE", GATE_COUNT_not_stored_broken);
    }
    /* a fetch that failed: those who wait go on by themselves, all at once, rather than fail one after the other */
    end_flight(k, whole && !k->useless ? GATE_FLIGHT_STORED : GATE_FLIGHT_PASSED);
}

/* ---- the beginning: may it be stored? -------------------------------------------------------------------------------------------- */

static gate_when_t when_of(const gate_keep_t *k, const gate_said_t *said)
{
    return (gate_when_t){ k->request_wall, said->wall, said->now_usec };
}

/* RFC 9111, 3. */
static const char *refusal(const gate_keep_t *k, const gate_said_t *said, const gate_when_t *when)
{
    gate_storable_t x = { said->method, k->look.headers, said->status, said->fields, 0 };

    if (said->no_cache || said->head_only) {
        return said->no_cache ? "NO-CACHE" : "METHOD";
    }
    return gate_look_refusal(&k->look, &x, &k->rule.policy, when);
}

/* What is known about the object is put together; nothing is in the store yet. @return NULL, or why not */
static const char *prepare(gate_keep_t *k, const gate_said_t *said)
{
    static const char *const drop[] = { "Surrogate-Key", "Cache-Tag", "Gatehouse-Cache-Control", "Content-Length", NULL };
    gate_when_t when = when_of(k, said);
    const char *why = refusal(k, said, &when);
    apr_table_t *kept;

    if (why) {
        return why;
    }
    k->parts.vary = gate_look_vary(&k->look, said->fields, &k->parts.vary_len);
    gate_freshness_of(k->look.pool, said->status, said->fields, &k->rule.policy, &when, &k->fresh);
    kept = gate_head_keep(k->look.pool, said->fields, drop);
    apr_table_unset(kept, first_tags(&k->rule));
    k->parts.body_len = said->length;
    k->parts.key = &k->look.key;
    k->parts.status = said->status;
    k->parts.coding = gate_coding_of(apr_table_get(said->fields, "Content-Encoding"));
    k->parts.compressible = gate_keep_wants_variants(k->rule.compress, said->status, kept, k->parts.body_len);
    k->parts.fresh = &k->fresh;
    k->parts.purge_seq = k->purge_seq;
    k->parts.fields = kept;
    k->useless = gate_freshness_useless(&k->fresh);
    return NULL;
}

/* Others may read along from now on. */
static void flow(gate_keep_t *k, int64_t now_usec)
{
    uint32_t value;

    k->flowing = 1;
    if (k->flight.place && gate_flight_flow(k->look.store, &k->flight, k->fill.head, now_usec)) {
        k->rule.ops->wake(gate_flight_wait(k->look.store, &k->flight, &value));
    }
}

static void refused(gate_keep_t *k, gate_store_e rc, int64_t now_usec)
{
    if (k->storing) {
        drop_fill(k, word_of(rc), count_of(rc));
    }
    else {
        k->detail = word_of(rc);
        count(k, GATE_COUNT_not_stored, 1);
        count(k, count_of(rc), 1);
    }
    k->parts.compressible = 0;
    if (rc == GATE_STORE_TOO_BIG) {
        note_passed(k, now_usec);
    }
    else {
        end_flight(k, GATE_FLIGHT_PASSED);
    }
}

/* Opens the store for it. Where its length is known, its head is there at once. */
static void begin(gate_keep_t *k, int64_t now_usec)
{
    gate_store_e rc = gate_store_begin(k->look.store, k->look.key.hash, k->parts.body_len, &k->fill);

    k->storing = rc == GATE_STORE_OK;
    if (k->storing && k->parts.body_len != UINT64_MAX) {
        rc = write_head(k);
    }
    if (rc != GATE_STORE_OK) {
        refused(k, rc, now_usec);
        return;
    }
    if (k->parts.body_len != UINT64_MAX && !k->useless && k->flight.place) {
        flow(k, now_usec);
    }
    if (k->useless) {
        note_passed(k, now_usec);
    }
}

/* ---- the stored answer is still it ------------------------------------------------------------------------------------------------- */

/* The stored fields with the member's word put over them become the head of the object (RFC 9111, 3.2, 4.3.4). */
static void freshen(gate_keep_t *k, const gate_said_t *said)
{
    gate_when_t when = when_of(k, said);
    apr_table_t *stored = apr_table_make(k->look.pool, 24), *merged;
    gate_ref_t fresh_head;
    size_t len;
    void *bytes;

    gate_head_fields(&k->look.head, stored);
    merged = gate_head_merge(k->look.pool, stored, gate_head_keep(k->look.pool, said->fields, NULL));
    apr_table_unset(merged, "Surrogate-Key");
    apr_table_unset(merged, "Cache-Tag");
    gate_keep_drop_tags(&k->rule, merged);
    /* freshness is told by what was said to us, targeted fields too */
    gate_freshness_of(k->look.pool, k->look.head.head->status, gate_head_merge(k->look.pool, stored, said->fields), &k->rule.policy, &when,
                      &k->fresh);
    k->parts = (gate_head_parts_t){ .key = &k->look.key, .vary = k->look.head.vary, .vary_len = k->look.head.head->vary_len,
                                    .status = k->look.head.head->status, .coding = k->look.head.head->coding,
                                    .compressible = (int)k->look.head.head->compressible, .fresh = &k->fresh,
                                    .purge_seq = k->purge_seq, .body_len = k->look.head.head->body_len, .fields = merged,
                                    .tags = k->look.head.tags, .tags_n = k->look.head.head->tags_n };
    bytes = gate_head_build(k->look.pool, &k->parts, &len);
    if (!bytes) {
        return;
    }
    gate_head_read(bytes, len, &k->look.head);
    /* the old head stays held until the answer is on its way: its bodies are those of the new one */
    if (purged_since(k) == GATE_PURGE_NONE
        && gate_store_rehead(k->look.store, k->look.held.ref, bytes, len, veto, k, &fresh_head) == GATE_STORE_OK) {
        gate_pin_t pin;

        if (gate_store_pin(k->look.store, fresh_head, &pin)) {
            gate_store_unpin(k->look.store, &k->look.held);
            k->look.held = pin;
        }
    }
    k->useless = gate_freshness_useless(&k->fresh);
    if (k->useless) {
        gate_pass_note(k->look.store, k->look.flight_hash, said->now_usec);
    }
}

/* RFC 9111, 4.3.4: a 304 with another strong validator is about another answer. */
static int validators_fit(const apr_table_t *stored, const apr_table_t *update)
{
    const char *mine = apr_table_get(stored, "ETag"), *theirs = apr_table_get(update, "ETag");

    return !theirs || (mine && gate_etag_matches(theirs, mine, 0));
}

static gate_said_e validated(gate_keep_t *k, const gate_said_t *said)
{
    apr_table_t *stored = apr_table_make(k->look.pool, 24);

    k->member_status = said->status;
    gate_head_fields(&k->look.head, stored);
    if (said->status == NOT_MODIFIED) {
        if (!validators_fit(stored, said->fields)) {
            return GATE_SAID_AGAIN;
        }
        freshen(k, said);
        end_flight(k, k->useless ? GATE_FLIGHT_PASSED : GATE_FLIGHT_STORED);
        return GATE_SAID_STORED;
    }
    if (gate_stale_on_error(&k->look.head.head->fresh, &k->look.asked, said->status, said->now_usec)) {
        count(k, GATE_COUNT_stale_error, 1);
        k->detail = "STALE-IF-ERROR";
        end_flight(k, GATE_FLIGHT_PASSED);
        return GATE_SAID_STORED;
    }
    if (said->status == NOT_FOUND || said->status == GONE) {
        gate_store_remove(k->look.store, k->look.held.ref);
    }
    gate_look_drop(&k->look);
    return GATE_SAID_NEW;
}

void gate_keep_headed(gate_keep_t *k, const gate_said_t *said)
{
    static const char *const validators[] = { "ETag", "Last-Modified" };
    apr_table_t *stored = apr_table_make(k->look.pool, 24);
    int same = 1;

    if (said->status != OK_ || k->look.head.head->status != OK_) {
        return;
    }
    gate_head_fields(&k->look.head, stored);
    for (size_t i = 0; i < sizeof validators / sizeof *validators; i++) {
        const char *mine = apr_table_get(stored, validators[i]), *theirs = apr_table_get(said->fields, validators[i]);

        same &= !theirs || (mine && !strcmp(mine, theirs));
    }
    same &= said->length == UINT64_MAX || said->length == k->look.head.head->body_len;
    if (same) {
        freshen(k, said);
    }
    else {
        gate_store_remove(k->look.store, k->look.held.ref);
    }
    gate_look_drop(&k->look);
}

/* ---- the head, and the body ------------------------------------------------------------------------------------------------------------ */

gate_said_e gate_keep_said(gate_keep_t *k, const gate_said_t *said)
{
    const char *why;

    read_tags(k, said->fields);
    if (k->validating) {
        gate_said_e verdict = validated(k, said);

        if (verdict != GATE_SAID_NEW) {
            return verdict;
        }
    }
    why = prepare(k, said);
    if (why) {
        count(k, GATE_COUNT_not_stored, 1);
        note_passed(k, said->now_usec);
        k->detail = why;
    }
    else {
        begin(k, said->now_usec);
    }
    return GATE_SAID_NEW;
}

uint32_t gate_keep_followers(const gate_keep_t *k)
{
    return k->flowing ? gate_flight_followers(k->look.store, &k->flight) : 0;
}

void gate_keep_bytes(gate_keep_t *k, const void *bytes, size_t len, int64_t now_usec)
{
    gate_store_e rc;

    if (!k->storing) {
        return;
    }
    rc = gate_store_append(k->look.store, &k->fill, bytes, len);
    if (rc != GATE_STORE_OK) {
        drop_fill(k, word_of(rc), count_of(rc));
        if (rc == GATE_STORE_TOO_BIG) {
            note_passed(k, now_usec);
        }
        end_flight(k, GATE_FLIGHT_PASSED);
    }
    else if (k->flowing) {
        gate_flight_progress(k->look.store, &k->flight, now_usec);
        k->rule.ops->wake(gate_store_growth(k->look.store, k->fill.body));
    }
}

int gate_keep_failed(gate_keep_t *k, int status, int64_t now_usec)
{
    if (k->background || !k->look.head.head || !gate_stale_on_error(&k->look.head.head->fresh, &k->look.asked, status, now_usec)) {
        return 0;
    }
    k->detail = "STALE-IF-ERROR";
    count(k, GATE_COUNT_stale_error, 1);
    return 1;
}
