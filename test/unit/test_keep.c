/*
 * test_keep.c - who fetches, who waits, and what becomes of the member's answer: by a clock of the test's own, without server and threads.
 * RFC 9111, sections 3, 4.3.4, 4.3.5; RFC 5861.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_strings.h>

#include "keep.h"
#include "purge.h"
#include "store_world.h"

#define SECOND INT64_C(1000000)
#define DATE_TEXT "Tue, 14 Nov 2023 22:13:20 GMT"
#define WALL INT64_C(1700000000)  /* the same instant */
#define BODY "0123456789"

static store_world_t w;
static int64_t now;
static unsigned wakes, codings_asked;
static uint64_t counted[GATE_COUNT_TOTAL];

static void count(int which, uint64_t n)
{
    counted[which] += n;
}

static void wake(_Atomic uint32_t *word)
{
    wakes += word != NULL;
}

static void codings(const gate_compress_rule_t *rule, uint64_t hash, gate_ref_t head)
{
    assert_true(rule && hash && head);
    codings_asked++;
}

static const gate_keep_ops_t ops = { count, wake, codings };
static const char *const types[] = { "text/", NULL };
static const gate_compress_rule_t compress = { { -1, -1, -1 }, types, 4, 1 };

static int setup(void **state)
{
    (void)state;
    store_world_make(&w, 4 << 20, 256 << 10, 4);
    now = 5000 * SECOND;
    wakes = codings_asked = 0;
    memset(counted, 0, sizeof counted);
    return 0;
}

static int teardown(void **state)
{
    gate_store_stats_t stats;

    (void)state;
    gate_store_stats(w.store, &stats);
    assert_int_equal(stats.pins, 0);
    assert_int_equal(gate_flights(w.store), 0);
    assert_int_equal(store_faults(&w), 0);
    store_world_end(&w);
    return 0;
}

/* ---- requests and answers ------------------------------------------------------------------------------------------------------ */

/* A request for the one URL of this test. @param fields  name, value, .., NULL */
static gate_keep_t *ask(const char *const *fields)
{
    gate_keep_t *k = apr_pcalloc(w.pool, sizeof *k);
    apr_table_t *headers = apr_table_make(w.pool, 8);
    gate_spot_t spot = { .scheme = "http", .host = "example.com", .port = 80, .target = "/a", .server = "vhost", .handler = "proxy-server",
                         .file = "proxy:gate://app/a", .path_info = "", .args = "" };

    for (; fields && *fields; fields += 2) {
        apr_table_add(headers, fields[0], fields[1]);
    }
    k->look.store = w.store;
    k->look.pool = w.pool;
    k->look.headers = headers;
    k->look.rule = (gate_look_rule_t){ NULL, 0, 1, 0 };
    k->rule = (gate_keep_rule_t){ .ops = &ops, .wait_usec = 5 * SECOND, .policy = { -1, -1, -1, -1 } };
    k->arrived_usec = now;
    k->request_wall = WALL + (now - 5000 * SECOND) / SECOND;
    k->purge_seq = gate_purge_now(w.store);
    gate_look_asks(&k->look);
    assert_true(gate_look_key(&k->look, &spot));
    return k;
}

static gate_keep_t *plain(void)
{
    return ask(NULL);
}

static gate_step_e step(gate_keep_t *k)
{
    gate_ref_t head;

    return gate_keep_step(k, k->arrived_usec + 5 * SECOND, now, &head);
}

/* @param fields  name, value, .., NULL */
static gate_said_t answer(int status, uint64_t length, const char *const *fields)
{
    apr_table_t *t = apr_table_make(w.pool, 8);

    apr_table_set(t, "Date", DATE_TEXT);
    for (; fields && *fields; fields += 2) {
        apr_table_add(t, fields[0], fields[1]);
    }
    return (gate_said_t){ .method = "GET", .status = status, .fields = t, .length = length, .wall = WALL + (now - 5000 * SECOND) / SECOND,
                          .now_usec = now };
}

