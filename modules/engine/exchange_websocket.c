/*
 * exchange_websocket.c - a WebSocket on its way to a member: by the handshake of HTTP/1.1, or, to members of HTTP/2, by CONNECT with :protocol
 * (RFC 8441), if they offer it. Which of both a member speaks does not depend on what the client speaks.
 */
#include <httpd.h>
#include <http_log.h>

#include <apr_strings.h>

#include "exchange_inside.h"
#include "gate_log.h"
#include "h2_websocket.h"

APLOG_USE_MODULE(gate_engine);

#define WARN_USEC INT64_C(60000000) /* one line of a loop's at that level in so long */

/* WebSocket is what the classic plane's workers let pass. To HTTP/2 a request that only looks like one is a request. */
void exchange_websocket_ask(exchange_t *x, member_ask_t *ask)
{
    const field_t *upgrade = x->head->upgrade ? fields_known(&x->head->fields, FIELD_UPGRADE) : NULL;

    x->asked_upgrade = upgrade && span_is(upgrade->value, "websocket")
                       && (!origin_is_duplex(x->try->member) || h2_websocket_key_of(&x->head->fields).at);
    if (x->asked_upgrade) {
        ask->upgrade = upgrade->value;
    }
}

static void say_unable(exchange_t *x)
{
    static _Thread_local int64_t warned_usec;
    int64_t now = loop_now(x->loop);
    const apr_table_t *env = exchange_env(x);
    const char *group = apr_table_get(env, "GATE_GROUP"), *member = apr_table_get(env, "GATE_MEMBER");
    int level = warned_usec && now - warned_usec < WARN_USEC ? APLOG_INFO : APLOG_WARNING;

    if (level == APLOG_WARNING) {
        warned_usec = now;
    }
    ap_log_cerror(APLOG_MARK, level, 0, x->c, GATE_LOGNO(1703) "group %s: member %s: it does not offer WebSockets over HTTP/2 (RFC 8441), so "
                  "%s was answered 502; where it takes them over HTTP/1.1, route them to a group in which its GateMember is http:// or https://",
                  group ? group : "?", member ? member : "?", x->view.path ? x->view.path : "one");
}

void exchange_websocket_unable(exchange_t *x)
{
    apr_table_t *headers = apr_table_make(x->pool, 1);

    say_unable(x);
    exchange_try_over(x, GATE_OUTCOME_OURS, "the member does not offer WebSockets over HTTP/2", 0, 0);
    if (!x->gone) {
        apr_table_setn(headers, "Proxy-Status", "gatehouse; error=http_upgrade_failed");
        exchange_tell_classic(x, HTTP_BAD_GATEWAY, headers);
    }
}
