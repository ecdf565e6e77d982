/* token.c - see token.h. */

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "token.h"

#define PERIOD_USEC (INT64_C(12) * 3600 * 1000000)

static int make(const unsigned char *secret, const char *user, int64_t period, char *token)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char text[8 + 256], mac[EVP_MAX_MD_SIZE];
    size_t len = strnlen(user, 256);
    unsigned mac_len = 0;

    token[0] = '\0';
    for (int i = 0; i < 8; i++) {
        text[i] = (unsigned char)((uint64_t)period >> (8 * i));
    }
    memcpy(text + 8, user, len);
    if (!HMAC(EVP_sha256(), secret, TOKEN_SECRET_LEN, text, 8 + len, mac, &mac_len) || mac_len != 32) {
        return -1;
    }
    for (int i = 0; i < 32; i++) {
        token[2 * i] = hex[mac[i] >> 4];
        token[2 * i + 1] = hex[mac[i] & 15];
    }
    token[64] = '\0';
    return 0;
}

int token_make(const unsigned char *secret, const char *user, int64_t wall_usec, char *token)
{
    return make(secret, user, wall_usec / PERIOD_USEC, token);
}

int token_good(const unsigned char *secret, const char *user, int64_t wall_usec, const char *token)
{
    char now[TOKEN_LEN], before[TOKEN_LEN];
    int differs_now, differs_before;

    if (!token || strlen(token) != TOKEN_LEN - 1 || make(secret, user, wall_usec / PERIOD_USEC, now) != 0
        || make(secret, user, wall_usec / PERIOD_USEC - 1, before) != 0) {
        return 0;
    }
    differs_now = CRYPTO_memcmp(token, now, TOKEN_LEN - 1); /* both in any case: the time taken tells nothing */
    differs_before = CRYPTO_memcmp(token, before, TOKEN_LEN - 1);
    return !differs_now || !differs_before;
}
