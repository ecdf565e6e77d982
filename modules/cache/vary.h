/*
 * vary.h - which requests an answer with Vary suits (RFC 9111, 4.1), and Accept-Encoding in one of a few forms.
 * Depends: APR tables.   Locking: none, all pure.   Memory: results live in pool p.
 *
 * Kept with the object: "name\0value\0..." for the fields that Vary names, sorted by name, values normalised.
 */
#ifndef GATE_CACHE_VARY_H
#define GATE_CACHE_VARY_H

#include <stddef.h>
#include <apr_pools.h>
#include <apr_tables.h>

/* Codings a client takes. */
enum { GATE_TAKES_BR = 1u << 0, GATE_TAKES_GZIP = 1u << 1, GATE_TAKES_IDENTITY = 1u << 2 };

typedef struct {
    unsigned takes;               /* GATE_TAKES_* */
    int q[3];                     /* thousandths, of br, gzip, identity */
} gate_accept_t;

/** Accept-Encoding as RFC 9110, 12.5.3 has it; NULL is "no field": identity only, as nobody asked for more. */
void gate_accept_parse(const char *text, gate_accept_t *out);

/** One name for each set of codings: what is forwarded to the member and what objects are told apart by. Static. */
const char *gate_accept_class(const gate_accept_t *accept);

typedef struct {
    int ignore_encoding;          /* 1: we serve every coding from one object: Accept-Encoding does not count */
    int mapped;                   /* 1: the key's expression stands for User-Agent and Cookie */
} gate_vary_rule_t;

/**
 * The secondary key of an answer.
 * @param len  set to the length of the result
 * @return NULL when it suits no other request: "*", or a field that has a value of its own for nearly everybody
 */
const char *gate_vary_key(apr_pool_t *p, const apr_table_t *response, const apr_table_t *request, const gate_vary_rule_t *rule,
                          size_t *len);

/** Does a secondary key suit this request? Every value is compared. */
int gate_vary_suits(apr_pool_t *p, const char *key, size_t len, const apr_table_t *request);

/** Does it name any field but Accept-Encoding? */
int gate_vary_by_others(const char *key, size_t len);

#endif
