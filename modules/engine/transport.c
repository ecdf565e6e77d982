/*
 * transport.c - bytes to and from a client: by the socket itself where httpd's filters would add nothing; with OpenSSL between (client_tls.h)
 * where mod_ssl has put it; else through the filters (transport_filters.c).
 */
#include "transport_inside.h"

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
#define RECORD_BYTES 16384      /* of clear text: RFC 8446, 5.1 */

APR_DECLARE_OPTIONAL_FN(void, ap_logio_add_bytes_in, (conn_rec *c, apr_off_t bytes));
APR_DECLARE_OPTIONAL_FN(void, ap_logio_add_bytes_out, (conn_rec *c, apr_off_t bytes));

static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_in) *add_bytes_in;
static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_out) *add_bytes_out;

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

static ssize_t receive_record(void *t_, char *to, size_t room)
{
    transport_t *t = t_;
    apr_size_t len = room;
    apr_status_t rv = t->empty ? APR_EAGAIN : transport_receive(t, to, &len);

    return rv == APR_SUCCESS ? (ssize_t)len : APR_STATUS_IS_EOF(rv) ? 0 : APR_STATUS_IS_EAGAIN(rv) ? -1 : -2;
}

static int send_record(void *t, const char *bytes, size_t len)
{
    return transport_put_on_wire(t, bytes, len);
}

static const client_tls_wire_t tls_wire = { receive_record, send_record };

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
        t->tls = client_tls_make(c, &tls_wire, t, loop_scratch(loop, LOOP_SCRATCH_RECORD));
        transport_filter_add(t);
        transport_filter_skip_reqtimeout(t);
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

static transport_e read_tls(transport_t *t, size_t most, transport_sink_fn *sink, void *ctx)
{
    char *scratch = loop_scratch(t->loop, LOOP_SCRATCH_READ);

    while (most > 0) {
        size_t room = most < RECORD_BYTES ? most : RECORD_BYTES, took;
        ssize_t got = client_tls_read(t->tls, scratch, room);

        took = client_tls_took(t->tls);
        if (took > 0 && add_bytes_in) {
            add_bytes_in(t->c, (apr_off_t)took);
        }
        if (client_tls_keep(t->tls) != 0) {
            return TRANSPORT_DEAD;
        }
        if (got <= 0) {
            return got == CLIENT_TLS_NONE ? TRANSPORT_AGAIN : got == CLIENT_TLS_END ? TRANSPORT_END : TRANSPORT_DEAD;
        }
        if (sink(ctx, scratch, (size_t)got)) {
            return TRANSPORT_OK;
        }
        most -= (size_t)got;
        if ((size_t)got < room && t->empty && client_tls_waiting(t->tls) == 0) {
            return TRANSPORT_AGAIN;
        }
    }
    return TRANSPORT_OK;
}

/*
 * The filters have nothing more: from here on TLS is ours, once nothing of theirs waits to be sent. A record without data reads as nothing too, and may have
 * others behind it.
 */
static transport_e take_tls(transport_t *t)
{
    int holds = transport_filter_holds(t);

    if (holds != 0) {
        return holds > 0 ? TRANSPORT_OK : TRANSPORT_AGAIN;
    }
    if (transport_filter_send(t, NULL, 0) == 0 && client_tls_take(t->tls) != 0) {
        t->filtered = 1;
    }
    return TRANSPORT_AGAIN;
}

