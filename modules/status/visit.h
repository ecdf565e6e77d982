/*
 * visit.h - one request to a status location: where it lies, what is asked for, how it is answered.
 * Memory: everything of a visit lives in r->pool.
 */
#ifndef VISIT_H
#define VISIT_H

#include <httpd.h>

#include "forgery.h"
#include "gate_lock.h"
#include "gate_section.h"
#include "snapshot.h"
#include "text_out.h"

typedef struct {
    int admin;           /* GateAdmin; GATE_UNSET */
} status_dir_t;

/* ZONE "status": one of these.
 * LOCK    lock: whoever carries out a change asked for through the admin API holds it, so that If-Match and the change are one step
 * ATOMIC  the counters
 * CRASH   a holder that dies leaves nothing half done here; the lock is taken over
 * RELOAD  kept
 */
typedef struct {
    uint32_t magic;
    uint32_t spare;
    gate_lock_t lock;
    _Atomic uint64_t done, failed, refused;
} status_shared_t;

#define STATUS_SHARED_MAGIC 0x47535441u
#define STATUS_SHARED_LAYOUT 1u

typedef struct {
    request_rec *r;
    const char *base;    /* path of the location with a slash at its end */
    const char *rest;    /* what is asked for below it, decoded; "" is the page */
    int admin;           /* changes are allowed here */
    const char *who;     /* user, or address */
} visit_t;

/** What mod_gate_status.c holds for the process. */
status_shared_t *status_shared(void);
const unsigned char *status_secret(void);

/**
 * Finds out what is asked for.
 * @return OK; or a status that ends the request (a redirect to the path with a slash, 404)
 */
int visit_begin(request_rec *r, visit_t *visit);

/** Is name, without port, the ServerName or a ServerAlias of s? @param with_any  patterns such as "*" count too */
int server_has_name(const server_rec *s, const char *name, int with_any);

/** Is the Host one of ours? See forgery.h. Logs a refusal. */
forgery_verdict_t visit_host(const visit_t *visit);

/** Sets headers of an answer that nobody may keep; type is static. */
void visit_answer(const visit_t *visit, int status, const char *type);

/** Begins writing the body. */
void visit_write(const visit_t *visit, text_out_t *out);

/** RFC 9457. @return OK */
int visit_problem(const visit_t *visit, int status, const char *rule, const char *detail);

/** GET and HEAD only: else answers 405. @return OK to go on, DONE when answered */
int visit_read_only(const visit_t *visit);

/** The server's facts for a snapshot, and the snapshot itself. */
snapshot_t *visit_snapshot(const visit_t *visit);
snapshot_t *status_snapshot(request_rec *r, int admin);
snapshot_source_t status_source(void);

/* Who answers what: each returns what a handler returns. */
int read_page(const visit_t *visit);
int read_status(const visit_t *visit);
int read_metrics(const visit_t *visit);
int read_events(const visit_t *visit);
int explain_answer(const visit_t *visit);
int admin_answer(const visit_t *visit, const char *path); /* path below api/v1/ */

#endif
