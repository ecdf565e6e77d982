/*
 * test_freshness.c - RFC 9111 sections 3 to 5, one test each rule, named after its section; RFC 5861, 8246 and 9213; and how the RFC
 * wants sloppy origins met.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <apr_strings.h>
#include <apr_tables.h>
#include <apr_time.h>

#include "fields.h"
#include "freshness.h"
#include "head.h"
#include "unit_pool.h"

#define NOW INT64_C(1700000000) /* Tue, 14 Nov 2023 22:13:20 GMT */
#define MONO INT64_C(5000000000)

static gate_cache_policy_t policy;

static int setup(void **state)
{
    policy = (gate_cache_policy_t){ -1, -1, -1, -1 };
    return pool_open(state);
}

static const char *date(int64_t seconds)
{
    char *text = apr_palloc(pool, APR_RFC822_DATE_LEN);

    apr_rfc822_date(text, apr_time_from_sec(seconds));
    return text;
}

static const char *dated(const char *more)
{
    return apr_psprintf(pool, "Date: %s%s%s", date(NOW), *more ? "|" : "", more);
}

static gate_freshness_t fresh(const char *text)
{
    gate_when_t when = { NOW, NOW, MONO };
    gate_freshness_t f;

    gate_freshness_of(pool, 200, headers(text), &policy, &when, &f);
    return f;
}

static int64_t lifetime(const char *text)
{
    return fresh(dated(text)).lifetime;
}

static gate_freshness_e judge_soft(const char *response, const char *request, int64_t seconds_later, int soft)
{
    gate_freshness_t f = fresh(dated(response));
    gate_cc_t cc;

    gate_cc_of_request(pool, headers(request), &cc);
    return gate_freshness_judge(&f, &cc, soft, MONO + seconds_later * 1000000);
}

static gate_freshness_e judge(const char *response, const char *request, int64_t seconds_later)
{
    return judge_soft(response, request, seconds_later, 0);
}

static const char *refused_with(const char *method, int status, const char *request, const char *response, int body)
{
    gate_when_t when = { NOW, NOW, MONO };
    gate_storable_t x = { method, headers(request), status, headers(dated(response)), body };

    return gate_not_storable(pool, &x, &policy, &when);
}

static const char *refused(const char *request, const char *response)
{
    return refused_with("GET", 200, request, response, 0);
}

static int on_error(const char *response, const char *request, int status, int64_t later)
{
    gate_freshness_t f = fresh(dated(response));
    gate_cc_t cc;

    gate_cc_of_request(pool, headers(request), &cc);
    return gate_stale_on_error(&f, &cc, status, MONO + later * 1000000);
}

#define STORED(request, response) assert_null(refused(request, response))
#define REFUSED(why, request, response) assert_string_equal(refused(request, response), why)

/* ---- section 3 ------------------------------------------------------------------------------------------------------------ */

static void test_rfc9111_3_only_get_is_stored(void **state)
{
    (void)state;
    STORED("", "Cache-Control: max-age=60");
    assert_string_equal(refused_with("POST", 200, "", "Cache-Control: max-age=60", 0), "METHOD");
    assert_string_equal(refused_with("HEAD", 200, "", "Cache-Control: max-age=60", 0), "METHOD");
    assert_string_equal(refused_with("FOO", 200, "", "Cache-Control: max-age=60", 0), "METHOD");
}

static void test_trap_37_a_get_with_a_body_is_not_stored(void **state)
{
    (void)state;
    assert_string_equal(refused_with("GET", 200, "", "Cache-Control: max-age=60", 1), "REQUEST-BODY");
}

static void test_rfc9111_3_only_final_statuses(void **state)
{
    (void)state;
    assert_string_equal(refused_with("GET", 103, "", "Cache-Control: max-age=60", 0), "PARTIAL");
}

static void test_rfc9111_3_206_and_304_are_not_stored(void **state)
{
    (void)state;
    assert_string_equal(refused_with("GET", 206, "", "Cache-Control: max-age=60", 0), "PARTIAL");
    assert_string_equal(refused_with("GET", 304, "", "Cache-Control: max-age=60", 0), "PARTIAL");
    REFUSED("PARTIAL", "", "Cache-Control: max-age=60|Content-Range: bytes 0-1/3");
}

