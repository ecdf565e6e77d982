/*
 * test_desk.c - the cache's answers for event loops: what is remembered is what a look in full would find, whatever happens to the store.
 */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_strings.h>

#include "desk.h"
#include "fill.h"
#include "store_world.h"

#define NOW (INT64_C(5000) * 1000000)
#define DATE_TEXT "Tue, 14 Nov 2023 22:13:20 GMT"
#define HEAD_BEGIN "HTTP/1.1 200 OK\r\nDate: " DATE_TEXT "\r\nServer: banner/1\r\n"

static store_world_t w;
static gate_cache_desk_t *desk;
static gate_cache_place_t place;
static apr_table_t *request;
static gate_view_t view;
static unsigned codings_asked;
static gate_cache_pass_t passing;

static const char *status_line(int status)
{
    return status == 200 ? "200 OK" : status == 404 ? "404 Not Found" : "???";
}

static void codings(const gate_cache_place_t *p, uint64_t hash, gate_ref_t head)
{
    assert_ptr_equal(p, &place);
    assert_true(hash && head);
    codings_asked++;
}

static const gate_desk_ops_t ops = { "banner/1", status_line, codings };

static int setup(void **state)
{
    (void)state;
    store_world_make(&w, 4 << 20, 256 << 10, 4);
    desk = gate_desk_create(w.pool, w.store, &ops, GATE_DESK_ENTRIES);
    place = (gate_cache_place_t){ .rule = { NULL, 0, 1, 0 }, .server = "vhost", .handler = "proxy-server", .base = "proxy:gate://app" };
    request = apr_table_make(w.pool, 8);
    view = (gate_view_t){ .method = "GET", .scheme = "http", .host = "example.com", .port = 80, .path = "/" };
    codings_asked = 0;
    return 0;
}

static int teardown(void **state)
{
    gate_store_stats_t stats;

    (void)state;
    gate_store_stats(w.store, &stats);
    assert_int_equal(stats.pins, 0);
    assert_int_equal(store_faults(&w), 0);
    store_world_end(&w);
    return 0;
}

/* ---- what is stored --------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *target, *vary_name, *vary_value, *odd, *body, *etag;
    int64_t lifetime;
    int compressible, status, coding;
    const char *extra;            /* name and value of one more field */
} object_t;

static gate_key_t key_of(const object_t *o)
{
    gate_key_t key;

    key.url = apr_pstrcat(w.pool, "http://example.com:80", o->target, NULL);
    key.url_len = strlen(key.url);
    key.route = apr_pstrcat(w.pool, "vhost\nproxy-server\nproxy:gate://app", o->target, "\n\n", o->odd ? "\nX-Forwarded-Proto=" : "",
                            o->odd, NULL);
    key.route_len = strlen(key.route);
    key.hash = gate_store_hash(w.store, key.url, key.url_len);
    return key;
}

/* Replaced is what has the same key and the same Vary. */
typedef struct {
    gate_key_t key;
    const char *vary;
    size_t vary_len;
} same_t;

static int same(void *ctx, const void *bytes, uint64_t len)
{
    const same_t *s = ctx;
    gate_head_view_t head;

    return gate_head_read(bytes, len, &head) && gate_head_has_key(&head, &s->key) && head.head->vary_len == s->vary_len
           && (!s->vary_len || !memcmp(head.vary, s->vary, s->vary_len));
}

