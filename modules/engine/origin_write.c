/*
 * origin_write.c - what a member is asked over HTTP/1.1: the head, then the body as it is, or in chunks (RFC 9112, 7.1). A chunk's size line,
 * data and end may each leave in parts. What the socket has not taken of head and framing is kept here; of the body nothing is.
 */
#include <stdlib.h>

#include "h1_write.h"
#include "origin_inside.h"

#define USUAL_HEAD 8192
#define PARTS 3
#define UPLOAD_BYTES 16384 /* a longer body may find the member's window shut */

/* The next framing bytes, when the former are out. A chunk is all that is there. */
static void next_frame(origin_writing_t *w, size_t ready, int last)
{
    w->frame_len = w->frame_sent = 0;
    if (w->chunks) {
        memcpy(w->frame, "\r\n", 2); /* ends the chunk before */
        w->frame_len = 2;
    }
    if (ready) {
        w->frame_len += (uint32_t)h1_chunk_line(w->frame + w->frame_len, ready);
        w->chunk_left = ready;
        w->chunks = 1;
    }
    else if (last) {
        memcpy(w->frame + w->frame_len, H1_CHUNK_END, sizeof H1_CHUNK_END - 1);
        w->frame_len += (uint32_t)sizeof H1_CHUNK_END - 1;
        w->ended = 1;
    }
    else {
        w->frame_len = 0;
    }
}

/* How much of `left` bytes may go now; the framing before them stands in w->frame. */
static size_t frame(origin_writing_t *w, size_t left, int last)
{
    if (!w->chunked) {
        return left;
    }
    if (w->frame_sent == w->frame_len && w->chunk_left == 0 && !w->ended) {
        next_frame(w, left, last);
    }
    return left < w->chunk_left ? left : w->chunk_left;
}

/* `taken` bytes of rest, frame and body have gone, in this order. @return how many of them were body */
static size_t account(origin_writing_t *w, size_t taken)
{
    size_t n = taken < w->rest_len ? taken : w->rest_len;

    w->rest += n;
    w->rest_len -= n;
    taken -= n;
    n = taken < w->frame_len - w->frame_sent ? taken : w->frame_len - w->frame_sent;
    w->frame_sent += (uint32_t)n;
    taken -= n;
    w->chunk_left -= w->chunked ? taken : 0;
    return taken;
}

static int parts_of(const origin_writing_t *w, const char *bytes, size_t len, struct iovec parts[PARTS], size_t *sum)
{
    int count = 0;

    if (w->rest_len) {
        parts[count++] = (struct iovec){ (char *)w->rest, w->rest_len };
    }
    if (w->frame_len > w->frame_sent) {
        parts[count++] = (struct iovec){ (char *)w->frame + w->frame_sent, w->frame_len - w->frame_sent };
    }
    if (len) {
        parts[count++] = (struct iovec){ (char *)bytes, len };
    }
    *sum = w->rest_len + (w->frame_len - w->frame_sent) + len;
    return count;
}

static ssize_t put_parts(origin_t *o, const char *bytes, size_t len, int last)
{
    origin_writing_t *w = &o->writing;
    size_t done = 0, sum;

    for (;;) {
        struct iovec parts[PARTS];
        size_t now = frame(w, len - done, last);
        int count = parts_of(w, bytes + done, now, parts, &sum);
        ssize_t taken;

        if (!sum) {
            break;
        }
        taken = origin_send(o, parts, count);
        if (taken < 0) {
            return -1;
        }
        done += account(w, (size_t)taken);
        if ((size_t)taken < sum) {
            return (ssize_t)done;
        }
    }
    return (ssize_t)done;
}

static void note_asked(origin_writing_t *w)
{
    w->asked = w->ended && !w->rest_len && w->frame_sent == w->frame_len && !w->chunk_left;
}

static ssize_t put(origin_t *o, const char *bytes, size_t len, int last)
{
    origin_writing_t *w = &o->writing;
    ssize_t done = put_parts(o, bytes, len, last);

    if (!w->chunked) {
        w->ended = last && done == (ssize_t)len;
    }
    note_asked(w);
    return done;
}

/* The head that was sent from elsewhere: what is left of it becomes ours. @return 0: no memory */
static int keep_rest(origin_writing_t *w)
{
    if (!w->rest_len) {
        w->rest = NULL;
        return 1;
    }
    w->kept = malloc(w->rest_len);
    if (!w->kept) {
        return 0;
    }
    w->rest = memcpy(w->kept, w->rest, w->rest_len);
    return 1;
}

void origin_write_clear(origin_t *o)
{
    free(o->writing.kept);
    memset(&o->writing, 0, sizeof o->writing);
}

ssize_t origin_h1_ask(origin_t *o, const member_ask_t *ask, const char *bytes, size_t len, int last)
{
    static _Thread_local char usual[USUAL_HEAD]; /* the loop's scratch is what origin_send() may use itself */
    origin_writing_t *w = &o->writing;
    size_t room = h1_ask_room(ask);
    char *head = room <= sizeof usual ? usual : malloc(room);
    ssize_t taken;

    if (!head) {
        origin_fail_later(o, ORIGIN_RESET, "no memory for the request's head");
        return -1;
    }
    if (ask->body != BODY_NONE && (!last || len > UPLOAD_BYTES)) {
        origin_upload(o, 1);
    }
    origin_expect(o, ask->known);
    w->asked = 0;
    w->chunked = ask->body != BODY_NONE && ask->body != BODY_LENGTH;
    w->rest = head;
    w->rest_len = h1_ask_write(head, ask);
    taken = put(o, bytes, len, last);
    if (!keep_rest(w)) {
        w->rest_len = 0;
        taken = -1;
        origin_fail_later(o, ORIGIN_RESET, "no memory for the request's head");
    }
    if (head != usual) {
        free(head);
    }
    return taken;
}

ssize_t origin_h1_body(origin_t *o, const char *bytes, size_t len, int last)
{
    return put(o, bytes, len, last);
}

int origin_h1_is_asked(const origin_t *o)
{
    return o->writing.asked;
}

int origin_write_rest(origin_t *o)
{
    origin_writing_t *w = &o->writing;
    struct iovec part = { (char *)w->rest, w->rest_len };
    ssize_t taken;

    if (!w->rest_len) {
        return 1;
    }
    taken = origin_send(o, &part, 1);
    if (taken > 0) {
        account(w, (size_t)taken);
        note_asked(w);
    }
    return !w->rest_len;
}
