/* look.c - see look.h */
#include "look.h"

#include <string.h>
#include <apr_strings.h>

#include "fields.h"

/*
 * What members are known to answer by although it is in no key: it becomes part of the route when it is there, so that nobody
 * can plant an answer for others with it.
 */
static const char *const unkeyed[] = { "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Port",
                                       "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Host", "X-Original-Host", "X-Original-URL",
                                       "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method",
                                       "Forwarded" };
#define UNKEYED (sizeof unkeyed / sizeof *unkeyed)

int gate_unkeyed(const char *name, size_t len)
{
    int first = len ? *name | 0x20 : 0;

    for (size_t i = 0; (first == 'x' || first == 'f') && i < UNKEYED; i++) {
        if (!strncasecmp(name, unkeyed[i], len) && !unkeyed[i][len]) {
            return 1;
        }
    }
    return 0;
}

/* ---- the question ------------------------------------------------------------------------------------------------------- */

void gate_look_asks(gate_look_t *look)
{
    gate_cc_of_request(look->pool, look->headers, &look->asked);
    if (!look->rule.reload) {
        look->asked.flags &= ~(unsigned)GATE_CC_NO_CACHE;
        look->asked.max_age = -1;
    }
    gate_accept_parse(gate_field(look->pool, look->headers, "Accept-Encoding"), &look->accept);
}

/* Everything but the URL that decides what the answer is. */
static const char *route_of(const gate_look_t *look, const gate_spot_t *spot)
{
    const char *args = *spot->args ? gate_key_query(look->pool, spot->args, look->rule.query) : NULL;
    apr_array_header_t *parts = apr_array_make(look->pool, 8 + (int)UNKEYED, sizeof(const char *));

    APR_ARRAY_PUSH(parts, const char *) = spot->server;
    APR_ARRAY_PUSH(parts, const char *) = spot->handler;
    APR_ARRAY_PUSH(parts, const char *) = spot->file;
    APR_ARRAY_PUSH(parts, const char *) = spot->path_info;
    APR_ARRAY_PUSH(parts, const char *) = args ? args : "";
    for (size_t i = 0; i < UNKEYED; i++) {
        const char *value = gate_field(look->pool, look->headers, unkeyed[i]);
        if (value) {
            APR_ARRAY_PUSH(parts, const char *) = apr_pstrcat(look->pool, unkeyed[i], "=", value, NULL);
        }
    }
    if (spot->expression) {
        APR_ARRAY_PUSH(parts, const char *) = spot->expression;
    }
    return apr_array_pstrcat(look->pool, parts, '\n');
}

int gate_look_key(gate_look_t *look, const gate_spot_t *spot)
{
    gate_key_t *key = &look->key;

    key->url = gate_key_url(look->pool, spot->scheme, spot->host, spot->port, spot->target, look->rule.query);
    if (!key->url) {
        return 0;
    }
    key->url_len = strlen(key->url);
    key->route = route_of(look, spot);
    key->route_len = strlen(key->route);
    if (key->route_len > 2 * GATE_KEY_MAX) {
        return 0;
    }
    key->hash = gate_store_hash(look->store, key->url, key->url_len);
    look->flight_hash = key->hash ^ gate_store_hash(look->store, key->route, key->route_len);
    return 1;
}

/* ---- the stored answer -------------------------------------------------------------------------------------------------- */

int64_t gate_look_suits(gate_look_t *look, const gate_head_view_t *head)
{
    if (!gate_head_has_key(head, &look->key)) {
        return -1;
    }
    look->varies |= gate_vary_by_others(head->vary, head->head->vary_len);
    if (!gate_vary_suits(look->pool, head->vary, head->head->vary_len, look->headers)) {
        return -1;
    }
    /* never a coding that the client does not take; gzip can be unpacked where the route has variants */
    if (head->head->coding == GATE_CODING_BR && !(look->accept.takes & GATE_TAKES_BR)) {
        return -1;
    }
    if (head->head->coding == GATE_CODING_GZIP && !(look->accept.takes & GATE_TAKES_GZIP) && !look->rule.variants) {
        return -1;
    }
    return head->head->fresh.date > 0 ? head->head->fresh.date : 0;
}

static int64_t rank(void *look, const void *bytes, uint64_t len)
{
    gate_head_view_t head;

    return gate_head_read(bytes, len, &head) ? gate_look_suits(look, &head) : -1;
}

int gate_look_find(gate_look_t *look)
{
    const void *bytes;
    uint64_t len;

    gate_look_drop(look);
    if (!gate_store_find(look->store, look->key.hash, rank, look, &look->held)) {
        return 0;
    }
    len = gate_store_piece(look->store, look->held.ref, 0, &bytes);
    if (!len || !gate_head_read(apr_pmemdup(look->pool, bytes, len), len, &look->head)) {
        gate_look_drop(look);
        return 0;
    }
    return 1;
}

void gate_look_drop(gate_look_t *look)
{
    gate_store_unpin(look->store, &look->held);
    look->head.head = NULL;
}

const char *gate_look_vary(const gate_look_t *look, const apr_table_t *response, size_t *len)
{
    gate_vary_rule_t rule = { look->rule.variants, look->rule.mapped };

    return gate_vary_key(look->pool, response, look->headers, &rule, len);
}

/* ---- an answer of the member ------------------------------------------------------------------------------------------- */

static int sound_field(void *ctx, const char *name, const char *value)
{
    (void)ctx;
    for (const char *n = name; *n; n++) {
        if ((unsigned char)*n <= 32 || (unsigned char)*n >= 127 || strchr("\"(),/:;<=>?@[\\]{}", *n)) {
            return 0;
        }
    }
    for (; *value; value++) {
        if ((unsigned char)*value < 32 && *value != '\t') {
            return 0;
        }
    }
    return *name != 0;
}

