/* test_origin_tls.c - members that speak TLS: what is checked of their certificates, sessions resumed, large bodies both ways. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <apr_general.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "origin_world.h"

#define BIG (3 * 1024 * 1024)

/* --- a certificate of its own --- */

typedef struct {
    X509 *certificate;
    EVP_PKEY *key;
} identity_t;

static identity_t identity(const char *cn, const char *alternative, int days)
{
    identity_t id = { X509_new(), EVP_EC_gen("P-256") };
    X509_NAME *name = X509_get_subject_name(id.certificate);

    X509_set_version(id.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(id.certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(id.certificate), -86400L * 10);
    X509_gmtime_adj(X509_getm_notAfter(id.certificate), 86400L * days);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(id.certificate, name);
    if (alternative) {
        X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alternative);

        X509_add_ext(id.certificate, names, -1);
        X509_EXTENSION_free(names);
    }
    X509_set_pubkey(id.certificate, id.key);
    X509_sign(id.certificate, id.key, EVP_sha256());
    return id;
}

static void identity_free(identity_t *id)
{
    X509_free(id->certificate);
    EVP_PKEY_free(id->key);
}

/* --- a member with TLS --- */

typedef struct {
    SSL_CTX *ctx;
    _Atomic int resumed, shaken, client_seen;
    _Atomic size_t taken;
} server_t;

static int read_head(SSL *ssl, char *last)
{
    char c;

    while (SSL_read(ssl, &c, 1) == 1) {
        memmove(last, last + 1, 3);
        last[3] = c;
        if (memcmp(last, "\r\n\r\n", 4) == 0) {
            return 1;
        }
    }
    return 0;
}

static void answer_all(SSL *ssl, server_t *server)
{
    static const char hello[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    static const char big[] = "HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n";
    char last[4] = { 0 }, *bytes = calloc(1, BIG);

    while (read_head(ssl, last)) {
        if (server->taken == 1) { /* an upload */
            for (server->taken = 0; server->taken < BIG;) {
                int n = SSL_read(ssl, bytes, BIG);

                if (n <= 0) {
                    break;
                }
                server->taken += (size_t)n;
            }
        }
        if (server->taken == 2) {
            memset(bytes, 'b', BIG);
            SSL_write(ssl, big, sizeof big - 1);
            SSL_write(ssl, bytes, BIG);
        }
        else {
            SSL_write(ssl, hello, sizeof hello - 1);
        }
    }
    free(bytes);
}

static void serve_tls(member_t *m, int fd, int number)
{
    server_t *server = m->ctx;
    SSL *ssl = SSL_new(server->ctx);

    (void)number;
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        X509 *client = SSL_get1_peer_certificate(ssl);

        server->shaken++;
        server->resumed += SSL_session_reused(ssl);
        server->client_seen += client != NULL;
        X509_free(client);
        answer_all(ssl, server);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

static void server_open(server_t *server, const identity_t *id)
{
    memset(server, 0, sizeof *server);
    server->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(server->ctx, id->certificate);
    SSL_CTX_use_PrivateKey(server->ctx, id->key);
    SSL_CTX_set_session_id_context(server->ctx, (const unsigned char *)"t", 1);
}

/* As mod_ssl's: with these CAs. */
static SSL_CTX *model(const identity_t *ca, int verify)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (ca) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca->certificate);
    }
    SSL_CTX_set_verify(ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    return ctx;
}

typedef struct {
    world_t w;
    member_t m;
    server_t server;
    identity_t id;
    SSL_CTX *model;
    origin_tls_t *tls;
} stage_t;

static void stage_open(stage_t *s, identity_t id, const origin_tls_rules_t *rules, int trusted)
{
    const char *why;

    memset(s, 0, sizeof *s);
    s->id = id;
    server_open(&s->server, &s->id);
    s->model = model(trusted ? &s->id : NULL, rules->verify);
    s->tls = origin_tls_create(s->model, rules, &why);
    assert_non_null(s->tls);
    world_open(&s->w, NULL);
    member_open(&s->m, &s->w, serve_tls, &s->server);
}

static void stage_close(stage_t *s)
{
    member_close(&s->m);
    world_close(&s->w);
    origin_tls_destroy(s->tls);
    SSL_CTX_free(s->model);
    SSL_CTX_free(s->server.ctx);
    identity_free(&s->id);
}

static void prepare(stage_t *s, visit_t *v, origin_tls_t *tls, const char *host)
{
    visit_init(v, &s->w, &s->m);
    v->want.tls = tls;
    v->want.tls_host = host;
}

static void go(stage_t *s, visit_t *v, const char *host)
{
    prepare(s, v, s->tls, host);
    assert_true(visit(v));
}

/* --- tests --- */

