/* client_tls.c - see client_tls.h: the BIO that mod_ssl reads a client's connection through, found by the hook that mod_ssl has for this. */
#include "client_tls.h"

#include <apr_optional_hooks.h>
#include <openssl/ssl.h>

#include "engine.h"

/* As mod_ssl_openssl.h, which not every installation has, would have it. */
typedef int ssl_HOOK_pre_handshake_t(conn_rec *c, SSL *ssl, int is_proxy);

/* mod_ssl gives its BIOs to the SSL only after this hook. */
static int before_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    if (!is_proxy && !c->master) {
        takeover_note_ssl(c, ssl);
    }
    return OK;
}

static apr_status_t let_go(void *bio)
{
    BIO_free(bio);
    return APR_SUCCESS;
}

BIO *client_tls_hold(conn_rec *c)
{
    SSL *ssl = takeover_ssl(c);
    BIO *bio = ssl ? SSL_get_rbio(ssl) : NULL;

    if (!bio || SSL_get_read_ahead(ssl) || !BIO_up_ref(bio)) {
        return NULL;
    }
    apr_pool_cleanup_register(c->pool, bio, let_go, apr_pool_cleanup_null);
    return bio;
}

void client_tls_register(void)
{
    APR_OPTIONAL_HOOK(ssl, pre_handshake, before_handshake, NULL, NULL, APR_HOOK_MIDDLE);
}
