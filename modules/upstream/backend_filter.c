/*
 * backend_filter.c - a filter pair on each connection to a member, outside of mod_ssl's: it sees what the member's handler writes and
 * reads, in clear. It tells the try that runs in this thread what was sent and received, and keeps the try's times.
 * The pair lives as long as the connection, over many tries; without a try of its own in this thread (pool maintenance) it does nothing.
 */
#include <httpd.h>
#include <http_connection.h>
#include <http_core.h>
#include <util_filter.h>

#include <apr_portable.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "upstream.h"

#define SILENCE_MIN_USEC INT64_C(1000000)
#define LONG_BODY_BYTES 16384 /* what a member's system takes whether it reads or not */
#define PROBE_AFTER_SEC 5 /* of quiet; workers.c switches probes (SO_KEEPALIVE) on */

typedef struct {
    apr_socket_t *socket;
    apr_interval_time_t timeout; /* as we last set it; -2: never */
    int checked_tls;
    int patient;                 /* upstream_backend_patience() */
    int looked;                  /* for: */
    core_net_rec *core;          /* of httpd's own filter, when there is nothing between it and us that wants to see the bytes */
    int counts;                  /* mod_logio's is between */
} backend_t;

static ap_filter_rec_t *in_handle, *out_handle;
static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_in) *count_bytes_in;

static _Thread_local upstream_try_t *try_now;

upstream_try_t *upstream_try_now(void)
{
    return try_now;
}

upstream_try_t *upstream_try_set(upstream_try_t *t)
{
    upstream_try_t *former = try_now;

    try_now = t;
    return former;
}

int64_t upstream_try_limit(const upstream_try_t *t)
{
    const gate_try_t *seen = t->seen;
    int begun = t->multiplexed ? t->answer != ANSWER_NONE : seen->first_byte_usec != 0;
    int64_t limit = begun ? seen->idle_limit_usec : seen->first_byte_limit_usec;
    int64_t deadline = t->shadow->status == HTTP_SWITCHING_PROTOCOLS ? 0 : seen->deadline_usec; /* a tunnel has no end to meet */
    int64_t left;

    if (seen->head_deadline_usec && t->answer == ANSWER_NONE && (!deadline || seen->head_deadline_usec < deadline)) {
        deadline = seen->head_deadline_usec;
    }
    if (!deadline) {
        return limit;
    }
    left = deadline - gate_mono_usec();
    return left < limit ? left : limit;
}

/* Before a step that may wait. @return 0 when there is no time left */
static int set_time(backend_t *backend, int64_t limit)
{
    apr_interval_time_t now = 0;

    if (limit <= 0) {
        return 0;
    }
    apr_socket_timeout_get(backend->socket, &now);
    if (now == limit || (now > 0 && now < limit && now != backend->timeout)) {
        return 1; /* a handler's own, shorter one (the wait for a PING's answer, ..) stays */
    }
    if (now > 0 && now == backend->timeout && now > limit - limit / 64 && now < limit) {
        return 1; /* near enough: a deadline need not be set anew for every read */
    }
    apr_socket_timeout_set(backend->socket, limit);
    backend->timeout = limit;
    return 1;
}

/* A head is read line by line, and no deadline is the usual case: then the time is set once for what comes before the first byte and once
 * for what comes after. */
static int has_time(backend_t *backend, upstream_try_t *t)
{
    int phase = t->seen->first_byte_usec ? 2 : 1;

    if (t->timed == phase) {
        return 1;
    }
    if (!t->multiplexed && !t->seen->deadline_usec && !t->seen->head_deadline_usec) {
        t->timed = phase;
    }
    return set_time(backend, upstream_try_limit(t));
}

/* The try's figures are those of the connection it ends up with: a stale one that was cleared away before does not count. */
static void use_connection(upstream_try_t *t, conn_rec *c)
{
    t->conn = c;
    t->seen->bytes_in = t->seen->bytes_out = 0;
    t->seen->reused = !t->fresh;
    t->read_status = t->write_status = APR_SUCCESS;
    t->timed = 0;
}

