/* discover.c - see discover.h. */
#include <arpa/inet.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "discover.h"
#include "gate_parse.h"
#include "member_spec.h"

#define INTERVAL_MAX_USEC (INT64_C(86400) * 1000000)

/* ---- GateDiscover --------------------------------------------------------------------------------------------------------- */

static const char *source_scheme(apr_pool_t *p, void *target, const char *value)
{
    gate_url_t url;

    ((discover_source_t *)target)->scheme = apr_pstrdup(p, value);
    if (!*value || value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")]) {
        return "is not a scheme (such as http, https, h2c, fcgi)";
    }
    return gate_parse_member_url(p, apr_pstrcat(p, value, "://127.0.0.1:1", NULL), &url);
}

static const char *source_interval(apr_pool_t *p, void *target, const char *value)
{
    return gate_parse_duration(p, value, 100000, INTERVAL_MAX_USEC, &((discover_source_t *)target)->interval_usec);
}

static const char *source_weight(apr_pool_t *p, void *target, const char *value)
{
    uint64_t n = 0;
    const char *err = gate_parse_uint(p, value, 1, 1000, &n);

    ((discover_source_t *)target)->weight = (uint32_t)n;
    return err;
}

static const char *source_connections(apr_pool_t *p, void *target, const char *value)
{
    uint64_t n = 0;
    const char *err = gate_parse_uint(p, value, 1, 1000000, &n);

    ((discover_source_t *)target)->connections = (uint32_t)n;
    return err;
}

static const char *source_resolver(apr_pool_t *p, void *target, const char *value)
{
    discover_source_t *source = target;

    source->resolver = apr_pstrdup(p, value);
    return dns_config_server(value, &source->resolver_config) == 0 ? NULL : "is not an address (IP, IP:PORT or [IPv6]:PORT)";
}

static const gate_pair_rule_t source_rules[] = {
    { "scheme", 0, source_scheme }, { "interval", 0, source_interval }, { "weight", 0, source_weight },
    { "connections", 0, source_connections }, { "resolver", 0, source_resolver }, { NULL, 0, NULL }
};

static const char *no_name(apr_pool_t *p, const char *text)
{
    return apr_psprintf(p, "'%s' has no name that DNS could know (labels of letters, digits, '-' and '_')", text);
}

static const char *read_where(apr_pool_t *p, const char *text, discover_source_t *out)
{
    uint8_t question[DNS_QUESTION_MAX];
    const char *colon;
    uint64_t port = 0;

    out->text = apr_pstrdup(p, text);
    if (strncmp(text, "file:", 5) == 0) {
        out->kind = DISCOVER_FILE;
        out->name = out->text + 5;
        return *out->name ? NULL : "'file:' lacks its path; write file:conf/app.members";
    }
    if (strncmp(text, "srv:", 4) == 0) {
        out->kind = DISCOVER_SRV;
        out->name = out->text + 4;
        return dns_question(question, 0, out->name, DNS_SRV) ? NULL : no_name(p, text);
    }
    if (strncmp(text, "dns:", 4) != 0) {
        return apr_psprintf(p, "'%s' is none of dns:HOST:PORT, srv:NAME, file:PATH", text);
    }
    out->kind = DISCOVER_DNS;
    colon = strrchr(text + 4, ':');
    if (!colon || gate_parse_uint(p, colon + 1, 1, 65535, &port)) {
        return apr_psprintf(p, "'%s' lacks its port; write dns:HOST:PORT", text);
    }
    out->port = (uint16_t)port;
    out->name = apr_pstrmemdup(p, text + 4, colon - text - 4);
    return dns_question(question, 0, out->name, DNS_A) ? NULL : no_name(p, text);
}

