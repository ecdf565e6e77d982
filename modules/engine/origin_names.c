/*
 * origin_names.c - the resolver: questions in a queue, a few threads that ask the system, answers posted to the loops.
 * A thread works on a lookup of its own, with a copy of the name: who asked may be gone before getaddrinfo() is back. Threads are
 * detached and never waited for; what they touch after a child has begun to end is their own memory and the mutex.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "origin_names.h"

typedef struct origin_lookup {
    char host[256];
    uint16_t port;
    origin_question_t *question; /* NULL: forgotten */
    struct origin_lookup *next;
} origin_lookup_t;

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    origin_lookup_t *first, **last;
    int threads, idle, queued, stopped;
} names = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, NULL, 0, 0, 0, 0 };

int origin_address_literal(const char *host, uint16_t port, const char *unix_path, origin_address_t *out)
{
    memset(out, 0, sizeof *out);
    if (unix_path) {
        out->at.path.sun_family = AF_UNIX;
        snprintf(out->at.path.sun_path, sizeof out->at.path.sun_path, "%s", unix_path);
        out->len = sizeof out->at.path;
        return 1;
    }
    if (inet_pton(AF_INET, host, &out->at.v4.sin_addr) == 1) {
        out->at.v4.sin_family = AF_INET;
        out->at.v4.sin_port = htons(port);
        out->len = sizeof out->at.v4;
        return 1;
    }
    if (inet_pton(AF_INET6, host, &out->at.v6.sin6_addr) == 1) {
        out->at.v6.sin6_family = AF_INET6;
        out->at.v6.sin6_port = htons(port);
        out->len = sizeof out->at.v6;
        return 1;
    }
    return 0;
}

const char *origin_address_words(const origin_address_t *address, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "";

    switch (address->at.any.sa_family) {
    case AF_UNIX:
        snprintf(out, size, "unix:%s", address->at.path.sun_path);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->at.v6.sin6_addr, text, sizeof text);
        snprintf(out, size, "[%s]:%u", text, ntohs(address->at.v6.sin6_port));
        break;
    default:
        inet_ntop(AF_INET, &address->at.v4.sin_addr, text, sizeof text);
        snprintf(out, size, "%s:%u", text, ntohs(address->at.v4.sin_port));
    }
    return out;
}

static const char *why_not(int rv)
{
    switch (rv) {
    case EAI_NONAME:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
        return "the name has no address";
    case EAI_AGAIN:
        return "the name servers do not answer";
    default:
        return "the name could not be looked up";
    }
}

/* The system's order is kept: it is how the administrator prefers addresses (RFC 6724). */
static void take(origin_question_t *q, int rv, const struct addrinfo *list)
{
    q->count = 0;
    for (; rv == 0 && list && q->count < ORIGIN_ADDRESSES_MAX; list = list->ai_next) {
        if ((list->ai_family == AF_INET || list->ai_family == AF_INET6) && list->ai_addrlen <= sizeof q->address[0].at) {
            memcpy(&q->address[q->count].at, list->ai_addr, list->ai_addrlen);
            q->address[q->count++].len = list->ai_addrlen;
        }
    }
    q->why = q->count ? NULL : why_not(rv ? rv : EAI_NONAME);
}

static void answered(loop_job_t *job)
{
    origin_question_t *q = (origin_question_t *)((char *)job - offsetof(origin_question_t, job));

    q->answer(q);
}

static void look_up(origin_lookup_t *l)
{
    struct addrinfo hints = { 0 }, *list = NULL;
    char port[8];
    int rv;

    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
    snprintf(port, sizeof port, "%u", l->port);
    rv = getaddrinfo(l->host, port, &hints, &list);
    if (rv == EAI_NONAME || rv == EAI_BADFLAGS) {
        hints.ai_flags = AI_NUMERICSERV; /* a machine with nothing but loopback has no family "configured" */
        rv = getaddrinfo(l->host, port, &hints, &list);
    }
    pthread_mutex_lock(&names.mutex);
    if (l->question) {
        l->question->lookup = NULL;
        take(l->question, rv, list);
        loop_post(l->question->loop, &l->question->job); /* under the mutex: whoever forgets it waits for this */
    }
    pthread_mutex_unlock(&names.mutex);
    if (rv == 0 && list) {
        freeaddrinfo(list);
    }
    free(l);
}

/* @return the next lookup, or NULL: none came in time */
static origin_lookup_t *next_lookup(void)
{
    origin_lookup_t *l;
    struct timespec until;
    int rv = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ORIGIN_NAMES_IDLE_SEC;
    names.idle++;
    while (!names.first && rv == 0 && !names.stopped) {
        rv = pthread_cond_timedwait(&names.more, &names.mutex, &until);
    }
    names.idle--;
    l = names.first;
    if (l) {
        names.queued--;
        names.first = l->next;
        if (!names.first) {
            names.last = NULL;
        }
    }
    return l;
}

static void *resolver(void *unused)
{
    origin_lookup_t *l;

    (void)unused;
    pthread_mutex_lock(&names.mutex);
    while ((l = next_lookup())) {
        pthread_mutex_unlock(&names.mutex);
        look_up(l);
        pthread_mutex_lock(&names.mutex);
    }
    names.threads--;
    pthread_mutex_unlock(&names.mutex);
    return NULL;
}

/* Signals are the process's main thread's business. */
static int start_thread(void)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, former;
    int rv;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rv = pthread_create(&thread, &attr, resolver, NULL);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    return rv;
}

int origin_names_ask(loop_t *loop, origin_question_t *q)
{
    origin_lookup_t *l = calloc(1, sizeof *l);
    int rv = 0;

    if (!l) {
        return ENOMEM;
    }
    snprintf(l->host, sizeof l->host, "%s", q->host);
    l->port = q->port;
    l->question = q;
    q->loop = loop;
    q->job.run = answered;
    q->count = 0;
    pthread_mutex_lock(&names.mutex);
    names.stopped = 0;
    if (names.queued >= names.idle && names.threads < ORIGIN_NAMES_THREADS) {
        rv = start_thread();
        names.threads += rv == 0;
    }
    if (names.threads > 0) {
        rv = 0;
        if (names.last) {
            *names.last = l;
        }
        else {
            names.first = l;
        }
        names.last = &l->next;
        names.queued++;
        q->lookup = l;
        pthread_cond_signal(&names.more);
    }
    pthread_mutex_unlock(&names.mutex);
    if (rv) {
        free(l);
    }
    return rv;
}

int origin_names_forget(origin_question_t *q)
{
    int free_now = 0;

    pthread_mutex_lock(&names.mutex);
    if (q->lookup) {
        q->lookup->question = NULL;
        q->lookup = NULL;
        free_now = 1;
    }
    pthread_mutex_unlock(&names.mutex);
    return free_now;
}

void origin_names_stop(void)
{
    pthread_mutex_lock(&names.mutex);
    names.stopped = 1;
    pthread_cond_broadcast(&names.more);
    pthread_mutex_unlock(&names.mutex);
}
