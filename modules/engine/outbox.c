/* outbox.c - bytes kept for a network that does not take them now. */
#include "outbox.h"

#include <stdlib.h>
#include <string.h>

struct outbox_block {
    outbox_block_t *next;
    uint32_t from, to;          /* of bytes */
    char bytes[];
};

#define ROOM OUTBOX_ROOM
_Static_assert(sizeof(outbox_block_t) == OUTBOX_BLOCK_BYTES - OUTBOX_ROOM, "a block is as large as it says");

static outbox_block_t *take_block(outbox_shelf_t *shelf)
{
    outbox_block_t *block = shelf->free;

    if (block) {
        shelf->free = block->next;
        shelf->count--;
    } else if (!(block = malloc(OUTBOX_BLOCK_BYTES))) {
        return NULL;
    }
    block->next = NULL;
    block->from = block->to = 0;
    return block;
}

static void give_block(outbox_shelf_t *shelf, outbox_block_t *block)
{
    if (shelf->count >= SHELF_BLOCKS) {
        free(block);
        return;
    }
    block->next = shelf->free;
    shelf->free = block;
    shelf->count++;
}

void outbox_shelf_clear(outbox_shelf_t *shelf)
{
    while (shelf->free) {
        outbox_block_t *block = shelf->free;

        shelf->free = block->next;
        free(block);
    }
    shelf->count = 0;
}

/* Empty blocks enough for what does not fit into the last one, so that a put is done as a whole or not at all. */
static outbox_block_t *blocks_for(outbox_shelf_t *shelf, size_t len)
{
    outbox_block_t *chain = NULL;

    for (size_t room = 0; room < len; room += ROOM) {
        outbox_block_t *block = take_block(shelf);

        if (!block) {
            while (chain) {
                block = chain;
                chain = block->next;
                give_block(shelf, block);
            }
            return NULL;
        }
        block->next = chain;
        chain = block;
    }
    return chain;
}

int outbox_put(outbox_t *box, const char *bytes, size_t len)
{
    size_t fits = box->last ? ROOM - box->last->to : 0;
    outbox_block_t *more = NULL;

    if (len > fits && !(more = blocks_for(box->shelf, len - fits))) {
        return -1;
    }
    box->kept += len;
    while (len > 0) {
        size_t part;

        if (!box->last || box->last->to == ROOM) {
            outbox_block_t *block = more;

            more = block->next;
            block->next = NULL;
            if (box->last) {
                box->last->next = block;
            } else {
                box->first = block;
            }
            box->last = block;
        }
        part = ROOM - box->last->to < len ? ROOM - box->last->to : len;
        memcpy(box->last->bytes + box->last->to, bytes, part);
        box->last->to += (uint32_t)part;
        bytes += part;
        len -= part;
    }
    return 0;
}

int outbox_look(const outbox_t *box, struct iovec *parts, int most)
{
    int count = 0;

    for (outbox_block_t *block = box->first; block && count < most; block = block->next) {
        parts[count].iov_base = block->bytes + block->from;
        parts[count].iov_len = block->to - block->from;
        count++;
    }
    return count;
}

void outbox_drop(outbox_t *box, size_t len)
{
    box->kept -= len;
    while (box->first && len >= box->first->to - box->first->from) {
        outbox_block_t *block = box->first;

        len -= block->to - block->from;
        box->first = block->next;
        if (!box->first) {
            box->last = NULL;
        }
        give_block(box->shelf, block);
    }
    if (len > 0) {
        box->first->from += (uint32_t)len;
    }
}

void outbox_clear(outbox_t *box)
{
    outbox_drop(box, box->kept);
}
