/* client_tls.c - see client_tls.h: the SSL is found by the hook that mod_ssl has for this. */
#include "client_tls.h"

#include <apr_optional_hooks.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <util_filter.h>

#include "engine.h"

/* As mod_ssl_openssl.h, which not every installation has, would have it. */
typedef int ssl_HOOK_pre_handshake_t(conn_rec *c, SSL *ssl, int is_proxy);

struct client_tls {
    conn_rec *c;
    const client_tls_wire_t *wire;
    void *ctx;
    SSL *ssl;                   /* NULL: mod_ssl has it */
    BIO *bio;                   /* ours; NULL: not made yet */
    BIO *in, *out;              /* mod_ssl's, while ours is in their place */
    char *scratch;
    char *kept;                 /* malloc; NULL: what is raw is in the scratch */
    const char *raw;            /* received, not taken by OpenSSL */
    size_t raw_len, took;
    int starved;                /* OpenSSL asked for more than there is */
    int eof;
};

static BIO_METHOD *method;      /* made once in a child */
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

/* ---- what OpenSSL calls ------------------------------------------------------------------------------------------------------ */

static void drop(client_tls_t *tls, size_t len)
{
    tls->raw += len;
    tls->raw_len -= len;
    if (tls->raw_len == 0 && tls->kept) {
        free(tls->kept);
        tls->kept = NULL;
    }
}

static int bio_read(BIO *bio, char *to, int room)
{
    client_tls_t *tls = BIO_get_data(bio);
    size_t len = (size_t)room;

    BIO_clear_retry_flags(bio);
    if (tls->raw_len == 0) {
        ssize_t got = tls->wire->receive(tls->ctx, tls->scratch, CLIENT_TLS_SCRATCH);

        if (got <= 0) {
            tls->eof |= got == 0;
            if (got == -1) {
                tls->starved = 1;
                BIO_set_retry_read(bio);
            }
            return got == 0 ? 0 : -1;
        }
        tls->raw = tls->scratch;
        tls->raw_len = (size_t)got;
    }
    len = len < tls->raw_len ? len : tls->raw_len;
    memcpy(to, tls->raw, len);
    tls->took += len;
    drop(tls, len);
    return (int)len;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
    client_tls_t *tls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    return tls->wire->send(tls->ctx, bytes, (size_t)len) == 0 ? len : -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    const client_tls_t *tls = BIO_get_data(bio);

    (void)number, (void)pointer;
    switch (command) {
    case BIO_CTRL_EOF:
        return tls->eof;
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    default:
        return 0;
    }
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gatehouse client");
    if (method) {
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
}

/* ---- between mod_ssl and us ---------------------------------------------------------------------------------------------------- */

/* Filters that do with TLS, or nothing while the loop has the connection. */
static int all_known(const conn_rec *c)
{
    static const char *const known[] = {
        "ssl/tls filter", "ssl/tls coalescing filter", "core_in", "core", "reqtimeout", "log_input_output", "gate_given", "gate_wire"
    };
    const ap_filter_t *chains[] = { c->input_filters, c->output_filters };

    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        for (const ap_filter_t *f = chains[i]; f; f = f->next) {
            size_t n = 0;

            while (n < sizeof known / sizeof *known && strcasecmp(f->frec->name, known[n]) != 0) {
                n++;
            }
            if (n == sizeof known / sizeof *known) {
                return 0;
            }
        }
    }
    return 1;
}

static apr_status_t end(void *tls_)
{
    client_tls_t *tls = tls_;

    client_tls_give_back(tls);
    drop(tls, tls->raw_len);
    BIO_free(tls->bio);
    tls->bio = NULL;
    return APR_SUCCESS;
}

client_tls_t *client_tls_make(conn_rec *c, const client_tls_wire_t *wire, void *ctx, char *scratch)
{
    client_tls_t *tls = apr_pcalloc(c->pool, sizeof *tls);

    tls->c = c;
    tls->wire = wire;
    tls->ctx = ctx;
    tls->scratch = scratch;
    return tls;
}

/* mod_ssl's cleanup, which is older, comes after ours, and finds its BIOs. */
static int make_bio(client_tls_t *tls)
{
    if (tls->bio) {
        return 0;
    }
    pthread_once(&method_once, make_method);
    tls->bio = method ? BIO_new(method) : NULL;
    if (tls->bio) {
        BIO_set_data(tls->bio, tls);
        BIO_set_init(tls->bio, 1);
        apr_pool_cleanup_register(tls->c->pool, tls, end, apr_pool_cleanup_null);
    }
    return tls->bio ? 0 : -1;
}

