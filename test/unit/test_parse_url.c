/*
 * test_parse_url.c - URLs of members: one form for each server, and nothing that does not belong into one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>

#include "gate_parse.h"
#include "unit_pool.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_good(void **state)
{
    static const struct {
        const char *text, *scheme, *host, *path, *authority;
        int port, given;
    } good[] = {
        {"http://10.0.0.1:8080", "http", "10.0.0.1", "", "10.0.0.1:8080", 8080, 1},
        {"http://app", "http", "app", "", "app:80", 80, 0},
        {"HTTPS://App.Example.COM/", "https", "app.example.com", "", "app.example.com:443", 443, 0},
        {"http://app:80/Base/", "http", "app", "/Base", "app:80", 80, 1},
        {"http://app/a/b:c", "http", "app", "/a/b:c", "app:80", 80, 0},
        {"http://abc:80/x:y:z", "http", "abc", "/x:y:z", "abc:80", 80, 1},
        {"http://app/a%20b/...", "http", "app", "/a%20b/...", "app:80", 80, 0},
        {"http://app/user@host", "http", "app", "/user@host", "app:80", 80, 0},
        {"https://[2001:DB8:0:0::1]:8443/x", "https", "2001:db8::1", "/x", "[2001:db8::1]:8443", 8443, 1},
        {"http://[::1]", "http", "::1", "", "[::1]:80", 80, 0},
        {"h2://app", "h2", "app", "", "app:443", 443, 0},
        {"h2c://app", "h2c", "app", "", "app:80", 80, 0},
        {"ws://app", "ws", "app", "", "app:80", 80, 0},
        {"wss://app", "wss", "app", "", "app:443", 443, 0},
        {"ajp://app", "ajp", "app", "", "app:8009", 8009, 0},
        {"fcgi://127.0.0.1:9000/srv/www", "fcgi", "127.0.0.1", "/srv/www", "127.0.0.1:9000", 9000, 1},
        {"uwsgi://app:3031", "uwsgi", "app", "", "app:3031", 3031, 1},
        {"scgi://app:4000", "scgi", "app", "", "app:4000", 4000, 1},
        {"http://my_service-1.internal:65535", "http", "my_service-1.internal", "", "my_service-1.internal:65535", 65535, 1},
        {"http://1.example:1", "http", "1.example", "", "1.example:1", 1, 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        gate_url_t url;
        const char *wrong = gate_parse_member_url(pool, good[i].text, &url);

        if (wrong != NULL) {
            fail_msg("'%s' %s", good[i].text, wrong);
        }
        assert_string_equal(url.scheme, good[i].scheme);
        assert_string_equal(url.host, good[i].host);
        assert_string_equal(url.path, good[i].path);
        assert_string_equal(url.authority, good[i].authority);
        assert_int_equal(url.port, good[i].port);
        assert_int_equal(url.port_given, good[i].given);
        assert_null(url.unix_path);
    }
}

static void test_unix(void **state)
{
    gate_url_t url;

    (void)state;
    assert_null(gate_parse_member_url(pool, "unix:/run/App.sock|http://App.Test/base/", &url));
    assert_string_equal(url.unix_path, "/run/App.sock");
    assert_string_equal(url.scheme, "http");
    assert_string_equal(url.host, "app.test");
    assert_string_equal(url.path, "/base");
    assert_string_equal(url.authority, "unix:/run/App.sock");
    assert_int_equal(url.port, 80);
    assert_null(gate_parse_member_url(pool, "UNIX:/run/php.sock|fcgi://php", &url));
    assert_string_equal(url.authority, "unix:/run/php.sock");
    assert_int_equal(url.port, 0);
    assert_null(gate_parse_member_url(pool, "unix:/run/a.sock|http://app:8080", &url));
    assert_int_equal(url.port, 8080);
    assert_int_equal(url.port_given, 1);
}

static const struct {
    const char *text, *says;
} bad[] = {
    {"", "is not a URL such as http://10.0.0.1:8080"},
    {"app:8080", "is not a URL such as"},
    {"http:/app", "is not a URL such as"},
    {"//app", "is not a URL such as"},
    {"://app", "begins with none of the schemes http, https,"},
    {"htp://app", "did you mean 'http'?"},
    {"ftp://app", "begins with none of the schemes"},
    {"gate://app", "begins with none of the schemes"},
    {"http://", "names no host"},
    {"http:///path", "names no host"},
    {"http://:80", "names no host"},
    {"http://user@app", "has a user name"},
    {"http://user:secret@app", "has a user name"},
    {"http://@app", "has a user name"},
    {"http://app?x=1", "has a query"},
    {"http://app/?", "has a query"},
    {"http://app/#top", "has a fragment"},
    {" http://app", "has a space"},
    {"http://app /", "has a space"},
    {"http://app\r\nX: y", "has the byte 0x0d"},
    {"http://app/\t", "has the byte 0x09"},
    {"http://app/\x7f", "has the byte 0x7f"},
    {"http://caf\xc3\xa9", "has the byte 0xc3"},
    {"http://app:0", "has the port '0', which is not a whole number from 1 to 65535"},
    {"http://app:70000", "has the port '70000'"},
    {"http://app:65536", "has the port"},
    {"http://app:18446744073709551617", "has the port"},
    {"http://app:", "has the port ''"},
    {"http://app:80x", "has the port '80x'"},
    {"http://app:+80", "has the port '+80'"},
    {"http://app:/x", "has the port ''"},
    {"fcgi://app", "needs a port: fcgi://app:9000"},
    {"uwsgi://app/", "needs a port"},
    {"scgi://app", "needs a port"},
    {"http://[::1", "has a '[' without a ']'"},
    {"http://[]:80", "not an IPv6 address"},
    {"http://[10.0.0.1]", "not an IPv6 address"},
    {"http://[::g]", "not an IPv6 address"},
    {"http://[fe80::1%25eth0]", "zone"},
    {"http://[::1]x:80", "between the host and the port"},
    {"http://2001:db8::1/", "without brackets"},
    {"http://10.0.0.256", "not an IPv4 address"},
    {"http://10.1", "not an IPv4 address"},
    {"http://2130706433", "not an IPv4 address"},
    {"http://010.0.0.1", "not an IPv4 address"},
    {"http://app..test", "not a host name"},
    {"http://app.test.", "not a host name"},
    {"http://-app", "not a host name"},
    {"http://app-", "not a host name"},
    {"http://a,b", "not a host name"},
    {"http://a%41", "not a host name"},
    {"http://a\\b", "not a host name"},
    {"http://x234567890123456789012345678901234567890123456789012345678901234", "not a host name"},
    {"http://app/a/../b", "'.' or '..' segment"},
    {"http://app/..", "'.' or '..' segment"},
    {"http://app/./b", "'.' or '..' segment"},
    {"http://app/%2e%2E/b", "'.' or '..' segment"},
    {"http://app/.%2e", "'.' or '..' segment"},
    {"http://app//b", "'//'"},
    {"http://app//", "'//'"},
    {"http://app/%", "that two hexadecimal digits do not follow"},
    {"http://app/%4", "that two hexadecimal digits do not follow"},
    {"http://app/%zz", "that two hexadecimal digits do not follow"},
    {"http://app/%00", "control character %00"},
    {"http://app/%0d%0a", "control character %0d"},
    {"http://app/a\\b", "write it as %5C"},
    {"http://app/<x>", "write it as %3C"},
    {"unix:/run/a.sock", "says no protocol"},
    {"unix:run/a.sock|http://app", "no absolute path"},
    {"unix:|http://app", "no absolute path"},
    {"unix:/|http://app", "no absolute path"},
    {"unix:/run/|http://app", "no absolute path"},
    {"unix:/run/a.sock|", "is not a URL such as"},
    {"unix:/run/a.sock|app", "is not a URL such as"},
    {"unix:/run/a.sock|http://", "names no host"},
    {"unix:/run/a.sock|http:", "is not a URL such as"},
    {"unix:/run/a.sock|unix:/run/b.sock|http://app", "begins with none of the schemes"},
    {"unix:/run/a.sock|ftp://app", "begins with none of the schemes"},
    {"unix:/run/a b|http://app", "has a space"},
    {"unix:/run/a?b|http://app", "has a '?' in the path of its socket"},
    {"unix:/run/a%41|http://app", "has a '%' in the path of its socket"},
    {"unix:/run/../a|http://app", "'.' or '..' segment"},
    {"unix://run/a|http://app", "'//'"},
    {"unix:/run/12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
     "|http://app", "has a socket path of more than 107 characters"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        gate_url_t url = {.port = 42};
        const char *wrong = gate_parse_member_url(pool, bad[i].text, &url);

        if (wrong == NULL || strstr(wrong, bad[i].says) == NULL) {
            fail_msg("'%s': '%s' does not say '%s'", bad[i].text, wrong != NULL ? wrong : "(taken)", bad[i].says);
        }
        assert_int_equal(url.port, 42); /* untouched */
        assert_null(url.host);
    }
}

