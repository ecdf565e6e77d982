/* trial.c - see trial.h */
#include "trial.h"

#include <string.h>
#include <apr_strings.h>

void access_trial_begin(access_trial_t *trial, int seat)
{
    trial->count = 0;
    trial->seat = seat;
    trial->refused = trial->delayed = trial->would = NULL;
    trial->at_once = 0;
    trial->retry_usec = trial->wait_usec = 0;
}

void access_trial_add(access_trial_t *trial, const access_limit_t *limit, uint64_t hash)
{
    if (trial->count < ACCESS_TRIAL_LIMITS) {
        trial->limit[trial->count] = limit;
        trial->hash[trial->count] = hash;
        trial->row[trial->count] = -1;
        memset(&trial->verdict[trial->count], 0, sizeof trial->verdict[0]);
        trial->count++;
    }
}

/* Is the wait too long? Only in delay mode is there one. */
static int admits(const access_limit_t *limit, gate_rate_verdict_t *verdict)
{
    if (verdict->admitted && limit->delay && verdict->wait_usec > limit->delay_usec) {
        verdict->admitted = 0;
        verdict->retry_usec = verdict->wait_usec - limit->delay_usec;
    }
    return verdict->admitted;
}

void access_trial_peek(access_trial_t *trial, int64_t now_usec)
{
    for (int i = 0; i < trial->count; i++) {
        const access_limit_t *limit = trial->limit[i];

        if (limit->kind != ACCESS_REQUESTS) {
            continue;
        }
        gate_limit_peek(&limit->lines, &limit->rate, trial->hash[i], now_usec, &trial->verdict[i]);
        if (admits(limit, &trial->verdict[i])) {
            continue;
        }
        if (limit->dry_run) {
            trial->would = limit;
        }
        else {
            trial->refused = limit;
            trial->retry_usec = trial->verdict[i].retry_usec > trial->retry_usec ? trial->verdict[i].retry_usec : trial->retry_usec;
        }
    }
}

static void enter(access_trial_t *trial)
{
    for (int i = 0; i < trial->count && !trial->refused; i++) {
        const access_limit_t *limit = trial->limit[i];
        uint32_t at_once;

        if (limit->kind != ACCESS_CONNECTIONS) {
            continue;
        }
        trial->row[i] = gate_concurrency_begin((gate_concurrency_t *)&limit->flights, trial->seat, trial->hash[i],
                                               (uint32_t)limit->max, &at_once);
        if (trial->row[i] >= 0) {
            access_bump(limit, ACCESS_ADMITTED);
        }
        else if (trial->row[i] == GATE_CONCURRENCY_UNCOUNTED) {
            access_bump(limit, ACCESS_UNCOUNTED);
        }
        else if (limit->dry_run) {
            trial->would = limit;
        }
        else {
            trial->refused = limit;
            trial->at_once = at_once;
            trial->retry_usec = 1000000;
        }
    }
}

/* If another exchange was quicker at one of them, the charges at the others are taken back. */
static void charge_rates(access_trial_t *trial, int64_t now_usec)
{
    int i;

    for (i = 0; i < trial->count && !trial->refused; i++) {
        const access_limit_t *limit = trial->limit[i];
        gate_rate_verdict_t *verdict = &trial->verdict[i];

        if (limit->kind != ACCESS_REQUESTS || (limit->dry_run && !verdict->admitted)) {
            continue;
        }
        gate_limit_charge(&limit->lines, &limit->rate, trial->hash[i], now_usec, verdict);
        if (!verdict->admitted && !limit->dry_run) {
            trial->refused = limit;
            trial->retry_usec = verdict->retry_usec;
            break;
        }
        if (verdict->evicted) {
            access_bump(limit, ACCESS_EVICTED);
        }
        if (verdict->uncounted) {
            access_bump(limit, ACCESS_UNCOUNTED);
        }
        if (limit->delay && verdict->wait_usec > trial->wait_usec && !limit->dry_run) {
            trial->wait_usec = verdict->wait_usec;
            trial->delayed = limit;
        }
    }
    for (int n = 0; trial->refused && n < i; n++) {
        if (trial->limit[n]->kind == ACCESS_REQUESTS && trial->verdict[n].admitted) {
            gate_limit_refund(&trial->limit[n]->lines, &trial->limit[n]->rate, trial->hash[n], now_usec);
        }
    }
}

int access_trial_charge(access_trial_t *trial, int64_t now_usec)
{
    access_trial_peek(trial, now_usec);
    enter(trial);
    charge_rates(trial, now_usec);
    if (trial->refused) {
        access_trial_leave(trial);
        return 0;
    }
    return 1;
}

void access_trial_hold(access_trial_t *trial)
{
    for (int i = 0; i < trial->count; i++) {
        const access_limit_t *limit = trial->limit[i];
        uint32_t at_once;

        if (limit->kind == ACCESS_CONNECTIONS) {
            trial->row[i] = gate_concurrency_begin((gate_concurrency_t *)&limit->flights, trial->seat, trial->hash[i], UINT32_MAX / 2, &at_once);
        }
    }
}

void access_trial_leave(access_trial_t *trial)
{
    for (int i = 0; i < trial->count; i++) {
        if (trial->row[i] >= 0) {
            gate_concurrency_end((gate_concurrency_t *)&trial->limit[i]->flights, trial->seat, trial->row[i]);
            trial->row[i] = -1;
        }
    }
}

int access_trial_fields(const access_trial_t *trial, apr_pool_t *p, const char **policy, const char **state)
{
    *policy = *state = NULL;
    for (int i = 0; i < trial->count; i++) {
        const access_limit_t *limit = trial->limit[i];
        const gate_rate_verdict_t *v = &trial->verdict[i];

        if (limit->kind != ACCESS_REQUESTS || limit->dry_run) {
            continue;
        }
        *policy = apr_psprintf(p, "%s%s\"%s\";q=%" APR_UINT64_T_FMT ";w=%" APR_UINT64_T_FMT, *policy ? *policy : "",
                               *policy ? ", " : "", limit->name, limit->burst + 1, limit->window_s);
        *state = apr_psprintf(p, "%s%s\"%s\";r=%" APR_UINT64_T_FMT ";t=%" APR_INT64_T_FMT, *state ? *state : "", *state ? ", " : "",
                              limit->name, v->remaining, (v->reset_usec + 999999) / 1000000);
    }
    return *policy != NULL;
}
