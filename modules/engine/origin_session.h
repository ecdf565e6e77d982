/*
 * origin_session.h - a connection to a member that speaks HTTP/2, and the streams on it: what the three files of it share.
 * Depends: origin_inside.h, h2_member.h, libnghttp2.   LOGIC: knows no httpd.
 * Memory:  malloc'ed. A session ends when its link is gone, no origin is on it, its job is not with the loop and nobody holds it.
 * Locking: none; one loop.
 *
 * origin_session.c     its life: connecting, streams that wait, what goes to the network, idling, leaving
 * origin_session_in.c  what libnghttp2 says of the bytes that came
 * origin_stream.c      an origin that is a stream: what its user calls, and what it is told
 *
 * SENDING  Frames are made when a user gives something (origin_session_gather()), and sent by the session's job when the batch of events has
 *          been handled: one system call for all streams.
 * WINDOWS  Of bodies that come a stream has H2_STREAM_WINDOW bytes under way or kept at most, opened again as its user takes them; the
 *          connection's window stays open, so that no stream waits for another's user. What goes out stays with the user until
 *          libnghttp2 asks for it, within the member's windows.
 * SETTLED  Until the member's SETTINGS have come, one stream is asked (no WebSocket) and others wait; they go on without them when that takes longer than
 *          a connection may. What the member has no room for then moves to another connection.
 * DOUBT    When a user gives up on a stream after a silence of the whole connection, the connection gets no more streams until something
 *          is heard again; it is asked with a PING.
 */
#ifndef ENGINE_ORIGIN_SESSION_H
#define ENGINE_ORIGIN_SESSION_H

#include <nghttp2/nghttp2.h>

#include "h2_member.h"
#include "origin_inside.h"

#define H2_STREAM_WINDOW 262144
#define H2_CONNECTION_WINDOW 0x3fffffff
#define H2_STREAMS_USUAL 100    /* of a connection, until the member has said how many (RFC 9113, 6.5.2) */
#define H2_STREAM_IDS 0x3ffffff0 /* then another connection is made */
#define H2_OUT_MAX 65536        /* bytes of frames made and not sent */

struct origin_session {
    origin_session_t *next;     /* of its place */
    origin_place_t *place;
    origin_t *link;             /* NULL: over */
    nghttp2_session *ngh;       /* NULL: not connected yet, or over */
    origin_t *first, *last;     /* its origins, in the order they came (next, prev) */
    uint32_t open;              /* how many */
    uint32_t limit;             /* how many it may have */
    uint32_t uploads;           /* of them, those with long bodies under way */
    uint8_t stands;             /* connected, TLS too */
    uint8_t settled, retired, doubted;
    uint8_t idle;               /* counted so */
    uint8_t inside;             /* libnghttp2 is on the stack: it must not be called but to submit */
    uint8_t sending;            /* .. and that for sending */
    uint8_t posted;
    uint16_t held;
    loop_job_t job;
    wheel_timer_t timer;        /* not settled yet; idle */
    int64_t heard_usec;
    outbox_t out;
    origin_t *touched, *asking;
    h2_block_t block;
};

/* origin_session.c */
/** On a connection with room, or on a new one. @param careful the idle ones are looked at  @return 1 it stands; 0 connected() follows; -1 */
int origin_session_join(origin_t *o, int careful);
/** It is on no session any more. */
void origin_session_leave(origin_t *o);
/** The job runs when the batch has been handled. */
void origin_session_soon(origin_session_t *s);
/** Frames are made of what there is, as far as windows and H2_OUT_MAX let them. */
void origin_session_gather(origin_session_t *s);
void origin_session_retire(origin_session_t *s);
/** A user gave up on it. */
void origin_session_doubt(origin_session_t *s);
/** A long body begins (1), ends (-1). */
void origin_session_uploads(origin_session_t *s, int more);

/* origin_session_in.c */
/** @return 0, or -1: no memory */
int origin_session_begin(origin_session_t *s);
/** @return NULL; or what the member did wrong, in words */
const char *origin_session_take(origin_session_t *s, const char *bytes, size_t len);

/* origin_stream.c */
extern const origin_protocol_t origin_h2;
/** Its session lets it begin. */
void origin_stream_start(origin_t *o);
void origin_stream_head(origin_t *o, h2_block_t *block, int ended);
void origin_stream_data(origin_t *o, const char *bytes, size_t len);
/** END_STREAM. @param trailers NULL: none */
void origin_stream_ended(origin_t *o, const fields_t *trailers);
/** libnghttp2 has closed it. */
void origin_stream_closed(origin_t *o, uint32_t code);
/** Something was heard of it, or taken. */
void origin_stream_moved(origin_t *o);
ssize_t origin_stream_pull(origin_t *o, uint8_t *to, size_t most, uint32_t *flags);

#endif