static const char *const fresh[] = { "Cache-Control", "max-age=60", "ETag", "\"one\"", "Content-Type", "text/css", NULL };

static gate_said_e say(gate_keep_t *k, int status, uint64_t length, const char *const *fields)
{
    gate_said_t said = answer(status, length, fields);

    return gate_keep_said(k, &said);
}

static void leave(gate_keep_t *k)
{
    gate_keep_end(k, 0, now);
    gate_keep_end(k, 1, now); /* may be repeated, whatever it says then */
    gate_keep_leave(k);
    gate_keep_leave(k);
    gate_look_drop(&k->look);
}

/* The member answers with BODY, and all of it comes. */
static void fetch(const char *const *fields)
{
    gate_keep_t *k = plain();

    assert_int_equal(step(k), GATE_STEP_ASK);
    assert_int_equal(say(k, 200, strlen(BODY), fields), GATE_SAID_NEW);
    assert_true(k->storing);
    gate_keep_bytes(k, BODY, strlen(BODY), now);
    gate_keep_end(k, 1, now);
    leave(k);
}

/* @return is there a body, and is it the one? */
static int is_stored(const char *text)
{
    gate_keep_t *k = plain();
    gate_body_t body = { .length = 0 };
    const void *data;
    int same = 0;

    if (gate_look_find(&k->look) && gate_look_body(&k->look, NULL, &body)) {
        same = body.length == strlen(text) && gate_store_piece(w.store, body.pin.ref, 0, &data) == body.length
               && !memcmp(data, text, (size_t)body.length);
    }
    gate_store_unpin(w.store, &body.pin);
    leave(k);
    return same;
}

static const char *stored_field(const char *name)
{
    gate_keep_t *k = plain();
    apr_table_t *t = apr_table_make(w.pool, 8);

    if (gate_look_find(&k->look)) {
        gate_head_fields(&k->look.head, t);
    }
    leave(k);
    return apr_table_get(t, name);
}

/* ---- one fetch for all ----------------------------------------------------------------------------------------------------------- */

static void one_leads_the_others_wait(void **state)
{
    gate_keep_t *leader = plain(), *follower = plain(), *late;
    uint32_t before;

    (void)state;
    assert_int_equal(step(leader), GATE_STEP_ASK);
    assert_true(leader->flight.place && leader->flight.leader);
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    assert_non_null(follower->wait_word);
    before = follower->wait_value;
    assert_int_equal(step(follower), GATE_STEP_WAIT); /* no news: nothing changes */
    assert_int_equal(say(leader, 200, UINT64_MAX, fresh), GATE_SAID_NEW);
    assert_true(leader->storing && !leader->flowing); /* its length is not known: nobody reads along */
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    gate_keep_bytes(leader, BODY, strlen(BODY), now);
    gate_keep_end(leader, 1, now);
    assert_int_not_equal(atomic_load(follower->wait_word), before);
    assert_true(wakes > 0);
    assert_int_equal(step(follower), GATE_STEP_ANSWER);
    assert_true(follower->collapsed);
    assert_string_equal(gate_keep_count_answer(follower, now), "collapsed");
    late = plain();
    assert_true(gate_look_find(&late->look));
    assert_string_equal(gate_keep_count_answer(late, now), "hit");
    assert_true(is_stored(BODY));
    assert_int_equal(counted[GATE_COUNT_stored], 1);
    assert_int_equal(counted[GATE_COUNT_stored_bytes], strlen(BODY));
    leave(leader);
    leave(follower);
    leave(late);
}

