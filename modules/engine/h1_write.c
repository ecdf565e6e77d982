/*
 * h1_write.c - see h1_write.h.
 */
#include <apr_date.h>
#include <apr_strings.h>

#include "h1_write.h"
#include "member_ask.h"

#define LITERAL(text) text, sizeof(text) - 1

static inline char *put(char *to, const char *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

static inline char *put_span(char *to, span_t span)
{
    return span.len ? put(to, span.at, span.len) : to;
}

static inline char *put_field(char *to, const char *name, size_t name_len, span_t value)
{
    to = put(to, name, name_len);
    to = put(to, LITERAL(": "));
    to = put_span(to, value);
    return put(to, LITERAL("\r\n"));
}

size_t h1_number(char to[20], uint64_t n)
{
    char digits[20];
    size_t count = 0, len = 0;

    do {
        digits[count++] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    while (count) {
        to[len++] = digits[--count];
    }
    return len;
}

static char *put_number(char *to, uint64_t n)
{
    return to + h1_number(to, n);
}

/* Names, values and what stands between them; joining lines of one name only makes that less. */
static size_t fields_room(const fields_t *fields)
{
    size_t room = 0;

    for (uint32_t i = 0; i < fields->count; i++) {
        room += (size_t)fields->field[i].name.len + fields->field[i].value.len + 4;
    }
    return room;
}

/* ---- a request for a member -------------------------------------------------------------------------------------------------- */

size_t h1_ask_room(const member_ask_t *ask)
{
    /* method and target, Host, the four that are added, Transfer-Encoding or Content-Length, Connection, Upgrade: with their names */
    return (size_t)ask->method.len + ask->target.len + 12 + ask->host.len + 8 + fields_room(ask->fields) + ask->via.len + 8
           + ask->forwarded_for.len + 20 + ask->forwarded_host.len + 20 + ask->forwarded_server.len + 22 + 42 + 24 + ask->upgrade.len + 12 + 2;
}

/* One name's line: all its values, then ours. */
static char *put_joined(char *to, const member_ask_t *ask, const field_t *f)
{
    span_t ours = member_ask_addition(ask, f->known);

    to = put_span(to, f->name);
    to = put(to, LITERAL(": "));
    to = put_span(to, f->value);
    for (f = fields_next(ask->fields, f); f; f = fields_next(ask->fields, f)) {
        to = put(to, LITERAL(", "));
        to = put_span(to, f->value);
    }
    if (ours.at) {
        to = put(to, LITERAL(", "));
        to = put_span(to, ours);
    }
    return put(to, LITERAL("\r\n"));
}

/* Ours where the client had none of that name. */
static char *put_added(char *to, const member_ask_t *ask)
{
    for (size_t i = 0; i < MEMBER_ASK_ADDED; i++) {
        span_t ours = member_ask_addition(ask, member_ask_added[i]);

        if (ours.at && member_ask_is_new(ask, member_ask_added[i])) {
            const char *name = field_name(member_ask_added[i]);

            to = put_field(to, name, strlen(name), ours);
        }
    }
    return to;
}

size_t h1_ask_write(char *to, const member_ask_t *ask)
{
    const fields_t *fields = ask->fields;
    char *begin = to;

    to = put_span(to, ask->method);
    *to++ = ' ';
    to = put_span(to, ask->target);
    to = put(to, LITERAL(" HTTP/1.1\r\n"));
    to = put_field(to, LITERAL("Host"), ask->host);
    for (uint32_t i = 0; i < fields->count; i++) {
        if (member_ask_goes(ask, &fields->field[i]) && member_ask_is_first(fields, i)) {
            to = put_joined(to, ask, &fields->field[i]);
        }
    }
    to = put_added(to, ask);
    if (ask->body == BODY_LENGTH) {
        to = put(to, LITERAL("Content-Length: "));
        to = put_number(to, ask->length);
        to = put(to, LITERAL("\r\n"));
    }
    else if (ask->body != BODY_NONE) {
        to = put(to, LITERAL("Transfer-Encoding: chunked\r\n"));
    }
    if (ask->upgrade.at) {
        to = put(to, LITERAL("Connection: Upgrade\r\n"));
        to = put_field(to, LITERAL("Upgrade"), ask->upgrade);
        to = put(to, LITERAL("\r\n"));
    }
    else if (ask->close) {
        to = put(to, LITERAL("Connection: close\r\n\r\n"));
    }
    else {
        to = put(to, LITERAL("Connection: Keep-Alive\r\n\r\n"));
    }
    return (size_t)(to - begin);
}

/* ---- an answer for a client --------------------------------------------------------------------------------------------------- */

/* As of RFC 9110, 5.6.7: what nearly every date is. */
static int is_new_date(span_t date)
{
    const char *d = date.at;

    return date.len == H1_DATE_LEN && d[3] == ',' && d[4] == ' ' && d[7] == ' ' && d[11] == ' ' && d[16] == ' ' && d[19] == ':' && d[22] == ':'
           && memcmp(d + 25, " GMT", 4) == 0;
}

span_t h1_date(span_t date, char room[H1_DATE_LEN + 1])
{
    char text[64];
    apr_time_t when;

    if (date.len >= sizeof text || is_new_date(date)) {
        return date;
    }
    memcpy(text, date.at, date.len);
    text[date.len] = '\0';
    when = apr_date_parse_http(text);
    if (when == 0 || apr_rfc822_date(room, when) != APR_SUCCESS) {
        return date;
    }
    return (span_t){ room, H1_DATE_LEN };
}

static int is_date(field_e known)
{
    return known == FIELD_DATE || known == FIELD_EXPIRES || known == FIELD_LAST_MODIFIED;
}

static char *put_dated(char *to, const field_t *f)
{
    char room[H1_DATE_LEN + 1];

    to = put_span(to, f->name);
    to = put(to, LITERAL(": "));
    to = put_span(to, h1_date(f->value, room));
    return put(to, LITERAL("\r\n"));
}

/* Is this word already in the list that begins at `list`? */
static int is_listed(const char *list, const char *end, span_t word)
{
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        span_t item = { list, (uint32_t)((comma ? comma : end) - list) };

        if (spans_equal(item, word)) {
            return 1;
        }
        list += item.len + 1;
    }
    return 0;
}

/* All names of all Vary lines once, in one line, as http_header does for clients that choke on more. */
static char *put_vary(char *to, const fields_t *fields, const field_t *f)
{
    span_t as_sent = f->value;
    char *list;

    to = put_span(to, f->name);
    to = put(to, LITERAL(": "));
    list = to;
    for (; f; f = fields_next(fields, f)) {
        const char *p = f->value.at, *end = p + f->value.len;

        while (p < end) {
            span_t word = { p, 0 };

            while (p < end && *p != ',' && *p != ' ' && *p != '\t') {
                p++;
            }
            word.len = (uint32_t)(p - word.at);
            p += p < end;
            if (word.len && !is_listed(list, to, word)) {
                if (to > list) {
                    *to++ = ',';
                }
                to = put_span(to, word);
            }
        }
    }
    if (to == list) {
        to = put_span(to, as_sent);
    }
    return put(to, LITERAL("\r\n"));
}

static int goes_to_client(const answer_head_t *head, const h1_reply_t *reply, const field_t *f)
{
    switch (f->known) {
    case FIELD_DATE:
    case FIELD_SERVER:
        return 0;
    case FIELD_CONTENT_LENGTH:
        if (head->status == 204 || head->status == 304) {
            return 0;
        }
        if (reply->method == METHOD_HEAD) {
            return !(f->value.len == 1 && f->value.at[0] == '0');
        }
        return head->body == BODY_LENGTH || head->body == BODY_NONE;
    case FIELD_TRANSFER_ENCODING:
        return !f->hop && reply->method == METHOD_HEAD && head->status != 204 && head->status != 304;
    default:
        return !f->hop && f != reply->late;
    }
}

size_t h1_reply_room(const answer_head_t *head, const h1_reply_t *reply)
{
    /* an old date may become longer */
    return 9 + 4 + head->reason.len + 2 + fields_room(&head->fields) + (size_t)head->fields.count * H1_DATE_LEN + reply->date.len + 8
           + reply->server.len + 10;
}

static char *put_status(char *to, const answer_head_t *head)
{
    to = put(to, LITERAL("HTTP/1.1 "));
    *to++ = (char)('0' + head->status / 100 % 10);
    *to++ = (char)('0' + head->status / 10 % 10);
    *to++ = (char)('0' + head->status % 10);
    *to++ = ' ';
    to = put_span(to, head->reason);
    return put(to, LITERAL("\r\n"));
}

size_t h1_reply_write(char *to, const answer_head_t *head, const h1_reply_t *reply)
{
    const fields_t *fields = &head->fields;
    const field_t *date = fields_known(fields, FIELD_DATE), *server = fields_known(fields, FIELD_SERVER);
    char *begin = to, room[H1_DATE_LEN + 1];

    to = put_status(to, head);
    to = put_field(to, LITERAL("Date"), date ? h1_date(date->value, room) : reply->date);
    if (server) {
        to = put_field(to, LITERAL("Server"), server->value);
    }
    else if (reply->server.len) {
        to = put_field(to, LITERAL("Server"), reply->server);
    }
    for (uint32_t i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        if (!goes_to_client(head, reply, f)) {
            continue;
        }
        if (f->known == FIELD_VARY) {
            to = fields->first[FIELD_VARY] == i + 1 ? put_vary(to, fields, f) : to;
        }
        else if (is_date(f->known)) {
            to = put_dated(to, f);
        }
        else {
            to = put_field(to, f->name.at, f->name.len, f->value);
        }
    }
    return (size_t)(to - begin);
}

size_t h1_ending_write(char to[H1_ENDING_ROOM], const h1_ending_t *ending)
{
    char *begin = to;

    if (ending->frame == H1_FRAME_LENGTH) {
        to = put(to, LITERAL("Content-Length: "));
        to = put_number(to, ending->length);
        to = put(to, LITERAL("\r\n"));
    }
    if (!ending->keep_alive) {
        to = put(to, LITERAL("Connection: close\r\n"));
    }
    else if (ending->say) {
        to = put(to, LITERAL("Keep-Alive: timeout="));
        to = put_number(to, ending->timeout_s);
        if (ending->left > 0) {
            to = put(to, LITERAL(", max="));
            to = put_number(to, (uint64_t)ending->left);
        }
        to = put(to, LITERAL("\r\nConnection: Keep-Alive\r\n"));
    }
    if (ending->frame == H1_FRAME_CHUNKED) {
        to = put(to, LITERAL("Transfer-Encoding: chunked\r\n"));
    }
    if (ending->type.len) {
        to = put_field(to, LITERAL("Content-Type"), ending->type);
    }
    to = put(to, LITERAL("\r\n"));
    return (size_t)(to - begin);
}

size_t h1_interim_room(const answer_head_t *head)
{
    return 9 + 4 + head->reason.len + 2 + fields_room(&head->fields) + (size_t)head->fields.count * H1_DATE_LEN + 21 + 24 + 2;
}

size_t h1_interim_write(char *to, const answer_head_t *head)
{
    const fields_t *fields = &head->fields;
    const field_t *upgrade = fields_known(fields, FIELD_UPGRADE);
    char *begin = to;

    to = put_status(to, head);
    for (uint32_t i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        if (!f->hop && f->known != FIELD_UPGRADE && f->known != FIELD_CONNECTION) {
            to = is_date(f->known) ? put_dated(to, f) : put_field(to, f->name.at, f->name.len, f->value);
        }
    }
    if (head->status == 101) {
        to = put(to, LITERAL("Connection: Upgrade\r\n"));
        to = put_field(to, LITERAL("Upgrade"), upgrade ? upgrade->value : (span_t){ LITERAL("websocket") });
    }
    to = put(to, LITERAL("\r\n"));
    return (size_t)(to - begin);
}
