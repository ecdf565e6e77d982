/* health_state.c - see health_state.h. */

#include "health_state.h"

static int change(health_track_t *t, health_state_e to)
{
    t->state = to;
    t->streak = 0;
    return 1;
}

int health_note(health_track_t *t, const health_rule_t *rule, int ok)
{
    if (t->state == HEALTH_DOWN) {
        if (!ok) {
            t->streak = 0;
            return 0;
        }
        return ++t->streak >= rule->rise ? change(t, HEALTH_UP) : 0;
    }
    if (ok) {
        t->streak = 0;
        return t->state == HEALTH_UNKNOWN ? change(t, HEALTH_UP) : 0;
    }
    return ++t->streak >= rule->fall ? change(t, HEALTH_DOWN) : 0;
}

int health_is_changing(const health_track_t *t)
{
    return t->state == HEALTH_UNKNOWN || t->streak > 0;
}

/* Finalizer of splitmix64: neighbours in, strangers out. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static int64_t interval(const health_track_t *t, const health_rule_t *rule)
{
    return health_is_changing(t) ? rule->fast_usec : rule->interval_usec;
}

int64_t health_first_due(const health_track_t *t, const health_rule_t *rule, uint64_t id_hash, int64_t now_usec)
{
    return now_usec + (int64_t)(mix(id_hash) % (uint64_t)interval(t, rule));
}

int64_t health_next_due(const health_track_t *t, const health_rule_t *rule, uint64_t id_hash, uint32_t turn, int64_t due_usec,
                        int64_t now_usec)
{
    int64_t step = interval(t, rule), spread = step / 10;
    int64_t due = due_usec + step;

    if (spread > 0) {
        due += (int64_t)(mix(id_hash + turn) % (uint64_t)spread) - spread / 2;
    }
    return due > now_usec ? due : now_usec + step;
}

int64_t health_trust_usec(const health_rule_t *rule)
{
    return 3 * rule->interval_usec + rule->timeout_usec;
}