static gate_ref_t put(const object_t *o)
{
    same_t s = { .key = key_of(o) };
    gate_freshness_t fresh = { .lifetime = o->lifetime ? o->lifetime : 60, .received_usec = NOW, .date = 1700000000 };
    gate_head_parts_t parts = { .status = o->status ? o->status : 200, .compressible = o->compressible, .coding = o->coding,
                                .fresh = &fresh, .body_len = strlen(o->body), .fields = apr_table_make(w.pool, 8) };
    apr_table_t *fields = apr_table_make(w.pool, 8);
    gate_fill_t fill;
    gate_ref_t ref;
    size_t len;
    void *head;

    if (o->vary_name) {
        s.vary_len = strlen(o->vary_name) + strlen(o->vary_value) + 2;
        char *both = apr_pcalloc(w.pool, s.vary_len);
        strcpy(both, o->vary_name);
        strcpy(both + strlen(o->vary_name) + 1, o->vary_value);
        s.vary = both;
    }
    apr_table_setn(fields, "Content-Type", "text/plain");
    apr_table_setn(fields, "Date", DATE_TEXT);
    if (o->etag) {
        apr_table_setn(fields, "ETag", o->etag);
    }
    if (o->extra) {
        apr_table_addn(fields, o->extra, o->extra + strlen(o->extra) + 1);
    }
    parts.fields = fields;
    parts.key = &s.key;
    parts.vary = s.vary;
    parts.vary_len = s.vary_len;
    head = gate_head_build(w.pool, &parts, &len);
    assert_int_equal(gate_store_begin(w.store, s.key.hash, parts.body_len, &fill), GATE_STORE_OK);
    ref = fill.head;
    assert_int_equal(gate_store_set_head(w.store, &fill, head, len), GATE_STORE_OK);
    assert_int_equal(gate_store_append(w.store, &fill, o->body, strlen(o->body)), GATE_STORE_OK);
    assert_int_equal(gate_store_commit(w.store, &fill, same, store_never, &s), GATE_STORE_OK);
    return ref;
}

/* ---- what is asked ------------------------------------------------------------------------------------------------------------ */

static const apr_table_t *headers_of(void *ctx, apr_pool_t *p)
{
    (void)ctx, (void)p;
    return request;
}

static const gate_view_t *view_of(void *ctx)
{
    (void)ctx;
    return &view;
}

static gate_cache_text_t text(const char *s)
{
    return (gate_cache_text_t){ s, s ? (uint32_t)strlen(s) : 0 };
}

static gate_cache_ask_t ask_for(const char *target)
{
    gate_cache_ask_t ask = { .place = &place, .local_port = 80, .host = text("example.com"), .target = text(target),
                             .file = text(target), .encoding = text(apr_table_get(request, "Accept-Encoding")),
                             .control = text(apr_table_get(request, "Cache-Control")),
                             .none_match = text(apr_table_get(request, "If-None-Match")),
                             .modified_since = text(apr_table_get(request, "If-Modified-Since")), .headers = headers_of,
                             .view = view_of };
    const char *odd = apr_table_get(request, "X-Forwarded-Proto");

    if (odd) {
        ask.odd[0] = text("X-Forwarded-Proto");
        ask.odd[1] = text(odd);
        ask.odd_n = 2;
    }
    return ask;
}

typedef struct {
    gate_cache_e how;
    int status, coded;
    char head[2048], body[256];
} got_t;

static void collect(const gate_cache_hit_t *hit, got_t *got)
{
    const char *data;
    uint64_t at = 0, n;

    got->status = hit->status;
    got->coded = hit->coded;
    memcpy(got->head, hit->head, hit->head_len);
    got->head[hit->head_len] = '\0';
    while ((n = gate_desk_piece(w.store, hit, at, &data)) > 0) {
        memcpy(got->body + at, data, n);
        at += n;
    }
    got->body[at] = '\0';
}

static got_t ask_at(gate_cache_desk_t *d, const char *target, int head_only, int64_t now_usec)
{
    gate_cache_ask_t ask = ask_for(target);
    gate_cache_hit_t hit;
    got_t got = { 0 };

    ask.head_only = head_only;
    got.how = gate_desk_look(d, &ask, now_usec, &hit, &passing);
    if (got.how == GATE_CACHE_HIT) {
        collect(&hit, &got);
        gate_desk_done(w.store, &hit);
        gate_desk_done(w.store, &hit);
    }
    return got;
}

static got_t get(const char *target)
{
    return ask_at(desk, target, 0, NOW);
}

/* ---- tests -------------------------------------------------------------------------------------------------------------------- */

static void test_a_hit_has_its_head_and_body(void **state)
{
    object_t o = { .target = "/a", .body = "hello", .etag = "\"1\"" };
    got_t got;

    (void)state;
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
    put(&o);
    got = ask_at(desk, "/a", 0, NOW + 7000000);
    assert_int_equal(got.how, GATE_CACHE_HIT);
    assert_string_equal(got.head, HEAD_BEGIN "Content-Type: text/plain\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nAge: 7\r\n"
                                             "Cache-Status: gatehouse; hit; ttl=53\r\nContent-Length: 5\r\n");
    assert_string_equal(got.body, "hello");
    assert_int_equal(get("/b").how, GATE_CACHE_MISS);
}

