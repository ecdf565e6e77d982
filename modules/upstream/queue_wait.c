/*
 * queue_wait.c - the classic plane's exchange stands in its group's queue: its thread sleeps until it is called, and looks every tick
 * whether its client is still there; the rest is errand_wait.c's.
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <apr_portable.h>
#include <http_core.h>

#include "upstream.h"

queue_t *upstream_queue;

apr_status_t upstream_queue_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    gate_core_t *core = gate_core();
    uint32_t groups = gate_registry_limits(core->registry)->groups;
    uint32_t *lengths = apr_pcalloc(ptemp, groups * sizeof *lengths);
    queue_plan_t plan = { .groups = groups, .seats = gate_seats_count(core->seats), .lengths = lengths };
    gate_zone_t caps, queue;
    apr_status_t rv;
    int i;

    for (i = 0; i < upstream_groups->nelts; i++) {
        const upstream_group_t *group = APR_ARRAY_IDX(upstream_groups, i, upstream_group_t *);

        lengths[group->index] = group->queue_length;
    }
    if ((rv = gate_core_zone(s, "caps", QUEUE_CAPS_LAYOUT, queue_caps_size(), 0, &caps)) != APR_SUCCESS
        || (rv = gate_core_zone(s, "queue", queue_layout(&plan), queue_size(&plan), 0, &queue)) != APR_SUCCESS) {
        return rv;
    }
    if (caps.state != GATE_ZONE_KEPT) {
        queue_caps_init(caps.base);
    }
    if (queue.state != GATE_ZONE_KEPT) {
        queue_init(queue.base, &plan);
    }
    upstream_queue = queue_attach(pconf, caps.base, queue.base, &plan, core->seats, core->registry);
    gate_arena_on_validate(core->arena, "caps", queue_caps_validate, upstream_queue);
    gate_arena_on_validate(core->arena, "queue", queue_validate, upstream_queue);
    gate_seat_on_sweep(queue_sweep, upstream_queue);
    return APR_SUCCESS;
}

/*
 * Has it closed its connection? An HTTP/2 stream that was reset is told by mod_http2 as an aborted connection; whether the whole
 * connection is closed, by the socket of the connection it runs over.
 */
static int client_left(const request_rec *r)
{
    conn_rec *c = r->connection->master ? r->connection->master : r->connection;
    apr_socket_t *socket = ap_get_conn_socket(c);
    struct pollfd look = { .events = POLLRDHUP };

    if (r->connection->aborted || c->aborted) {
        return 1;
    }
    if (!socket || apr_os_sock_get(&look.fd, socket) != APR_SUCCESS || look.fd < 0) {
        return 0;
    }
    return poll(&look, 1, 0) > 0 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Until called, or for a tick. */
static void sleep_a_tick(const gate_errand_t *e, int64_t now_usec)
{
    uint32_t seen;
    _Atomic uint32_t *word = errand_wait_word(e, &seen);
    int64_t usec = e->stay.until_usec - now_usec;
    struct timespec tick;

    usec = usec < QUEUE_TICK_USEC ? usec : QUEUE_TICK_USEC;
    tick = (struct timespec){ .tv_nsec = (long)(usec * 1000) };
    if (word && usec > 0) {
        syscall(SYS_futex, word, FUTEX_WAIT, seen, &tick, NULL, 0);
    }
}

int upstream_claim_wait(upstream_exchange_t *x, int64_t now)
{
    gate_errand_t *e = x->errand;
    gate_errand_e got = errand_claim(e, now);

    while (got == GATE_ERRAND_WAIT) {
        sleep_a_tick(e, now);
        now = gate_mono_usec();
        if (client_left(x->r)) {
            errand_wait_leave(e, now);
            x->r->connection->aborted = 1;
            return -1;
        }
        got = errand_wait_look(e, now);
    }
    return got == GATE_ERRAND_MEMBER;
}
