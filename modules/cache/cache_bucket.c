/*
 * cache_bucket.c - buckets that point into the store. A hold is the pin of a body, shared by all buckets made of it by copy and
 * split; the last one that dies lets go, in whichever thread that is (mod_http2 reads its streams' buckets in another).
 * Nothing is copied by setting them aside: the memory is there as long as the pin.
 */
#include "cache.h"

#include <stdlib.h>

typedef struct {
    _Atomic uint32_t refs;
    gate_pin_t pin;
} hold_t;

typedef struct {
    hold_t *hold;
    const char *base;
} piece_t;

static void hold_release(hold_t *hold)
{
    if (atomic_fetch_sub(&hold->refs, 1) == 1) {
        gate_store_unpin(cache_store, &hold->pin);
        free(hold);
    }
}

static void piece_destroy(void *data)
{
    piece_t *piece = data;

    hold_release(piece->hold);
    apr_bucket_free(piece);
}

static apr_status_t piece_read(apr_bucket *b, const char **str, apr_size_t *len, apr_read_type_e block)
{
    (void)block;
    *str = ((piece_t *)b->data)->base + b->start;
    *len = b->length;
    return APR_SUCCESS;
}

static apr_status_t piece_copy(apr_bucket *a, apr_bucket **b)
{
    piece_t *piece = apr_bucket_alloc(sizeof *piece, a->list);

    *piece = *(const piece_t *)a->data;
    atomic_fetch_add(&piece->hold->refs, 1);
    *b = apr_bucket_alloc(sizeof **b, a->list);
    **b = *a;
    (*b)->data = piece;
    return APR_SUCCESS;
}

static apr_status_t piece_split(apr_bucket *a, apr_size_t point)
{
    apr_bucket *b;

    if (point > a->length) {
        return APR_EINVAL;
    }
    piece_copy(a, &b);
    b->start += (apr_off_t)point;
    b->length -= point;
    a->length = point;
    APR_BUCKET_INSERT_AFTER(a, b);
    return APR_SUCCESS;
}

static const apr_bucket_type_t piece_type = {
    "GATE_CACHE", 5, APR_BUCKET_DATA, piece_destroy, piece_read, apr_bucket_setaside_noop, piece_split, piece_copy
};

void cache_body_append(apr_bucket_brigade *bb, gate_pin_t *pin, uint64_t from, uint64_t to)
{
    hold_t *hold = malloc(sizeof *hold);

    if (!hold) {
        abort(); /* as apr_bucket_alloc does */
    }
    atomic_init(&hold->refs, 1);
    hold->pin = *pin;
    pin->place = 0;
    while (from < to) {
        const void *data;
        uint64_t n = gate_store_piece(cache_store, hold->pin.ref, from, &data);
        apr_bucket *b;
        piece_t *piece;

        if (!n) {
            break;
        }
        n = n < to - from ? n : to - from;
        b = apr_bucket_alloc(sizeof *b, bb->bucket_alloc);
        piece = apr_bucket_alloc(sizeof *piece, bb->bucket_alloc);
        APR_BUCKET_INIT(b);
        piece->hold = hold;
        piece->base = data;
        b->type = &piece_type;
        b->data = piece;
        b->start = 0;
        b->length = (apr_size_t)n;
        b->list = bb->bucket_alloc;
        b->free = apr_bucket_free;
        atomic_fetch_add(&hold->refs, 1);
        APR_BRIGADE_INSERT_TAIL(bb, b);
        from += n;
    }
    hold_release(hold);
}
