/*
 * engine_counts.c - what the loops of all children count, in shared memory, and how it is shown.
 *
 * ZONE  "engine": [ head: reasons | row of seat 0, loop 0 | .. ]
 * ATOMIC  a row is written by its loop's thread alone; a reason's text by whoever claims its place, once.
 * CRASH   a child that dies leaves its gauges: they are not counted while the seat is not taken, and set to 0 when it is swept or taken anew.
 *         A place for a reason that was claimed and never filled stays empty.
 * RELOAD  kept.
 */
#include "engine.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <mod_status.h>
#include <string.h>

#include "engine_parts.h"
#include "h2_negotiate.h"

#define ZONE_LAYOUT 2u
#define LAST_REASON (ENGINE_REASONS - 1)

typedef struct {
    _Atomic uint32_t state;     /* 0 free, 1 being written, 2 there */
    char text[ENGINE_REASON_LEN];
} reason_t;

typedef struct {
    reason_t reason[ENGINE_REASONS]; /* the last: all that have no place of their own */
} head_t;

static head_t *head;
static engine_row_t *rows;
static uint32_t seats;
static int loops_each;

static int validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    const head_t *it = base;
    int faults = 0;

    (void)ctx, (void)size_bytes;
    for (int i = 0; i < ENGINE_REASONS; i++) {
        if (atomic_load(&((head_t *)it)->reason[i].state) > 2 || !memchr(it->reason[i].text, '\0', ENGINE_REASON_LEN)) {
            if (faults++ == 0) {
                apr_snprintf(why, why_size, "engine: reason %d is damaged", i);
            }
        }
    }
    return faults;
}

static void clear_gauges(engine_row_t *row)
{
    for (int i = 0; i < CONN_AT_COUNT; i++) {
        atomic_store(&row->at[i], 0);
    }
    atomic_store(&row->exchanges, 0);
}

static void sweep(int seat, void *ctx)
{
    (void)ctx;
    for (int i = 0; i < loops_each; i++) {
        clear_gauges(&rows[seat * loops_each + i]);
    }
}

apr_status_t engine_counts_open(server_rec *s)
{
    gate_zone_t zone;
    uint64_t size;
    apr_status_t rv;

    seats = gate_seats_count(gate_core()->seats);
    loops_each = engine_loops_wanted();
    size = sizeof(head_t) + (uint64_t)seats * (uint64_t)loops_each * sizeof(engine_row_t);
    rv = gate_core_zone(s, "engine", ZONE_LAYOUT, size, 0, &zone);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    head = zone.base;
    rows = (engine_row_t *)(head + 1);
    gate_arena_on_validate(gate_core()->arena, "engine", validate, NULL);
    gate_seat_on_sweep(sweep, NULL);
    return APR_SUCCESS;
}

engine_row_t *engine_row(int loop)
{
    static engine_row_t nobody[ENGINE_LOOPS_MAX]; /* no seat was free: counted for itself */
    int seat = gate_core()->seat;
    engine_row_t *row = seat == GATE_SEAT_NONE || !rows ? &nobody[loop] : &rows[seat * loops_each + loop];

    clear_gauges(row);
    return row;
}

int engine_reason(const char *why)
{
    for (int i = 0; i < LAST_REASON; i++) {
        reason_t *reason = &head->reason[i];
        uint32_t state = atomic_load_explicit(&reason->state, memory_order_acquire);

        if (state == 0 && atomic_compare_exchange_strong(&reason->state, &state, 1)) {
            apr_cpystrn(reason->text, why, sizeof reason->text);
            atomic_store_explicit(&reason->state, 2, memory_order_release);
            return i;
        }
        if (state == 2 && strncmp(reason->text, why, sizeof reason->text - 1) == 0) {
            return i;
        }
    }
    return LAST_REASON;
}

