/* cache_door.c - gate_cache.h: the store for who answers from event loops */
#include "cache.h"

#include <stddef.h>

#include "desk.h"

APLOG_USE_MODULE(gate_cache);

static void make_codings(const gate_cache_place_t *place, uint64_t hash, gate_ref_t head)
{
    cache_codings(((const cache_dir_conf_t *)place->conf)->compress, hash, head);
}

gate_cache_desk_t *cache_desk_make(apr_pool_t *p, unsigned entries)
{
    gate_desk_ops_t ops = { ap_get_server_banner(), ap_get_status_line, make_codings };

    return cache_store && gate_store_seat(cache_store) >= 0 ? gate_desk_create(p, cache_store, &ops, entries) : NULL;
}

static gate_cache_desk_t *desk(apr_pool_t *p)
{
    return cache_desk_make(p, GATE_DESK_ENTRIES);
}

/* What only a request in httpd's phases can tell. */
static const char *needs_request(const cache_dir_conf_t *conf, const core_dir_config *core)
{
    if (conf->bypass) {
        return "GateCacheBypass";
    }
    if (conf->key && conf->key->expr) {
        return "GateCacheKey expr=";
    }
    if (core->add_default_charset == ADD_DEFAULT_CHARSET_ON) {
        return "AddDefaultCharset";
    }
    return NULL;
}

static const gate_cache_place_t *place(apr_pool_t *p, void *server, void *dir_conf, const char *handler, const char *base,
                                       const char **classic)
{
    const cache_dir_conf_t *conf = cache_store && gate_store_seat(cache_store) >= 0 ? cache_conf_of(p, dir_conf) : NULL;
    gate_cache_place_t *made;

    *classic = NULL;
    if (!conf || !conf->on) {
        return NULL;
    }
    made = apr_pcalloc(p, sizeof *made);
    made->rule = cache_look_rule(conf);
    made->server = cache_server_name(server);
    made->handler = apr_pstrdup(p, handler);
    made->base = apr_pstrdup(p, base);
    made->host = ((server_rec *)server)->server_hostname;
    made->conf = conf;
    made->vhost = server;
    made->classic = *classic = needs_request(conf, ap_get_core_module_config(dir_conf));
    return made;
}

static gate_cache_e look(gate_cache_desk_t *desk, const gate_cache_ask_t *ask, int64_t now_usec, gate_cache_hit_t *hit,
                         gate_cache_pass_t *pass)
{
    return gate_desk_look(desk, ask, now_usec, hit, pass);
}

void cache_take(gate_cache_hit_t *hit)
{
    if (hit->counted) {
        return;
    }
    hit->counted = 1;
    cache_count(GATE_COUNT_hit, 1);
    if (hit->status == HTTP_NOT_MODIFIED) {
        cache_count(GATE_COUNT_not_modified, 1);
    }
    else {
        cache_count(GATE_COUNT_hit_bytes, hit->length);
    }
    gate_store_touch(cache_store, hit->object);
}

static uint64_t piece(const gate_cache_hit_t *hit, uint64_t offset, const char **data)
{
    return gate_desk_piece(cache_store, hit, offset, data);
}

static void done(gate_cache_hit_t *hit)
{
    gate_desk_done(cache_store, hit);
}

/* ---- what passes by ------------------------------------------------------------------------------------------------------- */

static gate_cache_e change(apr_pool_t *p, const gate_cache_ask_t *ask, const char *method, gate_cache_pass_t *pass)
{
    const gate_view_t *view = ask->view(ask->ctx);

    memset(pass, 0, sizeof *pass);
    if (ask->place->classic || !view) {
        return GATE_CACHE_CLASSIC;
    }
    pass->place = ask->place;
    if (!cache_method_safe(method)) {
        pass->url = gate_key_url(p, view->scheme, *view->host ? view->host : ask->place->host, view->port,
                                 apr_pstrmemdup(p, ask->target.at, ask->target.len), ask->place->rule.query);
    }
    return GATE_CACHE_PASS;
}

static void passing(const gate_cache_pass_t *pass)
{
    cache_count(pass->flight ? GATE_COUNT_miss : GATE_COUNT_bypass_method, 1);
}

/* Why it is not kept; NULL: it could have been, and the next one will be. */
static const char *judge(const gate_cache_pass_t *pass, apr_pool_t *p, const char *method, const apr_table_t *request, int status,
                         const apr_table_t *answer)
{
    const cache_dir_conf_t *conf = pass->place->conf;
    gate_look_t look = { .store = cache_store, .pool = p, .headers = request, .rule = pass->place->rule };
    gate_storable_t x = { method, request, status, answer, 0 };
    gate_keep_rule_t rule = cache_keep_rule(conf);
    int64_t now = gate_mono_usec(), wall = apr_time_sec(apr_time_now());
    gate_when_t when = { wall, wall, now };
    const char *why = gate_look_refusal(&look, &x, &rule.policy, &when);

    if (!why
        && gate_delta_seconds(apr_table_get(answer, "Content-Length")) > (int64_t)cache_server_values(ap_server_conf).max_object) {
        why = "TOO-BIG";
        cache_count(GATE_COUNT_not_stored_big, 1);
    }
    if (why) {
        cache_count(GATE_COUNT_not_stored, 1);
        gate_pass_note(cache_store, pass->flight, now);
    }
    else {
        gate_pass_forget(cache_store, pass->flight);
    }
    return why;
}

static const char *reason_of(const gate_cache_pass_t *pass)
{
    return pass->flight ? "uri-miss" : "method";
}

static apr_table_t *answered(gate_cache_pass_t *pass, apr_pool_t *p, const char *method, const apr_table_t *request, int status,
                             apr_table_t *answer)
{
    const cache_dir_conf_t *conf = pass->place->conf;
    gate_keep_rule_t rule = cache_keep_rule(conf);
    gate_look_t look = { .pool = p, .rule = pass->place->rule };
    gate_status_words_t words = { .fwd = reason_of(pass) };

    if (pass->url) {
        cache_invalidate(p, pass->url, status, answer);
        pass->url = NULL;
    }
    answer = cache_strip_cookies(p, conf, answer);
    if (pass->flight) {
        words.detail = judge(pass, p, method, request, status, answer);
    }
    gate_keep_drop_tags(&rule, answer);
    gate_status_put(p, &words, answer);
    gate_look_decorate(&look, answer);
    pass->word = pass->flight ? "pass" : "miss";
    return answer;
}

static void failed(gate_cache_pass_t *pass, apr_pool_t *p, int status, apr_table_t *headers)
{
    gate_status_words_t words = { .fwd = reason_of(pass), .detail = apr_psprintf(p, "ERROR-%d", status) };

    if (!apr_table_get(headers, "Cache-Control")) {
        apr_table_setn(headers, "Cache-Control", "no-store");
    }
    gate_status_put(p, &words, headers);
    if (pass->place->rule.variants) {
        apr_table_mergen(headers, "Vary", "Accept-Encoding");
    }
    pass->word = "pass";
}

static const gate_cache_door_t *gate_cache_door(void)
{
    static gate_cache_door_t door = { .desk = desk, .place = place, .unkeyed = gate_unkeyed, .look = look, .change = change,
                                      .passing = passing, .answered = answered, .failed = failed, .take = cache_take, .piece = piece,
                                      .done = done };

    cache_loop_door(&door);
    return &door;
}

void cache_door_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gate_cache_door);
}
