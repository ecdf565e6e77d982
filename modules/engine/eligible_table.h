/*
 * eligible_table.h - what each directive and each module means for a request that is proxied.
 * Depends: libc.   LOGIC: knows no httpd; unit tests ask it.
 */
#ifndef ENGINE_ELIGIBLE_TABLE_H
#define ENGINE_ELIGIBLE_TABLE_H

typedef enum {
    ELIGIBLE_NEUTRAL,   /* does not touch a proxied request, or does the same on either plane */
    ELIGIBLE_HONOURED,  /* the engine does it; what it has to do for it: needs */
    ELIGIBLE_CLASSIC,   /* the classic plane only */
    ELIGIBLE_UNKNOWN    /* not in the table: classic */
} eligible_e;

/* What the engine has to do. */
enum {
    ELIGIBLE_LOG = 1,           /* a log is written: a request_rec at the end */
    ELIGIBLE_ENV = 2,           /* variables are set: mod_setenvif, mod_env run on the request_rec */
    ELIGIBLE_BROWSER = 4,       /* User-Agents are looked at: some go classic */
    ELIGIBLE_HEADERS = 8,       /* Header, RequestHeader with literal values */
    ELIGIBLE_OUTPUT = 16,       /* output filters by type */
    ELIGIBLE_AUTHZ = 32,        /* Require, by address alone */
    ELIGIBLE_AUTHZ_REQUEST = 64, /* Require, by more of the request */
    ELIGIBLE_LIMIT = 128,       /* GateLimit and bans: access's door */
    ELIGIBLE_CACHE = 256,       /* GateCache: cache's door */
    ELIGIBLE_SELECT = 512,      /* GateSelect: upstream's door */
    ELIGIBLE_REMOTE = 1024,     /* RemoteIPHeader: the client's address is another one than the connection's */
    ELIGIBLE_ASK = 2048,        /* RequestHeader with computed values: mod_headers itself runs on each request */
    ELIGIBLE_ANSWER = 4096,     /* Header with computed values, Expires*: the modules' output filters run on each answer */
    ELIGIBLE_TLS = 8192,        /* SSLRequireSSL */
    ELIGIBLE_REWRITE = 16384,   /* RewriteEngine on: mod_rewrite is asked whether its rules leave the request alone */
    ELIGIBLE_IF_REWRITING = 32768 /* with CLASSIC: it counts where RewriteEngine is on */
};

typedef struct {
    eligible_e verdict;
    unsigned needs;
    const char *why;            /* of CLASSIC: what about it, static; NULL: the directive as such */
} eligible_word_t;

/**
 * @param module  "mod_headers.c"
 * @param name    of the directive, any case; a section as "<Location"
 * @param args    what follows it
 * @param in_section  it stands in a <Location> or <Proxy>, not in a server
 * @param doors   ELIGIBLE_* of those things that have a door in this build: others are CLASSIC
 */
eligible_word_t eligible_directive(const char *module, const char *name, const char *args, int in_section, unsigned doors);

/** May this module hook phases of requests and still leave them to the engine? @return 0: unknown or not */
int eligible_module(const char *module);

/** The same for mod_rewrite's (eligible_rewrite.c): CLASSIC may count only where rewriting is on (ELIGIBLE_IF_REWRITING). */
eligible_word_t eligible_rewrite(const char *name, const char *args, int in_section);

/** Is the word one of a list of words set apart by spaces? Case does not matter. */
int eligible_listed(const char *word, const char *list);

/** Does this variable change how HTTP is spoken, with the client or with a member? */
int eligible_special_variable(const char *name);

/** Next word of a directive's arguments as httpd splits them (quotes, backslash). @return length put into buf (size bytes, cut); -1: none */
int eligible_next_word(const char **args, char *buf, int size);

#endif