static void a_body_of_known_length_is_read_along(void **state)
{
    gate_keep_t *leader = plain(), *follower = plain();
    gate_pin_t body = { 0 };
    gate_ref_t head = 0;
    const void *data;

    (void)state;
    assert_int_equal(step(leader), GATE_STEP_ASK);
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    assert_int_equal(say(leader, 200, strlen(BODY), fresh), GATE_SAID_NEW);
    assert_true(leader->flowing);
    gate_keep_bytes(leader, BODY, 4, now);
    assert_int_equal(gate_keep_step(follower, now + SECOND, now, &head), GATE_STEP_FLOW);
    assert_true(gate_keep_flowing(follower, head, &body));
    assert_int_equal(gate_keep_followers(leader), 1);
    assert_int_equal(gate_store_piece(w.store, body.ref, 0, &data), 4);
    assert_memory_equal(data, BODY, 4);
    gate_keep_bytes(leader, &BODY[4], strlen(BODY) - 4, now);
    gate_keep_end(leader, 1, now);
    assert_int_equal(gate_store_piece(w.store, body.ref, 0, &data), strlen(BODY));
    gate_store_unpin(w.store, &body);
    leave(follower);
    leave(leader);
}

static void a_wait_has_an_end(void **state)
{
    gate_keep_t *leader = plain(), *follower = plain(), *next;

    (void)state;
    assert_int_equal(step(leader), GATE_STEP_ASK);
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    now += 5 * SECOND - 1;
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    now += 1;
    assert_int_equal(step(follower), GATE_STEP_ASK); /* alone */
    assert_int_equal(follower->flight.place, 0);
    assert_int_equal(counted[GATE_COUNT_wait_timeouts], 1);
    next = plain();
    assert_int_equal(step(next), GATE_STEP_ASK); /* nobody begins to wait for that one any more */
    leave(next);
    leave(follower);
    leave(leader);
}

static void who_waits_goes_on_when_the_fetch_fails(void **state)
{
    gate_keep_t *leader = plain(), *follower = plain();

    (void)state;
    assert_int_equal(step(leader), GATE_STEP_ASK);
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    gate_keep_end(leader, 0, now);
    assert_int_equal(step(follower), GATE_STEP_ASK);
    leave(follower);
    leave(leader);
    assert_false(is_stored(BODY));
}

/* Trap: a child that dies as leader takes the flight with it; the first of those who wait leads. */
static void a_leader_that_dies_is_followed_by_the_next(void **state)
{
    gate_store_t *dead = store_world_handle(&w, w.pool, 1);
    gate_keep_t *leader = plain(), *first = plain(), *second = plain();

    (void)state;
    leader->look.store = dead;
    assert_int_equal(step(leader), GATE_STEP_ASK);
    assert_int_equal(say(leader, 200, strlen(BODY), fresh), GATE_SAID_NEW);
    gate_keep_bytes(leader, BODY, 3, now);
    now += 2 * GATE_FLOW_STALL_USEC;
    assert_int_equal(step(first), GATE_STEP_WAIT);
    assert_int_equal(step(second), GATE_STEP_WAIT);
    gate_fill_sweep(w.store, 1, wake);
    gate_store_sweep(1, w.store);
    assert_int_equal(step(first), GATE_STEP_ASK);
    assert_true(first->flight.leader);
    assert_int_equal(step(second), GATE_STEP_WAIT);
    assert_int_equal(counted[GATE_COUNT_leader_lost], 1);
    assert_int_equal(say(first, 200, strlen(BODY), fresh), GATE_SAID_NEW);
    gate_keep_bytes(first, BODY, strlen(BODY), now);
    gate_keep_end(first, 1, now);
    assert_int_equal(step(second), GATE_STEP_ANSWER);
    leave(first);
    leave(second);
    assert_true(is_stored(BODY));
}

static void what_cannot_be_kept_is_waited_for_by_nobody(void **state)
{
    static const char *const no_store[] = { "Cache-Control", "no-store", NULL };
    gate_keep_t *leader = plain(), *follower = plain(), *next = plain(), *later;

    (void)state;
    assert_int_equal(step(leader), GATE_STEP_ASK);
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    assert_int_equal(say(leader, 200, strlen(BODY), no_store), GATE_SAID_NEW);
    assert_false(leader->storing);
    assert_string_equal(leader->detail, "NO-STORE");
    assert_int_equal(step(follower), GATE_STEP_ASK);
    assert_int_equal(step(next), GATE_STEP_ASK);
    assert_false(next->flight.place);
    leave(leader);
    leave(follower);
    leave(next);
    now += (GATE_PASS_SECONDS + 2) * SECOND;
    later = plain();
    assert_int_equal(step(later), GATE_STEP_ASK);
    assert_true(later->flight.leader); /* forgotten by now */
    leave(later);
}

