/*
 * exchange_bypass.c - what passes by the cache on its way to the member and back: asked for in one of a few forms, and told with what the cache
 * has to say about it.
 */
#include <httpd.h>

#include <apr_strings.h>

#include "exchange_doors.h"

/* ---- fields and tables ----------------------------------------------------------------------------------------------------- */

void exchange_field_add(fields_t *fields, span_t name, span_t value)
{
    field_t *f = &fields->field[fields->count++];

    f->name = name;
    f->value = value;
    f->known = (uint8_t)field_of(name.at, name.len);
    if (f->known && !fields->first[f->known]) {
        fields->first[f->known] = (uint16_t)fields->count;
    }
    else {
        fields->repeated = 1;
    }
}

const apr_table_t *exchange_headers(void *x_, apr_pool_t *p)
{
    const exchange_t *x = x_;
    const fields_t *fields = &x->head->fields;
    apr_table_t *t = apr_table_make(p, (int)fields->count + 1);

    for (uint32_t i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        apr_table_addn(t, apr_pstrmemdup(p, f->name.at, f->name.len), apr_pstrmemdup(p, f->value.at, f->value.len));
    }
    return t;
}

/* ---- there and back --------------------------------------------------------------------------------------------------------- */

/* The member is asked in one of a few forms, so that what comes suits all who ask in it. */
void exchange_pass_ask(exchange_t *x, const gate_cache_pass_t *pass)
{
    const fields_t *fields = &x->head->fields;
    uint32_t at = fields->first[FIELD_ACCEPT_ENCODING];
    fields_t *changed;

    if (!pass->encoding || !at || span_is(fields->field[at - 1].value, pass->encoding)) {
        return;
    }
    changed = apr_pmemdup(x->pool, fields, sizeof *fields);
    changed->field = apr_pmemdup(x->pool, fields->field, fields->count * sizeof *fields->field);
    changed->field[at - 1].value = (span_t){ pass->encoding, (uint32_t)strlen(pass->encoding) };
    x->ask_instead = changed;
}

apr_table_t *exchange_table_of(apr_pool_t *p, const fields_t *fields)
{
    apr_table_t *t = apr_table_make(p, (int)fields->count + 3);

    for (uint32_t i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        if (!f->hop) {
            apr_table_addn(t, apr_pstrmemdup(p, f->name.at, f->name.len), apr_pstrmemdup(p, f->value.at, f->value.len));
        }
    }
    return t;
}

void exchange_fields_from(exchange_t *x, const apr_table_t *t, fields_t *out)
{
    const apr_array_header_t *all = apr_table_elts(t);

    memset(out, 0, sizeof *out);
    out->field = apr_pcalloc(x->pool, sizeof *out->field * (size_t)(all->nelts + 1));
    for (int i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *line = &APR_ARRAY_IDX(all, i, apr_table_entry_t);

        exchange_field_add(out, (span_t){ line->key, (uint32_t)strlen(line->key) }, (span_t){ line->val, (uint32_t)strlen(line->val) });
    }
}

const answer_head_t *exchange_answer_edit(exchange_t *x, const answer_head_t *head)
{
    exchange_stored_t *a = x->answer;
    answer_head_t *edited;
    apr_table_t *fields;

    if (!a || a->how != GATE_CACHE_PASS || head->status < 200) {
        return head;
    }
    fields = exchange_cache->answered(&a->pass, x->pool, x->view.method, exchange_headers(x, x->pool), head->status,
                                      exchange_table_of(x->pool, &head->fields));
    x->said_of_cache = a->pass.word;
    edited = apr_pmemdup(x->pool, head, sizeof *head);
    exchange_fields_from(x, fields, &edited->fields);
    return edited;
}

void exchange_answer_failed(exchange_t *x, int status, apr_table_t *headers)
{
    exchange_stored_t *a = x->answer;

    if (a && a->how == GATE_CACHE_PASS && status && x->errand) {
        exchange_cache->failed(&a->pass, x->pool, status, headers);
        x->said_of_cache = a->pass.word;
    }
    else if (x->fetch && !x->hearer && status) {
        exchange_fetch_failed(x, status, headers);
    }
}
