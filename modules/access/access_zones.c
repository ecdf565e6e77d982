/*
 * access_zones.c - shared memory of limits, bans and counters: asked for in post_config, kept over graceful restarts.
 */
#include <openssl/rand.h>

#include "access.h"
#include "gate_time.h"

#define SHARED_LAYOUT 1u
#define LINES_PER_TICK 16384

access_shared_t *access_shared;
gate_bans_t *access_bans;

uint64_t access_text_hash(const char *text)
{
    static const gate_seed_t fixed = { { 0x6761746568, 0x6f757365 } };

    return gate_siphash(&fixed, text, strlen(text));
}

const char *access_zone_name(apr_pool_t *p, const char *kind, const char *text)
{
    return apr_psprintf(p, "%s %016" APR_UINT64_T_HEX_FMT, kind, access_text_hash(text));
}

static int stripe(void)
{
    int seat = gate_core()->seat;

    return seat < 0 ? 0 : seat % ACCESS_STRIPES;
}

void access_count(int verdict)
{
    atomic_fetch_add_explicit(&access_shared->stripe[stripe()].count[verdict], 1, memory_order_relaxed);
}

uint64_t access_counted(int verdict)
{
    uint64_t sum = 0;

    for (int i = 0; i < ACCESS_STRIPES; i++) {
        sum += atomic_load_explicit(&access_shared->stripe[i].count[verdict], memory_order_relaxed);
    }
    return sum;
}

static apr_status_t open_shared(server_rec *s)
{
    gate_zone_t zone;
    apr_status_t rv = gate_core_zone(s, "access", SHARED_LAYOUT, sizeof *access_shared, 0, &zone);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    access_shared = zone.base;
    if (!access_shared->sown) {
        if (RAND_bytes((unsigned char *)&access_shared->seed, sizeof access_shared->seed) != 1) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, GATE_LOGNO(1007) "access: no random numbers for the seed of its tables");
            return APR_EGENERAL;
        }
        access_shared->sown = 1;
    }
    return APR_SUCCESS;
}

static int validate_bans(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    (void)ctx;
    return gate_bans_validate(base, size_bytes, why, why_size);
}

static apr_status_t open_bans(server_rec *s)
{
    const access_server_t *conf = access_server_of(s);
    uint32_t places = (uint32_t)conf->ban_places;
    uint64_t size = gate_bans_size(places);
    gate_zone_t zone;
    apr_status_t rv = gate_core_zone(s, "bans", GATE_BANS_LAYOUT, size, 0, &zone);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    access_bans = zone.base;
    if (zone.state != GATE_ZONE_KEPT) {
        gate_bans_init(access_bans, places, &access_shared->seed);
    }
    if (zone.state == GATE_ZONE_RESIZED) {
        uint32_t kept = gate_bans_copy(access_bans, zone.old_base, zone.old_size_bytes, gate_mono_usec());

        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, GATE_LOGNO(1008)
                     "bans: there is room for %u now; %u bans were kept", places, kept);
    }
    gate_arena_on_validate(gate_core()->arena, "bans", validate_bans, NULL);
    return APR_SUCCESS;
}

static int validate_limit(const void *base, uint64_t size_bytes, void *limit_, char *why, size_t why_size)
{
    const access_limit_t *limit = limit_;

    (void)base, (void)size_bytes;
    return limit->kind == ACCESS_REQUESTS ? gate_lines_validate(&limit->lines, why, why_size)
                                          : gate_concurrency_validate(&limit->flights, why, why_size);
}

