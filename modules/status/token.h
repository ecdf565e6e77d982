/*
 * token.h - the token that the page sends with what it changes: nobody can make one who does not know the server's secret.
 * Depends: OpenSSL.   Memory: none.   Locking: none.
 * A token is HMAC-SHA256 over the user's name and the half day it was made in; it is good for that half day and the next.
 */
#ifndef TOKEN_H
#define TOKEN_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_SECRET_LEN 32
#define TOKEN_LEN 65 /* hex, with the NUL */

/** @param user  "" for nobody. @return 0, or -1 when OpenSSL fails (token is "") */
int token_make(const unsigned char *secret, const char *user, int64_t wall_usec, char *token);

/** @return 1 when token was made with that secret for that user lately; takes the same time for every token */
int token_good(const unsigned char *secret, const char *user, int64_t wall_usec, const char *token);

#endif
