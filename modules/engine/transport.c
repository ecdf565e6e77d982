/*
 * transport.c - bytes to and from a client: by the socket itself where httpd's filters would add nothing, else through them.
 */
#include "engine.h"
#include "client_tls.h"

#include <apr_optional.h>
#include <apr_portable.h>
#include <errno.h>
#include <http_connection.h>
#include <http_core.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <util_filter.h>

#define HOLD_BYTES 8192         /* small pieces wait for one another up to here */
#define HOLD_RECORD OUTBOX_ROOM /* the same over TLS: about the largest record, and one block */
#define PARTS_MAX 32
#define FILTER_BYTES 8192       /* asked of the filters at a time: what mod_ssl gives at most */

APR_DECLARE_OPTIONAL_FN(void, ap_logio_add_bytes_in, (conn_rec *c, apr_off_t bytes));
APR_DECLARE_OPTIONAL_FN(void, ap_logio_add_bytes_out, (conn_rec *c, apr_off_t bytes));

struct transport {
    loop_t *loop;
    conn_rec *c;
    int fd;
    int direct, here /* the loop has it */, blocked, dead, hung_up;
    int empty;                  /* a read has taken all, and no event has come since */
    int behind;                 /* core's input filter may have read ahead: that comes first */
    BIO *tls;                   /* mod_ssl's; NULL: not known */
    int tls_even;               /* tls_ahead is known */
    uint64_t received, tls_ahead; /* bytes from the socket; what OpenSSL had taken before those */
    int last;                   /* no data follows what goes down the filters: it is sent at once */
    ap_filter_t *core_in;
    ap_filter_t *skipped, **skipped_at; /* mod_reqtimeout's input filter, out of the chain while we keep the time */
    apr_bucket_brigade *in, *out;
    outbox_t plain;             /* FILTERED: held back for more */
    outbox_t wire;              /* not taken by the network */
    uint64_t sent;
};

static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_in) *add_bytes_in;
static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_out) *add_bytes_out;
static ap_filter_rec_t *wire_filter;

static int is_named(const ap_filter_t *f, const char *name)
{
    return strcasecmp(f->frec->name, name) == 0;
}

static int all_known(const conn_rec *c)
{
    for (const ap_filter_t *f = c->input_filters; f; f = f->next) {
        if (!is_named(f, "core_in") && !is_named(f, "reqtimeout") && !is_named(f, "log_input_output") && !is_named(f, "gate_given")) {
            return 0;
        }
    }
    for (const ap_filter_t *f = c->output_filters; f; f = f->next) {
        if (!is_named(f, "core") && !is_named(f, "reqtimeout")) {
            return 0;
        }
    }
    return 1;
}

static void skip_reqtimeout(transport_t *t)
{
    for (ap_filter_t **at = &t->c->input_filters; *at; at = &(*at)->next) {
        if (is_named(*at, "reqtimeout")) {
            t->skipped = *at;
            t->skipped_at = at;
            *at = (*at)->next;
            return;
        }
    }
}

transport_t *transport_make(loop_t *loop, conn_rec *c)
{
    transport_t *t = apr_pcalloc(c->pool, sizeof *t);
    outbox_shelf_t *shelf = &engine_loop_of(loop)->shelf;

    t->loop = loop;
    t->c = c;
    t->here = 1;
    apr_os_sock_get(&t->fd, ap_get_conn_socket(c));
    t->direct = all_known(c);
    t->plain.shelf = t->wire.shelf = shelf;
    for (t->core_in = c->input_filters; t->core_in && t->core_in->frec != ap_core_input_filter_handle;) {
        t->core_in = t->core_in->next;
    }
    t->behind = t->core_in && ((core_net_rec *)t->core_in->ctx)->in_ctx != NULL;
    if (!t->direct) {
        t->tls = client_tls_hold(c);
        ap_add_output_filter_handle(wire_filter, t, NULL, c);
        skip_reqtimeout(t);
    }
    return t;
}

