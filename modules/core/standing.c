/* standing.c - verdicts and weights of members: atomic steps that every process sees at once. See gate_registry.h. */

#include <stdio.h>
#include <string.h>

#include "gate_words.h"
#include "registry_layout.h"

#define WHY_WAIT_USEC 2000

uint32_t gate_verdict(const gate_registry_t *reg, uint32_t slot)
{
    return atomic_load_explicit(&reg->hot[slot].verdict, memory_order_acquire);
}

uint32_t gate_member_cap(const gate_registry_t *reg, uint32_t slot)
{
    return atomic_load_explicit(&reg->member[slot].connections, memory_order_relaxed);
}

uint32_t gate_weight(const gate_registry_t *reg, uint32_t slot)
{
    return atomic_load_explicit(&reg->hot[slot].weight, memory_order_relaxed);
}

int64_t gate_up_since(const gate_registry_t *reg, uint32_t slot)
{
    return atomic_load_explicit(&reg->hot[slot].up_since_usec, memory_order_relaxed);
}

const char *gate_verdict_word(uint32_t verdict)
{
    static const struct {
        uint32_t bit;
        const char *word;
    } words[] = {
        { GATE_VERDICT_DISABLED, "disabled" }, { GATE_VERDICT_DRAIN, "drain" },     { GATE_VERDICT_GONE, "gone" },
        { GATE_VERDICT_DOWN, "down" },         { GATE_VERDICT_EJECTED, "ejected" }, { GATE_VERDICT_UNKNOWN, "unknown" },
    };
    size_t i;

    for (i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (verdict & words[i].bit) {
            return words[i].word;
        }
    }
    return "up";
}

