/* output.c - see output.h. */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_log.h>
#include <http_request.h>
#include <mod_core.h>
#include <apr_buckets.h>
#include <apr_strings.h>
#include <util_filter.h>

#include "gate_log.h"
#include "output.h"
#include "route_inside.h"

APLOG_USE_MODULE(gate_engine);

#define PIECE_BYTES 8192        /* buckets that have no more together are joined */

struct output {
    request_rec *r;
    const output_ops_t *ops;
    void *user;
    apr_bucket_brigade *bb;
    answer_head_t head;         /* as it came: what filters do not touch */
    char *piece;                /* PIECE_BYTES, once needed */
    int told_head, ended, failed, refused;
};

/* ---- below the filters ----------------------------------------------------------------------------------------------------- */

typedef struct {
    output_t *o;
    fields_t *fields;
    uint32_t room;
    const char *bad;            /* name of a field that cannot be told */
} lines_t;

static int add_line(void *ctx, const char *name, const char *value)
{
    lines_t *lines = ctx;
    fields_t *fields = lines->fields;
    field_t *f;

    if (fields->count == lines->room || !*name || *ap_scan_http_token(name) || *ap_scan_http_field_content(value)) {
        lines->bad = name;
        return 0;
    }
    f = &fields->field[fields->count++];
    memset(f, 0, sizeof *f);
    f->name = (span_t){ name, (uint32_t)strlen(name) };
    f->value = (span_t){ value, (uint32_t)strlen(value) };
    f->known = (uint8_t)field_of(name, f->name.len);
    if (f->known != FIELD_OTHER && !fields->first[f->known]) {
        fields->first[f->known] = (uint16_t)fields->count;
    }
    return 1;
}

static void refuse(output_t *o, int status)
{
    o->told_head = o->refused = 1;
    o->ops->refused(o->user, status);
}

/*
 * Whole: the first brigade that comes through ends the answer, so its length is known, as to httpd's content-length filter. Headers that the
 * filters put aside for errors go out first, as httpd lays tables over one another.
 */
static void tell_head(output_t *o, int whole, uint64_t length)
{
    request_rec *r = o->r;
    answer_head_t head = o->head;
    lines_t lines = { .o = o, .fields = &head.fields };

    head.type_late = r->content_type && !apr_table_get(r->headers_out, "Content-Type");
    if (r->content_type) {
        apr_table_setn(r->headers_out, "Content-Type", ap_make_content_type(r, r->content_type)); /* as httpd's header filter does */
    }
    if (whole && !(length == 0 && (r->header_only || AP_STATUS_IS_HEADER_ONLY(r->status)))
        && (o->head.body == BODY_NONE || apr_table_get(r->headers_out, "Content-Length"))) {
        /* else it comes last, after Header lines: the codec's */
        apr_table_set(r->headers_out, "Content-Length", apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)length));
    }
    lines.room = (uint32_t)(apr_table_elts(r->headers_out)->nelts + apr_table_elts(r->err_headers_out)->nelts);
    memset(&head.fields, 0, sizeof head.fields);
    head.fields.field = apr_palloc(r->pool, (lines.room + 1) * sizeof(field_t));
    head.fields.repeated = 1;
    if (!apr_table_do(add_line, &lines, r->err_headers_out, NULL) || !apr_table_do(add_line, &lines, r->headers_out, NULL)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, GATE_LOGNO(1462)
                      "a field of the answer has characters that are not allowed in one (%.64s): the client gets an error page", lines.bad);
        refuse(o, HTTP_INTERNAL_SERVER_ERROR); /* as httpd's header filter does */
        return;
    }
    if (r->status != head.status) {
        const char *line = ap_get_status_line(r->status);

        head.status = (uint16_t)r->status;
        head.reason = (span_t){ line + 4, (uint32_t)strlen(line + 4) };
    }
    if (o->head.body == BODY_NONE) {
        head.body = BODY_NONE;
    }
    else if (whole) {
        head.body = BODY_LENGTH;
        head.length = length;
    }
    else if (!apr_table_get(r->headers_out, "Content-Length")) {
        head.body = BODY_CHUNKED;
        head.length = UINT64_MAX;
    }
    o->told_head = 1;
    o->ops->head(o->user, &head);
}

/* Bytes until EOS; -1: there is no EOS. */
static int64_t whole_length(const apr_bucket_brigade *bb)
{
    apr_bucket *e;
    int64_t length = 0;

    for (e = APR_BRIGADE_FIRST(bb); e != APR_BRIGADE_SENTINEL(bb); e = APR_BUCKET_NEXT(e)) {
        if (APR_BUCKET_IS_EOS(e)) {
            return length;
        }
        if (APR_BUCKET_IS_FLUSH(e) || e->length == (apr_size_t)-1) {
            return -1;
        }
        length += (int64_t)e->length;
    }
    return -1;
}