/* A limit is the same as before the restart when its name and what it counts are the same. */
static apr_status_t open_limit(access_limit_t *limit, apr_pool_t *p, server_rec *s)
{
    const char *what = apr_psprintf(p, "%s %d %" APR_UINT64_T_FMT " %" APR_INT64_T_FMT " %" APR_UINT64_T_FMT " %s", limit->name,
                                    limit->kind, limit->rate.cost, limit->period_usec, limit->events,
                                    limit->key_text ? limit->key_text : "client");
    const char *name = access_zone_name(p, "limit", what);
    gate_seats_t *seats = gate_core()->seats;
    uint64_t size = ACCESS_TALLIES_BYTES;
    gate_zone_t zone;
    apr_status_t rv;

    if (limit->kind == ACCESS_REQUESTS) {
        limit->lines.count = gate_lines_for((uint32_t)limit->keys);
        size += (uint64_t)limit->lines.count * sizeof(gate_line_t);
    }
    else {
        size += gate_concurrency_size((uint32_t)limit->keys, gate_seats_count(seats));
    }
    rv = gate_core_zone(s, name, GATE_LINES_LAYOUT << 8 | GATE_CONCURRENCY_LAYOUT, size, 0, &zone);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    limit->counts = zone.base;
    if (limit->kind == ACCESS_REQUESTS) {
        limit->lines.line = (gate_line_t *)((char *)zone.base + ACCESS_TALLIES_BYTES);
    }
    else {
        gate_concurrency_open(&limit->flights, (char *)zone.base + ACCESS_TALLIES_BYTES, (uint32_t)limit->keys, seats);
    }
    gate_arena_on_validate(gate_core()->arena, name, validate_limit, limit);
    return APR_SUCCESS;
}

static apr_status_t open_rule(access_rule_t *rule, apr_pool_t *p, server_rec *s)
{
    const char *name = access_zone_name(p, "tally", apr_pstrcat(p, rule->where, " ", rule->text, NULL));
    gate_zone_t zone;
    apr_status_t rv;

    rule->lines.count = gate_lines_for((uint32_t)rule->keys);
    rv = gate_core_zone(s, name, GATE_LINES_LAYOUT, (uint64_t)rule->lines.count * sizeof(gate_line_t), 0, &zone);
    rule->lines.line = zone.base;
    return rv;
}

/* One sweeper for all limits: modules have few places for sweepers. */
static void sweep_seat(int seat, void *ctx)
{
    (void)ctx;
    for (int i = 0; i < access_conf.limits->nelts; i++) {
        access_limit_t *limit = APR_ARRAY_IDX(access_conf.limits, i, access_limit_t *);

        if (limit->kind == ACCESS_CONNECTIONS) {
            gate_concurrency_sweep(seat, &limit->flights);
        }
    }
}

apr_status_t access_zones_open(apr_pool_t *pconf, server_rec *s)
{
    apr_status_t rv = open_shared(s);

    rv = rv == APR_SUCCESS ? open_bans(s) : rv;
    for (int i = 0; i < access_conf.limits->nelts && rv == APR_SUCCESS; i++) {
        rv = open_limit(APR_ARRAY_IDX(access_conf.limits, i, access_limit_t *), pconf, s);
    }
    for (int i = 0; i < access_conf.rules->nelts && rv == APR_SUCCESS; i++) {
        rv = open_rule(APR_ARRAY_IDX(access_conf.rules, i, access_rule_t *), pconf, s);
    }
    if (rv == APR_SUCCESS) {
        gate_seat_on_sweep(sweep_seat, NULL);
    }
    return rv;
}

/* Words of limits and tallies wrap after minutes: some lines of each at every tick. Twice does no harm. */
void access_sweep_tables(int64_t now_usec)
{
    static uint32_t from;

    from += LINES_PER_TICK;
    for (int i = 0; i < access_conf.limits->nelts; i++) {
        const access_limit_t *limit = APR_ARRAY_IDX(access_conf.limits, i, access_limit_t *);

        if (limit->kind == ACCESS_REQUESTS) {
            uint32_t turns = limit->lines.count / LINES_PER_TICK + 1;

            gate_limit_sweep(&limit->lines, &limit->rate, from / LINES_PER_TICK % turns * LINES_PER_TICK, LINES_PER_TICK, now_usec);
        }
    }
    for (int i = 0; i < access_conf.rules->nelts; i++) {
        const access_rule_t *rule = APR_ARRAY_IDX(access_conf.rules, i, access_rule_t *);
        uint32_t turns = rule->lines.count / LINES_PER_TICK + 1;

        gate_tally_sweep(&rule->lines, rule->window_usec, from / LINES_PER_TICK % turns * LINES_PER_TICK, LINES_PER_TICK, now_usec);
    }
}
