/*
 * dns_message.h - questions to a DNS server and what its answers say: RFC 1035, SRV (RFC 2782), AAAA (RFC 3596), EDNS (RFC 6891).
 * Depends: libc.   Memory: none allocated.   Locking: none, all pure.
 * Bytes of an answer are from outside: every length and pointer is checked, names are limited, pointers only go backwards.
 */
#ifndef DNS_MESSAGE_H
#define DNS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#define DNS_NAME_LEN 256        /* of a name as text with its NUL */
#define DNS_QUESTION_MAX 300    /* bytes of a question */
#define DNS_UDP_BYTES 1232      /* what we say we take: fits into one packet nearly everywhere */
#define DNS_RECORDS_MAX 256     /* of one answer; more are not taken */

typedef enum { DNS_A = 1, DNS_CNAME = 5, DNS_AAAA = 28, DNS_SRV = 33 } dns_type_e;

typedef struct {
    uint32_t ttl_s;              /* of the record, or of the shortest alias on the way to it */
    uint8_t address[16];         /* A: the first 4; AAAA: 16 */
    uint16_t priority, weight, port; /* SRV */
    char target[DNS_NAME_LEN];   /* SRV; lower case, without the last dot */
} dns_record_t;

typedef enum {
    DNS_GOOD = 0,        /* count >= 1 */
    DNS_EMPTY,           /* the name is there, but has no such record */
    DNS_NO_NAME,         /* NXDOMAIN */
    DNS_REFUSED,         /* the server says that it failed or will not: try another */
    DNS_TRUNCATED,       /* ask again over TCP */
    DNS_BAD              /* not an answer to this question, or not a DNS message */
} dns_answer_e;

typedef struct {
    uint32_t count;
    dns_record_t record[DNS_RECORDS_MAX];
} dns_answer_t;

/**
 * Writes a question. A last dot of the name is allowed.
 * @return its length, or 0: the name is none (labels of 1 to 63 letters, digits, '-' and '_', 253 in all)
 */
size_t dns_question(uint8_t out[DNS_QUESTION_MAX], uint16_t id, const char *name, dns_type_e type);

/** Reads the answer to that question; follows aliases inside it. */
dns_answer_e dns_answer(const uint8_t *bytes, size_t len, uint16_t id, const char *name, dns_type_e type, dns_answer_t *out);

#endif
