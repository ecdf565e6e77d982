/* selfcheck.c - see selfcheck.h. */

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <http_protocol.h>

#include "gate_core.h"
#include "gate_log.h"
#include "selfcheck.h"

APLOG_USE_MODULE(gate);

int selfcheck_handler(request_rec *r)
{
    const gate_core_t *core = gate_core();
    char why[300];
    int faults;

    if (!r->handler || strcmp(r->handler, "gate-selfcheck") != 0) {
        return DECLINED;
    }
    if (r->method_number != M_GET) {
        r->allowed |= AP_METHOD_BIT << M_GET;
        return HTTP_METHOD_NOT_ALLOWED;
    }
    gate_seats_find_dead(core->seats);
    gate_core_tend();
    faults = gate_arena_validate(core->arena, why, sizeof why);
    ap_set_content_type(r, "text/plain");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (faults) {
        r->status = HTTP_INTERNAL_SERVER_ERROR;
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(0007)
                      "arena: %d faults, the first: %s; keep the server running if it serves well, and report this", faults, why);
        ap_rprintf(r, "%d faults: %s\n", faults, why);
        return OK;
    }
    ap_rprintf(r, "ok\ngeneration %u\nmemory %" APR_UINT64_T_FMT "\n", core->generation, gate_arena_used(core->arena));
    return OK;
}
