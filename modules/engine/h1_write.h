/*
 * h1_write.h - heads of HTTP/1.1 messages as httpd's own code writes them: requests to members as mod_proxy_http does, answers to clients as
 * http_header filter does, field for field and in the same order.
 * Depends: message.h, APR-util (dates).
 * Memory:  writes into the caller's bytes; ask .._room() how many are enough for sure.   Locking: none.
 * Sources: httpd 2.4 (ap_proxy_create_hdrbrgd, mod_proxy_http.c, http_filters.c, http_protocol.c) for what is sent, RFC 9112 for how.
 */
#ifndef ENGINE_H1_WRITE_H
#define ENGINE_H1_WRITE_H

#include "message.h"

/* ---- a request for a member -------------------------------------------------------------------------------------------------- */

/** What is for one connection only and what mod_proxy_http replaces is left out, lines of one name are joined. */
size_t h1_ask_room(const member_ask_t *ask);
/** @return bytes written */
size_t h1_ask_write(char *to, const member_ask_t *ask);

/* ---- an answer for a client --------------------------------------------------------------------------------------------------- */

typedef struct {
    span_t date;                /* for Date if the answer has none */
    span_t server;              /* for Server likewise; .len 0: none then either */
    method_e method;            /* of the request */
    const field_t *late;        /* a field that is left out here and goes with the ending; NULL: none */
} h1_reply_t;

/**
 * The first part: status line, Date, Server, the answer's fields (hop-by-hop ones left out, dates of old formats made new, Vary in one
 * line without repetitions, Content-Length where the status has no use for it left out).
 */
size_t h1_reply_room(const answer_head_t *head, const h1_reply_t *reply);
size_t h1_reply_write(char *to, const answer_head_t *head, const h1_reply_t *reply);

typedef enum {
    H1_FRAME_AS_IS = 0,         /* Content-Length stands among the fields, or there is no body, or it ends with the connection */
    H1_FRAME_LENGTH,            /* Content-Length is added */
    H1_FRAME_CHUNKED
} h1_frame_e;

typedef struct {
    int keep_alive;             /* the connection stays */
    int say;                    /* .. and the client asked to be told: Keep-Alive */
    uint32_t timeout_s;         /* KeepAliveTimeout */
    int64_t left;               /* of MaxKeepAliveRequests, this one included; 0: no limit */
    h1_frame_e frame;
    uint64_t length;
    span_t type;                /* Content-Type where httpd adds one itself, which is last; .len 0: none; at most H1_LATE_TYPE_MAX */
} h1_ending_t;

#define H1_LATE_TYPE_MAX 128
#define H1_ENDING_ROOM (192 + 16 + H1_LATE_TYPE_MAX)
/** The last part, which may be written later: framing, Keep-Alive, Connection, empty line. */
size_t h1_ending_write(char to[H1_ENDING_ROOM], const h1_ending_t *ending);

/** A whole head of an interim answer, 101 included: fields as they came, then what 101 needs. */
size_t h1_interim_room(const answer_head_t *head);
size_t h1_interim_write(char *to, const answer_head_t *head);

/* ---- parts of it -------------------------------------------------------------------------------------------------------------- */

#define H1_DATE_LEN 29
/** RFC 850 and asctime dates as RFC 9110 wants them. @return `date` itself, or a span of `room` */
span_t h1_date(span_t date, char room[H1_DATE_LEN + 1]);
size_t h1_number(char to[20], uint64_t n);

#endif
