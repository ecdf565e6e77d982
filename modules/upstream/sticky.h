/*
 * sticky.h - affinity by cookie: the token that names a client's member, and what becomes of it.
 * Depends: libcrypto (HMAC, random bytes), APR pools.   Memory: results live in the pool given; tokens in the caller's buffer.
 * Locking: none, all pure; a key is read only.
 *
 * TOKEN  version 1 | nonce 8 | masked id 8 | expires 4 | mac 16 bytes, in base64url without padding (RFC 4648, section 5).
 *        The id is the member's 64-bit id_hash, masked with HMAC-SHA256(key, 0, nonce, group): nothing about the member can be read or
 *        guessed from it, two clients of one member have unlike tokens. The mac is HMAC-SHA256(key, 1, all before it, group), cut
 *        to 128 bits (RFC 2104, section 5): it holds for this group only. A member that is restarted or re-added under the
 *        same id is found again: incarnations are not in it.
 */
#ifndef STICKY_H
#define STICKY_H

#include <stddef.h>
#include <stdint.h>
#include <apr_pools.h>

#define STICKY_KEY_BYTES 32
#define STICKY_TOKEN_BYTES (1 + 8 + 8 + 4 + 16)
#define STICKY_TOKEN_CHARS 50
#define STICKY_COOKIES_MAX 8 /* of one name in one request: more are not looked at */

typedef struct {
    unsigned char bytes[STICKY_KEY_BYTES];
} sticky_key_t;

typedef enum { STICKY_SAMESITE_UNSET = 0, STICKY_SAMESITE_LAX, STICKY_SAMESITE_STRICT, STICKY_SAMESITE_NONE } sticky_samesite_e;

/* GateSticky, read. Neither cookie nor header: off. */
typedef struct {
    const char *cookie;          /* its name, or NULL */
    const char *header;          /* affinity by a request header's value instead, or NULL */
    uint32_t ttl_s;              /* 0: as long as the browser runs */
    const char *path;            /* "/" */
    const char *domain;          /* or NULL */
    int secure, httponly;
    sticky_samesite_e samesite;
} sticky_rule_t;

/** Rules between the parts of one GateSticky. @return NULL, or what is wrong, in words that follow "GateSticky: " */
const char *sticky_check(apr_pool_t *p, const sticky_rule_t *rule);
/** Name of a cookie: an RFC 6265 token. @return NULL, or a sentence part as in gate_parse.h */
const char *sticky_parse_cookie_name(apr_pool_t *p, const char *text);
/** Value of an attribute (path, domain): no ';', no control characters, no spaces. */
const char *sticky_parse_attribute(apr_pool_t *p, const char *text);

/** Fills a new key from the system's random source. @return 0, or -1 when there is none */
int sticky_key_make(sticky_key_t *key);

/**
 * Writes the token of a member.
 * @param expires_s  wall clock, seconds since the epoch; 0: never
 * @param nonce      8 random bytes
 */
void sticky_token_write(const sticky_key_t *key, const char *group, uint64_t id_hash, uint32_t expires_s,
                        const unsigned char nonce[8], char out[STICKY_TOKEN_CHARS + 1]);

typedef enum { STICKY_GOOD = 0, STICKY_ABSENT, STICKY_FORGED /* or of another key, group, version */, STICKY_STALE } sticky_read_e;

/** Checks a token; its mac in constant time. id_hash and expires_s are set when good. */
sticky_read_e sticky_token_read(const sticky_key_t *key, const char *group, const char *text, size_t len, uint32_t now_s,
                                uint64_t *id_hash, uint32_t *expires_s);

/**
 * A Cookie header's values of one name, strictly by name=value; values in quotes are not ours.
 * @param nth  0, 1, ..
 * @return the value, borrowed from header, with its length; NULL when there are no more
 */
const char *sticky_cookie_value(const char *header, const char *name, unsigned nth, size_t *len);

/** The first good token of a Cookie header, else what was wrong with the last one looked at. */
sticky_read_e sticky_cookie_read(const sticky_key_t *key, const char *group, const char *header, const char *name,
                                 uint32_t now_s, uint64_t *id_hash, uint32_t *expires_s);

/** Set-Cookie's value. */
char *sticky_set_cookie(apr_pool_t *p, const sticky_rule_t *rule, const char *token);

/** More than half of its time is over: the client gets a new one. */
int sticky_renew(const sticky_rule_t *rule, uint32_t expires_s, uint32_t now_s);

/**
 * Does a client go on with the member that its cookie names? Draining members keep their sessions.
 * @param verdict   GATE_VERDICT_* bits of the member
 * @param unusable  those that count now (health does not, in a panic)
 */
int sticky_may_stay(uint32_t verdict, uint32_t unusable);

#endif
