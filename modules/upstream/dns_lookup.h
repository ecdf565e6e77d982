/*
 * dns_lookup.h - one name and type asked of DNS servers, without ever waiting: the caller comes back until it is done.
 * Depends: dns_message.h, libc sockets.   Memory: in the caller's struct.   Locking: none; one thread.
 * Time: monotonic microseconds, passed in.
 *
 * UDP from a fresh socket, connected, so that only that server's answers are seen, with a random id (RFC 5452); TCP when an answer was
 * cut. Each server gets DNS_TRY_USEC, all of them twice. A name without a last dot goes through the search list as resolv.conf has it.
 */
#ifndef DNS_LOOKUP_H
#define DNS_LOOKUP_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "dns_message.h"

#define DNS_SERVERS_MAX 3
#define DNS_SEARCH_MAX 8
#define DNS_TRY_USEC INT64_C(2000000)
#define DNS_TCP_BYTES 65535

typedef struct {
    struct sockaddr_storage server[DNS_SERVERS_MAX];
    int servers;
    char search[DNS_SEARCH_MAX][DNS_NAME_LEN];
    int searches;
    int ndots;
} dns_config_t;

/** What /etc/resolv.conf says; without a server in it: 127.0.0.1. */
void dns_config_read(const char *text, size_t len, dns_config_t *out);
/** One server "IP", "IP:PORT", "[IPv6]:PORT", no search list. @return 0, or -1: not an address */
int dns_config_server(const char *text, dns_config_t *out);

/** Addresses of a name in the text of /etc/hosts. @return how many of that type were put into out (records with ttl_s 0) */
uint32_t dns_hosts_find(const char *text, size_t len, const char *name, dns_type_e type, dns_answer_t *out);

typedef enum { DNS_LOOKUP_IDLE = 0, DNS_LOOKUP_UDP, DNS_LOOKUP_TCP, DNS_LOOKUP_DONE } dns_lookup_e;

typedef struct {
    const dns_config_t *config;   /* borrowed while it runs */
    char name[DNS_NAME_LEN];      /* as configured */
    char asked[DNS_NAME_LEN];     /* the candidate that is asked now */
    dns_type_e type;
    dns_lookup_e state;
    int candidate, attempt;
    int fd;
    uint16_t id;
    int64_t until_usec;           /* of this attempt */
    uint8_t question[2 + DNS_QUESTION_MAX];
    size_t question_len, sent;
    uint8_t *tcp;                 /* answer being read; malloc'ed */
    size_t tcp_got;
    dns_answer_e result;          /* when DONE; DNS_REFUSED also for no answer at all */
    int silent;                   /* no server answered in time */
    dns_answer_t answer;
} dns_lookup_t;

/** Begins; type is DNS_A, DNS_AAAA or DNS_SRV. */
void dns_lookup_begin(dns_lookup_t *l, const dns_config_t *config, const char *name, dns_type_e type, int64_t now_usec);
/** Goes on as far as that is possible now. @return non-zero when done */
int dns_lookup_step(dns_lookup_t *l, int64_t now_usec);
/** Lets go of socket and memory, whatever its state. */
void dns_lookup_end(dns_lookup_t *l);

#endif
