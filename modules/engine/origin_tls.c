/*
 * origin_tls.c - TLS to members over a socket that never waits. A BIO of our own remembers when the socket was emptied, so that OpenSSL's
 * reading until it must wait costs no system call that finds nothing.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "origin_tls.h"

#define RECORD_BYTES 16384
#define CIPHERS_TEXT 8192
#define DEPTH_DEFAULT 1         /* mod_ssl's */

struct origin_tls {
    SSL_CTX *ctx;
    origin_tls_rules_t rules;
    STACK_OF(X509_INFO) *certificates; /* NULL: none */
};

struct origin_tls_session {
    SSL *ssl;
    const origin_tls_t *tls;
    const char *host;
    origin_tls_memory_t *memory;
    int fd;
    int drained, hup;           /* drained: nothing to read until the socket is said to be readable */
    int broken;
    int h2;
    char *out;                  /* a record's clear text that OpenSSL holds on to; NULL: none */
    size_t out_len;
    char why[120];
};

/* --- the socket as OpenSSL sees it --- */

static int bio_read(BIO *bio, char *into, int size)
{
    origin_tls_session_t *s = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    if (s->drained) {
        BIO_set_retry_read(bio);
        errno = EAGAIN;
        return -1;
    }
    do {
        n = recv(s->fd, into, (size_t)size, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_read(bio);
        s->drained = 1;
    }
    else if (n > 0 && n < size && !s->hup) {
        s->drained = 1;
    }
    return (int)n;
}

static int bio_write(BIO *bio, const char *from, int size)
{
    origin_tls_session_t *s = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    do {
        n = send(s->fd, from, (size_t)size, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_write(bio);
    }
    return (int)n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_init(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gatehouse member");

    if (method) {
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_ctrl(method, bio_ctrl);
        bio_method = method;
    }
}

/* --- the context --- */

static origin_tls_session_t *session_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

static int verify(int ok, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    origin_tls_session_t *s = session_of(ssl);

    if (X509_STORE_CTX_get_error_depth(store) > s->tls->rules.depth) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_CHAIN_TOO_LONG);
        ok = 0;
    }
    if (!ok && !s->why[0]) {
        snprintf(s->why, sizeof s->why, "%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    }
    return ok;
}

static int new_session(SSL *ssl, SSL_SESSION *session)
{
    origin_tls_session_t *s = session_of(ssl);

    if (!s) {
        return 0;
    }
    if (s->memory->session) {
        SSL_SESSION_free(s->memory->session);
    }
    s->memory->session = session;
    return 1;
}

/* The member asks for a certificate: the first that one of its CAs has issued; the first of all if it names none. */
static int choose_certificate(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
    STACK_OF(X509_INFO) *have = session_of(ssl)->tls->certificates;
    const STACK_OF(X509_NAME) *wanted = SSL_get_client_CA_list(ssl);
    X509_INFO *found = NULL;
    int i, j;

    if (!wanted || sk_X509_NAME_num(wanted) <= 0) {
        found = sk_X509_INFO_value(have, 0);
    }
    for (i = 0; !found && i < sk_X509_NAME_num(wanted); i++) {
        for (j = 0; !found && j < sk_X509_INFO_num(have); j++) {
            X509_INFO *one = sk_X509_INFO_value(have, j);

            if (X509_NAME_cmp(X509_get_issuer_name(one->x509), sk_X509_NAME_value(wanted, i)) == 0) {
                found = one;
            }
        }
    }
    if (!found || !X509_up_ref(found->x509)) {
        return 0;
    }
    if (!EVP_PKEY_up_ref(found->x_pkey->dec_pkey)) {
        X509_free(found->x509);
        return 0;
    }
    *certificate = found->x509;
    *key = found->x_pkey->dec_pkey;
    return 1;
}

static const char *load_certificates(origin_tls_t *tls, const char *file)
{
    BIO *bio = BIO_new_file(file, "r");
    int i;

    if (!bio) {
        return "SSLProxyMachineCertificateFile cannot be read";
    }
    tls->certificates = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (!tls->certificates || sk_X509_INFO_num(tls->certificates) == 0) {
        return "SSLProxyMachineCertificateFile holds no certificate";
    }
    for (i = 0; i < sk_X509_INFO_num(tls->certificates); i++) {
        const X509_INFO *one = sk_X509_INFO_value(tls->certificates, i);

        if (!one->x509 || !one->x_pkey || !one->x_pkey->dec_pkey) {
            return "SSLProxyMachineCertificateFile holds more than certificates, each with its key";
        }
    }
    return NULL;
}

/* Both lists of a context, TLS 1.3's apart. */
static int copy_ciphers(SSL_CTX *to, const SSL_CTX *from)
{
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(from);
    char *text = calloc(2, CIPHERS_TEXT), *suites = text ? text + CIPHERS_TEXT : NULL;
    int i, ok;

    if (!text) {
        return 0;
    }
    for (i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        char *list = strcmp(SSL_CIPHER_get_version(cipher), "TLSv1.3") == 0 ? suites : text;
        size_t len = strlen(list);

        snprintf(list + len, CIPHERS_TEXT - len, "%s%s", len ? ":" : "", SSL_CIPHER_get_name(cipher));
    }
    ok = SSL_CTX_set_ciphersuites(to, suites) && (!text[0] || SSL_CTX_set_cipher_list(to, text));
    free(text);
    return ok;
}

static const char *copy_context(SSL_CTX *to, SSL_CTX *from)
{
    X509_STORE *store = SSL_CTX_get_cert_store(from);

    SSL_CTX_set_options(to, SSL_CTX_get_options(from));
    SSL_CTX_set_security_level(to, SSL_CTX_get_security_level(from));
    if (!SSL_CTX_set_min_proto_version(to, (int)SSL_CTX_get_min_proto_version(from))
        || !SSL_CTX_set_max_proto_version(to, (int)SSL_CTX_get_max_proto_version(from))) {
        return "SSLProxyProtocol cannot be taken over";
    }
    if (!copy_ciphers(to, from)) {
        return "SSLProxyCipherSuite cannot be taken over";
    }
    SSL_CTX_set1_cert_store(to, store);
    if (!SSL_CTX_set1_param(to, SSL_CTX_get0_param(from))) {
        return "the parameters of verification cannot be taken over";
    }
    return NULL;
}

void origin_tls_rules_default(origin_tls_rules_t *rules)
{
    memset(rules, 0, sizeof *rules);
    rules->depth = DEPTH_DEFAULT;
    rules->check_expire = 1;
    rules->check_name = rules->check_cn = -1;
}

origin_tls_t *origin_tls_create(SSL_CTX *model, const origin_tls_rules_t *rules, const char **why)
{
    origin_tls_t *tls = calloc(1, sizeof *tls);
    int verifies;

    pthread_once(&bio_once, bio_init);
    *why = "no memory";
    if (!tls || !bio_method || !(tls->ctx = SSL_CTX_new(TLS_client_method()))) {
        origin_tls_destroy(tls);
        return NULL;
    }
    tls->rules = *rules;
    tls->rules.certificate_file = NULL;
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(tls->ctx, 1);
    SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls->ctx, new_session);
    *why = model ? copy_context(tls->ctx, model) : NULL;
    if (!*why && rules->certificate_file) {
        *why = load_certificates(tls, rules->certificate_file);
        SSL_CTX_set_client_cert_cb(tls->ctx, choose_certificate);
        SSL_CTX_set_post_handshake_auth(tls->ctx, 1);
    }
    verifies = rules->verify || (model && SSL_CTX_get_verify_mode(model) != SSL_VERIFY_NONE);
    SSL_CTX_set_verify(tls->ctx, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, verifies ? verify : NULL);
    if (*why) {
        origin_tls_destroy(tls);
        ERR_clear_error();
        return NULL;
    }
    return tls;
}

void origin_tls_destroy(origin_tls_t *tls)
{
    if (tls) {
        sk_X509_INFO_pop_free(tls->certificates, X509_INFO_free);
        SSL_CTX_free(tls->ctx);
        free(tls);
    }
}

/* --- the handshake --- */

static int is_address(const char *host)
{
    struct in6_addr any;

    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

origin_tls_session_t *origin_tls_begin(const origin_tls_t *tls, int fd, const char *host, origin_tls_memory_t *memory, int h2)
{
    static const unsigned char offer[] = { 2, 'h', '2' };
    origin_tls_session_t *s = calloc(1, sizeof *s);
    BIO *bio;

    if (!s) {
        return NULL;
    }
    s->tls = tls;
    s->fd = fd;
    s->host = host;
    s->memory = memory;
    s->h2 = h2;
    s->ssl = SSL_new(tls->ctx);
    bio = s->ssl ? BIO_new(bio_method) : NULL;
    if (!bio) {
        origin_tls_end(s);
        return NULL;
    }
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(s->ssl, bio, bio);
    SSL_set_app_data(s->ssl, s);
    SSL_set_connect_state(s->ssl);
    if (host && host[0] && !is_address(host)) {
        SSL_set_tlsext_host_name(s->ssl, host); /* an address is no name: RFC 6066, 3 */
    }
    if (memory->session) {
        SSL_set_session(s->ssl, memory->session);
    }
    if (h2) {
        SSL_set_alpn_protos(s->ssl, offer, sizeof offer);
    }
    return s;
}

/* A name of the certificate: "*." stands for one label, the first. */
static int name_matches(const char *name, size_t len, const char *host)
{
    const char *rest = strchr(host, '.');

    if (memchr(name, 0, len)) {
        return 0;
    }
    if (len > 2 && name[0] == '*' && name[1] == '.' && rest && strlen(rest) == len - 1 && strncasecmp(name + 1, rest, len - 1) == 0) {
        return 1;
    }
    return strlen(host) == len && strncasecmp(name, host, len) == 0;
}

static int common_name_matches(X509 *certificate, const char *host, int all)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int at = -1, found = 0;

    while (!found && (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0) {
        unsigned char *text = NULL;
        int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));

        if (len > 0) {
            found = name_matches((const char *)text, (size_t)len, host);
        }
        OPENSSL_free(text);
        if (!all) {
            break;
        }
    }
    return found;
}

static int any_name_matches(X509 *certificate, const char *host)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int i, found = 0;

    for (i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);

        if (one->type == GEN_DNS) {
            found = name_matches((const char *)ASN1_STRING_get0_data(one->d.dNSName), (size_t)ASN1_STRING_length(one->d.dNSName), host);
        }
    }
    GENERAL_NAMES_free(names);
    return found || common_name_matches(certificate, host, 1);
}

