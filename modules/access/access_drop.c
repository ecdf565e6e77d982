/*
 * access_drop.c - connections that are closed before TLS and before a byte is read: GateDrop, and bans made with `drop`.
 *
 * Here only the peer is known: behind a proxy that is the proxy, whose connections are never closed because of a ban.
 */
#include <httpd.h>
#include <http_connection.h>

#include "access.h"
#include "gate_time.h"

int access_drop_hook(conn_rec *c, void *socket)
{
    const access_server_t *server = access_server_of(c->base_server);
    gate_address_t peer;
    const access_set_t *set;
    const char *name = NULL;
    unsigned ban;

    (void)socket;
    if (c->master || c->outgoing) {
        return DECLINED; /* an h2 stream is no connection, and our own to members are not clients' */
    }
    peer = gate_address_of(c->client_addr);
    if (server->drop && (set = access_names_find(server->drop, &peer, NULL)) != NULL) {
        name = set->name;
    }
    if (!name) {
        ban = gate_ban_check(access_bans, &peer, gate_mono_usec(), NULL);
        if (!(ban >> 1 & GATE_BAN_DROP) || access_trusted(&peer)) {
            return DECLINED;
        }
        name = "its ban";
    }
    access_count(ACCESS_V_DROPPED);
    ap_log_cerror(APLOG_MARK, APLOG_DEBUG, 0, c, GATE_LOGNO(1015) "connection of %s: dropped because of %s", c->client_ip, name);
    return HTTP_FORBIDDEN; /* the MPM closes it */
}
