/* dns_lookup.c - see dns_lookup.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "dns_lookup.h"

#define ROUNDS 2

/* ---- resolv.conf, hosts --------------------------------------------------------------------------------------------------- */

static int put_server(const char *ip, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return 0;
    }
    if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return 0;
    }
    return -1;
}

int dns_config_server(const char *text, dns_config_t *out)
{
    char ip[64];
    const char *end = strrchr(text, ']'), *colon = end ? (end[1] == ':' ? end + 1 : NULL) : strchr(text, ':');
    size_t len;
    long port = 53;
    char *rest;

    memset(out, 0, sizeof *out);
    out->ndots = 1;
    if (!end && colon && strchr(colon + 1, ':')) {
        colon = NULL; /* a bare IPv6 address */
    }
    if (end && (*text != '[' || (end[1] && end[1] != ':'))) {
        return -1;
    }
    if (colon) {
        port = strtol(colon + 1, &rest, 10);
        if (colon[1] < '0' || colon[1] > '9' || *rest || port < 1 || port > 65535) {
            return -1;
        }
    }
    len = end ? (size_t)(end - text - 1) : colon ? (size_t)(colon - text) : strlen(text);
    if (len >= sizeof ip) {
        return -1;
    }
    memcpy(ip, text + (end != NULL), len);
    ip[len] = '\0';
    if (put_server(ip, (uint16_t)port, &out->server[0]) != 0) {
        return -1;
    }
    out->servers = 1;
    return 0;
}

/* The next word of a line; blanks part them. @return its length, 0 at the end of the line or at a comment */
static size_t next_word(const char **at, const char *end, char *out, size_t size)
{
    size_t len = 0;

    while (*at < end && (**at == ' ' || **at == '\t' || **at == '\r')) {
        ++*at;
    }
    if (*at < end && (**at == '#' || **at == ';')) {
        *at = end;
    }
    while (*at < end && **at != ' ' && **at != '\t' && **at != '\r' && **at) {
        if (len + 1 < size) {
            out[len++] = **at;
        }
        ++*at;
    }
    if (*at < end && !**at) {
        *at = end;
    }
    out[len] = '\0';
    return len;
}

static void config_line(const char *at, const char *end, dns_config_t *out)
{
    char key[16], word[DNS_NAME_LEN];

    if (!next_word(&at, end, key, sizeof key)) {
        return;
    }
    if (strcmp(key, "nameserver") == 0 && out->servers < DNS_SERVERS_MAX && next_word(&at, end, word, sizeof word)) {
        out->servers += put_server(word, 53, &out->server[out->servers]) == 0;
    }
    else if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0) {
        out->searches = 0; /* the last one counts */
        while (out->searches < DNS_SEARCH_MAX && next_word(&at, end, word, sizeof word)) {
            strcpy(out->search[out->searches++], word);
        }
    }
    else if (strcmp(key, "options") == 0) {
        while (next_word(&at, end, word, sizeof word)) {
            if (strncmp(word, "ndots:", 6) == 0) {
                out->ndots = atoi(word + 6) < 0 ? 0 : atoi(word + 6) > 15 ? 15 : atoi(word + 6);
            }
        }
    }
}

void dns_config_read(const char *text, size_t len, dns_config_t *out)
{
    const char *end = text + len;

    memset(out, 0, sizeof *out);
    out->ndots = 1;
    while (text < end) {
        const char *line = memchr(text, '\n', (size_t)(end - text));

        line = line ? line : end;
        config_line(text, line, out);
        text = line + (line < end);
    }
    if (!out->servers) {
        put_server("127.0.0.1", 53, &out->server[out->servers++]);
    }
}

static int hosts_line(const char *at, const char *end, const char *name, dns_type_e type, dns_record_t *out)
{
    char ip[64], word[DNS_NAME_LEN];
    struct sockaddr_storage address;

    memset(out, 0, sizeof *out);
    if (!next_word(&at, end, ip, sizeof ip) || put_server(ip, 0, &address) != 0
        || (address.ss_family == AF_INET) != (type == DNS_A)) {
        return 0;
    }
    while (next_word(&at, end, word, sizeof word)) {
        if (strcasecmp(word, name) == 0) {
            if (type == DNS_A) {
                memcpy(out->address, &((struct sockaddr_in *)&address)->sin_addr, 4);
            }
            else {
                memcpy(out->address, &((struct sockaddr_in6 *)&address)->sin6_addr, 16);
            }
            return 1;
        }
    }
    return 0;
}

