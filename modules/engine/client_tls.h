/*
 * client_tls.h - a client's TLS without httpd's filters: mod_ssl's SSL, with a BIO of ours under it in place of mod_ssl's two.
 * mod_ssl makes the SSL, does the handshake and says goodbye (close_notify), and its callbacks stay; between those, while the loop has the connection,
 * OpenSSL reads what recv() brought and writes by send(), without a brigade for each piece of a record. Alerts, KeyUpdate and refused renegotiation
 * are OpenSSL's own doing and go the same way.
 * Depends: httpd, libcrypto, libssl.
 * Memory:  lives in c->pool. What came behind the record that is being read is in the loop's buffer (LOOP_SCRATCH_RECORD) until
 *          client_tls_keep() puts it aside (malloc, 32 KB at most).
 * Locking: who has the connection.
 */
#ifndef ENGINE_CLIENT_TLS_H
#define ENGINE_CLIENT_TLS_H

#include <httpd.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct client_tls client_tls_t;

/* How bytes get to the network and from it; ctx is client_tls_make()'s. */
typedef struct {
    /** @return bytes; 0: the client has ended its sending; -1: none now; -2: over */
    ssize_t (*receive)(void *ctx, char *to, size_t room);
    /** Takes everything. @return 0; -1: over */
    int (*send)(void *ctx, const char *bytes, size_t len);
} client_tls_wire_t;

/* Instead of a count of bytes. */
enum { CLIENT_TLS_END = 0, CLIENT_TLS_NONE = -1, CLIENT_TLS_DEAD = -2 };

/** Nothing changes by this. scratch: the loop's, CLIENT_TLS_SCRATCH bytes. */
client_tls_t *client_tls_make(conn_rec *c, const client_tls_wire_t *wire, void *ctx, char *scratch);
#define CLIENT_TLS_SCRATCH 32768

/**
 * From now on OpenSSL reads and writes through us. mod_ssl's filters and those below hold nothing: their last read said so, and they were flushed.
 * @return 0; -1: it stays with mod_ssl (another TLS module, a handshake that is not over, filters that are not known)
 */
int client_tls_take(client_tls_t *tls);
/** mod_ssl has it again; what was received and not read yet is client_tls_unread()'s. Fine to call at any time. */
void client_tls_give_back(client_tls_t *tls);
int client_tls_is_taken(const client_tls_t *tls);

/** At most one record. @return bytes, or one of the enum */
ssize_t client_tls_read(client_tls_t *tls, char *to, size_t room);
/** Bytes of the wire that OpenSSL has taken since this was asked last. */
size_t client_tls_took(client_tls_t *tls);
/** Before anything else may use the loop's buffer. @return 0; -1: no memory */
int client_tls_keep(client_tls_t *tls);
/** Bytes received that OpenSSL has not taken. */
size_t client_tls_waiting(const client_tls_t *tls);
/** Moves those to `to`. @return how many */
size_t client_tls_unread(client_tls_t *tls, char *to, size_t room);

/** In records of up to 16 KB. @return 0; -1: over */
int client_tls_write(client_tls_t *tls, const char *bytes, size_t len);

void client_tls_register(void);

#endif
