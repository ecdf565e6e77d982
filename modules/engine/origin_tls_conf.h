/*
 * origin_tls_conf.h - the vhosts' SSLProxy* directives, for the engine's connections to https members.
 * Depends: httpd, mod_ssl's hook init_server (nothing is there without mod_ssl), origin_tls.h.
 * Memory:  contexts live as long as the configuration (pconf).   Locking: made in post_config, read only then.
 * mod_ssl builds a proxy context for each server with SSLProxyEngine on and shows it to whoever hooks init_server: ours is made like it. What
 * that context does not carry (depth, CheckPeer*, certificates of our own) is read from the configuration's tree.
 */
#ifndef ORIGIN_TLS_CONF_H
#define ORIGIN_TLS_CONF_H

#include <httpd.h>

#include "origin_tls.h"

/** From the module's register_hooks. Who asks in post_config hooks it after mod_ssl.c. */
void origin_tls_register(void);
/** @return what https members of this server's routes are spoken to with; NULL: origin_tls_refuses() says why */
const origin_tls_t *origin_tls_of(const server_rec *s);
/**
 * Why routes of this server that have https members are for the classic plane: "SSLProxyEngine is off", or a directive that we do not
 * honour, with file and line. NULL: they are not.
 */
const char *origin_tls_refuses(const server_rec *s);

#endif
