/*
 * origin_tls.h - TLS to members: what a vhost's SSLProxy* directives ask for, and sessions that keep to it, without waiting.
 * Depends: OpenSSL.   LOGIC: knows no httpd (origin_tls_conf.h has httpd's part).
 * Memory:  an origin_tls_t lives as long as the configuration; sessions are malloc'ed, an owner each.
 * Locking: an origin_tls_t is read only after it was made, and shared by all loops; a session belongs to its loop.
 */
#ifndef ORIGIN_TLS_H
#define ORIGIN_TLS_H

#include <openssl/ssl.h>
#include <sys/types.h>

#include "origin.h"

/* The values of SSLProxy* that OpenSSL's context does not carry; mod_ssl's defaults are set by origin_tls_rules_default(). */
typedef struct {
    int verify;                  /* SSLProxyVerify is not "none" */
    int depth;                   /* SSLProxyVerifyDepth */
    int check_expire;            /* SSLProxyCheckPeerExpire */
    int check_name;              /* SSLProxyCheckPeerName: 1 on, 0 off, -1 not said */
    int check_cn;                /* SSLProxyCheckPeerCN: the same */
    const char *certificate_file; /* SSLProxyMachineCertificateFile: certificates, each with its key; NULL: none */
} origin_tls_rules_t;

/* The session to resume, one per place. */
typedef struct {
    SSL_SESSION *session;
} origin_tls_memory_t;

typedef struct origin_tls_session origin_tls_session_t;

void origin_tls_rules_default(origin_tls_rules_t *rules);
/**
 * A context like `model` (mod_ssl's, of this vhost: protocols, ciphers, CAs, CRLs), with checks of our own.
 * @param model  NULL: OpenSSL's defaults
 * @param why    when NULL is returned: in words, static
 */
origin_tls_t *origin_tls_create(SSL_CTX *model, const origin_tls_rules_t *rules, const char **why);
void origin_tls_destroy(origin_tls_t *tls);

/**
 * Of a connected, non-blocking socket. `host`, `memory` are borrowed.
 * @param h2  HTTP/2 is going to be spoken, and nothing else: a member that does not choose it (ALPN, RFC 7301) has failed the handshake
 * @return NULL: no memory
 */
origin_tls_session_t *origin_tls_begin(const origin_tls_t *tls, int fd, const char *host, origin_tls_memory_t *memory, int h2);
/** @return 1: it stands; 0: go on when the socket is ready; -1: failed, origin_tls_why() */
int origin_tls_shake(origin_tls_session_t *session);
const char *origin_tls_why(const origin_tls_session_t *session);
int origin_tls_resumed(const origin_tls_session_t *session);

/** The socket has become readable. @param hup the member has closed its side: reading goes on until it says so */
void origin_tls_readable(origin_tls_session_t *session, int hup);
/** As recv(): bytes, 0 at the end, -1 and errno (EAGAIN, ..). */
ssize_t origin_tls_recv(origin_tls_session_t *session, char *into, size_t size);
/** As sendmsg(). What OpenSSL has taken and the socket not yet (one record at most) counts as taken: origin_tls_flush(). */
ssize_t origin_tls_send(origin_tls_session_t *session, const struct iovec *parts, int count, char *scratch, size_t scratch_size);
/** @return 1: all is with the socket; 0: not yet; -1: errno */
int origin_tls_flush(origin_tls_session_t *session);
/** Tells the member that nothing more is sent (close_notify). */
void origin_tls_shutdown(origin_tls_session_t *session);
void origin_tls_end(origin_tls_session_t *session);

void origin_tls_memory_clear(origin_tls_memory_t *memory);

#endif