/* @return NULL or what is wrong with the member's certificate */
static const char *check_certificate(const origin_tls_session_t *s)
{
    const origin_tls_rules_t *rules = &s->tls->rules;
    X509 *certificate = SSL_get1_peer_certificate(s->ssl);
    const char *wrong = NULL;

    if (rules->check_expire
        && (!certificate || X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0
            || X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)) {
        wrong = "the certificate is expired";
    }
    if (!wrong && s->host && s->host[0]) {
        if (rules->check_name != 0 && (rules->check_cn != 0 || rules->check_name == 1)) {
            wrong = certificate && any_name_matches(certificate, s->host) ? NULL : "the certificate is for another name";
        }
        else if (rules->check_cn == 1) {
            wrong = certificate && common_name_matches(certificate, s->host, 0) ? NULL : "the certificate is for another name";
        }
    }
    X509_free(certificate);
    return wrong;
}

static const char *check_protocol(const origin_tls_session_t *s)
{
    const unsigned char *chosen = NULL;
    unsigned len = 0;

    if (s->h2) {
        SSL_get0_alpn_selected(s->ssl, &chosen, &len);
    }
    return !s->h2 || (len == 2 && memcmp(chosen, "h2", 2) == 0) ? NULL : "the member does not offer HTTP/2 (ALPN h2)";
}