uint32_t dns_hosts_find(const char *text, size_t len, const char *name, dns_type_e type, dns_answer_t *out)
{
    const char *end = text + len;

    out->count = 0;
    while (text < end && out->count < DNS_RECORDS_MAX) {
        const char *line = memchr(text, '\n', (size_t)(end - text));

        line = line ? line : end;
        out->count += (uint32_t)hosts_line(text, line, name, type, &out->record[out->count]);
        text = line + (line < end);
    }
    return out->count;
}

/* ---- candidates ----------------------------------------------------------------------------------------------------------- */

static int dots(const char *name)
{
    int n = 0;

    for (; *name; name++) {
        n += *name == '.';
    }
    return n;
}

/* The n-th name to ask. @return 0, or -1: there are no more */
static int candidate_name(const dns_lookup_t *l, int n, char out[DNS_NAME_LEN])
{
    const dns_config_t *c = l->config;
    size_t len = strlen(l->name);
    int absolute = len && l->name[len - 1] == '.', first = dots(l->name) >= c->ndots, searches = absolute ? 0 : c->searches;
    int search = first ? n - 1 : n;

    if (n > searches) {
        return -1;
    }
    if (search >= 0 && search < searches) {
        return snprintf(out, DNS_NAME_LEN, "%s.%s", l->name, c->search[search]) < DNS_NAME_LEN ? 0 : -1;
    }
    strcpy(out, l->name);
    return 0;
}

/* ---- one attempt ---------------------------------------------------------------------------------------------------------- */

static void close_attempt(dns_lookup_t *l)
{
    if (l->fd >= 0) {
        close(l->fd);
    }
    l->fd = -1;
    free(l->tcp);
    l->tcp = NULL;
    l->tcp_got = l->sent = 0;
}

static void done(dns_lookup_t *l, dns_answer_e result)
{
    close_attempt(l);
    l->result = result;
    l->state = DNS_LOOKUP_DONE;
}

static int open_socket(dns_lookup_t *l, int type)
{
    const struct sockaddr_storage *server = &l->config->server[l->attempt % l->config->servers];
    socklen_t len = server->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

    l->fd = socket(server->ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) {
        return -1;
    }
    return connect(l->fd, (const struct sockaddr *)server, len) == 0 || errno == EINPROGRESS ? 0 : -1;
}

/* Question with its length in front, as TCP wants it; UDP sends from the third byte on. */
static int make_question(dns_lookup_t *l)
{
    if (getrandom(&l->id, sizeof l->id, 0) != sizeof l->id) {
        return -1;
    }
    l->question_len = dns_question(l->question + 2, l->id, l->asked, l->type);
    l->question[0] = (uint8_t)(l->question_len >> 8);
    l->question[1] = (uint8_t)l->question_len;
    return l->question_len ? 0 : -1;
}

/* Begins attempts until one is under way; after the last one the lookup is done. */
static void next_attempt(dns_lookup_t *l, int64_t now_usec)
{
    for (l->attempt++; l->attempt < ROUNDS * l->config->servers; l->attempt++) {
        close_attempt(l);
        l->state = DNS_LOOKUP_UDP;
        l->until_usec = now_usec + DNS_TRY_USEC;
        if (make_question(l) == 0 && open_socket(l, SOCK_DGRAM) == 0
            && send(l->fd, l->question + 2, l->question_len, MSG_NOSIGNAL) == (ssize_t)l->question_len) {
            return;
        }
    }
    done(l, DNS_REFUSED);
}

static void next_candidate(dns_lookup_t *l, int64_t now_usec)
{
    dns_answer_e result = l->result;

    l->candidate++;
    if (candidate_name(l, l->candidate, l->asked) != 0) {
        done(l, result);
        return;
    }
    l->attempt = -1;
    next_attempt(l, now_usec);
}

