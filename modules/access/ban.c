/* ban.c - see ban.h. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ban.h"
#include "gate_lock.h"

#define MAGIC UINT32_C(0x4742414e) /* "GBAN" */
#define BUCKET 8
#define WAIT_USEC 20000
#define LEVEL_MAX 1000000

typedef struct {
    _Atomic int64_t until_usec;
    int64_t since_usec, max_usec; /* max: how long it is remembered after */
    uint8_t address[16];
    uint32_t level;
    _Atomic uint32_t flags;
    char why[GATE_BAN_WHY];
    char who[GATE_BAN_WHO];
} entry_t;

struct gate_bans {
    uint32_t magic, layout;
    uint32_t capacity, buckets;
    gate_seed_t seed;
    gate_lock_t lock;
    uint32_t unused[4];
    _Atomic uint64_t tag[]; /* capacity, then the entries */
};

static uint32_t buckets_for(uint32_t capacity)
{
    return capacity / BUCKET + (capacity % BUCKET != 0) + 1;
}

uint64_t gate_bans_size(uint32_t capacity)
{
    uint64_t places = (uint64_t)buckets_for(capacity) * BUCKET;

    return sizeof(gate_bans_t) + places * (sizeof(uint64_t) + sizeof(entry_t));
}

void gate_bans_init(gate_bans_t *bans, uint32_t capacity, const gate_seed_t *seed)
{
    memset(bans, 0, gate_bans_size(capacity));
    bans->buckets = buckets_for(capacity);
    bans->capacity = bans->buckets * BUCKET;
    bans->seed = *seed;
    bans->layout = GATE_BANS_LAYOUT;
    bans->magic = MAGIC;
}

static entry_t *entry_of(const gate_bans_t *bans, uint32_t at)
{
    return (entry_t *)(bans->tag + bans->capacity) + at;
}

static gate_address_t key_of(const gate_address_t *client)
{
    gate_address_t key = *client;

    gate_address_cut(&key, 32, GATE_BAN_V6_BITS);
    return key;
}

static uint64_t hash_of(const gate_bans_t *bans, const gate_address_t *key)
{
    uint64_t hash = gate_siphash(&bans->seed, key->bytes, sizeof key->bytes);

    return hash ? hash : 1;
}

/* The two buckets of a hash. */
static uint32_t bucket_of(const gate_bans_t *bans, uint64_t hash, int which)
{
    uint64_t half = which ? hash >> 32 : hash & UINT32_MAX;

    return (uint32_t)(half * bans->buckets >> 32) * BUCKET;
}

/* Where the tag stands, or -1. */
static int64_t find(const gate_bans_t *bans, uint64_t hash)
{
    for (int which = 0; which < 2; which++) {
        uint32_t from = bucket_of(bans, hash, which);

        for (uint32_t i = from; i < from + BUCKET; i++) {
            if (atomic_load_explicit(&((gate_bans_t *)bans)->tag[i], memory_order_acquire) == hash) {
                return i;
            }
        }
    }
    return -1;
}

unsigned gate_ban_check(const gate_bans_t *bans, const gate_address_t *client, int64_t now_usec, int64_t *until_usec)
{
    gate_address_t key = key_of(client);
    int64_t at, until;
    entry_t *entry;

    if (!key.known || (at = find(bans, hash_of(bans, &key))) < 0) {
        return 0;
    }
    entry = entry_of(bans, (uint32_t)at);
    until = atomic_load(&entry->until_usec);
    if (until <= now_usec) {
        return 0;
    }
    if (until_usec) {
        *until_usec = until;
    }
    return 1 | atomic_load(&entry->flags) << 1;
}

/* Is a ban that is over still worth remembering? */
static int remembered(const entry_t *entry, int64_t now_usec)
{
    return atomic_load(&((entry_t *)entry)->until_usec) + entry->max_usec > now_usec;
}

