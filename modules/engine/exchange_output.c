/*
 * exchange_output.c - answers that go through output filters of httpd's modules (mod_deflate, mod_brotli) on their way.
 */
#include <httpd.h>

#include "exchange_inside.h"
#include "output.h"
#include "route.h"

static void on_head(void *user, const answer_head_t *head)
{
    exchange_tell_finished(user, head);
}

static void on_data(void *user, const char *bytes, size_t len)
{
    exchange_t *x = user;

    if (!x->gone) {
        x->output_room = x->ops->data(x, bytes, len);
    }
}

static void on_flush(void *user)
{
    (void)user; /* exchange_tell_flush() follows */
}

static void on_end(void *user)
{
    exchange_t *x = user;

    x->output_ended = 1;
}

static void on_failed(void *user)
{
    exchange_tell_abort(user);
}

/* The member is told nothing of it: its answer is read to the end first. */
static void on_refused(void *user, int status)
{
    exchange_t *x = user;

    x->output_refused = (uint16_t)status;
}

static const output_ops_t ops = { on_head, on_data, on_flush, on_end, on_failed, on_refused };

int exchange_output_begin(exchange_t *x, const answer_head_t *head)
{
    const field_t *type = fields_known(&head->fields, FIELD_CONTENT_TYPE);
    const field_t *range = x->errand ? fields_known(&x->head->fields, FIELD_RANGE) : NULL;
    int may_cut = range && output_may_cut(head, &range->value);
    request_rec *r;

    if (head->status < 200) {
        return 0;
    }
    if (!(x->filters && output_wanted(x->route, head->status, type ? &type->value : NULL)) && !may_cut) {
        return 0;
    }
    r = exchange_request(x);
    if (!r) {
        return 0;
    }
    x->output_room = SIZE_MAX;
    x->output = output_begin(x->route, r, head, range != NULL, &ops, x);
    x->output_cuts = x->output && range;
    x->output_late = range && head->length != UINT64_MAX && head->length + head->head_bytes > APR_BUCKET_BUFF_SIZE;
    return x->output != NULL;
}

void exchange_output_page(exchange_t *x, int status)
{
    x->output_room = SIZE_MAX;
    output_page(x->r, status, &ops, x);
    if (!x->gone && !x->told_abort && !x->told_end) {
        x->told_end = 1;
        x->ops->end(x, NULL);
    }
}

size_t exchange_output_data(exchange_t *x, const char *bytes, size_t len, int last)
{
    output_data(x->output, bytes, len, last && !x->output_late);
    return x->output_room;
}

void exchange_output_flush(exchange_t *x)
{
    if (!x->output_ended) {
        output_flush(x->output);
    }
}

void exchange_output_end(exchange_t *x)
{
    if (!x->output_ended) {
        output_end(x->output);
    }
    if (x->output_refused) {
        x->output = NULL; /* nothing of it was told */
        (void)exchange_env(x);
        apr_table_setn(x->env, ENGINE_REFUSED_BY_FILTER, "1");
        exchange_tell_classic(x, x->output_refused, NULL);
    }
    else if (!x->gone && !x->told_abort && !x->told_end) {
        x->told_end = 1;
        x->ops->end(x, NULL);
    }
}
