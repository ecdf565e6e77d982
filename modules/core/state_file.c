/* state_file.c - the file of named sections; see gate_state_file.h. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>
#include <openssl/evp.h>

#include "gate_state_file.h"

#define HEAD "gatehouse-state 1\n"
#define HEAD_ANY "gatehouse-state "
#define END_LEN (sizeof "end \n" - 1 + 64)

static void digest_hex(const char *text, size_t len, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (EVP_Digest(text, len, digest, &n, EVP_sha256(), NULL) != 1) {
        n = 0;
    }
    for (unsigned i = 0; i < 32; i++) {
        apr_snprintf(out + 2 * i, 3, "%02x", i < n ? digest[i] : 0);
    }
}

static int good_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '-')) {
            return 0;
        }
    }
    return len > 0 && len < GATE_STATE_NAME_LEN;
}

/* Decimal number up to `stop`, which it passes. Returns the rest, or NULL. */
static const char *read_number(const char *at, const char *end, char stop, uint64_t max, uint64_t *out)
{
    const char *begin = at;

    for (*out = 0; at < end && *at >= '0' && *at <= '9' && at - begin < 12; at++) {
        *out = *out * 10 + (uint64_t)(*at - '0');
    }
    return at > begin && at < end && *at == stop && *out <= max ? at + 1 : NULL;
}

/* One "section NAME VERSION LENGTH\n..\n". Returns what follows, or NULL. */
static const char *read_part(const char *at, const char *end, gate_state_file_t *out)
{
    uint64_t version, len;
    const char *blank;
    char name[GATE_STATE_NAME_LEN];

    if (end - at < 8 || memcmp(at, "section ", 8) != 0) {
        return NULL;
    }
    at += 8;
    blank = memchr(at, ' ', (size_t)(end - at));
    if (!blank || !good_name(at, (size_t)(blank - at))) {
        return NULL;
    }
    memcpy(name, at, (size_t)(blank - at));
    name[blank - at] = 0;
    at = read_number(blank + 1, end, ' ', UINT32_MAX, &version);
    at = at ? read_number(at, end, '\n', GATE_STATE_FILE_MAX, &len) : NULL;
    if (!at || len >= (uint64_t)(end - at) || at[len] != '\n' || gate_state_get(out, name)
        || gate_state_put(out, name, (uint32_t)version, at, len) != 0) {
        return NULL;
    }
    return at + len + 1;
}

apr_status_t gate_state_parse(apr_pool_t *p, const char *text, size_t len, gate_state_file_t *out, const char **why)
{
    const char *at = text + sizeof HEAD - 1, *end;
    char hex[65];

    out->count = 0;
    if (len < sizeof HEAD_ANY - 1 || memcmp(text, HEAD_ANY, sizeof HEAD_ANY - 1) != 0) {
        *why = "is not a state file";
        return APR_EINVAL;
    }
    if (len < sizeof HEAD - 1 || memcmp(text, HEAD, sizeof HEAD - 1) != 0) {
        *why = "is of a format that only a later version knows";
        return APR_EINVAL;
    }
    if (len < sizeof HEAD - 1 + END_LEN || text[len - 1] != '\n' || memcmp(text + len - END_LEN, "end ", 4) != 0) {
        *why = "is not whole (its end is missing)";
        return APR_EINVAL;
    }
    end = text + len - END_LEN;
    digest_hex(text, (size_t)(end - text), hex);
    if (memcmp(end + 4, hex, 64) != 0) {
        *why = "is damaged (its checksum is wrong)";
        return APR_EINVAL;
    }
    while (at < end) {
        const char *next = read_part(at, end, out);

        if (!next) {
            *why = apr_psprintf(p, "makes no sense at byte %" APR_SIZE_T_FMT, (apr_size_t)(at - text));
            out->count = 0;
            return APR_EINVAL;
        }
        at = next;
    }
    return APR_SUCCESS;
}

static apr_status_t read_all(apr_pool_t *p, int fd, size_t size, char **out)
{
    size_t got = 0;

    *out = apr_palloc(p, size + 1);
    while (got < size) {
        ssize_t n = read(fd, *out + got, size - got);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : EIO;
        }
        got += (size_t)n;
    }
    return APR_SUCCESS;
}

