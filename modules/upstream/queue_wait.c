/*
 * queue_wait.c - an exchange stands in its group's queue: it sleeps until it is called, and looks every tick whether its client is
 * still there and whether anybody could serve it at all.
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <apr_portable.h>
#include <http_core.h>

#include "upstream.h"

#define SUSPECT_USEC (QUEUE_BLOCKED_USEC / 2) /* so long blocked: is the one in front dead? */

queue_t *upstream_queue;

apr_status_t upstream_queue_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    gate_core_t *core = gate_core();
    uint32_t groups = gate_registry_limits(core->registry)->groups;
    uint32_t *lengths = apr_pcalloc(ptemp, groups * sizeof *lengths);
    queue_plan_t plan = { groups, lengths };
    gate_zone_t caps, queue;
    apr_status_t rv;
    int i;

    for (i = 0; i < upstream_groups->nelts; i++) {
        const upstream_group_t *group = APR_ARRAY_IDX(upstream_groups, i, upstream_group_t *);

        lengths[group->index] = group->queue_length;
    }
    if ((rv = gate_core_zone(s, "caps", QUEUE_CAPS_LAYOUT, queue_caps_size(groups), 0, &caps)) != APR_SUCCESS
        || (rv = gate_core_zone(s, "queue", queue_layout(&plan), queue_size(&plan), 0, &queue)) != APR_SUCCESS) {
        return rv;
    }
    if (caps.state != GATE_ZONE_KEPT) {
        queue_caps_init(caps.base, groups);
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

/* Until called, or for a tick. @return 1 when called */
static int sleep_a_tick(const queue_stay_t *stay, int64_t now_usec)
{
    _Atomic uint32_t *word = queue_word(upstream_queue, stay);
    int64_t usec = stay->until_usec - now_usec;
    struct timespec tick;

    usec = usec < QUEUE_TICK_USEC ? usec : QUEUE_TICK_USEC;
    tick.tv_sec = 0;
    tick.tv_nsec = (long)(usec * 1000);
    syscall(SYS_futex, word, FUTEX_WAIT, stay->word, &tick, NULL, 0);
    return atomic_load(word) != stay->word;
}

/* Who is blocked for long looks whether the one in front is dead: the parent notices, but not at once. */
static void suspect(const queue_stay_t *stay, int64_t now_usec)
{
    if (stay->blocked_since_usec && now_usec - stay->blocked_since_usec >= SUSPECT_USEC) {
        gate_seats_find_dead(gate_core()->seats);
    }
    gate_core_tend();
}

/* @return as upstream_claim_wait() */
static int stand(upstream_exchange_t *x, queue_stay_t *stay)
{
    unsigned ticks = 0;
    int64_t now;

    for (;;) {
        now = gate_mono_usec();
        if (now >= stay->until_usec || !queue_word(upstream_queue, stay)) {
            queue_leave(upstream_queue, stay, QUEUE_LEFT_EXPIRED, now);
            return 0;
        }
        ticks++;
        if (sleep_a_tick(stay, now) || queue_due(upstream_queue, stay, ticks)) {
            ticks = 0;
        }
        now = gate_mono_usec();
        if (client_left(x->r)) {
            queue_leave(upstream_queue, stay, QUEUE_LEFT_CLIENT, now);
            return -1;
        }
        suspect(stay, now);
        upstream_claim_follow(x);
        if (!upstream_claim_hope(x)) {
            x->full = 0;
            queue_leave(upstream_queue, stay, QUEUE_LEFT_EXPIRED, now);
            return 0;
        }
        if (ticks == 0 && queue_look(upstream_queue, stay, upstream_claim_admit, x, now) == QUEUE_ADMITTED) {
            return 1;
        }
    }
}

static int wait_in_line(upstream_exchange_t *x)
{
    int64_t now = gate_mono_usec();
    queue_stay_t stay = {
        .group = x->group->index, .seat = gate_core()->seat, .picky = x->tries > 0 || x->bound,
        .until_usec = now + x->group->queue_timeout_usec
    };
    int got;

    if (x->deadline_usec && x->deadline_usec < stay.until_usec) {
        stay.until_usec = x->deadline_usec;
    }
    x->next = -1;
    x->full = x->others_full = 1;
    switch (queue_enter(upstream_queue, &stay, upstream_claim_hope(x), upstream_claim_admit, x, now)) {
    case QUEUE_ADMITTED:
        return 1;
    case QUEUE_WAITING:
        got = stand(x, &stay);
        x->queued_usec += gate_mono_usec() - now;
        return got;
    default:
        return 0;
    }
}

int upstream_claim_wait(upstream_exchange_t *x)
{
    int got;

    if (!x->roster->capped || !x->group->queue_length) {
        return upstream_claim(x);
    }
    upstream_unclaim(x);
    got = wait_in_line(x);
    if (got == 0 && x->bound && !x->elsewhere) {
        x->elsewhere = 1; /* its own member had no room in time: rather another than none */
        got = upstream_claim(x);
    }
    if (got < 0) {
        x->r->connection->aborted = 1;
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, x->r, GATE_LOGNO(0230)
                      "group %s: the client went away after %" APR_INT64_T_FMT " ms in the queue: its place is given up", x->group->name,
                      x->queued_usec / 1000);
    }
    return got;
}