static void test_rfc9111_3_must_understand(void **state)
{
    (void)state;
    /* with a status that we know, no-store does not count */
    STORED("", "Cache-Control: no-store, must-understand, max-age=60");
    assert_string_equal(refused_with("GET", 299, "", "Cache-Control: must-understand, max-age=60", 0), "STATUS");
}

static void test_rfc9111_3_no_store(void **state)
{
    (void)state;
    REFUSED("NO-STORE", "", "Cache-Control: no-store, max-age=60");
    REFUSED("NO-STORE", "", "Cache-Control: max-age=60|Cache-Control: No-Store");
    REFUSED("REQUEST-NO-STORE", "Cache-Control: no-store", "Cache-Control: max-age=60");
}

static void test_rfc9111_3_private(void **state)
{
    (void)state;
    REFUSED("PRIVATE", "", "Cache-Control: private, max-age=60");
    STORED("", "Cache-Control: private=\"X-User\", max-age=60");
}

static void test_rfc9111_3_something_must_say_so(void **state)
{
    (void)state;
    STORED("", "Cache-Control: public|ETag: \"a\"");
    STORED("", "Expires: Tue, 14 Nov 2023 23:13:20 GMT");
    STORED("", "Cache-Control: s-maxage=60");
    assert_null(refused_with("GET", 404, "", "Last-Modified: Tue, 07 Nov 2023 22:13:20 GMT", 0));
    assert_string_equal(refused_with("GET", 302, "", "Last-Modified: Tue, 07 Nov 2023 22:13:20 GMT", 0), "STATUS");
    assert_null(refused_with("GET", 302, "", "Cache-Control: max-age=60", 0));
    assert_null(refused_with("GET", 599, "", "Cache-Control: max-age=60", 0));
}

static void test_rfc9111_3_what_nobody_could_reuse_is_not_stored(void **state)
{
    (void)state;
    REFUSED("NO-FRESHNESS", "", "Content-Type: text/html");
    REFUSED("NO-FRESHNESS", "", "Cache-Control: max-age=0");
    STORED("", "Cache-Control: max-age=0|ETag: \"a\"");
}

static void test_rfc9111_3_1_hop_by_hop_fields_are_not_stored(void **state)
{
    apr_table_t *kept = gate_head_keep(pool, headers("Connection: X-Hop, close|X-Hop: 1|Keep-Alive: 5|TE: x|Upgrade: y|"
                                                     "Proxy-Authenticate: z|Proxy-Authentication-Info: z|Proxy-Connection: z|"
                                                     "Transfer-Encoding: chunked|X-Kept: yes|Age: 5"), NULL);

    (void)state;
    assert_int_equal(apr_table_elts(kept)->nelts, 1);
    assert_string_equal(apr_table_get(kept, "X-Kept"), "yes");
}

static void test_rfc9111_3_1_fields_named_by_no_cache_and_private_are_not_stored(void **state)
{
    apr_table_t *kept = gate_head_keep(pool, headers("Cache-Control: max-age=60, no-cache=\"X-A, X-B\", private=\"X-C\"|X-A: 1|"
                                                     "X-B: 2|X-C: 3|X-D: 4"), NULL);

    (void)state;
    assert_null(apr_table_get(kept, "X-A"));
    assert_null(apr_table_get(kept, "X-B"));
    assert_null(apr_table_get(kept, "X-C"));
    assert_string_equal(apr_table_get(kept, "X-D"), "4");
}

static void test_rfc9111_3_2_a_304_updates_fields(void **state)
{
    apr_table_t *merged = gate_head_merge(pool, headers("Date: old|X-A: 1|X-B: 1|X-B: 2|ETag: \"a\"|Content-Length: 5"),
                                          headers("Date: new|X-B: 3|X-C: 4|Cache-Control: max-age=9"));

    (void)state;
    assert_string_equal(apr_table_get(merged, "Date"), "new");
    assert_string_equal(apr_table_get(merged, "X-A"), "1");
    assert_string_equal(gate_field(pool, merged, "X-B"), "3");
    assert_string_equal(apr_table_get(merged, "X-C"), "4");
    assert_string_equal(apr_table_get(merged, "Cache-Control"), "max-age=9");
}

