/* sticky.c - see sticky.h. */

#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "gate_registry.h"
#include "sticky.h"

#define TOKEN_VERSION 1
#define AT_NONCE 1
#define AT_ID 9
#define AT_EXPIRES 17
#define AT_MAC 21
#define MAC_BYTES 16

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---- base64url, for this one length --------------------------------------------------------------------------------------- */

static void write_base64url(const unsigned char *in, size_t len, char *out)
{
    uint32_t held = 0;
    int bits = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        held = held << 8 | in[i];
        for (bits += 8; bits >= 6; bits -= 6) {
            *out++ = letters[held >> (bits - 6) & 63];
        }
    }
    if (bits) {
        *out++ = letters[held << (6 - bits) & 63];
    }
    *out = '\0';
}

static int value_of(char c)
{
    const char *at = c ? strchr(letters, c) : NULL;

    return at ? (int)(at - letters) : -1;
}

/* @return 0, or -1: another length, a character that does not belong, or bits behind the last byte */
static int read_base64url(const char *in, size_t len, unsigned char *out)
{
    uint32_t held = 0;
    int bits = 0;
    size_t i;

    if (len != STICKY_TOKEN_CHARS) {
        return -1;
    }
    for (i = 0; i < len; i++) {
        int value = value_of(in[i]);

        if (value < 0) {
            return -1;
        }
        held = held << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *out++ = (unsigned char)(held >> bits);
        }
    }
    return held & ((1u << bits) - 1) ? -1 : 0;
}

/* ---- keyed parts ---------------------------------------------------------------------------------------------------------- */

int sticky_key_make(sticky_key_t *key)
{
    return RAND_bytes(key->bytes, sizeof key->bytes) == 1 ? 0 : -1;
}

/* HMAC-SHA256(key, use, data, group). Both lengths are bounded: data by the token, group by GATE_NAME_LEN. */
static void keyed(const sticky_key_t *key, unsigned char use, const unsigned char *data, size_t len, const char *group,
                  unsigned char out[32])
{
    unsigned char text[1 + STICKY_TOKEN_BYTES + GATE_NAME_LEN];
    size_t group_len = strnlen(group, GATE_NAME_LEN);
    unsigned n = 32;

    text[0] = use;
    memcpy(text + 1, data, len);
    memcpy(text + 1 + len, group, group_len);
    HMAC(EVP_sha256(), key->bytes, sizeof key->bytes, text, 1 + len + group_len, out, &n);
}

static void mask_id(const sticky_key_t *key, const char *group, const unsigned char *token, const unsigned char *in, unsigned char *out)
{
    unsigned char mask[32];
    int i;

    keyed(key, 0, token + AT_NONCE, AT_ID - AT_NONCE, group, mask);
    for (i = 0; i < 8; i++) {
        out[i] = in[i] ^ mask[i];
    }
}

void sticky_token_write(const sticky_key_t *key, const char *group, uint64_t id_hash, uint32_t expires_s,
                        const unsigned char nonce[8], char out[STICKY_TOKEN_CHARS + 1])
{
    unsigned char token[STICKY_TOKEN_BYTES], id[8], mac[32];
    int i;

    token[0] = TOKEN_VERSION;
    memcpy(token + AT_NONCE, nonce, 8);
    for (i = 0; i < 8; i++) {
        id[i] = (unsigned char)(id_hash >> (56 - 8 * i));
    }
    mask_id(key, group, token, id, token + AT_ID);
    for (i = 0; i < 4; i++) {
        token[AT_EXPIRES + i] = (unsigned char)(expires_s >> (24 - 8 * i));
    }
    keyed(key, 1, token, AT_MAC, group, mac);
    memcpy(token + AT_MAC, mac, MAC_BYTES);
    write_base64url(token, sizeof token, out);
}

sticky_read_e sticky_token_read(const sticky_key_t *key, const char *group, const char *text, size_t len, uint32_t now_s,
                                uint64_t *id_hash, uint32_t *expires_s)
{
    unsigned char token[STICKY_TOKEN_BYTES], id[8], mac[32];
    uint64_t hash = 0;
    uint32_t expires = 0;
    int i;

    if (read_base64url(text, len, token) != 0 || token[0] != TOKEN_VERSION) {
        return STICKY_FORGED;
    }
    keyed(key, 1, token, AT_MAC, group, mac);
    if (CRYPTO_memcmp(mac, token + AT_MAC, MAC_BYTES) != 0) {
        return STICKY_FORGED;
    }
    for (i = 0; i < 4; i++) {
        expires = expires << 8 | token[AT_EXPIRES + i];
    }
    if (expires && now_s >= expires) {
        return STICKY_STALE;
    }
    mask_id(key, group, token, token + AT_ID, id);
    for (i = 0; i < 8; i++) {
        hash = hash << 8 | id[i];
    }
    *id_hash = hash;
    *expires_s = expires;
    return STICKY_GOOD;
}

/* ---- cookies -------------------------------------------------------------------------------------------------------------- */

/*
 * Pairs are parted by ';', and by ',' where httpd has joined repeated Cookie fields. Splitting a foreign value at its comma does
 * no harm: what is found there is believed only if it is signed.
 */
