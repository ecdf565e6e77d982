/*
 * origin_pool.c - places of members on a loop, and the connections kept in them. The one used last is used next, so that what is not needed
 * grows old and goes. An idle connection stays watched: whatever is heard of it, it is not silent any more, and closed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "origin_inside.h"

#define IDLE_MAX 1024
#define IDLE_USEC INT64_C(60000000)
#define WAYS_MAX 32 /* names for TLS that one member is spoken to by (ProxyPreserveHost: clients choose them) */

/* --- places --- */

static void place_free(origin_place_t *place)
{
    origin_place_forget_question(place);
    origin_tls_memory_clear(&place->memory);
    free(place->address);
    free(place->tls_host);
    free(place->host);
    free(place->unix_path);
    free(place);
}

void origin_place_release(origin_place_t *place)
{
    if (--place->references == 0) {
        place_free(place);
    }
}

/* Out of the table: its idle connections go, those in use are not kept. */
static void place_retire(origin_place_t **link)
{
    origin_place_t *place = *link;

    *link = place->next;
    place->next = NULL;
    place->gone = 1;
    while (place->idle) {
        origin_close(place->idle);
    }
    origin_sessions_retire(place);
    origin_place_release(place);
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

static origin_place_t *place_make(origins_t *all, const origin_want_t *want)
{
    const gate_roster_member_t *m = want->member;
    origin_place_t *place = calloc(1, sizeof *place);

    if (!place) {
        return NULL;
    }
    place->all = all;
    place->slot = m->slot;
    place->incarnation = m->incarnation;
    place->group = want->group;
    place->tls = want->tls;
    place->references = 1;
    place->h2 = (uint8_t)origin_is_duplex(m);
    place->port = m->parts.port;
    place->host = copy(m->parts.host ? m->parts.host : "");
    place->unix_path = copy(m->parts.unix_path);
    place->tls_host = copy(want->tls ? (want->tls_host ? want->tls_host : m->parts.host) : NULL);
    if (!place->host || (m->parts.unix_path && !place->unix_path)) {
        place_free(place);
        return NULL;
    }
    return place;
}

static int slot_room(origins_t *all, uint32_t slot)
{
    uint32_t slots = all->slots ? all->slots : 16;
    origin_place_t **grown;

    if (slot < all->slots) {
        return 1;
    }
    while (slots <= slot) {
        slots *= 2;
    }
    grown = realloc(all->slot, slots * sizeof(origin_place_t *));
    if (!grown) {
        return 0;
    }
    memset(grown + all->slots, 0, (slots - all->slots) * sizeof(origin_place_t *));
    all->slot = grown;
    all->slots = slots;
    return 1;
}

static int same_way(const origin_place_t *place, const origin_want_t *want)
{
    const char *host = want->tls_host ? want->tls_host : want->member->parts.host;

    return place->tls == want->tls && (!want->tls || strcmp(place->tls_host ? place->tls_host : "", host ? host : "") == 0);
}

origin_place_t *origin_place_of(origins_t *all, const origin_want_t *want)
{
    const gate_roster_member_t *m = want->member;
    origin_place_t **link, *place;
    int ways = 0;

    if (!slot_room(all, m->slot)) {
        return NULL;
    }
    link = &all->slot[m->slot];
    while ((place = *link)) {
        if (place->incarnation == m->incarnation && same_way(place, want)) {
            *link = place->next;
            place->next = all->slot[m->slot];
            all->slot[m->slot] = place;
            place->references++;
            return place;
        }
        if ((int32_t)(m->incarnation - place->incarnation) > 0 || ++ways >= WAYS_MAX) {
            place_retire(link);
            continue;
        }
        link = &place->next;
    }
    place = place_make(all, want);
    if (!place) {
        return NULL;
    }
    if (all->slot[m->slot] && all->slot[m->slot]->incarnation != m->incarnation) {
        /* an exchange that began before the slot changed hands: a place of its own, gone with its connection */
        place->gone = 1;
        return place;
    }
    place->references++;
    place->next = all->slot[m->slot];
    all->slot[m->slot] = place;
    return place;
}

/* --- idle connections --- */

void origin_idle_unlink(origin_t *o)
{
    origin_place_t *place = o->place;

    if (o->prev) {
        o->prev->next = o->next;
    }
    else {
        place->idle = o->next;
    }
    if (o->next) {
        o->next->prev = o->prev;
    }
    else {
        place->oldest = o->prev;
    }
    o->next = o->prev = NULL;
    place->idle_count--;
}

/* It has a reference of its own on the place. */
origin_t *origin_take_idle(origin_place_t *place)
{
    origin_t *o;

    while ((o = place->idle)) {
        if (o->due_usec <= loop_now(o->loop)) {
            origin_close(o); /* the timer has not come round yet */
            continue;
        }
        origin_idle_unlink(o);
        place->all->idle--;
        place->all->used++;
        return o;
    }
    return NULL;
}

/* Is there nothing to read for sure? */
static int silent(origin_t *o)
{
    char byte;

    if (!o->readable) {
        return 1;
    }
    if (o->hup || (o->tls ? origin_tls_recv(o->tls, &byte, 1) : recv(o->watch.fd, &byte, 1, MSG_PEEK)) >= 0
        || (errno != EAGAIN && errno != EWOULDBLOCK)) {
        return 0;
    }
    o->readable = 0;
    return 1;
}

int origin_keep(origin_t *o)
{
    origin_place_t *place = o->place;
    origins_t *all = place->all;

    if (o->state != ORIGIN_USED || o->unclean || o->hup || o->reading != READING_DONE || o->blocked || !o->writing.asked || place->gone
        || all->draining || o->keep_usec <= 0
        || !silent(o) || (o->tls && origin_tls_flush(o->tls) != 1)) {
        return 0;
    }
    o->later = 0; /* a reading that was put off has been done */
    if (place->idle_count >= all->rules.idle_max) {
        origin_close(place->oldest);
    }
    free(o->held);
    o->held = NULL;
    o->held_len = o->held_cap = o->held_at = 0;
    o->state = ORIGIN_IDLE;
    o->reading = READING_NOTHING;
    o->ops = NULL;
    o->user = NULL;
    o->prev = NULL;
    o->next = place->idle;
    if (place->idle) {
        place->idle->prev = o;
    }
    else {
        place->oldest = o;
    }
    place->idle = o;
    place->idle_count++;
    all->used--;
    all->idle++;
    origin_due(o, loop_now(o->loop) + o->keep_usec);
    return 1;
}

void origin_idle_ready(origin_t *o, unsigned what)
{
    char byte;

    if (!(what & (LOOP_READ | LOOP_HUP | LOOP_ERROR))) {
        return;
    }
    if (o->tls && !(what & (LOOP_HUP | LOOP_ERROR))) {
        /* a session ticket, maybe */
        origin_tls_readable(o->tls, o->hup);
        if (origin_tls_recv(o->tls, &byte, 1) < 0 && errno == EAGAIN) {
            return;
        }
    }
    origin_close(o);
}

/* --- the loop's pools --- */

static void drop_all(origins_t *all)
{
    uint32_t i;

    for (i = 0; i < all->slots; i++) {
        while (all->slot[i]) {
            place_retire(&all->slot[i]);
        }
    }
}

int origins_open(loop_t *loop, const origins_rules_t *rules)
{
    origins_t *all = calloc(1, sizeof *all);

    if (!all) {
        return -1;
    }
    all->loop = loop;
    all->rules = *rules;
    if (!all->rules.idle_max) {
        all->rules.idle_max = IDLE_MAX;
    }
    if (!all->rules.idle_usec) {
        all->rules.idle_usec = IDLE_USEC;
    }
    *loop_slot(loop, LOOP_SLOT_ORIGINS) = all;
    return 0;
}

void origins_close(loop_t *loop)
{
    origins_t *all = *loop_slot(loop, LOOP_SLOT_ORIGINS);

    if (!all) {
        return;
    }
    drop_all(all);
    *loop_slot(loop, LOOP_SLOT_ORIGINS) = NULL;
    while (all->free_list) {
        origin_t *o = all->free_list;

        all->free_list = o->next;
        free(o);
    }
    outbox_shelf_clear(&all->shelf);
    free(all->slot);
    free(all);
}

void origins_follow(loop_t *loop, const gate_roster_t *roster)
{
    origins_t *all = *loop_slot(loop, LOOP_SLOT_ORIGINS);
    uint32_t i;

    for (i = 0; all && i < all->slots; i++) {
        origin_place_t **link = &all->slot[i];

        while (*link) {
            if ((*link)->group == roster->group && gate_roster_find(roster, (*link)->slot, (*link)->incarnation) < 0) {
                place_retire(link);
            }
            else {
                link = &(*link)->next;
            }
        }
    }
}

void origins_drain(loop_t *loop)
{
    origins_t *all = *loop_slot(loop, LOOP_SLOT_ORIGINS);

    if (all) {
        all->draining = 1;
        drop_all(all);
    }
}

origins_counts_t origins_counts(loop_t *loop)
{
    const origins_t *all = *loop_slot(loop, LOOP_SLOT_ORIGINS);
    origins_counts_t counts = { 0 };

    if (all) {
        counts.used = all->used;
        counts.idle = all->idle;
    }
    return counts;
}