static void test_trap_44_a_304_does_not_change_what_describes_the_bytes(void **state)
{
    apr_table_t *merged = gate_head_merge(pool, headers("Content-Encoding: gzip|ETag: \"a\"|Content-Length: 5|Content-Type: text/css"),
                                          headers("Content-Encoding: br|ETag: \"b\"|Content-Length: 0|Content-Type: text/html|"
                                                  "Content-Range: bytes 0-1/2|Set-Cookie: a=b"));

    (void)state;
    assert_string_equal(apr_table_get(merged, "Content-Encoding"), "gzip");
    assert_string_equal(apr_table_get(merged, "ETag"), "\"a\"");
    assert_string_equal(apr_table_get(merged, "Content-Length"), "5");
    assert_string_equal(apr_table_get(merged, "Content-Type"), "text/css");
    assert_null(apr_table_get(merged, "Content-Range"));
    assert_null(apr_table_get(merged, "Set-Cookie")); /* trap 36, too */
}

static void test_rfc9111_3_5_authorization_trap_35(void **state)
{
    (void)state;
    REFUSED("AUTHORIZATION", "Authorization: Basic x", "Cache-Control: max-age=60");
    STORED("Authorization: Basic x", "Cache-Control: max-age=60, public");
    STORED("Authorization: Basic x", "Cache-Control: s-maxage=60");
    STORED("Authorization: Basic x", "Cache-Control: max-age=60, must-revalidate");
}

static void test_trap_36_set_cookie_is_never_stored(void **state)
{
    (void)state;
    REFUSED("SET-COOKIE", "", "Cache-Control: public, max-age=60|Set-Cookie: id=1");
    REFUSED("SET-COOKIE", "", "Cache-Control: no-cache=\"Set-Cookie\", max-age=60|Set-Cookie: id=1");
}

static void test_trap_35_cookies_want_an_answer_that_says_how_long(void **state)
{
    (void)state;
    policy.default_ttl = 60;
    REFUSED("COOKIE", "Cookie: id=1", "Content-Type: text/html");
    STORED("Cookie: id=1", "Content-Type: text/html|Cache-Control: max-age=60");
    STORED("Cookie: id=1", "Content-Type: text/css");
    STORED("", "Content-Type: text/html");
}

static void test_trap_38_type_decides_never_the_name(void **state)
{
    (void)state;
    /* /account/x.css answered with HTML: nothing in the path is looked at */
    policy.default_ttl = 60;
    REFUSED("COOKIE", "Cookie: id=1", "Content-Type: text/html");
    STORED("Cookie: id=1", "Content-Type: text/css");
}

/* ---- section 4 ------------------------------------------------------------------------------------------------------------ */

static void test_rfc9111_4_fresh_is_served_stale_is_not(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60", "", 0), GATE_SERVE);
    assert_int_equal(judge("Cache-Control: max-age=60", "", 59), GATE_SERVE);
    assert_int_equal(judge("Cache-Control: max-age=60", "", 60), GATE_VALIDATE);
}

static void test_rfc9111_4_2_1_precedence(void **state)
{
    (void)state;
    assert_int_equal(lifetime("Cache-Control: s-maxage=10, max-age=20|Expires: Tue, 14 Nov 2023 23:13:20 GMT"), 10);
    assert_int_equal(lifetime("Cache-Control: max-age=20|Expires: Tue, 14 Nov 2023 23:13:20 GMT"), 20);
    assert_int_equal(lifetime("Expires: Tue, 14 Nov 2023 23:13:20 GMT"), 3600);
}

static void test_rfc9111_4_2_1_sloppy_max_age_trap_45(void **state)
{
    (void)state;
    assert_int_equal(lifetime("Cache-Control: max-age=\"60\""), 60);
    assert_int_equal(lifetime("Cache-Control: MAX-AGE=60"), 60);
    assert_int_equal(lifetime("Cache-Control: max-age=60, max-age=0"), 60);      /* the first of several */
    assert_int_equal(lifetime("Cache-Control: max-age=0|Cache-Control: max-age=60"), 0);
    assert_int_equal(lifetime("Cache-Control: max-age=abc"), 0);
    assert_int_equal(lifetime("Cache-Control: max-age=-1"), 0);
    assert_int_equal(lifetime("Cache-Control: max-age=1.5"), 0);
    assert_int_equal(lifetime("Cache-Control: max-age"), 0);
    assert_int_equal(lifetime("Cache-Control: max-age='60'"), 0);
    assert_int_equal(lifetime("Cache-Control: a=\", max-age=5\", max-age=60"), 60);
}