/* Data, without what is only there for filters. */
static uint64_t data_length(apr_bucket_brigade *bb)
{
    uint64_t sum = 0;
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (!APR_BUCKET_IS_METADATA(b)) {
            sum += b->length == (apr_size_t)-1 ? 1 : b->length;
        }
    }
    return sum;
}

/* mod_ssl shakes hands when first written to: the note says how that went. */
static void note_handshake(backend_t *backend, upstream_try_t *t, conn_rec *c)
{
    const char *note = apr_table_get(c->notes, "SSL_connect_rv");

    backend->checked_tls = 1;
    if (!note) {
        return;
    }
    if (strcmp(note, "ok") == 0) {
        t->seen->connected_usec = gate_mono_usec();
    }
    else {
        t->seen->tls_failed = 1;
    }
}

/* A window that is shut for a while is no silence where much is sent: a long body, or a tunnel. */
static void set_patience(backend_t *backend, const upstream_try_t *t)
{
    int patient = t->shadow->status == HTTP_SWITCHING_PROTOCOLS || upstream_has_long_body(t->exchange);

    if (backend->patient != patient) {
        upstream_backend_patience(backend->socket, t->exchange->errand->group, patient);
        backend->patient = patient;
    }
}

static apr_status_t backend_out(ap_filter_t *f, apr_bucket_brigade *bb)
{
    backend_t *backend = f->ctx;
    upstream_try_t *t = try_now;
    uint64_t length;
    apr_status_t rv;

    if (!t || (length = data_length(bb)) == 0) {
        return ap_pass_brigade(f->next, bb);
    }
    if (t->conn != f->c) {
        use_connection(t, f->c);
    }
    set_patience(backend, t);
    if (backend->checked_tls ? !has_time(backend, t) : !set_time(backend, t->seen->connect_limit_usec)) {
        t->write_status = APR_TIMEUP;
        return APR_TIMEUP;
    }
    t->seen->bytes_out += length;
    rv = ap_pass_brigade(f->next, bb);
    if (!backend->checked_tls) {
        note_handshake(backend, t, f->c);
    }
    if (rv != APR_SUCCESS) {
        t->write_status = rv;
    }
    return rv;
}

/* ---- a head, line by line -------------------------------------------------------------------------------------------------- */

/*
 * mod_proxy_http reads a head line by line, and looks one byte ahead after each: for httpd's own filter a split, a copy and a brigade each
 * time. What that filter has read ahead is there to be looked at (core_filter_ctx): a line that is whole in it is handed out from where it
 * stands, and only everything else is asked of the filters below.
 */
static void look_below(ap_filter_t *f, backend_t *backend)
{
    const ap_filter_t *below = f->next;

    backend->looked = 1;
    if (below && count_bytes_in && strcmp(below->frec->name, "log_input_output") == 0) {
        backend->counts = 1;
        below = below->next;
    }
    backend->core = below && below->frec == ap_core_input_filter_handle ? below->ctx : NULL;
}

/* The bucket whose bytes come next, if they are in memory. */
static apr_bucket *read_ahead(const backend_t *backend)
{
    core_ctx_t *ahead = backend->core ? backend->core->in_ctx : NULL;
    apr_bucket *b;

    if (!ahead) {
        return NULL;
    }
    b = APR_BRIGADE_FIRST(ahead->b);
    return b != APR_BRIGADE_SENTINEL(ahead->b) && APR_BUCKET_IS_HEAP(b) ? b : NULL;
}

/* A line, or a byte to look at. The bytes stay valid until httpd's filter is asked next. @return how many; 0: ask it */
static apr_size_t serve(const backend_t *backend, ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode)
{
    apr_bucket *b = read_ahead(backend);
    const char *data, *end;
    apr_size_t length, mine = 1;

    if (!b || !b->length || apr_bucket_read(b, &data, &length, APR_NONBLOCK_READ) != APR_SUCCESS) {
        return 0;
    }
    if (mode == AP_MODE_GETLINE) {
        end = memchr(data, '\n', length);
        if (!end) {
            return 0;
        }
        mine = (apr_size_t)(end - data) + 1;
        b->start += mine;
        b->length -= mine; /* an empty one is taken away by httpd's filter */
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_transient_create(data, mine, bb->bucket_alloc));
    if (backend->counts) {
        count_bytes_in(f->c, (apr_off_t)mine);
    }
    return mine;
}

