/* h2_abuse.c - see h2_abuse.h. */

#include "h2_abuse.h"

#define RESET_COSTS 5
#define ANSWER_EARNS 5
#define RECEIVED_EARNS 1024     /* so many bytes earn one */

void h2_abuse_begin(h2_abuse_t *abuse)
{
    *abuse = (h2_abuse_t){ H2_CREDIT, 0, 0, 0 };
}

static void earn(h2_abuse_t *abuse, int32_t much)
{
    abuse->credit = abuse->credit > H2_CREDIT - much ? H2_CREDIT : abuse->credit + much;
}

int h2_abuse_useless(h2_abuse_t *abuse, h2_useless_e what)
{
    abuse->resets += what == H2_USELESS_RESET;
    abuse->controls += what == H2_USELESS_CONTROL;
    abuse->empties += what == H2_USELESS_EMPTY;
    abuse->credit -= what == H2_USELESS_RESET ? RESET_COSTS : 1;
    return abuse->credit < 0;
}

void h2_abuse_answered(h2_abuse_t *abuse)
{
    earn(abuse, ANSWER_EARNS);
}

void h2_abuse_received(h2_abuse_t *abuse, size_t bytes)
{
    earn(abuse, bytes >= RECEIVED_EARNS ? (int32_t)(bytes / RECEIVED_EARNS > H2_CREDIT ? H2_CREDIT : bytes / RECEIVED_EARNS) : bytes > 0);
}

const char *h2_abuse_word(const h2_abuse_t *abuse)
{
    if (abuse->resets >= abuse->controls && abuse->resets >= abuse->empties) {
        return "resets";
    }
    return abuse->controls >= abuse->empties ? "control frames" : "empty frames";
}