static int is_empty_but_for_flush(const apr_bucket_brigade *bb)
{
    const apr_bucket *e;

    for (e = APR_BRIGADE_FIRST(bb); e != APR_BRIGADE_SENTINEL(bb); e = APR_BUCKET_NEXT(e)) {
        if (!APR_BUCKET_IS_METADATA(e) || APR_BUCKET_IS_EOS(e)) {
            return 0;
        }
    }
    return 1;
}

static apr_status_t pass(output_t *o, apr_bucket *e)
{
    const char *bytes;
    apr_size_t len;
    apr_status_t rv;

    if (APR_BUCKET_IS_EOS(e)) {
        if (!o->ended) {
            o->ended = 1;
            o->ops->end(o->user);
        }
        return APR_SUCCESS;
    }
    if (APR_BUCKET_IS_FLUSH(e)) {
        o->ops->flush(o->user);
        return APR_SUCCESS;
    }
    if (AP_BUCKET_IS_ERROR(e) && !o->told_head) {
        refuse(o, ((ap_bucket_error *)e->data)->status);
        return APR_SUCCESS;
    }
    if (APR_BUCKET_IS_METADATA(e)) {
        return APR_SUCCESS;
    }
    rv = apr_bucket_read(e, &bytes, &len, APR_BLOCK_READ);
    if (rv == APR_SUCCESS && len && !o->refused) {
        o->r->bytes_sent += (apr_off_t)len;
        o->ops->data(o->user, bytes, len);
    }
    return rv;
}

/* Filters make many small pieces of little (multipart boundaries): what of them is in a row goes on as one. */
static apr_status_t pass_joined(output_t *o, apr_bucket_brigade *bb)
{
    apr_size_t len = 0, more;
    const char *bytes;
    apr_bucket *e, *next;
    apr_status_t rv = APR_SUCCESS;

    for (e = APR_BRIGADE_FIRST(bb); e != APR_BRIGADE_SENTINEL(bb) && !APR_BUCKET_IS_METADATA(e); e = APR_BUCKET_NEXT(e)) {
        if (e->length > PIECE_BYTES - len) {
            return APR_SUCCESS;
        }
        len += e->length;
    }
    if (e == APR_BRIGADE_FIRST(bb) || APR_BUCKET_NEXT(APR_BRIGADE_FIRST(bb)) == e) {
        return APR_SUCCESS;
    }
    if (!o->piece) {
        o->piece = apr_palloc(o->r->pool, PIECE_BYTES);
    }
    for (len = 0, e = APR_BRIGADE_FIRST(bb); rv == APR_SUCCESS && e != APR_BRIGADE_SENTINEL(bb) && !APR_BUCKET_IS_METADATA(e); e = next) {
        rv = apr_bucket_read(e, &bytes, &more, APR_BLOCK_READ);
        if (rv == APR_SUCCESS) {
            memcpy(o->piece + len, bytes, more);
            len += more;
        }
        next = APR_BUCKET_NEXT(e);
        apr_bucket_delete(e);
    }
    if (rv == APR_SUCCESS && len && !o->refused) {
        o->r->bytes_sent += (apr_off_t)len;
        o->ops->data(o->user, o->piece, len);
    }
    return rv;
}

static apr_status_t receive(ap_filter_t *f, apr_bucket_brigade *bb)
{
    output_t *o = f->ctx;
    apr_status_t rv = APR_SUCCESS;

    if (!o->told_head && !AP_BUCKET_IS_ERROR(APR_BRIGADE_FIRST(bb))) {
        int64_t length = whole_length(bb);

        if (length < 0 && is_empty_but_for_flush(bb)) {
            apr_brigade_cleanup(bb);
            return APR_SUCCESS; /* nothing to tell yet */
        }
        tell_head(o, length >= 0, length >= 0 ? (uint64_t)length : 0);
    }
    while (rv == APR_SUCCESS && !APR_BRIGADE_EMPTY(bb)) {
        rv = pass_joined(o, bb);
        if (rv != APR_SUCCESS || APR_BRIGADE_EMPTY(bb)) {
            break;
        }
        rv = pass(o, APR_BRIGADE_FIRST(bb));
        apr_bucket_delete(APR_BRIGADE_FIRST(bb));
    }
    return rv;
}