static void test_names(void **state)
{
    static const struct {
        const char *cn, *alternative, *host;
        int name, common, good;
    } each[] = {
        { "a.example", NULL, "a.example", -1, -1, 1 },
        { "a.example", NULL, "A.Example", -1, -1, 1 },
        { "a.example", NULL, "b.example", -1, -1, 0 },
        { "a.example", NULL, "b.example", 0, -1, 1 },
        { "a.example", NULL, "b.example", -1, 0, 1 }, /* CheckPeerCN off, as mod_ssl has it */
        { "a.example", NULL, "b.example", 1, 0, 0 },
        { "a.example", NULL, "b.example", 0, 1, 0 },
        { "a.example", NULL, "a.example", 0, 1, 1 },
        { "x", "DNS:b.example,DNS:*.c.example", "b.example", -1, -1, 1 },
        { "x", "DNS:b.example,DNS:*.c.example", "d.c.example", -1, -1, 1 },
        { "x", "DNS:b.example,DNS:*.c.example", "c.example", -1, -1, 0 },
        { "x", "DNS:b.example,DNS:*.c.example", "e.d.c.example", -1, -1, 0 },
        { "127.0.0.1", NULL, NULL, -1, -1, 1 }, /* the member's own host */
        { "localhost", NULL, NULL, -1, -1, 0 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof each / sizeof each[0]; i++) {
        origin_tls_rules_t rules;
        stage_t s;
        visit_t v;

        origin_tls_rules_default(&rules);
        rules.check_name = each[i].name;
        rules.check_cn = each[i].common;
        stage_open(&s, identity(each[i].cn, each[i].alternative, 10), &rules, 0);
        go(&s, &v, each[i].host);
        if (each[i].good) {
            assert_hello(&v);
            assert_int_equal(v.tls_failed, 0);
        }
        else {
            assert_int_equal(v.how, ORIGIN_REFUSED);
            assert_int_equal(v.tls_failed, 1);
            assert_string_equal(v.why, "TLS handshake failed: the certificate is for another name");
            assert_int_equal(v.bytes_out, 0);
        }
        visit_clear(&v);
        stage_close(&s);
    }
}

static void test_trust(void **state)
{
    static const struct {
        int verify, trusted, days, expire, good;
    } each[] = { { 1, 1, 10, 1, 1 }, { 1, 0, 10, 1, 0 }, { 0, 0, 10, 1, 1 }, { 0, 0, -1, 1, 0 }, { 0, 0, -1, 0, 1 }, { 1, 1, -1, 0, 0 } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof each / sizeof each[0]; i++) {
        origin_tls_rules_t rules;
        stage_t s;
        visit_t v;

        origin_tls_rules_default(&rules);
        rules.verify = each[i].verify;
        rules.check_expire = each[i].expire;
        stage_open(&s, identity("a.example", NULL, each[i].days), &rules, each[i].trusted);
        go(&s, &v, "a.example");
        assert_int_equal(v.ended, each[i].good);
        assert_int_equal(v.tls_failed, !each[i].good);
        visit_clear(&v);
        stage_close(&s);
    }
}

static void test_reuse_and_resumption(void **state)
{
    origin_tls_rules_t rules;
    stage_t s;
    visit_t v;
    int i;

    (void)state;
    origin_tls_rules_default(&rules);
    stage_open(&s, identity("a.example", "DNS:a.example,DNS:b.example", 10), &rules, 0);
    for (i = 0; i < 5; i++) {
        go(&s, &v, "a.example");
        assert_hello(&v);
        assert_int_equal(v.reused, i > 0);
        visit_clear(&v);
    }
    assert_int_equal(s.server.shaken, 1);
    prepare(&s, &v, s.tls, "a.example"); /* another connection: the session is taken up */
    v.want.fresh = 1;
    assert_true(visit(&v));
    assert_hello(&v);
    visit_clear(&v);
    assert_int_equal(s.server.shaken, 2);
    assert_int_equal(s.server.resumed, 1);
    go(&s, &v, "b.example"); /* another name is another connection, and another session */
    assert_hello(&v);
    assert_int_equal(v.reused, 0);
    visit_clear(&v);
    assert_int_equal(s.server.shaken, 3);
    assert_int_equal(s.server.resumed, 1);
    for (i = 0; i < 100; i++) { /* names that clients choose do not pile up */
        char host[32];

        snprintf(host, sizeof host, "%c%d.example", 'a' + i % 2, i);
        go(&s, &v, host);
        assert_int_equal(v.failed, 1);
        visit_clear(&v);
    }
    stage_close(&s);
}

static void test_large(void **state)
{
    char *request = malloc(BIG + 100);
    int head = sprintf(request, "POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n", BIG);
    origin_tls_rules_t rules;
    stage_t s;
    visit_t v;
    size_t i;

    (void)state;
    memset(request + head, 'a', BIG);
    origin_tls_rules_default(&rules);
    stage_open(&s, identity("a.example", NULL, 10), &rules, 0);
    s.server.taken = 1;
    prepare(&s, &v, s.tls, "a.example");
    v.request = request;
    v.request_len = (size_t)head + BIG;
    assert_true(visit(&v));
    assert_hello(&v);
    assert_int_equal(v.bytes_out, v.request_len);
    assert_int_equal(s.server.taken, BIG);
    visit_clear(&v);
    s.server.taken = 2;
    go(&s, &v, "a.example");
    assert_int_equal(v.reused, 1);
    assert_int_equal(v.ended, 1);
    assert_int_equal(v.body_len, BIG);
    for (i = 0; i < BIG && v.body[i] == 'b'; i++) {
    }
    assert_int_equal(i, BIG);
    visit_clear(&v);
    stage_close(&s);
    free(request);
}

static void say_plain(member_t *m, int fd, int number)
{
    (void)m;
    (void)number;
    member_say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    member_sleep_ms(20);
}

static void stall(member_t *m, int fd, int number)
{
    char c;

    (void)m;
    (void)number;
    while (recv(fd, &c, 1, 0) == 1) {
    }
}

static void test_no_tls_there(void **state)
{
    static const member_serve_t each[] = { say_plain, stall };
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        origin_tls_rules_t rules;
        const char *why;
        origin_tls_t *tls;
        world_t w;
        member_t m;
        visit_t v;

        origin_tls_rules_default(&rules);
        tls = origin_tls_create(NULL, &rules, &why);
        pair_open(&w, &m, NULL, each[i], NULL);
        visit_init(&v, &w, &m);
        v.want.tls = tls;
        v.want.connect_usec = 100000;
        assert_true(visit(&v));
        assert_int_equal(v.how, ORIGIN_REFUSED);
        assert_int_equal(v.tls_failed, 1);
        visit_clear(&v);
        pair_close(&w, &m);
        origin_tls_destroy(tls);
    }
}