/* ---- shown ------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t taken, closed, classic, express, reason[ENGINE_REASONS];
    uint64_t h2_connections, h2_streams, h2_calmed[H2_USELESS_KINDS];
    int64_t at[CONN_AT_COUNT], exchanges;
} sum_t;

static void add_up(sum_t *sum)
{
    uint32_t high = gate_seats_high(gate_core()->seats);

    memset(sum, 0, sizeof *sum);
    for (uint32_t i = 0; rows && i < high * (uint32_t)loops_each && i < seats * (uint32_t)loops_each; i++) {
        const engine_row_t *row = &rows[i];

        sum->taken += atomic_load(&((engine_row_t *)row)->taken);
        sum->closed += atomic_load(&((engine_row_t *)row)->closed);
        sum->classic += atomic_load(&((engine_row_t *)row)->classic);
        sum->express += atomic_load(&((engine_row_t *)row)->express);
        for (int k = 0; k < ENGINE_REASONS; k++) {
            sum->reason[k] += atomic_load(&((engine_row_t *)row)->reason[k]);
        }
        sum->h2_connections += atomic_load(&((engine_row_t *)row)->h2_connections);
        sum->h2_streams += atomic_load(&((engine_row_t *)row)->h2_streams);
        for (int k = 0; k < H2_USELESS_KINDS; k++) {
            sum->h2_calmed[k] += atomic_load(&((engine_row_t *)row)->h2_calmed[k]);
        }
        if (gate_seat_live(gate_core()->seats, i / (uint32_t)loops_each)) {
            for (int k = 0; k < CONN_AT_COUNT; k++) {
                sum->at[k] += atomic_load(&((engine_row_t *)row)->at[k]);
            }
            sum->exchanges += atomic_load(&((engine_row_t *)row)->exchanges);
        }
    }
}

static void gather_http2(gate_node_t *out, const sum_t *sum)
{
    static const gate_metric_t connections = { "engine_http2_connections", "Client connections that spoke HTTP/2 with the engine", NULL, NULL };
    static const gate_metric_t streams = { "engine_http2_streams", "Requests over HTTP/2 on them", NULL, NULL };
    gate_metric_t *closed = apr_palloc(out->pool, H2_USELESS_KINDS * sizeof *closed);
    gate_node_t *http2 = gate_put_object(out, "http2"), *kinds;

    gate_put_text(http2, "left_to_mod_http2_because_of", h2_negotiate_refuses());
    gate_put_count(http2, "connections", sum->h2_connections, &connections);
    gate_put_count(http2, "streams", sum->h2_streams, &streams);
    kinds = gate_put_object(http2, "closed_for_abuse");
    for (int i = 0; i < H2_USELESS_KINDS; i++) {
        const char *key = h2_abuse_key((h2_useless_e)i);

        closed[i] = (gate_metric_t){ "engine_http2_closed", "Connections closed because the client asked for much that led to nothing", "kind", key };
        gate_put_count(kinds, key, sum->h2_calmed[i], &closed[i]);
    }
}

static void gather(gate_node_t *out, void *ctx)
{
    static const char *const key[CONN_AT_COUNT] = { "on_loop", "on_worker", "writing", "elsewhere", "closing", "lingering" };
    static const gate_metric_t at[CONN_AT_COUNT] = {
        { "engine_connections", "Client connections of the engine by where they are", "state", "on_loop" },
        { "engine_connections", "Client connections of the engine by where they are", "state", "on_worker" },
        { "engine_connections", "Client connections of the engine by where they are", "state", "writing" },
        { "engine_connections", "Client connections of the engine by where they are", "state", "elsewhere" },
        { "engine_connections", "Client connections of the engine by where they are", "state", "closing" },
        { "engine_connections", "Client connections of the engine by where they are", "state", "lingering" },
    };
    static const gate_metric_t express = { "engine_requests", "Requests on connections of the engine by plane", "plane", "express" };
    static const gate_metric_t classic = { "engine_requests", "Requests on connections of the engine by plane", "plane", "classic" };
    static const gate_metric_t taken = { "engine_connections_taken", "Client connections that the engine has taken over", NULL, NULL };
    static const gate_metric_t flight = { "engine_exchanges", "Requests of the express plane in flight", NULL, NULL };
    gate_node_t *connections, *reasons;
    sum_t sum;

    (void)ctx;
    add_up(&sum);
    gate_put_flag(out, "on", engine_is_wanted());
    gate_put_gauge(out, "loops_per_child", engine_loops_wanted(), NULL);
    gate_put_count(out, "connections_taken", sum.taken, &taken);
    connections = gate_put_object(out, "connections");
    for (int i = 0; i < CONN_AT_COUNT; i++) {
        gate_put_gauge(connections, key[i], sum.at[i], &at[i]);
    }
    gate_put_count(out, "express", sum.express, &express);
    gate_put_count(out, "classic", sum.classic, &classic);
    gate_put_gauge(out, "exchanges", sum.exchanges, &flight);
    reasons = gate_put_object(out, "handed_over_because");
    for (int i = 0; head && i < ENGINE_REASONS; i++) {
        if (sum.reason[i] > 0) {
            int named = i < LAST_REASON && atomic_load_explicit(&head->reason[i].state, memory_order_acquire) == 2;

            gate_put_count(reasons, named ? apr_pstrmemdup(out->pool, head->reason[i].text, strnlen(head->reason[i].text, ENGINE_REASON_LEN))
                                          : "other reasons", sum.reason[i], NULL);
        }
    }
    gather_http2(out, &sum);
    engine_parts_gather(out);
}

static void explain(gate_node_t *out, const gate_view_t *view, void *request, void *ctx)
{
    request_rec *r = request;

    (void)ctx;
    if (!engine_is_wanted()) {
        gate_put_text(out, "verdict", "classic");
        gate_put_text(out, "why", "GateEngine is off");
        return;
    }
    if (engine_server_of(r->server)->on != 1) {
        gate_put_text(out, "verdict", "classic");
        gate_put_text(out, "why", "GateEngine is off for this vhost");
        return;
    }
    gate_put_text(out, "http2_by", h2_negotiate_tell(out->pool, r->server));
    engine_parts_explain(out, view, r);
}

/* mod_status counts the threads: these connections have none. */
static int server_status(request_rec *r, int flags)
{
    sum_t sum;
    int64_t all = 0;

    if (!engine_is_wanted()) {
        return DECLINED;
    }
    add_up(&sum);
    for (int i = 0; i < CONN_AT_COUNT; i++) {
        all += sum.at[i];
    }
    if (flags & AP_STATUS_SHORT) {
        ap_rprintf(r, "GateEngineConns: %" APR_INT64_T_FMT "\nGateEngineConnsOnWorkers: %" APR_INT64_T_FMT "\n"
                   "GateEngineExchanges: %" APR_INT64_T_FMT "\n", all, sum.at[CONN_AT_WORKER], sum.exchanges);
    } else {
        ap_rprintf(r, "<hr />\n<p>Gatehouse engine: %" APR_INT64_T_FMT " connections on event loops, %" APR_INT64_T_FMT
                   " of them at a worker thread now, %" APR_INT64_T_FMT " requests in flight without a thread</p>\n",
                   all, sum.at[CONN_AT_WORKER], sum.exchanges);
    }
    return OK;
}

void engine_section_register(void)
{
    static const gate_section_t section = { .name = "engine", .title = "Engine", .gather = gather, .explain = explain };

    gate_section_register(&section);
    APR_OPTIONAL_HOOK(ap, status_hook, server_status, NULL, NULL, APR_HOOK_LAST);
}