static void test_length(void **state)
{
    char text[GATE_URL_MAX_CHARS + 2];
    gate_url_t url;

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "http://app/", 11);
    text[GATE_URL_MAX_CHARS] = '\0';
    assert_null(gate_parse_member_url(pool, text, &url));
    text[GATE_URL_MAX_CHARS] = 'a';
    text[GATE_URL_MAX_CHARS + 1] = '\0';
    assert_string_equal(gate_parse_member_url(pool, text, &url), "is too long (319 characters at most)");
}

/* What was normalised stays as it is when it is read again. */
static void test_normal_form_is_stable(void **state)
{
    static const char *const texts[] = {"HTTP://APP/x/", "https://[2001:DB8::0:1]", "ajp://T", "ws://10.0.0.1:81/a/b/"};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        gate_url_t once, twice;

        assert_null(gate_parse_member_url(pool, texts[i], &once));
        assert_null(gate_parse_member_url(pool, apr_pstrcat(pool, once.scheme, "://", once.authority, once.path, NULL), &twice));
        assert_string_equal(once.scheme, twice.scheme);
        assert_string_equal(once.authority, twice.authority);
        assert_string_equal(once.host, twice.host);
        assert_string_equal(once.path, twice.path);
        assert_int_equal(once.port, twice.port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_normal_form_is_stable),
    };

    return cmocka_run_group_tests_name("parse_url", tests, pool_open, pool_close);
}