/* --- certificates of ours --- */

static char *write_identity(const identity_t *id, int with_key)
{
    char *path = strdup("/tmp/gate-identity-XXXXXX");
    FILE *f = fdopen(mkstemp(path), "w");

    PEM_write_X509(f, id->certificate);
    if (with_key) {
        PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
    }
    fclose(f);
    return path;
}

static int anybody(int ok, X509_STORE_CTX *ctx)
{
    (void)ok;
    (void)ctx;
    return 1;
}

static void test_client_certificate(void **state)
{
    identity_t ours = identity("gate", NULL, 10);
    char *file = write_identity(&ours, 1), *keyless = write_identity(&ours, 0);
    origin_tls_rules_t rules;
    const char *why;
    stage_t s;
    visit_t v;

    (void)state;
    origin_tls_rules_default(&rules);
    rules.certificate_file = keyless;
    assert_null(origin_tls_create(NULL, &rules, &why));
    assert_non_null(strstr(why, "SSLProxyMachineCertificateFile"));
    rules.certificate_file = "/no/such/file";
    assert_null(origin_tls_create(NULL, &rules, &why));
    rules.certificate_file = file;
    stage_open(&s, identity("a.example", NULL, 10), &rules, 0);
    SSL_CTX_set_verify(s.server.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, anybody);
    go(&s, &v, "a.example");
    assert_hello(&v);
    assert_int_equal(s.server.client_seen, 1);
    visit_clear(&v);
    stage_close(&s);
    unlink(file);
    unlink(keyless);
    free(file);
    free(keyless);
    identity_free(&ours);
}

/* What the model allows is all that is spoken. */
static void test_protocols(void **state)
{
    origin_tls_rules_t rules;
    SSL_CTX *like = SSL_CTX_new(TLS_client_method());
    const char *why;
    origin_tls_t *tls;
    stage_t s;
    visit_t v;

    (void)state;
    origin_tls_rules_default(&rules);
    SSL_CTX_set_max_proto_version(like, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(like, "ECDHE-ECDSA-AES256-GCM-SHA384");
    tls = origin_tls_create(like, &rules, &why);
    assert_non_null(tls);
    stage_open(&s, identity("a.example", NULL, 10), &rules, 0);
    SSL_CTX_set_min_proto_version(s.server.ctx, TLS1_3_VERSION);
    prepare(&s, &v, tls, "a.example");
    assert_true(visit(&v));
    assert_int_equal(v.tls_failed, 1);
    visit_clear(&v);
    SSL_CTX_set_min_proto_version(s.server.ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(s.server.ctx, "ECDHE-ECDSA-AES128-GCM-SHA256");
    prepare(&s, &v, tls, "a.example");
    assert_true(visit(&v));
    assert_int_equal(v.tls_failed, 1);
    visit_clear(&v);
    SSL_CTX_set_cipher_list(s.server.ctx, "ALL");
    prepare(&s, &v, tls, "a.example");
    assert_true(visit(&v));
    assert_hello(&v);
    visit_clear(&v);
    stage_close(&s);
    origin_tls_destroy(tls);
    SSL_CTX_free(like);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_reuse_and_resumption),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_no_tls_there),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_protocols),
    };
    int rv;

    signal(SIGPIPE, SIG_IGN);
    apr_initialize();
    rv = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rv;
}