const char *discover_source_read(apr_pool_t *p, int argc, const char *const *argv, discover_source_t *out)
{
    uint64_t seen = 0;
    const char *err;
    int i;

    memset(out, 0, sizeof *out);
    out->scheme = "http";
    out->weight = 1;
    if (argc < 1) {
        return "names no source; write GateDiscover dns:HOST:PORT, srv:NAME or file:PATH";
    }
    err = read_where(p, argv[0], out);
    for (i = 1; !err && i < argc; i++) {
        err = gate_parse_pair(p, argv[i], source_rules, &seen, out);
        if (!err && out->kind == DISCOVER_FILE && strncasecmp(argv[i], "interval", 8) != 0) {
            err = apr_psprintf(p, "'%s' has no use with file:, whose lines say it themselves", argv[i]);
        }
    }
    return err;
}

/* ---- files ---------------------------------------------------------------------------------------------------------------- */

const char *discover_file_read(apr_pool_t *p, const char *text, size_t len, apr_array_header_t *specs)
{
    char *rest, *line;
    int number = 0, k;

    if (memchr(text, '\0', len)) {
        return "is not text";
    }
    rest = apr_pstrmemdup(p, text, len);
    while ((line = strsep(&rest, "\n")) != NULL) {
        gate_member_spec_t spec;
        const char *err = member_spec_line(p, line, &spec);

        number++;
        if (err) {
            return apr_psprintf(p, "line %d: %s", number, err);
        }
        if (!spec.url) {
            continue;
        }
        for (k = 0; k < specs->nelts; k++) {
            if (strcmp(APR_ARRAY_IDX(specs, k, gate_member_spec_t).id, spec.id) == 0) {
                return apr_psprintf(p, "line %d: the id '%s' is there twice", number, spec.id);
            }
        }
        if (specs->nelts == DISCOVER_MEMBERS_MAX) {
            return apr_psprintf(p, "line %d: has more than %d members", number, DISCOVER_MEMBERS_MAX);
        }
        APR_ARRAY_PUSH(specs, gate_member_spec_t) = spec;
    }
    return specs->nelts ? NULL : "names no member (an empty list takes nobody out: drain members, or take GateDiscover away)";
}

/* ---- endpoints ------------------------------------------------------------------------------------------------------------ */

static uint32_t scaled(uint32_t weight, uint32_t most)
{
    if (most > 1000) {
        weight = (uint32_t)((uint64_t)weight * 1000 / most);
    }
    return weight ? weight : 1;
}

void discover_specs(apr_pool_t *p, const discover_source_t *source, const discover_endpoint_t *endpoints, uint32_t count,
                    apr_array_header_t *specs)
{
    uint32_t i, most = 0;

    for (i = 0; i < count; i++) {
        most = endpoints[i].weight > most ? endpoints[i].weight : most;
    }
    for (i = 0; i < count; i++) {
        const discover_endpoint_t *e = &endpoints[i];
        char ip[INET6_ADDRSTRLEN];
        const char *url[1];
        gate_member_spec_t spec;

        if (!inet_ntop(e->type == DNS_A ? AF_INET : AF_INET6, e->address, ip, sizeof ip) || !e->port) {
            continue;
        }
        url[0] = apr_psprintf(p, e->type == DNS_A ? "%s://%s:%u" : "%s://[%s]:%u", source->scheme, ip, e->port);
        if (member_spec_read(p, 1, url, &spec)) {
            continue;
        }
        spec.weight = source->kind == DISCOVER_SRV ? scaled(e->weight, most) : source->weight;
        spec.priority = e->priority;
        spec.connections = source->connections;
        APR_ARRAY_PUSH(specs, gate_member_spec_t) = spec;
    }
}

int64_t discover_next_usec(const discover_source_t *source, uint32_t ttl_s, int ok)
{
    int64_t usual = (int64_t)ttl_s * 1000000;

    usual = usual < DISCOVER_TTL_MIN_USEC ? DISCOVER_TTL_MIN_USEC : usual > DISCOVER_TTL_MAX_USEC ? DISCOVER_TTL_MAX_USEC : usual;
    if (source->kind == DISCOVER_FILE) {
        usual = DISCOVER_FILE_USEC;
    }
    if (source->interval_usec) {
        usual = source->interval_usec;
    }
    return ok || usual < DISCOVER_FAILED_USEC ? usual : DISCOVER_FAILED_USEC;
}