static void test_the_second_look_is_remembered_and_ages(void **state)
{
    object_t o = { .target = "/a", .body = "hello" };
    got_t got;

    (void)state;
    put(&o);
    get("/a");
    got = ask_at(desk, "/a", 0, NOW + INT64_C(59) * 1000000);
    assert_int_equal(gate_desk_counts(desk).full, 1);
    assert_int_equal(gate_desk_counts(desk).remembered, 1);
    assert_non_null(strstr(got.head, "\r\nAge: 59\r\nCache-Status: gatehouse; hit; ttl=1\r\n"));
    assert_string_equal(got.body, "hello");
    assert_int_equal(ask_at(desk, "/a", 0, NOW + INT64_C(60) * 1000000).how, GATE_CACHE_MISS);
}

static void test_a_change_elsewhere_costs_a_search(void **state)
{
    object_t o = { .target = "/a", .body = "hello" }, other = { .target = "/b", .body = "other" };

    (void)state;
    put(&o);
    get("/a");
    put(&other);
    assert_string_equal(get("/a").body, "hello");
    assert_int_equal(gate_desk_counts(desk).searched, 1);
    get("/a");
    assert_int_equal(gate_desk_counts(desk).remembered, 1);
    assert_int_equal(gate_desk_counts(desk).full, 1);
}

static void test_what_took_its_place_is_given(void **state)
{
    object_t o = { .target = "/a", .body = "one" };

    (void)state;
    put(&o);
    assert_string_equal(get("/a").body, "one");
    o.body = "two";
    put(&o);
    assert_string_equal(get("/a").body, "two");
}

static int all(void *ctx, uint64_t hash, void *head, uint64_t len)
{
    (void)ctx, (void)hash, (void)head, (void)len;
    return 1;
}

static int soften(void *ctx, uint64_t hash, void *head, uint64_t len)
{
    (void)ctx, (void)hash, (void)len;
    atomic_store(&((gate_head_t *)head)->soft, 1);
    return 0;
}

static void test_what_was_purged_is_not_given(void **state)
{
    object_t o = { .target = "/a", .body = "one" };

    (void)state;
    put(&o);
    assert_int_equal(get("/a").how, GATE_CACHE_HIT);
    gate_store_walk(w.store, soften, NULL);
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
    put(&o);
    assert_int_equal(get("/a").how, GATE_CACHE_HIT);
    gate_store_walk_hash(w.store, key_of(&o).hash, all, NULL);
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
}

static void test_conditions(void **state)
{
    object_t o = { .target = "/a", .body = "one", .etag = "\"x\"", .extra = "Last-Modified\0" DATE_TEXT };
    gate_store_stats_t stats;
    gate_cache_ask_t ask;
    gate_cache_hit_t hit;
    got_t got;

    (void)state;
    put(&o);
    apr_table_setn(request, "If-None-Match", "\"y\", W/\"x\"");
    got = get("/a");
    assert_int_equal(got.status, 304);
    assert_string_equal(got.head, "HTTP/1.1 304 Not Modified\r\nDate: " DATE_TEXT "\r\nServer: banner/1\r\nContent-Type: text/plain\r\n"
                                  "ETag: \"x\"\r\nLast-Modified: " DATE_TEXT "\r\nAccept-Ranges: bytes\r\nAge: 0\r\n"
                                  "Cache-Status: gatehouse; hit; ttl=60\r\n");
    assert_string_equal(got.body, "");
    ask = ask_for("/a");
    assert_int_equal(gate_desk_look(desk, &ask, NOW, &hit, &passing), GATE_CACHE_HIT);
    gate_store_stats(w.store, &stats);
    assert_int_equal(stats.pins, 0);
    assert_int_equal(hit.line_len, strlen("HTTP/1.1 304 Not Modified\r\n"));
    assert_memory_equal(hit.head + hit.fields_at, "Content-Type:", 13);
    apr_table_setn(request, "If-None-Match", "\"y\"");
    assert_int_equal(get("/a").status, 200);
    apr_table_setn(request, "If-Modified-Since", DATE_TEXT);
    assert_int_equal(get("/a").status, 200); /* RFC 9110, 13.1.3: If-None-Match counts */
    apr_table_unset(request, "If-None-Match");
    assert_int_equal(get("/a").status, 304);
}

