/* geo.c - see geo.h. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <apr_strings.h>

#include "geo.h"

#ifdef GATE_HAVE_MAXMINDDB

#include <maxminddb.h>

struct gate_geo {
    MMDB_s db;
    struct stat from;        /* the file that db is of */
    struct stat refused;     /* the last one that was no good */
    pthread_rwlock_t lock;
    char path[];
};

const char *gate_geo_missing(void)
{
    return NULL;
}

gate_geo_t *gate_geo_open(apr_pool_t *p, const char *path, const char **why)
{
    gate_geo_t *geo = calloc(1, sizeof *geo + strlen(path) + 1);
    int rc;

    if (!geo) {
        *why = "could not be opened: out of memory";
        return NULL;
    }
    strcpy(geo->path, path);
    rc = stat(path, &geo->from) == 0 ? MMDB_open(path, MMDB_MODE_MMAP, &geo->db) : MMDB_FILE_OPEN_ERROR;
    if (rc != MMDB_SUCCESS) {
        *why = apr_psprintf(p, "could not be opened as a MaxMind DB file: %s", MMDB_strerror(rc));
        free(geo);
        return NULL;
    }
    pthread_rwlock_init(&geo->lock, NULL);
    return geo;
}

void gate_geo_close(gate_geo_t *geo)
{
    MMDB_close(&geo->db);
    pthread_rwlock_destroy(&geo->lock);
    free(geo);
}

static int same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec
        && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int gate_geo_refresh(gate_geo_t *geo, const char **why)
{
    struct stat now;
    MMDB_s next, old;
    int rc;

    if (stat(geo->path, &now) != 0 || same_file(&now, &geo->from) || same_file(&now, &geo->refused)) {
        return 0;
    }
    rc = MMDB_open(geo->path, MMDB_MODE_MMAP, &next);
    if (rc != MMDB_SUCCESS) {
        geo->refused = now;
        *why = MMDB_strerror(rc);
        return -1;
    }
    pthread_rwlock_wrlock(&geo->lock);
    old = geo->db;
    geo->db = next;
    geo->from = now;
    pthread_rwlock_unlock(&geo->lock);
    MMDB_close(&old);
    return 1;
}

static int read_code(MMDB_lookup_result_s *found, const char *const *path, char code[3])
{
    MMDB_entry_data_s data;

    if (MMDB_aget_value(&found->entry, &data, path) != MMDB_SUCCESS || !data.has_data || data.type != MMDB_DATA_TYPE_UTF8_STRING
        || data.data_size != 2) {
        return 0;
    }
    memcpy(code, data.utf8_string, 2);
    code[2] = 0;
    return 1;
}

int gate_geo_country(gate_geo_t *geo, const gate_address_t *address, char code[3])
{
    static const char *const country[] = { "country", "iso_code", NULL };
    static const char *const registered[] = { "registered_country", "iso_code", NULL };
    struct sockaddr_storage sa;
    MMDB_lookup_result_s found;
    int rc, known = 0;

    if (!address->known) {
        return 0;
    }
    memset(&sa, 0, sizeof sa);
    if (gate_address_is_v4(address)) {
        sa.ss_family = AF_INET;
        memcpy(&((struct sockaddr_in *)&sa)->sin_addr, address->bytes + 12, 4);
    }
    else {
        sa.ss_family = AF_INET6;
        memcpy(&((struct sockaddr_in6 *)&sa)->sin6_addr, address->bytes, 16);
    }
    pthread_rwlock_rdlock(&geo->lock);
    found = MMDB_lookup_sockaddr(&geo->db, (struct sockaddr *)&sa, &rc);
    if (rc == MMDB_SUCCESS && found.found_entry) {
        known = read_code(&found, country, code) || read_code(&found, registered, code);
    }
    pthread_rwlock_unlock(&geo->lock);
    return known;
}

#else

const char *gate_geo_missing(void)
{
    return "needs libmaxminddb, which this build does not have";
}

gate_geo_t *gate_geo_open(apr_pool_t *p, const char *path, const char **why)
{
    (void)p, (void)path;
    *why = gate_geo_missing();
    return NULL;
}

void gate_geo_close(gate_geo_t *geo)
{
    (void)geo;
}

int gate_geo_refresh(gate_geo_t *geo, const char **why)
{
    (void)geo, (void)why;
    return 0;
}

int gate_geo_country(gate_geo_t *geo, const gate_address_t *address, char code[3])
{
    (void)geo, (void)address, (void)code;
    return 0;
}

#endif
