/*
 * client_h2_direct.c - what a client speaks whose connection may be HTTP/2 without having said so before (RFC 9113, 3.3): its first bytes tell.
 * They are the preface, or HTTP/1.1; as long as they may be either, nothing is taken. Whatever ends the waiting (time, FIN) is HTTP/1.1's to
 * answer.
 */
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "client_h1.h"
#include "client_h2.h"
#include "h2_negotiate.h"

static const char preface[] = NGHTTP2_CLIENT_MAGIC;

#define PREFACE_LEN (sizeof preface - 1)

static int direct_open(conn_t *conn)
{
    conn_phase(conn, CONN_IDLE, NULL);
    return 0;
}

static size_t direct_input(conn_t *conn, const char *bytes, size_t len)
{
    if (memcmp(bytes, preface, len < PREFACE_LEN ? len : PREFACE_LEN) != 0) {
        conn_become(conn, &client_h1_codec);
    }
    else if (len >= PREFACE_LEN) {
        h2_begin_direct(conn->c);
        conn_become(conn, &client_h2_codec);
    }
    return 0;
}

static void direct_ended(conn_t *conn)
{
    if (conn_become(conn, &client_h1_codec) == 0) {
        conn->codec->ended(conn);
    }
}

static void direct_drain(conn_t *conn)
{
    if (conn_become(conn, &client_h1_codec) == 0) {
        conn->codec->drain(conn);
    }
}

/* What is written, lent or timed is so by what it becomes. */
static void direct_nothing(conn_t *conn)
{
    (void)conn;
}

const conn_codec_t client_h2_direct_codec = {
    .name = "http/1.1 or h2", .open = direct_open, .input = direct_input, .ended = direct_ended, .room = direct_nothing, .late = direct_nothing,
    .timer = direct_nothing, .back = direct_nothing, .drain = direct_drain, .closed = direct_nothing,
};