apr_status_t gate_state_read(apr_pool_t *p, const char *path, gate_state_file_t *out, const char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    apr_status_t rv = APR_SUCCESS;
    struct stat st;
    char *text = NULL;

    out->count = 0;
    *why = "cannot be read";
    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &st) != 0) {
        rv = errno;
    }
    else if (!S_ISREG(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & (S_IWGRP | S_IWOTH))) {
        *why = "is not a plain file that only the server's user may write";
        rv = APR_EINVAL;
    }
    else if ((uint64_t)st.st_size > GATE_STATE_FILE_MAX) {
        *why = "is too long for a state file";
        rv = APR_EINVAL;
    }
    else {
        rv = read_all(p, fd, (size_t)st.st_size, &text);
    }
    close(fd);
    return rv == APR_SUCCESS ? gate_state_parse(p, text, (size_t)st.st_size, out, why) : rv;
}

const gate_state_part_t *gate_state_get(const gate_state_file_t *file, const char *name)
{
    for (int i = 0; i < file->count; i++) {
        if (strcmp(file->part[i].name, name) == 0) {
            return &file->part[i];
        }
    }
    return NULL;
}

int gate_state_put(gate_state_file_t *file, const char *name, uint32_t version, const void *data, size_t len)
{
    gate_state_part_t *part = (gate_state_part_t *)gate_state_get(file, name);

    if (!part) {
        if (file->count == GATE_STATE_SECTIONS || !good_name(name, strlen(name))) {
            return -1;
        }
        part = &file->part[file->count++];
        strcpy(part->name, name);
    }
    part->version = version;
    part->data = data;
    part->len = len;
    return 0;
}

static char *put_text(char *at, const void *text, size_t len)
{
    if (len) {
        memcpy(at, text, len);
    }
    return at + len;
}

/* The whole file in memory. */
static char *file_text(apr_pool_t *p, const gate_state_file_t *file, size_t *len)
{
    size_t room = sizeof HEAD + END_LEN + 1;
    char *text, *at, hex[65];

    for (int i = 0; i < file->count; i++) {
        room += file->part[i].len + GATE_STATE_NAME_LEN + 48;
    }
    at = text = apr_palloc(p, room);
    at = put_text(at, HEAD, sizeof HEAD - 1);
    for (int i = 0; i < file->count; i++) {
        const gate_state_part_t *part = &file->part[i];

        at += apr_snprintf(at, GATE_STATE_NAME_LEN + 47, "section %s %u %" APR_SIZE_T_FMT "\n", part->name, part->version, part->len);
        at = put_text(at, part->data, part->len);
        *at++ = '\n';
    }
    digest_hex(text, (size_t)(at - text), hex);
    at += apr_snprintf(at, END_LEN + 1, "end %s\n", hex);
    *len = (size_t)(at - text);
    return text;
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        text += n;
        len -= (size_t)n;
    }
    return fsync(fd);
}

/* The new name must outlive a power cut too. Where a directory cannot be synced, the rename is still in order. */
static void sync_directory(apr_pool_t *p, const char *path)
{
    int fd = open(dirname(apr_pstrdup(p, path)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

apr_status_t gate_state_write(apr_pool_t *p, const char *path, const gate_state_file_t *file, const char **why)
{
    const char *beside = apr_pstrcat(p, path, ".new", NULL);
    size_t len;
    char *text = file_text(p, file, &len);
    apr_status_t rv = APR_SUCCESS;
    int fd;

    *why = "cannot be written: its directory must be writable by the server's user";
    unlink(beside); /* of a child that died in here; the caller holds the lock */
    fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return errno;
    }
    if (write_all(fd, text, len) != 0) {
        *why = "cannot be written";
        rv = errno;
    }
    close(fd);
    if (rv == APR_SUCCESS && rename(beside, path) != 0) {
        *why = "cannot be put in place of the old one";
        rv = errno;
    }
    if (rv != APR_SUCCESS) {
        unlink(beside);
        return rv;
    }
    sync_directory(p, path);
    return APR_SUCCESS;
}
