/*
 * exchange_stages.h - stages that let everything through, for tests of the exchange.
 */
#ifndef EXCHANGE_STAGES_H
#define EXCHANGE_STAGES_H

#include "exchange_inside.h"

stage_e exchange_admit(exchange_t *x)
{
    (void)x;
    return STAGE_GO;
}

void exchange_admit_earn(exchange_t *x, int status)
{
    (void)x, (void)status;
}

void exchange_admit_end(exchange_t *x, int status)
{
    (void)x, (void)status;
}

int exchange_admit_fields(const exchange_t *x, const char **policy, const char **state)
{
    (void)x;
    *policy = *state = NULL;
    return 0;
}

apr_table_t *exchange_stages_headers(exchange_t *x, int status, apr_table_t *headers)
{
    (void)x, (void)status;
    return headers;
}

const answer_head_t *exchange_answer_edit(exchange_t *x, const answer_head_t *head)
{
    (void)x;
    return head;
}

void exchange_stages_env(const exchange_t *x, apr_table_t *env)
{
    (void)x, (void)env;
}

int exchange_hit(exchange_t *x)
{
    (void)x;
    return 0;
}

stage_e exchange_answer(exchange_t *x)
{
    (void)x;
    return STAGE_GO;
}

void exchange_fetch_env(exchange_t *x, apr_table_t *env, apr_pool_t *p)
{
    (void)x, (void)env, (void)p;
}

void exchange_answer_writable(exchange_t *x)
{
    (void)x;
}

void exchange_answer_end(exchange_t *x)
{
    (void)x;
}

#endif
