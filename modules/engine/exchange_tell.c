/*
 * exchange_tell.c - what the client is told, in one place: head, body, end, or that there is none.
 */
#include <apr_pools.h>

#include "exchange_inside.h"

void exchange_tell_finished(exchange_t *x, const answer_head_t *head)
{
    head = exchange_answer_finish(x, head);
    x->status = head->status;
    exchange_admit_earn(x, x->status);
    x->told_head = 1;
    x->unflushed = 1;
    if (x->logs) {
        answer_head_t *told = apr_palloc(x->pool, sizeof *told);

        answer_head_copy(told, head, apr_palloc(x->pool, answer_head_size(head)));
        x->told = told;
    }
    x->ops->head(x, head);
}

void exchange_tell_head(exchange_t *x, const answer_head_t *head)
{
    if (x->gone) {
        return;
    }
    head = exchange_answer_dress(x, head);
    if (x->hearer) {
        x->told_head = 1;
        x->status = head->status;
        x->hearer->head(x, head);
        return;
    }
    head = exchange_answer_edit(x, head);
    x->told_bytes = 0;
    x->told_length = head->body == BODY_LENGTH ? head->length : UINT64_MAX;
    if ((x->filters || x->head->fields.first[FIELD_RANGE]) && exchange_output_begin(x, head)) {
        x->told_head = 1; /* it will be: no other answer can be given */
        return;
    }
    exchange_tell_finished(x, head);
}

size_t exchange_tell_data(exchange_t *x, const char *bytes, size_t len)
{
    if (x->gone) {
        return 0;
    }
    x->unflushed = 1;
    x->told_bytes += len;
    if (x->hearer) {
        return x->hearer->data(x, bytes, len);
    }
    if (x->output) {
        return exchange_output_data(x, bytes, len, x->told_bytes == x->told_length);
    }
    return x->ops->data(x, bytes, len);
}

void exchange_tell_end(exchange_t *x, const fields_t *trailers)
{
    if (x->gone || x->told_end || x->told_abort) {
        return;
    }
    x->state = EXCHANGE_OVER;
    x->unflushed = 1;
    if (x->logs && trailers && trailers->count) {
        x->told_trailers = exchange_copy_trailers(x, trailers);
    }
    if (x->output) {
        exchange_output_end(x);
        return;
    }
    x->told_end = 1;
    if (x->hearer) {
        x->hearer->end(x, trailers);
        return;
    }
    x->ops->end(x, trailers);
}

void exchange_tell_flush(exchange_t *x)
{
    if (x->unflushed && !x->gone) {
        x->unflushed = 0;
        if (x->hearer) {
            x->hearer->flush(x);
            return;
        }
        if (x->output && !x->told_end) {
            exchange_output_flush(x);
        }
        x->ops->flush(x);
    }
}

void exchange_tell_abort(exchange_t *x)
{
    x->state = EXCHANGE_OVER;
    if (x->gone || x->told_abort) {
        return;
    }
    x->told_abort = 1;
    if (x->hearer) {
        x->hearer->abort(x);
        return;
    }
    x->ops->abort(x);
}

void exchange_tell_classic(exchange_t *x, int status, apr_table_t *headers)
{
    x->state = EXCHANGE_OVER;
    if (x->gone || x->told_classic || (status && exchange_refuse(x, status, headers))) {
        return;
    }
    x->told_classic = 1;
    x->status = status;
    if (x->hearer) {
        x->hearer->classic(x, status, headers);
        return;
    }
    x->ops->classic(x, status, exchange_stages_headers(x, status, headers));
}
