/*
 * outbox.h - bytes that a network has not taken yet, in blocks that go back to a shelf as soon as they are sent.
 * Depends: libc.
 * Memory:  blocks come from malloc and from the shelf, which keeps SHELF_BLOCKS at most; an empty outbox holds none.
 * Locking: none; a shelf and its outboxes belong to one thread.
 */
#ifndef ENGINE_OUTBOX_H
#define ENGINE_OUTBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define OUTBOX_BLOCK_BYTES 16384 /* with its own few fields */
#define OUTBOX_ROOM (OUTBOX_BLOCK_BYTES - 16) /* of those for bytes */
#define SHELF_BLOCKS 256

typedef struct outbox_block outbox_block_t;

typedef struct {
    outbox_block_t *free;
    unsigned count;
} outbox_shelf_t;

typedef struct {
    outbox_shelf_t *shelf;
    outbox_block_t *first, *last;
    size_t kept;                /* bytes */
} outbox_t;

void outbox_shelf_clear(outbox_shelf_t *shelf);

/** Copies. @return 0; -1: no memory (nothing of it is kept) */
int outbox_put(outbox_t *box, const char *bytes, size_t len);
/** What is first, borrowed until the next outbox_drop(). @return how many of `most` were filled in */
int outbox_look(const outbox_t *box, struct iovec *parts, int most);
/** The first `len` bytes have gone. */
void outbox_drop(outbox_t *box, size_t len);
void outbox_clear(outbox_t *box);

#endif
