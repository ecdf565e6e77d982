/* address.c - see gate_address.h. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "gate_address.h"

static const uint8_t mapped_head[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

int gate_address_is_v4(const gate_address_t *address)
{
    return address->known && memcmp(address->bytes, mapped_head, sizeof mapped_head) == 0;
}

gate_address_t gate_address_none(void)
{
    gate_address_t none;

    memset(&none, 0, sizeof none);
    return none;
}

static void set_v4(gate_address_t *out, const void *four)
{
    memcpy(out->bytes, mapped_head, sizeof mapped_head);
    memcpy(out->bytes + 12, four, 4);
    out->known = 1;
}

gate_address_t gate_address_of(const apr_sockaddr_t *sa)
{
    gate_address_t out = gate_address_none();

    if (sa && sa->family == APR_INET) {
        set_v4(&out, &sa->sa.sin.sin_addr);
    }
#if APR_HAVE_IPV6
    else if (sa && sa->family == APR_INET6) {
        memcpy(out.bytes, &sa->sa.sin6.sin6_addr, 16);
        out.known = 1;
    }
#endif
    return out;
}

/* Dotted quad, every part 0..255 without leading zeros (which some read as octal). Returns the characters used, 0 if none. */
static size_t read_quad(const char *text, size_t len, uint8_t quad[4])
{
    size_t at = 0;

    for (int part = 0; part < 4; part++) {
        unsigned value = 0;
        size_t begin = at;

        if (part > 0) {
            if (at >= len || text[at] != '.') {
                return 0;
            }
            begin = ++at;
        }
        while (at < len && text[at] >= '0' && text[at] <= '9' && at - begin < 3) {
            value = value * 10 + (unsigned)(text[at++] - '0');
        }
        if (at == begin || value > 255 || (at - begin > 1 && text[begin] == '0')) {
            return 0;
        }
        quad[part] = (uint8_t)value;
    }
    return at;
}

static int read_v6(const char *text, size_t len, gate_address_t *out)
{
    char copy[INET6_ADDRSTRLEN];
    const char *zone = memchr(text, '%', len);

    if (zone) {
        if (zone + 1 == text + len) {
            return -1;
        }
        len = (size_t)(zone - text);
    }
    if (len >= sizeof copy || memchr(text, 0, len)) {
        return -1;
    }
    memcpy(copy, text, len);
    copy[len] = 0;
    return inet_pton(AF_INET6, copy, out->bytes) == 1 ? 0 : -1;
}

int gate_address_parse(const char *text, size_t len, gate_address_t *out)
{
    uint8_t quad[4];

    *out = gate_address_none();
    if (read_quad(text, len, quad) == len && len > 0) {
        set_v4(out, quad);
        return 0;
    }
    if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (read_v6(text, len, out) != 0) {
        *out = gate_address_none();
        return -1;
    }
    out->known = 1;
    return 0;
}

const char *gate_address_text(const gate_address_t *address, char out[GATE_ADDRESS_TEXT])
{
    if (!address->known) {
        snprintf(out, GATE_ADDRESS_TEXT, "unknown");
    }
    else if (gate_address_is_v4(address)) {
        inet_ntop(AF_INET, address->bytes + 12, out, GATE_ADDRESS_TEXT);
    }
    else {
        inet_ntop(AF_INET6, address->bytes, out, GATE_ADDRESS_TEXT);
    }
    return out;
}

int gate_address_equal(const gate_address_t *a, const gate_address_t *b)
{
    return a->known && b->known && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Clears everything after the first `bits` of 16 bytes. Returns non-zero if anything was set there. */
static int clear_after(uint8_t bytes[16], unsigned bits)
{
    int any = 0;

    for (unsigned i = bits / 8; i < 16; i++) {
        uint8_t keep = i == bits / 8 ? (uint8_t)(0xff00u >> (bits % 8)) : 0;

        any |= bytes[i] & (uint8_t)~keep;
        bytes[i] &= keep;
    }
    return any;
}

void gate_address_cut(gate_address_t *address, unsigned v4_bits, unsigned v6_bits)
{
    if (address->known) {
        clear_after(address->bytes, gate_address_is_v4(address) ? 96 + v4_bits : v6_bits);
    }
}

/* After the '/': a number of at most three digits. */
static int read_bits(const char *text, size_t len, unsigned *out)
{
    unsigned value = 0;

    if (len < 1 || len > 3 || (len > 1 && text[0] == '0')) {
        return -1;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *out = value;
    return 0;
}

gate_prefix_result_e gate_prefix_parse(const char *text, size_t len, gate_prefix_t *out, const char **why)
{
    const char *slash = memchr(text, '/', len);
    size_t address_len = slash ? (size_t)(slash - text) : len;
    unsigned bits = 0, whole;
    int is_v4, written_v4;

    if (gate_address_parse(text, address_len, &out->address) != 0) {
        *why = "is not an IPv4 or IPv6 address or prefix (like 192.0.2.0/24 or 2001:db8::/32)";
        return GATE_PREFIX_BAD;
    }
    is_v4 = gate_address_is_v4(&out->address);
    written_v4 = is_v4 && !memchr(text, ':', address_len);
    whole = written_v4 ? 32 : 128;
    bits = whole;
    if (slash && (read_bits(slash + 1, len - address_len - 1, &bits) != 0 || bits > whole)) {
        *why = written_v4 ? "has no prefix length from 0 to 32 after its '/'" : "has no prefix length from 0 to 128 after its '/'";
        return GATE_PREFIX_BAD;
    }
    if (clear_after(out->address.bytes, written_v4 ? 96 + bits : bits)) {
        out->bits = (uint8_t)(is_v4 && !written_v4 && bits >= 96 ? bits - 96 : bits);
        return GATE_PREFIX_HOST_BITS;
    }
    out->bits = (uint8_t)(is_v4 && !written_v4 ? bits - 96 : bits);
    return GATE_PREFIX_OK;
}

const char *gate_prefix_text(const gate_prefix_t *prefix, char out[GATE_ADDRESS_TEXT])
{
    unsigned whole = gate_address_is_v4(&prefix->address) ? 32 : 128;
    size_t at;

    gate_address_text(&prefix->address, out);
    at = strlen(out);
    if (prefix->bits != whole) {
        snprintf(out + at, GATE_ADDRESS_TEXT - at, "/%u", prefix->bits);
    }
    return out;
}
