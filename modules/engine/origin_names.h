/*
 * origin_names.h - names of members looked up on threads of their own: getaddrinfo() may wait for seconds, a loop may not.
 * Depends: loop.h (loop_post), libc, pthreads.   LOGIC: knows no httpd.
 * Memory:  a question is its asker's from origin_names_ask() until its answer was called, or origin_names_forget() returned.
 * Locking: ask, forget: the asker's loop thread; the table of questions has a mutex. One resolver per process.
 */
#ifndef ORIGIN_NAMES_H
#define ORIGIN_NAMES_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "loop.h"

#define ORIGIN_ADDRESSES_MAX 16  /* of a name; more are left out */
#define ORIGIN_NAMES_THREADS 4   /* at most; the first is started with the first question */
#define ORIGIN_NAMES_IDLE_SEC 30 /* a thread without questions ends after so long */

typedef struct {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un path;
    } at;
    socklen_t len;
} origin_address_t;

typedef struct origin_question {
    char host[256];             /* asked */
    uint16_t port;
    void (*answer)(struct origin_question *question); /* on the asker's loop */
    /* the answer */
    origin_address_t address[ORIGIN_ADDRESSES_MAX];
    int count;
    const char *why;            /* count 0: in words, static */
    /* the resolver's own */
    loop_t *loop;
    loop_job_t job;
    struct origin_question *next;
    struct origin_lookup *lookup;
} origin_question_t;

/** @return 0, or errno when no thread could be started: answer is not called then */
int origin_names_ask(loop_t *loop, origin_question_t *question);
/**
 * The answer is not wanted any more (the loop ends).
 * @return 1: the question is free; 0: its answer has been posted to the loop already, and is called if that still runs
 */
int origin_names_forget(origin_question_t *question);
/** The process ends: threads without a question leave. */
void origin_names_stop(void);

/** What stands for itself: an IP address or a unix socket's path. @return 1, or 0: a name */
int origin_address_literal(const char *host, uint16_t port, const char *unix_path, origin_address_t *out);
/** "192.0.2.1:80", "[::1]:80", "unix:/path". @return out */
const char *origin_address_words(const origin_address_t *address, char *out, size_t size);

#endif