/* A place for a new client; the bans that are over give way, the oldest first. -1: all are in force. Lock held. */
static int64_t place_for(const gate_bans_t *bans, uint64_t hash, int64_t now_usec)
{
    int64_t best = -1, oldest = now_usec;

    for (int which = 0; which < 2; which++) {
        uint32_t from = bucket_of(bans, hash, which);

        for (uint32_t i = from; i < from + BUCKET; i++) {
            int64_t until = atomic_load(&entry_of(bans, i)->until_usec);

            if (atomic_load(&((gate_bans_t *)bans)->tag[i]) == 0) {
                return i;
            }
            if (until <= oldest) {
                oldest = until;
                best = i;
            }
        }
    }
    return best;
}

static int64_t longer(const gate_ban_term_t *term, uint32_t level)
{
    double usec = (double)term->for_usec;

    for (uint32_t i = 0; i < level && usec < (double)term->max_usec; i++) {
        usec = usec * term->escalate_milli / 1000;
    }
    return usec < (double)term->max_usec ? (int64_t)usec : term->max_usec;
}

/* Cut to fit, and printable: it goes to logs and into the state file. */
static void put_text(char *into, size_t size, const char *text)
{
    size_t i = 0;

    for (; text[i] && i < size - 1; i++) {
        into[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
    into[i] = 0;
}

static void copy_out(const entry_t *entry, gate_ban_t *out)
{
    memcpy(out->address.bytes, entry->address, 16);
    out->address.known = 1;
    out->until_usec = atomic_load(&((entry_t *)entry)->until_usec);
    out->since_usec = entry->since_usec;
    out->level = entry->level;
    out->flags = atomic_load(&((entry_t *)entry)->flags);
    memcpy(out->why, entry->why, GATE_BAN_WHY);
    memcpy(out->who, entry->who, GATE_BAN_WHO);
    out->why[GATE_BAN_WHY - 1] = out->who[GATE_BAN_WHO - 1] = 0;
}

/* Fills a place: first out of sight, its tag last. Lock held. */
static void fill(gate_bans_t *bans, uint32_t at, uint64_t hash, const gate_ban_t *ban, int64_t max_usec)
{
    entry_t *entry = entry_of(bans, at);

    if (atomic_load(&bans->tag[at]) != hash) {
        atomic_store(&bans->tag[at], 0);
    }
    memcpy(entry->address, ban->address.bytes, 16);
    entry->since_usec = ban->since_usec;
    entry->max_usec = max_usec;
    entry->level = ban->level;
    put_text(entry->why, GATE_BAN_WHY, ban->why);
    put_text(entry->who, GATE_BAN_WHO, ban->who);
    atomic_store(&entry->flags, ban->flags);
    atomic_store(&entry->until_usec, ban->until_usec);
    atomic_store(&bans->tag[at], hash);
}

static void describe(gate_ban_t *ban, const char *why, const char *who)
{
    snprintf(ban->why, sizeof ban->why, "%s", why ? why : "");
    snprintf(ban->who, sizeof ban->who, "%s", who ? who : "");
}

gate_ban_result_e gate_ban_earn(gate_bans_t *bans, const gate_address_t *client, const gate_ban_term_t *term, unsigned flags,
                                const char *why, const char *who, int64_t now_usec, gate_ban_t *out)
{
    gate_ban_t ban = { .address = key_of(client), .since_usec = now_usec, .flags = flags };
    gate_ban_result_e result = GATE_BAN_FULL;
    uint64_t hash;
    int64_t at;

    if (!client->known) {
        return GATE_BAN_UNKNOWN;
    }
    hash = hash_of(bans, &ban.address);
    describe(&ban, why, who);
    if (gate_lock_take(&bans->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return GATE_BAN_BUSY;
    }
    at = find(bans, hash);
    if (at >= 0 && atomic_load(&entry_of(bans, (uint32_t)at)->until_usec) > now_usec) {
        result = GATE_BAN_STANDS;
    }
    else {
        if (at >= 0 && remembered(entry_of(bans, (uint32_t)at), now_usec)) {
            uint32_t level = entry_of(bans, (uint32_t)at)->level;

            ban.level = level < LEVEL_MAX ? level + 1 : level;
        }
        ban.until_usec = now_usec + longer(term, ban.level);
        at = at >= 0 ? at : place_for(bans, hash, now_usec);
        if (at >= 0) {
            fill(bans, (uint32_t)at, hash, &ban, term->max_usec);
            result = GATE_BAN_MADE;
        }
    }
    gate_lock_release(&bans->lock);
    if (out) {
        *out = ban;
    }
    return result;
}

static gate_ban_result_e set_locked(gate_bans_t *bans, const gate_ban_t *ban, int64_t max_usec, int64_t now_usec)
{
    uint64_t hash = hash_of(bans, &ban->address);
    int64_t at = find(bans, hash);

    if (at >= 0 && atomic_load(&entry_of(bans, (uint32_t)at)->until_usec) >= ban->until_usec) {
        return GATE_BAN_STANDS;
    }
    at = at >= 0 ? at : place_for(bans, hash, now_usec);
    if (at < 0) {
        return GATE_BAN_FULL;
    }
    fill(bans, (uint32_t)at, hash, ban, max_usec);
    return GATE_BAN_MADE;
}

gate_ban_result_e gate_ban_set(gate_bans_t *bans, const gate_address_t *client, int64_t until_usec, uint32_t level, unsigned flags,
                               const char *why, const char *who, int64_t since_usec, int64_t now_usec)
{
    gate_ban_t ban = { .address = key_of(client), .until_usec = until_usec, .since_usec = since_usec, .level = level,
                       .flags = flags };
    gate_ban_result_e result;

    if (!client->known) {
        return GATE_BAN_UNKNOWN;
    }
    describe(&ban, why, who);
    if (gate_lock_take(&bans->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return GATE_BAN_BUSY;
    }
    result = set_locked(bans, &ban, INT64_C(86400) * 1000000, now_usec);
    gate_lock_release(&bans->lock);
    return result;
}

int gate_ban_lift(gate_bans_t *bans, const gate_address_t *client, int64_t now_usec)
{
    gate_address_t key = key_of(client);
    int lifted = 0;
    int64_t at;

    if (!key.known) {
        return 0;
    }
    if (gate_lock_take(&bans->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return -1;
    }
    at = find(bans, hash_of(bans, &key));
    if (at >= 0) {
        lifted = atomic_load(&entry_of(bans, (uint32_t)at)->until_usec) > now_usec;
        atomic_store(&bans->tag[at], 0);
    }
    gate_lock_release(&bans->lock);
    return lifted;
}

int gate_ban_get(gate_bans_t *bans, const gate_address_t *client, int64_t now_usec, gate_ban_t *out)
{
    gate_address_t key = key_of(client);
    int64_t at;

    if (!key.known || gate_lock_take(&bans->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return 0;
    }
    at = find(bans, hash_of(bans, &key));
    if (at >= 0) {
        copy_out(entry_of(bans, (uint32_t)at), out);
    }
    gate_lock_release(&bans->lock);
    return at >= 0 && out->until_usec > now_usec;
}

static int in_force(const gate_bans_t *bans, uint32_t at, int64_t now_usec)
{
    return atomic_load(&((gate_bans_t *)bans)->tag[at]) != 0 && atomic_load(&entry_of(bans, at)->until_usec) > now_usec;
}

uint32_t gate_bans_list(gate_bans_t *bans, int64_t now_usec, gate_ban_t *out, uint32_t max)
{
    uint32_t n = 0;

    if (gate_lock_take(&bans->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return 0;
    }
    for (uint32_t at = 0; at < bans->capacity; at++) {
        if (in_force(bans, at, now_usec) && n++ < max) {
            copy_out(entry_of(bans, at), &out[n - 1]);
        }
    }
    gate_lock_release(&bans->lock);
    return n;
}

uint32_t gate_bans_count(const gate_bans_t *bans, int64_t now_usec)
{
    uint32_t n = 0;

    for (uint32_t at = 0; at < bans->capacity; at++) {
        n += (uint32_t)in_force(bans, at, now_usec);
    }
    return n;
}

int gate_bans_validate(const gate_bans_t *bans, uint64_t size_bytes, char *why, size_t why_size)
{
    if (size_bytes < sizeof *bans || bans->magic != MAGIC || bans->layout != GATE_BANS_LAYOUT
        || bans->buckets != bans->capacity / BUCKET || gate_bans_size(bans->capacity - BUCKET) > size_bytes) {
        snprintf(why, why_size, "bans: the header is damaged");
        return 1;
    }
    for (uint32_t at = 0; at < bans->capacity; at++) {
        uint64_t tag = atomic_load(&((gate_bans_t *)bans)->tag[at]);
        gate_address_t key;

        if (!tag) {
            continue;
        }
        memcpy(key.bytes, entry_of(bans, at)->address, 16);
        key.known = 1;
        if (hash_of(bans, &key) != tag || find(bans, tag) != at) {
            snprintf(why, why_size, "bans: place %u does not belong to its client", at);
            return 1;
        }
    }
    return 0;
}

uint32_t gate_bans_copy(gate_bans_t *bans, const void *old_, uint64_t old_size_bytes, int64_t now_usec)
{
    const gate_bans_t *old = old_;
    uint32_t taken = 0, capacity;

    if (old_size_bytes < sizeof *old || old->magic != MAGIC || old->layout != GATE_BANS_LAYOUT) {
        return 0;
    }
    capacity = *(const volatile uint32_t *)&old->capacity; /* once: children of before can still write there */
    if (capacity < BUCKET || capacity > UINT32_MAX / 2 || gate_bans_size(capacity - BUCKET) > old_size_bytes
        || gate_lock_take(&bans->lock, WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return 0;
    }
    for (uint32_t at = 0; at < capacity; at++) {
        const entry_t *entry = (const entry_t *)(old->tag + capacity) + at;
        int64_t max = entry->max_usec;
        gate_ban_t ban;

        if (!atomic_load(&((gate_bans_t *)old)->tag[at])) {
            continue;
        }
        copy_out(entry, &ban);
        ban.address = key_of(&ban.address);
        if (ban.until_usec < 0 || ban.until_usec > now_usec + GATE_BANS_MAX_USEC || max < 0 || max > GATE_BANS_MAX_USEC
            || ban.until_usec + max <= now_usec) {
            continue;
        }
        taken += set_locked(bans, &ban, max, now_usec) == GATE_BAN_MADE && ban.until_usec > now_usec;
    }
    gate_lock_release(&bans->lock);
    return taken;
}

/* ---- kept in a file ------------------------------------------------------------------------------------------------------ */

static int64_t wall_of(int64_t usec, int64_t now_usec, int64_t wall_usec)
{
    return usec - now_usec + wall_usec > 0 ? usec - now_usec + wall_usec : 0;
}

/* "ADDRESS UNTIL SINCE LEVEL FLAGS MAX|WHO|WHY\n", times in microseconds of the wall clock */
char *gate_bans_save(gate_bans_t *bans, int64_t now_usec, int64_t wall_usec, size_t *len)
{
    size_t room = (size_t)bans->capacity * 8 + 4096, used = 0;
    char *text = malloc(room);
    int locked = gate_lock_take(&bans->lock, 50 * WAIT_USEC) != GATE_LOCK_TIMEOUT;

    for (uint32_t at = 0; at < bans->capacity && text && locked; at++) {
        const entry_t *entry = entry_of(bans, at);
        char address[GATE_ADDRESS_TEXT];
        gate_ban_t ban;

        if (!atomic_load(&bans->tag[at]) || !remembered(entry, now_usec)) {
            continue;
        }
        if (room - used < 512) {
            char *more = realloc(text, room *= 2);

            if (!more) {
                free(text);
            }
            text = more;
            if (!text) {
                break;
            }
        }
        copy_out(entry, &ban);
        used += (size_t)snprintf(text + used, room - used, "%s %lld %lld %u %u %lld|%s|%s\n",
                                 gate_address_text(&ban.address, address), (long long)wall_of(ban.until_usec, now_usec, wall_usec),
                                 (long long)wall_of(ban.since_usec, now_usec, wall_usec), ban.level, ban.flags,
                                 (long long)entry->max_usec, ban.who, ban.why);
    }
    if (locked) {
        gate_lock_release(&bans->lock);
    }
    else {
        free(text);
        text = NULL;
    }
    *len = text ? used : 0;
    return text;
}

/* " NUMBER" five times and no more: decimal, no sign, at most 18 digits. Returns 0, or -1. */
static int read_numbers(const char *at, const char *end, int64_t number[5])
{
    for (int i = 0; i < 5; i++) {
        const char *begin;

        if (at == end || *at++ != ' ') {
            return -1;
        }
        begin = at;
        for (number[i] = 0; at < end && *at >= '0' && *at <= '9' && at - begin < 18; at++) {
            number[i] = number[i] * 10 + (*at - '0');
        }
        if (at == begin) {
            return -1;
        }
    }
    return at == end ? 0 : -1;
}

/* One line without its end. Returns 0, or -1 when it makes no sense. */
static int read_line(const char *line, size_t len, gate_ban_t *ban, int64_t *max_usec, int64_t shift_usec)
{
    const char *blank = memchr(line, ' ', len), *bar = memchr(line, '|', len), *bar2;
    int64_t number[5]; /* until, since, level, flags, max */

    bar2 = bar ? memchr(bar + 1, '|', len - (size_t)(bar + 1 - line)) : NULL;
    if (!blank || !bar2 || bar < blank || gate_address_parse(line, (size_t)(blank - line), &ban->address) != 0
        || read_numbers(blank, bar, number) != 0 || number[2] > LEVEL_MAX || number[4] > GATE_BANS_MAX_USEC) {
        return -1;
    }
    ban->until_usec = number[0] + shift_usec;
    ban->since_usec = number[1] + shift_usec;
    ban->level = (uint32_t)number[2];
    ban->flags = (uint32_t)number[3] & (GATE_BAN_DROP | GATE_BAN_MANUAL);
    *max_usec = number[4];
    snprintf(ban->who, sizeof ban->who, "%.*s", (int)(bar2 - bar - 1), bar + 1);
    snprintf(ban->why, sizeof ban->why, "%.*s", (int)(line + len - bar2 - 1), bar2 + 1);
    return 0;
}

uint32_t gate_bans_load(gate_bans_t *bans, const char *text, size_t len, int64_t now_usec, int64_t wall_usec, uint32_t *taken)
{
    const char *end = text + len;
    uint32_t senseless = 0;

    *taken = 0;
    if (gate_lock_take(&bans->lock, 50 * WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return 0;
    }
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        gate_ban_t ban;
        int64_t max;

        stop = stop ? stop : end;
        if (read_line(text, (size_t)(stop - text), &ban, &max, now_usec - wall_usec) != 0
            || ban.until_usec > now_usec + GATE_BANS_MAX_USEC) {
            senseless++;
        }
        else if (ban.until_usec + max > now_usec) {
            ban.address = key_of(&ban.address);
            *taken += set_locked(bans, &ban, max, now_usec) == GATE_BAN_MADE && ban.until_usec > now_usec;
        }
        text = stop + 1;
    }
    gate_lock_release(&bans->lock);
    return senseless;
}