static void test_what_the_request_asks_of_caches(void **state)
{
    object_t o = { .target = "/a", .body = "one" };

    (void)state;
    put(&o);
    assert_int_equal(get("/a").how, GATE_CACHE_HIT);
    apr_table_setn(request, "Cache-Control", "no-cache");
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
    apr_table_setn(request, "Cache-Control", "max-age=5");
    assert_int_equal(get("/a").how, GATE_CACHE_HIT);
    assert_int_equal(ask_at(desk, "/a", 0, NOW + 6000000).how, GATE_CACHE_MISS);
    apr_table_setn(request, "Cache-Control", "max-age=0");
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
    place.rule.reload = 0; /* client-reload=off */
    assert_int_equal(get("/a").how, GATE_CACHE_HIT);
}

static void test_codings(void **state)
{
    object_t o = { .target = "/a", .body = "identity", .etag = "\"x\"", .compressible = 1, .extra = "Vary\0Origin, Accept-Encoding" };
    gate_ref_t head;
    got_t got;

    (void)state;
    place.rule.variants = 1;
    head = put(&o);
    apr_table_setn(request, "Accept-Encoding", "gzip, br");
    got = get("/a");
    assert_string_equal(got.body, "identity");
    assert_int_equal(got.coded, 1);
    assert_int_equal(codings_asked, 1);
    get("/a");
    assert_int_equal(codings_asked, 1);
    ask_at(desk, "/a", 0, NOW + 1000000);
    assert_int_equal(codings_asked, 2);
    assert_int_equal(gate_store_add_body(w.store, head, GATE_CODING_BR, "br", 2), GATE_STORE_OK);
    got = get("/a");
    assert_string_equal(got.body, "br");
    assert_non_null(strstr(got.head, "ETag: \"x--br\"\r\nVary: Origin,Accept-Encoding\r\nContent-Encoding: br\r\nAccept-Ranges: bytes\r\n"));
    assert_non_null(strstr(got.head, "ttl=60\r\nContent-Length: 2\r\n"));
    /* who has the identity one is told that it is still good */
    apr_table_setn(request, "If-None-Match", "\"x\"");
    got = get("/a");
    assert_int_equal(got.status, 304);
    assert_non_null(strstr(got.head, "ETag: \"x\"\r\n"));
    apr_table_setn(request, "If-None-Match", "\"x--br\"");
    assert_non_null(strstr(get("/a").head, "ETag: \"x--br\"\r\n"));
    apr_table_unset(request, "If-None-Match");
    assert_string_equal(get("/a").body, "br");
    apr_table_setn(request, "Accept-Encoding", "gzip");
    assert_string_equal(get("/a").body, "identity");
    /* RFC 9111, 5.2.1.6; what is remembered of that look is for those too who do not say it */
    apr_table_setn(request, "Accept-Encoding", "br;q=0.9");
    apr_table_setn(request, "Cache-Control", "no-transform");
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
    apr_table_unset(request, "Cache-Control");
    assert_string_equal(get("/a").body, "br");
}

static void test_vary_is_judged_for_each(void **state)
{
    object_t de = { .target = "/a", .body = "hallo", .vary_name = "accept-language", .vary_value = "de" };
    object_t en = { .target = "/a", .body = "hello", .vary_name = "accept-language", .vary_value = "en" };

    (void)state;
    put(&de);
    put(&en);
    for (int i = 0; i < 3; i++) {
        apr_table_setn(request, "Accept-Language", "de");
        assert_string_equal(get("/a").body, "hallo");
        apr_table_setn(request, "Accept-Language", "en");
        assert_string_equal(get("/a").body, "hello");
        apr_table_setn(request, "Accept-Language", "fr");
        assert_int_equal(get("/a").how, GATE_CACHE_MISS);
    }
    assert_int_equal(gate_desk_counts(desk).remembered, 0);
}

