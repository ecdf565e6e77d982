/* health_zone.c - see health_zone.h. */

#include <stdio.h>
#include <string.h>

#include "gate_words.h"
#include "health_zone.h"

#define MAGIC UINT32_C(0x484c5448) /* "HLTH" */

static uint64_t line_up(uint64_t at)
{
    return (at + 63) & ~UINT64_C(63);
}

static uint64_t locks_at(void)
{
    return line_up(sizeof(health_head_t));
}

static uint64_t rows_at(const health_limits_t *limits)
{
    return line_up(locks_at() + (uint64_t)limits->groups * sizeof(gate_lock_t));
}

uint64_t health_zone_size(const health_limits_t *limits)
{
    return rows_at(limits) + (uint64_t)limits->members * sizeof(health_row_t);
}

void health_zone_attach(health_zone_t *zone, void *base, const health_limits_t *limits, int fresh)
{
    zone->limits = *limits;
    zone->head = base;
    zone->group_lock = (void *)((char *)base + locks_at());
    zone->row = (void *)((char *)base + rows_at(limits));
    if (fresh) {
        zone->head->groups = limits->groups;
        zone->head->members = limits->members;
        zone->head->layout = HEALTH_LAYOUT;
        zone->head->magic = MAGIC;
    }
}

const char *check_code_name(check_code_e code)
{
    static const char *const names[] = {
        [CHECK_OK] = "ok",         [CHECK_CONNECT] = "connect", [CHECK_TIMEOUT] = "timeout", [CHECK_TLS] = "tls",         [CHECK_RESET] = "reset",
        [CHECK_STATUS] = "status", [CHECK_BODY] = "body",       [CHECK_BAD] = "bad",         [CHECK_SERVING] = "serving", [CHECK_OURS] = "ours",
    };

    return (unsigned)code < sizeof names / sizeof names[0] ? names[code] : "?";
}

/* ---- rows ---- */

int health_row_own(health_row_t *row, uint32_t incarnation, int64_t now_usec)
{
    int i;

    if (atomic_load(&row->incarnation) == incarnation) {
        return 0;
    }
    atomic_store(&row->incarnation, 0);
    atomic_store(&row->state, HEALTH_UNKNOWN);
    atomic_store(&row->streak, 0);
    atomic_store(&row->turns, 0);
    atomic_store(&row->begun_usec, 0);
    atomic_store(&row->due_usec, 0);
    atomic_store(&row->last_usec, 0);
    atomic_store(&row->last_wall_usec, 0);
    atomic_store(&row->took_usec, 0);
    atomic_store(&row->last_code, CHECK_OK);
    atomic_store(&row->last_status, 0);
    atomic_store(&row->passed, 0);
    atomic_store(&row->failed, 0);
    for (i = 0; i < HEALTH_STRIP; i++) {
        atomic_store_explicit(&row->strip[i], 0, memory_order_relaxed);
    }
    atomic_store(&row->met_usec, now_usec);
    atomic_store(&row->incarnation, incarnation);
    return 1;
}

void health_row_result(health_row_t *row, const health_track_t *track, const check_result_t *result, int64_t now_usec)
{
    uint32_t turns = atomic_load(&row->turns);
    uint64_t ms = (uint64_t)(result->took_usec > 0 ? result->took_usec : 0) / 1000;

    atomic_store(&row->state, track->state);
    atomic_store(&row->streak, track->streak);
    atomic_store(&row->last_code, result->code);
    atomic_store(&row->last_status, (uint32_t)result->status);
    atomic_store(&row->took_usec, result->took_usec);
    atomic_store(&row->last_wall_usec, result->wall_usec);
    gate_words_set(&row->why_turn, row->why, sizeof row->why, result->why);
    atomic_store(&row->strip[turns % HEALTH_STRIP], (uint32_t)((uint32_t)result->code + 1 + ((ms < 0xffffff ? ms : 0xffffff) << 8)));
    atomic_store(&row->turns, turns + 1);
    atomic_fetch_add(result->code == CHECK_OK ? &row->passed : &row->failed, 1);
    atomic_store(&row->last_usec, now_usec);
    atomic_store(&row->begun_usec, 0);
}

