/*
 * socket_bucket.c - what core's input filter reads from, in place of APR's own bucket, under mod_ssl: it knows when the socket is empty.
 * mod_ssl asks until it is told that there is nothing. On a loop that is known without asking the kernel: a read that gave less than there was
 * room for has emptied the socket, and the next event says when there is something again.
 */
#include "engine.h"

#include <apr_buckets.h>
#include <errno.h>
#include <http_connection.h>
#include <http_core.h>
#include <sys/socket.h>

static apr_status_t read_it(apr_bucket *b, const char **bytes, apr_size_t *len, apr_read_type_e block);

static void destroy_nothing(void *data)
{
    (void)data;
}

static const apr_bucket_type_t bucket_type = {
    "GATE_SOCKET", 5, APR_BUCKET_DATA, destroy_nothing, read_it, apr_bucket_setaside_notimpl, apr_bucket_split_notimpl, apr_bucket_copy_notimpl
};

static apr_bucket *make(apr_bucket *b, conn_rec *c)
{
    b->type = &bucket_type;
    b->length = (apr_size_t)-1;
    b->start = -1;
    b->data = c;
    return b;
}

static apr_bucket *create(conn_rec *c, apr_bucket_alloc_t *list)
{
    apr_bucket *b = apr_bucket_alloc(sizeof *b, list);

    APR_BUCKET_INIT(b);
    b->free = apr_bucket_free;
    b->list = list;
    return make(b, c);
}

static apr_status_t from_worker(conn_rec *c, char *to, apr_size_t *len, apr_read_type_e block)
{
    apr_socket_t *socket = ap_get_conn_socket(c);
    apr_interval_time_t timeout = 0;
    apr_status_t rv;

    if (block == APR_NONBLOCK_READ) {
        apr_socket_timeout_get(socket, &timeout);
        apr_socket_timeout_set(socket, 0);
    }
    rv = apr_socket_recv(socket, to, len);
    if (block == APR_NONBLOCK_READ) {
        apr_socket_timeout_set(socket, timeout);
    }
    return rv;
}

/* As any bucket of unknown length: it becomes what was read, with itself behind it; or empty at the end. */
static apr_status_t read_it(apr_bucket *b, const char **bytes, apr_size_t *len, apr_read_type_e block)
{
    conn_rec *c = b->data;
    client_t *client = takeover_client(c);
    apr_size_t room = APR_BUCKET_BUFF_SIZE;
    apr_bucket_alloc_t *list = b->list;
    apr_status_t rv;
    char *to;

    *bytes = NULL;
    *len = 0;
    if (client && transport_is_here(client->transport) && transport_is_empty(client->transport)) {
        return APR_EAGAIN;
    }
    if (client && transport_is_here(client->transport) && transport_waiting(client->transport) > room) {
        room = transport_waiting(client->transport); /* at once: nobody waits for what is not in the socket any more */
    }
    to = apr_bucket_alloc(room, list);
    *len = room;
    rv = client && transport_is_here(client->transport) ? transport_receive(client->transport, to, len) : from_worker(c, to, len, block);
    if (rv != APR_SUCCESS && rv != APR_EOF) {
        apr_bucket_free(to);
        *len = 0;
        return rv;
    }
    if (*len == 0) {
        apr_bucket_free(to);
        b = apr_bucket_immortal_make(b, "", 0);
        *bytes = b->data;
        return APR_SUCCESS;
    }
    b = apr_bucket_heap_make(b, to, *len, apr_bucket_free);
    ((apr_bucket_heap *)b->data)->alloc_len = room;
    *bytes = to;
    APR_BUCKET_INSERT_AFTER(b, create(c, list));
    return APR_SUCCESS;
}

static apr_status_t insert_network_bucket(conn_rec *c, apr_bucket_brigade *bb, apr_socket_t *socket)
{
    (void)socket;
    if (c->master || !takeover_is_tls(c)) {
        return AP_DECLINED;
    }
    APR_BRIGADE_INSERT_TAIL(bb, create(c, bb->bucket_alloc));
    return APR_SUCCESS;
}

void socket_bucket_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_insert_network_bucket(insert_network_bucket, NULL, NULL, APR_HOOK_MIDDLE);
}
