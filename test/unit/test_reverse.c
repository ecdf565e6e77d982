/*
 * test_reverse.c - members' addresses in answers come out public; everything else stays as it is.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>

#include "reverse.h"
#include "unit_pool.h"

static gate_url_t members[8];
static reverse_map_t map;

static void member(int i, const char *scheme, const char *host, uint16_t port, const char *path)
{
    members[i] = (gate_url_t){ .scheme = scheme, .host = host, .port = port, .path = path };
}

/* ProxyPass "/app/" "gate://app/x/" on https://www.example.com */
static void given(const char *public_prefix, const char *gate_prefix)
{
    member(0, "http", "10.0.0.1", 80, "");
    member(1, "http", "10.0.0.2", 8080, "/base");
    member(2, "https", "app.internal", 443, "");
    member(3, "http", "2001:db8::1", 8080, "");
    member(4, "fcgi", "127.0.0.1", 9000, "");
    member(5, "http", "localsock", 0, "");
    members[5].unix_path = "/run/app.sock";
    map = (reverse_map_t){ .members = members, .stride_bytes = sizeof members[0], .count = 6, .answered = &members[0],
                           .scheme = "https", .host = "www.example.com", .port = 443, .public_prefix = public_prefix,
                           .gate_prefix = gate_prefix };
}

static void url(const char *in, const char *out)
{
    assert_string_equal(reverse_url(pool, &map, in), out);
}

static void url_stays(const char *in)
{
    assert_ptr_equal(reverse_url(pool, &map, in), in);
}

static void cookie(const char *in, const char *out)
{
    assert_string_equal(reverse_cookie(pool, &map, in), out);
}

static void test_members_become_public(void **state)
{
    (void)state;
    given("/app/", "/x/");
    url("http://10.0.0.1/x/y", "https://www.example.com/app/y");
    url("http://10.0.0.1:80/x/", "https://www.example.com/app/");
    url("http://10.0.0.1:/x/", "https://www.example.com/app/");
    url("HTTP://10.0.0.1/x/y?a=http://10.0.0.1/#f", "https://www.example.com/app/y?a=http://10.0.0.1/#f");
    url("http://10.0.0.2:8080/base/x/y", "https://www.example.com/app/y");
    url("https://App.Internal/x/", "https://www.example.com/app/");
    url("https://app.internal.:443/x/", "https://www.example.com/app/");
    url("http://[2001:DB8:0::1]:8080/x/1", "https://www.example.com/app/1");
    url("http://127.0.0.1:9000/x/1", "https://www.example.com/app/1");
    url("http://localsock/x/1", "https://www.example.com/app/1");
    url("//10.0.0.1/x/y", "//www.example.com/app/y");
    url("//10.0.0.2:8080/base/x/y", "//www.example.com/app/y");
}

static void test_an_application_behind_tls_writes_its_own_address(void **state)
{
    (void)state;
    given("/app/", "/x/");
    /* no port, the client's scheme, and the member at its own default: its address */
    url("https://10.0.0.1/x/y", "https://www.example.com/app/y");
    /* another port is another server */
    url_stays("https://10.0.0.2/base/x/y");
    map.scheme = "http";
    map.port = 80;
    url_stays("https://10.0.0.1/x/y");
    url("http://10.0.0.1/x/y", "http://www.example.com/app/y");
}

static void test_what_lies_outside_of_the_route_keeps_its_path(void **state)
{
    (void)state;
    given("/app/", "/x/");
    url("http://10.0.0.1/login", "https://www.example.com/login");
    url("http://10.0.0.1/xy", "https://www.example.com/xy");
    url("http://10.0.0.2:8080/bases/x/y", "https://www.example.com/bases/x/y");
    url("http://10.0.0.1", "https://www.example.com");
    url("http://10.0.0.1?q", "https://www.example.com?q");
}

static void test_prefixes_end_where_segments_do(void **state)
{
    (void)state;
    given("/app/", "/");
    url("http://10.0.0.1/", "https://www.example.com/app/");
    url("http://10.0.0.1", "https://www.example.com/app/");
    url("http://10.0.0.1?q=1#f", "https://www.example.com/app/?q=1#f");
    url("http://10.0.0.1/y", "https://www.example.com/app/y");
    url("http://10.0.0.2:8080/base", "https://www.example.com/app");
    url("http://10.0.0.2:8080/base/", "https://www.example.com/app/");
    given("/", "/x/");
    url("http://10.0.0.1/x", "https://www.example.com/");
    url("http://10.0.0.1/x?q", "https://www.example.com/?q");
    url("http://10.0.0.1/x/y", "https://www.example.com/y");
    given("/", "/");
    url("http://10.0.0.1/x/y", "https://www.example.com/x/y");
    given("", "");
    url("http://10.0.0.1/x/y", "https://www.example.com/x/y");
    given("/app", "/x");
    url("http://10.0.0.1/x/y", "https://www.example.com/app/y");
    url("http://10.0.0.1/x", "https://www.example.com/app");
    url("http://10.0.0.1/xy", "https://www.example.com/xy");
}

