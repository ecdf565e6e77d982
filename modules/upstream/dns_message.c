/* dns_message.c - see dns_message.h. */
#include <string.h>
#include <strings.h>

#include "dns_message.h"

#define HEAD_BYTES 12
#define JUMPS_MAX 32
#define ALIASES_MAX 8
#define CLASS_IN 1

typedef struct {
    const uint8_t *bytes;
    size_t len, at;
    int bad;
} reader_t;

/* ---- questions ------------------------------------------------------------------------------------------------------------ */

static int is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* @return bytes written, 0 when it is no name */
static size_t put_name(uint8_t *out, const char *name)
{
    size_t at = 0, label, i;

    while (*name) {
        label = strcspn(name, ".");
        if (label == 0 || label > 63 || at + label + 2 > 255) {
            return 0;
        }
        out[at++] = (uint8_t)label;
        for (i = 0; i < label; i++) {
            if (!is_name_char(name[i])) {
                return 0;
            }
            out[at++] = (uint8_t)name[i];
        }
        name += label + (name[label] == '.');
    }
    out[at++] = 0;
    return at > 1 ? at : 0;
}

static size_t put_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return 2;
}

size_t dns_question(uint8_t out[DNS_QUESTION_MAX], uint16_t id, const char *name, dns_type_e type)
{
    static const uint8_t head[] = { 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1 };              /* recursion desired; 1 question, 1 more */
    static const uint8_t edns[] = { 0, 0, 41, DNS_UDP_BYTES >> 8, DNS_UDP_BYTES & 255, 0, 0, 0, 0, 0, 0 };
    size_t at = put_u16(out, id), n;

    memcpy(out + at, head, sizeof head);
    at += sizeof head;
    n = put_name(out + at, name);
    if (n == 0) {
        return 0;
    }
    at += n;
    at += put_u16(out + at, (uint16_t)type);
    at += put_u16(out + at, CLASS_IN);
    memcpy(out + at, edns, sizeof edns);
    return at + sizeof edns;
}

/* ---- answers -------------------------------------------------------------------------------------------------------------- */

static uint32_t take(reader_t *r, int bytes)
{
    uint32_t value = 0;

    if (r->bad || r->len - r->at < (size_t)bytes) {
        r->bad = 1;
        return 0;
    }
    while (bytes--) {
        value = value << 8 | r->bytes[r->at++];
    }
    return value;
}

static void skip(reader_t *r, size_t bytes)
{
    if (r->bad || r->len - r->at < bytes) {
        r->bad = 1;
        return;
    }
    r->at += bytes;
}

