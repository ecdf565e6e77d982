/*
 * constant_module.c - the least that any module can do for a request in httpd's own way of serving: 1 KB from a quick_handler, the same
 * for all, looked up nowhere. /filters: through httpd's filters; /bare: head and body past them, in one piece. For the bench, whose peers.py
 * builds it.
 */
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#include <string.h>

#define LENGTH 1024
#define HEAD "HTTP/1.1 200 OK\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nServer: Apache\r\nContent-Type: text/plain\r\n" \
             "Cache-Control: max-age=3600\r\nContent-Length: 1024\r\n\r\n"

static char answer[sizeof HEAD - 1 + LENGTH];

static int bare(request_rec *r, apr_bucket_brigade *bb)
{
    conn_rec *c = r->connection;

    apr_table_setn(r->headers_out, "Content-Length", "1024");
    ap_set_keepalive(r);
    r->sent_bodyct = r->eos_sent = 1;
    r->bytes_sent = LENGTH;
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_immortal_create(answer, sizeof answer, c->bucket_alloc));
    ap_pass_brigade(c->output_filters, bb);
    return OK;
}

static int filters(request_rec *r, apr_bucket_brigade *bb)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;

    ap_set_content_type(r, "text/plain");
    ap_set_content_length(r, LENGTH);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_immortal_create(answer + sizeof HEAD - 1, LENGTH, alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(alloc));
    ap_pass_brigade(r->output_filters, bb);
    return OK;
}

static int quick_handler(request_rec *r, int lookup)
{
    apr_bucket_brigade *bb;

    if (lookup) {
        return DECLINED;
    }
    bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    return strcmp(r->uri, "/bare") ? filters(r, bb) : bare(r, bb);
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    memcpy(answer, HEAD, sizeof HEAD - 1);
    memset(answer + sizeof HEAD - 1, 'x', LENGTH);
    ap_hook_quick_handler(quick_handler, NULL, NULL, APR_HOOK_FIRST);
}

AP_DECLARE_MODULE(constant) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, AP_MODULE_FLAG_NONE
};
