/*
 * cache.h - what the glue of mod_gate_cache shares among its files. Logic is in the other headers here.
 */
#ifndef GATE_CACHE_CACHE_H
#define GATE_CACHE_CACHE_H

#include <httpd.h>
#include <stdatomic.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_main.h>
#include <http_request.h>
#include <ap_expr.h>
#include <apr_strings.h>

#include "counts.h"
#include "fields.h"
#include "fill.h"
#include "gate_cache.h"
#include "gate_conf.h"
#include "gate_core.h"
#include "gate_log.h"
#include "gate_time.h"
#include "head.h"
#include "keep.h"
#include "key.h"
#include "look.h"
#include "purge.h"
#include "store.h"
#include "variant.h"
#include "vary.h"

extern module AP_MODULE_DECLARE_DATA gate_cache_module;

/* ---- configuration ---------------------------------------------------------------------------------------------------- */

/* GateCacheKey */
typedef struct {
    gate_key_rule_t rule;
    const ap_expr_info_t *expr;   /* NULL: none */
} cache_key_t;

typedef gate_compress_rule_t cache_compress_t;

/* Seconds where no unit is named; GATE_UNSET is "the configuration says nothing". */
#define CACHE_DIR_FIELDS(F)                                     \
    F(int, on, GATE_UNSET, 0)                                   \
    F(int64_t, default_ttl, GATE_UNSET, GATE_UNSET)             \
    F(int64_t, max_ttl, GATE_UNSET, GATE_UNSET)                 \
    F(int64_t, stale_while_revalidate, GATE_UNSET, GATE_UNSET)  \
    F(int64_t, stale_if_error, GATE_UNSET, GATE_UNSET)          \
    F(int64_t, wait_usec, GATE_UNSET, 5000000)                  \
    F(int, client_may_reload, GATE_UNSET, 1)                    \
    F(int, purge, GATE_UNSET, 0)                                \
    F(const cache_key_t *, key, NULL, NULL)                     \
    F(const cache_compress_t *, compress, NULL, NULL)           \
    F(const char *, tags, NULL, NULL)                           \
    F(const apr_array_header_t *, bypass, NULL, NULL)           \
    F(const apr_array_header_t *, strip_cookies, NULL, NULL)
GATE_CONF_STRUCT(cache_dir_conf_t, CACHE_DIR_FIELDS);

#define CACHE_SERVER_FIELDS(F)                                  \
    F(uint64_t, size_bytes, 0, (UINT64_C(128) << 20))           \
    F(uint64_t, max_object, 0, 0)
GATE_CONF_STRUCT(cache_server_conf_t, CACHE_SERVER_FIELDS);

extern const command_rec cache_directives[];
void *cache_dir_create(apr_pool_t *p, char *dir);
void *cache_dir_merge(apr_pool_t *p, void *outer, void *inner);
void *cache_server_create(apr_pool_t *p, server_rec *s);
void *cache_server_merge(apr_pool_t *p, void *outer, void *inner);
/** The effective values of the main server, defaults filled in. */
cache_server_conf_t cache_server_values(server_rec *s);
void cache_config_reset(apr_pool_t *pconf);
/** Does any place switch the cache on? */
int cache_config_wanted(void);
/** All different query rules of the configuration, ended by NULL: a purge by URL tries them all. */
const gate_key_rule_t *const *cache_config_rules(apr_pool_t *p);

/** What counts in a place, defaults filled in; NULL when neither GateCache nor GateCachePurge is on. */
const cache_dir_conf_t *cache_conf(const request_rec *r);
/** The same out of a per-directory vector; in p. */
const cache_dir_conf_t *cache_conf_of(apr_pool_t *p, const ap_conf_vector_t *vector);

/** What keep.h wants to know of it. */
gate_keep_rule_t cache_keep_rule(const cache_dir_conf_t *conf);

/* ---- what a request carries --------------------------------------------------------------------------------------------- */

typedef enum {
    CACHE_PASSING,                /* only looked at: tags taken off, Cache-Status */
    CACHE_FETCHING,               /* may be stored, or tell that what is stored still is it */
    CACHE_HEADING                 /* HEAD that goes to the member while a stored answer is there */
} cache_mode_e;

typedef struct {
    cache_mode_e mode;
    int inside;                   /* the handlers behind us were asked */
    int again;                    /* the member's 304 was about something else: ask without conditions */
    const cache_dir_conf_t *conf;
    gate_keep_t keep;             /* .look too: the stored answer */
    apr_table_t *asked_headers;   /* those of the client that we changed for the member; NULL: none */
    apr_table_t *out_before, *err_before; /* headers of the answer that other modules had set before the handlers ran */
    /* the filter's part */
    int seen_head, client_gone, swallow, over, was_aborted, holds_back;
    uint64_t sent;                /* bytes of the body passed on */
    gate_pin_t back;              /* holds the body of which the client has not had all */
} cache_request_t;

cache_request_t *cache_request_of(const request_rec *r);

/* ---- mod_gate_cache.c ----------------------------------------------------------------------------------------------------- */

/** This process's store; NULL: none. */
extern gate_store_t *cache_store;
void cache_count(int which, uint64_t n);
/** Of the methods that are no GET: does it change nothing? */
int cache_method_safe(const char *method);
/** A request's record, made here. */
cache_request_t *cache_request_make(request_rec *r, const cache_dir_conf_t *conf);
/** GET and HEAD from the second step on: what was looked up is held in c, or nothing is. */
int cache_fetch(request_rec *r, cache_request_t *c);
/** Lets the member validate what is held in c, or fetch it; for the background. */
int cache_fetch_now(request_rec *r, cache_request_t *c);
/** To the member as it is, nothing stored of it. */
int cache_pass_by(request_rec *r, cache_request_t *c);