static void test_vary_by_encoding_alone_is_remembered(void **state)
{
    object_t plain = { .target = "/a", .body = "plain", .vary_name = "accept-encoding", .vary_value = "identity" };
    object_t gz = { .target = "/a", .body = "gz", .vary_name = "accept-encoding", .vary_value = "gzip", .coding = GATE_CODING_GZIP,
                    .extra = "Content-Encoding\0gzip" };
    object_t other = { .target = "/b", .body = "other" };

    (void)state;
    put(&plain);
    put(&gz);
    for (int i = 0; i < 3; i++) {
        apr_table_setn(request, "Accept-Encoding", "gzip");
        assert_string_equal(get("/a").body, "gz");
        apr_table_unset(request, "Accept-Encoding");
        assert_string_equal(get("/a").body, "plain");
        put(&other);
    }
    assert_int_equal(gate_desk_counts(desk).full, 2);
    assert_int_equal(gate_desk_counts(desk).searched, 4);
    apr_table_setn(request, "Accept-Encoding", "br");
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
}

static void test_fields_outside_of_keys_part_answers(void **state)
{
    object_t o = { .target = "/a", .body = "http" }, s = { .target = "/a", .body = "https", .odd = "https" };

    (void)state;
    put(&o);
    put(&s);
    assert_string_equal(get("/a").body, "http");
    apr_table_setn(request, "X-Forwarded-Proto", "https");
    assert_string_equal(get("/a").body, "https");
    apr_table_setn(request, "X-Forwarded-Proto", "gopher");
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
    assert_true(gate_unkeyed("x-forwarded-HOST", 16));
    assert_true(gate_unkeyed("Forwarded", 9));
    assert_false(gate_unkeyed("Forwarded-", 10));
    assert_false(gate_unkeyed("X-Forwarded-For", 15));
    assert_false(gate_unkeyed("", 0));
}

static void test_head_holds_nothing(void **state)
{
    object_t o = { .target = "/a", .body = "hello" }, empty = { .target = "/empty", .body = "" };
    gate_cache_ask_t ask = ask_for("/a");
    gate_store_stats_t stats;
    gate_cache_hit_t hit;

    (void)state;
    put(&o);
    put(&empty);
    ask.head_only = 1;
    assert_int_equal(gate_desk_look(desk, &ask, NOW, &hit, &passing), GATE_CACHE_HIT);
    gate_store_stats(w.store, &stats);
    assert_int_equal(stats.pins, 0);
    assert_non_null(strstr(ask_at(desk, "/a", 1, NOW).head, "Content-Length: 5\r\n"));
    assert_null(strstr(ask_at(desk, "/empty", 1, NOW).head, "Content-Length"));
    assert_non_null(strstr(ask_at(desk, "/empty", 0, NOW).head, "Content-Length: 0\r\n"));
}

static void test_what_is_not_answered_here(void **state)
{
    object_t o = { .target = "/500", .body = "x", .status = 500 };
    char long_target[3000];

    (void)state;
    put(&o);
    assert_int_equal(get("/500").how, GATE_CACHE_CLASSIC);
    o.target = "/404";
    o.status = 404;
    put(&o);
    assert_int_equal(get("/404").status, 404);
    memset(long_target, 'a', sizeof long_target);
    long_target[0] = '/';
    long_target[sizeof long_target - 1] = '\0';
    assert_int_equal(get(long_target).how, GATE_CACHE_CLASSIC);
    place.classic = "a rule";
    assert_int_equal(get("/404").how, GATE_CACHE_CLASSIC);
}

static void test_what_passes_by(void **state)
{
    object_t o = { .target = "/a", .body = "kept", .lifetime = 60 }, other = { .target = "/b", .body = "other" };
    gate_key_t key = key_of(&o);
    uint64_t flight = key.hash ^ gate_store_hash(w.store, key.route, key.route_len);
    uint64_t full;

    (void)state;
    assert_int_equal(get("/a").how, GATE_CACHE_MISS);
    gate_pass_note(w.store, flight, NOW);
    apr_table_setn(request, "Accept-Encoding", "gzip;q=0.5, br, x");
    assert_int_equal(get("/a").how, GATE_CACHE_PASS);
    assert_string_equal(passing.encoding, "br, gzip");
    assert_true(passing.flight == flight);
    full = gate_desk_counts(desk).full;
    assert_int_equal(get("/a").how, GATE_CACHE_PASS);
    put(&other);
    assert_int_equal(get("/a").how, GATE_CACHE_PASS);
    assert_int_equal(gate_desk_counts(desk).full, full);
    assert_int_equal(get("/b").how, GATE_CACHE_HIT);
    assert_int_equal(get("/c").how, GATE_CACHE_MISS);
    /* what may end otherwise is not for here */
    assert_int_equal(ask_at(desk, "/a", 1, NOW).how, GATE_CACHE_CLASSIC);
    apr_table_setn(request, "If-None-Match", "\"x\"");
    assert_int_equal(get("/a").how, GATE_CACHE_CLASSIC);
    apr_table_unset(request, "If-None-Match");
    apr_table_setn(request, "Cache-Control", "only-if-cached");
    assert_int_equal(get("/a").how, GATE_CACHE_CLASSIC);
    apr_table_setn(request, "Cache-Control", "no-store");
    assert_int_equal(get("/a").how, GATE_CACHE_CLASSIC);
    apr_table_unset(request, "Cache-Control");
    assert_int_equal(ask_at(desk, "/a", 0, NOW + INT64_C(3600) * 1000000).how, GATE_CACHE_MISS);
    /* once something is stored it is given */
    put(&o);
    assert_string_equal(get("/a").body, "kept");
    gate_store_walk_hash(w.store, key.hash, all, NULL);
    place.rule.variants = 1;
    assert_int_equal(get("/a").how, GATE_CACHE_PASS);
    assert_string_equal(passing.encoding, "identity");
}

