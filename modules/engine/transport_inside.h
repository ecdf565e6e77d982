/*
 * transport_inside.h - what transport.c and transport_filters.c share: see transport.h.
 */
#ifndef ENGINE_TRANSPORT_INSIDE_H
#define ENGINE_TRANSPORT_INSIDE_H

#include "client_tls.h"
#include "engine.h"

#include <util_filter.h>

struct transport {
    loop_t *loop;
    conn_rec *c;
    int fd;
    int direct, here /* the loop has it */, blocked, dead, hung_up;
    int empty;                  /* a read has taken all, and no event has come since */
    int behind;                 /* core's input filter may have read ahead: that comes first */
    client_tls_t *tls;          /* NULL: DIRECT */
    int filtered;               /* TLS stays with mod_ssl's filters until the classic plane has had the connection */
    int last;                   /* no data follows what goes down the filters: it is sent at once */
    ap_filter_t *core_in;
    ap_filter_t *skipped, **skipped_at; /* mod_reqtimeout's input filter, out of the chain while we keep the time */
    apr_bucket_brigade *in, *out;
    outbox_t plain;             /* FILTERED: held back for more */
    outbox_t wire;              /* not taken by the network */
    uint64_t sent;
};

/** It is over: nothing is kept any more. @return -1 */
int transport_die(transport_t *t);
/** What comes down from TLS; sent at once if t->last, kept for transport_flush_wire() otherwise. @return 0; -1: over, or no memory */
int transport_put_on_wire(transport_t *t, const char *bytes, size_t len);
/** @return 0; -1: over */
int transport_flush_wire(transport_t *t);

/* ---- transport_filters.c ---- */

/** As transport_read(), through the filters from f on. */
transport_e transport_filter_read(transport_t *t, ap_filter_t *f, size_t most, transport_sink_fn *sink, void *ctx);
/** Down the filters and to the network, with what they hold. count may be 0. @return 0; -1: over */
int transport_filter_send(transport_t *t, const struct iovec *parts, int count);
/** @return 1: core's input filter, or the socket, has something to read; 0: neither; -1: there is no telling */
int transport_filter_holds(transport_t *t);
void transport_filter_add(transport_t *t);
/** mod_reqtimeout's filter is out of the chain while we keep the time. */
void transport_filter_skip_reqtimeout(transport_t *t);
void transport_filter_unskip(transport_t *t);
/** Before the classic plane reads: core's input filter has been asked once, and has what was received and not read. */
void transport_filter_wake_core(transport_t *t);
void transport_filter_register(void);

#endif