static void say_why(origin_tls_session_t *s, int failure)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    s->broken = 1;
    if (!s->why[0]) {
        snprintf(s->why, sizeof s->why, "%s", reason ? reason : failure ? strerror(failure) : "the connection was closed");
    }
    ERR_clear_error();
}

int origin_tls_shake(origin_tls_session_t *s)
{
    const char *wrong;
    int rv, failure;

    ERR_clear_error();
    errno = 0;
    rv = SSL_do_handshake(s->ssl);
    if (rv != 1) {
        failure = errno;
        rv = SSL_get_error(s->ssl, rv);
        if (rv == SSL_ERROR_WANT_READ || rv == SSL_ERROR_WANT_WRITE) {
            return 0;
        }
        say_why(s, rv == SSL_ERROR_SYSCALL ? failure : 0);
        return -1;
    }
    wrong = check_certificate(s);
    wrong = wrong ? wrong : check_protocol(s);
    if (wrong) {
        snprintf(s->why, sizeof s->why, "%s", wrong);
        s->broken = 1;
        origin_tls_memory_clear(s->memory);
        return -1;
    }
    return 1;
}

const char *origin_tls_why(const origin_tls_session_t *s)
{
    return s->why;
}

int origin_tls_resumed(const origin_tls_session_t *s)
{
    return SSL_session_reused(s->ssl);
}

