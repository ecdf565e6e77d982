/*
 * loop.h - one thread that waits for sockets, clocks and jobs from other threads, and calls who asked to be called.
 * Depends: APR (threads, pools), epoll, eventfd.   LOGIC: knows no httpd.
 * Memory:  a loop lives in the pool given at creation (destroy it from another thread after loop_stop()). Watches, timers and jobs are
 *          embedded in their owners; the loop keeps pointers to them while they are added, set or posted.
 * Locking: everything but loop_post() and loop_stop() is for the loop's own thread only.
 * Watches are edge-triggered and for both directions at once: added once, never modified. `ready` is called with what became possible; who
 * does not read to EAGAIN (or to a short read) then must remember that there may be more.
 * After loop_watch_remove() nothing is delivered for that watch, not even from events of the batch being handled; so its owner may be
 * freed at once. The same holds for timers.
 */
#ifndef ENGINE_LOOP_H
#define ENGINE_LOOP_H

#include <stdint.h>
#include <apr_pools.h>

#include "wheel.h"

typedef struct loop loop_t;

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 /* the peer has closed its side, or all */, LOOP_ERROR = 8, LOOP_GONE = 16 /* both directions are over */ };

typedef struct loop_watch {
    int fd;
    void (*ready)(struct loop_watch *watch, unsigned what); /* LOOP_* */
    uint32_t place;             /* the loop's own */
} loop_watch_t;

typedef struct loop_job {
    void (*run)(struct loop_job *job);
    struct loop_job *next;      /* the loop's own */
} loop_job_t;

/** @return NULL: the system has no epoll or eventfd left (errno) */
loop_t *loop_create(apr_pool_t *p, int index);
/** Runs until loop_stop(); on a thread of its own. `each`, if set, is called after every batch. */
void loop_run(loop_t *loop, void (*each)(void *ctx), void *ctx);
/** Any thread: loop_run() returns after the present batch. */
void loop_stop(loop_t *loop);
void loop_destroy(loop_t *loop);

int loop_index(const loop_t *loop);
/** Monotonic microseconds, as gate_mono_usec(); of when the present batch was fetched. */
int64_t loop_now(const loop_t *loop);

/** @return 0 or errno */
int loop_watch_add(loop_t *loop, loop_watch_t *watch);
void loop_watch_remove(loop_t *loop, loop_watch_t *watch);

/** Calls timer->fired at or up to a tick (1 ms) after due_usec; set again moves it. */
void loop_timer_set(loop_t *loop, wheel_timer_t *timer, int64_t due_usec);
void loop_timer_clear(loop_t *loop, wheel_timer_t *timer);

/** Any thread: job->run is called on the loop's thread, in the order posted. The job is its owner's again from then on. */
void loop_post(loop_t *loop, loop_job_t *job);
/** Loop thread: job->run is called when the present batch has been handled. */
void loop_defer(loop_t *loop, loop_job_t *job);

/** A buffer all owners on this loop share: its content is anybody's after the callback returns. 64 KiB each. */
enum { LOOP_SCRATCH_READ, LOOP_SCRATCH_WRITE, LOOP_SCRATCH_RECORD /* of TLS to clients */, LOOP_SCRATCHES };
#define LOOP_SCRATCH_BYTES 65536
char *loop_scratch(loop_t *loop, int which);

/** Engine-wide things that are one per loop (pools of origin connections, routes' memo): by small index, the owner's. */
enum { LOOP_SLOT_ORIGINS, LOOP_SLOT_ROUTES, LOOP_SLOT_CLIENTS, LOOP_SLOT_CODEC, LOOP_SLOT_EXCHANGES, LOOP_SLOT_ROSTERS, LOOP_SLOT_FETCHES, LOOP_SLOT_QUEUE, LOOP_SLOTS };
void **loop_slot(loop_t *loop, int which);

#endif
