/*
 * gate_view.h - how logic sees an exchange: plain values, no request_rec.
 * Memory: a view borrows everything; it is valid as long as the exchange it was made from.
 */
#ifndef GATE_VIEW_H
#define GATE_VIEW_H

#include <stdint.h>

/* An address in one form: IPv4 is kept IPv4-mapped (::ffff:a.b.c.d), zone ids are dropped. RFC 4291, 2.5.5.2. */
typedef struct {
    uint8_t bytes[16];
    uint8_t known; /* 0: there is no address (unix socket, ..): rules about addresses deny */
} gate_address_t;

typedef struct gate_view gate_view_t;
struct request_rec;

struct gate_view {
    const char *method;      /* as sent, never NULL */
    const char *scheme;      /* "http" or "https" */
    const char *host;        /* without port, lower case; "" if none */
    uint16_t port;           /* the one the client addressed */
    const char *path;        /* decoded, normalised, begins with '/' */
    const char *query;       /* without '?'; NULL if none */
    const char *protocol;    /* "HTTP/1.1", "HTTP/2.0" */
    gate_address_t client;   /* after mod_remoteip */
    /** First value of a request header, joined with ", " when repeated; NULL if absent. */
    const char *(*header)(const gate_view_t *view, const char *name);
    /**
     * A request_rec of the same exchange, for what httpd needs one for (expressions, log lines): its own, or made at the first call. May be
     * NULL in tests.
     */
    struct request_rec *(*request)(const gate_view_t *view);
    void *ctx;               /* of whoever made the view */
};

#endif