/* What was fetched between our look and our claim is ours. */
static void who_is_late_looks_once_more(void **state)
{
    gate_keep_t *late = plain();

    (void)state;
    assert_false(gate_look_find(&late->look));
    fetch(fresh);
    assert_int_equal(step(late), GATE_STEP_ANSWER);
    assert_null(late->fwd);
    leave(late);
}

/* ---- what is kept ------------------------------------------------------------------------------------------------------------------ */

static void less_or_more_than_announced_is_never_whole(void **state)
{
    static const uint64_t lengths[] = { 11, 9 };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        gate_keep_t *k = plain();

        assert_int_equal(step(k), GATE_STEP_ASK);
        assert_int_equal(say(k, 200, lengths[i], fresh), GATE_SAID_NEW);
        gate_keep_bytes(k, BODY, strlen(BODY), now);
        gate_keep_end(k, 1, now);
        leave(k);
        assert_false(is_stored(BODY) || is_stored("012345678"));
    }
}

static void a_body_that_breaks_off_is_not_kept(void **state)
{
    gate_keep_t *k = plain();

    (void)state;
    assert_int_equal(step(k), GATE_STEP_ASK);
    assert_int_equal(say(k, 200, UINT64_MAX, fresh), GATE_SAID_NEW);
    gate_keep_bytes(k, BODY, strlen(BODY), now);
    gate_keep_end(k, 0, now);
    assert_string_equal(k->detail, "INCOMPLETE");
    assert_int_equal(counted[GATE_COUNT_not_stored_broken], 1);
    leave(k);
    assert_false(is_stored(BODY));
}

static void a_body_that_grows_too_large_is_let_go(void **state)
{
    static char piece[64 << 10];
    gate_keep_t *k = plain(), *follower = plain(), *big;

    (void)state;
    assert_int_equal(step(k), GATE_STEP_ASK);
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    assert_int_equal(say(k, 200, UINT64_MAX, fresh), GATE_SAID_NEW);
    for (int i = 0; i < 5; i++) {
        gate_keep_bytes(k, piece, sizeof piece, now);
    }
    assert_false(k->storing);
    assert_string_equal(k->detail, "TOO-BIG");
    assert_int_equal(step(follower), GATE_STEP_ASK); /* at once, not when it ends */
    assert_int_equal(counted[GATE_COUNT_not_stored_big], 1);
    leave(k);
    leave(follower);
    now += (GATE_PASS_SECONDS + 2) * SECOND;
    big = plain();
    assert_int_equal(step(big), GATE_STEP_ASK);
    assert_int_equal(say(big, 200, 1 << 20, fresh), GATE_SAID_NEW); /* one that says so is not begun */
    assert_false(big->storing);
    leave(big);
}

static void a_purge_stops_a_fetch_from_before(void **state)
{
    gate_keep_t *k = plain();

    (void)state;
    assert_int_equal(step(k), GATE_STEP_ASK);
    assert_int_equal(say(k, 200, strlen(BODY), fresh), GATE_SAID_NEW);
    gate_keep_bytes(k, BODY, strlen(BODY), now);
    gate_purge(w.store, GATE_PURGE_ALL, "", 0);
    gate_keep_end(k, 1, now);
    leave(k);
    assert_false(is_stored(BODY));
    assert_int_equal(counted[GATE_COUNT_not_stored_purged], 1);
    fetch(fresh);
    assert_true(is_stored(BODY));
}