void dns_lookup_begin(dns_lookup_t *l, const dns_config_t *config, const char *name, dns_type_e type, int64_t now_usec)
{
    memset(l, 0, sizeof *l);
    l->config = config;
    l->type = type;
    l->fd = -1;
    l->candidate = -1;
    l->result = DNS_NO_NAME;
    snprintf(l->name, sizeof l->name, "%s", name);
    next_candidate(l, now_usec);
}

static void begin_tcp(dns_lookup_t *l, int64_t now_usec)
{
    close_attempt(l);
    l->tcp = malloc(2 + DNS_TCP_BYTES);
    l->until_usec = now_usec + DNS_TRY_USEC;
    l->state = DNS_LOOKUP_TCP;
    if (!l->tcp || open_socket(l, SOCK_STREAM) != 0) {
        next_attempt(l, now_usec);
    }
}

static void take_answer(dns_lookup_t *l, const uint8_t *bytes, size_t len, int64_t now_usec)
{
    dns_answer_e result = dns_answer(bytes, len, l->id, l->asked, l->type, &l->answer);

    switch (result) {
    case DNS_GOOD:
        done(l, result);
        break;
    case DNS_EMPTY:
    case DNS_NO_NAME:
        l->result = l->result == DNS_EMPTY ? DNS_EMPTY : result; /* the name exists somewhere on the search list */
        next_candidate(l, now_usec);
        break;
    case DNS_TRUNCATED:
        if (l->state == DNS_LOOKUP_UDP) {
            begin_tcp(l, now_usec);
            break;
        }
        next_attempt(l, now_usec);
        break;
    case DNS_REFUSED:
        next_attempt(l, now_usec);
        break;
    case DNS_BAD:
        if (l->state == DNS_LOOKUP_TCP) {
            next_attempt(l, now_usec);
        }
        break; /* UDP: somebody else's packet, perhaps; ours may still come */
    }
}

static void step_udp(dns_lookup_t *l, int64_t now_usec)
{
    uint8_t bytes[4096];
    ssize_t got = recv(l->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (got >= 0) {
        take_answer(l, bytes, (size_t)got, now_usec);
    }
    else if (errno != EAGAIN && errno != EINTR) {
        next_attempt(l, now_usec); /* refused: nobody listens there */
    }
}

/* @return 1 when there is nothing to be done now */
static int step_tcp(dns_lookup_t *l, int64_t now_usec)
{
    ssize_t n;

    if (l->sent < l->question_len + 2) {
        n = send(l->fd, l->question + l->sent, l->question_len + 2 - l->sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
            next_attempt(l, now_usec);
            return 0;
        }
        l->sent += n > 0 ? (size_t)n : 0;
        return n <= 0;
    }
    n = recv(l->fd, l->tcp + l->tcp_got, 2 + DNS_TCP_BYTES - l->tcp_got, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        next_attempt(l, now_usec);
        return 0;
    }
    l->tcp_got += n > 0 ? (size_t)n : 0;
    if (l->tcp_got >= 2 && l->tcp_got >= 2 + ((size_t)l->tcp[0] << 8 | l->tcp[1])) {
        take_answer(l, l->tcp + 2, (size_t)l->tcp[0] << 8 | l->tcp[1], now_usec);
        return 0;
    }
    return n <= 0;
}

int dns_lookup_step(dns_lookup_t *l, int64_t now_usec)
{
    int turns;

    for (turns = 0; turns < 64 && l->state != DNS_LOOKUP_DONE && l->state != DNS_LOOKUP_IDLE; turns++) {
        int fd = l->fd;

        if (now_usec >= l->until_usec) {
            l->silent = 1;
            next_attempt(l, now_usec);
        }
        else if (l->state == DNS_LOOKUP_UDP) {
            step_udp(l, now_usec);
            if (l->fd == fd && l->state == DNS_LOOKUP_UDP) {
                break; /* nothing has come, or nothing of use */
            }
        }
        else if (step_tcp(l, now_usec)) {
            break;
        }
    }
    return l->state == DNS_LOOKUP_DONE;
}

void dns_lookup_end(dns_lookup_t *l)
{
    close_attempt(l);
    l->state = DNS_LOOKUP_IDLE;
}
