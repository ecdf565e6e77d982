/*
 * errand_answer.c - what of an answer is between the client and the group: the cookie that binds the client to its member (GateSticky),
 * and the members' addresses in headers, which become the public one (reverse.h).
 */
#include <string.h>
#include <strings.h>

#include <apr_time.h>
#include <openssl/rand.h>

#include "errand.h"

/* Cookies expire by the wall clock. */
static uint32_t now_s(void)
{
    return (uint32_t)apr_time_sec(apr_time_now());
}

void errand_sticky(gate_errand_t *e)
{
    const sticky_rule_t *rule = &e->group->sticky;
    const gate_view_t *view = e->ask.view;
    const char *text = view->header(view, rule->header ? rule->header : "Cookie");
    sticky_read_e found;

    if (rule->header) {
        e->affinity_hash = text && *text ? gate_balance_hash(text, strlen(text)) | 1 : 0;
        return;
    }
    if (!text) {
        return;
    }
    found = sticky_cookie_read(e->house->key, e->group->name, text, rule->cookie, now_s(), &e->bound_hash, &e->bound_expires_s);
    e->bound = found == STICKY_GOOD;
    if (found == STICKY_FORGED || found == STICKY_STALE) {
        errand_say(e, ERRAND_SAYS_COOKIE, found);
    }
}

const char *errand_cookie(gate_errand_t *e)
{
    const sticky_rule_t *rule = &e->group->sticky;
    char token[STICKY_TOKEN_CHARS + 1];
    unsigned char nonce[8];
    uint32_t now;
    int same;

    if (!rule->cookie) {
        return NULL;
    }
    now = now_s();
    same = e->bound && e->bound_hash == e->now.member->id_hash;
    if ((same && !sticky_renew(rule, e->bound_expires_s, now)) || (!same && e->elsewhere)) {
        return NULL;
    }
    if (RAND_bytes(nonce, sizeof nonce) != 1) {
        return NULL; /* no new cookie: the client is asked to bring one next time */
    }
    sticky_token_write(e->house->key, e->group->name, e->now.member->id_hash, rule->ttl_s ? now + rule->ttl_s : 0, nonce, token);
    return sticky_set_cookie(e->ask.pool, rule, token);
}

static void make_map(gate_errand_t *e)
{
    const gate_view_t *view = e->ask.view;
    const gate_errand_paths_t *paths = e->ask.paths;
    reverse_map_t *map = apr_palloc(e->ask.pool, sizeof *map);

    map->members = &e->roster->members[0].parts;
    map->stride_bytes = sizeof e->roster->members[0];
    map->count = e->roster->count;
    map->answered = &e->now.member->parts;
    map->scheme = view->scheme;
    map->host = view->host;
    map->port = view->port;
    map->public_prefix = map->gate_prefix = "/";
    if (paths && paths->public_path && paths->gate_path) {
        reverse_prefixes(e->ask.pool, paths->public_path, paths->gate_path, &map->public_prefix, &map->gate_prefix);
    }
    e->map = map;
}

const char *errand_turn(gate_errand_t *e, const char *name, const char *value)
{
    if (!e->map) {
        make_map(e);
    }
    if (strcasecmp(name, "Set-Cookie") == 0) {
        return reverse_cookie(e->ask.pool, e->map, value);
    }
    if (strcasecmp(name, "Refresh") == 0) {
        return reverse_refresh(e->ask.pool, e->map, value);
    }
    return reverse_url(e->ask.pool, e->map, value);
}
