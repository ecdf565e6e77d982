/*
 * forgery.h - is this request meant by who sends it? Decides whether a request to the admin API comes from our own page or from a
 * script of the admin's, and not from a foreign page in the admin's browser.
 * Depends: libc.   Memory: none; all texts borrowed, all results static.   Locking: none.
 * Sources: RFC 6454 (Origin), W3C Fetch Metadata, OWASP CSRF Prevention; DNS rebinding: the Host must be a name of this server.
 */
#ifndef FORGERY_H
#define FORGERY_H

typedef struct {
    const char *host;         /* Host header or :authority; NULL if none */
    const char *origin;       /* NULL if none; so too the others */
    const char *fetch_site;
    const char *content_type;
    const char *method;
    int has_body;
    int token_good;           /* the token was sent and is ours */
} forgery_request_t;

typedef struct {
    int status;               /* 0: come in; else 403 or 415 */
    const char *rule;         /* in one word: "host" "site" "origin" "type" "token" */
    const char *why;
} forgery_verdict_t;

/** Asked for a host name, lower or upper case, without port. @return non-zero when this server answers to it */
typedef int (*forgery_name_fn)(const char *name, void *ctx);

/**
 * A Host that another site's name may have been made to point at (DNS rebinding) is refused: what is let through is an IP address,
 * localhost, or a name of this server.
 */
forgery_verdict_t forgery_host(const char *host, forgery_name_fn is_name, void *ctx);

/**
 * For a request that would change something, after forgery_host(). A browser names itself by Origin or Sec-Fetch-Site: it must come
 * from this origin and bring the page's token. Others need only send JSON, which no form of a foreign page can.
 */
forgery_verdict_t forgery_check(const forgery_request_t *request);

#endif