static void test_rfc9111_1_2_2_overflow(void **state)
{
    (void)state;
    assert_int_equal(lifetime("Cache-Control: max-age=99999999999999999999999"), INT64_C(2147483648));
}

static void test_rfc9111_4_2_1_conflicts_are_met_carefully(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60, no-cache", "", 0), GATE_VALIDATE);
}

static void test_rfc9111_4_2_2_heuristic(void **state)
{
    gate_freshness_t f = fresh(dated("Last-Modified: Tue, 14 Nov 2023 22:10:00 GMT"));

    (void)state;
    assert_int_equal(f.lifetime, 20); /* a tenth of 200 s */
    assert_int_equal(f.how, GATE_LIFETIME_HEURISTIC);
    assert_int_equal(lifetime("Last-Modified: Tue, 14 Nov 2000 22:10:00 GMT"), 24 * 3600);
    assert_int_equal(lifetime("Last-Modified: Wed, 15 Nov 2023 22:10:00 GMT"), 0);
    assert_int_equal(lifetime("Last-Modified: Tue, 14 Nov 2023 22:10:00 GMT|Cache-Control: max-age=5"), 5);
}

static void test_rfc9111_4_2_2_heuristic_only_for_some_statuses(void **state)
{
    static const int yes[] = { 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501 }, no[] = { 201, 302, 307, 400, 403, 500, 503 };

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        assert_true(gate_status_heuristic(yes[i]));
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        assert_false(gate_status_heuristic(no[i]));
    }
}

static void test_rfc9111_4_2_3_age(void **state)
{
    gate_when_t when = { NOW, NOW + 3, MONO };
    gate_freshness_t f;

    (void)state;
    gate_freshness_of(pool, 200, headers(dated("Age: 10")), &policy, &when, &f);
    assert_int_equal(gate_age(&f, MONO), 13); /* age_value + response_delay */
    assert_int_equal(gate_age(&f, MONO + 5999999), 18);
    gate_freshness_of(pool, 200, headers(apr_psprintf(pool, "Date: %s", date(NOW - 100))), &policy, &when, &f);
    assert_int_equal(gate_age(&f, MONO), 103); /* apparent_age */
    gate_freshness_of(pool, 200, headers(apr_psprintf(pool, "Date: %s|Age: 7", date(NOW + 500))), &policy, &when, &f);
    assert_int_equal(gate_age(&f, MONO), 10); /* a clock ahead of ours: trap 45 */
}

static void test_rfc9111_4_2_3_no_date(void **state)
{
    (void)state;
    assert_int_equal(fresh("Expires: Tue, 14 Nov 2023 22:14:20 GMT").lifetime, 60);
    assert_int_equal(fresh("Date: soon|Expires: Tue, 14 Nov 2023 22:14:20 GMT").lifetime, 60);
    assert_int_equal(fresh("Cache-Control: max-age=60").initial_age, 0);
}

static void test_rfc9111_5_1_age_is_read_with_care(void **state)
{
    (void)state;
    assert_int_equal(fresh(dated("Age: 30")).initial_age, 30);
    assert_int_equal(fresh(dated("Age: 30, 40")).initial_age, 30);
    assert_int_equal(fresh(dated("Age: abc")).initial_age, 0);
    assert_int_equal(fresh(dated("Age: -5")).initial_age, 0);
    assert_int_equal(fresh(dated("Age: 99999999999999")).initial_age, INT64_C(2147483648));
    assert_int_equal(judge("Cache-Control: max-age=60|Age: 99999999999999", "", 0), GATE_VALIDATE);
}

static void test_trap_45_a_step_of_the_clock_ages_nothing(void **state)
{
    gate_freshness_t f = fresh(dated("Cache-Control: max-age=60"));

    (void)state;
    /* age is told by the monotonic clock alone; before it began it is what it was */
    assert_int_equal(gate_age(&f, MONO - 1000000), 0);
    assert_int_equal(gate_age(&f, MONO + 30000000), 30);
}

static void test_rfc9111_4_2_4_stale_only_when_allowed(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60", "Cache-Control: max-stale", 600), GATE_SERVE_STALE);
    assert_int_equal(judge("Cache-Control: max-age=60, must-revalidate", "Cache-Control: max-stale", 600), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: max-age=60, proxy-revalidate", "Cache-Control: max-stale", 600), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: s-maxage=60", "Cache-Control: max-stale", 600), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: no-cache", "Cache-Control: max-stale", 600), GATE_VALIDATE);
}

