/*
 * loop.c - epoll, an eventfd for what other threads post, and the timer wheel.
 * A watch is known to the kernel by its place in a table and the place's generation: an event of a watch that has been removed since, even by
 * an earlier event of the same batch, meets another generation and is dropped.
 */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gate_time.h"

#define BATCH 256
#define WAKE_PLACE UINT32_MAX
#define NO_PLACE UINT32_MAX

typedef struct {
    loop_watch_t *watch;        /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
} place_t;

struct loop {
    int index;
    int epoll_fd, wake_fd;
    int64_t now_usec;
    wheel_t wheel;
    place_t *place;
    uint32_t places, free_place;
    loop_job_t *posted;         /* ATOMIC: newest first */
    loop_job_t *deferred, **deferred_end;
    int stopped;                /* ATOMIC */
    char *scratch[LOOP_SCRATCHES];
    void *slot[LOOP_SLOTS];
};

loop_t *loop_create(apr_pool_t *p, int index)
{
    loop_t *loop = apr_pcalloc(p, sizeof *loop);
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = WAKE_PLACE };

    loop->index = index;
    loop->free_place = NO_PLACE;
    loop->deferred_end = &loop->deferred;
    loop->now_usec = gate_mono_usec();
    wheel_init(&loop->wheel, loop->now_usec);
    for (int i = 0; i < LOOP_SCRATCHES; i++) {
        loop->scratch[i] = apr_palloc(p, LOOP_SCRATCH_BYTES);
    }
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0) {
        int err = errno;

        loop_destroy(loop);
        errno = err;
        return NULL;
    }
    return loop;
}

void loop_destroy(loop_t *loop)
{
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    free(loop->place);
    loop->place = NULL;
}

int loop_index(const loop_t *loop)
{
    return loop->index;
}

int64_t loop_now(const loop_t *loop)
{
    return loop->now_usec;
}

char *loop_scratch(loop_t *loop, int which)
{
    return loop->scratch[which];
}

void **loop_slot(loop_t *loop, int which)
{
    return &loop->slot[which];
}

/* ---- watches --------------------------------------------------------------------------------------------------------------- */

static int more_places(loop_t *loop)
{
    uint32_t from = loop->places, to = from ? from * 2 : 64;
    place_t *place = realloc(loop->place, to * sizeof *place);

    if (!place) {
        return ENOMEM;
    }
    for (uint32_t i = to; i-- > from;) {
        place[i] = (place_t){ .next_free = loop->free_place };
        loop->free_place = i;
    }
    loop->place = place;
    loop->places = to;
    return 0;
}

int loop_watch_add(loop_t *loop, loop_watch_t *watch)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
    place_t *place;
    int err;

    if (loop->free_place == NO_PLACE && (err = more_places(loop)) != 0) {
        return err;
    }
    watch->place = loop->free_place;
    place = &loop->place[watch->place];
    event.data.u64 = (uint64_t)place->generation << 32 | watch->place;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) != 0) {
        return errno;
    }
    loop->free_place = place->next_free;
    place->watch = watch;
    return 0;
}

void loop_watch_remove(loop_t *loop, loop_watch_t *watch)
{
    place_t *place = &loop->place[watch->place];

    if (place->watch != watch) {
        return;
    }
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    place->watch = NULL;
    place->generation++;
    place->next_free = loop->free_place;
    loop->free_place = watch->place;
}

/*
 * An event's watch was last used some hundred requests ago and lies far from the processor: it is on its way while the event before is
 * handled. (Only a hint: whether the watch is still there deliver() sees.)
 */
static void fetch_ahead(const loop_t *loop, const struct epoll_event *event)
{
    uint32_t at = (uint32_t)event->data.u64;

    if (event->data.u64 != WAKE_PLACE && at < loop->places) {
        __builtin_prefetch(loop->place[at].watch);
    }
}