int transport_is_direct(const transport_t *t)
{
    return t->direct;
}

int transport_fd(const transport_t *t)
{
    return t->fd;
}

size_t transport_kept(const transport_t *t)
{
    return t->wire.kept + t->plain.kept;
}

uint64_t transport_sent(const transport_t *t)
{
    return t->sent;
}

/* mod_logio counts what goes up through its filter, which is below TLS; where there is no filter on the way, what is taken. */
void transport_count_in(transport_t *t, size_t len)
{
    if (t->direct && add_bytes_in && len > 0) {
        add_bytes_in(t->c, (apr_off_t)len);
    }
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

static transport_e read_socket(transport_t *t, size_t most, transport_sink_fn *sink, void *ctx)
{
    char *scratch = loop_scratch(t->loop, LOOP_SCRATCH_READ);

    for (;;) {
        size_t room = most < LOOP_SCRATCH_BYTES ? most : LOOP_SCRATCH_BYTES;
        ssize_t got = recv(t->fd, scratch, room, MSG_DONTWAIT);

        if (got > 0) {
            int enough = sink(ctx, scratch, (size_t)got);

            most -= (size_t)got;
            if ((size_t)got < room) {
                return TRANSPORT_AGAIN;
            }
            if (enough || most == 0) {
                return TRANSPORT_OK;
            }
        } else if (got == 0) {
            return TRANSPORT_END;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return TRANSPORT_AGAIN;
        } else if (errno != EINTR) {
            return TRANSPORT_DEAD;
        }
    }
}

/* Everything in the brigade goes to the sink. @return TRANSPORT_OK, or _END where it ends; *got: bytes; *enough: the sink said so */
static transport_e pour(apr_bucket_brigade *bb, transport_sink_fn *sink, void *ctx, size_t *got, int *enough)
{
    transport_e how = TRANSPORT_OK;

    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        const char *bytes;
        apr_size_t len;

        if (APR_BUCKET_IS_EOS(b)) {
            how = TRANSPORT_END;
        } else if (!APR_BUCKET_IS_METADATA(b)) {
            if (apr_bucket_read(b, &bytes, &len, APR_NONBLOCK_READ) != APR_SUCCESS) {
                how = TRANSPORT_DEAD;
            } else if (len > 0) {
                *enough |= sink(ctx, bytes, len);
                *got += len;
            }
        }
        apr_bucket_delete(b);
    }
    return how;
}

/* After a read that gave less than was asked for: does the TLS below hold nothing more? */
static int is_drained(const transport_t *t)
{
    return t->tls_even && t->empty && client_tls_taken(t->tls) == t->tls_ahead + t->received;
}

/* It has said that there is nothing: so it has taken all that has come. */
static void note_drained(transport_t *t)
{
    if (t->tls && t->empty) {
        t->tls_ahead = client_tls_taken(t->tls) - t->received;
        t->tls_even = 1;
    }
}

/*
 * The end of a connection comes as a read of nothing first, and only the next read says what it was: where the network has told us of an end,
 * nothing is not believed at once.
 */
