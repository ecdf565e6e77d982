/*
 * test_balance_herd.c - least-time and two-choices against one slow member, simulated with numbers that are out of date.
 *
 * MEMBERS exchanges-serving members with WORKERS workers each and a queue; one is 50 times slower. CLIENTS clients ask, wait for the
 * answer, think, ask again. What a strategy sees of the in-flight numbers is a copy taken every STALE_USEC, which is what provokes a
 * herd: until the next copy everybody sees the same member as the best one. Time is the simulation's own.
 */
#include <math.h>

#include "balance_fixture.h"

#define MEMBERS 10
#define WORKERS 8
#define CLIENTS 160
#define SLOW 3
#define SERVICE_USEC 10000.0
#define SLOW_FACTOR 50.0
#define THINK_USEC 5000.0
#define STALE_USEC 5000
#define END_USEC (INT64_C(60) * 1000000)

typedef struct {
    int64_t at_usec;        /* next thing that happens to this client */
    int64_t asked_usec;
    int member;             /* being served there, or -1: thinks */
} client_t;

typedef struct {
    int64_t worker_free_usec[WORKERS];
    uint32_t inflight;
} member_t;

typedef struct {
    double slow_share;      /* of all exchanges that began in the second half */
    double mean_usec;
    double p99_usec;
    double peak;            /* mean over copies of: highest in-flight of a good member over their average */
} result_t;

static double service_usec(fixture_t *f, int member)
{
    return -log(fixture_even(f)) * SERVICE_USEC * (member == SLOW ? SLOW_FACTOR : 1.0);
}

/* First free worker serves it; returns when it is done. */
static int64_t serve(fixture_t *f, member_t *m, int member, int64_t now)
{
    int best = 0;
    int64_t begin;

    for (int w = 1; w < WORKERS; w++) {
        if (m->worker_free_usec[w] < m->worker_free_usec[best]) {
            best = w;
        }
    }
    begin = m->worker_free_usec[best] > now ? m->worker_free_usec[best] : now;
    m->worker_free_usec[best] = begin + 1 + (int64_t)service_usec(f, member);
    return m->worker_free_usec[best];
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int earliest(const client_t *clients)
{
    int next = 0;

    for (int i = 1; i < CLIENTS; i++) {
        if (clients[i].at_usec < clients[next].at_usec) {
            next = i;
        }
    }
    return next;
}

static double peak_of(const member_t *members)
{
    double sum = 0, most = 0;

    for (int m = 0; m < MEMBERS; m++) {
        if (m != SLOW) {
            sum += members[m].inflight;
            most = members[m].inflight > most ? members[m].inflight : most;
        }
    }
    return sum > 0 ? most / (sum / (MEMBERS - 1)) : 1.0;
}

#define SAMPLES_MAX 2000000

static result_t simulate(const gate_strategy_t *s)
{
    static client_t clients[CLIENTS];
    static fixture_t f;
    static int64_t took[SAMPLES_MAX];
    member_t members[MEMBERS];
    int64_t copied = 0;
    size_t samples = 0, begun = 0, begun_slow = 0, copies = 0;
    double sum = 0, peaks = 0;

    fixture_init(&f, MEMBERS, NULL);
    memset(members, 0, sizeof members);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (client_t){ .at_usec = 1 + (int64_t)(fixture_even(&f) * THINK_USEC), .member = -1 };
    }
    for (;;) {
        client_t *c = &clients[earliest(clients)];
        int64_t now = c->at_usec;

        if (now >= END_USEC) {
            break;
        }
        f.pick.now_usec = now;
        if (now - copied >= STALE_USEC) {
            for (int m = 0; m < MEMBERS; m++) {
                f.c[m].inflight = members[m].inflight;
            }
            copied = now;
            peaks += peak_of(members);
            copies++;
        }
        if (c->member >= 0) {
            members[c->member].inflight--;
            if (s->learn != NULL) {
                s->learn(&f.learned[c->member], now - c->asked_usec, now);
            }
            if (now > END_USEC / 2 && samples < SAMPLES_MAX) {
                sum += (double)(now - c->asked_usec);
                took[samples++] = now - c->asked_usec;
            }
            c->member = -1;
            c->at_usec = now + 1 + (int64_t)(-log(fixture_even(&f)) * THINK_USEC);
        }
        else {
            c->member = (int)fixture_pick(&f, s);
            c->asked_usec = now;
            members[c->member].inflight++;
            c->at_usec = serve(&f, &members[c->member], c->member, now);
            if (now > END_USEC / 2) {
                begun++;
                begun_slow += c->member == SLOW;
            }
        }
    }
    qsort(took, samples, sizeof took[0], by_value);
    return (result_t){ (double)begun_slow / (double)begun, sum / (double)samples, (double)took[samples * 99 / 100],
                       peaks / (double)copies };
}

static uint32_t random_pick(const gate_pick_t *pick)
{
    return (uint32_t)balance_scale(pick->random, pick->count);
}

/* What least-time would be if it asked all: by pairs, with the strategy's own comparison. */
static uint32_t least_of_all_pick(const gate_pick_t *pick)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < pick->count; i++) {
        gate_candidate_t pair[2] = { pick->candidates[best], pick->candidates[i] };
        gate_pick_t duel = *pick;

        duel.candidates = pair;
        duel.count = 2;
        best = balance_least_time.pick(&duel) == 0 ? best : i;
    }
    return best;
}

