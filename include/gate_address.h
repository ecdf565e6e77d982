/*
 * gate_address.h - addresses in one form, from text and from APR, and prefixes of them.
 * Depends: gate_view.h (gate_address_t), APR types.   Memory: none allocated.   Locking: none, all pure.
 *
 * IPv4 is kept IPv4-mapped (RFC 4291, 2.5.5.2), so 192.0.2.1 and ::ffff:192.0.2.1 are one address; zone ids (RFC 4007, 11)
 * are dropped: a link-local address is the same client on every interface.
 */
#ifndef GATE_ADDRESS_H
#define GATE_ADDRESS_H

#include <stddef.h>
#include <apr_network_io.h>

#include "gate_view.h"

#define GATE_ADDRESS_TEXT 48 /* longest text of an address or prefix with its NUL */

/* A prefix; host bits are zero. */
typedef struct {
    gate_address_t address;
    uint8_t bits; /* of its own family: 0..32 when gate_address_is_v4(&address), else 0..128 */
} gate_prefix_t;

typedef enum {
    GATE_PREFIX_OK = 0,
    GATE_PREFIX_HOST_BITS, /* good, but bits after the prefix length were set and have been cleared */
    GATE_PREFIX_BAD
} gate_prefix_result_e;

/** @return non-zero for a known IPv4 address */
int gate_address_is_v4(const gate_address_t *address);

/** An unknown address (unix socket, no peer): known is 0. */
gate_address_t gate_address_none(void);

/** Of a peer as APR gives it; unknown when sa is NULL or of another family. */
gate_address_t gate_address_of(const apr_sockaddr_t *sa);

/**
 * Reads exactly len characters: "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1%eth0", "[2001:db8::1]".
 * @return 0, or -1 when that is no address (out is then unknown)
 */
int gate_address_parse(const char *text, size_t len, gate_address_t *out);

/** Text as RFC 5952 writes it, IPv4 as dotted quad; "unknown" when there is none. @return out */
const char *gate_address_text(const gate_address_t *address, char out[GATE_ADDRESS_TEXT]);

/** @return non-zero when both are known and the same */
int gate_address_equal(const gate_address_t *a, const gate_address_t *b);

/** Keeps the first v4_bits (0..32) or v6_bits (0..128) and clears the others. */
void gate_address_cut(gate_address_t *address, unsigned v4_bits, unsigned v6_bits);

/**
 * Reads "address" or "address/bits". An IPv4-mapped prefix of 96 bits or more is the IPv4 prefix of bits - 96.
 * @param why  for GATE_PREFIX_BAD: a sentence part, static
 */
gate_prefix_result_e gate_prefix_parse(const char *text, size_t len, gate_prefix_t *out, const char **why);

/** "192.0.2.0/24"; of a single address the address alone. @return out */
const char *gate_prefix_text(const gate_prefix_t *prefix, char out[GATE_ADDRESS_TEXT]);

#endif