transport_e transport_read(transport_t *t, size_t most, transport_sink_fn *sink, void *ctx)
{
    transport_e how;

    if (t->dead) {
        return TRANSPORT_DEAD;
    }
    if (!t->direct) {
        if (client_tls_is_taken(t->tls)) {
            return read_tls(t, most, sink, ctx);
        }
        how = transport_filter_read(t, t->c->input_filters, most, sink, ctx);
        return how == TRANSPORT_AGAIN && !t->filtered && !t->hung_up ? take_tls(t) : how;
    }
    if (t->behind && t->core_in) {
        how = transport_filter_read(t, t->core_in, most, sink, ctx);
        if (how == TRANSPORT_AGAIN) {
            t->behind = 0;
        }
        return how;
    }
    return read_socket(t, most, sink, ctx);
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

int transport_die(transport_t *t)
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

int transport_flush_wire(transport_t *t)
{
    while (t->wire.kept > 0 && !t->blocked) {
        struct iovec parts[PARTS_MAX];
        int count = outbox_look(&t->wire, parts, PARTS_MAX);
        size_t want = iovec_length(parts, count);
        ssize_t sent;

        sent = to_socket(t, parts, count);
        if (sent < 0) {
            return transport_die(t);
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
            return transport_die(t);
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
        return keep(t, &t->wire, parts, count, 0) != 0 ? -1 : transport_flush_wire(t);
    }
    memcpy(all + first, parts, (size_t)count * sizeof *parts);
    sent = to_socket(t, all, first + count);
    if (sent < 0) {
        return transport_die(t);
    }
    t->blocked = (size_t)sent < kept + total;
    if ((size_t)sent < kept) {
        outbox_drop(&t->wire, (size_t)sent);
        return keep(t, &t->wire, parts, count, 0);
    }
    outbox_drop(&t->wire, kept);
    return keep(t, &t->wire, parts, count, (size_t)sent - kept);
}

/* What nothing follows is not copied but sent, as far as the network takes it. @return 0; -1: dead, or no memory */
int transport_put_on_wire(transport_t *t, const char *bytes, size_t len)
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

static int pass_records(transport_t *t, const struct iovec *parts, int count)
{
    char *record = loop_scratch(t->loop, LOOP_SCRATCH_RECORD);
    size_t left = iovec_length(parts, count), filled = 0;
    int rv = 0;

    for (int i = 0; i < count; i++) {
        const char *from = parts[i].iov_base, *whole;

        for (size_t len = parts[i].iov_len, n; len > 0 && rv == 0; len -= n, from += n) {
            n = len < RECORD_BYTES - filled ? len : RECORD_BYTES - filled;
            whole = filled == 0 && (n == RECORD_BYTES || n == left) ? from : record;
            if (whole == record) {
                memcpy(record + filled, from, n);
            }
            filled += n;
            left -= n;
            if (filled == RECORD_BYTES || left == 0) {
                t->last = left == 0;
                rv = client_tls_write(t->tls, whole, filled);
                filled = 0;
            }
        }
    }
    t->last = 0;
    return rv == 0 && !t->dead ? 0 : transport_die(t);
}

static int pass_out(transport_t *t, const struct iovec *parts, int count)
{
    return client_tls_is_taken(t->tls) ? pass_records(t, parts, count) : transport_filter_send(t, parts, count);
}

/* What is held, and behind the last of it `parts`. */
static int send_held(transport_t *t, const struct iovec *parts, int count)
{
    while (t->plain.kept > 0) {
        struct iovec held[PARTS_MAX];
        int n = outbox_look(&t->plain, held, PARTS_MAX / 2);
        size_t len = iovec_length(held, n);

        if (len == t->plain.kept && count > 0 && count <= PARTS_MAX / 2) {
            memcpy(held + n, parts, (size_t)count * sizeof *parts);
            n += count;
            count = 0;
        }
        if (pass_out(t, held, n) != 0) {
            return -1; /* which may have been done below: nothing is kept any more */
        }
        outbox_drop(&t->plain, len);
    }
    return count > 0 && pass_out(t, parts, count) != 0 ? -1 : transport_flush_wire(t);
}

/* Small pieces are put together here, for each that is passed on by itself would be a record. */
static int send_filtered(transport_t *t, const struct iovec *parts, int count, size_t total)
{
    if (t->plain.kept + total > HOLD_RECORD) {
        if (total > HOLD_BYTES && t->plain.kept > 0) {
            return send_held(t, parts, count);
        }
        if (total > HOLD_BYTES) {
            return pass_out(t, parts, count) != 0 ? -1 : transport_flush_wire(t);
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
    return send_filtered(t, parts, count, total) == 0 && (hold || send_held(t, NULL, 0) == 0) ? 0 : -1;
}

int transport_flush(transport_t *t)
{
    if (t->dead) {
        return -1;
    }
    return t->plain.kept > 0 ? send_held(t, NULL, 0) : transport_flush_wire(t);
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
    return t->empty && transport_waiting(t) == 0;
}

size_t transport_waiting(const transport_t *t)
{
    return t->tls ? client_tls_waiting(t->tls) : 0;
}

apr_status_t transport_receive(transport_t *t, char *to, apr_size_t *len)
{
    ssize_t got;

    if (transport_waiting(t) > 0) {
        *len = client_tls_unread(t->tls, to, *len);
        return APR_SUCCESS;
    }
    do {
        got = recv(t->fd, to, *len, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        t->empty = errno == EAGAIN || errno == EWOULDBLOCK;
        *len = 0;
        return t->empty ? APR_EAGAIN : errno;
    }
    t->empty = got > 0 && (apr_size_t)got < *len && !t->hung_up;
    *len = (apr_size_t)got;
    return got == 0 ? APR_EOF : APR_SUCCESS;
}

void transport_unblock(transport_t *t)
{
    t->blocked = 0;
}

/* ---- to the classic plane and back ------------------------------------------------------------------------------------------ */

void transport_lend(transport_t *t)
{
    if (t->tls) {
        client_tls_give_back(t->tls);
    }
    transport_filter_wake_core(t);
    t->here = 0;
    transport_filter_unskip(t);
}

void transport_return(transport_t *t)
{
    t->here = 1;
    t->empty = t->filtered = 0;
    t->behind = t->core_in != NULL;
    t->dead |= t->c->aborted;
    if (!t->direct) {
        transport_filter_skip_reqtimeout(t);
    }
}

int transport_shutdown(transport_t *t)
{
    if (t->tls) {
        client_tls_give_back(t->tls); /* for close_notify */
    }
    if (!t->dead && !t->c->aborted) {
        ap_prep_lingering_close(t->c);
        ap_flush_conn(t->c);
        transport_flush_wire(t);
    }
    if (t->dead || t->c->aborted || t->wire.kept > 0) {
        return -1;
    }
    return shutdown(t->fd, SHUT_WR) == 0 ? 0 : -1;
}

void transport_close(transport_t *t)
{
    if (t->tls) {
        client_tls_give_back(t->tls);
    }
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
    transport_filter_register();
}