static void learn_as_least_time(gate_learned_t *learned, int64_t usec, int64_t now_usec)
{
    balance_least_time.learn(learned, usec, now_usec);
}

static const gate_strategy_t random_one = { .name = "(random)", .pick = random_pick };
static const gate_strategy_t least_of_all = { .name = "(least time of all)", .pick = least_of_all_pick,
                                              .learn = learn_as_least_time };

static result_t shown(const gate_strategy_t *s)
{
    result_t r = simulate(s);

    print_message("%-20s slow member's share %6.3f %%   mean %7.1f ms   p99 %7.1f ms   busiest / average %.2f\n", s->name,
                  r.slow_share * 100, r.mean_usec / 1000, r.p99_usec / 1000, r.peak);
    return r;
}

static void test_a_slow_member_gets_little_and_nobody_herds(void **state)
{
    result_t lots, two, time, all;

    (void)state;
    lots = shown(&random_one);
    two = shown(&balance_two_choices);
    time = shown(&balance_least_time);
    all = shown(&least_of_all);
    /* chance alone sends it a tenth, and everybody waits there */
    assert_true(lots.slow_share > 0.09);
    assert_true(two.slow_share < 0.02);
    assert_true(time.slow_share < 0.005);
    assert_true(two.mean_usec < lots.mean_usec / 5);
    assert_true(time.mean_usec < lots.mean_usec / 10);
    assert_true(time.mean_usec < two.mean_usec * 1.2);
    /* the good members stay about as even as with live numbers; asking all makes them run in a herd */
    assert_true(two.peak < 2.2);
    assert_true(time.peak < 2.4);
    assert_true(all.peak > time.peak * 1.3);
}

/* A member nobody knows is asked once, and again only when that has come back. */
static void test_the_unknown_is_explored_one_at_a_time(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t hits = 0;

    (void)state;
    fixture_init(f, 5, NULL);
    for (int i = 0; i < 4; i++) {
        balance_least_time.learn(&f->learned[i], 2000, 900000);
        f->c[i].inflight = 3;
    }
    for (int n = 0; n < 1000; n++) {
        uint32_t chosen = fixture_pick(f, &balance_least_time);

        if (chosen == 4) {
            f->c[4].inflight = 1;
            hits++;
        }
    }
    assert_int_equal(hits, 1);
    /* all unknown: by what is in flight */
    fixture_init(f, 2, NULL);
    f->c[0].inflight = 1;
    assert_int_equal(fixture_pick(f, &balance_least_time), 1);
    free(f);
}

/* A member that hangs teaches nothing; that must not make it look better. */
static void test_a_hanging_member_does_not_attract(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t stuck = 0, first = 0;

    (void)state;
    fixture_init(f, 3, NULL);
    for (int64_t now = 1000000; now < 60000000; now += 1000) {
        uint32_t chosen;

        f->pick.now_usec = now;
        chosen = fixture_pick(f, &balance_least_time);
        if (chosen == 2 && now > 2000000) {
            /* from here on it never answers */
            f->c[2].inflight++;
            stuck++;
            first += now < 5000000;
        }
        else {
            balance_least_time.learn(&f->learned[chosen], 5000, now);
        }
    }
    print_message("a member that hangs for 58 s got %u of 58000\n", stuck);
    assert_true(stuck <= first + 2);
    assert_true(stuck <= 4);
    free(f);
}

static void test_cost_peaks_at_once_and_fades(void **state)
{
    fixture_t *f = malloc(sizeof *f);
    uint32_t hits[2] = { 0, 0 };

    (void)state;
    fixture_init(f, 2, NULL);
    balance_least_time.learn(&f->learned[0], 1000, 1000000);
    balance_least_time.learn(&f->learned[1], 1000, 1000000);
    balance_least_time.learn(&f->learned[1], 50000, 1000001);
    f->pick.now_usec = 1000002;
    for (int n = 0; n < 100; n++) {
        assert_int_equal(fixture_pick(f, &balance_least_time), 0);
    }
    /* the other goes on answering in 1 ms; ln(50) * 10 s = 39 s later the peak has faded to less than that */
    for (int64_t now = 1100000; now < 50000000; now += 100000) {
        f->pick.now_usec = now;
        hits[now > 40000000] += fixture_pick(f, &balance_least_time) == 1;
        balance_least_time.learn(&f->learned[0], 1000, now);
    }
    assert_int_equal(hits[0], 0);
    assert_true(hits[1] > 0);
    free(f);
}

static void test_speed_is_learned_from_small_steps(void **state)
{
    gate_learned_t learned = { 0, 0 };
    int64_t now = 1000000;

    (void)state;
    /* down from 100 ms to 10 ms by answers 20 usec apart: steps far below a microsecond must add up */
    balance_least_time.learn(&learned, 100000, now);
    for (int n = 0; n < 2500000; n++) {
        now += 20;
        balance_least_time.learn(&learned, 10000, now);
    }
    /* 50 s: 10 ms + 90 ms * e^-5 = 10.6 ms */
    assert_in_range(atomic_load(&learned.ewma) >> 20, 10500, 10700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_member_gets_little_and_nobody_herds),
        cmocka_unit_test(test_the_unknown_is_explored_one_at_a_time),
        cmocka_unit_test(test_a_hanging_member_does_not_attract),
        cmocka_unit_test(test_cost_peaks_at_once_and_fades),
        cmocka_unit_test(test_speed_is_learned_from_small_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