static ap_filter_rec_t bottom_rec = { .name = "gate_output", .filter_func.out_func = receive, .ftype = AP_FTYPE_PROTOCOL };

/* ---- above the filters ------------------------------------------------------------------------------------------------------ */

int output_may_cut(const answer_head_t *head, const span_t *range)
{
    return head->status == HTTP_OK && head->body == BODY_LENGTH && head->length && head->length + head->head_bytes <= APR_BUCKET_BUFF_SIZE
           && range->len > 6 && strncasecmp(range->at, "bytes=", 6) == 0;
}

int output_wanted(const route_t *route, uint16_t status, const span_t *type)
{
    const apr_array_header_t *types = route->env->types;
    uint32_t len = 0;
    int i;

    if (route->env->any_type) {
        return 1;
    }
    if (!types || !type || status != HTTP_OK) {
        return 0; /* mod_filter keeps out of other answers */
    }
    while (len < type->len && !strchr("; \t", type->at[len])) {
        len++;
    }
    for (i = 0; i < types->nelts; i++) {
        const char *one = APR_ARRAY_IDX(types, i, const char *);

        if (strncmp(one, type->at, len) == 0 && one[len] == '\0') {
            return 1;
        }
    }
    return 0;
}

static ap_filter_t *above(ap_filter_t *next, ap_filter_rec_t *rec, output_t *o)
{
    ap_filter_t *f = apr_pcalloc(o->r->pool, sizeof *f);

    f->frec = rec;
    f->r = o->r;
    f->c = o->r->connection;
    f->next = next;
    return f;
}

static void insert(output_t *o, unsigned needs, int cut)
{
    request_rec *r = o->r;
    ap_filter_t *bottom = above(NULL, &bottom_rec, o);
    int i;

    bottom->ctx = o;
    r->output_filters = r->proto_output_filters = cut ? above(bottom, ap_byterange_filter_handle, o) : bottom;
    for (i = 0; i < route_hooks.insert_count; i++) {
        if (!route_hooks.inserts[i].needs || route_hooks.inserts[i].needs & needs) {
            route_hooks.inserts[i].insert(r);
        }
    }
}

/* As httpd does before it first calls a request's filters. */
static int init_filters(request_rec *r)
{
    ap_filter_t *f;

    for (f = r->output_filters; f; f = f->next) {
        if (f->frec->filter_init_func && f->frec->filter_init_func(f) != OK) {
            return 0;
        }
    }
    return 1;
}

output_t *output_begin(const route_t *route, request_rec *r, const answer_head_t *head, int cut, const output_ops_t *ops, void *user)
{
    output_t *o = apr_pcalloc(r->pool, sizeof *o);

    o->r = r;
    o->ops = ops;
    o->user = user;
    o->head = *head;
    o->bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    route_request_answer(r, head);
    insert(o, route->needs | (cut ? ELIGIBLE_ANSWER : 0), cut);
    if (!o->bb || !init_filters(r)) {
        return NULL;
    }
    return o;
}

void output_page(request_rec *r, int status, const output_ops_t *ops, void *user)
{
    const char *line = ap_get_status_line(status);
    output_t *o = apr_pcalloc(r->pool, sizeof *o);

    o->r = r;
    o->ops = ops;
    o->user = user;
    o->head = (answer_head_t){ .status = (uint16_t)status, .major = 1, .minor = 1, .keep_alive = 1, .body = BODY_LENGTH,
                               .reason = { line + 4, (uint32_t)strlen(line + 4) } };
    r->output_filters = r->proto_output_filters = above(NULL, &bottom_rec, o);
    r->output_filters->ctx = o;
    r->status = status;
    r->sent_bodyct = 1;
    ap_send_error_response(r, 0);
}

static void run(output_t *o)
{
    apr_status_t rv = ap_pass_brigade(o->r->output_filters, o->bb);

    apr_brigade_cleanup(o->bb);
    if (rv != APR_SUCCESS && !o->failed) {
        o->failed = 1;
        o->ops->failed(o->user);
    }
}

void output_data(output_t *o, const char *bytes, size_t len, int last)
{
    apr_bucket_alloc_t *alloc = o->r->connection->bucket_alloc;

    if (o->failed || o->ended) {
        return;
    }
    if (len) {
        APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_transient_create(bytes, len, alloc));
    }
    if (last) {
        APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_eos_create(alloc));
    }
    run(o);
}

void output_flush(output_t *o)
{
    if (!o->failed && !o->ended) {
        APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_flush_create(o->r->connection->bucket_alloc));
        run(o);
    }
}

void output_end(output_t *o)
{
    output_data(o, "", 0, 1);
}
