/*
 * gate_section.h - what a module shows of itself and lets an admin do: told to core, rendered by status, known to nobody by name.
 * Depends: gate_view.h, gate_registry.h, APR pools and tables.
 * Memory:  a section is borrowed (static, or of pconf) from registration until the next configuration. Nodes live in the pool
 *          they were created with; texts put into them are copied, keys and metrics are borrowed.
 * Locking: registering in post_config only (mod_gate forgets all sections in pre_config); reading in children by any thread. The
 *          callbacks run on a worker thread of a child: they read shared memory as everybody does, never wait for a request's
 *          path, never log for what they merely found, and never run in the parent.
 *
 * What a module does (ctx is its own):
 *     static const gate_section_t cache_section = { .name = "cache", .title = "Cache", .gather = cache_gather, .actions = .. };
 *     gate_section_register(&cache_section);            in post_config, after gate_core_rehearsal() was asked
 *     static void cache_gather(gate_node_t *out, void *ctx)
 *     {
 *         static const gate_metric_t hit = { "cache_requests", "Requests by what the cache did", "result", "hit" };
 *         gate_put_count(out, "hits", hits, &hit);      "cache":{"hits":..}; gatehouse_cache_requests_total{result="hit"}
 *     }
 */
#ifndef GATE_SECTION_H
#define GATE_SECTION_H

#include <stdint.h>
#include <apr_pools.h>
#include <apr_tables.h>

#include "gate_histogram.h"
#include "gate_registry.h"
#include "gate_view.h"

#define GATE_SECTIONS_MAX 16

/* ---- values -------------------------------------------------------------------------------------------------------------- */

/*
 * How a value appears in /metrics. family: without "gatehouse_" and "_total", lower case; one that ends in _bytes or _seconds has
 * that unit. label and value: one more label, or NULL; value is one of a small set fixed in the code (never a URL, Host, address
 * or anything that a client can make up). Values put for a group or member get group= and member= by themselves.
 * The same family may be put many times, with the same kind and help each time.
 */
typedef struct {
    const char *family, *help, *label, *value;
} gate_metric_t;

typedef enum {
    GATE_NODE_OBJECT, /* children, each with a key */
    GATE_NODE_LIST,   /* children without keys */
    GATE_NODE_COUNT,  /* only grows while the arena lives: a counter in /metrics */
    GATE_NODE_GAUGE,  /* whole number */
    GATE_NODE_REAL,
    GATE_NODE_TEXT,
    GATE_NODE_FLAG,
    GATE_NODE_TIME,   /* wall clock, microseconds; JSON: RFC 3339 in UTC, null for 0 */
    GATE_NODE_HISTOGRAM,
    GATE_NODE_NULL
} gate_node_e;

typedef struct gate_node gate_node_t;
struct gate_node {
    gate_node_e kind;
    const char *key;             /* NULL in a list */
    const gate_metric_t *metric; /* NULL: not in /metrics */
    union {
        uint64_t count;
        int64_t gauge;           /* GAUGE, TIME, FLAG */
        double real;
        const char *text;
        const gate_histogram_t *histogram;
    } v;
    apr_pool_t *pool;
    gate_node_t *first, *last;   /* children, in the order they were put */
    gate_node_t *next;
};

/** An empty object. */
gate_node_t *gate_node_create(apr_pool_t *p);

/*
 * Puts a value into an object (key given; an older value of that key is replaced in its place) or a list (key NULL). metric may be
 * NULL. Keys are lower_case_with_underscores and say their unit unless it is a plain number: .._us, .._ms, .._s, .._bytes.
 */
