/*
 * client_tls.h - how many of a client's bytes mod_ssl has taken in.
 * mod_ssl says that it has nothing more only by trying to read, which costs a futile SSL_read() for each request. But OpenSSL counts what it
 * reads: when that is all that came from the network, and the last read gave less than was asked for, there is nothing more.
 * Depends: httpd, libcrypto, libssl.
 * Memory:  what is counted by is held until c->pool ends; mod_ssl may end its own part before.
 * Locking: who has the connection.
 */
#ifndef ENGINE_CLIENT_TLS_H
#define ENGINE_CLIENT_TLS_H

#include <httpd.h>
#include <openssl/bio.h>

/** Of mod_ssl's reads of c, with its handshake done. @return NULL: there is no telling (another TLS module, one that reads ahead) */
BIO *client_tls_hold(conn_rec *c);
/** Bytes that OpenSSL has read of it, ever. */
static inline uint64_t client_tls_taken(BIO *bio)
{
    return BIO_number_read(bio);
}
void client_tls_register(void);

#endif