/* ---- sets ----------------------------------------------------------------------------------------------------------------- */

static int taken_by_others(const gate_registry_t *reg, uint32_t group, const char *id)
{
    uint32_t slot = gate_member_find(reg, group, id);
    gate_member_t m;

    return slot != GATE_NO_SLOT && gate_member_get(reg, slot, &m) == 0 && m.origin != GATE_ORIGIN_DISCOVERED;
}

static const gate_member_spec_t *find_spec(const apr_array_header_t *specs, int upto, const char *id)
{
    int i;

    for (i = 0; i < upto; i++) {
        if (strcmp(APR_ARRAY_IDX(specs, i, gate_member_spec_t).id, id) == 0) {
            return &APR_ARRAY_IDX(specs, i, gate_member_spec_t);
        }
    }
    return NULL;
}

uint32_t discover_unique(const gate_registry_t *reg, uint32_t group, apr_array_header_t *specs)
{
    int i, kept = 0, all = specs->nelts;

    for (i = 0; i < all; i++) {
        gate_member_spec_t spec = APR_ARRAY_IDX(specs, i, gate_member_spec_t);

        if (!find_spec(specs, kept, spec.id) && !taken_by_others(reg, group, spec.id)) {
            APR_ARRAY_IDX(specs, kept++, gate_member_spec_t) = spec;
        }
    }
    specs->nelts = kept;
    return (uint32_t)(all - kept);
}

/* Copies of the group's discovered members. @return how many */
static uint32_t present(apr_pool_t *p, const gate_registry_t *reg, uint32_t group, gate_member_t **out)
{
    uint32_t room = gate_registry_limits(reg)->members, version, i, n, count = 0;
    uint32_t *slots = apr_palloc(p, room * sizeof *slots);
    gate_member_t m;

    n = gate_group_members(reg, group, slots, room, &version);
    n = n < room ? n : room;
    *out = apr_palloc(p, (n + 1) * sizeof **out);
    for (i = 0; i < n; i++) {
        if (gate_member_get(reg, slots[i], &m) == 0 && m.origin == GATE_ORIGIN_DISCOVERED) {
            (*out)[count++] = m;
        }
    }
    return count;
}

void discover_keep_present(apr_pool_t *p, const gate_registry_t *reg, uint32_t group, apr_array_header_t *specs)
{
    gate_member_t *members;
    uint32_t i, n = present(p, reg, group, &members);

    for (i = 0; i < n; i++) {
        const gate_member_t *m = &members[i];

        if (!find_spec(specs, specs->nelts, m->id)) {
            gate_member_spec_t spec = { .id = m->id, .url = m->url, .weight = m->weight_configured, .flags = m->flags,
                                        .connections = m->connections, .priority = m->priority };

            APR_ARRAY_PUSH(specs, gate_member_spec_t) = spec;
        }
    }
}

int discover_compare(const gate_registry_t *reg, uint32_t group, const apr_array_header_t *specs, discover_change_t *out)
{
    gate_member_t *members;
    apr_pool_t *p;
    uint32_t i, n, stayed = 0;

    memset(out, 0, sizeof *out);
    apr_pool_create(&p, NULL);
    n = present(p, reg, group, &members);
    for (i = 0; i < n; i++) {
        const gate_member_t *m = &members[i];
        const gate_member_spec_t *spec = find_spec(specs, specs->nelts, m->id);

        if (!spec || strcmp(spec->url, m->url) != 0) {
            out->removed++;
            continue;
        }
        stayed++;
        out->altered += spec->weight != m->weight_configured || spec->flags != m->flags || spec->connections != m->connections
                        || spec->priority != m->priority;
    }
    out->added = (uint32_t)specs->nelts - stayed;
    apr_pool_destroy(p);
    return out->added || out->removed || out->altered;
}
