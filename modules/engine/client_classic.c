/*
 * client_classic.c - the codec that leaves everything to httpd: a request is handed over with its first byte.
 */
#include "engine.h"

static int open_it(conn_t *conn)
{
    (void)conn;
    return 0;
}

static size_t input(conn_t *conn, const char *bytes, size_t len)
{
    static const conn_classic_t ask = { .why = "the engine speaks no HTTP here" };

    (void)bytes, (void)len;
    conn_classic(conn, &ask);
    return 0;
}

static void nothing(conn_t *conn)
{
    (void)conn;
}

const conn_codec_t client_classic_codec = {
    .name = "classic",
    .open = open_it,
    .input = input,
    .ended = conn_close,
    .room = nothing,
    .late = nothing,
    .timer = nothing,
    .back = nothing,
    .drain = conn_close,
    .closed = nothing,
};