static int fields_sound(const apr_table_t *answer)
{
    return apr_table_do(sound_field, NULL, answer, NULL);
}

const char *gate_look_refusal(const gate_look_t *look, const gate_storable_t *x, const gate_cache_policy_t *policy,
                              const gate_when_t *when)
{
    const char *why;
    size_t len;

    if (!fields_sound(x->response)) {
        return "BAD-HEADER";
    }
    if (gate_coding_of(apr_table_get(x->response, "Content-Encoding")) < 0) {
        return "CODING";
    }
    why = gate_not_storable(look->pool, x, policy, when);
    return why || gate_look_vary(look, x->response, &len) ? why : "VARY";
}

/* ---- which body --------------------------------------------------------------------------------------------------------- */

unsigned gate_look_codings(const gate_look_t *look)
{
    unsigned have = 1u << look->head.head->coding;

    /* a coding of ours is a transformation (RFC 9111, 5.2.1.6) */
    if (look->head.head->coding == GATE_CODING_IDENTITY && look->head.head->compressible && look->rule.variants
        && !(look->asked.flags & GATE_CC_NO_TRANSFORM)) {
        for (int i = GATE_CODING_BR; i < GATE_CODINGS; i++) {
            have |= gate_store_body(look->store, look->held.ref, (gate_coding_e)i) ? 1u << i : 0;
        }
    }
    return have;
}

int gate_look_body(const gate_look_t *look, const char *etag, gate_body_t *body)
{
    gate_choice_t choice = { &look->accept, gate_look_codings(look), etag, gate_field(look->pool, look->headers, "If-None-Match"),
                             apr_table_get(look->headers, "If-Range") };
    int chosen = gate_choose(look->pool, &choice), stored = look->head.head->coding;

    body->unpack = chosen < 0 && stored == GATE_CODING_GZIP;
    body->coding = chosen < 0 ? (gate_coding_e)stored : (gate_coding_e)chosen;
    if (!gate_store_pin(look->store, gate_store_body(look->store, look->held.ref,
                                                     (int)body->coding == stored ? GATE_CODING_IDENTITY : body->coding),
                        &body->pin)) {
        return 0;
    }
    body->length = gate_store_length(look->store, body->pin.ref);
    return 1;
}

void gate_look_describe(const gate_look_t *look, const gate_body_t *body, apr_table_t *fields)
{
    const char *etag = apr_table_get(fields, "ETag");

    if (body->unpack) {
        apr_table_unset(fields, "Content-Encoding");
        apr_table_unset(fields, "Content-MD5");
        if (etag && strncmp(etag, "W/", 2)) {
            apr_table_setn(fields, "ETag", apr_pstrcat(look->pool, "W/", etag, NULL));
        }
    }
    else if ((int)body->coding != look->head.head->coding) {
        apr_table_setn(fields, "Content-Encoding", gate_coding_name(body->coding));
        etag = gate_etag_for(look->pool, etag, body->coding);
        if (etag) {
            apr_table_setn(fields, "ETag", etag);
        }
    }
    if (look->head.head->status == 200) {
        apr_table_setn(fields, "Accept-Ranges", "bytes");
    }
}

/* ---- what the answer bears ---------------------------------------------------------------------------------------------- */

void gate_look_age(const gate_look_t *look, int64_t now_usec, apr_table_t *fields)
{
    apr_table_setn(fields, "Age", apr_ltoa(look->pool, (long)gate_age(&look->head.head->fresh, now_usec)));
}

void gate_look_decorate(const gate_look_t *look, apr_table_t *fields)
{
    const char *vary;

    if (!look->rule.variants) {
        return;
    }
    vary = gate_field(look->pool, fields, "Vary");
    if (!gate_list_has(vary, "Accept-Encoding") && !gate_list_has(vary, "*")) {
        apr_table_setn(fields, "Vary", vary && *vary ? apr_pstrcat(look->pool, vary, ", Accept-Encoding", NULL) : "Accept-Encoding");
    }
}

gate_cond_e gate_look_condition(const gate_look_t *look, const apr_table_t *fields)
{
    int64_t date = apr_table_get(look->headers, "If-Modified-Since") || apr_table_get(look->headers, "If-Unmodified-Since")
                       ? gate_http_date(apr_table_get(fields, "Date")) : 0;

    return gate_conditions(look->pool, look->headers, apr_table_get(fields, "ETag"), apr_table_get(fields, "Last-Modified"), date);
}

void gate_status_put(apr_pool_t *p, const gate_status_words_t *words, apr_table_t *fields)
{
    const char *theirs = gate_field(p, fields, "Cache-Status"), *ttl = "", *status = "";

    if (words->has_ttl) {
        ttl = apr_pstrcat(p, "; ttl=", apr_ltoa(p, (long)words->ttl), NULL);
    }
    if (words->fwd && words->member_status) {
        status = apr_pstrcat(p, "; fwd-status=", apr_itoa(p, words->member_status), NULL);
    }
    apr_table_setn(fields, "Cache-Status",
                   apr_pstrcat(p, theirs ? theirs : "", theirs ? ", " : "", "gatehouse", words->fwd ? "; fwd=" : "; hit",
                               words->fwd ? words->fwd : "", status, words->fwd && words->collapsed ? "; collapsed" : "",
                               words->fwd && words->stored ? "; stored" : "", ttl, words->detail ? "; detail=" : "",
                               words->detail ? words->detail : "", NULL));
}
