/*
 * origin_connect.c - from a member to a connection that stands: its addresses (looked up off the loop, kept for a while), connecting to
 * each in turn, TLS.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "origin_inside.h"

#define NAME_LIMIT_USEC INT64_C(10000000)
#define BACKLOG_FULL_USEC INT64_C(5000)   /* a unix socket's: tried again after so long */
#define SILENCE_MIN_USEC INT64_C(1000000)
#define PROBE_AFTER_SEC 5
#define PROBE_EVERY_SEC 1

/* --- addresses --- */

typedef struct {
    origin_question_t q;
    origin_place_t *place;      /* NULL: nobody wants it any more */
} place_question_t;

static void waiters_go_on(origin_place_t *place)
{
    origin_t *o;

    place->references++;
    while ((o = place->waiting)) {
        origin_enter(o);
        origin_connect(o); /* takes it off the list, whatever comes of it */
        origin_leave(o);
    }
    origin_place_release(place);
}

/* Addresses that cannot be refreshed stay as they are. */
static void question_answered(origin_question_t *q)
{
    place_question_t *asked = (place_question_t *)q;
    origin_place_t *place = asked->place;
    int64_t now = loop_now(q->loop);
    origin_address_t *address = NULL;

    if (place) {
        place->question = NULL;
        if (q->count > 0 && (address = malloc((size_t)q->count * sizeof *address))) {
            memcpy(address, q->address, (size_t)q->count * sizeof *address);
            free(place->address);
            place->address = address;
            place->count = q->count;
            place->good = 0;
        }
        place->no_address = q->count > 0 && !address ? "no memory" : q->why;
        place->fresh_until_usec = now + (address ? ORIGIN_NAMES_TTL_USEC : ORIGIN_NAMES_FAILED_USEC);
        waiters_go_on(place);
    }
    free(asked);
}

void origin_place_forget_question(origin_place_t *place)
{
    place_question_t *asked = (place_question_t *)place->question;

    if (asked) {
        asked->place = NULL;
        place->question = NULL;
        if (origin_names_forget(&asked->q)) {
            free(asked);
        }
    }
}

static void ask(origin_place_t *place, int64_t now)
{
    place_question_t *asked = calloc(1, sizeof *asked);

    if (asked) {
        snprintf(asked->q.host, sizeof asked->q.host, "%s", place->host);
        asked->q.port = place->port;
        asked->q.answer = question_answered;
        asked->place = place;
        if (origin_names_ask(place->all->loop, &asked->q) == 0) {
            place->question = &asked->q;
            return;
        }
        free(asked);
    }
    place->no_address = "no thread for looking up names";
    place->fresh_until_usec = now + ORIGIN_NAMES_FAILED_USEC;
}

/* @return 1: there are addresses; 0: wait for them; -1: there are none (place->no_address) */
static int addresses(origin_place_t *place, int64_t now)
{
    if (!place->address && !place->no_address && !place->question) {
        origin_address_t literal;

        if (origin_address_literal(place->host, place->port, place->unix_path, &literal)) {
            place->address = malloc(sizeof literal);
            if (!place->address) {
                place->no_address = "no memory";
                return -1;
            }
            *place->address = literal;
            place->count = 1;
            place->fresh_until_usec = INT64_MAX;
            return 1;
        }
    }
    if (now >= place->fresh_until_usec && !place->question) {
        ask(place, now);
    }
    if (place->count > 0) {
        return 1;
    }
    return place->question ? 0 : -1;
}

static void wait_for_addresses(origin_t *o)
{
    origin_place_t *place = o->place;

    o->prev = NULL;
    o->next = place->waiting;
    if (place->waiting) {
        place->waiting->prev = o;
    }
    place->waiting = o;
    o->keep_usec = 1; /* on the list */
    origin_due(o, loop_now(o->loop) + NAME_LIMIT_USEC);
}