/* ---- section 5.2.1: requests ------------------------------------------------------------------------------------------------ */

static void test_rfc9111_5_2_1_1_max_age(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=600", "Cache-Control: max-age=10", 9), GATE_SERVE);
    assert_int_equal(judge("Cache-Control: max-age=600", "Cache-Control: max-age=10", 11), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: max-age=600", "Cache-Control: max-age=0", 0), GATE_VALIDATE);
}

static void test_rfc9111_5_2_1_2_max_stale(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60", "Cache-Control: max-stale=10", 69), GATE_SERVE_STALE);
    assert_int_equal(judge("Cache-Control: max-age=60", "Cache-Control: max-stale=10", 71), GATE_VALIDATE);
}

static void test_rfc9111_5_2_1_3_min_fresh(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60", "Cache-Control: min-fresh=10", 49), GATE_SERVE);
    assert_int_equal(judge("Cache-Control: max-age=60", "Cache-Control: min-fresh=10", 51), GATE_VALIDATE);
}

static void test_rfc9111_5_2_1_4_no_cache(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60", "Cache-Control: no-cache", 0), GATE_VALIDATE);
}

static void test_rfc9111_5_2_1_7_only_if_cached(void **state)
{
    gate_cc_t cc;

    (void)state;
    gate_cc_of_request(pool, headers("Cache-Control: only-if-cached"), &cc);
    assert_true(cc.flags & GATE_CC_ONLY_IF_CACHED);
}

/* ---- section 5.2.2: answers -------------------------------------------------------------------------------------------------- */

static void test_rfc9111_5_2_2_4_no_cache(void **state)
{
    (void)state;
    STORED("", "Cache-Control: no-cache, max-age=60|ETag: \"a\"");
    assert_int_equal(judge("Cache-Control: no-cache, max-age=60", "", 0), GATE_VALIDATE);
    /* the form with fields speaks of these fields only */
    assert_int_equal(judge("Cache-Control: no-cache=\"X-A\", max-age=60", "", 0), GATE_SERVE);
    assert_int_equal(judge("Cache-Control: no-cache=\"\", max-age=60", "", 0), GATE_VALIDATE);
}

static void test_rfc9111_5_2_2_9_public(void **state)
{
    (void)state;
    assert_null(refused_with("GET", 302, "", "Cache-Control: public|ETag: \"a\"", 0));
}

static void test_rfc9111_5_2_2_10_s_maxage(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: s-maxage=60, max-age=1", "", 30), GATE_SERVE);
    assert_true(fresh(dated("Cache-Control: s-maxage=60")).flags & GATE_CC_S_MAXAGE);
}

static void test_rfc9111_5_3_expires(void **state)
{
    (void)state;
    assert_int_equal(lifetime("Expires: 0"), 0);
    assert_int_equal(lifetime("Expires: -1"), 0);
    assert_int_equal(lifetime("Expires: tomorrow"), 0);
    assert_int_equal(lifetime("Expires: Tue, 14 Nov 2023 23:13:20 CEST"), 0);
    assert_int_equal(lifetime("Expires: Tue, 14 Nov 2023 23:13:20"), 0);
    assert_int_equal(lifetime("Expires: Tue, 14 Nov 2000 22:13:20 GMT"), 0);
    assert_int_equal(lifetime("Expires: Tuesday, 14-Nov-23 23:13:20 GMT"), 3600); /* RFC 850 */
    assert_int_equal(lifetime("Expires: Tue Nov 14 23:13:20 2023"), 3600);        /* asctime */
    assert_int_equal(fresh(dated("Expires: 0|Last-Modified: Tue, 14 Nov 2000 22:13:20 GMT")).how, GATE_LIFETIME_EXPLICIT);
}

static void test_rfc9111_5_4_pragma(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60", "Pragma: no-cache", 0), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: max-age=60", "Pragma: no-cache|Cache-Control: max-age=50", 0), GATE_SERVE);
    STORED("", "Pragma: no-cache|Cache-Control: max-age=60");
}

/* ---- extensions ------------------------------------------------------------------------------------------------------------- */