static void tags_and_our_own_directives_are_not_kept(void **state)
{
    static const char *const tagged[] = { "Cache-Control", "no-store", "Gatehouse-Cache-Control", "max-age=60", "Surrogate-Key", "a b",
                                          "Cache-Tag", "c", "X-Stays", "1", NULL };

    (void)state;
    fetch(tagged);
    assert_string_equal(stored_field("X-Stays"), "1");
    assert_null(stored_field("Surrogate-Key"));
    assert_null(stored_field("Cache-Tag"));
    assert_null(stored_field("Gatehouse-Cache-Control"));
}

static void codings_are_asked_for_once_it_is_whole(void **state)
{
    gate_keep_t *k = plain();

    (void)state;
    k->rule.compress = &compress;
    assert_int_equal(step(k), GATE_STEP_ASK);
    assert_int_equal(say(k, 200, strlen(BODY), fresh), GATE_SAID_NEW);
    gate_keep_bytes(k, BODY, strlen(BODY), now);
    assert_int_equal(codings_asked, 0);
    gate_keep_end(k, 1, now);
    assert_int_equal(codings_asked, 1);
    leave(k);
}

static void which_answers_are_compressed(void **state)
{
    static const struct {
        int status, wants;
        uint64_t length;
        const char *type, *name, *value;
    } rows[] = {
        { 200, 1, 10, "text/css", NULL, NULL },          { 200, 1, UINT64_MAX, "text/css; charset=utf-8", NULL, NULL },
        { 200, 0, 3, "text/css", NULL, NULL },           { 404, 0, 10, "text/css", NULL, NULL },
        { 200, 0, 10, "image/png", NULL, NULL },         { 200, 0, 10, NULL, NULL, NULL },
        { 200, 0, 10, "text/css", "Content-MD5", "x" },  { 200, 0, 10, "text/css", "Content-Encoding", "gzip" },
        { 200, 0, 10, "text/css", "Cache-Control", "no-transform" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        apr_table_t *t = apr_table_make(w.pool, 4);

        if (rows[i].type) {
            apr_table_set(t, "Content-Type", rows[i].type);
        }
        if (rows[i].name) {
            apr_table_set(t, rows[i].name, rows[i].value);
        }
        assert_int_equal(gate_keep_wants_variants(&compress, rows[i].status, t, rows[i].length), rows[i].wants);
    }
    assert_false(gate_keep_wants_variants(NULL, 200, apr_table_make(w.pool, 1), 10));
}

/* ---- validation (4.3) ---------------------------------------------------------------------------------------------------------------- */

/* One whose look holds the stored answer, which is stale by now. */
static gate_keep_t *stale_one(const char *const *fields)
{
    gate_keep_t *k = ask(fields);

    assert_true(gate_look_find(&k->look));
    k->fwd = "stale";
    assert_int_equal(gate_freshness_judge(&k->look.head.head->fresh, &k->look.asked, 0, now), GATE_VALIDATE);
    return k;
}

static void the_member_is_asked_for_all_of_it(void **state)
{
    static const char *const wants[] = { "Range", "bytes=0-1", "If-Range", "\"x\"", "If-None-Match", "\"x\"", "If-Modified-Since", DATE_TEXT,
                                         "Accept-Encoding", "br;q=0.9, gzip, zstd", "X-Other", "1", NULL };
    gate_keep_t *k = ask(wants);
    const apr_table_t *asked = gate_keep_asked(k, w.pool, 0);

    (void)state;
    assert_false(k->validating);
    assert_null(apr_table_get(asked, "Range"));
    assert_null(apr_table_get(asked, "If-Range"));
    assert_null(apr_table_get(asked, "If-None-Match"));
    assert_null(apr_table_get(asked, "If-Modified-Since"));
    assert_string_equal(apr_table_get(asked, "X-Other"), "1");
    assert_null(strstr(apr_table_get(asked, "Accept-Encoding"), "zstd"));
    assert_string_equal(apr_table_get(k->look.headers, "Range"), "bytes=0-1"); /* the client's own stay */
    leave(k);
    fetch(fresh);
    now += 100 * SECOND;
    k = stale_one(wants);
    assert_string_equal(apr_table_get(gate_keep_asked(k, w.pool, 0), "If-None-Match"), "\"one\"");
    assert_true(k->validating);
    assert_null(apr_table_get(gate_keep_asked(k, w.pool, 1), "If-None-Match"));
    assert_false(k->validating);
    leave(k);
}

static void a_304_makes_it_fresh(void **state)
{
    static const char *const update[] = { "Cache-Control", "max-age=900", "ETag", "\"one\"", "X-New", "yes", "Content-Type", "text/wrong", NULL };
    gate_keep_t *k, *follower;

    (void)state;
    fetch(fresh);
    now += 100 * SECOND;
    k = stale_one(NULL);
    follower = stale_one(NULL);
    assert_int_equal(step(k), GATE_STEP_ASK);
    assert_int_equal(step(follower), GATE_STEP_WAIT);
    gate_keep_asked(k, w.pool, 0);
    assert_int_equal(say(k, 304, 0, update), GATE_SAID_STORED);
    assert_string_equal(gate_keep_count_answer(k, now), "revalidated");
    assert_int_equal(step(follower), GATE_STEP_ANSWER);
    leave(k);
    leave(follower);
    assert_string_equal(stored_field("X-New"), "yes");
    assert_string_equal(stored_field("Content-Type"), "text/css"); /* what describes the bytes stays */
    assert_true(is_stored(BODY));
}

static void a_304_about_something_else_is_asked_again(void **state)
{
    static const char *const other[] = { "ETag", "\"two\"", NULL };
    gate_keep_t *k;

    (void)state;
    fetch(fresh);
    now += 100 * SECOND;
    k = stale_one(NULL);
    assert_int_equal(step(k), GATE_STEP_ASK);
    gate_keep_asked(k, w.pool, 0);
    assert_int_equal(say(k, 304, 0, other), GATE_SAID_AGAIN);
    gate_keep_asked(k, w.pool, 1);
    assert_int_equal(say(k, 200, 3, fresh), GATE_SAID_NEW);
    gate_keep_bytes(k, "new", 3, now);
    gate_keep_end(k, 1, now);
    leave(k);
    assert_true(is_stored("new"));
}

static void what_is_gone_is_forgotten(void **state)
{
    gate_keep_t *k;

    (void)state;
    fetch(fresh);
    now += 100 * SECOND;
    k = stale_one(NULL);
    assert_int_equal(step(k), GATE_STEP_ASK);
    gate_keep_asked(k, w.pool, 0);
    assert_int_equal(say(k, 410, 0, NULL), GATE_SAID_NEW);
    leave(k);
    assert_false(is_stored(BODY));
}

/* RFC 5861, 4 */
static void errors_of_the_member_and_ours(void **state)
{
    static const char *const lenient[] = { "Cache-Control", "max-age=60, stale-if-error=1000", "ETag", "\"one\"", NULL };
    gate_keep_t *k;

    (void)state;
    fetch(lenient);
    now += 100 * SECOND;
    k = stale_one(NULL);
    gate_keep_asked(k, w.pool, 0);
    assert_int_equal(say(k, 503, 0, NULL), GATE_SAID_STORED);
    assert_string_equal(k->detail, "STALE-IF-ERROR");
    leave(k);
    k = stale_one(NULL);
    assert_true(gate_keep_failed(k, 502, now));
    leave(k);
    k = stale_one(NULL);
    gate_keep_asked(k, w.pool, 0);
    assert_int_equal(say(k, 404, 0, NULL), GATE_SAID_NEW); /* not an error in this sense */
    leave(k);
    fetch(lenient);
    now += 2000 * SECOND;
    k = stale_one(NULL);
    assert_false(gate_keep_failed(k, 502, now));
    gate_keep_asked(k, w.pool, 0);
    assert_int_equal(say(k, 503, 0, NULL), GATE_SAID_NEW);
    assert_false(k->storing);
    leave(k);
}

/* 4.3.5 */
static void head_tells_whether_it_is_still_it(void **state)
{
    static const char *const same[] = { "ETag", "\"one\"", "Cache-Control", "max-age=500", NULL };
    static const char *const other[] = { "ETag", "\"two\"", "Cache-Control", "max-age=500", NULL };
    gate_keep_t *k;
    gate_said_t said;

    (void)state;
    fetch(fresh);
    now += 100 * SECOND;
    k = stale_one(NULL);
    said = answer(200, strlen(BODY), same);
    gate_keep_headed(k, &said);
    leave(k);
    assert_string_equal(stored_field("Cache-Control"), "max-age=500");
    k = plain();
    assert_true(gate_look_find(&k->look));
    said = answer(200, strlen(BODY) + 1, same);
    gate_keep_headed(k, &said);
    leave(k);
    assert_false(is_stored(BODY));
    fetch(fresh);
    k = plain();
    assert_true(gate_look_find(&k->look));
    said = answer(200, UINT64_MAX, other);
    gate_keep_headed(k, &said);
    leave(k);
    assert_false(is_stored(BODY));
}

/* ---- behind the client's back (RFC 5861, 3) ------------------------------------------------------------------------------------------ */

static void one_refresh_at_a_time(void **state)
{
    static const char *const swr[] = { "Cache-Control", "max-age=60, stale-while-revalidate=1000", "ETag", "\"one\"", NULL };
    gate_keep_t *k, *second, *background;
    gate_seat_on_t flight, none;

    (void)state;
    fetch(swr);
    now += 100 * SECOND;
    k = plain();
    second = plain();
    assert_true(gate_look_find(&k->look) && gate_look_find(&second->look));
    assert_string_equal(gate_keep_count_answer(k, now), "stale");
    assert_true(gate_keep_claim_refresh(k, now, &flight));
    assert_false(gate_keep_claim_refresh(second, now, &none));
    background = plain();
    background->background = 1;
    background->flight = flight;
    assert_true(gate_keep_begin_refresh(background, now));
    gate_keep_asked(background, w.pool, 0);
    assert_false(gate_keep_failed(background, 502, now)); /* nobody is there to get something stale */
    gate_keep_end_refresh(background, 0, now);
    assert_int_equal(counted[GATE_COUNT_refresh_failed], 1);
    leave(background);
    assert_false(gate_keep_claim_refresh(second, now, &none)); /* not again at once */
    now += 2 * SECOND;
    assert_true(gate_keep_claim_refresh(second, now, &flight));
    gate_keep_unclaim_refresh(second, &flight);
    assert_true(gate_keep_claim_refresh(second, now, &flight));
    background = plain();
    background->background = 1;
    background->flight = flight;
    assert_true(gate_keep_begin_refresh(background, now));
    gate_keep_asked(background, w.pool, 0);
    assert_int_equal(say(background, 304, 0, swr), GATE_SAID_STORED);
    gate_keep_end_refresh(background, 1, now);
    assert_int_equal(counted[GATE_COUNT_refreshed], 1);
    leave(background);
    leave(k);
    leave(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_leads_the_others_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_of_known_length_is_read_along, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wait_has_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_goes_on_when_the_fetch_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leader_that_dies_is_followed_by_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_kept_is_waited_for_by_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_late_looks_once_more, setup, teardown),
        cmocka_unit_test_setup_teardown(less_or_more_than_announced_is_never_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_breaks_off_is_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_grows_too_large_is_let_go, setup, teardown),
        cmocka_unit_test_setup_teardown(a_purge_stops_a_fetch_from_before, setup, teardown),
        cmocka_unit_test_setup_teardown(tags_and_our_own_directives_are_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(codings_are_asked_for_once_it_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(which_answers_are_compressed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_member_is_asked_for_all_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_304_makes_it_fresh, setup, teardown),
        cmocka_unit_test_setup_teardown(a_304_about_something_else_is_asked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_gone_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_of_the_member_and_ours, setup, teardown),
        cmocka_unit_test_setup_teardown(head_tells_whether_it_is_still_it, setup, teardown),
        cmocka_unit_test_setup_teardown(one_refresh_at_a_time, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