void origin_connect_leave(origin_t *o)
{
    if (o->state != ORIGIN_NAME || !o->keep_usec) {
        return;
    }
    if (o->prev) {
        o->prev->next = o->next;
    }
    else {
        o->place->waiting = o->next;
    }
    if (o->next) {
        o->next->prev = o->prev;
    }
    o->next = o->prev = NULL;
    o->keep_usec = 0;
}

/* --- one address after the other --- */

static void unplug(origin_t *o)
{
    if (o->watched) {
        loop_watch_remove(o->loop, &o->watch);
        o->watched = 0;
    }
    if (o->watch.fd >= 0) {
        close(o->watch.fd);
        o->watch.fd = -1;
    }
    o->readable = o->hup = 0;
}

static const char *connect_words(int rv)
{
    switch (rv) {
    case ECONNREFUSED:
        return "connection refused";
    case ETIMEDOUT:
        return "connect timed out";
    case ENOENT:
        return "there is no such socket";
    case EMFILE:
    case ENFILE:
        return "no file descriptor is left";
    case EHOSTUNREACH:
        return "No route to host";
    case ENETUNREACH:
        return "Network is unreachable";
    default:
        return "no connection";
    }
}

/* A machine that does not answer at all, not even its kernel, is noticed in seconds, whatever the limits of the exchange are. */
static void set_options(int fd, int family, int64_t connect_usec)
{
    int64_t silence = connect_usec > SILENCE_MIN_USEC ? connect_usec : SILENCE_MIN_USEC;
    int one = 1, user_timeout_ms = (int)(silence / 1000), idle_sec = PROBE_AFTER_SEC, interval_sec = PROBE_EVERY_SEC;

    if (family == AF_UNIX) {
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_sec, sizeof idle_sec);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_sec, sizeof interval_sec);
}

void origin_upload(origin_t *o, int begins)
{
    int64_t silence = o->connect_usec > SILENCE_MIN_USEC ? o->connect_usec : SILENCE_MIN_USEC;
    int user_timeout_ms = begins ? 0 : (int)(silence / 1000);

    if (o->uploads != begins && setsockopt(o->watch.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms) == 0) {
        o->uploads = begins != 0;
    }
}

static void tls_failed(origin_t *o)
{
    o->tls_failed = 1;
    snprintf(o->why, sizeof o->why, "TLS handshake failed%s%s", o->tls ? ": " : "", o->tls ? origin_tls_why(o->tls) : "");
    origin_due(o, 0);
    origin_fail_later(o, ORIGIN_REFUSED, o->why);
}

static void stands(origin_t *o)
{
    o->state = ORIGIN_USED;
    o->reading = READING_NOTHING;
    o->limit_usec = 0;
    origin_due(o, 0);
    origin_later(o, LATER_CONNECTED | (o->readable ? LATER_READ : 0));
}

static void shake(origin_t *o)
{
    int rv = origin_tls_shake(o->tls);

    if (rv < 0) {
        tls_failed(o);
    }
    else if (rv > 0) {
        o->readable = 1; /* what came along with the handshake's last bytes */
        stands(o);
    }
}

static void connected(origin_t *o)
{
    origin_place_t *place = o->place;

    if (place->count > 0) {
        place->good = (o->first + o->address) % place->count;
        o->address = 0;
    }
    if (!place->tls) {
        stands(o);
        return;
    }
    o->state = ORIGIN_TLS;
    o->tls = origin_tls_begin(place->tls, o->watch.fd, place->tls_host, &place->memory, place->h2);
    if (!o->tls) {
        tls_failed(o);
        return;
    }
    origin_due(o, o->connect_usec ? loop_now(o->loop) + o->connect_usec : 0);
    shake(o);
}

