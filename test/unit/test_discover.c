/* test_discover.c - what GateDiscover says, files, resolv.conf and hosts, and the set that follows. */

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "discover.h"
#include "registry_world.h"

#define SECOND INT64_C(1000000)

static registry_world_t w;
static uint32_t group;

static int open_world(void **state)
{
    (void)state;
    registry_world_open(&w, 2, 32, 2, NULL);
    return gate_group_declare(w.reg, "app", &group);
}

static int close_world(void **state)
{
    (void)state;
    registry_world_close(&w);
    return 0;
}

static const char *source(discover_source_t *out, const char *one, const char *two)
{
    const char *argv[] = { one, two };

    return discover_source_read(w.pool, two ? 2 : 1, argv, out);
}

static void test_sources(void **state)
{
    discover_source_t s;

    (void)state;
    assert_null(source(&s, "dns:app.internal:8080", "interval=10s"));
    assert_int_equal(s.kind, DISCOVER_DNS);
    assert_string_equal(s.name, "app.internal");
    assert_int_equal(s.port, 8080);
    assert_true(s.interval_usec == 10 * SECOND);
    assert_string_equal(s.scheme, "http");
    assert_null(source(&s, "srv:_http._tcp.app", "resolver=[::1]:5353"));
    assert_int_equal(s.kind, DISCOVER_SRV);
    assert_int_equal(s.resolver_config.server[0].ss_family, AF_INET6);
    assert_null(source(&s, "file:conf/app", NULL));
    assert_string_equal(s.name, "conf/app");
}

static void test_when_to_look_again(void **state)
{
    discover_source_t s;

    (void)state;
    source(&s, "dns:app:80", NULL);
    assert_true(discover_next_usec(&s, 0, 1) == SECOND);
    assert_true(discover_next_usec(&s, 60, 1) == 60 * SECOND);
    assert_true(discover_next_usec(&s, 86400, 1) == 300 * SECOND);
    assert_true(discover_next_usec(&s, 60, 0) == DISCOVER_FAILED_USEC);
    assert_true(discover_next_usec(&s, 2, 0) == 2 * SECOND);
    source(&s, "dns:app:80", "interval=200ms");
    assert_true(discover_next_usec(&s, 60, 1) == SECOND / 5);
    source(&s, "file:x", NULL);
    assert_true(discover_next_usec(&s, 0, 1) == DISCOVER_FILE_USEC);
}

static const char *file(const char *text, apr_array_header_t **specs)
{
    *specs = apr_array_make(w.pool, 4, sizeof(gate_member_spec_t));
    return discover_file_read(w.pool, text, strlen(text), *specs);
}

static void test_files(void **state)
{
    apr_array_header_t *specs;
    const gate_member_spec_t *s;

    (void)state;
    assert_null(file("# ours\n\n http://10.0.0.1:80\tweight=3  backup # good\r\nhttp://10.0.0.2:80 id=two connections=9\nunix:/a-b|http://x",
                     &specs));
    assert_int_equal(specs->nelts, 3);
    s = &APR_ARRAY_IDX(specs, 0, gate_member_spec_t);
    assert_string_equal(s->id, "10.0.0.1:80");
    assert_int_equal(s->weight, 3);
    assert_int_equal(s->flags, GATE_MEMBER_BACKUP);
    assert_string_equal(APR_ARRAY_IDX(specs, 1, gate_member_spec_t).id, "two");
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "", "names no member" }, { "# x\n", "names no member" }, { "http://a:1\nrubbish\n", "line 2: 'rubbish'" },
        { "http://a:1 weight=0", "line 1: 'weight=0'" }, { "http://a:1\n\nhttp://a:1\n", "line 3: the id 'a:1' is there twice" },
        { "http://a:1 a a a a a a a a a a a a a a a a a a", "line 1: has too many words" },
    };
    apr_array_header_t *specs;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *err = file(rows[i].text, &specs);

        assert_non_null(err);
        assert_non_null(strstr(err, rows[i].says));
    }
    specs = apr_array_make(w.pool, 4, sizeof(gate_member_spec_t));
    assert_string_equal(discover_file_read(w.pool, "http://a:1\0", 11, specs), "is not text");
}