int health_row_view(const health_row_t *row, uint32_t incarnation, health_view_t *out)
{
    uint32_t i, from;

    memset(out, 0, sizeof *out);
    if (incarnation == 0 || atomic_load(&row->incarnation) != incarnation) {
        return -1;
    }
    out->track.state = (health_state_e)atomic_load(&row->state);
    out->track.streak = atomic_load(&row->streak);
    out->turns = atomic_load(&row->turns);
    out->met_usec = atomic_load(&row->met_usec);
    out->begun_usec = atomic_load(&row->begun_usec);
    out->due_usec = atomic_load(&row->due_usec);
    out->last_usec = atomic_load(&row->last_usec);
    out->passed = atomic_load(&row->passed);
    out->failed = atomic_load(&row->failed);
    out->known = out->last_usec != 0;
    out->last.code = (check_code_e)atomic_load(&row->last_code);
    out->last.status = (int)atomic_load(&row->last_status);
    out->last.took_usec = atomic_load(&row->took_usec);
    out->last.wall_usec = atomic_load(&row->last_wall_usec);
    if (out->known) {
        gate_words_get(&row->why_turn, row->why, sizeof row->why, out->last.why);
    }
    out->strip_count = out->turns < HEALTH_STRIP ? out->turns : HEALTH_STRIP;
    from = out->turns - out->strip_count;
    for (i = 0; i < out->strip_count; i++) {
        out->strip[i] = atomic_load(&row->strip[(from + i) % HEALTH_STRIP]);
    }
    if (atomic_load(&row->incarnation) != incarnation) {
        memset(out, 0, sizeof *out);
        return -1;
    }
    return 0;
}

/* ---- validation ---- */

static int fault(char *why, size_t why_size, int faults, const char *what, uint32_t i)
{
    if (faults == 0) {
        snprintf(why, why_size, "health: %s (%u)", what, i);
    }
    return faults + 1;
}

static int validate_row(const health_row_t *row, uint32_t i, int faults, char *why, size_t why_size)
{
    uint32_t k;

    if (atomic_load(&row->incarnation) == 0) {
        return faults; /* nobody's, or being made anew when its writer died */
    }
    if (atomic_load(&row->state) > HEALTH_DOWN) {
        faults = fault(why, why_size, faults, "a row's state is none", i);
    }
    if (atomic_load(&row->last_code) > CHECK_OURS) {
        faults = fault(why, why_size, faults, "a row's last result is none", i);
    }
    if (row->why[HEALTH_WHY_LEN - 1] != '\0') {
        faults = fault(why, why_size, faults, "a row's text has no end", i);
    }
    for (k = 0; k < HEALTH_STRIP; k++) {
        if ((atomic_load(&row->strip[k]) & 0xff) > CHECK_OURS + 1) {
            return fault(why, why_size, faults, "a row's strip holds what is no result", i);
        }
    }
    return faults;
}

int health_zone_validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    const health_limits_t *limits = ctx;
    const health_head_t *head = base;
    const health_row_t *rows = (const void *)((const char *)base + rows_at(limits));
    uint32_t i;
    int faults = 0;

    if (health_zone_size(limits) > size_bytes || head->magic != MAGIC || head->layout != HEALTH_LAYOUT || head->groups != limits->groups
        || head->members != limits->members) {
        return fault(why, why_size, 0, "the header does not fit", 0);
    }
    faults = gate_lease_validate(&head->lease, why, (uint32_t)why_size);
    if (atomic_load(&head->alarm) > 1) {
        faults = fault(why, why_size, faults, "the alarm is neither on nor off", 0);
    }
    for (i = 0; i < limits->members; i++) {
        faults = validate_row(&rows[i], i, faults, why, why_size);
    }
    return faults;
}