/* A label's bytes as text. Names that we ask for and targets that we ask again have no other characters than is_name_char(). */
static int add_label(char *out, size_t *used, const uint8_t *label, size_t len)
{
    size_t i;

    if (*used + len + 2 > DNS_NAME_LEN) {
        return -1;
    }
    if (*used) {
        out[(*used)++] = '.';
    }
    for (i = 0; i < len; i++) {
        char c = (char)label[i];

        if (!is_name_char(c)) {
            return -1;
        }
        out[(*used)++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return 0;
}

/* Reads a name, which may end in a pointer to an earlier one; the reader goes on behind it. */
static void take_name(reader_t *r, char out[DNS_NAME_LEN])
{
    size_t at = r->at, used = 0, behind = 0;
    int jumps = 0;

    while (!r->bad) {
        uint8_t len;

        if (at >= r->len) {
            break;
        }
        len = r->bytes[at++];
        if (len == 0) {
            out[used] = '\0';
            r->at = behind ? behind : at;
            return;
        }
        if ((len & 0xc0) == 0xc0 && at < r->len) {
            size_t to = (size_t)(len & 0x3f) << 8 | r->bytes[at];

            behind = behind ? behind : at + 1;
            if (to >= at - 1 || ++jumps > JUMPS_MAX) {
                break;
            }
            at = to;
        }
        else if (len > 63 || r->len - at < len || add_label(out, &used, r->bytes + at, len) != 0) {
            break;
        }
        else {
            at += len;
        }
    }
    r->bad = 1;
}

typedef struct {
    char owner[DNS_NAME_LEN];
    uint32_t type, dclass, ttl_s, length;
    size_t data; /* where it begins */
} resource_t;

static int take_resource(reader_t *r, resource_t *out)
{
    take_name(r, out->owner);
    out->type = take(r, 2);
    out->dclass = take(r, 2);
    out->ttl_s = take(r, 4);
    out->length = take(r, 2);
    out->data = r->at;
    skip(r, out->length);
    if (out->ttl_s > INT32_MAX) {
        out->ttl_s = 0; /* RFC 2181, section 8 */
    }
    return !r->bad;
}

static int read_record(const reader_t *r, const resource_t *from, dns_record_t *to)
{
    reader_t data = { .bytes = r->bytes, .len = from->data + from->length, .at = from->data };

    memset(to, 0, sizeof *to);
    to->ttl_s = from->ttl_s;
    if (from->type == DNS_A || from->type == DNS_AAAA) {
        size_t want = from->type == DNS_A ? 4 : 16;

        if (from->length != want) {
            return -1;
        }
        memcpy(to->address, r->bytes + from->data, want);
        return 0;
    }
    to->priority = (uint16_t)take(&data, 2);
    to->weight = (uint16_t)take(&data, 2);
    to->port = (uint16_t)take(&data, 2);
    take_name(&data, to->target);
    return data.bad || data.at != data.len ? -1 : 0;
}

/* Where an alias leads, or -1. */
static int read_alias(const reader_t *r, const resource_t *from, char out[DNS_NAME_LEN])
{
    reader_t data = { .bytes = r->bytes, .len = from->data + from->length, .at = from->data };

    take_name(&data, out);
    return data.bad || !*out ? -1 : 0;
}

/* The name that aliases in the answer section lead to. */
static void follow_aliases(const reader_t *from, uint32_t records, char name[DNS_NAME_LEN], uint32_t *ttl_s)
{
    int turn;

    for (turn = 0; turn < ALIASES_MAX; turn++) {
        reader_t r = *from;
        resource_t resource;
        char next[DNS_NAME_LEN];
        uint32_t i;
        int found = 0;

        for (i = 0; i < records && !found && take_resource(&r, &resource); i++) {
            if (resource.type == DNS_CNAME && resource.dclass == CLASS_IN && strcasecmp(resource.owner, name) == 0
                && read_alias(&r, &resource, next) == 0) {
                *ttl_s = resource.ttl_s < *ttl_s ? resource.ttl_s : *ttl_s;
                found = 1;
            }
        }
        if (!found) {
            return;
        }
        memcpy(name, next, DNS_NAME_LEN);
    }
}

static void collect(const reader_t *from, uint32_t records, const char *name, dns_type_e type, uint32_t ttl_s, dns_answer_t *out)
{
    reader_t r = *from;
    resource_t resource;
    uint32_t i;

    for (i = 0; i < records && out->count < DNS_RECORDS_MAX && take_resource(&r, &resource); i++) {
        dns_record_t *to = &out->record[out->count];

        if (resource.type == (uint32_t)type && resource.dclass == CLASS_IN && strcasecmp(resource.owner, name) == 0
            && read_record(&r, &resource, to) == 0) {
            to->ttl_s = ttl_s < to->ttl_s ? ttl_s : to->ttl_s;
            out->count++;
        }
    }
}

static int all_readable(const reader_t *from, uint32_t records)
{
    reader_t r = *from;
    resource_t resource;
    uint32_t i;

    for (i = 0; i < records; i++) {
        if (!take_resource(&r, &resource)) {
            return 0;
        }
    }
    return 1;
}

/* Is the question that it repeats ours? */
static int is_our_question(reader_t *r, const char *name, dns_type_e type)
{
    char asked[DNS_NAME_LEN];
    size_t len = strlen(name);

    take_name(r, asked);
    len -= len && name[len - 1] == '.';
    return take(r, 2) == (uint32_t)type && take(r, 2) == CLASS_IN && !r->bad && strlen(asked) == len && strncasecmp(asked, name, len) == 0;
}

dns_answer_e dns_answer(const uint8_t *bytes, size_t len, uint16_t id, const char *name, dns_type_e type, dns_answer_t *out)
{
    reader_t r = { .bytes = bytes, .len = len };
    uint32_t got = take(&r, 2), flags = take(&r, 2), questions = take(&r, 2), records = take(&r, 2), ttl_s = UINT32_MAX;
    char at[DNS_NAME_LEN];

    out->count = 0;
    skip(&r, 4);
    if (r.bad || got != id || (flags & 0xf800) != 0x8000 || questions != 1 || !is_our_question(&r, name, type)) {
        return DNS_BAD;
    }
    if (flags & 0x0200) {
        return DNS_TRUNCATED;
    }
    if ((flags & 15) == 3) {
        return DNS_NO_NAME;
    }
    if ((flags & 15) != 0) {
        return DNS_REFUSED;
    }
    if (!all_readable(&r, records)) {
        return DNS_BAD;
    }
    strncpy(at, name, sizeof at - 1);
    at[sizeof at - 1] = '\0';
    if (*at && at[strlen(at) - 1] == '.') {
        at[strlen(at) - 1] = '\0';
    }
    follow_aliases(&r, records, at, &ttl_s);
    collect(&r, records, at, type, ttl_s, out);
    return out->count ? DNS_GOOD : DNS_EMPTY;
}