static void test_members_of_endpoints(void **state)
{
    discover_endpoint_t e[] = { { .type = DNS_A, .address = { 10, 0, 0, 1 }, .port = 80 },
                                { .type = DNS_AAAA, .address = { [15] = 1 }, .port = 80 },
                                { .type = DNS_A, .address = { 10, 0, 0, 2 }, .port = 0 } };
    apr_array_header_t *specs = apr_array_make(w.pool, 4, sizeof(gate_member_spec_t));
    discover_source_t s;

    (void)state;
    source(&s, "dns:app:80", "weight=7");
    discover_specs(w.pool, &s, e, 3, specs);
    assert_int_equal(specs->nelts, 2);
    assert_string_equal(APR_ARRAY_IDX(specs, 0, gate_member_spec_t).url, "http://10.0.0.1:80");
    assert_string_equal(APR_ARRAY_IDX(specs, 0, gate_member_spec_t).id, "10.0.0.1:80");
    assert_string_equal(APR_ARRAY_IDX(specs, 1, gate_member_spec_t).url, "http://[::1]:80");
    assert_int_equal(APR_ARRAY_IDX(specs, 1, gate_member_spec_t).weight, 7);
}

static void test_weights_of_services(void **state)
{
    discover_endpoint_t e[] = { { .type = DNS_A, .address = { 10, 0, 0, 1 }, .port = 80, .weight = 60000, .priority = 5 },
                                { .type = DNS_A, .address = { 10, 0, 0, 2 }, .port = 80, .weight = 30000 },
                                { .type = DNS_A, .address = { 10, 0, 0, 3 }, .port = 80, .weight = 0 } };
    apr_array_header_t *specs = apr_array_make(w.pool, 4, sizeof(gate_member_spec_t));
    discover_source_t s;

    (void)state;
    source(&s, "srv:_http._tcp.app", NULL);
    discover_specs(w.pool, &s, e, 3, specs);
    assert_int_equal(APR_ARRAY_IDX(specs, 0, gate_member_spec_t).weight, 1000);
    assert_int_equal(APR_ARRAY_IDX(specs, 0, gate_member_spec_t).priority, 5);
    assert_int_equal(APR_ARRAY_IDX(specs, 1, gate_member_spec_t).weight, 500);
    assert_int_equal(APR_ARRAY_IDX(specs, 2, gate_member_spec_t).weight, 1);
}

static apr_status_t apply(gate_origin_e origin, apr_array_header_t *specs)
{
    return gate_members_apply(w.reg, group, origin, (gate_member_spec_t *)specs->elts, (uint32_t)specs->nelts, "", 1);
}

static void test_sets(void **state)
{
    apr_array_header_t *own, *found, *more;
    discover_change_t change;

    (void)state;
    assert_null(file("http://10.0.0.1:80\n", &own));
    assert_int_equal(apply(GATE_ORIGIN_CONFIG, own), APR_SUCCESS);
    assert_null(file("http://10.0.0.1:80 weight=9\nhttp://10.0.0.2:80\nhttp://10.0.0.3:80\n", &found));
    APR_ARRAY_PUSH(found, gate_member_spec_t) = APR_ARRAY_IDX(found, 1, gate_member_spec_t);
    assert_int_equal(discover_unique(w.reg, group, found), 2); /* the configured one, and one that was there twice */
    assert_int_equal(found->nelts, 2);
    assert_true(discover_compare(w.reg, group, found, &change));
    assert_int_equal(change.added, 2);
    assert_int_equal(apply(GATE_ORIGIN_DISCOVERED, found), APR_SUCCESS);
    assert_false(discover_compare(w.reg, group, found, &change));
    assert_null(file("http://10.0.0.3:80 weight=2\nhttp://10.0.0.4:80\n", &more));
    assert_true(discover_compare(w.reg, group, more, &change));
    assert_int_equal(change.added, 1);
    assert_int_equal(change.removed, 1);
    assert_int_equal(change.altered, 1);
    discover_keep_present(w.pool, w.reg, group, more);
    assert_int_equal(more->nelts, 3); /* 10.0.0.2 too, not the configured one */
    assert_string_equal(APR_ARRAY_IDX(more, 2, gate_member_spec_t).id, "10.0.0.2:80");
}

