/* numbers.c - what is in flight and what has been counted. See gate_registry.h. */

#include <string.h>

#include "registry_layout.h"

#define LISTENERS_MAX 8

static struct {
    gate_report_fn fn;
    void *ctx;
} listeners[LISTENERS_MAX];
static int listener_count;

/* ---- in flight ---- */

/* Never below zero: a row that was swept under a thread that still ran must not turn into four thousand million. */
static void step(_Atomic uint32_t *number, int delta)
{
    uint32_t value;

    if (delta > 0) {
        atomic_fetch_add_explicit(number, 1, memory_order_acq_rel);
        return;
    }
    value = atomic_load_explicit(number, memory_order_relaxed);
    while (value && !atomic_compare_exchange_weak_explicit(number, &value, value - 1, memory_order_acq_rel, memory_order_relaxed)) {
    }
}

/* Of a column: its number in each living seat's row. */
static uint32_t sum(const gate_registry_t *reg, const char *rows, size_t row_size, uint32_t index)
{
    uint32_t seat, high = gate_seats_high(reg->seats), total = 0;

    for (seat = 0; seat < high && seat < reg->limits.seats; seat++) {
        _Atomic uint32_t *row = (_Atomic uint32_t *)(void *)(rows + seat * row_size);
        uint32_t value = atomic_load_explicit(&row[index], memory_order_relaxed);

        if (value && gate_seat_live(reg->seats, seat)) {
            total += value;
        }
    }
    return total;
}

static int has_row(const gate_registry_t *reg, int seat)
{
    return seat >= 0 && (uint32_t)seat < reg->limits.seats;
}

void gate_inflight_begin(gate_registry_t *reg, int seat, uint32_t slot)
{
    const inflight_t *piece = inflight_of(reg, slot);

    if (has_row(reg, seat) && piece) {
        step(&row_inflight(piece, (uint32_t)seat)[slot - piece->begin], 1);
        atomic_fetch_add_explicit(&reg->stats[slot].stripe[seat % GATE_STRIPES].picked, 1, memory_order_relaxed);
    }
}

void gate_inflight_end(gate_registry_t *reg, int seat, uint32_t slot)
{
    const inflight_t *piece = inflight_of(reg, slot);

    if (has_row(reg, seat) && piece) {
        step(&row_inflight(piece, (uint32_t)seat)[slot - piece->begin], -1);
    }
}

uint32_t gate_inflight(const gate_registry_t *reg, uint32_t slot)
{
    const inflight_t *piece = inflight_of(reg, slot);

    return piece ? sum(reg, piece->rows, piece->row_size, slot - piece->begin) : 0;
}

void gate_group_active_add(gate_registry_t *reg, int seat, uint32_t group, int delta)
{
    if (has_row(reg, seat)) {
        step(&row_active(reg, (uint32_t)seat)[group], delta);
    }
}

void gate_group_retrying_add(gate_registry_t *reg, int seat, uint32_t group, int delta)
{
    if (has_row(reg, seat)) {
        step(&row_retrying(reg, (uint32_t)seat)[group], delta);
    }
}

uint32_t gate_group_active(const gate_registry_t *reg, uint32_t group)
{
    return sum(reg, reg->rows, reg->row_size, group);
}

uint32_t gate_group_retrying(const gate_registry_t *reg, uint32_t group)
{
    return sum(reg, reg->rows, reg->row_size, reg->limits.groups + group);
}

/* Only what is not zero is written: a row that was never used stays without memory. */
static void clear(_Atomic uint32_t *row, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        if (atomic_load_explicit(&row[i], memory_order_relaxed)) {
            atomic_store_explicit(&row[i], 0, memory_order_relaxed);
        }
    }
}

void gate_registry_sweep(int seat, void *ctx)
{
    gate_registry_t *reg = ctx;
    uint32_t i;

    if (!has_row(reg, seat)) {
        return;
    }
    clear(row_active(reg, (uint32_t)seat), 2 * reg->limits.groups);
    for (i = 0; i < reg->pieces; i++) {
        clear(row_inflight(&reg->inflight[i], (uint32_t)seat), reg->inflight[i].end - reg->inflight[i].begin);
    }
    trials_let_go(reg, (uint32_t)seat);
}