const char *sticky_cookie_value(const char *header, const char *name, unsigned nth, size_t *len)
{
    size_t name_len = strlen(name);

    while (*header) {
        const char *value;
        size_t pair = strcspn(header, ";,");
        size_t blank = strspn(header, " \t");

        if (blank < pair && pair - blank > name_len && memcmp(header + blank, name, name_len) == 0 && header[blank + name_len] == '='
            && nth-- == 0) {
            value = header + blank + name_len + 1;
            *len = (size_t)(header + pair - value);
            while (*len && (value[*len - 1] == ' ' || value[*len - 1] == '\t')) {
                --*len;
            }
            return value;
        }
        header += pair + (header[pair] != '\0');
    }
    return NULL;
}

sticky_read_e sticky_cookie_read(const sticky_key_t *key, const char *group, const char *header, const char *name,
                                 uint32_t now_s, uint64_t *id_hash, uint32_t *expires_s)
{
    sticky_read_e result = STICKY_ABSENT;
    const char *value;
    unsigned nth;
    size_t len;

    for (nth = 0; nth < STICKY_COOKIES_MAX && (value = sticky_cookie_value(header, name, nth, &len)) != NULL; nth++) {
        result = sticky_token_read(key, group, value, len, now_s, id_hash, expires_s);
        if (result == STICKY_GOOD) {
            break;
        }
    }
    return result;
}

char *sticky_set_cookie(apr_pool_t *p, const sticky_rule_t *rule, const char *token)
{
    static const char *const samesite[] = {
        [STICKY_SAMESITE_UNSET] = "", [STICKY_SAMESITE_LAX] = "; SameSite=Lax", [STICKY_SAMESITE_STRICT] = "; SameSite=Strict",
        [STICKY_SAMESITE_NONE] = "; SameSite=None"
    };

    return apr_pstrcat(p, rule->cookie, "=", token, "; Path=", rule->path, rule->domain ? "; Domain=" : "",
                       rule->domain ? rule->domain : "", rule->ttl_s ? apr_psprintf(p, "; Max-Age=%u", rule->ttl_s) : "",
                       rule->secure ? "; Secure" : "", rule->httponly ? "; HttpOnly" : "", samesite[rule->samesite], NULL);
}

int sticky_renew(const sticky_rule_t *rule, uint32_t expires_s, uint32_t now_s)
{
    if (!rule->ttl_s) {
        return expires_s != 0; /* written under another configuration */
    }
    return expires_s == 0 || expires_s - now_s <= rule->ttl_s / 2 || expires_s - now_s > rule->ttl_s;
}

int sticky_may_stay(uint32_t verdict, uint32_t unusable)
{
    return (verdict & unusable & ~(uint32_t)GATE_VERDICT_DRAIN) == 0;
}

/* ---- configuration -------------------------------------------------------------------------------------------------------- */

const char *sticky_parse_cookie_name(apr_pool_t *p, const char *text)
{
    const char *c;

    (void)p;
    for (c = text; *c; c++) {
        if (!apr_isalnum(*c) && !strchr("!#$%&'*+-.^_`|~", *c)) {
            break;
        }
    }
    return *text && !*c && c - text <= 64 ? NULL : "is not a name of 1 to 64 letters, digits and !#$%&'*+-.^_`|~";
}

const char *sticky_parse_attribute(apr_pool_t *p, const char *text)
{
    const char *c;

    (void)p;
    for (c = text; *c; c++) {
        if (!apr_isgraph(*c) || *c == ';' || *c == ',') {
            return "must not have spaces, ';', ',' or control characters in it";
        }
    }
    return NULL;
}

const char *sticky_check(apr_pool_t *p, const sticky_rule_t *rule)
{
    if (rule->cookie && rule->header) {
        return "cookie= and header= exclude one another; keep one";
    }
    if (!rule->cookie && !rule->header) {
        return "needs cookie=NAME or header=NAME";
    }
    if (rule->header && (rule->ttl_s || rule->domain || rule->secure || rule->httponly || rule->samesite || strcmp(rule->path, "/"))) {
        return "header= sets no cookie: ttl, path, domain, secure, httponly and samesite have no use with it";
    }
    if (*rule->path != '/') {
        return apr_psprintf(p, "path=%s does not begin with '/'; browsers would ignore it", rule->path);
    }
    if (rule->samesite == STICKY_SAMESITE_NONE && !rule->secure) {
        return "samesite=none needs secure; browsers drop the cookie without it";
    }
    if (rule->cookie && strncmp(rule->cookie, "__Secure-", 9) == 0 && !rule->secure) {
        return apr_psprintf(p, "cookie=%s needs secure; browsers drop a __Secure- cookie without it", rule->cookie);
    }
    if (rule->cookie && strncmp(rule->cookie, "__Host-", 7) == 0 && (!rule->secure || rule->domain || strcmp(rule->path, "/"))) {
        return apr_psprintf(p, "cookie=%s needs secure, path=/ and no domain; browsers drop a __Host- cookie otherwise", rule->cookie);
    }
    return NULL;
}
