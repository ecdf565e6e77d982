/*
 * test_render.c - text written piece by piece and escaped, latency summaries, tags, If-Match, and renderings of a snapshot made by hand.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <cmocka.h>
#include <jansson.h>

#include "admin_request.h"
#include "render.h"
#include "unit_pool.h"

static char *written;
static size_t written_len;

static int setup(void **state)
{
    written = NULL;
    written_len = 0;
    return pool_open(state);
}

static int teardown(void **state)
{
    free(written);
    return pool_close(state);
}

static int keep(void *ctx, const char *bytes, size_t len)
{
    (void)ctx;
    written = realloc(written, written_len + len + 1);
    memcpy(written + written_len, bytes, len);
    written_len += len;
    written[written_len] = '\0';
    return 0;
}

static int refuse(void *ctx, const char *bytes, size_t len)
{
    (void)bytes, (void)len;
    ++*(int *)ctx;
    return -1;
}

/* What fn writes of text. */
static void writes(void (*fn)(text_out_t *, const char *), const char *text, const char *expected)
{
    text_out_t out;

    free(written);
    written = NULL;
    written_len = 0;
    text_out_begin(&out, keep, NULL);
    fn(&out, text);
    text_put(&out, "");
    assert_int_equal(text_out_end(&out), 0);
    assert_string_equal(written ? written : "", expected);
}

static void test_escapes(void **state)
{
    (void)state;
    writes(text_json, "a\"b\\c\n\r\t\x01\x7f", "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\"");
    writes(text_json, "</script>&", "\"\\u003c/script\\u003e\\u0026\"");
    writes(text_html, "<a b=\"c\" d='e'>&\x01", "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\xEF\xBF\xBD");
    writes(text_label, "a\"b\\c\nd", "a\\\"b\\\\c\\nd");
    writes(text_json, "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80", "\"gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80\"");
}

static void test_broken_utf8_is_replaced(void **state)
{
#define R "\xEF\xBF\xBD"
    (void)state;
    writes(text_html, "a\xFFz", "a" R "z");
    writes(text_html, "\xC3", R);
    writes(text_html, "\xE2\x82", R R);
    writes(text_html, "\xC0\xAF", R R);         /* overlong '/' */
    writes(text_html, "\xE0\x80\xBC", R R R);   /* overlong '<' */
    writes(text_html, "\xED\xA0\x80", R R R);   /* surrogate */
    writes(text_html, "\xF4\x90\x80\x80", R R R R);
    writes(text_html, "\x80<", R "&lt;");
    writes(text_html, "\xC3<", R "&lt;");       /* a lead byte swallows nothing */
#undef R
}

static void test_numbers(void **state)
{
    text_out_t out;

    (void)state;
    text_out_begin(&out, keep, NULL);
    text_uint(&out, 0);
    text_char(&out, ' ');
    text_uint(&out, UINT64_MAX);
    text_char(&out, ' ');
    text_int(&out, INT64_MIN);
    text_char(&out, ' ');
    text_real(&out, 0.1);
    text_char(&out, ' ');
    text_real(&out, NAN);
    text_char(&out, ' ');
    text_seconds(&out, 1500000);
    text_char(&out, ' ');
    text_seconds(&out, 42);
    text_char(&out, ' ');
    text_seconds(&out, 3000000);
    text_char(&out, ' ');
    text_time(&out, INT64_C(1700000000123456));
    text_out_end(&out);
    assert_string_equal(written, "0 18446744073709551615 -9223372036854775808 0.1 0 1.5 0.000042 3 2023-11-14T22:13:20.123Z");
}

static void test_long_texts_and_a_sink_that_is_gone(void **state)
{
    char *text = malloc(100001);
    int calls = 0;
    text_out_t out;

    (void)state;
    memset(text, 'x', 100000);
    text[100000] = '\0';
    text_out_begin(&out, keep, NULL);
    text_put(&out, text);
    assert_int_equal(text_out_end(&out), 0);
    assert_int_equal(written_len, 100000);
    assert_string_equal(written, text);
    text_out_begin(&out, refuse, &calls);
    text_put(&out, text);
    assert_int_equal(text_out_end(&out), -1);
    assert_int_equal(calls, 1);
    free(text);
}

static void test_latency_agrees_with_the_histogram(void **state)
{
    static gate_histogram_t h;
    snapshot_latency_t l;

    (void)state;
    memset(&h, 0, sizeof h);
    snapshot_latency(&h, &l);
    assert_true(l.count == 0 && l.p99 == 0 && l.sum_usec == 0);
    srand(7);
    for (int i = 0; i < 20000; i++) {
        gate_histogram_record(&h, (uint64_t)exp(rand() % 18) + (uint64_t)(rand() % 900));
    }
    snapshot_latency(&h, &l);
    assert_true(l.count == 20000 && l.sum_usec == h.sum_usec);
    assert_true(l.p50 == gate_histogram_quantile(&h, 0.5) && l.p99 == gate_histogram_quantile(&h, 0.99));
    for (int i = 0; i < SNAPSHOT_EDGES; i++) {
        assert_true(l.at_most[i] == gate_histogram_at_most(&h, snapshot_edges_usec[i]));
        assert_true(fabs(atof(snapshot_edges[i]) * 1e6 - snapshot_edges_usec[i]) < 0.5);
        assert_true(i == 0 || l.at_most[i] >= l.at_most[i - 1]);
    }
}