static apr_status_t backend_in(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t bytes)
{
    backend_t *backend = f->ctx;
    upstream_try_t *t = try_now;
    apr_status_t rv;

    if (!backend->looked) {
        look_below(f, backend);
    }
    /* looking whether a pooled connection still stands is no part of an answer */
    if (!t || mode == AP_MODE_SPECULATIVE || mode == AP_MODE_INIT || mode == AP_MODE_EATCRLF) {
        if (t && mode == AP_MODE_SPECULATIVE && bytes == 1 && serve(backend, f, bb, mode)) {
            return APR_SUCCESS;
        }
        return ap_get_brigade(f->next, bb, mode, block, bytes);
    }
    if (t->conn != f->c) {
        use_connection(t, f->c);
    }
    if (mode == AP_MODE_GETLINE && t->seen->first_byte_usec) {
        apr_size_t length = serve(backend, f, bb, mode);

        if (length) {
            t->seen->bytes_in += length;
            return APR_SUCCESS;
        }
    }
    if (block == APR_BLOCK_READ && !has_time(backend, t)) {
        t->read_status = APR_TIMEUP;
        return APR_TIMEUP;
    }
    rv = ap_get_brigade(f->next, bb, mode, block, bytes);
    if (rv == APR_SUCCESS) {
        uint64_t length = data_length(bb);

        t->seen->bytes_in += length;
        if (length && !t->seen->first_byte_usec) {
            t->seen->first_byte_usec = gate_mono_usec();
        }
    }
    else if (!APR_STATUS_IS_EAGAIN(rv)) {
        t->read_status = rv;
    }
    return rv;
}

int upstream_has_long_body(const upstream_exchange_t *x)
{
    const char *length = apr_table_get(x->r->headers_in, "Content-Length");

    return x->body.present && (!length || strlen(length) > 5 || atoi(length) > LONG_BODY_BYTES);
}

void upstream_backend_patience(apr_socket_t *socket, const upstream_group_t *group, int patient)
{
    int64_t usec = group->connect_usec > SILENCE_MIN_USEC ? group->connect_usec : SILENCE_MIN_USEC;
    int user_timeout_ms = patient ? 0 : (int)(usec / 1000);
    apr_os_sock_t fd;

    if (apr_os_sock_get(&fd, socket) == APR_SUCCESS) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
    }
}

void upstream_backend_watch(apr_socket_t *socket, const upstream_group_t *group)
{
    int idle_sec = PROBE_AFTER_SEC, interval_sec = 1;
    apr_os_sock_t fd;

    /* not every kind of socket has these: then a silent machine is noticed by GateTimeout's waits only */
    upstream_backend_patience(socket, group, 0);
    if (apr_os_sock_get(&fd, socket) == APR_SUCCESS) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_sec, sizeof idle_sec);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_sec, sizeof interval_sec);
    }
}

int upstream_backend_attach(conn_rec *c, void *socket)
{
    upstream_try_t *t = try_now;
    backend_t *backend;

    if (!t || c->master) {
        return OK;
    }
    backend = apr_pcalloc(c->pool, sizeof *backend);
    backend->socket = socket;
    backend->timeout = -2;
    upstream_backend_watch(socket, t->exchange->errand->group);
    ap_add_input_filter_handle(in_handle, backend, NULL, c);
    ap_add_output_filter_handle(out_handle, backend, NULL, c);
    t->fresh = 1;
    use_connection(t, c);
    t->seen->connected_usec = gate_mono_usec();
    t->seen->waited_connect_usec = t->seen->waited_usec;
    return OK;
}

void upstream_backend_init(void)
{
    count_bytes_in = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_in);
}

void upstream_backend_register(void)
{
    /* AP_FTYPE_CONNECTION: mod_ssl's are 5 further in */
    in_handle = ap_register_input_filter("GATE_BACKEND_IN", backend_in, NULL, AP_FTYPE_CONNECTION);
    out_handle = ap_register_output_filter("GATE_BACKEND_OUT", backend_out, NULL, AP_FTYPE_CONNECTION);
}