static transport_e read_filter(transport_t *t, ap_filter_t *f, size_t most, transport_sink_fn *sink, void *ctx)
{
    int enough = 0, doubts = t->hung_up ? 2 : 0;

    if (!t->in) {
        t->in = apr_brigade_create(t->c->pool, t->c->bucket_alloc);
    }
    while (!enough && most > 0) {
        apr_off_t room = (apr_off_t)(most < FILTER_BYTES ? most : FILTER_BYTES);
        apr_status_t rv = ap_get_brigade(f, t->in, AP_MODE_READBYTES, APR_NONBLOCK_READ, room);
        size_t got = 0;
        transport_e how;

        if (APR_STATUS_IS_EAGAIN(rv) || (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(t->in))) {
            if (doubts-- > 0) {
                continue;
            }
            note_drained(t);
            return TRANSPORT_AGAIN;
        }
        if (rv != APR_SUCCESS) {
            apr_brigade_cleanup(t->in);
            return APR_STATUS_IS_EOF(rv) ? TRANSPORT_END : TRANSPORT_DEAD;
        }
        how = pour(t->in, sink, ctx, &got, &enough);
        if (how != TRANSPORT_OK) {
            return how;
        }
        if (got == 0 && doubts-- <= 0) {
            return TRANSPORT_AGAIN;
        }
        if ((apr_off_t)got < room && is_drained(t)) {
            return TRANSPORT_AGAIN;
        }
        most = most > got ? most - got : 0;
    }
    return TRANSPORT_OK;
}

transport_e transport_read(transport_t *t, size_t most, transport_sink_fn *sink, void *ctx)
{
    transport_e how;

    if (t->dead) {
        return TRANSPORT_DEAD;
    }
    if (!t->direct) {
        return read_filter(t, t->c->input_filters, most, sink, ctx);
    }
    if (t->behind && t->core_in) {
        how = read_filter(t, t->core_in, most, sink, ctx);
        if (how == TRANSPORT_AGAIN) {
            t->behind = 0;
        }
        return how;
    }
    return read_socket(t, most, sink, ctx);
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static int die(transport_t *t)
{
    t->dead = 1;
    t->c->aborted = 1;
    outbox_clear(&t->wire);
    outbox_clear(&t->plain);
    return -1;
}

static size_t iovec_length(const struct iovec *parts, int count)
{
    size_t sum = 0;

    for (int i = 0; i < count; i++) {
        sum += parts[i].iov_len;
    }
    return sum;
}

/* @return bytes that the network took, -1: it is over */
static ssize_t to_socket(transport_t *t, struct iovec *parts, int count)
{
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = (size_t)count };
    ssize_t sent;

    do {
        sent = count == 1 ? send(t->fd, parts->iov_base, parts->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
                          : sendmsg(t->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            return -1;
        }
        sent = 0;
    }
    t->sent += (uint64_t)sent;
    if (sent > 0 && add_bytes_out) {
        add_bytes_out(t->c, sent);
    }
    return sent;
}

static int flush_wire(transport_t *t)
{
    while (t->wire.kept > 0 && !t->blocked) {
        struct iovec parts[PARTS_MAX];
        int count = outbox_look(&t->wire, parts, PARTS_MAX);
        size_t want = iovec_length(parts, count);
        ssize_t sent;

        sent = to_socket(t, parts, count);
        if (sent < 0) {
            return die(t);
        }
        outbox_drop(&t->wire, (size_t)sent);
        t->blocked = (size_t)sent < want;
    }
    return 0;
}

static int keep(transport_t *t, outbox_t *box, const struct iovec *parts, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t len = parts[i].iov_len;

        if (skip >= len) {
            skip -= len;
        } else if (outbox_put(box, (const char *)parts[i].iov_base + skip, len - skip) != 0) {
            return die(t);
        } else {
            skip = 0;
        }
    }
    return 0;
}

static int send_direct(transport_t *t, const struct iovec *parts, int count, size_t total, int hold)
{
    struct iovec all[PARTS_MAX];
    int first;
    size_t kept = t->wire.kept;
    ssize_t sent;

    if (t->blocked || (hold && kept + total < HOLD_BYTES)) {
        return keep(t, &t->wire, parts, count, 0);
    }
    first = outbox_look(&t->wire, all, PARTS_MAX / 2);
    if (count > PARTS_MAX / 2 || first == PARTS_MAX / 2) { /* rare: by way of memory */
        return keep(t, &t->wire, parts, count, 0) != 0 ? -1 : flush_wire(t);
    }
    memcpy(all + first, parts, (size_t)count * sizeof *parts);
    sent = to_socket(t, all, first + count);
    if (sent < 0) {
        return die(t);
    }
    t->blocked = (size_t)sent < kept + total;
    if ((size_t)sent < kept) {
        outbox_drop(&t->wire, (size_t)sent);
        return keep(t, &t->wire, parts, count, 0);
    }
    outbox_drop(&t->wire, kept);
    return keep(t, &t->wire, parts, count, (size_t)sent - kept);
}

