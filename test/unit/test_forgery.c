/*
 * test_forgery.c - who may change something: hosts, origins, content types, tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "forgery.h"
#include "token.h"

static int is_name(const char *name, void *ctx)
{
    (void)ctx;
    return strcasecmp(name, "www.example.com") == 0;
}

static void test_hosts(void **state)
{
    static const char *const good[] = { "localhost", "LOCALHOST:8080", "127.0.0.1", "192.0.2.7:81", "[::1]", "[2001:db8::1]:8443",
                                        "www.example.com", "WWW.example.com:80", "www.example.com." };
    static const char *const bad[] = { "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.1.evil.example:80",
                                       "www.example.com:80x", "[::1", "[::1]x", "[evil.example]", ":80", "localhost@evil.example",
                                       "www.example.com:80:80", "127.0.0.1 evil", "0x7f000001" };
    char longest[400];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(forgery_host(good[i], is_name, NULL).status, 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        forgery_verdict_t verdict = forgery_host(bad[i], is_name, NULL);

        assert_int_equal(verdict.status, 403);
        assert_string_equal(verdict.rule, "host");
    }
    assert_int_equal(forgery_host(NULL, is_name, NULL).status, 403);
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(forgery_host(longest, is_name, NULL).status, 403);
}

static forgery_request_t from_page(void)
{
    return (forgery_request_t){ .host = "localhost:8080", .origin = "http://localhost:8080", .fetch_site = "same-origin",
                                .content_type = "application/json", .method = "POST", .has_body = 1, .token_good = 1 };
}

static void refused(const forgery_request_t *request, int status, const char *rule)
{
    forgery_verdict_t verdict = forgery_check(request);

    assert_int_equal(verdict.status, status);
    assert_string_equal(verdict.rule, rule);
    assert_true(strlen(verdict.why) > 10);
}

static void test_browsers(void **state)
{
    static const char *const foreign[] = { "null", "", "http://evil.example", "http://localhost", "http://localhost:8081", "file://",
                                           "http://localhost:8080.evil.example", "http://localhost:8080@evil.example",
                                           "http://evil.example#localhost:8080", "HTTP://localhost:8080" };
    forgery_request_t request = from_page();

    (void)state;
    assert_int_equal(forgery_check(&request).status, 0);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        request.origin = foreign[i];
        refused(&request, 403, "origin");
    }
    request = from_page();
    request.origin = NULL;
    assert_int_equal(forgery_check(&request).status, 0);
    request.fetch_site = "cross-site";
    refused(&request, 403, "site");
    request.fetch_site = "same-site";
    refused(&request, 403, "site");
    request = from_page();
    request.token_good = 0;
    refused(&request, 403, "token");
    request.origin = NULL;
    refused(&request, 403, "token");
}

static void test_ports_that_are_not_written(void **state)
{
    forgery_request_t request = from_page();

    (void)state;
    request.host = "localhost";
    request.origin = "https://localhost";
    assert_int_equal(forgery_check(&request).status, 0);
    request.host = "localhost:443";
    assert_int_equal(forgery_check(&request).status, 0);
    request.host = "localhost:80";
    refused(&request, 403, "origin");
    request.host = "[::1]:8080";
    request.origin = "http://[::1]:8080";
    assert_int_equal(forgery_check(&request).status, 0);
}

static void test_scripts_need_only_json(void **state)
{
    static const char *const bad[] = { NULL, "", "text/plain", "text/json", "application/jsonp", "application/x-www-form-urlencoded",
                                       "multipart/form-data; boundary=application/json" };
    static const char *const good[] = { "application/json", "Application/JSON; charset=utf-8", "application/json ;x",
                                        "application/merge-patch+json" };
    forgery_request_t request = { .host = "localhost", .method = "POST", .has_body = 1 };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        request.content_type = good[i];
        assert_int_equal(forgery_check(&request).status, 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        request.content_type = bad[i];
        refused(&request, 415, "type");
        request.has_body = 0; /* a POST without a body is no excuse */
        refused(&request, 415, "type");
        request.has_body = 1;
    }
    request = (forgery_request_t){ .host = "localhost", .method = "DELETE" };
    assert_int_equal(forgery_check(&request).status, 0);
    request.has_body = 1;
    refused(&request, 415, "type");
}

static void test_tokens(void **state)
{
    static const unsigned char secret[TOKEN_SECRET_LEN] = { 1, 2, 3 }, other[TOKEN_SECRET_LEN] = { 3, 2, 1 };
    const int64_t half_day = INT64_C(12) * 3600 * 1000000, now = half_day * 40000 + 5;
    char token[TOKEN_LEN], again[TOKEN_LEN];

    (void)state;
    assert_int_equal(token_make(secret, "alice", now, token), 0);
    assert_int_equal(strlen(token), TOKEN_LEN - 1);
    assert_int_equal(token_make(secret, "alice", now + 1000000, again), 0);
    assert_string_equal(token, again);
    assert_true(token_good(secret, "alice", now, token));
    assert_true(token_good(secret, "alice", now + half_day, token));
    assert_false(token_good(secret, "alice", now + 2 * half_day, token));
    assert_false(token_good(secret, "alice", now - half_day, token));
    assert_false(token_good(secret, "bob", now, token));
    assert_false(token_good(secret, "", now, token));
    assert_false(token_good(other, "alice", now, token));
    assert_false(token_good(secret, "alice", now, NULL));
    assert_false(token_good(secret, "alice", now, ""));
    for (size_t i = 0; i < TOKEN_LEN - 1; i++) {
        char was = token[i];

        token[i] = was == '0' ? '1' : '0';
        assert_false(token_good(secret, "alice", now, token));
        token[i] = was;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_browsers),
        cmocka_unit_test(test_ports_that_are_not_written),
        cmocka_unit_test(test_scripts_need_only_json),
        cmocka_unit_test(test_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
