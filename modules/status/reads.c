/* reads.c - page, status.json, metrics, events.json: see visit.h. */

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <http_protocol.h>

#include "gate_core.h"
#include "gate_log.h"
#include "render.h"
#include "token.h"
#include "visit.h"

APLOG_USE_MODULE(gate_status);

int read_page(const visit_t *visit)
{
    char token[TOKEN_LEN] = "";
    render_page_t page = { token };
    text_out_t out;

    if (visit->admin) {
        token_make(status_secret(), visit->r->user ? visit->r->user : "", apr_time_now(), token);
    }
    visit_answer(visit, HTTP_OK, "text/html; charset=utf-8");
    visit_write(visit, &out);
    render_html(&out, visit_snapshot(visit), &page);
    text_out_end(&out);
    return OK;
}

int read_status(const visit_t *visit)
{
    text_out_t out;

    visit_answer(visit, HTTP_OK, "application/json");
    visit_write(visit, &out);
    render_json(&out, visit_snapshot(visit));
    text_out_end(&out);
    return OK;
}

int read_metrics(const visit_t *visit)
{
    text_out_t out;

    visit_answer(visit, HTTP_OK, RENDER_METRICS_TYPE);
    visit_write(visit, &out);
    render_metrics(&out, visit->r->pool, visit_snapshot(visit));
    text_out_end(&out);
    return OK;
}

int read_events(const visit_t *visit)
{
    gate_event_t *events = apr_pcalloc(visit->r->pool, GATE_EVENTS * sizeof *events);
    int count = gate_events_read(gate_core()->events, events, GATE_EVENTS);
    text_out_t out;

    visit_answer(visit, HTTP_OK, "application/json");
    visit_write(visit, &out);
    render_json_events(&out, events, count);
    text_out_end(&out);
    return OK;
}