/* The bytes live until the filters return: whoever keeps them makes a copy. */
static void put_parts(transport_t *t, const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0) {
            APR_BRIGADE_INSERT_TAIL(t->out, apr_bucket_transient_create(parts[i].iov_base, parts[i].iov_len, t->c->bucket_alloc));
        }
    }
}

/* What is in t->out goes down and to the network. last: it is one bucket, for one record. */
static int pass_out(transport_t *t, int last)
{
    apr_status_t rv;

    APR_BRIGADE_INSERT_TAIL(t->out, apr_bucket_flush_create(t->c->bucket_alloc));
    t->last = last;
    rv = ap_pass_brigade(t->c->output_filters, t->out);
    t->last = 0;
    apr_brigade_cleanup(t->out);
    return rv == APR_SUCCESS && !t->c->aborted ? 0 : die(t);
}

/* What is held, and behind the last of it `parts`. */
static int send_held(transport_t *t, const struct iovec *parts, int count)
{
    while (t->plain.kept > 0) {
        struct iovec held[PARTS_MAX];
        int n = outbox_look(&t->plain, held, PARTS_MAX);
        size_t len = iovec_length(held, n);

        put_parts(t, held, n);
        if (len == t->plain.kept) {
            put_parts(t, parts, count);
        }
        if (pass_out(t, n == 1 && count == 0) != 0) {
            return -1; /* which may have been done below: nothing is kept any more */
        }
        outbox_drop(&t->plain, len);
    }
    return flush_wire(t);
}

/* Small pieces are put together here, for mod_ssl makes a record of each bucket, or copies several into one of 8 KiB. */
static int send_filtered(transport_t *t, const struct iovec *parts, int count, size_t total)
{
    if (t->plain.kept + total > HOLD_RECORD) {
        if (total > HOLD_BYTES && t->plain.kept > 0) {
            return send_held(t, parts, count);
        }
        if (total > HOLD_BYTES) {
            put_parts(t, parts, count);
            return pass_out(t, 0) != 0 ? -1 : flush_wire(t);
        }
        if (send_held(t, NULL, 0) != 0) {
            return -1;
        }
    }
    return keep(t, &t->plain, parts, count, 0);
}

int transport_send(transport_t *t, const struct iovec *parts, int count, int hold)
{
    size_t total = iovec_length(parts, count);

    if (t->dead) {
        return -1;
    }
    if (t->direct) {
        return send_direct(t, parts, count, total, hold);
    }
    if (!t->out) {
        t->out = apr_brigade_create(t->c->pool, t->c->bucket_alloc);
    }
    return send_filtered(t, parts, count, total) == 0 && (hold || send_held(t, NULL, 0) == 0) ? 0 : -1;
}

int transport_flush(transport_t *t)
{
    if (t->dead) {
        return -1;
    }
    return t->plain.kept > 0 ? send_held(t, NULL, 0) : flush_wire(t);
}

void transport_hung_up(transport_t *t)
{
    t->hung_up = 1;
}

void transport_readable(transport_t *t)
{
    t->empty = 0;
}

int transport_is_here(const transport_t *t)
{
    return t && t->here;
}

int transport_is_empty(const transport_t *t)
{
    return t->empty;
}

