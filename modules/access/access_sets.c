/*
 * access_sets.c - sets as httpd has them: read with the configuration, put into shared memory, watched, replaced.
 *
 * Who reads: the parent, with the configuration; later one child at a time (the lease of the zone "access"), as the user that
 * children run as, so the file must be readable for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access.h"
#include "set_file.h"

#define HALF_MIN (UINT64_C(1) << 20)
#define PAGE 4096
#define TRIM_LOOKS 4

access_set_t *access_set_named(const char *name)
{
    return apr_hash_get(access_conf.sets, name, APR_HASH_KEY_STRING);
}

int access_set_find(const access_set_t *set, const gate_address_t *address, gate_prefix_t *match)
{
    if (set->store.place) {
        return gate_ipset_store_find(&set->store, address, match, NULL);
    }
    return set->image ? gate_ipset_find(set->image, set->size_bytes, address, match) : 0;
}

uint32_t access_set_count(const access_set_t *set)
{
    return set->store.place ? gate_ipset_store_count(&set->store) : set->image ? gate_ipset_count(set->image, set->size_bytes) : 0;
}

access_names_t *access_names_create(apr_pool_t *p, const char *directive, const char *where)
{
    access_names_t *names = apr_palloc(p, sizeof *names);

    names->directive = directive;
    names->where = where;
    names->names = apr_array_make(p, 2, sizeof(const char *));
    names->sets = apr_array_make(p, 2, sizeof(access_set_t *));
    APR_ARRAY_PUSH(access_conf.names, access_names_t *) = names;
    return names;
}

const access_set_t *access_names_find(const access_names_t *names, const gate_address_t *address, gate_prefix_t *match)
{
    for (int i = 0; i < names->sets->nelts; i++) {
        const access_set_t *set = APR_ARRAY_IDX(names->sets, i, access_set_t *);

        if (access_set_find(set, address, match)) {
            return set;
        }
    }
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------------------------------------- */

/* One number for which files these are, and of when; 0 if one of them is not there. */
static uint64_t stamp_files(const access_set_t *set)
{
    static const gate_seed_t fixed = { { 11, 13 } };
    uint64_t stamp = 1;

    for (int i = 0; i < set->files->nelts; i++) {
        struct {
            uint64_t before, dev, ino, size, sec, nsec;
        } what = { .before = stamp };
        struct stat st;

        if (stat(APR_ARRAY_IDX(set->files, i, const char *), &st) != 0) {
            return 0;
        }
        what.dev = st.st_dev;
        what.ino = st.st_ino;
        what.size = (uint64_t)st.st_size;
        what.sec = (uint64_t)st.st_mtim.tv_sec;
        what.nsec = (uint64_t)st.st_mtim.tv_nsec;
        stamp = gate_siphash(&fixed, &what, sizeof what) | 1;
    }
    return stamp;
}

/* The whole file, malloc'ed. */
static char *slurp(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    struct stat st;
    size_t got = 0;
    ssize_t n = 1;

    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        errno = EINVAL;
    }
    else if (fstat(fd, &st) == 0 && (text = malloc((size_t)st.st_size + 1)) != NULL) {
        while (got < (size_t)st.st_size && (n = read(fd, text + got, (size_t)st.st_size - got)) > 0) {
            got += (size_t)n;
        }
        if (n < 0) {
            free(text);
            text = NULL;
        }
    }
    close(fd);
    *len = got;
    return text;
}

static const char *load_file(gate_ipset_builder_t *builder, const access_set_t *set, const char *path, apr_pool_t *p,
                             server_rec *s, int quiet)
{
    gate_set_file_t said;
    size_t len = 0;
    char *text = slurp(path, &len);
    int bad, error = errno;

    if (!text) {
        char reason[120];

        return apr_psprintf(p, "%s cannot be read: %s", path, apr_strerror(error, reason, sizeof reason));
    }
    bad = gate_set_file_read(builder, text, len, &said);
    free(text);
    if (bad) {
        return apr_psprintf(p, "%s:%" APR_UINT64_T_FMT ": '%s' %s", path, said.line, said.what, said.why);
    }
    if (said.odd_lines && !quiet) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, GATE_LOGNO(1004)
                     "GateIPSet %s: %s:%" APR_UINT64_T_FMT ": '%s' has bits set behind its prefix length: read as %s (%"
                     APR_UINT64_T_FMT " such lines)", set->name, path, said.odd_line, said.odd_what, said.odd_as, said.odd_lines);
    }
    return NULL;
}

static apr_status_t drop_builder(void *set_)
{
    access_set_t *set = set_;

    gate_ipset_builder_destroy(set->builder);
    set->builder = NULL;
    return APR_SUCCESS;
}

const char *access_set_load(access_set_t *set, apr_pool_t *p, server_rec *s, int quiet)
{
    gate_ipset_builder_t *builder = gate_ipset_builder_create();
    const char *err = builder ? NULL : "there is no memory to read it";
    uint64_t stamp = stamp_files(set);

    for (int i = 0; i < set->prefixes->nelts && !err; i++) {
        const access_prefix_t *entry = &APR_ARRAY_IDX(set->prefixes, i, access_prefix_t);

        err = gate_ipset_builder_add(builder, &entry->prefix, entry->exclude) ? "there is no memory to read it" : NULL;
    }
    for (int i = 0; i < set->files->nelts && !err; i++) {
        err = load_file(builder, set, APR_ARRAY_IDX(set->files, i, const char *), p, s, quiet);
    }
    if (!err && (set->size_bytes = gate_ipset_builder_finish(builder)) == 0) {
        err = "there is no memory to build it";
    }
    if (err) {
        gate_ipset_builder_destroy(builder);
        return err;
    }
    set->builder = builder;
    set->stamp = stamp;
    apr_pool_cleanup_register(p, set, drop_builder, apr_pool_cleanup_null);
    return NULL;
}