void gate_put_count(gate_node_t *into, const char *key, uint64_t value, const gate_metric_t *metric);
void gate_put_gauge(gate_node_t *into, const char *key, int64_t value, const gate_metric_t *metric);
void gate_put_real(gate_node_t *into, const char *key, double value, const gate_metric_t *metric);
/** Copies the text; NULL puts a null. */
void gate_put_text(gate_node_t *into, const char *key, const char *text);
void gate_put_textf(gate_node_t *into, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
void gate_put_flag(gate_node_t *into, const char *key, int value);
void gate_put_time(gate_node_t *into, const char *key, int64_t wall_usec);
/** Copies the histogram; JSON: count, sum_us and quantiles; /metrics: a histogram in seconds, the family must end in _seconds. */
void gate_put_histogram(gate_node_t *into, const char *key, const gate_histogram_t *histogram, const gate_metric_t *metric);
/** @return the new, empty object or list, to be filled */
gate_node_t *gate_put_object(gate_node_t *into, const char *key);
gate_node_t *gate_put_list(gate_node_t *into, const char *key);

/** @return the value of a key in an object, or NULL */
const gate_node_t *gate_node_get(const gate_node_t *object, const char *key);

/* ---- actions ------------------------------------------------------------------------------------------------------------- */

typedef enum { GATE_PARAM_TEXT, GATE_PARAM_NUMBER, GATE_PARAM_FLAG, GATE_PARAM_TEXTS /* JSON: list of texts, or one text */ } gate_param_e;

typedef struct {
    const char *name;      /* as in JSON; NULL ends a list of them */
    gate_param_e kind;
    int required;
    const char *choices;   /* TEXT: "a|b|c", or NULL: anything */
    const char *help;      /* one sentence part for form and API description: "what is purged, such as https://example.com/a.css" */
} gate_param_t;

/* One call. Everything in it lives as long as the call. */
typedef struct {
    apr_pool_t *pool;
    const apr_table_t *params; /* by name, only declared ones, kinds and choices checked; flags "1" or "0"; TEXTS: one entry each
                                  (apr_table_do); all of them are from outside */
    const char *who;           /* user or address of who asked */
    int64_t now_usec;          /* monotonic */
    int64_t wall_usec;
    gate_node_t *result;       /* object: the answer; may stay empty */
    const char *said;          /* set by the action: what was done, or why not, in words: "12 objects purged" */
} gate_call_t;

/*
 * Carries the action out. Status has checked that the caller may, serialises all changing calls of the server, and writes event
 * and log line from `said` itself.
 * @return 0 when done; else a status for the answer: 400 (a parameter is no good), 404 (no such thing), 409 (not in this state),
 *         503 (not now); `said` says why
 */
typedef int (*gate_action_fn)(gate_call_t *call, void *ctx);

typedef struct {
    const char *method;        /* "GET" (changes nothing), "POST", "DELETE"; NULL ends a list of actions */
    const char *path;          /* below api/v1/: "cache/purge", "bans" */
    const char *title;         /* on a button: "Purge" */
    const char *help;          /* one sentence */
    const gate_param_t *params; /* ended by name NULL; NULL: none. GET and DELETE take them from the query, POST from the JSON body */
    gate_action_fn run;
} gate_action_t;

/* ---- sections ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    const char *name;          /* key in status.json and explain.json: "cache" */
    const char *title;         /* heading on the page: "Cache" */
    /** Fills the section's object. */
    void (*gather)(gate_node_t *out, void *ctx);
    /** Adds to a group's object: settings, "balance":"round-robin". Asked for each group. */
    void (*group)(gate_node_t *out, uint32_t group, void *ctx);
    /** Adds to a member's object: "check":{..}. Asked for each member: be quick. */
    void (*member)(gate_node_t *out, uint32_t group, const gate_member_t *member, void *ctx);
    /**
     * What would be decided about a request, and why: puts at least "verdict" and "why", further what helps ("group", "member").
     * Nothing is sent, counted or changed by it. request: a request_rec * of a lookup sub-request (notes has "gate-explain") of the
     * vhost and with the per-directory configuration that the URL leads to.
     */
    void (*explain)(gate_node_t *out, const gate_view_t *view, void *request, void *ctx);
    const gate_action_t *actions; /* ended by method NULL, or NULL */
    void *ctx;
} gate_section_t; /* callbacks that are NULL are left out */

/** In post_config. @return 0; -1 when there is no room or the name is taken */
int gate_section_register(const gate_section_t *section);

/** All sections in the order of registration, ended by NULL. */
const gate_section_t *const *gate_sections(void);

/** @return the action for method and path, or NULL; *section (may be NULL) is whose it is. *known: some action has this path */
const gate_action_t *gate_section_action(const char *method, const char *path, const gate_section_t **section, int *known);

void gate_sections_clear(void);

#endif