apr_status_t transport_receive(transport_t *t, char *to, apr_size_t *len)
{
    ssize_t got;

    do {
        got = recv(t->fd, to, *len, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        t->empty = errno == EAGAIN || errno == EWOULDBLOCK;
        *len = 0;
        return t->empty ? APR_EAGAIN : errno;
    }
    t->received += (uint64_t)got;
    t->empty = got > 0 && (apr_size_t)got < *len && !t->hung_up;
    *len = (apr_size_t)got;
    return got == 0 ? APR_EOF : APR_SUCCESS;
}

void transport_unblock(transport_t *t)
{
    t->blocked = 0;
}

/* What nothing follows is not copied but sent, as far as the network takes it. @return 0; -1: dead, or no memory */
static int put_on_wire(transport_t *t, const char *bytes, size_t len)
{
    if (t->last && t->wire.kept == 0 && !t->blocked) {
        struct iovec part = { (void *)bytes, len };
        ssize_t sent = to_socket(t, &part, 1);

        if (sent < 0) {
            return -1;
        }
        t->blocked = (size_t)sent < len;
        bytes += sent;
        len -= (size_t)sent;
    }
    return len > 0 ? outbox_put(&t->wire, bytes, len) : 0;
}

/* The last filter before core's: what comes down on the loop goes to the socket without waiting for it. */
static apr_status_t to_wire(ap_filter_t *f, apr_bucket_brigade *bb)
{
    transport_t *t = f->ctx;
    int flush = 0;

    if (!t->here) {
        return ap_pass_brigade(f->next, bb);
    }
    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        const char *bytes;
        apr_size_t len;

        if (APR_BUCKET_IS_METADATA(b)) {
            flush |= APR_BUCKET_IS_FLUSH(b);
        } else if (t->dead || apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ) != APR_SUCCESS || put_on_wire(t, bytes, len) != 0) {
            die(t);
            apr_brigade_cleanup(bb);
            return APR_ECONNABORTED;
        }
        apr_bucket_delete(b);
    }
    return flush && flush_wire(t) != 0 ? APR_ECONNABORTED : APR_SUCCESS;
}

/* ---- to the classic plane and back ------------------------------------------------------------------------------------------ */

/*
 * httpd takes for granted that core's input filter has been asked at least once before a request is refused, which is not so where we have read
 * all that there is of it.
 */
static void wake_core(transport_t *t)
{
    if (!t->core_in || ((core_net_rec *)t->core_in->ctx)->in_ctx) {
        return;
    }
    if (!t->in) {
        t->in = apr_brigade_create(t->c->pool, t->c->bucket_alloc);
    }
    ap_get_brigade(t->core_in, t->in, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, 1);
    apr_brigade_cleanup(t->in);
}

void transport_lend(transport_t *t)
{
    wake_core(t);
    t->here = 0;
    if (t->skipped) {
        *t->skipped_at = t->skipped;
        t->skipped = NULL;
    }
}

void transport_return(transport_t *t)
{
    t->here = 1;
    t->empty = t->tls_even = 0;
    t->behind = t->core_in != NULL;
    t->dead |= t->c->aborted;
    if (!t->direct) {
        skip_reqtimeout(t);
    }
}

int transport_shutdown(transport_t *t)
{
    if (!t->dead && !t->c->aborted) {
        ap_prep_lingering_close(t->c);
        ap_flush_conn(t->c);
        flush_wire(t);
    }
    if (t->dead || t->c->aborted || t->wire.kept > 0) {
        return -1;
    }
    return shutdown(t->fd, SHUT_WR) == 0 ? 0 : -1;
}

void transport_close(transport_t *t)
{
    t->dead = 1;
    outbox_clear(&t->wire);
    outbox_clear(&t->plain);
}

static void find_logio(void)
{
    add_bytes_in = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_in);
    add_bytes_out = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_out);
}

void transport_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_optional_fn_retrieve(find_logio, NULL, NULL, APR_HOOK_MIDDLE);
    wire_filter = ap_register_output_filter("GATE_WIRE", to_wire, NULL, AP_FTYPE_NETWORK - 1);
}
