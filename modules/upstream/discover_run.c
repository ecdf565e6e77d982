/* discover_run.c - see discover_run.h. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "discover_run.h"

#define AT_ONCE 16

/* One question of a run. */
typedef struct {
    const char *name;
    dns_type_e type;
    dns_lookup_t *lookup;  /* while it runs */
    int done;
    dns_answer_e result;
    int silent;
    dns_answer_t *answer;
} job_t;

struct discover_run {
    apr_pool_t *pool;
    const discover_source_t *source;
    const dns_config_t *config;
    const char *hosts;
    size_t hosts_len;
    const discover_run_t *before;
    apr_array_header_t *jobs;       /* of job_t */
    dns_answer_t *services;         /* SRV records */
    apr_array_header_t *endpoints;  /* of discover_endpoint_t */
    uint32_t ttl_s;
    uint32_t fresh;                 /* endpoints that were answered now */
    const char *failed;
    int partial;
};

static void add_job(discover_run_t *run, const char *name, dns_type_e type)
{
    job_t job = { .name = name, .type = type };
    int i;

    for (i = 0; i < run->jobs->nelts; i++) {
        const job_t *other = &APR_ARRAY_IDX(run->jobs, i, job_t);

        if (other->type == type && strcasecmp(other->name, name) == 0) {
            return;
        }
    }
    APR_ARRAY_PUSH(run->jobs, job_t) = job;
}

discover_run_t *discover_run_begin(const discover_source_t *source, const dns_config_t *config, const char *hosts, size_t hosts_len,
                                   const discover_run_t *before, int64_t now_usec)
{
    apr_pool_t *pool;
    discover_run_t *run;

    apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    run = apr_pcalloc(pool, sizeof *run);
    run->pool = pool;
    run->source = source;
    run->config = config;
    run->hosts = hosts;
    run->hosts_len = hosts_len;
    run->before = before;
    run->jobs = apr_array_make(pool, 4, sizeof(job_t));
    run->endpoints = apr_array_make(pool, 16, sizeof(discover_endpoint_t));
    run->ttl_s = UINT32_MAX;
    if (source->kind == DISCOVER_SRV) {
        add_job(run, apr_pstrdup(pool, source->name), DNS_SRV);
    }
    else {
        add_job(run, apr_pstrdup(pool, source->name), DNS_A);
        add_job(run, apr_pstrdup(pool, source->name), DNS_AAAA);
    }
    discover_run_step(run, now_usec);
    return run;
}

/* ---- jobs ----------------------------------------------------------------------------------------------------------------- */

static void finish_job(discover_run_t *run, job_t *job)
{
    job->done = 1;
    job->result = job->lookup->result;
    job->silent = job->lookup->silent;
    if (job->result == DNS_GOOD) {
        job->answer = apr_pmemdup(run->pool, &job->lookup->answer, sizeof job->lookup->answer);
    }
    dns_lookup_end(job->lookup);
    free(job->lookup);
    job->lookup = NULL;
}

/* A name that /etc/hosts knows, in either family, is not asked for. */
static int from_hosts(discover_run_t *run, job_t *job)
{
    dns_answer_t *answer;
    int known;

    if (job->type == DNS_SRV || !run->hosts_len) {
        return 0;
    }
    answer = apr_palloc(run->pool, sizeof *answer);
    known = dns_hosts_find(run->hosts, run->hosts_len, job->name, job->type == DNS_A ? DNS_AAAA : DNS_A, answer) > 0;
    if (dns_hosts_find(run->hosts, run->hosts_len, job->name, job->type, answer) == 0 && !known) {
        return 0;
    }
    job->answer = answer;
    job->result = answer->count ? DNS_GOOD : DNS_EMPTY;
    job->done = 1;
    return 1;
}

static void begin_job(discover_run_t *run, job_t *job, int64_t now_usec)
{
    if (from_hosts(run, job)) {
        return;
    }
    job->lookup = malloc(sizeof *job->lookup);
    if (!job->lookup) {
        job->done = 1;
        job->result = DNS_REFUSED;
        return;
    }
    dns_lookup_begin(job->lookup, run->config, job->name, job->type, now_usec);
}

/* @return non-zero when all are done */
static int step_jobs(discover_run_t *run, int64_t now_usec)
{
    int i, running = 0, left = 0;

    for (i = 0; i < run->jobs->nelts; i++) {
        job_t *job = &APR_ARRAY_IDX(run->jobs, i, job_t);

        if (!job->done && !job->lookup && running < AT_ONCE) {
            begin_job(run, job, now_usec);
        }
        if (job->lookup && dns_lookup_step(job->lookup, now_usec)) {
            finish_job(run, job);
        }
        running += job->lookup != NULL;
        left += !job->done;
    }
    return left == 0;
}

/* ---- what they say -------------------------------------------------------------------------------------------------------- */

static void add_endpoint(discover_run_t *run, const char *name, dns_type_e type, const uint8_t *address, const dns_record_t *service)
{
    discover_endpoint_t e = { .name = name, .type = type, .port = run->source->port };

    if (run->endpoints->nelts == DISCOVER_MEMBERS_MAX) {
        return;
    }
    memcpy(e.address, address, type == DNS_A ? 4 : 16);
    if (service) {
        e.port = service->port;
        e.priority = service->priority;
        e.weight = service->weight;
    }
    APR_ARRAY_PUSH(run->endpoints, discover_endpoint_t) = e;
}