static void test_resolv_conf(void **state)
{
    static const char text[] = "# ours\nnameserver 10.0.0.53\n nameserver\t::1 ; second\nnameserver rubbish\nnameserver 10.0.0.54\nnameserver 10.0.0.55\n"
                               "domain old.test\nsearch a.test b.test\noptions timeout:1 ndots:3";
    dns_config_t c;

    (void)state;
    dns_config_read(text, strlen(text), &c);
    assert_int_equal(c.servers, 3);
    assert_int_equal(c.server[1].ss_family, AF_INET6);
    assert_int_equal(ntohs(((struct sockaddr_in *)&c.server[0])->sin_port), 53);
    assert_int_equal(c.searches, 2);
    assert_string_equal(c.search[1], "b.test");
    assert_int_equal(c.ndots, 3);
    dns_config_read("", 0, &c);
    assert_int_equal(c.servers, 1);
    assert_int_equal(((struct sockaddr_in *)&c.server[0])->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
}

static void test_resolvers(void **state)
{
    static const char *const bad[] = { "", "x", "1.2.3", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:5x", "[::1", "[::1]5", "[1.2.3.4]x",
                                       "::1]:53" };
    dns_config_t c;
    size_t i;

    (void)state;
    assert_int_equal(dns_config_server("127.0.0.1", &c), 0);
    assert_int_equal(ntohs(((struct sockaddr_in *)&c.server[0])->sin_port), 53);
    assert_int_equal(dns_config_server("127.0.0.1:5300", &c), 0);
    assert_int_equal(ntohs(((struct sockaddr_in *)&c.server[0])->sin_port), 5300);
    assert_int_equal(dns_config_server("::1", &c), 0);
    assert_int_equal(dns_config_server("[::1]:5300", &c), 0);
    assert_int_equal(ntohs(((struct sockaddr_in6 *)&c.server[0])->sin6_port), 5300);
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(dns_config_server(bad[i], &c), -1);
    }
}

static void test_hosts(void **state)
{
    static const char text[] = "127.0.0.1\tlocalhost one # two\n::1 localhost\nrubbish localhost\n10.0.0.9 App.Test\n10.0.0.8 app.test";
    static dns_answer_t found;

    (void)state;
    assert_int_equal(dns_hosts_find(text, strlen(text), "localhost", DNS_A, &found), 1);
    assert_int_equal(dns_hosts_find(text, strlen(text), "localhost", DNS_AAAA, &found), 1);
    assert_int_equal(dns_hosts_find(text, strlen(text), "app.test", DNS_A, &found), 2);
    assert_int_equal(found.record[1].address[3], 8);
    assert_int_equal(dns_hosts_find(text, strlen(text), "two", DNS_A, &found), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources), cmocka_unit_test(test_when_to_look_again), cmocka_unit_test(test_files),
        cmocka_unit_test(test_bad_files), cmocka_unit_test(test_members_of_endpoints), cmocka_unit_test(test_weights_of_services),
        cmocka_unit_test(test_sets), cmocka_unit_test(test_resolv_conf), cmocka_unit_test(test_resolvers),
        cmocka_unit_test(test_hosts),
    };

    return cmocka_run_group_tests(tests, open_world, close_world);
}
