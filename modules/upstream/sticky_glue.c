/*
 * sticky_glue.c - the key of GateSticky, which all children share. What is done with it: sticky.h, errand_answer.c.
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

const sticky_key_t *upstream_sticky_key(void)
{
    return &zone->key;
}