/* Many requests and changes: a desk that remembers says what one says that has just been made. */
static void test_memory_never_differs(void **state)
{
    static const char *const targets[] = { "/1", "/2", "/3", "/4", "/5", "/6" };
    static const char *const encodings[] = { NULL, "gzip", "br, gzip", "identity;q=0, *" };
    static const char *const tags[] = { NULL, "\"x\"", "\"x--br\"", "\"z\"" };
    static const char *const vary[] = { NULL, "accept-encoding", "accept-language" };
    uint64_t seed = 42;

    (void)state;
    place.rule.variants = 1;
    for (int i = 0; i < 20000; i++) {
        uint32_t dice = (uint32_t)((seed = seed * 6364136223846793005ull + 1442695040888963407ull) >> 33);
        object_t o = { .target = targets[dice % 6], .body = apr_psprintf(w.pool, "%d", i), .etag = "\"x\"", .compressible = dice >> 6 & 1,
                       .vary_name = vary[(dice >> 8) % 3], .vary_value = (dice >> 8) % 3 == 1 ? "br, gzip" : "de" };
        gate_cache_desk_t *fresh;
        apr_pool_t *p;
        got_t a, b;

        if (dice >> 16 & 1) {
            apr_table_clear(request);
            for (int k = 0; k < 3; k++) {
                const char *names[] = { "Accept-Encoding", "If-None-Match", "Accept-Language" };
                const char *value = k == 0 ? encodings[dice >> 18 & 3] : k == 1 ? tags[dice >> 20 & 3] : dice >> 22 & 1 ? "de" : "en";
                if (value) {
                    apr_table_setn(request, names[k], value);
                }
            }
        }
        switch (dice >> 24 & 15) {
        case 0:
            put(&o);
            break;
        case 1:
            gate_store_add_body(w.store, put(&o), GATE_CODING_BR, "brbr", 4);
            break;
        case 3: {
            gate_key_t key = key_of(&o);

            gate_pass_note(w.store, key.hash ^ gate_store_hash(w.store, key.route, key.route_len), NOW);
            break;
        }
        case 2:
            gate_store_walk_hash(w.store, key_of(&o).hash, dice >> 28 & 1 ? all : soften, NULL);
            break;
        default:
            break;
        }
        a = get(o.target);
        apr_pool_create(&p, w.pool);
        fresh = gate_desk_create(p, w.store, &ops, GATE_DESK_ENTRIES);
        b = ask_at(fresh, o.target, 0, NOW);
        assert_int_equal(a.how, b.how);
        assert_string_equal(a.head, b.head);
        assert_string_equal(a.body, b.body);
        apr_pool_destroy(p);
        if (i % 500 == 499) {
            apr_table_clear(request);
        }
    }
    assert_true(gate_desk_counts(desk).remembered > 100);
    assert_true(gate_desk_counts(desk).searched > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_hit_has_its_head_and_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_second_look_is_remembered_and_ages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_change_elsewhere_costs_a_search, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_took_its_place_is_given, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_purged_is_not_given, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conditions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_the_request_asks_of_caches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_codings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vary_is_judged_for_each, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vary_by_encoding_alone_is_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields_outside_of_keys_part_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_holds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_answered_here, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_passes_by, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_never_differs, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
