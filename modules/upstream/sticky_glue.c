/*
 * sticky_glue.c - GateSticky on requests: the key that all children share, cookies read and given.
 *
 * ZONE "sticky": [ key ], filled by the parent when it is new; a key from the state file replaces it before anybody serves. Read only
 *               after that.
 */
#include <stdatomic.h>
#include <string.h>

#include <openssl/rand.h>

#include "gate_state_file.h"
#include "upstream.h"

#define STICKY_LAYOUT 1u
#define STICKY_MAGIC UINT32_C(0x47535449) /* "GSTI" */

typedef struct {
    uint32_t magic;
    _Atomic uint32_t kept;  /* the state file knows the key, or will */
    sticky_key_t key;
} zone_t;

static zone_t *zone;

static int validate(const void *base, uint64_t size_bytes, void *ctx, char *why, size_t why_size)
{
    const zone_t *z = base;

    (void)ctx;
    if (size_bytes < sizeof *z || z->magic != STICKY_MAGIC) {
        apr_snprintf(why, why_size, "sticky: header is damaged");
        return 1;
    }
    return 0;
}

static void save(apr_pool_t *p, const void **data, size_t *len, void *ctx)
{
    (void)ctx;
    *data = apr_pmemdup(p, &zone->key, sizeof zone->key);
    *len = sizeof zone->key;
}

static const char *load(apr_pool_t *p, uint32_t version, const void *data, size_t len, void *ctx)
{
    (void)p, (void)version, (void)ctx;
    if (len != sizeof zone->key) {
        return "has a key of another length: clients' cookies are worth nothing now, they get new ones";
    }
    memcpy(&zone->key, data, len);
    atomic_store(&zone->kept, 1);
    return NULL;
}

static int wanted(void)
{
    int i;

    for (i = 0; i < upstream_groups->nelts; i++) {
        if (APR_ARRAY_IDX(upstream_groups, i, upstream_group_t *)->sticky.cookie) {
            return 1;
        }
    }
    return 0;
}

apr_status_t upstream_sticky_open(server_rec *s)
{
    static const gate_state_section_t section = { .name = "sticky", .version = 1, .save = save, .load = load };
    gate_zone_t z;
    apr_status_t rv = gate_core_zone(s, "sticky", STICKY_LAYOUT, sizeof *zone, 0, &z);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    zone = z.base;
    if (zone->magic != STICKY_MAGIC) {
        if (sticky_key_make(&zone->key) != 0) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, GATE_LOGNO(0231)
                         "GateSticky: the system gave no random bytes for the key that signs cookies: httpd does not start");
            return APR_EGENERAL;
        }
        zone->magic = STICKY_MAGIC;
    }
    gate_arena_on_validate(gate_core()->arena, "sticky", validate, NULL);
    if (wanted()) {
        gate_state_register(&section);
    }
    return APR_SUCCESS;
}

void upstream_sticky_child(void)
{
    if (wanted() && !atomic_exchange(&zone->kept, 1)) {
        gate_core_changed();
    }
}

/* ---- requests ------------------------------------------------------------------------------------------------------------- */

static uint32_t now_s(void)
{
    return (uint32_t)apr_time_sec(apr_time_now());
}

void upstream_sticky_begin(upstream_exchange_t *x)
{
    const sticky_rule_t *rule = &x->group->sticky;
    const char *text;
    sticky_read_e found;

    if (rule->header) {
        text = apr_table_get(x->r->headers_in, rule->header);
        x->affinity_hash = text && *text ? gate_balance_hash(text, strlen(text)) | 1 : 0;
        return;
    }
    text = rule->cookie ? apr_table_get(x->r->headers_in, "Cookie") : NULL;
    if (!text) {
        return;
    }
    found = sticky_cookie_read(&zone->key, x->group->name, text, rule->cookie, now_s(), &x->bound_hash, &x->bound_expires_s);
    x->bound = found == STICKY_GOOD;
    if (found == STICKY_FORGED || found == STICKY_STALE) {
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, x->r, GATE_LOGNO(0232) "group %s: the client's cookie %s is %s: it gets a new one",
                      x->group->name, rule->cookie, found == STICKY_STALE ? "out of date" : "not one of ours");
    }
}

void upstream_sticky_answer(const upstream_try_t *t)
{
    const upstream_exchange_t *x = t->exchange;
    const sticky_rule_t *rule = &x->group->sticky;
    int same = x->bound && x->bound_hash == t->member->id_hash;
    char token[STICKY_TOKEN_CHARS + 1];
    unsigned char nonce[8];
    uint32_t now = now_s();

    if (!rule->cookie || (same && !sticky_renew(rule, x->bound_expires_s, now)) || (!same && x->elsewhere)) {
        return;
    }
    if (RAND_bytes(nonce, sizeof nonce) != 1) {
        return; /* no new cookie: the client is asked to bring one next time */
    }
    sticky_token_write(&zone->key, x->group->name, t->member->id_hash, rule->ttl_s ? now + rule->ttl_s : 0, nonce, token);
    apr_table_addn(x->r->err_headers_out, "Set-Cookie", sticky_set_cookie(x->r->pool, rule, token));
}
