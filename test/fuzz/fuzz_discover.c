/*
 * fuzz_discover.c - files of members: what is taken is what a configuration would take, ids are unique; resolv.conf and hosts in the
 * same text do no harm.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#include "discover.h"
#include "gate_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static apr_pool_t *pool;

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static void check(apr_pool_t *p, const apr_array_header_t *specs)
{
    int i, k;

    require(specs->nelts > 0 && specs->nelts <= DISCOVER_MEMBERS_MAX);
    for (i = 0; i < specs->nelts; i++) {
        const gate_member_spec_t *spec = &APR_ARRAY_IDX(specs, i, gate_member_spec_t);
        gate_url_t url;

        require(gate_parse_name(p, spec->id) == NULL && gate_parse_member_url(p, spec->url, &url) == NULL);
        require(spec->weight >= 1 && spec->weight <= 1000 && !(spec->verdict & ~(uint32_t)GATE_VERDICT_ADMIN));
        for (k = 0; k < i; k++) {
            require(strcmp(APR_ARRAY_IDX(specs, k, gate_member_spec_t).id, spec->id) != 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dns_answer_t answer;
    apr_array_header_t *specs;
    dns_config_t config;
    apr_pool_t *p;

    if (!pool) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    apr_pool_create(&p, pool);
    specs = apr_array_make(p, 4, sizeof(gate_member_spec_t));
    if (discover_file_read(p, (const char *)data, size, specs) == NULL) {
        check(p, specs);
    }
    dns_config_read((const char *)data, size, &config);
    require(config.servers >= 1 && config.servers <= DNS_SERVERS_MAX && config.searches <= DNS_SEARCH_MAX);
    dns_hosts_find((const char *)data, size, "localhost", DNS_A, &answer);
    require(answer.count <= DNS_RECORDS_MAX);
    apr_pool_destroy(p);
    return 0;
}