static void deliver(loop_t *loop, const struct epoll_event *event)
{
    uint32_t at = (uint32_t)event->data.u64, generation = (uint32_t)(event->data.u64 >> 32);
    unsigned what = 0;

    if (loop->place[at].generation != generation || !loop->place[at].watch) {
        return;
    }
    if (event->events & EPOLLIN) {
        what |= LOOP_READ;
    }
    if (event->events & EPOLLOUT) {
        what |= LOOP_WRITE;
    }
    if (event->events & (EPOLLRDHUP | EPOLLHUP)) {
        what |= LOOP_HUP | LOOP_READ;
    }
    if (event->events & EPOLLERR) {
        what |= LOOP_ERROR | LOOP_READ;
    }
    if ((event->events & EPOLLHUP) != 0) {
        what |= LOOP_GONE;
    }
    loop->place[at].watch->ready(loop->place[at].watch, what);
}

/* ---- timers and jobs ------------------------------------------------------------------------------------------------------- */

void loop_timer_set(loop_t *loop, wheel_timer_t *timer, int64_t due_usec)
{
    wheel_set(&loop->wheel, timer, due_usec);
}

void loop_timer_clear(loop_t *loop, wheel_timer_t *timer)
{
    wheel_clear(&loop->wheel, timer);
}

static void wake(loop_t *loop)
{
    uint64_t one = 1;
    ssize_t done;

    do {
        done = write(loop->wake_fd, &one, sizeof one); /* EAGAIN: it is awake enough */
    } while (done < 0 && errno == EINTR);
}

void loop_post(loop_t *loop, loop_job_t *job)
{
    loop_job_t *newest = __atomic_load_n(&loop->posted, __ATOMIC_RELAXED);

    do {
        job->next = newest;
    } while (!__atomic_compare_exchange_n(&loop->posted, &newest, job, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (!newest) {
        wake(loop); /* whoever posts behind a job that is not yet taken rides along */
    }
}

void loop_stop(loop_t *loop)
{
    __atomic_store_n(&loop->stopped, 1, __ATOMIC_RELEASE);
    wake(loop);
}

static void run_posted(loop_t *loop)
{
    loop_job_t *newest = __atomic_exchange_n(&loop->posted, NULL, __ATOMIC_ACQUIRE), *first = NULL;

    while (newest) { /* into the order posted */
        loop_job_t *next = newest->next;

        newest->next = first;
        first = newest;
        newest = next;
    }
    while (first) {
        loop_job_t *job = first;

        first = job->next;
        job->next = NULL;
        job->run(job);
    }
}

void loop_defer(loop_t *loop, loop_job_t *job)
{
    job->next = NULL;
    *loop->deferred_end = job;
    loop->deferred_end = &job->next;
}

/* Those that are deferred meanwhile wait for the next batch, which then waits for nobody. */
static void run_deferred(loop_t *loop)
{
    loop_job_t *first = loop->deferred;

    loop->deferred = NULL;
    loop->deferred_end = &loop->deferred;
    while (first) {
        loop_job_t *job = first;

        first = job->next;
        job->next = NULL;
        job->run(job);
    }
}

/* ---- the loop -------------------------------------------------------------------------------------------------------------- */

static int patience(const loop_t *loop)
{
    int64_t next = wheel_next(&loop->wheel), wait;

    if (loop->deferred) {
        return 0;
    }
    if (next == INT64_MAX) {
        return -1;
    }
    wait = (next - loop->now_usec + 999) / 1000;
    return wait < 0 ? 0 : wait > 60000 ? 60000 : (int)wait;
}

void loop_run(loop_t *loop, void (*each)(void *ctx), void *ctx)
{
    struct epoll_event event[BATCH];
    uint64_t drain;

    while (!__atomic_load_n(&loop->stopped, __ATOMIC_ACQUIRE)) {
        int found = epoll_wait(loop->epoll_fd, event, BATCH, patience(loop));

        loop->now_usec = gate_mono_usec();
        for (int i = 0; i < found; i++) {
            if (i + 1 < found) {
                fetch_ahead(loop, &event[i + 1]);
            }
            if (event[i].data.u64 != WAKE_PLACE) {
                deliver(loop, &event[i]);
            } else if (read(loop->wake_fd, &drain, sizeof drain) == (ssize_t)sizeof drain) {
                run_posted(loop);
            }
        }
        wheel_run(&loop->wheel, loop->now_usec);
        run_deferred(loop);
        if (each) {
            each(ctx);
        }
    }
}