/* What the run before knew of a name that cannot be asked now. */
static void add_former(discover_run_t *run, const job_t *job, const dns_record_t *service)
{
    int i;

    run->partial = 1;
    for (i = 0; run->before && i < run->before->endpoints->nelts; i++) {
        const discover_endpoint_t *e = &APR_ARRAY_IDX(run->before->endpoints, i, discover_endpoint_t);

        if (e->type == job->type && strcasecmp(e->name, job->name) == 0 && (!service || service->port == e->port)) {
            add_endpoint(run, job->name, job->type, e->address, service);
        }
    }
}

static void add_addresses(discover_run_t *run, const char *name, const dns_record_t *service)
{
    int i;
    uint32_t k;

    for (i = 0; i < run->jobs->nelts; i++) {
        const job_t *job = &APR_ARRAY_IDX(run->jobs, i, job_t);

        if (job->type == DNS_SRV || strcasecmp(job->name, name) != 0) {
            continue;
        }
        if (job->result == DNS_REFUSED) {
            add_former(run, job, service);
        }
        for (k = 0; job->result == DNS_GOOD && k < job->answer->count; k++) {
            const dns_record_t *record = &job->answer->record[k];

            run->ttl_s = record->ttl_s < run->ttl_s ? record->ttl_s : run->ttl_s;
            run->fresh++;
            add_endpoint(run, job->name, job->type, record->address, service);
        }
    }
}

static const char *words_for(const job_t *job)
{
    switch (job->result) {
    case DNS_NO_NAME:
        return "there is no such name";
    case DNS_EMPTY:
    case DNS_GOOD:
        return "the name has no such records";
    default:
        return job->silent ? "no DNS server answered" : "the DNS servers refused or failed";
    }
}

/* The worst of what was asked last. */
static const char *why_empty(const discover_run_t *run)
{
    const char *why = "it names no address";
    int i;

    for (i = 0; i < run->jobs->nelts; i++) {
        const job_t *job = &APR_ARRAY_IDX(run->jobs, i, job_t);

        if (job->result != DNS_GOOD) {
            why = words_for(job);
            if (job->result == DNS_REFUSED) {
                break;
            }
        }
    }
    return why;
}

/* The SRV answer is there: its targets are asked next. @return 0 when there are none */
static int ask_targets(discover_run_t *run)
{
    const job_t *job = &APR_ARRAY_IDX(run->jobs, 0, job_t);
    dns_answer_t *services = job->answer;
    uint32_t k;

    run->services = services;
    if (job->result != DNS_GOOD) {
        run->failed = words_for(job);
        return 0;
    }
    for (k = 0; k < services->count; k++) {
        dns_record_t *service = &services->record[k];

        run->ttl_s = service->ttl_s < run->ttl_s ? service->ttl_s : run->ttl_s;
        if (*service->target && service->port) { /* "." says: not here (RFC 2782) */
            /* names in answers are whole ones: no search list */
            const char *name = apr_pstrcat(run->pool, service->target, ".", NULL);

            add_job(run, name, DNS_A);
            add_job(run, name, DNS_AAAA);
        }
    }
    return run->jobs->nelts > 1;
}

static void conclude(discover_run_t *run)
{
    uint32_t k;

    if (run->source->kind != DISCOVER_SRV) {
        add_addresses(run, run->source->name, NULL);
    }
    for (k = 0; run->services && k < run->services->count; k++) {
        const dns_record_t *service = &run->services->record[k];

        if (*service->target && service->port) {
            add_addresses(run, apr_pstrcat(run->pool, service->target, ".", NULL), service);
        }
    }
    if (run->fresh == 0 && !run->failed) {
        run->failed = why_empty(run);
    }
}

int discover_run_step(discover_run_t *run, int64_t now_usec)
{
    if (!step_jobs(run, now_usec)) {
        return 0;
    }
    if (run->source->kind == DISCOVER_SRV && run->jobs->nelts == 1 && !run->services && !run->failed && ask_targets(run)
        && !step_jobs(run, now_usec)) {
        return 0;
    }
    if (run->endpoints->nelts == 0 && !run->failed) {
        conclude(run);
    }
    return 1;
}

void discover_run_end(discover_run_t *run)
{
    int i;

    for (i = 0; i < run->jobs->nelts; i++) {
        job_t *job = &APR_ARRAY_IDX(run->jobs, i, job_t);

        if (job->lookup) {
            dns_lookup_end(job->lookup);
            free(job->lookup);
        }
    }
    apr_pool_destroy(run->pool);
}

const char *discover_run_failed(const discover_run_t *run)
{
    return run->failed;
}

int discover_run_partial(const discover_run_t *run)
{
    return run->partial;
}

uint32_t discover_run_ttl(const discover_run_t *run)
{
    return run->ttl_s == UINT32_MAX ? 0 : run->ttl_s;
}

const discover_endpoint_t *discover_run_endpoints(const discover_run_t *run, uint32_t *count)
{
    *count = (uint32_t)run->endpoints->nelts;
    return (const discover_endpoint_t *)run->endpoints->elts;
}