/* --- bytes --- */

void origin_tls_readable(origin_tls_session_t *s, int hup)
{
    s->drained = 0;
    s->hup |= hup;
}

/* @return -1, and errno as a socket would have it */
static int failed(origin_tls_session_t *s, int rv, int failure)
{
    switch (SSL_get_error(s->ssl, rv)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        s->broken = 1;
        ERR_clear_error();
        errno = failure ? failure : ECONNRESET;
        return -1;
    default:
        say_why(s, 0);
        errno = ECONNRESET;
        return -1;
    }
}

ssize_t origin_tls_recv(origin_tls_session_t *s, char *into, size_t size)
{
    size_t got = 0;
    int rv = 1, failure = 0;

    if (s->broken) {
        errno = ECONNRESET;
        return -1;
    }
    ERR_clear_error();
    while (got < size && rv > 0) { /* a record at a time */
        errno = 0;
        rv = SSL_read(s->ssl, into + got, (int)(size - got));
        failure = errno;
        got += rv > 0 ? (size_t)rv : 0;
    }
    return got ? (ssize_t)got : failed(s, rv, failure);
}

int origin_tls_flush(origin_tls_session_t *s)
{
    int rv, failure;

    if (!s->out) {
        return 1;
    }
    ERR_clear_error();
    errno = 0;
    rv = SSL_write(s->ssl, s->out, (int)s->out_len);
    failure = errno;
    if (rv > 0) {
        free(s->out);
        s->out = NULL;
        return 1;
    }
    rv = failed(s, rv, failure);
    if (rv < 0 && errno == EAGAIN) {
        return 0;
    }
    errno = errno ? errno : ECONNRESET;
    return -1;
}

/* One record. @return 1: gone; 0: OpenSSL keeps it, and so do we; -1: errno */
static int put(origin_tls_session_t *s, const char *from, size_t len)
{
    int rv, failure;

    errno = 0;
    rv = SSL_write(s->ssl, from, (int)len);
    failure = errno;
    if (rv > 0) {
        return 1;
    }
    rv = failed(s, rv, failure);
    if (rv < 0 && errno == EAGAIN) {
        s->out = malloc(len);
        if (!s->out) {
            s->broken = 1;
            errno = ENOMEM;
            return -1;
        }
        memcpy(s->out, from, len);
        s->out_len = len;
        return 0;
    }
    errno = errno ? errno : ECONNRESET;
    return -1;
}

ssize_t origin_tls_send(origin_tls_session_t *s, const struct iovec *parts, int count, char *scratch, size_t scratch_size)
{
    size_t most = scratch_size < RECORD_BYTES ? scratch_size : RECORD_BYTES, done = 0, at = 0;
    int part = 0, rv = origin_tls_flush(s);

    if (rv != 1) {
        errno = rv == 0 ? EAGAIN : errno;
        return -1;
    }
    ERR_clear_error();
    while (part < count && rv == 1) {
        const char *from = (const char *)parts[part].iov_base + at;
        size_t len = parts[part].iov_len - at;

        if (len >= most || part == count - 1) { /* a record's worth in one piece */
            len = len < most ? len : most;
            at += len;
        }
        else {
            for (len = 0; part < count && len < most; ) {
                size_t n = parts[part].iov_len - at < most - len ? parts[part].iov_len - at : most - len;

                memcpy(scratch + len, (const char *)parts[part].iov_base + at, n);
                len += n;
                at += n;
                if (at == parts[part].iov_len) {
                    part++;
                    at = 0;
                }
            }
            from = scratch;
        }
        rv = len ? put(s, from, len) : 1;
        done += rv >= 0 ? len : 0;
        if (part < count && at == parts[part].iov_len) {
            part++;
            at = 0;
        }
    }
    return rv < 0 && !done ? -1 : (ssize_t)done;
}

void origin_tls_shutdown(origin_tls_session_t *s)
{
    if (!s->broken && !s->out && SSL_is_init_finished(s->ssl)) {
        ERR_clear_error();
        SSL_shutdown(s->ssl);
    }
}

void origin_tls_end(origin_tls_session_t *s)
{
    if (s->ssl) {
        SSL_free(s->ssl);
    }
    free(s->out);
    free(s);
}

void origin_tls_memory_clear(origin_tls_memory_t *memory)
{
    if (memory->session) {
        SSL_SESSION_free(memory->session);
        memory->session = NULL;
    }
}
