/*
 * errand.h - one exchange's dealings with a group, the same for both planes: which member, again or not, and how it went.
 * Depends: group.h, pick.h, queue.h, reverse.h; knows no httpd.   Contract of the calls: gate_upstream.h; door.c hands them out.
 * Memory:  an errand lives in the pool of its ask; a cleanup there ends it at the latest.
 * Locking: an errand belongs to one thread at a time; a house is read only.
 * Time:    monotonic microseconds, passed in. What is to be logged is said to the house (door.c writes it).
 */
#ifndef UPSTREAM_ERRAND_H
#define UPSTREAM_ERRAND_H

#include "gate_upstream.h"
#include "group.h"
#include "pick.h"
#include "queue.h"
#include "reverse.h"

#define UPSTREAM_TRIES_MAX 10

typedef enum {
    ERRAND_SAYS_BROKEN,        /* the answer ended early after a part of it was passed on */
    ERRAND_SAYS_OTHER,         /* the try failed, another member is tried */
    ERRAND_SAYS_FRESH,         /* the try failed, the same member is tried on a new connection */
    ERRAND_SAYS_NOBODY,        /* it ends before the first try; detail: status for the client */
    ERRAND_SAYS_FAILED,        /* it ends without an answer; detail: status for the client */
    ERRAND_SAYS_LEFT,          /* the client left while it waited */
    ERRAND_SAYS_COOKIE         /* the client's cookie is not good; detail: sticky_read_e */
} errand_news_e;

/* What errands of this process stand on. */
typedef struct {
    gate_registry_t *registry;
    gate_seats_t *seats;
    gate_rosters_t *rosters;
    queue_t *queue;
    const sticky_key_t *key;
    int seat;
    /** May be NULL. */
    void (*say)(const gate_errand_t *e, errand_news_e news, int detail);
} errand_house_t;

/* What claim() does when it is called next. */
typedef enum { ERRAND_SEARCHES = 0, ERRAND_HAS_NEXT, ERRAND_HAS_SAME } errand_plan_e;

struct gate_errand {
    const errand_house_t *house;
    gate_errand_ask_t ask;
    const upstream_group_t *group;
    gate_roster_t *roster;
    int64_t deadline_usec, now_usec, ended_usec;
    int64_t connect_limit_usec, first_byte_limit_usec, idle_limit_usec;
    uint64_t key_hash;          /* of GateBalance hash key=; 0: the strategy needs none */
    uint64_t affinity_hash;     /* of the header that GateSticky names; 0: it has none */
    uint64_t bound_hash;
    uint32_t bound_expires_s;
    int bound;                  /* a good cookie names a member: bound_hash */
    int elsewhere;              /* that member had no room: this request goes to another, the client stays bound */
    int peek;                   /* only asked about: nothing is taken or counted */
    int active, retrying;       /* counted in the registry */

    /* the search */
    errand_plan_e plan;
    int next;                   /* roster index of the next try, -1: none */
    int next_is_trial;
    int claimed;                /* that member is counted in flight already, in the next try's name */
    uint32_t claimed_slot;
    uint32_t full;              /* members that were passed over because they are at their `connections` */
    int others_full;            /* the last search found members, but none with room */
    queue_stay_t stay;
    int waiting;                /* in the queue */
    int64_t tick_usec, looked_usec, waiting_since_usec, queued_usec; /* queued: how long it stood in the queue in all */

    /* the tries */
    gate_try_t now;
    int tries;                  /* counted ones */
    int replaced;               /* the present try has replaced a stale connection */
    int is_trial;               /* of an ejected member: see gate_trial_claim() */
    int inflight;               /* counted in the registry */
    int swallowed;              /* again() said yes */
    int reached;                /* the last try's request may have reached its member, which counts against the budget */
    int untold;                 /* a failure of the last try that is told when another member has been found */
    pick_tried_t tried[UPSTREAM_TRIES_MAX];
    const char *tried_words;    /* "m1: connection refused; m2: ..", for the log */
    const char *give_up;        /* why it went on no further */
    reverse_map_t *map;         /* for turn(), made when first needed */
    const char *last_id;        /* of the last try's member, when its roster has been given back */
};

/* errand.c */
gate_errand_t *errand_begin(const errand_house_t *house, const gate_errand_ask_t *ask, const upstream_group_t *group,
                            uint64_t key_hash, const char **why);
/** For explaining: an errand that takes and counts nothing; only errand_peek() and errand_end() are for it. */
gate_errand_t *errand_preview(const errand_house_t *house, const gate_errand_ask_t *ask, const upstream_group_t *group, uint64_t key_hash);
gate_errand_e errand_claim(gate_errand_t *e, int64_t now_usec);
/** A member has been found: its try begins. @return GATE_ERRAND_MEMBER */
gate_errand_e errand_begun(gate_errand_t *e);
gate_try_t *errand_present(gate_errand_t *e);
int errand_again(gate_errand_t *e, int64_t now_usec);
gate_errand_end_e errand_ended(gate_errand_t *e, int64_t now_usec, int go_on);
void errand_end(gate_errand_t *e);
/** Of the last try's member; "" if there was none. */
const char *errand_member_id(const gate_errand_t *e);
void errand_forget_member(gate_errand_t *e);
/** Of a roster: see gate_upstream_door_t.classic_only. */
const char *errand_classic_only(const gate_roster_t *roster);
/** The same for what this plane can do. */
const char *errand_unfit(const gate_errand_ask_t *ask, const gate_roster_t *roster);

/* errand_search.c */
/** Finds the next member, and counts it in flight if the group has caps; does not wait. @return 1 e->next is set; 0 nobody */
int errand_search(gate_errand_t *e);
/** Who would it be? Takes and counts nothing. @return as errand_search() */
int errand_peek(gate_errand_t *e);
/** Gives back what no try has taken over. */
void errand_unclaim(gate_errand_t *e);
/** Something that may have been counted against a cap has ended. */
void errand_freed(const gate_errand_t *e);
/** queue_admit_fn: is there room for the errand? */
int errand_admit(void *errand);
/** Roster index of the member that the client's cookie says, and that it goes to or waits for; -1: any */
int errand_bound(const gate_errand_t *e);
/** Could anybody be asked, if there were room? */
int errand_hope(gate_errand_t *e);

/* errand_wait.c */
/** As errand_search(), from the group's queue if it has one. */
gate_errand_e errand_wait_enter(gate_errand_t *e);
gate_errand_e errand_wait_look(gate_errand_t *e, int64_t now_usec);
int64_t errand_wait_until(const gate_errand_t *e, int64_t now_usec);
void errand_wait_leave(gate_errand_t *e, int64_t now_usec);
/** @return what to sleep on: the word, and what it was when there was nothing for the errand (*seen); NULL: look at once */
_Atomic uint32_t *errand_wait_word(const gate_errand_t *e, uint32_t *seen);

/* errand_tell.c */
void errand_say(const gate_errand_t *e, errand_news_e news, int detail);
void errand_report(const gate_errand_t *e, int64_t now_usec);
gate_errand_failure_t errand_fail(gate_errand_t *e);
void errand_log(const gate_errand_t *e, apr_table_t *env, apr_pool_t *p, int64_t now_usec);

/* errand_answer.c */
/** A client that has a good cookie is bound by it; called once, as the errand begins. */
void errand_sticky(gate_errand_t *e);
const char *errand_cookie(gate_errand_t *e);
const char *errand_turn(gate_errand_t *e, const char *name, const char *value);

#endif