int client_tls_take(client_tls_t *tls)
{
    SSL *ssl = takeover_ssl(tls->c);

    if (!ssl || !SSL_is_init_finished(ssl) || SSL_get_read_ahead(ssl) || !SSL_get_rbio(ssl) || !SSL_get_wbio(ssl) || !all_known(tls->c)
        || make_bio(tls) != 0) {
        return -1;
    }
    tls->in = SSL_get_rbio(ssl);
    tls->out = SSL_get_wbio(ssl);
    BIO_up_ref(tls->in);
    BIO_up_ref(tls->out);
    BIO_up_ref(tls->bio);
    SSL_set0_rbio(ssl, tls->bio);
    BIO_up_ref(tls->bio);
    SSL_set0_wbio(ssl, tls->bio);
    tls->ssl = ssl;
    tls->eof = 0;
    return 0;
}

void client_tls_give_back(client_tls_t *tls)
{
    if (tls->ssl) {
        SSL_set0_rbio(tls->ssl, tls->in);
        SSL_set0_wbio(tls->ssl, tls->out);
        tls->ssl = NULL;
    }
}

int client_tls_is_taken(const client_tls_t *tls)
{
    return tls->ssl != NULL;
}

/* ---- bytes ----------------------------------------------------------------------------------------------------------------------- */

/* SSL_get_error() counts on an empty queue. To clear an empty one costs more than all else here. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

static void say_broken(client_tls_t *tls, const char *doing)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    ap_log_cerror(APLOG_MARK, APLOG_INFO, 0, tls->c, GATE_LOGNO(1406) "TLS: %s failed (%s): the connection is closed", doing,
                  reason ? reason : "the connection was reset");
    forget_errors();
}

ssize_t client_tls_read(client_tls_t *tls, char *to, size_t room)
{
    for (;;) {
        int got;

        forget_errors();
        tls->starved = 0;
        got = SSL_read(tls->ssl, to, (int)room);
        if (got > 0) {
            return got;
        }
        switch (SSL_get_error(tls->ssl, got)) {
        case SSL_ERROR_WANT_READ:
            if (tls->starved) {
                return CLIENT_TLS_NONE;
            }
            break; /* a record without data: SSL_MODE_AUTO_RETRY is off */
        case SSL_ERROR_ZERO_RETURN:
            return CLIENT_TLS_END;
        default:
            if (tls->eof) {
                forget_errors();
                return CLIENT_TLS_END;
            }
            say_broken(tls, "reading");
            return CLIENT_TLS_DEAD;
        }
    }
}

size_t client_tls_took(client_tls_t *tls)
{
    size_t took = tls->took;

    tls->took = 0;
    return took;
}

int client_tls_keep(client_tls_t *tls)
{
    if (tls->raw_len > 0 && !tls->kept) {
        tls->kept = malloc(tls->raw_len);
        if (!tls->kept) {
            return -1;
        }
        memcpy(tls->kept, tls->raw, tls->raw_len);
        tls->raw = tls->kept;
    }
    return 0;
}

size_t client_tls_waiting(const client_tls_t *tls)
{
    return tls->raw_len;
}

size_t client_tls_unread(client_tls_t *tls, char *to, size_t room)
{
    size_t len = room < tls->raw_len ? room : tls->raw_len;

    if (len > 0) {
        memcpy(to, tls->raw, len);
        drop(tls, len);
    }
    return len;
}

int client_tls_write(client_tls_t *tls, const char *bytes, size_t len)
{
    forget_errors();
    if (SSL_write(tls->ssl, bytes, (int)len) > 0) {
        return 0;
    }
    say_broken(tls, "writing");
    return -1;
}

/* ---- where the SSL comes from ----------------------------------------------------------------------------------------------------- */

/* mod_ssl gives its BIOs to the SSL only after this hook. */
static int before_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    if (!is_proxy && !c->master) {
        takeover_note_ssl(c, ssl);
    }
    return OK;
}

void client_tls_register(void)
{
    APR_OPTIONAL_HOOK(ssl, pre_handshake, before_handshake, NULL, NULL, APR_HOOK_MIDDLE);
}
