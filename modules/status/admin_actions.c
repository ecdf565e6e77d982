/* admin_actions.c - sections' actions in the admin API: see admin.h and gate_section.h. */

#include <httpd.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>

#include "admin.h"
#include "admin_request.h"
#include "gate_core.h"
#include "gate_time.h"
#include "render.h"

APLOG_USE_MODULE(gate_status);

static void remember(const gate_section_t *section, const gate_action_t *action, const gate_call_t *call)
{
    gate_event_t e;

    memset(&e, 0, sizeof e);
    e.wall_usec = call->wall_usec;
    apr_cpystrn(e.area, section->name, sizeof e.area);
    apr_cpystrn(e.group, action->path, sizeof e.group);
    apr_cpystrn(e.to, action->title, sizeof e.to);
    apr_cpystrn(e.why, call->said ? call->said : "", sizeof e.why);
    apr_cpystrn(e.who, call->who, sizeof e.who);
    gate_event_push(gate_core()->events, &e);
}

static int run_action(const visit_t *visit, const admin_target_t *target, const admin_body_t *body)
{
    request_rec *r = visit->r;
    const gate_section_t *section = NULL;
    int known, rc, reads = r->method_number == M_GET;
    const gate_action_t *action = gate_section_action(reads ? "GET" : r->method, target->path, &section, &known);
    apr_table_t *params;
    const char *err;
    gate_call_t call = { .pool = r->pool, .who = visit->who };
    text_out_t out;

    if (!action) {
        return visit_problem(visit, HTTP_NOT_FOUND, "path", "there is no such action");
    }
    /* DELETE may bring its parameters in either place */
    err = strcmp(action->method, "POST") == 0 || (!reads && body->len)
        ? admin_params_json(r->pool, body->text, body->len, action->params, &params)
        : admin_params_query(r->pool, r->args, action->params, &params);
    if (err) {
        return admin_failed(visit, HTTP_BAD_REQUEST, "field", err);
    }
    call.params = params;
    call.now_usec = gate_mono_usec();
    call.wall_usec = apr_time_now();
    call.result = gate_node_create(r->pool);
    rc = action->run(&call, section->ctx);
    if (rc) {
        return admin_failed(visit, rc, "action", call.said ? call.said : "it could not be done");
    }
    if (!reads) {
        remember(section, action, &call);
        admin_done(visit, apr_psprintf(r->pool, "%s: %s: %s", section->name, action->title,
                                       ap_escape_logitem(r->pool, call.said ? call.said : "done")));
        gate_put_text(call.result, "said", call.said ? call.said : "done");
    }
    visit_answer(visit, HTTP_OK, "application/json");
    visit_write(visit, &out);
    render_json_node(&out, call.result);
    text_char(&out, '\n');
    text_out_end(&out);
    return OK;
}

int admin_actions_find(const visit_t *visit, const char *path, admin_target_t *target)
{
    static const char *const methods[] = { "GET", "POST", "DELETE" };
    int known = 0;

    target->allow = "";
    for (int i = 0; i < 3; i++) {
        if (gate_section_action(methods[i], path, &target->section, &known)) {
            target->allow = apr_pstrcat(visit->r->pool, target->allow, *target->allow ? ", " : "", methods[i], NULL);
        }
    }
    target->path = path;
    target->run = run_action;
    target->needs_admin_to_read = 1;
    return *target->allow != '\0';
}