/* ---- into memory ----------------------------------------------------------------------------------------------------------- */

static uint64_t half_for(uint64_t size_bytes)
{
    uint64_t half = HALF_MIN;

    while (half < size_bytes * 4) {
        half *= 2;
    }
    return half;
}

static void publish(access_set_t *set)
{
    if (gate_ipset_store_publish(&set->store, set->builder, set->size_bytes, apr_time_now()) == 0) {
        atomic_store(set->source, set->stamp);
        atomic_store(set->refused, 0);
    }
    set->trim_in = TRIM_LOOKS;
}

static int validate_set(const void *base, uint64_t size_bytes, void *set, char *why, size_t why_size)
{
    (void)base, (void)size_bytes;
    return gate_ipset_store_validate(&((access_set_t *)set)->store, why, why_size);
}

static apr_status_t open_watched(access_set_t *set, apr_pool_t *pconf, server_rec *s)
{
    uint64_t half = half_for(set->size_bytes);
    const char *name = set->name;
    gate_zone_t zone;
    apr_status_t rv;

    for (int i = 0; i < set->files->nelts; i++) {
        name = apr_pstrcat(pconf, name, "\n", APR_ARRAY_IDX(set->files, i, const char *), NULL);
    }
    name = access_zone_name(pconf, "set", name);
    rv = gate_core_zone(s, name, GATE_IPSET_LAYOUT, PAGE + 2 * half, GATE_ZONE_OWN_BUDGET, &zone);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    set->store.place = zone.base;
    set->store.half[0] = (char *)zone.base + PAGE;
    set->store.half[1] = set->store.half[0] + half;
    set->store.half_bytes = half;
    set->source = (_Atomic uint64_t *)((char *)zone.base + 256);
    set->refused = set->source + 1;
    gate_arena_on_validate(gate_core()->arena, name, validate_set, set);
    if (zone.state != GATE_ZONE_KEPT || atomic_load(set->source) != set->stamp || set->prefixes->nelts) {
        publish(set);
    }
    return APR_SUCCESS;
}

apr_status_t access_sets_open(apr_pool_t *pconf, server_rec *s)
{
    for (int i = 0; i < access_conf.set_list->nelts; i++) {
        access_set_t *set = APR_ARRAY_IDX(access_conf.set_list, i, access_set_t *);
        apr_status_t rv = APR_SUCCESS;

        if (set->files->nelts) {
            rv = open_watched(set, pconf, s);
        }
        else {
            set->image = apr_palloc(pconf, set->size_bytes);
            gate_ipset_builder_write(set->builder, set->image);
        }
        apr_pool_cleanup_run(pconf, set, drop_builder);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}

/* ---- watching -------------------------------------------------------------------------------------------------------------- */

static void tell(const access_set_t *set, const char *to, const char *why)
{
    gate_event_t event = { .wall_usec = apr_time_now() };

    apr_cpystrn(event.area, "access", sizeof event.area);
    apr_cpystrn(event.group, set->name, sizeof event.group);
    apr_cpystrn(event.from, "set", sizeof event.from);
    apr_cpystrn(event.to, to, sizeof event.to);
    apr_cpystrn(event.why, why, sizeof event.why);
    gate_event_push(gate_core()->events, &event);
}

static void refuse(access_set_t *set, uint64_t stamp, const char *why)
{
    atomic_store(set->refused, stamp);
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf, GATE_LOGNO(1005)
                 "set %s: %s: the set stays as it was (%u prefixes)", set->name, why, access_set_count(set));
    tell(set, "refused", why);
}

static void take_up(access_set_t *set, uint64_t stamp)
{
    apr_pool_t *p;
    const char *err;

    apr_pool_create(&p, NULL);
    err = access_set_load(set, p, ap_server_conf, 0);
    if (!err && stamp_files(set) != stamp) {
        apr_pool_destroy(p); /* it changed while it was read: the next look finds out */
        return;
    }
    if (!err && set->size_bytes > set->store.half_bytes) {
        err = apr_psprintf(p, "has grown to more than four times what it was: it takes up its new size with a graceful restart");
    }
    if (err) {
        refuse(set, stamp, err);
    }
    else {
        publish(set);
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf, GATE_LOGNO(1006) "set %s: read again, %u prefixes", set->name,
                     access_set_count(set));
        tell(set, "renewed", apr_psprintf(p, "%u prefixes", access_set_count(set)));
    }
    apr_pool_destroy(p);
}

/* A change is taken up when two looks in a row saw the same, so that a file is not read while somebody writes it. */
static void look_at(access_set_t *set)
{
    uint64_t stamp = stamp_files(set), before = set->seen;

    set->seen = stamp;
    if (set->trim_in > 0 && --set->trim_in == 0) {
        gate_ipset_store_trim(&set->store);
    }
    if (stamp == atomic_load(set->source) || stamp != before) {
        return;
    }
    if (stamp == 0) {
        if (atomic_load(set->refused) != 1) {
            refuse(set, 1, "a file of it is not there or cannot be seen");
        }
        return;
    }
    if (stamp != atomic_load(set->refused)) {
        take_up(set, stamp);
    }
}

void access_sets_watch(void)
{
    for (int i = 0; i < access_conf.set_list->nelts; i++) {
        access_set_t *set = APR_ARRAY_IDX(access_conf.set_list, i, access_set_t *);

        if (set->store.place) {
            look_at(set);
        }
    }
}
