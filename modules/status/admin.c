/*
 * admin.c - who may change something, and the way to what is done. Order: Host, GateAdmin, is there such a thing, method, forgery,
 * body; what does not pass is refused, counted and logged, and nothing has been touched by then.
 */

#include <httpd.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_log.h>
#include <http_protocol.h>

#include "admin.h"
#include "admin_request.h"
#include "gate_core.h"
#include "gate_log.h"
#include "token.h"

APLOG_USE_MODULE(gate_status);

#define LOCK_WAIT_USEC (5 * INT64_C(1000000))

static int refused(const visit_t *visit, int status, const char *rule, const char *why)
{
    status_shared()->refused++;
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, visit->r, GATE_LOGNO(1202)
                  "admin: %s %s from %s refused (%s): %s; nothing was changed", visit->r->method, visit->r->uri, visit->who, rule,
                  why);
    return visit_problem(visit, status, rule, why);
}

int admin_failed(const visit_t *visit, int status, const char *rule, const char *why)
{
    if (visit->r->method_number != M_GET) {
        status_shared()->failed++;
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, visit->r, GATE_LOGNO(1203)
                      "admin: %s %s from %s: not done: %s", visit->r->method, visit->r->uri, visit->who, why);
    }
    return visit_problem(visit, status, rule, why);
}

void admin_done(const visit_t *visit, const char *what)
{
    status_shared()->done++;
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, visit->r, GATE_LOGNO(1204) "admin: %s, asked for by %s", what, visit->who);
}

/* ---- body ---- */

/* @return 0; or a status */
static int read_body(request_rec *r, admin_body_t *body)
{
    char *text = apr_palloc(r->pool, ADMIN_BODY_MAX + 1);
    long got;
    int rc = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);

    body->text = text;
    body->len = 0;
    if (rc != OK) {
        return rc;
    }
    if (ap_should_client_block(r)) {
        while ((got = ap_get_client_block(r, text + body->len, ADMIN_BODY_MAX + 1 - body->len)) > 0) {
            body->len += (size_t)got;
            if (body->len > ADMIN_BODY_MAX) {
                return HTTP_REQUEST_ENTITY_TOO_LARGE;
            }
        }
        if (got < 0) {
            return HTTP_BAD_REQUEST;
        }
    }
    text[body->len] = '\0';
    return 0;
}

static int says_it_has_body(request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    return (length && strcmp(length, "0") != 0) || apr_table_get(r->headers_in, "Transfer-Encoding");
}

/* ---- who may ---- */

static forgery_verdict_t check_forgery(const visit_t *visit)
{
    request_rec *r = visit->r;
    const apr_table_t *in = r->headers_in;
    forgery_request_t request = {
        .host = apr_table_get(in, "Host"),
        .origin = apr_table_get(in, "Origin"),
        .fetch_site = apr_table_get(in, "Sec-Fetch-Site"),
        .content_type = apr_table_get(in, "Content-Type"),
        .method = r->method,
        .has_body = says_it_has_body(r),
        .token_good = token_good(status_secret(), r->user ? r->user : "", apr_time_now(), apr_table_get(in, "X-Gate-Token")),
    };

    return forgery_check(&request);
}

/* @return 1 when method is one word of "GET, POST" */
static int in_list(const char *list, const char *method)
{
    size_t len = strlen(method);

    for (const char *at = list; *at; at += strcspn(at, ", "), at += strspn(at, ", ")) {
        if (strcspn(at, ", ") == len && strncmp(at, method, len) == 0) {
            return 1;
        }
    }
    return 0;
}

static int wrong_method(const visit_t *visit, const admin_target_t *target)
{
    apr_table_setn(visit->r->err_headers_out, "Allow", apr_pstrcat(visit->r->pool, target->allow, ", OPTIONS", NULL));
    if (visit->r->method_number == M_OPTIONS) {
        visit_answer(visit, HTTP_NO_CONTENT, "application/json");
        return OK;
    }
    return visit_problem(visit, HTTP_METHOD_NOT_ALLOWED, "method",
                         apr_psprintf(visit->r->pool, "%s is not for this path; it takes %s", visit->r->method, target->allow));
}

/* ---- a change ---- */

static int change(const visit_t *visit, const admin_target_t *target)
{
    status_shared_t *shared = status_shared();
    admin_body_t body = { NULL, 0 };
    int rc = read_body(visit->r, &body);

    if (rc) {
        return admin_failed(visit, rc, "body", rc == HTTP_REQUEST_ENTITY_TOO_LARGE ? "the body is larger than 64 KB"
                                                                                   : "the body could not be read");
    }
    /* a dead holder left nothing half done that the registry or the section would not repair by itself */
    if (gate_lock_take(&shared->lock, LOCK_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return admin_failed(visit, HTTP_SERVICE_UNAVAILABLE, "busy", "another change has been going on for 5 s; try again");
    }
    rc = target->run(visit, target, &body);
    gate_lock_release(&shared->lock);
    return rc;
}

int admin_answer(const visit_t *visit, const char *path)
{
    static const admin_body_t no_body = { NULL, 0 };
    int reads = visit->r->method_number == M_GET || visit->r->method_number == M_OPTIONS;
    admin_target_t target = { .allow = NULL };
    forgery_verdict_t verdict = visit_host(visit);

    if (verdict.status) {
        status_shared()->refused++;
        return visit_problem(visit, verdict.status, verdict.rule, verdict.why);
    }
    if (!reads && !visit->admin) {
        return refused(visit, HTTP_FORBIDDEN, "off", "changes are not allowed here: GateAdmin is off");
    }
    if (!admin_members_find(visit, path, &target) && !admin_actions_find(visit, path, &target)) {
        return visit_problem(visit, HTTP_NOT_FOUND, "path", "there is no such thing; openapi.json tells what there is");
    }
    if (visit->r->method_number == M_OPTIONS || !in_list(target.allow, visit->r->method)) {
        return wrong_method(visit, &target);
    }
    if (reads) {
        if (target.needs_admin_to_read && !visit->admin) {
            return refused(visit, HTTP_FORBIDDEN, "off", "this can be read only where GateAdmin is on");
        }
        return target.run(visit, &target, &no_body);
    }
    verdict = check_forgery(visit);
    if (verdict.status) {
        return refused(visit, verdict.status, verdict.rule, verdict.why);
    }
    return change(visit, &target);
}