static void test_others_are_never_touched(void **state)
{
    const char *others[] = {
        "http://10.0.0.1:80800/x/", "http://10.0.0.1:8080/x/", "http://10.0.0.10/x/", "http://10.0.0.1.evil.com/x/",
        "http://10.0.0.1@evil.com/x/", "http://10.0.0.1:80@evil.com/x/", "http://user@10.0.0.1/x/", "http://evil.com/http://10.0.0.1/x/",
        "http://evil.com?//10.0.0.1/", "http://evil.com#//10.0.0.1/", "https://10.0.0.1:80443/", "http://10.0.0.1\\@evil.com/",
        "http://evil.com\\10.0.0.1/x/", "ftp://10.0.0.1/x/", "httpx://10.0.0.1/x/", "http:10.0.0.1/x/", "http:/10.0.0.1/x/",
        "http:///x/", "//", "///x", "http://", "http://:80/x/", "http://[2001:db8::1/x/", "http://[2001:db8::1]8080/x/",
        "http://[2001:db8::2]:8080/x/", "http://2001:db8::1:8080/x/", "http://[]:8080/", "http://10.0.0.1:-80/x/",
        "http://10.0.0.1:+80/x/", "http://10.0.0.1:80 /x/", "http://10.0.0.1%2f/x/", "http://10.0.0.1:0/x/", "http://./x/",
        "/x/y", "x/y", "?q", "#f", "", "/x?u=http://10.0.0.1/", "mailto:a@10.0.0.1", "https://www.example.com/x/",
    };

    (void)state;
    given("/app/", "/x/");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        url_stays(others[i]);
    }
}

static void test_public_address_in_its_shortest_form(void **state)
{
    (void)state;
    given("/app/", "/");
    map.port = 8443;
    url("http://10.0.0.1/y", "https://www.example.com:8443/app/y");
    url("//10.0.0.1/y", "//www.example.com:8443/app/y");
    map.scheme = "http";
    url("http://10.0.0.1/y", "http://www.example.com:8443/app/y");
    map.port = 80;
    map.host = "2001:db8::ff";
    url("http://10.0.0.1/y", "http://[2001:db8::ff]/app/y");
    map.host = "[2001:db8::ff]";
    map.port = 81;
    url("http://10.0.0.1/y", "http://[2001:db8::ff]:81/app/y");
    /* no host, or one that is none: better the member's than a broken one */
    map.host = "";
    url_stays("http://10.0.0.1/y");
    map.host = "a/b";
    url_stays("http://10.0.0.1/y");
}

/* Two members at one address with different bases: the one that answered speaks of itself. */
static void test_the_answering_member_comes_first(void **state)
{
    (void)state;
    given("/app/", "/");
    member(0, "http", "10.0.0.1", 80, "/one");
    member(1, "http", "10.0.0.1", 80, "/two");
    map.answered = &members[1];
    url("http://10.0.0.1/two/y", "https://www.example.com/app/y");
    map.answered = NULL;
    url("http://10.0.0.1/one/y", "https://www.example.com/app/y");
}

/* Members as fields of a larger struct. */
static void test_stride(void **state)
{
    struct {
        int before;
        gate_url_t parts;
        char after[13];
    } roster[3];

    (void)state;
    given("/app/", "/");
    memset(roster, 0, sizeof roster);
    for (int i = 0; i < 3; i++) {
        roster[i].parts = members[i];
    }
    map.members = &roster[0].parts;
    map.stride_bytes = sizeof roster[0];
    map.count = 3;
    map.answered = NULL;
    url("https://app.internal/y", "https://www.example.com/app/y");
    url_stays("http://localsock/y");
}

static void test_refresh(void **state)
{
    const char *stay[] = { "5", "", "5;", "5; url=/x/", "5; url=http://evil.com/", "5; url", "5; url=", "0;url='", "url" };

    (void)state;
    given("/app/", "/x/");
    assert_string_equal(reverse_refresh(pool, &map, "5; url=http://10.0.0.1/x/y"), "5; url=https://www.example.com/app/y");
    assert_string_equal(reverse_refresh(pool, &map, "0;URL=http://10.0.0.1/x/y"), "0;URL=https://www.example.com/app/y");
    assert_string_equal(reverse_refresh(pool, &map, "1.5 , Url = 'http://10.0.0.1/x/y' tail"),
                        "1.5 , Url = 'https://www.example.com/app/y' tail");
    assert_string_equal(reverse_refresh(pool, &map, "3; url=\"//10.0.0.1/x/"), "3; url=\"//www.example.com/app/");
    assert_string_equal(reverse_refresh(pool, &map, "3; http://10.0.0.1/x/"), "3; https://www.example.com/app/");
    for (size_t i = 0; i < sizeof stay / sizeof stay[0]; i++) {
        assert_ptr_equal(reverse_refresh(pool, &map, stay[i]), stay[i]);
    }
}