static void test_rfc5861_3_stale_while_revalidate(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60, stale-while-revalidate=30", "", 89), GATE_SERVE_REFRESH);
    assert_int_equal(judge("Cache-Control: max-age=60, stale-while-revalidate=30", "", 91), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: max-age=60, stale-while-revalidate=30, must-revalidate", "", 61), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: max-age=60, stale-while-revalidate=30", "Cache-Control: no-cache", 61), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: s-maxage=60, stale-while-revalidate=30", "", 61), GATE_SERVE_REFRESH);
    policy.stale_while_revalidate = 10;
    assert_int_equal(judge("Cache-Control: max-age=60", "", 65), GATE_SERVE_REFRESH);
    assert_int_equal(judge("Cache-Control: s-maxage=60", "", 65), GATE_VALIDATE);
    assert_int_equal(judge("Cache-Control: max-age=60, stale-while-revalidate=0", "", 65), GATE_VALIDATE);
}

static void test_rfc5861_4_stale_if_error_trap_48(void **state)
{
    (void)state;
    assert_true(on_error("Cache-Control: max-age=60, stale-if-error=30", "", 503, 89));
    assert_true(on_error("Cache-Control: max-age=60, stale-if-error=30", "", 0, 89));
    assert_false(on_error("Cache-Control: max-age=60, stale-if-error=30", "", 503, 91));
    assert_false(on_error("Cache-Control: max-age=60", "", 503, 61));
    assert_false(on_error("Cache-Control: max-age=60, stale-if-error=30, must-revalidate", "", 503, 61));
    assert_false(on_error("Cache-Control: max-age=60, stale-if-error=30, proxy-revalidate", "", 503, 61));
    for (int status = 400; status < 420; status++) {
        assert_false(on_error("Cache-Control: max-age=60, stale-if-error=30", "", status, 61));
    }
    policy.stale_if_error = 1000;
    assert_true(on_error("Cache-Control: max-age=60", "", 502, 900));
    assert_false(on_error("Cache-Control: s-maxage=60", "", 502, 61));
    assert_false(on_error("Cache-Control: max-age=60", "Cache-Control: no-cache", 502, 61));
}

static void test_rfc8246_immutable(void **state)
{
    (void)state;
    assert_int_equal(judge("Cache-Control: max-age=60, immutable", "Cache-Control: no-cache", 59), GATE_SERVE);
    assert_int_equal(judge("Cache-Control: max-age=60, immutable", "Cache-Control: max-age=0", 59), GATE_SERVE);
    assert_int_equal(judge("Cache-Control: max-age=60, immutable", "", 60), GATE_VALIDATE);
}

static void test_rfc9213_2_2_the_first_target_that_can_be_read_counts(void **state)
{
    (void)state;
    assert_int_equal(lifetime("Cache-Control: max-age=1|CDN-Cache-Control: max-age=2|Gatehouse-Cache-Control: max-age=3"), 3);
    assert_int_equal(lifetime("Cache-Control: max-age=1|CDN-Cache-Control: max-age=2"), 2);
    assert_int_equal(lifetime("Cache-Control: max-age=1|CDN-Cache-Control: max-age=2|Gatehouse-Cache-Control: =bad="), 2);
    assert_int_equal(lifetime("Cache-Control: max-age=1|CDN-Cache-Control: "), 1);
    REFUSED("NO-STORE", "", "Cache-Control: max-age=60|CDN-Cache-Control: no-store");
    STORED("", "Cache-Control: no-store|CDN-Cache-Control: max-age=60");
}

static void test_rfc9213_2_1_it_is_a_structured_field(void **state)
{
    gate_cc_t cc;

    (void)state;
    assert_true(gate_cc_parse_targeted(pool, "max-age=60;x=1, no-cache=?0, a=(1 \"b\";q=1), s-maxage=5", &cc));
    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.s_maxage, 5);
    assert_int_equal(cc.flags, 0);
    assert_false(gate_cc_parse_targeted(pool, "max-age=60,", &cc));
    assert_false(gate_cc_parse_targeted(pool, "Max-Age=60", &cc));
    assert_false(gate_cc_parse_targeted(pool, "max-age=\"60", &cc));
    assert_true(gate_cc_parse_targeted(pool, "max-age=\"60\"", &cc)); /* a string is no number: says nothing */
    assert_int_equal(cc.max_age, -1);
    assert_true(gate_cc_parse_targeted(pool, "private=(\"a\")", &cc));
    assert_int_equal(cc.flags, GATE_CC_PRIVATE);
    assert_false(gate_cc_parse_targeted(pool, "a=(", &cc));
    assert_false(gate_cc_parse_targeted(pool, "a=1 b=2", &cc));
}