static void test_tags(void **state)
{
    gate_member_t a = { .slot = 1, .incarnation = 2, .weight = 3, .id = "m1", .url = "http://a" }, b = a;
    char one[17], two[17];

    (void)state;
    snapshot_member_tag(&a, one);
    b.verdict = GATE_VERDICT_DOWN | GATE_VERDICT_EJECTED | GATE_VERDICT_UNKNOWN;
    snapshot_member_tag(&b, two);
    assert_string_equal(one, two); /* checks do not move it */
    b = a;
    b.weight = 4;
    snapshot_member_tag(&b, two);
    assert_string_not_equal(one, two);
    b = a;
    b.verdict = GATE_VERDICT_DRAIN;
    snapshot_member_tag(&b, two);
    assert_string_not_equal(one, two);
    b = a;
    b.incarnation = 3;
    snapshot_member_tag(&b, two);
    assert_string_not_equal(one, two);
}

static void test_if_match(void **state)
{
    static const char tag[] = "0123456789abcdef";

    (void)state;
    assert_true(admin_if_match(NULL, tag));
    assert_true(admin_if_match("*", tag));
    assert_true(admin_if_match("\"0123456789abcdef\"", tag));
    assert_true(admin_if_match("\"x\" ,\"0123456789abcdef\"", tag));
    assert_false(admin_if_match("", tag));
    assert_false(admin_if_match("\"x\"", tag));
    assert_false(admin_if_match("W/\"0123456789abcdef\"", tag));
    assert_false(admin_if_match("0123456789abcdef", tag));
    assert_false(admin_if_match("\"0123456789abcdef", tag));
    assert_false(admin_if_match("\"0123456789abcdefg\"", tag));
    assert_false(admin_if_match("\"0123\"", tag));
}

/* A snapshot with one group of one member and one section, all texts hostile. */
static snapshot_t *by_hand(void)
{
    static const gate_section_t section = { .name = "odd", .title = "<b>" };
    static const gate_metric_t seen = { "odd", "What \"odd\" is\nabout", "kind", "a\"b" };
    static snapshot_server_t server = { .server = "s", .name = "<i>", .version = "1", .mpm = "event", .generation = 1,
                                        .started_wall_usec = 1000000, .now_wall_usec = 3500000, .admin = 1 };
    snapshot_t *s = apr_pcalloc(pool, sizeof *s);
    gate_node_t *values = gate_node_create(pool), *list;

    s->server = &server;
    s->group_count = s->member_count = s->section_count = 1;
    s->groups = apr_pcalloc(pool, sizeof *s->groups);
    s->sections = apr_pcalloc(pool, sizeof *s->sections);
    strcpy(s->groups->name, "g\"<>\\");
    s->groups->count = 1;
    s->groups->members = apr_pcalloc(pool, sizeof *s->groups->members);
    s->groups->more = gate_node_create(pool);
    strcpy(s->groups->members->is.id, "m\n\xFF");
    strcpy(s->groups->members->is.why, "</title>");
    s->groups->members->state = "up";
    s->groups->members->more = gate_node_create(pool);
    gate_put_count(values, "n", 5, &seen);
    gate_put_text(values, "t", "\"");
    list = gate_put_list(values, "l");
    gate_put_gauge(list, NULL, -1, NULL);
    gate_put_object(list, NULL);
    s->sections->section = &section;
    s->sections->values = values;
    return s;
}

static void test_json(void **state)
{
    text_out_t out;
    json_error_t error;
    json_t *root, *member;

    (void)state;
    text_out_begin(&out, keep, NULL);
    render_json(&out, by_hand());
    text_out_end(&out);
    root = json_loads(written, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "uptime_s")), 2);
    member = json_array_get(json_object_get(json_array_get(json_object_get(root, "groups"), 0), "members"), 0);
    assert_string_equal(json_string_value(json_object_get(member, "id")), "m\n\xEF\xBF\xBD");
    assert_non_null(json_object_get(member, "check"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "odd"), "n")), 5);
    assert_int_equal(json_array_size(json_object_get(json_object_get(root, "odd"), "l")), 2);
    assert_null(strchr(written, '<'));
    json_decref(root);
}

static void test_metrics(void **state)
{
    text_out_t out;

    (void)state;
    text_out_begin(&out, keep, NULL);
    render_metrics(&out, pool, by_hand());
    text_out_end(&out);
    assert_non_null(strstr(written, "gatehouse_member_up{group=\"g\\\"<>\\\\\",member=\"m\\n\xEF\xBF\xBD\"} 1\n"));
    assert_non_null(strstr(written, "# HELP gatehouse_odd What \\\"odd\\\" is\\nabout\ngatehouse_odd_total{kind=\"a\\\"b\"} 5\n"));
    assert_non_null(strstr(written, "# UNIT gatehouse_uptime_seconds seconds\n"));
    assert_non_null(strstr(written, "gatehouse_uptime_seconds 2.5\n"));
    assert_string_equal(written + written_len - 6, "# EOF\n");
}

static void test_html(void **state)
{
    render_page_t page = { "\"tok<en" };
    text_out_t out;

    (void)state;
    text_out_begin(&out, keep, NULL);
    render_html(&out, by_hand(), &page);
    text_out_end(&out);
    assert_non_null(strstr(written, "content=\"&quot;tok&lt;en\""));
    assert_non_null(strstr(written, "&lt;/title&gt;"));
    assert_null(strstr(written, "{{"));
    assert_null(strstr(written, "<i>"));
    assert_non_null(strstr(written, "g&quot;&lt;&gt;\\"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_utf8_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_texts_and_a_sink_that_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_latency_agrees_with_the_histogram, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_if_match, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown(test_html, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