/* ---- cache_lookup.c ------------------------------------------------------------------------------------------------------- */

/** Makes the key and reads what the request asks for. @return NULL, or why it cannot be cached */
const char *cache_request_read(request_rec *r, cache_request_t *c);
/** In post_config: gives each server the name that keys know it by. */
void cache_name_servers(apr_pool_t *pconf, server_rec *s);
gate_look_rule_t cache_look_rule(const cache_dir_conf_t *conf);
/** A look of this request; nothing is read yet. */
void cache_look_begin(gate_look_t *look, request_rec *r, const cache_dir_conf_t *conf);
/** The name that a server has in keys. */
const char *cache_server_name(const server_rec *s);

/* ---- cache_answer.c ------------------------------------------------------------------------------------------------------- */

/**
 * Answers from the held object.
 * @param out  where the brigade goes
 * @return OK, or a status for the handler; DECLINED: a body was gone, look up again
 */
int cache_answer(request_rec *r, cache_request_t *c, ap_filter_t *out);
/** Follows a fetch that is under way. @return as above */
int cache_answer_flowing(request_rec *r, cache_request_t *c, gate_ref_t head);
/** Adds what every answer of a route bears; the table is the answer's. wants_variants: mod_deflate and mod_brotli leave it alone. */
void cache_decorate(request_rec *r, cache_request_t *c, apr_table_t *headers, int wants_variants);
/** Cache-Status, appended to the member's (RFC 9211), and GATE_CACHE. */
void cache_status(request_rec *r, cache_request_t *c, apr_table_t *headers, const char *word);
/** RFC 9110, 13: 304 or 412 instead of the selected answer. @return HTTP_OK, or that status */
int cache_condition(const cache_request_t *c, const apr_table_t *headers);

/* ---- cache_direct.c ------------------------------------------------------------------------------------------------------- */

/** In post_config. */
void cache_direct_find_filters(void);
/** In child_init, when this process has its seat. */
void cache_direct_start(apr_pool_t *pchild);
/** A GET in the handler phase, by the short way. @return 0: it is not for that, nothing was done */
int cache_direct(request_rec *r, const cache_dir_conf_t *conf);

/* ---- cache_bucket.c ------------------------------------------------------------------------------------------------------- */

/** Appends a held body to a brigade; the pin is the buckets' from then on. */
void cache_body_append(apr_bucket_brigade *bb, gate_pin_t *pin, uint64_t from, uint64_t to);

/* ---- cache_filter.c ------------------------------------------------------------------------------------------------------- */

void cache_filters_register(void);
void cache_filter_add(request_rec *r, cache_request_t *c);
void cache_invalidate_add(request_rec *r, cache_request_t *c);
/** An unsafe method was answered: what it names is forgotten (RFC 9111, 4.4). own: the canonical URL of the request */
void cache_invalidate(apr_pool_t *p, const char *own, int status, const apr_table_t *answer);
/** After the handlers: what was not ended by the filter is. */
void cache_filter_end(request_rec *r, cache_request_t *c);
/** Puts the client's own headers back. */
void cache_restore_headers(request_rec *r, cache_request_t *c);
/** The member is asked with these; the client's come back with cache_restore_headers(). */
void cache_change_headers(request_rec *r, cache_request_t *c, apr_table_t *headers);
/** Sets a header for the member; value NULL: takes it away. */
void cache_change_header(request_rec *r, cache_request_t *c, const char *name, const char *value);

/* ---- cache_member.c ------------------------------------------------------------------------------------------------------- */

/** The member's own fields: what other modules had put beside before the handlers ran is theirs, of this request. */
apr_table_t *cache_member_fields(request_rec *r, cache_request_t *c);
/** The headers without the cookies that GateCacheStripCookie names; the same table when there are none. */
apr_table_t *cache_strip_cookies(apr_pool_t *p, const cache_dir_conf_t *conf, apr_table_t *headers);
/* ---- cache_wait.c ---------------------------------------------------------------------------------------------------------- */

void cache_wake(_Atomic uint32_t *word);
void cache_wait(_Atomic uint32_t *word, uint32_t value, int64_t usec);

/* ---- cache_worker.c: background fetches and variants ----------------------------------------------------------------------- */

void cache_workers_register(void);
void cache_workers_start(apr_pool_t *pchild, server_rec *s);
void cache_workers_stopping(void);
/** Fetches the held object anew behind the client's back, if nobody does. */
void cache_refresh(request_rec *r, cache_request_t *c);
/** Has the missing codings of an object made, if nobody does. */
void cache_codings(const cache_compress_t *compress, uint64_t hash, gate_ref_t head);

/* ---- cache_purge.c -------------------------------------------------------------------------------------------------------- */

int cache_purge_request(request_rec *r);
/** Purges as an admin or a request names it. @return objects hit; -1: `what` is no URL (*why) */
int64_t cache_purge(apr_pool_t *p, gate_purge_e kind, const char *what, const char *base, int soft, const char **why);

/* ---- cache_door.c --------------------------------------------------------------------------------------------------------- */

void cache_door_register(void);
/** A desk of this process's store. @return NULL: there is none */
gate_cache_desk_t *cache_desk_make(apr_pool_t *p, unsigned entries);
/** The client gets it: counted, and its object is kept the longer for it. */
void cache_take(gate_cache_hit_t *hit);

/* ---- cache_loop.c: fetches on event loops ---------------------------------------------------------------------------------- */

/** Fills in the door's part about fetches. */
void cache_loop_door(gate_cache_door_t *door);
/** A warning: a member failed, what is stored goes out. */
void cache_log_instead(const server_rec *s, int status);

/* ---- cache_section.c ------------------------------------------------------------------------------------------------------ */

void cache_section_register(void);
uint64_t cache_counted(int which);

#endif