static void test_rfc9213_2_2_expires_does_not_count_beside_a_target(void **state)
{
    (void)state;
    assert_int_equal(lifetime("CDN-Cache-Control: public|Expires: Tue, 14 Nov 2023 23:13:20 GMT"), 0);
}

static void test_policy_bounds(void **state)
{
    (void)state;
    policy.max_ttl = 30;
    assert_int_equal(lifetime("Cache-Control: max-age=60"), 30);
    policy.default_ttl = 20;
    assert_int_equal(lifetime("Content-Type: text/css"), 20);
    assert_int_equal(lifetime("Cache-Control: max-age=0"), 0);
}

static void test_a_soft_purge_makes_it_stale(void **state)
{
    (void)state;
    assert_int_equal(judge_soft("Cache-Control: max-age=60", "", 1, 1), GATE_VALIDATE);
    assert_int_equal(judge_soft("Cache-Control: max-age=60, stale-while-revalidate=30", "", 1, 1), GATE_SERVE_REFRESH);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pool_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rfc9111_3_only_get_is_stored),
        TEST(test_trap_37_a_get_with_a_body_is_not_stored),
        TEST(test_rfc9111_3_only_final_statuses),
        TEST(test_rfc9111_3_206_and_304_are_not_stored),
        TEST(test_rfc9111_3_must_understand),
        TEST(test_rfc9111_3_no_store),
        TEST(test_rfc9111_3_private),
        TEST(test_rfc9111_3_something_must_say_so),
        TEST(test_rfc9111_3_what_nobody_could_reuse_is_not_stored),
        TEST(test_rfc9111_3_1_hop_by_hop_fields_are_not_stored),
        TEST(test_rfc9111_3_1_fields_named_by_no_cache_and_private_are_not_stored),
        TEST(test_rfc9111_3_2_a_304_updates_fields),
        TEST(test_trap_44_a_304_does_not_change_what_describes_the_bytes),
        TEST(test_rfc9111_3_5_authorization_trap_35),
        TEST(test_trap_36_set_cookie_is_never_stored),
        TEST(test_trap_35_cookies_want_an_answer_that_says_how_long),
        TEST(test_trap_38_type_decides_never_the_name),
        TEST(test_rfc9111_4_fresh_is_served_stale_is_not),
        TEST(test_rfc9111_4_2_1_precedence),
        TEST(test_rfc9111_4_2_1_sloppy_max_age_trap_45),
        TEST(test_rfc9111_1_2_2_overflow),
        TEST(test_rfc9111_4_2_1_conflicts_are_met_carefully),
        TEST(test_rfc9111_4_2_2_heuristic),
        TEST(test_rfc9111_4_2_2_heuristic_only_for_some_statuses),
        TEST(test_rfc9111_4_2_3_age),
        TEST(test_rfc9111_4_2_3_no_date),
        TEST(test_rfc9111_5_1_age_is_read_with_care),
        TEST(test_trap_45_a_step_of_the_clock_ages_nothing),
        TEST(test_rfc9111_4_2_4_stale_only_when_allowed),
        TEST(test_rfc9111_5_2_1_1_max_age),
        TEST(test_rfc9111_5_2_1_2_max_stale),
        TEST(test_rfc9111_5_2_1_3_min_fresh),
        TEST(test_rfc9111_5_2_1_4_no_cache),
        TEST(test_rfc9111_5_2_1_7_only_if_cached),
        TEST(test_rfc9111_5_2_2_4_no_cache),
        TEST(test_rfc9111_5_2_2_9_public),
        TEST(test_rfc9111_5_2_2_10_s_maxage),
        TEST(test_rfc9111_5_3_expires),
        TEST(test_rfc9111_5_4_pragma),
        TEST(test_rfc5861_3_stale_while_revalidate),
        TEST(test_rfc5861_4_stale_if_error_trap_48),
        TEST(test_rfc8246_immutable),
        TEST(test_rfc9213_2_2_the_first_target_that_can_be_read_counts),
        TEST(test_rfc9213_2_1_it_is_a_structured_field),
        TEST(test_rfc9213_2_2_expires_does_not_count_beside_a_target),
        TEST(test_policy_bounds),
        TEST(test_a_soft_purge_makes_it_stale),
    };

    return cmocka_run_group_tests_name("freshness", tests, NULL, NULL);
}