/* ---- counters ---- */

static void count(stripe_t *stripe, const gate_report_t *report)
{
    int code_class = report->status >= 100 && report->status < 600 ? report->status / 100 : 0;

    atomic_fetch_add_explicit(&stripe->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stripe->outcome[report->outcome], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stripe->code_class[code_class], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stripe->bytes_in, report->bytes_in, memory_order_relaxed);
    atomic_fetch_add_explicit(&stripe->bytes_out, report->bytes_out, memory_order_relaxed);
    if (report->is_retry) {
        atomic_fetch_add_explicit(&stripe->retries, 1, memory_order_relaxed);
    }
}

void gate_report(gate_registry_t *reg, int seat, const gate_report_t *report)
{
    int i;

    if (report->slot >= reg->limits.members || atomic_load(&reg->member[report->slot].incarnation) != report->incarnation) {
        return;
    }
    count(&reg->stats[report->slot].stripe[seat < 0 ? 0 : seat % GATE_STRIPES], report);
    if (report->outcome == GATE_OUTCOME_OK || report->outcome == GATE_OUTCOME_STATUS) {
        gate_histogram_record(&reg->stats[report->slot].latency, report->total_usec < 0 ? 0 : (uint64_t)report->total_usec);
    }
    for (i = 0; i < listener_count; i++) {
        listeners[i].fn(report, listeners[i].ctx);
    }
}

int gate_on_report(gate_report_fn fn, void *ctx)
{
    if (listener_count == LISTENERS_MAX) {
        return -1;
    }
    listeners[listener_count].fn = fn;
    listeners[listener_count++].ctx = ctx;
    return 0;
}

void gate_report_listeners_clear(void)
{
    listener_count = 0;
}

void gate_member_counts(const gate_registry_t *reg, uint32_t slot, gate_member_counts_t *out)
{
    int i, k;

    memset(out, 0, sizeof *out);
    for (i = 0; i < GATE_STRIPES; i++) {
        stripe_t *stripe = &reg->stats[slot].stripe[i];

        out->requests += atomic_load_explicit(&stripe->requests, memory_order_relaxed);
        out->picked += atomic_load_explicit(&stripe->picked, memory_order_relaxed);
        out->retries += atomic_load_explicit(&stripe->retries, memory_order_relaxed);
        out->bytes_in += atomic_load_explicit(&stripe->bytes_in, memory_order_relaxed);
        out->bytes_out += atomic_load_explicit(&stripe->bytes_out, memory_order_relaxed);
        for (k = 0; k < GATE_OUTCOME_COUNT; k++) {
            out->outcome[k] += atomic_load_explicit(&stripe->outcome[k], memory_order_relaxed);
        }
        for (k = 0; k < 6; k++) {
            out->code_class[k] += atomic_load_explicit(&stripe->code_class[k], memory_order_relaxed);
        }
    }
}

const gate_histogram_t *gate_member_histogram(const gate_registry_t *reg, uint32_t slot)
{
    return &reg->stats[slot].latency;
}

gate_learned_t *gate_member_learned(gate_registry_t *reg, uint32_t slot)
{
    return &reg->stats[slot].learned;
}

const char *gate_outcome_name(gate_outcome_e outcome)
{
    static const char *const names[GATE_OUTCOME_COUNT] = {
        [GATE_OUTCOME_OK] = "ok",           [GATE_OUTCOME_STATUS] = "status", [GATE_OUTCOME_CONNECT] = "connect",
        [GATE_OUTCOME_TIMEOUT] = "timeout", [GATE_OUTCOME_RESET] = "reset",   [GATE_OUTCOME_BAD] = "bad",
        [GATE_OUTCOME_BROKEN] = "broken",   [GATE_OUTCOME_CLIENT] = "client", [GATE_OUTCOME_OURS] = "ours",
    };

    return (unsigned)outcome < GATE_OUTCOME_COUNT ? names[outcome] : "?";
}