/* @return 0: under way, or there; else errno */
static int begin(origin_t *o, const origin_address_t *address)
{
    int fd = socket(address->at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rv;

    if (fd < 0) {
        return errno;
    }
    o->watch.fd = fd;
    set_options(fd, address->at.any.sa_family, o->connect_usec);
    rv = loop_watch_add(o->loop, &o->watch);
    if (rv) {
        return rv;
    }
    o->watched = 1;
    o->state = ORIGIN_CONNECT;
    if (connect(fd, &address->at.any, address->len) == 0) {
        connected(o);
        return 0;
    }
    return errno == EINPROGRESS || errno == EINTR ? 0 : errno;
}

static void next_address(origin_t *o, int failure)
{
    const origin_place_t *place = o->place;
    char words[128];

    o->state = ORIGIN_CONNECT;
    while (o->address < place->count) {
        const origin_address_t *address = &place->address[(o->first + o->address) % place->count];

        origin_due(o, o->connect_usec ? loop_now(o->loop) + o->connect_usec : 0);
        failure = begin(o, address);
        if (!failure) {
            return;
        }
        unplug(o);
        if (failure == EAGAIN && address->at.any.sa_family == AF_UNIX && loop_now(o->loop) < o->asked_usec) {
            origin_due(o, loop_now(o->loop) + BACKLOG_FULL_USEC);
            return;
        }
        o->address++;
    }
    origin_due(o, 0);
    o->cause = failure == EAGAIN ? ETIMEDOUT : failure;
    if (place->count > 1) {
        snprintf(o->why, sizeof o->why, "%s (the last of %d addresses: %s)", connect_words(failure), place->count,
                 origin_address_words(&place->address[(o->first + place->count - 1) % place->count], words, sizeof words));
        origin_fail_later(o, ORIGIN_REFUSED, o->why);
        return;
    }
    origin_fail_later(o, ORIGIN_REFUSED, connect_words(failure == EAGAIN ? ETIMEDOUT : failure));
}

void origin_connect(origin_t *o)
{
    int64_t now = loop_now(o->loop);
    int have;

    if (o->state != ORIGIN_NAME) {
        return;
    }
    have = addresses(o->place, now);
    if (have == 0) {
        if (!o->keep_usec) {
            wait_for_addresses(o);
        }
        return;
    }
    origin_connect_leave(o);
    if (have < 0) {
        origin_due(o, 0);
        origin_fail_later(o, ORIGIN_REFUSED, o->place->no_address);
        return;
    }
    o->first = (uint8_t)o->place->good;
    o->asked_usec = o->connect_usec ? now + o->connect_usec : INT64_MAX;
    next_address(o, ETIMEDOUT);
}

void origin_connect_ready(origin_t *o, unsigned what)
{
    if (o->later & LATER_FAILED) {
        return;
    }
    if (what & (LOOP_READ | LOOP_HUP)) {
        o->readable = 1;
        o->hup |= (what & LOOP_HUP) != 0;
    }
    if (o->state == ORIGIN_TLS) {
        origin_tls_readable(o->tls, o->hup);
        shake(o);
        return;
    }
    if (what & (LOOP_ERROR | LOOP_HUP)) {
        int failure = 0;
        socklen_t len = sizeof failure;

        if (getsockopt(o->watch.fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0) {
            failure = errno;
        }
        if (failure) {
            unplug(o);
            o->address++;
            next_address(o, failure);
            return;
        }
    }
    if (what & LOOP_WRITE) {
        connected(o);
    }
}

void origin_connect_expired(origin_t *o)
{
    if (o->later & LATER_FAILED) {
        return;
    }
    switch (o->state) {
    case ORIGIN_NAME:
        origin_connect_leave(o);
        origin_fail_later(o, ORIGIN_REFUSED, "the name servers do not answer");
        break;
    case ORIGIN_TLS:
        o->tls_failed = 1;
        origin_fail_later(o, ORIGIN_REFUSED, "TLS handshake failed: no answer in time");
        break;
    default:
        if (o->watch.fd < 0) {
            next_address(o, EAGAIN); /* a full backlog */
            return;
        }
        unplug(o);
        o->address++;
        next_address(o, ETIMEDOUT);
    }
}
