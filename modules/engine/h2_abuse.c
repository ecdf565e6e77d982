/* h2_abuse.c - see h2_abuse.h. */

#include "h2_abuse.h"

#define ANSWER_EARNS 5
#define RECEIVED_EARNS 1024     /* so many bytes earn one */
#define SENT_EARNS 16384        /* likewise */
#define SECOND_EARNS 10
#define FRAME_EARNS_UPDATES 8
#define ANSWER_EARNS_UPDATES 4

static const struct {
    int32_t costs;
    const char *word, *key;
} kinds[H2_USELESS_KINDS] = {
    [H2_USELESS_RESET] = { 5, "resets", "resets" },
    [H2_USELESS_BROKEN] = { 5, "broken streams", "broken_streams" },
    [H2_USELESS_HEAD] = { 25, "header lists too large", "header_lists" },
    [H2_USELESS_CONTROL] = { 1, "control frames", "control_frames" },
    [H2_USELESS_EMPTY] = { 1, "empty frames", "empty_frames" },
    [H2_USELESS_WINDOW] = { 1, "windows of a few bytes", "windows" },
    [H2_USELESS_FLOOD] = { H2_CREDIT + 1, "frames in a row", "floods" },
};

void h2_abuse_begin(h2_abuse_t *abuse)
{
    *abuse = (h2_abuse_t){ .credit = H2_CREDIT, .updates = H2_CREDIT };
}

static void earn(int32_t *credit, int64_t much)
{
    *credit = *credit + much > H2_CREDIT ? H2_CREDIT : (int32_t)(*credit + much);
}

int h2_abuse_useless(h2_abuse_t *abuse, h2_useless_e what)
{
    abuse->count[what]++;
    if (abuse->credit >= 0) {
        abuse->credit -= kinds[what].costs;
    }
    return abuse->credit < 0;
}

int h2_abuse_update(h2_abuse_t *abuse)
{
    if (abuse->updates > 0) {
        abuse->updates--;
        return 0;
    }
    return h2_abuse_useless(abuse, H2_USELESS_WINDOW);
}

void h2_abuse_answered(h2_abuse_t *abuse)
{
    earn(&abuse->credit, ANSWER_EARNS);
    earn(&abuse->updates, ANSWER_EARNS_UPDATES);
}

void h2_abuse_received(h2_abuse_t *abuse, size_t bytes)
{
    size_t earned = bytes / RECEIVED_EARNS;

    earn(&abuse->credit, earned > H2_CREDIT ? H2_CREDIT : earned ? (int64_t)earned : bytes > 0);
}

int h2_abuse_sent(h2_abuse_t *abuse, size_t bytes, int cut)
{
    if (cut && bytes < H2_FEW_BYTES) {
        return h2_abuse_useless(abuse, H2_USELESS_WINDOW);
    }
    abuse->sent += (uint32_t)bytes; /* of one frame */
    earn(&abuse->credit, abuse->sent / SENT_EARNS);
    abuse->sent %= SENT_EARNS;
    earn(&abuse->updates, FRAME_EARNS_UPDATES);
    return 0;
}

void h2_abuse_rested(h2_abuse_t *abuse, int64_t seconds)
{
    if (seconds > 0) {
        int64_t much = seconds > H2_CREDIT ? H2_CREDIT : seconds * SECOND_EARNS;

        earn(&abuse->credit, much);
        earn(&abuse->updates, much);
    }
}

h2_useless_e h2_abuse_worst(const h2_abuse_t *abuse)
{
    h2_useless_e worst = H2_USELESS_RESET;
    int what;

    for (what = 1; what < H2_USELESS_KINDS; what++) {
        if ((uint64_t)abuse->count[what] * (uint64_t)kinds[what].costs > (uint64_t)abuse->count[worst] * (uint64_t)kinds[worst].costs) {
            worst = (h2_useless_e)what;
        }
    }
    return worst;
}

const char *h2_abuse_word(h2_useless_e what)
{
    return kinds[what].word;
}

const char *h2_abuse_key(h2_useless_e what)
{
    return kinds[what].key;
}
