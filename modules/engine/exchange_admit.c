/*
 * exchange_admit.c - the stage of access: bans and limits, before any work is done for a request.
 * A request that the cache cannot answer, in a place where it has a say, is the classic plane's: it is sent there before anything is counted,
 * so that it is judged once.
 */
#include <httpd.h>

#include <apr_strings.h>

#include "exchange_doors.h"
#include "gate_address.h"
#include "route.h"

static struct request_rec *request_of(void *x)
{
    return exchange_request(x);
}

static gate_address_t client_of(const exchange_t *x)
{
    return x->view.header ? x->view.client : gate_address_of(x->c->client_addr);
}

exchange_pass_t *exchange_admit_ask(exchange_t *x)
{
    const door_route_t *door = exchange_door_route(x);
    gate_access_ask_t ask = { .connection = x->c, .pool = x->pool, .request = request_of, .ctx = x };
    exchange_pass_t *pass = x->admit;
    gate_address_t client;

    if (pass || !door || !door->access) {
        return pass;
    }
    client = client_of(x);
    ask.place = door->access;
    ask.client = &client;
    pass = x->admit = apr_pcalloc(x->pool, sizeof *pass);
    exchange_access->admit(&ask, loop_now(x->loop), &pass->pass);
    return pass;
}

int exchange_admit_fields(const exchange_t *x, const char **policy, const char **state)
{
    const exchange_pass_t *pass = x->admit;

    *policy = pass ? pass->pass.policy : NULL;
    *state = pass ? pass->pass.state : NULL;
    return *policy != NULL;
}

void exchange_admit_headers(const exchange_t *x, apr_table_t *headers)
{
    const exchange_pass_t *pass = x->admit;

    if (pass && pass->pass.policy) {
        apr_table_setn(headers, "RateLimit-Policy", pass->pass.policy);
        apr_table_setn(headers, "RateLimit", pass->pass.state);
    }
    if (pass && pass->pass.retry_after) {
        apr_table_setn(headers, "Retry-After", pass->pass.retry_after);
    }
}

int exchange_admit_refuse(exchange_t *x, const exchange_pass_t *pass)
{
    switch (pass->pass.verdict) {
    case GATE_ACCESS_ADMIT:
    case GATE_ACCESS_DELAY:
        return 0;
    case GATE_ACCESS_DROP:
        exchange_tell_classic(x, 0, NULL);
        return 1;
    default:
        exchange_tell_classic(x, pass->pass.status, NULL);
        return 1;
    }
}

stage_e exchange_admit(exchange_t *x)
{
    exchange_pass_t *pass = x->admit;

    if (!pass && exchange_answer_none(x)) {
        exchange_tell_classic(x, 0, NULL);
        return STAGE_DONE;
    }
    pass = exchange_admit_ask(x);
    if (!pass) {
        return STAGE_GO;
    }
    if (exchange_admit_refuse(x, pass)) {
        return STAGE_DONE;
    }
    if (pass->pass.verdict == GATE_ACCESS_DELAY && !pass->waited) {
        pass->waited = 1;
        exchange_delay(x, pass->pass.wait_usec);
        return STAGE_WAIT;
    }
    return STAGE_GO;
}

void exchange_admit_earn(exchange_t *x, int status)
{
    const door_route_t *door = exchange_access && !x->hearer ? exchange_door_route(x) : NULL;

    if (door && door->limits && status && !x->told_classic && !x->earned) {
        gate_address_t client = client_of(x);

        x->earned = 1;
        exchange_access->report(door->access, &client, status);
    }
}

void exchange_admit_end(exchange_t *x, int status)
{
    exchange_pass_t *pass = x->admit;

    if (pass) {
        exchange_access->leave(&pass->pass);
    }
    exchange_admit_earn(x, status); /* what was not told at all; the classic plane counts its own */
}