static void test_cookie_domain(void **state)
{
    const char *stay[] = { "a=b", "", ";", "a=b;", "a=b; Secure; HttpOnly", "a=b; Domain=example.com", "a=b; Domain=",
                           "a=b; Domain=x10.0.0.1", "a=b; domain", "Domain=10.0.0.1", "a=10.0.0.1; x-domain=10.0.0.1" };

    (void)state;
    given("/", "/");
    cookie("a=b; Domain=10.0.0.1; Secure", "a=b; Secure");
    cookie("a=b;domain = .APP.internal ;Path=/", "a=b;Path=/");
    cookie("a=b; Domain=app.internal", "a=b");
    cookie("a=b; Domain=app.internal; Domain=10.0.0.2", "a=b");
    for (size_t i = 0; i < sizeof stay / sizeof stay[0]; i++) {
        assert_ptr_equal(reverse_cookie(pool, &map, stay[i]), stay[i]);
    }
    /* we and a member on one host */
    map.host = "app.internal";
    assert_string_equal(reverse_cookie(pool, &map, "a=b; Domain=app.internal"), "a=b; Domain=app.internal");
}

static void test_cookie_path(void **state)
{
    (void)state;
    given("/app/", "/");
    cookie("a=b; Path=/", "a=b; Path=/app/");
    cookie("a=b; path=/y/z; HttpOnly", "a=b; path=/app/y/z; HttpOnly");
    cookie("a=b; Path=y", "a=b; Path=y");
    cookie("a=b; Path=", "a=b; Path=");
    map.answered = &members[1];
    cookie("a=b; Path=/base", "a=b; Path=/app");
    cookie("a=b; Path=/base/y; Domain=10.0.0.2", "a=b; Path=/app/y");
    cookie("a=b; Path=/bases", "a=b; Path=/bases");
    cookie("a=b; Path=/", "a=b; Path=/");
    given("/app/", "/x/");
    cookie("a=b; Path=/x/", "a=b; Path=/app/");
    cookie("a=b; Path=/x", "a=b; Path=/app");
    cookie("a=b; Path=/", "a=b; Path=/");
    cookie("a=b; Path=/other", "a=b; Path=/other");
    map.answered = &members[1];
    cookie("a=b; Path=/base", "a=b; Path=/app");
    cookie("a=b; Path=/base/", "a=b; Path=/app");
    cookie("a=b; Path=/bas", "a=b; Path=/bas");
    given("/", "/x/");
    cookie("a=b; Path=/x/", "a=b; Path=/");
    given("/", "/");
    cookie("a=b; Path=/y", "a=b; Path=/y");
}

/* What clients ask for becomes part of no header but as a path. */
static void test_a_prefix_breaks_nothing_open(void **state)
{
    (void)state;
    given("/a b;c\r\nX: y\"?#\xc3\xbc/", "/");
    url("http://10.0.0.1/y", "https://www.example.com/a%20b%3Bc%0D%0AX:%20y%22%3F%23%C3%BC/y");
    cookie("a=b; Path=/y", "a=b; Path=/a%20b%3Bc%0D%0AX:%20y%22%3F%23%C3%BC/y");
}

static void prefixes(const char *public_path, const char *gate_path, const char *public_prefix, const char *gate_prefix)
{
    const char *a, *b;

    reverse_prefixes(pool, public_path, gate_path, &a, &b);
    assert_string_equal(a, public_prefix);
    assert_string_equal(b, gate_prefix);
}

static void test_prefixes_from_one_request(void **state)
{
    (void)state;
    prefixes("/app/y/z", "/x/y/z", "/app", "/x");
    prefixes("/app/y", "/y", "/app", "");
    prefixes("/app/app/y", "/app/y", "/app", "");
    prefixes("/y", "/x/y", "", "/x");
    prefixes("/y", "/y", "", "");
    prefixes("/app/", "/", "/app", "");
    prefixes("/", "/", "", "");
    prefixes("/", "/index.php", "/", "/index.php");
    prefixes("/appy", "/xy", "/appy", "/xy");
    prefixes("", "", "", "");
    /* httpd writes the path that it hands on anew */
    prefixes("/app/a%2Db/%7euser/list", "/a-b/~user/list", "/app", "");
    prefixes("/app/%e4/y", "/x/%E4/y", "/app", "/x");
    prefixes("/app/a%2Fb/y", "/x/a/b/y", "/app/a%2Fb", "/x/a/b");
    prefixes("/app/a%2fb/y", "/x/a%2Fb/y", "/app", "/x");
    prefixes("/app/%25/%zz/%4", "/%25/%zz/%4", "/app", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_become_public),
        cmocka_unit_test(test_an_application_behind_tls_writes_its_own_address),
        cmocka_unit_test(test_what_lies_outside_of_the_route_keeps_its_path),
        cmocka_unit_test(test_prefixes_end_where_segments_do),
        cmocka_unit_test(test_others_are_never_touched),
        cmocka_unit_test(test_public_address_in_its_shortest_form),
        cmocka_unit_test(test_the_answering_member_comes_first),
        cmocka_unit_test(test_stride),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_cookie_domain),
        cmocka_unit_test(test_cookie_path),
        cmocka_unit_test(test_a_prefix_breaks_nothing_open),
        cmocka_unit_test(test_prefixes_from_one_request),
    };

    return cmocka_run_group_tests(tests, pool_open, pool_close);
}
