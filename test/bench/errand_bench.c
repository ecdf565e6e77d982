/*
 * errand_bench.c - nanoseconds that a request's errand takes when all goes well: begin, claim, again (no), ended, end.
 *
 *     make -f apxs.mk bench_programs && build/bench/errand_bench
 *
 * CPU time of the thread, a pool cleared after each errand (that alone is the first row). Two threads share the counters of one child,
 * as loops do; their row tells what that costs on this machine.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <apr_general.h>

#include "errand.h"

#define ERRANDS 200000
#define ROUNDS 5
#define MEMBERS 3

static errand_house_t house;
static upstream_group_t group = { .name = "app", .connect_usec = UPSTREAM_UNSET, .first_byte_usec = UPSTREAM_UNSET,
                                  .idle_usec = UPSTREAM_UNSET, .total_usec = UPSTREAM_UNSET, .try_timeout_usec = UPSTREAM_UNSET };

static void *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED) {
        exit(1);
    }
    return at;
}

static void open_house(apr_pool_t *p)
{
    gate_registry_limits_t limits = { .groups = 4, .members = 64, .seats = 16 };
    gate_member_spec_t specs[MEMBERS];
    char id[MEMBERS][8], url[MEMBERS][40];

    house.seats = map(gate_seats_size(limits.seats));
    gate_seats_init(house.seats, limits.seats);
    house.registry = gate_registry_attach(p, map(gate_registry_size(&limits)), &limits, 1, house.seats, NULL, NULL, 0, NULL);
    gate_inflight_attach(house.registry, map(gate_inflight_size(limits.members, limits.seats)), limits.members);
    house.seat = gate_seat_claim(house.seats);
    house.rosters = gate_rosters_create(p, house.registry);
    group.strategy = gate_strategies[0];
    retry_rule_default(&group.retry);
    for (int i = 0; i < MEMBERS; i++) {
        snprintf(id[i], sizeof id[i], "m%d", i);
        snprintf(url[i], sizeof url[i], "http://127.0.0.1:%d", 9000 + i);
        specs[i] = (gate_member_spec_t){ .id = id[i], .url = url[i], .weight = 1 };
    }
    if (gate_group_declare(house.registry, group.name, &group.index) != APR_SUCCESS
        || gate_members_apply(house.registry, group.index, GATE_ORIGIN_CONFIG, specs, MEMBERS, "", 1) != APR_SUCCESS) {
        exit(1);
    }
}

static double thread_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void run_errand(apr_pool_t *p, const gate_view_t *view, int64_t now)
{
    gate_errand_ask_t ask = { .pool = p, .view = view, .group = &group, .http_only = 1, .plane = "express", .now_usec = now };
    const char *why;
    gate_errand_t *e = errand_begin(&house, &ask, &group, 0, &why);
    gate_try_t *t;

    if (errand_claim(e, now) != GATE_ERRAND_MEMBER) {
        exit(1);
    }
    t = errand_present(e);
    t->reused = 1;
    t->bytes_out = 200;
    t->bytes_in = 1200;
    t->status = 200;
    t->first_byte_usec = now + 300;
    if (errand_again(e, now + 300)) {
        exit(1);
    }
    t->passed_on = 1;
    errand_ended(e, now + 310, 0);
    errand_end(e);
}

static void *rounds(void *with_errands)
{
    gate_view_t view = { .method = "GET" };
    double best = 1e9, *result = malloc(sizeof *result);
    apr_pool_t *p;

    apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        double begin = thread_ns(), ns;

        for (int i = 0; i < ERRANDS; i++) {
            if (with_errands) {
                run_errand(p, &view, 1000 + i);
            }
            else {
                memset(apr_palloc(p, sizeof(gate_errand_t)), 0, sizeof(gate_errand_t));
            }
            apr_pool_clear(p);
        }
        ns = (thread_ns() - begin) / ERRANDS;
        best = ns < best ? ns : best;
    }
    apr_pool_destroy(p);
    *result = best;
    return result;
}

static double measure(int threads, int with_errands)
{
    pthread_t thread[8];
    double worst = 0;

    for (int i = 0; i < threads; i++) {
        pthread_create(&thread[i], NULL, rounds, with_errands ? &house : NULL);
    }
    for (int i = 0; i < threads; i++) {
        void *result;

        pthread_join(thread[i], &result);
        worst = *(double *)result > worst ? *(double *)result : worst;
        free(result);
    }
    return worst;
}

int main(void)
{
    apr_pool_t *p;

    apr_initialize();
    apr_pool_create(&p, NULL);
    open_house(p);
    printf("ns per request, CPU, %zu bytes\n", sizeof(gate_errand_t));
    printf("pool alone        %6.0f\n", measure(1, 0));
    printf("errand            %6.0f\n", measure(1, 1));
    printf("errand, 2 threads %6.0f\n", measure(2, 1));
    return 0;
}