/* Verdicts change rarely, but by any process: a short lock keeps two writers apart; who cannot get it leaves the text as it is. */
void registry_set_why(member_slot_t *member, const char *why)
{
    if (gate_lock_take(&member->why_lock, WHY_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return;
    }
    gate_words_set(&member->why_turn, member->why, sizeof member->why, why);
    gate_lock_release(&member->why_lock);
}

void registry_event(gate_registry_t *reg, uint32_t slot, const char *area, const char *from, const char *to, const char *why,
                    const char *who)
{
    const member_slot_t *m = &reg->member[slot];
    gate_event_t e = { .wall_usec = registry_wall_usec() };
    uint32_t group = atomic_load(&((member_slot_t *)m)->group);

    if (!reg->events) {
        return;
    }
    snprintf(e.area, sizeof e.area, "%s", area);
    if (group < reg->limits.groups) {
        snprintf(e.group, sizeof e.group, "%.*s", GATE_NAME_LEN - 1, reg->group[group].name);
    }
    snprintf(e.member, sizeof e.member, "%.*s", GATE_NAME_LEN - 1, m->id);
    snprintf(e.from, sizeof e.from, "%s", from);
    snprintf(e.to, sizeof e.to, "%s", to);
    snprintf(e.why, sizeof e.why, "%s", why ? why : "");
    snprintf(e.who, sizeof e.who, "%s", who ? who : "");
    gate_event_push(reg->events, &e);
}

static void standing_moved(gate_registry_t *reg, uint32_t slot)
{
    uint32_t group = atomic_load(&reg->member[slot].group);

    if (group < reg->limits.groups) {
        atomic_fetch_add_explicit(&reg->group[group].standing, 1, memory_order_release);
    }
}

static int still_member(const gate_registry_t *reg, uint32_t slot, uint32_t incarnation)
{
    return slot < reg->limits.members && atomic_load(&reg->member[slot].state) == SLOT_LISTED
           && atomic_load(&reg->member[slot].incarnation) == incarnation;
}

int gate_verdict_change(gate_registry_t *reg, uint32_t slot, uint32_t incarnation, uint32_t set, uint32_t clear,
                        const char *area, const char *who, const char *why, int64_t now_usec)
{
    uint32_t before, after;
    char from[24];

    if (!still_member(reg, slot, incarnation)) {
        return -1;
    }
    before = gate_verdict(reg, slot);
    do {
        after = (before & ~clear) | set;
        if (after == before) {
            return 0;
        }
        if ((before & GATE_UNUSABLE) && !(after & GATE_UNUSABLE)) {
            /* before the verdict: whoever sees it usable sees its slow start too */
            atomic_store(&reg->hot[slot].up_since_usec, now_usec);
        }
    } while (!atomic_compare_exchange_weak(&reg->hot[slot].verdict, &before, after));
    atomic_store(&reg->member[slot].changed_wall_usec, registry_wall_usec());
    registry_set_why(&reg->member[slot], why);
    standing_moved(reg, slot);
    if ((before ^ after) & ~(uint32_t)GATE_VERDICT_UNKNOWN) { /* that somebody is known now is no event: a start would fill the ring */
        snprintf(from, sizeof from, "%s", gate_verdict_word(before));
        registry_event(reg, slot, area, from, gate_verdict_word(after), why, who);
    }
    return 1;
}

uint32_t gate_verdicts_disown(gate_registry_t *reg, uint32_t verdicts, const char *why, int64_t now_usec)
{
    uint32_t slot, n = 0;

    for (slot = 0; slot < reg->limits.members; slot++) {
        if (gate_verdict(reg, slot) & verdicts) {
            n += gate_verdict_change(reg, slot, atomic_load(&reg->member[slot].incarnation), 0, verdicts, "health", "", why, now_usec) == 1;
        }
    }
    return n;
}

apr_status_t gate_member_weight(gate_registry_t *reg, uint32_t slot, uint32_t incarnation, uint32_t weight, const char *who)
{
    char from[24], to[24];
    uint32_t before;

    if (weight < 1 || weight > 1000) {
        return APR_EINVAL;
    }
    if (!still_member(reg, slot, incarnation)) {
        return APR_ENOENT;
    }
    before = atomic_exchange(&reg->hot[slot].weight, weight);
    if (before != weight) {
        standing_moved(reg, slot);
        snprintf(from, sizeof from, "weight %u", before);
        snprintf(to, sizeof to, "weight %u", weight);
        registry_event(reg, slot, "upstream", from, to, "", who);
    }
    return APR_SUCCESS;
}

/* ---- half-open ---- */

void gate_trial_set(gate_registry_t *reg, uint32_t slot, int64_t from_usec)
{
    atomic_store(&reg->trial[slot], from_usec > 0 ? (uint64_t)from_usec << TRIAL_SEAT_BITS : 0);
}

int64_t gate_trial_at(const gate_registry_t *reg, uint32_t slot, int *claimed)
{
    uint64_t word = atomic_load(&reg->trial[slot]);

    *claimed = (word & TRIAL_NO_SEAT) != 0;
    return (int64_t)(word >> TRIAL_SEAT_BITS);
}

void trials_let_go(gate_registry_t *reg, uint32_t seat)
{
    uint32_t slot;

    for (slot = 0; slot < reg->limits.members; slot++) {
        uint64_t word = atomic_load_explicit(&reg->trial[slot], memory_order_relaxed);

        if ((word & TRIAL_NO_SEAT) == seat + 1) {
            atomic_compare_exchange_strong(&reg->trial[slot], &word, 0); /* may be tried at once */
        }
    }
}

/* A claim whose process has gone is free at once, also before its seat has been swept. */
static int is_free(const gate_registry_t *reg, uint64_t word, int64_t now_usec)
{
    uint32_t who = (uint32_t)(word & TRIAL_NO_SEAT);

    return now_usec >= (int64_t)(word >> TRIAL_SEAT_BITS)
           || (who != 0 && who != TRIAL_NO_SEAT && !gate_seat_live(reg->seats, who - 1));
}

int gate_trial_claim(gate_registry_t *reg, uint32_t slot, int seat, int64_t now_usec, int64_t lease_usec)
{
    uint64_t word = atomic_load(&reg->trial[slot]);
    uint64_t who = seat >= 0 && (uint32_t)seat + 1 < TRIAL_NO_SEAT ? (uint32_t)seat + 1 : TRIAL_NO_SEAT;

    return is_free(reg, word, now_usec)
           && atomic_compare_exchange_strong(&reg->trial[slot], &word, (uint64_t)(now_usec + lease_usec) << TRIAL_SEAT_BITS | who);
}
